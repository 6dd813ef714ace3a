//! Inverted lists: rows grouped by their nearest centroid, so that a query looks into a few groups only.
//!
//! [`train`] finds the centroids on a sample, [`Centroids`] assigns rows to lists and finds the lists near a query.
//! Where rows are coded by RaBitQ, all of it is best done on rotated rows, which have the same distances: then the
//! centroids are at hand as the codes need them, and [`Probes`] finds the lists near a query by signs.
//! Everything is in memory and owned by the caller; threads come from the pool that the caller passes in.

pub mod calibrate;
mod centroids;
pub mod coder;
mod kmeans;
pub mod patience;
mod probe;
mod tiles;

pub use centroids::{Centroids, NearList};
pub use kmeans::{ShouldStop, Stopped, memory_bytes, train};
pub use probe::{Probe, Probes};

use crate::Metric;

/// How rows and centroids are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Geometry {
    /// By Euclidean distance; a centroid is the mean of its rows.
    Euclidean,
    /// By angle, rows and centroids being unit vectors; a centroid is the direction of the mean.
    Spherical,
}

impl From<Metric> for Geometry {
    /// As pgvector's `ivfflat`: by angle for cosine distance and inner product.
    fn from(metric: Metric) -> Geometry {
        match metric {
            Metric::Cosine | Metric::InnerProduct => Geometry::Spherical,
            Metric::L2 | Metric::L1 | Metric::Hamming | Metric::Jaccard => Geometry::Euclidean,
        }
    }
}

/// The mean of rows of `dims` numbers.
fn mean_of(rows: &[f32], dims: usize) -> Vec<f32> {
    let mut mean = vec![0.0f32; dims];
    for row in rows.chunks_exact(dims) {
        mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    let divisor = (rows.len() / dims).max(1) as f32;
    mean.iter_mut().for_each(|x| *x /= divisor);
    mean
}
