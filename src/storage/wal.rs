//! Changes to pages, logged as one generic WAL record: all of them reach the disk, or none.

use std::marker::PhantomData;

use pgrx::pg_sys;

use super::buffer::{WriteGuard, page_of};
use super::page::Page;

/// A set of page changes in the making. [`WalTxn::commit`] applies and logs them; dropping undoes them.
///
/// It borrows its guards, so that no page is unlocked before the record is written.
pub struct WalTxn<'g> {
    state: *mut pg_sys::GenericXLogState,
    direct: Vec<pg_sys::Buffer>,
    guards: PhantomData<&'g WriteGuard>,
}

impl<'g> WalTxn<'g> {
    /// Starts a record for pages of `relation`. With `build`, pages are changed in place and not logged: for an index
    /// that nobody sees yet and that is logged as a whole when it is done.
    ///
    /// # Safety
    /// `relation` is open and locked.
    pub unsafe fn new(relation: pg_sys::Relation, build: bool) -> WalTxn<'g> {
        let state = if build {
            std::ptr::null_mut()
        } else {
            // SAFETY: as the caller promises.
            unsafe { pg_sys::GenericXLogStart(relation) }
        };
        WalTxn { state, direct: Vec::new(), guards: PhantomData }
    }

    /// The page of `guard`, to change. Each guard at most once, at most `MAX_GENERIC_XLOG_PAGES` in all, and in the
    /// lock order of the access method: recovery locks the pages of a record in the order of these calls and holds
    /// them together, while scans of a standby lock the same pages.
    // The guard stands for the lock; the page is the server's memory, or a copy of it.
    #[allow(clippy::mut_from_ref)]
    pub fn page(&mut self, guard: &'g WriteGuard) -> &'g mut Page {
        if self.state.is_null() {
            self.direct.push(guard.buffer());
            // SAFETY: the guard holds the lock for 'g, and nobody else reads an index under construction.
            return unsafe { &mut *page_of(guard.buffer()) };
        }
        // SAFETY: the buffer is locked exclusively. The image lives until the record is finished or aborted, and
        // `commit` and `drop` take the transaction away; GenericXLog itself refuses a fifth page.
        unsafe {
            &mut *pg_sys::GenericXLogRegisterBuffer(self.state, guard.buffer(), 0).cast::<Page>()
        }
    }

    /// As [`WalTxn::page`], for a page that is written anew: logged whole.
    #[allow(clippy::mut_from_ref)]
    pub fn new_page(&mut self, guard: &'g WriteGuard) -> &'g mut Page {
        if self.state.is_null() {
            return self.page(guard);
        }
        // SAFETY: as in `page`.
        unsafe {
            &mut *pg_sys::GenericXLogRegisterBuffer(
                self.state,
                guard.buffer(),
                pg_sys::GENERIC_XLOG_FULL_IMAGE as i32,
            )
            .cast::<Page>()
        }
    }

    /// Applies the changes and writes the record.
    pub fn commit(mut self) {
        // SAFETY: the state is ours and is given up here; direct pages are pinned and locked by their guards.
        unsafe {
            if self.state.is_null() {
                for &buffer in &self.direct {
                    pg_sys::MarkBufferDirty(buffer);
                }
            } else {
                let state = std::mem::replace(&mut self.state, std::ptr::null_mut());
                pg_sys::GenericXLogFinish(state);
            }
        }
    }
}

impl Drop for WalTxn<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() || self.state.is_null() {
            return;
        }
        // SAFETY: the state is ours and not finished.
        unsafe { pg_sys::GenericXLogAbort(self.state) }
    }
}
