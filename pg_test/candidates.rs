//! The rows that a scan of `ivf` may give, against a plain list of them: none is lost or given twice, and they come in order.

use pgrx::pg_schema;

#[pg_schema]
mod tests {
    use std::collections::HashMap;

    use pgrx::prelude::*;
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    use crate::am::ivf::candidates::{Candidate, Found, Packed, Queue, Rest};
    use crate::storage::Tid;

    const ROUNDS: u64 = 40;
    const BLOCK_ROWS: usize = 32;

    /// What is in the queue, by the block of the row's address.
    type Model = HashMap<u32, (f32, u32, Option<Packed>)>;

    /// Bounds that are spread, few and extreme, or all alike.
    fn bound(rng: &mut SmallRng, mode: u8) -> f32 {
        match mode {
            0 => rng.random_range(0.0..100.0),
            1 => [f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1.0, 2.0][rng.random_range(0..6)],
            2 => f32::NEG_INFINITY,
            3 => f32::INFINITY,
            _ => -rng.random_range(0.0..1e30),
        }
    }

    /// A queue and what should be in it.
    struct Both {
        queue: Queue,
        model: Model,
        rng: SmallRng,
        mode: u8,
        rows: u32,
        pages: u32,
    }

    impl Both {
        fn add_list(&mut self, list: u32) {
            for _ in 0..self.rng.random_range(0..12) {
                let (mut tids, mut bounds) = ([0; 6 * BLOCK_ROWS], [0.0; BLOCK_ROWS]);
                let (filled, place) =
                    (self.rng.random_range(0..=BLOCK_ROWS), self.pages as usize % 3);
                self.pages += 1;
                for (row, slot) in bounds.iter_mut().enumerate() {
                    let bound = bound(&mut self.rng, self.mode);
                    *slot = bound;
                    let is_row = row < filled && self.rng.random_bool(0.9);
                    self.rows += u32::from(is_row);
                    let tid = Tid { block: self.rows, offset: is_row.into() };
                    tid.write(&mut tids, 6 * row);
                    if is_row {
                        let at = (place * BLOCK_ROWS + row) as u16;
                        let packed = Packed { page: self.pages, at };
                        self.model.insert(self.rows, (bound, list, Some(packed)));
                    }
                }
                let found = Found { tids: &tids, list, page: self.pages, place };
                self.queue.add_block(found, &bounds);
            }
            let many = if self.rng.random_bool(0.1) { 1500 } else { 40 };
            for _ in 0..self.rng.random_range(0..many) {
                self.rows += 1;
                let bound = bound(&mut self.rng, self.mode);
                let tid = Tid { block: self.rows, offset: 1 };
                self.queue.add(Candidate::whole(bound, tid, list));
                self.model.insert(self.rows, (bound, list, None));
            }
        }

        /// Takes out up to so many rows, and puts some back.
        fn take(&mut self, most: usize) {
            for _ in 0..most {
                self.queue.refill();
                let Some(candidate) = self.queue.pop(0.0) else {
                    assert!(self.model.is_empty(), "{} rows lost", self.model.len());
                    return;
                };
                let known = self.model.remove(&candidate.tid().block).expect("a row given once");
                let (bound, list, packed) = known;
                assert_eq!((bound.to_bits(), list), (candidate.bound.to_bits(), candidate.list));
                assert!(self.model.values().all(|other| other.0 >= bound), "rows in order");
                match packed {
                    Some(packed) => assert_eq!(candidate.rest(), Rest::Code(packed)),
                    None => assert_eq!(candidate.rest(), Rest::Nothing),
                }
                if packed.is_some() && self.rng.random_bool(0.8) {
                    let better = bound + self.rng.random_range(0.0..50.0);
                    self.queue.add(Candidate::whole(better, candidate.tid(), list));
                    self.model.insert(candidate.tid().block, (better, list, None));
                }
            }
        }
    }

    #[pg_test]
    fn candidates_come_once_and_in_order() {
        for seed in 0..ROUNDS {
            let mut rng = SmallRng::seed_from_u64(seed);
            let (queue, mode) = (Queue::default(), rng.random_range(0..5));
            let mut both = Both { queue, model: Model::new(), rng, mode, rows: 0, pages: 0 };
            for list in 0..both.rng.random_range(1..12) {
                both.add_list(list);
                if both.rng.random_bool(0.2) {
                    both.queue.forget(list);
                    both.model.retain(|_, row| row.1 != list);
                }
                let most = both.rng.random_range(0..200);
                both.take(most);
            }
            both.take(usize::MAX);
            assert!(both.model.is_empty(), "{} rows lost", both.model.len());
        }
    }
}
