//! The 8 kB page as bytes: PostgreSQL's page header in front, our eight bytes at the end, the rest ours.
//!
//! Every page of ours ends with a [`Trailer`]: what kind of page it is, in which format, and from when on its freed
//! places may be used again. Content lies between the header and `pd_lower`; generic WAL does not log the gap between
//! `pd_lower` and `pd_upper`, so nothing may be kept there.

use pgrx::pg_sys;

/// Bytes of a page.
pub const PAGE_BYTES: usize = pg_sys::BLCKSZ as usize;
/// Bytes of PostgreSQL's page header.
pub const HEADER_BYTES: usize = std::mem::offset_of!(pg_sys::PageHeaderData, pd_linp);
/// Bytes of our trailer, which PostgreSQL calls the special space.
pub const TRAILER_BYTES: usize = 8;
/// Bytes between the two.
pub const CONTENT_BYTES: usize = PAGE_BYTES - HEADER_BYTES - TRAILER_BYTES;

const TRAILER_AT: usize = PAGE_BYTES - TRAILER_BYTES;
const LOWER_AT: usize = std::mem::offset_of!(pg_sys::PageHeaderData, pd_lower);
const UPPER_AT: usize = std::mem::offset_of!(pg_sys::PageHeaderData, pd_upper);
/// The last two bytes of each of our pages.
const PAGE_ID: u16 = 0x4C53;

const _: () = assert!(HEADER_BYTES == 24 && TRAILER_BYTES.is_multiple_of(8));

/// The end of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trailer {
    /// Freed places may be used again when no snapshot is as old as this transaction. 0: at once.
    pub reuse_after: u32,
    /// What is on the page; each access method numbers its own kinds.
    pub kind: u8,
    /// The version of the page's format.
    pub format: u8,
}

/// A page that can be read.
pub type Page = [u8; PAGE_BYTES];

/// Reads a number of a page at `at`. Pages are in the byte order of the machine, as all of
/// PostgreSQL's are.
pub fn read_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

/// As [`read_u16`], four bytes.
pub fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// As [`read_u16`], eight bytes.
pub fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(number)
}

/// The trailer of a page, or nothing if the page is not one of ours (all zero after a crash, or damaged).
pub fn trailer(page: &Page) -> Option<Trailer> {
    (read_u16(page, PAGE_BYTES - 2) == PAGE_ID).then(|| Trailer {
        reuse_after: read_u32(page, TRAILER_AT),
        kind: page[TRAILER_AT + 4],
        format: page[TRAILER_AT + 5],
    })
}

/// Writes the trailer.
pub fn set_trailer(page: &mut Page, trailer: Trailer) {
    page[TRAILER_AT..TRAILER_AT + 4].copy_from_slice(&trailer.reuse_after.to_ne_bytes());
    page[TRAILER_AT + 4] = trailer.kind;
    page[TRAILER_AT + 5] = trailer.format;
    page[PAGE_BYTES - 2..].copy_from_slice(&PAGE_ID.to_ne_bytes());
}

/// Makes a page empty, with `content_bytes` of zeros in use.
pub fn init(page: &mut Page, trailer: Trailer, content_bytes: usize) {
    // SAFETY: the page is BLCKSZ bytes, as PageInit asks.
    unsafe {
        pg_sys::PageInit(page.as_mut_ptr().cast(), PAGE_BYTES, TRAILER_BYTES);
    }
    set_trailer(page, trailer);
    set_content_bytes(page, content_bytes);
}

/// How many bytes of content are in use.
pub fn content_bytes(page: &Page) -> usize {
    usize::from(read_u16(page, LOWER_AT)).clamp(HEADER_BYTES, TRAILER_AT) - HEADER_BYTES
}

/// Sets how many bytes of content are in use.
pub fn set_content_bytes(page: &mut Page, bytes: usize) {
    let lower = (HEADER_BYTES + bytes.min(CONTENT_BYTES)) as u16;
    page[LOWER_AT..LOWER_AT + 2].copy_from_slice(&lower.to_ne_bytes());
    page[UPPER_AT..UPPER_AT + 2].copy_from_slice(&(TRAILER_AT as u16).to_ne_bytes());
}

/// The content.
pub fn content(page: &Page) -> &[u8] {
    &page[HEADER_BYTES..TRAILER_AT]
}

/// The content, to change.
pub fn content_mut(page: &mut Page) -> &mut [u8] {
    &mut page[HEADER_BYTES..TRAILER_AT]
}
