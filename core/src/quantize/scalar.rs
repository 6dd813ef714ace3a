//! Scalar quantization to 8, 4 or 2 bits: codes, and the integer kernels over them.
//!
//! A component `y` is stored as the level `u` whose value `v = m * u - c` times the vector's own
//! step is nearest to it. `(m, c)` is (1, 128) for 8 bits, where zero has a level, (2, 15) and
//! (2, 3) for 4 and 2 bits, where the levels lie symmetrically about zero. Values are odd there, so
//! the inner product of two vectors of values fits in `i8` arithmetic as well.
//!
//! With `P` levels to a byte, the code is as long as a `P`th of the vector, its *span*, and byte
//! `i` holds components `i`, `i + span`, …, the first in the lowest bits. So each shift of a block
//! of bytes gives consecutive components. Places past the last component hold the value 1.
#![allow(unsafe_code)]

use crate::isa::{Isa, LANES, Portable, multiversion};

/// Bytes in a block of the integer kernels.
pub const BLOCK: usize = 64;

/// `m` of the level values.
const fn spread(per_byte: usize) -> i32 {
    if per_byte == 1 { 1 } else { 2 }
}

/// `c` of the level values.
pub const fn center(per_byte: usize) -> i32 {
    match per_byte {
        1 => 128,
        2 => 15,
        _ => 3,
    }
}

/// The value of a level.
#[inline(always)]
const fn value<const P: usize>(byte: u8, part: usize) -> i32 {
    let level = if P == 1 { byte } else { byte >> (part * 8 / P) & ((1u16 << (8 / P)) - 1) as u8 };
    spread(P) * level as i32 - center(P)
}

/// Quantizes `components` into `code` and returns the step. `code` is cleared first.
pub fn encode(components: &[f64], per_byte: usize, code: &mut Vec<u8>) -> f32 {
    let largest = components.iter().fold(0.0, |max: f64, y| max.max(y.abs()));
    let top = if per_byte == 1 { 127 } else { center(per_byte) };
    let mut step = (largest / f64::from(top)) as f32;
    if per_byte > 1 {
        step = refined(components, per_byte, step);
    }
    let span = components.len().div_ceil(per_byte);
    code.clear();
    code.resize(span, 0);
    for place in 0..span * per_byte {
        let level = match components.get(place) {
            Some(&y) => level(y, f64::from(step), per_byte),
            None => ((center(per_byte) + 1) / 2) as u8,
        };
        code[place % span] |= level << (place / span * 8 / per_byte);
    }
    step
}

/// The level nearest to `y`.
#[inline]
fn level(y: f64, step: f64, per_byte: usize) -> u8 {
    let (m, c) = (f64::from(spread(per_byte)), f64::from(center(per_byte)));
    let lowest = if per_byte == 1 { 1.0 } else { 0.0 };
    let highest = ((1u32 << (8 / per_byte)) - 1) as f64;
    // A step of zero gives NaN or an infinity, and any level will do.
    ((y / step + c) / m).round().clamp(lowest, highest) as u8
}

/// With few levels the largest component is better cut off than covered: alternates between the
/// best levels for a step and the best step for the levels, from the best step for a normal
/// distribution, and keeps the better of that and the covering step.
fn refined(components: &[f64], per_byte: usize, covering: f32) -> f32 {
    let (m, c) = (f64::from(spread(per_byte)), f64::from(center(per_byte)));
    let error_and_best = |step: f64| {
        let (mut error, mut yv, mut vv) = (0.0, 0.0, 0.0);
        for &y in components {
            let v = m * f64::from(level(y, step, per_byte)) - c;
            error += (y - step * v) * (y - step * v);
            yv += y * v;
            vv += v * v;
        }
        (error, yv / vv)
    };
    let mean_square = components.iter().map(|y| y * y).sum::<f64>() / components.len() as f64;
    let mut step = mean_square.sqrt() * if per_byte == 2 { 0.168 } else { 0.498 };
    for _ in 0..3 {
        step = error_and_best(step).1;
    }
    let better = step > 0.0 && error_and_best(step).0 < error_and_best(f64::from(covering)).0;
    if better { step as f32 } else { covering }
}

/// Calls `each` with every component's place and value.
pub fn decode(code: &[u8], per_byte: usize, dims: usize, mut each: impl FnMut(usize, i32)) {
    let span = dims.div_ceil(per_byte);
    for place in 0..dims {
        let byte = code[place % span];
        let part = place / span;
        each(
            place,
            match per_byte {
                1 => value::<1>(byte, part),
                2 => value::<2>(byte, part),
                _ => value::<4>(byte, part),
            },
        );
    }
}

/// A query as 16-bit integers, each `256 * high + low`: its inner product with a code takes two
/// products of bytes per component and loses nothing that matters.
#[derive(Clone, Debug)]
pub struct Planes {
    /// For each block of bytes, for each part of a byte, the high and the low bytes; zero in the
    /// places past the last component.
    bytes: Vec<[[i8; BLOCK]; 2]>,
    /// The sum of the integers times the center of the levels.
    offset: i64,
    /// A component is about `step` times its integer.
    pub step: f64,
}

impl Planes {
    /// Quantizes the components of a query.
    pub fn new(components: &[f64], per_byte: usize) -> Planes {
        let largest = components.iter().fold(0.0, |max: f64, y| max.max(y.abs()));
        let step = largest / f64::from(127 * 256);
        let span = components.len().div_ceil(per_byte);
        let mut bytes = vec![[[0; BLOCK]; 2]; span.div_ceil(BLOCK) * per_byte];
        let mut sum = 0;
        for (place, y) in components.iter().enumerate() {
            let integer = if step > 0.0 { (y / step).round() as i64 } else { 0 };
            let (part, at) = (place / span, place % span);
            let [high, low] = &mut bytes[at / BLOCK * per_byte + part];
            high[at % BLOCK] = ((integer + 128) >> 8) as i8;
            low[at % BLOCK] = integer as i8;
            sum += integer;
        }
        Planes { bytes, offset: sum * i64::from(center(per_byte)), step }
    }

    /// The component that the integers stand for.
    pub fn component(&self, place: usize, span: usize, per_byte: usize) -> f64 {
        let (part, at) = (place / span, place % span);
        let [high, low] = &self.bytes[at / BLOCK * per_byte + part];
        self.step * (256.0 * f64::from(high[at % BLOCK]) + f64::from(low[at % BLOCK]))
    }

    /// Inner product of the integers with the values of a code as long as the query.
    #[inline]
    pub fn dot<const P: usize>(&self, code: &[u8]) -> f64 {
        let [high, low] = dot_planes::<P>(code, &self.bytes);
        (256 * i64::from(high) + i64::from(low) - self.offset) as f64
    }
}

multiversion! {
    /// Inner products of `m * level` with the high and the low bytes of a query.
    fn dot_planes[const P: usize][P](code: &[u8], planes: &[[[i8; BLOCK]; 2]]) -> [i32; 2]
        = dot_planes_kernel;
    /// Inner product of the values of two codes, the places past the last component included.
    pub fn dot_codes[const P: usize][P](a: &[u8], b: &[u8]) -> i32 = dot_codes_kernel;
    /// Sum of `|query - step * value|` over all places; `query` has a block of components for each
    /// part of a byte.
    pub fn l1_query[const P: usize][P](query: &[f32], code: &[u8], step: f32) -> f32
        = l1_query_kernel;
    /// Sum of `|step * value - step * value|` over all places.
    pub fn l1_codes[const P: usize][P](a: &[u8], a_step: f32, b: &[u8], b_step: f32) -> f32
        = l1_codes_kernel;
}

#[inline(always)]
fn dot_planes_kernel<I: Integers, const P: usize>(
    _: I,
    code: &[u8],
    planes: &[[[i8; BLOCK]; 2]],
) -> [i32; 2] {
    assert_eq!(planes.len(), code.len().div_ceil(BLOCK) * P, "query and code of equal length");
    I::dot_planes::<P>(code, planes)
}

#[inline(always)]
fn dot_codes_kernel<I: Integers, const P: usize>(_: I, a: &[u8], b: &[u8]) -> i32 {
    assert_eq!(a.len(), b.len(), "codes of equal length");
    I::dot_codes::<P>(a, b)
}

#[inline(always)]
fn l1_query_kernel<I: Isa, const P: usize>(_: I, query: &[f32], code: &[u8], step: f32) -> f32 {
    assert_eq!(query.len(), code.len() * P, "query and code of equal length");
    let mut total = 0.0;
    for part in 0..P {
        let query = &query[part * code.len()..][..code.len()];
        let term = |q: f32, byte: u8| I::fma(-step, value::<P>(byte, part) as f32, q).abs();
        total += sum_pairs(query, code, term);
    }
    total
}

#[inline(always)]
fn l1_codes_kernel<I: Isa, const P: usize>(
    _: I,
    a: &[u8],
    a_step: f32,
    b: &[u8],
    b_step: f32,
) -> f32 {
    assert_eq!(a.len(), b.len(), "codes of equal length");
    let mut total = 0.0;
    for part in 0..P {
        let term = |x: u8, y: u8| {
            let (x, y) = (value::<P>(x, part) as f32, value::<P>(y, part) as f32);
            I::fma(a_step, x, -b_step * y).abs()
        };
        total += sum_pairs(a, b, term);
    }
    total
}

/// Sum of `term` over pairs, by lanes.
#[inline(always)]
fn sum_pairs<A: Copy, B: Copy>(a: &[A], b: &[B], term: impl Fn(A, B) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    for (lane, (&a, &b)) in a_tail.iter().zip(b_tail).enumerate() {
        sums[lane] += term(a, b);
    }
    sums.iter().sum()
}

/// The integer kernels. The lengths have been checked to agree.
trait Integers: Isa {
    /// See the function of this name.
    #[inline(always)]
    fn dot_planes<const P: usize>(code: &[u8], planes: &[[[i8; BLOCK]; 2]]) -> [i32; 2] {
        let (blocks, tail) = code.as_chunks::<BLOCK>();
        let mut sums = [0; 2];
        let mut add = |block: &[u8; BLOCK], planes: &[[[i8; BLOCK]; 2]]| {
            for (part, planes) in planes.iter().enumerate() {
                let levels = block.map(|byte| (value::<P>(byte, part) + center(P)) as i16);
                for (sum, plane) in sums.iter_mut().zip(planes) {
                    for (&level, &byte) in levels.iter().zip(plane) {
                        *sum += i32::from(level) * i32::from(i16::from(byte));
                    }
                }
            }
        };
        for (block, planes) in blocks.iter().zip(planes.chunks_exact(P)) {
            add(block, planes);
        }
        if !tail.is_empty() {
            let mut block = [0; BLOCK];
            block[..tail.len()].copy_from_slice(tail);
            add(&block, &planes[blocks.len() * P..]);
        }
        sums
    }

    /// See the function of this name.
    #[inline(always)]
    fn dot_codes<const P: usize>(a: &[u8], b: &[u8]) -> i32 {
        let add = |a: &[u8], b: &[u8]| {
            let mut sum = 0;
            for (&x, &y) in a.iter().zip(b) {
                for part in 0..P {
                    let (x, y) = (value::<P>(x, part) as i16, value::<P>(y, part) as i16);
                    sum += i32::from(x) * i32::from(y);
                }
            }
            sum
        };
        let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<BLOCK>(), b.as_chunks::<BLOCK>());
        a.iter().zip(b).map(|(a, b)| add(a, b)).sum::<i32>() + add(a_tail, b_tail)
    }
}

impl Integers for Portable {}

#[cfg(target_arch = "x86_64")]
impl Integers for crate::isa::Avx2 {}

#[cfg(target_arch = "x86_64")]
impl Integers for crate::isa::Avx512 {
    #[inline(always)]
    fn dot_planes<const P: usize>(code: &[u8], planes: &[[[i8; BLOCK]; 2]]) -> [i32; 2] {
        use std::arch::x86_64::*;
        // SAFETY: only functions compiled for AVX-512 with VNNI name this type, by
        // `multiversion!`. A full load from `code` is of a whole block of it, the last one is
        // masked to its length; every load from `planes` is of one of its elements, of which there
        // are `P` for each block, as the caller has checked.
        unsafe {
            let zero = _mm512_setzero_si512();
            // Two sums of each kind, taken in turn: an addition waits for the one before.
            let mut sums = [[zero; 2]; 2];
            let mut plane = planes.as_ptr();
            let mut turn = 0;
            let mut add = |bytes: __m512i| {
                for part in 0..P {
                    let levels = spread_levels::<P>(bytes, part);
                    let high = _mm512_loadu_si512(plane.cast());
                    let low = _mm512_loadu_si512(plane.cast::<__m512i>().add(1));
                    let [highs, lows] = &mut sums[(turn + part) & 1];
                    *highs = _mm512_dpbusd_epi32(*highs, levels, high);
                    *lows = _mm512_dpbusd_epi32(*lows, levels, low);
                    plane = plane.add(1);
                }
                turn += P & 1;
            };
            let mut at = code.as_ptr();
            let mut left = code.len();
            while left >= 2 * BLOCK {
                add(_mm512_loadu_si512(at.cast()));
                add(_mm512_loadu_si512(at.add(BLOCK).cast()));
                at = at.add(2 * BLOCK);
                left -= 2 * BLOCK;
            }
            if left >= BLOCK {
                add(_mm512_loadu_si512(at.cast()));
                at = at.add(BLOCK);
                left -= BLOCK;
            }
            if left > 0 {
                add(_mm512_maskz_loadu_epi8((1 << left) - 1, at.cast()));
            }
            let [[high0, low0], [high1, low1]] = sums;
            let (high, low) = (_mm512_add_epi32(high0, high1), _mm512_add_epi32(low0, low1));
            let halves =
                |x| _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64::<1>(x));
            let pairs = _mm256_hadd_epi32(halves(high), halves(low));
            let quads =
                _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
            let both = _mm_cvtsi128_si64(_mm_hadd_epi32(quads, quads));
            [both as i32, (both >> 32) as i32]
        }
    }

    #[inline(always)]
    fn dot_codes<const P: usize>(a: &[u8], b: &[u8]) -> i32 {
        use std::arch::x86_64::*;
        // SAFETY: only functions compiled for AVX-512 with VNNI name this type, by
        // `multiversion!`. A full load is of a whole block of a code, the last one is masked to
        // its length; the codes are equally long, as the caller has checked.
        unsafe {
            // (m * u) * v, less c * v: the sum over v * v, without a signed-by-signed product.
            let centers = _mm512_set1_epi8(center(P) as i8);
            let zero = _mm512_setzero_si512();
            let mut products = [zero; 2];
            let mut excess = [zero; 2];
            let mut turn = 0;
            let mut add = |x: __m512i, y: __m512i, mask: u64| {
                for part in 0..P {
                    let levels = spread_levels::<P>(x, part);
                    let values = _mm512_maskz_sub_epi8(mask, spread_levels::<P>(y, part), centers);
                    let this = (turn + part) & 1;
                    products[this] = _mm512_dpbusd_epi32(products[this], levels, values);
                    excess[this] = _mm512_dpbusd_epi32(excess[this], centers, values);
                }
                turn += P & 1;
            };
            let (mut x, mut y) = (a.as_ptr(), b.as_ptr());
            let mut left = a.len();
            while left >= 2 * BLOCK {
                let (x1, y1) = (x.add(BLOCK), y.add(BLOCK));
                add(_mm512_loadu_si512(x.cast()), _mm512_loadu_si512(y.cast()), !0);
                add(_mm512_loadu_si512(x1.cast()), _mm512_loadu_si512(y1.cast()), !0);
                (x, y) = (x1.add(BLOCK), y1.add(BLOCK));
                left -= 2 * BLOCK;
            }
            if left >= BLOCK {
                add(_mm512_loadu_si512(x.cast()), _mm512_loadu_si512(y.cast()), !0);
                (x, y) = (x.add(BLOCK), y.add(BLOCK));
                left -= BLOCK;
            }
            if left > 0 {
                let mask = (1 << left) - 1;
                let x = _mm512_maskz_loadu_epi8(mask, x.cast());
                add(x, _mm512_maskz_loadu_epi8(mask, y.cast()), mask);
            }
            let products = _mm512_add_epi32(products[0], products[1]);
            let excess = _mm512_add_epi32(excess[0], excess[1]);
            _mm512_reduce_add_epi32(_mm512_sub_epi32(products, excess))
        }
    }
}

/// `m * level` of one part of each byte.
///
/// # Safety
/// Only for functions compiled for AVX-512 BW.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn spread_levels<const P: usize>(
    bytes: std::arch::x86_64::__m512i,
    part: usize,
) -> std::arch::x86_64::__m512i {
    use std::arch::x86_64::*;
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        if P == 1 {
            return bytes;
        }
        // The level doubled: shifted so that its lowest bit is bit 1, and its neighbours masked.
        let shifted = match part * 8 / P {
            0 => _mm512_slli_epi16::<1>(bytes),
            2 => _mm512_srli_epi16::<1>(bytes),
            4 => _mm512_srli_epi16::<3>(bytes),
            _ => _mm512_srli_epi16::<5>(bytes),
        };
        _mm512_and_si512(shifted, _mm512_set1_epi8(if P == 2 { 0x1e } else { 0x06 }))
    }
}
