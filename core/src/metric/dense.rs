//! Kernels over dense vectors that simsimd lacks or has too inexact, for every element type.
#![allow(unsafe_code)]

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
    sum(isa, a, b, |x, y, sum| {
        let difference = x - y;
        I::fma(difference, difference, sum)
    })
}

#[inline(always)]
fn dot_kernel<I: Isa, E: Element>(isa: I, a: &[E], b: &[E]) -> f32 {
    sum(isa, a, b, I::fma)
}

#[inline(always)]
fn l1_kernel<I: Isa, E: Element>(isa: I, a: &[E], b: &[E]) -> f32 {
    sum(isa, a, b, |x, y, sum| (x - y).abs() + sum)
}

/// Sum of `step` over pairs of elements. Four accumulators hide the latency of the additions; the
/// last block is filled up with zeros, which every step here maps to nothing.
#[inline(always)]
pub(crate) fn sum<I: Isa, A: Lane, B: Lane>(
    _: I,
    a: &[A],
    b: &[B],
    step: impl Fn(f32, f32, f32) -> f32,
) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of equal length");
    let mut sums = [[0.0f32; LANES]; 4];
    let add = |sum: &mut [f32; LANES], x: &[A; LANES], y: &[B; LANES]| {
        let (x, y) = (A::widen::<I>(x), B::widen::<I>(y));
        for lane in 0..LANES {
            sum[lane] = step(x[lane], y[lane], sum[lane]);
        }
    };
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let ((a4, a_rest), (b4, b_rest)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    for (x, y) in a4.iter().zip(b4) {
        for block in 0..4 {
            add(&mut sums[block], &x[block], &y[block]);
        }
    }
    for (block, (x, y)) in a_rest.iter().zip(b_rest).enumerate() {
        add(&mut sums[block], x, y);
    }
    if !a_tail.is_empty() {
        add(&mut sums[3], &padded(a_tail), &padded(b_tail));
    }
    let [s0, s1, s2, s3] = sums;
    total(std::array::from_fn(|lane| (s0[lane] + s1[lane]) + (s2[lane] + s3[lane])))
}

#[inline(always)]
fn cosine_kernel<I: Isa, E: Element>(_: I, a: &[E], b: &[E]) -> CosineParts {
    assert_eq!(a.len(), b.len(), "vectors of equal length");
    let mut sums = [[[0.0f32; LANES]; 3]; 2];
    let add = |[dot, norm_a, norm_b]: &mut [[f32; LANES]; 3], x: &[E; LANES], y: &[E; LANES]| {
        let (x, y) = (E::widen::<I>(x), E::widen::<I>(y));
        for lane in 0..LANES {
            dot[lane] = I::fma(x[lane], y[lane], dot[lane]);
            norm_a[lane] = I::fma(x[lane], x[lane], norm_a[lane]);
            norm_b[lane] = I::fma(y[lane], y[lane], norm_b[lane]);
        }
    };
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let ((a2, a_rest), (b2, b_rest)) = (a.as_chunks::<2>(), b.as_chunks::<2>());
    for (x, y) in a2.iter().zip(b2) {
        add(&mut sums[0], &x[0], &y[0]);
        add(&mut sums[1], &x[1], &y[1]);
    }
    for (x, y) in a_rest.iter().zip(b_rest) {
        add(&mut sums[0], x, y);
    }
    if !a_tail.is_empty() {
        add(&mut sums[1], &padded(a_tail), &padded(b_tail));
    }
    let [dot, norm_a, norm_b] = std::array::from_fn(|part| {
        total(std::array::from_fn(|lane| sums[0][part][lane] + sums[1][part][lane]))
    });
    CosineParts { dot, norm_a, norm_b }
}

#[inline(always)]
fn norm_squared_kernel<I: Isa, E: Element>(_: I, a: &[E]) -> f64 {
    let mut sums = [0.0f64; LANES];
    let mut add = |x: &[E; LANES]| {
        for (sum, x) in sums.iter_mut().zip(E::widen::<I>(x)) {
            let x = f64::from(x);
            *sum += x * x;
        }
    };
    let (a, tail) = a.as_chunks::<LANES>();
    a.iter().for_each(&mut add);
    if !tail.is_empty() {
        add(&padded(tail));
    }
    sums.iter().sum()
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
fn total(lanes: [f32; LANES]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}
