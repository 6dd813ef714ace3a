//! Pages taken and given back. Given-back pages are on a list that begins in the metapage; they keep what they hold, for
//! scans that are still on their way over them, until they are taken again.

use pgrx::pg_sys;

use super::page::{FREE, Kind, META_BLOCK, Meta, NONE, Tape, TapeHead, init_tape_page};
use crate::storage::page::{Page, set_trailer, trailer};
use crate::storage::{ReadGuard, WalTxn, WriteGuard, corrupt, space};

/// Reads the metapage under its lock.
pub fn meta_of(relation: pg_sys::Relation, page: &Page) -> Meta {
    match Meta::read(page) {
        Some(meta) => meta,
        None => corrupt(relation, META_BLOCK, "not a metapage of an ivf index"),
    }
}

/// A page that nothing leads to, locked: the first of the free list, or a new one.
pub struct Room {
    guard: WriteGuard,
    /// What comes after it on the free list, where it is on it.
    free_next: Option<u32>,
}

/// The metapage, locked, where a page has to come off the free list.
pub struct Claim(Option<(WriteGuard, Meta)>);

impl Room {
    /// Finds a page, which stays where it is until it is claimed and written.
    ///
    /// # Safety
    /// The relations are open and locked: the index and its table. The caller holds no lock on a free page, on a page of
    /// entries or on the metapage.
    pub unsafe fn find(index: pg_sys::Relation, heap: pg_sys::Relation) -> Room {
        // SAFETY: as the caller promises.
        unsafe {
            if let Some(room) = Room::first_free(index, heap) {
                return room;
            }
            let guard = WriteGuard::extend(index, pg_sys::ForkNumber::MAIN_FORKNUM);
            Room { guard, free_next: None }
        }
    }

    /// The first page of the free list, if there is one and no snapshot is so old that it may still be read.
    unsafe fn first_free(index: pg_sys::Relation, heap: pg_sys::Relation) -> Option<Room> {
        // SAFETY: as the caller of `find` promises.
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
            let free_next = Some(free.free_next);
            space::is_past(heap, stamp).then_some(Room { guard, free_next })
        }
    }

    /// Where it is.
    pub fn block(&self) -> u32 {
        self.guard.block()
    }

    /// Locks the metapage if the page is to come off the free list. Nothing if another page is the first by now: then
    /// all locks are to be let go, and a page is to be found anew.
    ///
    /// # Safety
    /// As for [`Room::find`], except that pages of entries may be locked.
    pub unsafe fn claim(&self, index: pg_sys::Relation) -> Option<Claim> {
        if self.free_next.is_none() {
            return Some(Claim(None));
        }
        // SAFETY: as the caller promises.
        let guard = unsafe { WriteGuard::new(index, META_BLOCK) };
        let meta = meta_of(index, guard.page());
        (meta.free_head == self.block()).then_some(Claim(Some((guard, meta))))
    }

    /// As [`Room::claim`] and [`Claim::finish`], where the caller has locked the metapage and writes it.
    #[must_use]
    pub fn come_off(&self, meta: &mut Meta) -> bool {
        let Some(free_next) = self.free_next else { return true };
        if meta.free_head != self.block() {
            return false;
        }
        meta.free_head = free_next;
        meta.free_pages = meta.free_pages.saturating_sub(1);
        true
    }

    /// The page, to write anew in a record that [`Claim::finish`] is to be part of.
    #[allow(clippy::mut_from_ref)]
    pub fn page<'g>(&'g self, txn: &mut WalTxn<'g>) -> &'g mut Page {
        txn.new_page(&self.guard)
    }

    /// Does without the page: a new one goes to the free list.
    ///
    /// # Safety
    /// The caller holds no other lock on a page of the index.
    pub unsafe fn leave(self, index: pg_sys::Relation) {
        if self.free_next.is_some() {
            return;
        }
        // SAFETY: as the caller promises.
        unsafe {
            let meta_guard = WriteGuard::new(index, META_BLOCK);
            let mut meta = meta_of(index, meta_guard.page());
            let mut txn = WalTxn::new(index, false);
            let page = txn.new_page(&self.guard);
            let head =
                TapeHead { free_next: meta.free_head, flags: FREE, ..TapeHead::new(NONE, 0) };
            init_tape_page(page, Kind::Rows, &Tape::new(0), head);
            meta.free_head = self.block();
            meta.free_pages += 1;
            meta.write(txn.page(&meta_guard));
            txn.commit();
        }
    }
}

impl Claim {
    /// Takes the page of `room` off the free list, in the record that writes it. The metapage is the last of the
    /// record.
    pub fn finish<'g>(&'g self, txn: &mut WalTxn<'g>, room: &Room) {
        if let (Some((guard, meta)), Some(free_next)) = (&self.0, room.free_next) {
            let free_pages = meta.free_pages.saturating_sub(1);
            Meta { free_head: free_next, free_pages, ..*meta }.write(txn.page(guard));
        }
    }
}

/// Takes a page, makes it one of `kind` without items, and gives it locked. Nothing leads to it: after a crash it is
/// lost until the index is built again.
///
/// # Safety
/// As for [`Room::find`].
pub unsafe fn take(
    index: pg_sys::Relation,
    heap: pg_sys::Relation,
    kind: Kind,
    tape: &Tape,
    head: TapeHead,
) -> WriteGuard {
    loop {
        // SAFETY: as the caller promises.
        unsafe {
            let room = Room::find(index, heap);
            let Some(claim) = room.claim(index) else { continue };
            let mut txn = WalTxn::new(index, false);
            init_tape_page(room.page(&mut txn), kind, tape, head);
            claim.finish(&mut txn, &room);
            txn.commit();
            drop(claim);
            return room.guard;
        }
    }
}

/// Puts pages on the free list, in one record: those of `blocks`, at most [`GIVEN_TOGETHER`], that `is_ours` finds to be
/// what they are taken for and that are not on it. Their content stays until they are taken. The first will be taken
/// first.
///
/// # Safety
/// The index is open and locked, nothing but scans under way leads to the pages, and the caller holds no lock on a page
/// of the index.
pub unsafe fn give_back(
    index: pg_sys::Relation,
    blocks: &[u32],
    is_ours: impl Fn(&Page, &TapeHead) -> bool,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut guards: Vec<WriteGuard> =
            blocks.iter().map(|&block| WriteGuard::new(index, block)).collect();
        guards.retain(|guard| {
            let head = TapeHead::read_any(guard.page());
            head.is_some_and(|head| head.flags & FREE == 0 && is_ours(guard.page(), &head))
        });
        if guards.is_empty() {
            return;
        }
        let meta_guard = WriteGuard::new(index, META_BLOCK);
        let mut meta = meta_of(index, meta_guard.page());
        let mut txn = WalTxn::new(index, false);
        let pages: Vec<&mut Page> = guards.iter().map(|guard| txn.page(guard)).collect();
        for (page, guard) in pages.into_iter().zip(&guards).rev() {
            set_free(page, meta.free_head);
            meta.free_head = guard.block();
            meta.free_pages += 1;
        }
        meta.write(txn.page(&meta_guard));
        txn.commit();
    }
}

/// Most pages of one [`give_back`]: a record has four, and the metapage is one of them.
pub const GIVEN_TOGETHER: usize = 3;

/// Says on a page that it is on the free list, before `free_next`.
pub fn set_free(page: &mut Page, free_next: u32) {
    if let (Some(mut head), Some(mut end)) = (TapeHead::read_any(page), trailer(page)) {
        head.flags |= FREE;
        head.free_next = free_next;
        head.write(page);
        end.reuse_after = space::reuse_stamp();
        set_trailer(page, end);
    }
}
