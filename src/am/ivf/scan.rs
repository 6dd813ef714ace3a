//! Scans: `ORDER BY column <-> query`, list after list, nearest first.
//!
//! A list's rows become candidates, each with a bound below its distance. The candidate with the least bound is next:
//! if only its first bits were scored, the rest are read and it goes back; else it is given to the executor, which
//! computes the distance itself from the heap and puts the rows in order (`xs_recheckorderby`). Codes too coarse for that
//! have likely bounds here, and the distance takes their place before the row is given.

use std::cell::OnceCell;
use std::rc::Rc;

use leanstack_core::Metric;
use leanstack_core::hnsw::NodeSet;
use leanstack_core::ivf::coder::{EPSILON, ListQuery, Placed, Query, Wanted};
use leanstack_core::ivf::patience::Watch;
use leanstack_core::quantize::rabitq::block::BlockScores;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::breadth::{Breadth, GROWS_AFTER};
use super::candidates::{self, Candidate, Found, Queue, Rest};
use super::exact::Exact;
use super::index::{self, Opened};
use super::list::{Head, Reader, Stale};
use super::options::{self, Rerank};
use super::packed::{prefetch_code, with_code};
use super::page::{BLOCK_ROWS, Entry, Kind, NONE, ROW_TID_BYTES, block_tid};
use super::route::{self, Near, Router};
use crate::am::stats::{self, About, Stats};
use crate::am::{scan as common, vectors};
use crate::error::unwrap;
use crate::storage::Tid;
use crate::types::value::detoast;

/// What a scan keeps between calls. It holds no lock and no pin.
struct ScanState {
    work: Option<Work>,
    /// Made when a distance is first asked for.
    exact: Option<Exact>,
    /// Where the scan is.
    context: pg_sys::MemoryContext,
}

/// A scan under way.
struct Work {
    opened: Opened,
    /// Nothing: the query is NULL, and all rows are equally near.
    query: Option<Query>,
    router: Router,
    plan: Breadth,
    /// Watches whether lists still change what is nearest, until they do not.
    watch: Option<Watch>,
    probed: usize,
    /// Lists that were read, split ones under their own number.
    read: NodeSet,
    /// The lists that candidates refer to.
    lists: Vec<Listed>,
    /// What the codes of the list being read are relative to.
    encoder: Vec<f32>,
    candidates: Queue,
    /// Whether the executor need not compute the distance.
    exact: bool,
    wanted: Wanted,
    /// Whether distances are to be computed before rows are given.
    coarse: bool,
    /// By how much whole codes raised the bounds of first bits: the sum, and how many.
    tightened: (f64, f64),
    /// The greatest bound of a row that was given: none nearer is still to come, if all is well.
    last: f32,
    /// Rows given so far.
    given: usize,
    ended: bool,
    stats: Rc<Stats>,
}

/// A list that was read.
struct Listed {
    list: u32,
    stamp: u32,
    encoder: u32,
    /// Made when a whole code is first looked at.
    query: OnceCell<ListQuery>,
}

/// Of what a whole code raises the bound of first bits by on average, the share that the first rows are given ahead by:
/// about as if the bound were 2.6 standard deviations below the estimate, not 3.
const AHEAD_SHARE: f64 = 0.1;
/// So many lists are chosen before the first of them is read: their entries are next to each other.
const AT_ONCE: usize = 64;
/// Of so many candidates the whole code is fetched into the processor's caches when their turn comes near.
const FETCHED_AHEAD: usize = 128;
/// How much of a list's first page is fetched into the processor's caches while the list before is scored.
const AHEAD: std::ops::Range<usize> = 0..4096;

/// Starts a scan.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambeginscan(
    relation: pg_sys::Relation,
    nkeys: i32,
    norderbys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: called by the server with an open index; the state holds no pin and no lock.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let state = ScanState { work: None, exact: None, context };
        common::begin(relation, nkeys, norderbys, state)
    }
}

/// Starts a scan anew, with other keys.
#[pg_guard]
pub unsafe extern "C-unwind" fn amrescan(
    scan: pg_sys::IndexScanDesc,
    keys: pg_sys::ScanKey,
    _nkeys: i32,
    orderbys: pg_sys::ScanKey,
    _norderbys: i32,
) {
    // SAFETY: the server passes the scan that `ambeginscan` made, and as many keys as it was made for.
    unsafe {
        common::state::<ScanState>(scan).work = None;
        common::set_keys(scan, keys, orderbys);
    }
}

/// Ends a scan. Its state goes with its memory context.
#[pg_guard]
pub unsafe extern "C-unwind" fn amendscan(_scan: pg_sys::IndexScanDesc) {}

/// Gives the next row.
#[pg_guard]
pub unsafe extern "C-unwind" fn amgettuple(
    scan: pg_sys::IndexScanDesc,
    _direction: pg_sys::ScanDirection::Type,
) -> bool {
    // SAFETY: the server passes the scan that `ambeginscan` made.
    unsafe {
        let relation = (*scan).indexRelation;
        let _reading = common::stats(scan).count_pages();
        let state = common::state::<ScanState>(scan);
        let work = match &mut state.work {
            Some(work) => work,
            None => state.work.insert(Work::start(scan)),
        };
        let (exact, context) = (&mut state.exact, state.context);
        let found = work.next(relation, &mut |tid| {
            exact.get_or_insert_with(|| Exact::new(scan, context)).distance(scan, tid)
        });
        if let Some(exact) = exact {
            exact.release();
        }
        match found {
            Some((tid, bound)) => {
                let bound = work.query.as_ref().map(|_| f64::from(bound));
                common::give(scan, tid, bound, work.exact);
                true
            }
            None => false,
        }
    }
}

impl Work {
    unsafe fn start(scan: pg_sys::IndexScanDesc) -> Work {
        // SAFETY: the caller's scan is one that the server began.
        unsafe {
            let relation = (*scan).indexRelation;
            let am = if options::is_flat(relation) { "ivfflat" } else { "ivf" };
            let datum = common::query(scan, am);
            let opened = index::open(relation);
            let coder = &opened.info.coder;
            let mut query = datum.map(|datum| {
                let value = detoast(opened.info.kind, datum);
                let value = unwrap(value.value());
                vectors::check_dims(coder.spec().dims, &value);
                coder.query(value)
            });
            let placed = match &mut query {
                Some(query) => std::mem::take(&mut query.placed),
                None => vec![0.0; coder.placed_dims()],
            };
            let router = Router::new(relation, &opened, Placed::query(placed));
            let plan = Breadth::new(relation, &opened);
            let stats = Rc::clone(common::stats(scan));
            stats.start(About {
                index: (*relation).rd_id,
                am,
                breadth: stats::Breadth::Probes(plan.probes),
            });
            let without_heap = options::of(relation).rerank == Rerank::Off;
            let exact = opened.info.is_exact() || without_heap;
            let coarse = coder.is_coarse() && !without_heap;
            let wanted = match (without_heap, coarse && !plan.whole) {
                (true, _) => Wanted::Estimate,
                (_, true) => Wanted::Likely,
                _ => Wanted::Bound,
            };
            let is_watching = query.is_some() && plan.patience.is_some();
            let is_squared = coder.spec().metric != Metric::L2;
            Work {
                watch: is_watching.then(|| Watch::new(is_squared)),
                query,
                router,
                plan,
                probed: 0,
                read: NodeSet::default(),
                lists: Vec::new(),
                encoder: Vec::new(),
                candidates: Queue::default(),
                exact,
                wanted,
                coarse,
                tightened: (0.0, 0.0),
                last: f32::NEG_INFINITY,
                given: 0,
                ended: false,
                stats,
                opened,
            }
        }
    }

    /// The next row. `distance` gives that of a row, and nothing of one that is not to be seen.
    unsafe fn next(
        &mut self,
        relation: pg_sys::Relation,
        distance: &mut dyn FnMut(Tid) -> Option<f64>,
    ) -> Option<(Tid, f32)> {
        loop {
            let wanted = self.plan.probes_for(self.given);
            if self.probed < wanted && !self.ended {
                // SAFETY: the index is open for the scan.
                unsafe { self.probe(relation, wanted - self.probed) }
            }
            for candidate in self.candidates.refill().iter().take(FETCHED_AHEAD) {
                if let Rest::Code(at) = candidate.rest() {
                    prefetch_code(&self.opened, at);
                }
            }
            let Some(candidate) = self.candidates.pop(self.margin()) else {
                if self.ended || self.probed >= self.plan.max_probes {
                    return None;
                }
                // As many lists again as were read so far: each row of a long result costs the same.
                let more = self.probed.max(1).min(self.plan.max_probes - self.probed);
                // SAFETY: as above.
                unsafe { self.probe(relation, more) }
                continue;
            };
            let place = match candidate.rest() {
                Rest::Nothing if self.is_late(candidate.bound) => {
                    // A bound below the distance does not tell: the row may still be farther than those that were given.
                    if !self.exact {
                        let (tid, list) = (candidate.tid(), candidate.list);
                        self.candidates.add(Candidate::rough(candidate.bound, tid, list));
                    }
                    continue;
                }
                Rest::Nothing => {
                    // SAFETY: as above.
                    if unsafe { self.is_premature(relation, candidate.bound) } {
                        self.candidates.add(candidate);
                        let more = (self.probed / 10).max(1);
                        // SAFETY: as above.
                        unsafe { self.probe(relation, more) }
                        continue;
                    }
                    self.last = self.last.max(candidate.bound);
                    self.given += 1;
                    return Some((candidate.tid(), candidate.bound));
                }
                Rest::Distance => {
                    pgrx::check_for_interrupts!();
                    self.stats.exact_distances.add(1);
                    let Some(distance) = distance(candidate.tid()) else { continue };
                    let bound =
                        if distance.is_nan() { f32::INFINITY } else { below(distance, false) };
                    if !self.is_late(bound) {
                        self.candidates.add(Candidate::whole(
                            bound,
                            candidate.tid(),
                            candidate.list,
                        ));
                    }
                    continue;
                }
                Rest::Code(place) => place,
            };
            self.stats.whole_codes.add(1);
            // SAFETY: as above.
            let bound = unsafe { self.refine(relation, candidate.list, place, self.wanted) };
            // What is true of every row, if its pages are another's by now.
            let bound = bound.unwrap_or(self.opened.info.coder.lowest() as f32);
            if bound > candidate.bound {
                self.tightened.0 += f64::from(bound - candidate.bound);
                self.tightened.1 += 1.0;
            }
            let (tid, list) = (candidate.tid(), candidate.list);
            self.candidates.add(if self.coarse {
                Candidate::rough(bound, tid, list)
            } else {
                Candidate::whole(bound, tid, list)
            });
        }
    }

    /// Whether there is a list whose very centroid is nearer than a row with this bound: it is to be read first, or its
    /// rows would come too late.
    unsafe fn is_premature(&mut self, relation: pg_sys::Relation, bound: f32) -> bool {
        if self.query.is_none() || !self.plan.grows || self.ended {
            return false;
        }
        // SAFETY: the index is open for the scan, and no lock is held.
        let next = unsafe { self.router.peek(relation, &self.opened) };
        let coder = &self.opened.info.coder;
        next.is_some_and(|near| coder.at_centroid(near.distance) < f64::from(bound))
    }

    /// How much before its turn a row may be given, while there are others of which only first bits were scored. Bounds of
    /// first bits are so low that hardly a row is missed; for the first rows of many, less is enough. Not where whole codes
    /// are coarse themselves: rows would often come too late.
    fn margin(&self) -> f32 {
        let (sum, count) = self.tightened;
        if self.given >= GROWS_AFTER || self.coarse || self.plan.whole || count == 0.0 {
            return 0.0;
        }
        let margin = AHEAD_SHARE * sum / count;
        if margin.is_finite() { margin as f32 } else { 0.0 }
    }

    /// Whether the executor may have returned farther rows than this: all up to the greatest bound that it was given. A row
    /// with such a distance comes too late.
    fn is_late(&self, bound: f32) -> bool {
        self.plan.in_order && bound < self.last
    }

    /// Reads further lists, `count` if there are so many.
    unsafe fn probe(&mut self, relation: pg_sys::Relation, count: usize) {
        let mut left = count;
        while left > 0 && !self.ended {
            // After fewer lists than these nothing is decided.
            let at_once = match (&self.watch, self.plan.patience) {
                (Some(watch), Some(patience)) => patience - watch.unchanged(),
                _ => AT_ONCE,
            };
            let at_once = left.min(at_once.min(AT_ONCE));
            let mut lists = Vec::with_capacity(at_once);
            while lists.len() < at_once {
                // SAFETY: the index is open for the scan.
                let Some(near) = (unsafe { self.router.next(relation, &self.opened) }) else {
                    self.ended = true;
                    break;
                };
                lists.push(near);
            }
            left -= lists.len().min(left);
            self.probed += lists.len();
            if self.probed > self.plan.probes {
                self.stats.grew.set(true);
            }
            // SAFETY: as above.
            unsafe { self.read_lists(relation, &lists) }
            let unchanged = self.watch.as_ref().map(Watch::unchanged);
            if unchanged.is_some() && unchanged >= self.plan.patience {
                self.plan.settle(self.probed);
                left = 0;
            }
            if self.probed >= self.plan.probes {
                self.watch = None;
            }
        }
    }

    unsafe fn read_lists(&mut self, relation: pg_sys::Relation, near: &[Near]) {
        let lists: Vec<u32> = near.iter().map(|near| near.list).collect();
        // SAFETY: the index is open for the scan, and no lock is held.
        unsafe {
            if lists.iter().any(|&list| self.opened.is_behind(list)) {
                self.opened = index::open(relation);
            }
            let entries = self.opened.entries(relation, &lists);
            for (at, (near, entry)) in near.iter().zip(&entries).enumerate() {
                if let Some(next) = entries.get(at + 1) {
                    self.opened.recent.prefetch(next.block_head, AHEAD);
                }
                self.read_list(relation, (*near, *entry));
                if let Some(watch) = &mut self.watch {
                    watch.list_ends();
                }
            }
        }
    }

    /// Adds the rows of a list, of which the entry was read a moment ago; of a split list, those of its children. A list
    /// whose rows were read under the number of the list that it was split from is passed over.
    unsafe fn read_list(&mut self, relation: pg_sys::Relation, first: (Near, Entry)) {
        let mut waiting = vec![first.0.list];
        let mut known = Some(first.1);
        while let Some(list) = waiting.pop() {
            loop {
                pgrx::check_for_interrupts!();
                // SAFETY: the index is open for the scan, and no lock is held.
                unsafe {
                    let entry = known.take().unwrap_or_else(|| {
                        if self.opened.is_behind(list) {
                            self.opened = index::open(relation);
                        }
                        self.opened.entry(relation, list)
                    });
                    if self.was_read(relation, list, &entry) {
                        break;
                    }
                    if entry.is_split() {
                        waiting.extend(
                            entry.first_child..entry.first_child.saturating_add(entry.packed_rows),
                        );
                        break;
                    }
                    let number = self.lists.len() as u32;
                    let far = (list == first.0.list).then_some(first.0.distance);
                    if self.read_tapes(relation, (list, far), &entry).is_ok() {
                        self.read.insert(list);
                        self.stats.lists.add(1);
                        break;
                    }
                    self.candidates.forget(number);
                    // It has seen what is forgotten.
                    self.watch = None;
                }
            }
        }
    }

    /// Whether a list or one that it was split from was read.
    unsafe fn was_read(&self, relation: pg_sys::Relation, list: u32, entry: &Entry) -> bool {
        let (mut at, mut parent) = (list, entry.parent);
        loop {
            if self.read.contains(at) {
                return true;
            }
            if parent == NONE {
                return false;
            }
            at = parent;
            // SAFETY: the index is open for the scan, and no lock is held.
            parent = unsafe { self.opened.entry(relation, at) }.parent;
        }
    }

    unsafe fn read_tapes(
        &mut self,
        relation: pg_sys::Relation,
        (list, far): (u32, Option<f32>),
        entry: &Entry,
    ) -> Result<(), Stale> {
        let info = self.opened.info.clone();
        let (coder, layout) = (&info.coder, &info.layout);
        // SAFETY: the index is open for the scan, and no lock is held.
        unsafe {
            let recent = self.opened.recent.clone();
            let reader = Reader::guessing(relation, &recent);
            // Bounds of first bits are content with how far the router says that the centroid is.
            let far = far.filter(|_| entry.encoder == list && entry.row_head == NONE);
            let about = self.query.as_ref().zip(far).and_then(|(q, far)| coder.list_at(q, far));
            let is_about = about.is_some();
            let list_query = match &self.query {
                Some(query) => about.or_else(|| {
                    if coder.is_relative() {
                        let numbers = &mut self.encoder;
                        route::encoder_centroid(relation, &self.opened, entry.encoder, numbers);
                    }
                    Some(coder.list(query, &self.encoder))
                }),
                None => None,
            };
            let number = self.lists.len() as u32;
            let scored = self.query.as_ref().zip(list_query.as_ref());
            let epsilon = if self.plan.whole { f32::INFINITY } else { EPSILON };
            let (found, codes) = (&mut self.candidates, &self.stats.codes);
            let watch = &mut self.watch;
            if let Some(packed) = &layout.packed {
                let head = Head {
                    kind: Kind::Blocks,
                    owner: list,
                    block: entry.block_head,
                    stamp: entry.block_stamp,
                };
                let mut scores = BlockScores::default();
                reader.for_each_item(head, &packed.blocks, |item| {
                    if let Some((query, list_query)) = scored {
                        codes.add(BLOCK_ROWS);
                        let block = &item.bytes[layout.block_code_at()..];
                        coder.block_bounds(epsilon, (query, list_query), block, &mut scores);
                        let tids = &item.bytes[..BLOCK_ROWS * ROW_TID_BYTES];
                        let (page, place) = (item.block, item.place);
                        let place = Found { tids, list: number, page, place };
                        let least = found.add_block(place, &scores.lower);
                        if let Some(watch) = watch.as_mut().filter(|it| least < it.reach()) {
                            let tids = (0..BLOCK_ROWS).map(|row| block_tid(item.bytes, row));
                            let rows = tids.zip(scores.lower).filter(|(tid, _)| tid.is_some());
                            rows.for_each(|(_, bound)| watch.row(bound));
                        }
                        return;
                    }
                    let tids = (0..BLOCK_ROWS).map(|row| block_tid(item.bytes, row));
                    for tid in tids.filter(|tid| tid.is_some()) {
                        found.add(Candidate::whole(f32::NEG_INFINITY, tid, number));
                    }
                })?;
            }
            let head = Head {
                kind: Kind::Rows,
                owner: list,
                block: entry.row_head,
                stamp: entry.row_head_stamp,
            };
            let (exact, wanted, coarse) = (self.exact, self.wanted, self.coarse);
            reader.for_each_item(head, &layout.rows, |item| {
                let tid = Tid::read(item.bytes, 0);
                if !tid.is_some() {
                    return;
                }
                codes.add(scored.is_some().into());
                let score = scored.map_or(f64::NEG_INFINITY, |(query, list_query)| {
                    let code = &item.bytes[layout.row_code_at()..];
                    coder.score(wanted, query, list_query, &code[..coder.row_bytes()])
                });
                let bound = below(score, exact);
                if let (Some(watch), Some((query, list_query))) = (watch.as_mut(), scored) {
                    let code = &item.bytes[layout.row_code_at()..][..coder.row_bytes()];
                    watch.row(coder.first_bound(query, list_query, code).unwrap_or(bound));
                }
                found.add(if coarse && scored.is_some() {
                    Candidate::rough(bound, tid, number)
                } else {
                    Candidate::whole(bound, tid, number)
                });
            })?;
            let query = match list_query {
                Some(query) if !is_about => OnceCell::from(query),
                _ => OnceCell::new(),
            };
            let (stamp, encoder) = (entry.block_stamp, entry.encoder);
            self.lists.push(Listed { list, stamp, encoder, query });
        }
        Ok(())
    }

    /// The bound or estimate of a packed row's whole code; nothing if its pages are another's by now.
    unsafe fn refine(
        &self,
        relation: pg_sys::Relation,
        list: u32,
        at: candidates::Packed,
        wanted: Wanted,
    ) -> Option<f32> {
        let info = &self.opened.info;
        let listed = &self.lists[list as usize];
        let (query, packed) = (self.query.as_ref()?, info.layout.packed.as_ref()?);
        let list_query = listed.query.get_or_init(|| {
            let mut numbers = Vec::new();
            // SAFETY: the index is open for the scan, and no lock is held.
            unsafe {
                route::encoder_centroid(relation, &self.opened, listed.encoder, &mut numbers);
            }
            info.coder.list(query, &numbers)
        });
        let mut bound = f64::NEG_INFINITY;
        // SAFETY: the index is open for the scan, and no lock is held.
        let reader = unsafe { Reader::guessing(relation, &self.opened.recent) };
        let run = (listed.list, listed.stamp);
        with_code(reader, packed, run, (at.page, at.at.into()), |block, row, ex| {
            let block = &block[info.layout.block_code_at()..];
            bound = info.coder.score_packed(wanted, (query, list_query), block, row, ex);
        })
        .ok()?;
        Some(below(bound, self.exact))
    }
}

/// A bound as candidates keep it. Where the executor compares it with the distance, it is rounded down.
fn below(bound: f64, exact: bool) -> f32 {
    let near = bound as f32;
    if exact || f64::from(near) <= bound { near } else { near.next_down() }
}
