//! Eight bits for each component, over a range given beforehand: one for all dimensions, or one for
//! each.
//!
//! Level `u` of 0 to 255 stands for `lo + u (hi - lo) / 255`; the byte stored is `u - 128` as a
//! signed number. What lies outside of the range is cut off. Within it a component is off by at
//! most half a step, so a vector of `d` dimensions by at most `sqrt(d) / 2` steps, and its distance
//! to any query by as much. Unlike the codes of [`scalar`](super::scalar) these carry no numbers
//! beside them and can be compared from row to row.
#![allow(unsafe_code)]
// Index loops over lanes are the form that is sure to become vector code.
#![allow(clippy::needless_range_loop)]

use crate::isa::{Isa, LANES, multiversion};
use crate::metric::CosineParts;
use crate::metric::cosine_from_parts;
use crate::{Error, Metric};

/// The smallest and the largest value of each dimension that have been seen.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Extent {
    /// Smallest values; empty before the first vector.
    pub lo: Vec<f32>,
    /// Largest values.
    pub hi: Vec<f32>,
}

impl Extent {
    /// Takes in a vector, whose components are finite.
    pub fn add(&mut self, v: &[f32]) -> Result<(), Error> {
        self.merge(v, v)
    }

    /// Takes in what has been seen elsewhere, if anything.
    pub fn merge(&mut self, lo: &[f32], hi: &[f32]) -> Result<(), Error> {
        if self.lo.is_empty() {
            self.lo = lo.to_vec();
            self.hi = hi.to_vec();
        } else if lo.len() != self.lo.len() || hi.len() != self.hi.len() {
            return Err(Error::DimensionMismatch(self.lo.len(), lo.len()));
        }
        self.lo.iter_mut().zip(lo).for_each(|(a, b)| *a = a.min(*b));
        self.hi.iter_mut().zip(hi).for_each(|(a, b)| *a = a.max(*b));
        Ok(())
    }

    /// The range of all dimensions together; `None` before the first vector.
    pub fn global(&self) -> Option<(f32, f32)> {
        let lo = self.lo.iter().copied().reduce(f32::min)?;
        Some((lo, self.hi.iter().copied().reduce(f32::max)?))
    }
}

/// Ranges of all dimensions.
#[derive(Clone, PartialEq, Debug)]
pub struct Ranges {
    metric: Metric,
    lo: Vec<f32>,
    step: Vec<f32>,
}

/// A query, prepared once for many scores.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    ranges: &'a Ranges,
    components: Vec<f32>,
    /// Squared norm.
    square: f32,
}

impl Ranges {
    /// One range for `dims` dimensions.
    pub fn global(metric: Metric, dims: usize, lo: f32, hi: f32) -> Result<Ranges, Error> {
        Ranges::per_dimension(metric, &vec![lo; dims], &vec![hi; dims])
    }

    /// A range for each dimension, finite and not upside down; of an empty one all levels are the
    /// same.
    pub fn per_dimension(metric: Metric, lo: &[f32], hi: &[f32]) -> Result<Ranges, Error> {
        if !matches!(metric, Metric::L2 | Metric::InnerProduct | Metric::Cosine | Metric::L1) {
            return Err(Error::UnknownCode("range quantization metric", metric as u8));
        }
        if lo.len() != hi.len() {
            return Err(Error::DimensionMismatch(lo.len(), hi.len()));
        }
        let mut step = Vec::with_capacity(lo.len());
        for (&lo, &hi) in lo.iter().zip(hi) {
            if !lo.is_finite() {
                let value = f64::from(lo);
                return Err(Error::Argument { name: "lo", range: "finite", value });
            }
            if !(lo <= hi && hi.is_finite()) {
                let value = f64::from(hi);
                return Err(Error::Argument { name: "hi", range: "finite and at least lo", value });
            }
            step.push(((f64::from(hi) - f64::from(lo)) / 255.0) as f32);
        }
        Ok(Ranges { metric, lo: lo.to_vec(), step })
    }

    /// Number of dimensions.
    pub fn dims(&self) -> usize {
        self.lo.len()
    }

    /// The metric of the scores.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Encodes a vector into `code`, which is cleared first: a byte for each dimension.
    pub fn encode(&self, v: &[f32], code: &mut Vec<u8>) -> Result<(), Error> {
        if v.len() != self.dims() {
            return Err(Error::DimensionMismatch(self.dims(), v.len()));
        }
        code.clear();
        code.extend(v.iter().zip(&self.lo).zip(&self.step).map(|((&x, &lo), &step)| {
            let level = (f64::from(x) - f64::from(lo)) / f64::from(step);
            // The cast keeps to 0 and 255, and makes 0 of the NaN of an empty range.
            (level + 0.5) as u8 ^ 0x80
        }));
        Ok(())
    }

    /// The components that a code stands for.
    pub fn decode(&self, code: &[u8]) -> Result<Vec<f32>, Error> {
        if code.len() != self.dims() {
            return Err(Error::DimensionMismatch(self.dims(), code.len()));
        }
        let places = code.iter().zip(&self.lo).zip(&self.step);
        let value = |lo: f32, step: f32, byte: u8| {
            let exact = f64::from(lo) + f64::from(step) * f64::from(byte ^ 0x80);
            // The step may have been rounded up.
            (exact as f32).clamp(f32::MIN, f32::MAX)
        };
        Ok(places.map(|((&byte, &lo), &step)| value(lo, step, byte)).collect())
    }

    /// Prepares a query.
    pub fn query(&self, v: &[f32]) -> Result<Query<'_>, Error> {
        if v.len() != self.dims() {
            return Err(Error::DimensionMismatch(self.dims(), v.len()));
        }
        let square = v.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() as f32;
        Ok(Query { ranges: self, components: v.to_vec(), square })
    }
}

impl Query<'_> {
    /// The score of a code: the squared distance, for cosine of the unit vectors, the negative
    /// inner product, or for L1 the distance, to the decoded vector; infinite for a code of another
    /// length and where the cosine is not defined.
    #[inline]
    pub fn score(&self, code: &[u8]) -> f32 {
        let Ranges { metric, lo, step } = self.ranges;
        if code.len() != lo.len() {
            return f32::INFINITY;
        }
        let out = match metric {
            Metric::L2 => sums::<0>(&self.components, lo, step, code),
            Metric::L1 => sums::<1>(&self.components, lo, step, code),
            _ => sums::<2>(&self.components, lo, step, code),
        };
        let score = match metric {
            Metric::L2 | Metric::L1 => out[0],
            Metric::InnerProduct => -out[0],
            _ => {
                let parts = CosineParts { dot: out[0], norm_a: self.square, norm_b: out[1] };
                2.0 * cosine_from_parts(parts) as f32
            }
        };
        score.min(f32::INFINITY)
    }
}

multiversion! {
    /// Sums over the decoded components: of squares (`TERM` 0) or magnitudes (1) of the differences
    /// to the query, or of products with it and with themselves (2). Lengths have been checked.
    fn sums[const TERM: usize][TERM](
        q: &[f32],
        lo: &[f32],
        step: &[f32],
        code: &[u8],
    ) -> [f32; 2] = sums_kernel;
}

#[inline(always)]
fn sums_kernel<I: Isa, const TERM: usize>(
    _: I,
    q: &[f32],
    lo: &[f32],
    step: &[f32],
    code: &[u8],
) -> [f32; 2] {
    let mut sums = [I::splat(0.0); 2];
    let (q, q_tail) = q.as_chunks::<LANES>();
    let (lo, lo_tail) = lo.as_chunks::<LANES>();
    let (step, step_tail) = step.as_chunks::<LANES>();
    let (code, code_tail) = code.as_chunks::<LANES>();
    for i in 0..code.len().min(q.len()).min(lo.len()).min(step.len()) {
        add::<I, TERM>(&mut sums, &q[i], &lo[i], &step[i], &code[i]);
    }
    if !code_tail.is_empty() {
        // Past the end a query of zeros meets decoded zeros.
        let mut blocks = [[0.0f32; LANES]; 3];
        let mut bytes = [0x80u8; LANES];
        for i in 0..code_tail.len() {
            (blocks[0][i], blocks[1][i], blocks[2][i]) = (q_tail[i], lo_tail[i], step_tail[i]);
            bytes[i] = code_tail[i];
        }
        add::<I, TERM>(&mut sums, &blocks[0], &blocks[1], &blocks[2], &bytes);
    }
    [I::total(sums[0]), I::total(sums[1])]
}

/// Adds the terms of a block.
#[inline(always)]
fn add<I: Isa, const TERM: usize>(
    sums: &mut [I::Lanes; 2],
    q: &[f32; LANES],
    lo: &[f32; LANES],
    step: &[f32; LANES],
    code: &[u8; LANES],
) {
    let mut levels = *code;
    for i in 0..LANES {
        levels[i] ^= 0x80;
    }
    let decoded = I::fma(I::load_bytes(&levels), I::load(step), I::load(lo));
    let query = I::load(q);
    let difference = I::sub(query, decoded);
    match TERM {
        0 => sums[0] = I::fma(difference, difference, sums[0]),
        1 => sums[0] = I::add(sums[0], I::abs(difference)),
        _ => {
            sums[0] = I::fma(query, decoded, sums[0]);
            sums[1] = I::fma(decoded, decoded, sums[1]);
        }
    }
}
