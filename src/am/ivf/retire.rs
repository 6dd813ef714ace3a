//! Pages on their way out of a list and into it, for vacuum: what took the place of others gives them back, and what was
//! begun and not finished is given back by the next vacuum. The entry of the list names both, never at the same time.

use pgrx::pg_sys;

use super::entry::LockedEntry;
use super::index::Opened;
use super::page::{
    BUILDING, CLOSED, CONTINUES, ENDS, Entry, FREE, Kind, META_BLOCK, NONE, Packed, Tape, TapeHead,
    init_tape_page,
};
use super::space::{self, GIVEN_TOGETHER, Room, meta_of, set_free};
use crate::am::vacuum::pause;
use crate::storage::{ReadGuard, WalTxn, WriteGuard, corrupt};

/// Pages given back in one record, beside the entry and the metapage.
const TOGETHER: usize = 2;

/// Takes a page that is to become part of a list. Until it does, the entry of `list` remembers it.
///
/// # Safety
/// The relations are open and locked, no other vacuum runs, and the caller holds no lock on a page of the index.
pub unsafe fn take(
    relation: pg_sys::Relation,
    heap: pg_sys::Relation,
    opened: &Opened,
    list: u32,
) -> u32 {
    loop {
        // SAFETY: as the caller promises; the lock order: a free page, the entry, the metapage.
        unsafe {
            let room = Room::find(relation, heap);
            let mut locked = LockedEntry::new(relation, opened, list);
            let Some(claim) = room.claim(relation) else { continue };
            let entry = &mut locked.entry;
            let before = if entry.flags & BUILDING == 0 { NONE } else { entry.retired_rows };
            let head = TapeHead { free_next: before, flags: CLOSED, ..TapeHead::new(list, 0) };
            entry.flags |= BUILDING;
            entry.retired_rows = room.block();
            let mut txn = WalTxn::new(relation, false);
            init_tape_page(room.page(&mut txn), Kind::Rows, &Tape::new(0), head);
            locked.write(&mut txn);
            claim.finish(&mut txn, &room);
            txn.commit();
            return room.block();
        }
    }
}

/// Writes a page that [`take`] gave. `fill` makes it anew.
///
/// # Safety
/// As for [`take`].
pub unsafe fn write(
    relation: pg_sys::Relation,
    block: u32,
    fill: impl FnOnce(&mut crate::storage::page::Page),
) {
    // SAFETY: as the caller promises.
    unsafe {
        let guard = WriteGuard::new(relation, block);
        let free_next = TapeHead::read_any(guard.page()).map_or(NONE, |head| head.free_next);
        let mut txn = WalTxn::new(relation, false);
        let page = txn.new_page(&guard);
        fill(page);
        if let Some(head) = TapeHead::read_any(page) {
            TapeHead { free_next, ..head }.write(page);
        }
        txn.commit();
    }
}

/// Gives back all pages that a list has to give back. Says whether there were any.
///
/// # Safety
/// As for [`take`].
pub unsafe fn give_back(relation: pg_sys::Relation, opened: &Opened, list: u32) -> bool {
    let mut any = false;
    loop {
        pause();
        // SAFETY: as the caller promises.
        unsafe {
            let entry = opened.entry(relation, list);
            if entry.retired_rows != NONE {
                give_first(relation, opened, list, Kind::Rows);
            } else if entry.retired_blocks != NONE {
                if let Some(packed) = &opened.info.layout.packed {
                    give_ex(relation, packed, list, &entry);
                }
                give_first(relation, opened, list, Kind::Blocks);
            } else {
                return any;
            }
        }
        any = true;
    }
}

/// The next of a list's retired pages.
fn after(entry: &Entry, head: &TapeHead) -> u32 {
    if entry.flags & BUILDING != 0 {
        head.free_next
    } else if head.flags & ENDS != 0 {
        NONE
    } else {
        head.next
    }
}

/// Gives back the first of a list's retired pages, of rows the second too.
unsafe fn give_first(relation: pg_sys::Relation, opened: &Opened, list: u32, kind: Kind) {
    // SAFETY: as for `give_back`. Only vacuum changes what is looked at; locks are taken in the lock order.
    unsafe {
        let entry = opened.entry(relation, list);
        let rows = kind == Kind::Rows;
        let mut next = if rows { entry.retired_rows } else { entry.retired_blocks };
        let mut guards: Vec<WriteGuard> = Vec::new();
        while next != NONE && guards.len() < if rows { TOGETHER } else { 1 } {
            let guard = WriteGuard::new(relation, next);
            let ours = |head: &TapeHead| {
                head.flags & FREE == 0 && (entry.flags & BUILDING != 0 || head.owner == list)
            };
            let Some(head) = TapeHead::read_any(guard.page()).filter(ours) else {
                corrupt(relation, next, "a page to be given back that is not the list's");
            };
            next = after(&entry, &head);
            guards.push(guard);
        }
        let mut locked = LockedEntry::new(relation, opened, list);
        if rows {
            locked.entry.retired_rows = next;
            if next == NONE {
                locked.entry.flags &= !BUILDING;
            }
        } else {
            locked.entry.retired_blocks = next;
        }
        let meta_guard = WriteGuard::new(relation, META_BLOCK);
        let mut meta = meta_of(relation, meta_guard.page());
        let mut txn = WalTxn::new(relation, false);
        for guard in &guards {
            set_free(txn.page(guard), meta.free_head);
            meta.free_head = guard.block();
            meta.free_pages += 1;
        }
        locked.write(&mut txn);
        meta.write(txn.page(&meta_guard));
        txn.commit();
    }
}

/// Gives back the ex pages of the first of a list's retired pages of blocks, as far as that was not done.
unsafe fn give_ex(relation: pg_sys::Relation, packed: &Packed, list: u32, entry: &Entry) {
    // SAFETY: as for `give_back`.
    unsafe {
        let (refs, stamp) = {
            let guard = ReadGuard::new(relation, entry.retired_blocks);
            match TapeHead::read(guard.page(), Kind::Blocks) {
                Some(head) => (ex_refs(packed, guard.page()), head.stamp),
                None => corrupt(relation, entry.retired_blocks, "not a page of blocks"),
            }
        };
        for refs in refs.chunks(GIVEN_TOGETHER) {
            pause();
            space::give_back(relation, refs, |page, _| {
                TapeHead::read(page, Kind::Ex)
                    .is_some_and(|head| (head.owner, head.stamp) == (list, stamp))
            });
        }
    }
}

/// The ex pages that a page of blocks names; none if it continues an item, as the first page of that names them.
pub fn ex_refs(packed: &Packed, page: &crate::storage::page::Page) -> Vec<u32> {
    if TapeHead::read(page, Kind::Blocks).is_none_or(|head| head.flags & CONTINUES != 0) {
        return Vec::new();
    }
    let refs = (0..packed.ex_refs()).map(|at| packed.ex_ref(page, at));
    refs.filter(|&block| block != NONE).collect()
}

/// The pages that a list has yet to give back, with the pages of ex codes that have not been given back.
///
/// # Safety
/// As for [`take`].
pub unsafe fn pages(relation: pg_sys::Relation, opened: &Opened, list: u32) -> Vec<u32> {
    let mut found = Vec::new();
    // SAFETY: as the caller promises; one page is locked at a time.
    unsafe {
        let entry = opened.entry(relation, list);
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(relation, main);
        for mut block in [entry.retired_rows, entry.retired_blocks] {
            while block < blocks && found.len() <= blocks as usize {
                pgrx::check_for_interrupts!();
                let guard = ReadGuard::new(relation, block);
                let Some(head) = TapeHead::read_any(guard.page()) else { break };
                found.push(block);
                let refs = match &opened.info.layout.packed {
                    Some(packed) if TapeHead::read(guard.page(), Kind::Blocks).is_some() => {
                        ex_refs(packed, guard.page())
                    }
                    _ => Vec::new(),
                };
                drop(guard);
                if entry.flags & BUILDING == 0 {
                    for ex in refs.into_iter().filter(|&ex| ex < blocks) {
                        let guard = ReadGuard::new(relation, ex);
                        let ours = TapeHead::read(guard.page(), Kind::Ex).is_some_and(|ex| {
                            (ex.owner, ex.stamp, ex.flags & FREE) == (list, head.stamp, 0)
                        });
                        if ours {
                            found.push(ex);
                        }
                    }
                }
                block = after(&entry, &head);
            }
        }
    }
    found
}
