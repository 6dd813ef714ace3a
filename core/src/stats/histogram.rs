//! Histograms over frozen edges: counts of two of them can be compared and added, whenever they were made.
//!
//! Edges `e0 < e1 < … < em` make the bins below `e0`, `[e0, e1)`, …, `[em-1, em]`, above `em`: the last bin between
//! edges holds its upper end, as with `numpy.histogram`. A single edge makes a bin of that value alone; no edge, one
//! bin of everything below and one above.

use super::quantiles::percentile;
use crate::Error;

/// Numbers that part the bins, in rising order.
#[derive(Debug, Clone, PartialEq)]
pub struct Edges(Vec<f64>);

impl Edges {
    /// The edges, if they rise and are finite.
    pub fn new(edges: Vec<f64>) -> Result<Edges, Error> {
        if let Some(&value) = edges.iter().find(|x| !x.is_finite()) {
            return Err(Error::Argument { name: "an edge", range: "finite", value });
        }
        if let Some(pair) = edges.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(Error::Argument {
                name: "an edge",
                range: "larger than the one before",
                value: pair[1],
            });
        }
        Ok(Edges(edges))
    }

    /// Edges that part the numbers into `bins` of about the same count. Where many numbers are equal, bins fall
    /// together.
    pub fn of_quantiles(sorted: &[(f64, u64)], bins: usize) -> Edges {
        let mut edges: Vec<f64> =
            (0..=bins).filter_map(|i| percentile(sorted, i as f64 / bins as f64)).collect();
        // Between two values that are close, rounding may even turn two edges round.
        edges.dedup_by(|next, before| *next <= *before);
        Edges(edges)
    }

    /// The numbers.
    pub fn as_slice(&self) -> &[f64] {
        &self.0
    }

    /// How many bins there are.
    pub fn bins(&self) -> usize {
        match self.0.len() {
            edges @ 0..=1 => edges + 2,
            edges => edges + 1,
        }
    }

    /// The bin that a number falls into.
    pub fn bin(&self, x: f64) -> usize {
        let (edges, last) = match self.0.as_slice() {
            [] => return usize::from(x >= 0.0),
            [.., last] => (&self.0, *last),
        };
        if x > last {
            return self.bins() - 1;
        }
        if x == last {
            return self.bins() - 2;
        }
        edges.partition_point(|edge| *edge <= x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weighed(values: &[f64]) -> Vec<(f64, u64)> {
        let mut values: Vec<(f64, u64)> = values.iter().map(|x| (*x, 1)).collect();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        values
    }

    #[test]
    fn bins_of_edges() {
        let edges = Edges::new(vec![0.0, 1.0, 5.0]).unwrap();
        assert_eq!(edges.bins(), 4);
        let bins: Vec<usize> =
            [-0.1, 0.0, 0.9, 1.0, 4.9, 5.0, 5.1].iter().map(|x| edges.bin(*x)).collect();
        assert_eq!(bins, [0, 1, 1, 2, 2, 2, 3]);
        let one = Edges::new(vec![3.0]).unwrap();
        assert_eq!((one.bins(), one.bin(2.0), one.bin(3.0), one.bin(4.0)), (3, 0, 1, 2));
        let none = Edges::new(vec![]).unwrap();
        assert_eq!((none.bins(), none.bin(-2.0), none.bin(4.0)), (2, 0, 1));
        assert!(Edges::new(vec![1.0, 1.0]).is_err() && Edges::new(vec![f64::NAN]).is_err());
    }

    #[test]
    fn quantiles_fall_together() {
        let edges =
            Edges::of_quantiles(&weighed(&[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), 4);
        assert_eq!(edges.as_slice(), [0.0, 0.5, 2.75, 5.0]);
        assert_eq!(Edges::of_quantiles(&weighed(&[7.0, 7.0]), 10).as_slice(), [7.0]);
        assert!(Edges::of_quantiles(&[], 10).as_slice().is_empty());
    }

    proptest! {
        #[test]
        fn a_larger_number_is_in_no_lower_bin(
            edges in prop::collection::btree_set(-50i32..50, 0..12), x in -60.0..60.0f64, step in 0.0..9.0f64,
        ) {
            let edges = Edges::new(edges.into_iter().map(f64::from).collect()).unwrap();
            prop_assert!(edges.bin(x) <= edges.bin(x + step) && edges.bin(x + step) < edges.bins());
        }

        #[test]
        fn what_made_the_edges_is_between_them(values in prop::collection::vec(-9.0..9.0f64, 1..90), bins in 1usize..20) {
            let edges = Edges::of_quantiles(&weighed(&values), bins);
            prop_assert!(values.iter().all(|x| (1..edges.bins() - 1).contains(&edges.bin(*x))));
        }
    }
}
