//! Distances between bit strings, as bytes. The unused bits of the last byte are zero.

use super::simd;

/// Number of bits that differ.
#[inline]
pub fn hamming(a: &[u8], b: &[u8]) -> u64 {
    simd::hamming(a, b)
}

/// One minus the share of set bits that both have; 1 if they have none in common.
#[inline]
pub fn jaccard(a: &[u8], b: &[u8]) -> f64 {
    simd::jaccard(a, b)
}
