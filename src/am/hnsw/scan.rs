//! Scans: `ORDER BY column <-> query`, nearest first, `hnsw.ef_search` nodes at a time.
//!
//! Where nodes hold quantized codes, rows are returned with a bound below their distance and the executor computes
//! the distance itself, from the heap, and puts the rows in order (`xs_recheckorderby`): the order is that of the exact
//! distances, and it reads only as many rows as the bounds cannot rule out.

use std::rc::Rc;

use leanstack_core::hnsw::{Search, Visited};
use leanstack_core::quantize::Query;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::graph::{PageGraph, PageItem, Target};
use super::index::{self, IndexInfo};
use super::page::NO_NODE;
use crate::am::stats::{About, Breadth};
use crate::am::{scan as shared, vectors};
use crate::guc::{self, IterativeScan};
use crate::storage::Tid;
use crate::types::value::detoast;

/// What a scan keeps between calls. It lives in the scan's memory context and holds no lock and no pin.
struct ScanState {
    info: Option<Rc<IndexInfo>>,
    /// Nothing: the query is NULL, and all rows are equally near.
    query: Option<Rc<Query>>,
    search: Search<PageItem>,
    root: u32,
    /// Whether a node's slot was used again between meeting the node and wanting its links: on a standby, where nobody
    /// waits for scans. What only those links led to was missed.
    stale: bool,
    /// What a first walk met, during a second one.
    returned: Option<Visited>,
    /// Nodes to return, by bound, from `at` on.
    batch: Vec<(f64, PageItem)>,
    at: usize,
    /// Rows of the node last taken from the batch.
    rows: Vec<Tid>,
    bound: f64,
    /// Nothing more is to be looked for.
    ended: bool,
    /// A limit was reached: what was set aside is returned and no more is looked for.
    draining: bool,
    max_memory_bytes: usize,
}

fn target(query: &Option<Rc<Query>>) -> Target<'_> {
    query.as_deref().map_or(Target::Nothing, Target::Query)
}

/// Starts a scan.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambeginscan(
    relation: pg_sys::Relation,
    nkeys: i32,
    norderbys: i32,
) -> pg_sys::IndexScanDesc {
    let state = ScanState {
        info: None,
        query: None,
        search: Search::default(),
        root: NO_NODE,
        stale: false,
        returned: None,
        batch: Vec::new(),
        at: 0,
        rows: Vec::new(),
        bound: f64::NEG_INFINITY,
        ended: false,
        draining: false,
        max_memory_bytes: 0,
    };
    // SAFETY: called by the server with an open index. The state holds no pin and no lock.
    unsafe { shared::begin(relation, nkeys, norderbys, state) }
}

/// Starts a scan anew, with other keys.
#[pg_guard]
pub unsafe extern "C-unwind" fn amrescan(
    scan: pg_sys::IndexScanDesc,
    keys: pg_sys::ScanKey,
    _nkeys: i32,
    orderbys: pg_sys::ScanKey,
    _norderbys: i32,
) {
    // SAFETY: the server passes the scan that `ambeginscan` made, and as many keys as it was made for.
    unsafe {
        let state = shared::state::<ScanState>(scan);
        state.info = None;
        shared::set_keys(scan, keys, orderbys);
    }
}

/// Ends a scan. Its state goes with its memory context.
#[pg_guard]
pub unsafe extern "C-unwind" fn amendscan(_scan: pg_sys::IndexScanDesc) {}

/// Gives the next row.
#[pg_guard]
pub unsafe extern "C-unwind" fn amgettuple(
    scan: pg_sys::IndexScanDesc,
    _direction: pg_sys::ScanDirection::Type,
) -> bool {
    // SAFETY: the server passes the scan that `ambeginscan` made.
    unsafe {
        let _reading = shared::stats(scan).count_pages();
        let state = shared::state::<ScanState>(scan);
        if state.info.is_none() {
            start(scan, state);
        }
        let Some(info) = state.info.clone() else { return false };
        loop {
            if let Some(tid) = state.rows.pop() {
                let bound = state.query.is_some().then_some(state.bound);
                shared::give(scan, tid, bound, info.is_exact());
                return true;
            }
            if state.at < state.batch.len() {
                let (bound, item) = state.batch[state.at];
                state.at += 1;
                state.bound = bound;
                let graph = PageGraph::new((*scan).indexRelation, &info, target(&state.query));
                graph.rows(&item, &mut state.rows);
                state.rows.reverse();
            } else if !next_batch(scan, state, &info) {
                return false;
            }
        }
    }
}

unsafe fn start(scan: pg_sys::IndexScanDesc, state: &mut ScanState) {
    // SAFETY: as for `amgettuple`.
    unsafe {
        let relation = (*scan).indexRelation;
        let query = shared::query(scan, "hnsw");
        let (info, meta) = index::open(relation);
        state.query = query.map(|datum| {
            let value = detoast(info.kind, datum);
            let value = crate::error::unwrap(value.value());
            vectors::check_dims(info.dims, &value);
            Rc::new(info.codec.query(value))
        });
        let (index, ef) = ((*relation).rd_id, guc::ef_search());
        shared::stats(scan).start(About { index, am: "hnsw", breadth: Breadth::Ef(ef) });
        let iterative = guc::iterative_scan() != IterativeScan::Off;
        state.search.reset(iterative);
        state.root = meta.root;
        (state.stale, state.returned) = (false, None);
        state.batch.clear();
        state.at = 0;
        state.rows.clear();
        state.bound = f64::NEG_INFINITY;
        state.draining = false;
        state.max_memory_bytes = guc::scan_memory_bytes();
        state.ended = meta.entry == NO_NODE;
        if !state.ended {
            first_batch(scan, state, &info, (meta.entry, meta.entry_level), ef);
            state.ended = !iterative;
        }
        state.info = Some(info);
    }
}

/// The graph as a scan walks it, which counts.
///
/// # Safety
/// The index is open for the scan.
unsafe fn graph<'a>(
    scan: pg_sys::IndexScanDesc,
    info: &'a IndexInfo,
    query: &'a Option<Rc<Query>>,
) -> PageGraph<'a> {
    // SAFETY: as the caller promises.
    unsafe {
        PageGraph::new((*scan).indexRelation, info, target(query)).counted(shared::stats(scan))
    }
}

unsafe fn first_batch(
    scan: pg_sys::IndexScanDesc,
    state: &mut ScanState,
    info: &IndexInfo,
    (entry, entry_level): (u32, u8),
    ef: usize,
) {
    let query = state.query.clone();
    // SAFETY: the index is open for the scan.
    let mut graph = unsafe { graph(scan, info, &query) };
    let Some(seed) = super::descend(&mut graph, entry, entry_level, 0) else { return };
    state.search.seed(seed);
    let Ok(()) = state.search.run(&mut graph, 0, ef);
    if state.search.results() < ef && state.seed_root(&mut graph) {
        let Ok(()) = state.search.run(&mut graph, 0, ef);
    }
    state.stale |= graph.stale;
    state.collect(&graph, f64::NEG_INFINITY);
}

/// Looks for more (iterative scans); false when there is no more or the limits are reached.
unsafe fn next_batch(scan: pg_sys::IndexScanDesc, state: &mut ScanState, info: &IndexInfo) -> bool {
    if state.ended {
        return false;
    }
    let floor = match guc::iterative_scan() {
        IterativeScan::Strict => state.bound,
        _ => f64::NEG_INFINITY,
    };
    let query = state.query.clone();
    // SAFETY: the index is open for the scan.
    let mut graph = unsafe { graph(scan, info, &query) };
    // SAFETY: as above.
    unsafe { shared::stats(scan) }.grew.set(true);
    let ef = guc::ef_search();
    loop {
        state.draining |= state.search.visited_nodes() >= guc::max_scan_tuples()
            || state.search.memory_bytes() > state.max_memory_bytes;
        if state.draining {
            state.search.refill(ef);
        } else {
            let Ok(()) = state.search.resume(&mut graph, 0, ef);
            state.stale |= graph.stale;
            if state.search.is_exhausted() {
                // SAFETY: as above.
                state.root = unsafe { index::read_meta((*scan).indexRelation) }.root;
                if state.stale && state.returned.is_none() {
                    state.returned = Some(state.search.start_over());
                }
                if state.seed_root(&mut graph) {
                    let Ok(()) = state.search.run(&mut graph, 0, ef);
                }
            }
        }
        if !state.search.has_results() {
            state.ended = true;
            return false;
        }
        state.collect(&graph, floor);
        if !state.batch.is_empty() {
            return true;
        }
    }
}

impl ScanState {
    /// Starts from the root as well: whatever the links did not lead to hangs below it. False if that was met.
    fn seed_root(&mut self, graph: &mut PageGraph<'_>) -> bool {
        self.root != NO_NODE
            && graph.score_one(self.root).is_some_and(|root| self.search.seed(root))
    }

    /// Moves what was found to the batch, by bound, without what lies before `floor`.
    fn collect(&mut self, graph: &PageGraph<'_>, floor: f64) {
        let mut found = Vec::new();
        self.search.take_nearest(&mut found);
        if let Some(returned) = &self.returned {
            found.retain(|item| !returned.contains(item.id));
        }
        let bounded = found.into_iter().map(|item| (graph.lower_bound(&item), item));
        self.batch.clear();
        self.batch.extend(bounded.filter(|(bound, _)| *bound >= floor));
        self.batch.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.at = 0;
    }
}
