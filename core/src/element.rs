//! The element of a dense vector: one trait replaces a copy of every algorithm per type.

use std::fmt;

use half::f16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::isa::Lane;
use crate::metric;

/// A number that dense vectors are made of: `f32` in `vector`, [`f16`] in `halfvec`.
///
/// Any bytes are a valid element and an element has no padding, so slices may be cast to and from
/// bytes by zerocopy.
pub trait Element:
    Lane
    + PartialEq
    + PartialOrd
    + fmt::Debug
    + fmt::Display
    + Send
    + Sync
    + FromBytes
    + IntoBytes
    + Immutable
    + KnownLayout
    + 'static
{
    /// Name of the SQL type whose elements these are, as it appears in messages.
    const NAME: &'static str;
    /// The largest finite value.
    const MAX: Self;

    /// The value, exactly.
    fn to_f32(self) -> f32;
    /// The nearest value; what is too large becomes an infinity.
    fn from_f32(value: f32) -> Self;

    /// Squared Euclidean distance; the lengths are equal.
    fn l2_squared(a: &[Self], b: &[Self]) -> f32;
    /// Inner product; the lengths are equal.
    fn dot(a: &[Self], b: &[Self]) -> f32;
}

impl Element for f32 {
    const NAME: &'static str = "vector";
    const MAX: f32 = f32::MAX;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(value: f32) -> f32 {
        value
    }

    #[inline]
    fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
        metric::simd::l2_squared(a, b)
    }

    #[inline]
    fn dot(a: &[f32], b: &[f32]) -> f32 {
        metric::simd::dot(a, b)
    }
}

/// simsimd is passed over here: on processors with half-precision arithmetic its kernels also
/// accumulate in half precision, where a sum past 65,504 is an infinity.
impl Element for f16 {
    const NAME: &'static str = "halfvec";
    const MAX: f16 = f16::MAX;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }

    #[inline(always)]
    fn from_f32(value: f32) -> f16 {
        f16::from_f32(value)
    }

    #[inline]
    fn l2_squared(a: &[f16], b: &[f16]) -> f32 {
        metric::dense::l2_squared(a, b)
    }

    #[inline]
    fn dot(a: &[f16], b: &[f16]) -> f32 {
        metric::dense::dot(a, b)
    }
}
