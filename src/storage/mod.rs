//! Pages, locks, write-ahead log, free space. Knows blocks and bytes; knows no graph and no vector.
#![allow(unsafe_code)]

pub mod buffer;
pub mod cells;
pub mod fresh;
pub mod page;
pub mod raw;
pub mod space;
mod temp;
mod tid;
pub mod wal;

use pgrx::{PgSqlErrorCode, pg_sys};

pub use buffer::{ReadGuard, WriteGuard};
pub use temp::TempFile;
pub use tid::Tid;
pub use wal::WalTxn;

/// Raises "damaged index" for a page.
#[cold]
pub fn corrupt(relation: pg_sys::Relation, block: u32, what: &str) -> ! {
    // SAFETY: every caller holds the relation open.
    let name = unsafe { std::ffi::CStr::from_ptr((*(*relation).rd_rel).relname.data.as_ptr()) };
    let name = name.to_string_lossy().into_owned();
    crate::error::fail(
        PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED,
        format!("index \"{name}\" is damaged at block {block}: {what}"),
        "Rebuild it with REINDEX INDEX CONCURRENTLY and look for the cause in the storage.",
    );
}
