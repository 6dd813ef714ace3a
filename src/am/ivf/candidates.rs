//! Rows that a scan may give, ordered so that the one with the least bound comes first out of a `BinaryHeap`.

use std::cmp::Ordering;

use crate::storage::Tid;

/// Where a candidate's bound comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The whole code: there is no better bound.
    Whole,
    /// The first bits of a packed row.
    Packed {
        /// Its page of blocks.
        page: u32,
        /// Its number among the rows of the page.
        at: u16,
    },
}

/// A row that may be given.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Below its distance, in the units of the operator.
    pub bound: f32,
    /// Which of the scan's lists it is in.
    pub list: u32,
    block: u32,
    offset: u16,
    /// Where the bound comes from.
    pub source: Source,
}

impl Candidate {
    /// A row.
    pub fn new(bound: f32, tid: Tid, list: u32, source: Source) -> Candidate {
        Candidate { bound, list, block: tid.block, offset: tid.offset, source }
    }

    /// The same row with the bound of its whole code.
    pub fn refined(&self, bound: f32) -> Candidate {
        Candidate { bound, source: Source::Whole, ..*self }
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
    /// The greatest is the one with the least bound; of equals, the one lower in the table.
    fn cmp(&self, other: &Candidate) -> Ordering {
        let place = |c: &Candidate| (c.block, c.offset);
        other.bound.total_cmp(&self.bound).then_with(|| place(other).cmp(&place(self)))
    }
}
