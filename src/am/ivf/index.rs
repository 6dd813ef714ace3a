//! An index opened for use: what its metapage says, and the coder and layout that follow from it.

use std::cell::RefCell;
use std::rc::Rc;

use leanstack_core::ivf::calibrate::{Extent, Stop, extent};
use leanstack_core::ivf::coder::{Coder, Repr, Spec};
use pgrx::pg_sys;

use super::centroids::Centroids;
use super::page::{
    CodeBytes, Entry, Kind, Layout, META_BLOCK, Meta, NONE, TAPE_BYTES, TapeHead, continued,
};
use crate::am::opclass;
use crate::am::remembered::Remembered;
use crate::storage::raw::Recent;
use crate::storage::{ReadGuard, corrupt};
use crate::types::value::TypeKind;

/// What stays the same for the life of an index.
pub struct IndexInfo {
    /// How rows are stored and scored.
    pub coder: Coder,
    /// Where things are on its pages.
    pub layout: Layout,
    /// The SQL type of its column.
    pub kind: TypeKind,
}

/// What a backend remembers of an index.
#[derive(Clone)]
struct Known {
    info: Rc<IndexInfo>,
    recent: Rc<Recent>,
    centroids: Rc<RefCell<Option<Rc<Centroids>>>>,
}

/// The metapage as it was a moment ago.
pub struct Opened {
    /// What stays the same.
    pub info: Rc<IndexInfo>,
    /// Where its pages were seen last.
    pub recent: Rc<Recent>,
    /// Its centroids, once they were needed.
    pub(super) centroids: Rc<RefCell<Option<Rc<Centroids>>>>,
    /// Its fixed part.
    pub meta: Meta,
    /// What its calibration counts.
    stop: Stop,
    /// The blocks of the pages of entries.
    pub entry_blocks: Vec<u32>,
}

thread_local! {
    static OPENED: Remembered<Known> = Remembered::default();
}

/// Reads the metapage, and the model unless this backend remembers it.
///
/// # Safety
/// `relation` is an open index of `ivf` or `ivfflat`; the caller holds no lock on its pages.
pub unsafe fn open(relation: pg_sys::Relation) -> Opened {
    // SAFETY: as the caller promises.
    let (meta, entry_blocks) = unsafe {
        let guard = ReadGuard::new(relation, META_BLOCK);
        match Meta::read(guard.page()) {
            Some(meta) => (meta, meta.entry_blocks(guard.page())),
            None => corrupt(relation, META_BLOCK, "not a metapage of an ivf index"),
        }
    };
    let Ok(stop) = Stop::try_from(meta.stop) else {
        corrupt(relation, META_BLOCK, "the metapage contradicts itself")
    };
    if let Some(known) = OPENED.with(|opened| opened.get(meta.build_id)) {
        let Known { info, recent, centroids } = (*known).clone();
        return Opened { info, recent, centroids, meta, stop, entry_blocks };
    }
    // SAFETY: as the caller promises.
    let model = unsafe { read_model(relation, &meta) };
    let info = match IndexInfo::new(&meta, model) {
        Some(info) => Rc::new(info),
        None => corrupt(relation, META_BLOCK, "the metapage contradicts itself"),
    };
    let known = Known { info, recent: Rc::default(), centroids: Rc::default() };
    OPENED.with(|opened| opened.put(meta.build_id, &Rc::new(known.clone())));
    let Known { info, recent, centroids } = known;
    Opened { info, recent, centroids, meta, stop, entry_blocks }
}

/// Forgets the centroids of all indexes. Scans under way keep theirs.
pub fn forget_centroids() {
    OPENED.with(|opened| opened.for_each(|known| drop(known.centroids.take())));
}

impl IndexInfo {
    /// What a metapage and the model lead to; nothing if they contradict each other.
    pub fn new(meta: &Meta, model: Vec<f32>) -> Option<IndexInfo> {
        let spec = Spec {
            repr: Repr::try_from(meta.repr).ok()?,
            bits: meta.bits,
            metric: opclass::metric_of_number(meta.metric)?,
            dims: meta.dims as usize,
            seed: meta.seed,
            model,
        };
        let coder = Coder::new(spec).ok()?;
        let layout = Layout::new(code_bytes(&coder), meta.attribute_bytes.into());
        Some(IndexInfo { coder, layout, kind: opclass::kind_of_number(meta.type_kind)? })
    }

    /// Whether rows hold all that the operator needs.
    pub fn is_exact(&self) -> bool {
        self.coder.is_exact(self.kind == TypeKind::Halfvec)
    }
}

fn code_bytes(coder: &Coder) -> CodeBytes {
    CodeBytes {
        centroid_dims: coder.placed_dims(),
        row: coder.row_bytes(),
        block: coder.block_bytes(),
        ex: coder.ex_bytes(),
    }
}

impl Opened {
    /// Whether the list was made since the metapage was read.
    pub fn is_behind(&self, list: u32) -> bool {
        Entry::place(list).0 >= self.entry_blocks.len()
    }

    /// How far a scan looks to find a share of the nearest rows.
    pub fn extent_for(&self, recall_target: f64) -> Extent {
        let Meta { calibration, calibrated_lists, lists, .. } = &self.meta;
        let then = *calibrated_lists as usize;
        extent((self.stop, calibration), then, *lists as usize, recall_target)
    }

    /// The entry of a list.
    ///
    /// # Safety
    /// `relation` is the open index; the caller holds no lock on its pages of entries.
    pub unsafe fn entry(&self, relation: pg_sys::Relation, list: u32) -> Entry {
        let (block, place) = self.entry_place(relation, list);
        // SAFETY: as the caller promises.
        let guard = unsafe { ReadGuard::guessed(relation, block, &self.recent) };
        match Entry::read(guard.page(), place) {
            Some(entry) => entry,
            None => corrupt(relation, block, "not a page of lists"),
        }
    }

    /// The entries of some lists.
    ///
    /// # Safety
    /// As for [`Opened::entry`].
    pub unsafe fn entries(&self, relation: pg_sys::Relation, lists: &[u32]) -> Vec<Entry> {
        let places: Vec<_> = lists.iter().map(|&list| self.entry_place(relation, list)).collect();
        let mut entries = vec![Entry::new(NONE, (NONE, 0)); lists.len()];
        let mut order: Vec<_> = (0..lists.len()).collect();
        order.sort_unstable_by_key(|&at| places[at]);
        for of_page in order.chunk_by(|&a, &b| places[a].0 == places[b].0) {
            let block = places[of_page[0]].0;
            // SAFETY: as the caller promises; one page at a time.
            let guard = unsafe { ReadGuard::guessed(relation, block, &self.recent) };
            for &at in of_page {
                match Entry::read(guard.page(), places[at].1) {
                    Some(entry) => entries[at] = entry,
                    None => corrupt(relation, block, "not a page of lists"),
                }
            }
        }
        entries
    }

    /// The page and the place of a list's entry.
    pub fn entry_place(&self, relation: pg_sys::Relation, list: u32) -> (u32, usize) {
        let (page, place) = Entry::place(list);
        match self.entry_blocks.get(page) {
            Some(&block) => (block, place),
            None => corrupt(relation, META_BLOCK, "a list without an entry"),
        }
    }
}

/// The numbers of the model.
unsafe fn read_model(relation: pg_sys::Relation, meta: &Meta) -> Vec<f32> {
    let (mut bytes, mut block) = (Vec::new(), meta.model_block);
    while block != NONE && bytes.len() < meta.model_bytes as usize {
        // SAFETY: the caller holds the relation open and no lock on its pages.
        let guard = unsafe { ReadGuard::new(relation, block) };
        let Some(head) = TapeHead::read(guard.page(), Kind::Model) else {
            corrupt(relation, block, "not a page of the model");
        };
        let len = (meta.model_bytes as usize - bytes.len()).min(TAPE_BYTES);
        bytes.extend_from_slice(continued(guard.page(), len));
        block = head.next;
    }
    bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect()
}
