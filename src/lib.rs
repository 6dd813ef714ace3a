//! leanstack: the data layer of an AI team inside PostgreSQL. This file is the table of contents.

use pgrx::prelude::*;

pgrx::pg_module_magic!(name, version);

extension_sql!("SELECT 1", name = "spike");

/// spike
#[pg_extern]
fn spike() -> i32 {
    1
}

/// What `cargo pgrx test` runs.
#[cfg(any(test, feature = "pg_test"))]
#[path = "../pg_test/mod.rs"]
pub mod pg_test;
