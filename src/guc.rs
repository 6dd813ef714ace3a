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

/// `ivfflat.iterative_scan`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PostgresGucEnum)]
pub enum FlatIterativeScan {
    /// A scan returns what is in `ivfflat.probes` lists.
    #[name = c"off"]
    Off,
    /// It goes on with further lists, up to `ivfflat.max_probes`.
    #[name = c"relaxed_order"]
    Relaxed,
}

static FLAT_PROBES: GucSetting<i32> = GucSetting::<i32>::new(1);
static FLAT_ITERATIVE_SCAN: GucSetting<FlatIterativeScan> =
    GucSetting::<FlatIterativeScan>::new(FlatIterativeScan::Off);
static FLAT_MAX_PROBES: GucSetting<i32> = GucSetting::<i32>::new(MAX_PROBES);
static IVF_PROBES: GucSetting<i32> = GucSetting::<i32>::new(0);
static IVF_RECALL_TARGET: GucSetting<f64> = GucSetting::<f64>::new(0.95);
static IVF_ITERATIVE_SCAN: GucSetting<IterativeScan> =
    GucSetting::<IterativeScan>::new(IterativeScan::Strict);
static EF_SEARCH: GucSetting<i32> = GucSetting::<i32>::new(40);
static ITERATIVE_SCAN: GucSetting<IterativeScan> =
    GucSetting::<IterativeScan>::new(IterativeScan::Off);
static MAX_SCAN_TUPLES: GucSetting<i32> = GucSetting::<i32>::new(20_000);
static SCAN_MEM_MULTIPLIER: GucSetting<f64> = GucSetting::<f64>::new(1.0);

/// The most lists that an index can be asked for.
const MAX_PROBES: i32 = 32_768;

/// Makes the settings known. Called once, when the library is loaded.
pub fn register() {
    register_hnsw();
    register_ivf();
    for prefix in [c"hnsw", c"ivfflat", c"ivf"] {
        // SAFETY: called from _PG_init with a name that lives for ever.
        #[allow(unsafe_code)]
        unsafe {
            #[cfg(feature = "pg14")]
            pg_sys::EmitWarningsOnPlaceholders(prefix.as_ptr());
            #[cfg(not(feature = "pg14"))]
            pg_sys::MarkGUCPrefixReserved(prefix.as_ptr());
        }
    }
}

fn register_ivf() {
    GucRegistry::define_int_guc(
        c"ivfflat.probes",
        c"How many lists an ivfflat scan looks into",
        c"More gives better recall and takes longer. Valid range is 1..32768.",
        &FLAT_PROBES,
        1,
        MAX_PROBES,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"ivfflat.iterative_scan",
        c"Whether an ivfflat scan goes on when more rows are asked for than the lists hold",
        c"Rows may be needed when a filter drops many.",
        &FLAT_ITERATIVE_SCAN,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"ivfflat.max_probes",
        c"How many lists an iterative ivfflat scan looks into before it stops",
        c"If it is less than ivfflat.probes, that counts.",
        &FLAT_MAX_PROBES,
        1,
        MAX_PROBES,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"ivf.probes",
        c"How many lists an ivf scan looks into before it returns rows",
        c"0 looks into as many as ivf.recall_target needs. Valid range is 0..32768.",
        &IVF_PROBES,
        0,
        MAX_PROBES,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_float_guc(
        c"ivf.recall_target",
        c"Share of the nearest rows that an ivf scan is to find when ivf.probes is 0",
        c"Valid range is 0.5..1, 1 being all lists.",
        &IVF_RECALL_TARGET,
        0.5,
        1.0,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"ivf.iterative_scan",
        c"What an ivf scan does when more rows are asked for than its lists hold",
        c"It goes on with further lists, unless this is off, and drops what is out of order, unless it is relaxed.",
        &IVF_ITERATIVE_SCAN,
        GucContext::Userset,
        GucFlags::default(),
    );
}

fn register_hnsw() {
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

/// `ivfflat.probes`.
pub fn flat_probes() -> usize {
    FLAT_PROBES.get() as usize
}

/// `ivfflat.iterative_scan`.
pub fn flat_iterative_scan() -> FlatIterativeScan {
    FLAT_ITERATIVE_SCAN.get()
}

/// `ivfflat.max_probes`.
pub fn flat_max_probes() -> usize {
    FLAT_MAX_PROBES.get() as usize
}

/// `ivf.probes`; 0: as many as [`ivf_recall_target`] needs.
pub fn ivf_probes() -> usize {
    IVF_PROBES.get() as usize
}

/// `ivf.recall_target`.
pub fn ivf_recall_target() -> f64 {
    IVF_RECALL_TARGET.get()
}

/// `ivf.iterative_scan`.
pub fn ivf_iterative_scan() -> IterativeScan {
    IVF_ITERATIVE_SCAN.get()
}
