//! The last part of a build: all pages, in order. A fork that nobody else sees grows by a page at a time, so that every
//! page's number is known before it is written.
//!
//! ```text
//! metapage | model | groups | centroids, group by group | entries | lists, one after the other
//! ```

use half::f16;
use leanstack_core::ivf::Centroids;
use leanstack_core::ivf::coder::store_centroid;
use pgrx::pg_sys;
use pgrx::prelude::*;
use zerocopy::{Immutable, IntoBytes};

use super::index::IndexInfo;
use super::pack::{self, Rows, Run};
use super::page::{
    CONTINUES, CentroidHead, ENTRIES_PER_PAGE, Entry, GroupHead, Kind, MAX_ENTRY_PAGES, META_BLOCK,
    Meta, NONE, TAPE_BYTES, TAPE_HEAD_BYTES, Tape, TapeHead, init_page, init_tape_page,
};
use super::spill::Sorted;
use crate::am::progress;
use crate::storage::page::{Page, content_mut, set_content_bytes};
use crate::storage::{corrupt, fresh};

/// An index under construction.
pub struct Writer<'a> {
    /// The index: nobody else sees it.
    pub index: pg_sys::Relation,
    /// Which fork of it.
    pub fork: pg_sys::ForkNumber::Type,
    /// What follows from the metapage and the model.
    pub info: &'a IndexInfo,
    /// The centroids, as they are stored.
    pub centroids: &'a Centroids,
    /// The model.
    pub model: &'a [f32],
}

/// Where lists, or groups, begin and end.
type Blocks = Vec<u32>;

impl Writer<'_> {
    /// Writes all pages. `meta` is complete but for what is known here.
    ///
    /// # Safety
    /// The index is open, its fork empty, and nobody else sees it.
    pub unsafe fn write(&self, mut meta: Meta, rows: &mut Sorted) {
        let lists = self.centroids.len() as u32;
        let layout = &self.info.layout;
        let sizes: Vec<u32> = self.centroids.group_sizes().collect();
        let model = self.model.as_bytes();
        let model_pages = model.len().div_ceil(TAPE_BYTES);
        meta.model_bytes = model.len() as u32;
        meta.model_block = if model.is_empty() { NONE } else { META_BLOCK + 1 };
        meta.groups = sizes.len() as u32;
        meta.lists = lists;
        meta.group_head = META_BLOCK + 1 + model_pages as u32;
        let group_pages = tape_pages(sizes.len(), &layout.groups);
        let mut group_blocks: Blocks = vec![meta.group_head + group_pages as u32];
        for &size in &sizes {
            let pages = tape_pages(size as usize, &layout.centroids) as u32;
            group_blocks.push(group_blocks[group_blocks.len() - 1] + pages);
        }
        let first_entry = group_blocks[sizes.len()];
        let entry_pages = (lists as usize).div_ceil(ENTRIES_PER_PAGE);
        debug_assert!(entry_pages <= MAX_ENTRY_PAGES);
        let mut list_blocks: Blocks = vec![first_entry + entry_pages as u32];
        for list in 0..lists {
            let pages = self.list_pages(rows.rows(list));
            let end = u64::from(list_blocks[list as usize]) + pages;
            match u32::try_from(end) {
                Ok(end) if end < NONE => list_blocks.push(end),
                _ => {
                    ereport!(
                        ERROR,
                        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                        "an index cannot have more than 4294967294 pages"
                    );
                }
            }
        }
        // SAFETY: as the caller promises.
        unsafe {
            self.add_page(META_BLOCK, |page| {
                init_page(page, Kind::Meta, 0);
                for at in 0..entry_pages as u32 {
                    let _ = meta.push_entry_block(page, first_entry + at);
                }
                meta.write(page);
            });
            self.write_model(meta.model_block, model);
            self.write_groups(meta.group_head, &sizes, &group_blocks);
            let mut first = 0;
            let mut places = Vec::with_capacity(lists as usize);
            for (group, &size) in sizes.iter().enumerate() {
                self.write_centroids(group as u32, group_blocks[group], first..first + size);
                let tape = &layout.centroids;
                places.extend((0..size as usize).map(|at| {
                    let page = at / tape.per_page() * tape.pages_per_item();
                    (group_blocks[group] + page as u32, (at % tape.per_page()) as u16)
                }));
                first += size;
            }
            self.write_entries(first_entry, &places, &list_blocks, rows);
            self.write_lists(&list_blocks, rows);
        }
    }

    /// Adds the page whose number is to be `block`.
    unsafe fn add_page(&self, block: u32, fill: impl FnOnce(&mut Page)) {
        // SAFETY: as for `write`.
        let added = unsafe { fresh::add_page(self.index, self.fork, fill) };
        if added != block {
            corrupt(self.index, added, "a new index grew by itself");
        }
    }

    unsafe fn write_model(&self, first: u32, model: &[u8]) {
        let parts = model.chunks(TAPE_BYTES);
        let count = parts.len();
        for (at, part) in parts.enumerate() {
            let mut head = TapeHead::new(0, 0);
            if at + 1 < count {
                head.next = first + at as u32 + 1;
            }
            // SAFETY: as for `write`.
            unsafe {
                self.add_page(first + at as u32, |page| {
                    init_page(page, Kind::Model, TAPE_HEAD_BYTES + part.len());
                    head.write(page);
                    content_mut(page)[TAPE_HEAD_BYTES..TAPE_HEAD_BYTES + part.len()]
                        .copy_from_slice(part);
                });
            }
        }
    }

    unsafe fn write_groups(&self, first: u32, sizes: &[u32], blocks: &Blocks) {
        let mut from = 0;
        let mut items = Vec::with_capacity(sizes.len());
        for (&size, &centroids) in sizes.iter().zip(blocks) {
            items.push(self.group(centroids, from..from + size));
            from += size;
        }
        // SAFETY: as for `write`.
        unsafe {
            self.write_tape(
                Kind::Groups,
                0,
                first,
                &self.info.layout.groups,
                items.len(),
                |at, out| {
                    out[..items[at].len()].copy_from_slice(&items[at]);
                },
            );
        }
    }

    /// An item of groups.
    fn group(&self, centroids: u32, lists: std::ops::Range<u32>) -> Vec<u8> {
        let count = lists.len();
        let mut sums = vec![0.0f64; self.centroids.dims()];
        for list in lists.clone() {
            let center = self.centroids.center(list);
            sums.iter_mut().zip(center).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        let mean: Vec<f32> = sums.iter().map(|sum| (sum / count as f64) as f32).collect();
        let (mut numbers, mut stored) = (Vec::new(), Vec::new());
        store_centroid(&mean, &mut numbers);
        stored.extend(numbers.iter().map(|x| x.to_f32()));
        let farthest = lists.map(|list| apart_squared(&stored, self.centroids.center(list)));
        let head = GroupHead {
            centroids,
            lists: count as u32,
            radius: farthest.fold(0.0, f64::max).sqrt() as f32,
            norm_squared: norm_squared(&stored),
        };
        item(&head, &numbers)
    }

    unsafe fn write_centroids(&self, group: u32, first: u32, lists: std::ops::Range<u32>) {
        let mut numbers: Vec<f16> = Vec::new();
        // SAFETY: as for `write`.
        unsafe {
            let tape = &self.info.layout.centroids;
            self.write_tape(Kind::Centroids, group, first, tape, lists.len(), |at, out| {
                let list = lists.start + at as u32;
                let center = self.centroids.center(list);
                store_centroid(center, &mut numbers);
                let head = CentroidHead { list, norm_squared: norm_squared(center) };
                let item = item(&head, &numbers);
                out[..item.len()].copy_from_slice(&item);
            });
        }
    }

    /// Writes a tape of pages that follow each other.
    unsafe fn write_tape(
        &self,
        kind: Kind,
        owner: u32,
        first: u32,
        tape: &Tape,
        items: usize,
        mut write: impl FnMut(usize, &mut [u8]),
    ) {
        let (pages, parts) = (tape_pages(items, tape), tape.pages_per_item());
        let mut bytes = vec![0; tape.item_bytes];
        for at in 0..pages {
            let mut head = TapeHead::new(owner, 0);
            if at + 1 < pages {
                head.next = first + at as u32 + 1;
            }
            // SAFETY: as for `write`.
            unsafe {
                self.add_page(first + at as u32, |page| {
                    init_tape_page(page, kind, tape, head);
                    let from = at / parts * tape.per_page();
                    if at % parts > 0 {
                        head.flags |= CONTINUES;
                        let part = &bytes[tape.part(at % parts)];
                        let end = TAPE_HEAD_BYTES + part.len();
                        content_mut(page)[TAPE_HEAD_BYTES..end].copy_from_slice(part);
                        set_content_bytes(page, end);
                    } else {
                        let count = tape.per_page().min(items - from);
                        for place in 0..count {
                            bytes.fill(0);
                            write(from + place, &mut bytes);
                            tape.item_mut(page, place).copy_from_slice(&bytes[tape.part(0)]);
                        }
                        head.items = count as u16;
                        set_content_bytes(page, tape.used_bytes(count));
                    }
                    head.write(page);
                });
            }
        }
    }

    unsafe fn write_entries(
        &self,
        first: u32,
        centroids: &[(u32, u16)],
        blocks: &Blocks,
        rows: &Sorted,
    ) {
        for (at, places) in centroids.chunks(ENTRIES_PER_PAGE).enumerate() {
            // SAFETY: as for `write`.
            unsafe {
                self.add_page(first + at as u32, |page| {
                    Entry::init_page(page);
                    for (place, &centroid) in places.iter().enumerate() {
                        let list = at * ENTRIES_PER_PAGE + place;
                        let (start, end) = (blocks[list], blocks[list + 1]);
                        let count = rows.rows(list as u32);
                        self.entry(list as u32, centroid, start..end, count).write(page, place);
                    }
                });
            }
        }
    }

    /// The entry of a list whose rows are in `blocks`.
    fn entry(
        &self,
        list: u32,
        centroid: (u32, u16),
        blocks: std::ops::Range<u32>,
        rows: u64,
    ) -> Entry {
        let mut entry = Entry::new(list, centroid);
        if rows == 0 {
            return entry;
        }
        if self.info.layout.packed.is_some() {
            entry.block_head = blocks.start;
            entry.block_stamp = FIRST_STAMP;
            entry.packed_rows = rows as u32;
            entry.counter = FIRST_STAMP;
        } else {
            entry.row_head = blocks.start;
            entry.row_head_stamp = FIRST_STAMP;
            entry.row_tail = blocks.end - 1;
            entry.row_pages = blocks.len() as u32;
            entry.counter = FIRST_STAMP + blocks.len() as u32 - 1;
        }
        entry
    }

    /// Pages of a list.
    fn list_pages(&self, rows: u64) -> u64 {
        let pages = |rows: usize| {
            let (tape, ex) = pack::pages(&self.info.layout, self.info.layout.packed, rows);
            (tape + ex) as u64
        };
        let chunk = pack::chunk_rows(self.info);
        rows / chunk as u64 * pages(chunk) + pages((rows % chunk as u64) as usize)
    }

    unsafe fn write_lists(&self, blocks: &Blocks, rows: &mut Sorted) {
        let chunk = pack::chunk_rows(self.info);
        let (mut held, mut done) = (Rows::default(), 0);
        for list in 0..self.centroids.len() as u32 {
            let (mut first, mut stamp) = (blocks[list as usize], FIRST_STAMP);
            let mut left = rows.rows(list);
            while left > 0 {
                pgrx::check_for_interrupts!();
                rows.read(list, chunk, &mut held);
                left -= held.len() as u64;
                let mut run = Run::new(self.info, &held, list, stamp);
                let numbers: Vec<u32> = (first..).take(run.pages()).collect();
                first += numbers.len() as u32;
                if left > 0 {
                    run = run.followed_by(first);
                }
                for (at, &block) in numbers.iter().enumerate() {
                    // SAFETY: as for `write`.
                    unsafe { self.add_page(block, |page| run.fill(at, &numbers, page)) };
                }
                if self.info.layout.packed.is_none() {
                    stamp += run.stamps();
                }
                done += held.len();
                progress::tuples_done(done as i64);
            }
            rows.next_list();
        }
    }
}

/// The first stamp of each list.
const FIRST_STAMP: u32 = 1;

fn tape_pages(items: usize, tape: &Tape) -> usize {
    items.div_ceil(tape.per_page()) * tape.pages_per_item()
}

fn item<H: IntoBytes + Immutable>(head: &H, numbers: &[f16]) -> Vec<u8> {
    [head.as_bytes(), numbers.as_bytes()].concat()
}

fn norm_squared(x: &[f32]) -> f32 {
    x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() as f32
}

fn apart_squared(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum()
}
