//! leanstack: the data layer of an AI team inside PostgreSQL. This file is the table of contents.

use pgrx::prelude::*;

pgrx::pg_module_magic!(name, version);

mod functions;

/// The schema of everything that is not a vector type or an index.
#[pg_schema]
mod lean {}

/// What `cargo pgrx test` runs.
#[cfg(any(test, feature = "pg_test"))]
#[path = "../pg_test/mod.rs"]
pub mod pg_test;
