//! The `hnsw` access method: what it can do, and the functions the server calls. Start with `README.md` beside this.

mod adopt;
mod build;
mod check;
mod cost;
mod graph;
mod index;
mod info;
mod insert;
mod lists;
mod nodes;
mod offers;
pub mod options;
pub mod page;
mod plan;
mod room;
mod rows;
mod scan;
mod vacuum;
mod write;

use leanstack_core::hnsw::{Graph, NodeId};
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{opclass, vacuum as shared};
use graph::{PageGraph, PageItem};

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
    am.amvacuumcleanup = Some(shared::amvacuumcleanup);
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

pub use check::check;
pub use info::info;

/// Whether an index is of this access method: its handler is ours.
///
/// # Safety
/// `relation` is an open index.
pub unsafe fn is_hnsw(relation: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises.
    unsafe { super::is_built_by(relation, build::ambuild) }
}
