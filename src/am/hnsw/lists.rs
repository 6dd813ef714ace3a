//! Lists of links as they lie on pages: level 0 in the node, the levels above in a cell of an aux page.

use leanstack_core::hnsw::{Link, NodeId};
use pgrx::pg_sys;

use super::index::IndexInfo;
use super::page::{self, AuxKind, Kind};
use crate::storage::page::Page;
use crate::storage::{ReadGuard, cells};

/// Where a node's list of links at a level is.
#[derive(Clone, Copy, Debug)]
pub struct ListPlace {
    /// The page.
    pub block: u32,
    slot: u16,
    id: NodeId,
    level: u8,
}

impl ListPlace {
    /// Finds a list. No lock is held at entry or exit.
    ///
    /// # Safety
    /// `relation` is the open index that `info` describes.
    pub unsafe fn find(
        relation: pg_sys::Relation,
        info: &IndexInfo,
        id: NodeId,
        level: u8,
    ) -> Option<ListPlace> {
        let (block, slot) = info.layout.place(id);
        if level == 0 {
            return Some(ListPlace { block, slot, id, level });
        }
        // SAFETY: as the caller promises.
        let guard = unsafe { ReadGuard::new(relation, block) };
        let aux = info.layout.node(guard.page(), slot)?.aux();
        aux.is_some().then_some(ListPlace { block: aux.block, slot: aux.slot, id, level })
    }

    /// Finds and reads a list. No lock is held at entry or exit.
    ///
    /// # Safety
    /// `relation` is the open index that `info` describes.
    pub unsafe fn read(
        relation: pg_sys::Relation,
        info: &IndexInfo,
        id: NodeId,
        level: u8,
    ) -> Option<(ListPlace, Vec<Link>)> {
        // SAFETY: as the caller promises.
        unsafe {
            let place = ListPlace::find(relation, info, id, level)?;
            let guard = ReadGuard::new(relation, place.block);
            Some((place, place.links(info, guard.page())?))
        }
    }

    /// The links on the locked page; nothing if the node has lost its rows or the cell is another's.
    pub fn links(&self, info: &IndexInfo, page: &Page) -> Option<Vec<Link>> {
        let m = info.layout.m();
        if self.level == 0 {
            let node = info.layout.node(page, self.slot).filter(|node| node.has_rows())?;
            return Some(node.links(m).collect());
        }
        let cell =
            page::is_kind(page, Kind::Aux).then(|| cells::cell(page, self.slot)).flatten()?;
        let mine =
            page::aux::owner(cell).0 == self.id && page::aux::kind(cell) == Some(AuxKind::Upper);
        mine.then(|| page::aux::links(cell, m, self.level).collect())
    }

    /// Replaces the links on a page image whose page is locked and still has the list.
    pub fn write(&self, info: &IndexInfo, page: &mut Page, links: &[Link]) {
        let m = info.layout.m();
        if self.level > 0 {
            if let Some(cell) = cells::cell_mut(page, self.slot) {
                page::aux::set_links(cell, m, self.level, links);
            }
        } else if let Some(mut node) = info.layout.node_mut(page, self.slot) {
            node.set_links(m, links);
        }
    }
}
