//! Entries of lists, locked to be changed.

use pgrx::pg_sys;

use super::index::Opened;
use super::page::Entry;
use crate::storage::{WalTxn, WriteGuard, corrupt};

/// An entry whose page is locked.
pub struct LockedEntry {
    guard: WriteGuard,
    place: usize,
    /// The entry as it is, to be changed and then written.
    pub entry: Entry,
}

impl LockedEntry {
    /// Locks the entry of `list`.
    ///
    /// # Safety
    /// `relation` is the open index. The caller holds no lock on a page of entries or on the metapage.
    pub unsafe fn new(relation: pg_sys::Relation, opened: &Opened, list: u32) -> LockedEntry {
        let (block, place) = opened.entry_place(relation, list);
        // SAFETY: as the caller promises.
        let guard = unsafe { WriteGuard::new(relation, block) };
        match Entry::read(guard.page(), place) {
            Some(entry) => LockedEntry { guard, place, entry },
            None => corrupt(relation, block, "not a page of lists"),
        }
    }

    /// Makes the entry's page part of a record, with the entry as it is now.
    pub fn write<'g>(&'g self, txn: &mut WalTxn<'g>) {
        self.entry.write(txn.page(&self.guard), self.place);
    }

    /// Writes the entry in a record of its own.
    ///
    /// # Safety
    /// `relation` is the open index that the entry is of.
    pub unsafe fn commit(&self, relation: pg_sys::Relation) {
        // SAFETY: as the caller promises.
        let mut txn = unsafe { WalTxn::new(relation, false) };
        self.write(&mut txn);
        txn.commit();
    }
}
