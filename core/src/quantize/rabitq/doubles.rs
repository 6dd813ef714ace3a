//! Eight numbers in double precision at a time, for sums that error bounds are made of.
#![allow(unsafe_code)]
// Index loops over lanes are the form that is sure to become vector code.
#![allow(clippy::needless_range_loop)]

use crate::isa::{Isa, Portable};

/// Numbers in a block.
pub const DOUBLES: usize = 8;

/// An instruction set with its vector of eight `f64`. As with [`Isa`], the methods may only run
/// inside a function compiled for the set.
pub trait Doubles: Isa {
    /// Eight numbers.
    type Wide: Copy;
    /// The same number eight times.
    fn fill(x: f64) -> Self::Wide;
    /// The numbers of a block, exactly.
    fn wide(block: &[f32; DOUBLES]) -> Self::Wide;
    /// `a - b`.
    fn less(a: Self::Wide, b: Self::Wide) -> Self::Wide;
    /// `sum + a * b`.
    fn add_product(sum: Self::Wide, a: Self::Wide, b: Self::Wide) -> Self::Wide;
    /// The numbers, in order.
    fn spill(a: Self::Wide) -> [f64; DOUBLES];

    /// Sum of the numbers.
    #[inline(always)]
    fn sum(a: Self::Wide) -> f64 {
        let all = Self::spill(a);
        let mut four = [0.0; 4];
        for i in 0..4 {
            four[i] = all[i] + all[i + 4];
        }
        (four[0] + four[2]) + (four[1] + four[3])
    }
}

impl Doubles for Portable {
    type Wide = [f64; DOUBLES];

    #[inline(always)]
    fn fill(x: f64) -> [f64; DOUBLES] {
        [x; DOUBLES]
    }

    #[inline(always)]
    fn wide(block: &[f32; DOUBLES]) -> [f64; DOUBLES] {
        let mut out = [0.0; DOUBLES];
        for i in 0..DOUBLES {
            out[i] = f64::from(block[i]);
        }
        out
    }

    #[inline(always)]
    fn less(a: [f64; DOUBLES], b: [f64; DOUBLES]) -> [f64; DOUBLES] {
        let mut out = a;
        for i in 0..DOUBLES {
            out[i] -= b[i];
        }
        out
    }

    #[inline(always)]
    fn add_product(sum: [f64; DOUBLES], a: [f64; DOUBLES], b: [f64; DOUBLES]) -> [f64; DOUBLES] {
        let mut out = sum;
        for i in 0..DOUBLES {
            out[i] += a[i] * b[i];
        }
        out
    }

    #[inline(always)]
    fn spill(a: [f64; DOUBLES]) -> [f64; DOUBLES] {
        a
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! SAFETY, for every block: only functions compiled for the features name these types, by
    //! `multiversion!`. Loads read the eight elements of the block that they are given.

    use std::arch::x86_64::*;

    use super::{DOUBLES, Doubles};
    use crate::isa::{Avx2, Avx512};

    impl Doubles for Avx2 {
        type Wide = [__m256d; 2];

        #[inline(always)]
        fn fill(x: f64) -> [__m256d; 2] {
            // SAFETY: see the head of this module.
            unsafe { [_mm256_set1_pd(x); 2] }
        }

        #[inline(always)]
        fn wide(block: &[f32; DOUBLES]) -> [__m256d; 2] {
            // SAFETY: see the head of this module.
            unsafe {
                let at = block.as_ptr();
                [_mm256_cvtps_pd(_mm_loadu_ps(at)), _mm256_cvtps_pd(_mm_loadu_ps(at.add(4)))]
            }
        }

        #[inline(always)]
        fn less(a: [__m256d; 2], b: [__m256d; 2]) -> [__m256d; 2] {
            // SAFETY: see the head of this module.
            unsafe { [_mm256_sub_pd(a[0], b[0]), _mm256_sub_pd(a[1], b[1])] }
        }

        #[inline(always)]
        fn add_product(sum: [__m256d; 2], a: [__m256d; 2], b: [__m256d; 2]) -> [__m256d; 2] {
            // SAFETY: see the head of this module.
            unsafe { [_mm256_fmadd_pd(a[0], b[0], sum[0]), _mm256_fmadd_pd(a[1], b[1], sum[1])] }
        }

        #[inline(always)]
        fn spill(a: [__m256d; 2]) -> [f64; DOUBLES] {
            // SAFETY: see the head of this module; any bits are numbers.
            unsafe { std::mem::transmute(a) }
        }
    }

    impl Doubles for Avx512 {
        type Wide = __m512d;

        #[inline(always)]
        fn fill(x: f64) -> __m512d {
            // SAFETY: see the head of this module.
            unsafe { _mm512_set1_pd(x) }
        }

        #[inline(always)]
        fn wide(block: &[f32; DOUBLES]) -> __m512d {
            // SAFETY: see the head of this module.
            unsafe { _mm512_cvtps_pd(_mm256_loadu_ps(block.as_ptr())) }
        }

        #[inline(always)]
        fn less(a: __m512d, b: __m512d) -> __m512d {
            // SAFETY: see the head of this module.
            unsafe { _mm512_sub_pd(a, b) }
        }

        #[inline(always)]
        fn add_product(sum: __m512d, a: __m512d, b: __m512d) -> __m512d {
            // SAFETY: see the head of this module.
            unsafe { _mm512_fmadd_pd(a, b, sum) }
        }

        #[inline(always)]
        fn spill(a: __m512d) -> [f64; DOUBLES] {
            // SAFETY: see the head of this module; any bits are numbers.
            unsafe { std::mem::transmute(a) }
        }
    }
}
