//! The `bm25` access method: what it can do, and the functions the server calls. Start with `README.md` beside this.

mod beside;
mod buffer;
mod build;
mod check;
mod cost;
mod gather;
mod given;
mod info;
mod insert;
mod maintain;
mod meta;
pub mod options;
mod page;
mod query;
mod scan;
mod segments;
mod sight;
mod space;
mod support;
mod vacuum;
mod words;

use pgrx::pg_sys;
use pgrx::prelude::*;

pub use check::check;
pub use info::info;

/// The table of the access method `bm25`.
#[pg_extern(sql = false)]
fn bm25_handler(_fcinfo: pg_sys::FunctionCallInfo) -> PgBox<pg_sys::IndexAmRoutine> {
    // SAFETY: makes a zeroed node of the right type in the current memory context.
    let mut am =
        unsafe { PgBox::<pg_sys::IndexAmRoutine>::alloc_node(pg_sys::NodeTag::T_IndexAmRoutine) };
    am.amstrategies = 0;
    am.amsupport = 0;
    am.amcanorderbyop = true;
    // So that an index on several columns can be refused with a hint.
    am.amcanmulticol = true;
    am.amoptionalkey = true;
    am.amparallelvacuumoptions = pg_sys::VACUUM_OPTION_PARALLEL_BULKDEL as u8;
    am.ambuild = Some(build::ambuild);
    am.ambuildempty = Some(build::ambuildempty);
    am.ambuildphasename = Some(build::ambuildphasename);
    am.amcostestimate = Some(cost::amcostestimate);
    am.amoptions = Some(options::amoptions);
    am.amvalidate = Some(super::opclass::amvalidate);
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

/// Whether an open index is one of `bm25`.
///
/// # Safety
/// `relation` is an open index.
pub unsafe fn is_bm25(relation: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises.
    unsafe { super::is_built_by(relation, build::ambuild) }
}
