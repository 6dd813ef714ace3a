//! From a vector to the lists near it. Of an index with many lists only the groups nearest to the vector are looked
//! into, and more of them as more lists are asked for.

use std::rc::Rc;

use half::f16;
use half::slice::HalfFloatSliceExt;
use leanstack_core::ivf::coder::Placed;
use pgrx::pg_sys;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::centroids::Centroids;
use super::index::Opened;
use super::list::{Head, Reader};
use super::page::{
    CentroidHead, GroupHead, Kind, META_BLOCK, NONE, SPLIT_LIST, TapeHead, centroid, continued,
};
use crate::storage::corrupt;

/// Up to so many lists all are looked at: passing over some would save little.
const ALL: usize = 1024;
/// Of more lists, at least this share is looked at before the first one is chosen.
const LEAST_SHARE: usize = 4;
/// So many times the lists asked for are looked at.
const TIMES: usize = 6;
/// When these are too few, so large a part more is looked at at once: after each look, what is left is put in order anew.
const MORE: usize = 4;

/// A list and how far its centroid is; see [`Coder::to_centroid`] for the unit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Near {
    /// The list.
    pub list: u32,
    /// How far.
    pub distance: f32,
}

impl Eq for Near {}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Near) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Near {
    fn cmp(&self, other: &Near) -> std::cmp::Ordering {
        self.distance.total_cmp(&other.distance).then(self.list.cmp(&other.list))
    }
}

/// Gives lists, nearest first, as far as the groups tell.
pub struct Router {
    /// What the lists are to be near to.
    placed: Placed,
    /// The centroids, unless their pages are to be read.
    kept: Option<Rc<Centroids>>,
    /// Distance, number and first page of centroids of the groups not looked into, the farthest first.
    groups: Vec<(f32, u32, u32)>,
    /// The nearest lists, the farthest of them first.
    near: Vec<Near>,
    /// The others.
    rest: Vec<Near>,
    /// Room for those of a group.
    distances: Vec<f32>,
    lists: usize,
    seen: usize,
    given: usize,
}

/// So many lists are put in order at a time, at least.
const SORTED: usize = 32;

impl Router {
    /// Looks at the groups.
    ///
    /// # Safety
    /// `relation` is the open index; the caller holds no lock on its pages.
    pub unsafe fn new(relation: pg_sys::Relation, opened: &Opened, placed: Placed) -> Router {
        // SAFETY: as the caller promises.
        let kept = unsafe { Centroids::of(relation, opened) };
        let coder = &opened.info.coder;
        let mut groups = Vec::with_capacity(opened.meta.groups as usize);
        let mut add = |distance, head: GroupHead| {
            groups.push((distance, groups.len() as u32, head.centroids));
        };
        match &kept {
            Some(kept) => {
                let (heads, numbers) = kept.groups();
                let mut distances = vec![0.0; heads.len()];
                let norms = heads.iter().map(|head| head.norm_squared);
                coder.to_centroids(&placed, numbers, norms, &mut distances);
                heads.iter().zip(distances).for_each(|(&head, distance)| add(distance, head));
            }
            // SAFETY: as the caller promises.
            None => unsafe {
                let (kind, block) = (Kind::Groups, opened.meta.group_head);
                let head = Head { kind, owner: 0, block, stamp: 0 };
                for_each_centroid(relation, opened, head, |head: GroupHead, numbers| {
                    add(coder.to_centroid(&placed, numbers, head.norm_squared), head);
                });
            },
        }
        groups.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        let lists = opened.meta.lists as usize;
        let (near, rest) = (Vec::new(), Vec::with_capacity(lists.min(ALL)));
        let distances = Vec::new();
        Router { placed, kept, groups, near, rest, distances, lists, seen: 0, given: 0 }
    }

    /// The next list, or nothing when all were given.
    ///
    /// # Safety
    /// As for [`Router::new`].
    pub unsafe fn next(&mut self, relation: pg_sys::Relation, opened: &Opened) -> Option<Near> {
        // SAFETY: as the caller promises.
        unsafe { self.peek(relation, opened) }?;
        self.given += 1;
        self.near.pop()
    }

    /// The list that [`Router::next`] would give.
    ///
    /// # Safety
    /// As for [`Router::next`].
    pub unsafe fn peek(&mut self, relation: pg_sys::Relation, opened: &Opened) -> Option<Near> {
        let least = if self.lists <= ALL { self.lists } else { self.lists / LEAST_SHARE };
        let mut wanted = (TIMES * (self.given + 1)).max(least);
        if 0 < self.seen && self.seen < wanted {
            wanted += wanted / MORE;
        }
        while self.seen < wanted || (self.near.is_empty() && self.rest.is_empty()) {
            let Some((_, group, block)) = self.groups.pop() else { break };
            self.rest.append(&mut self.near);
            // SAFETY: as the caller promises.
            unsafe { self.look_into(relation, opened, (group, block)) }
        }
        if self.near.is_empty() {
            self.sort();
        }
        self.near.last().copied()
    }

    /// Puts the nearest lists of the rest in order.
    fn sort(&mut self) {
        let count = self.rest.len().min(SORTED.max(self.given));
        let others = self.rest.len() - count;
        if count > 0 && others > 0 {
            self.rest.select_nth_unstable_by(others, |a, b| b.cmp(a));
        }
        self.near.extend(self.rest.drain(others..));
        self.near.sort_unstable_by(|a, b| b.cmp(a));
    }

    unsafe fn look_into(
        &mut self,
        relation: pg_sys::Relation,
        opened: &Opened,
        (group, block): (u32, u32),
    ) {
        let coder = &opened.info.coder;
        let (placed, rest, seen) = (&self.placed, &mut self.rest, &mut self.seen);
        let mut add = |distance, head: CentroidHead| {
            *seen += 1;
            if head.list & SPLIT_LIST == 0 {
                rest.push(Near { list: head.list, distance });
            }
        };
        match &self.kept {
            Some(kept) => {
                let (heads, numbers) = kept.members(group as usize);
                let norms = heads.iter().map(|head| head.norm_squared);
                self.distances.resize(heads.len(), 0.0);
                coder.to_centroids(placed, numbers, norms, &mut self.distances);
                heads
                    .iter()
                    .zip(&self.distances)
                    .for_each(|(&head, &distance)| add(distance, head));
            }
            // SAFETY: as the caller promises.
            None => unsafe {
                let head = Head { kind: Kind::Centroids, owner: group, block, stamp: 0 };
                for_each_centroid(relation, opened, head, |head: CentroidHead, numbers| {
                    add(coder.to_centroid(placed, numbers, head.norm_squared), head);
                });
            },
        }
    }
}

/// Calls `each` for every centroid of a tape of groups or of centroids, with what precedes it.
unsafe fn for_each_centroid<H: FromBytes + Immutable + KnownLayout>(
    relation: pg_sys::Relation,
    opened: &Opened,
    head: Head,
    mut each: impl FnMut(H, &[f16]),
) {
    let layout = &opened.info.layout;
    let tape = if head.kind == Kind::Groups { &layout.groups } else { &layout.centroids };
    // SAFETY: the caller holds the index open and no lock on its pages.
    let walked = unsafe {
        let reader = Reader::guessing(relation, &opened.recent);
        reader.for_each_item(head, tape, |item| {
            if let Some((head, numbers)) = centroid::<H>(item.bytes) {
                each(head, numbers);
            }
        })
    };
    if walked.is_err() {
        corrupt(relation, head.block, "not the centroids of an ivf index");
    }
}

/// The centroid that the codes of a list are relative to, as numbers, into `out`.
///
/// # Safety
/// `relation` is the open index; the caller holds no lock on its pages.
pub unsafe fn encoder_centroid(
    relation: pg_sys::Relation,
    opened: &Opened,
    encoder: u32,
    out: &mut Vec<f32>,
) {
    // SAFETY: as the caller promises.
    unsafe {
        // That a list was split since changes nothing about its centroid.
        if opened.centroids.borrow().as_ref().is_some_and(|kept| kept.numbers(encoder, out)) {
            return;
        }
        let entry = opened.entry(relation, encoder);
        read_centroid(relation, opened, (entry.centroid, entry.centroid_place), out);
    }
}

/// The stored centroid in a place on the pages of centroids, as numbers, into `out`.
///
/// # Safety
/// `relation` is the open index; the caller holds no lock on its pages of centroids.
unsafe fn read_centroid(
    relation: pg_sys::Relation,
    opened: &Opened,
    (block, place): (u32, u16),
    out: &mut Vec<f32>,
) {
    out.clear();
    let (coder, tape) = (&opened.info.coder, &opened.info.layout.centroids);
    // SAFETY: as the caller promises.
    let reader = unsafe { Reader::guessing(relation, &opened.recent) };
    let wrong = || -> ! { corrupt(relation, block, "not a page of centroids") };
    let mut numbers_of = |item: &[u8]| match centroid::<CentroidHead>(item) {
        Some((_, numbers)) if numbers.len() >= coder.placed_dims() => {
            out.resize(coder.placed_dims(), 0.0);
            numbers[..coder.placed_dims()].convert_to_f32_slice(out);
        }
        _ => wrong(),
    };
    let (mut bytes, mut at) = (Vec::new(), block);
    for part in 0..tape.pages_per_item() {
        if at == NONE {
            wrong();
        }
        let guard = reader.lock(at);
        let Some(head) = TapeHead::read(guard.page(), Kind::Centroids) else { wrong() };
        if part > 0 {
            bytes.extend_from_slice(continued(guard.page(), tape.part(part).len()));
        } else if u32::from(place) >= u32::from(head.items) {
            wrong();
        } else if tape.pages_per_item() == 1 {
            return numbers_of(tape.item(guard.page(), place.into()));
        } else {
            bytes.extend_from_slice(tape.item(guard.page(), 0));
        }
        at = head.next;
    }
    if bytes.is_empty() {
        corrupt(relation, META_BLOCK, "a centroid of no length");
    }
    numbers_of(&bytes);
}
