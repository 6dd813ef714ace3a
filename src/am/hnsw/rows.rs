//! The rows of a node: the first in the node itself, the rest in a chain of cells on aux pages. Adding one, and what
//! vacuum does to the chain.

use leanstack_core::hnsw::NodeId;
use leanstack_core::quantize::Factors;

use super::graph::Chain;
use super::insert::{Inserter, NewNode};
use super::page::{self, AuxKind, AuxPtr, Kind, META_BLOCK, Meta};
use super::vacuum::Vacuum;
use crate::storage::page::Page;
use crate::storage::{ReadGuard, Tid, WalTxn, WriteGuard, cells, corrupt};

/// Rows of the first cell of a chain, and of the largest.
const CELL_ROWS: std::ops::RangeInclusive<usize> = 8..=600;

impl Inserter<'_> {
    /// Adds a row to a node, if the node has rows and the very same code.
    pub(super) unsafe fn add_row(&mut self, id: NodeId, new: &NewNode) -> bool {
        let layout = &self.info.layout;
        let (block, slot) = layout.place(id);
        loop {
            pgrx::check_for_interrupts!();
            // SAFETY: the relation is open; the node's page is locked before pages of cells.
            unsafe {
                let node_page = WriteGuard::new(self.relation, block);
                let Some(node) = layout.node(node_page.page(), slot) else { return false };
                let (old, new_factors) = (node.factors(), &new.code.factors);
                let same = node.has_rows()
                    && node.code() == new.code.bytes
                    && old.scale.to_bits() == new_factors.scale.to_bits()
                    && old.bias.to_bits() == new_factors.bias.to_bits();
                if !same {
                    return false;
                }
                let factors = Factors { error: old.error.max(new_factors.error), ..old };
                let owner = (id, node.version());
                let (head, upper) = self.chain_head(owner, node.aux());
                if self.add_to_cell(&node_page, slot, &factors, head, owner, new.tid) {
                    return true;
                }
                let rows =
                    self.chain_length(owner, head).clamp(*CELL_ROWS.start(), *CELL_ROWS.end());
                let bytes = page::aux::rows_bytes(rows);
                let cell_page = self.room.aux_page_with_room(bytes);
                let upper_page = match upper {
                    Some(upper) if upper.block != cell_page.block() => {
                        // The other page may be below this one in the lock order: do not wait for it.
                        match WriteGuard::try_new(self.relation, upper.block) {
                            Some(guard) => Some(guard),
                            None => continue,
                        }
                    }
                    _ => None,
                };
                let mut txn = WalTxn::new(self.relation, self.build);
                let node_image = txn.page(&node_page);
                let cell_image = txn.page(&cell_page);
                let Some(new_slot) = cells::add(cell_image, bytes) else { continue };
                let next = head.unwrap_or(AuxPtr::NONE);
                if let Some(cell) = cells::cell_mut(cell_image, new_slot) {
                    page::aux::init(cell, owner.0, owner.1, AuxKind::Rows, next);
                    page::aux::set_rows(cell, &[new.tid]);
                }
                let new_cell = AuxPtr { block: cell_page.block(), slot: new_slot };
                match (upper, &upper_page) {
                    (None, _) => self.node_mut(node_image, slot).set_aux(new_cell),
                    (Some(upper), None) => set_next(cell_image, upper.slot, new_cell),
                    (Some(upper), Some(guard)) => set_next(txn.page(guard), upper.slot, new_cell),
                }
                self.node_mut(node_image, slot).set_factors(&factors);
                txn.commit();
                return true;
            }
        }
    }

    /// Adds a row to the first cell of a chain if it has room. The node's page is locked.
    unsafe fn add_to_cell(
        &self,
        node_page: &WriteGuard,
        slot: u16,
        factors: &Factors,
        head: Option<AuxPtr>,
        owner: (NodeId, u16),
        tid: Tid,
    ) -> bool {
        let Some(head) = head else { return false };
        // SAFETY: the relation is open; pages of cells come after pages of nodes.
        unsafe {
            let cell_page = WriteGuard::new(self.relation, head.block);
            let Some(cell) = cells::cell(cell_page.page(), head.slot) else { return false };
            if page::aux::owner(cell) != owner
                || page::aux::row_count(cell) >= page::aux::row_capacity(cell)
            {
                return false;
            }
            let mut rows: Vec<Tid> = page::aux::rows(cell).collect();
            rows.push(tid);
            let mut txn = WalTxn::new(self.relation, self.build);
            self.node_mut(txn.page(node_page), slot).set_factors(factors);
            if let Some(cell) = cells::cell_mut(txn.page(&cell_page), head.slot) {
                page::aux::set_rows(cell, &rows);
            }
            txn.commit();
        }
        true
    }

    /// The first cell of rows of a node, and the cell of links before it if there is one. The node's page is locked.
    unsafe fn chain_head(
        &self,
        owner: (NodeId, u16),
        aux: AuxPtr,
    ) -> (Option<AuxPtr>, Option<AuxPtr>) {
        let mut chain = Chain::new(self.relation, self.info.layout.place(owner.0).0);
        let Some(aux) = chain.go(aux) else { return (None, None) };
        // SAFETY: the relation is open; pages of cells come after pages of nodes.
        let guard = unsafe { ReadGuard::new(self.relation, aux.block) };
        let cell = cells::cell(guard.page(), aux.slot).filter(|c| page::aux::owner(c) == owner);
        let Some(cell) = cell else {
            corrupt(self.relation, aux.block, "a node leads to a cell of another node");
        };
        match page::aux::kind(cell) {
            Some(AuxKind::Upper) => (chain.go(page::aux::next(cell)), Some(aux)),
            _ => (Some(aux), None),
        }
    }

    unsafe fn chain_length(&self, owner: (NodeId, u16), head: Option<AuxPtr>) -> usize {
        let mut rows = 0;
        // SAFETY: the caller holds the node's page and no page of cells.
        unsafe {
            let (layout, first) = (&self.info.layout, head.unwrap_or(AuxPtr::NONE));
            super::graph::for_each_row(self.relation, layout, owner, first, |_| rows += 1);
        }
        rows
    }
}

fn set_next(page: &mut Page, slot: u16, next: AuxPtr) {
    if let Some(cell) = cells::cell_mut(page, slot) {
        page::aux::set_next(cell, next);
    }
}

struct Cell {
    at: AuxPtr,
    kind: AuxKind,
    rows: Vec<Tid>,
}

impl Vacuum<'_> {
    /// Whether a node has cells of rows. Its page is locked.
    pub(super) unsafe fn has_chain(&self, owner: (NodeId, u16), aux: AuxPtr) -> bool {
        // SAFETY: pages of cells come after pages of nodes in the lock order.
        aux.is_some()
            && unsafe { self.cells_of(owner, aux) }.iter().any(|c| c.kind == AuxKind::Rows)
    }

    /// A node's cells. Its page is locked.
    unsafe fn cells_of(&self, owner: (NodeId, u16), first: AuxPtr) -> Vec<Cell> {
        let mut found = Vec::new();
        let mut chain = Chain::new(self.relation, self.info.layout.place(owner.0).0);
        let mut next = first;
        while let Some(at) = chain.go(next) {
            // SAFETY: pages of cells come after pages of nodes in the lock order.
            let guard = unsafe { ReadGuard::new(self.relation, at.block) };
            let cell = page::is_kind(guard.page(), Kind::Aux)
                .then(|| cells::cell(guard.page(), at.slot))
                .flatten()
                .filter(|cell| page::aux::owner(cell) == owner);
            let (Some(cell), Some(kind)) = (cell, cell.and_then(page::aux::kind)) else {
                corrupt(self.relation, at.block, "a node leads to a cell of another node");
            };
            found.push(Cell { at, kind, rows: page::aux::rows(cell).collect() });
            next = page::aux::next(cell);
        }
        found
    }

    /// Removes dead rows of a node with a chain, and the cells that are then empty.
    pub(super) unsafe fn remove_chained(
        &self,
        guard: &WriteGuard,
        slot: u16,
        is_dead: &dyn Fn(Tid) -> bool,
    ) -> (usize, usize) {
        let layout = &self.info.layout;
        let Some(node) = layout.node(guard.page(), slot) else { return (0, 0) };
        let owner = (layout.id(guard.block(), slot), node.version());
        // SAFETY: the node's page is locked; each page of cells is locked alone, after it.
        unsafe {
            let mut gone = 0;
            let mut first = node.tid();
            if first.is_some() && is_dead(first) {
                first = Tid::NONE;
                gone += 1;
            }
            let mut kept = usize::from(first.is_some());
            let mut previous = None;
            let all = self.cells_of(owner, node.aux());
            for (at, cell) in all.iter().enumerate() {
                let mut alive: Vec<Tid> =
                    cell.rows.iter().copied().filter(|&tid| !is_dead(tid)).collect();
                gone += cell.rows.len() - alive.len();
                kept += alive.len();
                let moved = if first.is_some() { None } else { alive.pop() };
                if let Some(tid) = moved {
                    first = tid;
                }
                if alive.is_empty() && cell.kind == AuxKind::Rows {
                    let next = all.get(at + 1).map_or(AuxPtr::NONE, |cell| cell.at);
                    self.unchain(guard, slot, moved, previous, cell.at, next);
                    continue;
                }
                previous = Some(cell.at);
                if alive.len() == cell.rows.len() {
                    continue;
                }
                let aux_page = WriteGuard::new(self.relation, cell.at.block);
                let mut txn = WalTxn::new(self.relation, false);
                // A row that moves to the node is on both pages of one record, so that it is never in neither.
                if let Some(tid) = moved
                    && let Some(mut node) = layout.node_mut(txn.page(guard), slot)
                {
                    node.set_tid(tid);
                }
                if let Some(bytes) = cells::cell_mut(txn.page(&aux_page), cell.at.slot) {
                    page::aux::set_rows(bytes, &alive);
                }
                txn.commit();
            }
            if !first.is_some() && node.tid().is_some() {
                let mut txn = WalTxn::new(self.relation, false);
                if let Some(mut node) = layout.node_mut(txn.page(guard), slot) {
                    node.set_tid(Tid::NONE);
                }
                txn.commit();
            }
            (gone, kept)
        }
    }

    /// Frees the cells of a dead node, one by one.
    pub(super) unsafe fn free_cells(&self, guard: &WriteGuard, slot: u16) {
        let layout = &self.info.layout;
        let Some(node) = layout.node(guard.page(), slot) else { return };
        let owner = (layout.id(guard.block(), slot), node.version());
        // SAFETY: the node's page is locked; pages of cells and the metapage come after it.
        unsafe {
            let all = self.cells_of(owner, node.aux());
            for (at, cell) in all.iter().enumerate() {
                let next = all.get(at + 1).map_or(AuxPtr::NONE, |cell| cell.at);
                self.unchain(guard, slot, None, None, cell.at, next);
            }
        }
    }

    /// Frees a cell, in one record with the pointer to it, which is in the cell `previous` or else in the node, and
    /// with the row that moves from it to the node.
    unsafe fn unchain(
        &self,
        guard: &WriteGuard,
        slot: u16,
        moved: Option<Tid>,
        previous: Option<AuxPtr>,
        cell: AuxPtr,
        next: AuxPtr,
    ) {
        let other = previous.map(|previous| previous.block).filter(|&block| block != cell.block);
        // SAFETY: the node's page is locked; pages of cells by rising block and the metapage come after it.
        unsafe {
            let lock = |block| WriteGuard::new(self.relation, block);
            let below = other.filter(|&block| block < cell.block).map(lock);
            let cell_page = lock(cell.block);
            let above = other.filter(|&block| block > cell.block).map(lock);
            let listed = cells::is_listed(cell_page.page());
            let meta_page = (!listed).then(|| lock(META_BLOCK));
            let mut txn = WalTxn::new(self.relation, false);
            // The node's page is part of the record even where it does not change: so a standby locks it, and no scan
            // is on its way along the chain.
            if let Some(mut node) = self.info.layout.node_mut(txn.page(guard), slot) {
                if let Some(tid) = moved {
                    node.set_tid(tid);
                }
                if previous.is_none() {
                    node.set_aux(next);
                }
            }
            let below = below.as_ref().map(|page| txn.page(page));
            let image = txn.page(&cell_page);
            let above = above.as_ref().map(|page| txn.page(page));
            if let Some(previous) = previous {
                let holder = below.or(above).unwrap_or(&mut *image);
                if let Some(cell) = cells::cell_mut(holder, previous.slot) {
                    page::aux::set_next(cell, next);
                }
            }
            cells::remove(image, cell.slot);
            if let Some(meta_page) = &meta_page
                && let Some(mut meta) = Meta::read(meta_page.page())
            {
                cells::set_next(image, meta.aux_head);
                cells::set_listed(image, true);
                meta.aux_head = cell.block;
                meta.write(txn.page(meta_page));
            }
            txn.commit();
        }
    }
}
