//! Inserting one row. Everything is computed without locks; what was read is checked again under the lock of the
//! page that is changed. The new node and the one protected link to it are one WAL record; other links follow.
//!
//! Lock order: pages of nodes by rising block, then pages of cells by rising block, then the metapage.

use leanstack_core::hnsw::{Edge, Link, NodeId, Search, level_of, max_links, max_protected};
use leanstack_core::quantize::{Query, Value};
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::graph::{PageGraph, PageItem, Target};
use super::index::{self, IndexInfo};
use super::lists::ListPlace;
use super::nodes::{Code, Codes};
use super::page::{self, AuxKind, AuxPtr, Layout, META_BLOCK, Meta, NO_NODE};
use super::room::Room;
use crate::am::{heap, vacuum, vectors};
use crate::error::unwrap;
use crate::storage::page::Page;
use crate::storage::{Tid, WalTxn, WriteGuard, cells, corrupt, space};
use crate::types::value::detoast;

/// Candidates looked at first when the server says that the row's vector did not change.
const EF_UNCHANGED: usize = 10;
/// How often a row is inserted anew because vacuum emptied all the nodes that were found for it.
const SEARCHES: usize = 100;

/// Under what circumstances a row is inserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The index is being built: nobody else sees it, nothing is logged.
    Build,
    /// An `INSERT`, or an `UPDATE` of the vector.
    Changed,
    /// An `UPDATE` of other columns.
    Unchanged,
}

/// Inserts a row.
#[pg_guard]
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C-unwind" fn aminsert(
    relation: pg_sys::Relation,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    heap_tid: pg_sys::ItemPointer,
    heap_relation: pg_sys::Relation,
    _check_unique: pg_sys::IndexUniqueCheck::Type,
    index_unchanged: bool,
    _index_info: *mut pg_sys::IndexInfo,
) -> bool {
    // SAFETY: the server passes open relations, one column, and the address of the row.
    unsafe {
        if *isnull {
            return false;
        }
        let (info, _) = index::open(relation);
        let value = detoast(info.kind, *values);
        let value = unwrap(value.value());
        vectors::check_dims(info.dims, &value);
        let mode = if index_unchanged { Mode::Unchanged } else { Mode::Changed };
        insert(relation, heap_relation, &info, value, heap::tid(heap_tid), mode);
        false
    }
}

/// Raises an error if a vector's code would not fit a page.
pub fn check_code_fits(info: &IndexInfo, value: &Value<'_>) {
    if let Value::Sparse { indices, .. } = value {
        let most = info.codec.max_entries(Layout::max_code_bytes(info.layout.m(), true));
        if indices.len() > most {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("sparsevec cannot have more than {most} non-zero elements for hnsw index")
            );
        }
    }
}

/// Inserts a row; false if its vector is not one that can be indexed.
///
/// # Safety
/// The relations are open and `info` describes `relation`. No lock on its pages is held.
pub unsafe fn insert(
    relation: pg_sys::Relation,
    heap: pg_sys::Relation,
    info: &IndexInfo,
    value: Value<'_>,
    tid: Tid,
    mode: Mode,
) -> bool {
    check_code_fits(info, &value);
    let mut bytes = Vec::new();
    let Some(factors) = info.codec.encode(value, &mut bytes) else { return false };
    let query = info.codec.query(value);
    let new = NewNode {
        code: Code { bytes, factors, has_rows: true },
        level: level_of(1.0 - rand::random::<f64>(), info.layout.m()),
        tid,
    };
    // SAFETY: as the caller promises. The page lock makes vacuum wait for this insertion before it unlinks nodes
    // that the insertion may have seen alive; transaction abort frees it.
    unsafe {
        if mode != Mode::Build {
            vacuum::begin_insertion(relation);
        }
        let mut inserter = Inserter {
            relation,
            info,
            build: mode == Mode::Build,
            room: Room::new(relation, heap, info, mode == Mode::Build),
            codes: Codes::new(relation, info),
        };
        inserter.insert(&new, &query, mode == Mode::Unchanged);
        if mode != Mode::Build {
            vacuum::end_insertion(relation);
        }
    }
    true
}

/// A node to be.
pub(super) struct NewNode {
    pub(super) code: Code,
    level: u8,
    pub(super) tid: Tid,
}

pub(super) struct Inserter<'a> {
    pub(super) relation: pg_sys::Relation,
    pub(super) info: &'a IndexInfo,
    pub(super) build: bool,
    pub(super) room: Room<'a>,
    codes: Codes<'a>,
}

impl Inserter<'_> {
    unsafe fn insert(&mut self, new: &NewNode, query: &Query, unchanged: bool) {
        for _ in 0..SEARCHES {
            pgrx::check_for_interrupts!();
            self.codes.forget();
            // SAFETY: the relation is open and no lock is held, here and below.
            unsafe {
                let meta = index::read_meta(self.relation);
                let Some((entry, entry_level)) = index::entry(&meta) else {
                    if self.insert_first(new, &meta) {
                        return;
                    }
                    continue;
                };
                if unchanged && self.insert_beside_old(new, query, &meta) {
                    return;
                }
                let mut found = self.search(new, query, (entry, entry_level), meta.root);
                let ground = found.remove(0);
                if ground.is_empty() {
                    // Not one node has rows: vacuum has yet to clear away what is left.
                    if self.insert_first(new, &meta) {
                        return;
                    }
                    continue;
                }
                if self.add_to_equal(new, query, &ground) {
                    return;
                }
                if self.insert_node(new, &ground, &found) {
                    return;
                }
            }
        }
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            "no node of the hnsw index can take another link"
        );
    }

    /// The nearest nodes with rows, at each level up to the new node's.
    unsafe fn search(
        &mut self,
        new: &NewNode,
        query: &Query,
        (entry, entry_level): (NodeId, u8),
        root: NodeId,
    ) -> Vec<Vec<PageItem>> {
        // SAFETY: the relation is open.
        let mut graph = unsafe { PageGraph::new(self.relation, self.info, Target::Query(query)) };
        let mut found = vec![Vec::new(); usize::from(new.level) + 1];
        let mut search = Search::default();
        let ef = self.info.ef_construction;
        let mut seeds: Vec<PageItem> =
            super::descend(&mut graph, entry, entry_level, new.level).into_iter().collect();
        for level in (0..=new.level.min(entry_level)).rev() {
            search.reset(false);
            for &seed in &seeds {
                search.seed(seed);
            }
            let Ok(()) = search.run(&mut graph, level, ef);
            if level == 0
                && !search.has_results()
                && let Some(root) = graph.score_one(root)
                && search.seed(root)
            {
                let Ok(()) = search.run(&mut graph, level, ef);
            }
            let at = &mut found[usize::from(level)];
            search.take_nearest(at);
            if !at.is_empty() {
                seeds.clone_from(at);
            }
        }
        found
    }

    /// Looks with little effort for a node with the same code, as an old version of the row has one.
    unsafe fn insert_beside_old(&mut self, new: &NewNode, query: &Query, meta: &Meta) -> bool {
        // SAFETY: the relation is open and no lock is held.
        unsafe {
            let mut graph = PageGraph::new(self.relation, self.info, Target::Query(query));
            let Some(seed) = super::descend(&mut graph, meta.entry, meta.entry_level, 0) else {
                return false;
            };
            let (mut search, mut found) = (Search::default(), Vec::new());
            search.seed(seed);
            let Ok(()) = search.run(&mut graph, 0, EF_UNCHANGED);
            search.take_nearest(&mut found);
            self.add_to_equal(new, query, &found)
        }
    }

    /// Makes the new node the root and the entry point, if the metapage still is as it was seen.
    unsafe fn insert_first(&mut self, new: &NewNode, seen: &Meta) -> bool {
        let target = self.room.some_page(new.code.bytes.len());
        // SAFETY: the relation is open; locks are taken in the lock order.
        unsafe {
            let node_page = WriteGuard::new(self.relation, target);
            if !self.room.has_slot(node_page.page(), new.code.bytes.len()) {
                drop(node_page);
                self.room.page_is_full(target, new.code.bytes.len());
                return false;
            }
            let upper = self.room.upper_page(new.level);
            let meta_page = WriteGuard::new(self.relation, META_BLOCK);
            let Some(mut meta) = Meta::read(meta_page.page()) else {
                corrupt(self.relation, META_BLOCK, "not a metapage of an hnsw index");
            };
            if (meta.entry, meta.root) != (seen.entry, seen.root) {
                return false;
            }
            let mut txn = WalTxn::new(self.relation, self.build);
            let page = txn.page(&node_page);
            let upper_page = upper.as_ref().map(|guard| txn.page(guard));
            let id = self.put_node(page, target, new, &[], upper_page, upper.as_ref(), &[]);
            meta.entry = id;
            meta.entry_level = new.level;
            meta.root = id;
            meta.write(txn.page(&meta_page));
            txn.commit();
            space::set_last_used(self.relation, target);
        }
        true
    }

    /// Adds the row to a node whose code is the same, if there is one.
    unsafe fn add_to_equal(&mut self, new: &NewNode, query: &Query, found: &[PageItem]) -> bool {
        let own = self.info.codec.score(query, &new.code.bytes, &new.code.factors);
        for item in found.iter().filter(|item| item.score == own) {
            // SAFETY: the relation is open and no lock is held.
            if unsafe { self.add_row(item.id, new) } {
                return true;
            }
        }
        false
    }

    /// Adds the new node with its links, the protected link to it first, then the other links back.
    /// False if no node that was found can take the protected link any more.
    unsafe fn insert_node(
        &mut self,
        new: &NewNode,
        ground: &[PageItem],
        upper: &[Vec<PageItem>],
    ) -> bool {
        let m = self.info.layout.m();
        let levels = std::iter::once(ground).chain(upper.iter().map(Vec::as_slice));
        let mut chosen: Vec<Vec<Edge>> = Vec::new();
        for (level, found) in levels.enumerate() {
            self.codes.read(found.iter().map(|item| item.id));
            let codes = &self.codes;
            let edges: Vec<Edge> = found
                .iter()
                .filter(|item| codes.get(item.id).is_some_and(|code| code.has_rows))
                .map(|item| Edge::new(item.score, item.id))
                .collect();
            chosen.push(self.codes.choose(&edges, max_links(m, level as u8)));
        }
        // SAFETY: the relation is open and no lock is held.
        unsafe {
            let Some((id, parent)) = self.create(new, ground, &chosen) else { return false };
            for (level, edges) in chosen.iter().enumerate() {
                for edge in edges.iter().filter(|edge| level > 0 || edge.id != parent) {
                    self.codes.link_back(edge, level as u8, id, &new.code, self.build);
                }
            }
            self.raise_entry(id, new.level);
        }
        true
    }

    /// Writes the node and the protected link to it. Gives its number and the node that holds that link.
    unsafe fn create(
        &mut self,
        new: &NewNode,
        ground: &[PageItem],
        chosen: &[Vec<Edge>],
    ) -> Option<(NodeId, NodeId)> {
        let near: Vec<NodeId> =
            chosen[0].iter().map(|e| e.id).chain(ground.iter().map(|item| item.id)).collect();
        let links: Vec<Link> = chosen[0].iter().map(Edge::link).collect();
        let most = max_protected(self.info.layout.m());
        for &parent in &near {
            // SAFETY: the relation is open and no lock is held.
            let id = unsafe { self.create_below(new, parent, most, &links, &chosen[1..]) };
            if let Some(id) = id {
                return Some((id, parent));
            }
        }
        // All are full: somewhere below the nearest of them is one that is not.
        let mut below = vec![near[0]];
        let mut at = 0;
        while at < below.len() {
            let parent = below[at];
            // SAFETY: as above.
            unsafe {
                if let Some(id) = self.create_below(new, parent, most, &links, &chosen[1..]) {
                    return Some((id, parent));
                }
                let children = ListPlace::read(self.relation, self.info, parent, 0)
                    .map_or_else(Vec::new, |(_, links)| links);
                below.extend(children.iter().filter(|l| l.is_protected()).map(|l| l.id()));
            }
            at += 1;
        }
        // All below have lost their rows, and vacuum has yet to take them away. Until then, more than usual, but for
        // one place that vacuum needs to hand over what is below them.
        near.into_iter().find_map(|parent| {
            let most = max_links(self.info.layout.m(), 0) - 1;
            // SAFETY: as above.
            let id = unsafe { self.create_below(new, parent, most, &links, &chosen[1..]) }?;
            Some((id, parent))
        })
    }

    /// Writes the node, if `parent` holds fewer than `most_protected` protected links.
    unsafe fn create_below(
        &mut self,
        new: &NewNode,
        parent: NodeId,
        most_protected: usize,
        links: &[Link],
        upper_links: &[Vec<Edge>],
    ) -> Option<NodeId> {
        let layout = self.info.layout;
        let (parent_block, parent_slot) = layout.place(parent);
        let mut target = parent_block;
        loop {
            pgrx::check_for_interrupts!();
            // SAFETY: the relation is open; pages of nodes are locked by rising block.
            unsafe {
                self.codes.read([parent]);
                let score = self.codes.distance(&new.code, parent);
                let edge = Edge { protected: true, ..Edge::new(score, NO_NODE) };
                let offer = self.codes.weigh(parent, 0, edge, most_protected, &new.code)?;
                let low = WriteGuard::new(self.relation, parent_block.min(target));
                let high = (parent_block != target)
                    .then(|| WriteGuard::new(self.relation, parent_block.max(target)));
                let (parent_page, node_page) = match &high {
                    None => (&low, &low),
                    Some(high) if parent_block < target => (&low, high),
                    Some(high) => (high, &low),
                };
                let node = layout.node(parent_page.page(), parent_slot).filter(|n| n.has_rows())?;
                let current: Vec<Link> = node.links(layout.m()).collect();
                if current != offer.seen {
                    continue;
                }
                if !self.room.has_slot(node_page.page(), new.code.bytes.len()) {
                    let was = target;
                    drop(high);
                    drop(low);
                    let other = (was == parent_block)
                        .then(|| self.room.some_page(new.code.bytes.len()))
                        .filter(|&page| page != was);
                    target =
                        other.unwrap_or_else(|| self.room.page_is_full(was, new.code.bytes.len()));
                    continue;
                }
                let upper = self.room.upper_page(new.level);
                let mut txn = WalTxn::new(self.relation, self.build);
                let node_image = txn.page(node_page);
                let parent_image = high.is_some().then(|| txn.page(parent_page));
                let upper_image = upper.as_ref().map(|guard| txn.page(guard));
                let id = self.put_node(
                    node_image,
                    target,
                    new,
                    links,
                    upper_image,
                    upper.as_ref(),
                    upper_links,
                );
                let parent_image = parent_image.unwrap_or(node_image);
                self.node_mut(parent_image, parent_slot)
                    .set_links(layout.m(), &offer.apply(Edge { id, ..edge }));
                txn.commit();
                if target != parent_block {
                    space::set_last_used(self.relation, target);
                }
                return Some(id);
            }
        }
    }

    /// Writes a new node, and its cell of links above the ground, onto page images that have room.
    #[allow(clippy::too_many_arguments)]
    fn put_node(
        &self,
        node_image: &mut Page,
        block: u32,
        new: &NewNode,
        links: &[Link],
        upper_image: Option<&mut Page>,
        upper_guard: Option<&WriteGuard>,
        upper_links: &[Vec<Edge>],
    ) -> NodeId {
        let layout = &self.info.layout;
        let reusable = self.room.is_reusable(node_image);
        let Some(slot) = layout.take_slot(node_image, new.code.bytes.len(), reusable) else {
            corrupt(self.relation, block, "a page has no room for a node that it had room for");
        };
        let id = layout.id(block, slot);
        let mut node = self.node_mut(node_image, slot);
        node.set(new.level, new.tid, AuxPtr::NONE, &new.code.factors, &new.code.bytes);
        node.set_links(layout.m(), links);
        let version = layout.node(node_image, slot).map_or(0, |node| node.version());
        if let (Some(image), Some(guard)) = (upper_image, upper_guard) {
            let bytes = page::aux::upper_bytes(layout.m(), new.level);
            let Some(cell_slot) = cells::add(image, bytes) else {
                corrupt(self.relation, guard.block(), "a page has no room for a cell");
            };
            if let Some(cell) = cells::cell_mut(image, cell_slot) {
                page::aux::init(cell, id, version, AuxKind::Upper, AuxPtr::NONE);
                for (at, edges) in upper_links.iter().enumerate() {
                    let links: Vec<Link> = edges.iter().map(Edge::link).collect();
                    page::aux::set_links(cell, layout.m(), at as u8 + 1, &links);
                }
            }
            let aux = AuxPtr { block: guard.block(), slot: cell_slot };
            self.node_mut(node_image, slot).set_aux(aux);
        }
        id
    }

    pub(super) fn node_mut<'p>(&self, page: &'p mut Page, slot: u16) -> page::NodeMut<'p> {
        match self.info.layout.node_mut(page, slot) {
            Some(node) => node,
            None => corrupt(self.relation, META_BLOCK, "a node is gone while its page is locked"),
        }
    }

    /// Makes the node the entry point if it is the highest.
    unsafe fn raise_entry(&self, id: NodeId, level: u8) {
        // SAFETY: the relation is open; the metapage is the only page locked.
        unsafe {
            if level <= index::read_meta(self.relation).entry_level {
                return;
            }
            let guard = WriteGuard::new(self.relation, META_BLOCK);
            let Some(mut meta) = Meta::read(guard.page()) else { return };
            if meta.entry != NO_NODE && level > meta.entry_level {
                meta.entry = id;
                meta.entry_level = level;
                let mut txn = WalTxn::new(self.relation, self.build);
                meta.write(txn.page(&guard));
                txn.commit();
            }
        }
    }
}
