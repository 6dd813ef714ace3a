//! What every vacuum of an index does: ask which rows are dead, rest, count, and wait for insertions under way.

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;

use super::heap;
use crate::storage::{Tid, space};

/// The block in whose name insertions and vacuum lock each other out in the lock manager (`LockPage`), which has
/// nothing to do with the lock of its buffer.
const LOCK_BLOCK: u32 = 0;

/// Says that an insertion begins that [`drain_insertions`] is to wait for.
///
/// # Safety
/// `relation` is open and locked. The abort of the transaction ends the insertion as well.
pub unsafe fn begin_insertion(relation: pg_sys::Relation) {
    // SAFETY: as the caller promises.
    unsafe { pg_sys::LockPage(relation, LOCK_BLOCK, pg_sys::ShareLock as i32) }
}

/// Says that the insertion is over.
///
/// # Safety
/// As for [`begin_insertion`], which was called before.
pub unsafe fn end_insertion(relation: pg_sys::Relation) {
    // SAFETY: as the caller promises.
    unsafe { pg_sys::UnlockPage(relation, LOCK_BLOCK, pg_sys::ShareLock as i32) }
}

/// Waits until all insertions that have begun are over.
///
/// # Safety
/// `relation` is open and locked; no buffer of it is locked by this backend.
pub unsafe fn drain_insertions(relation: pg_sys::Relation) {
    let exclusive = pg_sys::ExclusiveLock as i32;
    // SAFETY: as the caller promises.
    unsafe {
        pg_sys::LockPage(relation, LOCK_BLOCK, exclusive);
        pg_sys::UnlockPage(relation, LOCK_BLOCK, exclusive);
    }
}

/// Rests if the vacuum cost limit asks for it. No lock on a page is held.
pub fn pause() {
    pgrx::check_for_interrupts!();
    // SAFETY: called between pages.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::vacuum_delay_point();
        #[cfg(feature = "pg18")]
        pg_sys::vacuum_delay_point(false);
    }
}

/// The server's question whether a row is dead.
///
/// # Safety
/// `callback` and `state` are what `ambulkdelete` was called with, and the result is not used after that call.
pub unsafe fn dead_rows(
    callback: pg_sys::IndexBulkDeleteCallback,
    state: *mut std::ffi::c_void,
) -> impl Fn(Tid) -> bool {
    move |tid| {
        let mut pointer = heap::item_pointer(tid);
        // SAFETY: as the caller promises. That of a concurrent build may raise an error: it writes to disk.
        callback.is_some_and(|callback| unsafe {
            pg_guard_ffi_boundary(|| callback(&raw mut pointer, state))
        })
    }
}

/// The statistics of a vacuum: those that `ambulkdelete` was called with, or new ones.
///
/// # Safety
/// `stats` is null or valid.
pub unsafe fn stats_or_new(
    stats: *mut pg_sys::IndexBulkDeleteResult,
) -> *mut pg_sys::IndexBulkDeleteResult {
    if stats.is_null() {
        // SAFETY: allocates a zeroed struct in the current memory context.
        unsafe { PgBox::<pg_sys::IndexBulkDeleteResult>::alloc0() }.into_pg()
    } else {
        stats
    }
}

/// `amvacuumcleanup`: counts the pages and makes findable what is free on them, if anything was deleted.
#[pg_guard]
pub unsafe extern "C-unwind" fn amvacuumcleanup(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: the server passes the open index. Nothing was deleted when there are no statistics.
    unsafe {
        if (*info).analyze_only || stats.is_null() {
            return stats;
        }
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        (*stats).num_pages = pg_sys::RelationGetNumberOfBlocksInFork((*info).index, main);
        space::publish((*info).index);
        stats
    }
}
