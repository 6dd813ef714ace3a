//! The algorithms of leanstack, in plain Rust: nothing here knows of PostgreSQL.

pub mod asof;
pub mod bits;
pub mod bm25;
pub mod dense;
pub mod element;
pub mod error;
pub mod filter;
pub mod fuse;
pub mod hnsw;
pub mod isa;
pub mod ivf;
pub mod metric;
pub mod prefetch;
pub mod quantize;
pub mod sparse;
pub mod stats;
mod text;
pub mod wire;
pub mod workers;

pub use element::Element;
pub use error::Error;
pub use metric::Metric;
