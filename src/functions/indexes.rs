//! Functions that look at indexes.

use pgrx::prelude::*;
use pgrx::{PgRelation, pg_sys};

use crate::am::check::Finding;
use crate::am::stats::{self, Breadth};
use crate::am::{bm25, hnsw, ivf};

/// Verifies an index. Writers of the table wait meanwhile, except on a standby, where there are none.
///
/// # Errors
/// 42501 if the caller does not own the index, 42809 if it is not of an access method of this extension.
#[pg_extern(schema = "lean", volatile, parallel_unsafe)]
fn index_check(
    index: PgRelation,
) -> TableIterator<'static, (name!(check_name, String), name!(ok, bool), name!(detail, String))> {
    let oid = index.oid();
    drop(index);
    // SAFETY: a standby has no writers to keep away.
    let lock = unsafe {
        if pg_sys::RecoveryInProgress() { pg_sys::AccessShareLock } else { pg_sys::ShareLock }
    };
    // SAFETY: the relations are open and locked, and the index is of the access method.
    let findings = with_index(oid, lock, |heap, relation| unsafe {
        if hnsw::is_hnsw(relation) {
            hnsw::check(heap, relation)
        } else if bm25::is_bm25(relation) {
            bm25::check(heap, relation)
        } else {
            ivf::check(heap, relation)
        }
    });
    TableIterator::new(findings.into_iter().map(|Finding { check, wrong, detail }| {
        (check.to_string(), wrong.is_none(), wrong.unwrap_or(detail))
    }))
}

/// Describes an index. What changes meanwhile may or may not be counted.
///
/// # Errors
/// As for [`index_check`].
#[pg_extern(schema = "lean", volatile, parallel_unsafe)]
fn index_info(
    index: PgRelation,
) -> TableIterator<'static, (name!(property, String), name!(value, String))> {
    let oid = index.oid();
    drop(index);
    // SAFETY: the index is open and locked, and of the access method.
    let facts = with_index(oid, pg_sys::AccessShareLock, |_, relation| unsafe {
        if hnsw::is_hnsw(relation) {
            hnsw::info(relation)
        } else if bm25::is_bm25(relation) {
            bm25::info(relation)
        } else {
            ivf::info(relation)
        }
    });
    TableIterator::new(
        facts.into_rows().into_iter().map(|(property, value)| (property.to_string(), value)),
    )
}

/// The work of this backend's last index scan, in a row; none before the first. `sql/hnsw.sql` declares it, with the index
/// as a `regclass`: it may be gone by now.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn last_scan() -> TableIterator<
    'static,
    (
        name!(index, pg_sys::Oid),
        name!(access_method, String),
        name!(searches, i64),
        name!(probes, Option<i32>),
        name!(ef_search, Option<i32>),
        name!(pages, i64),
        name!(lists, Option<i64>),
        name!(nodes, Option<i64>),
        name!(codes, i64),
        name!(whole_codes, Option<i64>),
        name!(rows, i64),
        name!(exact_distances, i64),
        name!(grew, bool),
    ),
> {
    let last = stats::last().and_then(|stats| Some((stats.about()?, stats)));
    TableIterator::new(last.into_iter().map(|(about, stats)| {
        let (probes, ef_search) = match about.breadth {
            Breadth::Probes(probes) => (Some(probes as i32), None),
            Breadth::Ef(ef) => (None, Some(ef as i32)),
            Breadth::Best(_) => (None, None),
        };
        (
            about.index,
            about.am.to_string(),
            stats.searches.get(),
            probes,
            ef_search,
            stats.pages.get(),
            probes.map(|_| stats.lists.get()),
            ef_search.map(|_| stats.nodes.get()),
            stats.codes.get(),
            probes.map(|_| stats.whole_codes.get()),
            stats.rows.get(),
            stats.exact_distances.get(),
            stats.grew.get(),
        )
    }))
}

/// Opens an index of ours, which the caller must own, and its table. The locks are kept to the end of the transaction.
fn with_index<T>(
    oid: pg_sys::Oid,
    lock: u32,
    look: impl FnOnce(pg_sys::Relation, pg_sys::Relation) -> T,
) -> T {
    let (lock, no_lock) = (lock as pg_sys::LOCKMODE, pg_sys::NoLock as pg_sys::LOCKMODE);
    // SAFETY: plain calls on relations opened and closed here.
    unsafe {
        let heap_oid = pg_sys::IndexGetRelation(oid, true);
        if heap_oid == pg_sys::InvalidOid {
            not_ours(oid);
        }
        require_owner(oid);
        let heap = pg_sys::table_open(heap_oid, lock);
        let relation = pg_sys::index_open(oid, lock);
        if !hnsw::is_hnsw(relation) && !ivf::is_ivf(relation) && !bm25::is_bm25(relation) {
            not_ours(oid);
        }
        let seen = look(heap, relation);
        pg_sys::index_close(relation, no_lock);
        pg_sys::table_close(heap, no_lock);
        seen
    }
}

fn not_ours(oid: pg_sys::Oid) -> ! {
    crate::error::fail(
        PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
        format!("relation with OID {} is not an hnsw, ivf, ivfflat or bm25 index", oid.to_u32()),
        "A partitioned index has none of its own: look at the indexes of its partitions.",
    );
}

fn require_owner(oid: pg_sys::Oid) {
    // SAFETY: looks in the catalogs.
    let owns = unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        {
            pg_sys::pg_class_ownercheck(oid, pg_sys::GetUserId())
        }
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        {
            pg_sys::object_ownercheck(pg_sys::RelationRelationId, oid, pg_sys::GetUserId())
        }
    };
    if !owns {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("must be owner of the index with OID {}", oid.to_u32())
        );
    }
}
