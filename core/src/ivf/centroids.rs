//! The centroids of an index: which lists are near a query, and which list a row belongs to.
//!
//! Centroids lie in groups, and beside each is a code of one byte per dimension. A query looks at the groups nearest to
//! it, ranks their centroids by the codes, and computes the distances of those it returns from the centroids themselves.

use rayon::ThreadPool;
use rayon::prelude::*;

use super::kmeans::{ShouldStop, Stopped};
use super::tiles::{Best, Panels, insert};
use super::{Geometry, mean_of};
use crate::Metric;
use crate::metric::dense;
use crate::quantize::{Codec, Factors, Repr, Value};

/// Rows are compared with all of so many centroids, or with the groups nearest to them of more.
const FLAT_ASSIGN: usize = 256;
/// Groups that a row is compared with then.
const ASSIGN_GROUPS: usize = 6;
/// A query looks at all of so many centroids.
const FLAT_SEARCH: usize = 2048;
/// Of more, it looks at this share, and at so many times the lists that it asks for.
const SEARCH_SHARE: usize = 8;
const SEARCH_TIMES: usize = 6;
/// Rows in one piece of work of an assignment by groups: enough for each group to have full tiles.
const PIECE_ROWS: usize = 4096;

/// A list and the squared distance of its centroid, of unit vectors if the geometry is spherical.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NearList {
    /// Number of the list.
    pub list: u32,
    /// The squared distance.
    pub distance: f32,
}

impl NearList {
    /// No list: what stands in the second place when there is but one.
    pub const NONE: NearList = NearList { list: u32::MAX, distance: f32::INFINITY };
}

/// All centroids, the lists being numbered group by group.
pub struct Centroids {
    dims: usize,
    geometry: Geometry,
    centers: Vec<f32>,
    /// The first list of each group, and the number of lists.
    starts: Vec<u32>,
    group_centers: Vec<f32>,
    codec: Codec,
    codes: Vec<u8>,
    factors: Vec<Factors>,
}

impl Centroids {
    /// The centroids of an index as they were stored: `centers`, rows of `dims` numbers, in groups of `group_sizes`.
    ///
    /// # Panics
    /// If the sizes do not add up to the number of centroids.
    pub fn new(
        centers: Vec<f32>,
        dims: usize,
        geometry: Geometry,
        group_sizes: &[u32],
    ) -> Centroids {
        let count = centers.len() / dims;
        let mut starts = vec![0];
        for size in group_sizes {
            starts.push(starts[starts.len() - 1] + size);
        }
        assert_eq!(starts[starts.len() - 1] as usize, count, "groups of all centroids");
        let group_centers = starts
            .windows(2)
            .flat_map(|ends| {
                mean_of(&centers[ends[0] as usize * dims..ends[1] as usize * dims], dims)
            })
            .collect();
        // For unit vectors, too, the squared distance is what is wanted.
        let codec = Codec::new(Repr::Sq8, Metric::L2, dims, mean_of(&centers, dims))
            .expect("finite centroids of the right dimensions");
        let (mut codes, mut code, mut factors) = (Vec::new(), Vec::new(), Vec::new());
        for center in centers.chunks_exact(dims) {
            factors.push(codec.encode(Value::F32(center), &mut code).unwrap_or_default());
            codes.extend_from_slice(&code);
        }
        Centroids { dims, geometry, centers, starts, group_centers, codec, codes, factors }
    }

    /// How many lists there are.
    pub fn len(&self) -> usize {
        self.factors.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.factors.is_empty()
    }

    /// Number of dimensions.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// How centroids are compared.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The centroid of a list.
    pub fn center(&self, list: u32) -> &[f32] {
        &self.centers[list as usize * self.dims..][..self.dims]
    }

    /// Sizes of the groups, in order, for [`Centroids::new`].
    pub fn group_sizes(&self) -> impl Iterator<Item = u32> {
        self.starts.windows(2).map(|ends| ends[1] - ends[0])
    }

    /// The centroids, list by list.
    pub fn into_centers(self) -> Vec<f32> {
        self.centers
    }

    /// Bytes that it takes in memory.
    pub fn memory_bytes(&self) -> usize {
        size_of::<f32>() * (self.centers.len() + self.group_centers.len() + self.starts.len())
            + self.codes.len()
            + self.factors.len() * size_of::<Factors>()
    }

    /// Replaces `out` by about the `probes` nearest lists, nearest first; by all if `probes` is their number or more.
    /// The query is a unit vector if the geometry is spherical.
    pub fn nearest(&self, query: &[f32], probes: usize, out: &mut Vec<NearList>) {
        out.clear();
        let probes = probes.min(self.len());
        if probes == 0 {
            return;
        }
        let prepared = self.codec.query(Value::F32(query));
        let span = self.dims;
        let mut scan = |lists: std::ops::Range<u32>| {
            let at = lists.start as usize;
            for (code, list) in self.codes[at * span..].chunks_exact(span).zip(lists) {
                let distance = self.codec.score(&prepared, code, &self.factors[list as usize]);
                out.push(NearList { list, distance });
            }
        };
        let wanted = (self.len() / SEARCH_SHARE).max(SEARCH_TIMES * probes);
        if self.len() <= FLAT_SEARCH || wanted >= self.len() {
            scan(0..self.len() as u32);
        } else {
            let mut groups: Vec<(f32, usize)> = self
                .group_centers
                .chunks_exact(self.dims)
                .enumerate()
                .map(|(group, center)| (dense::l2_squared(query, center), group))
                .collect();
            groups.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let mut seen = 0;
            for (_, group) in groups {
                if seen >= wanted as u32 {
                    break;
                }
                let lists = self.starts[group]..self.starts[group + 1];
                seen += lists.end - lists.start;
                scan(lists);
            }
        }
        // Codes are exact enough that few of the nearest are not among a few more.
        let by_distance = |a: &NearList, b: &NearList| {
            a.distance.total_cmp(&b.distance).then(a.list.cmp(&b.list))
        };
        let kept = probes + probes / 8 + 2;
        if kept < out.len() {
            out.select_nth_unstable_by(kept, by_distance);
            out.truncate(kept);
        }
        for near in out.iter_mut() {
            near.distance = dense::l2_squared(query, self.center(near.list));
        }
        out.sort_unstable_by(by_distance);
        out.truncate(probes);
    }

    /// The nearest list of each row and the second nearest: of all lists, or, of very many, most likely so.
    pub fn assign(
        &self,
        rows: &[f32],
        pool: &ThreadPool,
        should_stop: ShouldStop<'_>,
    ) -> Result<Vec<[NearList; 2]>, Stopped> {
        let ids: Vec<u32> = (0..(rows.len() / self.dims) as u32).collect();
        pool.install(|| self.assign_ids(rows, &ids, should_stop))
    }

    /// The same for some rows, inside a pool.
    pub(super) fn assign_ids(
        &self,
        rows: &[f32],
        ids: &[u32],
        should_stop: ShouldStop<'_>,
    ) -> Result<Vec<[NearList; 2]>, Stopped> {
        let mut near = vec![[NearList::NONE; 2]; ids.len()];
        if self.is_empty() {
            return Ok(near);
        }
        let grouped = self.len() > FLAT_ASSIGN;
        let flat = |centers: &[f32]| Panels::new(centers, self.dims, self.geometry);
        let groups: Vec<Panels> = if grouped {
            let ends = self.starts.windows(2);
            ends.map(|e| flat(&self.centers[e[0] as usize * self.dims..e[1] as usize * self.dims]))
                .collect()
        } else {
            vec![flat(&self.centers)]
        };
        // Means of unit vectors are none themselves.
        let tops = Panels::new(&self.group_centers, self.dims, Geometry::Euclidean);
        let piece = if grouped { PIECE_ROWS } else { groups[0].block_rows() };
        near.par_chunks_mut(piece).zip(ids.par_chunks(piece)).try_for_each(|(out, ids)| {
            if should_stop() {
                return Err(Stopped);
            }
            let mut best = vec![[Best::NONE; 2]; ids.len()];
            if grouped {
                self.assign_by_groups(&tops, &groups, rows, ids, &mut best, should_stop)?;
            } else {
                groups[0].best::<2>(rows, ids, &mut best);
            }
            for ((out, &id), best) in out.iter_mut().zip(ids).zip(best) {
                *out = self.near_lists(&rows[id as usize * self.dims..][..self.dims], best);
            }
            Ok(())
        })?;
        Ok(near)
    }

    fn assign_by_groups(
        &self,
        tops: &Panels,
        groups: &[Panels],
        rows: &[f32],
        ids: &[u32],
        best: &mut [[Best; 2]],
        should_stop: ShouldStop<'_>,
    ) -> Result<(), Stopped> {
        let mut nearest = vec![[Best::NONE; ASSIGN_GROUPS]; ids.len()];
        tops.best::<ASSIGN_GROUPS>(rows, ids, &mut nearest);
        let mut places: Vec<Vec<u32>> = vec![Vec::new(); groups.len()];
        for (place, nearest) in nearest.iter().enumerate() {
            for group in nearest.iter().filter(|group| group.at != u32::MAX) {
                places[group.at as usize].push(place as u32);
            }
        }
        let (mut some, mut found) = (Vec::new(), Vec::new());
        for (group, places) in places.iter().enumerate() {
            if should_stop() {
                return Err(Stopped);
            }
            some.clear();
            some.extend(places.iter().map(|&place| ids[place as usize]));
            found.resize(some.len(), [Best::NONE; 2]);
            groups[group].best::<2>(rows, &some, &mut found);
            for (&place, found) in places.iter().zip(&found) {
                for near in found.iter().filter(|near| near.at != u32::MAX) {
                    let at = near.at + self.starts[group];
                    insert(&mut best[place as usize], Best { at, ..*near });
                }
            }
        }
        Ok(())
    }

    fn near_lists(&self, row: &[f32], best: [Best; 2]) -> [NearList; 2] {
        let base = match self.geometry {
            Geometry::Euclidean => dense::dot(row, row),
            Geometry::Spherical => 2.0,
        };
        let mut near = best.map(|best| match best.at {
            u32::MAX => NearList::NONE,
            list => NearList { list, distance: (base - 2.0 * best.score).max(0.0) },
        });
        if near[0].list == u32::MAX {
            // Scores that overflow compare with nothing, and yet every row has a list.
            near[0].list = 0;
        }
        near
    }
}
