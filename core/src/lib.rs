//! The algorithms of leanstack, in plain Rust: nothing here knows of PostgreSQL.

pub mod error;

pub use error::Error;
