//! The best documents of a query in one segment: MaxScore (Turtle and Flood, 1995) with a bound for each block (Ding and
//! Suel, 2011), in windows of documents, as Lucene does it.
//!
//! Terms that cannot together bring a document above the worst of the best so far need not be gone through: only the other
//! ones, which are called essential, say which documents to look at. That is decided once by the bounds of whole lists, and
//! again in each window by the bounds of blocks; a window ends where the first block of an essential term does.

use super::cursor::{Cursor, Scale};
use super::{Fault, Pages, QueryTerm, Scorer, Segment, TermEntry, Top};

/// Documents whose scores are summed up at a time.
const SPAN: usize = 2048;

/// A window of several essential terms has at least so many documents for each: what a window costs must pay.
const LEAST: u32 = 128;

/// What a search did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchStats {
    /// Blocks that were read.
    pub blocks: u64,
    /// Postings whose part was computed because they were in an essential block.
    pub postings: u64,
    /// Documents that were offered.
    pub documents: u64,
}

/// Shows `top` the documents of a segment that have terms of a query. The terms are the same for all segments and for the
/// write buffer, also where a segment lacks some; `entries` is what its dictionary says of each. `has_dead` says that some
/// documents may be dead.
pub fn search<P: Pages>(
    segment: &Segment<P>,
    terms: &[QueryTerm],
    entries: &[Option<TermEntry>],
    scorer: &Scorer,
    has_dead: bool,
    top: &mut Top,
) -> Result<SearchStats, Fault> {
    let saved = (!has_dead && top.defers()).then(|| top.saved());
    let mut stats = SearchStats::default();
    Search::new(segment, terms, entries, scorer, has_dead)?.run(top, &mut stats)?;
    if let Some(saved) = saved
        && !top.settle(segment)?
    {
        // A document died meanwhile.
        *top = saved;
        Search::new(segment, terms, entries, scorer, true)?.run(top, &mut stats)?;
    }
    Ok(stats)
}

struct Search<'a, P: Pages> {
    segment: &'a Segment<P>,
    has_dead: bool,
    scale: Scale,
    /// Least bound first.
    cursors: Vec<Cursor>,
    /// Terms that say which documents of the window to look at.
    essential: Vec<usize>,
    /// The other ones, greatest bound first, with what they and those after them can add.
    others: Vec<(usize, f64)>,
    /// Documents that may be among the best, with the sum of what was found so far.
    candidates: Vec<(u32, f64)>,
    sums: Vec<f64>,
    touched: Vec<u64>,
}

impl<'a, P: Pages> Search<'a, P> {
    fn new(
        segment: &'a Segment<P>,
        terms: &'a [QueryTerm],
        entries: &[Option<TermEntry>],
        scorer: &'a Scorer,
        has_dead: bool,
    ) -> Result<Self, Fault> {
        let scale = Scale::new(&segment.summary, scorer, terms);
        let mut cursors = Vec::with_capacity(terms.len());
        for (term, entry) in terms.iter().zip(entries) {
            if let Some(entry) = entry {
                cursors.push(Cursor::new(segment, term, entry, &scale)?);
            }
        }
        cursors.sort_by(|a, b| a.bound.total_cmp(&b.bound));
        Ok(Search {
            segment,
            has_dead,
            scale,
            cursors,
            essential: Vec::new(),
            others: Vec::new(),
            candidates: Vec::new(),
            sums: Vec::new(),
            touched: Vec::new(),
        })
    }

    fn run(&mut self, top: &mut Top, stats: &mut SearchStats) -> Result<(), Fault> {
        let documents = self.segment.summary.documents;
        let mut from = 0;
        while from < documents {
            // Terms that are not essential anywhere from here on.
            let (mut first, mut cheap) = (0, 0.0);
            let threshold = top.threshold();
            while let Some(cursor) = self.cursors.get(first)
                && cheap + cursor.bound <= threshold
            {
                cheap += cursor.bound;
                first += 1;
            }
            let mut end = None;
            let (mut several, mut exhausted) = (0, false);
            for cursor in &mut self.cursors[first..] {
                if !cursor.shallow(from) {
                    exhausted = true;
                    continue;
                }
                several += 1;
                let last = cursor.last();
                end = Some(end.map_or(last, |end: u32| end.min(last)));
            }
            let Some(mut end) = end else { return Ok(()) };
            if exhausted {
                let mut place = 0;
                self.cursors.retain_mut(|cursor| {
                    place += 1;
                    place <= first || cursor.shallow(from)
                });
            }
            if several > 1 {
                end = end.max(from.saturating_add(several * LEAST)).min(documents - 1);
            }
            self.window(first, from, end, top, stats)?;
            from = end + 1;
        }
        Ok(())
    }

    /// Looks at the documents of a window. The cursors below `first` are not essential anywhere.
    fn window(
        &mut self,
        first: usize,
        from: u32,
        end: u32,
        top: &mut Top,
        stats: &mut SearchStats,
    ) -> Result<(), Fault> {
        let mut total = 0.0;
        let here = &mut self.others;
        here.clear();
        for (i, cursor) in self.cursors.iter_mut().enumerate() {
            if !cursor.shallow(from) {
                continue;
            }
            if i >= first && cursor.is_short() {
                cursor.load(self.segment, stats)?;
            }
            if let Some(bound) = cursor.bound_within(from, end, &self.scale) {
                total += bound;
                here.push((i, bound));
            }
        }
        let threshold = top.threshold();
        if total <= threshold {
            return Ok(());
        }
        // The greatest bounds first; from the end on, as many are not essential as cannot bring a document so far.
        here.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (mut split, mut rest) = (here.len(), 0.0);
        while let Some((_, bound)) = split.checked_sub(1).map(|last| &mut here[last])
            && rest + *bound <= threshold
        {
            rest += *bound;
            *bound = rest;
            split -= 1;
        }
        self.essential.clear();
        self.essential.extend(here.drain(..split).map(|(i, _)| i));
        self.candidates.clear();
        match *self.essential {
            [only] => self.one(only, rest, from, end, top, stats),
            _ => self.several(rest, from, end, top, stats),
        }
    }

    /// A window with one essential term. The other ones can add `rest`.
    fn one(
        &mut self,
        only: usize,
        rest: f64,
        from: u32,
        end: u32,
        top: &mut Top,
        stats: &mut SearchStats,
    ) -> Result<(), Fault> {
        let mut from = from;
        while from <= end && self.cursors[only].shallow(from) {
            let cursor = &mut self.cursors[only];
            let last = cursor.last().min(end);
            let least = top.threshold() - rest;
            if cursor.block_bound(&self.scale) > least {
                cursor.load(self.segment, stats)?;
                cursor.score(&self.scale, stats);
                let range = cursor.place(from)..cursor.place(last.saturating_add(1));
                let postings = cursor.docs()[range.clone()].iter().zip(&cursor.scores()[range]);
                let kept = postings.filter(|posting| *posting.1 > least);
                self.candidates.extend(kept.map(|(&doc, &score)| (doc, score)));
                self.weigh(top, stats)?;
            }
            from = last.saturating_add(1);
        }
        Ok(())
    }

    /// A window with several essential terms, whose parts are summed up for a span of documents at a time.
    fn several(
        &mut self,
        rest: f64,
        from: u32,
        end: u32,
        top: &mut Top,
        stats: &mut SearchStats,
    ) -> Result<(), Fault> {
        self.sums.resize(SPAN, 0.0);
        self.touched.resize(SPAN / 64, 0);
        let mut from = from;
        loop {
            // Begin with the next document that there is.
            let mut base = None;
            for &i in &self.essential {
                let cursor = &mut self.cursors[i];
                if !cursor.shallow(from) {
                    continue;
                }
                cursor.load(self.segment, stats)?;
                let doc = cursor.docs().get(cursor.place(from)).copied();
                base = base.into_iter().chain(doc).min();
            }
            let Some(base) = base.filter(|&base| base <= end) else { return Ok(()) };
            let last = end.min(base.saturating_add(SPAN as u32 - 1));
            for n in 0..self.essential.len() {
                self.sum_up(self.essential[n], base, last, stats)?;
            }
            let least = top.threshold() - rest;
            for word in 0..=(last - base) as usize / 64 {
                let mut bits = std::mem::take(&mut self.touched[word]);
                while bits != 0 {
                    let place = word * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    let score = std::mem::take(&mut self.sums[place]);
                    if score > least {
                        self.candidates.push((base + place as u32, score));
                    }
                }
            }
            self.weigh(top, stats)?;
            if last == end {
                return Ok(());
            }
            from = last + 1;
        }
    }

    /// Adds what a term adds to scores of the documents from `base` to `last`.
    fn sum_up(
        &mut self,
        essential: usize,
        base: u32,
        last: u32,
        stats: &mut SearchStats,
    ) -> Result<(), Fault> {
        let cursor = &mut self.cursors[essential];
        let mut from = base;
        while cursor.shallow(from) {
            cursor.load(self.segment, stats)?;
            let begin = cursor.place(from);
            if cursor.docs().get(begin).is_none_or(|&doc| doc > last) {
                return Ok(());
            }
            cursor.score(&self.scale, stats);
            for (&doc, &score) in cursor.docs()[begin..].iter().zip(&cursor.scores()[begin..]) {
                if doc > last {
                    return Ok(());
                }
                let place = (doc - base) as usize;
                self.sums[place] += score;
                self.touched[place / 64] |= 1 << (place % 64);
            }
            if cursor.last() >= last {
                return Ok(());
            }
            from = cursor.last() + 1;
        }
        Ok(())
    }

    /// Looks for the candidates in the other terms, as long as they may be among the best; offers those that still may.
    fn weigh(&mut self, top: &mut Top, stats: &mut SearchStats) -> Result<(), Fault> {
        let threshold = top.threshold();
        for n in 0..self.others.len() {
            let (other, rest) = self.others[n];
            self.candidates.retain(|candidate| candidate.1 + rest > threshold);
            if self.candidates.is_empty() {
                return Ok(());
            }
            let after = self.others.get(n + 1).map_or(0.0, |other| other.1);
            let cursor = &mut self.cursors[other];
            let (mut block, mut bound) = (usize::MAX, 0.0);
            let mut kept = 0;
            for i in 0..self.candidates.len() {
                let (doc, mut score) = self.candidates[i];
                if cursor.shallow(doc) {
                    if cursor.block != block {
                        (block, bound) = (cursor.block, cursor.block_bound(&self.scale));
                    }
                    if score + bound + after <= threshold {
                        continue;
                    }
                    cursor.load(self.segment, stats)?;
                    score += cursor.next(doc, &self.scale).unwrap_or(0.0);
                }
                self.candidates[kept] = (doc, score);
                kept += 1;
            }
            self.candidates.truncate(kept);
        }
        for i in 0..self.candidates.len() {
            let (doc, score) = self.candidates[i];
            if score > top.threshold() {
                stats.documents += 1;
                top.offer_document(self.segment, score, doc, self.has_dead)?;
            }
        }
        self.candidates.clear();
        Ok(())
    }
}
