//! Counts, after documents were marked as dead, how many postings of each term are.

use super::segment::{Segment, TermCursor, dead_width};
use super::{Fault, Pages};

/// Goes through all terms. For each page of the dictionary where a stored count is not right, calls `edit` with the page and
/// with what bytes belong at which offsets of its payload. Returns how many counts were not right.
pub fn recount<P: Pages>(
    segment: &Segment<P>,
    is_dead: impl Fn(u32) -> bool,
    mut edit: impl FnMut(u32, &[(usize, Vec<u8>)]) -> Result<(), Fault>,
) -> Result<u64, Fault> {
    let mut terms = TermCursor::new(segment);
    let mut page = segment.summary.first_leaf;
    let mut edits = Vec::new();
    let mut changed = 0;
    while let Some(entry) = terms.next(segment)? {
        let (entry_page, offset) = entry.dead_place;
        if entry_page != page {
            if !edits.is_empty() {
                edit(page, &edits)?;
                edits.clear();
            }
            page = entry_page;
        }
        let mut dead = 0u32;
        segment.postings(&entry, |posting| {
            dead += u32::from(is_dead(posting.doc));
            Ok(())
        })?;
        if dead != entry.dead {
            edits.push((offset, dead.to_le_bytes()[..dead_width(entry.postings)].to_vec()));
            changed += 1;
        }
    }
    if !edits.is_empty() {
        edit(page, &edits)?;
    }
    Ok(changed)
}
