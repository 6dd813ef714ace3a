//! The pages of a graph that was built in memory: where every node and cell goes, and writing them.

use leanstack_core::hnsw::{Built, Link, NodeId, page_order};
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::build::BuildState;
use super::index::{IndexInfo, MEAN_BYTES_PER_PAGE};
use super::page::{self, AUX_SLOTS, AuxKind, AuxPtr, Kind, META_BYTES, Meta, NO_NODE};
use crate::storage::page::{Page, content_mut};
use crate::storage::{Tid, cells, corrupt, fresh, space};

/// Rows in one cell of a chain.
const ROWS_PER_CELL: usize = 600;
/// Nodes put in order between two looks at whether the build was cancelled.
const INTERRUPT_EVERY: u32 = 4096;

impl BuildState {
    /// Writes all pages: the metapage, the mean, the nodes in page order, the aux pages.
    pub(super) unsafe fn write(&mut self, built: &Built) {
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        let rows = self.rows_by_node(built);
        let placed = Placed::new(built, &self.info, &self.meta, rows);
        if let (Some((entry, level)), Some(root)) = (built.entry(), built.root()) {
            self.meta.entry = placed.ids[entry as usize];
            self.meta.entry_level = level;
            self.meta.root = placed.ids[root as usize];
        }
        self.meta.aux_head = match placed.aux_pages.len() {
            0 => cells::NO_BLOCK,
            pages => placed.first_aux_block + pages as u32 - 1,
        };
        // SAFETY: as the caller promises.
        unsafe {
            write_meta(self.index, fork, &self.meta);
            for part in self.mean.chunks(MEAN_BYTES_PER_PAGE / 4) {
                fresh::add_page(self.index, fork, |page| {
                    page::init_page(page, Kind::Mean, part.len() * 4);
                    for (at, x) in part.iter().enumerate() {
                        content_mut(page)[at * 4..at * 4 + 4]
                            .copy_from_slice(&x.to_bits().to_ne_bytes());
                    }
                });
            }
            let last = placed.node_pages.len().saturating_sub(1);
            for (at, nodes) in placed.node_pages.iter().enumerate() {
                pgrx::check_for_interrupts!();
                let block = fresh::add_page(self.index, fork, |page| {
                    self.write_nodes(page, built, &placed, nodes);
                });
                if at == last {
                    space::set_last_used(self.index, block);
                }
            }
            for (at, cells) in placed.aux_pages.iter().enumerate() {
                let is_head = at + 1 == placed.aux_pages.len();
                fresh::add_page(self.index, fork, |page| {
                    self.write_aux(page, built, &placed, cells, is_head)
                });
            }
        }
    }

    fn rows_by_node(&mut self, built: &Built) -> Rows {
        self.more_rows.sort_unstable();
        let mut rows = Rows {
            first: std::mem::take(&mut self.first_rows),
            more: std::mem::take(&mut self.more_rows),
            start: Vec::with_capacity(built.len() + 1),
        };
        let mut at = 0;
        for node in 0..built.len() as NodeId {
            rows.start.push(at as u32);
            while at < rows.more.len() && rows.more[at].0 == node {
                at += 1;
            }
        }
        rows.start.push(at as u32);
        rows
    }

    fn write_nodes(&self, page: &mut Page, built: &Built, placed: &Placed, nodes: &[NodeId]) {
        let layout = &self.info.layout;
        let mut links = Vec::new();
        layout.init(page);
        for &node in nodes {
            let (code, factors) = built.code(node);
            let slot = layout.take_slot(page, code.len(), false);
            let Some(mut at) = slot.and_then(|slot| layout.node_mut(page, slot)) else {
                corrupt(self.index, 0, "a node does not fit where it was placed");
            };
            let aux = placed.aux_of[node as usize];
            at.set(built.level(node), placed.rows.first[node as usize], aux, &factors, code);
            placed.links(built, node, 0, &mut links);
            at.set_links(layout.m(), &links);
        }
    }

    fn write_aux(
        &self,
        page: &mut Page,
        built: &Built,
        placed: &Placed,
        aux_cells: &[AuxCell],
        is_head: bool,
    ) {
        let m = self.info.layout.m();
        let mut links = Vec::new();
        page::init_page(page, Kind::Aux, cells::empty_bytes(AUX_SLOTS));
        cells::init(page, AUX_SLOTS);
        cells::set_listed(page, is_head);
        for cell in aux_cells {
            let slot = cells::add(page, cell.bytes(built, m));
            let Some(bytes) = slot.and_then(|slot| cells::cell_mut(page, slot)) else {
                corrupt(self.index, 0, "a cell does not fit where it was placed");
            };
            let owner = placed.ids[cell.node as usize];
            // A node that was just written has version 1.
            page::aux::init(bytes, owner, 1, cell.kind(), cell.next);
            match &cell.rows {
                None => {
                    for level in 1..=built.level(cell.node) {
                        placed.links(built, cell.node, level, &mut links);
                        page::aux::set_links(bytes, m, level, &links);
                    }
                }
                Some(range) => {
                    let rows: Vec<Tid> =
                        placed.rows.more[range.clone()].iter().map(|(_, tid)| *tid).collect();
                    page::aux::set_rows(bytes, &rows);
                }
            }
        }
    }
}

/// Rows of the nodes: the first of each, and the rest in the order of the nodes.
struct Rows {
    first: Vec<Tid>,
    more: Vec<(NodeId, Tid)>,
    /// Where in `more` each node's rows begin; one more at the end.
    start: Vec<u32>,
}

/// A cell to be written to an aux page.
struct AuxCell {
    node: NodeId,
    next: AuxPtr,
    /// Rows of a chain; nothing: links of the levels from 1.
    rows: Option<std::ops::Range<usize>>,
}

impl AuxCell {
    fn kind(&self) -> AuxKind {
        if self.rows.is_some() { AuxKind::Rows } else { AuxKind::Upper }
    }

    fn bytes(&self, built: &Built, m: usize) -> usize {
        match &self.rows {
            Some(rows) => page::aux::rows_bytes(rows.len()),
            None => page::aux::upper_bytes(m, built.level(self.node)),
        }
    }
}

/// Where every node and cell goes.
struct Placed {
    /// The node number on pages of each node in memory.
    ids: Vec<NodeId>,
    node_pages: Vec<Vec<NodeId>>,
    aux_of: Vec<AuxPtr>,
    aux_pages: Vec<Vec<AuxCell>>,
    first_aux_block: u32,
    rows: Rows,
}

impl Placed {
    fn new(built: &Built, info: &IndexInfo, meta: &Meta, rows: Rows) -> Placed {
        let layout = &info.layout;
        let mut links = Vec::new();
        let per_page = usize::from(layout.slots());
        let mut calls = 0u32;
        let order = page_order(built.len(), per_page, |node, out| {
            calls = calls.wrapping_add(1);
            if calls.is_multiple_of(INTERRUPT_EVERY) {
                pgrx::check_for_interrupts!();
            }
            built.links(node, 0, &mut links);
            out.clear();
            out.extend(links.iter().map(|link| link.id()));
        });
        let first_block = meta.mean_block + meta.mean_pages;
        let mut ids = vec![NO_NODE; built.len()];
        let mut node_pages: Vec<Vec<NodeId>> = Vec::new();
        let room = cells::max_cell_bytes(layout.slots());
        let mut used = 0;
        for node in order {
            let bytes = layout.node_bytes(built.code(node).0.len());
            let full = node_pages.last().is_none_or(|page| {
                page.len() == per_page || (info.codec.code_len().is_none() && used + bytes > room)
            });
            if full {
                node_pages.push(Vec::new());
                used = 0;
            }
            used += bytes;
            let block = first_block + node_pages.len() as u32 - 1;
            if let Some(page) = node_pages.last_mut() {
                ids[node as usize] = layout.id(block, page.len() as u16);
                page.push(node);
            }
        }
        let first_aux_block = first_block + node_pages.len() as u32;
        if !layout.has_numbers(first_aux_block) {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("hnsw index cannot have {} nodes: node numbers are used up", built.len())
            );
        }
        let mut placed = Placed {
            ids,
            node_pages,
            aux_of: vec![AuxPtr::NONE; built.len()],
            aux_pages: Vec::new(),
            first_aux_block,
            rows,
        };
        placed.place_aux(built, layout.m());
        placed
    }

    /// Nodes of one page have their cells on the same or on neighbouring pages.
    fn place_aux(&mut self, built: &Built, m: usize) {
        let room = cells::max_cell_bytes(AUX_SLOTS);
        let mut used = room;
        for page in std::mem::take(&mut self.node_pages).iter() {
            for &node in page {
                let rows = self.rows.start[node as usize] as usize
                    ..self.rows.start[node as usize + 1] as usize;
                let mut parts: Vec<Option<std::ops::Range<usize>>> = Vec::new();
                let mut from = rows.start;
                while from < rows.end {
                    let to = (from + ROWS_PER_CELL).min(rows.end);
                    parts.push(Some(from..to));
                    from = to;
                }
                if built.level(node) > 0 {
                    parts.insert(0, None);
                }
                // From the last cell to the first, so that each knows the one after it.
                let mut next = AuxPtr::NONE;
                for rows in parts.into_iter().rev() {
                    let cell = AuxCell { node, next, rows };
                    let bytes = cell.bytes(built, m).next_multiple_of(4);
                    let full = self.aux_pages.last().is_none_or(|page| {
                        page.len() == usize::from(AUX_SLOTS) || used + bytes > room
                    });
                    if full {
                        self.aux_pages.push(Vec::new());
                        used = 0;
                    }
                    used += bytes;
                    let block = self.first_aux_block + self.aux_pages.len() as u32 - 1;
                    if let Some(page) = self.aux_pages.last_mut() {
                        next = AuxPtr { block, slot: page.len() as u16 };
                        page.push(cell);
                    }
                }
                self.aux_of[node as usize] = next;
            }
            self.node_pages.push(page.clone());
        }
    }

    /// A node's links as they are on pages, by node number, so that those on one page are together.
    fn links(&self, built: &Built, node: NodeId, level: u8, out: &mut Vec<Link>) {
        built.links(node, level, out);
        for link in out.iter_mut() {
            let id = self.ids[link.id() as usize];
            *link = Link::new(id, link.is_protected(), link.is_spare());
        }
        out.sort_unstable_by_key(|link| link.id());
    }
}

pub(super) unsafe fn write_meta(
    index: pg_sys::Relation,
    fork: pg_sys::ForkNumber::Type,
    meta: &Meta,
) {
    // SAFETY: the caller holds the index open, and nobody else sees it.
    unsafe {
        fresh::add_page(index, fork, |page| {
            page::init_page(page, Kind::Meta, META_BYTES);
            meta.write(page);
        });
    }
}
