//! Vacuum: marks the documents of dead rows, counts anew how many documents have each word, and has segments merged.

use leanstack_core::bm25::{clear_document, document_place, is_dead, recount};
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::insert::BUFFER_PAGES;
use super::maintain::{Lock, Who, flush, merge_levels, open_kept, sweep};
use super::meta::{Meta, SegmentEntry};
use super::page::{PAYLOAD_BYTES, is_segment_page, payload_mut};
use super::segments::{Known, SegmentPages, raise};
use crate::am::vacuum as shared;
use crate::storage::{Tid, WalTxn, WriteGuard, corrupt};

/// Removes rows. `CREATE INDEX CONCURRENTLY` calls it too, to be told of all rows there are.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambulkdelete(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
    callback: pg_sys::IndexBulkDeleteCallback,
    callback_state: *mut std::ffi::c_void,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: the server passes the open index and a callback that says whether a row is dead.
    unsafe {
        let relation = (*info).index;
        let stats = shared::stats_or_new(stats);
        let asks_dead = shared::dead_rows(callback, callback_state);
        let lock = Lock::wait(relation);
        // A row that is dead to all was inserted long ago: it is in a buffer that is flushed here, or in a segment.
        flush(&lock);
        let meta = Meta::load(relation);
        let known = Known::of(&meta);
        let (mut removed, mut live) = (0, 0u64);
        for entry in &meta.segments {
            let segment = open_kept(relation, &known, entry);
            let mut dead = Vec::new();
            let walked = segment.for_each_document(|document, row, _| {
                if document % PAUSE_DOCUMENTS == 0 {
                    shared::pause();
                }
                if !is_dead(&row) {
                    if asks_dead(Tid::read(&row, 0)) {
                        dead.push(document);
                    } else {
                        live += 1;
                    }
                }
                Ok(())
            });
            walked.unwrap_or_else(|fault| raise(relation, &fault));
            removed += dead.len();
            if !dead.is_empty() {
                mark(relation, entry, &segment.pages, &dead);
            }
            if !dead.is_empty() || entry.is_recount_due {
                recount_segment(relation, entry, &segment);
            }
            if Meta::load(relation).active.pages >= BUFFER_PAGES {
                // Rows that came meanwhile are none of those asked about.
                flush(&lock);
            }
        }
        (*stats).tuples_removed += removed as f64;
        (*stats).num_index_tuples = live as f64;
        stats
    }
}

/// Documents between two rests.
const PAUSE_DOCUMENTS: u32 = 512;

/// Merges what is due and finds lost pages.
#[pg_guard]
pub unsafe extern "C-unwind" fn amvacuumcleanup(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: the server passes the open index.
    unsafe {
        if (*info).analyze_only {
            return stats;
        }
        let relation = (*info).index;
        let lock = Lock::wait(relation);
        if Meta::load(relation).active.pages > 1 {
            flush(&lock);
        }
        let mut did = finish_recounts(relation);
        did |= merge_levels(&lock, Who::Vacuum);
        // After deletions all of the index was read in any case.
        did |= sweep(&lock, !stats.is_null());
        drop(lock);
        if !did && stats.is_null() {
            return stats;
        }
        let is_new = stats.is_null();
        let stats = shared::stats_or_new(stats);
        if is_new {
            (*stats).estimated_count = true;
            (*stats).num_index_tuples = (*info).num_heap_tuples;
        }
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        (*stats).num_pages = pg_sys::RelationGetNumberOfBlocksInFork(relation, main);
        stats
    }
}

/// Counts where a vacuum was stopped before it had counted. Whether there was such a place.
unsafe fn finish_recounts(relation: pg_sys::Relation) -> bool {
    // SAFETY: the caller has the maintenance lock and no lock on pages.
    unsafe {
        let meta = Meta::load(relation);
        let known = Known::of(&meta);
        let mut did = false;
        for entry in meta.segments.iter().filter(|entry| entry.is_recount_due) {
            recount_segment(relation, entry, &open_kept(relation, &known, entry));
            did = true;
        }
        did
    }
}

/// Changes what a segment has on a page, in a record of its own.
unsafe fn change(
    relation: pg_sys::Relation,
    stamp: u32,
    pages: &SegmentPages,
    page: u32,
    change: impl FnOnce(&mut [u8]),
) {
    shared::pause();
    let Some(block) = pages.block(page) else {
        corrupt(relation, page, "a page past the end of its segment")
    };
    // SAFETY: the caller has the maintenance lock and no lock on pages.
    unsafe {
        let guard = WriteGuard::new(relation, block);
        if !is_segment_page(guard.page(), stamp, page) {
            corrupt(relation, block, "not a page of its segment");
        }
        let mut txn = WalTxn::new(relation, false);
        change(payload_mut(txn.page(&guard)));
        txn.commit();
    }
}

/// Marks documents dead. Before the first, the metapage says that they are to be counted.
unsafe fn mark(
    relation: pg_sys::Relation,
    entry: &SegmentEntry,
    pages: &SegmentPages,
    dead: &[u32],
) {
    let place = |document: u32| document_place(document, PAYLOAD_BYTES);
    // SAFETY: as the caller of `change` promises.
    unsafe {
        Meta::update(relation, |meta| with_entry(meta, entry.stamp, |e| e.is_recount_due = true));
        for of_page in dead.chunk_by(|&a, &b| place(a).0 == place(b).0) {
            change(relation, entry.stamp, pages, place(of_page[0]).0, |payload| {
                for &document in of_page {
                    clear_document(payload, place(document).1);
                }
            });
        }
    }
}

fn with_entry(meta: &mut Meta, stamp: u32, change: impl FnOnce(&mut SegmentEntry)) {
    if let Some(entry) = meta.segments.iter_mut().find(|entry| entry.stamp == stamp) {
        change(entry);
    }
}

/// Counts the live documents of a segment, and those of each word.
unsafe fn recount_segment(
    relation: pg_sys::Relation,
    entry: &SegmentEntry,
    segment: &leanstack_core::bm25::Segment<SegmentPages>,
) {
    let mut dead = vec![0u64; (entry.summary.documents as usize).div_ceil(64)];
    let (mut live, mut length) = (0, 0);
    // SAFETY: as the caller of `change` promises.
    unsafe {
        let counted = segment.for_each_document(|document, row, its| {
            if document % PAUSE_DOCUMENTS == 0 {
                shared::pause();
            }
            if is_dead(&row) {
                dead[document as usize / 64] |= 1 << (document % 64);
            } else {
                live += 1;
                length += u64::from(its);
            }
            Ok(())
        });
        counted.unwrap_or_else(|fault| raise(relation, &fault));
        let is_dead = |document: u32| {
            dead.get(document as usize / 64).is_some_and(|bits| bits >> (document % 64) & 1 == 1)
        };
        let recounted = recount(segment, is_dead, |page, edits| {
            change(relation, entry.stamp, &segment.pages, page, |payload| {
                for (at, bytes) in edits {
                    payload[*at..*at + bytes.len()].copy_from_slice(bytes);
                }
            });
            Ok(())
        });
        recounted.unwrap_or_else(|fault| raise(relation, &fault));
        Meta::update(relation, |meta| {
            with_entry(meta, entry.stamp, |entry| {
                entry.live_documents = live;
                entry.live_length = length;
                entry.is_recount_due = false;
            });
        });
    }
}
