//! Best-first search of one level (algorithm 2 of the paper), resumable so that a scan can ask for more.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::graph::{Graph, Item, NodeId};
use super::visited::Visited;

/// Orders items by score, the farthest first, as `BinaryHeap` pops the greatest.
#[derive(Clone, Copy)]
struct Far<I>(I);
/// Orders items by score, the nearest first.
#[derive(Clone, Copy)]
struct Near<I>(I);

fn compare<I: Item>(a: &I, b: &I) -> Ordering {
    a.score().total_cmp(&b.score()).then_with(|| a.id().cmp(&b.id()))
}

macro_rules! order_by {
    ($name:ident, |$a:ident, $b:ident| $compare:expr) => {
        impl<I: Item> Ord for $name<I> {
            fn cmp(&self, other: &Self) -> Ordering {
                let ($a, $b) = (&self.0, &other.0);
                $compare
            }
        }
        impl<I: Item> PartialOrd for $name<I> {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl<I: Item> PartialEq for $name<I> {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other) == Ordering::Equal
            }
        }
        impl<I: Item> Eq for $name<I> {}
    };
}
order_by!(Far, |a, b| compare(a, b));
order_by!(Near, |a, b| compare(b, a));

/// The state of a search. Kept and used again, it allocates nothing.
pub struct Search<I> {
    /// Met, not yet expanded.
    candidates: BinaryHeap<Near<I>>,
    /// The `ef` nearest so far.
    nearest: BinaryHeap<Far<I>>,
    /// Met and not among the nearest; kept only when the search may be resumed.
    discarded: BinaryHeap<Near<I>>,
    keep_discarded: bool,
    visited: Visited,
    links: Vec<NodeId>,
    scored: Vec<I>,
}

impl<I: Item> Default for Search<I> {
    fn default() -> Self {
        Search {
            candidates: BinaryHeap::new(),
            nearest: BinaryHeap::new(),
            discarded: BinaryHeap::new(),
            keep_discarded: false,
            visited: Visited::default(),
            links: Vec::new(),
            scored: Vec::new(),
        }
    }
}

impl<I: Item> Search<I> {
    /// Forgets the last search. With `resumable`, [`Search::resume`] can ask for the next nearest later.
    pub fn reset(&mut self, resumable: bool) {
        self.candidates.clear();
        self.nearest.clear();
        self.discarded.clear();
        self.keep_discarded = resumable;
        self.visited.clear();
    }

    /// Adds a scored node to start from, unless the search has met it.
    pub fn seed(&mut self, item: I) -> bool {
        let fresh = self.visited.insert(item.id());
        if fresh {
            self.candidates.push(Near(item));
            if item.is_result() {
                self.nearest.push(Far(item));
            }
        }
        fresh
    }

    /// Walks `level` from the seeds until the `ef` nearest are expanded.
    pub fn run<G: Graph<Item = I>>(
        &mut self,
        graph: &mut G,
        level: u8,
        ef: usize,
    ) -> Result<(), G::Error> {
        while let Some(&Near(next)) = self.candidates.peek() {
            if self.nearest.len() >= ef
                && self.nearest.peek().is_some_and(|worst| next.score() > worst.0.score())
            {
                break;
            }
            self.candidates.pop();
            graph.links(&next, level, &mut self.links)?;
            let visited = &mut self.visited;
            self.links.retain(|&id| visited.insert(id));
            self.scored.clear();
            graph.score(&mut self.links, &mut self.scored)?;
            for i in 0..self.scored.len() {
                self.consider(self.scored[i], ef);
            }
        }
        Ok(())
    }

    fn consider(&mut self, item: I, ef: usize) {
        let wanted = self.nearest.len() < ef
            || self.nearest.peek().is_some_and(|worst| item.score() < worst.0.score());
        if wanted || self.keep_discarded {
            self.candidates.push(Near(item));
        }
        if !item.is_result() {
            return;
        }
        if wanted {
            self.nearest.push(Far(item));
            if self.nearest.len() > ef
                && let Some(Far(worst)) = self.nearest.pop()
                && self.keep_discarded
            {
                self.discarded.push(Near(worst));
            }
        } else if self.keep_discarded {
            self.discarded.push(Near(item));
        }
    }

    /// Takes the results so far and walks on for the next `ef`. Only after `reset(true)`.
    pub fn resume<G: Graph<Item = I>>(
        &mut self,
        graph: &mut G,
        level: u8,
        ef: usize,
    ) -> Result<(), G::Error> {
        debug_assert!(self.nearest.is_empty());
        self.refill(ef);
        self.run(graph, level, ef)
    }

    /// Makes the nearest of what was set aside the results again, without looking further.
    pub fn refill(&mut self, ef: usize) {
        while self.nearest.len() < ef {
            match self.discarded.pop() {
                Some(Near(item)) => self.nearest.push(Far(item)),
                None => break,
            }
        }
    }

    /// Whether nothing is left to expand or to hand out.
    pub fn is_exhausted(&self) -> bool {
        self.candidates.is_empty() && self.discarded.is_empty() && self.nearest.is_empty()
    }

    /// Forgets which nodes it has met, so that it can walk the graph again, and gives them. Only when exhausted.
    pub fn start_over(&mut self) -> Visited {
        debug_assert!(self.is_exhausted());
        std::mem::take(&mut self.visited)
    }

    /// How many results there are to take.
    pub fn results(&self) -> usize {
        self.nearest.len()
    }

    /// Whether there are results to take.
    pub fn has_results(&self) -> bool {
        !self.nearest.is_empty()
    }

    /// Moves the results to `out`, nearest first.
    pub fn take_nearest(&mut self, out: &mut Vec<I>) {
        out.clear();
        out.extend(self.nearest.drain().map(|far| far.0));
        out.sort_unstable_by(compare);
    }

    /// Whether the search has met `id`.
    pub fn visited_nodes(&self) -> usize {
        self.visited.len()
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        (self.candidates.capacity() + self.nearest.capacity() + self.discarded.capacity())
            * size_of::<I>()
            + self.visited.memory_bytes()
    }
}
