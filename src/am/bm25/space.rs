//! Pages taken and given back. Which pages are free is in PostgreSQL's free space map; that a page is free is also on the page
//! itself, and only what the page says counts: the map is not logged, and two may find the same page in it.

use pgrx::pg_sys;

use super::page::{is_free, set_free};
use crate::am::vacuum;
use crate::storage::{WalTxn, WriteGuard};

/// Pages that one record gives back.
const TOGETHER: usize = 4;

/// A free page, or a new one. It says that it is free until the caller writes it, which is why the caller keeps the lock
/// until then. May be called with locks on other pages held: a page that is locked is not waited for.
///
/// # Safety
/// `relation` is an open and locked `bm25` index.
pub unsafe fn take(relation: pg_sys::Relation) -> WriteGuard {
    let main = pg_sys::ForkNumber::MAIN_FORKNUM;
    // SAFETY: as the caller promises.
    unsafe {
        let mut busy = Vec::new();
        let guard = loop {
            let block = pg_sys::GetFreeIndexPage(relation);
            if block == pg_sys::InvalidBlockNumber {
                break WriteGuard::extend(relation, main);
            }
            // After a crash the map may name a page past the end.
            if block >= pg_sys::RelationGetNumberOfBlocksInFork(relation, main) {
                continue;
            }
            match WriteGuard::try_new(relation, block) {
                Some(guard) if is_free(guard.page()) => break guard,
                Some(_) => {}
                // Somebody writes it to disk, perhaps.
                None => busy.push(block),
            }
        };
        for block in busy {
            pg_sys::RecordFreeIndexPage(relation, block);
        }
        guard
    }
}

/// Gives pages back, which nothing leads to any more.
///
/// # Safety
/// As for [`take`]; no page is locked by this backend, and no other backend gives these pages back.
pub unsafe fn give_back(relation: pg_sys::Relation, blocks: &mut [u32]) {
    blocks.sort_unstable();
    // SAFETY: as the caller promises.
    unsafe {
        for blocks in blocks.chunks(TOGETHER) {
            let guards: Vec<_> =
                blocks.iter().map(|&block| WriteGuard::new(relation, block)).collect();
            let mut txn = WalTxn::new(relation, false);
            for guard in &guards {
                set_free(txn.page(guard));
            }
            txn.commit();
            drop(guards);
            for &block in blocks {
                pg_sys::RecordFreeIndexPage(relation, block);
            }
            vacuum::pause();
        }
        if let (Some(&first), Some(&last)) = (blocks.first(), blocks.last()) {
            pg_sys::FreeSpaceMapVacuumRange(relation, first, last + 1);
        }
    }
}
