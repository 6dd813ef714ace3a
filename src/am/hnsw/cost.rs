//! What a scan costs: nodes visited for `hnsw.ef_search`, and the rows the executor then fetches.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::index;
use crate::am::cost::{self, Estimate};
use crate::guc;

/// Of the links followed, the share that leads to nodes not met before, at `m` = e and `ef_search` = 1. Fitted to
/// counts of scored nodes on text embeddings.
const FRESH_SHARE: f64 = 0.55;

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
    // SAFETY: the server passes a path of an hnsw index and places for the results.
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
    // SAFETY: as for `amcostestimate`.
    unsafe {
        let costs = cost::whole(root, path, loop_count);
        let info = (*path).indexinfo;
        let tuples = (*info).tuples;
        let ef = guc::ef_search() as f64;
        let (m, share) = if tuples > 0.0 {
            let relation = pg_sys::index_open((*info).indexoid, pg_sys::NoLock as i32);
            let (opened, _) = index::open(relation);
            pg_sys::index_close(relation, pg_sys::NoLock as i32);
            let m = opened.layout.m() as f64;
            (m, (visited_nodes(tuples, m, ef) / tuples).min(1.0))
        } else {
            (0.0, 1.0)
        };
        // Each row that comes out had the links of its node followed, which a selective filter has to pay for.
        let expansion = 2.0 * m * pg_sys::cpu_operator_cost;
        let (startup, total) = cost::startup_and_total(path, &costs, share, 0.0);
        Estimate::new(&costs, startup + expansion * ef.min(tuples), total + expansion * tuples)
    }
}

/// How many nodes a scan scores: `m` on each level above the ground, and the fresh neighbours of `ef` nodes on it.
fn visited_nodes(tuples: f64, m: f64, ef: f64) -> f64 {
    let levels = (tuples.ln() / m.ln()).max(0.0).floor();
    let fresh = FRESH_SHARE * tuples.ln() / (m.ln() * (1.0 + ef.ln()));
    levels * m + 2.0 * m * ef * fresh
}
