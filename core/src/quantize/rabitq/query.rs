//! A query, prepared once for the codes of all lists.
#![allow(unsafe_code)]

use super::super::Factors;
use super::super::bound::{TINY, UNIT, cosine_computed, l2_computed, product_error};
use super::super::encode::rounded_up;
use super::super::rotation::GROUP;
use super::block::Tables;
use super::doubles::{DOUBLES, Doubles};
use super::kernels::{self, Planes};
use super::{Rabitq, Rotated, multiple, planes};
use crate::isa::multiversion;
use crate::{Element, Metric};

/// Relative error of some operations on `f64` and of a sum of 65,536 numbers.
pub(in crate::quantize) const UNIT64: f64 = 1e-11;

/// Of the square of the query, the share that a squared distance in single precision is to be at least.
const LEAST_SHARE: f64 = 1e-3;

/// The largest integer that a component of a query becomes.
const TOP: f64 = 127.0 * 256.0;

/// A query in rotated coordinates, rounded to integers of 16 bits times a step. The rounded
/// coordinates are exact in single precision and take the place of the query everywhere.
#[derive(Clone, Debug)]
pub struct Query {
    metric: Metric,
    bits: usize,
    pub(super) multiple: f64,
    /// The rounded coordinates.
    components: Vec<f32>,
    planes: Vec<Planes>,
    pub(super) tables: Tables,
    /// Sum of the integers.
    sum: i64,
    step: f64,
    /// At least the norm of the query; for cosine, of the unit vector.
    norm: f64,
    /// At least how far the rounded coordinates are from the exact ones.
    error: f64,
    /// All scores are equal: the cosine to a zero vector.
    constant: bool,
    /// Terms of the sums of the SQL operator.
    dims: f64,
    /// What rotation may have cost a vector, as a share of its norm and as a number.
    rotation_slack: (f64, f64),
}

/// What the scores of a list's vectors have in common.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// The squared distance of query and centroid; for the inner product, its negative.
    pub base: f64,
    /// Distance of query and centroid.
    pub distance: f64,
    /// Norm of the centroid; 0 where the metric is not the inner product, and nobody asks.
    pub norm: f64,
}

impl List {
    /// A value in the units of the SQL operator that it will not fall below for a vector of the list with this score, if
    /// what the vector's code lost reaches no further than `error` in the direction of the query, seen from the vector,
    /// or for the inner product from the centroid. NaN where nothing is known.
    #[inline]
    pub fn likely_bound(&self, metric: Metric, score: f64, error: f64) -> f64 {
        if metric == Metric::InnerProduct {
            return score - self.distance * error;
        }
        let distance = ((score + error * error).sqrt() - error).max(0.0);
        if metric == Metric::L2 { distance } else { 0.5 * distance * distance }
    }
}

impl Rabitq {
    /// Prepares a query.
    ///
    /// # Panics
    /// If it does not have the dimensions of the column.
    pub fn query<E: Element>(&self, v: &[E]) -> Query {
        let mut x = Rotated::default();
        self.rotate(v, &mut x);
        self.query_of(&x)
    }

    /// As [`Rabitq::query`], for one that was rotated.
    pub fn query_of(&self, x: &Rotated) -> Query {
        let cosine = self.metric == Metric::Cosine;
        let constant = cosine && x.norm == 0.0;
        let largest = x.components.iter().fold(0.0f32, |max, y| max.max(y.abs()));
        let step = step_for(largest);
        let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
        let mut planes = vec![[[0; GROUP]; 2]; self.padded() / GROUP];
        let mut components = Vec::with_capacity(self.padded());
        let mut integers = Vec::with_capacity(self.padded());
        let (mut sum, mut lost) = (0, 0.0);
        for (i, &y) in x.components.iter().enumerate() {
            // NaN and infinities become some number: such a query is ranked, and not bounded.
            let integer = rounded((f64::from(y) * inverse).clamp(-TOP, TOP)) as i32;
            let [high, low] = &mut planes[i / GROUP];
            high[i % GROUP] = ((integer + 128) >> 8) as i8;
            low[i % GROUP] = integer as i8;
            let kept = step * f64::from(integer);
            sum += i64::from(integer);
            lost += (f64::from(y) - kept) * (f64::from(y) - kept);
            components.push(kept as f32);
            integers.push(integer);
        }
        let tables = Tables::new(&integers, sum, step);
        Query {
            metric: self.metric,
            bits: self.bits,
            multiple: multiple(self.metric),
            components,
            planes,
            tables,
            sum,
            step,
            norm: if cosine { 1.0 + 1e-6 } else { x.norm * (1.0 + UNIT64) },
            error: lost.sqrt() * (1.0 + UNIT64) + x.slack,
            constant,
            dims: self.dims() as f64,
            rotation_slack: (self.rotation().slack(1.0), self.rotation().slack(0.0)),
        }
    }
}

/// The nearest whole number, by adding one that leaves no bits for fractions: a call of the
/// library's rounding costs more.
#[inline(always)]
fn rounded(x: f64) -> f64 {
    const WHOLE: f64 = (3u64 << 51) as f64;
    (x + WHOLE) - WHOLE
}

/// A step of which the largest component is at most [`TOP`], with so few bits that its products
/// with 16-bit integers are exact in single precision; zero if that is too small for it.
fn step_for(largest: f32) -> f64 {
    let exact = f64::from(largest) / TOP;
    if !(1e-36..=1e34).contains(&exact) {
        return 0.0;
    }
    // Keeps seven bits of the fraction, rounding up.
    let kept = (1u64 << 45) - 1;
    f64::from_bits((exact.to_bits() + kept) & !kept)
}

impl Query {
    /// What the query has to do with a list, of which `centroid` is in rotated coordinates.
    ///
    /// # Panics
    /// If the centroid is not as long as rotated vectors are.
    pub fn list(&self, centroid: &[f32]) -> List {
        assert_eq!(centroid.len(), self.components.len(), "coordinates of a centroid");
        if self.metric != Metric::InnerProduct {
            let base = square_of_distance(&self.components, centroid);
            return List { base, distance: base.sqrt(), norm: 0.0 };
        }
        let [square, dot, norm] = relation(&self.components, centroid);
        List { base: -dot, distance: square.sqrt(), norm: norm.sqrt() }
    }

    /// About the same from the squared distance of query and centroid, which was computed in single precision: enough for
    /// what first bits tell. Nothing where it would not be, or where it takes more.
    pub fn list_at(&self, square: f32) -> Option<List> {
        let base = f64::from(square);
        let is_known = self.metric != Metric::InnerProduct
            && base > LEAST_SHARE * self.norm * self.norm
            && base.is_finite();
        is_known.then(|| List { base, distance: base.sqrt(), norm: 0.0 })
    }

    /// The score of a vector by its signs alone, and with [`Factors::error`] of them what it is
    /// likely not below; as in a block, but with a product that is exact.
    ///
    /// # Panics
    /// If the signs are not of the coder's length.
    #[inline]
    pub fn score_signs(&self, list: &List, epsilon: f32, signs: &[u8], f: &Factors) -> (f32, f32) {
        let estimate =
            self.finish(list, kernels::dot::<0>(signs, &[], &self.planes), 0.5, f) as f32;
        let lower = estimate - epsilon * f.error * list.distance as f32;
        (ranked(estimate), lower.max(f32::NEG_INFINITY))
    }

    /// The score of a vector by its whole code. Scores order as the metric does: the squared
    /// distance, for cosine of unit vectors, or the negative inner product.
    ///
    /// # Panics
    /// If the code is not of the coder's length.
    #[inline]
    pub fn score(&self, list: &List, signs: &[u8], rest: &[u8], f: &Factors) -> f32 {
        let planes = &self.planes;
        let dots = match self.bits {
            1 => kernels::dot::<0>(signs, rest, planes),
            2 => kernels::dot::<1>(signs, rest, planes),
            3 => kernels::dot::<2>(signs, rest, planes),
            4 => kernels::dot::<3>(signs, rest, planes),
            5 => kernels::dot::<4>(signs, rest, planes),
            6 => kernels::dot::<5>(signs, rest, planes),
            7 => kernels::dot::<6>(signs, rest, planes),
            _ => kernels::dot::<7>(signs, rest, planes),
        };
        let score = self.finish(list, dots, f64::from(planes::middle(self.bits)), f);
        let least = if self.metric == Metric::InnerProduct { f64::NEG_INFINITY } else { 0.0 };
        ranked(score.max(least) as f32)
    }

    /// The score from the inner products of levels with both bytes of the query.
    #[inline(always)]
    fn finish(&self, list: &List, [high, low]: [i32; 2], middle: f64, f: &Factors) -> f64 {
        let levels = 256 * i64::from(high) + i64::from(low);
        let dot = levels as f64 - middle * self.sum as f64;
        list.base + f64::from(f.bias) - self.multiple * self.step * f64::from(f.scale) * dot
    }

    /// A value in the units of the SQL operator (`<->`, `<#>`, `<=>`) that is not above what the
    /// operator returns for the query and the vector whose whole code has this score and these
    /// factors. Where nothing is known it is 0, and for the negative inner product minus infinity.
    ///
    /// With `w` the residual that the code stands for, the score is `|q - c - w|^2 - |e|^2` for L2,
    /// and the triangle inequality leads from there to the vectors themselves. For the inner
    /// product the score leaves out `<q - c, e>`, which Cauchy and Schwarz bound. The operator
    /// computes in `f32`, adding in any order: the sum of `n` terms is off by at most `n`
    /// half-units in the last place of the sum of their magnitudes.
    pub fn lower_bound(&self, list: &List, score: f32, f: &Factors) -> f64 {
        let lowest = if self.metric == Metric::InnerProduct { f64::NEG_INFINITY } else { 0.0 };
        if self.constant || !score.is_finite() || !f.error.is_finite() {
            return lowest;
        }
        let score = f64::from(score);
        let bound = match self.metric {
            Metric::InnerProduct => self.inner_product_bound(list, score, f),
            metric => {
                let distance = self.least_distance(list, score, f);
                let computed = if metric == Metric::L2 { l2_computed } else { cosine_computed };
                computed(distance * distance, self.dims, UNIT64)
            }
        };
        // Infinite errors have made infinities or NaN of it.
        if bound >= lowest { bound } else { lowest }
    }

    /// As [`Query::lower_bound`], but a value that the operator is not likely to fall below: what a code lost points
    /// anywhere, so that the cosine of it and any other direction has a standard deviation of one over the square root
    /// of the dimensions, and no more than `deviations` of these are allowed for.
    #[inline]
    pub fn likely_bound(&self, deviations: f32, list: &List, score: f32, f: &Factors) -> f64 {
        let lowest = if self.metric == Metric::InnerProduct { f64::NEG_INFINITY } else { 0.0 };
        let share = (f64::from(deviations) / (self.components.len() as f64).sqrt()).min(1.0);
        let bound = list.likely_bound(self.metric, score.into(), share * f64::from(f.error));
        if self.constant || bound.is_nan() { lowest } else { bound }
    }

    /// The least distance of the vectors.
    fn least_distance(&self, list: &List, score: f64, f: &Factors) -> f64 {
        let (bias, error) = (f64::from(f.bias).abs(), f64::from(f.error));
        // Of the result, of the stored bias, of what was computed in double precision.
        let rounding = (score * 2.0 + bias) * UNIT + (list.base + bias) * UNIT64 + 2.0 * TINY;
        let decoded = (score - rounding + error * error).max(0.0).sqrt();
        (decoded * (1.0 - UNIT64) - (error + self.error) * (1.0 + UNIT64)).max(0.0)
    }

    fn inner_product_bound(&self, list: &List, score: f64, f: &Factors) -> f64 {
        let error = f64::from(f.error);
        let reach = f64::from(f.scale) * f64::from(planes::middle(self.bits));
        // At least the norm of the vector: no value is farther from zero than the outermost.
        let decoded = reach * (self.components.len() as f64).sqrt();
        let size = (list.norm + decoded + error) * (1.0 + 1e-6);
        let product = self.norm * size;
        if product > f64::from(f32::MAX) {
            // A partial sum of the operator may overflow to either side.
            return f64::NEG_INFINITY;
        }
        let (share, least) = self.rotation_slack;
        let lost =
            list.distance * error + (share * size + least) * 1.001 * list.norm + self.error * size;
        let rounding = (score.abs() * 2.0 + f64::from(f.bias).abs()) * UNIT
            + (list.base.abs() + product) * UNIT64
            + 2.0 * TINY;
        let operator = product_error(product, self.dims);
        score - (lost + rounding + operator) * (1.0 + UNIT64)
    }

    /// At least the norm of what a query of this size has lost to rounding, as `f32`.
    pub fn error(&self) -> f32 {
        rounded_up(self.error)
    }
}

/// A score with infinity for NaN, which no comparison would rank.
#[inline(always)]
fn ranked(score: f32) -> f32 {
    score.min(f32::INFINITY)
}

multiversion! {
    /// Squared distance in double precision.
    fn square_of_distance[][](a: &[f32], b: &[f32]) -> f64 = square_of_distance_kernel;
    /// Squared distance, inner product and squared norm of the second, in double precision; of whole
    /// blocks of [`DOUBLES`](super::DOUBLES) numbers.
    pub(in crate::quantize) fn relation[][](a: &[f32], b: &[f32]) -> [f64; 3] = relation_kernel;
}

#[inline(always)]
fn square_of_distance_kernel<I: Doubles>(_: I, a: &[f32], b: &[f32]) -> f64 {
    // One sum would wait for itself.
    let mut sums = [I::fill(0.0); 4];
    let (a, b) = (a.as_chunks::<DOUBLES>().0, b.as_chunks::<DOUBLES>().0);
    for (a, b) in a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0) {
        for i in 0..4 {
            let difference = I::less(I::wide(&a[i]), I::wide(&b[i]));
            sums[i] = I::add_product(sums[i], difference, difference);
        }
    }
    sums.into_iter().map(I::sum).sum()
}

#[inline(always)]
fn relation_kernel<I: Doubles>(_: I, a: &[f32], b: &[f32]) -> [f64; 3] {
    let (mut square, mut dot, mut norm) = (I::fill(0.0), I::fill(0.0), I::fill(0.0));
    for (a, b) in a.as_chunks::<DOUBLES>().0.iter().zip(b.as_chunks::<DOUBLES>().0) {
        let (a, b) = (I::wide(a), I::wide(b));
        let difference = I::less(a, b);
        square = I::add_product(square, difference, difference);
        dot = I::add_product(dot, a, b);
        norm = I::add_product(norm, b, b);
    }
    [I::sum(square), I::sum(dot), I::sum(norm)]
}
