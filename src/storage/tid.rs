//! The address of a heap row, as it lies on pages.

use super::page::read_u16;

/// The address of a heap row, as in `ItemPointerData`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Tid {
    /// Block of the heap.
    pub block: u32,
    /// Line pointer, from 1.
    pub offset: u16,
}

impl Tid {
    /// No row.
    pub const NONE: Tid = Tid { block: u32::MAX, offset: 0 };
    /// Bytes on a page.
    pub const BYTES: usize = 6;

    /// Whether it is an address at all.
    pub fn is_some(self) -> bool {
        self.offset != 0
    }

    /// Reads an address at `at`.
    #[inline(always)]
    pub fn read(bytes: &[u8], at: usize) -> Tid {
        let block = u32::from(read_u16(bytes, at)) << 16 | u32::from(read_u16(bytes, at + 2));
        Tid { block, offset: read_u16(bytes, at + 4) }
    }

    /// Writes it at `at`.
    pub fn write(self, bytes: &mut [u8], at: usize) {
        bytes[at..at + 2].copy_from_slice(&((self.block >> 16) as u16).to_ne_bytes());
        bytes[at + 2..at + 4].copy_from_slice(&(self.block as u16).to_ne_bytes());
        bytes[at + 4..at + 6].copy_from_slice(&self.offset.to_ne_bytes());
    }
}
