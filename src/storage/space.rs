//! Finding a page with room, as the heap does it (`hio.c`): the page used last, then the free space map, then a new one.

use pgrx::pg_sys;

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
    let block = unsafe { pg_sys::GetPageWithFreeSpace(relation, bytes) };
    (block != pg_sys::InvalidBlockNumber).then_some(block)
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
    let block =
        unsafe { pg_sys::RecordAndGetPageWithFreeSpace(relation, block, free_bytes, bytes) };
    (block != pg_sys::InvalidBlockNumber).then_some(block)
}

/// Tells the free space map how much is free on `block`.
///
/// # Safety
/// `relation` is open and locked.
pub unsafe fn record(relation: pg_sys::Relation, block: u32, free_bytes: usize) {
    // SAFETY: as the caller promises.
    unsafe { pg_sys::RecordPageWithFreeSpace(relation, block, free_bytes) }
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
    // Every snapshot taken before now has seen no more than the transaction before the next one. 0 means "at once".
    next.wrapping_sub(1).max(1)
}

/// Whether no snapshot is as old any more as the moment of a [`reuse_stamp`].
///
/// # Safety
/// `heap` is the open table that the freed places were about.
pub unsafe fn is_past(heap: pg_sys::Relation, stamp: u32) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let next = pg_sys::ReadNextFullTransactionId().value;
        // The stamp is the low half of a number below `next`; take the latest there can be.
        let mut value = next & !0xFFFF_FFFF | u64::from(stamp);
        if value > next {
            match value.checked_sub(1 << 32) {
                Some(earlier) => value = earlier,
                None => return true,
            }
        }
        pg_sys::GlobalVisCheckRemovableFullXid(heap, pg_sys::FullTransactionId { value })
    }
}
