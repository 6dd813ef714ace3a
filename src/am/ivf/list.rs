//! Walking tapes: page after page, each compared with what led to it, never more than one locked.

use pgrx::pg_sys;

use super::page::{CONTINUES, Kind, NONE, Tape, TapeHead, continued};
use crate::storage::page::Page;
use crate::storage::raw::Recent;
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
}

/// Reads pages of one index.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    relation: pg_sys::Relation,
    recent: Option<&'a Recent>,
}

/// How many pages are read before a tape is suspected of leading in a circle.
const UNSUSPECTED: u32 = 1024;

impl<'a> Reader<'a> {
    /// For reading many pages again and again: by guesses at their buffers.
    ///
    /// # Safety
    /// `relation` is open for as long as the reader is used, and the guesses are of it.
    pub unsafe fn guessing(relation: pg_sys::Relation, recent: &'a Recent) -> Reader<'a> {
        Reader { relation, recent: Some(recent) }
    }

    /// Locks a page for reading. The caller holds no lock that comes later in the lock order.
    pub fn lock(&self, block: u32) -> ReadGuard {
        // SAFETY: as the maker of the reader promised.
        unsafe {
            match self.recent {
                Some(recent) => ReadGuard::guessed(self.relation, block, recent),
                None => ReadGuard::new(self.relation, block),
            }
        }
    }

    /// Reads a page of a tape.
    #[inline]
    pub fn read(
        &self,
        kind: Kind,
        owner: u32,
        (block, stamp): (u32, u32),
    ) -> Result<(ReadGuard, TapeHead), Stale> {
        let guard = self.lock(block);
        let head = head_of(guard.page(), kind, (owner, stamp)).ok_or(Stale)?;
        Ok((guard, head))
    }

    /// As [`Reader::read`], and the page of the same list that `next` finds named on it. The second is nothing if it has to
    /// be read by itself; it is not compared with anything.
    #[inline]
    pub fn read_pair(
        &self,
        kind: Kind,
        owner: u32,
        (block, stamp): (u32, u32),
        next: impl FnOnce(&Page) -> Option<u32>,
    ) -> Result<(ReadGuard, TapeHead, Option<ReadGuard>), Stale> {
        let Some(recent) = self.recent else {
            return self.read(kind, owner, (block, stamp)).map(|(guard, head)| (guard, head, None));
        };
        // SAFETY: as the maker of the reader promised; what is compared and read on the page is plain bytes.
        let (first, second) = unsafe {
            let next = |page: &Page| head_of(page, kind, (owner, stamp)).and_then(|_| next(page));
            ReadGuard::guessed_pair(self.relation, block, recent, next)
        };
        let head = head_of(first.page(), kind, (owner, stamp)).ok_or(Stale)?;
        Ok((first, head, second))
    }

    /// Calls `each` for every page of a tape, locked; `each` locks none itself.
    pub fn for_each_page(
        &self,
        head: Head,
        mut each: impl FnMut(u32, &Page, &TapeHead),
    ) -> Result<(), Stale> {
        let (mut at, mut pages, mut most) = ((head.block, head.stamp), 0, UNSUSPECTED);
        while at.0 != NONE {
            pgrx::check_for_interrupts!();
            if pages == most {
                let main = pg_sys::ForkNumber::MAIN_FORKNUM;
                // SAFETY: as the maker of the reader promised.
                most = unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.relation, main) };
                if pages >= most {
                    corrupt(self.relation, at.0, "a tape that leads in a circle");
                }
            }
            pages += 1;
            let (guard, tape) = self.read(head.kind, head.owner, at)?;
            each(at.0, guard.page(), &tape);
            at = (tape.next, tape.next_stamp);
        }
        Ok(())
    }

    /// Calls `each` for every item of a tape, with its page locked if it lies on one page.
    pub fn for_each_item(
        &self,
        head: Head,
        tape: &Tape,
        mut each: impl FnMut(Item<'_>),
    ) -> Result<(), Stale> {
        if tape.pages_per_item() == 1 {
            return self.for_each_page(head, |block, page, tape_head| {
                for place in 0..usize::from(tape_head.items).min(tape.per_page()) {
                    each(Item { block, place, bytes: tape.item(page, place) });
                }
            });
        }
        let (mut bytes, mut block, mut part) = (Vec::with_capacity(tape.item_bytes), NONE, 0);
        self.for_each_page(head, |at, page, tape_head| {
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
                each(Item { block, place: 0, bytes: &bytes });
            }
        })
    }
}

/// The head of a page, if it is of this kind and has this owner and stamp.
#[inline]
pub fn head_of(page: &Page, kind: Kind, (owner, stamp): (u32, u32)) -> Option<TapeHead> {
    TapeHead::read(page, kind).filter(|head| head.owner == owner && head.stamp == stamp)
}

/// See [`Reader::read`].
///
/// # Safety
/// `relation` is open; the caller holds no lock on its pages.
pub unsafe fn read(
    relation: pg_sys::Relation,
    kind: Kind,
    owner: u32,
    at: (u32, u32),
) -> Result<(ReadGuard, TapeHead), Stale> {
    Reader { relation, recent: None }.read(kind, owner, at)
}

/// See [`Reader::for_each_page`].
///
/// # Safety
/// As for [`read`].
pub unsafe fn for_each_page(
    relation: pg_sys::Relation,
    head: Head,
    each: impl FnMut(u32, &Page, &TapeHead),
) -> Result<(), Stale> {
    Reader { relation, recent: None }.for_each_page(head, each)
}

/// See [`Reader::for_each_item`].
///
/// # Safety
/// As for [`read`].
pub unsafe fn for_each_item(
    relation: pg_sys::Relation,
    head: Head,
    tape: &Tape,
    each: impl FnMut(Item<'_>),
) -> Result<(), Stale> {
    Reader { relation, recent: None }.for_each_item(head, tape, each)
}
