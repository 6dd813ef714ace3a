//! Functions that look at indexes.

use pgrx::prelude::*;
use pgrx::{PgRelation, pg_sys};

use crate::am::hnsw;

/// Verifies an index. Writers of the table wait meanwhile, except on a standby, where there are none.
///
/// # Errors
/// 42501 if the caller does not own the index, 42809 if it is not an `hnsw` index.
#[pg_extern(schema = "lean", volatile, parallel_unsafe)]
fn index_check(
    index: PgRelation,
) -> TableIterator<'static, (name!(check_name, String), name!(ok, bool), name!(detail, String))> {
    let oid = index.oid();
    drop(index);
    // SAFETY: plain calls on relations opened and closed here; locks are kept to the end of the transaction.
    let findings = unsafe {
        let lock =
            if pg_sys::RecoveryInProgress() { pg_sys::AccessShareLock } else { pg_sys::ShareLock }
                as pg_sys::LOCKMODE;
        let heap_oid = pg_sys::IndexGetRelation(oid, true);
        if heap_oid == pg_sys::InvalidOid {
            not_hnsw(oid);
        }
        require_owner(oid);
        let heap = pg_sys::table_open(heap_oid, lock);
        let relation = pg_sys::index_open(oid, lock);
        let has_pages = (*(*relation).rd_rel).relkind == pg_sys::RELKIND_INDEX as std::ffi::c_char;
        if !has_pages || !hnsw::is_hnsw(relation) {
            not_hnsw(oid);
        }
        let findings = hnsw::check(heap, relation);
        pg_sys::index_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        pg_sys::table_close(heap, pg_sys::NoLock as pg_sys::LOCKMODE);
        findings
    };
    TableIterator::new(findings.into_iter().map(|finding| {
        let ok = finding.wrong.is_none();
        (finding.check.to_string(), ok, finding.wrong.unwrap_or(finding.detail))
    }))
}

fn not_hnsw(oid: pg_sys::Oid) -> ! {
    crate::error::fail(
        PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
        format!("relation with OID {} is not an hnsw index", oid.to_u32()),
        "A partitioned index has none of its own: check the indexes of its partitions.",
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
