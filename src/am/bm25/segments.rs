//! Segments on pages: where their pages lie, reading them, and writing new ones.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use leanstack_core::bm25::{Fault, Pages, Segment, SegmentWriter, Sink, Summary};
use pgrx::{PgSqlErrorCode, pg_sys};

use super::meta::{Meta, SegmentEntry};
use super::page::{
    Kind, MAP_RUNS, NONE, PAYLOAD_BYTES, Run, is_kind, is_segment_page, payload, read_map_page,
    stamp, write_map_page, write_segment_page,
};
use super::space;
use crate::am::remembered::Remembered;
use crate::am::vacuum;
use crate::error::fail;
use crate::storage::raw::Recent;
use crate::storage::{ReadGuard, WalTxn, WriteGuard, corrupt};

/// Where the pages of a segment lie.
pub struct Map {
    /// For each run, the number of its first page.
    starts: Vec<u32>,
    runs: Vec<Run>,
    pages: u32,
    /// The pages of the map itself.
    blocks: Vec<u32>,
}

impl Map {
    /// Of a segment with pages in these blocks.
    fn runs_of(blocks: &[u32]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for &block in blocks {
            match runs.last_mut() {
                Some((first, count)) if *first + *count == block => *count += 1,
                _ => runs.push((block, 1)),
            }
        }
        runs
    }

    fn new(runs: Vec<Run>, blocks: Vec<u32>) -> Map {
        let mut pages = 0;
        let starts = runs.iter().map(|&(_, count)| {
            let start = pages;
            pages += count;
            start
        });
        Map { starts: starts.collect(), pages, runs, blocks }
    }

    /// The block of a page.
    #[inline]
    fn block(&self, page: u32) -> Option<u32> {
        if page >= self.pages {
            return None;
        }
        let run = self.starts.partition_point(|&start| start <= page) - 1;
        Some(self.runs[run].0 + (page - self.starts[run]))
    }

    /// All blocks: of the segment and of the map.
    pub fn all_blocks(&self) -> Vec<u32> {
        let of_runs = self.runs.iter().flat_map(|&(first, count)| first..first + count);
        of_runs.chain(self.blocks.iter().copied()).collect()
    }
}

/// What a backend remembers of an index.
#[derive(Default)]
pub struct Known {
    recent: Recent,
    maps: RefCell<HashMap<u32, Rc<Map>>>,
}

thread_local! {
    static KNOWN: Remembered<Known> = Remembered::default();
}

impl Known {
    /// What is remembered of the index with this metapage.
    pub fn of(meta: &Meta) -> Rc<Known> {
        let known = KNOWN.with(|known| known.get(meta.build_id)).unwrap_or_else(|| {
            let new = Rc::default();
            KNOWN.with(|known| known.put(meta.build_id, &new));
            new
        });
        // Maps of segments that are gone.
        let mut maps = known.maps.borrow_mut();
        if maps.len() > 2 * meta.segments.len() {
            maps.retain(|stamp, _| meta.segments.iter().any(|segment| segment.stamp == *stamp));
        }
        drop(maps);
        known
    }

    /// Where the pages of a segment lie.
    ///
    /// # Errors
    /// The segment is gone.
    ///
    /// # Safety
    /// `relation` is the open index; this backend has no lock on its pages.
    pub unsafe fn map(
        &self,
        relation: pg_sys::Relation,
        entry: &SegmentEntry,
    ) -> Result<Rc<Map>, Fault> {
        if let Some(map) = self.maps.borrow().get(&entry.stamp) {
            return Ok(Rc::clone(map));
        }
        // SAFETY: as the caller promises.
        let map = Rc::new(unsafe { read_map(relation, entry) }?);
        self.maps.borrow_mut().insert(entry.stamp, Rc::clone(&map));
        Ok(map)
    }
}

unsafe fn read_map(relation: pg_sys::Relation, entry: &SegmentEntry) -> Result<Map, Fault> {
    let (mut runs, mut blocks, mut next) = (Vec::new(), Vec::new(), entry.map);
    // SAFETY: as the caller of `Known::map` promises.
    let end = unsafe {
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        pg_sys::RelationGetNumberOfBlocksInFork(relation, main)
    };
    while next != NONE {
        if next >= end || blocks.len() > end as usize {
            return Err(Fault::Damaged { page: next, what: "a map leads nowhere" });
        }
        // SAFETY: as above.
        let guard = unsafe { ReadGuard::new(relation, next) };
        if !is_kind(guard.page(), Kind::Map) || stamp(guard.page()) != entry.stamp {
            return Err(Fault::Stale);
        }
        blocks.push(next);
        let (more, following) = read_map_page(guard.page());
        runs.extend(more);
        next = following;
    }
    if runs.iter().any(|&(first, count)| u64::from(first) + u64::from(count) > u64::from(end)) {
        return Err(Fault::Damaged { page: entry.map, what: "a map leads past the end" });
    }
    let map = Map::new(runs, blocks);
    if map.pages != entry.summary.pages {
        return Err(Fault::Damaged { page: entry.map, what: "a map of another segment" });
    }
    Ok(map)
}

/// The pages of a segment, to read.
pub struct SegmentPages {
    relation: pg_sys::Relation,
    known: Rc<Known>,
    stamp: u32,
    /// Where they lie.
    pub map: Rc<Map>,
}

impl SegmentPages {
    /// The block of a page.
    pub fn block(&self, page: u32) -> Option<u32> {
        self.map.block(page)
    }
}

impl Pages for SegmentPages {
    fn read<R>(&self, page: u32, with: impl FnOnce(&[u8]) -> R) -> Result<R, Fault> {
        pgrx::check_for_interrupts!();
        let Some(block) = self.map.block(page) else {
            return Err(Fault::Damaged { page, what: "a page past the end of the segment" });
        };
        // SAFETY: who opened the segment keeps the index open, and locks none of its pages meanwhile.
        let guard = unsafe { ReadGuard::guessed(self.relation, block, &self.known.recent) };
        if !is_segment_page(guard.page(), self.stamp, page) {
            return Err(Fault::Stale);
        }
        Ok(with(payload(guard.page())))
    }
}

/// Opens a segment.
///
/// # Errors
/// The segment is gone.
///
/// # Safety
/// `relation` stays open as long as the result is used, and no page is locked by this backend when it is.
pub unsafe fn open(
    relation: pg_sys::Relation,
    known: &Rc<Known>,
    entry: &SegmentEntry,
) -> Result<Segment<SegmentPages>, Fault> {
    // SAFETY: as the caller promises.
    let map = unsafe { known.map(relation, entry) }?;
    let pages = SegmentPages { relation, known: Rc::clone(known), stamp: entry.stamp, map };
    Ok(Segment::new(pages, entry.summary, PAYLOAD_BYTES))
}

/// What a fault means to one who knows that the segment cannot have gone.
#[cold]
pub fn raise(relation: pg_sys::Relation, fault: &Fault) -> ! {
    match fault {
        Fault::Stale => corrupt(relation, 0, "a segment leads to a page that is not its own"),
        Fault::Damaged { page, what } => {
            corrupt(relation, *page, &format!("page of a segment: {what}"))
        }
        Fault::Run(error) => fail(
            PgSqlErrorCode::ERRCODE_IO_ERROR,
            format!("what was put aside for a segment cannot be read: {error}"),
            "Look for the cause in the storage of temporary files.",
        ),
    }
}

/// Takes the pages of a new segment.
pub struct SegmentSink {
    relation: pg_sys::Relation,
    stamp: u32,
    /// Nobody sees the index yet, and it will be logged as a whole.
    is_build: bool,
    blocks: Vec<u32>,
}

impl SegmentSink {
    /// For a segment with this stamp.
    ///
    /// # Safety
    /// `relation` stays open and locked as long as the sink is used. Without `is_build`, the caller has the lock for
    /// maintenance and none on pages.
    pub unsafe fn new(relation: pg_sys::Relation, stamp: u32, is_build: bool) -> SegmentSink {
        SegmentSink { relation, stamp, is_build, blocks: Vec::new() }
    }

    unsafe fn take(&self) -> WriteGuard {
        // SAFETY: as was promised to `new`.
        unsafe {
            if self.is_build {
                WriteGuard::extend(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM)
            } else {
                space::take(self.relation)
            }
        }
    }

    unsafe fn put(&self, guard: &WriteGuard, page: u32, bytes: &[u8]) {
        // SAFETY: as was promised to `new`.
        unsafe {
            let mut txn = WalTxn::new(self.relation, self.is_build);
            write_segment_page(txn.new_page(guard), self.stamp, page, bytes);
            txn.commit();
        }
    }

    /// Writes the map. Gives its first page.
    ///
    /// # Safety
    /// As for [`SegmentSink::new`]; all pages are written.
    unsafe fn finish(self) -> u32 {
        let runs = Map::runs_of(&self.blocks);
        let mut next = NONE;
        let mut pages: Vec<&[Run]> = runs.chunks(MAP_RUNS).collect();
        if pages.is_empty() {
            pages.push(&[]);
        }
        for runs in pages.into_iter().rev() {
            // SAFETY: as the caller promises.
            unsafe {
                let guard = self.take();
                let mut txn = WalTxn::new(self.relation, self.is_build);
                write_map_page(txn.new_page(&guard), self.stamp, next, runs);
                txn.commit();
                next = guard.block();
            }
        }
        next
    }
}

impl Sink for SegmentSink {
    fn write(&mut self, page: u32, bytes: &[u8]) -> Result<(), Fault> {
        vacuum::pause();
        // SAFETY: as was promised to `new`; one page is locked at a time.
        unsafe {
            // Pages that come later get their place now, so that pages lie in their order.
            while self.blocks.len() < page as usize {
                let guard = self.take();
                self.put(&guard, self.blocks.len() as u32, &[]);
                self.blocks.push(guard.block());
            }
            let guard = match self.blocks.get(page as usize) {
                Some(&block) => WriteGuard::new(self.relation, block),
                None => {
                    let guard = self.take();
                    self.blocks.push(guard.block());
                    guard
                }
            };
            self.put(&guard, page, bytes);
        }
        Ok(())
    }
}

/// Writes a segment: `fill` gives the documents and terms to a writer, or finds that there are none. Gives the entry for the
/// metapage.
///
/// # Errors
/// Those of `fill`.
///
/// # Safety
/// As for [`SegmentSink::new`].
pub unsafe fn write(
    relation: pg_sys::Relation,
    meta: &Meta,
    stamp: u32,
    is_build: bool,
    fill: impl FnOnce(SegmentWriter<'_, SegmentSink>) -> Result<Option<Summary>, Fault>,
) -> Result<Option<SegmentEntry>, Fault> {
    // SAFETY: as the caller promises.
    unsafe {
        let mut sink = SegmentSink::new(relation, stamp, is_build);
        let summary = fill(SegmentWriter::new(&mut sink, PAYLOAD_BYTES, meta.params))?;
        let Some(summary) = summary else { return Ok(None) };
        Ok(Some(SegmentEntry {
            stamp,
            map: sink.finish(),
            live_documents: summary.documents,
            is_recount_due: false,
            live_length: summary.length,
            summary,
        }))
    }
}
