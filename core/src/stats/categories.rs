//! The most frequent values of a column and their counts, in bounded room: the summary of Misra and Gries in the
//! mergeable form of Agarwal and others (2012).
//!
//! Up to [`ROOM`] different values all counts are exact. Beyond, a count may be too small, by at most the number of
//! all values over half of [`ROOM`].

use std::collections::HashMap;

/// Different values that are kept at once.
pub const ROOM: usize = 16_384;

/// Counts of values.
#[derive(Debug, Clone, Default)]
pub struct Categories(HashMap<Box<str>, u64>);

impl Categories {
    /// Counts one more value.
    pub fn add(&mut self, value: &str) {
        if let Some(count) = self.0.get_mut(value) {
            *count += 1;
            return;
        }
        self.0.insert(value.into(), 1);
        if self.0.len() > ROOM {
            self.shrink();
        }
    }

    /// Takes as much off all counts as leaves half of the values.
    fn shrink(&mut self) {
        let mut counts: Vec<u64> = self.0.values().copied().collect();
        let (_, &mut off, _) = counts.select_nth_unstable(ROOM / 2);
        self.0.retain(|_, count| {
            *count = count.saturating_sub(off);
            *count > 0
        });
    }

    /// The most frequent values, the first of equals in the order of their bytes.
    pub fn top(&self, most: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> =
            self.0.iter().map(|(value, count)| (&**value, *count)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        all.truncate(most);
        all
    }
}
