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
// Index loops over lanes are the form that is sure to become vector code.
#![allow(clippy::needless_range_loop)]

use crate::isa::{Isa, LANES, Portable, multiversion};

#[cfg(target_arch = "x86_64")]
mod vnni;

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
    let inverse = 1.0 / f64::from(step);
    let pad = ((center(per_byte) + 1) / 2) as u8;
    code.clear();
    code.resize(span, 0);
    for part in 0..per_byte {
        let shift = part * 8 / per_byte;
        let from = (part * span).min(components.len());
        let present = &components[from..(from + span).min(components.len())];
        for (byte, &y) in code.iter_mut().zip(present) {
            *byte |= level(y, inverse, per_byte) << shift;
        }
        for byte in &mut code[present.len()..] {
            *byte |= pad << shift;
        }
    }
    step
}

/// The level nearest to `y`, given one over the step.
#[inline(always)]
fn level(y: f64, inverse: f64, per_byte: usize) -> u8 {
    let (m, c) = (f64::from(spread(per_byte)), f64::from(center(per_byte)));
    let lowest = if per_byte == 1 { 1.0 } else { 0.0 };
    let highest = ((1u32 << (8 / per_byte)) - 1) as f64;
    // A step of zero gives NaN or an infinity, and any level will do. The cast rounds towards zero,
    // which is down here, and saves a call of the library's rounding.
    (((y * inverse + c) * (1.0 / m)).max(lowest).min(highest) + 0.5) as u8
}

/// With few levels the largest component is better cut off than covered: alternates between the
/// best levels for a step and the best step for the levels, from the best step for a normal
/// distribution, and keeps the better of that and the covering step.
fn refined(components: &[f64], per_byte: usize, covering: f32) -> f32 {
    let (m, c) = (f64::from(spread(per_byte)), f64::from(center(per_byte)));
    let error_and_best = |step: f64| {
        let (mut error, mut yv, mut vv) = (0.0, 0.0, 0.0);
        let inverse = 1.0 / step;
        for &y in components {
            let v = m * f64::from(level(y, inverse, per_byte)) - c;
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
#[inline(always)]
pub fn decode(code: &[u8], per_byte: usize, dims: usize, each: impl FnMut(usize, i32)) {
    match per_byte {
        1 => decode_parts::<1>(code, dims, each),
        2 => decode_parts::<2>(code, dims, each),
        _ => decode_parts::<4>(code, dims, each),
    }
}

#[inline(always)]
fn decode_parts<const P: usize>(code: &[u8], dims: usize, mut each: impl FnMut(usize, i32)) {
    let span = dims.div_ceil(P);
    for part in 0..P {
        for (place, &byte) in (part * span..dims).zip(&code[..span]) {
            each(place, value::<P>(byte, part));
        }
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
    let (mut sums, mut rest) = (I::splat(0.0), 0.0);
    let (blocks, tail) = code.as_chunks::<LANES>();
    for part in 0..P {
        let query = &query[part * code.len()..][..code.len()];
        let (query, query_tail) = query.as_chunks::<LANES>();
        for (q, bytes) in query.iter().zip(blocks) {
            let difference = I::fma(I::splat(-step), values::<I, P>(bytes, part), I::load(q));
            sums = I::add(sums, I::abs(difference));
        }
        for (&q, &byte) in query_tail.iter().zip(tail) {
            rest += (q - step * value::<P>(byte, part) as f32).abs();
        }
    }
    I::total(sums) + rest
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
    let (mut sums, mut rest) = (I::splat(0.0), 0.0);
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for part in 0..P {
        for (a, b) in a.iter().zip(b) {
            let other = I::mul(values::<I, P>(b, part), I::splat(-b_step));
            let difference = I::fma(values::<I, P>(a, part), I::splat(a_step), other);
            sums = I::add(sums, I::abs(difference));
        }
        for (&a, &b) in a_tail.iter().zip(b_tail) {
            let (x, y) = (value::<P>(a, part) as f32, value::<P>(b, part) as f32);
            rest += (a_step * x - b_step * y).abs();
        }
    }
    I::total(sums) + rest
}

/// The values in one part of each byte.
#[inline(always)]
fn values<I: Isa, const P: usize>(bytes: &[u8; LANES], part: usize) -> I::Lanes {
    let mut levels = *bytes;
    if P > 1 {
        for level in &mut levels {
            *level = *level >> (part * 8 / P) & ((1u16 << (8 / P)) - 1) as u8;
        }
    }
    let center = I::splat(-center(P) as f32);
    I::fma(I::load_bytes(&levels), I::splat(spread(P) as f32), center)
}

/// The integer kernels. The lengths have been checked to agree.
trait Integers: Isa {
    /// See the function of this name.
    #[inline(always)]
    fn dot_planes<const P: usize>(code: &[u8], planes: &[[[i8; BLOCK]; 2]]) -> [i32; 2] {
        let (blocks, tail) = code.as_chunks::<BLOCK>();
        let mut sums = [0; 2];
        for (block, planes) in blocks.iter().zip(planes.chunks_exact(P)) {
            add_planes::<P>(&mut sums, block, planes);
        }
        if !tail.is_empty() {
            let mut block = [0; BLOCK];
            block[..tail.len()].copy_from_slice(tail);
            add_planes::<P>(&mut sums, &block, &planes[blocks.len() * P..]);
        }
        sums
    }

    /// See the function of this name.
    #[inline(always)]
    fn dot_codes<const P: usize>(a: &[u8], b: &[u8]) -> i32 {
        let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<BLOCK>(), b.as_chunks::<BLOCK>());
        let mut sum = 0;
        for (a, b) in a.iter().zip(b) {
            for part in 0..P {
                for i in 0..BLOCK {
                    sum += product::<P>(a[i], b[i], part);
                }
            }
        }
        for (&a, &b) in a_tail.iter().zip(b_tail) {
            for part in 0..P {
                sum += product::<P>(a, b, part);
            }
        }
        sum
    }
}

#[inline(always)]
fn add_planes<const P: usize>(
    [high, low]: &mut [i32; 2],
    block: &[u8; BLOCK],
    planes: &[[[i8; BLOCK]; 2]],
) {
    for (part, [highs, lows]) in planes.iter().enumerate() {
        for i in 0..BLOCK {
            let level = (value::<P>(block[i], part) + center(P)) as i16;
            *high += i32::from(level) * i32::from(i16::from(highs[i]));
            *low += i32::from(level) * i32::from(i16::from(lows[i]));
        }
    }
}

#[inline(always)]
fn product<const P: usize>(a: u8, b: u8, part: usize) -> i32 {
    let (a, b) = (value::<P>(a, part) as i16, value::<P>(b, part) as i16);
    i32::from(a) * i32::from(b)
}

impl Integers for Portable {}

#[cfg(target_arch = "x86_64")]
impl Integers for crate::isa::Avx2 {}

#[cfg(target_arch = "x86_64")]
impl Integers for crate::isa::Avx512 {
    #[inline(always)]
    fn dot_planes<const P: usize>(code: &[u8], planes: &[[[i8; BLOCK]; 2]]) -> [i32; 2] {
        // SAFETY: only functions compiled for AVX-512 with VNNI name this type, by
        // `multiversion!`; the caller has checked the lengths.
        unsafe { vnni::dot_planes::<P>(code, planes) }
    }

    #[inline(always)]
    fn dot_codes<const P: usize>(a: &[u8], b: &[u8]) -> i32 {
        // SAFETY: as above.
        unsafe { vnni::dot_codes::<P>(a, b) }
    }
}
