//! Pages of any bytes: whatever reads them finds nothing or something wrong, and never panics. A panic between a pin
//! and its release would not be caught where PostgreSQL's errors are.

use pgrx::pg_schema;

#[pg_schema]
mod tests {
    use pgrx::prelude::*;
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    use crate::am::hnsw::page::{self, Kind, Layout, Meta};
    use crate::storage::cells;
    use crate::storage::page::{PAGE_BYTES, Page, Trailer, content_bytes, set_trailer};

    const ROUNDS: usize = 2_000;

    /// A page of random bytes, or of few different ones, so that small offsets and lengths occur too.
    fn any_page(rng: &mut SmallRng, kind: Kind) -> Page {
        let mut page = [0; PAGE_BYTES];
        rng.fill(&mut page[..]);
        if rng.random_bool(0.5) {
            page.iter_mut().for_each(|byte| *byte = [0, 0, 1, 2, 31, 255][*byte as usize % 6]);
        }
        set_trailer(&mut page, Trailer { reuse_after: 1, kind: kind as u8, format: page::FORMAT });
        page
    }

    fn read_cell(cell: &[u8], m: usize) {
        if page::aux::owner(cell).0 == page::NO_NODE {
            return;
        }
        page::aux::kind(cell);
        page::aux::next(cell);
        page::aux::rows(cell).for_each(drop);
        for level in [1, 2, 15, 255] {
            page::aux::links(cell, m, level).for_each(drop);
        }
    }

    #[pg_test]
    fn cells_of_any_bytes() {
        let mut rng = SmallRng::seed_from_u64(1);
        for _ in 0..ROUNDS {
            let mut page = any_page(&mut rng, Kind::Aux);
            cells::next(&page);
            cells::is_listed(&page);
            for slot in [0, 1, 127, 2037, u16::MAX] {
                if let Some(cell) = cells::cell(&page, slot) {
                    read_cell(cell, 16);
                }
                if let Some(cell) = cells::cell_mut(&mut page, slot) {
                    page::aux::set_links(cell, 16, 3, &[]);
                }
            }
            cells::remove(&mut page, rng.random());
            let len = rng.random_range(0..9_000);
            let had_room = cells::has_room(&page, len);
            assert_eq!(cells::add(&mut page, len).is_some(), had_room);
            assert!(content_bytes(&page) <= PAGE_BYTES);
        }
    }

    #[pg_test]
    fn nodes_of_any_bytes() {
        let mut rng = SmallRng::seed_from_u64(2);
        for code_bytes in [None, Some(1), Some(384), Some(8_000)] {
            let Some(layout) = Layout::new(16, 0, code_bytes) else { continue };
            for _ in 0..ROUNDS {
                let mut page = any_page(&mut rng, Kind::Node);
                for slot in [0, 1, 31, u16::MAX] {
                    if let Some(node) = layout.node(&page, slot) {
                        let _ =
                            (node.tid(), node.level(), node.version(), node.aux(), node.factors());
                        node.code();
                        node.links(16).for_each(drop);
                    }
                }
                layout.free_bytes(&page);
                let bytes = code_bytes.unwrap_or(100);
                for reusable in [false, true] {
                    layout.has_slot(&page, bytes, reusable);
                    layout.take_slot(&mut page, bytes, reusable);
                }
            }
        }
    }

    #[pg_test]
    fn metapages_of_any_bytes() {
        let mut rng = SmallRng::seed_from_u64(3);
        for _ in 0..ROUNDS {
            let mut page = any_page(&mut rng, Kind::Meta);
            assert!(Meta::read(&page).is_none());
            // With the magic number in place, everything else is taken as it is.
            page[24..32].copy_from_slice(&page::MAGIC.to_ne_bytes());
            assert!(Meta::read(&page).is_some());
        }
    }
}
