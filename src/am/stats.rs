//! What scans count of their work, for `lean.last_scan` and EXPLAIN.
//!
//! A scan counts in a place of its own, which the backend holds on to as that of its last scan. So nothing is to be done
//! when a scan ends, and what one did that was stopped early or failed can be seen as well.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pgrx::pg_sys;

use crate::storage::raw;

/// A number that only grows.
#[derive(Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// Counts `more`.
    #[inline(always)]
    pub fn add(&self, more: usize) {
        self.0.set(self.0.get().wrapping_add(more as u64));
    }

    /// What was counted, as SQL has it.
    pub fn get(&self) -> i64 {
        self.0.get() as i64
    }
}

/// How far a search looks, by a setting or by the choice of the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Breadth {
    /// Into so many lists.
    Probes(usize),
    /// With so many candidates.
    Ef(usize),
    /// For so many of the best rows.
    Best(usize),
}

/// The work of one scan. A scan that is started anew, with another query, goes on counting.
#[derive(Default)]
pub struct Stats {
    about: Cell<Option<About>>,
    /// How often it was started.
    pub searches: Counter,
    /// Pins of pages of the index.
    pub pages: Counter,
    /// Lists whose rows were read.
    pub lists: Counter,
    /// Nodes whose links were followed.
    pub nodes: Counter,
    /// Codes compared with the query, by their first bits where these lie apart, and then with the empty places of the
    /// blocks.
    pub codes: Counter,
    /// Codes of which the further bits were read.
    pub whole_codes: Counter,
    /// Rows that the executor was given.
    pub rows: Counter,
    /// Those of them whose distance it was to compute, and rows whose distance the scan computed before it gave them.
    pub exact_distances: Counter,
    /// Whether a search looked further than its breadth, as more rows were asked for.
    pub grew: Cell<bool>,
}

/// What a scan is of.
#[derive(Clone, Copy)]
pub struct About {
    /// The index.
    pub index: pg_sys::Oid,
    /// Its access method.
    pub am: &'static str,
    /// How far the last search looks.
    pub breadth: Breadth,
}

thread_local! {
    static LAST: RefCell<Option<Rc<Stats>>> = RefCell::default();
}

impl Stats {
    /// Counts a search, which makes the scan the last one.
    pub fn start(self: &Rc<Stats>, about: About) {
        self.about.set(Some(about));
        self.searches.add(1);
        LAST.with_borrow_mut(|last| *last = Some(Rc::clone(self)));
    }

    /// What the scan is of; nothing before its first search.
    pub fn about(&self) -> Option<About> {
        self.about.get()
    }

    /// Counts the pages that are read as long as the result lives.
    pub fn count_pages(&self) -> Reading<'_> {
        Reading { stats: self, before: raw::pages_read() }
    }
}

/// See [`Stats::count_pages`]. An error that ends the reading changes nothing: there is only a number to add.
pub struct Reading<'a> {
    stats: &'a Stats,
    before: u64,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.stats.pages.add(raw::pages_read().wrapping_sub(self.before) as usize);
    }
}

/// The last scan of this backend.
pub fn last() -> Option<Rc<Stats>> {
    LAST.with_borrow(Clone::clone)
}
