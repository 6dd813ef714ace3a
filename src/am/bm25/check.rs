//! `lean.index_check`: compares an index with itself and with its table.

use std::collections::{HashMap, HashSet};

use leanstack_core::bm25::{self, Fault, is_dead};
use pgrx::pg_sys;

use super::buffer::{self, Found, entries_of};
use super::meta::{Buffer, Meta, SegmentEntry};
use super::page::{Kind, META_BLOCK, NONE, is_free, kind, stamp};
use super::segments::{self, Known};
use crate::am::check::{Finding, Problems};
use crate::am::heap::Table;
use crate::storage::{ReadGuard, Tid};

/// Problems of a segment that are told.
const TOLD: usize = 3;

/// Checks an index. The caller keeps writers and vacuum away.
///
/// # Safety
/// The relations are open and locked: the index is a `bm25` index of the table.
pub unsafe fn check(heap: pg_sys::Relation, relation: pg_sys::Relation) -> Vec<Finding> {
    // SAFETY: as the caller promises, throughout.
    unsafe {
        let meta = Meta::load(relation);
        let mut check = Check {
            relation,
            known: Known::of(&meta),
            owners: HashMap::new(),
            rows: HashSet::new(),
            segments: Problems::default(),
            buffers: Problems::default(),
            twice: Problems::default(),
            postings: 0,
        };
        check.owners.insert(META_BLOCK, 0);
        for entry in &meta.segments {
            pgrx::check_for_interrupts!();
            check.segment(entry);
        }
        let buffered = check.buffer(meta.sealed) + check.buffer(meta.active);
        let pages = check.pages(&meta);
        let segments = format!("{} segments, {} postings", meta.segments.len(), check.postings);
        let rows = check.rows;
        vec![
            check.segments.finding("segments", segments),
            check.buffers.finding("write buffer", format!("{buffered} documents")),
            pages,
            check.twice.finding("rows once", format!("{} rows", rows.len())),
            table(heap, relation, &rows),
        ]
    }
}

/// Whether every row that a snapshot sees and that has a document is in the index.
unsafe fn table(heap: pg_sys::Relation, index: pg_sys::Relation, rows: &HashSet<Tid>) -> Finding {
    let (mut missing, mut seen) = (Problems::default(), 0);
    // SAFETY: as the caller promises.
    unsafe {
        let table = Table { heap, index, index_info: pg_sys::BuildIndexInfo(index) };
        table.scan_visible(&mut |tid, _| {
            seen += 1;
            if !rows.contains(&tid) {
                missing.add(|| format!("row ({},{}) is not in the index", tid.block, tid.offset));
            }
        });
    }
    missing.finding("table", format!("{seen} rows that can be indexed"))
}

struct Check {
    relation: pg_sys::Relation,
    known: std::rc::Rc<Known>,
    /// For each block that something leads to, the stamp of that.
    owners: HashMap<u32, u32>,
    rows: HashSet<Tid>,
    segments: Problems,
    buffers: Problems,
    twice: Problems,
    postings: u64,
}

impl Check {
    fn row(&mut self, row: Tid) {
        if !self.rows.insert(row) {
            self.twice.add(|| format!("row ({},{}) is there twice", row.block, row.offset));
        }
    }

    unsafe fn segment(&mut self, entry: &SegmentEntry) {
        // SAFETY: as for `check`.
        let result = unsafe { self.look_at(entry) };
        if let Err(fault) = result {
            self.segments.add(|| format!("segment {}: {fault}", entry.stamp));
        }
    }

    unsafe fn look_at(&mut self, entry: &SegmentEntry) -> Result<(), Fault> {
        // SAFETY: as for `check`.
        let segment = unsafe { segments::open(self.relation, &self.known, entry) }?;
        for block in segment.pages.map.all_blocks() {
            if self.owners.insert(block, entry.stamp).is_some() {
                self.segments.add(|| format!("block {block} is used twice"));
            }
        }
        let (problems, counts) = bm25::check(&segment, TOLD)?;
        for problem in problems {
            self.segments.add(|| format!("segment {}: {problem}", entry.stamp));
        }
        if counts.outdated > 0 && !entry.is_recount_due {
            let terms = counts.outdated;
            self.segments.add(|| format!("segment {}: {terms} words are miscounted", entry.stamp));
        }
        let (mut live, mut length) = (0, 0);
        segment.for_each_document(|_, row, its| {
            if !is_dead(&row) {
                live += 1;
                length += u64::from(its);
                self.row(Tid::read(&row, 0));
            }
            Ok(())
        })?;
        if (live, length) != (entry.live_documents, entry.live_length) && !entry.is_recount_due {
            let said = entry.live_documents;
            self.segments.add(|| format!("segment {}: {live} documents, not {said}", entry.stamp));
        }
        self.postings += entry.summary.postings;
        Ok(())
    }

    /// Looks at a write buffer. Gives how many documents it has.
    unsafe fn buffer(&mut self, buffer: Buffer) -> u64 {
        let (mut pages, mut last, mut rows) = (0, NONE, Vec::new());
        // SAFETY: as for `check`.
        unsafe {
            let walked = buffer::for_each_page(self.relation, buffer, |block, page| {
                pages += 1;
                last = block;
                if self.owners.insert(block, buffer.stamp).is_some() {
                    self.buffers.add(|| format!("block {block} is used twice"));
                }
                let mut bytes = 0;
                for entry in entries_of(page) {
                    bytes += entry.bytes();
                    if entry.words().count() != entry.word_count() {
                        self.buffers.add(|| format!("a document on block {block} ends early"));
                    }
                    rows.push((entry.row, entry.is_part));
                }
                if bytes != page.len() {
                    self.buffers.add(|| format!("the documents on block {block} end early"));
                }
            });
            if walked.is_err() {
                self.buffers.add(|| String::from("it leads to a page that is not its own"));
            }
            let mut found = Found::default();
            if found.look(self.relation, buffer, &[]).is_err() {
                self.buffers.add(|| String::from("it cannot be read"));
            }
            if (pages, last) != (buffer.pages, buffer.tail) {
                let Buffer { pages: said, tail, .. } = buffer;
                self.buffers.add(|| format!("{pages} pages to {last}, not {said} to {tail}"));
            }
            let mut parts = HashSet::new();
            for (row, is_part) in rows {
                if !is_part || parts.insert(row) {
                    self.row(row);
                }
            }
            found.corpus.docs
        }
    }

    /// Looks at what nothing leads to.
    unsafe fn pages(&mut self, meta: &Meta) -> Finding {
        let (mut problems, mut free, mut lost) = (Problems::default(), 0, 0);
        // SAFETY: as for `check`; one page is locked at a time.
        unsafe {
            let main = pg_sys::ForkNumber::MAIN_FORKNUM;
            let blocks = pg_sys::RelationGetNumberOfBlocksInFork(self.relation, main);
            for block in 0..blocks {
                pgrx::check_for_interrupts!();
                let guard = ReadGuard::new(self.relation, block);
                let page = guard.page();
                match (self.owners.get(&block), kind(page)) {
                    (None, _) if is_free(page) => free += 1,
                    (None, None) => problems.add(|| format!("block {block} is of no known kind")),
                    (None, Some(_)) => lost += 1,
                    (Some(_), Some(Kind::Meta)) if block == META_BLOCK => {}
                    (Some(&owner), Some(Kind::Segment | Kind::Map | Kind::Buffer))
                        if stamp(page) == owner => {}
                    (Some(_), _) => problems.add(|| format!("block {block} is not its owner's")),
                }
            }
            if lost > 0 && !meta.is_unclean {
                problems.add(|| format!("{lost} pages are lost, and no vacuum will look for them"));
            }
            let used = self.owners.len();
            problems.finding("pages", format!("{used} used, {free} free, {lost} lost"))
        }
    }
}
