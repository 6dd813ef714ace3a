//! Centroids by k-means in two levels: the rows are split into about √k clusters, each of those into its share of the
//! k lists, and a few rounds over all lists mend the borders, split what is too large and give up what is too small.
//!
//! The result depends on the rows and the seed, not on the number of threads: sums are made list by list in the order
//! of the rows, and every random choice has its own generator.

use std::cmp::Reverse;

use rand::rngs::StdRng;
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::Geometry;
use super::centroids::Centroids;
use super::tiles::{Best, Panels};
use crate::metric::dense;

/// More lists than this are found in two levels.
const FLAT_LISTS: usize = 32;
/// Rows of the sample that are looked at, per list; more do not make better centroids.
const ROWS_PER_LIST: usize = 40;
/// Rounds of the upper level, and of the lower.
const ROUNDS: usize = 4;
/// Rounds over all lists at the end.
const FINAL_ROUNDS: usize = 2;
/// Clusters of the upper level, its own included, in whose lists a row looks for the nearest.
const NEAR_TOPS: usize = 4;
/// Where so few pairs of rows and lists make it cheap, rows look in all lists, and more rounds try to fill every list.
const SMALL_PAIRS: usize = 1 << 20;
const SMALL_ROUNDS: usize = 16;
/// A list is split when it has this many times the mean, and given up when it has less than the mean by as much.
const IMBALANCE: f64 = 2.0;
/// Distances below this share of a row's square come from rounding.
const ROUNDING: f32 = 1e-11;

/// The work was called off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("clustering was stopped")]
pub struct Stopped;

/// Asked often, from any thread of the pool.
pub type ShouldStop<'a> = &'a (dyn Fn() -> bool + Sync);

/// Bytes that [`train`] takes at most, besides the rows.
pub fn memory_bytes(rows: usize, dims: usize, lists: usize) -> usize {
    let rows = rows.min(lists.saturating_mul(ROWS_PER_LIST));
    let per_row = 10 * size_of::<u32>();
    // The centroids, the next ones, both packed for tiles, and as bytes.
    rows * per_row + lists * dims * 5 * size_of::<f32>()
}

/// Finds up to `lists` centroids for `rows`, which is rows of `dims` finite numbers, unit vectors if the geometry is
/// spherical. Each centroid is the nearest of at least one row; there are fewer than `lists` if there are fewer
/// distinct rows, and none without rows.
pub fn train(
    rows: &[f32],
    dims: usize,
    lists: usize,
    geometry: Geometry,
    seed: u64,
    pool: &ThreadPool,
    should_stop: ShouldStop<'_>,
) -> Result<Centroids, Stopped> {
    assert!(dims > 0 && rows.len().is_multiple_of(dims), "whole rows");
    pool.install(|| {
        let trainer = Trainer { rows, dims, geometry, should_stop };
        let found = trainer.train(lists, seed)?;
        let (centers, group_sizes) = found.by_top(dims);
        Ok(Centroids::new(centers, dims, geometry, &group_sizes))
    })
}

/// Runs inside the pool.
struct Trainer<'a> {
    rows: &'a [f32],
    dims: usize,
    geometry: Geometry,
    should_stop: ShouldStop<'a>,
}

/// Centers, and for each the cluster of the upper level that it belongs to.
struct Lists {
    centers: Vec<f32>,
    tops: Vec<u32>,
}

impl Lists {
    /// Leaves out the lists that are not `wanted`.
    fn keep(&mut self, dims: usize, wanted: impl Fn(usize) -> bool) {
        let kept: Vec<usize> = (0..self.tops.len()).filter(|&list| wanted(list)).collect();
        self.centers = gather(&self.centers, dims, &kept);
        self.tops = kept.iter().map(|&list| self.tops[list]).collect();
    }

    /// The centers cluster by cluster, and how many each has.
    fn by_top(&self, dims: usize) -> (Vec<f32>, Vec<u32>) {
        let mut order: Vec<usize> = (0..self.tops.len()).collect();
        order.sort_by_key(|&list| (self.tops[list], list));
        let mut sizes = vec![0; self.tops.iter().max().map_or(0, |&top| top as usize + 1)];
        self.tops.iter().for_each(|&top| sizes[top as usize] += 1);
        sizes.retain(|&size| size > 0);
        (gather(&self.centers, dims, &order), sizes)
    }

    fn center(&self, dims: usize, list: usize) -> &[f32] {
        &self.centers[list * dims..][..dims]
    }

    /// Puts the center of `list` on a row that has been in the list `from`; a new list, if it is past the last.
    fn place(&mut self, list: usize, row: &[f32], from: usize) {
        let top = self.tops[from];
        if list < self.tops.len() {
            self.centers[list * row.len()..][..row.len()].copy_from_slice(row);
            self.tops[list] = top;
        } else {
            self.centers.extend_from_slice(row);
            self.tops.push(top);
        }
    }
}

fn gather(centers: &[f32], dims: usize, lists: &[usize]) -> Vec<f32> {
    lists.iter().flat_map(|&list| &centers[list * dims..][..dims]).copied().collect()
}

/// The upper level: the rows of each cluster, and the clusters nearest to it, itself the first.
struct Upper {
    members: Members,
    near: Vec<Vec<u32>>,
}

impl Trainer<'_> {
    fn train(&self, lists: usize, seed: u64) -> Result<Lists, Stopped> {
        let ids = sample(self.rows.len() / self.dims, lists.saturating_mul(ROWS_PER_LIST), seed);
        let lists = lists.min(ids.len());
        if lists == 0 {
            return Ok(Lists { centers: Vec::new(), tops: Vec::new() });
        }
        let small = ids.len() * lists <= SMALL_PAIRS;
        let rounds = if small { SMALL_ROUNDS } else { FINAL_ROUNDS };
        let upper = self.upper(&ids, lists, small, seed)?;
        let mut found = self.lower(&upper.members, lists, seed)?;
        for round in 1.. {
            let members = self.members(&upper, &found)?;
            if round > rounds || round > FINAL_ROUNDS && members.all_filled(lists) {
                found.keep(self.dims, |list| !members.of(list).is_empty());
                return Ok(found);
            }
            found.centers = self.means(&members, &found.centers)?;
            if round < rounds {
                self.balance(&members, &mut found, seed ^ round as u64);
                self.fill(&members, &mut found, lists, seed ^ round as u64);
            }
        }
        unreachable!("the last round returns")
    }

    /// Lloyd's rounds from random rows.
    fn lloyd(&self, ids: &[u32], lists: usize, seed: u64) -> Result<Vec<f32>, Stopped> {
        let mut rng = StdRng::seed_from_u64(seed);
        let lists = lists.min(ids.len());
        let chosen = index::sample(&mut rng, ids.len(), lists);
        let centers = chosen.iter().flat_map(|at| self.row(ids[at])).copied().collect();
        let mut found = Lists { centers, tops: vec![0; lists] };
        for round in 1..=ROUNDS {
            let members = Members::new(ids, &self.flat(ids, &found.centers)?, lists);
            found.centers = self.means(&members, &found.centers)?;
            if round < ROUNDS {
                self.fill(&members, &mut found, lists, seed ^ round as u64);
            }
        }
        Ok(found.centers)
    }

    fn upper(&self, ids: &[u32], lists: usize, all: bool, seed: u64) -> Result<Upper, Stopped> {
        if lists <= FLAT_LISTS {
            return Ok(Upper {
                members: Members::new(ids, &vec![0; ids.len()], 1),
                near: vec![vec![0]],
            });
        }
        let count = (lists as f64).sqrt().round() as usize;
        let some = sample(ids.len(), count * ROWS_PER_LIST, seed ^ 1);
        let some: Vec<u32> = some.iter().map(|&at| ids[at as usize]).collect();
        let tops = self.lloyd(&some, count, seed)?;
        let members = Members::new(ids, &self.flat(ids, &tops)?, count);
        let near = tops.chunks_exact(self.dims).map(|top| {
            let others = tops.chunks_exact(self.dims).zip(0..);
            let mut near: Vec<(f32, u32)> =
                others.map(|(other, at)| (dense::l2_squared(top, other), at)).collect();
            near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            near.truncate(if all { count } else { NEAR_TOPS });
            near.into_iter().map(|(_, at)| at).collect()
        });
        Ok(Upper { members, near: near.collect() })
    }

    /// Divides each cluster of the upper level into its share of the lists.
    fn lower(&self, upper: &Members, lists: usize, seed: u64) -> Result<Lists, Stopped> {
        let shares = shares(&upper.sizes(), lists);
        let parts: Result<Vec<Vec<f32>>, Stopped> = (0..shares.len())
            .into_par_iter()
            .map(|top| {
                let seed = seed.wrapping_add(top as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                self.lloyd(upper.of(top), shares[top], seed)
            })
            .collect();
        let tops = shares.iter().zip(0..).flat_map(|(&share, top)| std::iter::repeat_n(top, share));
        Ok(Lists { centers: parts?.concat(), tops: tops.collect() })
    }

    /// The rows to which each list is the nearest, among the lists of the clusters near their own.
    fn members(&self, upper: &Upper, found: &Lists) -> Result<Members, Stopped> {
        let nearest: Result<Vec<Vec<u32>>, Stopped> = (0..upper.near.len())
            .into_par_iter()
            .map(|top| {
                let near = |list: &usize| upper.near[top].contains(&found.tops[*list]);
                let lists: Vec<usize> = (0..found.tops.len()).filter(near).collect();
                let centers = gather(&found.centers, self.dims, &lists);
                let mut nearest = self.flat(upper.members.of(top), &centers)?;
                nearest.iter_mut().for_each(|at| *at = lists[*at as usize] as u32);
                Ok(nearest)
            })
            .collect();
        Ok(Members::new(&upper.members.ids, &nearest?.concat(), found.tops.len()))
    }

    fn row(&self, id: u32) -> &[f32] {
        &self.rows[id as usize * self.dims..][..self.dims]
    }

    /// The nearest center of each row.
    fn flat(&self, ids: &[u32], centers: &[f32]) -> Result<Vec<u32>, Stopped> {
        let panels = Panels::new(centers, self.dims, self.geometry);
        let block = panels.block_rows();
        let mut nearest = vec![0; ids.len()];
        nearest.par_chunks_mut(block).zip(ids.par_chunks(block)).try_for_each(|(out, ids)| {
            if (self.should_stop)() {
                return Err(Stopped);
            }
            let mut best = vec![[Best::NONE; 1]; ids.len()];
            panels.best::<1>(self.rows, ids, &mut best);
            for (out, [best]) in out.iter_mut().zip(best) {
                // A row with scores that overflow compares with nothing.
                *out = if best.at == u32::MAX { 0 } else { best.at };
            }
            Ok(())
        })?;
        Ok(nearest)
    }

    /// The mean of each list, on the sphere its direction; what the center was if there is none.
    fn means(&self, members: &Members, centers: &[f32]) -> Result<Vec<f32>, Stopped> {
        let mut means = vec![0.0f32; centers.len()];
        means
            .par_chunks_exact_mut(self.dims)
            .zip(centers.par_chunks_exact(self.dims))
            .enumerate()
            .try_for_each(|(list, (mean, center))| {
                let ids = members.of(list);
                for some in ids.chunks(1024) {
                    if (self.should_stop)() {
                        return Err(Stopped);
                    }
                    for &id in some {
                        mean.iter_mut().zip(self.row(id)).for_each(|(sum, x)| *sum += x);
                    }
                }
                let divisor = match self.geometry {
                    Geometry::Euclidean => ids.len() as f64,
                    Geometry::Spherical => dense::norm_squared(mean).sqrt(),
                };
                if divisor > 0.0 && divisor.is_finite() {
                    mean.iter_mut().for_each(|x| *x = (f64::from(*x) / divisor) as f32);
                } else {
                    mean.copy_from_slice(center);
                }
                Ok(())
            })?;
        Ok(means)
    }

    /// Moves the centers of the smallest lists into the largest.
    fn balance(&self, members: &Members, found: &mut Lists, seed: u64) {
        let sizes = members.sizes();
        let mean = sizes.iter().sum::<usize>() as f64 / sizes.len() as f64;
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by_key(|&list| (sizes[list], list));
        let mut rng = StdRng::seed_from_u64(seed);
        for (&small, &large) in order.iter().zip(order.iter().rev()) {
            if sizes[large] as f64 <= IMBALANCE * mean || sizes[small] as f64 >= mean / IMBALANCE {
                break;
            }
            let center = found.center(self.dims, large);
            if let Some(id) = self.member_apart(members.of(large), center, &mut rng) {
                found.place(small, self.row(id), large);
            }
        }
    }

    /// Puts the centers of empty lists, and those that are missing, on rows of the largest lists: at most one of each, so
    /// that they differ.
    fn fill(&self, members: &Members, found: &mut Lists, lists: usize, seed: u64) {
        let count = members.len();
        let empty = (0..count).filter(|&list| members.of(list).is_empty());
        let wanted: Vec<usize> = empty.chain(count..lists).collect();
        if wanted.is_empty() {
            return;
        }
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|&list| (Reverse(members.of(list).len()), list));
        let mut rng = StdRng::seed_from_u64(seed);
        let apart = order.iter().filter_map(|&from| {
            let center = found.center(self.dims, from);
            Some((self.member_apart(members.of(from), center, &mut rng)?, from))
        });
        let chosen: Vec<(u32, usize)> = apart.take(wanted.len()).collect();
        for (list, (id, from)) in wanted.into_iter().zip(chosen) {
            found.place(list, self.row(id), from);
        }
    }

    /// A row of the list that is not where its center is: one of a few at random, or else the farthest.
    fn member_apart(&self, ids: &[u32], center: &[f32], rng: &mut StdRng) -> Option<u32> {
        if ids.is_empty() {
            return None;
        }
        let some = (0..4).map(|_| ids[rng.random_range(0..ids.len())]);
        some.into_iter().find(|&id| self.apart(id, center) > 0.0).or_else(|| {
            let all = ids.iter().map(|&id| (self.apart(id, center), id));
            all.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|far| far.0 > 0.0).map(|far| far.1)
        })
    }

    /// The squared distance of a row from a center, 0 if it is less than rounding makes.
    fn apart(&self, id: u32, center: &[f32]) -> f32 {
        let row = self.row(id);
        let apart = dense::l2_squared(row, center);
        if apart > ROUNDING * dense::dot(row, row) { apart } else { 0.0 }
    }
}

/// The rows of each list, in the order that they had.
struct Members {
    ids: Vec<u32>,
    starts: Vec<usize>,
}

impl Members {
    fn new(ids: &[u32], lists: &[u32], count: usize) -> Members {
        let mut starts = vec![0; count + 1];
        lists.iter().for_each(|&list| starts[list as usize + 1] += 1);
        for list in 0..count {
            starts[list + 1] += starts[list];
        }
        let mut next = starts.clone();
        let mut sorted = vec![0; ids.len()];
        for (&id, &list) in ids.iter().zip(lists) {
            sorted[next[list as usize]] = id;
            next[list as usize] += 1;
        }
        Members { ids: sorted, starts }
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are `lists` lists, and each has rows.
    fn all_filled(&self, lists: usize) -> bool {
        self.len() == lists && (0..lists).all(|list| !self.of(list).is_empty())
    }

    fn of(&self, list: usize) -> &[u32] {
        &self.ids[self.starts[list]..self.starts[list + 1]]
    }

    fn sizes(&self) -> Vec<usize> {
        self.starts.windows(2).map(|ends| ends[1] - ends[0]).collect()
    }
}

/// `wanted` of the numbers below `n`, ascending; all if there are no more.
fn sample(n: usize, wanted: usize, seed: u64) -> Vec<u32> {
    if n <= wanted {
        return (0..n as u32).collect();
    }
    let mut rng = StdRng::seed_from_u64(seed ^ 0x5a11);
    let mut chosen: Vec<u32> =
        index::sample(&mut rng, n, wanted).iter().map(|at| at as u32).collect();
    chosen.sort_unstable();
    chosen
}

/// `total` divided in proportion to `sizes`, whose sum is at least that: no share is larger than its size, and none
/// is 0 but of size 0, if `total` suffices.
fn shares(sizes: &[usize], total: usize) -> Vec<usize> {
    let all = sizes.iter().sum::<usize>() as f64;
    let ideal: Vec<f64> = sizes.iter().map(|&size| size as f64 * total as f64 / all).collect();
    let mut shares: Vec<usize> = sizes
        .iter()
        .zip(&ideal)
        .map(|(&size, &ideal)| (ideal as usize).clamp(size.min(1), size))
        .collect();
    let mut given = shares.iter().sum::<usize>();
    while given != total {
        let short = |at: usize| ideal[at] - shares[at] as f64;
        let by_need = |&a: &usize, &b: &usize| short(a).total_cmp(&short(b)).then(b.cmp(&a));
        if given < total {
            let open = (0..sizes.len()).filter(|&at| shares[at] < sizes[at]).max_by(by_need);
            shares[open.expect("sizes that suffice")] += 1;
            given += 1;
        } else {
            let above =
                |least: usize| (0..sizes.len()).filter(|&at| shares[at] > least).min_by(by_need);
            let full = above(1).or_else(|| above(0));
            shares[full.expect("shares to take from")] -= 1;
            given -= 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn shares_are_in_proportion_and_never_too_large() {
        assert_eq!(shares(&[10, 30, 60], 10), [1, 3, 6]);
        assert_eq!(shares(&[1, 0, 1, 98], 50), [1, 0, 1, 48]);
        assert_eq!(shares(&[2, 2, 2], 6), [2, 2, 2]);
        assert_eq!(shares(&[1, 1, 1], 2).iter().sum::<usize>(), 2);
    }
}
