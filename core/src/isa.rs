//! Instruction sets, chosen once at run time.
//!
//! A kernel is written once, generic over [`Isa`], it and all it calls `#[inline(always)]`;
//! `multiversion!` compiles it for each instruction set and calls the best one that the processor has. Loops over blocks of
//! [`LANES`] values with an accumulator per lane are what the compiler turns into vector code.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU8, Ordering};

use half::f16;
use zerocopy::Unalign;

/// Values in a block: one 512-bit register of `f32`, or two of 256 bits.
pub const LANES: usize = 16;

/// What the processor can do, in rising order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Level {
    /// The baseline of the target: SSE2, NEON.
    Portable = 1,
    /// AVX2, FMA and F16C.
    Avx2 = 2,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    Avx512 = 3,
}

static LEVEL: AtomicU8 = AtomicU8::new(0);

/// The level of this processor; a relaxed load after the first call.
#[inline]
pub fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        1 => Level::Portable,
        2 => Level::Avx2,
        3 => Level::Avx512,
        _ => detect(),
    }
}

#[cold]
fn detect() -> Level {
    let level = processor();
    LEVEL.store(level as u8, Ordering::Relaxed);
    level
}

/// Keeps to `level` or less from now on, in the whole process: for tests and benchmarks, which
/// must reach the versions that this processor would not run by itself.
#[doc(hidden)]
pub fn limit(level: Level) {
    LEVEL.store(level.min(processor()) as u8, Ordering::Relaxed);
}

#[cfg(target_arch = "x86_64")]
fn processor() -> Level {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    match (avx2, avx512) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        _ => Level::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> Level {
    Level::Portable
}

/// An instruction set that a kernel is compiled for.
///
/// The methods of all but [`Portable`] may only run inside a function compiled for that set, which
/// `multiversion!` sees to.
pub trait Isa: Copy {
    /// `a * b + c`, rounded once where the set has the instruction.
    fn fma(a: f32, b: f32, c: f32) -> f32;
    /// Sixteen half-precision values, exactly.
    fn widen(block: &[f16; LANES]) -> [f32; LANES];
}

/// What a kernel can read by blocks: elements, aligned or in the bytes of a page.
pub trait Lane: Copy + Default {
    /// Sixteen values at once, by the conversion instruction of `I` where it has one.
    fn widen<I: Isa>(block: &[Self; LANES]) -> [f32; LANES];
}

impl Lane for f32 {
    #[inline(always)]
    fn widen<I: Isa>(block: &[f32; LANES]) -> [f32; LANES] {
        *block
    }
}

impl Lane for f16 {
    #[inline(always)]
    fn widen<I: Isa>(block: &[f16; LANES]) -> [f32; LANES] {
        I::widen(block)
    }
}

impl Lane for Unalign<f32> {
    #[inline(always)]
    fn widen<I: Isa>(block: &[Unalign<f32>; LANES]) -> [f32; LANES] {
        zerocopy::transmute!(*block)
    }
}

impl Lane for Unalign<f16> {
    #[inline(always)]
    fn widen<I: Isa>(block: &[Unalign<f16>; LANES]) -> [f32; LANES] {
        let aligned: [f16; LANES] = zerocopy::transmute!(*block);
        I::widen(&aligned)
    }
}

/// The baseline of the target.
#[derive(Clone, Copy)]
pub struct Portable;

impl Isa for Portable {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        // Every aarch64 has the instruction; on the x86-64 baseline it would be a library call.
        if cfg!(target_arch = "aarch64") { a.mul_add(b, c) } else { a * b + c }
    }

    #[inline(always)]
    fn widen(block: &[f16; LANES]) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        for lane in 0..LANES {
            // Without a branch, so that it vectorises: put exponent and fraction in place, scale
            // by the difference of the biases (this also normalises denormals), and raise the
            // exponent of infinity and NaN to the top.
            let bits = u32::from(block[lane].to_bits());
            let magnitude = (bits & 0x7fff) << 13;
            let scaled = (f32::from_bits(magnitude) * f32::from_bits(0x7780_0000)).to_bits();
            let special = if magnitude >= 0x0f80_0000 { 0x7f80_0000 } else { 0 };
            out[lane] = f32::from_bits(scaled | special | (bits & 0x8000) << 16);
        }
        out
    }
}

/// AVX2 with FMA and F16C.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Isa for Avx2 {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn widen(block: &[f16; LANES]) -> [f32; LANES] {
        use std::arch::x86_64::*;
        // SAFETY: only kernels compiled for AVX2 and F16C name this type, by `multiversion!`;
        // loads and stores stay within the sixteen elements of their arrays.
        unsafe {
            let source = block.as_ptr().cast::<__m128i>();
            let mut out = [0.0; LANES];
            let target: *mut f32 = out.as_mut_ptr();
            _mm256_storeu_ps(target, _mm256_cvtph_ps(_mm_loadu_si128(source)));
            _mm256_storeu_ps(target.add(8), _mm256_cvtph_ps(_mm_loadu_si128(source.add(1))));
            out
        }
    }
}

/// AVX-512 F, BW, DQ, VL and VNNI.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Isa for Avx512 {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn widen(block: &[f16; LANES]) -> [f32; LANES] {
        use std::arch::x86_64::*;
        // SAFETY: only kernels compiled for AVX-512 name this type, by `multiversion!`; load and
        // store stay within the sixteen elements of their arrays.
        unsafe {
            let mut out = [0.0; LANES];
            let wide = _mm512_cvtph_ps(_mm256_loadu_si256(block.as_ptr().cast()));
            _mm512_storeu_ps(out.as_mut_ptr(), wide);
            out
        }
    }
}

/// Declares a function that runs the best compiled version of a kernel generic over [`Isa`]. After
/// its name come its generic parameters, and again their names alone.
macro_rules! multiversion {
    ($($(#[$attribute:meta])* $vis:vis fn $name:ident [$($generics:tt)*] [$($names:tt)*]
        ($($arg:ident: $type:ty),* $(,)?) -> $ret:ty = $kernel:ident;)+) => {$(
        $(#[$attribute])*
        #[inline]
        $vis fn $name<$($generics)*>($($arg: $type),*) -> $ret {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c,popcnt")]
                fn avx2<$($generics)*>($($arg: $type),*) -> $ret {
                    $kernel::<_, $($names)*>($crate::isa::Avx2, $($arg),*)
                }
                #[target_feature(
                    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,popcnt"
                )]
                fn avx512<$($generics)*>($($arg: $type),*) -> $ret {
                    $kernel::<_, $($names)*>($crate::isa::Avx512, $($arg),*)
                }
                match $crate::isa::level() {
                    $crate::isa::Level::Avx512 => {
                        // SAFETY: this level is reported only by a processor with the features.
                        return unsafe { avx512::<$($names)*>($($arg),*) };
                    }
                    $crate::isa::Level::Avx2 => {
                        // SAFETY: this level is reported only by a processor with the features.
                        return unsafe { avx2::<$($names)*>($($arg),*) };
                    }
                    $crate::isa::Level::Portable => {}
                }
            }
            $kernel::<_, $($names)*>($crate::isa::Portable, $($arg),*)
        }
    )+};
}
pub(crate) use multiversion;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_is_exact_for_every_half() {
        for first in (0..=u16::MAX).step_by(LANES) {
            let block: [f16; LANES] = std::array::from_fn(|i| f16::from_bits(first + i as u16));
            for (wide, half) in Portable::widen(&block).into_iter().zip(block) {
                let exact = half.to_f32();
                assert!(wide == exact || wide.is_nan() && exact.is_nan(), "{half:?} {wide}");
            }
        }
    }
}
