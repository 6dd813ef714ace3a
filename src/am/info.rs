//! What `lean.index_info` says of an index: facts, one a row, in the order in which they are read.

use pgrx::pg_sys;

use super::opclass;
use crate::storage::page::PAGE_BYTES;

/// Facts about an index.
#[derive(Default)]
pub struct Facts(Vec<(&'static str, String)>);

impl Facts {
    /// What is true of every index: of what it is, `am` being its access method, and how large.
    ///
    /// # Safety
    /// `relation` is an open index.
    pub unsafe fn new(relation: pg_sys::Relation, am: &'static str) -> Facts {
        let mut facts = Facts::default();
        // SAFETY: as the caller promises.
        let (kind, metric) = unsafe { opclass::names(relation) };
        facts.add("access method", am);
        facts.add("type", kind);
        facts.add("distance", metric);
        facts
    }

    /// Adds a fact.
    pub fn add(&mut self, name: &'static str, value: impl ToString) {
        self.0.push((name, value.to_string()));
    }

    /// Adds a count, unless it is none.
    pub fn add_some(&mut self, name: &'static str, count: usize) {
        if count > 0 {
            self.add(name, count);
        }
    }

    /// Adds how large the index is for its rows.
    pub fn add_size(&mut self, pages: usize, rows: usize) {
        self.add("pages", pages);
        self.add("size in MB", format!("{:.1}", (pages * PAGE_BYTES) as f64 / f64::from(1 << 20)));
        if let Some(bytes) = (pages * PAGE_BYTES).checked_div(rows) {
            self.add("bytes per row", bytes);
        }
    }

    /// Adds whether the index should be built again. `reasons` are why.
    pub fn add_advice(&mut self, reasons: &[String]) {
        if reasons.is_empty() {
            self.add("rebuild", "not needed");
        } else {
            self.add("rebuild", format!("advised: {}", reasons.join("; ")));
        }
    }

    /// The facts.
    pub fn into_rows(self) -> Vec<(&'static str, String)> {
        self.0
    }
}

/// A share in percent.
pub fn percent(part: usize, whole: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}
