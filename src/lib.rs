//! leanstack: the data layer of an AI team inside PostgreSQL. This file is the table of contents.

use pgrx::prelude::*;

mod error;
mod functions;
/// The vector types.
pub mod types;

pgrx::pg_module_magic!(name, version);

extension_sql_file!("../sql/types.sql", name = "types", bootstrap);
extension_sql_file!("../sql/operators.sql", name = "operators", requires = ["types"]);

/// What `cargo pgrx test` runs.
#[cfg(any(test, feature = "pg_test"))]
#[path = "../pg_test/mod.rs"]
pub mod pg_test;
