//! `CREATE INDEX`: a sample of the table is clustered, the rows are sorted by their nearest centroid, the lists are
//! written in order, and all pages are logged once.

use leanstack_core::ivf::Centroids;
use leanstack_core::ivf::calibrate::Stop;
use leanstack_core::ivf::coder::Repr;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::cluster::Sample;
use super::encode::{self, Encoder};
use super::index::IndexInfo;
use super::page::{META_BLOCK, Meta};
use super::plan::Plan;
use super::spill::Spill;
use super::write::Writer;
use crate::am::heap::Source;
use crate::am::progress;
use crate::guc;
use crate::storage::{corrupt, fresh};
use crate::threads;

/// Of the memory, the share for rows on their way to their lists; the rest keeps those that have arrived.
const BATCHES_SHARE: usize = 4;
/// Memory for rows that have arrived, at least.
const LEAST_SPILL_BYTES: usize = 1 << 20;

/// Phases, as `pg_stat_progress_create_index` shows them.
#[derive(Clone, Copy)]
#[repr(i64)]
enum Phase {
    Initialize = 1,
    Cluster = 2,
    Assign = 3,
    Load = 4,
    Train = 5,
}

/// Names a phase, as pgvector does.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildphasename(phase: i64) -> *mut std::ffi::c_char {
    let name = match phase {
        p if p == Phase::Initialize as i64 => c"initializing",
        p if p == Phase::Cluster as i64 => c"performing k-means",
        p if p == Phase::Assign as i64 => c"assigning tuples",
        p if p == Phase::Load as i64 => c"loading tuples",
        p if p == Phase::Train as i64 => c"training codebook",
        _ => return std::ptr::null_mut(),
    };
    name.as_ptr().cast_mut()
}

fn enter(phase: Phase) {
    progress::phase(phase as i64);
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
        // What is sampled does not depend on the model, which the sample leads to.
        let untrained = info(index, &plan.untrained().meta(), &[]).coder;
        let pool = threads::build_pool(threads::build_threads());
        let sample = Sample::take(&source, &plan, &untrained, &pool);
        let plan = sample.plan(plan);
        let mut meta = plan.meta();
        enter(Phase::Cluster);
        // Product codes come after the centroids.
        let error = if plan.repr == Repr::Pq { None } else { untrained.first_error() };
        let (stop, error) = match error {
            Some(error) => (Stop::Patience, error),
            None => (Stop::Fixed, 0.0),
        };
        let (centroids, calibration) =
            sample.centroids(&plan, untrained.geometry(), (stop, error), &pool);
        let model = if plan.repr == Repr::Pq {
            enter(Phase::Train);
            sample.codebook(&plan, &centroids, &pool)
        } else {
            let mean = sample.mean(plan.repr);
            drop(sample);
            mean
        };
        let info = info(index, &meta, &model);
        meta.stop = stop as u8;
        meta.calibration = calibration;
        meta.calibrated_lists = centroids.len() as u32;
        enter(Phase::Assign);
        let memory = guc::build_memory_bytes().saturating_sub(2 * centroids.memory_bytes());
        let limit = (memory - memory / BATCHES_SHARE).max(LEAST_SPILL_BYTES);
        let mut spill = Spill::new(centroids.len(), info.coder.row_bytes(), limit);
        let encoder = Encoder { info: &info, centroids: &centroids };
        let heap_tuples =
            encode::scan(&source, &encoder, &pool, memory / BATCHES_SHARE, &mut spill);
        drop(pool);
        enter(Phase::Load);
        let rows = spill.all_rows();
        progress::tuples_total(rows as i64);
        meta.rows = u32::try_from(rows).unwrap_or(u32::MAX);
        meta.target_rows = Plan::target_rows(rows, centroids.len());
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        Writer { index, fork, info: &info, centroids: &centroids, model: &model }
            .write(meta, &mut spill.sorted());
        fresh::log_whole(index, fork);
        let mut result = PgBox::<pg_sys::IndexBuildResult>::alloc0();
        result.heap_tuples = heap_tuples;
        result.index_tuples = rows as f64;
        result.into_pg()
    }
}

/// Writes the empty index that an unlogged table's index is reset to: one list, for whatever comes.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildempty(index: pg_sys::Relation) {
    // SAFETY: the server passes the open index.
    unsafe {
        let meta = Plan::new(index).untrained().meta();
        let info = info(index, &meta, &[]);
        let dims = info.coder.placed_dims();
        let centroids = Centroids::new(vec![0.0; dims], dims, info.coder.geometry(), &[1]);
        let fork = pg_sys::ForkNumber::INIT_FORKNUM;
        let mut none = Spill::new(1, info.coder.row_bytes(), LEAST_SPILL_BYTES).sorted();
        Writer { index, fork, info: &info, centroids: &centroids, model: &[] }
            .write(meta, &mut none);
        fresh::log_whole(index, fork);
    }
}

fn info(index: pg_sys::Relation, meta: &Meta, model: &[f32]) -> IndexInfo {
    match IndexInfo::new(meta, model.to_vec()) {
        Some(info) => info,
        None => corrupt(index, META_BLOCK, "a new index contradicts itself"),
    }
}
