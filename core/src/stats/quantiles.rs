//! Quantiles of any number of values in little room, mergeable: the sketch of Karnin, Lang and Liberty, "Optimal
//! quantile approximation in streams" (2016).
//!
//! Up to [`SIZE`] values it keeps all and answers exactly. Beyond, ranks are off by about 1 / [`SIZE`] of the count,
//! by 1 % at most in practice, merged or not. Which of two neighbours survives is drawn from a generator that starts
//! from the count, so the same values in the same order make the same sketch.

use super::mix;
use crate::Error;

/// Values that the highest level may hold.
pub const SIZE: usize = 400;

/// How much smaller each level below is.
const SHRINK: f64 = 2.0 / 3.0;

/// The smallest that a level may be.
const SMALLEST: usize = 8;

/// Starts the bytes of a sketch.
const VERSION: u8 = 1;

/// A sketch of values. Each on level `l` stands for `2^l` that were added.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quantiles {
    count: u64,
    levels: Vec<Vec<f64>>,
}

impl Quantiles {
    /// Takes one more value.
    pub fn add(&mut self, x: f64) {
        if self.levels.is_empty() {
            self.levels.push(Vec::new());
        }
        self.levels[0].push(x);
        self.count += 1;
        // All levels together bound the room; single ones may be over for a while.
        if self.levels[0].len() > self.capacity(0) && self.stored() > self.room() {
            self.compress();
        }
    }

    /// Takes all values of another sketch.
    pub fn merge(&mut self, other: &Quantiles) {
        self.levels.resize(self.levels.len().max(other.levels.len()), Vec::new());
        for (level, values) in self.levels.iter_mut().zip(&other.levels) {
            level.extend_from_slice(values);
        }
        self.count += other.count;
        while self.stored() > self.room() {
            self.compress();
        }
    }

    /// How many values were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What is kept, in order, each with the number of values it stands for.
    pub fn weighed(&self) -> Vec<(f64, u64)> {
        let weighed = |(level, values): (usize, &Vec<f64>)| -> Vec<(f64, u64)> {
            values.iter().map(|x| (*x, 1 << level)).collect()
        };
        let mut all: Vec<(f64, u64)> = self.levels.iter().enumerate().flat_map(weighed).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all
    }

    fn stored(&self) -> usize {
        self.levels.iter().map(Vec::len).sum()
    }

    fn room(&self) -> usize {
        (0..self.levels.len()).map(|level| self.capacity(level)).sum()
    }

    fn capacity(&self, level: usize) -> usize {
        let below = self.levels.len() - 1 - level;
        ((SIZE as f64 * SHRINK.powi(below as i32)) as usize).max(SMALLEST)
    }

    /// Halves the lowest level that is full: every second of its values in order goes up.
    fn compress(&mut self) {
        let full =
            (0..self.levels.len()).find(|&level| self.levels[level].len() > self.capacity(level));
        let Some(level) = full else { return };
        if level + 1 == self.levels.len() {
            self.levels.push(Vec::new());
        }
        let mut values = std::mem::take(&mut self.levels[level]);
        values.sort_by(f64::total_cmp);
        // Of an odd number one value stays, so that weights add up.
        if values.len() % 2 == 1
            && let Some(last) = values.pop()
        {
            self.levels[level].push(last);
        }
        let start = mix(self.count ^ ((level as u64) << 56)) as usize & 1;
        self.levels[level + 1].extend(values.iter().skip(start).step_by(2));
    }

    /// The sketch as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.count.to_le_bytes());
        bytes.push(self.levels.len() as u8);
        for level in &self.levels {
            bytes.extend((level.len() as u32).to_le_bytes());
            level.iter().for_each(|x| bytes.extend(x.to_le_bytes()));
        }
        bytes
    }

    /// The sketch of some bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Quantiles, Error> {
        let damaged = || Error::Damaged { ty: "quantile sketch", bytes: bytes.len() };
        let mut rest = bytes;
        let mut take = |count: usize| {
            let (head, tail) = rest.split_at_checked(count).ok_or_else(damaged)?;
            rest = tail;
            Ok::<&[u8], Error>(head)
        };
        if take(1)? != [VERSION] {
            return Err(damaged());
        }
        let number =
            |bytes: &[u8]| bytes.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let count = number(take(8)?);
        let mut levels = Vec::new();
        let mut weight = 0u128;
        for level in 0..take(1)?[0] {
            let length = number(take(4)?) as usize;
            let values: Vec<f64> = take(length.checked_mul(8).ok_or_else(damaged)?)?
                .chunks_exact(8)
                .map(|x| f64::from_bits(number(x)))
                .collect();
            if level >= 64 || !values.iter().all(|x| x.is_finite()) {
                return Err(damaged());
            }
            weight += (length as u128) << level;
            levels.push(values);
        }
        if !rest.is_empty() || weight != u128::from(count) {
            return Err(damaged());
        }
        Ok(Quantiles { count, levels })
    }
}

/// The value below which `share` of the weight lies, between two values by their distance: PostgreSQL's
/// `percentile_cont` of the values, each repeated as often as its weight says. Nothing of nothing.
pub fn percentile(sorted: &[(f64, u64)], share: f64) -> Option<f64> {
    let total: u64 = sorted.iter().map(|(_, weight)| weight).sum();
    if total == 0 {
        return None;
    }
    let place = share * (total - 1) as f64;
    let (below, part) = (place.floor() as u64, place - place.floor());
    let mut passed = 0;
    for (i, &(x, weight)) in sorted.iter().enumerate() {
        passed += weight;
        if below < passed {
            if below + 1 < passed || part == 0.0 {
                return Some(x);
            }
            let next = sorted.get(i + 1).map_or(x, |next| next.0);
            let step = next - x;
            return Some(if step.is_finite() {
                x + part * step
            } else {
                x * (1.0 - part) + next * part
            });
        }
    }
    sorted.last().map(|last| last.0)
}
