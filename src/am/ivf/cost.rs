//! What a scan costs: the lists that it reads, and the rows the executor then fetches.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::breadth::Breadth;
use super::index;
use crate::am::cost::{self, Estimate};

/// The share of pages that follow the one read before: a list is written in one piece, and the lists that a scan reads are
/// anywhere.
const SEQUENTIAL: f64 = 0.5;

/// Estimates a scan.
#[pg_guard]
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C-unwind" fn amcostestimate(
    root: *mut pg_sys::PlannerInfo,
    path: *mut pg_sys::IndexPath,
    loop_count: f64,
    startup_cost: *mut pg_sys::Cost,
    total_cost: *mut pg_sys::Cost,
    selectivity: *mut pg_sys::Selectivity,
    correlation: *mut f64,
    pages: *mut f64,
) {
    // SAFETY: the server passes a path of an index of ours and places for the results.
    unsafe {
        let estimate =
            cost::without_order(path).unwrap_or_else(|| estimate(root, path, loop_count));
        estimate.answer(startup_cost, total_cost, selectivity, correlation, pages);
    }
}

unsafe fn estimate(
    root: *mut pg_sys::PlannerInfo,
    path: *mut pg_sys::IndexPath,
    loop_count: f64,
) -> Estimate {
    // SAFETY: as the caller promises.
    unsafe {
        let costs = cost::whole(root, path, loop_count);
        let info = (*path).indexinfo;
        let relation = pg_sys::index_open((*info).indexoid, pg_sys::NoLock as i32);
        let opened = index::open(relation);
        let probes = Breadth::new(relation, &opened).expected();
        pg_sys::index_close(relation, pg_sys::NoLock as i32);
        let share = (probes as f64 / f64::from(opened.meta.lists.max(1))).min(1.0);
        // Ex pages are read for few of the rows.
        let scanned = share * opened.info.layout.scanned_share();
        let (startup, total) = cost::startup_and_total(path, &costs, scanned, SEQUENTIAL);
        Estimate::new(&costs, startup, total)
    }
}
