//! From a vector to the lists near it. Of an index with many lists only the groups nearest to the vector are looked
//! into, and more of them as more lists are asked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use half::slice::HalfFloatSliceExt;
use leanstack_core::ivf::coder::Placed;
use pgrx::pg_sys;

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
    /// Distance and first page of centroids of the groups not looked into, the farthest first.
    groups: Vec<(f32, u32, u32)>,
    near: BinaryHeap<Reverse<Near>>,
    lists: usize,
    seen: usize,
    given: usize,
}

impl Router {
    /// Looks at the groups.
    ///
    /// # Safety
    /// `relation` is the open index; the caller holds no lock on its pages.
    pub unsafe fn new(relation: pg_sys::Relation, opened: &Opened, placed: Placed) -> Router {
        let (coder, layout) = (&opened.info.coder, &opened.info.layout);
        let head = Head { kind: Kind::Groups, owner: 0, block: opened.meta.group_head, stamp: 0 };
        let mut groups = Vec::with_capacity(opened.meta.groups as usize);
        // SAFETY: as the caller promises.
        let walked = unsafe {
            let reader = Reader::guessing(relation, &opened.recent);
            reader.for_each_item(head, &layout.groups, |item| {
                if let Some((head, numbers)) = centroid::<GroupHead>(item.bytes) {
                    let distance = coder.to_centroid(&placed, numbers, head.norm_squared);
                    groups.push((distance, groups.len() as u32, head.centroids));
                }
            })
        };
        if walked.is_err() || groups.is_empty() {
            corrupt(relation, opened.meta.group_head, "not the groups of an ivf index");
        }
        groups.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        let lists = opened.meta.lists as usize;
        Router { placed, groups, near: BinaryHeap::new(), lists, seen: 0, given: 0 }
    }

    /// The next list, or nothing when all were given.
    ///
    /// # Safety
    /// As for [`Router::new`].
    pub unsafe fn next(&mut self, relation: pg_sys::Relation, opened: &Opened) -> Option<Near> {
        // SAFETY: as the caller promises.
        unsafe { self.peek(relation, opened) }?;
        self.given += 1;
        self.near.pop().map(|near| near.0)
    }

    /// The list that [`Router::next`] would give.
    ///
    /// # Safety
    /// As for [`Router::next`].
    pub unsafe fn peek(&mut self, relation: pg_sys::Relation, opened: &Opened) -> Option<Near> {
        let least = if self.lists <= ALL { self.lists } else { self.lists / LEAST_SHARE };
        let wanted = (TIMES * (self.given + 1)).max(least);
        while self.seen < wanted || self.near.is_empty() {
            let Some((_, group, block)) = self.groups.pop() else { break };
            // SAFETY: as the caller promises.
            unsafe { self.look_into(relation, opened, (group, block)) }
        }
        self.near.peek().map(|near| near.0)
    }

    unsafe fn look_into(
        &mut self,
        relation: pg_sys::Relation,
        opened: &Opened,
        (group, block): (u32, u32),
    ) {
        let (coder, layout) = (&opened.info.coder, &opened.info.layout);
        let head = Head { kind: Kind::Centroids, owner: group, block, stamp: 0 };
        let (placed, near, seen) = (&self.placed, &mut self.near, &mut self.seen);
        // SAFETY: as the caller promises.
        let walked = unsafe {
            let reader = Reader::guessing(relation, &opened.recent);
            reader.for_each_item(head, &layout.centroids, |item| {
                let Some((head, numbers)) = centroid::<CentroidHead>(item.bytes) else { return };
                *seen += 1;
                if head.list & SPLIT_LIST == 0 {
                    let distance = coder.to_centroid(placed, numbers, head.norm_squared);
                    near.push(Reverse(Near { list: head.list, distance }));
                }
            })
        };
        if walked.is_err() {
            corrupt(relation, block, "not the centroids of a group");
        }
    }
}

/// The stored centroid in a place on the pages of centroids, as numbers, into `out`.
///
/// # Safety
/// `relation` is the open index; the caller holds no lock on its pages of centroids.
pub unsafe fn read_centroid(
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
