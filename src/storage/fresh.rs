//! The pages of an index under construction, which nobody else sees: written unlogged, then logged all at once.

use pgrx::pg_sys;

use super::page::Page;
use super::{WalTxn, WriteGuard};

/// Adds a page and gives its block. Not logged here.
///
/// # Safety
/// `index` is open and nobody else sees it.
pub unsafe fn add_page(
    index: pg_sys::Relation,
    fork: pg_sys::ForkNumber::Type,
    fill: impl FnOnce(&mut Page),
) -> u32 {
    // SAFETY: as the caller promises.
    unsafe {
        let guard = WriteGuard::extend(index, fork);
        let mut txn = WalTxn::new(index, true);
        fill(txn.new_page(&guard));
        txn.commit();
        guard.block()
    }
}

/// Logs all pages of a fork, where the index is one that is logged.
///
/// # Safety
/// As for [`add_page`]; all pages are written.
pub unsafe fn log_whole(index: pg_sys::Relation, fork: pg_sys::ForkNumber::Type) {
    // SAFETY: as the caller promises.
    unsafe {
        let permanent = (*(*index).rd_rel).relpersistence == pg_sys::RELPERSISTENCE_PERMANENT as i8;
        let needed = permanent
            && (pg_sys::wal_level >= pg_sys::WalLevel::WAL_LEVEL_REPLICA as i32
                || !wal_skipped(index));
        if needed || fork == pg_sys::ForkNumber::INIT_FORKNUM {
            let blocks = pg_sys::RelationGetNumberOfBlocksInFork(index, fork);
            pg_sys::log_newpage_range(index, fork, 0, blocks, true);
        }
    }
}

/// Whether the relation was made in this transaction, so that with `wal_level = minimal` it is synced at commit.
unsafe fn wal_skipped(index: pg_sys::Relation) -> bool {
    // SAFETY: the caller holds the index open. The rest of the macro RelationNeedsWAL.
    unsafe {
        // 0 is InvalidSubTransactionId.
        let created = (*index).rd_createSubid != 0;
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let renewed = (*index).rd_firstRelfilenodeSubid != 0;
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let renewed = (*index).rd_firstRelfilelocatorSubid != 0;
        created || renewed
    }
}
