//! The centroids of an index as a backend keeps them from scan to scan: choosing lists looks at hundreds of them, and
//! pinning their pages would take longer than the distances.

use std::cell::Cell;
use std::rc::Rc;

use half::f16;
use half::slice::HalfFloatSliceExt;
use pgrx::pg_sys;

use super::index::{self, Opened};
use super::list::{Head, Reader};
use super::page::{CentroidHead, GroupHead, Kind, SPLIT_LIST, centroid};
use crate::storage::corrupt;

/// Centroids of one index are kept if they take no more bytes than this. Of larger ones the pages are read, and only
/// those of the groups near a query.
const MAX_BYTES: usize = 16 << 20;
/// If those of all indexes would take more than this, all are forgotten.
const MAX_KEPT_BYTES: usize = 64 << 20;

thread_local! {
    /// What the centroids of all indexes take.
    static KEPT_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// The centroids that an index had when it had so many lists. Only a split changes them, and adds lists.
pub struct Centroids {
    lists: u32,
    dims: usize,
    groups: Rows<GroupHead>,
    /// Where each group's centroids begin in `members`, and where the last one's end.
    starts: Vec<usize>,
    members: Rows<CentroidHead>,
    /// The place of each list's centroid in `members`.
    places: Vec<u32>,
    /// What this counts for in [`KEPT_BYTES`].
    bytes: usize,
}

impl Drop for Centroids {
    fn drop(&mut self) {
        // At the end of the backend the counter may be gone before.
        let _ = KEPT_BYTES.try_with(|kept| kept.set(kept.get() - self.bytes));
    }
}

/// Centroids, one after the other, and what precedes each on its page.
struct Rows<H> {
    heads: Vec<H>,
    numbers: Vec<f16>,
}

impl<H> Default for Rows<H> {
    fn default() -> Rows<H> {
        Rows { heads: Vec::new(), numbers: Vec::new() }
    }
}

impl Centroids {
    /// Those of an open index, from memory if it has as many lists as when they were read, or newer ones. Nothing if they
    /// are too many to be kept.
    ///
    /// # Safety
    /// `relation` is the open index; the caller holds no lock on its pages.
    pub unsafe fn of(relation: pg_sys::Relation, opened: &Opened) -> Option<Rc<Centroids>> {
        let bytes = opened.meta.lists as usize * opened.info.coder.placed_dims() * size_of::<f16>();
        if bytes > MAX_BYTES {
            opened.centroids.take();
            return None;
        }
        if opened.centroids.borrow().as_ref().is_none_or(|kept| kept.lists < opened.meta.lists) {
            opened.centroids.take();
            if KEPT_BYTES.get() + bytes > MAX_KEPT_BYTES {
                index::forget_centroids();
            }
            // SAFETY: as the caller promises.
            let read = Rc::new(unsafe { Centroids::read(relation, opened) });
            opened.centroids.replace(Some(read));
        }
        opened.centroids.borrow().clone()
    }

    unsafe fn read(relation: pg_sys::Relation, opened: &Opened) -> Centroids {
        let (layout, dims) = (&opened.info.layout, opened.info.coder.placed_dims());
        // SAFETY: as the caller promises.
        let reader = unsafe { Reader::guessing(relation, &opened.recent) };
        let mut groups = Rows::default();
        let head = Head { kind: Kind::Groups, owner: 0, block: opened.meta.group_head, stamp: 0 };
        let mut walked = reader.for_each_item(head, &layout.groups, |item| {
            take::<GroupHead>(item.bytes, dims, &mut groups)
        });
        let (mut members, mut starts) = (Rows::<CentroidHead>::default(), Vec::new());
        for (owner, group) in groups.heads.iter().enumerate() {
            starts.push(members.heads.len());
            let (kind, owner) = (Kind::Centroids, owner as u32);
            let head = Head { kind, owner, block: group.centroids, stamp: 0 };
            walked = walked.and(reader.for_each_item(head, &layout.centroids, |item| {
                take(item.bytes, dims, &mut members)
            }));
        }
        if walked.is_err() || groups.heads.is_empty() {
            corrupt(relation, opened.meta.group_head, "not the centroids of an ivf index");
        }
        starts.push(members.heads.len());
        let lists = opened.meta.lists;
        let mut places = vec![u32::MAX; lists as usize];
        for (at, head) in members.heads.iter().enumerate() {
            if let Some(place) = places.get_mut((head.list & !SPLIT_LIST) as usize) {
                *place = at as u32;
            }
        }
        let bytes = size_of_val(&groups.numbers[..]) + size_of_val(&members.numbers[..]);
        KEPT_BYTES.set(KEPT_BYTES.get() + bytes);
        Centroids { lists, dims, groups, starts, members, places, bytes }
    }

    /// The groups, and their centroids one after the other.
    pub fn groups(&self) -> (&[GroupHead], &[f16]) {
        (&self.groups.heads, &self.groups.numbers)
    }

    /// The lists of a group, and their centroids one after the other.
    pub fn members(&self, group: usize) -> (&[CentroidHead], &[f16]) {
        let (start, end) = (self.starts[group], self.starts[group + 1]);
        let numbers = &self.members.numbers[start * self.dims..end * self.dims];
        (&self.members.heads[start..end], numbers)
    }

    /// The centroid of a list, as numbers, into `out`. False if it is not among these.
    pub fn numbers(&self, list: u32, out: &mut Vec<f32>) -> bool {
        let Some(&at) = self.places.get(list as usize).filter(|&&at| at != u32::MAX) else {
            return false;
        };
        let numbers = &self.members.numbers[at as usize * self.dims..][..self.dims];
        out.resize(numbers.len(), 0.0);
        numbers.convert_to_f32_slice(out);
        true
    }
}

/// Adds the centroid of an item, padded to the dimensions that it should have.
fn take<H: zerocopy::FromBytes + zerocopy::Immutable + zerocopy::KnownLayout>(
    item: &[u8],
    dims: usize,
    rows: &mut Rows<H>,
) {
    if let Some((head, numbers)) = centroid::<H>(item) {
        rows.heads.push(head);
        rows.numbers.extend_from_slice(&numbers[..dims.min(numbers.len())]);
        rows.numbers.resize(rows.heads.len() * dims, f16::ZERO);
    }
}
