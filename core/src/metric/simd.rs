//! The kernels taken from simsimd, which picks the instruction set at run time. Nothing else calls
//! it.
//!
//! Only those are taken that are exact enough: its cosine uses an approximate reciprocal square
//! root, and its half-precision kernels accumulate in half precision where the processor can.

use simsimd::{BinarySimilarity, SpatialSimilarity};

/// Squared Euclidean distance.
#[inline]
pub fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    f32::l2sq(a, b).expect("vectors of equal length") as f32
}

/// Inner product.
#[inline]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    <f32 as SpatialSimilarity>::dot(a, b).expect("vectors of equal length") as f32
}

/// Number of bits that differ.
#[inline]
pub fn hamming(a: &[u8], b: &[u8]) -> u64 {
    u8::hamming(a, b).expect("bit strings of equal length") as u64
}

/// One minus shared over all set bits; 1 if no bit is set.
#[inline]
pub fn jaccard(a: &[u8], b: &[u8]) -> f64 {
    u8::jaccard(a, b).expect("bit strings of equal length")
}
