//! Errors of the fusion functions keep their SQLSTATE through the aggregate and the set function.

use pgrx::pg_schema;

#[pg_schema]
mod tests {
    use pgrx::prelude::*;

    /// Runs a statement that must fail, and gives the SQLSTATE.
    fn sqlstate(statement: &str) -> PgSqlErrorCode {
        PgTryBuilder::new(|| {
            Spi::run(statement).expect("the statement runs or raises");
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION
        })
        .catch_others(|error| match error {
            pgrx::pg_sys::panic::CaughtError::PostgresError(report)
            | pgrx::pg_sys::panic::CaughtError::ErrorReport(report)
            | pgrx::pg_sys::panic::CaughtError::RustPanic { ereport: report, .. } => {
                report.sql_error_code()
            }
        })
        .execute()
    }

    #[pg_test]
    fn fusion_errors_are_invalid_parameters() {
        for statement in [
            "SELECT lean.rrf(0)",
            "SELECT lean.rrf(1, k => 'NaN')",
            "SELECT lean.rrf(1, weight => -1)",
            "SELECT lean.rrf_sum(rank, -1) FROM generate_series(1, 3) AS rank",
            "SELECT lean.rrf_sum(rank, 60, NULL) FROM generate_series(1, 3) AS rank",
            "SELECT * FROM lean.rrf_fuse(ARRAY[1, 2], weights => '{1,2}')",
            "SELECT * FROM lean.rrf_fuse('{{{1}}}'::int[])",
        ] {
            assert_eq!(
                sqlstate(statement),
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "{statement}"
            );
        }
    }
}
