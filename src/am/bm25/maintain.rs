//! What turns the write buffer into segments and several segments into one. Whoever does it holds the maintenance lock, a
//! heavyweight lock that scans and insertions never wait for.
//!
//! All of it is done beside what is there: new pages are written and logged first, then one record of the metapage puts the
//! new segment in the place of what it was made from, then the old pages are given back. A crash, an error or a cancel in
//! between leaves pages that nothing leads to, and a mark on the metapage that there may be some; the next vacuum finds them.

use std::rc::Rc;

use leanstack_core::bm25::{Fault, Segment, merge};
use pgrx::pg_sys;

use super::buffer::entries_of;
use super::gather::Gather;
use super::insert::has_documents;
use super::meta::{Buffer, MOST_SEGMENTS, Meta, SegmentEntry, locked};
use super::page::{
    Kind, META_BLOCK, NONE, entries, init_buffer_page, is_buffer_page, is_free, kind,
    next_in_buffer, seal, stamp as stamp_of,
};
use super::segments::{self, Known, SegmentPages, raise};
use super::sight::Word;
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
        // Not `then_some`: a lock that was not got must not be dropped.
        got.then(|| Lock { relation })
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
            write_sealed(lock, &with_room(lock));
            meta = Meta::load(relation);
        }
        if has_documents(relation, &meta) {
            with_room(lock);
            write_sealed(lock, &seal_active(relation));
        }
    }
}

/// Sees to it that the metapage has room for another segment. There is none only after merges that were stopped.
unsafe fn with_room(lock: &Lock) -> Meta {
    // SAFETY: as for `flush`.
    unsafe {
        let meta = Meta::load(lock.relation);
        if meta.segments.len() < MOST_SEGMENTS {
            return meta;
        }
        merge_levels(lock, Who::Insertion);
        Meta::load(lock.relation)
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
        let stamp = meta.take_stamp();
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

/// Makes a segment of the sealed buffer.
unsafe fn write_sealed(lock: &Lock, meta: &Meta) {
    let relation = lock.relation;
    // SAFETY: the caller has the maintenance lock and no lock on pages; nobody adds to a sealed buffer.
    unsafe {
        let begun = begin(relation);
        let mut blocks = Vec::new();
        let entry = segments::write(relation, meta, begun.stamp, false, |writer| {
            let mut gather = Gather::new(writer, guc::build_memory_bytes(), 1);
            let mut page_entries = Vec::new();
            let mut next = meta.sealed.head;
            // The document in several entries that was begun: no other such one comes in between.
            let mut open: Option<(Tid, u32, Vec<Word>)> = None;
            while next != NONE {
                vacuum::pause();
                let block = next;
                if blocks.len() >= meta.sealed.pages as usize {
                    corrupt(relation, block, "the write buffer goes on");
                }
                next = read_page(relation, meta.sealed.stamp, block, &mut page_entries);
                blocks.push(block);
                let mut bytes = 0;
                for entry in entries_of(&page_entries) {
                    bytes += entry.bytes();
                    if entry.words().count() != entry.word_count() {
                        corrupt(relation, block, "a document of the write buffer ends early");
                    }
                    if !entry.is_part {
                        gather.push(entry.row, entry.length, entry.words())?;
                        continue;
                    }
                    let words = entry.words().map(|(word, times)| (word.to_vec(), times));
                    match open.as_mut().filter(|(row, ..)| *row == entry.row) {
                        Some((.., known)) => known.extend(words),
                        None => {
                            let begun = (entry.row, entry.length, words.collect());
                            if let Some((row, length, words)) = open.replace(begun) {
                                gather.push(row, length, words.into_iter())?;
                            }
                        }
                    }
                }
                if bytes != page_entries.len() {
                    corrupt(relation, block, "the documents of the write buffer end early");
                }
            }
            if (blocks.len(), blocks.last())
                != (meta.sealed.pages as usize, Some(&meta.sealed.tail))
            {
                corrupt(relation, meta.sealed.head, "the write buffer ends elsewhere");
            }
            if let Some((row, length, words)) = open {
                gather.push(row, length, words.into_iter())?;
            }
            if gather.documents() == 0 { Ok(None) } else { gather.finish().map(Some) }
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

/// Copies the entries of a page of a buffer. Gives the next page.
unsafe fn read_page(relation: pg_sys::Relation, stamp: u32, block: u32, out: &mut Vec<u8>) -> u32 {
    // SAFETY: as for `write_sealed`.
    let guard = unsafe { ReadGuard::new(relation, block) };
    if !is_buffer_page(guard.page(), stamp) {
        corrupt(relation, block, "not a page of the write buffer");
    }
    out.clear();
    out.extend_from_slice(entries(guard.page()));
    next_in_buffer(guard.page())
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
            (stamp, was_unclean) = (meta.take_stamp(), meta.is_unclean);
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
    let fits = |places: &[usize]| {
        let documents = places.iter().map(|&at| u64::from(segments[at].live_documents));
        places.len() == TOGETHER && documents.sum::<u64>() < u64::from(u32::MAX)
    };
    let mut by_size: Vec<usize> = (0..segments.len()).collect();
    by_size.sort_by_key(|&at| segments[at].summary.pages);
    let smallest_of = |is_wanted: &dyn Fn(&SegmentEntry) -> bool| -> Vec<usize> {
        by_size.iter().copied().filter(|&at| is_wanted(&segments[at])).take(TOGETHER).collect()
    };
    for wanted in 0..=segments.iter().map(level).max().unwrap_or(0) {
        let places = smallest_of(&|entry| level(entry) == wanted);
        let is_small = who == Who::Vacuum || pages(&places) <= u64::from(INSERT_PAGES);
        if fits(&places) && is_small {
            return places;
        }
    }
    let places = smallest_of(&|_| true);
    if segments.len() >= CROWDED && fits(&places) {
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

/// Finds pages that nothing leads to and gives them back, and tells the free space map of all that are free: it is not logged,
/// and knows nothing after a crash. Only where there may be some, unless `always`. Whether it looked.
///
/// # Safety
/// The caller has no lock on pages of the index.
pub unsafe fn sweep(lock: &Lock, always: bool) -> bool {
    let relation = lock.relation;
    // SAFETY: as the caller promises. Pages that an insertion takes meanwhile are locked from the moment they are found until
    // they say whose they are, and bear the stamp of the buffer that takes documents.
    unsafe {
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        if !always && !Meta::load(relation).is_unclean {
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
        pg_sys::IndexFreeSpaceMapVacuum(relation);
        if meta.is_unclean {
            Meta::update(relation, |meta| meta.is_unclean = false);
        }
        true
    }
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
