//! The lists that one is split into: their centroids, their entries, and the record by which they take its place.

use leanstack_core::ivf::coder::store_centroid;
use zerocopy::IntoBytes;

use super::entry::LockedEntry;
use super::index;
use super::page::{
    BUILDING, CONTINUES, CentroidHead, ENTRIES_PER_PAGE, Entry, Kind, MAX_ENTRY_PAGES, META_BLOCK,
    NONE, SPLIT, SPLIT_LIST, TAPE_HEAD_BYTES, Tape, TapeHead, WHOLE, init_tape_page,
};
use super::space::{Room, meta_of};
use super::split::Split;
use super::{list, retire};
use crate::storage::page::{Page, content, content_mut, set_content_bytes};
use crate::storage::{ReadGuard, WalTxn, WriteGuard, corrupt};

impl Split<'_> {
    /// Makes sure that there are pages for the entries. False if the metapage cannot name them.
    ///
    /// # Safety
    /// As for [`super::split::split`].
    pub unsafe fn make_entries(&mut self) -> bool {
        let maker = &mut *self.maker;
        let end = self.first as usize + self.children.len();
        if end.div_ceil(ENTRIES_PER_PAGE) > MAX_ENTRY_PAGES || end >= SPLIT_LIST as usize {
            return false;
        }
        while maker.opened.is_behind(end as u32 - 1) {
            // SAFETY: as for `split`; a free page is locked before the metapage.
            unsafe {
                let room = Room::find(maker.relation, maker.heap);
                let meta_guard = WriteGuard::new(maker.relation, META_BLOCK);
                let mut meta = meta_of(maker.relation, meta_guard.page());
                if room.come_off(&mut meta) {
                    let mut txn = WalTxn::new(maker.relation, false);
                    Entry::init_page(room.page(&mut txn));
                    let page = txn.page(&meta_guard);
                    let _ = meta.push_entry_block(page, room.block());
                    meta.write(page);
                    txn.commit();
                }
                drop((room, meta_guard));
                maker.opened = index::open(maker.relation);
            }
        }
        true
    }

    /// Writes the centroids on pages that nothing leads to yet, or leaves it for later if the last page has room.
    ///
    /// # Safety
    /// As for [`super::split::split`].
    pub unsafe fn write_centroids(&mut self) {
        let maker = &*self.maker;
        let tape = &maker.opened.info.layout.centroids;
        let (parts, count) = (tape.pages_per_item(), self.children.len());
        let items = self.centroid_items();
        // SAFETY: as for `split`.
        unsafe {
            let (group, last_block) = (self.group(), self.last_centroids(maker.entry().centroid));
            let used = {
                let guard = ReadGuard::new(maker.relation, last_block);
                TapeHead::read(guard.page(), Kind::Centroids).map_or(0, |head| head.items)
            };
            if parts == 1 && usize::from(used) + count <= tape.per_page() {
                for (child, place) in self.children.iter_mut().zip(used..) {
                    child.centroid = (last_block, place);
                }
                self.appended = items;
                return;
            }
            let pages = count.div_ceil(tape.per_page()) * parts;
            let mut blocks: Vec<u32> = (0..pages).map(|_| maker.take()).collect();
            blocks.sort_unstable();
            for (at, &block) in blocks.iter().enumerate() {
                let first = at / parts * tape.per_page();
                let next = blocks.get(at + 1).copied().unwrap_or(NONE);
                let mut head = TapeHead { next, ..TapeHead::new(group, 0) };
                retire::write(maker.relation, block, |page| {
                    init_tape_page(page, Kind::Centroids, tape, head);
                    if at % parts > 0 {
                        head.flags |= CONTINUES;
                        continue_item(page, &items[first][tape.part(at % parts)]);
                    } else {
                        let last = (first + tape.per_page()).min(count);
                        add_items(tape, &items[first..last], &mut head, page);
                    }
                    head.write(page);
                });
            }
            for (at, child) in self.children.iter_mut().enumerate() {
                let page = at / tape.per_page() * parts;
                child.centroid = (blocks[page], (at % tape.per_page()) as u16);
            }
        }
    }

    /// What pages of centroids hold of the new lists.
    fn centroid_items(&self) -> Vec<Vec<u8>> {
        let item_bytes = self.maker.opened.info.layout.centroids.item_bytes;
        let centers = self.centers.chunks_exact(self.dims());
        let item = |(center, list): (&[f32], u32)| {
            let mut numbers = Vec::new();
            store_centroid(center, &mut numbers);
            let squares = center.iter().map(|&x| f64::from(x) * f64::from(x));
            let head = CentroidHead { list, norm_squared: squares.sum::<f64>() as f32 };
            let mut item = [head.as_bytes(), numbers.as_bytes()].concat();
            item.resize(item_bytes, 0);
            item
        };
        centers.zip(self.first..).map(item).collect()
    }

    /// The group that the list's centroid is in.
    unsafe fn group(&self) -> u32 {
        let maker = &*self.maker;
        // SAFETY: as for `split`.
        unsafe {
            let block = maker.entry().centroid;
            let guard = ReadGuard::new(maker.relation, block);
            match TapeHead::read(guard.page(), Kind::Centroids) {
                Some(head) => head.owner,
                None => corrupt(maker.relation, block, "not a page of centroids"),
            }
        }
    }

    /// Writes the entries of the new lists: nobody looks at them before the metapage counts them.
    ///
    /// # Safety
    /// As for [`super::split::split`].
    pub unsafe fn write_entries(&self) {
        let maker = &*self.maker;
        // SAFETY: as for `split`.
        unsafe {
            let encoder = maker.entry().encoder;
            for (child, list) in self.children.iter().zip(self.first..) {
                let mut locked = LockedEntry::new(maker.relation, &maker.opened, list);
                let mut entry = Entry::new(encoder, child.centroid);
                entry.parent = maker.list;
                entry.counter = child.counter;
                let is_packed = maker.opened.info.layout.packed.is_some();
                let rows = if is_packed { &child.late } else { &child.tape };
                if is_packed {
                    let packed = &child.tape;
                    (entry.block_head, entry.block_stamp) = (packed.head, packed.stamp);
                    entry.packed_rows = packed.rows;
                }
                (entry.row_head, entry.row_head_stamp) = (rows.head, rows.stamp);
                (entry.row_tail, entry.row_pages) = (rows.last, rows.pages);
                locked.entry = entry;
                locked.commit(maker.relation);
            }
        }
    }

    /// Puts the new lists in the place of the old one, if nothing came behind page `sealed`.
    ///
    /// # Safety
    /// As for [`super::split::split`].
    pub unsafe fn try_take_effect(&mut self, sealed: Option<u32>) -> bool {
        let maker = &*self.maker;
        let (relation, opened) = (maker.relation, &maker.opened);
        // SAFETY: as for `split`. The lock order: a page of rows, pages of centroids in the order of the tape, the entry,
        // the metapage.
        unsafe {
            let sealed = sealed.map(|block| WriteGuard::new(relation, block));
            if sealed.as_ref().is_some_and(|guard| maker.row_page(guard).next != NONE) {
                return false;
            }
            let old = maker.entry();
            let last_block = self.last_centroids(old.centroid);
            let own = WriteGuard::new(relation, old.centroid);
            let last = (last_block != old.centroid).then(|| WriteGuard::new(relation, last_block));
            let mut locked = LockedEntry::new(relation, opened, maker.list);
            let entry = &mut locked.entry;
            if entry.row_tail != sealed.as_ref().map_or(NONE, |guard| guard.block()) {
                return false;
            }
            let meta_guard = WriteGuard::new(relation, META_BLOCK);
            let mut meta = meta_of(relation, meta_guard.page());
            let mut txn = WalTxn::new(relation, false);
            let own_page = txn.page(&own);
            mark_split(&opened.info.layout.centroids, own_page, old.centroid_place);
            let last_page = last.as_ref().map(|guard| txn.page(guard)).unwrap_or(own_page);
            let Some(mut head) = TapeHead::read(last_page, Kind::Centroids) else {
                corrupt(relation, last_block, "not a page of centroids");
            };
            if self.appended.is_empty() {
                (head.next, head.next_stamp) = (self.children[0].centroid.0, 0);
            } else {
                add_items(&opened.info.layout.centroids, &self.appended, &mut head, last_page);
            }
            head.write(last_page);
            let end = Entry::new(old.encoder, (old.centroid, old.centroid_place));
            *entry = Entry {
                counter: entry.counter,
                flags: SPLIT | entry.flags & !(BUILDING | WHOLE),
                packed_rows: self.children.len() as u32,
                retired_blocks: entry.block_head,
                retired_block_stamp: entry.block_stamp,
                retired_rows: entry.row_head,
                retired_row_stamp: entry.row_head_stamp,
                parent: entry.parent,
                first_child: self.first,
                ..end
            };
            locked.write(&mut txn);
            meta.lists = self.first + self.children.len() as u32;
            meta.write(txn.page(&meta_guard));
            txn.commit();
            true
        }
    }

    /// The last page of centroids of a group, from one of its pages.
    unsafe fn last_centroids(&self, block: u32) -> u32 {
        let mut last = block;
        // SAFETY: as for `split`.
        unsafe {
            let (kind, owner) = (Kind::Centroids, self.group());
            let head = list::Head { kind, owner, block, stamp: 0 };
            let walked = list::for_each_page(self.maker.relation, head, |block, _, _| last = block);
            if walked.is_err() {
                corrupt(self.maker.relation, block, "not the centroids of a group");
            }
        }
        last
    }
}

/// Puts items behind those of a page of centroids. Does not write the head.
fn add_items(tape: &Tape, items: &[Vec<u8>], head: &mut TapeHead, page: &mut Page) {
    for (item, place) in items.iter().zip(usize::from(head.items)..) {
        tape.item_mut(page, place).copy_from_slice(&item[tape.part(0)]);
    }
    head.items += items.len() as u16;
    set_content_bytes(page, tape.used_bytes(head.items.into()));
}

/// Goes on with an item that began on the page before.
fn continue_item(page: &mut Page, part: &[u8]) {
    let end = TAPE_HEAD_BYTES + part.len();
    content_mut(page)[TAPE_HEAD_BYTES..end].copy_from_slice(part);
    set_content_bytes(page, end);
}

/// Says on a page of centroids that the list of the one in `place` was split.
fn mark_split(tape: &Tape, page: &mut Page, place: u16) {
    let at = tape.range(place.into()).start;
    let list = u32::from_ne_bytes([0, 1, 2, 3].map(|byte| content(page)[at + byte]));
    content_mut(page)[at..at + 4].copy_from_slice(&(list | SPLIT_LIST).to_ne_bytes());
}
