//! The vectors of AVX2 and AVX-512.
//!
//! SAFETY, for every block below: a kernel is generic over [`Isa`], and only `multiversion!` names
//! these types, inside functions compiled for the features and called where the processor has
//! them. Loads read the sixteen elements of the block that they are given.

use std::arch::x86_64::*;

use half::f16;

use super::{Isa, LANES};

/// AVX2 with FMA and F16C.
#[derive(Clone, Copy)]
pub struct Avx2;

impl Isa for Avx2 {
    type Lanes = [__m256; 2];

    #[inline(always)]
    fn splat(x: f32) -> [__m256; 2] {
        // SAFETY: see the head of this file.
        unsafe { [_mm256_set1_ps(x); 2] }
    }

    #[inline(always)]
    fn load(block: &[f32; LANES]) -> [__m256; 2] {
        // SAFETY: see the head of this file.
        unsafe {
            let at = block.as_ptr();
            [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))]
        }
    }

    #[inline(always)]
    fn load_halves(block: &[f16; LANES]) -> [__m256; 2] {
        // SAFETY: see the head of this file.
        unsafe {
            let at: *const __m128i = block.as_ptr().cast();
            [_mm256_cvtph_ps(_mm_loadu_si128(at)), _mm256_cvtph_ps(_mm_loadu_si128(at.add(1)))]
        }
    }

    #[inline(always)]
    fn load_bytes(block: &[u8; LANES]) -> [__m256; 2] {
        // SAFETY: see the head of this file.
        unsafe {
            let bytes = _mm_loadu_si128(block.as_ptr().cast());
            let upper = _mm_srli_si128::<8>(bytes);
            [
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(upper)),
            ]
        }
    }

    #[inline(always)]
    fn add(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this file.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this file.
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this file.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn fma(a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this file.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    fn abs(a: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this file.
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            [_mm256_andnot_ps(sign, a[0]), _mm256_andnot_ps(sign, a[1])]
        }
    }

    #[inline(always)]
    fn store(a: [__m256; 2]) -> [f32; LANES] {
        // SAFETY: see the head of this file.
        unsafe { std::mem::transmute(a) }
    }

    #[inline(always)]
    fn total(a: [__m256; 2]) -> f32 {
        // SAFETY: see the head of this file.
        unsafe { total(_mm256_add_ps(a[0], a[1])) }
    }
}

/// Sum of eight numbers, in the order of [`Isa::total`].
///
/// # Safety
/// For functions compiled for AVX2.
#[inline(always)]
unsafe fn total(eight: __m256) -> f32 {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

/// AVX-512 F, BW, DQ, VL and VNNI.
#[derive(Clone, Copy)]
pub struct Avx512;

impl Isa for Avx512 {
    type Lanes = __m512;

    #[inline(always)]
    fn splat(x: f32) -> __m512 {
        // SAFETY: see the head of this file.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn load(block: &[f32; LANES]) -> __m512 {
        // SAFETY: see the head of this file.
        unsafe { _mm512_loadu_ps(block.as_ptr()) }
    }

    #[inline(always)]
    fn load_halves(block: &[f16; LANES]) -> __m512 {
        // SAFETY: see the head of this file.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(block.as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_bytes(block: &[u8; LANES]) -> __m512 {
        // SAFETY: see the head of this file.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(block.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the head of this file.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the head of this file.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the head of this file.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see the head of this file.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn abs(a: __m512) -> __m512 {
        // SAFETY: see the head of this file.
        unsafe { _mm512_abs_ps(a) }
    }

    #[inline(always)]
    fn store(a: __m512) -> [f32; LANES] {
        // SAFETY: see the head of this file.
        unsafe { std::mem::transmute(a) }
    }

    #[inline(always)]
    fn total(a: __m512) -> f32 {
        // SAFETY: see the head of this file.
        unsafe { total(_mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a))) }
    }
}
