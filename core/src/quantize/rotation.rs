//! A random rotation that is quick to apply: what makes every coordinate of a vector alike.
//!
//! Four rounds of random signs and a Walsh-Hadamard transform over the largest power of two of
//! coordinates that fits, in turn the first and the last ones; where that leaves coordinates out,
//! each second round ends with a rotation by 45 degrees of every coordinate with the one half the
//! length further on, a step of Kac's walk. The length is the dimensions rounded up to a multiple
//! of 64, not to a power of two.
//!
//! Sums and products are not fused, so the result is the same on every processor and an index may
//! be read by another one than wrote it. The exact transform is orthogonal; what rounding adds is
//! bounded by [`Rotation::slack`].
#![allow(unsafe_code)]
// Index loops over lanes are the form that is sure to become vector code.
#![allow(clippy::needless_range_loop)]

use std::f32::consts::FRAC_1_SQRT_2;

use crate::Error;
use crate::isa::{Isa, LANES, Portable, multiversion};

/// Coordinates of a rotated vector come in blocks of this many.
pub const GROUP: usize = 64;

/// Even, so that the first and the last coordinates are transformed equally often.
const ROUNDS: usize = 4;

/// The most coordinates for which sums of products of bytes fit in 32 bits.
const MAX_PADDED: usize = 1 << 16;

/// An orthogonal transform of vectors of one column, fixed by a seed.
#[derive(Clone, Debug)]
pub struct Rotation {
    dims: usize,
    padded: usize,
    /// For each round and coordinate the sign bit to flip, or zero.
    flips: Vec<u32>,
}

impl Rotation {
    /// The rotation of `dims` dimensions with this seed. Index formats depend on the result.
    pub fn new(dims: usize, seed: u64) -> Result<Rotation, Error> {
        let padded = dims.next_multiple_of(GROUP);
        if dims == 0 || padded > MAX_PADDED {
            return Err(Error::Argument {
                name: "dimensions",
                range: "between 1 and 65536",
                value: dims as f64,
            });
        }
        let mut state = seed;
        let mut flips = Vec::with_capacity(ROUNDS * padded);
        for _ in 0..ROUNDS * padded / 64 {
            let bits = split_mix(&mut state);
            flips.extend((0..64).map(|i| ((bits >> i & 1) as u32) << 31));
        }
        Ok(Rotation { dims, padded, flips })
    }

    /// Number of dimensions of what is rotated.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Number of coordinates of the result, a multiple of 64.
    pub fn padded(&self) -> usize {
        self.padded
    }

    /// Rotates `x`, `dims` numbers followed by zeros up to `padded`.
    ///
    /// # Panics
    /// If `x` is not `padded` long.
    pub fn apply(&self, x: &mut [f32]) {
        assert_eq!(x.len(), self.padded, "coordinates of a rotated vector");
        rotate(x, &self.flips);
    }

    /// Rotates back.
    ///
    /// # Panics
    /// If `x` is not `padded` long.
    pub fn invert(&self, x: &mut [f32]) {
        assert_eq!(x.len(), self.padded, "coordinates of a rotated vector");
        rotate_back(x, &self.flips);
    }

    /// How far the result may be from the exact transform of a vector of this norm: each stage adds
    /// at most half a unit in the last place of each of its results, the factor of the transform
    /// and its product another each, and scaling down loses what is below the smallest number.
    pub fn slack(&self, norm: f64) -> f64 {
        let stages = ROUNDS as f64 * f64::from(self.padded.ilog2() + 5);
        stages * 1.01 * f64::from(f32::EPSILON / 2.0) * norm
            + 3e-45 * ROUNDS as f64 * self.padded as f64
    }
}

/// The next number of the generator SplitMix64 (Steele, Lea and Flood 2014), written out because
/// index formats depend on it.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

multiversion! {
    fn rotate[][](x: &mut [f32], flips: &[u32]) -> () = rotate_kernel;
    fn rotate_back[][](x: &mut [f32], flips: &[u32]) -> () = rotate_back_kernel;
}

#[inline(always)]
fn rotate_kernel<I: Stages>(_: I, x: &mut [f32], flips: &[u32]) {
    let window = 1 << x.len().ilog2();
    for round in 0..ROUNDS {
        flip(x, &flips[round * x.len()..][..x.len()]);
        hadamard::<I>(part(x, window, round));
        if window < x.len() && round % 2 == 1 {
            butterfly::<I>(x);
        }
    }
}

#[inline(always)]
fn rotate_back_kernel<I: Stages>(_: I, x: &mut [f32], flips: &[u32]) {
    let window = 1 << x.len().ilog2();
    for round in (0..ROUNDS).rev() {
        if window < x.len() && round % 2 == 1 {
            butterfly::<I>(x);
        }
        hadamard::<I>(part(x, window, round));
        flip(x, &flips[round * x.len()..][..x.len()]);
    }
}

/// The coordinates that a round transforms.
#[inline(always)]
fn part(x: &mut [f32], window: usize, round: usize) -> &mut [f32] {
    let from = if round.is_multiple_of(2) { 0 } else { x.len() - window };
    &mut x[from..from + window]
}

#[inline(always)]
fn flip(x: &mut [f32], flips: &[u32]) {
    for i in 0..x.len().min(flips.len()) {
        x[i] = f32::from_bits(x[i].to_bits() ^ flips[i]);
    }
}

/// Rotates pairs of coordinates, half the length apart, by 45 degrees.
#[inline(always)]
fn butterfly<I: Isa>(x: &mut [f32]) {
    let (low, high) = x.split_at_mut(x.len() / 2);
    let (low, high) = (low.as_chunks_mut::<LANES>().0, high.as_chunks_mut::<LANES>().0);
    for (low, high) in low.iter_mut().zip(high) {
        let (a, b) = (I::load(low), I::load(high));
        let scale = I::splat(FRAC_1_SQRT_2);
        *low = I::store(I::mul(I::add(a, b), scale));
        *high = I::store(I::mul(I::sub(a, b), scale));
    }
}

/// The orthonormal Walsh-Hadamard transform, which is its own inverse.
#[inline(always)]
fn hadamard<I: Stages>(x: &mut [f32]) {
    let exponent = x.len().ilog2();
    let odd = if exponent.is_multiple_of(2) { 1.0 } else { FRAC_1_SQRT_2 };
    let scale = I::splat(odd / (1 << (exponent / 2)) as f32);
    let (blocks, _) = x.as_chunks_mut::<LANES>();
    for block in blocks.iter_mut() {
        *block = I::store(I::stages(I::mul(I::load(block), scale)));
    }
    let mut half = 1;
    while half < blocks.len() {
        for pair in blocks.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                let (a, b) = (I::load(low), I::load(high));
                *low = I::store(I::add(a, b));
                *high = I::store(I::sub(a, b));
            }
        }
        half *= 2;
    }
}

/// The stages of the transform within a vector of lanes.
trait Stages: Isa {
    /// Sums and differences of lanes 1, 2, 4 and 8 apart.
    fn stages(lanes: Self::Lanes) -> Self::Lanes;
}

impl Stages for Portable {
    #[inline(always)]
    fn stages(lanes: [f32; LANES]) -> [f32; LANES] {
        stage::<8>(stage::<4>(stage::<2>(stage::<1>(lanes))))
    }
}

#[inline(always)]
fn stage<const H: usize>(lanes: [f32; LANES]) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    for i in 0..LANES {
        let (a, b) = (lanes[i & !H], lanes[i | H]);
        out[i] = if i & H == 0 { a + b } else { a - b };
    }
    out
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! A stage is the swapped lanes plus the lanes with the sign of the upper ones flipped.
    //!
    //! SAFETY, for every block: only functions compiled for the features name these types, by
    //! `multiversion!`.

    use std::arch::x86_64::*;

    use super::Stages;
    use crate::isa::{Avx2, Avx512};

    impl Stages for Avx2 {
        #[inline(always)]
        fn stages([mut a, mut b]: [__m256; 2]) -> [__m256; 2] {
            // SAFETY: see the head of this module.
            unsafe {
                let (n, p) = (-0.0, 0.0);
                let by_one = _mm256_setr_ps(p, n, p, n, p, n, p, n);
                let by_two = _mm256_setr_ps(p, p, n, n, p, p, n, n);
                let by_four = _mm256_setr_ps(p, p, p, p, n, n, n, n);
                for x in [&mut a, &mut b] {
                    *x = _mm256_add_ps(_mm256_permute_ps::<0xb1>(*x), _mm256_xor_ps(*x, by_one));
                    *x = _mm256_add_ps(_mm256_permute_ps::<0x4e>(*x), _mm256_xor_ps(*x, by_two));
                    let swapped = _mm256_permute2f128_ps::<1>(*x, *x);
                    *x = _mm256_add_ps(swapped, _mm256_xor_ps(*x, by_four));
                }
                [_mm256_add_ps(a, b), _mm256_sub_ps(a, b)]
            }
        }
    }

    impl Stages for Avx512 {
        #[inline(always)]
        fn stages(mut x: __m512) -> __m512 {
            // SAFETY: see the head of this module.
            unsafe {
                let sign = _mm512_set1_ps(-0.0);
                let swapped = _mm512_permute_ps::<0xb1>(x);
                x = _mm512_add_ps(swapped, _mm512_mask_xor_ps(x, 0xaaaa, x, sign));
                let swapped = _mm512_permute_ps::<0x4e>(x);
                x = _mm512_add_ps(swapped, _mm512_mask_xor_ps(x, 0xcccc, x, sign));
                let swapped = _mm512_shuffle_f32x4::<0xb1>(x, x);
                x = _mm512_add_ps(swapped, _mm512_mask_xor_ps(x, 0xf0f0, x, sign));
                let swapped = _mm512_shuffle_f32x4::<0x4e>(x, x);
                _mm512_add_ps(swapped, _mm512_mask_xor_ps(x, 0xff00, x, sign))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{self, Level};

    fn sample(dims: usize, padded: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = |_| split_mix(&mut state) as i64 as f32 / i64::MAX as f32;
        let mut x: Vec<f32> = (0..dims).map(&mut next).collect();
        x.resize(padded, 0.0);
        x
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }

    #[test]
    fn inner_products_stay_and_the_inverse_is_one() {
        for dims in [1, 3, 64, 65, 100, 128, 192, 300, 384, 768, 960, 1000, 1536, 3072, 16000] {
            let rotation = Rotation::new(dims, dims as u64).unwrap();
            let (a, b) = (sample(dims, rotation.padded(), 1), sample(dims, rotation.padded(), 2));
            let (mut x, mut y) = (a.clone(), b.clone());
            rotation.apply(&mut x);
            rotation.apply(&mut y);
            let (size, expected) = (dot(&a, &a).sqrt(), dot(&a, &b));
            let slack = rotation.slack(size);
            assert!((dot(&x, &x).sqrt() - size).abs() <= slack, "{dims}");
            let norms = size + dot(&b, &b).sqrt();
            assert!((dot(&x, &y) - expected).abs() <= norms * rotation.slack(norms), "{dims}");
            rotation.invert(&mut x);
            let lost: Vec<f32> = x.iter().zip(&a).map(|(x, a)| x - a).collect();
            assert!(dot(&lost, &lost).sqrt() <= 2.0 * slack, "{dims}");
        }
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        for dims in [50, 384, 960] {
            let rotation = Rotation::new(dims, 5).unwrap();
            let mut results = [Level::Portable, Level::Avx2, Level::Avx512].map(|level| {
                isa::limit(level);
                let mut x = sample(dims, rotation.padded(), 9);
                rotation.apply(&mut x);
                x
            });
            assert_eq!(results[0], results[1]);
            assert_eq!(results[0], results[2]);
            results[0].clear();
        }
        isa::limit(Level::Avx512);
    }

    #[test]
    fn a_unit_vector_is_spread_over_all_coordinates() {
        for dims in [100usize, 384, 704, 960, 1536] {
            let rotation = Rotation::new(dims, 3).unwrap();
            let mut largest = 0.0f32;
            for axis in 0..dims {
                let mut x = vec![0.0; rotation.padded()];
                x[axis] = 1.0;
                rotation.apply(&mut x);
                largest = x.iter().fold(largest, |max, x| max.max(x.abs()));
            }
            // Among a million normal numbers of this deviation hardly one is larger.
            let deviation = 1.0 / (rotation.padded() as f32).sqrt();
            assert!(largest < 6.0 * deviation, "{dims}: {}", largest / deviation);
        }
    }
}
