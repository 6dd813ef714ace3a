//! Reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009): a document's score is the sum over
//! the ranked lists of `weight / (k + rank)`, where rank counts from 1. Only ranks enter, so lists
//! whose own scores cannot be compared (distances, keyword scores) can be joined.

use crate::Error;

/// The `k` of the paper: how much the first places stand out; larger is flatter.
pub const DEFAULT_K: f64 = 60.0;

/// What a document gets from one list in which it stands at `rank`.
///
/// `k` 0 is allowed and gives the plain reciprocal rank, `weight` 0 switches a list off.
pub fn score(rank: i64, k: f64, weight: f64) -> Result<f64, Error> {
    if rank < 1 {
        return Err(Error::FuseRank(rank));
    }
    Ok(check_weight(weight)? / (check_k(k)? + rank as f64))
}

/// `k`, if it is finite and not negative.
pub fn check_k(k: f64) -> Result<f64, Error> {
    if k.is_finite() && k >= 0.0 { Ok(k) } else { Err(Error::FuseK(k)) }
}

/// `weight`, if it is finite and not negative.
pub fn check_weight(weight: f64) -> Result<f64, Error> {
    if weight.is_finite() && weight >= 0.0 { Ok(weight) } else { Err(Error::FuseWeight(weight)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scores_as_the_paper() {
        assert_eq!(score(1, 60.0, 1.0), Ok(1.0 / 61.0));
        assert_eq!(score(2, 60.0, 2.0), Ok(2.0 / 62.0));
        assert_eq!(score(1, 0.0, 1.0), Ok(1.0));
        assert_eq!(score(7, 60.0, 0.0), Ok(0.0));
    }

    #[test]
    fn refuses_what_has_no_meaning() {
        assert_eq!(score(0, 60.0, 1.0), Err(Error::FuseRank(0)));
        assert_eq!(score(-3, 60.0, 1.0), Err(Error::FuseRank(-3)));
        for bad in [-1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert!(matches!(score(1, bad, 1.0), Err(Error::FuseK(_))));
            assert!(matches!(score(1, 60.0, bad), Err(Error::FuseWeight(_))));
        }
    }

    proptest! {
        #[test]
        fn a_better_rank_never_scores_less(
            rank in 1i64..1_000_000, step in 1i64..1000, k in 0.0..1e6, weight in 0.0..1e6,
        ) {
            let (better, worse) = (score(rank, k, weight).unwrap(), score(rank + step, k, weight).unwrap());
            prop_assert!(better >= worse && worse >= 0.0 && better.is_finite());
        }
    }
}
