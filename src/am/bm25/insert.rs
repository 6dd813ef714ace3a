//! Insertion: a document goes to the end of the write buffer. Who finds the buffer full makes a segment of it.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::buffer;
use super::maintain;
use super::meta::{Meta, locked};
use super::page::{
    META_BLOCK, NONE, add_entry, has_room, init_buffer_page, is_buffer_page, is_sealed,
    next_in_buffer, set_next_in_buffer,
};
use super::space;
use super::words::{Bag, Reader};
use crate::am::heap;
use crate::storage::page::Page;
use crate::storage::{ReadGuard, WalTxn, WriteGuard, corrupt};

/// Pages of the write buffer from which it becomes a segment. Every query reads the whole buffer.
pub const BUFFER_PAGES: u32 = 32;

/// Inserts a row.
#[pg_guard]
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C-unwind" fn aminsert(
    relation: pg_sys::Relation,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    row: pg_sys::ItemPointer,
    _heap: pg_sys::Relation,
    _check_unique: pg_sys::IndexUniqueCheck::Type,
    _index_unchanged: bool,
    _index_info: *mut pg_sys::IndexInfo,
) -> bool {
    // SAFETY: the server passes the open index, one value, and the row's address.
    unsafe {
        if *isnull {
            return false;
        }
        let meta = Meta::load(relation);
        let Some(mut reader) = Reader::new(&meta) else {
            corrupt(relation, META_BLOCK, "the metapage contradicts itself")
        };
        let mut bag = Bag::default();
        reader.read(*values, &mut bag);
        reader.free();
        if append(relation, &buffer::encode(heap::tid(row), &bag)) >= BUFFER_PAGES {
            maintain::after_insert(relation);
        }
    }
    false
}

/// Whether a page is the last one of a buffer that takes documents.
fn is_tail(page: &Page, stamp: u32) -> bool {
    is_buffer_page(page, stamp) && !is_sealed(page) && next_in_buffer(page) == NONE
}

/// Adds the entries of a document to the buffer. Gives how many pages that has.
unsafe fn append(relation: pg_sys::Relation, entries: &[Vec<u8>]) -> u32 {
    // SAFETY: the caller has the index open and locked, and none of its pages. Locks are taken in the order metapage, last
    // page, new page.
    unsafe {
        if let [entry] = entries {
            let meta = Meta::load(relation);
            let tail = WriteGuard::new(relation, meta.active.tail);
            if is_tail(tail.page(), meta.active.stamp) && has_room(tail.page(), entry.len()) {
                let mut txn = WalTxn::new(relation, false);
                add_entry(txn.page(&tail), entry);
                txn.commit();
                return meta.active.pages;
            }
        }
        // The metapage stays locked, so that all entries come into one buffer, and none of another such document between.
        let first = WriteGuard::new(relation, META_BLOCK);
        entries.iter().fold(0, |_, entry| append_entry(relation, &first, entry))
    }
}

/// Adds an entry to the buffer, with the metapage locked.
unsafe fn append_entry(relation: pg_sys::Relation, first: &WriteGuard, entry: &[u8]) -> u32 {
    // SAFETY: as for `append`.
    unsafe {
        let mut meta = locked(relation, first);
        // Whoever changes what the last page is has the metapage locked.
        let tail = WriteGuard::new(relation, meta.active.tail);
        if !is_tail(tail.page(), meta.active.stamp) {
            corrupt(relation, meta.active.tail, "not the last page of the write buffer");
        }
        if has_room(tail.page(), entry.len()) {
            let mut txn = WalTxn::new(relation, false);
            add_entry(txn.page(&tail), entry);
            txn.commit();
            return meta.active.pages;
        }
        let new = space::take(relation);
        meta.active.tail = new.block();
        meta.active.pages += 1;
        let mut txn = WalTxn::new(relation, false);
        meta.write(txn.page(first));
        set_next_in_buffer(txn.page(&tail), new.block());
        let page = txn.new_page(&new);
        init_buffer_page(page, meta.active.stamp);
        add_entry(page, entry);
        txn.commit();
        meta.active.pages
    }
}

/// Whether the page that takes documents has any, or is not the only one.
///
/// # Safety
/// `relation` is an open and locked `bm25` index, and this backend has no lock on its pages.
pub unsafe fn has_documents(relation: pg_sys::Relation, meta: &Meta) -> bool {
    if meta.active.pages > 1 {
        return true;
    }
    // SAFETY: as the caller promises.
    let guard = unsafe { ReadGuard::new(relation, meta.active.head) };
    !super::page::entries(guard.page()).is_empty()
}
