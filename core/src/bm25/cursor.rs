//! A term of a query in one segment during a search: its blocks with their bounds, and the one that is in memory.

use super::block::BLOCK;
use super::segment::{Bound, List, Loaded, Segment, Skip, TermEntry};
use super::{Fault, Pages, QueryTerm, Scorer, SearchStats, Summary};

/// Turns bounds of a segment into bounds of parts at another average length.
pub struct Bounds {
    /// By which the bounds were computed.
    scorer: Scorer,
    /// How much longer documents are on average; nothing where bounds are of no use.
    growth: Option<f64>,
}

impl Bounds {
    /// For the bounds of a segment. With other numbers than the segment's they tell nothing.
    pub fn new(summary: &Summary, scorer: &Scorer) -> Bounds {
        let same = summary.params == scorer.params;
        let growth = (scorer.avgdl / summary.average_length).max(1.0);
        let scorer = Scorer::new(summary.params, summary.average_length);
        Bounds { scorer, growth: same.then_some(growth) }
    }

    /// The greatest part under a bound. Part p is x / (1 + x) where x = tf / K, and K shrinks at the most as the average
    /// length grows.
    #[inline]
    pub fn part(&self, bound: Bound) -> f64 {
        let Some(growth) = self.growth else { return 1.0 };
        let part = bound.part(&self.scorer);
        if growth == 1.0 { part } else { part * growth / (1.0 - part + part * growth) }
    }
}

/// A term of a query in one segment.
pub struct Cursor {
    /// Which term of the query it is.
    pub term: usize,
    /// Its weight.
    pub weight: f64,
    /// The most it adds to a score anywhere.
    pub bound: f64,
    /// The most it adds to a score in the part of the documents that is looked at.
    pub here: f64,
    /// The block that has, if any has, the document that was asked for last.
    pub block: usize,
    blocks: Vec<Skip>,
    postings: u32,
    /// The block in memory, and whether it was decoded and scored.
    in_memory: Option<usize>,
    scored: bool,
    loaded: Loaded,
    tfs: [u32; BLOCK],
    lengths: [u32; BLOCK],
    /// What the postings of the block in memory add to scores.
    pub scores: [f64; BLOCK],
}

impl Cursor {
    /// A cursor before the first posting.
    pub fn new<P: Pages>(
        segment: &Segment<P>,
        index: usize,
        term: &QueryTerm,
        entry: &TermEntry,
        scorer: &Scorer,
        bounds: &Bounds,
    ) -> Result<Cursor, Fault> {
        let mut cursor = Cursor {
            term: index,
            weight: term.weight,
            bound: 0.0,
            here: 0.0,
            block: 0,
            blocks: Vec::new(),
            postings: entry.postings,
            in_memory: None,
            scored: false,
            loaded: Loaded::default(),
            tfs: [0; BLOCK],
            lengths: [0; BLOCK],
            scores: [0.0; BLOCK],
        };
        let part = match &entry.list {
            List::Inline(postings) => {
                let mut greatest = 0.0f64;
                for (i, posting) in postings[..entry.postings as usize].iter().enumerate() {
                    cursor.loaded.docs[i] = posting.doc;
                    (cursor.tfs[i], cursor.lengths[i]) = (posting.tf, posting.length);
                    let part = scorer.part(posting.tf, posting.length);
                    greatest = greatest.max(part);
                    cursor.scores[i] = term.weight * part;
                }
                let last = cursor.loaded.docs[entry.postings as usize - 1];
                cursor.blocks.push(Skip {
                    last,
                    bound: Bound::of(u32::MAX, 0),
                    page: 0,
                    offset: 0,
                });
                (cursor.in_memory, cursor.scored) = (Some(0), true);
                greatest
            }
            List::Block(skip) => bounds.part(skip.bound),
            List::Blocks(_, _, bound) => bounds.part(*bound),
        };
        if cursor.blocks.is_empty() {
            segment.blocks(entry, &mut cursor.blocks)?;
        }
        cursor.bound = part * term.weight;
        Ok(cursor)
    }

    /// Is there one block only?
    #[inline]
    pub fn is_short(&self) -> bool {
        self.blocks.len() == 1
    }

    /// Goes to the block that can have a document, or one after it. False if there is none.
    #[inline]
    pub fn shallow(&mut self, doc: u32) -> bool {
        let rest = &self.blocks[self.block..];
        if rest.first().is_some_and(|skip| skip.last < doc) {
            let near = rest.iter().take(8).position(|skip| skip.last >= doc);
            self.block += near.unwrap_or_else(|| rest.partition_point(|skip| skip.last < doc));
        }
        self.block < self.blocks.len()
    }

    /// The last document of the block.
    #[inline]
    pub fn last(&self) -> u32 {
        self.blocks[self.block].last
    }

    /// The most that the block adds to a score.
    #[inline]
    pub fn block_bound(&self, bounds: &Bounds) -> f64 {
        let bound = bounds.part(self.blocks[self.block].bound) * self.weight;
        self.bound.min(bound)
    }

    /// Is it known without a look at a page that no posting lies from `from` to `end`?
    #[inline]
    pub fn misses(&self, from: u32, end: u32) -> bool {
        self.in_memory == Some(self.block) && {
            let at = self.docs().partition_point(|&doc| doc < from);
            self.docs().get(at).is_none_or(|&doc| doc > end)
        }
    }

    /// The documents of the block in memory.
    #[inline]
    pub fn docs(&self) -> &[u32] {
        match self.in_memory {
            Some(block) => &self.loaded.docs[..(self.postings as usize - block * BLOCK).min(BLOCK)],
            None => &[],
        }
    }

    /// Brings the block to memory.
    #[inline]
    pub fn load<P: Pages>(
        &mut self,
        segment: &Segment<P>,
        stats: &mut SearchStats,
    ) -> Result<(), Fault> {
        if self.in_memory != Some(self.block) {
            self.in_memory = None;
            segment.load(&self.blocks, self.block, self.postings, &mut self.loaded)?;
            (self.in_memory, self.scored) = (Some(self.block), false);
            stats.blocks += 1;
        }
        Ok(())
    }

    /// Computes what the postings of the block in memory add to scores.
    #[inline]
    pub fn score(&mut self, scorer: &Scorer, stats: &mut SearchStats) {
        if self.scored {
            return;
        }
        self.scored = true;
        self.loaded.shape.tfs(&self.loaded.bytes, &mut self.tfs);
        self.loaded.shape.lengths(&self.loaded.bytes, &mut self.lengths);
        for ((score, &tf), &length) in self.scores.iter_mut().zip(&self.tfs).zip(&self.lengths) {
            let tf = f64::from(tf);
            *score = self.weight * (tf / (tf + (scorer.base + scorer.slope * f64::from(length))));
        }
        stats.postings += self.loaded.shape.count() as u64;
    }

    /// How often a document has the term, and its length, if it is in the block in memory.
    #[inline]
    pub fn find(&self, doc: u32) -> Option<(u32, u32)> {
        let docs = self.docs();
        let at = docs.partition_point(|&other| other < doc);
        if docs.get(at) != Some(&doc) {
            return None;
        }
        if self.scored {
            return Some((self.tfs[at], self.lengths[at]));
        }
        let Loaded { bytes, shape, .. } = &self.loaded;
        Some((shape.tf(bytes, at), shape.length(bytes, at)))
    }
}
