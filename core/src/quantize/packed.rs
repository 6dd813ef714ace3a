//! The code of a sparse vector: its indices, then its values, four bytes each, at any address.

use zerocopy::Unalign;

use super::numbers;
use crate::metric::sparse::Entries;

/// A sparse vector in the bytes of a node.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    indices: &'a [Unalign<i32>],
    values: &'a [Unalign<f32>],
    scale: f32,
}

impl<'a> Packed<'a> {
    /// Reads as many entries as `code` is long.
    #[inline]
    pub fn new(code: &'a [u8], scale: f32) -> Packed<'a> {
        let (indices, values) = code.split_at(code.len() / 8 * 4);
        let indices = numbers(indices);
        Packed { indices, values: &numbers(values)[..indices.len()], scale }
    }
}

impl Entries for Packed<'_> {
    #[inline(always)]
    fn count(self) -> usize {
        self.indices.len()
    }

    #[inline(always)]
    fn index(self, entry: usize) -> i32 {
        self.indices[entry].get()
    }

    #[inline(always)]
    fn value(self, entry: usize) -> f32 {
        self.scale * self.values[entry].get()
    }
}
