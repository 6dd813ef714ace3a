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
    fn add<I: Isa>(self, x: I::Lanes, y: I::Lanes, sum: I::Lanes) -> I::Lanes;
}

#[derive(Clone, Copy)]
struct SquaredDifference;

impl Term for SquaredDifference {
    #[inline(always)]
    fn add<I: Isa>(self, x: I::Lanes, y: I::Lanes, sum: I::Lanes) -> I::Lanes {
        let difference = I::sub(x, y);
        I::fma(difference, difference, sum)
    }
}

/// The term of an inner product.
#[derive(Clone, Copy)]
pub(crate) struct Product;

impl Term for Product {
    #[inline(always)]
    fn add<I: Isa>(self, x: I::Lanes, y: I::Lanes, sum: I::Lanes) -> I::Lanes {
        I::fma(x, y, sum)
    }
}

#[derive(Clone, Copy)]
struct AbsoluteDifference;

impl Term for AbsoluteDifference {
    #[inline(always)]
    fn add<I: Isa>(self, x: I::Lanes, y: I::Lanes, sum: I::Lanes) -> I::Lanes {
        I::add(I::abs(I::sub(x, y)), sum)
    }
}

/// Sum of the terms of all pairs. Four accumulators hide the latency of the additions; the last
/// block is filled up with zeros.
#[inline(always)]
pub(crate) fn sum<I: Isa, A: Lane, B: Lane, T: Term>(_: I, a: &[A], b: &[B], term: T) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of equal length");
    let mut sums = [I::splat(0.0); 4];
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let ((a4, a_rest), (b4, b_rest)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    for (x, y) in a4.iter().zip(b4) {
        for block in 0..4 {
            let (x, y) = (A::widen::<I>(&x[block]), B::widen::<I>(&y[block]));
            sums[block] = term.add::<I>(x, y, sums[block]);
        }
    }
    for (x, y) in a_rest.iter().zip(b_rest) {
        sums[0] = term.add::<I>(A::widen::<I>(x), B::widen::<I>(y), sums[0]);
    }
    if !a_tail.is_empty() {
        let (x, y) = (A::widen::<I>(&padded(a_tail)), B::widen::<I>(&padded(b_tail)));
        sums[1] = term.add::<I>(x, y, sums[1]);
    }
    I::total(I::add(I::add(sums[0], sums[1]), I::add(sums[2], sums[3])))
}

#[inline(always)]
fn cosine_kernel<I: Isa, E: Element>(_: I, a: &[E], b: &[E]) -> CosineParts {
    assert_eq!(a.len(), b.len(), "vectors of equal length");
    let mut even = [I::splat(0.0); 3];
    let mut odd = [I::splat(0.0); 3];
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
    CosineParts {
        dot: I::total(I::add(even[0], odd[0])),
        norm_a: I::total(I::add(even[1], odd[1])),
        norm_b: I::total(I::add(even[2], odd[2])),
    }
}

#[inline(always)]
fn add_parts<I: Isa, E: Element>(
    [dot, norm_a, norm_b]: &mut [I::Lanes; 3],
    x: &[E; LANES],
    y: &[E; LANES],
) {
    let (x, y) = (E::widen::<I>(x), E::widen::<I>(y));
    *dot = I::fma(x, y, *dot);
    *norm_a = I::fma(x, x, *norm_a);
    *norm_b = I::fma(y, y, *norm_b);
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
    let x = I::store(E::widen::<I>(x));
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
