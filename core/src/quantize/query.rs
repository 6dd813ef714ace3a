//! A query, prepared once for many scores.

use super::encode::{Directed, ROUNDING, Residual, SAFE_SQUARE};
use super::scalar::Planes;
use super::{Codec, Repr, Value};
use crate::Metric;

/// A query in full precision, in the form that the scores of one codec want.
#[derive(Clone, Debug)]
pub struct Query {
    pub(super) body: Body,
    /// All scores are equal: the cosine to a zero vector.
    pub(super) constant: bool,
    /// The SQL operator works on this query without losing more than its rounding.
    pub(super) safe: bool,
    /// The part of a score that no code changes.
    pub(super) base: f64,
    /// Euclidean norm; for cosine, that of the unit vector.
    pub(super) norm: f64,
    /// At least the norm of what the prepared form lost, in the norm of the codec's errors.
    pub(super) error: f64,
}

/// The components of a query.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// For scores by integer products.
    Planes(Planes),
    /// In the order of the components, with zeros up to the places of the code.
    Floats(Vec<f32>),
    Bits(Vec<u8>),
    Sparse {
        indices: Vec<i32>,
        values: Vec<f32>,
    },
}

impl Codec {
    /// Prepares a query.
    ///
    /// # Panics
    /// If the query is not of the type and dimensions that the codec is for.
    pub fn query(&self, v: Value<'_>) -> Query {
        assert_eq!(v.dims(), self.dims, "dimensions of the indexed column");
        let x = match (self.repr, v) {
            (Repr::Bits, Value::Bits { bytes, .. }) => {
                return Query {
                    body: Body::Bits(bytes[..self.len].to_vec()),
                    constant: false,
                    safe: true,
                    base: 0.0,
                    norm: 0.0,
                    error: 0.0,
                };
            }
            (Repr::Sparse, Value::Sparse { values, .. }) => Directed::new(values),
            (Repr::Bits | Repr::Sparse, _) | (_, Value::Bits { .. } | Value::Sparse { .. }) => {
                panic!("a query on {:?} codes with a vector of another type", self.repr)
            }
            (_, Value::F32(x)) => Directed::new(x),
            (_, Value::F16(x)) => Directed::new(x),
        };
        let cosine = self.metric == Metric::Cosine;
        let divisor = if cosine && x.norm > 0.0 { x.norm } else { 1.0 };
        let scaled: Vec<f64> = x.components.iter().map(|x| x / divisor).collect();
        let mut query = match self.repr {
            Repr::Sq8 | Repr::Sq4 | Repr::Sq2 if self.metric != Metric::L1 => self.planes(&scaled),
            _ => self.floats(&scaled),
        };
        if let (Value::Sparse { indices, .. }, Body::Floats(values)) = (v, &mut query.body) {
            let values = std::mem::take(values);
            query.body = Body::Sparse { indices: indices.to_vec(), values };
        }
        query.norm = x.norm / divisor;
        query.constant = cosine && x.norm == 0.0;
        query.safe = !cosine || SAFE_SQUARE.contains(&(x.norm * x.norm));
        query
    }

    fn planes(&self, x: &[f64]) -> Query {
        let inner_product = self.metric == Metric::InnerProduct;
        let with_mean = |f: fn(f64, f64) -> f64| {
            x.iter().zip(&self.mean).map(move |(&x, &m)| f(x, f64::from(m)))
        };
        let y: Vec<f64> =
            if inner_product { x.to_vec() } else { with_mean(|x, m| x - m).collect() };
        let planes = Planes::new(&y, self.per_byte());
        let mut residual = Residual::new(self.metric);
        let (mut square, mut size) = (0.0, 0.0);
        for (place, &y) in y.iter().enumerate() {
            let kept = planes.component(place, self.len, self.per_byte());
            residual.add(y - kept);
            square += kept * kept;
            size += y * y;
        }
        let base = if inner_product { -with_mean(|x, m| x * m).sum::<f64>() } else { square };
        let error = residual.norm() + (size.sqrt() + self.mean_square.sqrt()) * ROUNDING;
        Query { body: Body::Planes(planes), constant: false, safe: true, base, norm: 0.0, error }
    }

    fn floats(&self, x: &[f64]) -> Query {
        let mut residual = Residual::new(self.metric);
        let (mut square, mut size) = (0.0, 0.0);
        let mut floats: Vec<f32> = Vec::with_capacity(x.len() + 3);
        for (place, &x) in x.iter().enumerate() {
            // The mean is empty unless the code is of what remains without it.
            let y = x - self.mean.get(place).copied().map_or(0.0, f64::from);
            let kept = y as f32;
            residual.add(y - f64::from(kept));
            square += f64::from(kept) * f64::from(kept);
            size += x.abs();
            floats.push(kept);
        }
        floats.resize(x.len() + self.pads as usize, 0.0);
        let exact = self.mean.is_empty() && self.metric != Metric::Cosine;
        let slack = if exact { 0.0 } else { (size + self.mean_l1()) * ROUNDING };
        let (body, error) = (Body::Floats(floats), residual.norm() + slack);
        Query { body, constant: false, safe: true, base: square, norm: 0.0, error }
    }
}
