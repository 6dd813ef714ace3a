//! Fusion of ranked lists. The scores are here; the aggregate and the set function that use them are
//! in `sql/search.sql`, the search of a table by keywords and vectors in `sql/hybrid.sql`.

use leanstack_core::fuse;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

fn invalid(message: impl ToString) -> ErrorReport {
    ErrorReport::new(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        message.to_string(),
        function_name!(),
    )
}

/// The score of one rank. A null rank is a document that the branch did not find: it adds nothing.
#[pg_extern(schema = "lean", immutable, parallel_safe)]
fn rrf(
    rank: Option<i64>,
    k: default!(Option<f64>, "60"),
    weight: default!(Option<f64>, "1.0"),
) -> Result<f64, ErrorReport> {
    let k = k.ok_or_else(|| invalid("k must not be null"))?;
    let weight = weight.ok_or_else(|| invalid("weight must not be null"))?;
    let score = fuse::score(rank.unwrap_or(1), k, weight).map_err(invalid)?;
    Ok(if rank.is_some() { score } else { 0.0 })
}

/// The running sum of [`rrf`].
#[pg_extern(schema = "lean", immutable, parallel_safe)]
fn rrf_accum(
    state: f64,
    rank: Option<i64>,
    k: Option<f64>,
    weight: Option<f64>,
) -> Result<f64, ErrorReport> {
    Ok(state + rrf(rank, k, weight)?)
}

extension_sql_file!("../../sql/search.sql", name = "search", requires = [rrf, rrf_accum]);
extension_sql_file!("../../sql/hybrid.sql", name = "hybrid", requires = ["search"]);
