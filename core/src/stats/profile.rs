//! What is known of a feature's values after one pass over them: everything that can be merged or compared later.

use std::collections::HashMap;

use super::categories::Categories;
use super::centroid::{Centroid, norm};
use super::distinct::Distinct;
use super::histogram::Edges;
use super::moments::Moments;
use super::quantiles::Quantiles;
use super::reservoir::Reservoir;

/// Characters of a category that count: longer texts that begin alike are one category.
pub const CATEGORY_CHARS: usize = 200;

/// What kind of values a feature has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Number,
    /// Texts and truth values.
    Category,
    /// Vectors, known by their mean and by their norms as numbers.
    Embedding,
}

/// The bins that values are counted in.
pub enum Bins {
    /// Of numbers.
    Edges(Edges),
    /// Of categories, by the place of each; all others share a last bin.
    Categories(Vec<String>, HashMap<String, usize>),
}

impl Bins {
    /// The bins of some categories.
    pub fn categories(values: Vec<String>) -> Bins {
        let places =
            values.iter().enumerate().map(|(place, value)| (value.clone(), place)).collect();
        Bins::Categories(values, places)
    }

    /// How many bins there are, besides the one of missing values.
    fn len(&self) -> usize {
        match self {
            Bins::Edges(edges) => edges.bins(),
            Bins::Categories(values, _) => values.len() + 1,
        }
    }
}

/// How much a profile keeps.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Values of the sample.
    pub sample: usize,
    /// Bins of a histogram without given edges.
    pub bins: usize,
    /// Categories without given ones.
    pub categories: usize,
}

/// The values of a feature.
pub struct Profile {
    /// What kind of values there are.
    pub kind: Kind,
    /// All rows.
    pub rows: u64,
    /// Rows without a value.
    pub nulls: u64,
    /// Rows with a value that is none: NaN, an infinity, a vector with gaps.
    pub invalid: u64,
    /// Of numbers, and of the norms of vectors.
    pub moments: Moments,
    /// Of the same.
    pub quantiles: Quantiles,
    /// How many different values there are; of vectors, different norms.
    pub distinct: Distinct,
    /// Of vectors.
    pub centroid: Centroid,
    /// The bins, as soon as they are known.
    pub bins: Option<Bins>,
    /// The count of each bin; the last one is of missing values.
    pub counts: Vec<u64>,
    top: Categories,
    sample: Reservoir,
    limits: Limits,
}

impl Profile {
    /// An empty profile. Without bins, they come from the values: see [`Profile::find_bins`].
    pub fn new(kind: Kind, bins: Option<Bins>, limits: Limits) -> Profile {
        let counts = bins.as_ref().map_or(Vec::new(), |bins| vec![0; bins.len() + 1]);
        Profile {
            kind,
            rows: 0,
            nulls: 0,
            invalid: 0,
            moments: Moments::default(),
            quantiles: Quantiles::default(),
            distinct: Distinct::default(),
            centroid: Centroid::default(),
            bins,
            counts,
            top: Categories::default(),
            sample: Reservoir::new(limits.sample),
            limits,
        }
    }

    /// A row without a value.
    pub fn add_null(&mut self) {
        self.rows += 1;
        self.nulls += 1;
        self.count_missing();
    }

    /// A row with a value that is none.
    pub fn add_invalid(&mut self) {
        self.rows += 1;
        self.invalid += 1;
        self.count_missing();
    }

    fn count_missing(&mut self) {
        if let Some(missing) = self.counts.last_mut() {
            *missing += 1;
        }
    }

    /// A row with a number.
    pub fn add_number(&mut self, x: f64) {
        if !x.is_finite() {
            return self.add_invalid();
        }
        self.rows += 1;
        self.moments.add(x);
        self.quantiles.add(x);
        self.distinct.add_number(x);
        self.sample.add(x);
        self.count_number(x);
    }

    /// A row with a text.
    pub fn add_text(&mut self, text: &str) {
        let text = category(text);
        self.rows += 1;
        self.distinct.add_bytes(text.as_bytes());
        if self.bins.is_none() {
            self.top.add(text);
        }
        self.count_text(text);
    }

    /// A row with a vector.
    pub fn add_vector(&mut self, v: &[f32]) {
        if v.iter().all(|x| x.is_finite()) {
            self.centroid.add(v);
            self.add_number(norm(v));
        } else {
            self.add_invalid();
        }
    }

    fn count_number(&mut self, x: f64) {
        if let Some(Bins::Edges(edges)) = &self.bins {
            self.counts[edges.bin(x)] += 1;
        }
    }

    fn count_text(&mut self, text: &str) {
        if let Some(Bins::Categories(values, places)) = &self.bins {
            self.counts[places.get(text).copied().unwrap_or(values.len())] += 1;
        }
    }

    /// Sets bins that part the values seen so far, where there are none yet, and counts. What could not be counted,
    /// because not all values were kept, gives false: then all rows have to come once more, to [`Profile::recount`].
    pub fn find_bins(&mut self) -> bool {
        if self.bins.is_some() {
            return true;
        }
        let complete;
        if self.kind == Kind::Category {
            let top = self.top.top(self.limits.categories);
            // Beyond the room of the summary its counts are no longer exact.
            complete = self.distinct.estimate() < 0.8 * super::categories::ROOM as f64;
            let (values, mut counts): (Vec<String>, Vec<u64>) =
                top.into_iter().map(|(value, count)| (value.to_string(), count)).unzip();
            let missing = self.nulls + self.invalid;
            counts.push((self.rows - missing).saturating_sub(counts.iter().sum()));
            counts.push(missing);
            (self.bins, self.counts) = (Some(Bins::categories(values)), counts);
        } else {
            complete = self.sample.values().len() as u64 == self.moments.count;
            let weighed = self.weighed();
            let edges = Edges::of_quantiles(&weighed, self.limits.bins);
            self.counts = vec![0; edges.bins() + 1];
            if complete {
                weighed.iter().for_each(|(x, _)| self.counts[edges.bin(*x)] += 1);
                self.counts[edges.bins()] = self.nulls + self.invalid;
            }
            self.bins = Some(Bins::Edges(edges));
        }
        if !complete {
            self.counts.fill(0);
        }
        complete
    }

    /// The numbers in order, each with how many it stands for: all of them where the sample has them, what the sketch
    /// has of them beyond, with the true ends.
    fn weighed(&self) -> Vec<(f64, u64)> {
        let sample = self.sample.values();
        if sample.len() as u64 == self.moments.count {
            let mut weighed: Vec<(f64, u64)> = sample.iter().map(|x| (*x, 1)).collect();
            weighed.sort_by(|a, b| a.0.total_cmp(&b.0));
            return weighed;
        }
        let mut weighed = self.quantiles.weighed();
        if let [first, .., last] = weighed.as_mut_slice() {
            (first.0, last.0) = (self.moments.min, self.moments.max);
        }
        weighed
    }

    /// Counts a value again, in the bins that were found. A missing one is `None`.
    pub fn recount(&mut self, value: Option<Value>) {
        match value {
            Some(Value::Number(x)) if x.is_finite() => self.count_number(x),
            Some(Value::Text(text)) => self.count_text(category(text)),
            Some(Value::Vector(v)) if v.iter().all(|x| x.is_finite()) => {
                self.count_number(norm(v));
            }
            _ => self.count_missing(),
        }
    }

    /// Takes a value. A missing one is `None`.
    pub fn add(&mut self, value: Option<Value>) {
        match value {
            None => self.add_null(),
            Some(Value::Number(x)) => self.add_number(x),
            Some(Value::Text(text)) => self.add_text(text),
            Some(Value::Vector(v)) => self.add_vector(v),
            Some(Value::Broken) => self.add_invalid(),
        }
    }

    /// Quantiles of the numbers.
    pub fn percentiles(&self, shares: &[f64]) -> Vec<f64> {
        let weighed = self.weighed();
        shares.iter().filter_map(|share| super::quantiles::percentile(&weighed, *share)).collect()
    }

    /// The sample in order.
    pub fn into_sample(self) -> Vec<f64> {
        self.sample.sorted()
    }
}

/// A value of a row.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A number.
    Number(f64),
    /// A text.
    Text(&'a str),
    /// A vector.
    Vector(&'a [f32]),
    /// Something that should have been a vector.
    Broken,
}

/// What counts of a text.
fn category(text: &str) -> &str {
    text.char_indices().nth(CATEGORY_CHARS).map_or(text, |(end, _)| &text[..end])
}
