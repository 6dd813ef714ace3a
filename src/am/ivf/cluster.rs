//! The first part of a build: a sample of the table, and the centroids of its lists.

use half::f16;
use leanstack_core::ivf::calibrate::{Ranking, Stop, calibrate};
use leanstack_core::ivf::coder::{Coder, Repr, store_centroid};
use leanstack_core::ivf::{self, Centroids, Geometry, Stopped};
use leanstack_core::metric::Metric;
use leanstack_core::quantize::Value;
use leanstack_core::quantize::product::MAX_ROWS;
use leanstack_core::quantize::product::relative::Relative;
use leanstack_core::workers;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rayon::prelude::*;

use super::plan::Plan;
use crate::am::heap::Source;
use crate::error::unwrap;
use crate::guc;

/// Heap blocks read to estimate how many rows there are.
const COUNT_BLOCKS: u32 = 64;
/// Rows of the sample for each list: what the clustering makes use of, and what it needs at least.
const ROWS_PER_LIST: usize = 64;
const LEAST_ROWS_PER_LIST: usize = 16;
/// Rows of the sample at least, as its mean is of use, too.
const LEAST_ROWS: usize = 4096;
/// Blocks read, as a multiple of those that would have enough rows, because neighbours are often alike.
const SPREAD: f64 = 2.0;
/// So many times the rows that are wanted are drawn, since how many there are is estimated.
const MORE: f64 = 1.05;
/// Seed of everything that is chosen at random.
const SEED: u64 = 1;

/// Some rows of the table, where centroids lie.
pub struct Sample {
    rows: Vec<f32>,
    dims: usize,
    /// How many lists the table is to have.
    lists: usize,
    /// Whether there were more rows than fit.
    is_full: bool,
}

impl Sample {
    /// Reads some rows, and decides how many lists they call for.
    ///
    /// # Safety
    /// As for [`Source::scan`].
    pub unsafe fn take(
        source: &Source,
        plan: &Plan,
        coder: &Coder,
        pool: &rayon::ThreadPool,
    ) -> Sample {
        let mut counted = 0u64;
        let mut count = || {
            counted += 1;
            false
        };
        // SAFETY: as the caller promises.
        let share = unsafe { source.sample(COUNT_BLOCKS, &mut count, &mut |_, _| {}) };
        let estimated = (counted as f64 / share).ceil() as u64;
        let size = Size::new(plan, coder.placed_dims(), estimated);
        let expected = size.rows.min(estimated as usize + estimated as usize / 8);
        let blocks = f64::from(COUNT_BLOCKS) / share * SPREAD * size.rows as f64;
        let blocks = (blocks / estimated.max(1) as f64).ceil() as u32;
        let blocks = blocks.max(COUNT_BLOCKS);
        // SAFETY: as the caller promises.
        let all_blocks = unsafe { source.blocks() };
        // To look at a row costs more than to pass it over.
        let met = estimated as f64 * (f64::from(blocks) / f64::from(all_blocks.max(1))).min(1.0);
        let chance = (MORE * size.rows as f64 / met.max(1.0)).min(1.0);
        let mut reservoir = Reservoir {
            rows: Vec::with_capacity(expected * coder.placed_dims()),
            dims: coder.placed_dims(),
            most: size.rows,
            seen: 0,
            random: StdRng::seed_from_u64(SEED),
        };
        let (mut passed, mut chances) = (0, StdRng::seed_from_u64(SEED + 1));
        let mut is_wanted = || {
            passed += 1;
            chances.random_bool(chance)
        };
        let mut numbers = Vec::new();
        let mut add = |_, value: Value<'_>| {
            plain(value, &mut numbers);
            numbers.resize(coder.placed_dims(), 0.0);
            reservoir.add(&numbers);
        };
        // SAFETY: as the caller promises.
        unsafe { source.sample(blocks, &mut is_wanted, &mut add) };
        let is_full = passed > reservoir.most;
        let Reservoir { rows, dims, .. } = reservoir;
        let rows = placed(rows, coder, pool);
        let sample = Sample { rows, dims, lists: size.lists, is_full };
        sample.tell_if_little(plan, estimated);
        sample
    }

    fn len(&self) -> usize {
        self.rows.len() / self.dims
    }

    /// Tells the user if there is too little to make lists of.
    fn tell_if_little(&self, plan: &Plan, estimated: u64) {
        let lists = plan.lists_option();
        let notice = |message: String, detail: &str, hint: &str| {
            ErrorReport::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message, "ambuild")
                .set_detail(detail)
                .set_hint(hint)
                .report(PgLogLevel::NOTICE);
        };
        let created = format!("{} index created with little data", plan.access_method());
        if self.len() < lists.unwrap_or(1) {
            if plan.is_flat {
                let hint = "Drop the index until the table has more data.";
                notice(created, "This will cause low recall.", hint);
            } else {
                let detail = "Its lists follow from the rows that a table has when it is built.";
                notice(created, detail, "Rebuild it when the table has more data.");
            }
        } else if lists.is_none() && self.lists < Plan::lists_for(estimated) / 2 {
            let message = format!("ivf index has {} lists, fewer than suit its rows", self.lists);
            let detail = "More could not be found in maintenance_work_mem. Searching takes longer.";
            notice(message, detail, "Increase maintenance_work_mem and rebuild the index.");
        }
    }

    /// The plan as it is to be: without a codebook if there are too few rows to make one of, which the user is told.
    pub fn plan(&self, plan: Plan) -> Plan {
        let (rows, least) = (self.len(), plan.least_rows());
        if rows >= least {
            return plan;
        }
        ErrorReport::new(
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            "ivf index created with quantization sq8 instead of pq",
            "ambuild",
        )
        .set_detail(format!(
            "A codebook takes {least} rows, and the sample of the table has {rows}."
        ))
        .set_hint(if self.is_full {
            "Increase maintenance_work_mem and rebuild the index."
        } else {
            "Rebuild it when the table has more data."
        })
        .report(PgLogLevel::NOTICE);
        plan.untrained()
    }

    /// The model of product codes, from the residuals of some rows to their centroids. They take the place of the rows.
    pub fn codebook(
        mut self,
        plan: &Plan,
        centroids: &Centroids,
        pool: &rayon::ThreadPool,
    ) -> Vec<f32> {
        let (dims, count) = (self.dims, self.len());
        let kept = count.min(MAX_ROWS);
        for at in 0..kept {
            let from = at * count / kept * dims;
            self.rows.copy_within(from..from + dims, at * dims);
        }
        self.rows.truncate(kept * dims);
        self.rows.shrink_to_fit();
        let shape = unwrap(Relative::shape(plan.metric, dims, plan.parts, plan.bits.into()));
        let mut residuals = self.rows;
        let train = |should_stop: &(dyn Fn() -> bool + Sync)| {
            let lists: Vec<u32> = centroids
                .assign(&residuals, pool, should_stop)?
                .iter()
                .map(|[nearest, _]| nearest.list)
                .collect();
            for (row, &list) in residuals.chunks_exact_mut(dims).zip(&lists) {
                row.iter_mut().zip(centroids.center(list)).for_each(|(x, c)| *x -= c);
            }
            Relative::train(shape, &residuals, &lists, SEED, pool, should_stop)
        };
        let found: Result<_, Stopped> = workers::call(pool, train, || {
            pgrx::check_for_interrupts!();
        });
        let Ok(model) = found else { unreachable!("only a panic stops the training") };
        model
    }

    /// What codes of scalar quantization are relative to: the mean. Empty for others.
    pub fn mean(&self, repr: Repr) -> Vec<f32> {
        let rows = self.len();
        if repr != Repr::Sq8 || rows == 0 {
            return Vec::new();
        }
        let mut sums = vec![0.0; self.dims];
        for row in self.rows.chunks_exact(self.dims) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        sums.iter().map(|sum| (sum / rows as f64) as f32).collect()
    }

    /// Finds the centroids as an index stores them, at least one, and how far a query must look with a way to stop (see
    /// [`calibrate`]; not for `ivfflat`, whose users say it themselves).
    pub fn centroids(
        &self,
        plan: &Plan,
        geometry: Geometry,
        stop: (Stop, f32),
        pool: &rayon::ThreadPool,
    ) -> (Centroids, [f32; 8]) {
        let dims = self.dims;
        let product = plan.metric == Metric::InnerProduct;
        let ranking = if product { Ranking::Product } else { Ranking::Distance };
        let find = |should_stop: &(dyn Fn() -> bool + Sync)| {
            let trained =
                ivf::train(&self.rows, dims, self.lists, geometry, SEED, pool, should_stop)?;
            let centroids = stored(trained, dims, geometry);
            let calibration = if plan.is_flat {
                [0.0; 8]
            } else {
                calibrate(&self.rows, &centroids, stop, ranking, pool, should_stop)?
            };
            Ok((centroids, calibration))
        };
        let found: Result<_, Stopped> = workers::call(pool, find, || {
            pgrx::check_for_interrupts!();
        });
        let Ok(found) = found else { unreachable!("only a panic stops the clustering") };
        found
    }
}

/// The numbers of a value, into `out`.
fn plain(value: Value<'_>, out: &mut Vec<f32>) {
    out.clear();
    match value {
        Value::F32(x) => out.extend_from_slice(x),
        Value::F16(x) => out.extend(x.iter().map(|x| x.to_f32())),
        Value::Bits { len, bytes } => {
            out.extend((0..len).map(|at| f32::from(bytes[at / 8] >> (7 - at % 8) & 1)));
        }
        Value::Sparse { .. } => {}
    }
}

/// The rows as placed vectors, without those that cannot be indexed.
fn placed(mut rows: Vec<f32>, coder: &Coder, pool: &rayon::ThreadPool) -> Vec<f32> {
    let (dims, placed_dims) = (coder.spec().dims, coder.placed_dims());
    let place = |should_stop: &(dyn Fn() -> bool + Sync)| {
        rows.par_chunks_mut(placed_dims)
            .map_init(Vec::new, |placed, row| {
                if should_stop() {
                    return Err(Stopped);
                }
                let can = coder.place(Value::F32(&row[..dims]), placed);
                row.copy_from_slice(placed);
                Ok(can)
            })
            .collect::<Result<Vec<bool>, Stopped>>()
    };
    let found = workers::call(pool, place, || {
        pgrx::check_for_interrupts!();
    });
    let Ok(can) = found else { unreachable!("only a panic stops the placing") };
    let mut kept = 0;
    for (at, _) in can.iter().enumerate().filter(|(_, can)| **can) {
        if at > kept {
            rows.copy_within(at * placed_dims..(at + 1) * placed_dims, kept * placed_dims);
        }
        kept += 1;
    }
    rows.truncate(kept * placed_dims);
    rows
}

/// The centroids as they are once they were stored and read again. There is at least one.
fn stored(trained: Centroids, dims: usize, geometry: Geometry) -> Centroids {
    if trained.is_empty() {
        return Centroids::new(vec![0.0; dims], dims, geometry, &[1]);
    }
    let sizes: Vec<u32> = trained.group_sizes().collect();
    let mut centers = trained.into_centers();
    let mut stored: Vec<f16> = Vec::new();
    for center in centers.chunks_exact_mut(dims) {
        store_centroid(center, &mut stored);
        center.iter_mut().zip(&stored).for_each(|(x, stored)| *x = stored.to_f32());
    }
    Centroids::new(centers, dims, geometry, &sizes)
}

/// How much is clustered.
struct Size {
    lists: usize,
    rows: usize,
}

impl Size {
    /// As much as is useful and fits into memory. Raises an error if the lists that were asked for do not.
    fn new(plan: &Plan, dims: usize, rows: u64) -> Size {
        let row_bytes =
            dims * size_of::<f32>() + ivf::memory_bytes(1, dims, 1) - ivf::memory_bytes(0, dims, 1);
        let list_bytes = ivf::memory_bytes(0, dims, 1);
        let memory = guc::build_memory_bytes();
        let wanted = plan.lists_option().unwrap_or(Plan::lists_for(rows));
        // No more lists are found than there are rows.
        let least_bytes = |lists: usize| {
            let lists = lists.min(rows as usize);
            lists * list_bytes + (lists * LEAST_ROWS_PER_LIST).min(rows as usize) * row_bytes
        };
        let mut lists = wanted;
        if least_bytes(wanted) > memory {
            if plan.lists_option().is_some() {
                let required = least_bytes(wanted) / (1 << 20) + 1;
                let given = memory / (1 << 20);
                ereport!(
                    ERROR,
                    PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                    format!("memory required is {required} MB, maintenance_work_mem is {given} MB")
                );
            }
            lists = (memory / (list_bytes + LEAST_ROWS_PER_LIST * row_bytes)).max(1);
        }
        let room = memory.saturating_sub(lists.min(rows as usize) * list_bytes) / row_bytes;
        let least = lists * LEAST_ROWS_PER_LIST;
        let rows = (lists * ROWS_PER_LIST).max(LEAST_ROWS).min(room.max(least.min(LEAST_ROWS)));
        Size { lists, rows }
    }
}

/// Some of all rows that it is given, each as likely as another.
struct Reservoir {
    rows: Vec<f32>,
    dims: usize,
    most: usize,
    seen: usize,
    random: StdRng,
}

impl Reservoir {
    fn add(&mut self, row: &[f32]) {
        self.seen += 1;
        if self.rows.len() < self.most * self.dims {
            self.rows.extend_from_slice(row);
            return;
        }
        let at = self.random.random_range(0..self.seen);
        if at < self.most {
            self.rows[at * self.dims..(at + 1) * self.dims].copy_from_slice(row);
        }
    }
}
