//! The `hnsw` access method: what it can do, and the functions the server calls. Start with `README.md` beside this.

mod build;
mod check;
mod cost;
mod graph;
mod index;
mod insert;
mod lists;
mod nodes;
mod offers;
mod opclass;
pub mod options;
pub mod page;
mod room;
mod scan;
mod vacuum;

use leanstack_core::hnsw::{Graph, NodeId};
use leanstack_core::quantize::Value;
use pgrx::pg_sys;
use pgrx::prelude::*;

use graph::{PageGraph, PageItem};
use index::IndexInfo;

/// The table of the access method.
#[pg_extern(sql = false)]
fn hnsw_handler(_fcinfo: pg_sys::FunctionCallInfo) -> PgBox<pg_sys::IndexAmRoutine> {
    // SAFETY: makes a zeroed node of the right type in the current memory context.
    let mut am =
        unsafe { PgBox::<pg_sys::IndexAmRoutine>::alloc_node(pg_sys::NodeTag::T_IndexAmRoutine) };
    am.amstrategies = 0;
    am.amsupport = opclass::SUPPORT_FUNCTIONS;
    am.amcanorderbyop = true;
    am.amoptionalkey = true;
    am.amparallelvacuumoptions = pg_sys::VACUUM_OPTION_PARALLEL_BULKDEL as u8;
    am.ambuild = Some(build::ambuild);
    am.ambuildempty = Some(build::ambuildempty);
    am.aminsert = Some(insert::aminsert);
    am.ambulkdelete = Some(vacuum::ambulkdelete);
    am.amvacuumcleanup = Some(vacuum::amvacuumcleanup);
    am.amcostestimate = Some(cost::amcostestimate);
    am.amoptions = Some(options::amoptions);
    am.ambuildphasename = Some(build::ambuildphasename);
    am.amvalidate = Some(opclass::amvalidate);
    am.ambeginscan = Some(scan::ambeginscan);
    am.amrescan = Some(scan::amrescan);
    am.amgettuple = Some(scan::amgettuple);
    am.amendscan = Some(scan::amendscan);
    // SAFETY: the node was allocated above, and the caller takes it over.
    unsafe { PgBox::from_pg(am.into_pg()) }
}

/// Goes down greedily from `entry` on `level` to the level `to`, and gives the nearest node met there.
fn descend(graph: &mut PageGraph<'_>, entry: NodeId, level: u8, to: u8) -> Option<PageItem> {
    let mut nearest = graph.score_one(entry)?;
    let (mut links, mut scored) = (Vec::new(), Vec::new());
    for at in (to + 1..=level).rev() {
        loop {
            let Ok(()) = graph.links(&nearest, at, &mut links);
            scored.clear();
            let Ok(()) = graph.score(&mut links, &mut scored);
            let best = scored.iter().min_by(|a, b| a.score.total_cmp(&b.score));
            match best {
                Some(best) if best.score < nearest.score => nearest = *best,
                _ => break,
            }
        }
    }
    Some(nearest)
}

/// Raises an error if a vector cannot be compared with those of the index.
fn check_dims(info: &IndexInfo, value: &Value<'_>) {
    let dims = value.dims();
    if info.dims == 0 || info.dims == dims {
        return;
    }
    let what =
        if matches!(value, Value::Bits { .. }) { "bit lengths" } else { "vector dimensions" };
    ereport!(
        ERROR,
        PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
        format!("different {what} {} and {dims}", info.dims)
    );
}

/// Counts a scan for `pg_stat_user_indexes`.
///
/// # Safety
/// `scan` is a scan that the server began.
unsafe fn count_scan(scan: pg_sys::IndexScanDesc) {
    // SAFETY: as the caller promises; this is the macro pgstat_count_index_scan.
    unsafe {
        let relation = (*scan).indexRelation;
        #[cfg(not(feature = "pg14"))]
        if (*relation).pgstat_info.is_null() && (*relation).pgstat_enabled {
            pg_sys::pgstat_assoc_relation(relation);
        }
        if let Some(stats) = (*relation).pgstat_info.as_mut() {
            #[cfg(any(feature = "pg14", feature = "pg15"))]
            {
                stats.t_counts.t_numscans += 1;
            }
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            {
                stats.counts.numscans += 1;
            }
        }
        #[cfg(feature = "pg18")]
        if let Some(instrument) = (*scan).instrument.as_mut() {
            instrument.nsearches += 1;
        }
    }
}

pub use check::check;

/// Whether an index is of this access method: its handler is ours.
///
/// # Safety
/// `relation` is an open index.
pub unsafe fn is_hnsw(relation: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises.
    let (routine, kind) =
        unsafe { ((*relation).rd_indam.as_ref(), (*(*relation).rd_rel).relkind as u8) };
    let ours: unsafe extern "C-unwind" fn(_, _, _) -> _ = build::ambuild;
    // A partitioned index has the access method, but no pages.
    routine
        .filter(|_| kind == pg_sys::RELKIND_INDEX)
        .and_then(|routine| routine.ambuild)
        .is_some_and(|build| std::ptr::fn_addr_eq(build, ours))
}
