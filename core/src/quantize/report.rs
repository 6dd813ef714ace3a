//! What a quantizer makes of given vectors: bytes, what is lost, and how many of the true nearest
//! neighbours its scores alone find.

use super::quantizer::Quantizer;
use crate::metric::dense::{l1, norm_squared};
use crate::{Error, Metric, metric};

/// Neighbours that are looked for.
pub const NEIGHBOURS: usize = 10;

/// Vectors of one column and the true neighbours of some of them.
#[derive(Clone, Debug)]
pub struct Sample<'a> {
    metric: Metric,
    rows: Vec<&'a [f32]>,
    /// Rows that serve as queries, each with its neighbours' distances, nearest first.
    queries: Vec<(usize, Vec<f64>)>,
}

/// What a quantizer makes of a sample.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Report {
    /// Bytes of a code.
    pub code_bytes: usize,
    /// Mean distance of a vector and what its code stands for, as a share of the vector's norm; for
    /// cosine and for signs, of the unit vectors.
    pub mean_error: f64,
    /// The largest.
    pub worst_error: f64,
    /// Share of the true [`NEIGHBOURS`] nearest rows that are among as many of the best scores.
    pub recall: f64,
}

impl<'a> Sample<'a> {
    /// Finds the true neighbours of `queries` of the rows, taken evenly. For cosine rows without a
    /// direction are left out.
    pub fn new(metric: Metric, rows: &[&'a [f32]], queries: usize) -> Sample<'a> {
        let has_code = |row: &&[f32]| metric != Metric::Cosine || norm_squared(row) > 0.0;
        let rows: Vec<&[f32]> = rows.iter().copied().filter(has_code).collect();
        let queries = queries.min(rows.len());
        let chosen = (0..queries).map(|i| i * rows.len() / queries);
        let queries = chosen.map(|query| {
            let mut distances: Vec<f64> = (0..rows.len())
                .filter(|&i| i != query)
                .map(|i| distance(metric, rows[query], rows[i]))
                .collect();
            distances.sort_by(f64::total_cmp);
            distances.truncate(NEIGHBOURS);
            (query, distances)
        });
        let queries = queries.collect();
        Sample { metric, rows, queries }
    }

    /// How many vectors there are.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Encodes, decodes and scores all vectors.
    pub fn report(&self, quantizer: &dyn Quantizer) -> Result<Report, Error> {
        let code_bytes = quantizer.code_len();
        let directions = matches!(quantizer.metric(), Metric::Cosine | Metric::Hamming);
        let (mut codes, mut code) = (Vec::with_capacity(self.rows.len() * code_bytes), vec![]);
        let (mut mean_error, mut worst_error) = (0.0, 0.0f64);
        for row in &self.rows {
            quantizer.encode(row, &mut code)?;
            let error = loss(row, &quantizer.decode(&code)?, directions);
            mean_error += error / self.rows.len() as f64;
            worst_error = worst_error.max(error);
            codes.extend_from_slice(&code);
        }
        let (mut found, mut wanted) = (0, 0);
        let mut scores: Vec<(f32, usize)> = Vec::with_capacity(self.rows.len());
        for (query, truth) in &self.queries {
            let score = quantizer.query(self.rows[*query])?;
            scores.clear();
            let codes = codes.chunks_exact(code_bytes.max(1)).enumerate();
            scores
                .extend(codes.filter(|(i, _)| i != query).map(|(i, code)| (score.score(code), i)));
            scores.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let Some(farthest) = truth.last() else { continue };
            // By distance, not by row: rows may be equal.
            let limit = farthest + farthest.abs() * 1e-6;
            let best = scores.iter().take(truth.len());
            let near = |i: usize| distance(self.metric, self.rows[*query], self.rows[i]) <= limit;
            found += best.filter(|(_, i)| near(*i)).count();
            wanted += truth.len();
        }
        let recall = if wanted > 0 { found as f64 / wanted as f64 } else { 1.0 };
        Ok(Report { code_bytes, mean_error, worst_error, recall })
    }
}

/// By what neighbours are ordered.
fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    match metric {
        Metric::InnerProduct => f64::from(-metric::dot(a, b)),
        Metric::Cosine => metric::cosine_distance(a, b),
        Metric::L1 => f64::from(l1(a, b)),
        _ => f64::from(metric::l2_squared(a, b)),
    }
}

/// Distance of a vector and what is decoded, as a share of the vector's norm.
fn loss(v: &[f32], decoded: &[f32], directions: bool) -> f64 {
    let norm = |x: &[f32]| norm_squared(x).sqrt();
    let (a, b) = if directions { (norm(v), norm(decoded)) } else { (1.0, 1.0) };
    let (a, b) = (if a > 0.0 { a } else { 1.0 }, if b > 0.0 { b } else { 1.0 });
    let pairs = v.iter().zip(decoded);
    let square: f64 = pairs.map(|(&x, &y)| (f64::from(x) / a - f64::from(y) / b).powi(2)).sum();
    let size = norm(v) / a;
    if square == 0.0 { 0.0 } else { square.sqrt() / size }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::super::quantizer::{Binary, Centered};
    use super::super::rabitq::Rabitq;
    use super::super::{Codec, Repr};
    use super::*;

    #[test]
    fn more_bits_are_reported_as_better() {
        let mut rng = SmallRng::seed_from_u64(6);
        let rows: Vec<Vec<f32>> =
            (0..500).map(|_| (0..96).map(|_| rng.random_range(-1.0f32..1.0)).collect()).collect();
        let rows: Vec<&[f32]> = rows.iter().map(|row| &row[..]).collect();
        for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
            let sample = Sample::new(metric, &rows, 20);
            let rabitq = |bits| {
                let coder = Rabitq::new(metric, 96, bits, 1).unwrap();
                sample.report(&Centered::new(coder, &[]).unwrap()).unwrap()
            };
            let exact = Codec::new(Repr::F32, metric, 96, vec![]).unwrap();
            let reports = [
                sample.report(&exact).unwrap(),
                rabitq(8),
                rabitq(4),
                rabitq(1),
                sample.report(&Binary { dims: 96 }).unwrap(),
            ];
            assert!(reports.is_sorted_by(|a, b| a.code_bytes > b.code_bytes), "{reports:?}");
            assert!(reports[..4].is_sorted_by(|a, b| a.mean_error < b.mean_error), "{reports:?}");
            assert!(reports.is_sorted_by(|a, b| a.recall >= b.recall), "{reports:?}");
            assert!(reports[0].recall == 1.0 && reports[1].recall > 0.95, "{reports:?}");
        }
    }

    #[test]
    fn a_sample_may_be_empty_or_equal() {
        let codec = Codec::new(Repr::Sq8, Metric::L2, 3, vec![]).unwrap();
        let report = Sample::new(Metric::L2, &[], 5).report(&codec).unwrap();
        assert_eq!((report.mean_error, report.recall), (0.0, 1.0));
        let same: Vec<&[f32]> = vec![&[0.0; 3]; 40];
        let report = Sample::new(Metric::L2, &same, 5).report(&codec).unwrap();
        assert_eq!((report.worst_error, report.recall), (0.0, 1.0));
        assert_eq!(Sample::new(Metric::Cosine, &same, 5).rows(), 0);
    }
}
