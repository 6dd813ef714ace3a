//! Distances between distributions: of binned ones the population stability index and that of Jensen and Shannon, of
//! samples that of Wasserstein.

use crate::Error;

/// What stands for the share of an empty bin in [`psi`], whose logarithm there would be infinite.
pub const EMPTY_SHARE: f64 = 1e-4;

/// The weights of two distributions as shares that sum to 1; nothing if one of them has no weight at all.
fn shares(p: &[f64], q: &[f64]) -> Result<Option<Vec<(f64, f64)>>, Error> {
    if p.len() != q.len() {
        return Err(Error::DifferentLengths(p.len(), q.len()));
    }
    if let Some(&value) = p.iter().chain(q).find(|x| !x.is_finite() || **x < 0.0) {
        return Err(Error::Argument { name: "a share", range: "finite and not negative", value });
    }
    let (total_p, total_q) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
    if total_p == 0.0 || total_q == 0.0 {
        return Ok(None);
    }
    if total_p.is_infinite() || total_q.is_infinite() {
        return Err(Error::Overflow);
    }
    Ok(Some(p.iter().zip(q).map(|(p, q)| (p / total_p, q / total_q)).collect()))
}

/// The population stability index: the sum of (q - p) ln(q / p) over the bins. Counts do as well as shares. Empty
/// bins count as [`EMPTY_SHARE`].
pub fn psi(p: &[f64], q: &[f64]) -> Result<Option<f64>, Error> {
    let filled = |share: f64| if share == 0.0 { EMPTY_SHARE } else { share };
    let sum = |shares: Vec<(f64, f64)>| {
        shares
            .iter()
            .map(|&(p, q)| (filled(q) - filled(p)) * (filled(q).ln() - filled(p).ln()))
            .sum()
    };
    Ok(shares(p, q)?.map(sum))
}

/// The distance of Jensen and Shannon to base 2: 0 for the same distribution, 1 for those with nothing in common.
pub fn jensen_shannon(p: &[f64], q: &[f64]) -> Result<Option<f64>, Error> {
    let entropy = |p: f64, mean: f64| if p == 0.0 { 0.0 } else { p * (p / mean).log2() };
    let divergence = |shares: Vec<(f64, f64)>| {
        shares
            .iter()
            .map(|&(p, q)| entropy(p, (p + q) / 2.0) + entropy(q, (p + q) / 2.0))
            .sum::<f64>()
    };
    // Of equal shares the sum may come out a little below zero.
    Ok(shares(p, q)?.map(|shares| (divergence(shares) / 2.0).max(0.0).sqrt()))
}

/// The distance of Wasserstein, or earth mover's, of two sorted samples: the area between their distribution
/// functions. Nothing if one has no values.
pub fn wasserstein(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let (mut i, mut j, mut area) = (0, 0, 0.0);
    let mut at = a[0].min(b[0]);
    while i < a.len() || j < b.len() {
        let next = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => x.min(*y),
            (Some(x), None) | (None, Some(x)) => *x,
            (None, None) => break,
        };
        area += (i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs() * (next - at);
        at = next;
        i += a[i..].iter().take_while(|x| **x <= at).count();
        j += b[j..].iter().take_while(|x| **x <= at).count();
    }
    Some(area)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        let psi = |p: &[f64], q: &[f64]| psi(p, q).unwrap().unwrap();
        assert_eq!(psi(&[1.0, 1.0], &[5.0, 5.0]), 0.0);
        assert!((psi(&[1.0, 1.0], &[3.0, 1.0]) - 0.25 * 3f64.ln()).abs() < 1e-15);
        let filled = (EMPTY_SHARE - 0.5) * (EMPTY_SHARE / 0.5).ln() + 0.5 * 2f64.ln();
        assert!((psi(&[1.0, 1.0], &[0.0, 1.0]) - filled).abs() < 1e-15);
        let js = |p: &[f64], q: &[f64]| jensen_shannon(p, q).unwrap().unwrap();
        assert_eq!(js(&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0]), 1.0);
        assert_eq!(js(&[1.0, 2.0], &[2.0, 4.0]), 0.0);
        assert!((js(&[1.0, 0.0], &[0.5, 0.5]) - 0.557_923_045_284_143_8).abs() < 1e-12);
        assert_eq!(wasserstein(&[0.0, 1.0, 3.0], &[5.0, 6.0, 8.0]), Some(5.0));
        assert_eq!(wasserstein(&[0.0], &[]), None);
        assert_eq!(wasserstein(&[2.0, 2.0], &[2.0]), Some(0.0));
    }

    #[test]
    fn refuses_what_is_no_distribution() {
        assert_eq!(psi(&[1.0], &[1.0, 2.0]), Err(Error::DifferentLengths(1, 2)));
        assert_eq!(psi(&[0.0, 0.0], &[1.0, 2.0]), Ok(None));
        assert!(psi(&[-1.0, 2.0], &[1.0, 2.0]).is_err());
        assert_eq!(psi(&[1e308, 1e308], &[1.0, 2.0]), Err(Error::Overflow));
        assert!(psi(&[1e-320, 1.0], &[1.0, 1.0]).unwrap().unwrap().is_finite());
        assert!(jensen_shannon(&[f64::NAN, 2.0], &[1.0, 2.0]).is_err());
    }

    fn sample() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(-1e6..1e6f64, 1..50).prop_map(|mut values| {
            values.sort_by(f64::total_cmp);
            values
        })
    }

    proptest! {
        #[test]
        fn binned_distances_are_symmetric(
            p in prop::collection::vec(0.0..9.0f64, 6), q in prop::collection::vec(0.0..9.0f64, 6),
        ) {
            for distance in [psi, jensen_shannon] {
                let (there, back) = (distance(&p, &q).unwrap(), distance(&q, &p).unwrap());
                if let (Some(there), Some(back)) = (there, back) {
                    prop_assert!(there >= 0.0 && (there - back).abs() < 1e-9);
                }
            }
        }

        #[test]
        fn wasserstein_is_a_metric(a in sample(), b in sample(), c in sample(), shift in -1e3..1e3f64) {
            let distance = |a: &[f64], b: &[f64]| wasserstein(a, b).unwrap();
            prop_assert_eq!(distance(&a, &a), 0.0);
            prop_assert!((distance(&a, &b) - distance(&b, &a)).abs() < 1e-6);
            prop_assert!(distance(&a, &c) <= distance(&a, &b) + distance(&b, &c) + 1e-6);
            let shifted: Vec<f64> = a.iter().map(|x| x + shift).collect();
            prop_assert!((distance(&a, &shifted) - shift.abs()).abs() < 1e-6);
        }
    }
}
