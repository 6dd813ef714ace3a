//! Reading PostgreSQL's binary messages: big-endian fields, each behind a length check.

use half::f16;
/// The traits by which slices of elements are cast from and to bytes.
pub use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{Element, Error};

/// An element that goes over the wire.
pub trait Wire: Element {
    /// Reads one element of a binary message.
    fn read(reader: &mut Reader<'_>) -> Result<Self, Error>;
    /// This element in the byte order of the wire.
    fn to_wire(self) -> impl AsRef<[u8]>;
}

impl Wire for f32 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.f32()
    }

    fn to_wire(self) -> impl AsRef<[u8]> {
        self.to_be_bytes()
    }
}

impl Wire for f16 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.u16().map(f16::from_bits)
    }

    fn to_wire(self) -> impl AsRef<[u8]> {
        self.to_be_bytes()
    }
}

/// The rest of a message.
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.bytes.split_first_chunk().ok_or(Error::Truncated)?;
        self.bytes = rest;
        Ok(*head)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> Result<u16, Error> {
        self.take().map(u16::from_be_bytes)
    }

    /// The next four bytes.
    pub fn i32(&mut self) -> Result<i32, Error> {
        self.take().map(i32::from_be_bytes)
    }

    /// The next four bytes.
    pub fn f32(&mut self) -> Result<f32, Error> {
        self.take().map(f32::from_be_bytes)
    }
}
