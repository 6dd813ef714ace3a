//! An index opened for use: what its metapage says, and the codec and layout that follow from it.

use std::cell::RefCell;
use std::rc::Rc;

use leanstack_core::hnsw::NodeId;
use leanstack_core::quantize::{Codec, Repr};
use pgrx::pg_sys;

use super::page::{self, Kind, Layout, META_BLOCK, Meta, NO_NODE};
use crate::am::opclass;
use crate::am::remembered::Remembered;
use crate::storage::page::{CONTENT_BYTES, content, content_bytes, read_u32};
use crate::storage::{ReadGuard, corrupt};
use crate::types::value::TypeKind;

/// What stays the same for the life of an index.
pub struct IndexInfo {
    /// How vectors are stored and compared.
    pub codec: Codec,
    /// Where things are on its pages.
    pub layout: Layout,
    /// The SQL type of its column.
    pub kind: TypeKind,
    /// Dimensions, or 0 when they vary.
    pub dims: usize,
    /// Candidates of an insertion.
    pub ef_construction: usize,
    /// For each block, the buffer it was last seen in: a guess that saves looking it up.
    pub recent: RefCell<Vec<pg_sys::Buffer>>,
}

thread_local! {
    static OPENED: Remembered<IndexInfo> = Remembered::default();
}

/// Reads the metapage.
///
/// # Safety
/// `relation` is an open `hnsw` index; the caller holds no lock on its pages.
pub unsafe fn read_meta(relation: pg_sys::Relation) -> Meta {
    // SAFETY: as the caller promises.
    let guard = unsafe { ReadGuard::new(relation, META_BLOCK) };
    match Meta::read(guard.page()) {
        Some(meta) => meta,
        None => corrupt(relation, META_BLOCK, "not a metapage of an hnsw index"),
    }
}

/// Reads the metapage, and the rest unless this backend remembers it.
///
/// # Safety
/// As for [`read_meta`].
pub unsafe fn open(relation: pg_sys::Relation) -> (Rc<IndexInfo>, Meta) {
    // SAFETY: as the caller promises.
    let meta = unsafe { read_meta(relation) };
    let known = OPENED.with(|opened| opened.get(meta.build_id));
    if let Some(info) = known {
        return (info, meta);
    }
    // SAFETY: as the caller promises.
    let mean = unsafe { read_mean(relation, &meta) };
    let info = match IndexInfo::new(&meta, mean) {
        Some(info) => Rc::new(info),
        None => corrupt(relation, META_BLOCK, "the metapage contradicts itself"),
    };
    OPENED.with(|opened| opened.put(meta.build_id, &info));
    (info, meta)
}

impl IndexInfo {
    /// Whether nodes hold all that the operator needs, so that no distance need be computed from the heap.
    pub fn is_exact(&self) -> bool {
        self.codec.is_exact(self.kind == TypeKind::Halfvec)
    }

    /// What a metapage and the mean lead to; nothing if they contradict each other.
    pub fn new(meta: &Meta, mean: Vec<f32>) -> Option<IndexInfo> {
        let repr = Repr::try_from(meta.repr).ok()?;
        let metric = opclass::metric_of_number(meta.metric)?;
        let packed = matches!(repr, Repr::Sq8 | Repr::Sq4 | Repr::Sq2);
        if packed && meta.dims as usize > 4 * CONTENT_BYTES {
            return None;
        }
        let codec = Codec::new(repr, metric, meta.dims as usize, mean).ok()?;
        let code_bytes = codec.code_len();
        if code_bytes.unwrap_or(0) != meta.code_bytes as usize || !(2..=100).contains(&meta.m) {
            return None;
        }
        Some(IndexInfo {
            layout: Layout::new(meta.m.into(), meta.attribute_bytes.into(), code_bytes)?,
            codec,
            kind: opclass::kind_of_number(meta.type_kind)?,
            dims: meta.dims as usize,
            ef_construction: meta.ef_construction.into(),
            recent: RefCell::default(),
        })
    }
}

/// Bytes of the mean on each of its pages.
pub const MEAN_BYTES_PER_PAGE: usize = CONTENT_BYTES / 4 * 4;

unsafe fn read_mean(relation: pg_sys::Relation, meta: &Meta) -> Vec<f32> {
    let mut mean = Vec::new();
    for block in meta.mean_block..meta.mean_block + meta.mean_pages {
        // SAFETY: the caller holds the relation open and no lock on its pages.
        let guard = unsafe { ReadGuard::new(relation, block) };
        if !page::is_kind(guard.page(), Kind::Mean) {
            corrupt(relation, block, "not a page of the mean");
        }
        let bytes = &content(guard.page())[..content_bytes(guard.page())];
        mean.extend((0..bytes.len() / 4).map(|at| f32::from_bits(read_u32(bytes, at * 4))));
    }
    mean
}

/// The entry point that a metapage names.
pub fn entry(meta: &Meta) -> Option<(NodeId, u8)> {
    (meta.entry != NO_NODE).then_some((meta.entry, meta.entry_level))
}
