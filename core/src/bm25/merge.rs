//! Writes several segments as one, without what is dead. Documents of the sources come one after the other.

use super::segment::{Segment, TermCursor, TermEntry};
use super::writer::longest_term;
use super::{Fault, Pages, SegmentWriter, Sink, Summary, is_dead};

/// A source while its terms are gone through.
struct Source<'a, P: Pages> {
    segment: &'a Segment<P>,
    /// What its documents are numbered from.
    first: u32,
    /// New numbers of the documents, `None` for dead ones; empty if no document is dead.
    numbers: Vec<Option<u32>>,
    terms: TermCursor,
    entry: Option<TermEntry>,
}

impl<P: Pages> Source<'_, P> {
    fn advance(&mut self) -> Result<(), Fault> {
        self.entry = self.terms.next(self.segment)?;
        Ok(())
    }

    fn number(&self, doc: u32) -> Option<u32> {
        if self.numbers.is_empty() { Some(self.first + doc) } else { self.numbers[doc as usize] }
    }
}

/// Writes the documents of `sources` that are not dead, and terms that one of them has.
pub fn merge<P: Pages, S: Sink>(
    sources: &[Segment<P>],
    mut writer: SegmentWriter<S>,
) -> Result<Summary, Fault> {
    let mut merged = Vec::with_capacity(sources.len());
    for segment in sources {
        let first = writer.lengths().len() as u32;
        let mut numbers = Vec::new();
        segment.for_each_document(|doc, row, length| {
            let number = writer.lengths().len() as u32;
            let dead = is_dead(&row);
            if dead && numbers.is_empty() {
                numbers.extend((first..number).map(Some));
            }
            if dead || doc as usize == numbers.len() && !numbers.is_empty() {
                numbers.push((!dead).then_some(number));
            }
            if dead { Ok(()) } else { writer.push_document(row, length) }
        })?;
        let terms = TermCursor::new(segment);
        let mut source = Source { segment, first, numbers, terms, entry: None };
        source.advance()?;
        merged.push(source);
    }
    let mut term = Vec::new();
    loop {
        let terms =
            merged.iter().filter(|source| source.entry.is_some()).map(|source| source.terms.term());
        let Some(least) = terms.min() else { return writer.finish() };
        term.clear();
        term.extend_from_slice(least);
        for source in &mut merged {
            if source.terms.term() != term {
                continue;
            }
            let Some(entry) = source.entry.take() else { continue };
            if term.len() > longest_term(source.segment.payload_bytes) {
                let page = source.terms.page();
                return Err(Fault::Damaged { page, what: "a term is too long" });
            }
            source.segment.postings(&entry, |posting| match source.number(posting.doc) {
                Some(doc) => writer.push_posting(doc, posting.tf),
                None => Ok(()),
            })?;
            source.advance()?;
        }
        writer.end_term(&term)?;
    }
}
