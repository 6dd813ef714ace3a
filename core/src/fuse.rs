//! Reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009): a document's score is the sum over
//! the ranked lists of `weight / (k + rank)`, where rank counts from 1. Only ranks enter, so lists
//! whose own scores cannot be compared (distances, keyword scores) can be joined.

use crate::Error;

/// What a document gets from one list in which it stands at `rank`.
///
/// `k` says how little the first places stand out (60 in the paper); 0 is allowed and gives the plain
/// reciprocal rank. `weight` 0 switches a list off.
pub fn score(rank: i64, k: f64, weight: f64) -> Result<f64, Error> {
    if rank < 1 {
        return Err(Error::Argument { name: "rank", range: "at least 1", value: rank as f64 });
    }
    Ok(not_negative("weight", weight)? / (not_negative("k", k)? + rank as f64))
}

/// The value, if it is finite and not negative.
fn not_negative(name: &'static str, value: f64) -> Result<f64, Error> {
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(Error::Argument { name, range: "finite and not negative", value })
    }
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
        let refused = |rank, k, weight| match score(rank, k, weight) {
            Err(Error::Argument { name, .. }) => name,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(0, 60.0, 1.0), "rank");
        assert_eq!(refused(-3, 60.0, 1.0), "rank");
        for bad in [-1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(refused(1, bad, 1.0), "k");
            assert_eq!(refused(1, 60.0, bad), "weight");
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
