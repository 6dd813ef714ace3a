//! The best documents so far, over several segments and the write buffer.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};

use super::{Fault, Pages, RowAddress, Segment, is_dead};

/// A document that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its score.
    pub score: f64,
    /// Its row.
    pub row: RowAddress,
}

/// A document that is among the best so far. The greatest is the worst of them.
#[derive(Clone, Copy, Debug)]
struct Row {
    score: f64,
    /// How many came before: of equal scores the first is the better one.
    arrival: u64,
    row: RowAddress,
    /// The document whose row is not looked up yet.
    pending: Option<u32>,
}

impl Ord for Row {
    fn cmp(&self, other: &Row) -> Ordering {
        other.score.total_cmp(&self.score).then(self.arrival.cmp(&other.arrival))
    }
}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Row) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Row) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Row {}

/// Up to this many rows are looked up only when a segment is done.
const DEFER: usize = 1024;

/// The best documents so far.
pub struct Top<'c> {
    k: usize,
    ceiling: Option<(f64, &'c HashSet<RowAddress>)>,
    rows: BinaryHeap<Row>,
    arrivals: u64,
    threshold: f64,
}

impl<'c> Top<'c> {
    /// The best `k`. With a ceiling, only of those that come after a first batch whose last score it is, and whose rows
    /// with just that score are in the set.
    pub fn new(k: usize, ceiling: Option<(f64, &'c HashSet<RowAddress>)>) -> Top<'c> {
        let threshold = if k == 0 { f64::INFINITY } else { f64::NEG_INFINITY };
        Top { k, ceiling, rows: BinaryHeap::new(), arrivals: 0, threshold }
    }

    /// What a score must be above to be among the best.
    #[inline]
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Offers a document of the write buffer, with its [`super::Scorer::score`].
    pub fn offer(&mut self, score: f64, row: RowAddress) {
        let seen = |&(ceiling, seen): &(f64, &HashSet<RowAddress>)| {
            score > ceiling || (score == ceiling && seen.contains(&row))
        };
        if score > self.threshold && !self.ceiling.as_ref().is_some_and(seen) {
            self.push(score, row, None);
        }
    }

    /// The best, best first; of equal scores the one that came first.
    pub fn into_sorted(self) -> Vec<Hit> {
        let hit = |row: Row| Hit { score: row.score, row: row.row };
        self.rows.into_sorted_vec().into_iter().map(hit).collect()
    }

    /// Offers a document of a segment. Its row is looked up only if that decides; else [`Top::settle`] does it.
    pub(super) fn offer_document<P: Pages>(
        &mut self,
        segment: &Segment<P>,
        score: f64,
        doc: u32,
        has_dead: bool,
    ) -> Result<(), Fault> {
        let ceiling = self.ceiling.map_or(f64::INFINITY, |ceiling| ceiling.0);
        if score <= self.threshold || score > ceiling {
            return Ok(());
        }
        if !has_dead && score < ceiling && self.defers() {
            self.push(score, RowAddress::default(), Some(doc));
            return Ok(());
        }
        let (row, _) = segment.document(doc)?;
        if !is_dead(&row) {
            self.offer(score, row);
        }
        Ok(())
    }

    /// Are rows looked up late?
    pub(super) fn defers(&self) -> bool {
        self.k <= DEFER
    }

    /// A copy to go back to.
    pub(super) fn saved(&self) -> Top<'c> {
        Top { rows: self.rows.clone(), ..*self }
    }

    /// Looks up the rows that were put off. False if one is of a dead document, which should not be here.
    pub(super) fn settle<P: Pages>(&mut self, segment: &Segment<P>) -> Result<bool, Fault> {
        if self.rows.iter().all(|row| row.pending.is_none()) {
            return Ok(true);
        }
        let mut rows = std::mem::take(&mut self.rows).into_vec();
        let mut alive = true;
        for row in &mut rows {
            if let Some(doc) = row.pending.take() {
                row.row = segment.document(doc)?.0;
                alive &= !is_dead(&row.row);
            }
        }
        self.rows = rows.into();
        Ok(alive)
    }

    fn push(&mut self, score: f64, row: RowAddress, pending: Option<u32>) {
        let row = Row { score, arrival: self.arrivals, row, pending };
        self.arrivals += 1;
        if self.rows.len() < self.k {
            self.rows.push(row);
            if self.rows.len() < self.k {
                return;
            }
        } else if let Some(mut worst) = self.rows.peek_mut() {
            *worst = row;
        }
        self.threshold = self.rows.peek().map_or(f64::INFINITY, |worst| worst.score);
    }
}
