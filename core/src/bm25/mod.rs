//! Keyword ranking by BM25 over an inverted index: what a segment looks like on pages, and how the best k documents of a
//! query are found without scoring every match.
//!
//! A segment is a sequence of pages that is written once, by a [`SegmentWriter`], and from then on only marked: documents
//! as dead, and terms with how many of their documents are. First come the documents, then for each term, in byte order,
//! its postings in blocks of [`BLOCK`], with the dictionary's pages in between, and at last the inner pages of the
//! dictionary. Each block has a bound on what it adds to a score, so that [`search`] leaves out blocks, and at last whole
//! terms, that cannot bring a document among the best. [`merge`] writes several segments as one; an [`Inverter`] makes one
//! from documents. [`reference`] is what all of it must agree with.
//!
//! The score is Lucene's variant with exact lengths: the sum over the words of a query of
//! `idf * tf / (tf + k1 * (1 - b + b * length / average length))`, with `idf = ln(1 + (N - df + 0.5) / (df + 0.5))`.
//!
//! Nothing here knows where pages are: [`Pages`] gives them and a [`Sink`] takes them.

mod block;
mod check;
mod cursor;
mod invert;
mod loaded;
mod merge;
mod pack;
mod recount;
pub mod reference;
mod run;
mod search;
mod segment;
mod summary;
mod termpage;
mod top;
mod varint;
mod writer;

#[cfg(test)]
mod tests;

pub use block::BLOCK;
pub use check::{Counts, check};
pub use invert::Inverter;
pub use merge::merge;
pub use recount::recount;
pub use run::merge_runs;
pub use search::{SearchStats, search};
pub use segment::{
    Segment, TermCursor, TermEntry, clear_document, document_place, documents_per_page,
    read_document,
};
pub use summary::Summary;
pub use top::{Hit, Top};
pub use writer::{SegmentWriter, longest_term};

/// The address of a row in its table, as the documents' pages have it. One that ends in two zero bytes is of no row: its
/// document is dead.
pub type RowAddress = [u8; 6];

/// Is it the address of a dead document?
#[inline]
pub fn is_dead(row: &RowAddress) -> bool {
    row[4..] == [0, 0]
}

/// The two numbers of BM25.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// How soon a word that comes again counts for less; 0: at once.
    pub k1: f64,
    /// How much the length of a document counts, from 0 to 1.
    pub b: f64,
}

impl Default for Params {
    fn default() -> Params {
        Params { k1: 1.2, b: 0.75 }
    }
}

/// What a score needs of all documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Corpus {
    /// Documents that are not dead.
    pub docs: u64,
    /// The sum of their lengths.
    pub length: u64,
}

impl Corpus {
    /// The average length of a document; 1 where there is none, or none with a word.
    pub fn avgdl(&self) -> f64 {
        match (self.docs, self.length) {
            (0, _) | (_, 0) => 1.0,
            (docs, length) => length as f64 / docs as f64,
        }
    }
}

/// How much a word tells that `df` of `docs` documents have. Always positive.
pub fn idf(docs: u64, df: u64) -> f64 {
    let df = df.min(docs) as f64;
    (1.0 + (docs as f64 - df + 0.5) / (df + 0.5)).ln()
}

/// BM25 at one average length.
#[derive(Clone, Copy, Debug)]
pub struct Scorer {
    params: Params,
    avgdl: f64,
    base: f64,
    slope: f64,
}

impl Scorer {
    /// The scorer of documents that are `avgdl` words long on average.
    pub fn new(params: Params, avgdl: f64) -> Scorer {
        let (base, slope) = (params.k1 * (1.0 - params.b), params.k1 * params.b / avgdl);
        Scorer { params, avgdl, base, slope }
    }

    /// What a word adds, before its weight, that comes `tf` times in a document of a length: from 0 to 1.
    #[inline]
    pub fn part(&self, tf: u32, length: u32) -> f64 {
        if tf == 0 {
            return 0.0;
        }
        let tf = f64::from(tf);
        tf / (tf + (self.base + self.slope * f64::from(length)))
    }

    /// The score of a document that has term i of the query `tfs[i]` times. One document has one score to the last bit,
    /// wherever it is computed: see [`Grid`].
    #[inline]
    pub fn score(&self, terms: &[QueryTerm], tfs: &[u32], length: u32) -> f64 {
        let grid = Grid::of(terms);
        let parts = terms.iter().zip(tfs).filter(|&(_, &tf)| tf > 0);
        parts.map(|(term, &tf)| grid.round(term.weight * self.part(tf, length))).sum()
    }
}

/// What terms add to scores is rounded to multiples of a power of two, so coarse that sums of them are exact, and so in any
/// order the same, and so fine that it does not matter: the 2^49th part of the sum of all weights.
#[derive(Clone, Copy, Debug)]
pub struct Grid(f64);

impl Grid {
    /// For a query.
    pub fn of(terms: &[QueryTerm]) -> Grid {
        let total: f64 = terms.iter().map(|term| term.weight).sum();
        let power = f64::from_bits(total.to_bits() & (0x7ff << 52));
        // Of numbers from 16 to 32 times the power, the last bit is worth 2^-48 of it.
        Grid(if power.is_finite() { 24.0 * power } else { 0.0 })
    }

    /// Rounds what a term adds.
    #[inline]
    pub fn round(self, added: f64) -> f64 {
        (added + self.0) - self.0
    }
}

/// A word of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryTerm {
    /// The word; no two terms of a query have the same.
    pub term: Vec<u8>,
    /// How often the query has it, times its [`idf`].
    pub weight: f64,
}

/// A document that has a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The document's number in its segment.
    pub doc: u32,
    /// How often it has the term; at least 1.
    pub tf: u32,
    /// Its length in words.
    pub length: u32,
}

/// Why a segment cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The segment was replaced meanwhile: the reader starts over.
    #[error("the segment was replaced")]
    Stale,
    /// Bytes on a page contradict themselves.
    #[error("page {page} of a segment is damaged: {what}")]
    Damaged {
        /// Number of the page in its segment.
        page: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// What was put aside during a build cannot be read back or written.
    #[error("a run of postings cannot be read or written: {0}")]
    Run(#[from] std::io::Error),
}

/// Gives the pages of a segment.
pub trait Pages {
    /// Calls `with` with a page's payload. The page may be locked during the call: copy out what is needed and be quick.
    fn read<R>(&self, page: u32, with: impl FnOnce(&[u8]) -> R) -> Result<R, Fault>;
}

impl<P: Pages> Pages for &P {
    fn read<R>(&self, page: u32, with: impl FnOnce(&[u8]) -> R) -> Result<R, Fault> {
        (*self).read(page, with)
    }
}

/// Takes the pages of a new segment.
pub trait Sink {
    /// Takes a page. Each number from 0 comes exactly once, nearly in order: a page that is still open when a later one is
    /// full comes after it. Bytes that are not given are zero.
    fn write(&mut self, page: u32, bytes: &[u8]) -> Result<(), Fault>;
}
