//! Kernels over codes that keep a floating-point number per component.
//!
//! A code is the numbers' bytes at any alignment; `scale` times a number is the component. Scales
//! are powers of two wherever these kernels multiply before they subtract, so that the product is
//! exact.
#![allow(unsafe_code)]

use crate::isa::{Isa, Lane, multiversion};
use crate::metric::dense::{Product, Term, sum};

multiversion! {
    /// Squared distance between the vectors that two codes stand for.
    pub fn l2_squared[A: Lane, B: Lane][A, B](a: &[A], a_scale: f32, b: &[B], b_scale: f32) -> f32
        = l2_squared_kernel;
    /// Inner product of the stored numbers.
    pub fn dot[A: Lane, B: Lane][A, B](a: &[A], b: &[B]) -> f32 = dot_kernel;
    /// Inner products with vectors that lie one after the other in `rows`, one for each place of `out`.
    pub fn dots[A: Lane, B: Lane][A, B](a: &[A], rows: &[B], out: &mut [f32]) -> () = dots_kernel;
    /// Sum of absolute differences between the vectors that two codes stand for.
    pub fn l1[A: Lane, B: Lane][A, B](a: &[A], a_scale: f32, b: &[B], b_scale: f32) -> f32
        = l1_kernel;
}

#[derive(Clone, Copy)]
struct SquaredDifference {
    a_scale: f32,
    b_scale: f32,
}

impl Term for SquaredDifference {
    #[inline(always)]
    fn add<I: Isa>(self, x: I::Lanes, y: I::Lanes, sum: I::Lanes) -> I::Lanes {
        let other = I::mul(y, I::splat(-self.b_scale));
        let difference = I::fma(x, I::splat(self.a_scale), other);
        I::fma(difference, difference, sum)
    }
}

#[derive(Clone, Copy)]
struct AbsoluteDifference {
    a_scale: f32,
    b_scale: f32,
}

impl Term for AbsoluteDifference {
    #[inline(always)]
    fn add<I: Isa>(self, x: I::Lanes, y: I::Lanes, sum: I::Lanes) -> I::Lanes {
        let other = I::mul(y, I::splat(-self.b_scale));
        I::add(I::abs(I::fma(x, I::splat(self.a_scale), other)), sum)
    }
}

#[inline(always)]
fn l2_squared_kernel<I: Isa, A: Lane, B: Lane>(
    isa: I,
    a: &[A],
    a_scale: f32,
    b: &[B],
    b_scale: f32,
) -> f32 {
    sum(isa, a, b, SquaredDifference { a_scale, b_scale })
}

#[inline(always)]
fn dot_kernel<I: Isa, A: Lane, B: Lane>(isa: I, a: &[A], b: &[B]) -> f32 {
    sum(isa, a, b, Product)
}

#[inline(always)]
fn dots_kernel<I: Isa, A: Lane, B: Lane>(isa: I, a: &[A], rows: &[B], out: &mut [f32]) {
    assert_eq!(rows.len(), a.len() * out.len(), "rows of the vector's length");
    for (row, out) in rows.chunks_exact(a.len().max(1)).zip(out) {
        *out = sum(isa, a, row, Product);
    }
}

#[inline(always)]
fn l1_kernel<I: Isa, A: Lane, B: Lane>(
    isa: I,
    a: &[A],
    a_scale: f32,
    b: &[B],
    b_scale: f32,
) -> f32 {
    sum(isa, a, b, AbsoluteDifference { a_scale, b_scale })
}
