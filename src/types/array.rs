//! PostgreSQL's arrays of numbers, as arguments of casts and as the state of `avg`.
//!
//! Layout: length word | i32 ndim | i32 data offset, 0 without NULLs | oid of the element type |
//! i32 dimensions[ndim] | i32 lower bounds[ndim] | NULL bitmap, if any | data.

use leanstack_core::Error;
use leanstack_core::wire::{FromBytes, Immutable, IntoBytes};
use pgrx::pg_sys;

use super::call::{Arg, Ret, datum};
use super::varlena::{Built, HEADER_BYTES, Varlena};

/// Where the data of a one-dimensional array without NULLs begins.
const DATA_BYTES: usize = 24;

/// The header of an array.
struct Header {
    ndim: i32,
    data_offset: i32,
    element_type: pg_sys::Oid,
    /// Length of the first dimension, 0 of an empty array.
    length: usize,
}

impl Header {
    /// Reads the header of an array that has its length word in front.
    fn read(bytes: &[u8]) -> Option<Header> {
        let field = |at: usize| -> Option<i32> {
            Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
        };
        let ndim = field(4)?;
        let length = if ndim == 0 { 0 } else { usize::try_from(field(16)?).ok()? };
        let element_type = pg_sys::Oid::from(field(12)? as u32);
        Some(Header { ndim, data_offset: field(8)?, element_type, length })
    }

    /// Is there a NULL among the elements?
    fn has_nulls(&self, bytes: &[u8]) -> bool {
        self.data_offset != 0
            && (0..self.length).any(|i| {
                let byte = bytes.get(DATA_BYTES + i / 8);
                byte.is_none_or(|byte| byte & 1 << (i % 8) == 0)
            })
    }
}

/// An array argument of `integer`, `real`, `double precision` or `numeric`.
pub struct Numbers(Varlena);

impl Arg for Numbers {
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error> {
        // SAFETY: the caller vouches for the argument.
        Ok(Numbers(unsafe { Varlena::new(datum(call, n)) }))
    }
}

impl Numbers {
    /// The numbers, one after the other through single precision and `convert`, if `check` likes how
    /// many there are.
    pub fn read<T>(
        &self,
        check: impl Fn(usize) -> Result<(), Error>,
        convert: impl Fn(f32) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let bytes = self.0.bytes();
        let damaged = || Error::Damaged { ty: "array", bytes: bytes.len() };
        let header = Header::read(bytes).ok_or_else(damaged)?;
        if header.ndim > 1 {
            return Err(Error::NestedArray);
        }
        if header.has_nulls(bytes) {
            return Err(Error::NullElement);
        }
        check(header.length)?;
        let offset = match header.data_offset {
            0 => DATA_BYTES,
            offset => usize::try_from(offset).map_err(|_| damaged())?,
        };
        let data = bytes.get(offset..).ok_or_else(damaged)?;
        match header.element_type {
            pg_sys::INT4OID => elements::<i32>(data, header.length)
                .ok_or_else(damaged)?
                .iter()
                .map(|x| convert(*x as f32))
                .collect(),
            pg_sys::FLOAT4OID => elements::<f32>(data, header.length)
                .ok_or_else(damaged)?
                .iter()
                .map(|x| convert(*x))
                .collect(),
            pg_sys::FLOAT8OID => elements::<f64>(data, header.length)
                .ok_or_else(damaged)?
                .iter()
                .map(|x| convert(*x as f32))
                .collect(),
            pg_sys::NUMERICOID => self.numerics().map(convert).collect(),
            _ => Err(Error::ArrayType),
        }
    }

    /// The numbers of a `numeric` array without NULLs.
    fn numerics(&self) -> impl Iterator<Item = f32> {
        let (mut datums, mut count) = (std::ptr::null_mut(), 0);
        // SAFETY: the array is valid and its elements are numeric: variable length, passed by
        // reference, aligned as integers. The server allocates and fills as many datums as it says,
        // and they point into the array.
        let datums = unsafe {
            pg_sys::deconstruct_array(
                self.0.bytes().as_ptr() as *mut pg_sys::ArrayType,
                pg_sys::NUMERICOID,
                -1,
                false,
                pg_sys::TYPALIGN_INT as std::ffi::c_char,
                &mut datums,
                std::ptr::null_mut(),
                &mut count,
            );
            std::slice::from_raw_parts(datums, count as usize)
        };
        datums.iter().map(|datum| {
            // SAFETY: numeric_float4 takes one numeric and gives a real.
            unsafe { pgrx::direct_function_call(pg_sys::numeric_float4, &[Some(*datum)]) }
                .expect("numeric_float4 is strict and its argument not NULL")
        })
    }
}

/// The first `length` elements of `data`.
fn elements<T: FromBytes + Immutable>(data: &[u8], length: usize) -> Option<&[T]> {
    <[T]>::ref_from_prefix_with_elems(data, length).ok().map(|(elements, _)| elements)
}

/// A one-dimensional array of numbers as a result.
pub struct ArrayOut(Built);

impl ArrayOut {
    /// An array of zeros. `element_type` is the oid of `T`.
    pub fn zeros<T>(element_type: pg_sys::Oid, length: usize) -> Self {
        let mut built = Built::new(DATA_BYTES - HEADER_BYTES + length * size_of::<T>());
        let length = i32::try_from(length).expect("an array under 1 GB");
        let fields = [1, 0, u32::from(element_type) as i32, length, 1];
        let header = &mut built.body()[..DATA_BYTES - HEADER_BYTES];
        header.copy_from_slice(fields.as_bytes());
        ArrayOut(built)
    }

    /// The elements, for writing.
    pub fn elements<T: FromBytes + IntoBytes>(&mut self) -> &mut [T] {
        <[T]>::mut_from_bytes(&mut self.0.body()[DATA_BYTES - HEADER_BYTES..])
            .expect("palloc aligns and `zeros` allocated whole elements")
    }
}

impl Ret for ArrayOut {
    fn give(self) -> Option<pg_sys::Datum> {
        Some(self.0.into_datum())
    }
}

/// The state of `avg`: an array of `double precision` with the count in front of the sums.
pub struct State {
    varlena: Varlena,
    in_aggregate: bool,
}

impl Arg for State {
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error> {
        // SAFETY: the caller vouches for the argument and the call.
        unsafe {
            let varlena = Varlena::new(datum(call, n));
            let in_aggregate = pg_sys::AggCheckCallContext(call, std::ptr::null_mut()) != 0;
            Ok(State { varlena, in_aggregate })
        }
    }
}

impl State {
    /// The numbers. `caller` is the SQL function, for the error.
    pub fn values(&self, caller: &'static str) -> Result<&[f64], Error> {
        let bytes = self.varlena.bytes();
        let read = || {
            let header = Header::read(bytes)?;
            let is_state = header.ndim == 1
                && header.length >= 1
                && header.data_offset == 0
                && header.element_type == pg_sys::FLOAT8OID;
            let data = bytes.get(DATA_BYTES..).filter(|_| is_state)?;
            <[f64]>::ref_from_bytes(data).ok().filter(|values| values.len() == header.length)
        };
        read().ok_or(Error::AggregateState(caller))
    }

    /// The same for writing, if this is the first argument of a running aggregate: then nobody else
    /// sees the state, and the function may change it rather than copy it. None otherwise.
    pub fn values_mut(&mut self, caller: &'static str) -> Result<Option<&mut [f64]>, Error> {
        self.values(caller)?;
        if !self.in_aggregate {
            return Ok(None);
        }
        // SAFETY: the state of a running aggregate belongs to the transition function.
        let data = unsafe { &mut self.varlena.bytes_mut()[DATA_BYTES..] };
        <[f64]>::mut_from_bytes(data).map(Some).map_err(|_| Error::AggregateState(caller))
    }
}

impl Ret for State {
    fn give(self) -> Option<pg_sys::Datum> {
        Some(self.varlena.into_datum())
    }
}
