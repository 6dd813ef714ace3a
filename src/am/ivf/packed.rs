//! The codes of packed rows: first bits in a block, the rest on an ex page.

use super::candidates::Packed as Place;
use super::index::Opened;
use super::list::{Reader, Stale, head_of};
use super::page::{BLOCK_ROWS, Kind, NONE, Packed, TAPE_HEAD_BYTES, continued};

/// Has the processor fetch the remaining bits of a packed row, which will be asked for soon.
pub fn prefetch_code(opened: &Opened, at: Place) {
    let Some(packed) = &opened.info.layout.packed else { return };
    let (Some(ex), Some((page, place))) = (packed.ex, packed.ex_place(at.at.into())) else {
        return;
    };
    if page < packed.ex_refs()
        && let Some(block) = opened.recent.peek(at.page, Packed::ex_ref_at(page))
    {
        opened.recent.prefetch(block, 0..TAPE_HEAD_BYTES);
        opened.recent.prefetch(block, ex.range(place));
    }
}

/// Calls `each` with the block of a packed row, the row's place in it and its ex code. The page of blocks is locked
/// before its ex page: the lock order. `run` is the list and the stamp of its packed run.
pub fn with_code(
    reader: Reader<'_>,
    packed: &Packed,
    run: (u32, u32),
    (page, at): (u32, usize),
    each: impl FnOnce(&[u8], usize, &[u8]),
) -> Result<(), Stale> {
    let (item, row) = (at / BLOCK_ROWS, at % BLOCK_ROWS);
    let (list, stamp) = run;
    // Both pages at once, where that is all that is needed.
    let is_pair =
        packed.blocks.pages_per_item() == 1 && packed.ex.is_some_and(|ex| ex.pages_per_item() == 1);
    let ex_at = packed.ex_place(at).filter(|_| is_pair);
    let (guard, head, ex_guard) = reader.read_pair(Kind::Blocks, list, (page, stamp), |page| {
        ex_at.map(|(at, _)| packed.ex_ref(page, at)).filter(|&block| block != NONE)
    })?;
    let mut copy = Vec::new();
    let block = if packed.blocks.pages_per_item() == 1 {
        packed.blocks.item(guard.page(), item)
    } else {
        copy.extend_from_slice(packed.blocks.item(guard.page(), 0));
        let mut next = (head.next, head.next_stamp);
        for part in 1..packed.blocks.pages_per_item() {
            if next.0 == NONE {
                return Err(Stale);
            }
            let (guard, head) = reader.read(Kind::Blocks, list, next)?;
            copy.extend_from_slice(continued(guard.page(), packed.blocks.part(part).len()));
            next = (head.next, head.next_stamp);
        }
        &copy[..]
    };
    let (Some(ex), Some((at, place))) = (packed.ex, packed.ex_place(at)) else {
        each(block, row, &[]);
        return Ok(());
    };
    let ex_page = |at| match packed.ex_ref(guard.page(), at) {
        NONE => Err(Stale),
        page => reader.read(Kind::Ex, list, (page, stamp)),
    };
    let ex_guard = match ex_guard {
        Some(guard) if head_of(guard.page(), Kind::Ex, (list, stamp)).is_some() => guard,
        Some(_) => return Err(Stale),
        None => ex_page(at)?.0,
    };
    if ex.pages_per_item() == 1 {
        each(block, row, ex.item(ex_guard.page(), place));
        return Ok(());
    }
    let mut code = ex.item(ex_guard.page(), 0).to_vec();
    for part in 1..ex.pages_per_item() {
        let (guard, _) = ex_page(at + part)?;
        code.extend_from_slice(continued(guard.page(), ex.part(part).len()));
    }
    each(block, row, &code);
    Ok(())
}
