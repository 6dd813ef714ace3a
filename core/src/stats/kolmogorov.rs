//! The distribution of the two-sided one-sample statistic of Kolmogorov for samples of `n` values, which the
//! asymptotic two-sample test goes by.
//!
//! The choice of method by `n` and `x` is that of Simard and L'Ecuyer, "Computing the two-sided Kolmogorov-Smirnov
//! distribution" (2011): the exact matrix of Durbin where it is small, the series of Pelz and Good where it is not,
//! twice the exact one-sided tail where both sides are never met at once.

use std::f64::consts::PI;

use statrs::function::gamma::ln_gamma;

/// From here on the tail is below the smallest number.
const NO_TAIL: f64 = 370.0;

/// The probability that the statistic of `n` values is at least `x`.
pub fn survival(n: u64, x: f64) -> f64 {
    let size = n as f64;
    let t = size * x;
    if x >= 1.0 {
        return 0.0;
    }
    if t <= 0.5 {
        return 1.0;
    }
    if t <= 1.0 {
        // Ruben and Gambino: n! (2 x - 1/n)^n.
        let log = ln_gamma(size + 1.0) - size * size.ln() + size * (2.0 * t - 1.0).ln();
        return if t == 0.5 { 1.0 } else { 1.0 - log.exp() };
    }
    if t >= size - 1.0 {
        return 2.0 * (1.0 - x).powf(size);
    }
    let square = t * x;
    let one_sided_from = if n <= 140 { 4.0 } else { 2.2 };
    let tail = if x >= 0.5 || square >= one_sided_from {
        if square >= NO_TAIL && n > 140 { 0.0 } else { 2.0 * smirnov(n, x) }
    } else if n <= 140 || (n <= 100_000 && size * x.powf(1.5) <= 1.4) {
        1.0 - durbin(n, x)
    } else {
        1.0 - pelz_good(size, x)
    };
    tail.clamp(0.0, 1.0)
}

/// The one-sided tail: the formula of Birnbaum and Tingey, whose terms are all positive.
fn smirnov(n: u64, x: f64) -> f64 {
    let size = n as f64;
    let log_factorial = ln_gamma(size + 1.0);
    let last = (size * (1.0 - x)).floor() as u64;
    let mut sum = 0.0;
    for j in 0..=last.min(n) {
        let done = j as f64;
        let (before, after) = (x + done / size, 1.0 - x - done / size);
        if after <= 0.0 {
            // Only 0^0 is not zero, and that is of j = n, which x > 0 rules out.
            continue;
        }
        let log_choose = log_factorial - ln_gamma(done + 1.0) - ln_gamma(size - done + 1.0);
        sum += (log_choose + (done - 1.0) * before.ln() + (size - done) * after.ln()).exp();
    }
    (x * sum).clamp(0.0, 1.0)
}

/// A square matrix whose numbers are to be multiplied by a power of ten.
#[derive(Clone)]
struct Scaled {
    side: usize,
    cells: Vec<f64>,
    exponent: i32,
}

impl Scaled {
    fn times(&self, other: &Scaled) -> Scaled {
        let side = self.side;
        let mut cells = vec![0.0; side * side];
        for (row, out) in self.cells.chunks_exact(side).zip(cells.chunks_exact_mut(side)) {
            for (&factor, of) in row.iter().zip(other.cells.chunks_exact(side)) {
                out.iter_mut().zip(of).for_each(|(sum, x)| *sum += factor * x);
            }
        }
        let mut product = Scaled { side, cells, exponent: self.exponent + other.exponent };
        if product.cells[(side / 2) * side + side / 2] > 1e140 {
            product.cells.iter_mut().for_each(|x| *x *= 1e-140);
            product.exponent += 140;
        }
        product
    }
}

/// The probability of less than `x`: Durbin's matrix as Marsaglia, Tsang and Wang (2003) raise it to the power `n`.
fn durbin(n: u64, x: f64) -> f64 {
    let t = n as f64 * x;
    let k = t as usize + 1;
    let side = 2 * k - 1;
    let h = k as f64 - t;
    let mut cells = vec![0.0; side * side];
    for i in 0..side {
        for j in 0..side.min(i + 2) {
            cells[i * side + j] = 1.0;
        }
    }
    for i in 0..side {
        cells[i * side] -= h.powi(i as i32 + 1);
        cells[(side - 1) * side + i] -= h.powi((side - i) as i32);
    }
    if 2.0 * h > 1.0 {
        cells[(side - 1) * side] += (2.0 * h - 1.0).powi(side as i32);
    }
    for i in 0..side {
        for j in 0..side.min(i + 2) {
            for divisor in 1..=(i + 1 - j) {
                cells[i * side + j] /= divisor as f64;
            }
        }
    }
    let mut square = Scaled { side, cells, exponent: 0 };
    let mut power: Option<Scaled> = None;
    let mut left = n;
    while left > 0 {
        if left & 1 == 1 {
            power = Some(power.map_or_else(|| square.clone(), |power| power.times(&square)));
        }
        left >>= 1;
        if left > 0 {
            square = square.times(&square);
        }
    }
    let Some(power) = power else { return 0.0 };
    let mut probability = power.cells[(k - 1) * side + k - 1];
    let mut exponent = power.exponent;
    for i in 1..=n {
        probability *= i as f64 / n as f64;
        if probability < 1e-140 {
            probability *= 1e140;
            exponent -= 140;
        }
    }
    probability * 10f64.powi(exponent)
}

/// The probability of less than `x`: the expansion of Pelz and Good (1976) in powers of `1 / sqrt(n)`.
fn pelz_good(n: f64, x: f64) -> f64 {
    let root = n.sqrt();
    let z = root * x;
    let (z2, pi2) = (z * z, PI * PI);
    let (z4, z6) = (z2 * z2, z2 * z2 * z2);
    let unit = -pi2 / (2.0 * z2);
    // Beyond this a term is below one part in 10^18 of the first.
    let terms = (16.0 * z / PI).ceil() as i32 + 1;
    // The sums over half and over whole numbers, one for each power of 1 / sqrt(n).
    let (mut half, mut whole) = ([0.0; 4], [0.0; 4]);
    for k in 0..terms {
        let a = pi2 * (f64::from(k) + 0.5).powi(2);
        // Each half number stands for its negative too.
        let weight = 2.0 * (unit * (f64::from(k) + 0.5).powi(2)).exp();
        half[0] += weight;
        half[1] += weight * (a - z2);
        half[2] +=
            weight * (6.0 * z6 + 2.0 * z4 + a * (2.0 * z4 - 5.0 * z2) + a * a * (1.0 - 2.0 * z2));
        half[3] += weight
            * (a.powi(3) * (5.0 - 30.0 * z2)
                + a * a * (212.0 * z4 - 60.0 * z2)
                + a * (135.0 * z4 - 96.0 * z6)
                - 30.0 * z6
                - 90.0 * z4 * z4);
        let b = pi2 * f64::from(k * k);
        let weight = 2.0 * (unit * f64::from(k * k)).exp();
        whole[2] += weight * b;
        whole[3] += weight * (3.0 * b * z2 - b * b);
    }
    let scale = (PI / 2.0).sqrt();
    let parts = [
        half[0] / z,
        half[1] / (6.0 * z4),
        half[2] / (72.0 * z6 * z) - whole[2] / (36.0 * z2 * z),
        half[3] / (6480.0 * z4 * z6) + whole[3] / (216.0 * z6),
    ];
    parts.iter().rev().fold(0.0, |sum, part| sum / root + scale * part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By every method that is made for it, the same number is to come out.
    #[test]
    fn methods_agree_where_they_meet() {
        for (n, x) in
            [(20u64, 0.4), (140, 0.16), (141, 0.12), (500, 0.07), (1000, 0.05), (5000, 0.02)]
        {
            let exact = durbin(n, x);
            assert!((pelz_good(n as f64, x) - exact).abs() < 1e-4 / n as f64 * 20.0, "{n} {x}");
            let tail = 2.0 * smirnov(n, x);
            assert!(
                1.0 - exact <= tail + 1e-9,
                "both sides at once make the sum too large: {n} {x}"
            );
        }
        // Marsaglia, Tsang and Wang print this one.
        assert!((durbin(10, 0.274) - 0.628_479_615_456_504_3).abs() < 1e-12);
    }

    /// From `scipy.stats.kstwo.sf`, one for each arm and more.
    #[test]
    fn agrees_with_scipy() {
        let known = [
            (1, 0.6, 0.8),
            (5, 0.15, 0.9988),
            (10, 0.25, 0.4841115325000003),
            (50, 0.1, 0.6623112704658186),
            (139, 0.1, 0.11583415260877089),
            (139, 0.2, 2.3829672649172915e-5),
            (200, 0.04, 0.8932878117043649),
            (500, 0.05, 0.15866260223815387),
            (5000, 0.012, 0.4639912166690192),
            (50_000, 0.004, 0.3994316646755731),
            (5000, 0.004, 0.9999977369528622),
            (200_000, 0.002, 0.39995085369038097),
            (1_000_000, 0.0008, 0.5438713666611479),
            (3, 0.4, 0.5946666666666665),
            (10, 0.95, 1.9531250000000172e-13),
            (7, 0.08, 0.9999999978071296),
        ];
        for (n, x, expected) in known {
            let found = survival(n, x);
            assert!((found - expected).abs() < 1e-11, "{n} {x}: {found} {expected}");
        }
    }

    #[test]
    fn ends_of_the_range() {
        assert_eq!(survival(7, 1.0), 0.0);
        assert_eq!(survival(7, 0.0), 1.0);
        assert_eq!(survival(1, 0.5), 1.0);
        assert!((survival(1, 0.75) - 0.5).abs() < 1e-12);
        assert_eq!(survival(1_000_000, 0.5), 0.0);
    }

    proptest! {
        #[test]
        fn falls_from_one_to_zero(n in 1u64..3000, x in 0.0..1.0f64, step in 0.0..0.1f64) {
            let (here, there) = (survival(n, x), survival(n, x + step));
            prop_assert!((0.0..=1.0).contains(&here));
            prop_assert!(there <= here + 1e-6, "{n} {x} {step}: {here} {there}");
        }
    }
}
