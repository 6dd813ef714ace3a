//! Functions that SQL calls, by topic, each a few lines into `leanstack_core`.

#![allow(unsafe_code)]

mod aggregates;
mod bits;
mod dense;
mod features;
mod indexes;
mod models;
mod quantize;
mod runs;
mod search;
mod sparse;
mod vectors;
