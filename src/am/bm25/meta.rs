//! The metapage: how the index reads documents, which segments it has, and where new documents go.

use std::ffi::{CStr, CString};

use leanstack_core::bm25::{Params, Summary};
use pgrx::{PgSqlErrorCode, pg_sys};

use super::page::{Kind, META_BLOCK, NONE, init_as, is_kind};
use crate::error::fail;
use crate::storage::page::{CONTENT_BYTES, Page, content, content_mut, read_u32, read_u64};
use crate::storage::{ReadGuard, WalTxn, WriteGuard, corrupt};

/// Most columns, elements of an array or labels of a tsvector that can have a weight of their own.
pub const MAX_WEIGHTS: usize = 16;

/// A chain of pages with documents that are in no segment yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffer {
    /// Whose its pages are.
    pub stamp: u32,
    /// Its first page; [`NONE`] where there is no buffer.
    pub head: u32,
    /// Its last page.
    pub tail: u32,
    /// How many pages it has.
    pub pages: u32,
}

impl Buffer {
    /// No buffer.
    pub const NONE: Buffer = Buffer { stamp: 0, head: NONE, tail: NONE, pages: 0 };
}

/// A segment, as the metapage has it.
#[derive(Clone, Debug)]
pub struct SegmentEntry {
    /// Whose its pages are.
    pub stamp: u32,
    /// The first page of its map.
    pub map: u32,
    /// Documents that are not dead.
    pub live_documents: u32,
    /// Whether a vacuum was stopped between marking documents dead and counting them.
    pub is_recount_due: bool,
    /// The sum of the lengths of the documents that are not dead.
    pub live_length: u64,
    /// What the segment was written with.
    pub summary: Summary,
}

impl SegmentEntry {
    /// How many documents are dead.
    pub fn dead_documents(&self) -> u32 {
        self.summary.documents.saturating_sub(self.live_documents)
    }
}

/// The metapage.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Drawn when the index was built.
    pub build_id: u64,
    /// The text search configuration, with its schema.
    pub config: ConfigName,
    /// The type of the column, as a number of `words::Source`.
    pub source: u8,
    /// How many words a word stands for, by its place; 0 where there is no such place.
    pub weights: [u8; MAX_WEIGHTS],
    /// The constants of the score.
    pub params: Params,
    /// The next stamp to give away.
    pub next_stamp: u32,
    /// Whether there may be pages that nothing leads to.
    pub is_unclean: bool,
    /// Where new documents go.
    pub active: Buffer,
    /// A buffer that becomes a segment, if there is one.
    pub sealed: Buffer,
    /// The segments, from the oldest.
    pub segments: Vec<SegmentEntry>,
}

const BUILD_ID_AT: usize = 0;
const SOURCE_AT: usize = 8;
const UNCLEAN_AT: usize = 9;
const K1_AT: usize = 16;
const B_AT: usize = 24;
const WEIGHTS_AT: usize = 32;
const NEXT_STAMP_AT: usize = WEIGHTS_AT + MAX_WEIGHTS;
const COUNT_AT: usize = NEXT_STAMP_AT + 4;
const ACTIVE_AT: usize = COUNT_AT + 4;
const SEALED_AT: usize = ACTIVE_AT + BUFFER_BYTES;
const BUFFER_BYTES: usize = 16;
const CONFIG_AT: usize = SEALED_AT + BUFFER_BYTES;
const SEGMENTS_AT: usize = CONFIG_AT + 2 * NAME_BYTES;
/// Bytes of a name, with its end.
const NAME_BYTES: usize = pg_sys::NAMEDATALEN as usize;
const SUMMARY_AT: usize = 24;
const SEGMENT_BYTES: usize = SUMMARY_AT + Summary::BYTES;

/// Segments that the metapage has room for.
pub const MOST_SEGMENTS: usize = (CONTENT_BYTES - SEGMENTS_AT) / SEGMENT_BYTES;

const _: () = assert!(MOST_SEGMENTS >= 48, "room for the segments of all levels");

/// The name of a text search configuration. Its OID would be another one after `pg_upgrade`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigName {
    /// Its schema.
    pub schema: CString,
    /// Its name in the schema.
    pub name: CString,
}

fn read_name(bytes: &[u8], at: usize) -> Option<CString> {
    CStr::from_bytes_until_nul(&bytes[at..at + NAME_BYTES]).ok().map(CStr::to_owned)
}

fn read_buffer(bytes: &[u8], at: usize) -> Buffer {
    Buffer {
        stamp: read_u32(bytes, at),
        head: read_u32(bytes, at + 4),
        tail: read_u32(bytes, at + 8),
        pages: read_u32(bytes, at + 12),
    }
}

impl Meta {
    /// Reads a metapage; nothing if the page is none.
    pub fn read(page: &Page) -> Option<Meta> {
        if !is_kind(page, Kind::Meta) {
            return None;
        }
        let bytes = content(page);
        let mut weights = [0; MAX_WEIGHTS];
        weights.copy_from_slice(&bytes[WEIGHTS_AT..WEIGHTS_AT + MAX_WEIGHTS]);
        let count = read_u32(bytes, COUNT_AT) as usize;
        if count > MOST_SEGMENTS {
            return None;
        }
        let segment = |at: usize| {
            let bytes = &bytes[SEGMENTS_AT + at * SEGMENT_BYTES..][..SEGMENT_BYTES];
            Some(SegmentEntry {
                stamp: read_u32(bytes, 0),
                map: read_u32(bytes, 4),
                live_documents: read_u32(bytes, 8),
                is_recount_due: read_u32(bytes, 12) != 0,
                live_length: read_u64(bytes, 16),
                summary: Summary::from_bytes(&bytes[SUMMARY_AT..])?,
            })
        };
        Some(Meta {
            build_id: read_u64(bytes, BUILD_ID_AT),
            config: ConfigName {
                schema: read_name(bytes, CONFIG_AT)?,
                name: read_name(bytes, CONFIG_AT + NAME_BYTES)?,
            },
            source: bytes[SOURCE_AT],
            weights,
            params: Params {
                k1: f64::from_bits(read_u64(bytes, K1_AT)),
                b: f64::from_bits(read_u64(bytes, B_AT)),
            },
            next_stamp: read_u32(bytes, NEXT_STAMP_AT),
            is_unclean: bytes[UNCLEAN_AT] != 0,
            active: read_buffer(bytes, ACTIVE_AT),
            sealed: read_buffer(bytes, SEALED_AT),
            segments: (0..count).map(segment).collect::<Option<_>>()?,
        })
    }

    /// Writes the metapage, which may be new.
    ///
    /// # Panics
    /// If it has no room for the segments: nobody adds one without a look.
    pub fn write(&self, page: &mut Page) {
        let count = self.segments.len();
        assert!(count <= MOST_SEGMENTS, "a bm25 index has {count} segments");
        init_as(page, Kind::Meta, SEGMENTS_AT + count * SEGMENT_BYTES);
        let bytes = content_mut(page);
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(BUILD_ID_AT, &self.build_id.to_ne_bytes());
        put(CONFIG_AT, self.config.schema.to_bytes_with_nul());
        put(CONFIG_AT + NAME_BYTES, self.config.name.to_bytes_with_nul());
        put(SOURCE_AT, &[self.source, self.is_unclean.into()]);
        put(K1_AT, &self.params.k1.to_bits().to_ne_bytes());
        put(B_AT, &self.params.b.to_bits().to_ne_bytes());
        put(WEIGHTS_AT, &self.weights);
        put(NEXT_STAMP_AT, &self.next_stamp.to_ne_bytes());
        put(COUNT_AT, &(count as u32).to_ne_bytes());
        for (at, buffer) in [(ACTIVE_AT, self.active), (SEALED_AT, self.sealed)] {
            let Buffer { stamp, head, tail, pages } = buffer;
            for (place, number) in [stamp, head, tail, pages].into_iter().enumerate() {
                put(at + 4 * place, &number.to_ne_bytes());
            }
        }
        for (place, segment) in self.segments.iter().enumerate() {
            let at = SEGMENTS_AT + place * SEGMENT_BYTES;
            put(at, &segment.stamp.to_ne_bytes());
            put(at + 4, &segment.map.to_ne_bytes());
            put(at + 8, &segment.live_documents.to_ne_bytes());
            put(at + 12, &u32::from(segment.is_recount_due).to_ne_bytes());
            put(at + 16, &segment.live_length.to_ne_bytes());
            put(at + SUMMARY_AT, &segment.summary.to_bytes());
        }
    }

    /// The metapage as it is now.
    ///
    /// # Safety
    /// `relation` is an open `bm25` index; this backend has no lock on its pages.
    pub unsafe fn load(relation: pg_sys::Relation) -> Meta {
        // SAFETY: as the caller promises.
        let guard = unsafe { ReadGuard::new(relation, META_BLOCK) };
        match Meta::read(guard.page()) {
            Some(meta) => meta,
            None => corrupt(relation, META_BLOCK, "not a metapage of a bm25 index"),
        }
    }

    /// A stamp that was never given before.
    pub fn take_stamp(&mut self) -> u32 {
        let stamp = self.next_stamp;
        match stamp.checked_add(1) {
            Some(next) => self.next_stamp = next,
            None => fail(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "a bm25 index has used up its numbers for segments",
                "Rebuild it with REINDEX INDEX CONCURRENTLY.",
            ),
        }
        stamp
    }

    /// Changes the metapage in a record of its own, and gives what it says then.
    ///
    /// # Safety
    /// As for [`Meta::load`].
    pub unsafe fn update(relation: pg_sys::Relation, change: impl FnOnce(&mut Meta)) -> Meta {
        // SAFETY: as the caller promises.
        unsafe {
            let guard = WriteGuard::new(relation, META_BLOCK);
            let mut meta = locked(relation, &guard);
            change(&mut meta);
            let mut txn = WalTxn::new(relation, false);
            meta.write(txn.page(&guard));
            txn.commit();
            meta
        }
    }
}

/// What a locked metapage says.
pub fn locked(relation: pg_sys::Relation, guard: &WriteGuard) -> Meta {
    match Meta::read(guard.page()) {
        Some(meta) => meta,
        None => corrupt(relation, META_BLOCK, "not a metapage of a bm25 index"),
    }
}
