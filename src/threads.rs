//! The only place where a thread starts. Threads compute; the thread that PostgreSQL knows does everything else.
#![allow(unsafe_code)]

use pgrx::pg_sys;
use pgrx::prelude::*;

/// How many threads a build may use: `max_parallel_maintenance_workers` besides the leader's own share, no more than
/// there are processors.
pub fn build_threads() -> usize {
    // SAFETY: a plain setting of the server, read on its thread.
    let workers = unsafe { pg_sys::max_parallel_maintenance_workers };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (workers.max(0) as usize + 1).min(processors)
}

/// A pool of `threads` threads for a build; an error is raised if they cannot be started.
pub fn build_pool(threads: usize) -> rayon::ThreadPool {
    match pool(threads) {
        Ok(pool) => pool,
        Err(error) => {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
                format!("cannot start {threads} threads to build the index: {error}")
            );
        }
    }
}

/// A pool of `threads` threads to which no signal is delivered: PostgreSQL's handlers belong on its own thread.
fn pool(threads: usize) -> Result<rayon::ThreadPool, rayon::ThreadPoolBuildError> {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: plain libc calls on sets that live here. New threads inherit the mask; the leader gets its own back.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|at| format!("leanstack-{at}"))
        .build();
    // SAFETY: `before` was filled in above.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
    }
    pool
}
