//! Instruction sets, chosen once at run time.
//!
//! A kernel is written once, generic over [`Isa`], it and all it calls `#[inline(always)]`;
//! `multiversion!` compiles it for each instruction set and calls the best one that the processor
//! has.
#![allow(unsafe_code)]
// Index loops over lanes are the form that is sure to become vector code.
#![allow(clippy::needless_range_loop)]

use std::sync::atomic::{AtomicU8, Ordering};

use half::f16;
use zerocopy::Unalign;

#[cfg(target_arch = "x86_64")]
mod x86;

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

/// An instruction set that a kernel is compiled for, with its vector of sixteen `f32`.
///
/// The methods of all but [`Portable`] may only run inside a function compiled for that set, which
/// `multiversion!` sees to.
pub trait Isa: Copy {
    /// Sixteen numbers.
    type Lanes: Copy;
    /// The same number sixteen times.
    fn splat(x: f32) -> Self::Lanes;
    /// The numbers of a block.
    fn load(block: &[f32; LANES]) -> Self::Lanes;
    /// The numbers of a block of half precision, exactly.
    fn load_halves(block: &[f16; LANES]) -> Self::Lanes;
    /// The bytes of a block as numbers.
    fn load_bytes(block: &[u8; LANES]) -> Self::Lanes;
    /// `a + b`.
    fn add(a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    /// `a - b`.
    fn sub(a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    /// `a * b`.
    fn mul(a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    /// `a * b + c`, rounded once where the set has the instruction.
    fn fma(a: Self::Lanes, b: Self::Lanes, c: Self::Lanes) -> Self::Lanes;
    /// Magnitudes.
    fn abs(a: Self::Lanes) -> Self::Lanes;
    /// The numbers, in order.
    fn store(a: Self::Lanes) -> [f32; LANES];

    /// Sum of the numbers, by halves.
    #[inline(always)]
    fn total(a: Self::Lanes) -> f32 {
        let lanes = Self::store(a);
        let mut eight = [0.0; 8];
        for i in 0..8 {
            eight[i] = lanes[i] + lanes[i + 8];
        }
        let mut four = [0.0; 4];
        for i in 0..4 {
            four[i] = eight[i] + eight[i + 4];
        }
        (four[0] + four[2]) + (four[1] + four[3])
    }
}

/// The baseline of the target.
#[derive(Clone, Copy)]
pub struct Portable;

/// Applies an operation lane by lane.
macro_rules! lanewise {
    (|$($lane:ident),+| $value:expr) => {{
        let mut out = [0.0f32; LANES];
        for i in 0..LANES {
            $(let $lane = $lane[i];)+
            out[i] = $value;
        }
        out
    }};
}

impl Isa for Portable {
    type Lanes = [f32; LANES];

    #[inline(always)]
    fn splat(x: f32) -> [f32; LANES] {
        [x; LANES]
    }

    #[inline(always)]
    fn load(block: &[f32; LANES]) -> [f32; LANES] {
        *block
    }

    #[inline(always)]
    fn load_halves(block: &[f16; LANES]) -> [f32; LANES] {
        lanewise!(|block| {
            // Without a branch, so that it vectorises: put exponent and fraction in place, scale
            // by the difference of the biases (this also normalises denormals), and raise the
            // exponent of infinity and NaN to the top.
            let bits = u32::from(block.to_bits());
            let magnitude = (bits & 0x7fff) << 13;
            let scaled = (f32::from_bits(magnitude) * f32::from_bits(0x7780_0000)).to_bits();
            let special = if magnitude >= 0x0f80_0000 { 0x7f80_0000 } else { 0 };
            f32::from_bits(scaled | special | (bits & 0x8000) << 16)
        })
    }

    #[inline(always)]
    fn load_bytes(block: &[u8; LANES]) -> [f32; LANES] {
        lanewise!(|block| f32::from(block))
    }

    #[inline(always)]
    fn add(a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanewise!(|a, b| a + b)
    }

    #[inline(always)]
    fn sub(a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanewise!(|a, b| a - b)
    }

    #[inline(always)]
    fn mul(a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanewise!(|a, b| a * b)
    }

    #[inline(always)]
    fn fma(a: [f32; LANES], b: [f32; LANES], c: [f32; LANES]) -> [f32; LANES] {
        // Every aarch64 has the instruction; on the x86-64 baseline it would be a library call.
        if cfg!(target_arch = "aarch64") {
            lanewise!(|a, b, c| a.mul_add(b, c))
        } else {
            lanewise!(|a, b, c| a * b + c)
        }
    }

    #[inline(always)]
    fn abs(a: [f32; LANES]) -> [f32; LANES] {
        lanewise!(|a| a.abs())
    }

    #[inline(always)]
    fn store(a: [f32; LANES]) -> [f32; LANES] {
        a
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// What a kernel can read by blocks: elements, aligned or in the bytes of a page.
pub trait Lane: Copy + Default {
    /// The numbers of a block.
    fn widen<I: Isa>(block: &[Self; LANES]) -> I::Lanes;
}

impl Lane for f32 {
    #[inline(always)]
    fn widen<I: Isa>(block: &[f32; LANES]) -> I::Lanes {
        I::load(block)
    }
}

impl Lane for f16 {
    #[inline(always)]
    fn widen<I: Isa>(block: &[f16; LANES]) -> I::Lanes {
        I::load_halves(block)
    }
}

impl Lane for Unalign<f32> {
    #[inline(always)]
    fn widen<I: Isa>(block: &[Unalign<f32>; LANES]) -> I::Lanes {
        let aligned: [f32; LANES] = zerocopy::transmute!(*block);
        I::load(&aligned)
    }
}

impl Lane for Unalign<f16> {
    #[inline(always)]
    fn widen<I: Isa>(block: &[Unalign<f16>; LANES]) -> I::Lanes {
        let aligned: [f16; LANES] = zerocopy::transmute!(*block);
        I::load_halves(&aligned)
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
            for (wide, half) in Portable::load_halves(&block).into_iter().zip(block) {
                let exact = half.to_f32();
                assert!(wide == exact || wide.is_nan() && exact.is_nan(), "{half:?} {wide}");
            }
        }
    }
}
