//! The `ivfflat` and `ivf` access methods: what they can do, and the functions the server calls. Start with `README.md`
//! beside this.

mod breadth;
mod build;
pub mod candidates;
mod centroids;
mod check;
mod children;
mod cluster;
mod cost;
mod encode;
mod entry;
mod exact;
mod index;
mod info;
mod insert;
mod list;
pub mod options;
mod pack;
mod packed;
mod page;
mod plan;
mod repack;
mod retire;
mod route;
mod rows;
mod scan;
mod space;
mod spill;
mod split;
mod vacuum;
mod write;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::am::opclass;

pub use check::check;
pub use info::info;

/// The table of the access method `ivfflat`.
#[pg_extern(sql = false)]
fn ivfflat_handler(_fcinfo: pg_sys::FunctionCallInfo) -> PgBox<pg_sys::IndexAmRoutine> {
    routine(options::flat_amoptions)
}

/// The table of the access method `ivf`.
#[pg_extern(sql = false)]
fn ivf_handler(_fcinfo: pg_sys::FunctionCallInfo) -> PgBox<pg_sys::IndexAmRoutine> {
    routine(options::amoptions)
}

/// Both differ in their options only; everything else looks at the index.
fn routine(
    amoptions: unsafe extern "C-unwind" fn(pg_sys::Datum, bool) -> *mut pg_sys::bytea,
) -> PgBox<pg_sys::IndexAmRoutine> {
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
    am.ambuildphasename = Some(build::ambuildphasename);
    am.amcostestimate = Some(cost::amcostestimate);
    am.amoptions = Some(amoptions);
    am.amvalidate = Some(opclass::amvalidate);
    am.ambeginscan = Some(scan::ambeginscan);
    am.amrescan = Some(scan::amrescan);
    am.amgettuple = Some(scan::amgettuple);
    am.amendscan = Some(scan::amendscan);
    am.aminsert = Some(insert::aminsert);
    am.ambulkdelete = Some(vacuum::ambulkdelete);
    am.amvacuumcleanup = Some(vacuum::amvacuumcleanup);
    // SAFETY: the node was allocated above, and the caller takes it over.
    unsafe { PgBox::from_pg(am.into_pg()) }
}

/// Whether an open index is one of `ivf` or `ivfflat`.
///
/// # Safety
/// `relation` is an open index.
pub unsafe fn is_ivf(relation: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises.
    unsafe { super::is_built_by(relation, build::ambuild) }
}
