//! What a scan costs: nodes visited for `hnsw.ef_search`, and the rows the executor then fetches.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::index;
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
        if (*path).indexorderbys.is_null() {
            // The index cannot be read without an order.
            *startup_cost = f64::INFINITY;
            *total_cost = f64::INFINITY;
            *selectivity = 0.0;
            *correlation = 0.0;
            *pages = 0.0;
            #[cfg(feature = "pg18")]
            {
                (*path).path.disabled_nodes = 2;
            }
            return;
        }
        let mut costs = pg_sys::GenericCosts::default();
        pg_sys::genericcostestimate(root, path, loop_count, &raw mut costs);
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
        // All of that is done before the first row comes out.
        let mut startup = costs.indexTotalCost * share;
        let visited_pages = costs.numIndexPages * share;
        let heap_pages = f64::from((*(*info).rel).pages);
        if visited_pages > heap_pages && share < 0.5 {
            // Vectors out of line are not among the heap's pages, so a sequential scan looks cheaper than it is:
            // charge the index no more than it would.
            let mut seq_page_cost = 0.0;
            pg_sys::get_tablespace_page_costs(
                (*info).reltablespace,
                std::ptr::null_mut(),
                &raw mut seq_page_cost,
            );
            startup -= visited_pages * (costs.spc_random_page_cost - seq_page_cost);
            startup -= (visited_pages - heap_pages) * seq_page_cost;
        }
        // Each row that comes out had the links of its node followed, which a selective filter has to pay for.
        let expansion = 2.0 * m * pg_sys::cpu_operator_cost;
        *startup_cost = startup + expansion * ef.min(tuples);
        *total_cost = costs.indexTotalCost + expansion * tuples;
        *selectivity = costs.indexSelectivity;
        *correlation = costs.indexCorrelation;
        *pages = costs.numIndexPages;
    }
}

/// How many nodes a scan scores: `m` on each level above the ground, and the fresh neighbours of `ef` nodes on it.
fn visited_nodes(tuples: f64, m: f64, ef: f64) -> f64 {
    let levels = (tuples.ln() / m.ln()).max(0.0).floor();
    let fresh = FRESH_SHARE * tuples.ln() / (m.ln() * (1.0 + ef.ln()));
    levels * m + 2.0 * m * ef * fresh
}
