//! Arguments and results of the vector types, over the layouts of `value`.

use std::marker::PhantomData;
use std::ops::Deref;

use leanstack_core::sparse::{Sparse, SparseBuf};
use leanstack_core::wire::{FromBytes, IntoBytes};
use leanstack_core::{Element, Error};
use pgrx::pg_sys;

use super::call::{Arg, Ret, datum};
use super::value::{self, BIT_HEADER_BYTES, DENSE_HEADER_BYTES, SPARSE_HEADER_BYTES};
use super::varlena::{Built, HEADER_BYTES, Varlena};

/// A `vector` or `halfvec` argument.
pub struct Dense<E> {
    varlena: Varlena,
    elements: *const [E],
}

impl<E: Element> Arg for Dense<E> {
    #[inline]
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error> {
        // SAFETY: the caller vouches for the argument.
        let varlena = unsafe { Varlena::new(datum(call, n)) };
        let elements: *const [E] = value::dense(varlena.bytes())?;
        Ok(Dense { varlena, elements })
    }
}

impl<E> Deref for Dense<E> {
    type Target = [E];

    #[inline]
    fn deref(&self) -> &[E] {
        // SAFETY: `elements` lies in the memory of `varlena`, which lives as long as `self`.
        unsafe { &*self.elements }
    }
}

impl<E> Ret for Dense<E> {
    fn give(self) -> Option<pg_sys::Datum> {
        Some(self.varlena.into_datum())
    }
}

/// A `vector` or `halfvec` result.
pub struct DenseOut<E> {
    built: Built,
    element: PhantomData<E>,
}

impl<E: Element> DenseOut<E> {
    /// A vector of zeros. The caller has checked `dim`.
    pub fn zeros(dim: usize) -> Self {
        let mut built = Built::new(DENSE_HEADER_BYTES - HEADER_BYTES + dim * size_of::<E>());
        let dim = u16::try_from(dim).expect("dimensions were checked");
        built.body()[..2].copy_from_slice(&dim.to_ne_bytes());
        DenseOut { built, element: PhantomData }
    }

    /// A vector of these elements.
    pub fn of(elements: &[E]) -> Self {
        let mut out = DenseOut::zeros(elements.len());
        out.elements().copy_from_slice(elements);
        out
    }

    /// The elements, for writing.
    pub fn elements(&mut self) -> &mut [E] {
        <[E]>::mut_from_bytes(&mut self.built.body()[DENSE_HEADER_BYTES - HEADER_BYTES..])
            .expect("palloc aligns and `zeros` allocated whole elements")
    }
}

impl<E> Ret for DenseOut<E> {
    fn give(self) -> Option<pg_sys::Datum> {
        Some(self.built.into_datum())
    }
}

/// A `sparsevec` argument.
pub struct SparseArg {
    varlena: Varlena,
    dim: usize,
    indices: *const [i32],
    values: *const [f32],
}

impl SparseArg {
    /// The vector.
    #[inline]
    pub fn get(&self) -> Sparse<'_> {
        // SAFETY: both lie in the memory of `varlena`, which lives as long as `self`.
        unsafe { Sparse { dim: self.dim, indices: &*self.indices, values: &*self.values } }
    }
}

impl Arg for SparseArg {
    #[inline]
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error> {
        // SAFETY: the caller vouches for the argument.
        let varlena = unsafe { Varlena::new(datum(call, n)) };
        let Sparse { dim, indices, values } = value::sparse(varlena.bytes())?;
        let (indices, values): (*const [i32], *const [f32]) = (indices, values);
        Ok(SparseArg { varlena, dim, indices, values })
    }
}

impl Ret for SparseArg {
    fn give(self) -> Option<pg_sys::Datum> {
        Some(self.varlena.into_datum())
    }
}

impl Ret for SparseBuf {
    fn give(self) -> Option<pg_sys::Datum> {
        let offset = SPARSE_HEADER_BYTES - HEADER_BYTES;
        let mut built = Built::new(offset + 8 * self.indices.len());
        let (header, body) = built.body().split_at_mut(offset);
        let as_i32 = |n: usize| i32::try_from(n).expect("dimensions were checked");
        header[..4].copy_from_slice(&as_i32(self.dim).to_ne_bytes());
        header[4..8].copy_from_slice(&as_i32(self.indices.len()).to_ne_bytes());
        let (indices, values) = body.split_at_mut(4 * self.indices.len());
        indices.copy_from_slice(self.indices.as_bytes());
        values.copy_from_slice(self.values.as_bytes());
        Some(built.into_datum())
    }
}

/// A `bit` argument.
pub struct Bits {
    _varlena: Varlena,
    /// Number of bits.
    pub len: usize,
    bytes: *const [u8],
}

impl Arg for Bits {
    #[inline]
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error> {
        // SAFETY: the caller vouches for the argument.
        let varlena = unsafe { Varlena::new(datum(call, n)) };
        let (len, bytes) = value::bits(varlena.bytes())?;
        let bytes: *const [u8] = bytes;
        Ok(Bits { _varlena: varlena, len, bytes })
    }
}

impl Deref for Bits {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `bytes` lies in the memory of the varlena, which lives as long as `self`.
        unsafe { &*self.bytes }
    }
}

/// A `bit` result.
pub struct BitsOut(Built);

impl BitsOut {
    /// A string of `len` zero bits.
    pub fn zeros(len: usize) -> Self {
        let mut built = Built::new(BIT_HEADER_BYTES - HEADER_BYTES + len.div_ceil(8));
        let len = i32::try_from(len).expect("dimensions were checked");
        built.body()[..4].copy_from_slice(&len.to_ne_bytes());
        BitsOut(built)
    }

    /// The bytes, for writing.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.0.body()[BIT_HEADER_BYTES - HEADER_BYTES..]
    }
}

impl Ret for BitsOut {
    fn give(self) -> Option<pg_sys::Datum> {
        Some(self.0.into_datum())
    }
}
