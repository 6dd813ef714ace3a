//! Below what the SQL operator will not fall.
//!
//! A score tells the distance between the prepared query and the decoded vector. The triangle
//! inequality (for inner products Cauchy and Schwarz) takes it to the vectors themselves, by the
//! norms of what both have lost. The operator computes that distance in `f32`, adding in any order:
//! the sum of `n` terms is off by at most `n` half-units in the last place of the sum of their
//! magnitudes. What the score's own arithmetic may have added is taken off first. PostgreSQL stops
//! the query with an error if a bound is above the operator's value, so each step here rounds down.

use super::query::Body;
use super::{Codec, Factors, Query, Repr};
use crate::Metric;

/// Largest relative error of one operation on `f32`, and a little more for products of such.
pub(super) const UNIT: f64 = 1.01 * (f32::EPSILON / 2.0) as f64;

/// Smallest positive `f32`: what a product may lose by underflow.
pub(super) const TINY: f64 = 1.5e-45;

/// Below what the operator computes for a distance whose square is at least `square`, from `terms` terms. `unit` is the
/// relative error of the caller's own arithmetic on `f64`.
pub(super) fn l2_computed(square: f64, terms: f64, unit: f64) -> f64 {
    let computed = square * (1.0 - (terms + 4.0) * UNIT) - terms * TINY;
    computed.max(0.0).sqrt() * (1.0 - unit)
}

/// As [`l2_computed`], for the cosine distance of vectors whose unit vectors are that far apart: half the square is one
/// minus the cosine. The operator's inner product and norms, each off by a sum's error, leave twice that in the cosine; the
/// safe range of norms leaves next to nothing to underflow.
pub(super) fn cosine_computed(square: f64, terms: f64, unit: f64) -> f64 {
    square * (0.5 - unit) - 2.0 * (terms + 6.0) * UNIT - 1e-10
}

/// By how much an inner product of `terms` terms may be off as the operator computes it, if `product` is at least the
/// product of the norms.
pub(super) fn product_error(product: f64, terms: f64) -> f64 {
    product * (terms + 4.0) * UNIT + terms * TINY
}

/// Relative error of a few operations on `f64`.
const UNIT64: f64 = 1e-14;

/// The most non-zero values of a sparse vector.
const SPARSE_MAX_VALUES: f64 = 16_000.0;

impl Codec {
    /// A value in the units of the SQL operator (`<->`, `<#>`, `<=>`, …) that is not above what the
    /// operator returns for the query and the vector of `f`, given their [`Codec::score`].
    ///
    /// Where nothing is known it is 0, and for the negative inner product minus infinity.
    pub fn lower_bound(&self, q: &Query, score: f32, f: &Factors) -> f64 {
        let lowest = if self.metric == Metric::InnerProduct { f64::NEG_INFINITY } else { 0.0 };
        if !score.is_finite() || q.constant || !q.safe {
            return lowest;
        }
        let score = f64::from(score);
        let bound = match self.metric {
            Metric::L2 => self.l2_bound(q, score, f),
            Metric::Cosine => self.cosine_bound(q, score, f),
            Metric::InnerProduct => self.inner_product_bound(q, score, f),
            Metric::L1 => self.l1_bound(q, score, f),
            Metric::Hamming => score,
            Metric::Jaccard => score * (1.0 - 2.0 * UNIT),
        };
        // Infinite errors have made infinities or NaN of it.
        if bound >= lowest { bound } else { lowest }
    }

    fn l2_bound(&self, q: &Query, score: f64, f: &Factors) -> f64 {
        let terms = self.terms(q, f);
        let error = if self.is_scalar() {
            self.norms_error(q, score, f)
        } else {
            score * (terms + 6.0) * UNIT + terms * TINY
        };
        let distance = self.true_distance(q, score - error, f);
        l2_computed(distance * distance, terms, UNIT64)
    }

    fn cosine_bound(&self, q: &Query, score: f64, f: &Factors) -> f64 {
        let terms = if self.repr == Repr::Sparse { SPARSE_MAX_VALUES } else { self.dims as f64 };
        let mut error = self.norms_error(q, score, f);
        if !self.is_scalar() {
            // Three numbers near one or two, and an inner product of near-unit vectors.
            error += (2.0 * (terms + 4.0) + 8.0) * UNIT * (1.0 + f64::from(f.error));
        }
        let distance = self.true_distance(q, score - error, f);
        cosine_computed(distance * distance, terms, UNIT64)
    }

    fn inner_product_bound(&self, q: &Query, score: f64, f: &Factors) -> f64 {
        let terms = self.terms(q, f);
        let (decoded, whole) = if self.is_scalar() {
            // Levels reach 127, 15 or 3 steps, and 128 in none that was encoded.
            let top = [127.0, 15.0, 3.0][self.per_byte() / 2];
            let centered = top * f64::from(f.scale) * (self.dims as f64).sqrt();
            (centered, centered + self.mean_square.sqrt())
        } else {
            (f64::from(f.bias), f64::from(f.bias))
        };
        let product = q.norm * (whole + f64::from(f.error)) * (1.0 + 1e-6);
        if product > f64::from(f32::MAX) {
            // A partial sum of the operator may overflow to either side.
            return f64::NEG_INFINITY;
        }
        let lost = q.norm * f64::from(f.error) + q.error * decoded;
        let arithmetic = score.abs() * 2.0 * UNIT
            + if self.is_scalar() {
                (q.base.abs() + product) * 100.0 * UNIT64 + TINY
            } else {
                product * (terms + 6.0) * UNIT + (terms + 2.0) * TINY
            };
        score - (lost + arithmetic + product_error(product, terms)) * (1.0 + UNIT64)
    }

    fn l1_bound(&self, q: &Query, score: f64, f: &Factors) -> f64 {
        let terms = self.terms(q, f);
        let mut arithmetic = score * (terms + 8.0) * UNIT;
        if self.is_scalar() {
            // Without a fused instruction the product of level and step is rounded by itself.
            arithmetic += (terms + 8.0) * 128.0 * f64::from(f.scale) * UNIT + terms * TINY;
        }
        let distance = score - arithmetic - q.error - f64::from(f.error);
        distance * (1.0 - (terms + 4.0) * UNIT - UNIT64) - score * UNIT64
    }

    /// The least distance that the vectors may have if the squared one of what represents them is
    /// at least `square`.
    fn true_distance(&self, q: &Query, square: f64, f: &Factors) -> f64 {
        let distance = square.max(0.0).sqrt();
        (distance * (1.0 - UNIT64) - (q.error + f64::from(f.error)) * (1.0 + UNIT64)).max(0.0)
    }

    /// Rounding in a score made of two squared norms and an inner product: of the stored norm, of
    /// the result, and of the double-precision arithmetic on all.
    fn norms_error(&self, q: &Query, score: f64, f: &Factors) -> f64 {
        let bias = f64::from(f.bias);
        (score * 2.0 + bias) * UNIT + (q.base + bias) * 100.0 * UNIT64 + 2.0 * TINY
    }

    /// Terms in the sums of the operator and of the score.
    fn terms(&self, q: &Query, f: &Factors) -> f64 {
        match &q.body {
            Body::Sparse { values, .. } if self.metric == Metric::InnerProduct => {
                values.len() as f64
            }
            Body::Sparse { values, .. } => values.len() as f64 + f64::from(f.bias),
            _ => self.dims as f64,
        }
    }

    fn is_scalar(&self) -> bool {
        matches!(self.repr, Repr::Sq8 | Repr::Sq4 | Repr::Sq2)
    }
}
