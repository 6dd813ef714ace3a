//! When a query has looked into enough lists: the nearest rows found so far have stayed the same for some lists.
//!
//! Queries differ. One whose nearest rows are in the first lists is soon done, one between clusters is not, and a number of
//! lists that suits both is too large for the one and too small for the other. What calibrates and what searches watch in
//! the same way, so that it stops as was measured.

/// Rows whose changes are watched, whatever the number that a query asks for, which an index is not told.
pub const NEAREST: usize = 10;
/// A row this share farther than the farthest of those counts as a change: others like it are likely to be near by. Of
/// squared distances.
const SLACK: f32 = 0.1;
/// The lists that may be read at most are so many times those in turn that may change nothing: the few queries that would
/// go on for longer gain little.
pub const PATIENCE: usize = 4;

/// Watches the bounds of rows as lists are read.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The least bounds, the least first.
    nearest: [f32; NEAREST],
    slack: f32,
    reach: f32,
    has_changed: bool,
    unchanged: usize,
}

impl Watch {
    /// For bounds of distances, squared or not; those of products count as squared.
    pub fn new(is_squared: bool) -> Watch {
        let slack = if is_squared { SLACK } else { (1.0 + SLACK).sqrt() - 1.0 };
        let nearest = [f32::INFINITY; NEAREST];
        Watch { nearest, slack, reach: f32::INFINITY, has_changed: false, unchanged: 0 }
    }

    /// Up to where a bound is a change.
    #[inline]
    pub fn reach(&self) -> f32 {
        self.reach
    }

    /// A row of the list that is being read.
    #[inline]
    pub fn row(&mut self, bound: f32) {
        if bound < self.reach {
            self.change(bound);
        }
    }

    fn change(&mut self, bound: f32) {
        self.has_changed = true;
        let mut at = NEAREST;
        while at > 0 && bound < self.nearest[at - 1] {
            if at < NEAREST {
                self.nearest[at] = self.nearest[at - 1];
            }
            self.nearest[at - 1] = bound;
            at -= 1;
        }
        let last = self.nearest[NEAREST - 1];
        self.reach = if last.is_finite() { last + self.slack * last.abs() } else { last };
    }

    /// The list was read. Gives how many in turn have changed nothing.
    pub fn list_ends(&mut self) -> usize {
        self.unchanged = if self.has_changed { 0 } else { self.unchanged + 1 };
        self.has_changed = false;
        self.unchanged
    }

    /// How many lists in turn have changed nothing.
    pub fn unchanged(&self) -> usize {
        self.unchanged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_without_a_near_row_are_counted() {
        let mut watch = Watch::new(true);
        (0..NEAREST).for_each(|at| watch.row(1.0 + at as f32));
        assert_eq!((watch.list_ends(), watch.reach()), (0, 11.0));
        watch.row(12.0);
        assert_eq!(watch.list_ends(), 1);
        assert_eq!(watch.list_ends(), 2);
        // Not among the nearest, but not far from them.
        watch.row(10.5);
        assert_eq!((watch.list_ends(), watch.reach()), (0, 11.0));
        watch.row(2.0);
        assert_eq!((watch.list_ends(), watch.unchanged()), (0, 0));
        assert!((watch.reach() - 9.9).abs() < 1e-5);
        watch.row(f32::NAN);
        assert_eq!(watch.list_ends(), 1);
    }

    #[test]
    fn the_slack_is_that_of_squares() {
        let (mut squares, mut roots) = (Watch::new(true), Watch::new(false));
        for _ in 0..NEAREST {
            squares.row(4.0);
            roots.row(2.0);
        }
        assert!((squares.reach().sqrt() - roots.reach()).abs() < 1e-5);
        let mut products = Watch::new(true);
        (0..NEAREST).for_each(|_| products.row(-4.0));
        assert!((products.reach() + 3.6).abs() < 1e-5);
    }
}
