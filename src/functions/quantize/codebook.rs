//! Product quantization with trained codebooks, which live in the table `lean.pq_codebook`.
//!
//! The functions read the table as the caller, so its policies decide who may use a codebook. What was read is kept
//! for as long as the expression sees the same rows: until the user or the snapshot changes.

use leanstack_core::quantize::product::{MAX_ROWS, Product, Shape, Table};
use leanstack_core::{Error, Metric, workers};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::sample;
use crate::error::{fail, unwrap};
use crate::threads::{build_pool, build_threads};
use crate::types::call::{Kept, export};
use crate::types::text::{Bytea, Bytes};
use crate::types::vector::{Dense, DenseOut};

/// The same rows lead to the same codebook.
const SEED: u64 = 1;

/// Trains a codebook and stores it; gives the number of rows that it was trained with.
#[pg_extern(schema = "lean", volatile, parallel_unsafe)]
fn train_pq(
    codebook: &str,
    source: &str,
    m: i32,
    nbits: default!(i32, 8),
    metric: default!(&str, "'l2'"),
    max_rows: default!(i32, 16384),
) -> i64 {
    let given = super::metric(metric);
    if !(1..=MAX_ROWS as i32).contains(&max_rows) {
        fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("max_rows must be between 1 and {MAX_ROWS}, not {max_rows}"),
            "More rows make no better codebook.",
        );
    }
    if text("SELECT name FROM lean.pq_codebook WHERE name OPERATOR(pg_catalog.=) $1", &[codebook])
        .is_some()
    {
        exists(codebook);
    }
    let rows = sample::take(&source_query(source), max_rows as usize);
    if rows.len() == 0 {
        fail(
            PgSqlErrorCode::ERRCODE_NO_DATA_FOUND,
            format!("no vectors to train codebook \"{codebook}\" with"),
            "Give a query that returns vectors.",
        );
    }
    let shape = unwrap(Shape::new(given, rows.dims, count(m), count(nbits)));
    let product = train(shape, &rows.components);
    let stored = Spi::connect_mut(|client| {
        let shape = [rows.dims as i32, m, nbits].map(DatumWithOid::from);
        let [dims, m, nbits] = shape;
        let args = [
            codebook.into(),
            metric.into(),
            dims,
            m,
            nbits,
            (rows.len() as i64).into(),
            product.to_bytes().into(),
        ];
        let insert =
            "INSERT INTO lean.pq_codebook (name, metric, dims, m, nbits, trained_rows, book)
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING 1";
        client.update(insert, None, &args).map(|table| table.len())
    });
    match stored {
        Ok(0) => exists(codebook),
        Ok(_) => rows.len() as i64,
        Err(error) => error!("cannot store codebook \"{codebook}\": {error}"),
    }
}

/// Trains on the threads of a build; the user may cancel.
pub fn train(shape: Shape, components: &[f32]) -> Product {
    let pool = build_pool(build_threads());
    let work = |should_stop: &(dyn Fn() -> bool + Sync)| {
        Product::train(shape, components, SEED, &pool, should_stop)
    };
    let trained = workers::call(&pool, work, || {
        pgrx::check_for_interrupts!();
    });
    let Ok(product) = trained else { unreachable!("only a panic stops the training") };
    product
}

/// A count that may have been given as a negative number.
fn count(given: i32) -> usize {
    usize::try_from(given).unwrap_or(0)
}

fn exists(codebook: &str) -> ! {
    fail(
        PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
        format!("codebook \"{codebook}\" already exists"),
        "Drop it with lean.drop_pq, or take another name: codes are worthless without the codebook that made them.",
    )
}

/// The query for the vectors of a relation or of a query.
fn source_query(source: &str) -> String {
    let first = source.trim_start().to_lowercase();
    let is_query =
        ["select", "with", "values", "table", "("].iter().any(|word| first.starts_with(word))
            && first.contains([' ', '\n', '\t', '(']);
    let query = if is_query {
        text("SELECT lean.vectors_of($1)", &[source])
    } else {
        text("SELECT lean.vectors_of($1::pg_catalog.regclass, NULL)", &[source])
    };
    query.unwrap_or_default()
}

/// The text that a query returns, or nothing if it has no row.
pub fn text(query: &str, args: &[&str]) -> Option<String> {
    let args: Vec<DatumWithOid> = args.iter().map(|&arg| arg.into()).collect();
    match Spi::get_one_with_args::<String>(query, &args) {
        Ok(found) => found,
        Err(pgrx::spi::SpiError::InvalidPosition) => None,
        Err(error) => error!("cannot read from the catalogs of leanstack: {error}"),
    }
}

/// What decides which rows of the table an expression sees.
#[derive(PartialEq)]
struct View {
    name: Vec<u8>,
    user: pg_sys::Oid,
    /// Of the snapshot: two with the same numbers see the same rows.
    snapshot: [u32; 4],
}

impl View {
    fn current(name: &Bytes) -> View {
        // SAFETY: a function is called with an active snapshot.
        let (user, snapshot) = unsafe { (pg_sys::GetUserId(), &*pg_sys::GetActiveSnapshot()) };
        let numbers = [snapshot.xmin.into_inner(), snapshot.xmax.into_inner()];
        let snapshot = [numbers[0], numbers[1], snapshot.xcnt, snapshot.curcid];
        View { name: name.to_vec(), user, snapshot }
    }
}

/// A codebook as an expression keeps it, with the table of the last query.
struct Opened {
    view: View,
    product: Product,
    query: Option<(Vec<f32>, Table)>,
}

/// The codebook of a name, from before or from the table.
fn open<'a>(kept: &'a mut Kept<Opened>, name: &Bytes) -> &'a mut Opened {
    let view = View::current(name);
    if !kept.as_ref().is_some_and(|opened| opened.view == view) {
        let product = unwrap(Product::from_bytes(&read(name)));
        **kept = Some(Opened { view, product, query: None });
    }
    let Some(opened) = &mut **kept else { unreachable!("opened just now") };
    opened
}

/// Reads a codebook in the snapshot of the query that asks for it.
fn read(name: &Bytes) -> Vec<u8> {
    let query = c"SELECT book FROM lean.pq_codebook WHERE name OPERATOR(pg_catalog.=) $1";
    // SAFETY: plain calls of SPI, in their order. The query returns a `bytea`, which is copied before its memory goes.
    let found = unsafe {
        pg_sys::SPI_connect();
        let (mut types, mut values) = ([pg_sys::TEXTOID], [name.datum()]);
        let status = pg_sys::SPI_execute_with_args(
            query.as_ptr(),
            1,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            std::ptr::null(),
            true,
            1,
        );
        let found =
            (status == pg_sys::SPI_OK_SELECT as i32 && pg_sys::SPI_processed == 1).then(|| {
                let table = &*pg_sys::SPI_tuptable;
                let mut is_null = false;
                let datum = pg_sys::SPI_getbinval(*table.vals, table.tupdesc, 1, &mut is_null);
                Bytes::of(datum).to_vec()
            });
        pg_sys::SPI_finish();
        found
    };
    found.unwrap_or_else(|| {
        fail(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("codebook \"{}\" does not exist", String::from_utf8_lossy(name)),
            "lean.pq_codebook shows the codebooks that you may use; lean.train_pq makes one.",
        )
    })
}

fn encode(name: Bytes, v: Dense<f32>, mut kept: Kept<Opened>) -> Result<Bytea, Error> {
    let mut code = Vec::new();
    open(&mut kept, &name).product.encode(&v, &mut code)?;
    Ok(Bytea(code))
}

fn check_length(product: &Product, code: &[u8]) {
    let expected = product.shape().code_len();
    if code.len() != expected {
        fail(
            PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
            format!("expected a code of {expected} bytes, not {}", code.len()),
            "Use the codebook that made the code.",
        );
    }
}

fn decode(name: Bytes, code: Bytes, mut kept: Kept<Opened>) -> Result<DenseOut<f32>, Error> {
    let product = &open(&mut kept, &name).product;
    check_length(product, &code);
    product.decode(&code).map(|v| DenseOut::of(&v))
}

fn distance(
    name: Bytes,
    code: Bytes,
    query: Dense<f32>,
    mut kept: Kept<Opened>,
) -> Result<f64, Error> {
    let opened = open(&mut kept, &name);
    check_length(&opened.product, &code);
    let metric = opened.product.shape().metric();
    let table = match &mut opened.query {
        Some((of, table)) if of[..] == query[..] => table,
        other => &mut other.insert((query.to_vec(), opened.product.query(&query)?)).1,
    };
    let score = f64::from(table.score(&code));
    Ok(match metric {
        Metric::L2 => score.sqrt(),
        Metric::Cosine => score / 2.0,
        _ => score,
    })
}

export! {
    "pq" "_encode" = encode;
    "pq" "_decode" = decode;
    "pq" "_distance" = distance;
}
