//! `lean.index_check`: compares an index with itself and with its table.

use std::collections::HashMap;

use pgrx::pg_sys;

use super::index::{self, Opened};
use super::list::{self, Head};
use super::page::{
    BUILDING, CentroidHead, Entry, FREE, GroupHead, Kind, META_BLOCK, NONE, SPLIT_LIST, TapeHead,
    centroid, is_kind,
};
use super::retire;
use super::vacuum::{heads, tids};
use crate::am::check::{Finding, Problems, check_heap};
use crate::storage::page::trailer;
use crate::storage::{ReadGuard, Tid};

/// What a page is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Nothing leads to it.
    Unreached,
    /// A page of an index that nothing leads to is zero when a crash came before its first use.
    Kind(Kind),
    /// On the free list.
    Free,
    /// About to be given back.
    Retired,
}

/// Checks an index. The caller keeps writers and vacuum away.
///
/// # Safety
/// The relations are open and locked: the index is an `ivf` or `ivfflat` index of the table.
pub unsafe fn check(heap: pg_sys::Relation, relation: pg_sys::Relation) -> Vec<Finding> {
    // SAFETY: as the caller promises, throughout.
    unsafe {
        let opened = index::open(relation);
        let mut check = Check::new(relation, &opened);
        check.rows = Some(HashMap::new());
        check.tapes_of_index();
        for list in 0..opened.meta.lists {
            pgrx::check_for_interrupts!();
            check.list(list);
        }
        check.free_list();
        check.rest();
        let rows = check.rows.take().unwrap_or_default();
        let mut findings = check.findings(rows.len());
        let coder = &opened.info.coder;
        let nowhere = vec![0.0; coder.placed_dims()];
        let (mut placed, mut code) = (Vec::new(), vec![0; coder.row_bytes()]);
        findings.push(check_heap(
            heap,
            relation,
            opened.info.kind,
            |value| {
                coder.place(value, &mut placed) && coder.encode(value, &placed, &nowhere, &mut code)
            },
            |tid| rows.contains_key(&tid),
        ));
        findings
    }
}

/// What every page of an index is used for, as far as can be told while others write.
///
/// # Safety
/// `relation` is the open index.
pub unsafe fn uses(relation: pg_sys::Relation, opened: &Opened) -> Vec<Use> {
    // SAFETY: as the caller promises.
    unsafe {
        let mut check = Check::new(relation, opened);
        check.tapes_of_index();
        (0..opened.meta.lists).for_each(|list| check.list(list));
        check.free_list();
        check.uses
    }
}

struct Check<'a> {
    relation: pg_sys::Relation,
    opened: &'a Opened,
    uses: Vec<Use>,
    /// For each list, where its centroid is, and whether that says that the list was split.
    centroids: HashMap<u32, (u32, u16, bool)>,
    /// The list of each row, where that is asked for.
    rows: Option<HashMap<Tid, u32>>,
    pages: Problems,
    lists: Problems,
    tapes: Problems,
    free: Problems,
    twice: Problems,
    split: u32,
}

impl<'a> Check<'a> {
    unsafe fn new(relation: pg_sys::Relation, opened: &'a Opened) -> Check<'a> {
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        // SAFETY: the caller holds the relation open.
        let blocks = unsafe { pg_sys::RelationGetNumberOfBlocksInFork(relation, main) };
        let mut check = Check {
            relation,
            opened,
            uses: vec![Use::Unreached; blocks as usize],
            centroids: HashMap::new(),
            rows: None,
            pages: Problems::default(),
            lists: Problems::default(),
            tapes: Problems::default(),
            free: Problems::default(),
            twice: Problems::default(),
            split: 0,
        };
        check.reach(META_BLOCK, Use::Kind(Kind::Meta));
        check
    }

    /// Notes what a page is used for. False if it is used already, or is not there.
    fn reach(&mut self, block: u32, what: Use) -> bool {
        match self.uses.get_mut(block as usize) {
            None => self.pages.add(|| format!("block {block} is past the end")),
            Some(known) if *known != Use::Unreached => {
                let known = *known;
                self.pages.add(|| format!("block {block} is used twice: {known:?}, {what:?}"));
            }
            Some(known) => {
                *known = what;
                return true;
            }
        }
        false
    }

    /// Walks a tape; gives the blocks and heads of its pages.
    unsafe fn tape(&mut self, head: Head) -> Vec<(u32, TapeHead)> {
        let mut pages = Vec::new();
        if head.block != NONE && head.block as usize >= self.uses.len() {
            self.pages.add(|| format!("block {} is past the end", head.block));
            return pages;
        }
        // SAFETY: the relation is open and no lock is held.
        let walked = unsafe {
            list::for_each_page(self.relation, head, |block, _, tape| pages.push((block, *tape)))
        };
        if walked.is_err() {
            let (kind, owner) = (head.kind, head.owner);
            self.tapes.add(|| format!("{kind:?} of {owner} lead to a page that is not theirs"));
        }
        for &(block, tape) in &pages {
            self.reach(block, Use::Kind(head.kind));
            if tape.flags & FREE != 0 {
                self.tapes.add(|| format!("block {block} is in use and on the free list"));
            }
        }
        pages
    }

    /// What is not of a list: model, groups, centroids, entries.
    unsafe fn tapes_of_index(&mut self) {
        let (meta, layout) = (self.opened.meta, &self.opened.info.layout);
        let head = |kind, owner, block| Head { kind, owner, block, stamp: 0 };
        // SAFETY: the relation is open and no lock is held.
        unsafe {
            self.tape(head(Kind::Model, 0, meta.model_block));
            let groups = head(Kind::Groups, 0, meta.group_head);
            self.tape(groups);
            let mut heads = Vec::new();
            let walked = list::for_each_item(self.relation, groups, &layout.groups, |item| {
                heads.extend(centroid::<GroupHead>(item.bytes).map(|(group, _)| group.centroids));
            });
            if walked.is_err() || heads.len() != meta.groups as usize {
                self.pages.add(|| format!("{} groups, not {}", heads.len(), meta.groups));
            }
            for (group, block) in heads.into_iter().enumerate() {
                self.group(head(Kind::Centroids, group as u32, block));
            }
            for at in 0..self.opened.entry_blocks.len() {
                let block = self.opened.entry_blocks[at];
                if self.reach(block, Use::Kind(Kind::Entries))
                    && !is_kind(ReadGuard::new(self.relation, block).page(), Kind::Entries)
                {
                    self.pages.add(|| format!("block {block} is not a page of lists"));
                }
            }
        }
        if meta.lists > 0 && self.opened.is_behind(meta.lists - 1) {
            self.pages.add(|| format!("{} lists on too few pages", meta.lists));
        }
    }

    /// The centroids of a group.
    unsafe fn group(&mut self, head: Head) {
        let layout = &self.opened.info.layout;
        let mut found = Vec::new();
        // SAFETY: the relation is open and no lock is held.
        unsafe {
            self.tape(head);
            let _ = list::for_each_item(self.relation, head, &layout.centroids, |item| {
                if let Some((head, _)) = centroid::<CentroidHead>(item.bytes) {
                    found.push((head.list, item.block, item.place as u16));
                }
            });
        }
        for (list, block, place) in found {
            let (list, is_split) = (list & !SPLIT_LIST, list & SPLIT_LIST != 0);
            if list >= self.opened.meta.lists {
                self.lists.add(|| format!("a centroid of list {list}, which there is not"));
            } else if self.centroids.insert(list, (block, place, is_split)).is_some() {
                self.lists.add(|| format!("list {list} has two centroids"));
            }
        }
    }

    unsafe fn list(&mut self, list: u32) {
        if self.opened.is_behind(list) {
            return;
        }
        // SAFETY: the relation is open and no lock is held.
        let entry = unsafe { self.opened.entry(self.relation, list) };
        let lists = self.opened.meta.lists;
        let place = (entry.centroid, entry.centroid_place, entry.is_split());
        if self.centroids.get(&list) != Some(&place) {
            self.lists.add(|| format!("the centroid of list {list} is not where it should be"));
        }
        if entry.encoder >= lists || entry.parent != NONE && entry.parent >= lists {
            self.lists.add(|| format!("list {list} names a list that there is not"));
        }
        // SAFETY: as above.
        unsafe {
            if entry.is_split() {
                self.children(list, &entry);
            } else {
                self.rows_of(list, &entry);
            }
            for block in retire::pages(self.relation, self.opened, list) {
                self.reach(block, Use::Retired);
            }
        }
        if entry.flags & BUILDING != 0 && entry.retired_rows == NONE {
            self.lists.add(|| format!("list {list} says that it is being written, but not where"));
        }
    }

    unsafe fn children(&mut self, list: u32, entry: &Entry) {
        self.split += 1;
        if (entry.block_head, entry.row_head) != (NONE, NONE) {
            self.lists.add(|| format!("list {list} was split, and has rows"));
        }
        let end = entry.first_child.checked_add(entry.packed_rows);
        let Some(end) = end.filter(|&end| end <= self.opened.meta.lists) else {
            self.lists.add(|| format!("list {list} was split into lists that there are not"));
            return;
        };
        for child in entry.first_child..end {
            // SAFETY: the relation is open and no lock is held.
            let child_entry = unsafe { self.opened.entry(self.relation, child) };
            if child_entry.parent != list || child_entry.encoder != entry.encoder {
                self.lists.add(|| format!("list {child} does not know of its parent {list}"));
            }
        }
    }

    unsafe fn rows_of(&mut self, list: u32, entry: &Entry) {
        let layout = &self.opened.info.layout;
        let (packed, rows) = heads(entry, list);
        // SAFETY: the relation is open and no lock is held.
        unsafe {
            let (mut found, mut ex_pages) = (Vec::new(), Vec::new());
            // A tape that leads astray is reported below.
            let _ = list::for_each_page(self.relation, packed, |block, page, head| {
                let Some(packed) = layout.packed else { return };
                let mut needed = 0;
                for (row, tid) in tids(layout, Kind::Blocks, head, page) {
                    let pages = packed.ex.map_or(0, |ex| ex.pages_per_item());
                    needed = packed.ex_place(row).map_or(0, |(at, _)| at + pages);
                    found.push(tid);
                }
                ex_pages.push((block, retire::ex_refs(&packed, page), needed));
            });
            let in_blocks = found.len();
            let _ = list::for_each_page(self.relation, rows, |_, page, head| {
                found.extend(tids(layout, Kind::Rows, head, page).map(|(_, tid)| tid));
            });
            self.tape(packed);
            let tail = self.tape(rows).last().map_or(NONE, |(block, _)| *block);
            if tail != entry.row_tail {
                self.lists.add(|| format!("list {list} does not end where it says"));
            }
            if entry.block_head != NONE && in_blocks > entry.packed_rows as usize {
                let counted = entry.packed_rows;
                self.lists
                    .add(|| format!("list {list} has {in_blocks} rows packed, not {counted}"));
            }
            for (block, refs, needed) in ex_pages {
                self.ex(list, entry, block, &refs, needed);
            }
            let Some(rows) = &mut self.rows else { return };
            for tid in found {
                if let Some(other) = rows.insert(tid, list) {
                    let Tid { block, offset } = tid;
                    self.twice.add(|| format!("row ({block},{offset}) is in {other} and {list}"));
                }
            }
        }
    }

    /// The ex pages of a page of blocks.
    unsafe fn ex(&mut self, list: u32, entry: &Entry, block: u32, refs: &[u32], needed: usize) {
        if refs.len() < needed {
            self.tapes.add(|| format!("block {block} lacks ex pages"));
        }
        for &ex in refs {
            if !self.reach(ex, Use::Kind(Kind::Ex)) {
                continue;
            }
            // SAFETY: the relation is open and no lock is held; the block is not past the end.
            let guard = unsafe { ReadGuard::new(self.relation, ex) };
            let head = TapeHead::read(guard.page(), Kind::Ex);
            let is_ours = |head: TapeHead| {
                (head.owner, head.stamp, head.flags & FREE) == (list, entry.block_stamp, 0)
            };
            if !head.is_some_and(is_ours) {
                self.tapes.add(|| format!("block {block} names {ex} as an ex page"));
            }
        }
    }

    unsafe fn free_list(&mut self) {
        let (mut block, mut count) = (self.opened.meta.free_head, 0);
        while block != NONE {
            pgrx::check_for_interrupts!();
            if !self.reach(block, Use::Free) {
                break;
            }
            // SAFETY: the relation is open and no lock is held; the block is not past the end.
            let guard = unsafe { ReadGuard::new(self.relation, block) };
            let head = TapeHead::read_any(guard.page()).filter(|head| head.flags & FREE != 0);
            let Some(head) = head else {
                self.free.add(|| format!("block {block} is on the free list and not free"));
                break;
            };
            count += 1;
            block = head.free_next;
        }
        let said = self.opened.meta.free_pages;
        if count != said {
            self.free.add(|| format!("{count} pages, not {said}"));
        }
    }

    /// Pages that nothing leads to: they may be anything of ours, or nothing yet.
    unsafe fn rest(&mut self) {
        for block in 0..self.uses.len() {
            if self.uses[block] != Use::Unreached {
                continue;
            }
            pgrx::check_for_interrupts!();
            // SAFETY: the relation is open and no lock is held.
            let guard = unsafe { ReadGuard::new(self.relation, block as u32) };
            let known = trailer(guard.page()).is_some_and(|end| end.kind >= 1 && end.kind <= 8);
            if !known && guard.page().iter().any(|&byte| byte != 0) {
                self.pages.add(|| format!("block {block} is of no known kind"));
            }
        }
    }

    fn findings(self, rows: usize) -> Vec<Finding> {
        let count = |what: Use| self.uses.iter().filter(|&&its| its == what).count();
        let kinds = [
            ("of rows", Use::Kind(Kind::Rows)),
            ("of blocks", Use::Kind(Kind::Blocks)),
            ("of further bits", Use::Kind(Kind::Ex)),
            ("of centroids", Use::Kind(Kind::Centroids)),
            ("of lists", Use::Kind(Kind::Entries)),
            ("to be given back", Use::Retired),
            ("unused", Use::Unreached),
        ];
        let pages: Vec<String> = kinds
            .iter()
            .filter(|(_, what)| count(*what) > 0)
            .map(|(name, what)| format!("{} {name}", count(*what)))
            .collect();
        let lists = format!("{} lists, {} of them split", self.opened.meta.lists, self.split);
        let free = format!("{} pages", count(Use::Free));
        vec![
            self.pages.finding("pages", pages.join(", ")),
            self.lists.finding("lists", lists),
            self.tapes.finding("tapes", format!("{} groups", self.opened.meta.groups)),
            self.free.finding("free list", free),
            self.twice.finding("rows once", format!("{rows} rows")),
        ]
    }
}
