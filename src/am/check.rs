//! The report of `lean.index_check`, and the check that every index has to pass: no row of the table is missing.

use leanstack_core::quantize::Value;
use pgrx::pg_sys;

use super::heap::Source;
use crate::storage::Tid;
use crate::types::value::TypeKind;

/// One line of the report.
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// What is wrong, if anything is.
    pub wrong: Option<String>,
    /// What was counted.
    pub detail: String,
}

/// Problems of one sort: the first few in words, the rest counted.
#[derive(Default)]
pub struct Problems {
    count: usize,
    first: Vec<String>,
}

const SHOWN: usize = 3;

impl Problems {
    /// Counts a problem.
    pub fn add(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push(what());
        }
    }

    /// The line of the report.
    pub fn finding(self, check: &'static str, detail: String) -> Finding {
        let wrong = (self.count > 0).then(|| format!("{}: {}", self.count, self.first.join("; ")));
        Finding { check, wrong, detail }
    }
}

/// Whether every row that a snapshot sees, and whose vector `can_index` accepts, is one that the index `has`.
///
/// # Safety
/// The relations are open: an index on a column of `kind`, and its table.
pub unsafe fn check_heap(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    kind: TypeKind,
    mut can_index: impl FnMut(Value<'_>) -> bool,
    has: impl Fn(Tid) -> bool,
) -> Finding {
    let (mut missing, mut seen) = (Problems::default(), 0);
    // SAFETY: as the caller promises.
    unsafe {
        let source = Source { heap, index, index_info: pg_sys::BuildIndexInfo(index), kind };
        source.scan_visible(&mut |tid, value| {
            if !can_index(value) {
                return;
            }
            seen += 1;
            if !has(tid) {
                missing.add(|| format!("row ({},{}) is not in the index", tid.block, tid.offset));
            }
        });
    }
    missing.finding("table", format!("{seen} rows that can be indexed"))
}
