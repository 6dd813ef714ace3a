//! Pearson's test of whether two rows of counts come from the same distribution, as
//! `scipy.stats.chi2_contingency(…, correction=False)` has it.

use statrs::function::gamma::gamma_ur;

use crate::Error;

/// How far two rows of counts are apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chi2 {
    /// The sum of (observed - expected)² / expected.
    pub statistic: f64,
    /// The probability of one at least as large, if both rows come from the same distribution.
    pub p_value: f64,
    /// The number of columns with a count, less one.
    pub degrees_of_freedom: u64,
}

/// Tests two rows of counts. Columns that are empty in both are left out: scipy refuses them. Nothing if a whole row
/// is empty.
pub fn test(a: &[u64], b: &[u64]) -> Result<Option<Chi2>, Error> {
    if a.len() != b.len() {
        return Err(Error::DifferentLengths(a.len(), b.len()));
    }
    let total = |row: &[u64]| row.iter().map(|&x| x as f64).sum::<f64>();
    let (total_a, total_b) = (total(a), total(b));
    if total_a == 0.0 || total_b == 0.0 {
        return Ok(None);
    }
    let all = total_a + total_b;
    let (mut statistic, mut columns) = (0.0, 0u64);
    for (&x, &y) in a.iter().zip(b) {
        let (x, y) = (x as f64, y as f64);
        if x + y == 0.0 {
            continue;
        }
        columns += 1;
        for (observed, row) in [(x, total_a), (y, total_b)] {
            let expected = row * (x + y) / all;
            statistic += (observed - expected) * (observed - expected) / expected;
        }
    }
    let degrees_of_freedom = columns - 1;
    let p_value = if degrees_of_freedom == 0 || statistic <= 0.0 {
        1.0
    } else {
        survival(statistic, degrees_of_freedom)
    };
    Ok(Some(Chi2 { statistic, p_value, degrees_of_freedom }))
}

/// The upper tail of the chi-squared distribution.
fn survival(statistic: f64, degrees_of_freedom: u64) -> f64 {
    gamma_ur(degrees_of_freedom as f64 / 2.0, statistic / 2.0).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_tables() {
        let found = test(&[10, 20, 30], &[6, 9, 17]).unwrap().unwrap();
        assert!((found.statistic - 0.271_574_651_504_035).abs() < 1e-12);
        assert!((found.p_value - 0.873_028_283_380_073).abs() < 1e-12);
        assert_eq!(found.degrees_of_freedom, 2);
        // With two degrees of freedom the tail is an exponential.
        assert!((found.p_value - (-found.statistic / 2.0).exp()).abs() < 1e-12);
        let empty_column = test(&[10, 0, 20, 30], &[6, 0, 9, 17]).unwrap().unwrap();
        assert_eq!(empty_column, found);
        let one = test(&[5, 0], &[7, 0]).unwrap().unwrap();
        assert_eq!((one.statistic, one.p_value, one.degrees_of_freedom), (0.0, 1.0, 0));
        assert_eq!(test(&[0, 0], &[1, 2]), Ok(None));
        assert_eq!(test(&[], &[]), Ok(None));
        assert_eq!(test(&[1], &[1, 2]), Err(Error::DifferentLengths(1, 2)));
        assert!(test(&[1_000_000, 1], &[1, 1_000_000]).unwrap().unwrap().p_value < 1e-300);
    }

    proptest! {
        #[test]
        fn proportional_rows_do_not_differ(row in prop::collection::vec(0u64..1000, 1..20), times in 1u64..9) {
            let more: Vec<u64> = row.iter().map(|x| x * times).collect();
            if let Some(found) = test(&row, &more).unwrap() {
                prop_assert!(found.statistic < 1e-9 && found.p_value > 1.0 - 1e-6);
            }
        }

        #[test]
        fn within_bounds(a in prop::collection::vec(0u64..50, 7), b in prop::collection::vec(0u64..50, 7)) {
            if let Some(found) = test(&a, &b).unwrap() {
                prop_assert!(found.statistic >= 0.0 && (0.0..=1.0).contains(&found.p_value));
                prop_assert!((found.p_value - test(&b, &a).unwrap().unwrap().p_value).abs() < 1e-12);
            }
        }
    }
}
