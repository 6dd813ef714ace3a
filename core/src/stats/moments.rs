//! Count, mean and spread of numbers in one pass, and of two parts from theirs: the pairwise formula of Chan, Golub
//! and LeVeque (1979), of which adding one number is Welford's case.

/// What a sample's mean and spread come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// How many numbers there are.
    pub count: u64,
    /// Their mean; 0 of none.
    pub mean: f64,
    /// The sum of the squares of their distances from the mean.
    pub squares: f64,
    /// The smallest; infinity of none.
    pub min: f64,
    /// The largest; minus infinity of none.
    pub max: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Moments { count: 0, mean: 0.0, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Moments {
    /// Takes one more number.
    pub fn add(&mut self, x: f64) {
        self.count += 1;
        let off = x - self.mean;
        let count = self.count as f64;
        // Numbers that are further apart than a float reaches have a mean all the same, if no finite deviation.
        self.mean += if off.is_finite() { off / count } else { x / count - self.mean / count };
        self.squares += off * (x - self.mean);
        self.min = self.min.min(x);
        self.max = self.max.max(x);
    }

    /// The moments of both parts together.
    pub fn merge(self, other: Moments) -> Moments {
        if self.count == 0 || other.count == 0 {
            return if self.count == 0 { other } else { self };
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let off = other.mean - self.mean;
        Moments {
            count: self.count + other.count,
            mean: if off.is_finite() {
                self.mean + off * (b / (a + b))
            } else {
                self.mean * (a / (a + b)) + other.mean * (b / (a + b))
            },
            squares: self.squares + other.squares + off * off * (a * b / (a + b)),
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// The mean, if there are numbers.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// The standard deviation of the population that the numbers are all of, if there are any.
    pub fn deviation(&self) -> Option<f64> {
        (self.count > 0).then(|| (self.squares / self.count as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|x| moments.add(*x));
        moments
    }

    #[test]
    fn of_few() {
        assert_eq!((of(&[]).mean(), of(&[]).deviation()), (None, None));
        assert_eq!((of(&[7.5]).mean(), of(&[7.5]).deviation()), (Some(7.5), Some(0.0)));
        let some = of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(
            (some.mean(), some.deviation(), some.min, some.max),
            (Some(5.0), Some(2.0), 2.0, 9.0)
        );
        // Far from zero the textbook's sum of squares would lose everything.
        assert!(
            (of(&[1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0]).deviation().unwrap()
                - 22.5f64.sqrt())
            .abs()
                < 1e-6
        );
    }

    #[test]
    fn of_numbers_at_the_ends_of_the_range() {
        let parts = [of(&[1e308, -1.5e308]), of(&[1.7e308, -0.9e308])];
        for moments in [of(&[1e308, -1.5e308, 1.7e308, -0.9e308]), parts[0].merge(parts[1])] {
            assert!((moments.mean / 1e308 - 0.075).abs() < 1e-12, "{moments:?}");
            assert_eq!(moments.deviation(), Some(f64::INFINITY));
        }
    }

    proptest! {
        #[test]
        fn parts_make_the_whole(values in prop::collection::vec(-1e3..1e3f64, 0..80), cut in 0usize..80) {
            let cut = cut.min(values.len());
            let (whole, parts) = (of(&values), of(&values[..cut]).merge(of(&values[cut..])));
            prop_assert_eq!((whole.count, whole.min, whole.max), (parts.count, parts.min, parts.max));
            prop_assert!((whole.mean - parts.mean).abs() < 1e-9);
            prop_assert!((whole.squares - parts.squares).abs() < 1e-6);
        }
    }
}
