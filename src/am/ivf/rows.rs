//! Reading all rows of a list with their whole codes, for vacuum. No page is locked while a row is looked at.

use pgrx::pg_sys;

use super::index::IndexInfo;
use super::list::{self, Head};
use super::page::{
    BLOCK_ROWS, CONTINUES, Kind, NONE, Packed, Tape, TapeHead, block_tid, continued,
};
use crate::am::vacuum::pause;
use crate::storage::page::{PAGE_BYTES, Page};
use crate::storage::{ReadGuard, Tid, corrupt};

/// What of a list is read.
#[derive(Clone, Copy)]
pub struct Extent {
    /// Where its packed rows begin.
    pub packed: Head,
    /// Where its rows begin.
    pub rows: Head,
    /// The last page of rows to be read.
    pub last: u32,
}

/// Calls `each` for every row. Gives how many pages of rows were read.
///
/// # Safety
/// `relation` is the open index, the list is not changed meanwhile but for rows appended behind the extent, and the caller
/// holds no lock on a page of the index.
pub unsafe fn for_each(
    relation: pg_sys::Relation,
    info: &IndexInfo,
    extent: Extent,
    each: &mut dyn FnMut(Tid, &[u8]),
) -> u32 {
    let layout = &info.layout;
    let code_bytes = info.coder.row_bytes();
    if let Some(packed) = &layout.packed {
        let mut ex = Ex { relation, packed, head: extent.packed, at: NONE, page: blank() };
        let (mut code, mut rest) = (vec![0; code_bytes], Vec::new());
        let code_at = layout.block_code_at();
        let mut block = |page: &Page, place: usize, item: &[u8]| {
            for row in 0..BLOCK_ROWS {
                let tid = block_tid(item, row);
                if !tid.is_some() {
                    continue;
                }
                // SAFETY: as the caller promises.
                unsafe {
                    ex.read(page, place * BLOCK_ROWS + row, info.coder.ex_bytes(), &mut rest)
                };
                if !info.coder.unpack(&item[code_at..], row, &rest, &mut code) {
                    corrupt(relation, extent.packed.block, "a list with a damaged code");
                }
                each(tid, &code);
            }
        };
        // SAFETY: as the caller promises.
        unsafe { items(relation, extent.packed, &packed.blocks, NONE, &mut block) };
    }
    let code_at = layout.row_code_at();
    let mut row = |_: &Page, _, item: &[u8]| {
        let tid = Tid::read(item, 0);
        if tid.is_some() {
            each(tid, &item[code_at..code_at + code_bytes]);
        }
    };
    // SAFETY: as the caller promises.
    unsafe { items(relation, extent.rows, &layout.rows, extent.last, &mut row) }
}

/// What is done with an item: its page, or its first, its place there, and its bytes.
type EachItem<'a> = &'a mut dyn FnMut(&Page, usize, &[u8]);

/// Calls `each` for every item of a tape as far as page `last`. Gives how many pages there were.
unsafe fn items(
    relation: pg_sys::Relation,
    head: Head,
    tape: &Tape,
    last: u32,
    each: EachItem<'_>,
) -> u32 {
    let (mut page, mut first, mut bytes, mut part) = (blank(), blank(), Vec::new(), 0);
    let (mut at, mut pages) = ((head.block, head.stamp), 0);
    while at.0 != NONE {
        pause();
        // SAFETY: as the caller of `for_each` promises.
        let tape_head = unsafe {
            let Ok((guard, tape_head)) = list::read(relation, head.kind, head.owner, at) else {
                corrupt(relation, at.0, "a page of another list");
            };
            page.copy_from_slice(guard.page());
            tape_head
        };
        pages += 1;
        if tape.pages_per_item() == 1 {
            for place in 0..usize::from(tape_head.items).min(tape.per_page()) {
                each(&page, place, tape.item(&page, place));
            }
        } else if tape_head.flags & CONTINUES != 0 {
            part += 1;
            bytes.extend_from_slice(continued(&page, tape.part(part).len()));
            if bytes.len() == tape.item_bytes {
                each(&first, 0, &bytes);
            }
        } else {
            (part, bytes) = (0, tape.item(&page, 0).to_vec());
            std::mem::swap(&mut page, &mut first);
        }
        if at.0 == last {
            break;
        }
        at = (tape_head.next, tape_head.next_stamp);
    }
    pages
}

fn blank() -> Box<Page> {
    Box::new([0; PAGE_BYTES])
}

/// The ex codes of a packed run, and the page of them that was read last.
struct Ex<'a> {
    relation: pg_sys::Relation,
    packed: &'a Packed,
    head: Head,
    at: u32,
    page: Box<Page>,
}

impl Ex<'_> {
    /// The ex code of row `row` of a page of blocks, `len` bytes, into `out`.
    unsafe fn read(&mut self, blocks: &Page, row: usize, len: usize, out: &mut Vec<u8>) {
        out.clear();
        let (Some(tape), Some((first, place))) = (self.packed.ex, self.packed.ex_place(row)) else {
            return;
        };
        for part in 0..tape.pages_per_item() {
            // SAFETY: as the caller of `for_each` promises.
            unsafe { self.load(self.packed.ex_ref(blocks, first + part)) };
            if part == 0 {
                out.extend_from_slice(tape.item(&self.page, place));
            } else {
                out.extend_from_slice(continued(&self.page, tape.part(part).len()));
            }
        }
        out.truncate(len);
    }

    unsafe fn load(&mut self, block: u32) {
        if block == self.at {
            return;
        }
        // SAFETY: as the caller of `for_each` promises.
        let guard = unsafe { ReadGuard::new(self.relation, block) };
        let ours = TapeHead::read(guard.page(), Kind::Ex)
            .is_some_and(|ex| (ex.owner, ex.stamp) == (self.head.owner, self.head.stamp));
        if !ours {
            corrupt(self.relation, block, "not the ex codes that a page of blocks names");
        }
        self.page.copy_from_slice(guard.page());
        self.at = block;
    }
}
