//! As-of join: to each entity, a key at a time, the newest row of a history of its key that was there by then.
//!
//! Entities are held in memory, sorted by key and time; the history streams by once, in any order. A row of history is
//! weighed at one place alone, the first entity of its key that may see it: what is newest there is handed on to the later
//! entities of the key at the end, by a running maximum. So the work is a look-up and a binary search for each row of
//! history, however many entities see it, and the memory is that of the entities.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::num::NonZeroU64;

use zerocopy::{Immutable, IntoBytes};

use crate::prefetch::prefetch;

/// A hasher for short keys: each word is multiplied in and the product folded.
pub struct Fold(u64);

impl Fold {
    #[inline]
    fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for Fold {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    #[inline]
    fn write_u128(&mut self, word: u128) {
        self.add(word as u64);
        self.add((word >> 64) as u64);
    }

    #[inline]
    fn write_usize(&mut self, word: usize) {
        self.add(word as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

/// Makes hashers that begin with a seed that differs from one table to the next.
#[derive(Clone)]
pub struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        Seeded(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Seeded {
    type Hasher = Fold;

    #[inline]
    fn build_hasher(&self) -> Fold {
        Fold(self.0)
    }
}

/// Numbers for values: equal ones have one number, counted from 0. A table with linear probing, at most half full.
pub struct Ids<K> {
    /// The upper half of a value's hash, and one more than its number; 0 where there is none.
    slots: Vec<[u32; 2]>,
    values: Vec<K>,
    seeded: Seeded,
    /// What values hold outside of the table.
    heap_bytes: usize,
}

impl<K> Default for Ids<K> {
    fn default() -> Self {
        let (slots, values) = (vec![[0, 0]; 64], Vec::new());
        Ids { slots, values, seeded: Seeded::default(), heap_bytes: 0 }
    }
}

impl<K: Hash + Eq> Ids<K> {
    /// The number of a value, which is the next one if the value is new.
    #[inline]
    pub fn number<Q: Hash + Eq + ToOwned<Owned = K> + ?Sized>(&mut self, value: &Q) -> u32
    where
        K: Borrow<Q>,
    {
        let hash = self.seeded.hash_one(value);
        if let Some(id) = self.find_hashed(hash, value) {
            return id;
        }
        if self.values.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let id = self.values.len() as u32;
        self.heap_bytes += size_of_val(value) + 16;
        self.values.push(value.to_owned());
        self.put(hash, id);
        id
    }

    /// The number of a value that has one.
    #[inline]
    pub fn find<Q: Hash + Eq + ?Sized>(&self, value: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        self.find_hashed(self.seeded.hash_one(value), value)
    }

    /// Memory in use, about.
    pub fn bytes(&self) -> usize {
        let outside = if std::mem::needs_drop::<K>() { self.heap_bytes } else { 0 };
        size_of_val(self.slots.as_slice()) + self.values.capacity() * size_of::<K>() + outside
    }

    #[inline]
    fn find_hashed<Q: Eq + ?Sized>(&self, hash: u64, value: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        let last = self.slots.len() - 1;
        let mut at = hash as usize & last;
        loop {
            let [upper, next] = self.slots[at];
            let id = next.checked_sub(1)?;
            if upper == (hash >> 32) as u32 && self.values[id as usize].borrow() == value {
                return Some(id);
            }
            at = (at + 1) & last;
        }
    }

    /// What [`Ids::find`] would compare with first.
    #[inline]
    fn candidate(&self, hash: u64) -> Option<u32> {
        let [upper, next] = self.slots[hash as usize & (self.slots.len() - 1)];
        next.checked_sub(1).filter(|_| upper == (hash >> 32) as u32)
    }

    fn put(&mut self, hash: u64, id: u32) {
        let last = self.slots.len() - 1;
        let mut at = hash as usize & last;
        while self.slots[at][1] != 0 {
            at = (at + 1) & last;
        }
        self.slots[at] = [(hash >> 32) as u32, id + 1];
    }

    #[cold]
    fn grow(&mut self) {
        self.slots = vec![[0, 0]; self.slots.len() * 2];
        for id in 0..self.values.len() {
            let hash = self.seeded.hash_one(&self.values[id]);
            self.put(hash, id as u32);
        }
    }
}

/// Rows of history that are looked up together.
const BATCH: usize = 32;

/// A row of history.
#[derive(Clone, Copy)]
pub struct Row {
    key: u128,
    seen: i64,
    best: Best,
}

impl Row {
    /// A row with its key; the time from which on entities see it; and how new it is, by its event time, of equal ones by
    /// its creation time, and then by its place.
    pub fn new(key: u128, seen: i64, event: i64, created: i64, place: NonZeroU64) -> Row {
        Row { key, seen, best: Best { event, created, place: place.get() } }
    }
}

/// Entities while they are collected.
#[derive(Default)]
pub struct Entities {
    keys: Vec<u32>,
    times: Vec<i64>,
    numbers: Vec<u32>,
    /// One more than the greatest key.
    width: usize,
    count: u32,
}

impl Entities {
    /// What one entity takes until the join is done, keys not counted.
    pub const BYTES: usize =
        size_of::<(i64, u32)>() + 2 * size_of::<u32>() + size_of::<i64>() + size_of::<Best>();

    /// Adds an entity: a key's number and a time, or nothing, which no row of history fits.
    pub fn push(&mut self, entity: Option<(u32, i64)>) {
        if let Some((key, time)) = entity {
            self.keys.push(key);
            self.times.push(time);
            self.numbers.push(self.count);
            self.width = self.width.max(key as usize + 1);
        }
        self.count += 1;
    }

    /// How many were added.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Was none added?
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Memory that these entities will take at the most, about.
    pub fn bytes(&self) -> usize {
        self.keys.len() * Self::BYTES + self.width * size_of::<u32>()
    }

    /// Sorts: from here on history may come. A strict join lets no entity see a row of its own time.
    pub fn sorted(self, strict: bool) -> Join {
        let mut starts = vec![0u32; self.width + 1];
        for &key in &self.keys {
            starts[key as usize + 1] += 1;
        }
        for key in 0..self.width {
            starts[key + 1] += starts[key];
        }
        // Each key's entities go to the end of what is filled of its range; afterwards a start is the next one's.
        let mut slots = vec![(0i64, 0u32); self.keys.len()];
        for ((&key, time), number) in self.keys.iter().zip(self.times).zip(self.numbers) {
            let next = &mut starts[key as usize];
            slots[*next as usize] = (time, number);
            *next += 1;
        }
        starts.rotate_right(1);
        starts[0] = 0;
        for range in starts.windows(2) {
            slots[range[0] as usize..range[1] as usize].sort_unstable();
        }
        let (times, numbers): (Vec<_>, Vec<_>) = slots.into_iter().unzip();
        let best = vec![Best::NONE; times.len()];
        Join { starts, times, numbers, best, count: self.count, strict }
    }
}

/// The newest row that an entity was shown, with a place of 0 as long as there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoBytes, Immutable)]
#[repr(C)]
struct Best {
    event: i64,
    created: i64,
    place: u64,
}

impl Best {
    /// Older than every row.
    const NONE: Best = Best { event: i64::MIN, created: i64::MIN, place: 0 };
}

/// Sorted entities that history streams by.
pub struct Join {
    /// Where the entities of a key begin; one more, where the last end.
    starts: Vec<u32>,
    times: Vec<i64>,
    numbers: Vec<u32>,
    best: Vec<Best>,
    count: u32,
    strict: bool,
}

impl Join {
    /// Shows rows of history, whose keys are numbered by `ids`. Memory is asked for ahead of its use: what a row needs lies
    /// anywhere, but what a batch of rows needs comes together.
    pub fn show(&mut self, ids: &Ids<u128>, rows: &[Row]) {
        for rows in rows.chunks(BATCH) {
            let mut hashes = [0; BATCH];
            for (hash, row) in hashes.iter_mut().zip(rows) {
                *hash = ids.seeded.hash_one(row.key);
                let at = *hash as usize & (ids.slots.len() - 1);
                prefetch(ids.slots[at].as_bytes());
            }
            for &hash in &hashes[..rows.len()] {
                if let Some(key) = ids.candidate(hash) {
                    prefetch(ids.values[key as usize].as_bytes());
                    prefetch(self.starts[key as usize].as_bytes());
                }
            }
            let mut ranges = [(0, 0); BATCH];
            for ((range, &hash), row) in ranges.iter_mut().zip(&hashes).zip(rows) {
                if let Some(key) = ids.find_hashed(hash, &row.key) {
                    let key = key as usize;
                    *range = (self.starts[key] as usize, self.starts[key + 1] as usize);
                    if range.0 < range.1 {
                        prefetch(self.times[(range.0 + range.1) / 2].as_bytes());
                    }
                }
            }
            for (range, row) in ranges.iter_mut().zip(rows) {
                let times = &self.times[range.0..range.1];
                let first = match self.strict {
                    true => times.partition_point(|&time| time <= row.seen),
                    false => times.partition_point(|&time| time < row.seen),
                };
                range.0 += first;
                if range.0 < range.1 {
                    prefetch(self.best[range.0].as_bytes());
                }
            }
            for (&(first, end), row) in ranges.iter().zip(rows) {
                if first < end {
                    let best = &mut self.best[first];
                    *best = row.best.max(*best);
                }
            }
        }
    }

    /// The place of each entity's row, in the order of the entities.
    pub fn places(mut self) -> Vec<Option<NonZeroU64>> {
        let mut places = vec![None; self.count as usize];
        for range in self.starts.windows(2) {
            let mut newest = Best::NONE;
            for slot in range[0] as usize..range[1] as usize {
                newest = newest.max(self.best[slot]);
                places[self.numbers[slot] as usize] = NonZeroU64::new(newest.place);
            }
        }
        self.best.clear();
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Key, event time, creation time, place.
    type Given = (u32, i64, i64, u64);

    /// The join by definition.
    fn oracle(
        entities: &[Option<(u32, i64)>],
        rows: &[Given],
        strict: bool,
    ) -> Vec<Option<NonZeroU64>> {
        let newest = |(key, time): (u32, i64)| {
            let seen = |row: &&Given| row.0 == key && (row.1 < time || (row.1 == time && !strict));
            let newest = rows.iter().filter(seen).max_by_key(|row| (row.1, row.2, row.3))?;
            NonZeroU64::new(newest.3)
        };
        entities.iter().map(|entity| entity.and_then(newest)).collect()
    }

    fn joined(
        entities: &[Option<(u32, i64)>],
        rows: &[Given],
        strict: bool,
    ) -> Vec<Option<NonZeroU64>> {
        let mut collected = Entities::default();
        let mut ids = Ids::<u128>::default();
        for entity in entities {
            collected.push(entity.map(|(key, time)| (ids.number(&u128::from(key)), time)));
        }
        assert_eq!(collected.len(), entities.len());
        let mut join = collected.sorted(strict);
        let row = |&(key, event, created, place): &Given| {
            let place = NonZeroU64::new(place).expect("places begin with 1");
            Row::new(key.into(), event, event, created, place)
        };
        join.show(&ids, &rows.iter().map(row).collect::<Vec<_>>());
        join.places()
    }

    #[test]
    fn nothing_joins_nothing() {
        assert!(joined(&[], &[(1, 1, 1, 1)], false).is_empty());
        assert_eq!(joined(&[None, Some((1, 5))], &[], false), [None, None]);
    }

    #[test]
    fn a_row_of_the_entitys_own_time_counts_unless_strict() {
        let rows = [(7, 5, 1, 1), (7, 4, 9, 2)];
        assert_eq!(joined(&[Some((7, 5))], &rows, false), [NonZeroU64::new(1)]);
        assert_eq!(joined(&[Some((7, 5))], &rows, true), [NonZeroU64::new(2)]);
    }

    #[test]
    fn the_ends_of_time_are_times() {
        let rows = [(1, i64::MIN, i64::MIN, 1), (1, i64::MAX, 0, 2)];
        let entities = [Some((1, i64::MIN)), Some((1, 0)), Some((1, i64::MAX))];
        let places = [1, 1, 2].map(NonZeroU64::new);
        assert_eq!(joined(&entities, &rows, false), places);
        assert_eq!(joined(&entities, &rows, true), [None, NonZeroU64::new(1), NonZeroU64::new(1)]);
    }

    #[test]
    fn equal_values_have_one_number() {
        let mut ids = Ids::<Vec<u8>>::default();
        assert_eq!([b"a" as &[u8], b"", b"a", b"ab"].map(|value| ids.number(value)), [0, 1, 0, 2]);
        assert_eq!((ids.find(b"ab" as &[u8]), ids.find(b"b" as &[u8])), (Some(2), None));
        assert!(ids.bytes() > 0);
        for n in 0..1000u32 {
            assert_eq!(ids.number(&n.to_le_bytes() as &[u8]), n + 3);
        }
        assert_eq!(ids.find(&700u32.to_le_bytes() as &[u8]), Some(703));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            entities in prop::collection::vec(prop::option::weighted(0.9, (0u32..5, -4i64..5)), 0..40),
            rows in prop::collection::vec((0u32..6, -5i64..5, -2i64..2), 0..60),
            strict in any::<bool>(),
        ) {
            let rows: Vec<_> =
                rows.iter().zip(1..).map(|(&(key, event, created), n)| (key, event, created, n)).collect();
            let expected = oracle(&entities, &rows, strict);
            prop_assert_eq!(joined(&entities, &rows, strict), expected.clone());
            let backwards: Vec<_> = rows.iter().rev().copied().collect();
            prop_assert_eq!(joined(&entities, &backwards, strict), expected);
        }
    }
}
