//! The best documents of a query in one segment: MaxScore (Turtle and Flood, 1995) with a bound for each block (Ding and
//! Suel, 2011), in windows of documents, as Lucene does it.
//!
//! Terms that cannot together bring a document above the worst of the best so far need not be gone through: only the other
//! ones, which are called essential, say which documents to look at. That is decided once by the bounds of whole lists, and
//! again in each window by the bounds of blocks; a window ends where the first block of an essential term does. Sums
//! in any order tell which documents may be among the best; only the scores of those are summed up as they must be.

use super::cursor::{Bounds, Cursor};
use super::{Fault, Pages, QueryTerm, Scorer, Segment, TermEntry, Top};

/// Documents whose scores are summed up at a time.
const SPAN: usize = 2048;

/// What a search did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchStats {
    /// Blocks that were read.
    pub blocks: u64,
    /// Postings whose part was computed because they were in an essential block.
    pub postings: u64,
    /// Documents whose exact score was computed.
    pub documents: u64,
}

/// Shows `top` the documents of a segment that have terms of a query. `entries` is what the dictionary says of each term;
/// `has_dead` says that some documents may be dead.
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
    terms: &'a [QueryTerm],
    scorer: &'a Scorer,
    has_dead: bool,
    bounds: Bounds,
    /// Least bound first.
    cursors: Vec<Cursor>,
    /// Sums of bounds times this are not below what rounding makes of a score.
    slack: f64,
    /// Terms that say which documents of the window to look at.
    essential: Vec<usize>,
    /// The other ones with what they can add: greatest bound first, then summed up from the end.
    others: Vec<(usize, f64)>,
    /// How often a document has each term.
    tfs: Vec<u32>,
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
        let bounds = Bounds::new(&segment.summary, scorer);
        let mut cursors = Vec::with_capacity(terms.len());
        for (i, (term, entry)) in terms.iter().zip(entries).enumerate() {
            if let Some(entry) = entry {
                cursors.push(Cursor::new(segment, i, term, entry, scorer, &bounds)?);
            }
        }
        cursors.sort_by(|a, b| a.bound.total_cmp(&b.bound));
        Ok(Search {
            segment,
            terms,
            scorer,
            has_dead,
            bounds,
            cursors,
            slack: 1.0 + 4.0 * (terms.len() + 8) as f64 * f64::EPSILON,
            essential: Vec::new(),
            others: Vec::new(),
            tfs: vec![0; terms.len()],
            sums: Vec::new(),
            touched: Vec::new(),
        })
    }

    /// Can a document with such a bound be among the best?
    #[inline]
    fn enters(&self, bound: f64, top: &Top) -> bool {
        bound * self.slack >= top.least()
    }

    fn run(&mut self, top: &mut Top, stats: &mut SearchStats) -> Result<(), Fault> {
        let documents = self.segment.summary.documents;
        let mut from = 0;
        while from < documents {
            // Terms that are not essential anywhere from here on.
            let (mut first, mut cheap) = (0, 0.0);
            while let Some(cursor) = self.cursors.get(first)
                && !self.enters(cheap + cursor.bound, top)
            {
                cheap += cursor.bound;
                first += 1;
            }
            let mut end = None;
            let mut exhausted = false;
            for cursor in &mut self.cursors[first..] {
                if !cursor.shallow(from) {
                    exhausted = true;
                    continue;
                }
                let last = cursor.last();
                end = Some(end.map_or(last, |end: u32| end.min(last)));
            }
            let Some(end) = end else { return Ok(()) };
            if exhausted {
                let mut place = 0;
                self.cursors.retain_mut(|cursor| {
                    place += 1;
                    place <= first || cursor.shallow(from)
                });
            }
            self.window(first, cheap, from, end, top, stats)?;
            from = end + 1;
        }
        Ok(())
    }

    /// Looks at the documents of a window. The cursors below `first` can add `cheap`, which is not enough; the other ones
    /// are each at the block that has the window.
    fn window(
        &mut self,
        first: usize,
        cheap: f64,
        from: u32,
        end: u32,
        top: &mut Top,
        stats: &mut SearchStats,
    ) -> Result<(), Fault> {
        let mut total = cheap;
        self.essential.clear();
        for i in first..self.cursors.len() {
            let cursor = &mut self.cursors[i];
            cursor.here = cursor.block_bound(&self.bounds);
            if cursor.is_short() {
                cursor.load(self.segment, stats)?;
            }
            if !cursor.misses(from, end) {
                total += cursor.here;
                self.essential.push(i);
            }
        }
        if !self.enters(total, top) {
            return Ok(());
        }
        let cursors = &mut self.cursors;
        self.essential.sort_by(|&a, &b| cursors[a].here.total_cmp(&cursors[b].here));
        self.others.clear();
        for (i, cursor) in cursors.iter_mut().enumerate().take(first) {
            cursor.here = cursor.bound;
            self.others.push((i, cursor.here));
        }
        let (mut moved, mut sum) = (0, cheap);
        while let Some(&i) = self.essential.get(moved)
            && (sum + cursors[i].here) * self.slack < top.least()
        {
            sum += cursors[i].here;
            self.others.push((i, cursors[i].here));
            moved += 1;
        }
        self.essential.drain(..moved);
        self.others.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut sum = 0.0;
        for other in self.others.iter_mut().rev() {
            sum += other.1;
            other.1 = sum;
        }
        for &i in &self.essential {
            let cursor = &mut self.cursors[i];
            cursor.load(self.segment, stats)?;
            cursor.score(self.scorer, stats);
        }
        match *self.essential {
            [only] => self.one(only, sum, from, end, top, stats),
            _ => self.several(sum, from, end, top, stats),
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
        let docs = self.cursors[only].docs();
        let range =
            docs.partition_point(|&doc| doc < from)..docs.partition_point(|&doc| doc <= end);
        for i in range {
            let score = self.cursors[only].scores[i];
            if self.enters(score + rest, top) {
                let doc = self.cursors[only].docs()[i];
                self.weigh(doc, score, top, stats)?;
            }
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
            let next = |&i: &usize| {
                let docs = self.cursors[i].docs();
                docs.get(docs.partition_point(|&doc| doc < from)).copied()
            };
            let Some(base) = self.essential.iter().filter_map(next).min() else { return Ok(()) };
            if base > end {
                return Ok(());
            }
            let last = end.min(base.saturating_add(SPAN as u32 - 1));
            for &i in &self.essential {
                let cursor = &self.cursors[i];
                let docs = cursor.docs();
                let begin = docs.partition_point(|&doc| doc < base);
                for (&doc, &score) in docs.iter().zip(&cursor.scores).skip(begin) {
                    if doc > last {
                        break;
                    }
                    let place = (doc - base) as usize;
                    self.sums[place] += score;
                    self.touched[place / 64] |= 1 << (place % 64);
                }
            }
            for word in 0..=(last - base) as usize / 64 {
                let mut bits = std::mem::take(&mut self.touched[word]);
                while bits != 0 {
                    let place = word * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    let score = std::mem::take(&mut self.sums[place]);
                    if self.enters(score + rest, top) {
                        self.weigh(base + place as u32, score, top, stats)?;
                    }
                }
            }
            if last == end {
                return Ok(());
            }
            from = last + 1;
        }
    }

    /// Looks for a document in the other terms as long as it may be among the best; if it still may, offers it. The
    /// essential terms add `score`.
    #[inline]
    fn weigh(
        &mut self,
        doc: u32,
        score: f64,
        top: &mut Top,
        stats: &mut SearchStats,
    ) -> Result<(), Fault> {
        let mut score = score;
        let mut length = 0;
        self.tfs.fill(0);
        for i in 0..self.others.len() {
            let (other, rest) = self.others[i];
            let after = self.others.get(i + 1).map_or(0.0, |other| other.1);
            if !self.enters(score + rest, top) {
                return Ok(());
            }
            let cursor = &mut self.cursors[other];
            if !cursor.shallow(doc) {
                continue;
            }
            let bound = cursor.block_bound(&self.bounds);
            if (score + bound + after) * self.slack < top.least() {
                return Ok(());
            }
            cursor.load(self.segment, stats)?;
            if let Some(found) = cursor.find(doc) {
                length = found.1;
                self.tfs[cursor.term] = found.0;
                score += cursor.weight * self.scorer.part(found.0, found.1);
            }
        }
        if !self.enters(score, top) {
            return Ok(());
        }
        for &i in &self.essential {
            let cursor = &self.cursors[i];
            let found = cursor.find(doc);
            self.tfs[cursor.term] = found.map_or(0, |found| found.0);
            length = found.map_or(length, |found| found.1);
        }
        stats.documents += 1;
        let score = self.scorer.score(self.terms, &self.tfs, length);
        top.offer_document(self.segment, score, doc, self.has_dead)
    }
}
