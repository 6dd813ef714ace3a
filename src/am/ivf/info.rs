//! `lean.index_info` of `ivf` and `ivfflat` indexes.

use leanstack_core::ivf::coder::Repr;
use pgrx::pg_sys;

use super::check::{self, Use};
use super::index::{self, Opened};
use super::options;
use super::page::{Entry, Kind, NONE, TapeHead};
use super::vacuum::{tid_places, tids};
use crate::am::info::{Facts, percent};
use crate::storage::ReadGuard;
use crate::types::value::TypeKind;

/// All of so many centroids of a group are looked at, and are too many if there is but one group.
const LARGE_GROUP: u32 = 2048;
/// So many times the rows that an index was built with are more than its centroids are right for.
const GROWN: usize = 10;

/// What was counted.
struct Counted {
    uses: Vec<Use>,
    /// For each list that was not split, its rows.
    rows: Vec<(u32, usize)>,
    packed: usize,
    dead: usize,
    split: usize,
    /// Rows whose code is relative to the centroid of a list that was split.
    moved: usize,
}

/// Looks at every page. What changes meanwhile may or may not be counted.
///
/// # Safety
/// `relation` is an open index of `ivf` or `ivfflat`.
pub unsafe fn info(relation: pg_sys::Relation) -> Facts {
    // SAFETY: as the caller promises.
    unsafe {
        let opened = index::open(relation);
        let counted = count(relation, &opened);
        let is_flat = options::is_flat(relation);
        let mut facts = Facts::new(relation, if is_flat { "ivfflat" } else { "ivf" });
        describe(&mut facts, &opened, &counted);
        facts.add_advice(&reasons(&opened, &counted, is_flat));
        facts
    }
}

unsafe fn count(relation: pg_sys::Relation, opened: &Opened) -> Counted {
    // SAFETY: as for `info`; one page is locked at a time.
    unsafe {
        let uses = check::uses(relation, opened);
        let lists = opened.meta.lists;
        let entries: Vec<Entry> = (0..lists).map(|list| opened.entry(relation, list)).collect();
        let (mut rows, mut packed, mut empty) = (vec![0; lists as usize], 0, 0);
        for (block, &what) in uses.iter().enumerate() {
            let Use::Kind(kind @ (Kind::Blocks | Kind::Rows)) = what else { continue };
            pgrx::check_for_interrupts!();
            let guard = ReadGuard::new(relation, block as u32);
            let Some(head) = TapeHead::read(guard.page(), kind) else { continue };
            let live = tids(&opened.info.layout, kind, &head, guard.page()).count();
            if let Some(rows) = rows.get_mut(head.owner as usize) {
                *rows += live;
            }
            if kind == Kind::Blocks {
                packed += live;
            } else {
                empty += tid_places(&opened.info.layout, kind, &head).count() - live;
            }
        }
        let written: usize = entries
            .iter()
            .filter(|entry| entry.block_head != NONE && !entry.is_split())
            .map(|entry| entry.packed_rows as usize)
            .sum();
        let of = |entry: &Entry, rows: usize| {
            let encoder = entries.get(entry.encoder as usize);
            if encoder.is_some_and(Entry::is_split) { rows } else { 0 }
        };
        let moved = entries.iter().zip(&rows).map(|(entry, &rows)| of(entry, rows)).sum();
        let split = entries.iter().filter(|entry| entry.is_split()).count();
        let whole = (0..lists).zip(rows).filter(|(list, _)| !entries[*list as usize].is_split());
        let rows: Vec<(u32, usize)> = whole.collect();
        Counted { uses, rows, packed, dead: written.saturating_sub(packed) + empty, split, moved }
    }
}

fn describe(facts: &mut Facts, opened: &Opened, counted: &Counted) {
    let (spec, meta) = (opened.info.coder.spec(), &opened.meta);
    let rows: usize = counted.rows.iter().map(|(_, rows)| rows).sum();
    let quantization = match spec.repr {
        Repr::F32 | Repr::F16 | Repr::Bits => "none",
        Repr::Sq8 => "sq8",
        Repr::Rabitq => "rabitq",
        Repr::Pq => "pq",
    };
    facts.add("quantization", quantization);
    if opened.info.coder.is_relative() {
        facts.add("bits", spec.bits);
    }
    if let Some(parts) = opened.info.coder.parts() {
        facts.add("m", parts);
    }
    facts.add("bytes of a code", opened.info.coder.row_bytes());
    let is_bits = opened.info.kind == TypeKind::Bit;
    facts.add(if is_bits { "length" } else { "dimensions" }, spec.dims);
    facts.add("lists", counted.rows.len());
    facts.add_some("lists that were split", counted.split);
    facts.add("groups of lists", meta.groups);
    facts.add("rows", rows);
    if opened.info.layout.packed.is_some() {
        let loose = rows - counted.packed.min(rows);
        facts.add("rows not packed yet", format!("{loose} ({})", percent(loose, rows)));
    }
    facts.add(
        "dead rows",
        format!("{} ({})", counted.dead, percent(counted.dead, rows + counted.dead)),
    );
    facts.add("rows when built", meta.rows);
    let list = |found: Option<&(u32, usize)>| match found {
        Some((list, rows)) => format!("list {list}, {rows} rows"),
        None => String::from("none"),
    };
    facts.add("fullest list", list(counted.rows.iter().max_by_key(|(_, rows)| *rows)));
    facts.add("emptiest list", list(counted.rows.iter().min_by_key(|(_, rows)| *rows)));
    facts.add_size(counted.uses.len(), rows);
    let pages = |what: Use| counted.uses.iter().filter(|&&its| its == what).count();
    facts.add_some("pages of rows", pages(Use::Kind(Kind::Rows)));
    facts.add_some("pages of packed rows", pages(Use::Kind(Kind::Blocks)));
    facts.add_some("pages of their further bits", pages(Use::Kind(Kind::Ex)));
    let centroids = pages(Use::Kind(Kind::Centroids)) + pages(Use::Kind(Kind::Groups));
    facts.add_some("pages of centroids", centroids);
    facts.add_some("pages of entries", pages(Use::Kind(Kind::Entries)));
    facts.add_some("pages of the model", pages(Use::Kind(Kind::Model)));
    facts.add_some("free pages", pages(Use::Free));
    facts.add_some("pages to be given back", pages(Use::Retired));
    facts.add_some("pages lost in crashes", pages(Use::Unreached));
}

/// Why the index should be built again.
fn reasons(opened: &Opened, counted: &Counted, is_flat: bool) -> Vec<String> {
    let meta = &opened.meta;
    let rows: usize = counted.rows.iter().map(|(_, rows)| rows).sum();
    let mut reasons = Vec::new();
    let least = counted.rows.len().max(1000);
    if rows > least && rows > GROWN * meta.rows as usize {
        let what = if is_flat { "lists and centroids" } else { "centroids" };
        let built = meta.rows;
        reasons.push(format!("it has {rows} rows, and its {what} were chosen for {built}"));
    }
    if meta.groups == 1 && meta.lists > LARGE_GROUP {
        reasons.push(format!("all {} centroids are in one group", meta.lists));
    }
    if rows > least && 2 * counted.moved > rows {
        let share = percent(counted.moved, rows);
        reasons.push(format!("{share} of its codes are relative to lists that were split"));
    }
    let idle = |what: &&Use| matches!(what, Use::Free | Use::Unreached);
    let free = counted.uses.iter().filter(idle).count();
    if free > 1000 && 2 * free > counted.uses.len() {
        reasons.push(format!("{} of its pages are free", percent(free, counted.uses.len())));
    }
    reasons
}
