//! Rows that a scan may give, nearest first as far as their bounds tell.
//!
//! Of the thousands of rows in the lists that a scan reads, dozens are ever looked at again. So only those up to a
//! horizon are in a heap, some hundreds lie unordered until the heap is empty, and the others are moved out of the way
//! as soon as there are enough that are nearer.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::page::NONE;
use crate::storage::Tid;

/// Rows taken into the heap the first time; each further time twice as many.
const FIRST: usize = 128;
/// When so many rows lie unordered, the farther ones are moved out of the way.
const MANY: usize = 4 * FIRST;
/// Buffers kept for the next scan have room for no more than so many rows.
const MAX_KEPT: usize = 1 << 16;

thread_local! {
    /// A buffer of the scan before. Allocating one anew costs more than filling it.
    static KEPT: RefCell<Vec<Candidate>> = RefCell::default();
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
        Candidate { bound, list, block: tid.block, page: NONE, offset: tid.offset, at: 0 }
    }

    /// A row with the bound of its first bits.
    #[inline]
    pub fn packed(bound: f32, tid: Tid, list: u32, place: Packed) -> Candidate {
        let Packed { page, at } = place;
        Candidate { bound, list, block: tid.block, page, offset: tid.offset, at }
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

/// The candidates of a scan.
pub struct Queue {
    /// All with bounds up to the horizon.
    near: BinaryHeap<Candidate>,
    /// Those with bounds from there to the limit.
    rest: Vec<Candidate>,
    /// Those beyond, which are looked at when nothing else is left.
    far: Vec<Candidate>,
    horizon: f32,
    limit: f32,
    batch: usize,
}

impl Default for Queue {
    fn default() -> Queue {
        let far = KEPT.with_borrow_mut(std::mem::take);
        let (near, rest) = (BinaryHeap::new(), Vec::with_capacity(MANY));
        let (horizon, limit) = (f32::NEG_INFINITY, f32::INFINITY);
        Queue { near, rest, far, horizon, limit, batch: FIRST }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.far.capacity() <= MAX_KEPT {
            self.far.clear();
            KEPT.with_borrow_mut(|kept| std::mem::swap(kept, &mut self.far));
        }
    }
}

impl Queue {
    /// Adds a row, or puts it back with a better bound.
    #[inline(always)]
    pub fn add(&mut self, candidate: Candidate) {
        if candidate.bound > self.limit {
            self.far.push(candidate);
        } else if candidate.bound > self.horizon {
            self.rest.push(candidate);
            if self.rest.len() >= MANY {
                self.tighten();
            }
        } else {
            self.near.push(candidate);
        }
    }

    /// Forgets the rows of a list.
    pub fn forget(&mut self, list: u32) {
        self.near.retain(|candidate| candidate.list != list);
        self.rest.retain(|candidate| candidate.list != list);
        self.far.retain(|candidate| candidate.list != list);
    }

    /// Takes out the row with the least bound.
    pub fn pop(&mut self) -> Option<Candidate> {
        if self.near.is_empty() {
            self.look_further();
        }
        self.near.pop()
    }

    /// Keeps the nearest of the rest and moves the others away.
    #[cold]
    fn tighten(&mut self) {
        let kept = (2 * self.batch).min(self.rest.len() / 2);
        let (_, last, _) = self.rest.select_nth_unstable_by(kept, by_bound);
        self.limit = last.bound;
        self.far.extend(self.rest.drain(kept + 1..));
    }

    fn look_further(&mut self) {
        if self.rest.is_empty() {
            std::mem::swap(&mut self.rest, &mut self.far);
            self.limit = f32::INFINITY;
        }
        let count = self.batch.min(self.rest.len());
        self.batch *= 2;
        if count == 0 {
            return;
        }
        if count < self.rest.len() {
            self.rest.select_nth_unstable_by(count - 1, by_bound);
        }
        let mut nearest = std::mem::take(&mut self.near).into_vec();
        nearest.extend(self.rest.drain(..count));
        self.horizon = nearest.iter().map(|c| c.bound).fold(self.horizon, f32::max);
        self.near = BinaryHeap::from(nearest);
    }
}

fn by_bound(a: &Candidate, b: &Candidate) -> Ordering {
    a.bound.total_cmp(&b.bound)
}
