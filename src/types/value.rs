//! The layouts of the types, which are pgvector's. Stored bytes are never trusted: what they say of
//! their dimensions must agree with their size.
//!
//! ```text
//! vector, halfvec  length word | i16 dim | i16 0 | elements
//! sparsevec        length word | i32 dim | i32 nnz | i32 0 | i32 indices[nnz] | f32 values[nnz]
//! bit              length word | i32 length | bytes
//! ```

use half::f16;
use leanstack_core::quantize::Value;
use leanstack_core::sparse::{self, Sparse};
use leanstack_core::wire::FromBytes;
use leanstack_core::{Element, Error};
use pgrx::pg_sys;

use super::varlena::{HEADER_BYTES, Varlena};

/// Bytes of the header and the dimensions of a dense vector.
pub const DENSE_HEADER_BYTES: usize = HEADER_BYTES + 4;
/// Bytes of the header and the three numbers of a sparse vector.
pub const SPARSE_HEADER_BYTES: usize = HEADER_BYTES + 12;
/// Bytes of the header and the length of a bit string.
pub const BIT_HEADER_BYTES: usize = HEADER_BYTES + 4;

fn damaged(ty: &'static str, bytes: &[u8]) -> Error {
    Error::Damaged { ty, bytes: bytes.len() }
}

/// The field at `at` of a value.
fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The elements of a `vector` or a `halfvec`, from its bytes with the header.
#[inline]
pub fn dense<E: Element>(bytes: &[u8]) -> Result<&[E], Error> {
    let read = || {
        let dim = u16::from_ne_bytes(field(bytes, HEADER_BYTES)?);
        let elements = <[E]>::ref_from_bytes(bytes.get(DENSE_HEADER_BYTES..)?).ok()?;
        (elements.len() == usize::from(dim)).then_some(elements)
    };
    read().ok_or_else(|| damaged(E::NAME, bytes))
}

/// The parts of a `sparsevec`, from its bytes with the header.
#[inline]
pub fn sparse(bytes: &[u8]) -> Result<Sparse<'_>, Error> {
    let read = || {
        let dim = usize::try_from(i32::from_ne_bytes(field(bytes, HEADER_BYTES)?)).ok()?;
        let nonzero = usize::try_from(i32::from_ne_bytes(field(bytes, HEADER_BYTES + 4)?)).ok()?;
        let body = bytes.get(SPARSE_HEADER_BYTES..)?;
        let (indices, values) = body.split_at_checked(nonzero.checked_mul(4)?)?;
        let indices = <[i32]>::ref_from_bytes(indices).ok()?;
        let values = <[f32]>::ref_from_bytes(values).ok()?;
        let fits = values.len() == nonzero && nonzero <= dim;
        fits.then_some(Sparse { dim, indices, values })
    };
    read().ok_or_else(|| damaged(sparse::TYPE, bytes))
}

/// The length and the bytes of a `bit`, from its bytes with the header.
#[inline]
pub fn bits(bytes: &[u8]) -> Result<(usize, &[u8]), Error> {
    let read = || {
        let len = usize::try_from(i32::from_ne_bytes(field(bytes, HEADER_BYTES)?)).ok()?;
        let body = bytes.get(BIT_HEADER_BYTES..)?;
        (body.len() == len.div_ceil(8)).then_some((len, body))
    };
    read().ok_or_else(|| damaged("bit", bytes))
}

/// The types whose values can be indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// `vector`
    Vector,
    /// `halfvec`
    Halfvec,
    /// `sparsevec`
    Sparsevec,
    /// `bit`
    Bit,
}

/// A value of one of the types, detoasted. Frees its copy, if it is one.
pub struct Detoasted {
    kind: TypeKind,
    varlena: Varlena,
}

/// Detoasts `datum`.
///
/// # Safety
/// `datum` is a non-null value of the type that `kind` says, and outlives the result.
pub unsafe fn detoast(kind: TypeKind, datum: pg_sys::Datum) -> Detoasted {
    // SAFETY: passed on to the caller.
    Detoasted { kind, varlena: unsafe { Varlena::new(datum) } }
}

impl Detoasted {
    /// The value, or an error if its bytes contradict themselves.
    pub fn value(&self) -> Result<Value<'_>, Error> {
        let bytes = self.varlena.bytes();
        Ok(match self.kind {
            TypeKind::Vector => Value::F32(dense::<f32>(bytes)?),
            TypeKind::Halfvec => Value::F16(dense::<f16>(bytes)?),
            TypeKind::Sparsevec => {
                let Sparse { dim, indices, values } = sparse(bytes)?;
                Value::Sparse { dim, indices, values }
            }
            TypeKind::Bit => {
                let (len, bytes) = bits(bytes)?;
                Value::Bits { len, bytes }
            }
        })
    }
}
