//! Building a graph in memory, by several threads. Nodes hold codes, not vectors; equal vectors share a node.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::graph::{Graph, Item, Link, NodeId, Scored};
use super::search::Search;
use super::select::{Edge, offer, select};
use super::{level_of, max_links, max_protected};
use crate::prefetch::prefetch;
use crate::quantize::{Codec, Factors, Value};
use crate::workers;

/// The two numbers that shape a graph.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions {
    /// Links of a node at each level above the ground; twice as many there.
    pub m: usize,
    /// How many candidates an insertion looks at.
    pub ef_construction: usize,
}

/// What became of a vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It is a node of its own.
    Node(NodeId),
    /// It equals the vector of an earlier node.
    Duplicate(NodeId),
    /// It cannot be indexed (a zero vector under cosine distance).
    Skipped,
}

/// The nodes' codes, one after the other.
struct Codes {
    bytes: Vec<u8>,
    /// Bytes of each code, when they are all of one length.
    stride: Option<usize>,
    /// Where each code ends, when they are not.
    ends: Vec<u64>,
}

impl Codes {
    #[inline(always)]
    fn get(&self, id: NodeId) -> &[u8] {
        let id = id as usize;
        match self.stride {
            Some(stride) => &self.bytes[id * stride..(id + 1) * stride],
            None => {
                let start = if id == 0 { 0 } else { self.ends[id - 1] as usize };
                &self.bytes[start..self.ends[id] as usize]
            }
        }
    }
}

/// Collects vectors, then builds the graph over them.
pub struct Builder {
    codec: Codec,
    options: BuildOptions,
    codes: Codes,
    factors: Vec<Factors>,
    levels: Vec<u8>,
    upper_links: usize,
    by_hash: HashMap<u64, NodeId>,
    hasher: RandomState,
    scratch: Vec<u8>,
}

impl Builder {
    /// An empty builder.
    pub fn new(codec: Codec, options: BuildOptions) -> Builder {
        let stride = codec.code_len();
        Builder {
            codec,
            options,
            codes: Codes { bytes: Vec::new(), stride, ends: Vec::new() },
            factors: Vec::new(),
            levels: Vec::new(),
            upper_links: 0,
            by_hash: HashMap::new(),
            hasher: RandomState::new(),
            scratch: Vec::new(),
        }
    }

    /// Adds a vector. `uniform` in (0, 1] decides the node's level.
    pub fn push(&mut self, value: Value<'_>, uniform: f64) -> Pushed {
        let mut code = std::mem::take(&mut self.scratch);
        let encoded = self.codec.encode(value, &mut code);
        let pushed = match encoded {
            None => Pushed::Skipped,
            Some(factors) => self.push_code(&code, factors, uniform),
        };
        self.scratch = code;
        pushed
    }

    fn push_code(&mut self, code: &[u8], factors: Factors, uniform: f64) -> Pushed {
        let id = self.factors.len() as NodeId;
        let hash = self.hasher.hash_one((code, factors.scale.to_bits(), factors.bias.to_bits()));
        let earlier = *self.by_hash.entry(hash).or_insert(id);
        if earlier != id
            && self.codes.get(earlier) == code
            && same_vector(&self.factors[earlier as usize], &factors)
        {
            let error = &mut self.factors[earlier as usize].error;
            *error = error.max(factors.error);
            return Pushed::Duplicate(earlier);
        }
        self.codes.bytes.extend_from_slice(code);
        if self.codes.stride.is_none() {
            self.codes.ends.push(self.codes.bytes.len() as u64);
        }
        self.factors.push(factors);
        let level = level_of(uniform, self.options.m);
        self.levels.push(level);
        self.upper_links += usize::from(level) * self.options.m;
        Pushed::Node(id)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.factors.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.factors.is_empty()
    }

    /// Bytes that the graph takes when built, with what is held to build it.
    pub fn memory_bytes(&self) -> usize {
        let per_node = size_of::<Factors>()
            + size_of::<u8>()
            + size_of::<u32>()
            + size_of::<Mutex<()>>()
            + 2 * self.options.m * 2 * size_of::<u32>()
            + 2 * size_of::<(u64, NodeId)>()
            + if self.codes.stride.is_none() { size_of::<u64>() } else { 0 };
        self.codes.bytes.len() + self.len() * per_node + self.upper_links * 2 * size_of::<u32>()
    }

    /// Builds the graph with `threads` workers of `pool`. The calling thread waits and calls `tick(done)` many times a
    /// second; if that returns an error or panics, the workers stop and nothing is left.
    pub fn build<E>(
        self,
        pool: &rayon::ThreadPool,
        threads: usize,
        tick: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Built, E> {
        let Builder { codec, options, codes, factors, levels, by_hash, .. } = self;
        drop(by_hash);
        let built = Built::new(codec, options, codes, factors, levels);
        if built.is_empty() {
            return Ok(built);
        }
        built.start();
        let work = |scratch: &mut Scratch, id: usize| built.insert(id as NodeId, scratch);
        workers::run(pool, threads, 1..built.len(), Scratch::default, work, tick)?;
        Ok(built)
    }
}

/// Whether two vectors with the same code are the same as far as the code can tell.
fn same_vector(a: &Factors, b: &Factors) -> bool {
    a.scale.to_bits() == b.scale.to_bits() && a.bias.to_bits() == b.bias.to_bits()
}

/// The graph in memory. Links are read without locks: a reader may see a list in the middle of a change, which is a
/// list of valid nodes all the same. They are changed under the holder's lock, and no thread holds two.
pub struct Built {
    codec: Codec,
    options: BuildOptions,
    codes: Codes,
    factors: Vec<Factors>,
    levels: Vec<u8>,
    locks: Vec<Mutex<()>>,
    /// For each node, `2m` links of level 0, packed to the front.
    ground: Links,
    /// For each node above level 0, `m` links for each level from 1.
    upper: Links,
    upper_start: Vec<u32>,
    /// The entry point: level in the high half, node in the low.
    entry: AtomicU64,
    entry_lock: Mutex<()>,
}

struct Links {
    links: Vec<AtomicU32>,
    scores: Vec<AtomicU32>,
}

impl Links {
    fn new(len: usize) -> Links {
        Links {
            links: (0..len).map(|_| AtomicU32::new(Link::EMPTY.0)).collect(),
            scores: (0..len).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    fn set(&self, at: usize, edge: Edge) {
        self.scores[at].store(edge.score.to_bits(), Relaxed);
        self.links[at].store(edge.link().0, Relaxed);
    }

    fn edge(&self, at: usize) -> Option<Edge> {
        let link = Link(self.links[at].load(Relaxed));
        (!link.is_empty()).then(|| Edge::of(link, f32::from_bits(self.scores[at].load(Relaxed))))
    }
}

/// One worker's memory.
#[derive(Default)]
struct Scratch {
    search: Search<Scored>,
    found: Vec<Scored>,
    /// What was chosen at each level.
    plan: Vec<Vec<Edge>>,
    candidates: Vec<Edge>,
    held: Vec<Edge>,
}

impl Built {
    fn new(
        codec: Codec,
        options: BuildOptions,
        codes: Codes,
        factors: Vec<Factors>,
        levels: Vec<u8>,
    ) -> Built {
        let mut upper = 0u32;
        let upper_start = levels
            .iter()
            .map(|&level| {
                let start = upper;
                upper += u32::from(level) * options.m as u32;
                start
            })
            .collect();
        Built {
            codec,
            options,
            codes,
            locks: (0..levels.len()).map(|_| Mutex::new(())).collect(),
            ground: Links::new(levels.len() * 2 * options.m),
            upper: Links::new(upper as usize),
            upper_start,
            factors,
            levels,
            entry: AtomicU64::new(0),
            entry_lock: Mutex::new(()),
        }
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.levels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// The codec that the nodes are encoded with.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// The node that searches start from, and its level.
    pub fn entry(&self) -> Option<(NodeId, u8)> {
        (!self.is_empty()).then(|| self.entry_point())
    }

    /// The root of the tree of protected links: every node can be reached from it at level 0.
    pub fn root(&self) -> Option<NodeId> {
        (!self.is_empty()).then_some(0)
    }

    /// A node's code and the numbers beside it.
    pub fn code(&self, id: NodeId) -> (&[u8], Factors) {
        (self.codes.get(id), self.factors[id as usize])
    }

    /// The highest level a node is on.
    pub fn level(&self, id: NodeId) -> u8 {
        self.levels[id as usize]
    }

    /// Replaces `out` by a node's links at `level`.
    pub fn links(&self, id: NodeId, level: u8, out: &mut Vec<Link>) {
        let (links, range) = self.list(id, level);
        out.clear();
        out.extend(
            links.links[range].iter().map(|l| Link(l.load(Relaxed))).take_while(|l| !l.is_empty()),
        );
    }

    fn list(&self, id: NodeId, level: u8) -> (&Links, std::ops::Range<usize>) {
        let m = self.options.m;
        if level == 0 {
            let start = id as usize * 2 * m;
            (&self.ground, start..start + 2 * m)
        } else {
            let start = self.upper_start[id as usize] as usize + usize::from(level - 1) * m;
            (&self.upper, start..start + m)
        }
    }

    fn entry_point(&self) -> (NodeId, u8) {
        let entry = self.entry.load(Relaxed);
        (entry as NodeId, (entry >> 32) as u8)
    }

    fn start(&self) {
        self.entry.store(u64::from(self.levels[0]) << 32, Relaxed);
    }

    #[inline(always)]
    fn between(&self, a: NodeId, b: NodeId) -> f32 {
        let (fa, fb) = (&self.factors[a as usize], &self.factors[b as usize]);
        self.codec.between(self.codes.get(a), fa, self.codes.get(b), fb)
    }

    /// Inserts a node: searches all levels, writes the node's own lists, and only then lets others link to it, the
    /// protected link first. So whoever finds the node finds it complete and under the root.
    fn insert(&self, id: NodeId, scratch: &mut Scratch) {
        let level = self.level(id);
        let (entry, top) = self.entry_point();
        let mut view = View { built: self, query: id };
        let Scratch { search, found, plan, candidates, held } = scratch;
        found.clear();
        found.push(Scored { score: self.between(id, entry), id: entry });
        plan.resize_with(plan.len().max(usize::from(level) + 1), Vec::new);
        plan.iter_mut().for_each(Vec::clear);
        for at in (0..=top).rev() {
            search.reset(false);
            for &seed in found.iter() {
                search.seed(seed);
            }
            let ef = if at > level { 1 } else { self.options.ef_construction };
            let Ok(()) = search.run(&mut view, at, ef);
            search.take_nearest(found);
            if at <= level {
                let edges = &mut plan[usize::from(at)];
                candidates.clear();
                candidates.extend(found.iter().map(|f| Edge::new(f.score, f.id)));
                let max = max_links(self.options.m, at);
                select(candidates, max, edges, |a, b| {
                    self.between(candidates[a].id, candidates[b].id)
                });
                let (links, range) = self.list(id, at);
                for (slot, &edge) in range.zip(edges.iter()) {
                    links.set(slot, edge);
                }
            }
        }
        let parent = self.adopt(id, found, &plan[0], held);
        for (at, edges) in plan.iter().enumerate() {
            for edge in edges.iter().filter(|edge| at > 0 || edge.id != parent) {
                let back = Edge::new(edge.score, id);
                self.offer(edge.id, at as u8, back, held);
            }
        }
        if level > top {
            let _guard = self.entry_lock.lock().unwrap_or_else(PoisonError::into_inner);
            if level > self.entry_point().1 {
                self.entry.store(u64::from(level) << 32 | u64::from(id), Relaxed);
            }
        }
    }

    /// Gives the node its one protected link: from the nearest node that has room for it.
    fn adopt(&self, id: NodeId, found: &[Scored], edges: &[Edge], held: &mut Vec<Edge>) -> NodeId {
        let near =
            edges.iter().map(|e| (e.id, e.score)).chain(found.iter().map(|f| (f.id, f.score)));
        for (parent, score) in near {
            if self.offer(parent, 0, Edge { id, score, protected: true, spare: false }, held) {
                return parent;
            }
        }
        // All are full: somewhere below the nearest of them is one that is not.
        let mut below: Vec<NodeId> = found.first().map(|f| f.id).into_iter().collect();
        let mut at = 0;
        loop {
            let parent = below[at];
            let score = self.between(id, parent);
            if self.offer(parent, 0, Edge { id, score, protected: true, spare: false }, held) {
                return parent;
            }
            below.extend(held.iter().filter(|e| e.protected && e.id != id).map(|e| e.id));
            at += 1;
        }
    }

    /// Adds an edge to a node's list if it is worth a place, or, when it is protected, if the node has room for
    /// another. Leaves in `held` what the list was.
    fn offer(&self, holder: NodeId, level: u8, edge: Edge, held: &mut Vec<Edge>) -> bool {
        let _guard = self.lock(holder);
        let (links, range) = self.list(holder, level);
        held.clear();
        held.extend(range.clone().map_while(|at| links.edge(at)));
        if edge.protected
            && held.iter().filter(|e| e.protected).count() >= max_protected(self.options.m)
        {
            return false;
        }
        let change = offer(held, range.len(), edge, |at| self.between(edge.id, held[at].id));
        let Some(change) = change else { return false };
        for at in change.demoted {
            links.set(range.start + at, Edge { spare: true, ..held[at] });
        }
        links.set(range.start + change.at, Edge { spare: change.spare, ..edge });
        true
    }

    fn lock(&self, id: NodeId) -> std::sync::MutexGuard<'_, ()> {
        self.locks[id as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The graph as seen by the insertion of one node.
struct View<'a> {
    built: &'a Built,
    query: NodeId,
}

impl Graph for View<'_> {
    type Item = Scored;
    type Error = std::convert::Infallible;

    fn links(
        &mut self,
        from: &Scored,
        level: u8,
        out: &mut Vec<NodeId>,
    ) -> Result<(), Self::Error> {
        let (links, range) = self.built.list(from.id(), level);
        out.clear();
        out.extend(
            links.links[range]
                .iter()
                .map(|l| Link(l.load(Relaxed)))
                .take_while(|l| !l.is_empty())
                .map(Link::id),
        );
        Ok(())
    }

    fn score(&mut self, ids: &mut [NodeId], out: &mut Vec<Scored>) -> Result<(), Self::Error> {
        const AHEAD: usize = 3;
        for &id in ids.iter().take(AHEAD) {
            prefetch(self.built.codes.get(id));
        }
        for (at, &id) in ids.iter().enumerate() {
            if let Some(&next) = ids.get(at + AHEAD) {
                prefetch(self.built.codes.get(next));
            }
            out.push(Scored { score: self.built.between(self.query, id), id });
        }
        Ok(())
    }
}
