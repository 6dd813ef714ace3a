//! Pages of a list written in one go: its rows packed into blocks, or one after the other where codes are not packed.
//! Where the pages are is the caller's business.

use super::index::IndexInfo;
use super::page::{
    BLOCK_ROWS, CONTINUES, Kind, Layout, NONE, Packed, ROW_TID_BYTES, TAPE_HEAD_BYTES, Tape,
    TapeHead, init_tape_page,
};
use crate::storage::Tid;
use crate::storage::page::{Page, content_mut, set_content_bytes};

/// Bytes of rows that are in memory to be packed.
const CHUNK_BYTES: usize = 1 << 20;

/// Rows of one list: their addresses, and their whole codes one after the other.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The addresses.
    pub tids: Vec<Tid>,
    /// The codes, `Coder::row_bytes` each.
    pub codes: Vec<u8>,
}

impl Rows {
    /// Forgets all rows, and keeps the memory.
    pub fn clear(&mut self) {
        self.tids.clear();
        self.codes.clear();
    }

    /// Adds a row.
    pub fn push(&mut self, tid: Tid, code: &[u8]) {
        self.tids.push(tid);
        self.codes.extend_from_slice(code);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tids.is_empty()
    }
}

/// Pages that hold some rows of a list: first the tape by which the list is read, blocks or rows, then the ex pages of
/// the blocks. They are numbered from 0 here.
///
/// All pages of blocks and ex codes have one stamp; pages of rows have stamps of their own, ascending.
pub struct Run<'a> {
    info: &'a IndexInfo,
    packed: Option<Packed>,
    rows: &'a Rows,
    owner: u32,
    stamp: u32,
    next: u32,
    tape_pages: usize,
    ex_pages: usize,
}

impl<'a> Run<'a> {
    /// A run of `rows` for list `owner`. `stamp` is the first that the list's counter has not given out.
    pub fn new(info: &'a IndexInfo, rows: &'a Rows, owner: u32, stamp: u32) -> Run<'a> {
        Run { info, packed: None, rows, owner, stamp, next: NONE, tape_pages: 0, ex_pages: 0 }
            .laid_out(info.layout.packed)
    }

    /// The same rows, one after the other even where codes are packed.
    pub fn unpacked(self) -> Run<'a> {
        self.laid_out(None)
    }

    fn laid_out(self, packed: Option<Packed>) -> Run<'a> {
        let (tape_pages, ex_pages) = pages(&self.info.layout, packed, self.rows.len());
        Run { packed, tape_pages, ex_pages, ..self }
    }

    /// Lets the tape go on, with a run of the same list whose first page is `block`, and whose stamp is this one's plus
    /// [`Run::stamps`] for pages of rows, the same for packed ones.
    pub fn followed_by(mut self, block: u32) -> Run<'a> {
        self.next = block;
        self
    }

    /// How many pages it needs.
    pub fn pages(&self) -> usize {
        self.tape_pages + self.ex_pages
    }

    /// How many of them are of the tape by which the list is read. They come first.
    pub fn tape_pages(&self) -> usize {
        self.tape_pages
    }

    /// How many stamps of the list's counter it uses up, should nothing follow it.
    pub fn stamps(&self) -> u32 {
        if self.packed.is_some() { 1 } else { self.tape_pages as u32 }
    }

    /// What page `at` is: its kind, its tape, and its head before it has items or a next page.
    pub fn page(&self, at: usize) -> (Kind, Tape, TapeHead) {
        let layout = &self.info.layout;
        let (kind, tape, stamp) = match self.packed {
            None => (Kind::Rows, layout.rows, self.stamp + at as u32),
            Some(Packed { ex: Some(ex), .. }) if at >= self.tape_pages => {
                (Kind::Ex, ex, self.stamp)
            }
            Some(packed) => (Kind::Blocks, packed.blocks, self.stamp),
        };
        (kind, tape, TapeHead::new(self.owner, stamp))
    }

    /// Makes page `at` of the run, whatever it was. `blocks` are where its pages are.
    pub fn fill(&self, at: usize, blocks: &[u32], page: &mut Page) {
        let (kind, tape, mut head) = self.page(at);
        init_tape_page(page, kind, &tape, head);
        let used = match (kind, self.packed) {
            (Kind::Blocks, Some(packed)) => self.fill_blocks(at, &packed, blocks, &mut head, page),
            (Kind::Ex, Some(packed)) => self.fill_ex(at, &packed, &tape, &mut head, page),
            _ => self.fill_rows(at, &tape, &mut head, page),
        };
        if at < self.tape_pages {
            head.next = if at + 1 < self.tape_pages { blocks[at + 1] } else { self.next };
            let step = u32::from(kind == Kind::Rows);
            head.next_stamp = if head.next == NONE { 0 } else { head.stamp + step };
        }
        set_content_bytes(page, used);
        head.write(page);
    }

    fn code(&self, row: usize) -> &[u8] {
        let len = self.info.coder.row_bytes();
        &self.rows.codes[row * len..(row + 1) * len]
    }

    fn fill_rows(&self, at: usize, tape: &Tape, head: &mut TapeHead, page: &mut Page) -> usize {
        let code_at = self.info.layout.row_code_at();
        self.fill_items(at, 0..self.rows.len(), tape, head, page, |row, item| {
            self.rows.tids[row].write(item, 0);
            let code = self.code(row);
            item[code_at..code_at + code.len()].copy_from_slice(code);
        })
    }

    fn fill_blocks(
        &self,
        at: usize,
        packed: &Packed,
        blocks: &[u32],
        head: &mut TapeHead,
        page: &mut Page,
    ) -> usize {
        let tape = &packed.blocks;
        let items = self.rows.len().div_ceil(BLOCK_ROWS);
        let used = self.fill_items(at, 0..items, tape, head, page, |block, item| {
            self.block(block, item);
        });
        if head.flags & CONTINUES == 0 {
            let first_ex = self.first_ex(at, packed);
            let own = self.first_ex(at + tape.pages_per_item(), packed) - first_ex;
            for place in 0..packed.ex_refs() {
                let ex = self.tape_pages + first_ex + place;
                let block = if place < own { blocks[ex] } else { NONE };
                packed.set_ex_ref(page, place, block);
            }
        }
        used
    }

    /// One item of blocks.
    fn block(&self, block: usize, item: &mut [u8]) {
        let rows = block * BLOCK_ROWS..((block + 1) * BLOCK_ROWS).min(self.rows.len());
        for row in 0..BLOCK_ROWS {
            let tid = self.rows.tids.get(rows.start + row).copied().unwrap_or(Tid::NONE);
            tid.write(item, row * ROW_TID_BYTES);
        }
        let codes: Vec<&[u8]> = rows.map(|row| self.code(row)).collect();
        let at = self.info.layout.block_code_at();
        let len = self.info.coder.block_bytes();
        self.info.coder.pack(&codes, &mut item[at..at + len]);
    }

    /// How many ex pages belong to the pages of blocks before page `at`.
    fn first_ex(&self, at: usize, packed: &Packed) -> usize {
        let page_rows = packed.rows_per_page();
        let before = (at / packed.blocks.pages_per_item() * page_rows).min(self.rows.len());
        before / page_rows * ex_pages(page_rows, packed) + ex_pages(before % page_rows, packed)
    }

    fn fill_ex(
        &self,
        at: usize,
        packed: &Packed,
        tape: &Tape,
        head: &mut TapeHead,
        page: &mut Page,
    ) -> usize {
        let page_rows = packed.rows_per_page();
        let pages = ex_pages(page_rows, packed);
        let (group, at) = ((at - self.tape_pages) / pages, (at - self.tape_pages) % pages);
        let rows = group * page_rows..((group + 1) * page_rows).min(self.rows.len());
        let len = self.info.coder.ex_bytes();
        self.fill_items(at, rows, tape, head, page, |row, item| {
            self.info.coder.ex(self.code(row), &mut item[..len]);
        })
    }

    /// Writes those of `items` that are on page `at` of their tape, and says so in `head`. Gives the bytes in use.
    fn fill_items(
        &self,
        at: usize,
        items: std::ops::Range<usize>,
        tape: &Tape,
        head: &mut TapeHead,
        page: &mut Page,
        write: impl Fn(usize, &mut [u8]),
    ) -> usize {
        let parts = tape.pages_per_item();
        if parts == 1 {
            let first = items.start + at * tape.per_page();
            let count = tape.per_page().min(items.end.saturating_sub(first));
            for place in 0..count {
                write(first + place, tape.item_mut(page, place));
            }
            head.items = count as u16;
            return tape.used_bytes(count);
        }
        let mut item = vec![0; tape.item_bytes];
        write(items.start + at / parts, &mut item);
        let part = &item[tape.part(at % parts)];
        if at.is_multiple_of(parts) {
            head.items = 1;
            tape.item_mut(page, 0).copy_from_slice(part);
            return tape.used_bytes(1);
        }
        head.flags |= CONTINUES;
        let end = TAPE_HEAD_BYTES + part.len();
        content_mut(page)[TAPE_HEAD_BYTES..end].copy_from_slice(part);
        end
    }
}

/// Pages of the tape by which a list of so many rows is read, and of its ex codes.
pub fn pages(layout: &Layout, packed: Option<Packed>, rows: usize) -> (usize, usize) {
    match packed {
        None => (tape_pages(rows, &layout.rows), 0),
        Some(packed) => {
            let page_rows = packed.rows_per_page();
            let ex = rows / page_rows * ex_pages(page_rows, &packed)
                + ex_pages(rows % page_rows, &packed);
            (tape_pages(rows.div_ceil(BLOCK_ROWS), &packed.blocks), ex)
        }
    }
}

/// Rows that are packed together: whole pages of them, so that what follows can be packed by itself.
pub fn chunk_rows(info: &IndexInfo) -> usize {
    let layout = &info.layout;
    let page_rows = layout.packed.map_or(layout.rows.per_page(), |packed| packed.rows_per_page());
    let pages = CHUNK_BYTES / (page_rows * info.coder.row_bytes());
    pages.max(1) * page_rows
}

/// Ex pages of `rows` rows on one page of blocks.
fn ex_pages(rows: usize, packed: &Packed) -> usize {
    packed.ex.map_or(0, |ex| tape_pages(rows, &ex))
}

fn tape_pages(items: usize, tape: &Tape) -> usize {
    items.div_ceil(tape.per_page()) * tape.pages_per_item()
}
