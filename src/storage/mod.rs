//! Pages, locks, write-ahead log, free space. Knows blocks and bytes; knows no graph and no vector.
#![allow(unsafe_code)]

pub mod buffer;
pub mod cells;
pub mod page;
pub mod space;
pub mod wal;

pub use buffer::{ReadGuard, WriteGuard};
pub use wal::WalTxn;
