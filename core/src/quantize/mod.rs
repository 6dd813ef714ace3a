//! What an index node stores in place of a vector.

use half::f16;

/// A borrowed vector of any SQL type.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A `vector`.
    F32(&'a [f32]),
    /// A `halfvec`.
    F16(&'a [f16]),
    /// A `bit`: its length and its bytes, the unused bits of the last being zero.
    Bits {
        /// Number of bits.
        len: usize,
        /// The bits, the first in the highest bit of the first byte.
        bytes: &'a [u8],
    },
    /// A `sparsevec`.
    Sparse {
        /// Number of dimensions.
        dim: usize,
        /// Where the values are, ascending, counted from 0.
        indices: &'a [i32],
        /// The values, none of them zero.
        values: &'a [f32],
    },
}

impl Value<'_> {
    /// Number of dimensions.
    pub fn dims(&self) -> usize {
        match *self {
            Value::F32(x) => x.len(),
            Value::F16(x) => x.len(),
            Value::Bits { len, .. } => len,
            Value::Sparse { dim, .. } => dim,
        }
    }
}
