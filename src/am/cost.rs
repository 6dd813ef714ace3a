//! What the estimates of all scans in the order of a distance have in common.

use pgrx::pg_sys;

/// What `amcostestimate` answers.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    /// Cost before the first row.
    pub startup: f64,
    /// Cost to the last row.
    pub total: f64,
    /// Share of the table's rows.
    pub selectivity: f64,
    /// How close the order of the rows is to that of the table.
    pub correlation: f64,
    /// Pages of the index.
    pub pages: f64,
}

impl Estimate {
    /// Of a scan that cannot be.
    const NEVER: Estimate = Estimate {
        startup: f64::INFINITY,
        total: f64::INFINITY,
        selectivity: 0.0,
        correlation: 0.0,
        pages: 0.0,
    };
}

impl Estimate {
    /// Of a scan of an index that the server estimates at `costs`.
    pub fn new(costs: &pg_sys::GenericCosts, startup: f64, total: f64) -> Estimate {
        Estimate {
            startup,
            total,
            selectivity: costs.indexSelectivity,
            correlation: costs.indexCorrelation,
            pages: costs.numIndexPages,
        }
    }

    /// Answers the server.
    ///
    /// # Safety
    /// The places are those that `amcostestimate` was called with.
    pub unsafe fn answer(
        &self,
        startup_cost: *mut pg_sys::Cost,
        total_cost: *mut pg_sys::Cost,
        selectivity: *mut pg_sys::Selectivity,
        correlation: *mut f64,
        pages: *mut f64,
    ) {
        // SAFETY: as the caller promises.
        unsafe {
            *startup_cost = self.startup;
            *total_cost = self.total;
            *selectivity = self.selectivity;
            *correlation = self.correlation;
            *pages = self.pages;
        }
    }
}

/// The server's own estimate of reading the whole index.
///
/// # Safety
/// Called from `amcostestimate` with its arguments.
pub unsafe fn whole(
    root: *mut pg_sys::PlannerInfo,
    path: *mut pg_sys::IndexPath,
    loop_count: f64,
) -> pg_sys::GenericCosts {
    let mut costs = pg_sys::GenericCosts::default();
    // SAFETY: as the caller promises.
    unsafe { pg_sys::genericcostestimate(root, path, loop_count, &raw mut costs) }
    costs
}

/// The estimate of a path without an order, which an index that needs one cannot be read for.
///
/// # Safety
/// `path` is valid.
pub unsafe fn without_order(path: *mut pg_sys::IndexPath) -> Option<Estimate> {
    // SAFETY: as the caller promises.
    unsafe { never(path, (*path).indexorderbys.is_null()) }
}

/// The estimate of a path that cannot be taken, if it `is_impossible`.
///
/// # Safety
/// `path` is valid.
pub unsafe fn never(path: *mut pg_sys::IndexPath, is_impossible: bool) -> Option<Estimate> {
    #[cfg(feature = "pg18")]
    if is_impossible {
        // SAFETY: as the caller promises.
        unsafe { (*path).path.disabled_nodes = 2 };
    }
    let _ = path;
    is_impossible.then_some(Estimate::NEVER)
}

/// The cost of reading a share of the index before the first row comes out, and of all of it. `sequential` is the share of
/// the pages that are read one after the other; the server's estimate takes all for scattered.
///
/// # Safety
/// `path` is valid, and `costs` are of the [`whole`] index.
pub unsafe fn startup_and_total(
    path: *mut pg_sys::IndexPath,
    costs: &pg_sys::GenericCosts,
    share: f64,
    sequential: f64,
) -> (f64, f64) {
    let mut seq_page_cost = 0.0;
    // SAFETY: as the caller promises.
    let heap_pages = unsafe {
        let info = (*path).indexinfo;
        pg_sys::get_tablespace_page_costs(
            (*info).reltablespace,
            std::ptr::null_mut(),
            &raw mut seq_page_cost,
        );
        f64::from((*(*info).rel).pages)
    };
    let saved = costs.spc_random_page_cost - seq_page_cost;
    let total = costs.indexTotalCost - sequential * costs.numIndexPages * saved;
    let mut startup = total * share;
    let visited_pages = costs.numIndexPages * share;
    if visited_pages > heap_pages && share < 0.5 {
        // Vectors out of line are not among the heap's pages, so a sequential scan looks cheaper than it is: charge the
        // index no more than it would.
        startup -= (1.0 - sequential) * visited_pages * saved;
        startup -= (visited_pages - heap_pages) * seq_page_cost;
    }
    (startup, total)
}
