//! The mean of embeddings, which are of one length.

/// A running mean of vectors.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Centroid {
    count: u64,
    mean: Vec<f64>,
    mixed: bool,
}

impl Centroid {
    /// Takes one more vector.
    pub fn add(&mut self, v: &[f32]) {
        if self.count == 0 {
            self.mean = vec![0.0; v.len()];
        }
        self.count += 1;
        self.mixed |= v.len() != self.mean.len();
        if self.mixed {
            return;
        }
        for (mean, x) in self.mean.iter_mut().zip(v) {
            *mean += (f64::from(*x) - *mean) / self.count as f64;
        }
    }

    /// The mean, if there are vectors and all are of one length.
    pub fn mean(&self) -> Option<&[f64]> {
        (self.count > 0 && !self.mixed).then_some(&self.mean)
    }
}

/// The Euclidean norm.
pub fn norm(v: &[f32]) -> f64 {
    // A sum of nothing would be a negative zero.
    v.iter().fold(0.0, |sum, x| sum + f64::from(*x).powi(2)).sqrt()
}
