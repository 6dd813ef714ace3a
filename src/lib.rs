//! leanstack: the data layer of an AI team inside PostgreSQL. This file is the table of contents.

use pgrx::prelude::*;

mod am;
mod error;
mod functions;
mod guc;
mod storage;
mod threads;
/// The vector types.
pub mod types;

pgrx::pg_module_magic!(name, version);

/// The schema of everything that is not a vector type or an index.
#[pg_schema]
mod lean {}

extension_sql_file!("../sql/types.sql", name = "types", bootstrap);
extension_sql_file!("../sql/operators.sql", name = "operators", requires = ["types"]);
extension_sql_file!(
    "../sql/hnsw.sql",
    name = "hnsw",
    requires = ["operators", index_check, index_info]
);
extension_sql_file!("../sql/ivf.sql", name = "ivf", requires = ["operators"]);
extension_sql_file!("../sql/bm25.sql", name = "bm25", requires = ["operators", index_check]);

/// Called when the library is loaded.
#[pg_guard]
#[allow(non_snake_case)]
pub extern "C-unwind" fn _PG_init() {
    guc::register();
    am::hnsw::options::register();
    am::ivf::options::register();
    am::bm25::options::register();
    #[cfg(feature = "pg18")]
    am::explain::register();
}

/// What `cargo pgrx test` runs.
#[cfg(any(test, feature = "pg_test"))]
#[path = "../pg_test/mod.rs"]
pub mod pg_test;
