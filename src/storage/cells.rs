//! A page of cells of differing length, found by slot number. Slots stay where they are; bytes are moved together
//! when room is needed. The page's content is
//!
//! ```text
//!   0  next     u32   another page of the same list, or u32::MAX
//!   4  slots    u16   how many slots the page has
//!   6  listed   u16   whether the page is on the list
//!   8  slots x { offset u16, length u16 }     offset 0: the slot is free
//!   .  the cells
//! ```

use super::page::{
    CONTENT_BYTES, Page, content, content_bytes, content_mut, read_u16, read_u32, set_content_bytes,
};

const SLOTS_AT: usize = 4;
const LISTED_AT: usize = 6;
const DIRECTORY_AT: usize = 8;
const ENTRY_BYTES: usize = 4;
/// Cells begin at multiples of this.
const ALIGN: usize = 4;
/// No page.
pub const NO_BLOCK: u32 = u32::MAX;

/// Bytes in use on a page without cells.
pub fn empty_bytes(slots: u16) -> usize {
    DIRECTORY_AT + usize::from(slots) * ENTRY_BYTES
}

/// The longest cell that a page with `slots` slots can hold.
pub fn max_cell_bytes(slots: u16) -> usize {
    (CONTENT_BYTES - empty_bytes(slots)) / ALIGN * ALIGN
}

/// Writes the head and the empty directory. The page was just made, with [`empty_bytes`] in use.
pub fn init(page: &mut Page, slots: u16) {
    let bytes = content_mut(page);
    bytes[..4].copy_from_slice(&NO_BLOCK.to_ne_bytes());
    bytes[SLOTS_AT..SLOTS_AT + 2].copy_from_slice(&slots.to_ne_bytes());
}

/// The next page of the list that this page is on.
pub fn next(page: &Page) -> u32 {
    read_u32(content(page), 0)
}

/// Sets the next page.
pub fn set_next(page: &mut Page, block: u32) {
    content_mut(page)[..4].copy_from_slice(&block.to_ne_bytes());
}

/// Whether the page is on the list.
pub fn is_listed(page: &Page) -> bool {
    read_u16(content(page), LISTED_AT) != 0
}

/// Says whether the page is on the list.
pub fn set_listed(page: &mut Page, listed: bool) {
    let listed = u16::from(listed);
    content_mut(page)[LISTED_AT..LISTED_AT + 2].copy_from_slice(&listed.to_ne_bytes());
}

/// How many slots the page has; never more than fit.
pub fn slots(page: &Page) -> u16 {
    let most = (CONTENT_BYTES - DIRECTORY_AT) / ENTRY_BYTES;
    read_u16(content(page), SLOTS_AT).min(most as u16)
}

/// Where the cell of `slot` lies in the content; nothing if the slot is free, does not exist, or is damaged.
#[inline(always)]
pub fn range(page: &Page, slot: u16) -> Option<std::ops::Range<usize>> {
    if slot >= slots(page) {
        return None;
    }
    let bytes = content(page);
    let at = DIRECTORY_AT + usize::from(slot) * ENTRY_BYTES;
    let (start, len) = (usize::from(read_u16(bytes, at)), usize::from(read_u16(bytes, at + 2)));
    (start != 0 && start + len <= CONTENT_BYTES).then_some(start..start + len)
}

/// The bytes of a cell.
pub fn cell(page: &Page, slot: u16) -> Option<&[u8]> {
    range(page, slot).map(|range| &content(page)[range])
}

/// The bytes of a cell, to change.
pub fn cell_mut(page: &mut Page, slot: u16) -> Option<&mut [u8]> {
    range(page, slot).map(|range| &mut content_mut(page)[range])
}

/// Bytes that new cells could take, all in all.
pub fn free_bytes(page: &Page) -> usize {
    let used: usize = (0..slots(page))
        .filter_map(|slot| range(page, slot))
        .map(|range| range.len().next_multiple_of(ALIGN))
        .sum();
    max_cell_bytes(slots(page)).saturating_sub(used)
}

/// Whether a cell of `len` bytes would find room.
pub fn has_room(page: &Page, len: usize) -> bool {
    (0..slots(page)).any(|slot| range(page, slot).is_none())
        && len.next_multiple_of(ALIGN) <= free_bytes(page)
}

/// Adds a cell of zeros and returns its slot, or nothing if there is no room.
pub fn add(page: &mut Page, len: usize) -> Option<u16> {
    if !has_room(page, len) {
        return None;
    }
    let slot = (0..slots(page)).find(|&slot| range(page, slot).is_none())?;
    let room = len.next_multiple_of(ALIGN);
    if content_bytes(page) + room > CONTENT_BYTES {
        compact(page);
    }
    let start = content_bytes(page).next_multiple_of(ALIGN);
    set_content_bytes(page, start + room);
    content_mut(page)[start..start + room].fill(0);
    set_entry(page, slot, start, len);
    Some(slot)
}

/// Frees a slot and its bytes.
pub fn remove(page: &mut Page, slot: u16) {
    if slot < slots(page) {
        set_entry(page, slot, 0, 0);
    }
}

fn set_entry(page: &mut Page, slot: u16, start: usize, len: usize) {
    let at = DIRECTORY_AT + usize::from(slot) * ENTRY_BYTES;
    let bytes = content_mut(page);
    bytes[at..at + 2].copy_from_slice(&(start as u16).to_ne_bytes());
    bytes[at + 2..at + 4].copy_from_slice(&(len as u16).to_ne_bytes());
}

/// Moves the cells together.
fn compact(page: &mut Page) {
    let mut cells: Vec<_> =
        (0..slots(page)).filter_map(|slot| Some((range(page, slot)?, slot))).collect();
    cells.sort_unstable_by_key(|(range, _)| range.start);
    let mut to = empty_bytes(slots(page));
    for (range, slot) in cells {
        let len = range.len();
        content_mut(page).copy_within(range, to);
        set_entry(page, slot, to, len);
        to += len.next_multiple_of(ALIGN);
    }
    set_content_bytes(page, to);
}
