//! The definitions, one line each: what the kernels are tested against.

use super::CosineParts;
use crate::Element;

/// Squared Euclidean distance.
pub fn l2_squared<E: Element>(a: &[E], b: &[E]) -> f32 {
    pairs(a, b).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// Inner product.
pub fn dot<E: Element>(a: &[E], b: &[E]) -> f32 {
    pairs(a, b).map(|(x, y)| x * y).sum()
}

/// Sum of absolute differences.
pub fn l1<E: Element>(a: &[E], b: &[E]) -> f32 {
    pairs(a, b).map(|(x, y)| (x - y).abs()).sum()
}

/// Inner product and squared norms.
pub fn cosine_parts<E: Element>(a: &[E], b: &[E]) -> CosineParts {
    CosineParts { dot: dot(a, b), norm_a: dot(a, a), norm_b: dot(b, b) }
}

/// Number of bits that differ.
pub fn hamming(a: &[u8], b: &[u8]) -> u64 {
    a.iter().zip(b).map(|(x, y)| u64::from((x ^ y).count_ones())).sum()
}

/// One minus the share of set bits that both have.
pub fn jaccard(a: &[u8], b: &[u8]) -> f64 {
    let count =
        |f: fn(u8, u8) -> u8| -> u32 { a.iter().zip(b).map(|(&x, &y)| f(x, y).count_ones()).sum() };
    let (shared, all) = (count(|x, y| x & y), count(|x, y| x | y));
    if shared == 0 { 1.0 } else { 1.0 - f64::from(shared) / f64::from(all) }
}

fn pairs<E: Element>(a: &[E], b: &[E]) -> impl Iterator<Item = (f32, f32)> {
    a.iter().zip(b).map(|(x, y)| (x.to_f32(), y.to_f32()))
}
