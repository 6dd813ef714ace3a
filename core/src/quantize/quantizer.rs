//! One face for all ways to store a vector in fewer bytes: what SQL functions and reports use,
//! where each code stands by itself. Indexes use the types behind it, which share work between
//! codes.
//!
//! A code includes the numbers kept beside it. A score orders as the metric does, see [`Codec`],
//! and is the score of the decoded vector but for rounding, and for RaBitQ but for a term that
//! makes it right on average.

use zerocopy::{FromBytes, IntoBytes};

use super::product::{Product, Table};
use super::rabitq::{self, Code, Rabitq, Rotated};
use super::range::{self, Ranges};
use super::{Codec, Factors, Value};
use crate::metric::{self, l2_norm};
use crate::{Error, Metric, dense};

/// A way to store vectors in fewer bytes. What it has to know of the data, it has been told or
/// trained with before.
pub trait Quantizer: Send + Sync {
    /// Number of dimensions.
    fn dims(&self) -> usize;
    /// The metric of the scores.
    fn metric(&self) -> Metric;
    /// Bytes of a code.
    fn code_len(&self) -> usize;
    /// Encodes a vector into `code`, which is cleared first.
    fn encode(&self, v: &[f32], code: &mut Vec<u8>) -> Result<(), Error>;
    /// The components that a code stands for; for cosine in some cases those of the unit vector.
    fn decode(&self, code: &[u8]) -> Result<Vec<f32>, Error>;
    /// Prepares a query.
    fn query<'a>(&'a self, v: &[f32]) -> Result<Box<dyn Score + 'a>, Error>;
}

/// A prepared query.
pub trait Score {
    /// How far a coded vector is from the query; infinite for a code of another length.
    fn score(&self, code: &[u8]) -> f32;
}

/// Bytes of the numbers beside a code.
const FACTORS_BYTES: usize = size_of::<Factors>();

/// Splits the numbers off a code.
fn split(code: &[u8], len: usize) -> Option<(&[u8], Factors)> {
    let (bytes, factors) = code.split_at_checked(len)?;
    Some((bytes, Factors::read_from_bytes(factors).ok()?))
}

/// That a vector has the dimensions that it should have.
fn checked(dims: usize, v: &[f32]) -> Result<(), Error> {
    if v.len() == dims { Ok(()) } else { Err(Error::DimensionMismatch(dims, v.len())) }
}

/// What is wrong with a vector that has no code.
fn unfit(v: &[f32]) -> Error {
    let range = "finite, and for cosine greater than 0";
    Error::Argument { name: "norm of the vector", range, value: l2_norm(v) }
}

fn damaged(code: &[u8]) -> Error {
    Error::Damaged { ty: "code", bytes: code.len() }
}

/// Full precision, half precision and scalar quantization by the vector's own range; not the codecs
/// of bits and of sparse vectors.
impl Quantizer for Codec {
    fn dims(&self) -> usize {
        Codec::dims(self)
    }

    fn metric(&self) -> Metric {
        Codec::metric(self)
    }

    fn code_len(&self) -> usize {
        self.len + FACTORS_BYTES
    }

    fn encode(&self, v: &[f32], code: &mut Vec<u8>) -> Result<(), Error> {
        checked(self.dims, v)?;
        let factors = Codec::encode(self, Value::F32(v), code).ok_or_else(|| unfit(v))?;
        code.extend_from_slice(factors.as_bytes());
        Ok(())
    }

    fn decode(&self, code: &[u8]) -> Result<Vec<f32>, Error> {
        let decoded = split(code, self.len).and_then(|(code, f)| Codec::decode(self, code, &f));
        decoded.ok_or_else(|| damaged(code))
    }

    fn query<'a>(&'a self, v: &[f32]) -> Result<Box<dyn Score + 'a>, Error> {
        checked(self.dims, v)?;
        Ok(Box::new((self, Codec::query(self, Value::F32(v)))))
    }
}

impl Score for (&Codec, super::Query) {
    fn score(&self, code: &[u8]) -> f32 {
        let (codec, query) = self;
        let score = split(code, codec.len).map(|(code, f)| codec.score(query, code, &f));
        // Factors that no encoder wrote make NaN, which no comparison would rank.
        score.map_or(f32::INFINITY, |score| score.min(f32::INFINITY))
    }
}

/// One bit for each dimension, set where the component is positive, compared by how many differ,
/// whatever the metric.
#[derive(Clone, Copy, Debug)]
pub struct Binary {
    /// Number of dimensions.
    pub dims: usize,
}

impl Quantizer for Binary {
    fn dims(&self) -> usize {
        self.dims
    }

    fn metric(&self) -> Metric {
        Metric::Hamming
    }

    fn code_len(&self) -> usize {
        self.dims.div_ceil(8)
    }

    fn encode(&self, v: &[f32], code: &mut Vec<u8>) -> Result<(), Error> {
        checked(self.dims, v)?;
        code.clear();
        code.resize(self.code_len(), 0);
        dense::binary_quantize(v, code);
        Ok(())
    }

    fn decode(&self, code: &[u8]) -> Result<Vec<f32>, Error> {
        if code.len() != self.code_len() {
            return Err(damaged(code));
        }
        let set = |i: usize| code[i / 8] >> (7 - i % 8) & 1 == 1;
        Ok((0..self.dims).map(|i| if set(i) { 1.0 } else { -1.0 }).collect())
    }

    fn query<'a>(&'a self, v: &[f32]) -> Result<Box<dyn Score + 'a>, Error> {
        let mut code = Vec::new();
        self.encode(v, &mut code)?;
        Ok(Box::new(Signs(code)))
    }
}

/// The signs of a query.
struct Signs(Vec<u8>);

impl Score for Signs {
    fn score(&self, code: &[u8]) -> f32 {
        if code.len() != self.0.len() {
            return f32::INFINITY;
        }
        metric::bits::hamming(&self.0, code) as f32
    }
}

impl Quantizer for Ranges {
    fn dims(&self) -> usize {
        Ranges::dims(self)
    }

    fn metric(&self) -> Metric {
        Ranges::metric(self)
    }

    fn code_len(&self) -> usize {
        Ranges::dims(self)
    }

    fn encode(&self, v: &[f32], code: &mut Vec<u8>) -> Result<(), Error> {
        Ranges::encode(self, v, code)
    }

    fn decode(&self, code: &[u8]) -> Result<Vec<f32>, Error> {
        Ranges::decode(self, code)
    }

    fn query<'a>(&'a self, v: &[f32]) -> Result<Box<dyn Score + 'a>, Error> {
        Ok(Box::new(Ranges::query(self, v)?))
    }
}

impl Score for range::Query<'_> {
    fn score(&self, code: &[u8]) -> f32 {
        range::Query::score(self, code)
    }
}

impl Quantizer for Product {
    fn dims(&self) -> usize {
        self.shape().dims()
    }

    fn metric(&self) -> Metric {
        self.shape().metric()
    }

    fn code_len(&self) -> usize {
        self.shape().code_len()
    }

    fn encode(&self, v: &[f32], code: &mut Vec<u8>) -> Result<(), Error> {
        Product::encode(self, v, code)
    }

    fn decode(&self, code: &[u8]) -> Result<Vec<f32>, Error> {
        Product::decode(self, code)
    }

    fn query<'a>(&'a self, v: &[f32]) -> Result<Box<dyn Score + 'a>, Error> {
        Ok(Box::new(Product::query(self, v)?))
    }
}

impl Score for Table {
    fn score(&self, code: &[u8]) -> f32 {
        Table::score(self, code)
    }
}

/// RaBitQ with one centroid for all vectors. A code is the signs, the rest, and the factors of the
/// whole.
#[derive(Clone, Debug)]
pub struct Centered {
    coder: Rabitq,
    /// In rotated coordinates.
    centroid: Vec<f32>,
}

impl Centered {
    /// `centroid` is a typical vector, for cosine a mean of unit vectors, or empty.
    pub fn new(coder: Rabitq, centroid: &[f32]) -> Result<Centered, Error> {
        if !centroid.is_empty() {
            checked(coder.dims(), centroid)?;
        }
        let mut rotated = centroid.to_vec();
        rotated.resize(coder.padded(), 0.0);
        coder.rotation().apply(&mut rotated);
        if !rotated.iter().all(|x| x.is_finite()) {
            return Err(Error::NonFiniteMean);
        }
        Ok(Centered { coder, centroid: rotated })
    }

    /// The parts of a code.
    fn parts<'a>(&self, code: &'a [u8]) -> Option<(&'a [u8], &'a [u8], Factors)> {
        let signs = self.coder.sign_bytes();
        let (bytes, factors) = split(code, signs + self.coder.rest_bytes())?;
        let (signs, rest) = bytes.split_at(signs);
        Some((signs, rest, factors))
    }
}

impl Quantizer for Centered {
    fn dims(&self) -> usize {
        self.coder.dims()
    }

    fn metric(&self) -> Metric {
        self.coder.metric()
    }

    fn code_len(&self) -> usize {
        self.coder.sign_bytes() + self.coder.rest_bytes() + FACTORS_BYTES
    }

    fn encode(&self, v: &[f32], code: &mut Vec<u8>) -> Result<(), Error> {
        checked(self.coder.dims(), v)?;
        let (mut rotated, mut parts) = (Rotated::default(), Code::default());
        if !self.coder.rotate(v, &mut rotated) {
            return Err(unfit(v));
        }
        self.coder.encode(&rotated, &self.centroid, &mut parts);
        code.clear();
        code.extend_from_slice(&parts.signs);
        code.extend_from_slice(&parts.rest);
        code.extend_from_slice(parts.factors.as_bytes());
        Ok(())
    }

    fn decode(&self, code: &[u8]) -> Result<Vec<f32>, Error> {
        let (signs, rest, factors) = self.parts(code).ok_or_else(|| damaged(code))?;
        Ok(self.coder.decode(signs, rest, &factors, &self.centroid))
    }

    fn query<'a>(&'a self, v: &[f32]) -> Result<Box<dyn Score + 'a>, Error> {
        checked(self.coder.dims(), v)?;
        let query = self.coder.query(v);
        let list = query.list(&self.centroid);
        Ok(Box::new(CenteredQuery { centered: self, query, list }))
    }
}

struct CenteredQuery<'a> {
    centered: &'a Centered,
    query: rabitq::Query,
    list: rabitq::List,
}

impl Score for CenteredQuery<'_> {
    fn score(&self, code: &[u8]) -> f32 {
        match self.centered.parts(code) {
            Some((signs, rest, f)) => self.query.score(&self.list, signs, rest, &f),
            None => f32::INFINITY,
        }
    }
}

#[cfg(test)]
mod tests;
