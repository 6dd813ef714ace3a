//! Rows that a scan may give, nearest first as far as their bounds tell.
//!
//! Of the thousands of rows in the lists that a scan reads, dozens are ever looked at again. So only those below a
//! horizon are in a heap; the rest lie unordered until the heap is empty, and then the best of them are taken out.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::page::NONE;
use crate::storage::Tid;

/// Rows taken into the heap the first time; each further time twice as many.
const FIRST: usize = 128;
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

/// A row that may be given.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Below its distance, in the units of the operator.
    pub bound: f32,
    /// Which of the scan's lists it is in.
    pub list: u32,
    block: u32,
    /// [`NONE`] when the bound is that of the whole code.
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

    /// Where the rest of its code is, unless the bound is that of the whole.
    pub fn rest(&self) -> Option<Packed> {
        (self.page != NONE).then_some(Packed { page: self.page, at: self.at })
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
    near: BinaryHeap<Candidate>,
    /// All with bounds above the horizon.
    rest: Vec<Candidate>,
    horizon: f32,
    batch: usize,
}

impl Default for Queue {
    fn default() -> Queue {
        let rest = KEPT.with_borrow_mut(std::mem::take);
        Queue { near: BinaryHeap::new(), rest, horizon: f32::NEG_INFINITY, batch: FIRST }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.rest.capacity() <= MAX_KEPT {
            self.rest.clear();
            KEPT.with_borrow_mut(|kept| std::mem::swap(kept, &mut self.rest));
        }
    }
}

/// How many candidates there were, for [`Queue::cut`].
#[derive(Clone, Copy)]
pub struct Mark(usize);

impl Queue {
    /// Adds a row of a list that is being read; [`Queue::settle`] follows.
    #[inline(always)]
    pub fn add(&mut self, candidate: Candidate) {
        self.rest.push(candidate);
    }

    /// Where the rows of a list begin.
    pub fn mark(&self) -> Mark {
        Mark(self.rest.len())
    }

    /// Forgets what was added since.
    pub fn cut(&mut self, mark: Mark) {
        self.rest.truncate(mark.0);
    }

    /// Ends the additions since `mark`: drops those that `keep` refuses, and brings those below the horizon forward.
    pub fn settle(&mut self, mark: Mark, keep: impl Fn(&Candidate) -> bool) {
        let mut at = mark.0;
        while at < self.rest.len() {
            let candidate = self.rest[at];
            if !keep(&candidate) {
                self.rest.swap_remove(at);
            } else if candidate.bound <= self.horizon {
                self.near.push(candidate);
                self.rest.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// Puts a row back with a better bound.
    pub fn put_back(&mut self, candidate: Candidate) {
        if candidate.bound <= self.horizon {
            self.near.push(candidate);
        } else {
            self.rest.push(candidate);
        }
    }

    /// Takes out the row with the least bound.
    pub fn pop(&mut self) -> Option<Candidate> {
        if self.near.is_empty() {
            self.look_further();
        }
        self.near.pop()
    }

    fn look_further(&mut self) {
        let count = self.batch.min(self.rest.len());
        self.batch *= 2;
        if count == 0 {
            return;
        }
        let by_bound = |a: &Candidate, b: &Candidate| a.bound.total_cmp(&b.bound);
        if count < self.rest.len() {
            self.rest.select_nth_unstable_by(count - 1, by_bound);
        }
        let mut nearest = std::mem::take(&mut self.near).into_vec();
        nearest.extend(self.rest.drain(..count));
        self.horizon = nearest.iter().map(|c| c.bound).fold(self.horizon, f32::max);
        self.near = BinaryHeap::from(nearest);
        // Others at the horizon itself are as near.
        let horizon = self.horizon;
        let mut at = 0;
        while at < self.rest.len() {
            if self.rest[at].bound <= horizon {
                self.near.push(self.rest.swap_remove(at));
            } else {
                at += 1;
            }
        }
    }
}
