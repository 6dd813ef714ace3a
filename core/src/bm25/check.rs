//! Verifies a segment: that everything in it agrees with everything else.

use super::segment::{List, Segment, TermCursor};
use super::{BLOCK, Fault, Pages, Scorer, is_dead};

/// What a check counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Documents.
    pub documents: u32,
    /// Documents that are dead.
    pub dead: u32,
    /// Terms.
    pub terms: u32,
    /// Postings.
    pub postings: u64,
    /// Terms that have more dead postings than is noted of them, as is right until a vacuum ends.
    pub outdated: u32,
}

/// Goes through a whole segment. What is wrong is returned in words, at the most so many; an error is only what keeps the
/// check from going on.
pub fn check<P: Pages>(
    segment: &Segment<P>,
    at_most: usize,
) -> Result<(Vec<String>, Counts), Fault> {
    let summary = &segment.summary;
    let mut problems = Vec::new();
    let mut counts = Counts::default();
    let mut note = |problem: String| {
        if problems.len() < at_most {
            problems.push(problem);
        }
    };
    let mut lengths = Vec::new();
    let mut dead = Vec::new();
    let read = segment.for_each_document(|_, row, length| {
        lengths.push(length);
        dead.push(is_dead(&row));
        Ok(())
    });
    if let Err(fault) = fatal(read)? {
        note(fault);
        return Ok((problems, counts));
    }
    counts.documents = lengths.len() as u32;
    counts.dead = dead.iter().filter(|&&dead| dead).count() as u32;
    let length = lengths.iter().map(|&length| u64::from(length)).sum::<u64>();
    if length != summary.length {
        note(format!("documents have {length} words together, not {}", summary.length));
    }
    let scorer = Scorer::new(summary.params, summary.average_length);
    let mut words = vec![0u64; lengths.len()];
    let mut terms = TermCursor::new(segment);
    loop {
        let entry = match fatal(terms.next(segment))? {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(fault) => {
                note(fault);
                break;
            }
        };
        counts.terms += 1;
        let name = String::from_utf8_lossy(terms.term()).into_owned();
        match fatal(segment.lookup(terms.term()))? {
            Ok(Some(found)) if found.dead_place == entry.dead_place => {}
            Ok(_) => note(format!("term \"{name}\" is not found from the root")),
            Err(fault) => note(fault),
        }
        let mut skips = Vec::new();
        let mut seen = 0;
        let mut dead_postings = 0;
        let read = segment.blocks(&entry, &mut skips).and_then(|()| {
            let whole = match entry.list {
                List::Inline(_) => 1.0,
                List::Block(skip) => skip.bound.part(&scorer),
                List::Blocks(_, _, bound) => bound.part(&scorer),
            };
            segment.postings(&entry, |posting| {
                let doc = posting.doc as usize;
                if lengths[doc] != posting.length {
                    note(format!(
                        "term \"{name}\" says that document {doc} has {} words, not {}",
                        posting.length, lengths[doc]
                    ));
                }
                let block = skips.get(seen / BLOCK).map_or(1.0, |skip| skip.bound.part(&scorer));
                if block.min(whole) < scorer.part(posting.tf, lengths[doc]) {
                    note(format!("the bound of term \"{name}\" is too low for document {doc}"));
                }
                words[doc] += u64::from(posting.tf);
                dead_postings += u32::from(dead[doc]);
                seen += 1;
                Ok(())
            })
        });
        if let Err(fault) = fatal(read)? {
            note(format!("term \"{name}\": {fault}"));
            continue;
        }
        counts.postings += seen as u64;
        counts.outdated += u32::from(entry.dead < dead_postings);
        if entry.dead > dead_postings {
            let noted = entry.dead;
            note(format!("term \"{name}\" has {dead_postings} dead postings, not {noted}"));
        }
    }
    if counts.terms != summary.terms {
        note(format!("there are {} terms, not {}", counts.terms, summary.terms));
    }
    if counts.postings != summary.postings {
        note(format!("there are {} postings, not {}", counts.postings, summary.postings));
    }
    for (doc, (&words, &length)) in words.iter().zip(&lengths).enumerate() {
        if words != u64::from(length) && length < u32::MAX {
            note(format!("document {doc} has {words} words in the postings, not {length}"));
        }
    }
    Ok((problems, counts))
}

/// Damage is what a check is for; other faults end it.
fn fatal<T>(result: Result<T, Fault>) -> Result<Result<T, String>, Fault> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(fault @ Fault::Damaged { .. }) => Ok(Err(fault.to_string())),
        Err(fault) => Err(fault),
    }
}
