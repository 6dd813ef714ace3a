//! Vacuum: removes rows, takes nodes without rows out of the graph, and frees their slots.
//!
//! 1. Dead rows are removed, page by page. From then on nobody links to a node that has none left.
//! 2. Insertions under way, which may have seen such nodes alive, are waited for.
//! 3. Nodes below a dead node in the tree of protected links are handed to the nearest living node above it; then
//!    the root and the entry point move away from dead nodes.
//! 4. Lists with dead nodes get other links in their place, and the nodes that these lead to are offered links back.
//! 5. Dead nodes are marked. Scans may still pass through them; their slots are used again when no scan can.
//!
//! Each step is complete in itself: after a crash between any two WAL records every living node is still reachable,
//! and the next vacuum finds the nodes without rows again.

use std::collections::HashMap;

use leanstack_core::hnsw::{Edge, Link, MAX_LEVEL, NodeId, NodeSet, Search, max_links};
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::graph::{PageGraph, PageItem, Target};
use super::index::{self, IndexInfo};
use super::lists::ListPlace;
use super::nodes::Codes;
use super::page::{self, AuxKind, Kind, META_BLOCK, Meta, NO_NODE, State};
use crate::am::vacuum as shared;
use crate::storage::page::{set_trailer, trailer};
use crate::storage::{ReadGuard, Tid, WalTxn, WriteGuard, cells, corrupt, space};

/// Removes rows.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambulkdelete(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
    callback: pg_sys::IndexBulkDeleteCallback,
    callback_state: *mut std::ffi::c_void,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: the server passes the open index and a callback that says whether a row is dead.
    unsafe {
        let relation = (*info).index;
        let stats = shared::stats_or_new(stats);
        let (opened, _) = index::open(relation);
        let is_dead = shared::dead_rows(callback, callback_state);
        let mut vacuum = Vacuum {
            relation,
            info: &opened,
            blocks: pg_sys::RelationGetNumberOfBlocksInFork(
                relation,
                pg_sys::ForkNumber::MAIN_FORKNUM,
            ),
            dead: NodeSet::default(),
            parent: HashMap::new(),
            damaged: Vec::new(),
            highest: None,
        };
        let (removed, left) = vacuum.remove_rows(&is_dead);
        (*stats).tuples_removed += removed as f64;
        (*stats).num_index_tuples = left as f64;
        if !vacuum.dead.is_empty() {
            shared::drain_insertions(relation);
            vacuum.survey();
            let root = vacuum.living_root();
            vacuum.hand_over(root);
            vacuum.replace_entry(root);
            vacuum.repair();
            (*stats).pages_deleted = 0;
            vacuum.bury();
        }
        stats
    }
}

pub(super) struct Vacuum<'a> {
    pub(super) relation: pg_sys::Relation,
    pub(super) info: &'a IndexInfo,
    pub(super) blocks: u32,
    /// Nodes without rows.
    pub(super) dead: NodeSet,
    /// For dead nodes, the holder of the protected link to each.
    pub(super) parent: HashMap<NodeId, NodeId>,
    /// Living nodes with links to dead ones, and the levels of these links, a bit each.
    pub(super) damaged: Vec<(NodeId, u16)>,
    /// A living node on the highest level.
    pub(super) highest: Option<(NodeId, u8)>,
}

impl Vacuum<'_> {
    /// Step 1. Gives how many rows were removed and how many are left.
    unsafe fn remove_rows(&mut self, is_dead: &dyn Fn(Tid) -> bool) -> (usize, usize) {
        let layout = &self.info.layout;
        let (mut removed, mut left) = (0, 0);
        for block in 1..self.blocks {
            // SAFETY: no lock is held between pages, so that vacuum may rest here.
            unsafe {
                shared::pause();
                let guard = WriteGuard::new(self.relation, block);
                if !page::is_kind(guard.page(), Kind::Node) {
                    continue;
                }
                let mut chained = Vec::new();
                let mut inline_dead = Vec::new();
                let mut has_freed = false;
                for slot in 0..layout.slots() {
                    let Some(node) = layout.node(guard.page(), slot) else { continue };
                    if node.state() != State::Live {
                        has_freed = true;
                        continue;
                    }
                    if self.has_chain((layout.id(block, slot), node.version()), node.aux()) {
                        chained.push(slot);
                    } else if !node.has_rows() {
                        self.dead.insert(layout.id(block, slot));
                    } else if is_dead(node.tid()) {
                        inline_dead.push(slot);
                        self.dead.insert(layout.id(block, slot));
                    } else {
                        left += 1;
                    }
                }
                removed += inline_dead.len();
                if !inline_dead.is_empty() {
                    let mut txn = WalTxn::new(self.relation, false);
                    let image = txn.page(&guard);
                    for &slot in &inline_dead {
                        if let Some(mut node) = layout.node_mut(image, slot) {
                            node.set_tid(Tid::NONE);
                        }
                    }
                    txn.commit();
                }
                for slot in chained {
                    let (gone, kept) = self.remove_chained(&guard, slot, is_dead);
                    removed += gone;
                    left += kept;
                    if kept == 0 {
                        self.dead.insert(layout.id(block, slot));
                    }
                }
                if has_freed {
                    // Whoever came before the slots could be used again took the page off the map.
                    let free_bytes = layout.free_bytes(guard.page());
                    drop(guard);
                    space::record(self.relation, block, free_bytes);
                }
            }
        }
        (removed, left)
    }

    /// Finds the links to dead nodes. Nobody makes new ones.
    unsafe fn survey(&mut self) {
        let layout = &self.info.layout;
        let m = layout.m();
        // SAFETY: the relation is open; no lock is held between pages.
        unsafe {
            let main = pg_sys::ForkNumber::MAIN_FORKNUM;
            self.blocks = pg_sys::RelationGetNumberOfBlocksInFork(self.relation, main);
            for block in 1..self.blocks {
                shared::pause();
                let mut above = Vec::new();
                {
                    let guard = ReadGuard::new(self.relation, block);
                    if !page::is_kind(guard.page(), Kind::Node) {
                        continue;
                    }
                    for slot in 0..layout.slots() {
                        let Some(node) = layout.node(guard.page(), slot) else { continue };
                        if node.state() != State::Live {
                            continue;
                        }
                        let id = layout.id(block, slot);
                        let alive = !self.dead.contains(id);
                        let mut hurt = false;
                        for link in node.links(m).filter(|link| self.dead.contains(link.id())) {
                            hurt = true;
                            if link.is_protected() {
                                self.parent.insert(link.id(), id);
                            }
                        }
                        if !alive {
                            continue;
                        }
                        if self.highest.is_none_or(|(_, level)| node.level() > level) {
                            self.highest = Some((id, node.level()));
                        }
                        if node.level() > 0 && node.aux().is_some() {
                            above.push((id, node.version(), node.level(), node.aux(), hurt));
                        } else if hurt {
                            self.damaged.push((id, 1));
                        }
                    }
                }
                for (id, version, level, aux, hurt) in above {
                    let mut levels = u16::from(hurt);
                    let guard = ReadGuard::new(self.relation, aux.block);
                    let cell = page::is_kind(guard.page(), Kind::Aux)
                        .then(|| cells::cell(guard.page(), aux.slot))
                        .flatten()
                        .filter(|cell| page::aux::owner(cell) == (id, version))
                        .filter(|cell| page::aux::kind(cell) == Some(AuxKind::Upper));
                    if let Some(cell) = cell {
                        for level in 1..=level.min(MAX_LEVEL) {
                            let mut links = page::aux::links(cell, m, level);
                            let hurt = links.any(|link| self.dead.contains(link.id()));
                            levels |= u16::from(hurt) << level;
                        }
                    }
                    if levels != 0 {
                        self.damaged.push((id, levels));
                    }
                }
            }
        }
    }

    /// Moves the entry point and the root away from dead nodes.
    unsafe fn replace_entry(&self, root: NodeId) {
        // SAFETY: one page is locked.
        unsafe {
            let guard = WriteGuard::new(self.relation, META_BLOCK);
            let Some(mut meta) = Meta::read(guard.page()) else {
                corrupt(self.relation, META_BLOCK, "not a metapage of an hnsw index");
            };
            let (entry_dead, root_dead) =
                (self.dead.contains(meta.entry), self.dead.contains(meta.root));
            if !entry_dead && !root_dead {
                return;
            }
            if entry_dead {
                (meta.entry, meta.entry_level) = self.highest.unwrap_or((NO_NODE, 0));
            }
            if root_dead {
                meta.root = root;
            }
            let mut txn = WalTxn::new(self.relation, false);
            meta.write(txn.page(&guard));
            txn.commit();
        }
    }

    /// Step 4.
    unsafe fn repair(&mut self) {
        for (id, levels) in std::mem::take(&mut self.damaged) {
            for level in (0..=MAX_LEVEL).filter(|level| levels >> level & 1 != 0) {
                shared::pause();
                // SAFETY: no lock is held.
                unsafe { self.repair_list(id, level) };
            }
        }
    }

    unsafe fn repair_list(&self, id: NodeId, level: u8) {
        let max = max_links(self.info.layout.m(), level);
        // SAFETY: the relation is open; the search and the codes hold no lock, and then one page is locked.
        unsafe {
            let mut codes = Codes::new(self.relation, self.info);
            codes.read([id]);
            let Some(code) = codes.get(id).cloned() else { return };
            let mut found = self.search(id, &code, level);
            loop {
                pgrx::check_for_interrupts!();
                let list = ListPlace::read(self.relation, self.info, id, level);
                let Some((place, seen)) = list else { return };
                let kept = seen.iter().filter(|link| !self.dead.contains(link.id()));
                let kept: Vec<Link> = kept.copied().collect();
                codes.read(kept.iter().map(|link| link.id()).chain(found.iter().map(|f| f.id)));
                let mut edges = codes.edges(&code, &kept);
                found.retain(|f| codes.get(f.id).is_some_and(|code| code.has_rows));
                for f in &found {
                    if edges.iter().all(|edge| edge.id != f.id) {
                        edges.push(Edge::new(f.score, f.id));
                    }
                }
                edges.sort_by(|a, b| a.score.total_cmp(&b.score));
                let chosen = codes.choose(&edges, max);
                let links: Vec<Link> = chosen.iter().map(Edge::link).collect();
                let guard = WriteGuard::new(self.relation, place.block);
                if place.links(self.info, guard.page()).is_none_or(|now| now != seen) {
                    continue;
                }
                let mut txn = WalTxn::new(self.relation, false);
                place.write(self.info, txn.page(&guard), &links);
                txn.commit();
                drop(guard);
                // As an insertion does: where many are gone, those that are left must find each other.
                for edge in chosen.iter().filter(|edge| kept.iter().all(|l| l.id() != edge.id)) {
                    codes.link_back(edge, level, id, &code, false);
                }
                return;
            }
        }
    }

    /// The nearest living nodes to a node at `level`, without itself, which the search finds too.
    unsafe fn search(&self, id: NodeId, code: &super::nodes::Code, level: u8) -> Vec<PageItem> {
        // SAFETY: the relation is open.
        unsafe {
            let meta = index::read_meta(self.relation);
            let mut graph = PageGraph::new(self.relation, self.info, Target::Code(code));
            let mut found = Vec::new();
            if meta.entry == NO_NODE || meta.entry_level < level {
                return found;
            }
            let seed = super::descend(&mut graph, meta.entry, meta.entry_level, level);
            let mut search = Search::default();
            seed.map(|seed| search.seed(seed));
            let Ok(()) = search.run(&mut graph, level, self.info.ef_construction + 1);
            search.take_nearest(&mut found);
            found.retain(|item| item.id != id && !self.dead.contains(item.id));
            found
        }
    }

    /// Step 5.
    unsafe fn bury(&self) {
        let layout = &self.info.layout;
        let stamp = space::reuse_stamp();
        space::pass_stamp();
        let mut dead = self.dead.iter().peekable();
        let mut same_page = Vec::new();
        while let Some(first) = dead.next() {
            shared::pause();
            let (block, _) = layout.place(first);
            same_page.clear();
            same_page.push(first);
            same_page
                .extend(std::iter::from_fn(|| dead.next_if(|&id| layout.place(id).0 == block)));
            // SAFETY: the page of nodes is locked first, then pages of cells, the metapage last.
            unsafe {
                let guard = WriteGuard::new(self.relation, block);
                for &id in &same_page {
                    self.free_cells(&guard, layout.place(id).1);
                }
                let mut txn = WalTxn::new(self.relation, false);
                let image = txn.page(&guard);
                for &id in &same_page {
                    if let Some(mut node) = layout.node_mut(image, layout.place(id).1) {
                        node.set_dead();
                    }
                }
                if let Some(mut end) = trailer(image) {
                    end.reuse_after = stamp;
                    set_trailer(image, end);
                }
                let free_bytes = layout.free_bytes(image);
                txn.commit();
                drop(guard);
                space::record(self.relation, block, free_bytes);
            }
        }
    }
}
