//! Kernels over dense vectors that simsimd lacks or has too inexact, for every element type.
#![allow(unsafe_code)]
// Index loops over lanes are the form that is sure to become vector code.
#![allow(clippy::needless_range_loop)]

use super::CosineParts;
use crate::Element;
use crate::isa::{Isa, LANES, Lane, multiversion};

multiversion! {
    /// Squared Euclidean distance.
    pub fn l2_squared[E: Element][E](a: &[E], b: &[E]) -> f32 = l2_squared_kernel;
    /// Inner product.
    pub fn dot[E: Element][E](a: &[E], b: &[E]) -> f32 = dot_kernel;
    /// Sum of absolute differences.
    pub fn l1[E: Element][E](a: &[E], b: &[E]) -> f32 = l1_kernel;
    /// Inner product and both squared norms in one pass.
    pub fn cosine_parts[E: Element][E](a: &[E], b: &[E]) -> CosineParts = cosine_kernel;
    /// Squared norm, accumulated in double precision.
    pub fn norm_squared[E: Element][E](a: &[E]) -> f64 = norm_squared_kernel;
}

#[inline(always)]
fn l2_squared_kernel<I: Isa, E: Element>(isa: I, a: &[E], b: &[E]) -> f32 {
    sum(isa, a, b, SquaredDifference)
}

#[inline(always)]
fn dot_kernel<I: Isa, E: Element>(isa: I, a: &[E], b: &[E]) -> f32 {
    sum(isa, a, b, Product)
}

#[inline(always)]
fn l1_kernel<I: Isa, E: Element>(isa: I, a: &[E], b: &[E]) -> f32 {
    sum(isa, a, b, AbsoluteDifference)
}

/// A term of a sum over pairs of components; zero for a pair of zeros.
///
/// A trait, since a closure that the compiler did not inline would be compiled without the
/// instruction set of the kernel around it. For the same reason kernels have loops, not iterator
/// chains.
pub(crate) trait Term: Copy {
    /// The sum with the term of `x` and `y`. Implementations are `#[inline(always)]`.
    fn add<I: Isa>(self, x: f32, y: f32, sum: f32) -> f32;
}

#[derive(Clone, Copy)]
struct SquaredDifference;

impl Term for SquaredDifference {
    #[inline(always)]
    fn add<I: Isa>(self, x: f32, y: f32, sum: f32) -> f32 {
        let difference = x - y;
        I::fma(difference, difference, sum)
    }
}

/// The term of an inner product.
#[derive(Clone, Copy)]
pub(crate) struct Product;

impl Term for Product {
    #[inline(always)]
    fn add<I: Isa>(self, x: f32, y: f32, sum: f32) -> f32 {
        I::fma(x, y, sum)
    }
}

#[derive(Clone, Copy)]
struct AbsoluteDifference;

impl Term for AbsoluteDifference {
    #[inline(always)]
    fn add<I: Isa>(self, x: f32, y: f32, sum: f32) -> f32 {
        (x - y).abs() + sum
    }
}

/// Sum of the terms of all pairs. Four accumulators hide the latency of the additions; the last
/// block is filled up with zeros.
#[inline(always)]
pub(crate) fn sum<I: Isa, A: Lane, B: Lane, T: Term>(_: I, a: &[A], b: &[B], term: T) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of equal length");
    let mut sums = [[0.0f32; LANES]; 4];
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let ((a4, a_rest), (b4, b_rest)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    for (x, y) in a4.iter().zip(b4) {
        for block in 0..4 {
            add_block::<I, A, B, T>(&mut sums[block], &x[block], &y[block], term);
        }
    }
    for (x, y) in a_rest.iter().zip(b_rest) {
        add_block::<I, A, B, T>(&mut sums[0], x, y, term);
    }
    if !a_tail.is_empty() {
        add_block::<I, A, B, T>(&mut sums[1], &padded(a_tail), &padded(b_tail), term);
    }
    let mut lanes = [0.0; LANES];
    for lane in 0..LANES {
        lanes[lane] = (sums[0][lane] + sums[1][lane]) + (sums[2][lane] + sums[3][lane]);
    }
    total(&lanes)
}

#[inline(always)]
fn add_block<I: Isa, A: Lane, B: Lane, T: Term>(
    sums: &mut [f32; LANES],
    x: &[A; LANES],
    y: &[B; LANES],
    term: T,
) {
    let (x, y) = (A::widen::<I>(x), B::widen::<I>(y));
    for lane in 0..LANES {
        sums[lane] = term.add::<I>(x[lane], y[lane], sums[lane]);
    }
}

#[inline(always)]
fn cosine_kernel<I: Isa, E: Element>(_: I, a: &[E], b: &[E]) -> CosineParts {
    assert_eq!(a.len(), b.len(), "vectors of equal length");
    let mut even = [[0.0f32; LANES]; 3];
    let mut odd = [[0.0f32; LANES]; 3];
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let ((a2, a_rest), (b2, b_rest)) = (a.as_chunks::<2>(), b.as_chunks::<2>());
    for (x, y) in a2.iter().zip(b2) {
        add_parts::<I, E>(&mut even, &x[0], &y[0]);
        add_parts::<I, E>(&mut odd, &x[1], &y[1]);
    }
    for (x, y) in a_rest.iter().zip(b_rest) {
        add_parts::<I, E>(&mut even, x, y);
    }
    if !a_tail.is_empty() {
        add_parts::<I, E>(&mut odd, &padded(a_tail), &padded(b_tail));
    }
    for part in 0..3 {
        for lane in 0..LANES {
            even[part][lane] += odd[part][lane];
        }
    }
    CosineParts { dot: total(&even[0]), norm_a: total(&even[1]), norm_b: total(&even[2]) }
}

#[inline(always)]
fn add_parts<I: Isa, E: Element>(
    [dot, norm_a, norm_b]: &mut [[f32; LANES]; 3],
    x: &[E; LANES],
    y: &[E; LANES],
) {
    let (x, y) = (E::widen::<I>(x), E::widen::<I>(y));
    for lane in 0..LANES {
        dot[lane] = I::fma(x[lane], y[lane], dot[lane]);
    }
    for lane in 0..LANES {
        norm_a[lane] = I::fma(x[lane], x[lane], norm_a[lane]);
    }
    for lane in 0..LANES {
        norm_b[lane] = I::fma(y[lane], y[lane], norm_b[lane]);
    }
}

#[inline(always)]
fn norm_squared_kernel<I: Isa, E: Element>(_: I, a: &[E]) -> f64 {
    let mut sums = [0.0f64; LANES];
    let (a, tail) = a.as_chunks::<LANES>();
    for x in a {
        add_squares::<I, E>(&mut sums, x);
    }
    if !tail.is_empty() {
        add_squares::<I, E>(&mut sums, &padded(tail));
    }
    sums.iter().sum()
}

#[inline(always)]
fn add_squares<I: Isa, E: Element>(sums: &mut [f64; LANES], x: &[E; LANES]) {
    let x = E::widen::<I>(x);
    for lane in 0..LANES {
        sums[lane] += f64::from(x[lane]) * f64::from(x[lane]);
    }
}

/// A block that starts with `tail` and ends in zeros.
#[inline(always)]
fn padded<E: Lane>(tail: &[E]) -> [E; LANES] {
    let mut block = [E::default(); LANES];
    block[..tail.len()].copy_from_slice(tail);
    block
}

/// Sum of the lanes, by halves.
#[inline(always)]
pub(crate) fn total(lanes: &[f32; LANES]) -> f32 {
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
