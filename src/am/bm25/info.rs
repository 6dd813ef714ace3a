//! `lean.index_info` of `bm25` indexes.

use pgrx::pg_sys;

use super::buffer::Found;
use super::meta::Meta;
use super::page::{Kind, is_free, kind};
use super::words::Source;
use crate::am::info::{Facts, percent};
use crate::storage::ReadGuard;

/// Looks at every page. What changes meanwhile may or may not be counted.
///
/// # Safety
/// `relation` is an open index of `bm25`.
pub unsafe fn info(relation: pg_sys::Relation) -> Facts {
    // SAFETY: as the caller promises; one page is locked at a time.
    unsafe {
        let meta = Meta::load(relation);
        let mut found = Found::default();
        for buffer in [meta.sealed, meta.active] {
            // Where it is emptied meanwhile, its documents are not counted.
            let _ = found.look(relation, buffer, &[]);
        }
        let mut facts = Facts::default();
        facts.add("access method", "bm25");
        facts.add("type", Source::of_number(meta.source).map_or("", Source::name));
        let config = [&meta.config.schema, &meta.config.name].map(|part| part.to_string_lossy());
        facts.add("text_config", config.join("."));
        facts.add("k1", meta.params.k1);
        facts.add("b", meta.params.b);
        let weights: Vec<String> = meta
            .weights
            .iter()
            .filter(|&&weight| weight > 0)
            .map(|weight| weight.to_string())
            .collect();
        if !weights.is_empty() {
            facts.add("weights", format!("{{{}}}", weights.join(",")));
        }
        let sum = |of: fn(&super::meta::SegmentEntry) -> u64| -> u64 {
            meta.segments.iter().map(of).sum()
        };
        let live = sum(|entry| entry.live_documents.into()) + found.corpus.docs;
        let dead = sum(|entry| entry.dead_documents().into());
        let length = sum(|entry| entry.live_length) + found.corpus.length;
        facts.add("rows", live);
        facts.add(
            "dead rows",
            format!("{dead} ({})", percent(dead as usize, (live + dead) as usize)),
        );
        facts.add("rows in the write buffer", found.corpus.docs);
        facts.add("words per row", format!("{:.1}", length as f64 / live.max(1) as f64));
        facts.add("segments", meta.segments.len());
        facts.add("postings", sum(|entry| entry.summary.postings));
        let largest = meta.segments.iter().max_by_key(|entry| entry.summary.postings);
        if let Some(largest) = largest {
            facts.add("different words in the largest segment", largest.summary.terms);
        }
        let pages = pages(relation);
        facts.add_size(pages.iter().sum(), live as usize);
        let [segments, maps, buffers, free] = pages;
        facts.add_some("pages of segments", segments);
        facts.add_some("pages of maps", maps);
        facts.add_some("pages of the write buffer", buffers);
        facts.add_some("free pages", free.saturating_sub(1));
        let mut reasons = Vec::new();
        let all: usize = pages.iter().sum();
        if free > 1000 && 2 * free > all {
            reasons.push(format!("{} of its pages are free", percent(free, all)));
        }
        facts.add_advice(&reasons);
        facts
    }
}

/// Counts pages: of segments, of maps, of write buffers, and others, the metapage being one.
unsafe fn pages(relation: pg_sys::Relation) -> [usize; 4] {
    let mut counts = [0; 4];
    // SAFETY: as for `info`.
    unsafe {
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        for block in 0..pg_sys::RelationGetNumberOfBlocksInFork(relation, main) {
            pgrx::check_for_interrupts!();
            let guard = ReadGuard::new(relation, block);
            let page = guard.page();
            counts[match kind(page) {
                _ if is_free(page) => 3,
                Some(Kind::Segment) => 0,
                Some(Kind::Map) => 1,
                Some(Kind::Buffer) => 2,
                _ => 3,
            }] += 1;
        }
    }
    counts
}
