//! What each way to store a column's vectors costs and keeps, measured on some of its rows.

use leanstack_core::quantize::product::Shape;
use leanstack_core::quantize::quantizer::{Binary, Centered, Quantizer};
use leanstack_core::quantize::rabitq::Rabitq;
use leanstack_core::quantize::range::{Extent, Ranges};
use leanstack_core::quantize::report::Sample;
use leanstack_core::quantize::{Codec, Repr};
use leanstack_core::{Error, Metric, workers};
use pgrx::PgRelation;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use super::codebook::train;
use super::sample::{self, Rows};
use crate::error::{fail, unwrap};
use crate::threads::build_pool;

/// The most rows that are compared with each other.
const MAX_SAMPLE: i32 = 100_000;

/// Rows that serve as queries.
const QUERIES: usize = 100;

/// Rows to train codebooks with, besides those that are measured.
const TRAINING_ROWS: usize = 10_000;

/// From so many rows on, codebooks are trained with other rows than are measured.
const MIN_APART: usize = 1000;

/// The seed of rotations.
const SEED: u64 = 1;

/// A row of the report.
type Line = (String, i32, Option<f64>, Option<f64>, Option<f64>);

/// Bytes for a vector, what is lost and what is found, for each method.
#[pg_extern(schema = "lean", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn quantization_report(
    relation: PgRelation,
    column_name: &str,
    sample: default!(i32, 2000),
    metric: default!(&str, "'l2'"),
) -> TableIterator<
    'static,
    (
        name!(method, String),
        name!(bytes_per_vector, i32),
        name!(mean_error, Option<f64>),
        name!(worst_error, Option<f64>),
        name!(recall_at_10, Option<f64>),
    ),
> {
    let metric = super::metric(metric);
    if !(2..=MAX_SAMPLE).contains(&sample) {
        fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("sample must be between 2 and {MAX_SAMPLE}, not {sample}"),
            "Some thousands of rows are enough to compare methods.",
        );
    }
    let args = [DatumWithOid::from(relation.oid()), DatumWithOid::from(column_name)];
    drop(relation);
    let query = "SELECT lean.vectors_of($1::pg_catalog.regclass, $2)";
    let query = match Spi::get_one_with_args::<String>(query, &args) {
        Ok(query) => query.unwrap_or_default(),
        Err(error) => error!("cannot read from the catalogs: {error}"),
    };
    let rows = sample::take(&query, sample as usize + TRAINING_ROWS);
    TableIterator::new(lines(metric, &rows, sample as usize))
}

/// The lines of the report; none without rows.
fn lines(metric: Metric, rows: &Rows, wanted: usize) -> Vec<Line> {
    if rows.len() == 0 {
        return Vec::new();
    }
    // Rows that a codebook has seen flatter it, but of few rows it has to see all.
    let (measured, seen) = if rows.len() >= MIN_APART {
        let measured = wanted.min(rows.len() / 2);
        (measured, measured)
    } else {
        (wanted.min(rows.len()), 0)
    };
    let training = &rows.components[seen * rows.dims..];
    let chosen: Vec<&[f32]> = rows.iter().take(measured).collect();
    let pool = build_pool(1);
    let tick = || {
        pgrx::check_for_interrupts!();
    };
    let sample = workers::call(&pool, |_| Sample::new(metric, &chosen, QUERIES), tick);
    let mut lines = Vec::new();
    let mut add = |method: &str, bytes: usize, quantizer: Result<Box<dyn Quantizer>, Error>| {
        let quantizer = unwrap(quantizer);
        let report = unwrap(workers::call(&pool, |_| sample.report(&*quantizer), tick));
        lines.push((
            method.to_string(),
            bytes as i32,
            rounded(report.mean_error),
            rounded(report.worst_error),
            rounded(report.recall),
        ));
    };
    let dims = rows.dims;
    add("vector", 4 * dims + 4, boxed(Codec::new(Repr::F32, metric, dims, vec![])));
    add("halfvec", 2 * dims + 4, boxed(Codec::new(Repr::F16, metric, dims, vec![])));
    let mut extent = Extent::default();
    rows.iter().for_each(|row| unwrap(extent.add(row)));
    let (lo, hi) = extent.global().unwrap_or((0.0, 0.0));
    add("int8, one range", dims, boxed(Ranges::global(metric, dims, lo, hi)));
    let each = Ranges::per_dimension(metric, &extent.lo, &extent.hi);
    add("int8, a range per dimension", dims, boxed(each));
    // Its codes tell no L1 distance, but may be wanted all the same.
    let angular = if metric == Metric::L1 { Metric::L2 } else { metric };
    for bits in [8, 4, 2, 1] {
        let coder = unwrap(Rabitq::new(angular, dims, bits, SEED));
        let bytes = coder.sign_bytes() + coder.rest_bytes() + 16;
        let method = format!("rabitq, {bits} bit{}", if bits > 1 { "s" } else { "" });
        add(&method, bytes, boxed(Centered::new(coder, &[])));
    }
    let mut parts = [dims.div_ceil(4), dims.div_ceil(8)].to_vec();
    parts.dedup();
    for parts in parts {
        let shape = unwrap(Shape::new(metric, dims, parts, 8));
        add(&format!("pq, m {parts}, 8 bits"), shape.code_len(), boxed(Ok(train(shape, training))));
    }
    add("binary_quantize", dims.div_ceil(8) + 4, boxed(Ok(Binary { dims })));
    lines
}

fn boxed<Q: Quantizer + 'static>(quantizer: Result<Q, Error>) -> Result<Box<dyn Quantizer>, Error> {
    quantizer.map(|quantizer| Box::new(quantizer) as Box<dyn Quantizer>)
}

/// Four digits are all that a sample tells; of a share of nothing, none.
fn rounded(share: f64) -> Option<f64> {
    share.is_finite().then(|| (share * 1e4).round() / 1e4)
}
