//! From vectors to codes and back. Computed in double precision: a vector is encoded once.

use half::f16;

use super::{Codec, Factors, Repr, Value, numbers, packed, scalar};
use crate::{Element, Metric};

/// Squared norms for which the SQL cosine, computed in single precision, neither overflows nor
/// loses more than its rounding.
pub(super) const SAFE_SQUARE: std::ops::RangeInclusive<f64> = 1e-30..=1e38;

/// Norms of stored numbers that leave single precision room on both sides.
const COMFORT: std::ops::RangeInclusive<f64> = 1e-12..=1e12;

impl Codec {
    /// Encodes a vector into `code`, which is cleared first. `None` if it cannot be indexed: a
    /// component is not finite, or the metric is cosine and the vector is zero.
    ///
    /// # Panics
    /// If the vector is not of the type and dimensions that the codec is for.
    pub fn encode(&self, v: Value<'_>, code: &mut Vec<u8>) -> Option<Factors> {
        assert_eq!(v.dims(), self.dims, "dimensions of the indexed column");
        code.clear();
        match (self.repr, v) {
            (Repr::Bits, Value::Bits { bytes, .. }) => {
                code.extend_from_slice(&bytes[..self.len]);
                Some(Factors::default())
            }
            (Repr::Sparse, Value::Sparse { indices, values, .. }) => {
                let x = self.directed(values)?;
                packed::write_head(indices, self.dims, code);
                let mut factors = self.encode_floats::<f32>(&x, false, code);
                packed::write_indices(indices, self.dims, code);
                if matches!(self.metric, Metric::L2 | Metric::L1) {
                    factors.bias = values.len() as f32;
                }
                Some(factors)
            }
            (Repr::Bits | Repr::Sparse, _) | (_, Value::Bits { .. } | Value::Sparse { .. }) => {
                panic!("a {:?} code of a vector of another type", self.repr)
            }
            (_, Value::F32(x)) => self.encode_dense(&self.directed(x)?, false, code),
            (_, Value::F16(x)) => self.encode_dense(&self.directed(x)?, true, code),
        }
    }

    /// The components that a code stands for: of the unit vector for cosine, 0 and 1 for bits.
    /// `None` for a sparse vector and for a code of the wrong length.
    pub fn decode(&self, code: &[u8], f: &Factors) -> Option<Vec<f32>> {
        let code = code.get(..self.len)?;
        Some(match self.repr {
            Repr::F32 => numbers::<f32>(code).iter().map(|x| f.scale * x.get()).collect(),
            Repr::F16 => numbers::<f16>(code).iter().map(|x| f.scale * x.get().to_f32()).collect(),
            Repr::Bits => {
                (0..self.dims).map(|i| f32::from(code[i / 8] >> (7 - i % 8) & 1)).collect()
            }
            Repr::Sparse => return None,
            Repr::Sq8 | Repr::Sq4 | Repr::Sq2 => {
                let mut x = self.mean.clone();
                scalar::decode(code, self.per_byte(), self.dims, |i, v| x[i] += f.scale * v as f32);
                x
            }
        })
    }

    /// The vector with its norm, `None` if it cannot be indexed.
    fn directed<E: Element>(&self, x: &[E]) -> Option<Directed> {
        let directed = Directed::new(x);
        let zero = self.metric == Metric::Cosine && directed.norm == 0.0;
        (directed.norm.is_finite() && !zero).then_some(directed)
    }

    fn encode_dense(&self, x: &Directed, halves: bool, code: &mut Vec<u8>) -> Option<Factors> {
        Some(match self.repr {
            Repr::F32 => self.encode_floats::<f32>(x, false, code),
            Repr::F16 => self.encode_floats::<f16>(x, halves, code),
            _ => self.encode_scalar(x, code),
        })
    }

    /// Appends the components as `E`, times a power of two if they would not fit.
    fn encode_floats<E: Element>(&self, x: &Directed, as_is: bool, code: &mut Vec<u8>) -> Factors {
        let cosine = self.metric == Metric::Cosine;
        let fits = match self.repr {
            Repr::F16 => as_is || (0.01..=60_000.0).contains(&x.largest) || x.largest == 0.0,
            _ => !cosine || COMFORT.contains(&x.norm),
        };
        let exponent = if fits { 0 } else { (x.largest.log2().floor() as i32).clamp(-126, 126) };
        let unit = f64::from(exponent).exp2();
        let per_unit = 1.0 / unit;
        let per_norm = if cosine { 1.0 / x.norm } else { 1.0 };
        let scale = (unit * per_norm) as f32;
        let mut residual = Residual::new(self.metric);
        let mut square = 0.0;
        let start = code.len();
        code.resize(start + x.components.len() * size_of::<E>(), 0);
        let places = code[start..].chunks_exact_mut(size_of::<E>());
        for (&component, place) in x.components.iter().zip(places) {
            let stored = E::from_f32((component * per_unit) as f32);
            place.copy_from_slice(stored.as_bytes());
            let decoded = f64::from(scale) * f64::from(stored.to_f32());
            residual.add(component * per_norm - decoded);
            square += decoded * decoded;
        }
        let bias = match self.metric {
            Metric::Cosine => square as f32,
            Metric::InnerProduct => rounded_up(square.sqrt() * (1.0 + 1e-11)),
            _ => 0.0,
        };
        Factors { scale, bias, error: self.error(residual, x) }
    }

    fn encode_scalar(&self, x: &Directed, code: &mut Vec<u8>) -> Factors {
        let per_norm = if self.metric == Metric::Cosine { 1.0 / x.norm } else { 1.0 };
        let pairs = x.components.iter().zip(&self.mean);
        let centered: Vec<f64> = pairs.map(|(x, &m)| x * per_norm - f64::from(m)).collect();
        let scale = scalar::encode(&centered, self.per_byte(), code);
        let mut residual = Residual::new(self.metric);
        let (mut square, mut with_mean) = (0.0, 0.0);
        scalar::decode(code, self.per_byte(), self.dims, |i, v| {
            let decoded = f64::from(scale) * f64::from(v);
            residual.add(centered[i] - decoded);
            square += decoded * decoded;
            with_mean += decoded * f64::from(self.mean[i]);
        });
        let bias = match self.metric {
            Metric::L2 | Metric::Cosine => square as f32,
            Metric::InnerProduct => -with_mean as f32,
            _ => 0.0,
        };
        Factors { scale, bias, error: self.error(residual, x) }
    }

    /// What was lost, rounded up; infinite where no bound on the SQL result holds.
    fn error(&self, residual: Residual, x: &Directed) -> f32 {
        let cosine = self.metric == Metric::Cosine;
        if cosine && !SAFE_SQUARE.contains(&(x.norm * x.norm)) {
            return f32::INFINITY;
        }
        // Division and subtraction of the mean were rounded, all else so far is exact.
        let exact = !cosine && matches!(self.repr, Repr::F32 | Repr::F16 | Repr::Sparse);
        let size = if exact {
            0.0
        } else if cosine {
            2.0
        } else if self.metric == Metric::L1 {
            x.components.iter().map(|x| x.abs()).sum::<f64>() + self.mean_l1()
        } else {
            x.norm + self.mean_square.sqrt()
        };
        rounded_up(residual.norm() + size * ROUNDING)
    }

    /// L1 norm of the mean.
    pub(super) fn mean_l1(&self) -> f64 {
        self.mean.iter().map(|x| f64::from(x.abs())).sum()
    }
}

/// Relative error of a few operations in double precision and of a sum of 16,000 numbers.
pub(super) const ROUNDING: f64 = 1e-11;

/// A vector in double precision, and how large it is.
pub(super) struct Directed {
    pub components: Vec<f64>,
    /// Euclidean norm; NaN or infinite if a component is.
    pub norm: f64,
    /// The largest magnitude.
    pub largest: f64,
}

impl Directed {
    pub fn new<E: Element>(x: &[E]) -> Directed {
        let components: Vec<f64> = x.iter().map(|x| f64::from(x.to_f32())).collect();
        let norm = components.iter().map(|x| x * x).sum::<f64>().sqrt();
        let largest = components.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
        Directed { components, norm, largest }
    }
}

/// Gathers the norm of what is lost.
pub(super) struct Residual {
    sum: f64,
    absolute: bool,
}

impl Residual {
    pub fn new(metric: Metric) -> Residual {
        Residual { sum: 0.0, absolute: metric == Metric::L1 }
    }

    pub fn add(&mut self, lost: f64) {
        self.sum += if self.absolute { lost.abs() } else { lost * lost };
    }

    /// The norm, or a little more.
    pub fn norm(&self) -> f64 {
        let norm = if self.absolute { self.sum } else { self.sum.sqrt() };
        norm * (1.0 + ROUNDING)
    }
}

/// The smallest `f32` that is not below `x`.
pub(super) fn rounded_up(x: f64) -> f32 {
    let nearest = x as f32;
    if f64::from(nearest) < x { nearest.next_up() } else { nearest }
}
