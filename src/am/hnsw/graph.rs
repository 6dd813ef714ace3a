//! The graph on pages, for one query. Reading is most of what a scan does, so several pages are pinned at a time,
//! their nodes fetched ahead of use, and PostgreSQL is entered through one guard for a whole batch.

use leanstack_core::hnsw::{Graph, Item, NodeId};
use leanstack_core::prefetch::prefetch;
use leanstack_core::quantize::{Factors, Query};
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use super::index::IndexInfo;
use super::nodes::Code;
use super::page::{self, AuxKind, AuxPtr, Kind, Layout, State};
use crate::am::stats::Stats;
use crate::storage::buffer::page_of;
use crate::storage::page::content;
use crate::storage::raw::{self, PINNED, pin};
use crate::storage::{ReadGuard, Tid, cells, corrupt};

/// A node met by a search, with what a scan needs to return it without reading its page again.
#[derive(Clone, Copy, Debug)]
pub struct PageItem {
    /// Ordering value against the query.
    pub score: f32,
    /// The node.
    pub id: NodeId,
    /// The numbers beside its code; the bound needs them.
    pub factors: Factors,
    /// The node's first row when it was scored; [`Tid::NONE`] if it had none.
    pub tid: Tid,
    /// The node's version when it was scored.
    pub version: u16,
    /// Its cells on aux pages.
    pub aux: AuxPtr,
}

impl Item for PageItem {
    fn id(&self) -> NodeId {
        self.id
    }
    fn score(&self) -> f32 {
        self.score
    }
    fn is_result(&self) -> bool {
        self.tid.is_some()
    }
}

/// What distances are measured from.
#[derive(Clone, Copy)]
pub enum Target<'a> {
    /// A vector.
    Query(&'a Query),
    /// A node's code.
    Code(&'a Code),
    /// Nothing: all nodes are equally near.
    Nothing,
}

/// An index and what is looked for in it.
pub struct PageGraph<'a> {
    relation: pg_sys::Relation,
    info: &'a IndexInfo,
    target: Target<'a>,
    /// Where a scan counts what it does.
    stats: Option<&'a Stats>,
    /// Whether a node met earlier had been replaced by another when its links were wanted.
    pub stale: bool,
}

impl<'a> PageGraph<'a> {
    /// # Safety
    /// `relation` is the open index that `info` describes and stays open for `'a`.
    pub unsafe fn new(
        relation: pg_sys::Relation,
        info: &'a IndexInfo,
        target: Target<'a>,
    ) -> PageGraph<'a> {
        PageGraph { relation, info, target, stats: None, stale: false }
    }

    /// Counts nodes and codes from now on.
    pub fn counted(self, stats: &'a Stats) -> PageGraph<'a> {
        PageGraph { stats: Some(stats), ..self }
    }

    /// Scores nodes of pages of which at most [`PINNED`] are pinned at a time. `ids` are sorted. Gives the first block
    /// that is not a page of nodes.
    ///
    /// # Safety
    /// Called inside a guard; `out` has room for all.
    unsafe fn score_sorted(
        &self,
        ids: &[NodeId],
        recent: &mut [pg_sys::Buffer],
        out: &mut Vec<PageItem>,
    ) -> Result<(), u32> {
        let layout = &self.info.layout;
        let mut start = 0;
        while start < ids.len() {
            let mut pinned = [(0 as pg_sys::Buffer, 0usize, 0usize); PINNED];
            let mut pages = 0;
            while pages < PINNED && start < ids.len() {
                let (block, _) = layout.place(ids[start]);
                let mut end = start + 1;
                while end < ids.len() && layout.place(ids[end]).0 == block {
                    end += 1;
                }
                // SAFETY: the relation is open; the page is pinned until it is released below. What is fetched
                // ahead may be in the middle of a change, but is not looked at.
                unsafe {
                    let buffer = pin(self.relation, block, recent);
                    let page = &*page_of(buffer);
                    for &id in &ids[start..end] {
                        if let Some(range) = layout.range(page, layout.place(id).1) {
                            prefetch(&content(page)[range]);
                        }
                    }
                    pinned[pages] = (buffer, start, end);
                }
                pages += 1;
                start = end;
            }
            for (at, &(buffer, from, to)) in pinned[..pages].iter().enumerate() {
                // SAFETY: pinned above. While the share lock is held nobody changes the page.
                let ok = unsafe {
                    raw::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
                    let ok = self.score_page(&*page_of(buffer), &ids[from..to], out);
                    raw::UnlockReleaseBuffer(buffer);
                    ok
                };
                if !ok {
                    for &(buffer, ..) in &pinned[at + 1..pages] {
                        // SAFETY: pinned above and not released yet.
                        unsafe { raw::ReleaseBuffer(buffer) }
                    }
                    return Err(layout.place(ids[from]).0);
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn score_page(
        &self,
        page: &crate::storage::page::Page,
        ids: &[NodeId],
        out: &mut Vec<PageItem>,
    ) -> bool {
        if !page::is_kind(page, Kind::Node) {
            return false;
        }
        for &id in ids {
            let Some(node) = self.info.layout.node(page, self.info.layout.place(id).1) else {
                continue;
            };
            let factors = node.factors();
            let codec = &self.info.codec;
            let score = match self.target {
                Target::Query(query) => codec.score(query, node.code(), &factors),
                Target::Code(code) => {
                    codec.between(&code.bytes, &code.factors, node.code(), &factors)
                }
                Target::Nothing => 0.0,
            };
            out.push(PageItem {
                score: if score.is_nan() { f32::INFINITY } else { score },
                id,
                factors,
                tid: node.tid(),
                version: node.version(),
                aux: node.aux(),
            });
        }
        true
    }

    /// The guesses for blocks up to `block`.
    fn recent_to(&self, block: u32) -> std::cell::RefMut<'a, Vec<pg_sys::Buffer>> {
        let mut recent = self.info.recent.borrow_mut();
        // SAFETY: the relation is open.
        unsafe { raw::make_room(self.relation, &mut recent, block) }
        recent
    }

    /// Scores one node; nothing if there is none.
    pub fn score_one(&mut self, id: NodeId) -> Option<PageItem> {
        let mut out = Vec::with_capacity(1);
        let Ok(()) = self.score(&mut [id], &mut out);
        out.pop()
    }

    /// The value that the SQL operator's result for an item's rows is not below.
    pub fn lower_bound(&self, item: &PageItem) -> f64 {
        match self.target {
            Target::Query(query) => self.info.codec.lower_bound(query, item.score, &item.factors),
            _ => 0.0,
        }
    }

    /// All rows of a node, if it still is the node that was scored.
    pub fn rows(&self, item: &PageItem, out: &mut Vec<Tid>) {
        if !item.aux.is_some() {
            out.push(item.tid);
            return;
        }
        let (block, slot) = self.info.layout.place(item.id);
        // SAFETY: the relation is open. The node's page is locked before its aux pages: the lock order.
        let guard = unsafe { ReadGuard::new(self.relation, block) };
        let node = self.info.layout.node(guard.page(), slot);
        let Some(node) = node.filter(|node| node.version() == item.version) else {
            return;
        };
        if node.tid().is_some() {
            out.push(node.tid());
        }
        let owner = (item.id, item.version);
        let layout = &self.info.layout;
        // SAFETY: as above; the caller holds no aux page.
        unsafe { for_each_row(self.relation, layout, owner, node.aux(), |tid| out.push(tid)) }
    }
}

/// A way along the cells of one node, whose page is locked.
pub struct Chain {
    relation: pg_sys::Relation,
    own_block: u32,
    /// A cell that was passed; each time the way has doubled, the last one.
    passed: AuxPtr,
    steps: u64,
}

impl Chain {
    /// The cells of a node on `own_block`.
    pub fn new(relation: pg_sys::Relation, own_block: u32) -> Chain {
        Chain { relation, own_block, passed: AuxPtr::NONE, steps: 0 }
    }

    /// The place where the way goes on, if it does. Raises an error where no chain leads and where waiting would have
    /// no end: to the page of the node, or in a circle.
    pub fn go(&mut self, to: AuxPtr) -> Option<AuxPtr> {
        if !to.is_some() {
            return None;
        }
        if to.block == self.own_block || to == self.passed {
            corrupt(self.relation, self.own_block, "a node's chain of cells goes in a circle");
        }
        self.steps += 1;
        if self.steps.is_power_of_two() {
            self.passed = to;
        }
        Some(to)
    }
}

/// Calls `f` for each row in the chain of aux cells that begins at `first` and belongs to `owner`.
///
/// # Safety
/// `relation` is the open index. The caller holds a lock on the owner's page and none on aux pages.
pub unsafe fn for_each_row(
    relation: pg_sys::Relation,
    layout: &Layout,
    owner: (NodeId, u16),
    first: AuxPtr,
    mut f: impl FnMut(Tid),
) {
    let mut chain = Chain::new(relation, layout.place(owner.0).0);
    let mut next = first;
    while let Some(at) = chain.go(next) {
        // SAFETY: as the caller promises.
        let guard = unsafe { ReadGuard::new(relation, at.block) };
        let cell =
            page::is_kind(guard.page(), Kind::Aux).then(|| cells::cell(guard.page(), at.slot));
        let Some(Some(cell)) = cell.filter(|c| c.is_some_and(|c| page::aux::owner(c) == owner))
        else {
            corrupt(relation, at.block, "a node's chain of rows leads to a cell of another node");
        };
        if page::aux::kind(cell) == Some(AuxKind::Rows) {
            page::aux::rows(cell).for_each(&mut f);
        }
        next = page::aux::next(cell);
    }
}

impl Graph for PageGraph<'_> {
    type Item = PageItem;
    type Error = std::convert::Infallible;

    fn links(
        &mut self,
        from: &PageItem,
        level: u8,
        out: &mut Vec<NodeId>,
    ) -> Result<(), Self::Error> {
        pgrx::check_for_interrupts!();
        out.clear();
        if let Some(stats) = self.stats {
            stats.nodes.add(1);
        }
        let m = self.info.layout.m();
        if level > 0 {
            if from.aux.is_some() {
                // SAFETY: the relation is open and no lock is held.
                let guard = unsafe { ReadGuard::new(self.relation, from.aux.block) };
                if page::is_kind(guard.page(), Kind::Aux)
                    && let Some(cell) = cells::cell(guard.page(), from.aux.slot)
                    && page::aux::owner(cell) == (from.id, from.version)
                    && page::aux::kind(cell) == Some(AuxKind::Upper)
                {
                    out.extend(page::aux::links(cell, m, level).map(|link| link.id()));
                }
            }
            return Ok(());
        }
        let (block, slot) = self.info.layout.place(from.id);
        out.reserve(2 * m);
        let mut recent = self.recent_to(block);
        // SAFETY: one guard around pin, lock and release; nothing in between owns memory, and `out` has room.
        let stale = unsafe {
            pg_guard_ffi_boundary(|| {
                let buffer = pin(self.relation, block, &mut recent);
                raw::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
                let page = &*page_of(buffer);
                let node = page::is_kind(page, Kind::Node)
                    .then(|| self.info.layout.node(page, slot))
                    .flatten()
                    .filter(|node| node.state() != State::Free);
                let same = node.is_some_and(|node| node.version() == from.version);
                if let Some(node) = node {
                    out.extend(node.links(m).map(|link| link.id()));
                }
                raw::UnlockReleaseBuffer(buffer);
                !same
            })
        };
        self.stale |= stale;
        Ok(())
    }

    fn score(&mut self, ids: &mut [NodeId], out: &mut Vec<PageItem>) -> Result<(), Self::Error> {
        ids.sort_unstable();
        out.reserve(ids.len());
        let known = out.len();
        let Some(&last) = ids.last() else { return Ok(()) };
        let mut recent = self.recent_to(self.info.layout.place(last).0);
        // SAFETY: one guard around the batch; the frames inside own no memory, and `out` has room for all.
        let scored = unsafe { pg_guard_ffi_boundary(|| self.score_sorted(ids, &mut recent, out)) };
        if let Err(block) = scored {
            corrupt(self.relation, block, "a link leads to a page without nodes");
        }
        if let (Some(stats), Target::Query(_)) = (self.stats, self.target) {
            stats.codes.add(out.len() - known);
        }
        Ok(())
    }
}
