//! From a residual to levels and factors.
//!
//! For each scale there is one best set of levels, so the set with the smallest angle lies on a
//! path of one parameter. The search of the paper walks the whole path; here a few points of it are
//! tried, around where the optimum is for normally distributed coordinates, which after a rotation
//! they nearly are, and then around the best of them.
#![allow(unsafe_code)]
// Index loops over lanes are the form that is sure to become vector code.
#![allow(clippy::needless_range_loop)]

use super::super::Factors;
use super::super::encode::{ROUNDING, rounded_up};
use super::doubles::{DOUBLES, Doubles};
use super::{Code, Rabitq, Rotated, multiple, planes};
use crate::Metric;
use crate::isa::{Isa, LANES, multiversion};

/// Steps of the best uniform quantizer of a standard normal distribution, by bits.
const NORMAL_STEPS: [f32; 9] = [0.0, 1.596, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308];

/// Scales tried at a time.
const TRIES: usize = 4;

/// Buffers of the encoder.
#[derive(Clone, Default, Debug)]
pub struct Scratch {
    residual: Vec<f32>,
    values: Vec<f32>,
    levels: Vec<u8>,
}

impl Rabitq {
    /// Encodes a rotated vector as its residual to a centroid, given in rotated coordinates and
    /// taken as exact.
    ///
    /// # Panics
    /// If the vector or the centroid is not of this coder's length.
    pub fn encode(&self, v: &Rotated, centroid: &[f32], code: &mut Code) {
        assert_eq!(v.components.len(), self.padded(), "coordinates of a rotated vector");
        assert_eq!(centroid.len(), self.padded(), "coordinates of a centroid");
        let Scratch { residual, values, levels } = &mut code.scratch;
        residual.clear();
        residual.extend(v.components.iter().zip(centroid).map(|(x, c)| x - c));
        values.clear();
        values.resize(residual.len(), 0.0);
        let top = ((1 << (self.bits - 1)) - 1) as f32;
        let scale = if self.bits == 1 { 0.0 } else { best_scale(residual, self.bits, top) };
        quantize(residual, scale, top, values);
        let middle = planes::middle(self.bits);
        levels.clear();
        levels.extend(values.iter().map(|x| whole(x + middle)));
        planes::pack(self.bits - 1, levels, &mut code.signs, &mut code.rest);
        let sums = sums(&v.components, centroid, values);
        let half = sums.half_signs(self.padded());
        code.factors = self.whole_factors(&sums, v);
        code.sign_factors = self.sign_factors(&sums, &half);
    }

    /// Factors of the whole code.
    fn whole_factors(&self, s: &Sums, v: &Rotated) -> Factors {
        let scale = s.scale();
        let step = f64::from(scale);
        let lost = s.residual_square - 2.0 * step * s.dot + step * step * s.square;
        let size = s.residual_square + step * step * s.square;
        // The sums have lost some digits, and so has each coordinate less the centroid's.
        let error = (lost.max(0.0) + size * ROUNDING).sqrt()
            + v.slack
            + (s.residual_square + s.centroid_square).sqrt() * 1e-14;
        let error = rounded_up(error * (1.0 + ROUNDING));
        let bias = match self.metric {
            Metric::InnerProduct => step * s.with_centroid - s.residual_with_centroid,
            _ => {
                let known = if error.is_finite() { f64::from(error) } else { 0.0 };
                step * step * s.square + 2.0 * step * s.with_centroid - known * known
            }
        };
        finite(Factors { scale, bias: bias as f32, error })
    }

    /// Factors of the signs: values of one half with the sign of the coordinate.
    fn sign_factors(&self, s: &Sums, signs: &Sums) -> Factors {
        let scale = signs.scale();
        let step = f64::from(scale);
        let bias = match self.metric {
            Metric::InnerProduct => step * signs.with_centroid - s.residual_with_centroid,
            _ => s.residual_square + 2.0 * step * signs.with_centroid,
        };
        // |o - c| times the tangent of the angle; spread evenly over the directions orthogonal to
        // the residual (theorem 3.2).
        let lost = (step * step * signs.square - s.residual_square).max(0.0);
        let error = multiple(self.metric) * (lost / (self.padded() - 1) as f64).sqrt();
        finite(Factors { scale, bias: bias as f32, error: rounded_up(error) })
    }
}

/// The low byte of a whole number that is not negative: adding one that leaves no bits for
/// fractions puts it there, and the cast of a `f32` would check its range.
#[inline(always)]
fn whole(x: f32) -> u8 {
    (x + (1 << 23) as f32).to_bits() as u8
}

/// Factors that cannot be told make any vector a candidate.
fn finite(f: Factors) -> Factors {
    if f.scale.is_finite() && f.bias.is_finite() && !f.error.is_nan() {
        f
    } else {
        Factors { scale: 0.0, bias: 0.0, error: f32::INFINITY }
    }
}

/// The scale for the smallest angle, or nearly.
fn best_scale(residual: &[f32], bits: usize, top: f32) -> f32 {
    let (mut square, mut largest) = (0.0f32, 0.0f32);
    measure(residual, &mut square, &mut largest);
    let deviation = (square / residual.len() as f32).sqrt();
    let normal = 1.0 / (NORMAL_STEPS[bits] * deviation);
    if !normal.is_finite() || !largest.is_finite() {
        return if largest > 0.0 { ((top + 1.0) / largest).min(f32::MAX) } else { 0.0 };
    }
    // From where nothing is cut off to where much is.
    let covering = (top + 1.0) / largest;
    let mut best = (f32::NEG_INFINITY, normal);
    let mut consider = |scales: [f32; TRIES]| {
        for (quality, scale) in qualities(residual, &scales, top).into_iter().zip(scales) {
            if quality > best.0 {
                best = (quality, scale);
            }
        }
        best.1
    };
    consider([covering, normal * 0.85, normal * 0.95, normal]);
    let around = consider([normal * 1.05, normal * 1.1, normal * 1.2, normal * 1.35]);
    consider([around * 0.975, around * 0.99, around * 1.01, around * 1.025])
}

/// What the factors are made of. `x` are the values, `d` the residual, `c` the centroid.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sums {
    /// `<d, d>`.
    residual_square: f64,
    /// `<x, d>`.
    dot: f64,
    /// `<x, x>`.
    square: f64,
    /// `<x, c>`.
    with_centroid: f64,
    /// `<d, c>`.
    residual_with_centroid: f64,
    /// `<c, c>`.
    centroid_square: f64,
    /// Sum of `|d|`.
    magnitude: f64,
    /// Sum of `c` with the signs of the values.
    signed_centroid: f64,
}

impl Sums {
    /// The scale without bias; zero where there is no residual.
    fn scale(&self) -> f32 {
        let scale = (self.residual_square / self.dot) as f32;
        if self.dot > 0.0 && scale.is_finite() { scale } else { 0.0 }
    }

    /// The sums for values of one half with the signs of these.
    fn half_signs(&self, coordinates: usize) -> Sums {
        Sums {
            dot: self.magnitude / 2.0,
            square: coordinates as f64 / 4.0,
            with_centroid: self.signed_centroid / 2.0,
            ..*self
        }
    }
}

multiversion! {
    /// Adds to the sum of squares and raises the largest magnitude.
    fn measure[][](x: &[f32], square: &mut f32, largest: &mut f32) -> () = measure_kernel;
    /// For each scale the squared cosine of residual and values, but for a factor of the residual.
    fn qualities[][](residual: &[f32], scales: &[f32; TRIES], top: f32) -> [f32; TRIES]
        = qualities_kernel;
    /// The values for a scale.
    fn quantize[][](residual: &[f32], scale: f32, top: f32, values: &mut [f32]) -> ()
        = quantize_kernel;
    /// See [`Sums`]; in double precision.
    fn sums[][](v: &[f32], centroid: &[f32], values: &[f32]) -> Sums = sums_kernel;
}

/// Magnitude of the value for a magnitude: a half and the level from the middle, whose lower end is
/// rounded to by adding a number that leaves no bits for fractions.
#[inline(always)]
fn magnitude(x: f32, scale: f32, top: f32) -> f32 {
    const WHOLE: f32 = (3 << 22) as f32;
    let scaled = x * scale - 0.5;
    let level = if scaled < top { scaled } else { top };
    (level + WHOLE) - WHOLE + 0.5
}

#[inline(always)]
fn measure_kernel<I: Isa>(_: I, x: &[f32], square: &mut f32, largest: &mut f32) {
    let (mut squares, mut tops) = ([0.0f32; LANES], [0.0f32; LANES]);
    for block in x.as_chunks::<LANES>().0 {
        for i in 0..LANES {
            squares[i] += block[i] * block[i];
            let size = block[i].abs();
            tops[i] = if size > tops[i] { size } else { tops[i] };
        }
    }
    for i in 0..LANES {
        *square += squares[i];
        *largest = if tops[i] > *largest { tops[i] } else { *largest };
    }
}

#[inline(always)]
fn qualities_kernel<I: Isa>(
    _: I,
    residual: &[f32],
    scales: &[f32; TRIES],
    top: f32,
) -> [f32; TRIES] {
    let mut dots = [[0.0f32; LANES]; TRIES];
    let mut squares = [[0.0f32; LANES]; TRIES];
    for block in residual.as_chunks::<LANES>().0 {
        for t in 0..TRIES {
            for i in 0..LANES {
                let size = block[i].abs();
                let value = magnitude(size, scales[t], top);
                dots[t][i] += value * size;
                squares[t][i] += value * value;
            }
        }
    }
    let mut out = [0.0; TRIES];
    for t in 0..TRIES {
        let (mut dot, mut square) = (0.0, 0.0);
        for i in 0..LANES {
            dot += dots[t][i];
            square += squares[t][i];
        }
        out[t] = dot / square * dot;
    }
    out
}

#[inline(always)]
fn quantize_kernel<I: Isa>(_: I, residual: &[f32], scale: f32, top: f32, values: &mut [f32]) {
    let (blocks, _) = values.as_chunks_mut::<LANES>();
    for (block, residual) in blocks.iter_mut().zip(residual.as_chunks::<LANES>().0) {
        for i in 0..LANES {
            let value = magnitude(residual[i].abs(), scale, top);
            block[i] = if residual[i] < 0.0 { -value } else { value };
        }
    }
}

#[inline(always)]
fn sums_kernel<I: Doubles>(_: I, v: &[f32], centroid: &[f32], values: &[f32]) -> Sums {
    let mut sums = [I::fill(0.0); 8];
    let (v, centroid) = (v.as_chunks::<DOUBLES>().0, centroid.as_chunks::<DOUBLES>().0);
    for ((v, c), x) in v.iter().zip(centroid).zip(values.as_chunks::<DOUBLES>().0) {
        let mut sign = [0.0f32; DOUBLES];
        for i in 0..DOUBLES {
            sign[i] = 1.0f32.copysign(x[i]);
        }
        let (c, x, sign) = (I::wide(c), I::wide(x), I::wide(&sign));
        let d = I::less(I::wide(v), c);
        sums[0] = I::add_product(sums[0], d, d);
        sums[1] = I::add_product(sums[1], x, d);
        sums[2] = I::add_product(sums[2], x, x);
        sums[3] = I::add_product(sums[3], x, c);
        sums[4] = I::add_product(sums[4], d, c);
        sums[5] = I::add_product(sums[5], c, c);
        sums[6] = I::add_product(sums[6], sign, d);
        sums[7] = I::add_product(sums[7], sign, c);
    }
    Sums {
        residual_square: I::sum(sums[0]),
        dot: I::sum(sums[1]),
        square: I::sum(sums[2]),
        with_centroid: I::sum(sums[3]),
        residual_with_centroid: I::sum(sums[4]),
        centroid_square: I::sum(sums[5]),
        magnitude: I::sum(sums[6]),
        signed_centroid: I::sum(sums[7]),
    }
}
