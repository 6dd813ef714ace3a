//! Distances between vectors: the metrics and their kernels.
//!
//! Results are those of pgvector's SQL functions: products and sums in `f32`, the last step in
//! `f64`. The order of a sum is free, so results may differ from it, and from one processor to
//! another, in the last bits of an `f32`. Callers have checked that both vectors have the same
//! dimensions; a kernel panics on slices of different length.

pub mod bits;
pub mod dense;
pub mod reference;
pub(crate) mod simd;
pub mod sparse;

use crate::Element;

/// How far apart two vectors are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Metric {
    /// Euclidean distance, `<->`.
    L2 = 0,
    /// Negative inner product, `<#>`.
    InnerProduct = 1,
    /// One minus the cosine, `<=>`.
    Cosine = 2,
    /// Sum of absolute differences, `<+>`.
    L1 = 3,
    /// Number of bits that differ, `<~>`.
    Hamming = 4,
    /// One minus shared over all set bits, `<%>`.
    Jaccard = 5,
}

impl TryFrom<u8> for Metric {
    type Error = crate::Error;

    fn try_from(code: u8) -> Result<Metric, crate::Error> {
        Ok(match code {
            0 => Metric::L2,
            1 => Metric::InnerProduct,
            2 => Metric::Cosine,
            3 => Metric::L1,
            4 => Metric::Hamming,
            5 => Metric::Jaccard,
            _ => return Err(crate::Error::UnknownCode("metric", code)),
        })
    }
}

/// Squared Euclidean distance; `f32::INFINITY` when it overflows.
#[inline]
pub fn l2_squared<E: Element>(a: &[E], b: &[E]) -> f32 {
    E::l2_squared(a, b)
}

/// Inner product.
#[inline]
pub fn dot<E: Element>(a: &[E], b: &[E]) -> f32 {
    E::dot(a, b)
}

/// Sum of absolute differences.
#[inline]
pub fn l1<E: Element>(a: &[E], b: &[E]) -> f32 {
    dense::l1(a, b)
}

/// One minus the cosine of the angle, between 0 and 2; NaN if a vector is zero.
#[inline]
pub fn cosine_distance<E: Element>(a: &[E], b: &[E]) -> f64 {
    cosine_from_parts(dense::cosine_parts(a, b))
}

/// Angle between two unit vectors as a fraction of a half turn.
#[inline]
pub fn spherical_distance<E: Element>(a: &[E], b: &[E]) -> f64 {
    f64::from(dot(a, b)).clamp(-1.0, 1.0).acos() / std::f64::consts::PI
}

/// Euclidean norm.
#[inline]
pub fn l2_norm<E: Element>(a: &[E]) -> f64 {
    dense::norm_squared(a).sqrt()
}

/// What the cosine is made of: the inner product and both squared norms.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CosineParts {
    /// Inner product.
    pub dot: f32,
    /// Squared norm of the first vector.
    pub norm_a: f32,
    /// Squared norm of the second vector.
    pub norm_b: f32,
}

/// The cosine distance from its parts. A square root of the product rather than the product of
/// roots, so that the distance between a vector and its multiple is exactly 0.
#[inline]
pub fn cosine_from_parts(parts: CosineParts) -> f64 {
    let norms = (f64::from(parts.norm_a) * f64::from(parts.norm_b)).sqrt();
    1.0 - (f64::from(parts.dot) / norms).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests;
