//! A link offered to a node's list: what becomes of the list, and writing it. Insertions and vacuum offer links back to
//! the neighbours that they chose.

use leanstack_core::hnsw::{Change, Edge, Link, NodeId, max_links, offer};

use super::lists::ListPlace;
use super::nodes::{Code, Codes};
use crate::storage::{WalTxn, WriteGuard};

/// How often a list that changes under us is read again before its link is given up. A protected link never is.
const RETRIES: usize = 3;

/// What a list of links was when it was read, and what is to become of it.
pub struct Offer {
    /// The list as it was read.
    pub seen: Vec<Link>,
    change: Change,
}

impl Offer {
    /// The list as it is to be.
    pub fn apply(&self, mut link: Edge) -> Vec<Link> {
        let mut links = self.seen.clone();
        for &at in &self.change.demoted {
            links[at] = Link::new(links[at].id(), links[at].is_protected(), true);
        }
        link.spare = self.change.spare;
        match links.get_mut(self.change.at) {
            Some(place) => *place = link.link(),
            None => links.push(link.link()),
        }
        links
    }
}

/// A change that only writes the new edge, to `at`.
fn write_to(at: usize) -> Change {
    Change { at, spare: false, demoted: Vec::new() }
}

impl Codes<'_> {
    /// Offers the neighbour that `edge` leads to a link back to the node `id` with `code`, unless its list is the
    /// better without it. `build`: nothing is logged.
    ///
    /// # Safety
    /// No lock on a page is held.
    pub unsafe fn link_back(
        &mut self,
        edge: &Edge,
        level: u8,
        id: NodeId,
        code: &Code,
        build: bool,
    ) {
        for _ in 0..RETRIES {
            pgrx::check_for_interrupts!();
            let back = Edge::new(edge.score, id);
            // SAFETY: the relation is open; one page is locked at a time.
            unsafe {
                let Some(offer) = self.weigh(edge.id, level, back, 0, code) else { return };
                let place = ListPlace::find(self.relation, self.info, edge.id, level);
                let Some(place) = place else { return };
                let guard = WriteGuard::new(self.relation, place.block);
                let Some(current) = place.links(self.info, guard.page()) else { return };
                if current != offer.seen {
                    continue;
                }
                let mut txn = WalTxn::new(self.relation, build);
                place.write(self.info, txn.page(&guard), &offer.apply(back));
                txn.commit();
            }
            return;
        }
    }

    /// Decides where in the list of `holder` a link to the node with `code` would go; nothing if it brings nothing, or,
    /// for a protected one, if the holder has `most_protected` of those.
    ///
    /// # Safety
    /// No lock on a page is held.
    pub unsafe fn weigh(
        &mut self,
        holder: NodeId,
        level: u8,
        edge: Edge,
        most_protected: usize,
        code: &Code,
    ) -> Option<Offer> {
        // SAFETY: the relation is open and no lock is held.
        let (_, seen) = unsafe { ListPlace::read(self.relation, self.info, holder, level)? };
        if edge.protected && seen.iter().filter(|l| l.is_protected()).count() >= most_protected {
            return None;
        }
        // Vacuum may have found the new node meanwhile and linked to it.
        if seen.iter().any(|link| link.id() == edge.id) {
            return None;
        }
        self.read(seen.iter().map(|link| link.id()).chain([holder]));
        let holder = self.get(holder)?;
        // A link to a node without rows gives way first, unless it is protected.
        let gone = |link: &Link| {
            !link.is_protected() && self.get(link.id()).is_none_or(|code| !code.has_rows)
        };
        if let Some(at) = seen.iter().position(gone) {
            return Some(Offer { change: write_to(at), seen });
        }
        let edges = self.edges(holder, &seen);
        let change = offer(&edges, max_links(self.info.layout.m(), level), edge, |at| {
            self.distance(code, edges[at].id)
        })?;
        Some(Offer { change, seen })
    }
}
