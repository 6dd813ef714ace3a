//! The two-sample test of Kolmogorov and Smirnov, as `scipy.stats.ks_2samp` has it: two-sided, exact for samples of
//! up to 10,000 values, by the distribution of the one-sample statistic beyond.

use super::kolmogorov;

/// Up to so many values in the larger sample the p-value is exact.
pub const MAX_EXACT: usize = 10_000;

/// How far two samples are apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ks {
    /// The largest difference of the two empirical distribution functions.
    pub statistic: f64,
    /// The probability of one at least as large, if both come from the same distribution.
    pub p_value: f64,
}

/// Tests two sorted samples; nothing if one has no values.
pub fn test(a: &[f64], b: &[f64]) -> Option<Ks> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let (n, m) = (a.len() as u64, b.len() as u64);
    // The difference in units of 1 / (n m): whole numbers, so nothing is rounded.
    let units = largest_difference(a, b);
    let statistic = units as f64 / (n as f64 * m as f64);
    let p_value = if a.len().max(b.len()) <= MAX_EXACT {
        let common = gcd(n, m);
        exact(n, m, common, units / common)
    } else {
        let equivalent = (n as f64 * m as f64 / (n as f64 + m as f64)).round_ties_even();
        kolmogorov::survival(equivalent as u64, statistic)
    };
    Some(Ks { statistic, p_value: p_value.clamp(0.0, 1.0) })
}

/// The largest difference of the distribution functions, times the sizes of both samples.
fn largest_difference(a: &[f64], b: &[f64]) -> u64 {
    let (mut i, mut j, mut largest) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        // Equal values are taken together: between them neither function has a value.
        let value = a[i].min(b[j]);
        i += a[i..].iter().take_while(|x| **x <= value).count();
        j += b[j..].iter().take_while(|x| **x <= value).count();
        largest = largest.max((i as u64 * b.len() as u64).abs_diff(j as u64 * a.len() as u64));
    }
    largest
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The probability that a random path from (0, 0) to (n, m) is somewhere at least `h` away from the diagonal, in
/// units of 1 / lcm(n, m).
fn exact(n: u64, m: u64, common: u64, h: u64) -> f64 {
    if h == 0 {
        1.0
    } else if n == m {
        equal_sizes(n, h)
    } else {
        paths_outside(n.max(m), n.min(m), common, h)
    }
}

/// Gnedenko and Korolyuk: the alternating sum of binomials over C(2n, n - k h), as nested products that do not cancel.
fn equal_sizes(n: u64, h: u64) -> f64 {
    let mut probability = 0.0;
    for k in (0..=n / h).rev() {
        let factor = (0..h).fold(1.0, |product, j| {
            (n as f64 - (k * h) as f64 - j as f64) * product / ((n + k * h + j) as f64 + 1.0)
        });
        probability = factor * (1.0 - probability);
    }
    2.0 * probability
}

/// Viehmann, "Numerically more stable computation of the p-values for the two-sample Kolmogorov-Smirnov test" (2021):
/// the chance that a path to (x, y) was outside is the mean of those of the two points before, weighted by how many
/// paths come from each. Needs n >= m; only the points inside are looked at.
fn paths_outside(n: u64, m: u64, common: u64, h: u64) -> f64 {
    let (across, along) = (m / common, n / common);
    // Point (x, y) lies inside if |x across - y along| < h.
    let first = |x: u64| (x * across + along).saturating_sub(h) / along;
    let last = |x: u64| ((x * across + h - 1) / along).min(m);
    // The column before, and now this one: 1 wherever it is outside.
    let mut column = vec![1.0f64; m as usize + 1];
    for x in 0..=n {
        let (from, to) = (first(x), last(x));
        // A column's inside part moves up: what fell out of it below is outside from here on.
        if x > 0 {
            let before = first(x - 1);
            column[before as usize..from.min(m + 1) as usize].fill(1.0);
        }
        for y in from..=to {
            let at = y as usize;
            column[at] = match (x, y) {
                (0, 0) => 0.0,
                (0, _) => column[at - 1],
                (_, 0) => column[at],
                _ => {
                    let total = (x + y) as f64;
                    column[at] * (x as f64 / total) + column[at - 1] * (y as f64 / total)
                }
            };
        }
    }
    column[m as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(mut values: Vec<f64>) -> Vec<f64> {
        values.sort_by(f64::total_cmp);
        values
    }

    #[test]
    fn small_samples() {
        assert_eq!(test(&[], &[1.0]), None);
        let same = test(&[1.0], &[1.0]).unwrap();
        assert_eq!((same.statistic, same.p_value), (0.0, 1.0));
        let apart = test(&[1.0], &[2.0]).unwrap();
        assert_eq!((apart.statistic, apart.p_value), (1.0, 1.0));
        // All of three below all of two: 2 of the C(5, 2) orders.
        let apart = test(&[1.0, 2.0, 3.0], &[4.0, 5.0]).unwrap();
        assert_eq!(apart.statistic, 1.0);
        assert!((apart.p_value - 0.2).abs() < 1e-15);
    }

    /// Counts orders of both samples by trying them all.
    fn by_trying(n: usize, m: usize, statistic: f64) -> f64 {
        let (mut all, mut reached) = (0, 0);
        for order in 0u32..1 << (n + m) {
            if order.count_ones() as usize != n {
                continue;
            }
            let (mut i, mut j, mut largest) = (0, 0, 0i64);
            for step in 0..n + m {
                if order >> step & 1 == 1 {
                    i += 1
                } else {
                    j += 1
                }
                largest = largest.max(((i * m) as i64 - (j * n) as i64).abs());
            }
            all += 1;
            reached += u32::from(largest as f64 >= statistic * (n * m) as f64 - 1e-9);
        }
        f64::from(reached) / f64::from(all)
    }

    #[test]
    fn exact_p_values_count_orders() {
        for (n, m) in [(1, 1), (1, 5), (2, 4), (3, 5), (4, 4), (5, 7), (6, 6), (6, 8), (9, 3)] {
            for units in 0..=n * m {
                let common = gcd(n as u64, m as u64);
                if !(units as u64).is_multiple_of(common) {
                    continue;
                }
                let p = exact(n as u64, m as u64, common, units as u64 / common).clamp(0.0, 1.0);
                let tried = by_trying(n, m, units as f64 / (n * m) as f64);
                assert!((p - tried).abs() < 1e-12, "{n} {m} {units}: {p} {tried}");
            }
        }
    }

    #[test]
    fn asymptotic_meets_exact() {
        let a: Vec<f64> = (0..10_000).map(f64::from).collect();
        let b: Vec<f64> = (0..9_000).map(|x| f64::from(x) * 1.11 + 120.0).collect();
        let exact = test(&a, &b).unwrap();
        let mut more = a.clone();
        more.push(10_000.0);
        let asymptotic = test(&more, &b).unwrap();
        assert!((exact.p_value - asymptotic.p_value).abs() < 0.02, "{exact:?} {asymptotic:?}");
    }

    proptest! {
        #[test]
        fn symmetric_and_within_bounds(
            a in prop::collection::vec((0..20i32).prop_map(f64::from), 1..60),
            b in prop::collection::vec((0..20i32).prop_map(f64::from), 1..60),
        ) {
            let (a, b) = (sorted(a), sorted(b));
            let (there, back) = (test(&a, &b).unwrap(), test(&b, &a).unwrap());
            prop_assert!((there.statistic - back.statistic).abs() < 1e-15);
            prop_assert!((there.p_value - back.p_value).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&there.statistic) && (0.0..=1.0).contains(&there.p_value));
            prop_assert_eq!(test(&a, &a).unwrap(), Ks { statistic: 0.0, p_value: 1.0 });
        }
    }
}
