//! Distances between values of PostgreSQL's `bit`.

use leanstack_core::{Error, bits, metric};

use crate::types::call::export;
use crate::types::vector::Bits;

fn hamming_distance(a: Bits, b: Bits) -> Result<f64, Error> {
    bits::check_same(a.len, b.len)?;
    Ok(metric::bits::hamming(&a, &b) as f64)
}

fn jaccard_distance(a: Bits, b: Bits) -> Result<f64, Error> {
    bits::check_same(a.len, b.len)?;
    Ok(metric::bits::jaccard(&a, &b))
}

export! {
    "bit" "_hamming_distance" = hamming_distance;
    "bit" "_jaccard_distance" = jaccard_distance;
}
