//! What a query sees of an index at one moment: its segments, the entries of the query's words in them, and what it finds in
//! the write buffer.

use leanstack_core::bm25::{
    Corpus, Fault, Hit, Params, QueryTerm, Scorer, SearchStats, Segment, TermEntry, Top, idf,
    search,
};
use pgrx::pg_sys;

use super::buffer::{Found, Gone};
use super::meta::{Buffer, Meta};
use super::page::{NONE, tid_bytes};
use super::segments::{self, Known, SegmentPages, raise};

/// A word of a query, and how often it has it.
pub type Word = (Vec<u8>, u32);

/// What the scores of a query depend on besides the document. It stays as it is for a whole scan.
pub struct Weighed {
    terms: Vec<QueryTerm>,
    scorer: Scorer,
}

impl Weighed {
    /// Weighs the words of a query by how many documents of a corpus have them.
    pub fn new(words: &[Word], params: Params, counts: &Counts) -> Weighed {
        let weigh = |((word, times), &df): (&Word, &u64)| QueryTerm {
            term: word.clone(),
            weight: f64::from(*times) * idf(counts.corpus.docs, df),
        };
        Weighed {
            terms: words.iter().zip(&counts.df).map(weigh).collect(),
            scorer: Scorer::new(params, counts.corpus.avgdl()),
        }
    }

    /// The score of a document that has the words so many times.
    pub fn score(&self, times: &[u32], length: u32) -> f64 {
        self.scorer.score(&self.terms, times, length)
    }
}

/// How many documents there are, and how many have each word of a query.
pub struct Counts {
    /// All documents.
    pub corpus: Corpus,
    /// By word.
    pub df: Vec<u64>,
}

impl Counts {
    /// Of nothing.
    pub fn none(words: usize) -> Counts {
        Counts { corpus: Corpus::default(), df: vec![0; words] }
    }

    /// Adds those of another index.
    pub fn add(&mut self, other: &Counts) {
        self.corpus.docs += other.corpus.docs;
        self.corpus.length += other.corpus.length;
        self.df.iter_mut().zip(&other.df).for_each(|(df, more)| *df += more);
    }
}

/// A segment with the entries of the words.
struct Seen {
    segment: Segment<SegmentPages>,
    entries: Vec<Option<TermEntry>>,
    has_dead: bool,
}

/// An index at one moment.
pub struct Sight {
    seen: Vec<Seen>,
    found: Found,
    /// What the index counts.
    pub counts: Counts,
}

impl Sight {
    unsafe fn new(relation: pg_sys::Relation, meta: &Meta, words: &[Word]) -> Result<Sight, Fault> {
        let known = Known::of(meta);
        let (mut seen, mut found) = (Vec::with_capacity(meta.segments.len()), Found::default());
        let mut counts = Counts::none(words.len());
        // SAFETY: as the caller of `look` promises.
        unsafe {
            for buffer in [meta.sealed, meta.active] {
                found.look(relation, buffer, words).map_err(|Gone| Fault::Stale)?;
            }
            // Small segments are the ones that are soon replaced: where one is gone, little was done in vain.
            let mut by_size: Vec<_> = meta.segments.iter().collect();
            by_size.sort_by_key(|entry| entry.summary.pages);
            for entry in by_size {
                let segment = segments::open(relation, &known, entry)?;
                let entries = words.iter().map(|(word, _)| segment.lookup(word));
                let entries: Vec<Option<TermEntry>> = entries.collect::<Result<_, _>>()?;
                for (df, entry) in counts.df.iter_mut().zip(&entries) {
                    *df += entry.as_ref().map_or(0, |entry| u64::from(entry.live_df()));
                }
                counts.corpus.docs += u64::from(entry.live_documents);
                counts.corpus.length += entry.live_length;
                let has_dead = entry.is_recount_due || entry.dead_documents() > 0;
                seen.push(Seen { segment, entries, has_dead });
            }
        }
        counts.corpus.docs += found.corpus.docs;
        counts.corpus.length += found.corpus.length;
        for found in &found.matches {
            for (df, &times) in counts.df.iter_mut().zip(&found.times) {
                *df += u64::from(times > 0);
            }
        }
        Ok(Sight { seen, found, counts })
    }

    fn search(&self, weighed: &Weighed, top: &mut Top<'_>) -> Result<SearchStats, Fault> {
        for found in &self.found.matches {
            top.offer(weighed.score(&found.times, found.length), tid_bytes(found.row));
        }
        let mut stats = SearchStats::default();
        for seen in &self.seen {
            let Seen { segment, entries, has_dead } = seen;
            let more = search(segment, &weighed.terms, entries, &weighed.scorer, *has_dead, top)?;
            stats.blocks += more.blocks;
            stats.postings += more.postings;
            stats.documents += more.documents;
        }
        Ok(stats)
    }
}

/// Looks at an index for the words of a query, and `then` at what was seen. Does it again where segments were replaced
/// meanwhile.
///
/// # Safety
/// `relation` is an open and locked `bm25` index, and this backend has no lock on its pages.
pub unsafe fn look<T>(
    relation: pg_sys::Relation,
    words: &[Word],
    mut then: impl FnMut(&Meta, &Sight) -> Result<T, Fault>,
) -> T {
    // SAFETY: as the caller promises.
    unsafe {
        let mut meta = Meta::load(relation);
        loop {
            let seen = Sight::new(relation, &meta, words);
            match seen.and_then(|sight| then(&meta, &sight)) {
                Ok(result) => return result,
                Err(Fault::Stale) => {
                    let now = Meta::load(relation);
                    if state(&now) == state(&meta) {
                        raise(relation, &Fault::Stale);
                    }
                    meta = now;
                }
                Err(fault) => raise(relation, &fault),
            }
            pgrx::check_for_interrupts!();
        }
    }
}

/// What changes when pages are given back.
fn state(meta: &Meta) -> (Vec<u32>, u32, u32) {
    let sealed = if meta.sealed.head == NONE { Buffer::NONE.stamp } else { meta.sealed.stamp };
    (meta.segments.iter().map(|segment| segment.stamp).collect(), sealed, meta.active.stamp)
}

/// The best documents of an index: at most `most`, below `ceiling` if there is one. Counts are those of the index unless the
/// query was weighed before.
///
/// # Safety
/// As for [`look`].
pub unsafe fn best(
    relation: pg_sys::Relation,
    words: &[Word],
    weighed: &mut Option<Weighed>,
    most: usize,
    ceiling: Option<(f64, &std::collections::HashSet<[u8; 6]>)>,
) -> (Vec<Hit>, SearchStats) {
    // SAFETY: as the caller promises.
    unsafe {
        look(relation, words, |meta, sight| {
            let weighed =
                weighed.get_or_insert_with(|| Weighed::new(words, meta.params, &sight.counts));
            let mut top = Top::new(most, ceiling);
            let stats = sight.search(weighed, &mut top)?;
            Ok((top.into_sorted(), stats))
        })
    }
}
