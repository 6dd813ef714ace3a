//! Lists rewritten: their rows packed, without the dead. The new pages are written first and take effect in one record;
//! what is inserted meanwhile goes to pages behind those that are rewritten, and stays there.

use pgrx::pg_sys;

use super::entry::LockedEntry;
use super::index::{self, Opened};
use super::insert::draw_stamps;
use super::pack::{self, Rows, Run};
use super::page::{BUILDING, CLOSED, ENDS, Entry, Kind, Layout, NONE, TapeHead, WHOLE};
use super::plan::Plan;
use super::rows::{self, Extent};
use super::vacuum::heads;
use super::{options, retire, split};
use crate::am::vacuum::pause;
use crate::storage::{WalTxn, WriteGuard, corrupt, space};

/// A list is rewritten when one row in so many is dead.
const DEAD_SHARE: usize = 5;
/// And when it has one page of rows to so many of blocks, but at least so many.
const ROWS_SHARE: usize = 4;
const LEAST_ROW_PAGES: usize = 2;
/// A list is split when it has more than so many times the rows that it should have.
pub const SPLIT_AT: usize = 3;

/// Does what lists need: gives back what a vacuum cut short has left, rewrites what is due for it, splits what has grown
/// too large. Reads the entries only where nothing is due. Says whether anything was written.
///
/// What was replaced is given back when all is done: nobody may use it as long as this vacuum runs, and it would lie in
/// front of pages that can be used.
///
/// # Safety
/// The relations are open and locked so that no other vacuum runs.
pub unsafe fn maintain(relation: pg_sys::Relation, heap: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises; no lock is held between the steps.
    unsafe {
        let opened = index::open(relation);
        let target = if options::is_flat(relation) { None } else { target_rows(relation, &opened) };
        let mut maker = Maker { relation, heap, opened, list: 0, target };
        let (mut changed, mut replaced) = (false, Vec::new());
        while maker.list < maker.opened.meta.lists {
            pause();
            let list = maker.list;
            changed |= retire::give_back(relation, &maker.opened, list);
            let mut due = Due::of(&maker.opened, &maker.entry(), target);
            if due != Due::Nothing {
                changed = true;
                replaced.push(list);
            }
            if due == Due::Split {
                split::split(&mut maker);
                // It may not be divisible.
                due = Due::of(&maker.opened, &maker.entry(), target);
            }
            if due == Due::Rewrite {
                retire::give_back(relation, &maker.opened, list);
                maker.rewrite();
            }
            maker.list += 1;
        }
        for list in replaced {
            retire::give_back(relation, &maker.opened, list);
        }
        if changed {
            space::pass_stamp();
        }
        changed
    }
}

/// How many rows a list should have: as when the index was built, or, if it has grown, as if it were built now. Nothing
/// if lists are not to be split.
unsafe fn target_rows(relation: pg_sys::Relation, opened: &Opened) -> Option<usize> {
    let (layout, mut rows) = (&opened.info.layout, 0);
    for list in 0..opened.meta.lists {
        // SAFETY: the caller holds the index open and no lock on its pages.
        let entry = unsafe { opened.entry(relation, list) };
        if !entry.is_split() {
            rows += rows_at_least(layout, &entry).saturating_sub(entry.dead as usize);
        }
    }
    let target = (opened.meta.target_rows as usize).max(rows / Plan::lists_for(rows as u64));
    (target > 0).then_some(target)
}

/// What a list needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Nothing,
    Rewrite,
    Split,
}

impl Due {
    fn of(opened: &Opened, entry: &Entry, target: Option<usize>) -> Due {
        if entry.is_split() {
            return Due::Nothing;
        }
        let layout = &opened.info.layout;
        let dead = entry.dead as usize;
        let least = rows_at_least(layout, entry);
        let live = least.saturating_sub(dead);
        let was_whole = entry.flags & WHOLE != 0 && least < 2 * entry.first_child as usize;
        if target.is_some_and(|target| live > SPLIT_AT * target) && !was_whole {
            return Due::Split;
        }
        let tape_pages = |rows| pack::pages(layout, layout.packed, rows).0;
        let packed_pages = match layout.packed {
            Some(_) => tape_pages(entry.packed_rows as usize),
            None => 0,
        };
        let row_pages = entry.row_pages as usize;
        // The last page of rows may be full.
        let rows = least + layout.rows.per_page();
        let live = rows.saturating_sub(dead);
        let saves = tape_pages(live) < packed_pages + row_pages;
        let many_dead = dead > 0 && dead * DEAD_SHARE >= rows && saves;
        let many_rows = layout.packed.is_some()
            && row_pages >= LEAST_ROW_PAGES
            && row_pages * ROWS_SHARE > packed_pages;
        if many_dead || many_rows { Due::Rewrite } else { Due::Nothing }
    }
}

/// How many rows a list has at least, the dead included.
pub fn rows_at_least(layout: &Layout, entry: &Entry) -> usize {
    let tape = &layout.rows;
    let items = entry.row_pages as usize / tape.pages_per_item();
    let full = if tape.pages_per_item() > 1 { items } else { items.saturating_sub(1) };
    entry.packed_rows as usize + full * tape.per_page()
}

/// A tape in the making.
pub struct Tape {
    /// Its first page, or [`NONE`].
    pub head: u32,
    /// The first page's stamp.
    pub stamp: u32,
    /// Its last page.
    pub last: u32,
    /// Its pages.
    pub pages: u32,
    /// The rows on them.
    pub rows: u32,
    is_packed: bool,
}

impl Tape {
    /// A tape without pages, of blocks where rows are packed and it is not to be `unpacked`.
    pub fn new(layout: &Layout, unpacked: bool) -> Tape {
        let is_packed = layout.packed.is_some() && !unpacked;
        Tape { head: NONE, stamp: 0, last: NONE, pages: 0, rows: 0, is_packed }
    }
}

/// Writes what is to take the place of a list.
pub struct Maker {
    /// The index.
    pub relation: pg_sys::Relation,
    /// Its table.
    pub heap: pg_sys::Relation,
    /// The index, opened.
    pub opened: Opened,
    /// The list, whose entry remembers the pages in the making.
    pub list: u32,
    /// Rows that a list should have, if lists are to be split.
    pub target: Option<usize>,
}

impl Maker {
    /// Writes rows behind those that are on a tape of list `owner`, and forgets them. `draw` draws stamps.
    ///
    /// # Safety
    /// No other vacuum runs, and the caller holds no lock on a page of the index.
    pub unsafe fn add(
        &self,
        tape: &mut Tape,
        owner: u32,
        rows: &mut Rows,
        draw: &mut dyn FnMut(u32) -> u32,
    ) {
        if rows.is_empty() {
            return;
        }
        let run = |stamp| {
            let run = Run::new(&self.opened.info, rows, owner, stamp);
            if tape.is_packed { run } else { run.unpacked() }
        };
        let same_stamp = tape.is_packed && tape.head != NONE;
        let stamp = if same_stamp { tape.stamp } else { draw(run(0).stamps()) };
        let run = run(stamp);
        // SAFETY: as the caller promises.
        unsafe {
            let mut blocks: Vec<u32> = (0..run.pages()).map(|_| self.take()).collect();
            // Scans read them in this order.
            blocks.sort_unstable();
            for (at, &block) in blocks.iter().enumerate() {
                pause();
                retire::write(self.relation, block, |page| run.fill(at, &blocks, page));
            }
            if tape.head == NONE {
                (tape.head, tape.stamp) = (blocks[0], stamp);
            } else {
                self.link(tape.last, (blocks[0], stamp));
            }
            tape.last = blocks[run.tape_pages() - 1];
            tape.pages += run.tape_pages() as u32;
        }
        tape.rows += rows.len() as u32;
        rows.clear();
    }

    /// Takes a page.
    ///
    /// # Safety
    /// As for [`Maker::add`].
    pub unsafe fn take(&self) -> u32 {
        pause();
        // SAFETY: as the caller promises.
        unsafe { retire::take(self.relation, self.heap, &self.opened, self.list) }
    }

    /// Lets a tape in the making go on.
    unsafe fn link(&self, last: u32, (next, next_stamp): (u32, u32)) {
        // SAFETY: as for `add`.
        unsafe {
            let guard = WriteGuard::new(self.relation, last);
            let Some(head) = TapeHead::read_any(guard.page()) else {
                corrupt(self.relation, last, "not a page of a list");
            };
            let mut txn = WalTxn::new(self.relation, false);
            TapeHead { next, next_stamp, ..head }.write(txn.page(&guard));
            txn.commit();
        }
    }

    /// The entry of the list.
    ///
    /// # Safety
    /// As for [`Maker::add`].
    pub unsafe fn entry(&self) -> Entry {
        // SAFETY: as the caller promises.
        unsafe { self.opened.entry(self.relation, self.list) }
    }

    /// Closes the last page of rows: what is inserted from now on goes to pages behind it. Gives it, if there is any.
    ///
    /// # Safety
    /// As for [`Maker::add`].
    pub unsafe fn seal(&self) -> Option<u32> {
        // SAFETY: as the caller promises.
        unsafe {
            let mut block = self.entry().row_tail;
            while block != NONE {
                pgrx::check_for_interrupts!();
                let guard = WriteGuard::new(self.relation, block);
                let mut head = self.row_page(&guard);
                if head.next == NONE {
                    if head.flags & CLOSED == 0 {
                        let mut txn = WalTxn::new(self.relation, false);
                        head.flags |= CLOSED;
                        head.write(txn.page(&guard));
                        txn.commit();
                    }
                    return Some(block);
                }
                block = head.next;
            }
            None
        }
    }

    /// The head of one of the list's pages of rows.
    pub fn row_page(&self, guard: &WriteGuard) -> TapeHead {
        match TapeHead::read(guard.page(), Kind::Rows).filter(|head| head.owner == self.list) {
            Some(head) => head,
            None => corrupt(self.relation, guard.block(), "a page of another list"),
        }
    }

    /// What there is of the list up to page `sealed`.
    pub fn extent(&self, entry: &Entry, sealed: Option<u32>) -> Extent {
        let (packed, mut rows) = heads(entry, self.list);
        if sealed.is_none() {
            rows.block = NONE;
        }
        Extent { packed, rows, last: sealed.unwrap_or(NONE) }
    }

    /// Rewrites the list.
    unsafe fn rewrite(&self) {
        let info = &self.opened.info;
        // SAFETY: as for `add`; no lock is held between the steps.
        unsafe {
            let sealed = self.seal();
            let entry = self.entry();
            let mut tape = Tape::new(&info.layout, false);
            let (mut held, most) = (Rows::default(), pack::chunk_rows(info));
            let mut draw = |count| draw_stamps(self.relation, &self.opened, self.list, count);
            let extent = self.extent(&entry, sealed);
            let pages = rows::for_each(self.relation, info, extent, &mut |tid, code| {
                held.push(tid, code);
                if held.len() == most {
                    self.add(&mut tape, self.list, &mut held, &mut draw);
                }
            });
            self.add(&mut tape, self.list, &mut held, &mut draw);
            self.swing(sealed, &tape, pages);
        }
    }

    /// Lets a tape take effect in place of the packed run and the pages of rows up to `sealed`, `pages` of them.
    unsafe fn swing(&self, sealed: Option<u32>, tape: &Tape, pages: u32) {
        // SAFETY: as for `add`. The lock order: pages of rows in the order of the tape, the entry.
        unsafe {
            let sealed = sealed.map(|block| WriteGuard::new(self.relation, block));
            let last_of_rows = !tape.is_packed && tape.head != NONE;
            let last = last_of_rows.then(|| WriteGuard::new(self.relation, tape.last));
            let mut locked = LockedEntry::new(self.relation, &self.opened, self.list);
            let mut txn = WalTxn::new(self.relation, false);
            let entry = &mut locked.entry;
            let old = *entry;
            // Without pages of rows before, those that there are now are all to stay.
            let (mut next, mut next_stamp) = (old.row_head, old.row_head_stamp);
            (entry.retired_rows, entry.retired_row_stamp) = (NONE, 0);
            if let Some(guard) = &sealed {
                let head = self.row_page(guard);
                (next, next_stamp) = (head.next, head.next_stamp);
                (entry.retired_rows, entry.retired_row_stamp) = (old.row_head, old.row_head_stamp);
                TapeHead { flags: head.flags | ENDS, ..head }.write(txn.page(guard));
            }
            (entry.retired_blocks, entry.retired_block_stamp) = (old.block_head, old.block_stamp);
            entry.flags &= !BUILDING;
            entry.dead = 0;
            entry.row_pages = old.row_pages.saturating_sub(pages);
            (entry.row_head, entry.row_head_stamp) = (next, next_stamp);
            if next == NONE {
                entry.row_tail = NONE;
            }
            if tape.is_packed {
                (entry.block_head, entry.block_stamp) = (tape.head, tape.stamp);
                entry.packed_rows = tape.rows;
            }
            if let Some(guard) = &last {
                let head = self.row_page(guard);
                TapeHead { next, next_stamp, ..head }.write(txn.page(guard));
                (entry.row_head, entry.row_head_stamp) = (tape.head, tape.stamp);
                entry.row_pages += tape.pages;
                if next == NONE {
                    entry.row_tail = tape.last;
                }
            }
            locked.write(&mut txn);
            txn.commit();
        }
    }
}
