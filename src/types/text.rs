//! Text and binary input and output: literals, messages, type modifiers, and how a number is printed.

use std::ffi::{CStr, c_char, c_int};
use std::ops::Deref;

use leanstack_core::Error;
use leanstack_core::wire::Reader;
use pgrx::pg_sys;

use super::call::{Arg, Ret, datum};
use super::varlena::{Built, HEADER_BYTES, Varlena};

unsafe extern "C" {
    /// The server's own printing of a `real`: at most 15 characters, no terminator, raises nothing.
    fn float_to_shortest_decimal_bufn(value: f32, out: *mut c_char) -> c_int;
}

/// Appends a number as the server prints a `real`, whatever `extra_float_digits` says.
pub fn print_float(out: &mut Vec<u8>, value: f32) {
    let mut buffer = [0u8; 16];
    // SAFETY: the buffer has FLOAT_SHORTEST_DECIMAL_LEN bytes, which is what the function asks for.
    let length = unsafe { float_to_shortest_decimal_bufn(value, buffer.as_mut_ptr().cast()) };
    out.extend_from_slice(&buffer[..length as usize]);
}

/// A `cstring` argument, in the encoding of the database.
pub struct Literal(*const c_char);

impl Arg for Literal {
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error> {
        // SAFETY: the caller vouches for the argument.
        Ok(Literal(unsafe { datum(call, n) }.cast_mut_ptr()))
    }
}

impl Deref for Literal {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: a cstring argument is terminated and outlives the call, and so `self`.
        unsafe { CStr::from_ptr(self.0) }.to_bytes()
    }
}

/// A `cstring` result.
pub struct Text(pub Vec<u8>);

impl Ret for Text {
    fn give(self) -> Option<pg_sys::Datum> {
        // SAFETY: palloc gives room for the text and its terminator, or raises.
        unsafe {
            let start: *mut u8 = pg_sys::palloc(self.0.len() + 1).cast();
            std::ptr::copy_nonoverlapping(self.0.as_ptr(), start, self.0.len());
            start.add(self.0.len()).write(0);
            Some(pg_sys::Datum::from(start))
        }
    }
}

/// A `bytea` result.
pub struct Bytea(pub Vec<u8>);

impl Ret for Bytea {
    fn give(self) -> Option<pg_sys::Datum> {
        let mut built = Built::new(self.0.len());
        built.body().copy_from_slice(&self.0);
        Some(built.into_datum())
    }
}

/// An argument that is bytes behind a length word: a `bytea`, or a `text` in the encoding of the database.
pub struct Bytes(Varlena);

impl Arg for Bytes {
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error> {
        // SAFETY: the caller vouches for the argument.
        Ok(unsafe { Bytes::of(datum(call, n)) })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes()[HEADER_BYTES..]
    }
}

impl Bytes {
    /// The value behind a datum.
    ///
    /// # Safety
    /// `datum` is a `bytea` or a `text`, which outlives the result.
    pub unsafe fn of(datum: pg_sys::Datum) -> Bytes {
        // SAFETY: the caller vouches for the datum.
        Bytes(unsafe { Varlena::new(datum) })
    }

    /// The whole value as a datum, for as long as it lives.
    pub fn datum(&self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.0.bytes().as_ptr())
    }
}

/// The message that a receive function reads from.
pub struct Message(pg_sys::StringInfo);

impl Arg for Message {
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error> {
        // SAFETY: the caller vouches for the argument.
        Ok(Message(unsafe { datum(call, n) }.cast_mut_ptr()))
    }
}

impl Message {
    /// Reads a value and moves on behind it.
    pub fn read<T>(
        self,
        decode: impl FnOnce(&mut Reader<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // SAFETY: PostgreSQL passes a valid buffer, whose cursor lies between 0 and its length.
        let (buffer, bytes) = unsafe {
            let buffer = &mut *self.0;
            let data: &[u8] = std::slice::from_raw_parts(buffer.data.cast(), buffer.len as usize);
            let cursor = buffer.cursor as usize;
            (buffer, data.get(cursor..).ok_or(Error::Truncated)?)
        };
        let mut reader = Reader::new(bytes);
        let value = decode(&mut reader)?;
        buffer.cursor = buffer.len - reader.left() as c_int;
        Ok(value)
    }
}

/// The type modifiers between the parentheses of a type.
pub struct Typmods(Vec<i32>);

impl Arg for Typmods {
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error> {
        // SAFETY: the caller vouches that the argument is cstring[]; the server reads it, and gives
        // an array of as many numbers as it says.
        unsafe {
            let array = Varlena::new(datum(call, n));
            let mut count = 0;
            let list = pg_sys::ArrayGetIntegerTypmods(array.bytes().as_ptr() as *mut _, &mut count);
            Ok(Typmods(std::slice::from_raw_parts(list, count as usize).to_vec()))
        }
    }
}

impl Typmods {
    /// The dimensions of a type that can have up to `max`.
    pub fn dimensions(&self, ty: &'static str, max: usize) -> Result<i32, Error> {
        let [dimensions] = *self.0 else { return Err(Error::TypeModifier) };
        match usize::try_from(dimensions) {
            Ok(1..) if dimensions as usize <= max => Ok(dimensions),
            Ok(1..) => Err(Error::TypeModifierTooLarge { ty, max }),
            _ => Err(Error::TypeModifierTooSmall(ty)),
        }
    }
}
