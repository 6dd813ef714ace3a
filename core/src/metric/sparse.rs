//! Distances between sparse vectors: ascending indices and their values, which are not zero.
//!
//! Sums run in the order of the indices, as the scalar definition has them.

use std::cmp::Ordering;

use super::{CosineParts, cosine_from_parts};

/// Entries of a sparse vector: indices that ascend strictly, each with a value.
pub trait Entries: Copy {
    /// Number of entries.
    fn count(self) -> usize;
    /// Index of an entry that exists.
    fn index(self, entry: usize) -> i32;
    /// Value of an entry that exists.
    fn value(self, entry: usize) -> f32;
}

/// A borrowed sparse vector. `indices` ascend strictly and are as many as `values`.
#[derive(Clone, Copy, Debug)]
pub struct Sparse<'a> {
    /// Where the values are, counted from 0.
    pub indices: &'a [i32],
    /// The values.
    pub values: &'a [f32],
}

impl Entries for Sparse<'_> {
    #[inline(always)]
    fn count(self) -> usize {
        self.indices.len()
    }

    #[inline(always)]
    fn index(self, entry: usize) -> i32 {
        self.indices[entry]
    }

    #[inline(always)]
    fn value(self, entry: usize) -> f32 {
        self.values[entry]
    }
}

/// Squared Euclidean distance.
pub fn l2_squared(a: impl Entries, b: impl Entries) -> f32 {
    let mut sum = 0.0;
    merge(a, b, |x, y| sum += (x - y) * (x - y));
    sum
}

/// Inner product.
pub fn dot(a: impl Entries, b: impl Entries) -> f32 {
    let mut sum = 0.0;
    let (mut i, mut j) = (0, 0);
    while i < a.count() && j < b.count() {
        let (x, y) = (a.index(i), b.index(j));
        if x == y {
            sum += a.value(i) * b.value(j);
        }
        // Both steps without a branch: which index is ahead cannot be predicted.
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    sum
}

/// Sum of absolute differences.
pub fn l1(a: impl Entries, b: impl Entries) -> f32 {
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
fn merge(a: impl Entries, b: impl Entries, mut pair: impl FnMut(f32, f32)) {
    let (mut i, mut j) = (0, 0);
    while i < a.count() && j < b.count() {
        match a.index(i).cmp(&b.index(j)) {
            Ordering::Less => {
                pair(a.value(i), 0.0);
                i += 1;
            }
            Ordering::Greater => {
                pair(0.0, b.value(j));
                j += 1;
            }
            Ordering::Equal => {
                pair(a.value(i), b.value(j));
                i += 1;
                j += 1;
            }
        }
    }
    (i..a.count()).for_each(|i| pair(a.value(i), 0.0));
    (j..b.count()).for_each(|j| pair(0.0, b.value(j)));
}
