//! From a placed vector to the centroids of lists.

use half::f16;

use super::Coder;
use crate::Metric;
use crate::metric::dense;
use crate::quantize::float;

/// A placed vector on the way to its lists.
pub struct Placed {
    vector: Vec<f32>,
    norm_squared: f32,
    is_query: bool,
}

impl Placed {
    /// A query, whose rows are to be found.
    pub fn query(vector: Vec<f32>) -> Placed {
        let norm_squared = dense::norm_squared(&vector) as f32;
        Placed { vector, norm_squared, is_query: true }
    }

    /// A row, which belongs to the list of the nearest centroid.
    pub fn row(vector: Vec<f32>) -> Placed {
        Placed { is_query: false, ..Placed::query(vector) }
    }
}

impl Coder {
    /// How far, in the units of the operator, is a row that lies where a centroid is: from [`Coder::to_centroid`].
    pub fn at_centroid(&self, to_centroid: f32) -> f64 {
        match self.spec.metric {
            Metric::Hamming => f64::from(to_centroid),
            _ => self.in_units(to_centroid),
        }
    }

    /// How far a placed vector is from a centroid, so that nearer lists come first: the squared distance, for queries
    /// by inner product the negative product. `centroid` is as stored, with its squared norm.
    #[inline]
    pub fn to_centroid(&self, x: &Placed, centroid: &[f16], norm_squared: f32) -> f32 {
        let dot = float::dot(&x.vector, &centroid[..x.vector.len().min(centroid.len())]);
        self.distance_by(x, dot, norm_squared)
    }

    /// As [`Coder::to_centroid`], for centroids that lie one after the other.
    ///
    /// # Panics
    /// If they are not as long as placed vectors are, or not as many as `out` has places.
    pub fn to_centroids(
        &self,
        x: &Placed,
        centroids: &[f16],
        norms_squared: impl Iterator<Item = f32>,
        out: &mut [f32],
    ) {
        float::dots(&x.vector, centroids, out);
        for (out, norm_squared) in out.iter_mut().zip(norms_squared) {
            *out = self.distance_by(x, *out, norm_squared);
        }
    }

    #[inline]
    fn distance_by(&self, x: &Placed, dot: f32, norm_squared: f32) -> f32 {
        match self.spec.metric {
            Metric::InnerProduct if x.is_query => -dot,
            _ => (x.norm_squared + norm_squared - 2.0 * dot).max(0.0),
        }
    }
}

/// The numbers of a centroid as an index stores them, and as everything then uses them.
pub fn store_centroid(centroid: &[f32], out: &mut Vec<f16>) {
    out.clear();
    out.extend(centroid.iter().map(|&x| f16::from_f32(x.clamp(-65504.0, 65504.0))));
}
