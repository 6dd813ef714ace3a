//! RaBitQ: codes of 1 to 8 bits per dimension with an estimator that has no bias and an error
//! bound.
//!
//! A vector `o` is rotated at random ([`Rotation`]) and coded as its residual to a centroid `c`,
//! which is any vector given in rotated coordinates, such as the centre of a list. With `B` bits,
//! level `u` of a coordinate stands for the value `u - (2^B - 1) / 2`; the levels are those whose
//! values `x` have about the smallest angle with the residual (Gao et al. 2025, section 3). The
//! residual is then taken to be `s x` with `s = |o - c|^2 / <x, o - c>`, so that what is lost, `e =
//! o - c - s x`, is orthogonal to the residual and estimates have no bias over rotations (Gao and
//! Long 2024, theorem 3.2).
//!
//! The highest bit of each level is the sign of its coordinate. The signs alone are the code of one
//! bit, with factors of its own, and are kept apart from the other bits: a scan reads the signs of
//! 32 vectors at a time ([`block`]) and of few vectors the rest.
//!
//! # Format of a code
//! - `signs`: bit `i % 8` of byte `i / 8` is coordinate `i`; `padded / 8` bytes.
//! - `rest`: the lower `B - 1` bits of the levels, `padded (B - 1) / 8` bytes: for each 64
//!   coordinates the parts of 4, 2 and 1 bits that `B - 1` is the sum of, from the lowest bit up:
//!   bits 0..4 in 32 bytes (coordinates `i` and `i + 32` in byte `i`), the next 2 in 16 bytes
//!   (coordinates `i`, `i + 16`, …), the last 1 in 8 bytes like a sign.
//! - [`Factors`] for the signs and for the whole code. With `m` = 2 and `b` = `|q - c|^2` for L2
//!   and cosine (of unit vectors), `m` = 1 and `b` = `-<q, c>` for the inner product, the score of
//!   `q` is `b + bias - m scale <x, q>`; `q - c` does not enter the product, so that one prepared
//!   query serves all lists. `error` of the signs is the standard deviation of the score divided by
//!   `|q - c|`; of the whole code it is a bound on `|e|`, rounding included.

pub mod block;
mod doubles;
mod encode;
mod kernels;
mod planes;
mod query;

use super::Factors;
use super::encode::SAFE_SQUARE;
use super::rotation::Rotation;
use crate::metric::dense::norm_squared;
use crate::{Element, Error, Metric};

pub(super) use doubles::DOUBLES;
pub use planes::MAX_BITS;
pub use query::{List, Query};
pub(super) use query::{UNIT64, relation};

/// The coder of one column.
#[derive(Clone, Debug)]
pub struct Rabitq {
    metric: Metric,
    bits: usize,
    rotation: Rotation,
}

/// A vector in rotated coordinates, for cosine of unit length.
#[derive(Clone, Default, Debug)]
pub struct Rotated {
    /// The coordinates.
    pub components: Vec<f32>,
    /// Euclidean norm of the vector that was rotated, before it was made a unit vector.
    pub norm: f64,
    /// At least how far the coordinates are from the exact ones; infinite where no bound on what
    /// the SQL operator returns would hold.
    pub slack: f64,
}

/// A code and what the encoder needs to make it; one serves for many vectors.
#[derive(Clone, Default, Debug)]
pub struct Code {
    /// The highest bit of each level.
    pub signs: Vec<u8>,
    /// The other bits.
    pub rest: Vec<u8>,
    /// Factors of the signs by themselves.
    pub sign_factors: Factors,
    /// Factors of the whole code; for one bit the scores of both agree.
    pub factors: Factors,
    scratch: encode::Scratch,
}

impl Rabitq {
    /// A coder for vectors of `dims` dimensions, `bits` for each; the same seed for as long as the
    /// codes live.
    pub fn new(metric: Metric, dims: usize, bits: usize, seed: u64) -> Result<Rabitq, Error> {
        if !matches!(metric, Metric::L2 | Metric::InnerProduct | Metric::Cosine) {
            return Err(Error::UnknownCode("RaBitQ metric", metric as u8));
        }
        if !(1..=MAX_BITS).contains(&bits) {
            let value = bits as f64;
            return Err(Error::Argument { name: "bits", range: "between 1 and 8", value });
        }
        Ok(Rabitq { metric, bits, rotation: Rotation::new(dims, seed)? })
    }

    /// The metric of the scores.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Bits per dimension.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Number of dimensions.
    pub fn dims(&self) -> usize {
        self.rotation.dims()
    }

    /// Number of coordinates of rotated vectors and of centroids, a multiple of 64.
    pub fn padded(&self) -> usize {
        self.rotation.padded()
    }

    /// The standard deviation of scores by signs, divided by the distances of vector and query from the centroid, for a
    /// residual like most: its signs point in a direction whose cosine with it is the root of 2/π.
    pub fn signs_error(&self) -> f32 {
        let lost = std::f64::consts::FRAC_PI_2 - 1.0;
        (multiple(self.metric) * (lost / (self.padded() - 1) as f64).sqrt()) as f32
    }

    /// The rotation, by which centroids are brought to rotated coordinates.
    pub fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    /// Bytes of the signs of a vector.
    pub fn sign_bytes(&self) -> usize {
        self.padded() / 8
    }

    /// Bytes of the other bits of a vector.
    pub fn rest_bytes(&self) -> usize {
        self.padded() / 8 * (self.bits - 1)
    }

    /// Rotates a vector. `false` if it cannot be indexed: a component is not finite, or the metric
    /// is cosine and the vector is zero.
    ///
    /// # Panics
    /// If the vector does not have the dimensions of the column.
    pub fn rotate<E: Element>(&self, v: &[E], out: &mut Rotated) -> bool {
        let square = self.measure(v, out);
        out.components.clear();
        if self.metric == Metric::Cosine && square > 0.0 {
            let inverse = 1.0 / out.norm;
            out.components.extend(v.iter().map(|x| (f64::from(x.to_f32()) * inverse) as f32));
        } else {
            out.components.extend(v.iter().map(|x| x.to_f32()));
        }
        out.components.resize(self.padded(), 0.0);
        self.rotation.apply(&mut out.components);
        self.is_indexable(square)
    }

    /// As [`Rabitq::rotate`], for a vector of which the coordinates that it made are known.
    ///
    /// # Panics
    /// As there.
    pub fn rotated<E: Element>(&self, v: &[E], coordinates: &[f32], out: &mut Rotated) -> bool {
        let square = self.measure(v, out);
        out.components.clear();
        out.components.extend_from_slice(coordinates);
        self.is_indexable(square)
    }

    fn is_indexable(&self, square: f64) -> bool {
        square.is_finite() && !(self.metric == Metric::Cosine && square == 0.0)
    }

    /// Sets all but the coordinates; gives the squared norm.
    fn measure<E: Element>(&self, v: &[E], out: &mut Rotated) -> f64 {
        assert_eq!(v.len(), self.dims(), "dimensions of the indexed column");
        let square = norm_squared(v);
        out.norm = square.sqrt();
        out.slack = if self.metric == Metric::Cosine {
            if SAFE_SQUARE.contains(&square) {
                self.rotation.slack(1.001) + 1e-7
            } else {
                f64::INFINITY
            }
        } else if square < 1e60 {
            self.rotation.slack(out.norm * 1.001)
        } else {
            // The squares of single precision overflow.
            f64::INFINITY
        };
        square
    }

    /// The components that a code stands for, in the coordinates of the column.
    ///
    /// # Panics
    /// If the code or the centroid is not of this coder's length.
    pub fn decode(&self, signs: &[u8], rest: &[u8], f: &Factors, centroid: &[f32]) -> Vec<f32> {
        let mut x = Vec::new();
        self.decode_rotated(signs, rest, f, centroid, &mut x);
        self.rotation.invert(&mut x);
        x.truncate(self.dims());
        x
    }

    /// The same in rotated coordinates, into `out`, which is cleared first.
    ///
    /// # Panics
    /// If the code or the centroid is not of this coder's length.
    pub fn decode_rotated(
        &self,
        signs: &[u8],
        rest: &[u8],
        f: &Factors,
        centroid: &[f32],
        out: &mut Vec<f32>,
    ) {
        assert_eq!(centroid.len(), self.padded(), "coordinates of a centroid");
        let levels = self.levels(signs, rest);
        let middle = planes::middle(self.bits);
        out.clear();
        let pairs = levels.iter().zip(centroid);
        out.extend(pairs.map(|(&u, c)| c + f.scale * (f32::from(u) - middle)));
    }

    /// The level of each coordinate.
    ///
    /// # Panics
    /// If the code is not of this coder's length.
    pub fn levels(&self, signs: &[u8], rest: &[u8]) -> Vec<u8> {
        assert_eq!(
            (signs.len(), rest.len()),
            (self.sign_bytes(), self.rest_bytes()),
            "code length"
        );
        let mut levels = vec![0; self.padded()];
        planes::unpack(self.bits - 1, signs, rest, &mut levels);
        levels
    }
}

/// The score that sign factors or whole factors make of the inner product of values and query:
/// how often the product counts.
fn multiple(metric: Metric) -> f64 {
    if metric == Metric::InnerProduct { 1.0 } else { 2.0 }
}

#[cfg(test)]
mod tests;
