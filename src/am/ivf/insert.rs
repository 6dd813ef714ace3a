//! Inserting one row: it is appended to the last page of rows of the list whose centroid is nearest. All is computed
//! before a page is locked; what was read is compared again under the lock of the page that changes.
//!
//! A page of rows that vacuum closed, or that is full, gets a successor, which only the entry can grant: it may name
//! other pages by now, or other lists.

use leanstack_core::ivf::coder::Placed;
use leanstack_core::quantize::Value;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::entry::LockedEntry;
use super::index::{self, Opened};
use super::pack::{Rows, Run};
use super::page::{CLOSED, Entry, FREE, Kind, META_BLOCK, NONE, TapeHead, init_tape_page};
use super::route::{Router, encoder_centroid};
use super::space::{self, Room};
use crate::am::{heap as rows, vectors};
use crate::error::unwrap;
use crate::storage::page::{Page, set_content_bytes};
use crate::storage::{Tid, WalTxn, WriteGuard, corrupt};
use crate::types::value::detoast;

/// How often a list is looked up anew because others changed it meanwhile; more is no accident.
const ATTEMPTS: usize = 1000;

/// Inserts a row.
#[pg_guard]
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C-unwind" fn aminsert(
    relation: pg_sys::Relation,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    heap_tid: pg_sys::ItemPointer,
    heap: pg_sys::Relation,
    _check_unique: pg_sys::IndexUniqueCheck::Type,
    _index_unchanged: bool,
    _index_info: *mut pg_sys::IndexInfo,
) -> bool {
    // SAFETY: the server passes open relations, one column, and the address of the row.
    unsafe {
        if *isnull {
            return false;
        }
        let opened = index::open(relation);
        let value = detoast(opened.info.kind, *values);
        let value = unwrap(value.value());
        vectors::check_dims(opened.meta.dims as usize, &value);
        insert(relation, heap, opened, value, rows::tid(heap_tid));
        false
    }
}

/// Inserts a row, unless its vector is not one that can be indexed.
///
/// # Safety
/// The relations are open, and `opened` is the index. No lock on its pages is held.
unsafe fn insert(
    relation: pg_sys::Relation,
    heap: pg_sys::Relation,
    mut opened: Opened,
    value: Value<'_>,
    tid: Tid,
) {
    let info = std::rc::Rc::clone(&opened.info);
    let mut placed = Vec::new();
    if !info.coder.place(value, &mut placed) {
        return;
    }
    let mut row = Rows { tids: vec![tid], codes: vec![0; info.coder.row_bytes()] };
    let (mut encoder, mut centroid) = (None, Vec::new());
    for _ in 0..ATTEMPTS {
        pgrx::check_for_interrupts!();
        // SAFETY: as the caller promises; no lock is held between the steps.
        unsafe {
            let list = nearest(relation, &opened, &placed);
            if opened.is_behind(list) {
                opened = index::open(relation);
            }
            let entry = opened.entry(relation, list);
            if entry.is_split() {
                // The centroids that were read are from before that.
                opened = index::open(relation);
                continue;
            }
            if encoder != Some(entry.encoder) {
                if info.coder.is_relative() {
                    encoder_centroid(relation, &opened, entry.encoder, &mut centroid);
                }
                if !info.coder.encode(value, &placed, &centroid, &mut row.codes) {
                    return;
                }
                encoder = Some(entry.encoder);
            }
            if append(relation, heap, &opened, list, &row) {
                return;
            }
        }
    }
    corrupt(relation, META_BLOCK, "no list takes another row");
}

/// The list that a placed vector belongs to.
unsafe fn nearest(relation: pg_sys::Relation, opened: &Opened, placed: &[f32]) -> u32 {
    let placed = Placed::row(placed.to_vec());
    // SAFETY: the caller holds the relation open and no lock on its pages.
    let near = unsafe { Router::new(relation, opened, placed).next(relation, opened) };
    match near {
        Some(near) => near.list,
        None => corrupt(relation, META_BLOCK, "an index without lists"),
    }
}

/// Appends a row to a list. False if the list is not what it was: split, most likely.
///
/// # Safety
/// The relations are open, and `opened` is the index. No lock on its pages is held.
pub unsafe fn append(
    relation: pg_sys::Relation,
    heap: pg_sys::Relation,
    opened: &Opened,
    list: u32,
    row: &Rows,
) -> bool {
    let appender = Appender { relation, heap, opened, list, row };
    // SAFETY: as the caller promises.
    unsafe {
        if opened.info.layout.rows.pages_per_item() > 1 {
            return appender.append_long();
        }
        for _ in 0..ATTEMPTS {
            pgrx::check_for_interrupts!();
            match appender.append() {
                Outcome::Done => return true,
                Outcome::Split => return false,
                Outcome::Again => {}
            }
        }
    }
    corrupt(relation, opened.entry_place(relation, list).0, "a list whose end cannot be found");
}

enum Outcome {
    Done,
    /// The list has children by now.
    Split,
    /// Other inserts or vacuum changed what was looked at.
    Again,
}

/// The last page of rows of a list, locked.
struct Last {
    guard: WriteGuard,
    head: TapeHead,
}

struct Appender<'a> {
    relation: pg_sys::Relation,
    heap: pg_sys::Relation,
    opened: &'a Opened,
    list: u32,
    row: &'a Rows,
}

impl Appender<'_> {
    unsafe fn append(&self) -> Outcome {
        let tape = &self.opened.info.layout.rows;
        // SAFETY: one page is locked at a time, or several in the lock order.
        unsafe {
            let last = match self.last() {
                Ok(last) => last,
                Err(outcome) => return outcome,
            };
            match last {
                Some(Last { guard, mut head })
                    if head.flags & CLOSED == 0 && usize::from(head.items) < tape.per_page() =>
                {
                    let mut txn = WalTxn::new(self.relation, false);
                    let page = txn.page(&guard);
                    self.put_row(&mut head, page);
                    txn.commit();
                    Outcome::Done
                }
                last => self.add_page(last),
            }
        }
    }

    /// The last page, if there is any.
    unsafe fn last(&self) -> Result<Option<Last>, Outcome> {
        // SAFETY: the relation is open; one page is locked at a time.
        unsafe {
            let entry = self.opened.entry(self.relation, self.list);
            if entry.is_split() {
                return Err(Outcome::Split);
            }
            let (mut block, mut stamp) = (entry.row_tail, None);
            while block != NONE {
                let guard = WriteGuard::new(self.relation, block);
                let head = TapeHead::read(guard.page(), Kind::Rows)
                    .filter(|head| head.owner == self.list && head.flags & FREE == 0)
                    .filter(|head| stamp.is_none_or(|stamp| stamp == head.stamp));
                let Some(head) = head else { return Err(Outcome::Again) };
                if head.next == NONE {
                    return Ok(Some(Last { guard, head }));
                }
                (block, stamp) = (head.next, Some(head.next_stamp));
            }
            Ok(None)
        }
    }

    /// Puts the row on `page`, whose head is `head`.
    fn put_row(&self, head: &mut TapeHead, page: &mut Page) {
        let layout = &self.opened.info.layout;
        let at = usize::from(head.items);
        let item = layout.rows.item_mut(page, at);
        self.row.tids[0].write(item, 0);
        let code = layout.row_code_at();
        item[code..code + self.row.codes.len()].copy_from_slice(&self.row.codes);
        head.items += 1;
        head.write(page);
        set_content_bytes(page, layout.rows.used_bytes(at + 1));
    }

    /// Puts the row on a new page, after `last` if there is a last one.
    unsafe fn add_page(&self, last: Option<Last>) -> Outcome {
        let tape = &self.opened.info.layout.rows;
        // SAFETY: the lock order: the last page, a free page, the entry, the metapage.
        unsafe {
            let room = Room::find(self.relation, self.heap);
            let mut locked = LockedEntry::new(self.relation, self.opened, self.list);
            let claim = if may_follow(&locked.entry, last.as_ref()) {
                room.claim(self.relation)
            } else {
                None
            };
            let Some(claim) = claim else {
                drop((locked, last));
                room.leave(self.relation);
                return Outcome::Again;
            };
            let stamp = locked.entry.counter + 1;
            let mut txn = WalTxn::new(self.relation, false);
            link(&mut txn, &mut locked.entry, last.as_ref(), (room.block(), stamp));
            let (page, mut head) = (room.page(&mut txn), TapeHead::new(self.list, stamp));
            init_tape_page(page, Kind::Rows, tape, head);
            self.put_row(&mut head, page);
            locked.entry.counter = stamp;
            locked.entry.row_tail = room.block();
            locked.entry.row_pages += 1;
            locked.write(&mut txn);
            claim.finish(&mut txn, &room);
            txn.commit();
            Outcome::Done
        }
    }

    /// Appends a row that takes several pages: these are written first. A crash before the list leads to them loses them.
    unsafe fn append_long(&self) -> bool {
        // SAFETY: the relations are open; locks are taken in the lock order.
        unsafe {
            let info = &self.opened.info;
            let count = Run::new(info, self.row, self.list, 0).unpacked().stamps();
            let stamp = draw_stamps(self.relation, self.opened, self.list, count);
            let run = Run::new(info, self.row, self.list, stamp).unpacked();
            let blocks: Vec<u32> = (0..run.pages())
                .map(|at| {
                    let (kind, tape, head) = run.page(at);
                    space::take(self.relation, self.heap, kind, &tape, head).block()
                })
                .collect();
            for (at, &block) in blocks.iter().enumerate() {
                let guard = WriteGuard::new(self.relation, block);
                let mut txn = WalTxn::new(self.relation, false);
                run.fill(at, &blocks, txn.new_page(&guard));
                txn.commit();
            }
            for _ in 0..ATTEMPTS {
                pgrx::check_for_interrupts!();
                let last = match self.last() {
                    Ok(last) => last,
                    Err(Outcome::Split) => break,
                    Err(_) => continue,
                };
                let mut locked = LockedEntry::new(self.relation, self.opened, self.list);
                if !may_follow(&locked.entry, last.as_ref()) {
                    continue;
                }
                let mut txn = WalTxn::new(self.relation, false);
                link(&mut txn, &mut locked.entry, last.as_ref(), (blocks[0], stamp));
                locked.entry.row_tail = blocks[blocks.len() - 1];
                locked.entry.row_pages += blocks.len() as u32;
                locked.write(&mut txn);
                txn.commit();
                return true;
            }
            for blocks in blocks.chunks(space::GIVEN_TOGETHER) {
                space::give_back(self.relation, blocks, |_, head| head.owner == self.list);
            }
            false
        }
    }
}

/// Whether the list goes on behind `last`.
fn may_follow(entry: &Entry, last: Option<&Last>) -> bool {
    !entry.is_split() && entry.row_tail == last.map_or(NONE, |last| last.guard.block())
}

/// Lets the list go on with page `first`, behind `last` or as its first page of rows. Does not write the entry.
fn link<'g>(
    txn: &mut WalTxn<'g>,
    entry: &mut Entry,
    last: Option<&'g Last>,
    (first, stamp): (u32, u32),
) {
    match last {
        Some(Last { guard, head }) => {
            TapeHead { next: first, next_stamp: stamp, ..*head }.write(txn.page(guard));
        }
        None => {
            entry.row_head = first;
            entry.row_head_stamp = stamp;
        }
    }
}

/// Draws `count` stamps from a list's counter, and gives the first.
///
/// # Safety
/// `relation` is the open index. The caller holds no lock on a page of entries or on the metapage.
pub unsafe fn draw_stamps(
    relation: pg_sys::Relation,
    opened: &Opened,
    list: u32,
    count: u32,
) -> u32 {
    // SAFETY: as the caller promises.
    unsafe {
        let mut locked = LockedEntry::new(relation, opened, list);
        let first = locked.entry.counter + 1;
        locked.entry.counter += count;
        locked.commit(relation);
        first
    }
}
