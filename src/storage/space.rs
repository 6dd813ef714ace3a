//! Finding a page with room, as the heap does it (`hio.c`): the page used last, then the free space map, then a new one.

use pgrx::pg_sys;

use super::page::{Page, trailer};

/// The page this backend last put something on.
///
/// # Safety
/// `relation` is open.
pub unsafe fn last_used(relation: pg_sys::Relation) -> Option<u32> {
    // SAFETY: as the caller promises; rd_smgr is either null or valid.
    unsafe {
        let smgr = (*relation).rd_smgr;
        if smgr.is_null() {
            return None;
        }
        let block = (*smgr).smgr_targblock;
        (block != pg_sys::InvalidBlockNumber).then_some(block)
    }
}

/// Remembers `block` for [`last_used`].
///
/// # Safety
/// `relation` is open.
pub unsafe fn set_last_used(relation: pg_sys::Relation, block: u32) {
    // SAFETY: as the caller promises.
    unsafe {
        if !(*relation).rd_smgr.is_null() {
            (*(*relation).rd_smgr).smgr_targblock = block;
        }
    }
}

/// A page on which the free space map knows `bytes` to be free.
///
/// # Safety
/// `relation` is open and locked.
pub unsafe fn find(relation: pg_sys::Relation, bytes: usize) -> Option<u32> {
    // SAFETY: as the caller promises.
    unsafe { existing(relation, pg_sys::GetPageWithFreeSpace(relation, bytes)) }
}

/// Tells the free space map how much is free on `block`, and asks for another page with `bytes`.
///
/// # Safety
/// `relation` is open and locked.
pub unsafe fn find_other(
    relation: pg_sys::Relation,
    block: u32,
    free_bytes: usize,
    bytes: usize,
) -> Option<u32> {
    // SAFETY: as the caller promises.
    unsafe {
        let block = pg_sys::RecordAndGetPageWithFreeSpace(relation, block, free_bytes, bytes);
        existing(relation, block)
    }
}

/// The map is not logged: after a crash it may name a page that is gone.
unsafe fn existing(relation: pg_sys::Relation, block: u32) -> Option<u32> {
    if block == pg_sys::InvalidBlockNumber {
        return None;
    }
    let main = pg_sys::ForkNumber::MAIN_FORKNUM;
    // SAFETY: the caller holds the relation open.
    let blocks = unsafe { pg_sys::RelationGetNumberOfBlocksInFork(relation, main) };
    (block < blocks).then_some(block)
}

/// Tells the free space map how much is free on `block`.
///
/// # Safety
/// `relation` is open and locked.
pub unsafe fn record(relation: pg_sys::Relation, block: u32, free_bytes: usize) {
    // SAFETY: as the caller promises.
    unsafe { pg_sys::RecordPageWithFreeSpace(relation, block, free_bytes) }
}

/// Tells everybody that `bytes` are free on `block`, a page just made: backends that come and go would each make
/// their own otherwise.
///
/// # Safety
/// `relation` is open and locked.
pub unsafe fn offer(relation: pg_sys::Relation, block: u32, bytes: usize) {
    // SAFETY: as the caller promises.
    unsafe {
        pg_sys::RecordPageWithFreeSpace(relation, block, bytes);
        pg_sys::FreeSpaceMapVacuumRange(relation, block, block + 1);
    }
}

/// Makes what [`record`] noted findable.
///
/// # Safety
/// `relation` is open and locked.
pub unsafe fn publish(relation: pg_sys::Relation) {
    // SAFETY: as the caller promises.
    unsafe { pg_sys::FreeSpaceMapVacuum(relation) }
}

/// The number to stamp on freed places, for [`is_past`].
pub fn reuse_stamp() -> u32 {
    // SAFETY: reads shared state of the server.
    let next = unsafe { pg_sys::ReadNextFullTransactionId() }.value as u32;
    // The horizon of a snapshot taken before now may be the next transaction itself, when none is running; so that one
    // must be over too, not only those before it. 0 means "at once".
    next.max(1)
}

/// Uses up a transaction number, where that is allowed, so that a stamp is past as soon as the snapshots of its time
/// are gone, and not one writing transaction later.
pub fn pass_stamp() {
    // SAFETY: called inside a transaction; parallel workers and their leader may not begin numbers.
    unsafe {
        if !pg_sys::IsInParallelMode() && pg_sys::ParallelWorkerNumber < 0 {
            pg_sys::GetTopTransactionId();
        }
    }
}

/// Whether no snapshot is as old any more as the moment of a [`reuse_stamp`].
///
/// # Safety
/// `heap` is the open table that the freed places were about.
pub unsafe fn is_past(heap: pg_sys::Relation, stamp: u32) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let next = pg_sys::ReadNextFullTransactionId().value;
        // The stamp is the low half of a number not above `next` (or 1 for 0); take the latest there can be.
        let mut value = next & !0xFFFF_FFFF | u64::from(stamp);
        if value > next + 1 {
            match value.checked_sub(1 << 32) {
                Some(earlier) => value = earlier,
                None => return true,
            }
        }
        pg_sys::GlobalVisCheckRemovableFullXid(heap, pg_sys::FullTransactionId { value })
    }
}

/// Whether the freed places of a page may be used: no scan that could still follow a link to them is running.
///
/// # Safety
/// As for [`is_past`].
pub unsafe fn is_reusable(heap: pg_sys::Relation, page: &Page) -> bool {
    let after = trailer(page).map_or(0, |trailer| trailer.reuse_after);
    // SAFETY: as the caller promises.
    after == 0 || unsafe { is_past(heap, after) }
}
