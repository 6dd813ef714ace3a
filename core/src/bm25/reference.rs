//! BM25 by its definition, one document after the other: what an index must agree with.

use super::Params;

/// The score of each document for a query, all given by their words. A word that the query has twice counts twice; 0 is the
/// score of a document without a word of it.
pub fn scores<W: PartialEq>(documents: &[Vec<W>], query: &[W], params: Params) -> Vec<f64> {
    let count = documents.len() as f64;
    let words: usize = documents.iter().map(Vec::len).sum();
    let average = if words == 0 { 1.0 } else { words as f64 / count };
    let score = |document: &Vec<W>| {
        let word = |word: &W| {
            let df = documents.iter().filter(|document| document.contains(word)).count() as f64;
            let idf = (1.0 + (count - df + 0.5) / (df + 0.5)).ln();
            let tf = document.iter().filter(|other| *other == word).count() as f64;
            let length = document.len() as f64;
            let spread = params.k1 * (1.0 - params.b + params.b * length / average);
            if tf == 0.0 { 0.0 } else { idf * tf / (tf + spread) }
        };
        query.iter().map(word).sum()
    };
    documents.iter().map(score).collect()
}
