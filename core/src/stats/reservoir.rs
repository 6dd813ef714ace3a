//! A sample of a fixed size in which every value has the same chance to be: algorithm R of Vitter (1985).

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The same values in the same order make the same sample.
const SEED: u64 = 1;

/// All values up to a number, a uniform sample of that size beyond.
pub struct Reservoir {
    size: usize,
    seen: u64,
    values: Vec<f64>,
    random: StdRng,
}

impl Reservoir {
    /// An empty sample of at most `size` values.
    pub fn new(size: usize) -> Reservoir {
        Reservoir { size, seen: 0, values: Vec::new(), random: StdRng::seed_from_u64(SEED) }
    }

    /// Takes or leaves one more value.
    pub fn add(&mut self, x: f64) {
        self.seen += 1;
        if self.values.len() < self.size {
            self.values.push(x);
            return;
        }
        let at = self.random.random_range(0..self.seen);
        if let Some(value) = self.values.get_mut(at as usize) {
            *value = x;
        }
    }

    /// What is in the sample, in no order.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The sample in order.
    pub fn sorted(mut self) -> Vec<f64> {
        self.values.sort_by(f64::total_cmp);
        self.values
    }
}
