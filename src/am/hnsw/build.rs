//! `CREATE INDEX`: the leader reads the heap and encodes, threads build the graph in memory, the leader writes the
//! pages in order and logs them once. What does not fit into `maintenance_work_mem` is inserted row by row.

use leanstack_core::hnsw::{BuildOptions, Builder, NodeId, Pushed};
use leanstack_core::quantize::Value;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::index::IndexInfo;
use super::insert;
use super::page::Meta;
use super::plan::Plan;
use super::write::write_meta;
use crate::am::heap::Source;
use crate::am::progress;
use crate::guc;
use crate::storage::{Tid, corrupt, fresh};
use crate::threads;

/// Phases, as `pg_stat_progress_create_index` shows them.
#[derive(Clone, Copy)]
#[repr(i64)]
enum Phase {
    Initialize = 1,
    Load = 2,
    Build = 3,
    Write = 4,
    Insert = 5,
}

/// Names a phase.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildphasename(phase: i64) -> *mut std::ffi::c_char {
    let name = match phase {
        p if p == Phase::Initialize as i64 => c"initializing",
        p if p == Phase::Load as i64 => c"loading tuples",
        p if p == Phase::Build as i64 => c"building graph",
        p if p == Phase::Write as i64 => c"writing index",
        p if p == Phase::Insert as i64 => c"inserting tuples that did not fit into memory",
        _ => return std::ptr::null_mut(),
    };
    name.as_ptr().cast_mut()
}

fn enter(phase: Phase) {
    progress::phase(phase as i64);
}

/// A build under way.
pub(super) struct BuildState {
    heap: pg_sys::Relation,
    pub(super) index: pg_sys::Relation,
    pub(super) info: IndexInfo,
    /// Holds the vectors, until the memory is used up.
    builder: Option<Builder>,
    /// First rows of the nodes, in the order of the nodes.
    pub(super) first_rows: Vec<Tid>,
    /// Further rows of nodes.
    pub(super) more_rows: Vec<(NodeId, Tid)>,
    memory_limit: usize,
    pub(super) meta: Meta,
    pub(super) mean: Vec<f32>,
    index_tuples: f64,
}

/// Builds an index.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuild(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    index_info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    // SAFETY: the server passes open relations and the description of the index; nobody else sees the index yet.
    unsafe {
        enter(Phase::Initialize);
        let plan = Plan::new(index);
        let source = Source { heap, index, index_info, kind: plan.kind };
        let mean = plan.sample_mean(&source);
        let mut state = BuildState::new(heap, index, &plan, mean);
        enter(Phase::Load);
        let heap_tuples = source.scan(&mut |tid, value| state.add(tid, value));
        state.flush();
        fresh::log_whole(index, pg_sys::ForkNumber::MAIN_FORKNUM);
        let mut result = PgBox::<pg_sys::IndexBuildResult>::alloc0();
        result.heap_tuples = heap_tuples;
        result.index_tuples = state.index_tuples;
        result.into_pg()
    }
}

/// Writes the empty index that an unlogged table's index is reset to.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildempty(index: pg_sys::Relation) {
    // SAFETY: the server passes the open index.
    unsafe {
        let meta = Plan::new(index).meta(&[]);
        let fork = pg_sys::ForkNumber::INIT_FORKNUM;
        write_meta(index, fork, &meta);
        fresh::log_whole(index, fork);
    }
}

impl BuildState {
    unsafe fn new(
        heap: pg_sys::Relation,
        index: pg_sys::Relation,
        plan: &Plan,
        mean: Vec<f32>,
    ) -> BuildState {
        let meta = plan.meta(&mean);
        let Some(info) = IndexInfo::new(&meta, mean.clone()) else {
            corrupt(index, 0, "a new index contradicts itself");
        };
        let options =
            BuildOptions { m: plan.options.m, ef_construction: plan.options.ef_construction };
        BuildState {
            heap,
            index,
            builder: Some(Builder::new(info.codec.clone(), options)),
            info,
            first_rows: Vec::new(),
            more_rows: Vec::new(),
            memory_limit: guc::build_memory_bytes(),
            meta,
            mean,
            index_tuples: 0.0,
        }
    }

    unsafe fn add(&mut self, tid: Tid, value: Value<'_>) {
        let Some(builder) = &mut self.builder else {
            // SAFETY: the relations are open and the index is not seen by anybody else.
            let indexed = unsafe {
                insert::insert(self.index, self.heap, &self.info, value, tid, insert::Mode::Build)
            };
            self.index_tuples += f64::from(u8::from(indexed));
            self.report_progress();
            return;
        };
        insert::check_code_fits(&self.info, &value);
        let uniform = 1.0 - rand::random::<f64>();
        match builder.push(value, uniform) {
            Pushed::Node(_) => self.first_rows.push(tid),
            Pushed::Duplicate(node) => self.more_rows.push((node, tid)),
            Pushed::Skipped => return,
        }
        self.index_tuples += 1.0;
        let rows_bytes = size_of::<Tid>() * self.first_rows.len()
            + size_of::<(NodeId, Tid)>() * self.more_rows.len();
        if builder.memory_bytes() + rows_bytes > self.memory_limit {
            let tuples = self.index_tuples;
            let message = format!(
                "hnsw graph no longer fits into maintenance_work_mem after {tuples} tuples"
            );
            ErrorReport::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message, "ambuild")
                .set_detail("Building will take significantly more time.")
                .set_hint("Increase maintenance_work_mem to speed up builds.")
                .report(PgLogLevel::NOTICE);
            // SAFETY: as above.
            unsafe { self.flush() };
            enter(Phase::Insert);
        }
    }

    fn report_progress(&self) {
        progress::tuples_done(self.index_tuples as i64);
    }

    /// Builds the graph of what was collected and writes it. Does nothing the second time.
    unsafe fn flush(&mut self) {
        let Some(builder) = self.builder.take() else { return };
        enter(Phase::Build);
        progress::tuples_total(builder.len() as i64);
        let threads = threads::build_threads();
        let pool = threads::build_pool(threads);
        let built = builder.build(&pool, threads, |done| {
            pgrx::check_for_interrupts!();
            progress::tuples_done(done as i64);
            Ok::<(), std::convert::Infallible>(())
        });
        let Ok(built) = built;
        drop(pool);
        enter(Phase::Write);
        // SAFETY: the index is open and empty, and nobody else sees it.
        unsafe { self.write(&built) };
    }
}
