//! Lists split in two or more. Rows move as they are: their codes stay relative to the centroid that they were relative to.
//! All that is new is written first and takes effect in one record.
//!
//! Memory: a sample of the list's vectors, and four bytes for each of its rows; besides, what is packed at a time. The
//! list is read several times instead.

use half::f16;
use leanstack_core::ivf::coder::store_centroid;
use leanstack_core::ivf::{self, Centroids};
use leanstack_core::workers;

use super::entry::LockedEntry;
use super::index;
use super::pack::{self, Rows};
use super::page::{Kind, META_BLOCK, NONE, TapeHead, WHOLE};
use super::repack::{Maker, SPLIT_AT, Tape, rows_at_least};
use super::route::encoder_centroid;
use super::rows::{self, Extent};
use crate::guc;
use crate::storage::{ReadGuard, Tid, corrupt};
use crate::threads;

/// Rows of the sample for each list.
const SAMPLE_ROWS: usize = 64;
/// Vectors assigned at a time.
const ASSIGNED: usize = 4096;
/// How often rows that came in meanwhile are moved before the split is left to a later vacuum.
const ROUNDS: usize = 20;
/// Seed of the clustering.
const SEED: u64 = 1;

/// Splits the list of `maker`, if it is as large as it seems and its rows are not all alike.
///
/// # Safety
/// No other vacuum runs, and the caller holds no lock on a page of the index.
pub unsafe fn split(maker: &mut Maker) {
    // SAFETY: as the caller promises; no lock is held between the steps.
    unsafe {
        let sealed = maker.seal();
        let entry = maker.entry();
        let mut encoder = Vec::new();
        if maker.opened.info.coder.is_relative() {
            encoder_centroid(maker.relation, &maker.opened, entry.encoder, &mut encoder);
        }
        let pool = threads::build_pool(1);
        let mut split = Split {
            first: maker.opened.meta.lists,
            extent: maker.extent(&entry, sealed),
            maker,
            pool,
            encoder,
            centers: Vec::new(),
            appended: Vec::new(),
            children: Vec::new(),
        };
        let near = split.cluster();
        if near.is_empty() || !split.make_entries() {
            split.mark_whole();
            return;
        }
        split.write_centroids();
        split.write_rows(&near);
        drop(near);
        if split.take_effect(sealed) {
            maker.opened = index::open(maker.relation);
        }
    }
}

/// A split under way.
pub struct Split<'a> {
    /// Writes, and knows the list.
    pub maker: &'a mut Maker,
    pool: rayon::ThreadPool,
    /// What of the list is written already, or about to be.
    extent: Extent,
    /// The centroid that the codes are relative to.
    encoder: Vec<f32>,
    /// Centroids of the new lists.
    pub centers: Vec<f32>,
    /// Their items on pages of centroids, where these go to the last page that there is, not to new ones.
    pub appended: Vec<Vec<u8>>,
    /// The new lists.
    pub children: Vec<Child>,
    /// The number of the first of them.
    pub first: u32,
}

/// A list to be.
pub struct Child {
    rows: usize,
    /// Last stamp given out.
    pub counter: u32,
    /// Where its centroid is.
    pub centroid: (u32, u16),
    /// Its rows.
    pub tape: Tape,
    /// Those that came in meanwhile, where rows are packed.
    pub late: Tape,
}

impl Split<'_> {
    /// Numbers of a centroid.
    pub fn dims(&self) -> usize {
        self.maker.opened.info.coder.placed_dims()
    }

    /// Reads the rows of the extent.
    unsafe fn read(&self, each: &mut dyn FnMut(Tid, &[u8])) {
        // SAFETY: as for `split`.
        unsafe { rows::for_each(self.maker.relation, &self.maker.opened.info, self.extent, each) };
    }

    fn decode(&self, code: &[u8], out: &mut Vec<f32>) {
        if !self.maker.opened.info.coder.decode(code, &self.encoder, out) {
            corrupt(self.maker.relation, META_BLOCK, "a list with a damaged code");
        }
    }

    /// Finds centroids, and gives the nearest for each row of the extent: nothing if there is but one.
    unsafe fn cluster(&mut self) -> Vec<u32> {
        let (dims, geometry) = (self.dims(), self.maker.opened.info.coder.geometry());
        // SAFETY: as for `split`.
        let Some((sample, wanted)) = (unsafe { self.sample() }) else { return Vec::new() };
        let pool = &self.pool;
        let lists = wanted.min(sample.len() / dims / 2).max(2);
        let train = |should_stop: &(dyn Fn() -> bool + Sync)| {
            ivf::train(&sample, dims, lists, geometry, SEED, pool, should_stop)
        };
        let trained = workers::call(pool, train, || {
            pgrx::check_for_interrupts!();
        });
        let Ok(trained) = trained else { unreachable!("only a panic stops the clustering") };
        let sizes: Vec<u32> = trained.group_sizes().collect();
        let mut centers = trained.into_centers();
        if centers.len() <= dims {
            return Vec::new();
        }
        let mut stored: Vec<f16> = Vec::new();
        for center in centers.chunks_exact_mut(dims) {
            store_centroid(center, &mut stored);
            center.iter_mut().zip(&stored).for_each(|(x, stored)| *x = stored.to_f32());
        }
        let count = centers.len() / dims;
        let centroids = Centroids::new(centers, dims, geometry, &sizes);
        let mut near = Vec::new();
        // SAFETY: as for `split`.
        unsafe { self.assign(&centroids, &mut |_, _, list| near.push(list)) };
        let mut counts = vec![0; count];
        near.iter().for_each(|&list| counts[list as usize] += 1);
        // Lists without rows are not made.
        let mut numbers = vec![NONE; count];
        let layout = &self.maker.opened.info.layout;
        for (at, &rows) in counts.iter().enumerate().filter(|(_, rows)| **rows > 0) {
            numbers[at] = self.children.len() as u32;
            self.centers.extend_from_slice(centroids.center(at as u32));
            self.children.push(Child {
                rows,
                counter: 0,
                centroid: (NONE, 0),
                tape: Tape::new(layout, false),
                late: Tape::new(layout, true),
            });
        }
        if self.children.len() < 2 {
            return Vec::new();
        }
        near.iter_mut().for_each(|list| *list = numbers[*list as usize]);
        near
    }

    /// Some of the vectors, in the space of centroids, and how many lists they are to have. Nothing if the list is not
    /// too large.
    unsafe fn sample(&self) -> Option<(Vec<f32>, usize)> {
        let mut count = 0usize;
        // SAFETY: as for `split`.
        unsafe { self.read(&mut |_, _| count += 1) };
        let target = self.maker.target?;
        if count <= SPLIT_AT * target {
            return None;
        }
        let (wanted, dims) = (count.div_ceil(target), self.dims());
        let room = guc::build_memory_bytes() / 2 / (dims * size_of::<f32>());
        let most = (wanted * SAMPLE_ROWS).min(room).max(2 * SAMPLE_ROWS);
        let (mut sample, mut vector, mut at) = (Vec::new(), Vec::new(), 0);
        let step = count.div_ceil(most).max(1);
        // SAFETY: as for `split`.
        unsafe {
            self.read(&mut |_, code| {
                if at % step == 0 {
                    self.decode(code, &mut vector);
                    sample.extend_from_slice(&vector);
                }
                at += 1;
            });
        }
        Some((sample, wanted))
    }

    /// Calls `each` for each row of the extent with the nearest of the centroids.
    unsafe fn assign(&self, centroids: &Centroids, each: &mut dyn FnMut(Tid, &[u8], u32)) {
        let (mut held, mut vectors, mut vector) = (Rows::default(), Vec::new(), Vec::new());
        let code_bytes = self.maker.opened.info.coder.row_bytes();
        let pool = &self.pool;
        let mut flush = |held: &mut Rows, vectors: &mut Vec<f32>| {
            let work = |should_stop: &(dyn Fn() -> bool + Sync)| {
                centroids.assign(vectors, pool, should_stop)
            };
            let near = workers::call(pool, work, || {
                pgrx::check_for_interrupts!();
            });
            let Ok(near) = near else { unreachable!("only a panic stops the assignment") };
            let codes = held.codes.chunks_exact(code_bytes);
            for ((&tid, code), near) in held.tids.iter().zip(codes).zip(near) {
                each(tid, code, near[0].list);
            }
            held.clear();
            vectors.clear();
        };
        // SAFETY: as for `split`.
        unsafe {
            self.read(&mut |tid, code| {
                self.decode(code, &mut vector);
                vectors.extend_from_slice(&vector);
                held.push(tid, code);
                if held.len() == ASSIGNED {
                    flush(&mut held, &mut vectors);
                }
            });
        }
        if !held.is_empty() {
            flush(&mut held, &mut vectors);
        }
    }

    /// Notes that there is nothing to split, so that the next vacuum need not find it out again.
    unsafe fn mark_whole(&self) {
        let maker = &*self.maker;
        // SAFETY: as for `split`.
        unsafe {
            let mut locked = LockedEntry::new(maker.relation, &maker.opened, maker.list);
            locked.entry.flags |= WHOLE;
            let rows = rows_at_least(&maker.opened.info.layout, &locked.entry);
            locked.entry.first_child = rows as u32;
            locked.commit(maker.relation);
        }
    }

    /// Writes the rows of the extent to the lists that `near` says, as many lists at a time as fit into memory.
    unsafe fn write_rows(&mut self, near: &[u32]) {
        let info = std::rc::Rc::clone(&self.maker.opened.info);
        let chunk = pack::chunk_rows(&info);
        let row_bytes = info.coder.row_bytes() + size_of::<Tid>();
        let memory = guc::build_memory_bytes() / 2;
        let mut children = std::mem::take(&mut self.children);
        let mut from = 0;
        while from < children.len() {
            let (mut to, mut bytes) = (from, 0);
            while to < children.len() && (to == from || bytes < memory) {
                bytes += children[to].rows.min(chunk) * row_bytes;
                to += 1;
            }
            let mut held: Vec<Rows> = vec![Rows::default(); to - from];
            let (mut at, maker, first) = (0, &*self.maker, self.first);
            let add = |child: usize, children: &mut [Child], held: &mut Rows| {
                let Child { tape, counter, .. } = &mut children[child];
                // SAFETY: as for `split`.
                unsafe { maker.add(tape, first + child as u32, held, &mut drawn_from(counter)) };
            };
            // SAFETY: as for `split`.
            unsafe {
                self.read(&mut |tid, code| {
                    let child = near[at] as usize;
                    at += 1;
                    if (from..to).contains(&child) {
                        let held = &mut held[child - from];
                        held.push(tid, code);
                        if held.len() == chunk {
                            add(child, &mut children, held);
                        }
                    }
                });
            }
            for (child, held) in (from..to).zip(&mut held) {
                add(child, &mut children, held);
            }
            from = to;
        }
        self.children = children;
    }

    /// Moves what came in meanwhile, and lets the new lists take the place of the old one as soon as nothing more comes.
    unsafe fn take_effect(&mut self, mut sealed: Option<u32>) -> bool {
        for _ in 0..ROUNDS {
            // SAFETY: as for `split`.
            unsafe {
                self.write_entries();
                if self.try_take_effect(sealed) {
                    return true;
                }
                let before = sealed;
                sealed = self.maker.seal();
                self.move_rows(before, sealed);
            }
        }
        false
    }

    /// Moves the rows behind page `before`, as far as page `sealed`.
    unsafe fn move_rows(&mut self, before: Option<u32>, sealed: Option<u32>) {
        // SAFETY: as for `split`.
        unsafe {
            let entry = self.maker.entry();
            let mut extent = self.maker.extent(&entry, sealed);
            extent.packed.block = NONE;
            if let Some(before) = before {
                let guard = ReadGuard::new(self.maker.relation, before);
                let Some(head) = TapeHead::read(guard.page(), Kind::Rows) else {
                    corrupt(self.maker.relation, before, "not a page of rows");
                };
                (extent.rows.block, extent.rows.stamp) = (head.next, head.next_stamp);
            }
            self.extent = extent;
            let (dims, geometry) = (self.dims(), self.maker.opened.info.coder.geometry());
            let size = self.children.len() as u32;
            let is_packed = self.maker.opened.info.layout.packed.is_some();
            let centroids = Centroids::new(self.centers.clone(), dims, geometry, &[size]);
            let mut held: Vec<Rows> = vec![Rows::default(); self.children.len()];
            self.assign(&centroids, &mut |tid, code, list| held[list as usize].push(tid, code));
            for (at, held) in held.iter_mut().enumerate() {
                let Child { tape, late, counter, .. } = &mut self.children[at];
                let tape = if is_packed { late } else { tape };
                self.maker.add(tape, self.first + at as u32, held, &mut drawn_from(counter));
            }
        }
    }
}

/// Stamps of a list that nobody knows yet.
fn drawn_from(counter: &mut u32) -> impl FnMut(u32) -> u32 + '_ {
    move |count| {
        let first = *counter + 1;
        *counter += count;
        first
    }
}
