//! Walking tapes: page after page, each compared with what led to it, never more than one locked.

use pgrx::pg_sys;

use super::page::{CONTINUES, Kind, NONE, Tape, TapeHead, continued};
use crate::storage::page::Page;
use crate::storage::{ReadGuard, corrupt};

/// The tape led to a page that is another's by now: what was read of it is to be forgotten, and its head to be looked
/// up again. On the primary this cannot happen to a scan; on a standby, pages are used again under it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stale;

/// Where a tape begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// What its pages hold.
    pub kind: Kind,
    /// The list or the group that it belongs to.
    pub owner: u32,
    /// Its first page; [`NONE`]: it has none.
    pub block: u32,
    /// The first page's stamp.
    pub stamp: u32,
}

/// An item of a tape.
pub struct Item<'a> {
    /// Its page, the first if it has several.
    pub block: u32,
    /// Its place on the page.
    pub place: usize,
    /// Its bytes; a copy if it has several pages.
    pub bytes: &'a [u8],
    /// The page, locked; nothing if the item has several.
    pub page: Option<&'a Page>,
}

/// Reads a page of a tape.
///
/// # Safety
/// `relation` is open; the caller holds no lock on its pages.
pub unsafe fn read(
    relation: pg_sys::Relation,
    kind: Kind,
    owner: u32,
    (block, stamp): (u32, u32),
) -> Result<(ReadGuard, TapeHead), Stale> {
    // SAFETY: as the caller promises.
    let guard = unsafe { ReadGuard::new(relation, block) };
    match TapeHead::read(guard.page(), kind) {
        Some(head) if head.owner == owner && head.stamp == stamp => Ok((guard, head)),
        _ => Err(Stale),
    }
}

/// Calls `each` for every page of a tape, locked.
///
/// # Safety
/// `relation` is open; the caller holds no lock on its pages, and `each` takes none.
pub unsafe fn for_each_page(
    relation: pg_sys::Relation,
    head: Head,
    mut each: impl FnMut(u32, &Page, &TapeHead),
) -> Result<(), Stale> {
    let (mut at, mut read_pages, mut blocks) = ((head.block, head.stamp), 0, 0);
    while at.0 != NONE {
        pgrx::check_for_interrupts!();
        if read_pages == blocks {
            let main = pg_sys::ForkNumber::MAIN_FORKNUM;
            // SAFETY: as the caller promises.
            blocks = unsafe { pg_sys::RelationGetNumberOfBlocksInFork(relation, main) };
            if read_pages >= blocks {
                corrupt(relation, at.0, "a tape that leads in a circle");
            }
        }
        read_pages += 1;
        // SAFETY: as the caller promises.
        let (guard, tape) = unsafe { read(relation, head.kind, head.owner, at)? };
        each(at.0, guard.page(), &tape);
        at = (tape.next, tape.next_stamp);
    }
    Ok(())
}

/// Calls `each` for every item of a tape, with its page locked if it lies on one page.
///
/// # Safety
/// As for [`for_each_page`].
pub unsafe fn for_each_item(
    relation: pg_sys::Relation,
    head: Head,
    tape: &Tape,
    mut each: impl FnMut(Item<'_>),
) -> Result<(), Stale> {
    if tape.pages_per_item() == 1 {
        // SAFETY: as the caller promises.
        return unsafe {
            for_each_page(relation, head, |block, page, tape_head| {
                for place in 0..usize::from(tape_head.items).min(tape.per_page()) {
                    each(Item { block, place, bytes: tape.item(page, place), page: Some(page) });
                }
            })
        };
    }
    let (mut bytes, mut block, mut part) = (Vec::with_capacity(tape.item_bytes), NONE, 0);
    // SAFETY: as the caller promises.
    unsafe {
        for_each_page(relation, head, |at, page, tape_head| {
            if tape_head.flags & CONTINUES == 0 {
                bytes.clear();
                part = 0;
                if tape_head.items == 0 {
                    return;
                }
                block = at;
                bytes.extend_from_slice(tape.item(page, 0));
            } else {
                part += 1;
                bytes.extend_from_slice(continued(page, tape.part(part).len()));
            }
            if bytes.len() == tape.item_bytes {
                each(Item { block, place: 0, bytes: &bytes, page: None });
            }
        })
    }
}
