//! How many lists a query must look into for a share of its nearest rows: measured on a sample, since it differs from
//! table to table by a factor of five.

use rayon::ThreadPool;
use rayon::prelude::*;

use super::kmeans::ShouldStop;
use super::{Centroids, Stopped};
use crate::metric::dense;

/// Shares of the nearest rows for which the number of lists is kept.
pub const TARGETS: [f64; 8] = [0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995];

/// Nearest rows of each query.
const NEAREST: usize = 10;
/// Rows of the sample that stand for queries, at most.
const QUERIES: usize = 200;
/// Queries that go through the sample together: a row is brought from memory once for all of them.
const TOGETHER: usize = 16;
/// Rows between two looks at whether the work was called off.
const INTERRUPT_EVERY: usize = 1024;
/// Multiplications for all of them, at most: some tenths of a second.
const WORK: usize = 6_000_000_000;

/// How queries rank rows and lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ranking {
    /// By distance.
    Distance,
    /// By inner product, the largest first.
    Product,
}

impl Ranking {
    fn rank(self, a: &[f32], b: &[f32]) -> f32 {
        match self {
            Ranking::Distance => dense::l2_squared(a, b),
            Ranking::Product => -dense::dot(a, b),
        }
    }
}

/// The nearest rows of a query and how far they are, the nearest first.
type Nearest = [(f32, usize); NEAREST];

/// Puts a row in its place among the nearest, if it is one of them.
fn keep(nearest: &mut Nearest, row: (f32, usize)) {
    let mut at = NEAREST;
    while at > 0 && row.0 < nearest[at - 1].0 {
        if at < NEAREST {
            nearest[at] = nearest[at - 1];
        }
        nearest[at - 1] = row;
        at -= 1;
    }
}

/// For each of [`TARGETS`], how many lists hold that share of the ten nearest rows, on average over rows of the sample
/// that stand for queries. A sample thinner than the table has its neighbours farther away and asks for more lists
/// rather than for fewer. Zeros if the sample is too small to tell.
pub fn calibrate(
    rows: &[f32],
    centroids: &Centroids,
    ranking: Ranking,
    pool: &ThreadPool,
    should_stop: ShouldStop<'_>,
) -> Result<[f32; 8], Stopped> {
    let dims = centroids.dims();
    let count = rows.len() / dims;
    let queries = QUERIES.min(WORK / rows.len().max(1)).min(count / (2 * NEAREST));
    if queries == 0 || centroids.len() < 2 {
        return Ok([0.0; 8]);
    }
    let row = |at: usize| &rows[at * dims..][..dims];
    let step = count / queries;
    let chosen: Vec<usize> = (0..queries).map(|query| query * step).collect();
    let nearest: Vec<Vec<Nearest>> = pool.install(|| {
        chosen
            .par_chunks(TOGETHER)
            .map(|chosen| {
                let mut nearest = vec![[(f32::INFINITY, 0); NEAREST]; chosen.len()];
                for at in 0..count {
                    if at.is_multiple_of(INTERRUPT_EVERY) && should_stop() {
                        return Err(Stopped);
                    }
                    for (&me, nearest) in chosen.iter().zip(&mut nearest) {
                        if me != at {
                            keep(nearest, (ranking.rank(row(me), row(at)), at));
                        }
                    }
                }
                Ok(nearest)
            })
            .collect::<Result<_, _>>()
    })?;
    let found: Vec<f32> =
        nearest.iter().flatten().flatten().flat_map(|&(_, at)| row(at).iter().copied()).collect();
    let lists = centroids.assign(&found, pool, should_stop)?;
    let mut needed: Vec<u32> = pool.install(|| {
        (0..queries)
            .into_par_iter()
            .flat_map_iter(|query| {
                let me = row(query * step);
                let far: Vec<f32> = (0..centroids.len() as u32)
                    .map(|list| ranking.rank(me, centroids.center(list)))
                    .collect();
                let mine: Vec<u32> = lists[query * NEAREST..(query + 1) * NEAREST]
                    .iter()
                    .map(|[near, _]| far[near.list as usize])
                    .map(|distance| far.iter().filter(|&&other| other <= distance).count() as u32)
                    .collect();
                mine
            })
            .collect()
    });
    needed.sort_unstable();
    Ok(TARGETS.map(|share| {
        let at = (share * needed.len() as f64).ceil() as usize;
        needed[at.clamp(1, needed.len()) - 1] as f32
    }))
}

/// How many of `lists` lists a query must look into for `target` of its nearest rows, by what [`calibrate`] found when
/// there were `then`. Between the targets it interpolates, and past them it goes on in the same direction.
pub fn probes(calibration: &[f32; 8], then: usize, lists: usize, target: f64) -> usize {
    if target >= 1.0 || lists < 2 {
        return lists;
    }
    if calibration[0] <= 0.0 {
        // Nothing is known: more than any table was seen to need for 0.95.
        let guess = 2.0 * (lists as f64).sqrt() * (0.05 / (1.0 - target)).sqrt();
        return (guess.ceil() as usize).clamp(1, lists);
    }
    // The logarithm of the number is about linear in that of what is missed.
    let place = |share: f64| -(1.0 - share).ln();
    let to = TARGETS.iter().position(|&t| t >= target).unwrap_or(TARGETS.len() - 1).max(1);
    let (from, x) = (to - 1, place(target));
    let (x0, x1) = (place(TARGETS[from]), place(TARGETS[to]));
    let (y0, y1) = (f64::from(calibration[from]).ln(), f64::from(calibration[to]).ln());
    let here = (y0 + (y1 - y0) * (x - x0) / (x1 - x0)).exp();
    // With more lists than then, the lists that a query needs grow like their square root.
    let grown = (lists as f64 / then.max(1) as f64).max(1.0).sqrt();
    // What rounding adds is not a list more.
    ((here * grown - 1e-6).ceil() as usize).clamp(1, lists)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ivf::{Geometry, train};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn probes_follow_the_calibration() {
        let calibration = [1.0, 2.0, 3.0, 6.0, 10.0, 20.0, 30.0, 50.0];
        for (target, found) in TARGETS.iter().zip(calibration) {
            assert_eq!(probes(&calibration, 100, 100, *target), found as usize);
        }
        assert!(probes(&calibration, 100, 100, 0.97) > 10);
        assert!(probes(&calibration, 100, 100, 0.999) > 50);
        assert_eq!(probes(&calibration, 100, 400, 0.95), 20);
        assert_eq!(probes(&calibration, 100, 100, 1.0), 100);
        assert_eq!(probes(&[0.0; 8], 0, 1, 0.9), 1);
    }

    #[test]
    fn as_many_lists_as_calibrated_hold_the_share() {
        let mut random = StdRng::seed_from_u64(7);
        let dims = 8;
        let rows: Vec<f32> = (0..4000 * dims).map(|_| random.random()).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let centroids = train(&rows, dims, 40, Geometry::Euclidean, 1, &pool, &|| false).unwrap();
        let found = calibrate(&rows, &centroids, Ranking::Distance, &pool, &|| false).unwrap();
        assert!(found.windows(2).all(|pair| pair[0] <= pair[1]), "{found:?}");
        assert!(found[0] >= 1.0 && found[7] <= 40.0 && found[7] > found[0], "{found:?}");
    }
}
