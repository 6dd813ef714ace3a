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

use std::collections::{HashMap, HashSet, VecDeque};

use leanstack_core::hnsw::{Edge, Link, NodeId, Search, max_links, max_protected};
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::graph::{Chain, PageGraph, PageItem, Target};
use super::index::{self, IndexInfo};
use super::lists::ListPlace;
use super::nodes::Codes;
use super::page::{self, AuxKind, AuxPtr, Kind, META_BLOCK, Meta, NO_NODE, State};
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
            dead: HashSet::new(),
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

struct Vacuum<'a> {
    relation: pg_sys::Relation,
    info: &'a IndexInfo,
    blocks: u32,
    /// Nodes without rows.
    dead: HashSet<NodeId>,
    /// For dead nodes, the holder of the protected link to each.
    parent: HashMap<NodeId, NodeId>,
    /// Living nodes with links to dead ones, and the levels of these links.
    damaged: Vec<(NodeId, Vec<u8>)>,
    /// A living node on the highest level.
    highest: Option<(NodeId, u8)>,
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

    /// Whether a node has cells of rows. Its page is locked.
    unsafe fn has_chain(&self, owner: (NodeId, u16), aux: AuxPtr) -> bool {
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
    unsafe fn remove_chained(
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
                        let alive = !self.dead.contains(&id);
                        let mut hurt = false;
                        for link in node.links(m).filter(|link| self.dead.contains(&link.id())) {
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
                            self.damaged.push((id, vec![0]));
                        }
                    }
                }
                for (id, version, level, aux, hurt) in above {
                    let mut levels = if hurt { vec![0] } else { Vec::new() };
                    let guard = ReadGuard::new(self.relation, aux.block);
                    let cell = page::is_kind(guard.page(), Kind::Aux)
                        .then(|| cells::cell(guard.page(), aux.slot))
                        .flatten()
                        .filter(|cell| page::aux::owner(cell) == (id, version))
                        .filter(|cell| page::aux::kind(cell) == Some(AuxKind::Upper));
                    if let Some(cell) = cell {
                        levels.extend((1..=level).filter(|&level| {
                            page::aux::links(cell, m, level)
                                .any(|link| self.dead.contains(&link.id()))
                        }));
                    }
                    if !levels.is_empty() {
                        self.damaged.push((id, levels));
                    }
                }
            }
        }
    }

    /// The root, or the first living node below it. What hangs from a dead root is handed to that one before it
    /// becomes the root, so that at no time anything is out of the root's reach.
    unsafe fn living_root(&self) -> NodeId {
        // SAFETY: no lock is held.
        let heir = unsafe { self.first_living_below(index::read_meta(self.relation).root) };
        heir.or(self.highest.map(|(id, _)| id)).unwrap_or(NO_NODE)
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
                (self.dead.contains(&meta.entry), self.dead.contains(&meta.root));
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

    /// The first living node met going down protected links through dead ones.
    unsafe fn first_living_below(&self, root: NodeId) -> Option<NodeId> {
        let mut below = vec![root];
        let mut met = HashSet::from([root]);
        let mut at = 0;
        while at < below.len() {
            shared::pause();
            let id = below[at];
            // SAFETY: no lock is held.
            let children = unsafe {
                if id != NO_NODE && self.is_living(id) {
                    return Some(id);
                }
                self.children(id)
            };
            below.extend(children.into_iter().filter(|&child| met.insert(child)));
            at += 1;
        }
        None
    }

    /// The nodes that a node holds protected links to. No lock is held at entry or exit.
    unsafe fn children(&self, id: NodeId) -> Vec<NodeId> {
        if id == NO_NODE {
            return Vec::new();
        }
        let (block, slot) = self.info.layout.place(id);
        // SAFETY: the relation is open.
        let guard = unsafe { ReadGuard::new(self.relation, block) };
        let node = self.info.layout.node(guard.page(), slot);
        let links = node.into_iter().flat_map(|node| node.links(self.info.layout.m()));
        links.filter(|link| link.is_protected()).map(|link| link.id()).collect()
    }

    /// Step 3. Protected links to dead nodes stay until all that hangs below them hangs elsewhere as well.
    unsafe fn hand_over(&self, root: NodeId) {
        if root == NO_NODE {
            return;
        }
        let mut holders: HashMap<NodeId, VecDeque<NodeId>> = HashMap::new();
        for &dead in &self.dead {
            shared::pause();
            let above = self.living_above(dead, root);
            // SAFETY: one page is locked at a time.
            unsafe {
                for child in self.children(dead) {
                    if child != root && self.is_living(child) {
                        let holders = holders.entry(above).or_insert_with(|| [above].into());
                        self.adopt(holders, child);
                    }
                }
            }
        }
    }

    /// Whether a node has rows. That it is not among the dead is not enough for a child of a dead node: a vacuum cut
    /// short may have freed the child's slot.
    unsafe fn is_living(&self, id: NodeId) -> bool {
        let (block, slot) = self.info.layout.place(id);
        // SAFETY: the relation is open and no lock is held.
        let guard = unsafe { ReadGuard::new(self.relation, block) };
        let node = self.info.layout.node(guard.page(), slot);
        !self.dead.contains(&id) && node.is_some_and(|node| node.has_rows())
    }

    /// The nearest living node above a dead one.
    fn living_above(&self, dead: NodeId, root: NodeId) -> NodeId {
        let mut above = dead;
        // No way up is longer than there are dead nodes, unless the links go round in a circle.
        for _ in 0..=self.dead.len() {
            if !self.dead.contains(&above) {
                return above;
            }
            above = self.parent.get(&above).copied().unwrap_or(root);
        }
        corrupt(self.relation, self.info.layout.place(dead).0, "protected links form a circle");
    }

    /// Gives `child` a protected link from the first of `holders`, all below one living node, that has room. Those
    /// without room give way to the nodes below them for good: nobody takes living nodes' links while vacuum runs.
    unsafe fn adopt(&self, holders: &mut VecDeque<NodeId>, child: NodeId) {
        while let Some(&holder) = holders.front() {
            if holder == child {
                // A vacuum that did not come to its end has done this.
                return;
            }
            // SAFETY: no lock is held.
            unsafe {
                if self.try_adopt(holder, child) {
                    return;
                }
                let children = self.children(holder);
                if children.contains(&child) {
                    return;
                }
                holders.pop_front();
                holders.extend(children.into_iter().filter(|id| !self.dead.contains(id)));
            }
        }
        corrupt(self.relation, self.info.layout.place(child).0, "no living node can take a link");
    }

    /// Writes a protected link to `child` into the list of `holder`, if that has room for one.
    unsafe fn try_adopt(&self, holder: NodeId, child: NodeId) -> bool {
        let layout = &self.info.layout;
        let m = layout.m();
        let (block, slot) = layout.place(holder);
        // SAFETY: the relation is open; the codes are read before the page is locked.
        unsafe {
            let mut codes = Codes::new(self.relation, self.info);
            loop {
                pgrx::check_for_interrupts!();
                let seen: Vec<Link> = {
                    let guard = ReadGuard::new(self.relation, block);
                    match layout.node(guard.page(), slot) {
                        Some(node) => node.links(m).collect(),
                        None => return false,
                    }
                };
                let living = |link: &&Link| link.is_protected() && !self.dead.contains(&link.id());
                let known = seen.iter().position(|link| link.id() == child);
                if known.is_none() && seen.iter().filter(living).count() >= max_protected(m) {
                    return false;
                }
                let place = known.or_else(|| {
                    let free = |link: &Link| !link.is_protected() && self.dead.contains(&link.id());
                    seen.iter().position(free)
                });
                let place = match place {
                    Some(at) => at,
                    None if seen.len() < max_links(m, 0) => seen.len(),
                    None => {
                        codes.read(seen.iter().map(|link| link.id()).chain([holder]));
                        let Some(code) = codes.get(holder) else { return false };
                        let edges = codes.edges(code, &seen);
                        let farthest = edges
                            .iter()
                            .enumerate()
                            .filter(|(_, edge)| !edge.protected)
                            .max_by(|(_, a), (_, b)| a.score.total_cmp(&b.score));
                        match farthest {
                            Some((at, _)) => at,
                            None => return false,
                        }
                    }
                };
                let guard = WriteGuard::new(self.relation, block);
                let Some(node) = layout.node(guard.page(), slot) else { return false };
                if !node.links(m).eq(seen.iter().copied()) {
                    continue;
                }
                let mut txn = WalTxn::new(self.relation, false);
                if let Some(mut node) = layout.node_mut(txn.page(&guard), slot) {
                    node.set_link(place, Link::new(child, true, false));
                }
                txn.commit();
                return true;
            }
        }
    }

    /// Step 4.
    unsafe fn repair(&mut self) {
        for (id, levels) in std::mem::take(&mut self.damaged) {
            for level in levels {
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
                let kept = seen.iter().filter(|link| !self.dead.contains(&link.id()));
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
            found.retain(|item| item.id != id && !self.dead.contains(&item.id));
            found
        }
    }

    /// Step 5.
    unsafe fn bury(&self) {
        let layout = &self.info.layout;
        let mut dead: Vec<NodeId> = self.dead.iter().copied().collect();
        dead.sort_unstable();
        let stamp = space::reuse_stamp();
        space::pass_stamp();
        for same_page in dead.chunk_by(|&a, &b| layout.place(a).0 == layout.place(b).0) {
            shared::pause();
            let (block, _) = layout.place(same_page[0]);
            // SAFETY: the page of nodes is locked first, then pages of cells, the metapage last.
            unsafe {
                let guard = WriteGuard::new(self.relation, block);
                for &id in same_page {
                    self.free_cells(&guard, layout.place(id).1);
                }
                let mut txn = WalTxn::new(self.relation, false);
                let image = txn.page(&guard);
                for &id in same_page {
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

    /// Frees the cells of a dead node, one by one.
    unsafe fn free_cells(&self, guard: &WriteGuard, slot: u16) {
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

struct Cell {
    at: AuxPtr,
    kind: AuxKind,
    rows: Vec<Tid>,
}
