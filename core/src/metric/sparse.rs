//! Distances between sparse vectors: ascending indices and their values, which are not zero.
//!
//! Sums run in the order of the indices, as the scalar definition has them.

use std::cmp::Ordering;

use super::{CosineParts, cosine_from_parts};

/// A borrowed sparse vector. `indices` ascend strictly and are as many as `values`.
#[derive(Clone, Copy, Debug)]
pub struct Sparse<'a> {
    /// Where the values are, counted from 0.
    pub indices: &'a [i32],
    /// The values.
    pub values: &'a [f32],
}

/// Squared Euclidean distance.
pub fn l2_squared(a: Sparse<'_>, b: Sparse<'_>) -> f32 {
    let mut sum = 0.0;
    merge(a, b, |x, y| sum += (x - y) * (x - y));
    sum
}

/// Inner product.
pub fn dot(a: Sparse<'_>, b: Sparse<'_>) -> f32 {
    let mut sum = 0.0;
    let (mut i, mut j) = (0, 0);
    while let (Some(&x), Some(&y)) = (a.indices.get(i), b.indices.get(j)) {
        if x == y {
            sum += a.values[i] * b.values[j];
        }
        // Both steps without a branch: which index is ahead cannot be predicted.
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    sum
}

/// Sum of absolute differences.
pub fn l1(a: Sparse<'_>, b: Sparse<'_>) -> f32 {
    let mut sum = 0.0;
    merge(a, b, |x, y| sum += (x - y).abs());
    sum
}

/// One minus the cosine of the angle; NaN if a vector is zero.
pub fn cosine_distance(a: Sparse<'_>, b: Sparse<'_>) -> f64 {
    let norm = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>();
    let (norm_a, norm_b) = (norm(a.values), norm(b.values));
    cosine_from_parts(CosineParts { dot: dot(a, b), norm_a, norm_b })
}

/// Euclidean norm.
pub fn l2_norm(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

/// Calls `pair` with the two values at every index that either vector has.
#[inline(always)]
fn merge(a: Sparse<'_>, b: Sparse<'_>, mut pair: impl FnMut(f32, f32)) {
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.indices.get(i), b.indices.get(j)) {
        match x.cmp(y) {
            Ordering::Less => {
                pair(a.values[i], 0.0);
                i += 1;
            }
            Ordering::Greater => {
                pair(0.0, b.values[j]);
                j += 1;
            }
            Ordering::Equal => {
                pair(a.values[i], b.values[j]);
                i += 1;
                j += 1;
            }
        }
    }
    a.values[i..].iter().for_each(|&x| pair(x, 0.0));
    b.values[j..].iter().for_each(|&y| pair(0.0, y));
}
