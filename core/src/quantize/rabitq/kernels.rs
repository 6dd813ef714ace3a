//! The integer kernels: sums of looked-up bytes for 32 vectors, and inner products with levels.
#![allow(unsafe_code)]
// Index loops over lanes are the form that is sure to become vector code.
#![allow(clippy::needless_range_loop)]

use super::super::rotation::GROUP;
use super::block::{BLOCK, CHUNK};
use super::planes::unpack_group;
use crate::isa::{Isa, Portable, multiversion};

#[cfg(target_arch = "x86_64")]
mod x86;

/// Chunks whose looked-up bytes add up to less than 65,536.
pub const SPELL: usize = 64;

/// 64 integers of a query, each `256 * high + low`.
pub type Planes = [[i8; GROUP]; 2];

multiversion! {
    /// For each of 32 vectors the sum of the bytes that its nibbles select; the tables are as long
    /// as the codes.
    pub fn look_up[][](codes: &[u8], tables: &[u8]) -> [u32; BLOCK] = look_up_kernel;
    /// Inner products of the levels of a code, of `R` bits besides the sign, with the high and the
    /// low bytes of a query.
    pub fn dot[const R: usize][R](signs: &[u8], rest: &[u8], planes: &[Planes]) -> [i32; 2]
        = dot_kernel;
    /// Which of 32 numbers are below a limit, the first in the lowest bit.
    pub fn below[][](numbers: &[f32; BLOCK], limit: f32) -> u32 = below_kernel;
}

#[inline(always)]
fn below_kernel<I: Kernels>(_: I, numbers: &[f32; BLOCK], limit: f32) -> u32 {
    I::below(numbers, limit)
}

#[inline(always)]
fn look_up_kernel<I: Kernels>(_: I, codes: &[u8], tables: &[u8]) -> [u32; BLOCK] {
    let ((codes, _), (tables, _)) = (codes.as_chunks::<CHUNK>(), tables.as_chunks::<CHUNK>());
    assert_eq!(codes.len(), tables.len(), "codes as long as the tables");
    let mut sums = [0; BLOCK];
    for (codes, tables) in codes.chunks(SPELL).zip(tables.chunks(SPELL)) {
        let spell = I::look_up(codes, tables);
        for i in 0..BLOCK {
            sums[i] += u32::from(spell[i]);
        }
    }
    sums
}

#[inline(always)]
fn dot_kernel<I: Kernels, const R: usize>(
    _: I,
    signs: &[u8],
    rest: &[u8],
    planes: &[Planes],
) -> [i32; 2] {
    let (signs, _) = signs.as_chunks::<8>();
    assert_eq!(signs.len(), planes.len(), "signs as long as the query");
    assert_eq!(rest.len(), planes.len() * 8 * R, "code as long as the query");
    I::dot::<R>(signs, rest, planes)
}

/// The kernels of one instruction set. The lengths have been checked to agree.
trait Kernels: Isa {
    /// Sums over at most [`SPELL`] chunks.
    #[inline(always)]
    fn look_up(codes: &[[u8; CHUNK]], tables: &[[u8; CHUNK]]) -> [u16; BLOCK] {
        let mut sums = [0; BLOCK];
        for (codes, tables) in codes.iter().zip(tables) {
            for i in 0..CHUNK {
                let (low, high) = (codes[i] & 15, codes[i] >> 4);
                let table = i / 16 * 16;
                sums[i % 16] += u16::from(tables[table + usize::from(low)]);
                sums[i % 16 + 16] += u16::from(tables[table + usize::from(high)]);
            }
        }
        sums
    }

    /// See the function of this name.
    #[inline(always)]
    fn below(numbers: &[f32; BLOCK], limit: f32) -> u32 {
        let mut mask = 0;
        for i in 0..BLOCK {
            mask |= u32::from(numbers[i] < limit) << i;
        }
        mask
    }

    /// See the function of this name.
    #[inline(always)]
    fn dot<const R: usize>(signs: &[[u8; 8]], rest: &[u8], planes: &[Planes]) -> [i32; 2] {
        let (mut high, mut low) = (0, 0);
        for (i, (signs, [highs, lows])) in signs.iter().zip(planes).enumerate() {
            let levels = unpack_group::<R>(signs, &rest[i * 8 * R..][..8 * R]);
            for i in 0..GROUP {
                let level = i16::from(levels[i]);
                high += i32::from(level) * i32::from(i16::from(highs[i]));
                low += i32::from(level) * i32::from(i16::from(lows[i]));
            }
        }
        [high, low]
    }
}

impl Kernels for Portable {}

#[cfg(target_arch = "x86_64")]
impl Kernels for crate::isa::Avx2 {
    #[inline(always)]
    fn look_up(codes: &[[u8; CHUNK]], tables: &[[u8; CHUNK]]) -> [u16; BLOCK] {
        // SAFETY: only functions compiled for AVX2 name this type, by `multiversion!`.
        unsafe { x86::look_up_avx2(codes, tables) }
    }

    #[inline(always)]
    fn dot<const R: usize>(signs: &[[u8; 8]], rest: &[u8], planes: &[Planes]) -> [i32; 2] {
        // SAFETY: as above; the caller has checked the lengths.
        unsafe { x86::dot_avx2::<R>(signs, rest, planes) }
    }

    #[inline(always)]
    fn below(numbers: &[f32; BLOCK], limit: f32) -> u32 {
        // SAFETY: as above.
        unsafe { x86::below_avx2(numbers, limit) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Kernels for crate::isa::Avx512 {
    #[inline(always)]
    fn look_up(codes: &[[u8; CHUNK]], tables: &[[u8; CHUNK]]) -> [u16; BLOCK] {
        // SAFETY: only functions compiled for AVX-512 name this type, by `multiversion!`.
        unsafe { x86::look_up_avx512(codes, tables) }
    }

    #[inline(always)]
    fn dot<const R: usize>(signs: &[[u8; 8]], rest: &[u8], planes: &[Planes]) -> [i32; 2] {
        // SAFETY: as above; the caller has checked the lengths.
        unsafe { x86::dot_avx512::<R>(signs, rest, planes) }
    }

    #[inline(always)]
    fn below(numbers: &[f32; BLOCK], limit: f32) -> u32 {
        // SAFETY: as above.
        unsafe { x86::below_avx512(numbers, limit) }
    }
}
