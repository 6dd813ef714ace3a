//! Nodes read for a change: their codes, kept for as long as one insertion or repair needs them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use leanstack_core::hnsw::{Edge, Link, NodeId, select};
use leanstack_core::quantize::Factors;
use pgrx::pg_sys;

use super::index::IndexInfo;
use super::page::{self, Kind};
use crate::storage::ReadGuard;

/// A node's code and the numbers beside it.
#[derive(Clone, Debug)]
pub struct Code {
    /// The code.
    pub bytes: Vec<u8>,
    /// The numbers.
    pub factors: Factors,
    /// Whether the node had rows when it was read.
    pub has_rows: bool,
}

/// Hashes node numbers, which nobody chooses to collide.
#[derive(Default)]
struct NodeHasher(u64);

impl Hasher for NodeHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(byte.into());
        }
    }

    fn write_u32(&mut self, id: NodeId) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// Codes by node. What is not a node any more is absent.
pub struct Codes<'a> {
    pub(super) relation: pg_sys::Relation,
    pub(super) info: &'a IndexInfo,
    known: HashMap<NodeId, Code, BuildHasherDefault<NodeHasher>>,
    wanted: Vec<NodeId>,
}

impl<'a> Codes<'a> {
    /// # Safety
    /// `relation` is the open index that `info` describes and stays open for `'a`.
    pub unsafe fn new(relation: pg_sys::Relation, info: &'a IndexInfo) -> Codes<'a> {
        Codes { relation, info, known: HashMap::default(), wanted: Vec::new() }
    }

    /// Reads what is not known yet. No lock on a page is held at entry, and none at exit.
    pub fn read(&mut self, ids: impl IntoIterator<Item = NodeId>) {
        self.wanted.clear();
        let known = &self.known;
        self.wanted.extend(ids.into_iter().filter(|id| !known.contains_key(id)));
        self.wanted.sort_unstable();
        self.wanted.dedup();
        let layout = &self.info.layout;
        for same_page in self.wanted.chunk_by(|&a, &b| layout.place(a).0 == layout.place(b).0) {
            let (block, _) = layout.place(same_page[0]);
            // SAFETY: the relation is open and no lock is held.
            let guard = unsafe { ReadGuard::new(self.relation, block) };
            if !page::is_kind(guard.page(), Kind::Node) {
                crate::storage::corrupt(
                    self.relation,
                    block,
                    "a link leads to a page without nodes",
                );
            }
            for &id in same_page {
                if let Some(node) = layout.node(guard.page(), layout.place(id).1) {
                    let (bytes, factors) = (node.code().to_vec(), node.factors());
                    self.known.insert(id, Code { bytes, factors, has_rows: node.has_rows() });
                }
            }
        }
    }

    /// Forgets all that was read.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// A code read before.
    pub fn get(&self, id: NodeId) -> Option<&Code> {
        self.known.get(&id)
    }

    /// The distance of a node read before; without bound for one that is gone.
    pub fn distance(&self, from: &Code, to: NodeId) -> f32 {
        match self.get(to) {
            Some(to) => {
                let (fa, fb) = (&from.factors, &to.factors);
                self.info.codec.between(&from.bytes, fa, &to.bytes, fb)
            }
            None => f32::INFINITY,
        }
    }

    /// Chooses at most `max` of `edges`, which are sorted; their ends were read.
    pub fn choose(&self, edges: &[Edge], max: usize) -> Vec<Edge> {
        let mut kept = Vec::new();
        select(edges, max, &mut kept, |a, b| match self.get(edges[a].id) {
            Some(code) => self.distance(code, edges[b].id),
            None => f32::INFINITY,
        });
        kept
    }

    /// The edges of a list of links, seen from its holder; their ends were read.
    pub fn edges(&self, holder: &Code, links: &[Link]) -> Vec<Edge> {
        let edge = |link: &Link| Edge::of(*link, self.distance(holder, link.id()));
        links.iter().map(edge).collect()
    }
}
