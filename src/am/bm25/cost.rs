//! What a scan costs: a part of the postings of the query's words, and the rows that the executor then fetches.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::query;
use crate::am::cost::{self, Estimate};

/// The share of the pages that is read before the first row: the postings of a few words, of which most are left out.
const SHARE: f64 = 0.002;
/// The share of the rows that has a word of the query.
const MATCHING: f64 = 0.05;

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
        let estimate = cost::without_order(path)
            .or_else(|| cost::never(path, is_for_another(path)))
            .unwrap_or_else(|| estimate(root, path, loop_count));
        estimate.answer(startup_cost, total_cost, selectivity, correlation, pages);
    }
}

/// Whether the query of a path names an index that this one is not a part of.
unsafe fn is_for_another(path: *mut pg_sys::IndexPath) -> bool {
    // SAFETY: the server passes a path with an order: a call of the operator.
    unsafe {
        let order: *mut pg_sys::OpExpr = pg_sys::list_nth((*path).indexorderbys, 0).cast();
        let query: *mut pg_sys::Node = pg_sys::list_nth((*order).args, 1).cast();
        let own = (*(*path).indexinfo).indexoid;
        query::named_in(query)
            .is_some_and(|named| named != own && !query::leaves(named).contains(&own))
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
        let startup = costs.indexTotalCost * SHARE;
        let mut estimate = Estimate::new(&costs, startup, costs.indexTotalCost * MATCHING);
        estimate.selectivity = costs.indexSelectivity * MATCHING;
        estimate.pages = costs.numIndexPages * MATCHING;
        estimate
    }
}
