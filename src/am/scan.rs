//! What every scan in the order of a distance does with the server's `IndexScanDesc`.

use std::rc::Rc;

use pgrx::memcxt::PgMemoryContexts;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::heap;
use super::stats::Stats;
use crate::storage::Tid;

/// What lies behind `opaque`.
#[repr(C)]
struct Opaque<S> {
    /// First, so that it can be found by who does not know the rest.
    stats: Rc<Stats>,
    state: S,
}

/// Makes a scan with a state of its own, which is dropped with the scan's memory context.
///
/// # Safety
/// Called from `ambeginscan`, with its arguments. The state holds no pin and no lock, so that its drop does nothing
/// but free memory.
pub unsafe fn begin<S>(
    relation: pg_sys::Relation,
    nkeys: i32,
    norderbys: i32,
    state: S,
) -> pg_sys::IndexScanDesc {
    // SAFETY: as the caller promises.
    unsafe {
        let scan = pg_sys::RelationGetIndexScan(relation, nkeys, norderbys);
        let state = PgMemoryContexts::CurrentMemoryContext
            .leak_and_drop_on_delete(Opaque { stats: Rc::default(), state });
        (*scan).opaque = state.cast();
        if norderbys > 0 {
            (*scan).xs_orderbyvals = pg_sys::palloc0(size_of::<pg_sys::Datum>()).cast();
            (*scan).xs_orderbynulls = pg_sys::palloc(size_of::<bool>()).cast();
            *(*scan).xs_orderbynulls = true;
        }
        scan
    }
}

/// The state that a scan was made with.
///
/// # Safety
/// `scan` was made by [`begin`] with a state of this type, to which there is no other reference.
pub unsafe fn state<'s, S>(scan: pg_sys::IndexScanDesc) -> &'s mut S {
    // SAFETY: as the caller promises.
    unsafe { &mut (*(*scan).opaque.cast::<Opaque<S>>()).state }
}

/// What a scan counts.
///
/// # Safety
/// `scan` was made by [`begin`], and outlives the result.
pub unsafe fn stats<'s>(scan: pg_sys::IndexScanDesc) -> &'s Rc<Stats> {
    // SAFETY: as the caller promises; the stats lie first, whatever the state is.
    unsafe { &*(*scan).opaque.cast::<Rc<Stats>>() }
}

/// Takes over the keys of `amrescan`.
///
/// # Safety
/// The server passes the scan and as many keys as it was made for.
pub unsafe fn set_keys(
    scan: pg_sys::IndexScanDesc,
    keys: pg_sys::ScanKey,
    orderbys: pg_sys::ScanKey,
) {
    // SAFETY: as the caller promises.
    unsafe {
        if !keys.is_null() && (*scan).numberOfKeys > 0 {
            std::ptr::copy(keys, (*scan).keyData, (*scan).numberOfKeys as usize);
        }
        if !orderbys.is_null() && (*scan).numberOfOrderBys > 0 {
            std::ptr::copy(orderbys, (*scan).orderByData, (*scan).numberOfOrderBys as usize);
        }
    }
}

/// Starts to look for rows: raises an error where the access method `am` cannot, counts the scan, and gives what the
/// rows are to be near to, nothing for NULL.
///
/// # Safety
/// `scan` was made by [`begin`] and has its keys.
pub unsafe fn query(scan: pg_sys::IndexScanDesc, am: &str) -> Option<pg_sys::Datum> {
    // SAFETY: as the caller promises.
    unsafe {
        if (*scan).numberOfOrderBys == 0 || (*scan).orderByData.is_null() {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("cannot scan {am} index without order")
            );
        }
        let snapshot = (*scan).xs_snapshot;
        if (*snapshot).snapshot_type != pg_sys::SnapshotType::SNAPSHOT_MVCC {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("non-MVCC snapshots are not supported with {am}")
            );
        }
        count(scan);
        let key = (*scan).orderByData;
        ((*key).sk_flags & pg_sys::SK_ISNULL as i32 == 0).then(|| (*key).sk_argument)
    }
}

/// Counts a scan for `pg_stat_user_indexes`.
unsafe fn count(scan: pg_sys::IndexScanDesc) {
    // SAFETY: the caller's scan is one that the server began; this is the macro pgstat_count_index_scan.
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

/// Gives a row to the executor. `bound` is not above the row's distance, and nothing where the query is NULL; unless
/// `is_exact`, the executor computes the distance itself.
///
/// # Safety
/// `scan` was made by [`begin`] for one ORDER BY.
pub unsafe fn give(scan: pg_sys::IndexScanDesc, tid: Tid, bound: Option<f64>, is_exact: bool) {
    // SAFETY: as the caller promises.
    unsafe {
        let is_rechecked = bound.is_some() && !is_exact;
        let stats = stats(scan);
        stats.rows.add(1);
        stats.exact_distances.add(is_rechecked.into());
        (*scan).xs_heaptid = heap::item_pointer(tid);
        (*scan).xs_recheck = false;
        (*scan).xs_recheckorderby = is_rechecked;
        *(*scan).xs_orderbynulls = bound.is_none();
        if let Some(bound) = bound {
            *(*scan).xs_orderbyvals = bound.into_datum().unwrap_or(pg_sys::Datum::from(0));
        }
    }
}
