//! Vacuum's third step: what hangs from dead nodes in the tree of protected links is handed to living ones, before
//! anything else about the dead changes.

use std::collections::{HashMap, HashSet, VecDeque};

use leanstack_core::hnsw::{Link, NodeId, max_links, max_protected};

use super::index;
use super::nodes::Codes;
use super::page::NO_NODE;
use super::vacuum::Vacuum;
use crate::am::vacuum as shared;
use crate::storage::{ReadGuard, WalTxn, WriteGuard, corrupt};

impl Vacuum<'_> {
    /// The root, or the first living node below it. What hangs from a dead root is handed to that one before it
    /// becomes the root, so that at no time anything is out of the root's reach.
    pub(super) unsafe fn living_root(&self) -> NodeId {
        // SAFETY: no lock is held.
        let heir = unsafe { self.first_living_below(index::read_meta(self.relation).root) };
        heir.or(self.highest.map(|(id, _)| id)).unwrap_or(NO_NODE)
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
    pub(super) unsafe fn hand_over(&self, root: NodeId) {
        if root == NO_NODE {
            return;
        }
        let mut holders: HashMap<NodeId, VecDeque<NodeId>> = HashMap::new();
        for dead in self.dead.iter() {
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
        !self.dead.contains(id) && node.is_some_and(|node| node.has_rows())
    }

    /// The nearest living node above a dead one.
    fn living_above(&self, dead: NodeId, root: NodeId) -> NodeId {
        let mut above = dead;
        // No way up is longer than there are dead nodes, unless the links go round in a circle.
        for _ in 0..=self.dead.len() {
            if !self.dead.contains(above) {
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
                holders.extend(children.into_iter().filter(|&id| !self.dead.contains(id)));
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
                let living = |link: &&Link| link.is_protected() && !self.dead.contains(link.id());
                let known = seen.iter().position(|link| link.id() == child);
                if known.is_none() && seen.iter().filter(living).count() >= max_protected(m) {
                    return false;
                }
                let place = known.or_else(|| {
                    let free = |link: &Link| !link.is_protected() && self.dead.contains(link.id());
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
}
