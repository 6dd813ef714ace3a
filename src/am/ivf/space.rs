//! Pages taken and given back. Given-back pages are on a list that begins in the metapage; they keep what they hold, for
//! scans that are still on their way over them, until they are taken again.

use pgrx::pg_sys;

use super::page::{FREE, Kind, META_BLOCK, Meta, NONE, Tape, TapeHead, init_tape_page};
use crate::storage::page::{Page, set_trailer, trailer};
use crate::storage::{ReadGuard, WalTxn, WriteGuard, corrupt, space};

/// Reads the metapage under its lock.
fn meta_of(relation: pg_sys::Relation, page: &Page) -> Meta {
    match Meta::read(page) {
        Some(meta) => meta,
        None => corrupt(relation, META_BLOCK, "not a metapage of an ivf index"),
    }
}

/// Takes a page, makes it one of `kind` without items, and gives it locked. Nothing leads to it: after a crash it is
/// lost until the index is built again.
///
/// # Safety
/// The relations are open and locked: the index and its table. The caller holds no lock on a free page, on a page of
/// entries or on the metapage.
pub unsafe fn take(
    index: pg_sys::Relation,
    heap: pg_sys::Relation,
    kind: Kind,
    tape: &Tape,
    head: TapeHead,
) -> WriteGuard {
    // SAFETY: as the caller promises, throughout.
    unsafe {
        if let Some(guard) = take_free(index, heap, kind, tape, head) {
            return guard;
        }
        let guard = WriteGuard::extend(index, pg_sys::ForkNumber::MAIN_FORKNUM);
        let mut txn = WalTxn::new(index, false);
        init_tape_page(txn.new_page(&guard), kind, tape, head);
        txn.commit();
        guard
    }
}

/// Takes the first page of the free list, if there is one and no snapshot is so old that it may still be read.
unsafe fn take_free(
    index: pg_sys::Relation,
    heap: pg_sys::Relation,
    kind: Kind,
    tape: &Tape,
    head: TapeHead,
) -> Option<WriteGuard> {
    // SAFETY: as the caller of `take` promises.
    unsafe {
        let block = {
            let guard = ReadGuard::new(index, META_BLOCK);
            meta_of(index, guard.page()).free_head
        };
        if block == NONE {
            return None;
        }
        let guard = WriteGuard::new(index, block);
        let free = TapeHead::read_any(guard.page()).filter(|head| head.flags & FREE != 0)?;
        let stamp = trailer(guard.page())?.reuse_after;
        if !space::is_past(heap, stamp) {
            return None;
        }
        let meta_guard = WriteGuard::new(index, META_BLOCK);
        let mut meta = meta_of(index, meta_guard.page());
        if meta.free_head != block {
            // Another took it, and it has been given back behind others since.
            return None;
        }
        let mut txn = WalTxn::new(index, false);
        let page = txn.new_page(&guard);
        init_tape_page(page, kind, tape, head);
        meta.free_head = free.free_next;
        meta.free_pages = meta.free_pages.saturating_sub(1);
        meta.write(txn.page(&meta_guard));
        txn.commit();
        Some(guard)
    }
}

/// Gives a page back, unless it is on the free list already. Its content stays until it is taken.
///
/// # Safety
/// The index is open and locked, nothing but scans under way leads to the page, and the caller holds no lock on a page
/// of the index.
pub unsafe fn give_back(index: pg_sys::Relation, block: u32) {
    // SAFETY: as the caller promises.
    unsafe {
        let guard = WriteGuard::new(index, block);
        let (Some(mut head), Some(mut end)) =
            (TapeHead::read_any(guard.page()), trailer(guard.page()))
        else {
            corrupt(index, block, "not a page of a list");
        };
        if head.flags & FREE != 0 {
            return;
        }
        let meta_guard = WriteGuard::new(index, META_BLOCK);
        let mut meta = meta_of(index, meta_guard.page());
        let mut txn = WalTxn::new(index, false);
        let page = txn.page(&guard);
        head.flags |= FREE;
        head.free_next = meta.free_head;
        head.write(page);
        end.reuse_after = space::reuse_stamp();
        set_trailer(page, end);
        meta.free_head = block;
        meta.free_pages += 1;
        meta.write(txn.page(&meta_guard));
        txn.commit();
    }
}
