//! The kernels in AVX2 and AVX-512.
//!
//! Everything here is `#[inline(always)]`, so that it is compiled for the instruction set of the
//! function that it ends up in.
//!
//! A shuffle looks up 16 bytes in each 128-bit lane at once (André et al. 2015). Sums of pairs of
//! bytes are kept as 16-bit numbers with the odd bytes on top, and apart from them sums of the odd
//! bytes alone; the difference is the sum of the even ones.

use std::arch::x86_64::*;

use super::super::block::{BLOCK, CHUNK};
use super::Planes;

/// See [`super::Kernels::look_up`].
///
/// # Safety
/// For functions compiled for AVX2.
#[inline(always)]
pub unsafe fn look_up_avx2(codes: &[[u8; CHUNK]], tables: &[[u8; CHUNK]]) -> [u16; BLOCK] {
    // SAFETY: loads are of both halves of a chunk; the caller vouches for the instruction set.
    unsafe {
        let nibble = _mm256_set1_epi8(15);
        let mut pairs = [_mm256_setzero_si256(); 2];
        let mut odds = [_mm256_setzero_si256(); 2];
        for (codes, tables) in codes.iter().zip(tables) {
            for half in 0..2 {
                let code = _mm256_loadu_si256(codes.as_ptr().cast::<__m256i>().add(half));
                let table = _mm256_loadu_si256(tables.as_ptr().cast::<__m256i>().add(half));
                let low = _mm256_and_si256(code, nibble);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(code), nibble);
                for (i, select) in [low, high].into_iter().enumerate() {
                    let bytes = _mm256_shuffle_epi8(table, select);
                    pairs[i] = _mm256_add_epi16(pairs[i], bytes);
                    odds[i] = _mm256_add_epi16(odds[i], _mm256_srli_epi16::<8>(bytes));
                }
            }
        }
        let mut out = [0; BLOCK];
        for i in 0..2 {
            let evens = _mm256_sub_epi16(pairs[i], _mm256_slli_epi16::<8>(odds[i]));
            interleave(evens, odds[i], &mut out, 16 * i);
        }
        out
    }
}

/// See [`super::Kernels::look_up`].
///
/// # Safety
/// For functions compiled for AVX-512 BW.
#[inline(always)]
pub unsafe fn look_up_avx512(codes: &[[u8; CHUNK]], tables: &[[u8; CHUNK]]) -> [u16; BLOCK] {
    // SAFETY: loads are of whole chunks; the caller vouches for the instruction set.
    unsafe {
        let nibble = _mm512_set1_epi8(15);
        let mut pairs = [_mm512_setzero_si512(); 2];
        let mut odds = [_mm512_setzero_si512(); 2];
        for (codes, tables) in codes.iter().zip(tables) {
            let code = _mm512_loadu_si512(codes.as_ptr().cast());
            let table = _mm512_loadu_si512(tables.as_ptr().cast());
            let low = _mm512_and_si512(code, nibble);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(code), nibble);
            for (i, select) in [low, high].into_iter().enumerate() {
                let bytes = _mm512_shuffle_epi8(table, select);
                pairs[i] = _mm512_add_epi16(pairs[i], bytes);
                odds[i] = _mm512_add_epi16(odds[i], _mm512_srli_epi16::<8>(bytes));
            }
        }
        let mut out = [0; BLOCK];
        for i in 0..2 {
            let evens = _mm512_sub_epi16(pairs[i], _mm512_slli_epi16::<8>(odds[i]));
            interleave(halves(evens), halves(odds[i]), &mut out, 16 * i);
        }
        out
    }
}

/// Adds both halves of sixteen-bit sums.
///
/// # Safety
/// For functions compiled for AVX-512.
#[inline(always)]
unsafe fn halves(x: __m512i) -> __m256i {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { _mm256_add_epi16(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64::<1>(x)) }
}

/// Adds both halves of the sums of even and of odd bytes and stores them in turn, from place `at`.
///
/// # Safety
/// For functions compiled for AVX2; `at` is 0 or 16.
#[inline(always)]
unsafe fn interleave(evens: __m256i, odds: __m256i, out: &mut [u16; BLOCK], at: usize) {
    // SAFETY: 16 numbers from place 0 or 16 of 32; the caller vouches for the instruction set.
    unsafe {
        let to: *mut __m128i = out.as_mut_ptr().add(at).cast();
        let upper = _mm256_extracti128_si256::<1>(evens);
        let evens = _mm_add_epi16(_mm256_castsi256_si128(evens), upper);
        let upper = _mm256_extracti128_si256::<1>(odds);
        let odds = _mm_add_epi16(_mm256_castsi256_si128(odds), upper);
        _mm_storeu_si128(to, _mm_unpacklo_epi16(evens, odds));
        _mm_storeu_si128(to.add(1), _mm_unpackhi_epi16(evens, odds));
    }
}

/// See [`super::Kernels::dot`].
///
/// # Safety
/// For functions compiled for AVX2. There are as many planes as signs, and `rest` has `8 R` bytes
/// for each.
#[inline(always)]
pub unsafe fn dot_avx2<const R: usize>(
    signs: &[[u8; 8]],
    rest: &[u8],
    planes: &[Planes],
) -> [i32; 2] {
    // SAFETY: the caller vouches for the lengths and the instruction set.
    unsafe {
        let mut sums = [_mm256_setzero_si256(); 2];
        let mut at = rest.as_ptr();
        for (signs, planes) in signs.iter().zip(planes) {
            let levels = levels_avx2::<R>(u64::from_le_bytes(*signs), at);
            at = at.add(8 * R);
            for (half, levels) in levels.into_iter().enumerate() {
                let parts = [
                    _mm256_cvtepu8_epi16(_mm256_castsi256_si128(levels)),
                    _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(levels)),
                ];
                for (sum, plane) in sums.iter_mut().zip(planes) {
                    for (part, levels) in parts.into_iter().enumerate() {
                        let query = plane.as_ptr().cast::<__m128i>().add(2 * half + part);
                        let query = _mm256_cvtepi8_epi16(_mm_loadu_si128(query));
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(levels, query));
                    }
                }
            }
        }
        let pairs = _mm256_hadd_epi32(sums[0], sums[1]);
        let quads =
            _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
        let both = _mm_cvtsi128_si64(_mm_hadd_epi32(quads, quads));
        [both as i32, (both >> 32) as i32]
    }
}

/// The levels of 64 coordinates.
///
/// # Safety
/// For functions compiled for AVX2; there are `8 R` bytes at `at`.
#[inline(always)]
unsafe fn levels_avx2<const R: usize>(signs: u64, mut at: *const u8) -> [__m256i; 2] {
    // SAFETY: the caller vouches for the instruction set and for the bytes, of which each part
    // takes 32, 16 or 8.
    unsafe {
        let mut levels = spread_avx2(signs, 1 << R);
        let mut from = 0;
        if R & 4 != 0 {
            let (bytes, nibble) = (_mm256_loadu_si256(at.cast()), _mm256_set1_epi8(15));
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble);
            levels[0] = _mm256_or_si256(levels[0], _mm256_and_si256(bytes, nibble));
            levels[1] = _mm256_or_si256(levels[1], high);
            (from, at) = (4, at.add(32));
        }
        if R & 2 != 0 {
            let bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128(at.cast()));
            let pair = _mm256_set1_epi8(3 << from);
            for (half, levels) in levels.iter_mut().enumerate() {
                let shifts = if half == 0 {
                    _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2)
                } else {
                    _mm256_setr_epi32(4, 4, 4, 4, 6, 6, 6, 6)
                };
                let shifted = _mm256_srlv_epi32(bytes, shifts);
                let shifted = if from == 0 { shifted } else { _mm256_slli_epi32::<4>(shifted) };
                *levels = _mm256_or_si256(*levels, _mm256_and_si256(shifted, pair));
            }
            (from, at) = (from + 2, at.add(16));
        }
        if R & 1 != 0 {
            let bits = spread_avx2(at.cast::<u64>().read_unaligned().to_le(), 1 << from);
            levels = [_mm256_or_si256(levels[0], bits[0]), _mm256_or_si256(levels[1], bits[1])];
        }
        levels
    }
}

/// `value` in the bytes whose bit is set.
///
/// # Safety
/// For functions compiled for AVX2.
#[inline(always)]
unsafe fn spread_avx2(bits: u64, value: u8) -> [__m256i; 2] {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        let single = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
        let copies = _mm256_setr_epi64x(
            0,
            0x0101_0101_0101_0101,
            0x0202_0202_0202_0202,
            0x0303_0303_0303_0303,
        );
        let mut out = [_mm256_setzero_si256(); 2];
        for (half, out) in out.iter_mut().enumerate() {
            let bytes = _mm256_set1_epi32((bits >> (32 * half)) as i32);
            let bytes = _mm256_shuffle_epi8(bytes, copies);
            let set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, single), single);
            *out = _mm256_and_si256(set, _mm256_set1_epi8(value as i8));
        }
        out
    }
}

/// See [`super::Kernels::dot`].
///
/// # Safety
/// For functions compiled for AVX-512 BW and VNNI. There are as many planes as signs, and `rest`
/// has `8 R` bytes for each.
#[inline(always)]
pub unsafe fn dot_avx512<const R: usize>(
    signs: &[[u8; 8]],
    rest: &[u8],
    planes: &[Planes],
) -> [i32; 2] {
    // SAFETY: the caller vouches for the lengths and the instruction set.
    unsafe {
        // Two sums of each kind, taken in turn: an addition waits for the one before.
        let mut sums = [[_mm512_setzero_si512(); 2]; 2];
        let mut at = rest.as_ptr();
        for (i, (signs, planes)) in signs.iter().zip(planes).enumerate() {
            let levels = levels_avx512::<R>(u64::from_le_bytes(*signs), at);
            at = at.add(8 * R);
            let [high, low] = &mut sums[i & 1];
            *high =
                _mm512_dpbusd_epi32(*high, levels, _mm512_loadu_si512(planes[0].as_ptr().cast()));
            *low = _mm512_dpbusd_epi32(*low, levels, _mm512_loadu_si512(planes[1].as_ptr().cast()));
        }
        [
            _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0][0], sums[1][0])),
            _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0][1], sums[1][1])),
        ]
    }
}

/// The levels of 64 coordinates.
///
/// # Safety
/// For functions compiled for AVX-512 BW; there are `8 R` bytes at `at`.
#[inline(always)]
unsafe fn levels_avx512<const R: usize>(signs: u64, mut at: *const u8) -> __m512i {
    // SAFETY: the caller vouches for the instruction set and for the bytes, of which each part
    // takes 32, 16 or 8.
    unsafe {
        let mut levels = _mm512_maskz_set1_epi8(signs, (1u8 << R) as i8);
        let mut from = 0;
        if R & 4 != 0 {
            let bytes = _mm256_loadu_si256(at.cast());
            let high = _mm256_srli_epi16::<4>(bytes);
            let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(bytes), high);
            // 0xf8: a | b & c.
            levels = _mm512_ternarylogic_epi32::<0xf8>(levels, both, _mm512_set1_epi8(15));
            (from, at) = (4, at.add(32));
        }
        if R & 2 != 0 {
            let bytes = _mm512_broadcast_i32x4(_mm_loadu_si128(at.cast()));
            let shifts = _mm512_setr_epi64(0, 0, 2, 2, 4, 4, 6, 6);
            // To the left by `from` less the part's shift, as one rotation.
            let left = _mm512_sub_epi64(_mm512_set1_epi64(64 + from), shifts);
            let placed = _mm512_rolv_epi64(bytes, left);
            let pair = _mm512_set1_epi8(3 << from);
            levels = _mm512_ternarylogic_epi32::<0xf8>(levels, placed, pair);
            (from, at) = (from + 2, at.add(16));
        }
        if R & 1 != 0 {
            let bits = at.cast::<u64>().read_unaligned().to_le();
            levels = _mm512_mask_add_epi8(levels, bits, levels, _mm512_set1_epi8(1 << from));
        }
        levels
    }
}

/// See [`super::Kernels::below`].
///
/// # Safety
/// For functions compiled for AVX2.
#[inline(always)]
pub unsafe fn below_avx2(numbers: &[f32; BLOCK], limit: f32) -> u32 {
    // SAFETY: loads are of 8 of 32 numbers; the caller vouches for the instruction set.
    unsafe {
        let limit = _mm256_set1_ps(limit);
        let mut mask = 0;
        for i in 0..4 {
            let below =
                _mm256_cmp_ps::<_CMP_LT_OQ>(_mm256_loadu_ps(numbers.as_ptr().add(8 * i)), limit);
            mask |= (_mm256_movemask_ps(below) as u32) << (8 * i);
        }
        mask
    }
}

/// See [`super::Kernels::below`].
///
/// # Safety
/// For functions compiled for AVX-512.
#[inline(always)]
pub unsafe fn below_avx512(numbers: &[f32; BLOCK], limit: f32) -> u32 {
    // SAFETY: loads are of 16 of 32 numbers; the caller vouches for the instruction set.
    unsafe {
        let limit = _mm512_set1_ps(limit);
        let low = _mm512_loadu_ps(numbers.as_ptr());
        let high = _mm512_loadu_ps(numbers.as_ptr().add(16));
        let low = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(low, limit);
        let high = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(high, limit);
        u32::from(low) | u32::from(high) << 16
    }
}
