//! Pins and locks for the loops that read thousands of pages a second: server functions without a guard of their own,
//! called inside one guard for many, and pins by a guess at the buffer.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use super::buffer::page_of;
use super::corrupt;
use super::page::{CONTENT_BYTES, HEADER_BYTES, PAGE_BYTES, Page};

/// The server functions. All but the last two are called inside `pg_guard_ffi_boundary`, with frames in between that own
/// nothing; those raise an error only for a buffer that is not pinned, or not locked.
mod server {
    use pgrx::pg_sys::{Buffer, Relation};
    #[allow(clashing_extern_declarations)]
    unsafe extern "C-unwind" {
        pub fn ReadBuffer(relation: Relation, block: u32) -> Buffer;
        pub fn LockBuffer(buffer: Buffer, mode: i32);
        pub fn ReleaseBuffer(buffer: Buffer);
        pub fn UnlockReleaseBuffer(buffer: Buffer);
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        pub fn ReadRecentBuffer(
            relation: pgrx::pg_sys::RelFileNode,
            fork: i32,
            block: u32,
            guess: Buffer,
        ) -> bool;
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        pub fn ReadRecentBuffer(
            relation: pgrx::pg_sys::RelFileLocator,
            fork: i32,
            block: u32,
            guess: Buffer,
        ) -> bool;
    }
}

pub use server::{LockBuffer, ReleaseBuffer, UnlockReleaseBuffer};

/// Pages to pin at a time, at most: below the eight pins that a backend keeps in its fast array.
pub const PINNED: usize = 6;

/// Of so many reads of a page, one goes the long way, by which PostgreSQL learns that the page is in use. A guessed
/// buffer is pinned without that.
const LONG_WAY: u64 = 16;

/// Pages read by this backend. Only one thread writes it: the one that may call PostgreSQL.
static PAGES: AtomicU64 = AtomicU64::new(0);

/// How many pages of our indexes this backend has read for scans and the like.
pub fn pages_read() -> u64 {
    PAGES.load(Ordering::Relaxed)
}

/// Counts a page: a plain addition, no locked one. Gives the sum.
#[inline(always)]
pub(super) fn count_page() -> u64 {
    let pages = pages_read().wrapping_add(1);
    PAGES.store(pages, Ordering::Relaxed);
    pages
}

/// Pins `block`, in the buffer where it was seen last if it still is there.
///
/// # Safety
/// Called inside a guard; the relation is open; `recent` holds a guess for `block`, 0 being none.
#[inline(always)]
pub unsafe fn pin(
    relation: pg_sys::Relation,
    block: u32,
    recent: &mut [pg_sys::Buffer],
) -> pg_sys::Buffer {
    let guess = &mut recent[block as usize];
    let reads = count_page();
    // SAFETY: as the caller promises. A wrong guess is found out under the buffer's own lock.
    unsafe {
        // Early releases of 14 looked for a guess at a temporary table's buffer among the shared ones.
        if *guess > 0 && !reads.is_multiple_of(LONG_WAY) {
            #[cfg(any(feature = "pg14", feature = "pg15"))]
            let file = (*relation).rd_node;
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            let file = (*relation).rd_locator;
            if server::ReadRecentBuffer(file, pg_sys::ForkNumber::MAIN_FORKNUM, block, *guess) {
                if let Some(stats) = (*relation).pgstat_info.as_mut() {
                    #[cfg(any(feature = "pg14", feature = "pg15"))]
                    {
                        stats.t_counts.t_blocks_fetched += 1;
                        stats.t_counts.t_blocks_hit += 1;
                    }
                    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
                    {
                        stats.counts.blocks_fetched += 1;
                        stats.counts.blocks_hit += 1;
                    }
                }
                return *guess;
            }
        }
        *guess = server::ReadBuffer(relation, block);
        *guess
    }
}

/// Makes room in `recent` for a guess for `block`; raises an error for a block past the end of the relation.
///
/// # Safety
/// `relation` is open.
#[inline(always)]
pub unsafe fn make_room(relation: pg_sys::Relation, recent: &mut Vec<pg_sys::Buffer>, block: u32) {
    if recent.len() <= block as usize {
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        // SAFETY: as the caller promises.
        let blocks = unsafe { pg_sys::RelationGetNumberOfBlocksInFork(relation, main) } as usize;
        if blocks <= block as usize {
            corrupt(relation, block, "a link leads past the end");
        }
        recent.resize(blocks, 0);
    }
}

/// For each block of an index the buffer where it was seen last, kept by a backend from scan to scan.
#[derive(Default)]
pub struct Recent(RefCell<Vec<pg_sys::Buffer>>);

impl Recent {
    /// Pins `block` and locks it for reading.
    ///
    /// # Safety
    /// `relation` is open, and no lock held by this backend is on the same page.
    pub(super) unsafe fn read(&self, relation: pg_sys::Relation, block: u32) -> pg_sys::Buffer {
        // SAFETY: as the caller promises.
        unsafe { self.read_pair(relation, block, |_| None) }.0
    }

    /// As [`Recent::read`], and likewise a page that the first one leads to, if there is a guess at it.
    ///
    /// # Safety
    /// As for [`Recent::read`], for both pages. `next` raises no error and owns nothing while it runs.
    #[inline]
    pub(super) unsafe fn read_pair(
        &self,
        relation: pg_sys::Relation,
        block: u32,
        next: impl FnOnce(&Page) -> Option<u32>,
    ) -> (pg_sys::Buffer, Option<pg_sys::Buffer>) {
        let mut buffers = self.0.borrow_mut();
        // SAFETY: as the caller promises; one guard around calls with nothing in between that owns memory.
        unsafe {
            make_room(relation, &mut buffers, block);
            let buffers = &mut buffers[..];
            let known = buffers.len();
            pg_guard_ffi_boundary(|| {
                let mut lock = |block| {
                    let buffer = pin(relation, block, buffers);
                    LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
                    buffer
                };
                let first = lock(block);
                let second = next(&*page_of(first)).filter(|&at| (at as usize) < known);
                (first, second.map(lock))
            })
        }
    }

    /// Has the processor fetch what reading `bytes` of `block`'s content will touch, if there is a guess at its buffer.
    #[inline]
    pub fn prefetch(&self, block: u32, bytes: Range<usize>) {
        let Some(page) = self.guess(block) else { return };
        // SAFETY: an address in a page, of which nothing is read.
        unsafe {
            prefetch(page.add(PAGE_BYTES - 1));
            for line in (HEADER_BYTES + bytes.start..HEADER_BYTES + bytes.end).step_by(LINE) {
                prefetch(page.add(line.min(PAGE_BYTES - 1)));
            }
        }
    }

    /// What is in four bytes of `block`'s content now, which may be anything: nobody keeps the page from changing. For
    /// guesses at what to prefetch next.
    #[inline]
    pub fn peek(&self, block: u32, at: usize) -> Option<u32> {
        debug_assert!(at.is_multiple_of(4) && at + 4 <= CONTENT_BYTES, "a number within the page");
        let page = self.guess(block)?;
        // SAFETY: an aligned number in shared memory, which stays mapped; volatile, since others may write it.
        Some(unsafe { page.add(HEADER_BYTES + at).cast::<u32>().read_volatile() })
    }

    /// Where `block` lay in shared memory when it was read last.
    #[inline]
    fn guess(&self, block: u32) -> Option<*const u8> {
        let buffer = *self.0.borrow().get(block as usize)?;
        if buffer <= 0 {
            return None;
        }
        // SAFETY: the number was that of a shared buffer once, and the pool stays where it is. The address is all that
        // is computed.
        unsafe {
            prefetch(pg_sys::BufferDescriptors.add(buffer as usize - 1).cast());
            Some(page_of(buffer).cast())
        }
    }
}

/// Bytes that the processor fetches at a time.
const LINE: usize = 64;

/// Has the processor fetch what is at an address, which need not be valid.
#[inline(always)]
fn prefetch(_at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; it reads nothing and cannot fault.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(_at.cast());
    }
}
