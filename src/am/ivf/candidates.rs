//! Rows that a scan may give, nearest first as far as their bounds tell.
//!
//! Of the thousands of rows in the lists that a scan reads, dozens are ever looked at again. So blocks are put away whole,
//! and when the next row is asked for, those up to a horizon are taken out of them into a heap; later, when the heap is
//! empty, those up to a farther one.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::page::{BLOCK_ROWS, NONE, ROW_TID_BYTES};
use crate::storage::Tid;

/// Rows taken into the heap the first time, about; each further time twice as many.
const FIRST: usize = 64;
/// When so many rows lie unordered, the farther ones are moved out of the way.
const MANY: usize = 512;
/// Buffers kept for the next scan have room for no more than so many blocks.
const MAX_KEPT: usize = 1 << 12;

thread_local! {
    /// Buffers of the scan before. Allocating them anew costs more than filling them.
    static KEPT: RefCell<(Vec<Block>, Vec<Candidate>)> = RefCell::default();
}

/// Where the rest of a packed row's code is to be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packed {
    /// Its page of blocks.
    pub page: u32,
    /// Its number among the rows of the page.
    pub at: u16,
}

/// What is still to be looked at of a row before it is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// Nothing.
    Nothing,
    /// The rest of its code.
    Code(Packed),
    /// Its distance, in the table.
    Distance,
}

/// No page has this number, either.
const IN_TABLE: u32 = NONE - 1;

/// A row that may be given.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Below its distance, in the units of the operator.
    pub bound: f32,
    /// Which of the scan's lists it is in.
    pub list: u32,
    block: u32,
    /// [`NONE`] when the bound is that of the whole code, [`IN_TABLE`] when it is to be the distance.
    page: u32,
    offset: u16,
    at: u16,
}

const _: () = assert!(size_of::<Candidate>() == 20);

impl Candidate {
    /// A row with the bound of its whole code.
    #[inline]
    pub fn whole(bound: f32, tid: Tid, list: u32) -> Candidate {
        let Tid { block, offset } = tid;
        Candidate { bound, list, block, page: NONE, offset, at: 0 }
    }

    /// A row with the bound of its first bits.
    #[inline]
    pub fn packed(bound: f32, tid: Tid, list: u32, place: Packed) -> Candidate {
        let (Packed { page, at }, Tid { block, offset }) = (place, tid);
        Candidate { bound, list, block, page, offset, at }
    }

    /// A row whose bound is likely, and whose distance is to be had from the table.
    #[inline]
    pub fn rough(bound: f32, tid: Tid, list: u32) -> Candidate {
        Candidate { page: IN_TABLE, ..Candidate::whole(bound, tid, list) }
    }

    /// What the bound is to be made of before the row is given.
    pub fn rest(&self) -> Rest {
        match self.page {
            NONE => Rest::Nothing,
            IN_TABLE => Rest::Distance,
            page => Rest::Code(Packed { page, at: self.at }),
        }
    }

    /// The row's address.
    pub fn tid(&self) -> Tid {
        Tid { block: self.block, offset: self.offset }
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Candidate) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Candidate) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    /// The greatest is the one with the least bound, so that a heap gives it first; of equals, the one lower in the
    /// table.
    fn cmp(&self, other: &Candidate) -> Ordering {
        let place = |c: &Candidate| (c.block, c.offset);
        other.bound.total_cmp(&self.bound).then_with(|| place(other).cmp(&place(self)))
    }
}

/// Bytes of the addresses of a block's rows.
const TIDS_BYTES: usize = BLOCK_ROWS * ROW_TID_BYTES;

/// A block, and where it was found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The addresses of its rows.
    pub tids: &'a [u8],
    /// Which of the scan's lists it is in.
    pub list: u32,
    /// Its page.
    pub page: u32,
    /// Its place there.
    pub place: usize,
}

/// So many rows of a block share a least bound.
const COLUMN: usize = BLOCK_ROWS / COLUMNS;
/// Columns of a block. Row `r` is in column `r mod COLUMNS`.
const COLUMNS: usize = 4;

/// What is left of a block.
#[derive(Clone, Copy)]
struct Block {
    /// NaN for rows that were taken, and for places without a row.
    bounds: [f32; BLOCK_ROWS],
    /// The least bound of each column.
    least: [f32; COLUMNS],
    tids: [u8; TIDS_BYTES],
    list: u32,
    page: u32,
    place: u32,
}

/// The candidates of a scan.
pub struct Queue {
    /// Of those with bounds up to the horizon, what can be given.
    ready: BinaryHeap<Candidate>,
    /// Of those, what is to be looked at again.
    near: BinaryHeap<Candidate>,
    /// Those from there to the limit that are not in a block.
    rest: Vec<Candidate>,
    /// Those beyond the limit that are not in a block.
    far: Vec<Candidate>,
    /// Those beyond the horizon that are.
    blocks: Vec<Block>,
    horizon: f32,
    limit: f32,
    batch: usize,
}

impl Default for Queue {
    fn default() -> Queue {
        let (blocks, far) = KEPT.with_borrow_mut(std::mem::take);
        Queue {
            ready: BinaryHeap::new(),
            near: BinaryHeap::new(),
            rest: Vec::new(),
            far,
            blocks,
            horizon: f32::NEG_INFINITY,
            limit: f32::INFINITY,
            batch: FIRST,
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.blocks.capacity() <= MAX_KEPT && self.far.capacity() <= MAX_KEPT * BLOCK_ROWS {
            self.blocks.clear();
            self.far.clear();
            let kept = (std::mem::take(&mut self.blocks), std::mem::take(&mut self.far));
            KEPT.set(kept);
        }
    }
}

impl Queue {
    /// Adds a row, or puts it back with a better bound.
    #[inline]
    pub fn add(&mut self, candidate: Candidate) {
        if candidate.bound > self.limit {
            self.far.push(candidate);
        } else if candidate.bound > self.horizon {
            self.rest.push(candidate);
            if self.rest.len() >= MANY.max(4 * self.batch) {
                self.tighten();
            }
        } else if candidate.rest() == Rest::Nothing {
            self.ready.push(candidate);
        } else {
            self.near.push(candidate);
        }
    }

    /// Adds the rows of a block, with the bounds of their first bits. Gives the least of these.
    #[inline]
    pub fn add_block(&mut self, block: Found<'_>, bounds: &[f32; BLOCK_ROWS]) -> f32 {
        let Found { tids, list, page, place } = block;
        let Ok(tids) = tids.try_into() else { return f32::INFINITY };
        let (least, place) = ([f32::INFINITY; COLUMNS], place as u32);
        let mut block = Block { bounds: *bounds, least, tids, list, page, place };
        block.leave_out_what_is_none();
        block.find_least();
        let least = block.least.into_iter().fold(f32::INFINITY, f32::min);
        if block.has_up_to(self.horizon) {
            block.take(self.horizon, &mut self.near);
        }
        self.blocks.push(block);
        least
    }

    /// Forgets the rows of a list.
    pub fn forget(&mut self, list: u32) {
        self.ready.retain(|candidate| candidate.list != list);
        self.near.retain(|candidate| candidate.list != list);
        self.rest.retain(|candidate| candidate.list != list);
        self.far.retain(|candidate| candidate.list != list);
        self.blocks.retain(|block| block.list != list);
    }

    /// Takes out the row with the least bound. What can be given comes first even if its bound is by up to `margin` more
    /// than that of something to be looked at.
    #[inline]
    pub fn pop(&mut self, margin: f32) -> Option<Candidate> {
        let is_ready = match (self.ready.peek(), self.near.peek()) {
            (Some(ready), Some(near)) => ready.bound - margin <= near.bound,
            (ready, _) => ready.is_some(),
        };
        if is_ready { self.ready.pop() } else { self.near.pop() }
    }

    /// When there is nothing to take out, makes the nearest of the others ready for it. Returns those of them that are to
    /// be looked at again.
    pub fn refill(&mut self) -> &[Candidate] {
        if !(self.near.is_empty() && self.ready.is_empty()) {
            return &[];
        }
        while self.near.is_empty() && self.ready.is_empty() && !self.is_empty() {
            self.look_further();
        }
        self.near.as_slice()
    }

    /// Whether there is nothing beyond the horizon.
    fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.far.is_empty() && self.blocks.is_empty()
    }

    /// Keeps the nearer half of the rest and moves the others away.
    #[cold]
    fn tighten(&mut self) {
        let middle = self.rest.len() / 2;
        let by_bound = |a: &Candidate, b: &Candidate| a.bound.total_cmp(&b.bound);
        self.limit = self.rest.select_nth_unstable_by(middle, by_bound).1.bound;
        self.far.extend(self.rest.drain(middle + 1..));
    }

    #[cold]
    fn look_further(&mut self) {
        if self.rest.is_empty() && !self.blocks.iter().any(|block| block.has_up_to(self.limit)) {
            std::mem::swap(&mut self.rest, &mut self.far);
            self.limit = f32::INFINITY;
        }
        // At least as many rows as columns are below the horizon, and not many more.
        let columns = self.blocks.iter().flat_map(|block| block.least);
        let bounds = columns.chain(self.rest.iter().map(|candidate| candidate.bound));
        let mut least: Vec<f32> = bounds.filter(|&bound| bound < f32::INFINITY).collect();
        let horizon = match self.batch.min(least.len()) {
            0 => f32::INFINITY,
            count => *least.select_nth_unstable_by(count - 1, f32::total_cmp).1,
        };
        let horizon = horizon.min(self.limit);
        self.horizon = horizon;
        self.batch = self.batch.saturating_mul(2);
        let mut near = std::mem::take(&mut self.near).into_vec();
        for candidate in self.rest.extract_if(.., |candidate| candidate.bound <= horizon) {
            match candidate.rest() {
                Rest::Nothing => self.ready.push(candidate),
                _ => near.push(candidate),
            }
        }
        for block in self.blocks.iter_mut().filter(|block| block.has_up_to(horizon)) {
            block.take(horizon, &mut near);
        }
        if horizon == f32::INFINITY {
            self.blocks.clear();
        }
        self.near = BinaryHeap::from(near);
    }
}

impl Block {
    /// Whether a row has a bound up to this.
    #[inline]
    fn has_up_to(&self, bound: f32) -> bool {
        self.least.iter().any(|&least| least <= bound)
    }

    /// Sees to places at the end in which no row is.
    #[inline]
    fn leave_out_what_is_none(&mut self) {
        let is_none = |row| !Tid::read(&self.tids, row * ROW_TID_BYTES).is_some();
        let rows = (0..BLOCK_ROWS).rev().take_while(|&row| is_none(row)).count();
        self.bounds[BLOCK_ROWS - rows..].fill(f32::NAN);
    }

    #[inline]
    fn find_least(&mut self) {
        self.least = [f32::INFINITY; COLUMNS];
        for row in 0..COLUMN {
            for (column, least) in self.least.iter_mut().enumerate() {
                let bound = self.bounds[row * COLUMNS + column];
                *least = if bound < *least { bound } else { *least };
            }
        }
    }

    /// Takes out the rows with bounds up to `horizon`.
    fn take(&mut self, horizon: f32, out: &mut impl Extend<Candidate>) {
        let Block { tids, list, page, place, .. } = *self;
        let found = Found { tids: &tids, list, page, place: place as usize };
        let near = (0..BLOCK_ROWS).filter(|&row| self.bounds[row] <= horizon);
        out.extend(near.filter_map(|row| packed(found, row, self.bounds[row])));
        for bound in self.bounds.iter_mut().filter(|bound| **bound <= horizon) {
            *bound = f32::NAN;
        }
        self.find_least();
    }
}

/// Row `row` of a block, if there is one.
fn packed(block: Found<'_>, row: usize, bound: f32) -> Option<Candidate> {
    let tid = Tid::read(block.tids, row * ROW_TID_BYTES);
    let place = Packed { page: block.page, at: (block.place * BLOCK_ROWS + row) as u16 };
    tid.is_some().then(|| Candidate::packed(bound, tid, block.list, place))
}
