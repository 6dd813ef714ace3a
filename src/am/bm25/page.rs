//! What is on the pages of a `bm25` index, byte by byte; `README.md` beside this has the drawings.
//!
//! Every page but the metapage begins with the stamp of what it belongs to: a segment or a write buffer. Stamps are never
//! given twice, so a scan that follows an address to a page that was reused meanwhile sees another stamp, on a standby as well.

use crate::storage::Tid;
use crate::storage::page::{
    CONTENT_BYTES, Page, Trailer, content, content_bytes, content_mut, init, read_u32,
    set_content_bytes, set_trailer, trailer,
};

/// The block of the metapage.
pub const META_BLOCK: u32 = 0;
/// No block.
pub const NONE: u32 = u32::MAX;
/// The version of the format of all pages.
const FORMAT: u8 = 1;
/// Bytes of the stamp and the number in front of a segment's page.
const PREFIX_BYTES: usize = 8;
/// Bytes of a page that a segment has for itself.
pub const PAYLOAD_BYTES: usize = CONTENT_BYTES - PREFIX_BYTES;

/// What a page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// The first page.
    Meta = 1,
    /// A page of a segment.
    Segment = 2,
    /// Where the pages of a segment lie.
    Map = 3,
    /// Documents that are in no segment yet.
    Buffer = 4,
    /// Nothing.
    Free = 5,
}

/// Whether a page is of a kind, in a format that is known.
pub fn is_kind(page: &Page, kind: Kind) -> bool {
    trailer(page).is_some_and(|end| end.kind == kind as u8 && end.format == FORMAT)
}

/// The kind of a page, if it has one.
pub fn kind(page: &Page) -> Option<Kind> {
    [Kind::Meta, Kind::Segment, Kind::Map, Kind::Buffer, Kind::Free]
        .into_iter()
        .find(|&kind| is_kind(page, kind))
}

/// Whether a page can be taken: it was given back, or a crash came before its first use.
pub fn is_free(page: &Page) -> bool {
    is_kind(page, Kind::Free) || page.iter().all(|&byte| byte == 0)
}

/// Makes a page free. What is on it stays, for nobody to find.
pub fn set_free(page: &mut Page) {
    if trailer(page).is_none() {
        init_as(page, Kind::Free, 0);
    } else {
        set_trailer(page, end_of(Kind::Free));
    }
}

fn end_of(kind: Kind) -> Trailer {
    Trailer { reuse_after: 0, kind: kind as u8, format: FORMAT }
}

/// Makes a page empty, with so many bytes of zeros in use.
pub fn init_as(page: &mut Page, kind: Kind, bytes: usize) {
    init(page, end_of(kind), bytes);
}

/// Whose a page is. Not of the metapage.
pub fn stamp(page: &Page) -> u32 {
    read_u32(content(page), 0)
}

fn set_u32(page: &mut Page, at: usize, number: u32) {
    content_mut(page)[at..at + 4].copy_from_slice(&number.to_ne_bytes());
}

/// Writes a page of a segment.
pub fn write_segment_page(page: &mut Page, stamp: u32, number: u32, payload: &[u8]) {
    init_as(page, Kind::Segment, PREFIX_BYTES + payload.len());
    set_u32(page, 0, stamp);
    set_u32(page, 4, number);
    content_mut(page)[PREFIX_BYTES..PREFIX_BYTES + payload.len()].copy_from_slice(payload);
}

/// Whether a page is this one of a segment.
pub fn is_segment_page(page: &Page, stamp: u32, number: u32) -> bool {
    let bytes = content(page);
    is_kind(page, Kind::Segment) && read_u32(bytes, 0) == stamp && read_u32(bytes, 4) == number
}

/// What a segment has on its page.
pub fn payload(page: &Page) -> &[u8] {
    &content(page)[PREFIX_BYTES..]
}

/// What a segment has on its page, to change in place.
pub fn payload_mut(page: &mut Page) -> &mut [u8] {
    &mut content_mut(page)[PREFIX_BYTES..]
}

/// Pages that follow one another on the disk: the first block, and how many.
pub type Run = (u32, u32);

const MAP_NEXT_AT: usize = 4;
const MAP_COUNT_AT: usize = 8;
const MAP_RUNS_AT: usize = 12;
const RUN_BYTES: usize = 8;
/// Runs on a page of a map.
pub const MAP_RUNS: usize = (CONTENT_BYTES - MAP_RUNS_AT) / RUN_BYTES;

/// Writes a page of a map; `next` is the page with the further runs.
pub fn write_map_page(page: &mut Page, stamp: u32, next: u32, runs: &[Run]) {
    init_as(page, Kind::Map, MAP_RUNS_AT + runs.len() * RUN_BYTES);
    set_u32(page, 0, stamp);
    set_u32(page, MAP_NEXT_AT, next);
    set_u32(page, MAP_COUNT_AT, runs.len() as u32);
    for (at, &(first, count)) in runs.iter().enumerate() {
        set_u32(page, MAP_RUNS_AT + at * RUN_BYTES, first);
        set_u32(page, MAP_RUNS_AT + at * RUN_BYTES + 4, count);
    }
}

/// The runs on a page of a map, and the page with the further ones.
pub fn read_map_page(page: &Page) -> (Vec<Run>, u32) {
    let bytes = content(page);
    let count = (read_u32(bytes, MAP_COUNT_AT) as usize).min(MAP_RUNS);
    let run = |at| {
        let at = MAP_RUNS_AT + at * RUN_BYTES;
        (read_u32(bytes, at), read_u32(bytes, at + 4))
    };
    ((0..count).map(run).collect(), read_u32(bytes, MAP_NEXT_AT))
}

const BUFFER_FLAGS_AT: usize = 4;
const BUFFER_NEXT_AT: usize = 8;
const BUFFER_ENTRIES_AT: usize = 12;
/// The buffer of the page takes nothing more.
const SEALED: u32 = 1;
/// Bytes that entries can have on a page of a buffer.
pub const BUFFER_BYTES: usize = CONTENT_BYTES - BUFFER_ENTRIES_AT;

/// Makes a page an empty last page of a buffer.
pub fn init_buffer_page(page: &mut Page, stamp: u32) {
    init_as(page, Kind::Buffer, BUFFER_ENTRIES_AT);
    set_u32(page, 0, stamp);
    set_u32(page, BUFFER_NEXT_AT, NONE);
}

/// Whether a page is one of this buffer.
pub fn is_buffer_page(page: &Page, owner: u32) -> bool {
    is_kind(page, Kind::Buffer) && stamp(page) == owner
}

/// Whether the buffer of a page takes nothing more.
pub fn is_sealed(page: &Page) -> bool {
    read_u32(content(page), BUFFER_FLAGS_AT) & SEALED != 0
}

/// Says that the buffer of a page takes nothing more.
pub fn seal(page: &mut Page) {
    set_u32(page, BUFFER_FLAGS_AT, SEALED);
}

/// The next page of a buffer.
pub fn next_in_buffer(page: &Page) -> u32 {
    read_u32(content(page), BUFFER_NEXT_AT)
}

/// Sets the next page of a buffer.
pub fn set_next_in_buffer(page: &mut Page, block: u32) {
    set_u32(page, BUFFER_NEXT_AT, block);
}

/// The entries on a page of a buffer.
pub fn entries(page: &Page) -> &[u8] {
    let end = content_bytes(page).max(BUFFER_ENTRIES_AT);
    &content(page)[BUFFER_ENTRIES_AT..end]
}

/// Whether an entry of so many bytes finds room.
pub fn has_room(page: &Page, bytes: usize) -> bool {
    content_bytes(page) + bytes <= CONTENT_BYTES
}

/// Adds an entry, for which there is room.
pub fn add_entry(page: &mut Page, entry: &[u8]) {
    let at = content_bytes(page);
    set_content_bytes(page, at + entry.len());
    content_mut(page)[at..at + entry.len()].copy_from_slice(entry);
}

/// A row's address as segments have it.
pub fn tid_bytes(tid: Tid) -> [u8; Tid::BYTES] {
    let mut bytes = [0; Tid::BYTES];
    tid.write(&mut bytes, 0);
    bytes
}
