//! The cells of aux pages: a node's links above the ground, and its rows beyond the first.

use leanstack_core::hnsw::{Link, NodeId, max_links};

use super::{AUX_HEADER_BYTES, AuxKind, AuxPtr, NO_NODE, link_list, write_links};
use crate::storage::Tid;
use crate::storage::page::{read_u16, read_u32};

/// Bytes of the links of `levels` levels above the ground.
pub fn upper_bytes(m: usize, levels: u8) -> usize {
    AUX_HEADER_BYTES + usize::from(levels) * max_links(m, 1) * size_of::<Link>()
}

/// Bytes of a cell for `rows` rows.
pub fn rows_bytes(rows: usize) -> usize {
    AUX_HEADER_BYTES + rows * Tid::BYTES
}

/// The node that a cell belongs to, and that node's version. A cell too short to be one belongs to no node, so
/// whoever asks this first may ask the rest.
pub fn owner(cell: &[u8]) -> (NodeId, u16) {
    if cell.len() < AUX_HEADER_BYTES {
        return (NO_NODE, 0);
    }
    (read_u32(cell, 0), read_u16(cell, 4))
}

/// What a cell holds.
pub fn kind(cell: &[u8]) -> Option<AuxKind> {
    match cell[6] {
        1 => Some(AuxKind::Upper),
        2 => Some(AuxKind::Rows),
        _ => None,
    }
}

/// The cell after this one.
pub fn next(cell: &[u8]) -> AuxPtr {
    AuxPtr::read(cell, 8)
}

/// Sets the cell after this one.
pub fn set_next(cell: &mut [u8], next: AuxPtr) {
    next.write(cell, 8);
}

/// Writes the head of a cell; its links are then empty, its rows none.
pub fn init(cell: &mut [u8], owner: NodeId, version: u16, kind: AuxKind, next: AuxPtr) {
    cell[..4].copy_from_slice(&owner.to_ne_bytes());
    cell[4..6].copy_from_slice(&version.to_ne_bytes());
    cell[6] = kind as u8;
    cell[7] = 0;
    set_next(cell, next);
    cell[14..16].fill(0);
    cell[AUX_HEADER_BYTES..].fill(0xFF);
}

/// The links of a level from 1.
pub fn links(cell: &[u8], m: usize, level: u8) -> impl Iterator<Item = Link> {
    let per_level = max_links(m, 1) * size_of::<Link>();
    let start = AUX_HEADER_BYTES + usize::from(level - 1) * per_level;
    link_list(cell.get(start..start + per_level).unwrap_or(&[]), max_links(m, 1))
}

/// Replaces the links of a level from 1, if the cell has that level.
pub fn set_links(cell: &mut [u8], m: usize, level: u8, links: &[Link]) {
    let per_level = max_links(m, 1) * size_of::<Link>();
    let start = AUX_HEADER_BYTES + usize::from(level - 1) * per_level;
    if let Some(places) = cell.get_mut(start..start + per_level) {
        write_links(places, max_links(m, 1), links);
    }
}

/// How many rows a cell holds.
pub fn row_count(cell: &[u8]) -> usize {
    usize::from(read_u16(cell, 14)).min(row_capacity(cell))
}

/// How many rows a cell can hold.
pub fn row_capacity(cell: &[u8]) -> usize {
    (cell.len() - AUX_HEADER_BYTES) / Tid::BYTES
}

/// The rows of a cell.
pub fn rows(cell: &[u8]) -> impl Iterator<Item = Tid> {
    (0..row_count(cell)).map(|at| Tid::read(cell, AUX_HEADER_BYTES + at * Tid::BYTES))
}

/// Replaces the rows of a cell; they fit.
pub fn set_rows(cell: &mut [u8], rows: &[Tid]) {
    for (at, tid) in rows.iter().enumerate() {
        tid.write(cell, AUX_HEADER_BYTES + at * Tid::BYTES);
    }
    cell[14..16].copy_from_slice(&(rows.len() as u16).to_ne_bytes());
}
