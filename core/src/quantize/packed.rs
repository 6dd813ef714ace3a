//! The code of a sparse vector: its values, four bytes each, then its indices in as few bytes as any index of the
//! column takes, then zeros up to a multiple of four bytes, which are fewer than an entry has.
//!
//! Where an index takes more than three bytes, three are kept, and the highest once for each run of indices that share
//! it, since indices ascend. Such a code begins with two counts:
//!
//! ```text
//!   0  entries u16, runs u16
//!   4  entries x f32          the values
//!   .  entries x 3 bytes      the low bytes of the indices
//!   .  runs x { u16, u8 }     the entry that a run begins with, the highest byte of its indices
//! ```

use std::cell::Cell;

use zerocopy::Unalign;

use super::numbers;
use crate::metric::sparse::Entries;

/// Bytes of an index whose highest byte is kept elsewhere.
const LOW_BYTES: usize = 3;
/// Bytes of the two counts.
const HEAD_BYTES: usize = 4;
/// Bytes of a run.
const RUN_BYTES: usize = 3;

/// How the indices of a column are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Two bytes each.
    Two,
    /// Three bytes each.
    Three,
    /// Three bytes each, and runs of indices with the same highest byte.
    Runs,
}

/// The form for vectors of `dims` dimensions.
#[inline(always)]
pub fn form(dims: usize) -> Form {
    match dims {
        0..=0x1_0000 => Form::Two,
        0x1_0001..=0x100_0000 => Form::Three,
        _ => Form::Runs,
    }
}

/// How many entries a code of `code_bytes` has room for, wherever their indices are.
pub fn max_entries(dims: usize, code_bytes: usize) -> usize {
    let code_bytes = code_bytes / 4 * 4;
    match form(dims) {
        Form::Two => code_bytes / (4 + 2),
        Form::Three => code_bytes / (4 + LOW_BYTES),
        Form::Runs => {
            let highest = (dims - 1) >> (8 * LOW_BYTES);
            let runs_bytes = (highest + 1).saturating_mul(RUN_BYTES);
            code_bytes.saturating_sub(HEAD_BYTES + runs_bytes) / (4 + LOW_BYTES)
        }
    }
}

/// Where runs begin, each with its highest byte.
fn runs(indices: &[i32]) -> impl Iterator<Item = (u16, u8)> {
    let high = |at: usize| indices[at].to_le_bytes()[LOW_BYTES];
    let begins = (0..indices.len()).filter(move |&at| at == 0 || high(at) != high(at - 1));
    begins.map(move |at| (at as u16, high(at)))
}

/// Writes what comes before the values of a sparse vector.
pub fn write_head(indices: &[i32], dims: usize, code: &mut Vec<u8>) {
    if form(dims) == Form::Runs {
        code.extend_from_slice(&(indices.len() as u16).to_le_bytes());
        code.extend_from_slice(&(runs(indices).count() as u16).to_le_bytes());
    }
}

/// Writes what comes after the values.
pub fn write_indices(indices: &[i32], dims: usize, code: &mut Vec<u8>) {
    let bytes = if form(dims) == Form::Two { 2 } else { LOW_BYTES };
    for index in indices {
        code.extend_from_slice(&index.to_le_bytes()[..bytes]);
    }
    if form(dims) == Form::Runs {
        for (begin, high) in runs(indices) {
            code.extend_from_slice(&begin.to_le_bytes());
            code.push(high);
        }
    }
    code.resize(code.len().next_multiple_of(4), 0);
}

/// A sparse vector in the bytes of a node, with `BYTES` bytes for each index.
#[derive(Clone, Copy)]
pub struct Packed<'a, const BYTES: usize> {
    values: &'a [Unalign<f32>],
    indices: &'a [[u8; BYTES]],
    scale: f32,
}

impl<'a, const BYTES: usize> Packed<'a, BYTES> {
    /// Reads as many entries as `code` is long.
    #[inline]
    pub fn new(code: &'a [u8], scale: f32) -> Packed<'a, BYTES> {
        let count = code.len() / (4 + BYTES);
        let (values, indices) = code.split_at(count * 4);
        Packed { values: numbers(values), indices: &indices.as_chunks().0[..count], scale }
    }
}

impl<const BYTES: usize> Entries for Packed<'_, BYTES> {
    #[inline(always)]
    fn count(self) -> usize {
        self.indices.len()
    }

    #[inline(always)]
    fn index(self, entry: usize) -> i32 {
        let mut index = [0; 4];
        index[..BYTES].copy_from_slice(&self.indices[entry]);
        i32::from_le_bytes(index)
    }

    #[inline(always)]
    fn value(self, entry: usize) -> f32 {
        self.scale * self.values[entry].get()
    }
}

/// A sparse vector in the bytes of a node, with runs.
#[derive(Clone, Copy)]
pub struct Runs<'a> {
    low: Packed<'a, LOW_BYTES>,
    runs: &'a [[u8; RUN_BYTES]],
    /// The run of the entry that was asked for last: entries are asked for in ascending order.
    run: &'a Cell<usize>,
}

impl<'a> Runs<'a> {
    /// Reads what the head of `code` announces, and nothing if that is not there. `run` is the reader's memory.
    #[inline]
    pub fn new(code: &'a [u8], scale: f32, run: &'a Cell<usize>) -> Runs<'a> {
        let read = || {
            let (&[n0, n1, r0, r1], body) = code.split_first_chunk()?;
            let entries = usize::from(u16::from_le_bytes([n0, n1]));
            let (low, rest) = body.split_at_checked(entries * (4 + LOW_BYTES))?;
            Some((low, rest.as_chunks().0.get(..usize::from(u16::from_le_bytes([r0, r1])))?))
        };
        let (low, runs) = read().unwrap_or_default();
        run.set(0);
        Runs { low: Packed::new(low, scale), runs, run }
    }

    /// Where a run begins; past all entries for one that does not exist.
    #[inline(always)]
    fn begin(self, run: usize) -> usize {
        self.runs.get(run).map_or(usize::MAX, |run| u16::from_le_bytes([run[0], run[1]]).into())
    }
}

impl Entries for Runs<'_> {
    #[inline(always)]
    fn count(self) -> usize {
        self.low.count()
    }

    #[inline(always)]
    fn index(self, entry: usize) -> i32 {
        let mut run = self.run.get();
        if self.begin(run) > entry {
            run = 0;
        }
        while self.begin(run + 1) <= entry {
            run += 1;
        }
        self.run.set(run);
        let high = self.runs.get(run).map_or(0, |run| run[2]);
        self.low.index(entry) | i32::from(high) << (8 * LOW_BYTES)
    }

    #[inline(always)]
    fn value(self, entry: usize) -> f32 {
        self.low.value(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    const MOST_DIMS: usize = 1_000_000_000;

    fn code_of(indices: &[i32], dims: usize) -> Vec<u8> {
        let mut code = Vec::new();
        write_head(indices, dims, &mut code);
        indices.iter().for_each(|&i| code.extend_from_slice(&(i as f32).to_le_bytes()));
        write_indices(indices, dims, &mut code);
        code
    }

    fn entries(x: impl Entries) -> (Vec<i32>, Vec<f32>) {
        (0..x.count()).map(|at| (x.index(at), x.value(at))).unzip()
    }

    #[test]
    fn as_many_entries_fit_as_promised() {
        for dims in [65_536, 65_537, 1 << 24, (1 << 24) + 1, 100_000_000, MOST_DIMS] {
            for room in [0, 5, 300, 7868, 8192] {
                let most = max_entries(dims, room);
                let indices: Vec<i32> = (0..most).map(|i| (i * (dims / most)) as i32).collect();
                let bytes = if most == 0 { 0 } else { code_of(&indices, dims).len() };
                assert!(bytes <= room, "{most} entries of {dims} dimensions take {bytes} bytes");
            }
        }
        assert!(max_entries(MOST_DIMS, 7868) >= 1000);
    }

    proptest! {
        #[test]
        fn entries_come_back(
            indices in btree_set(0..MOST_DIMS as i32, 0..200),
            dims in prop::sample::select(vec![65_536, 1 << 24, (1 << 24) + 1, MOST_DIMS]),
        ) {
            let indices: Vec<i32> = indices.into_iter().filter(|&i| (i as usize) < dims).collect();
            let code = code_of(&indices, dims);
            let run = Cell::new(7);
            let (read, values) = match form(dims) {
                Form::Two => entries(Packed::<2>::new(&code, 0.5)),
                Form::Three => entries(Packed::<3>::new(&code, 0.5)),
                Form::Runs => entries(Runs::new(&code, 0.5, &run)),
            };
            prop_assert!(values.iter().zip(&indices).all(|(v, &i)| *v == 0.5 * i as f32));
            prop_assert_eq!(read, indices);
        }

        #[test]
        fn any_bytes_are_read(
            counts in (0u8..30, 0u8..5),
            body in vec(any::<u8>(), 0..200),
            order in vec(any::<usize>(), 1..20),
        ) {
            let head = [counts.0, 0, counts.1, 0];
            for code in [[&head[..], &body].concat(), body] {
                let run = Cell::new(0);
                let runs = Runs::new(&code, 1.0, &run);
                entries(runs);
                if runs.count() > 0 {
                    order.iter().for_each(|at| _ = runs.index(at % runs.count()));
                }
            }
        }
    }
}
