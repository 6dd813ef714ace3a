//! The code of a sparse vector: its values, four bytes each, then its indices in as few bytes as any index of the
//! column takes, then zeros up to a multiple of four bytes, which are fewer than an entry has.

use zerocopy::Unalign;

use super::numbers;
use crate::metric::sparse::Entries;

/// Bytes of an index into vectors of `dims` dimensions.
pub fn index_bytes(dims: usize) -> usize {
    match dims {
        0..=0x1_0000 => 2,
        0x1_0001..=0x100_0000 => 3,
        _ => 4,
    }
}

/// Writes the code of a sparse vector after its values.
pub fn write_indices(indices: &[i32], dims: usize, code: &mut Vec<u8>) {
    for index in indices {
        code.extend_from_slice(&index.to_le_bytes()[..index_bytes(dims)]);
    }
    code.resize(code.len().next_multiple_of(4), 0);
}

/// A sparse vector in the bytes of a node, with `BYTES` bytes for each index.
#[derive(Clone, Copy)]
pub struct Packed<'a, const BYTES: usize> {
    values: &'a [Unalign<f32>],
    indices: &'a [[u8; BYTES]],
    scale: f32,
}

impl<'a, const BYTES: usize> Packed<'a, BYTES> {
    /// Reads as many entries as `code` is long.
    #[inline]
    pub fn new(code: &'a [u8], scale: f32) -> Packed<'a, BYTES> {
        let count = code.len() / (4 + BYTES);
        let (values, indices) = code.split_at(count * 4);
        Packed { values: numbers(values), indices: &indices.as_chunks().0[..count], scale }
    }
}

impl<const BYTES: usize> Entries for Packed<'_, BYTES> {
    #[inline(always)]
    fn count(self) -> usize {
        self.indices.len()
    }

    #[inline(always)]
    fn index(self, entry: usize) -> i32 {
        let mut index = [0; 4];
        index[..BYTES].copy_from_slice(&self.indices[entry]);
        i32::from_le_bytes(index)
    }

    #[inline(always)]
    fn value(self, entry: usize) -> f32 {
        self.scale * self.values[entry].get()
    }
}
