//! Pinned and locked buffers. The names are the contract; see `src/backend/storage/buffer/README` of PostgreSQL.
//!
//! A guard lives on the stack between two lines that one can see. While a PostgreSQL error unwinds, guards touch
//! nothing: the transaction's abort frees locks and pins.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::page::Page;
use super::raw::{self, Recent};

/// Where a buffer's page lies in memory.
///
/// # Safety
/// The caller holds a pin on `buffer`.
#[inline(always)]
pub unsafe fn page_of(buffer: pg_sys::Buffer) -> *mut Page {
    // SAFETY: the caller's pin keeps the buffer valid; this is BufferGetBlock of bufmgr.h.
    unsafe {
        if buffer > 0 {
            pg_sys::BufferBlocks.add((buffer as usize - 1) * pg_sys::BLCKSZ as usize).cast()
        } else {
            (*pg_sys::LocalBufferBlockPointers.add((-buffer - 1) as usize)).cast()
        }
    }
}

/// Raises an error for the number that means "no page": to PostgreSQL it would mean "a new page".
fn require(block: u32) {
    if block == pg_sys::InvalidBlockNumber {
        ereport!(ERROR, PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED, "an index leads to no page");
    }
}

/// A page, pinned and share-locked.
pub struct ReadGuard {
    buffer: pg_sys::Buffer,
}

impl ReadGuard {
    /// Reads `block` of `relation`.
    ///
    /// # Safety
    /// `relation` is open and locked, and no lock held by this backend is on the same page.
    pub unsafe fn new(relation: pg_sys::Relation, block: u32) -> ReadGuard {
        require(block);
        raw::count_page();
        // SAFETY: as the caller promises.
        unsafe {
            let buffer = pg_sys::ReadBuffer(relation, block);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            ReadGuard { buffer }
        }
    }

    /// As [`ReadGuard::new`], by a guess at the buffer.
    ///
    /// # Safety
    /// As for [`ReadGuard::new`]; the guesses are of this index.
    pub unsafe fn guessed(relation: pg_sys::Relation, block: u32, recent: &Recent) -> ReadGuard {
        require(block);
        // SAFETY: as the caller promises.
        ReadGuard { buffer: unsafe { recent.read(relation, block) } }
    }

    /// As [`ReadGuard::guessed`], and another page that the first one leads to: `next` is given the first and says which,
    /// if any. The second is not locked if there is no guess at it.
    ///
    /// # Safety
    /// As for [`ReadGuard::guessed`]; the second page comes later in the lock order of the access method. `next` raises no
    /// error, and owns nothing while it runs.
    #[inline]
    pub unsafe fn guessed_pair(
        relation: pg_sys::Relation,
        block: u32,
        recent: &Recent,
        next: impl FnOnce(&Page) -> Option<u32>,
    ) -> (ReadGuard, Option<ReadGuard>) {
        require(block);
        // SAFETY: as the caller promises.
        let (first, second) = unsafe { recent.read_pair(relation, block, next) };
        (ReadGuard { buffer: first }, second.map(|buffer| ReadGuard { buffer }))
    }

    /// The page.
    pub fn page(&self) -> &Page {
        // SAFETY: the guard holds the pin and the share lock, so the page stays and nobody writes it.
        unsafe { &*page_of(self.buffer) }
    }
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: pinned and locked when made, and owned by this guard. The server raises an error here only for a
        // buffer that is not, so the call needs no guard of its own; scans make thousands of them a second.
        unsafe { super::raw::UnlockReleaseBuffer(self.buffer) }
    }
}

/// A page, pinned and locked exclusively. Changed through a [`super::WalTxn`] only.
pub struct WriteGuard {
    buffer: pg_sys::Buffer,
    block: u32,
}

impl WriteGuard {
    /// Reads `block` of `relation` and waits for its lock.
    ///
    /// # Safety
    /// As for [`ReadGuard::new`]; further, the caller keeps to the lock order of its access method.
    pub unsafe fn new(relation: pg_sys::Relation, block: u32) -> WriteGuard {
        require(block);
        // SAFETY: as the caller promises.
        unsafe {
            let buffer = pg_sys::ReadBuffer(relation, block);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
            WriteGuard { buffer, block }
        }
    }

    /// As [`WriteGuard::new`], but gives up where the lock is not free.
    ///
    /// # Safety
    /// `relation` is open and locked.
    pub unsafe fn try_new(relation: pg_sys::Relation, block: u32) -> Option<WriteGuard> {
        // SAFETY: as the caller promises.
        unsafe {
            let buffer = pg_sys::ReadBuffer(relation, block);
            if pg_sys::ConditionalLockBuffer(buffer) {
                Some(WriteGuard { buffer, block })
            } else {
                pg_sys::ReleaseBuffer(buffer);
                None
            }
        }
    }

    /// Adds a page to the end of a fork of `relation`. It is all zero.
    ///
    /// # Safety
    /// `relation` is open and locked. The new page's lock is waited for, but nobody else can know the page.
    pub unsafe fn extend(relation: pg_sys::Relation, fork: pg_sys::ForkNumber::Type) -> WriteGuard {
        // SAFETY: as the caller promises; the extension lock is held only for the extension itself.
        let guard = unsafe {
            let local = (*(*relation).rd_rel).relpersistence == pg_sys::RELPERSISTENCE_TEMP as i8;
            if !local {
                pg_sys::LockRelationForExtension(relation, pg_sys::ExclusiveLock as i32);
            }
            let buffer = pg_sys::ReadBufferExtended(
                relation,
                fork,
                pg_sys::InvalidBlockNumber,
                pg_sys::ReadBufferMode::RBM_NORMAL,
                std::ptr::null_mut(),
            );
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
            if !local {
                pg_sys::UnlockRelationForExtension(relation, pg_sys::ExclusiveLock as i32);
            }
            WriteGuard { buffer, block: pg_sys::BufferGetBlockNumber(buffer) }
        };
        // The page was there before it was locked: after a crash the free space map may have led somebody to it.
        if guard.page().iter().any(|&byte| byte != 0) {
            drop(guard);
            // SAFETY: as the caller promises.
            return unsafe { WriteGuard::extend(relation, fork) };
        }
        guard
    }

    /// The page as it is, without the changes of an uncommitted [`super::WalTxn`].
    pub fn page(&self) -> &Page {
        // SAFETY: the guard holds the pin and the lock.
        unsafe { &*page_of(self.buffer) }
    }

    /// The page's number.
    pub fn block(&self) -> u32 {
        self.block
    }

    pub(super) fn buffer(&self) -> pg_sys::Buffer {
        self.buffer
    }
}

impl Drop for WriteGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: pinned and locked when made, and owned by this guard.
        unsafe { pg_sys::UnlockReleaseBuffer(self.buffer) }
    }
}
