//! The mean of embeddings of one length.

/// A running mean of vectors. The first one says how long they are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Centroid {
    /// How many vectors there are.
    pub count: u64,
    /// Their mean; empty of none.
    pub mean: Vec<f64>,
}

impl Centroid {
    /// Takes one more vector, unless it is of another length.
    pub fn add(&mut self, v: &[f32]) -> bool {
        if self.count == 0 && self.mean.is_empty() {
            self.mean = vec![0.0; v.len()];
        }
        if v.len() != self.mean.len() {
            return false;
        }
        self.count += 1;
        for (mean, x) in self.mean.iter_mut().zip(v) {
            *mean += (f64::from(*x) - *mean) / self.count as f64;
        }
        true
    }
}

/// The Euclidean norm.
pub fn norm(v: &[f32]) -> f64 {
    v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}
