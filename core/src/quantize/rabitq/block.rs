//! Blocks of 32 signs, turned so that one shuffle looks up a nibble of sixteen vectors (the fast
//! scan of André et al., VLDB 2015).
//!
//! # Format of the codes
//! For each 16 coordinates a chunk of 64 bytes: byte `16 j + i` has the signs of coordinates `4 j`
//! to `4 j + 3` of vector `i` in its low nibble and of vector `i + 16` in its high nibble. A block
//! of fewer vectors has zeros for the rest. `4 * padded` bytes in all.
//!
//! # Format of the factors
//! [`BlockFactors`], 196 bytes: of the 32 scales, of the biases and of the errors, half-precision
//! numbers that share a power of two, so that the largest of each kind has eleven good bits.
// Index loops over lanes are the form that is sure to become vector code.
#![allow(clippy::needless_range_loop)]
#![allow(unsafe_code)]

use half::f16;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unalign, Unaligned};

use super::super::Factors;
use super::{List, Query, kernels};
use crate::isa::{Isa, LANES, Lane, multiversion};

/// Vectors in a block.
pub const BLOCK: usize = 32;

/// Bytes of a block for 16 coordinates.
pub const CHUNK: usize = 64;

/// The factors of a block's signs, as they are stored.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BlockFactors {
    /// Powers of two of the scales, the biases and the errors, and a zero.
    exponents: [i8; 4],
    /// Scales, biases, errors; the last rounded up.
    numbers: [[Unalign<f16>; BLOCK]; 3],
}

const _: () = assert!(size_of::<BlockFactors>() == 196);

/// What a block tells of its vectors.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct BlockScores {
    /// Estimates of the scores.
    pub estimates: [f32; BLOCK],
    /// What the scores are not below, likely.
    pub lower: [f32; BLOCK],
}

impl Default for BlockScores {
    fn default() -> BlockScores {
        BlockScores { estimates: [0.0; BLOCK], lower: [0.0; BLOCK] }
    }
}

impl BlockScores {
    /// The vectors whose lower end is below `limit`, the first in the lowest bit.
    #[inline]
    pub fn below(&self, limit: f32) -> u32 {
        kernels::below(&self.lower, limit)
    }
}

impl BlockFactors {
    /// The factors of up to 32 vectors.
    ///
    /// # Panics
    /// If there are more.
    pub fn pack(factors: &[Factors]) -> BlockFactors {
        assert!(factors.len() <= BLOCK, "vectors of a block");
        let mut out = BlockFactors::new_zeroed();
        let parts: [fn(&Factors) -> f32; 3] = [|f| f.scale, |f| f.bias, |f| f.error];
        for (kind, part) in parts.into_iter().enumerate() {
            let largest = factors.iter().map(|f| part(f).abs()).filter(|x| x.is_finite());
            let largest = largest.fold(0.0, f32::max);
            // To where half precision ends, at 65,504, with room to round up.
            let exponent =
                if largest > 0.0 { largest.log2().floor().max(-110.0) as i32 - 14 } else { 0 };
            out.exponents[kind] = exponent as i8;
            let unit = f64::from(exponent).exp2();
            for (place, f) in out.numbers[kind].iter_mut().zip(factors) {
                let exact = f64::from(part(f)) / unit;
                let near = f16::from_f64(exact);
                let up = kind == 2 && f64::from(near) < exact;
                *place = Unalign::new(if up { f16::from_bits(near.to_bits() + 1) } else { near });
            }
        }
        out
    }

    /// The factors of one vector.
    ///
    /// # Panics
    /// If `slot` is not below 32.
    pub fn get(&self, slot: usize) -> Factors {
        let [scale, bias, error] =
            [0, 1, 2].map(|kind| self.numbers[kind][slot].get().to_f32() * self.unit(kind));
        Factors { scale, bias, error }
    }

    /// The power of two of one kind of factor.
    fn unit(&self, kind: usize) -> f32 {
        f32::from_bits(((i32::from(self.exponents[kind]).clamp(-126, 127) + 127) as u32) << 23)
    }
}

/// Turns the signs of up to 32 vectors into the codes of a block, which are cleared first.
///
/// # Panics
/// If there are more, or if they are not of one length.
pub fn pack<'a>(signs: impl IntoIterator<Item = &'a [u8]>, padded: usize, codes: &mut Vec<u8>) {
    codes.clear();
    codes.resize(4 * padded, 0);
    for (slot, signs) in signs.into_iter().enumerate() {
        set(codes, slot, signs);
    }
}

/// Puts the signs of a vector in a slot of a block that has been empty.
///
/// # Panics
/// If `slot` is not below 32 or `signs` not of the block's length.
pub fn set(codes: &mut [u8], slot: usize, signs: &[u8]) {
    assert!(slot < BLOCK && codes.len() == BLOCK * signs.len(), "place in a block");
    let (at, shift) = (slot % 16, slot / 16 * 4);
    let (pairs, _) = codes.as_chunks_mut::<32>();
    for (pair, byte) in pairs.iter_mut().zip(signs) {
        pair[at] |= (byte & 15) << shift;
        pair[16 + at] |= (byte >> 4) << shift;
    }
}

/// The signs of the vector in a slot, into `signs`, which is cleared first.
///
/// # Panics
/// If `slot` is not below 32.
pub fn get(codes: &[u8], slot: usize, signs: &mut Vec<u8>) {
    assert!(slot < BLOCK, "place in a block");
    let (at, shift) = (slot % 16, slot / 16 * 4);
    signs.clear();
    let (pairs, _) = codes.as_chunks::<32>();
    signs.extend(pairs.iter().map(|p| p[at] >> shift & 15 | (p[16 + at] >> shift & 15) << 4));
}

/// The tables of a query: for each four coordinates the sums of the subsets of its components.
#[derive(Clone, Default, Debug)]
pub struct Tables {
    /// 16 bytes for each four coordinates, in the order of a block.
    bytes: Vec<u8>,
    /// An inner product with values is `base + step * sum`.
    base: f32,
    step: f32,
}

impl Tables {
    /// The tables of integers whose unit is `unit`; `sum` is the sum of all of them.
    pub fn new(integers: &[i32], sum: i64, unit: f64) -> Tables {
        let (fours, _) = integers.as_chunks::<4>();
        let range = |four: &[i32; 4]| four.iter().map(|x| x.abs()).sum::<i32>();
        let widest = fours.iter().map(range).max().unwrap_or(0).max(1);
        let step = f64::from(widest) / 255.0;
        let mut bytes = Vec::with_capacity(16 * fours.len());
        let mut lowest = 0i64;
        for four in fours {
            let least: i32 = four.iter().filter(|x| **x < 0).sum();
            lowest += i64::from(least);
            let mut subset = [0i32; 16];
            for nibble in 1..16usize {
                let bit = nibble.trailing_zeros() as usize;
                subset[nibble] = subset[nibble & (nibble - 1)] + four[bit];
            }
            let inverse = 1.0 / step;
            bytes.extend(subset.map(|s| (f64::from(s - least) * inverse + 0.5) as u8));
        }
        let base = ((lowest as f64 - sum as f64 / 2.0) * unit) as f32;
        Tables { bytes, base, step: (step * unit) as f32 }
    }

    /// For each vector of a block the sum of the bytes that its signs select.
    ///
    /// # Panics
    /// If the block has not as many coordinates as the query.
    #[inline]
    pub fn look_up(&self, codes: &[u8]) -> [u32; BLOCK] {
        kernels::look_up(codes, &self.bytes)
    }
}

impl Query {
    /// The tables by which blocks are scored.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Scores the vectors of a block by their signs. `epsilon` is how many standard deviations the
    /// lower ends are below the estimates; 1.9 loses one in some hundreds (Gao and Long 2024,
    /// section 5.2.4).
    ///
    /// # Panics
    /// If the block has not as many coordinates as the query.
    #[inline]
    pub fn score_block(
        &self,
        list: &List,
        epsilon: f32,
        codes: &[u8],
        factors: &BlockFactors,
        out: &mut BlockScores,
    ) {
        let sums = self.tables.look_up(codes);
        let multiple = -self.multiple as f32;
        let terms = Terms {
            base: list.base as f32,
            dot_base: self.tables.base * multiple,
            dot_step: self.tables.step * multiple,
            spread: list.distance as f32 * epsilon,
        };
        finish(&sums, factors, &terms, out);
    }
}

/// What the scores of a block have in common.
#[derive(Clone, Copy)]
struct Terms {
    base: f32,
    dot_base: f32,
    dot_step: f32,
    spread: f32,
}

multiversion! {
    /// From sums to scores.
    fn finish[][](
        sums: &[u32; BLOCK],
        factors: &BlockFactors,
        terms: &Terms,
        out: &mut BlockScores,
    ) -> () = finish_kernel;
}

#[inline(always)]
fn finish_kernel<I: Isa>(
    _: I,
    sums: &[u32; BLOCK],
    factors: &BlockFactors,
    terms: &Terms,
    out: &mut BlockScores,
) {
    let mut numbers = [[I::splat(0.0); 2]; 3];
    for kind in 0..3 {
        let (halves, _) = factors.numbers[kind].as_chunks::<LANES>();
        for half in 0..2 {
            let wide = Unalign::<f16>::widen::<I>(&halves[half]);
            numbers[kind][half] = I::mul(wide, I::splat(factors.unit(kind)));
        }
    }
    for half in 0..2 {
        let mut floats = [0.0; LANES];
        for i in 0..LANES {
            // Sums stay far below the numbers that single precision can tell apart.
            floats[i] = sums[half * LANES + i] as i32 as f32;
        }
        let [scale, bias, error] = [numbers[0][half], numbers[1][half], numbers[2][half]];
        let dot = I::fma(I::load(&floats), I::splat(terms.dot_step), I::splat(terms.dot_base));
        let estimate = I::fma(dot, scale, I::add(bias, I::splat(terms.base)));
        let lower = I::fma(error, I::splat(-terms.spread), estimate);
        let (estimate, lower) = (I::store(estimate), I::store(lower));
        for i in 0..LANES {
            let at = half * LANES + i;
            // NaN, of infinite numbers, is no score and no bound.
            out.estimates[at] =
                if estimate[i] < f32::INFINITY { estimate[i] } else { f32::INFINITY };
            out.lower[at] = if lower[i] > f32::NEG_INFINITY { lower[i] } else { f32::NEG_INFINITY };
        }
    }
}

#[cfg(test)]
impl Query {
    /// The step of the tables' bytes.
    pub fn tables_step(&self) -> f32 {
        self.tables.step
    }
}
