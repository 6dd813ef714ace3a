//! Vacuum: removes rows in place, list by list, and has lists rewritten that are due for it.
//!
//! A row is removed by clearing its address. Only pages with dead rows are written; ex codes are not even read. What
//! deserves to be written anew is in `repack.rs`.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::entry::LockedEntry;
use super::index::{self, Opened};
use super::list::{self, Head};
use super::page::{BLOCK_ROWS, CONTINUES, Entry, Kind, Layout, NONE, ROW_TID_BYTES, TapeHead};
use super::repack;
use crate::am::vacuum as shared;
use crate::storage::page::{Page, content, content_mut};
use crate::storage::{Tid, WalTxn, WriteGuard, corrupt};

/// Pages whose rows are cleared in one record.
const CLEARED_TOGETHER: usize = 4;

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
        let opened = index::open(relation);
        let is_dead = shared::dead_rows(callback, callback_state);
        let mut sweep = Sweep { relation, opened: &opened, is_dead: &is_dead, removed: 0, live: 0 };
        for list in 0..opened.meta.lists {
            sweep.list(list);
        }
        (*stats).tuples_removed += sweep.removed as f64;
        (*stats).num_index_tuples = sweep.live as f64;
        stats
    }
}

/// Rewrites the lists that are due.
#[pg_guard]
pub unsafe extern "C-unwind" fn amvacuumcleanup(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: the server passes the open index; its table is locked as well.
    unsafe {
        if (*info).analyze_only {
            return stats;
        }
        let relation = (*info).index;
        let share = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let heap_oid = pg_sys::IndexGetRelation((*relation).rd_id, false);
        let heap = pg_sys::table_open(heap_oid, share);
        let changed = repack::maintain(relation, heap);
        pg_sys::table_close(heap, share);
        if !changed && stats.is_null() {
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
        (*stats).pages_free = index::open(relation).meta.free_pages;
        stats
    }
}

struct Sweep<'a> {
    relation: pg_sys::Relation,
    opened: &'a Opened,
    is_dead: &'a dyn Fn(Tid) -> bool,
    removed: usize,
    live: usize,
}

/// What a tape was found to hold once it was swept.
#[derive(Default)]
struct Found {
    /// Rows.
    live: usize,
    /// Places whose row was removed, now or earlier; of blocks also the places that fill up the last one.
    empty: usize,
}

impl Sweep<'_> {
    unsafe fn list(&mut self, list: u32) {
        // SAFETY: the relation is open and no lock is held.
        unsafe {
            let entry = self.opened.entry(self.relation, list);
            if entry.is_split() {
                return;
            }
            let (packed, rows) = heads(&entry, list);
            let packed = self.tape(packed, NONE);
            // What is appended behind the page that is the last one now is not dead.
            let rows = self.tape(rows, entry.row_tail);
            let packed_dead = (entry.packed_rows as usize).saturating_sub(packed.live);
            let dead = rows.empty + if entry.block_head == NONE { 0 } else { packed_dead };
            self.live += packed.live + rows.live;
            if dead != entry.dead as usize {
                let mut locked = LockedEntry::new(self.relation, self.opened, list);
                locked.entry.dead = dead as u32;
                locked.commit(self.relation);
            }
        }
    }

    /// Removes the dead rows of a tape, as far as page `last`.
    unsafe fn tape(&mut self, head: Head, last: u32) -> Found {
        let layout = &self.opened.info.layout;
        let (mut found, mut dirty) = (Found::default(), Vec::new());
        let mut at = (head.block, head.stamp);
        while at.0 != NONE {
            shared::pause();
            // SAFETY: the relation is open and no lock is held; it is released before pages are cleared.
            let (guard, tape) = unsafe {
                match list::read(self.relation, head.kind, head.owner, at) {
                    Ok(page) => page,
                    Err(list::Stale) => corrupt(self.relation, at.0, "a page of another list"),
                }
            };
            let mut dead = Vec::new();
            for place in tid_places(layout, head.kind, &tape) {
                let tid = Tid::read(content(guard.page()), place);
                if !tid.is_some() {
                    found.empty += 1;
                } else if (self.is_dead)(tid) {
                    found.empty += 1;
                    self.removed += 1;
                    dead.push(place);
                } else {
                    found.live += 1;
                }
            }
            drop(guard);
            if !dead.is_empty() {
                dirty.push((at.0, dead));
            }
            if dirty.len() == CLEARED_TOGETHER {
                // SAFETY: no lock is held.
                unsafe { self.clear(&dirty) };
                dirty.clear();
            }
            if at.0 == last {
                break;
            }
            at = (tape.next, tape.next_stamp);
        }
        // SAFETY: no lock is held.
        unsafe { self.clear(&dirty) };
        found
    }

    /// Clears addresses on pages of one tape, in its order: nobody else changes rows that are there already.
    unsafe fn clear(&self, pages: &[(u32, Vec<usize>)]) {
        if pages.is_empty() {
            return;
        }
        // SAFETY: the relation is open; the pages are locked in the order of the tape.
        unsafe {
            let guards: Vec<WriteGuard> =
                pages.iter().map(|(block, _)| WriteGuard::new(self.relation, *block)).collect();
            let mut txn = WalTxn::new(self.relation, false);
            for (guard, (_, places)) in guards.iter().zip(pages) {
                let page = txn.page(guard);
                for &place in places {
                    Tid::NONE.write(content_mut(page), place);
                }
            }
            txn.commit();
        }
    }
}

/// Where the packed run and the rows of a list begin.
pub fn heads(entry: &Entry, list: u32) -> (Head, Head) {
    let head = |kind, block, stamp| Head { kind, owner: list, block, stamp };
    (
        head(Kind::Blocks, entry.block_head, entry.block_stamp),
        head(Kind::Rows, entry.row_head, entry.row_head_stamp),
    )
}

/// Where in the content of a page of blocks or rows the addresses of its rows are.
pub fn tid_places(
    layout: &Layout,
    kind: Kind,
    head: &TapeHead,
) -> impl Iterator<Item = usize> + use<> {
    let (tape, rows) = match (kind, layout.packed) {
        (Kind::Blocks, Some(packed)) => (packed.blocks, BLOCK_ROWS),
        _ => (layout.rows, 1),
    };
    let items = if head.flags & CONTINUES == 0 { usize::from(head.items) } else { 0 };
    (0..items.min(tape.per_page())).flat_map(move |place| {
        let start = tape.range(place).start;
        (0..rows).map(move |row| start + row * ROW_TID_BYTES)
    })
}

/// The rows of a page of blocks or rows, with their places, counted over the page; empty places are left out.
pub fn tids(
    layout: &Layout,
    kind: Kind,
    head: &TapeHead,
    page: &Page,
) -> impl Iterator<Item = (usize, Tid)> {
    tid_places(layout, kind, head)
        .map(|place| Tid::read(content(page), place))
        .enumerate()
        .filter(|(_, tid)| tid.is_some())
}
