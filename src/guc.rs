//! Every setting, and how the code reads it.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;

/// `hnsw.iterative_scan`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PostgresGucEnum)]
pub enum IterativeScan {
    /// A scan returns what one search finds.
    #[name = c"off"]
    Off,
    /// It goes on, in the order of what it meets.
    #[name = c"relaxed_order"]
    Relaxed,
    /// It goes on, and drops what would be out of order.
    #[name = c"strict_order"]
    Strict,
}

static EF_SEARCH: GucSetting<i32> = GucSetting::<i32>::new(40);
static ITERATIVE_SCAN: GucSetting<IterativeScan> =
    GucSetting::<IterativeScan>::new(IterativeScan::Off);
static MAX_SCAN_TUPLES: GucSetting<i32> = GucSetting::<i32>::new(20_000);
static SCAN_MEM_MULTIPLIER: GucSetting<f64> = GucSetting::<f64>::new(1.0);

/// Makes the settings known. Called once, when the library is loaded.
pub fn register() {
    GucRegistry::define_int_guc(
        c"hnsw.ef_search",
        c"How many of the nearest nodes an hnsw scan keeps while it searches",
        c"More gives better recall and takes longer. Valid range is 1..1000.",
        &EF_SEARCH,
        1,
        1000,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"hnsw.iterative_scan",
        c"Whether an hnsw scan goes on when more rows are asked for than one search finds",
        c"Rows may be needed when a filter drops many.",
        &ITERATIVE_SCAN,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"hnsw.max_scan_tuples",
        c"How many rows an iterative hnsw scan visits before it stops looking for more",
        c"",
        &MAX_SCAN_TUPLES,
        1,
        i32::MAX,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_float_guc(
        c"hnsw.scan_mem_multiplier",
        c"Memory of an iterative hnsw scan, as a multiple of work_mem",
        c"",
        &SCAN_MEM_MULTIPLIER,
        1.0,
        1000.0,
        GucContext::Userset,
        GucFlags::default(),
    );
    // SAFETY: called from _PG_init with a name that lives for ever.
    #[allow(unsafe_code)]
    unsafe {
        #[cfg(feature = "pg14")]
        pg_sys::EmitWarningsOnPlaceholders(c"hnsw".as_ptr());
        #[cfg(not(feature = "pg14"))]
        pg_sys::MarkGUCPrefixReserved(c"hnsw".as_ptr());
    }
}

/// `hnsw.ef_search`.
pub fn ef_search() -> usize {
    EF_SEARCH.get() as usize
}

/// `hnsw.iterative_scan`.
pub fn iterative_scan() -> IterativeScan {
    ITERATIVE_SCAN.get()
}

/// `hnsw.max_scan_tuples`.
pub fn max_scan_tuples() -> usize {
    MAX_SCAN_TUPLES.get() as usize
}

/// Memory that an iterative scan may take: `work_mem` times `hnsw.scan_mem_multiplier`.
pub fn scan_memory_bytes() -> usize {
    // SAFETY: a plain setting of the server, read on its thread.
    #[allow(unsafe_code)]
    let work_mem_kb = unsafe { pg_sys::work_mem };
    (f64::from(work_mem_kb) * 1024.0 * SCAN_MEM_MULTIPLIER.get()) as usize
}

/// Memory that building an index may take: `maintenance_work_mem`.
pub fn build_memory_bytes() -> usize {
    // SAFETY: a plain setting of the server, read on its thread.
    #[allow(unsafe_code)]
    let memory_kb = unsafe { pg_sys::maintenance_work_mem };
    memory_kb as usize * 1024
}
