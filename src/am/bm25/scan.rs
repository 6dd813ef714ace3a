//! Scans: the best documents first, a batch at a time. A batch is found anew each time, below the last score given, so that a
//! scan holds no pin and no lock between two rows and bears segments that come and go.

use std::collections::HashSet;
use std::rc::Rc;

use leanstack_core::bm25::{Hit, is_dead};
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::given;
use super::meta::Meta;
use super::page::META_BLOCK;
use super::query::{self, Query};
use super::sight::{self, Weighed, Word};
use super::words::Reader;
use crate::am::scan;
use crate::am::stats::{About, Breadth};
use crate::storage::{Tid, corrupt};

/// Documents of the first batch: queries end with LIMIT 10 more often than not, and a scan is not told.
const FIRST: usize = 16;
/// So many times more come with each further batch.
const GROWTH: usize = 8;
/// Beyond this, a batch is all there are.
const MOST: usize = 1 << 16;

/// What a scan knows.
#[derive(Default)]
struct Scan {
    /// Nothing before the first row.
    search: Option<Search>,
}

struct Search {
    named: pg_sys::Oid,
    text: Rc<[u8]>,
    words: Vec<Word>,
    weighed: Option<Weighed>,
    batch: Vec<Hit>,
    given: usize,
    /// How many documents the next batch may have.
    most: usize,
    /// The score of the last row of all batches, and those rows that have it.
    last: Option<(f64, HashSet<[u8; 6]>)>,
    /// There is no further batch.
    is_over: bool,
}

/// Begins a scan.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambeginscan(
    relation: pg_sys::Relation,
    nkeys: i32,
    norderbys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: the server's arguments; the state holds memory only.
    unsafe { scan::begin(relation, nkeys, norderbys, Scan::default()) }
}

/// Begins anew, perhaps with another query.
#[pg_guard]
pub unsafe extern "C-unwind" fn amrescan(
    scan: pg_sys::IndexScanDesc,
    keys: pg_sys::ScanKey,
    _nkeys: i32,
    orderbys: pg_sys::ScanKey,
    _norderbys: i32,
) {
    // SAFETY: the server passes a scan of ours and its keys.
    unsafe {
        scan::state::<Scan>(scan).search = None;
        scan::set_keys(scan, keys, orderbys);
    }
}

/// Gives the next row.
#[pg_guard]
pub unsafe extern "C-unwind" fn amgettuple(
    scan: pg_sys::IndexScanDesc,
    _direction: pg_sys::ScanDirection::Type,
) -> bool {
    // SAFETY: the server passes a scan of ours; nothing else refers to its state.
    unsafe {
        let state = scan::state::<Scan>(scan);
        if state.search.is_none() {
            state.search = Some(start(scan));
        }
        let Some(search) = state.search.as_mut() else { return false };
        while search.given == search.batch.len() && !search.is_over {
            next_batch(scan, search);
        }
        let Some(hit) = search.batch.get(search.given) else { return false };
        search.given += 1;
        let (row, distance) = (Tid::read(&hit.row, 0), 0.0 - hit.score);
        given::remember((*scan).indexRelation, search.named, &search.text, row, distance);
        scan::give(scan, row, Some(distance), true);
        true
    }
}

/// Ends a scan.
#[pg_guard]
pub unsafe extern "C-unwind" fn amendscan(_scan: pg_sys::IndexScanDesc) {
    given::forget();
}

/// Reads the query.
unsafe fn start(scan: pg_sys::IndexScanDesc) -> Search {
    let mut search = Search {
        named: pg_sys::InvalidOid,
        text: Rc::default(),
        words: Vec::new(),
        weighed: None,
        batch: Vec::new(),
        given: 0,
        most: FIRST,
        last: None,
        is_over: true,
    };
    // SAFETY: as for `amgettuple`; the operator's right side is a bm25query.
    unsafe {
        let argument = scan::query(scan, "bm25");
        let relation = (*scan).indexRelation;
        let stats = scan::stats(scan);
        stats.start(About { index: (*relation).rd_id, am: "bm25", breadth: Breadth::Best(FIRST) });
        let Some(query) = argument.and_then(|argument| Query::read(argument)) else {
            return search;
        };
        let meta = Meta::load(relation);
        let Some(mut reader) = Reader::new(&meta) else {
            corrupt(relation, META_BLOCK, "the metapage contradicts itself")
        };
        search.named = query.index;
        search.text = query::bytes_of(query.text).into();
        search.words = query::words(&mut reader, query.text);
        reader.free();
        search.is_over = search.words.is_empty();
        if query.index != (*relation).rd_id {
            let words = &search.words;
            search.weighed = Some(query::weigh_above(relation, query.index, words, meta.params));
        }
    }
    search
}

/// Finds the next rows.
unsafe fn next_batch(scan: pg_sys::IndexScanDesc, search: &mut Search) {
    // SAFETY: as for `amgettuple`.
    unsafe {
        let stats = scan::stats(scan);
        let _reading = stats.count_pages();
        let ceiling = search.last.as_ref().map(|(score, rows)| (*score, rows));
        stats.grew.set(ceiling.is_some());
        let most = if search.most > MOST { usize::MAX } else { search.most };
        let (hits, work) =
            sight::best((*scan).indexRelation, &search.words, &mut search.weighed, most, ceiling);
        stats.lists.add(search.words.len());
        stats.codes.add(work.documents as usize);
        search.is_over = hits.len() < most;
        search.most = search.most.saturating_mul(GROWTH);
        if let Some(last) = hits.last().map(|hit| hit.score) {
            let mut same = match search.last.take() {
                Some((score, rows)) if score == last => rows,
                _ => HashSet::new(),
            };
            same.extend(hits.iter().filter(|hit| hit.score == last).map(|hit| hit.row));
            search.last = Some((last, same));
        }
        // A vacuum may have marked some since.
        search.batch = hits.into_iter().filter(|hit| !is_dead(&hit.row)).collect();
        search.given = 0;
    }
}
