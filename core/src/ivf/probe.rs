//! The lists near a query whose rows are coded by RaBitQ: the centroids, in rotated coordinates, have sign codes too.
//!
//! One prepared [`Query`] serves the centroids and the rows. A search scores the signs of all centroids, block by block,
//! and computes from the centroids themselves what it tells of the nearest.

use crate::metric::dense;
use crate::quantize::rabitq::block::{self, BLOCK, BlockFactors, BlockScores};
use crate::quantize::rabitq::{Code, List, Query, Rabitq, Rotated};

/// A list that a query should look into.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Number of the list.
    pub list: u32,
    /// What the query has to do with its rows.
    pub near: List,
}

/// The centroids of an index on RaBitQ codes.
pub struct Probes {
    padded: usize,
    /// In rotated coordinates.
    centers: Vec<f32>,
    /// The mean of all, to which their signs refer.
    mean: Vec<f32>,
    codes: Vec<u8>,
    factors: Vec<BlockFactors>,
}

impl Probes {
    /// The search structure of `centers`, rows of [`Rabitq::padded`] numbers in rotated coordinates.
    ///
    /// # Panics
    /// If they are not whole rows.
    pub fn new(centers: Vec<f32>, coder: &Rabitq) -> Probes {
        let padded = coder.padded();
        assert!(centers.len().is_multiple_of(padded), "whole centroids");
        let mean = super::mean_of(&centers, padded);
        let (mut codes, mut factors, mut block) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rotated, mut code) = (Rotated::default(), Code::default());
        for some in centers.chunks(BLOCK * padded) {
            let (mut signs, mut sign_factors) = (Vec::new(), Vec::new());
            for center in some.chunks_exact(padded) {
                rotated.components.clear();
                rotated.components.extend_from_slice(center);
                rotated.norm = dense::norm_squared(center).sqrt();
                coder.encode(&rotated, &mean, &mut code);
                signs.extend_from_slice(&code.signs);
                sign_factors.push(code.sign_factors);
            }
            block::pack(signs.chunks_exact(coder.sign_bytes()), padded, &mut block);
            codes.extend_from_slice(&block);
            factors.push(BlockFactors::pack(&sign_factors));
        }
        Probes { padded, centers, mean, codes, factors }
    }

    /// How many lists there are.
    pub fn len(&self) -> usize {
        self.centers.len() / self.padded
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.centers.is_empty()
    }

    /// The centroid of a list, in rotated coordinates.
    pub fn center(&self, list: u32) -> &[f32] {
        &self.centers[list as usize * self.padded..][..self.padded]
    }

    /// Bytes that it takes in memory.
    pub fn memory_bytes(&self) -> usize {
        size_of::<f32>() * (self.centers.len() + self.mean.len())
            + self.codes.len()
            + size_of_val(&*self.factors)
    }

    /// Replaces `out` by about the `wanted` nearest lists, nearest first; by all if that is their number or more. The
    /// query is of the coder that made the centroids' signs.
    pub fn nearest(&self, query: &Query, wanted: usize, out: &mut Vec<Probe>) {
        out.clear();
        let wanted = wanted.min(self.len());
        if wanted == 0 {
            return;
        }
        let mean = query.list(&self.mean);
        let mut scores = BlockScores::default();
        let mut estimates: Vec<(f32, u32)> = Vec::with_capacity(self.factors.len() * BLOCK);
        let blocks = self.codes.chunks_exact(self.padded / 8 * BLOCK).zip(&self.factors);
        for (block, (codes, factors)) in blocks.enumerate() {
            query.score_block(&mean, 0.0, codes, factors, &mut scores);
            estimates.extend(scores.estimates.into_iter().zip((block * BLOCK) as u32..));
        }
        estimates.truncate(self.len());
        // Few of the nearest are not among half as many more by their signs.
        let kept = wanted + wanted / 2 + 16;
        if kept < estimates.len() {
            estimates.select_nth_unstable_by(kept, |a, b| a.0.total_cmp(&b.0));
            estimates.truncate(kept);
        }
        out.extend(
            estimates.iter().map(|&(_, list)| Probe { list, near: query.list(self.center(list)) }),
        );
        out.sort_unstable_by(|a, b| a.near.base.total_cmp(&b.near.base).then(a.list.cmp(&b.list)));
        out.truncate(wanted);
    }
}
