//! What turns the write buffer into segments and several segments into one. Whoever does it holds the maintenance lock, a
//! heavyweight lock that scans and insertions never wait for.
//!
//! All of it is done beside what is there: new pages are written and logged first, then one record of the metapage puts the
//! new segment in the place of what it was made from, then the old pages are given back. A crash, an error or a cancel in
//! between leaves pages that nothing leads to, and a mark on the metapage that there may be some; the next vacuum finds them.

use std::collections::HashMap;
use std::rc::Rc;

use leanstack_core::bm25::{Fault, Segment, merge};
use pgrx::pg_sys;

use super::buffer::{self, entries_of};
use super::gather::Gather;
use super::insert::has_documents;
use super::meta::{Buffer, MOST_SEGMENTS, Meta, SegmentEntry, locked};
use super::page::{Kind, META_BLOCK, init_buffer_page, is_free, kind, seal, stamp as stamp_of};
use super::segments::{self, Known, SegmentPages, raise};
use super::space;
use crate::am::vacuum;
use crate::guc;
use crate::storage::{ReadGuard, Tid, WalTxn, WriteGuard, corrupt};

/// Segments of one level that become one.
const TOGETHER: usize = 8;
/// Postings below which all segments are of one level.
const SMALL: u64 = 1 << 16;
/// Pages that an insertion merges at most; more is left to vacuum.
const INSERT_PAGES: u32 = 1024;
/// Segments beyond which an insertion merges whatever there is.
const CROWDED: usize = MOST_SEGMENTS - TOGETHER;
/// Of the documents of a segment, the share that must be dead for it to be written anew.
const DEAD_SHARE: f64 = 0.2;

/// Who is at work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// An insertion, which does not take long.
    Insertion,
    /// A vacuum.
    Vacuum,
}

/// The maintenance lock of an index. An error releases it with the transaction.
pub struct Lock {
    relation: pg_sys::Relation,
}

impl Lock {
    const MODE: pg_sys::LOCKMODE = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;

    /// Waits for the lock.
    ///
    /// # Safety
    /// `relation` stays open and locked as long as the lock is held; none of its pages is locked by this backend.
    pub unsafe fn wait(relation: pg_sys::Relation) -> Lock {
        // SAFETY: as the caller promises.
        unsafe { pg_sys::LockPage(relation, META_BLOCK, Lock::MODE) }
        Lock { relation }
    }

    /// The lock, if nobody has it.
    ///
    /// # Safety
    /// As for [`Lock::wait`].
    unsafe fn try_now(relation: pg_sys::Relation) -> Option<Lock> {
        // SAFETY: as the caller promises.
        let got = unsafe { pg_sys::ConditionalLockPage(relation, META_BLOCK, Lock::MODE) };
        got.then_some(Lock { relation })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: taken by `wait` or `try_now`, and the relation is still open.
        unsafe { pg_sys::UnlockPage(self.relation, META_BLOCK, Lock::MODE) }
    }
}

/// What an insertion does that found the buffer full, unless somebody else is at it.
///
/// # Safety
/// `relation` is an open and locked `bm25` index, and this backend has no lock on its pages.
pub unsafe fn after_insert(relation: pg_sys::Relation) {
    // SAFETY: as the caller promises.
    unsafe {
        // Replay on a standby, where nobody inserts, is the only other writer.
        let Some(lock) = Lock::try_now(relation) else { return };
        let meta = Meta::load(relation);
        if meta.active.pages >= super::insert::BUFFER_PAGES {
            flush(&lock);
            merge_levels(&lock, Who::Insertion);
        }
    }
}

/// Writes all documents of the buffers into a segment.
///
/// # Safety
/// The caller has no lock on pages of the index.
pub unsafe fn flush(lock: &Lock) {
    let relation = lock.relation;
    // SAFETY: as the caller promises.
    unsafe {
        let mut meta = Meta::load(relation);
        if meta.sealed.head != Buffer::NONE.head {
            // Somebody was stopped here.
            write_sealed(lock, &meta);
            meta = Meta::load(relation);
        }
        if has_documents(relation, &meta) {
            write_sealed(lock, &seal_active(relation));
        }
    }
}

/// Puts an empty buffer in the place of the one that takes documents.
unsafe fn seal_active(relation: pg_sys::Relation) -> Meta {
    // SAFETY: the caller has the maintenance lock and no lock on pages; they are locked in the order of insertions.
    unsafe {
        let first = WriteGuard::new(relation, META_BLOCK);
        let mut meta = locked(relation, &first);
        let tail = WriteGuard::new(relation, meta.active.tail);
        let new = space::take(relation);
        let stamp = meta.next_stamp;
        meta.next_stamp += 1;
        meta.sealed = meta.active;
        meta.active = Buffer { stamp, head: new.block(), tail: new.block(), pages: 1 };
        let mut txn = WalTxn::new(relation, false);
        meta.write(txn.page(&first));
        seal(txn.page(&tail));
        init_buffer_page(txn.new_page(&new), stamp);
        txn.commit();
        meta
    }
}

/// A document of a buffer: its length and words.
struct Document {
    row: Tid,
    length: u32,
    words: Vec<(Box<[u8]>, u32)>,
}

/// Makes a segment of the sealed buffer.
unsafe fn write_sealed(lock: &Lock, meta: &Meta) {
    let relation = lock.relation;
    let (mut blocks, mut documents) = (Vec::new(), Vec::<Document>::new());
    let mut parts: HashMap<Tid, usize> = HashMap::new();
    // SAFETY: the caller has the maintenance lock and no lock on pages; nobody adds to a sealed buffer.
    unsafe {
        let walked = buffer::for_each_page(relation, meta.sealed, |block, page| {
            blocks.push(block);
            for entry in entries_of(page) {
                let known = if entry.is_part { parts.get(&entry.row).copied() } else { None };
                let at = known.unwrap_or_else(|| {
                    let (row, length) = (entry.row, entry.length);
                    documents.push(Document { row, length, words: Vec::new() });
                    documents.len() - 1
                });
                documents[at].words.extend(entry.words().map(|(word, times)| (word.into(), times)));
                if entry.is_part {
                    parts.insert(entry.row, at);
                }
            }
        });
        if walked.is_err() {
            corrupt(relation, meta.sealed.head, "not a page of the write buffer");
        }
        documents.sort_by_key(|document| document.row);
        let begun = begin(relation);
        let entry = segments::write(relation, meta, begun.stamp, false, |writer| {
            let mut gather = Gather::new(writer, guc::build_memory_bytes());
            for document in &documents {
                let words = document.words.iter().map(|(word, times)| (word, *times));
                gather.push(document.row, document.length, words)?;
            }
            if documents.is_empty() { Ok(None) } else { gather.finish().map(Some) }
        });
        let entry = entry.unwrap_or_else(|fault| raise(relation, &fault));
        Meta::update(relation, |meta| {
            meta.segments.extend(entry);
            meta.sealed = Buffer::NONE;
        });
        space::give_back(relation, &mut blocks);
        end(relation, &begun);
    }
}

/// Work that may leave pages behind when it is stopped.
struct Begun {
    /// For the pages that it makes.
    stamp: u32,
    was_unclean: bool,
}

unsafe fn begin(relation: pg_sys::Relation) -> Begun {
    let (mut stamp, mut was_unclean) = (0, false);
    // SAFETY: the caller has the maintenance lock and no lock on pages.
    unsafe {
        Meta::update(relation, |meta| {
            (stamp, was_unclean) = (meta.next_stamp, meta.is_unclean);
            meta.next_stamp += 1;
            meta.is_unclean = true;
        });
    }
    Begun { stamp, was_unclean }
}

unsafe fn end(relation: pg_sys::Relation, begun: &Begun) {
    if !begun.was_unclean {
        // SAFETY: as for `begin`.
        unsafe { Meta::update(relation, |meta| meta.is_unclean = false) };
    }
}

/// The level of a segment: each holds eight times the postings of the one below.
fn level(entry: &SegmentEntry) -> u32 {
    (entry.summary.postings.max(1) / SMALL)
        .checked_ilog(TOGETHER as u64)
        .map_or(0, |level| level + 1)
}

/// The segments to merge next: as their places on the metapage.
fn due(meta: &Meta, who: Who) -> Vec<usize> {
    let segments = &meta.segments;
    let pages = |places: &[usize]| -> u64 {
        places.iter().map(|&at| u64::from(segments[at].summary.pages)).sum()
    };
    for wanted in 0..=segments.iter().map(level).max().unwrap_or(0) {
        let places: Vec<usize> =
            (0..segments.len()).filter(|&at| level(&segments[at]) == wanted).collect();
        let is_small = who == Who::Vacuum || pages(&places) <= u64::from(INSERT_PAGES);
        if places.len() >= TOGETHER && is_small {
            return places;
        }
    }
    if segments.len() >= CROWDED {
        let mut places: Vec<usize> = (0..segments.len()).collect();
        places.sort_by_key(|&at| segments[at].summary.pages);
        places.truncate(TOGETHER);
        return places;
    }
    if who == Who::Vacuum {
        let is_due = |entry: &SegmentEntry| {
            f64::from(entry.dead_documents()) > DEAD_SHARE * f64::from(entry.summary.documents)
        };
        return segments.iter().position(is_due).into_iter().collect();
    }
    Vec::new()
}

/// Merges segments as long as any are due. Whether there were any.
///
/// # Safety
/// The caller has no lock on pages of the index.
pub unsafe fn merge_levels(lock: &Lock, who: Who) -> bool {
    let mut did = false;
    loop {
        // SAFETY: as the caller promises.
        unsafe {
            let meta = Meta::load(lock.relation);
            let places = due(&meta, who);
            if places.is_empty() {
                return did;
            }
            merge_these(lock, &meta, &places);
            did = true;
        }
    }
}

/// Puts one segment in the place of those at `places`.
unsafe fn merge_these(lock: &Lock, meta: &Meta, places: &[usize]) {
    let relation = lock.relation;
    let known = Known::of(meta);
    // SAFETY: the caller has the maintenance lock and no lock on pages: the segments stay as they are.
    unsafe {
        let sources: Result<Vec<Segment<SegmentPages>>, Fault> =
            places.iter().map(|&at| segments::open(relation, &known, &meta.segments[at])).collect();
        let sources = sources.unwrap_or_else(|fault| raise(relation, &fault));
        let begun = begin(relation);
        let entry = if places.iter().all(|&at| meta.segments[at].live_documents == 0) {
            None
        } else {
            segments::write(relation, meta, begun.stamp, false, |writer| {
                merge(&sources, writer).map(Some)
            })
            .unwrap_or_else(|fault| raise(relation, &fault))
        };
        let gone: Vec<u32> = places.iter().map(|&at| meta.segments[at].stamp).collect();
        Meta::update(relation, |meta| {
            let at = meta.segments.iter().position(|segment| gone.contains(&segment.stamp));
            meta.segments.retain(|segment| !gone.contains(&segment.stamp));
            if let Some(entry) = entry {
                meta.segments.insert(at.unwrap_or(0), entry);
            }
        });
        let mut blocks: Vec<u32> =
            sources.iter().flat_map(|source| source.pages.map.all_blocks()).collect();
        drop(sources);
        space::give_back(relation, &mut blocks);
        end(relation, &begun);
    }
}

/// Finds pages that nothing leads to, where there may be some, and gives them back. Whether it looked.
///
/// # Safety
/// The caller has no lock on pages of the index.
pub unsafe fn sweep(lock: &Lock) -> bool {
    let relation = lock.relation;
    // SAFETY: as the caller promises. Pages that an insertion takes meanwhile are locked from the moment they are found until
    // they say whose they are, and bear the stamp of the buffer that takes documents.
    unsafe {
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        if !Meta::load(relation).is_unclean {
            return false;
        }
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(relation, main);
        let meta = Meta::load(relation);
        let mut live = Vec::with_capacity(meta.segments.len() + 2);
        live.extend(meta.segments.iter().map(|segment| segment.stamp));
        live.extend([meta.active.stamp, meta.sealed.stamp]);
        for block in META_BLOCK + 1..blocks {
            vacuum::pause();
            let guard = ReadGuard::new(relation, block);
            let page = guard.page();
            let (is_free, is_ours) = (is_free(page), kind(page).is_some_and(|k| k != Kind::Meta));
            let is_lost = !is_free && is_ours && !live.contains(&stamp_of(page));
            drop(guard);
            if is_lost {
                space::give_back(relation, &mut [block]);
            } else if is_free {
                pg_sys::RecordFreeIndexPage(relation, block);
            }
        }
        space_published(relation);
        Meta::update(relation, |meta| meta.is_unclean = false);
        true
    }
}

unsafe fn space_published(relation: pg_sys::Relation) {
    // SAFETY: the caller has the index open.
    unsafe { pg_sys::IndexFreeSpaceMapVacuum(relation) }
}

/// A segment of an index whose segments cannot go meanwhile.
///
/// # Safety
/// The caller keeps the maintenance lock, or the index to itself, and has no lock on pages.
pub unsafe fn open_kept(
    relation: pg_sys::Relation,
    known: &Rc<Known>,
    entry: &SegmentEntry,
) -> Segment<SegmentPages> {
    // SAFETY: as the caller promises.
    unsafe { segments::open(relation, known, entry) }
        .unwrap_or_else(|fault| raise(relation, &fault))
}
