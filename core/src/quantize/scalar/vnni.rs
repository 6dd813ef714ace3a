//! The integer kernels in AVX-512 with VNNI: products of bytes, four at a time, into `i32` sums.
//!
//! Everything here is `#[inline(always)]`, so that it is compiled for the instruction set of the
//! function that it ends up in.

use std::arch::x86_64::*;

use super::{BLOCK, center};

/// Inner products of `m * level` with both bytes of the query's integers.
///
/// # Safety
/// For functions compiled for AVX-512 BW and VNNI. `planes` has `P` elements for each block of
/// `code`, the last begun one included.
#[inline(always)]
pub unsafe fn dot_planes<const P: usize>(code: &[u8], planes: &[[[i8; BLOCK]; 2]]) -> [i32; 2] {
    // SAFETY: full loads from `code` are of whole blocks of it, the last is masked to its length;
    // the caller vouches for the planes and the instruction set.
    unsafe {
        // Two sums of each kind, taken in turn: an addition waits for the one before.
        let mut sums = [[_mm512_setzero_si512(); 2]; 2];
        let mut plane = planes.as_ptr();
        let mut at = code.as_ptr();
        let mut left = code.len();
        while left >= 2 * BLOCK {
            add_planes::<P>(&mut sums, 0, _mm512_loadu_si512(at.cast()), plane);
            add_planes::<P>(&mut sums, 1, _mm512_loadu_si512(at.add(BLOCK).cast()), plane.add(P));
            at = at.add(2 * BLOCK);
            plane = plane.add(2 * P);
            left -= 2 * BLOCK;
        }
        if left >= BLOCK {
            add_planes::<P>(&mut sums, 0, _mm512_loadu_si512(at.cast()), plane);
            at = at.add(BLOCK);
            plane = plane.add(P);
            left -= BLOCK;
        }
        if left > 0 {
            let bytes = _mm512_maskz_loadu_epi8((1 << left) - 1, at.cast());
            add_planes::<P>(&mut sums, 1, bytes, plane);
        }
        let high = halves(_mm512_add_epi32(sums[0][0], sums[1][0]));
        let low = halves(_mm512_add_epi32(sums[0][1], sums[1][1]));
        let pairs = _mm256_hadd_epi32(high, low);
        let quads =
            _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
        let both = _mm_cvtsi128_si64(_mm_hadd_epi32(quads, quads));
        [both as i32, (both >> 32) as i32]
    }
}

/// Adds a block's products.
///
/// # Safety
/// For functions compiled for AVX-512 BW and VNNI. `plane` has `P` elements.
#[inline(always)]
unsafe fn add_planes<const P: usize>(
    sums: &mut [[__m512i; 2]; 2],
    turn: usize,
    bytes: __m512i,
    plane: *const [[i8; BLOCK]; 2],
) {
    for part in 0..P {
        // SAFETY: the caller vouches for the elements and the instruction set.
        unsafe {
            let levels = spread_levels::<P>(bytes, part);
            let plane: *const __m512i = plane.add(part).cast();
            let [high, low] = &mut sums[(turn + part) & 1];
            *high = _mm512_dpbusd_epi32(*high, levels, _mm512_loadu_si512(plane));
            *low = _mm512_dpbusd_epi32(*low, levels, _mm512_loadu_si512(plane.add(1)));
        }
    }
}

/// Inner product of the values of two codes.
///
/// # Safety
/// For functions compiled for AVX-512 BW and VNNI. The codes are equally long.
#[inline(always)]
pub unsafe fn dot_codes<const P: usize>(a: &[u8], b: &[u8]) -> i32 {
    // SAFETY: full loads are of whole blocks of both codes, the last are masked to their length;
    // the caller vouches for the instruction set.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); 2]; 2];
        let (mut x, mut y) = (a.as_ptr(), b.as_ptr());
        let mut left = a.len();
        while left >= 2 * BLOCK {
            let (x1, y1) = (x.add(BLOCK), y.add(BLOCK));
            let (x0, y0) = (_mm512_loadu_si512(x.cast()), _mm512_loadu_si512(y.cast()));
            add_codes::<P>(&mut sums, 0, x0, y0, !0);
            let (x0, y0) = (_mm512_loadu_si512(x1.cast()), _mm512_loadu_si512(y1.cast()));
            add_codes::<P>(&mut sums, 1, x0, y0, !0);
            (x, y) = (x1.add(BLOCK), y1.add(BLOCK));
            left -= 2 * BLOCK;
        }
        if left >= BLOCK {
            let (x0, y0) = (_mm512_loadu_si512(x.cast()), _mm512_loadu_si512(y.cast()));
            add_codes::<P>(&mut sums, 0, x0, y0, !0);
            (x, y) = (x.add(BLOCK), y.add(BLOCK));
            left -= BLOCK;
        }
        if left > 0 {
            let mask = (1 << left) - 1;
            let x = _mm512_maskz_loadu_epi8(mask, x.cast());
            let y = _mm512_maskz_loadu_epi8(mask, y.cast());
            add_codes::<P>(&mut sums, 1, x, y, mask);
        }
        let products = _mm512_add_epi32(sums[0][0], sums[1][0]);
        let excess = _mm512_add_epi32(sums[0][1], sums[1][1]);
        _mm512_reduce_add_epi32(_mm512_sub_epi32(products, excess))
    }
}

/// Adds a block's products of `m * level` and value, and of center and value: the difference is
/// that of value and value, without a product of two signed bytes.
///
/// # Safety
/// For functions compiled for AVX-512 BW and VNNI.
#[inline(always)]
unsafe fn add_codes<const P: usize>(
    sums: &mut [[__m512i; 2]; 2],
    turn: usize,
    x: __m512i,
    y: __m512i,
    mask: u64,
) {
    for part in 0..P {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let centers = _mm512_set1_epi8(center(P) as i8);
            let levels = spread_levels::<P>(x, part);
            let values = _mm512_maskz_sub_epi8(mask, spread_levels::<P>(y, part), centers);
            let [products, excess] = &mut sums[(turn + part) & 1];
            *products = _mm512_dpbusd_epi32(*products, levels, values);
            *excess = _mm512_dpbusd_epi32(*excess, centers, values);
        }
    }
}

/// Sum of both halves.
///
/// # Safety
/// For functions compiled for AVX-512.
#[inline(always)]
unsafe fn halves(x: __m512i) -> __m256i {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64::<1>(x)) }
}

/// `m * level` of one part of each byte.
///
/// # Safety
/// For functions compiled for AVX-512 BW.
#[inline(always)]
unsafe fn spread_levels<const P: usize>(bytes: __m512i, part: usize) -> __m512i {
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
