//! The access methods, and what they share: all that is in this folder itself.
#![allow(unsafe_code)]

pub mod bm25;
pub mod check;
mod cost;
#[cfg(feature = "pg18")]
pub mod explain;
mod heap;
pub mod hnsw;
pub mod info;
pub mod ivf;
mod opclass;
mod options;
mod progress;
mod remembered;
mod scan;
pub mod stats;
mod vacuum;
mod vectors;

use pgrx::pg_sys;

/// Whether a relation is an index with pages whose access method builds with `build`.
///
/// # Safety
/// `relation` is an open index.
unsafe fn is_built_by(
    relation: pg_sys::Relation,
    build: unsafe extern "C-unwind" fn(
        pg_sys::Relation,
        pg_sys::Relation,
        *mut pg_sys::IndexInfo,
    ) -> *mut pg_sys::IndexBuildResult,
) -> bool {
    // SAFETY: as the caller promises.
    let (routine, kind) =
        unsafe { ((*relation).rd_indam.as_ref(), (*(*relation).rd_rel).relkind as u8) };
    // A partitioned index has the access method, but no pages.
    routine
        .filter(|_| kind == pg_sys::RELKIND_INDEX)
        .and_then(|routine| routine.ambuild)
        .is_some_and(|its| std::ptr::fn_addr_eq(its, build))
}
