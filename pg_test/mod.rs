//! The tests that run inside a server.

mod candidates;
mod features;
mod features_asof;
mod hnsw;
mod ivf;
mod ivf_build;
mod pages;
mod quantize;
mod recall;
mod scans;
mod search;
mod types;

/// Called by pgrx before the first test.
pub fn setup(_options: Vec<&str>) {}

/// Settings of the test server.
pub fn postgresql_conf_options() -> Vec<&'static str> {
    vec![]
}
