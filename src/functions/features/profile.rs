//! One pass over the rows of a query, and what `leanstack_core::stats` makes of each of its columns; and one profile of
//! several. `sql/features/statistics.sql` writes the queries and stores the profiles.

use std::ffi::CString;

use leanstack_core::Error;
use leanstack_core::stats::distinct::Distinct;
use leanstack_core::stats::histogram::Edges;
use leanstack_core::stats::moments::Moments;
use leanstack_core::stats::profile::{Bins, Kind, Limits, Profile, Value};
use leanstack_core::stats::quantiles::{Quantiles, percentile};
use pgrx::datum::FromDatum;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{PgMemoryContexts, pg_sys};

use crate::error::{fail, report, unwrap};
use crate::types::text::Bytes;

/// Rows fetched at a time.
const BATCH: std::ffi::c_long = 1000;

/// The quantiles of a profile.
const SHARES: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

/// The shares of values that the quantiles of a profile are above.
#[pg_extern(schema = "lean", immutable, parallel_safe)]
fn profile_shares() -> Vec<f64> {
    SHARES.to_vec()
}

/// How the values of a column are read.
#[derive(Clone, Copy)]
enum Reading {
    Double,
    Text,
    Reals,
    Doubles,
}

impl Reading {
    /// Of a type: only these four, so that no datum is taken for what it is not.
    fn of(type_oid: pg_sys::Oid) -> Option<Reading> {
        match type_oid {
            pg_sys::FLOAT8OID => Some(Reading::Double),
            pg_sys::TEXTOID => Some(Reading::Text),
            pg_sys::FLOAT4ARRAYOID => Some(Reading::Reals),
            pg_sys::FLOAT8ARRAYOID => Some(Reading::Doubles),
            _ => None,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Reading::Double => Kind::Number,
            Reading::Text => Kind::Category,
            Reading::Reals | Reading::Doubles => Kind::Embedding,
        }
    }

    /// Hands a value to `take`.
    ///
    /// # Safety
    /// The datum is of the type that this was made of.
    unsafe fn value(self, datum: pg_sys::Datum, take: impl FnOnce(Value)) {
        // SAFETY: passed on to the caller.
        unsafe {
            match self {
                Reading::Double => take(Value::Number(f64::from_bits(datum.value() as u64))),
                Reading::Text => {
                    take(Value::Text(&String::from_utf8_lossy(&Bytes::of(datum))));
                }
                Reading::Reals => {
                    let reals = Array::<f32>::from_datum(datum, false);
                    vector(reals.and_then(|array| array.iter().collect()), take);
                }
                Reading::Doubles => {
                    // What a real cannot hold becomes an infinity, and with it the vector invalid.
                    let doubles = Array::<f64>::from_datum(datum, false);
                    let reals = |array: Array<f64>| array.iter().map(|x| Some(x? as f32)).collect();
                    vector(doubles.and_then(reals), take);
                }
            }
        }
    }
}

/// Hands over a vector; one with a gap is broken.
fn vector(reals: Option<Vec<f32>>, take: impl FnOnce(Value)) {
    match reals {
        Some(reals) => take(Value::Vector(&reals)),
        None => take(Value::Broken),
    }
}

/// Runs a query in the snapshot of the caller: `start` gets how each column is read, `each` every value with its column.
fn scan(
    query: &CString,
    start: impl FnOnce(&[Reading]),
    mut each: impl FnMut(usize, Option<Value>),
) {
    // SAFETY: plain calls of SPI in their order. Read-only, the cursor keeps to the active snapshot, so a second pass
    // sees the same rows. After an error the transaction closes the cursor, and nothing here has a destructor for it.
    unsafe {
        pg_sys::SPI_connect();
        let none = std::ptr::null_mut();
        let portal = pg_sys::SPI_cursor_open_with_args(
            std::ptr::null(),
            query.as_ptr(),
            0,
            none,
            std::ptr::null_mut(),
            std::ptr::null(),
            true,
            pg_sys::CURSOR_OPT_NO_SCROLL as i32,
        );
        let readings = columns((*portal).tupDesc);
        start(&readings);
        let mut values = vec![pg_sys::Datum::null(); readings.len()];
        let mut nulls = vec![false; readings.len()];
        let mut batch = PgMemoryContexts::new("values of a batch of rows");
        loop {
            pg_sys::SPI_cursor_fetch(portal, true, BATCH);
            let table = pg_sys::SPI_tuptable;
            let rows = std::slice::from_raw_parts((*table).vals, pg_sys::SPI_processed as usize);
            if rows.is_empty() {
                break;
            }
            batch.switch_to(|_| {
                for &row in rows {
                    pg_sys::heap_deform_tuple(
                        row,
                        (*table).tupdesc,
                        values.as_mut_ptr(),
                        nulls.as_mut_ptr(),
                    );
                    for (column, reading) in readings.iter().enumerate() {
                        if nulls[column] {
                            each(column, None);
                        } else {
                            reading.value(values[column], |value| each(column, Some(value)));
                        }
                    }
                }
            });
            batch.reset();
            pg_sys::SPI_freetuptable(table);
            pgrx::check_for_interrupts!();
        }
        // SPI's memory is about to go, and that of the batch is in it.
        drop(batch);
        pg_sys::SPI_cursor_close(portal);
        pg_sys::SPI_finish();
    }
}

/// How the columns of a query are read.
///
/// # Safety
/// The description is one that the server made.
unsafe fn columns(description: pg_sys::TupleDesc) -> Vec<Reading> {
    // SAFETY: the caller vouches for the description.
    let columns = unsafe { pgrx::PgTupleDesc::from_pg_copy(description) };
    let reading = |column: &pg_sys::FormData_pg_attribute| {
        Reading::of(column.atttypid).unwrap_or_else(|| {
            fail(
                PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                format!("column \"{}\" of the query cannot be profiled", column.name()),
                "Cast it to double precision, text, real[] or double precision[].",
            )
        })
    };
    columns.iter().map(reading).collect()
}

/// The bins that were given, in flat lists: elements and the numbers of the columns that they belong to.
struct Given {
    frozen: Vec<i32>,
    edges: Vec<(i32, f64)>,
    categories: Vec<(i32, String)>,
}

impl Given {
    fn bins(&self, column: usize, kind: Kind) -> Option<Bins> {
        let number = column as i32 + 1;
        if !self.frozen.contains(&number) {
            return None;
        }
        Some(if kind == Kind::Category {
            let own = self.categories.iter().filter(|(of, _)| *of == number);
            Bins::categories(own.map(|(_, value)| value.clone()).collect())
        } else {
            let own = self.edges.iter().filter(|(of, _)| *of == number);
            Bins::Edges(unwrap(Edges::new(own.map(|(_, edge)| *edge).collect())))
        })
    }
}

/// What is known of a column, as SQL gets it.
type Line = (
    i32,
    String,
    i64,
    i64,
    i64,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    f64,
    Vec<u8>,
    Option<Vec<u8>>,
    Option<Vec<f64>>,
    Option<Vec<f64>>,
    Option<Vec<String>>,
    Vec<i64>,
    Option<Vec<f64>>,
    Option<Vec<f64>>,
);

fn line(column: usize, profile: Profile) -> Line {
    let moments = profile.moments;
    let some = |x: f64| (moments.count > 0).then_some(x);
    let numeric = profile.kind != Kind::Category;
    let (edges, categories) = match &profile.bins {
        Some(Bins::Edges(edges)) => (Some(edges.as_slice().to_vec()), None),
        Some(Bins::Categories(values, _)) => (None, Some(values.clone())),
        None => (None, None),
    };
    let centroid = profile.centroid.mean().map(<[f64]>::to_vec);
    (
        column as i32 + 1,
        match profile.kind {
            Kind::Number => "number",
            Kind::Category => "category",
            Kind::Embedding => "embedding",
        }
        .to_string(),
        profile.rows as i64,
        profile.nulls as i64,
        profile.invalid as i64,
        moments.mean(),
        moments.deviation(),
        some(moments.min),
        some(moments.max),
        profile.distinct.estimate(),
        profile.distinct.to_bytes(),
        numeric.then(|| profile.quantiles.to_bytes()),
        (moments.count > 0).then(|| profile.percentiles(&SHARES)),
        edges,
        categories,
        profile.counts.iter().map(|count| *count as i64).collect(),
        centroid,
        numeric.then(|| profile.into_sample()),
    )
}

/// A profile of each column of a query.
#[pg_extern(schema = "lean", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn profile_query(
    query: &str,
    bins: i32,
    categories: i32,
    sample: i32,
    frozen: Vec<i32>,
    edge_columns: Vec<i32>,
    edges: Vec<f64>,
    category_columns: Vec<i32>,
    category_values: Vec<String>,
) -> TableIterator<
    'static,
    (
        name!(position, i32),
        name!(kind, String),
        name!(row_count, i64),
        name!(nulls, i64),
        name!(invalid, i64),
        name!(mean, Option<f64>),
        name!(stddev_pop, Option<f64>),
        name!(min, Option<f64>),
        name!(max, Option<f64>),
        name!(distinct_estimate, f64),
        name!(distinct_sketch, Vec<u8>),
        name!(quantile_sketch, Option<Vec<u8>>),
        name!(quantiles, Option<Vec<f64>>),
        name!(edges_used, Option<Vec<f64>>),
        name!(categories_used, Option<Vec<String>>),
        name!(counts, Vec<i64>),
        name!(centroid, Option<Vec<f64>>),
        name!(sample_used, Option<Vec<f64>>),
    ),
> {
    let size = |name, given: i32, most: i32| match usize::try_from(given) {
        Ok(size) if (1..=most).contains(&given) => size,
        _ => fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("{name} must be between 1 and {most}, not {given}"),
            "More are not kept for each feature.",
        ),
    };
    let limits = Limits {
        bins: size("bins", bins, 1000),
        categories: size("categories", categories, 1000),
        sample: size("sample", sample, 10_000_000),
    };
    let given = Given {
        frozen,
        edges: edge_columns.into_iter().zip(edges).collect(),
        categories: category_columns.into_iter().zip(category_values).collect(),
    };
    let query = super::c_text(query);
    let profiles = std::cell::RefCell::new(Vec::new());
    scan(
        &query,
        |readings| {
            let profile = |(column, reading): (usize, &Reading)| {
                let kind = reading.kind();
                Profile::new(kind, given.bins(column, kind), limits)
            };
            profiles.borrow_mut().extend(readings.iter().enumerate().map(profile));
        },
        |column, value| profiles.borrow_mut()[column].add(value),
    );
    let mut profiles = profiles.into_inner();
    let again: Vec<bool> = profiles.iter_mut().map(|profile| !profile.find_bins()).collect();
    if again.contains(&true) {
        scan(
            &query,
            |_| (),
            |column, value| {
                if again[column] {
                    profiles[column].recount(value);
                }
            },
        );
    }
    let lines = profiles.into_iter().enumerate().map(|(column, profile)| line(column, profile));
    TableIterator::new(lines.collect::<Vec<Line>>())
}

/// What several profiles of a feature have together, of what cannot be added in SQL.
#[pg_extern(schema = "lean", immutable, parallel_safe)]
#[allow(clippy::type_complexity)]
fn merge_profile_parts(
    counts: Vec<i64>,
    means: Vec<Option<f64>>,
    deviations: Vec<Option<f64>>,
    distinct_sketches: Array<&[u8]>,
    quantile_sketches: Array<&[u8]>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(mean, Option<f64>),
            name!(stddev_pop, Option<f64>),
            name!(distinct_estimate, f64),
            name!(distinct_sketch, Vec<u8>),
            name!(quantile_sketch, Option<Vec<u8>>),
            name!(quantiles, Option<Vec<f64>>),
        ),
    >,
    ErrorReport,
> {
    let mut moments = Moments::default();
    for ((count, mean), deviation) in counts.iter().zip(means).zip(deviations) {
        let (Some(mean), Some(deviation)) = (mean, deviation) else { continue };
        let count = (*count).max(0) as u64;
        let squares = deviation * deviation * count as f64;
        moments = moments.merge(Moments { count, mean, squares, ..Moments::default() });
    }
    let merged = || -> Result<(Distinct, Option<Quantiles>), Error> {
        let mut distinct = Distinct::default();
        for sketch in distinct_sketches.iter().flatten() {
            distinct.merge(&Distinct::from_bytes(sketch)?);
        }
        let mut quantiles: Option<Quantiles> = None;
        for sketch in quantile_sketches.iter().flatten() {
            quantiles.get_or_insert_default().merge(&Quantiles::from_bytes(sketch)?);
        }
        Ok((distinct, quantiles))
    };
    let (distinct, quantiles) = merged().map_err(report)?;
    let values = quantiles.as_ref().filter(|sketch| sketch.count() > 0).map(|sketch| {
        let weighed = sketch.weighed();
        SHARES.iter().filter_map(|share| percentile(&weighed, *share)).collect()
    });
    Ok(TableIterator::once((
        moments.mean(),
        moments.deviation(),
        distinct.estimate(),
        distinct.to_bytes(),
        quantiles.map(|sketch| sketch.to_bytes()),
        values,
    )))
}
