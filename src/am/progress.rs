//! What `pg_stat_progress_create_index` shows of a build.

use pgrx::pg_sys;

fn report(param: u32, value: i64) {
    // SAFETY: writes a number where this backend reports its progress.
    unsafe { pg_sys::pgstat_progress_update_param(param as i32, value) }
}

/// Says which phase of the access method's own numbering begins; `ambuildphasename` gives it a name.
pub fn phase(number: i64) {
    report(pg_sys::PROGRESS_CREATEIDX_SUBPHASE, number);
}

/// Says how many tuples the phase has to do.
pub fn tuples_total(count: i64) {
    report(pg_sys::PROGRESS_CREATEIDX_TUPLES_TOTAL, count);
}

/// Says how many of them are done.
pub fn tuples_done(count: i64) {
    report(pg_sys::PROGRESS_CREATEIDX_TUPLES_DONE, count);
}
