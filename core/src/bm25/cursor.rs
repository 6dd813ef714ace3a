//! A term of a query in one segment during a search: its blocks with their bounds, and the one that is in memory.

use super::block::BLOCK;
use super::loaded::Loaded;
use super::segment::{Bound, List, Segment, Skip, TermEntry};
use super::{Fault, Grid, Pages, QueryTerm, Scorer, SearchStats, Summary};

/// So many blocks or documents are looked at one after the other.
const NEAR: usize = 8;

/// What postings and bounds add to scores.
pub struct Scale {
    scorer: Scorer,
    grid: Grid,
    /// By which the bounds were computed.
    bounds: Scorer,
    /// How much longer documents are on average than then; nothing where bounds are of no use.
    growth: Option<f64>,
}

impl Scale {
    /// For a query in a segment. With other numbers than the segment's its bounds tell nothing.
    pub fn new(summary: &Summary, scorer: &Scorer, terms: &[QueryTerm]) -> Scale {
        let same = summary.params == scorer.params;
        let growth = (scorer.avgdl / summary.average_length).max(1.0);
        Scale {
            scorer: *scorer,
            grid: Grid::of(terms),
            bounds: Scorer::new(summary.params, summary.average_length),
            growth: same.then_some(growth),
        }
    }

    /// What a posting adds.
    #[inline]
    fn added(&self, weight: f64, tf: u32, length: u32) -> f64 {
        self.grid.round(weight * self.scorer.part(tf, length))
    }

    /// The most that is added under a bound. A part is x / (1 + x) where x = tf / K, and K shrinks at the most as the
    /// average length grows.
    #[inline]
    fn bound(&self, weight: f64, bound: Bound) -> f64 {
        let part = match self.growth {
            None => 1.0,
            Some(1.0) => bound.part(&self.bounds),
            Some(growth) => {
                let part = bound.part(&self.bounds);
                // Rounding must not bring it below what it bounds.
                (part * growth / (1.0 - part + part * growth) * (1.0 + 1e-12)).min(1.0)
            }
        };
        self.grid.round(weight * part)
    }
}

/// A term of a query in one segment.
pub struct Cursor {
    weight: f64,
    /// The most it adds to a score anywhere.
    pub bound: f64,
    /// The block that has, if any has, the document that was asked for last.
    pub block: usize,
    blocks: Vec<Skip>,
    postings: u32,
    memory: Box<Memory>,
}

/// The block in memory.
#[derive(Default)]
struct Memory {
    /// Which it is.
    block: Option<usize>,
    count: usize,
    /// Were all its counts and lengths unpacked?
    scored: bool,
    /// Documents before this place are below the one that was looked for last.
    at: usize,
    loaded: Loaded,
    numbers: Numbers,
}

/// What is unpacked of a block besides its documents.
struct Numbers {
    tfs: [u32; BLOCK],
    lengths: [u32; BLOCK],
    /// What the postings add to scores.
    scores: [f64; BLOCK],
}

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers { tfs: [0; BLOCK], lengths: [0; BLOCK], scores: [0.0; BLOCK] }
    }
}

impl Cursor {
    /// A cursor before the first posting.
    pub fn new<P: Pages>(
        segment: &Segment<P>,
        term: &QueryTerm,
        entry: &TermEntry,
        scale: &Scale,
    ) -> Result<Cursor, Fault> {
        let mut memory = Box::<Memory>::default();
        let mut blocks = Vec::new();
        let bound = match &entry.list {
            List::Inline(postings) => {
                let Memory { loaded, numbers, .. } = &mut *memory;
                let postings = &postings[..entry.postings as usize];
                let mut greatest = 0.0f64;
                for (i, posting) in postings.iter().enumerate() {
                    loaded.docs[i] = posting.doc;
                    let added = scale.added(term.weight, posting.tf, posting.length);
                    greatest = greatest.max(added);
                    numbers.scores[i] = added;
                }
                let last = postings.last().map_or(0, |posting| posting.doc);
                blocks.push(Skip { last, bound: Bound::of(u32::MAX, 0), page: 0, offset: 0 });
                (memory.block, memory.count, memory.scored) = (Some(0), postings.len(), true);
                greatest
            }
            List::Block(skip) => scale.bound(term.weight, skip.bound),
            List::Blocks(_, _, bound) => scale.bound(term.weight, *bound),
        };
        if blocks.is_empty() {
            segment.blocks(entry, &mut blocks)?;
        }
        Ok(Cursor {
            weight: term.weight,
            bound,
            block: 0,
            blocks,
            postings: entry.postings,
            memory,
        })
    }

    /// Is there one block only?
    #[inline]
    pub fn is_short(&self) -> bool {
        self.blocks.len() == 1
    }

    /// Goes to the block that can have a document, or one after it. False if there is none.
    #[inline]
    pub fn shallow(&mut self, doc: u32) -> bool {
        match self.blocks.get(self.block) {
            Some(skip) if skip.last < doc => self.skip_blocks(doc),
            Some(_) => true,
            None => false,
        }
    }

    fn skip_blocks(&mut self, doc: u32) -> bool {
        let rest = &self.blocks[self.block..];
        let near = rest.iter().take(8).position(|skip| skip.last >= doc);
        self.block += near.unwrap_or_else(|| rest.partition_point(|skip| skip.last < doc));
        self.block < self.blocks.len()
    }

    /// The last document of the block.
    #[inline]
    pub fn last(&self) -> u32 {
        self.blocks[self.block].last
    }

    /// The most that the block adds to a score.
    #[inline]
    pub fn block_bound(&self, scale: &Scale) -> f64 {
        self.bound.min(scale.bound(self.weight, self.blocks[self.block].bound))
    }

    /// The most that it adds to scores of documents from `from` to `end`, the block being that of `from`; `None` if it is
    /// known to be in none of them.
    #[inline]
    pub fn bound_within(&self, from: u32, end: u32, scale: &Scale) -> Option<f64> {
        let rest = &self.blocks[self.block..];
        if self.memory.block == Some(self.block)
            && rest[0].last >= end
            && self.docs().get(self.place(from)).is_none_or(|&doc| doc > end)
        {
            return None;
        }
        let mut greatest = 0.0f64;
        for (i, skip) in rest.iter().enumerate() {
            if i == NEAR {
                return Some(self.bound);
            }
            greatest = greatest.max(scale.bound(self.weight, skip.bound));
            if skip.last >= end {
                break;
            }
        }
        Some(self.bound.min(greatest))
    }

    /// The documents of the block in memory.
    #[inline]
    pub fn docs(&self) -> &[u32] {
        &self.memory.loaded.docs[..self.memory.count]
    }

    /// What the postings of the block in memory add to scores.
    #[inline]
    pub fn scores(&self) -> &[f64] {
        &self.memory.numbers.scores[..self.memory.count]
    }

    /// The first place of the block in memory whose document is not below `doc`.
    #[inline]
    pub fn place(&self, doc: u32) -> usize {
        self.docs().partition_point(|&other| other < doc)
    }

    /// Brings the block to memory.
    #[inline]
    pub fn load<P: Pages>(
        &mut self,
        segment: &Segment<P>,
        stats: &mut SearchStats,
    ) -> Result<(), Fault> {
        let memory = &mut *self.memory;
        if memory.block != Some(self.block) {
            (memory.block, memory.count, memory.at) = (None, 0, 0);
            memory.loaded.load(segment, &self.blocks, self.block, self.postings)?;
            (memory.block, memory.scored) = (Some(self.block), false);
            memory.count = memory.loaded.count();
            stats.blocks += 1;
        }
        Ok(())
    }

    /// Computes what the postings of the block in memory add to scores.
    #[inline]
    pub fn score(&mut self, scale: &Scale, stats: &mut SearchStats) {
        let Memory { scored, loaded, numbers, .. } = &mut *self.memory;
        if *scored {
            return;
        }
        *scored = true;
        let (shape, bytes) = loaded.block();
        shape.tfs(bytes, &mut numbers.tfs);
        shape.lengths(bytes, &mut numbers.lengths);
        let pairs = numbers.tfs.iter().zip(&numbers.lengths);
        for (score, (&tf, &length)) in numbers.scores.iter_mut().zip(pairs) {
            *score = scale.added(self.weight, tf, length);
        }
        stats.postings += shape.count() as u64;
    }

    /// What a document's posting adds to its score, if it is in the block in memory. Documents that are asked for ascend.
    #[inline]
    pub fn next(&mut self, doc: u32, scale: &Scale) -> Option<f64> {
        let rest = &self.docs()[self.memory.at..];
        let near = rest.iter().take(NEAR).position(|&other| other >= doc);
        let skipped = near.unwrap_or_else(|| rest.partition_point(|&other| other < doc));
        self.memory.at += skipped;
        let place = self.memory.at;
        if self.docs().get(place) != Some(&doc) {
            return None;
        }
        if self.memory.scored {
            return Some(self.memory.numbers.scores[place]);
        }
        let (shape, bytes) = self.memory.loaded.block();
        Some(scale.added(self.weight, shape.tf(bytes, place), shape.length(bytes, place)))
    }
}
