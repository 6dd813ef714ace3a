//! Quantization in SQL, over the quantizers of the core: codes as values, trained codebooks, and a report on what each
//! method makes of a column. Declared in `sql/quantize.sql`.

mod codebook;
mod int8;
mod rabitq;
mod report;
mod sample;

use leanstack_core::Metric;
use pgrx::prelude::*;

/// The metric that an argument names.
fn metric(name: &str) -> Metric {
    match name {
        "l2" => Metric::L2,
        "ip" => Metric::InnerProduct,
        "cosine" => Metric::Cosine,
        "l1" => Metric::L1,
        _ => crate::error::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("unknown metric \"{name}\""),
            "Metrics are l2, ip, cosine and l1.",
        ),
    }
}

extension_sql_file!(
    "../../../sql/quantize.sql",
    name = "quantize",
    requires = ["operators", train_pq, quantization_report]
);
