//! `lean.index_info` of `hnsw` indexes.

use leanstack_core::quantize::Repr;
use pgrx::pg_sys;

use super::graph::for_each_row;
use super::index;
use super::page::{self, Kind, NO_NODE, State};
use crate::am::info::{Facts, percent};
use crate::storage::ReadGuard;

/// Looks at every page.
///
/// # Safety
/// `relation` is an open `hnsw` index.
pub unsafe fn info(relation: pg_sys::Relation) -> Facts {
    // SAFETY: as the caller promises, throughout.
    unsafe {
        let (info, meta) = index::open(relation);
        let layout = &info.layout;
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(relation, main);
        let (mut rows, mut live, mut dead, mut free) = (0, 0, 0, 0);
        let mut kinds = [0; 5];
        for block in 1..blocks {
            pgrx::check_for_interrupts!();
            let guard = ReadGuard::new(relation, block);
            let known = [Kind::Mean, Kind::Node, Kind::Aux];
            let Some(kind) = known.into_iter().find(|&kind| page::is_kind(guard.page(), kind))
            else {
                continue;
            };
            kinds[kind as usize] += 1;
            if kind != Kind::Node {
                continue;
            }
            for slot in 0..layout.slots() {
                match layout.node(guard.page(), slot) {
                    Some(node) if node.state() == State::Live && node.has_rows() => {
                        live += 1;
                        rows += 1;
                        let owner = (layout.id(block, slot), node.version());
                        for_each_row(relation, layout, owner, node.aux(), |_| rows += 1);
                    }
                    Some(node) if node.state() != State::Free => dead += 1,
                    _ => free += 1,
                }
            }
        }
        let mut facts = Facts::new(relation, "hnsw");
        facts.add("quantization", quantization(info.codec.repr()));
        if info.dims > 0 {
            facts.add("dimensions", info.dims);
        }
        facts.add("m", layout.m());
        facts.add("ef_construction", info.ef_construction);
        let levels = if meta.entry == NO_NODE { 0 } else { usize::from(meta.entry_level) + 1 };
        facts.add("levels", levels);
        facts.add("rows", rows);
        facts.add("nodes", live);
        facts.add("dead nodes", format!("{dead} ({})", percent(dead, live + dead)));
        facts.add("free places", free);
        facts.add_size(blocks as usize, rows);
        facts.add_some("pages of nodes", kinds[Kind::Node as usize]);
        facts.add_some("pages of cells", kinds[Kind::Aux as usize]);
        facts.add_some("pages of the mean", kinds[Kind::Mean as usize]);
        let mut reasons = Vec::new();
        let places = live + dead + free;
        let page = usize::from(layout.slots());
        if places > 2 * page && 2 * (dead + free) > places {
            reasons.push(format!("{} of its places hold no row", percent(dead + free, places)));
        }
        facts.add_advice(&reasons);
        facts
    }
}

fn quantization(repr: Repr) -> &'static str {
    match repr {
        Repr::F16 => "half",
        Repr::Sq8 => "sq8",
        Repr::Sq4 => "sq4",
        Repr::Sq2 => "sq2",
        Repr::F32 | Repr::Bits | Repr::Sparse => "none",
    }
}
