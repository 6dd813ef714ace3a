//! The access methods, and what they share.
#![allow(unsafe_code)]

pub mod heap;
pub mod hnsw;
