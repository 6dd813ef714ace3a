//! The vector types as PostgreSQL sees them: datums in, datums out. Uses `leanstack_core` only.
//!
//! The plumbing is written once: `varlena` owns memory, `value` knows the layouts, `call` turns
//! generic Rust functions into SQL functions.

#![allow(unsafe_code)]

pub mod array;
pub mod call;
pub mod text;
pub mod value;
pub mod varlena;
pub mod vector;
