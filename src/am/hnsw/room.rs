//! Room for new nodes and cells: pages of nodes through the free space map, pages of cells through a list that begins
//! at the metapage.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::index::{self, IndexInfo};
use super::page::{self, AUX_SLOTS, Kind, META_BLOCK, Meta};
use crate::storage::page::Page;
use crate::storage::{WalTxn, WriteGuard, cells, corrupt, space};

/// Finds room in an index.
pub struct Room<'a> {
    relation: pg_sys::Relation,
    heap: pg_sys::Relation,
    info: &'a IndexInfo,
    build: bool,
}

impl<'a> Room<'a> {
    /// With `build`, nobody else sees the index, and nothing is logged.
    ///
    /// # Safety
    /// The relations are open, stay open for `'a`, and `info` describes `relation`.
    pub unsafe fn new(
        relation: pg_sys::Relation,
        heap: pg_sys::Relation,
        info: &'a IndexInfo,
        build: bool,
    ) -> Room<'a> {
        Room { relation, heap, info, build }
    }

    /// Whether the freed slots of a page may be used: no scan that could still follow a link to them is running.
    pub fn is_reusable(&self, page: &Page) -> bool {
        // SAFETY: the heap is open.
        unsafe { space::is_reusable(self.heap, page) }
    }

    /// Whether a page has a slot for a node with a code of `code_bytes`.
    pub fn has_slot(&self, page: &Page, code_bytes: usize) -> bool {
        page::is_kind(page, Kind::Node)
            && self.info.layout.has_slot(page, code_bytes, self.is_reusable(page))
    }

    /// A page of nodes that may have room.
    pub fn some_page(&self, code_bytes: usize) -> u32 {
        let bytes = self.info.layout.node_bytes(code_bytes);
        // SAFETY: the relation is open.
        unsafe {
            space::last_used(self.relation)
                .or_else(|| space::find(self.relation, bytes))
                .unwrap_or_else(|| self.new_page())
        }
    }

    /// Another page, after `block` turned out to have no room.
    pub fn page_is_full(&self, block: u32, code_bytes: usize) -> u32 {
        let bytes = self.info.layout.node_bytes(code_bytes);
        // SAFETY: the relation is open.
        unsafe {
            let other = space::find_other(self.relation, block, 0, bytes);
            let other = other.unwrap_or_else(|| self.new_page());
            space::set_last_used(self.relation, other);
            other
        }
    }

    /// Adds an empty page of nodes. Nothing leads to it, so that a crash loses nothing but its space.
    unsafe fn new_page(&self) -> u32 {
        // SAFETY: the relation is open; the page is the only one locked.
        unsafe {
            let guard = WriteGuard::extend(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM);
            let block = guard.block();
            if !self.info.layout.has_numbers(block) {
                ereport!(
                    ERROR,
                    PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                    format!(
                        "hnsw index cannot have nodes on block {block}: node numbers are used up"
                    )
                );
            }
            let mut txn = WalTxn::new(self.relation, self.build);
            self.info.layout.init(txn.new_page(&guard));
            txn.commit();
            let free_bytes = self.info.layout.free_bytes(guard.page());
            drop(guard);
            if !self.build {
                space::offer(self.relation, block, free_bytes);
            }
            block
        }
    }

    /// A page with room for a node's links above the ground, locked; nothing for a node on the ground.
    ///
    /// # Safety
    /// The caller holds pages of nodes at most.
    pub unsafe fn upper_page(&self, level: u8) -> Option<WriteGuard> {
        let bytes = page::aux::upper_bytes(self.info.layout.m(), level);
        // SAFETY: the caller holds pages of nodes at most.
        (level > 0).then(|| unsafe { self.aux_page_with_room(bytes) })
    }

    /// A page with room for a cell, locked. Pages with room are on a list that begins at the metapage.
    ///
    /// # Safety
    /// The caller holds pages of nodes at most.
    pub unsafe fn aux_page_with_room(&self, bytes: usize) -> WriteGuard {
        loop {
            // SAFETY: the caller holds pages of nodes at most; pages of cells and the metapage come after them.
            unsafe {
                let head = index::read_meta(self.relation).aux_head;
                if head == cells::NO_BLOCK {
                    self.new_aux_page();
                    continue;
                }
                let guard = WriteGuard::new(self.relation, head);
                if !page::is_kind(guard.page(), Kind::Aux) {
                    corrupt(self.relation, head, "the list of pages of cells leads elsewhere");
                }
                if cells::has_room(guard.page(), bytes) {
                    return guard;
                }
                self.unlist(&guard);
            }
        }
    }

    /// Takes a page without room off the list, if it is the first.
    unsafe fn unlist(&self, aux_page: &WriteGuard) {
        // SAFETY: the metapage comes last in the lock order.
        unsafe {
            let meta_page = WriteGuard::new(self.relation, META_BLOCK);
            let Some(mut meta) = Meta::read(meta_page.page()) else { return };
            if meta.aux_head != aux_page.block() {
                return;
            }
            let mut txn = WalTxn::new(self.relation, self.build);
            let image = txn.page(aux_page);
            meta.aux_head = cells::next(image);
            cells::set_next(image, cells::NO_BLOCK);
            cells::set_listed(image, false);
            meta.write(txn.page(&meta_page));
            txn.commit();
        }
    }

    unsafe fn new_aux_page(&self) {
        // SAFETY: nobody else can know the new page; the metapage comes last in the lock order.
        unsafe {
            let guard = WriteGuard::extend(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM);
            let meta_page = WriteGuard::new(self.relation, META_BLOCK);
            let Some(mut meta) = Meta::read(meta_page.page()) else { return };
            let mut txn = WalTxn::new(self.relation, self.build);
            let image = txn.new_page(&guard);
            page::init_page(image, Kind::Aux, cells::empty_bytes(AUX_SLOTS));
            cells::init(image, AUX_SLOTS);
            cells::set_next(image, meta.aux_head);
            cells::set_listed(image, true);
            meta.aux_head = guard.block();
            meta.write(txn.page(&meta_page));
            txn.commit();
        }
    }
}
