//! What an index node stores in place of a vector, and distances between such codes.
//!
//! A [`Codec`] turns vectors into codes and scores codes against a full-precision [`Query`] or
//! against each other. A score orders as the metric does: the squared distance for L2, the negative
//! inner product, for cosine the squared distance of the unit vectors (twice the cosine distance),
//! the distance itself for the rest. Beside its code each vector has [`Factors`]; from the error in
//! them [`Codec::lower_bound`] derives a value that the SQL operator will not fall below.

mod bound;
mod encode;
pub(crate) mod float;
mod packed;
pub mod product;
pub mod quantizer;
mod query;
pub mod rabitq;
pub mod range;
pub mod report;
pub mod rotation;
pub mod scalar;

use std::cell::Cell;

use half::f16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unalign};

pub use query::Query;

use crate::isa::Lane;
use crate::metric::sparse::{self, Entries};
use crate::{Error, Metric, metric};
use packed::{Form, Packed, Runs};
use query::Body;

/// A borrowed vector of any SQL type.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A `vector`.
    F32(&'a [f32]),
    /// A `halfvec`.
    F16(&'a [f16]),
    /// A `bit`: its length and its bytes, the unused bits of the last being zero.
    Bits {
        /// Number of bits.
        len: usize,
        /// The bits, the first in the highest bit of the first byte.
        bytes: &'a [u8],
    },
    /// A `sparsevec`.
    Sparse {
        /// Number of dimensions.
        dim: usize,
        /// Where the values are, ascending, counted from 0.
        indices: &'a [i32],
        /// The values, none of them zero.
        values: &'a [f32],
    },
}

impl Value<'_> {
    /// Number of dimensions.
    pub fn dims(&self) -> usize {
        match *self {
            Value::F32(x) => x.len(),
            Value::F16(x) => x.len(),
            Value::Bits { len, .. } => len,
            Value::Sparse { dim, .. } => dim,
        }
    }
}

/// What a node stores in place of the vector. The numbers are part of the index format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Repr {
    /// The components as `f32`.
    F32 = 0,
    /// The components as `f16`.
    F16 = 1,
    /// Eight bits per component.
    Sq8 = 2,
    /// Four bits per component.
    Sq4 = 3,
    /// Two bits per component.
    Sq2 = 4,
    /// A bit string as it is.
    Bits = 5,
    /// The values of a sparse vector, then its indices.
    Sparse = 6,
}

impl TryFrom<u8> for Repr {
    type Error = Error;

    fn try_from(code: u8) -> Result<Repr, Error> {
        Ok(match code {
            0 => Repr::F32,
            1 => Repr::F16,
            2 => Repr::Sq8,
            3 => Repr::Sq4,
            4 => Repr::Sq2,
            5 => Repr::Bits,
            6 => Repr::Sparse,
            _ => return Err(Error::UnknownCode("quantization", code)),
        })
    }
}

/// Numbers kept beside a code; their meaning is the codec's.
#[derive(Clone, Copy, Default, PartialEq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Factors {
    /// What a stored number is multiplied by.
    pub scale: f32,
    /// What the score needs of the vector besides its inner product with the query.
    pub bias: f32,
    /// At least the norm of what the code lost: the L1 norm for that metric, else the L2 norm.
    pub error: f32,
}

const _: () = assert!(size_of::<Factors>() == 12);

/// Turns vectors of one column into codes and tells how far codes are apart.
#[derive(Clone, Debug)]
pub struct Codec {
    repr: Repr,
    metric: Metric,
    dims: usize,
    /// Subtracted before scalar quantization: `dims` numbers, none with other codes.
    mean: Vec<f32>,
    mean_square: f64,
    /// Bytes of a code; 0 where they vary.
    len: usize,
    /// Places in a code past the last component.
    pads: i32,
}

impl Codec {
    /// A codec for vectors of `dims` dimensions. `mean` is a typical vector, for cosine a mean of
    /// unit vectors, or empty; only scalar quantization makes use of it.
    pub fn new(repr: Repr, metric: Metric, dims: usize, mean: Vec<f32>) -> Result<Codec, Error> {
        let on_bits = matches!(metric, Metric::Hamming | Metric::Jaccard);
        if on_bits != (repr == Repr::Bits) {
            return Err(Error::UnsupportedCodec(repr, metric));
        }
        if !mean.is_empty() && mean.len() != dims {
            return Err(Error::DimensionMismatch(dims, mean.len()));
        }
        if !mean.iter().all(|x| x.is_finite()) {
            return Err(Error::NonFiniteMean);
        }
        let mut codec = Codec { repr, metric, dims, mean, mean_square: 0.0, len: 0, pads: 0 };
        if !matches!(repr, Repr::Sq8 | Repr::Sq4 | Repr::Sq2) {
            codec.mean.clear();
        }
        codec.len = match repr {
            Repr::F32 => dims * size_of::<f32>(),
            Repr::F16 => dims * size_of::<f16>(),
            Repr::Bits => dims.div_ceil(8),
            Repr::Sparse => 0,
            Repr::Sq8 | Repr::Sq4 | Repr::Sq2 => {
                codec.mean.resize(dims, 0.0);
                codec.mean_square = metric::dense::norm_squared(&codec.mean);
                let span = dims.div_ceil(codec.per_byte());
                codec.pads = (span * codec.per_byte() - dims) as i32;
                span
            }
        };
        Ok(codec)
    }

    /// What a node stores.
    pub fn repr(&self) -> Repr {
        self.repr
    }

    /// The metric of the scores.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Number of dimensions.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Bytes of a code, or `None` if they vary. A code of a sparse vector must be handed back in
    /// exactly its length.
    pub fn code_len(&self) -> Option<usize> {
        (self.repr != Repr::Sparse).then_some(self.len)
    }

    /// How many non-zero values a code of `code_bytes` has room for.
    pub fn max_entries(&self, code_bytes: usize) -> usize {
        packed::max_entries(self.dims, code_bytes)
    }

    /// Whether scores order vectors as well as the SQL operator does, so that none need be fetched
    /// to compare them. `halves` says that the vectors are `halfvec`.
    pub fn is_exact(&self, halves: bool) -> bool {
        match self.repr {
            Repr::F32 | Repr::Bits | Repr::Sparse => true,
            Repr::F16 => halves,
            Repr::Sq8 | Repr::Sq4 | Repr::Sq2 => false,
        }
    }

    /// Components in a byte of a scalar-quantized code.
    fn per_byte(&self) -> usize {
        match self.repr {
            Repr::Sq4 => 2,
            Repr::Sq2 => 4,
            _ => 1,
        }
    }

    /// How far the query is from a coded vector. `code` and `f` are what [`Codec::encode`] gave;
    /// of anything else comes a meaningless score, and infinity of a code that is too short.
    #[inline]
    pub fn score(&self, q: &Query, code: &[u8], f: &Factors) -> f32 {
        if q.constant {
            return 0.0;
        }
        let Some(code) = self.checked(code) else { return f32::INFINITY };
        match &q.body {
            Body::Planes(planes) => {
                let dot = match self.repr {
                    Repr::Sq8 => planes.dot::<1>(code),
                    Repr::Sq4 => planes.dot::<2>(code),
                    _ => planes.dot::<4>(code),
                };
                let dot = planes.step * f64::from(f.scale) * dot;
                if self.metric == Metric::InnerProduct {
                    ranked((q.base - dot) as f32)
                } else {
                    (q.base + f64::from(f.bias) - 2.0 * dot).max(0.0) as f32
                }
            }
            Body::Floats(x) => match self.repr {
                Repr::F32 => self.score_floats(q, x, numbers::<f32>(code), f),
                Repr::F16 => self.score_floats(q, x, numbers::<f16>(code), f),
                repr => {
                    let all = match repr {
                        Repr::Sq8 => scalar::l1_query::<1>(x, code, f.scale),
                        Repr::Sq4 => scalar::l1_query::<2>(x, code, f.scale),
                        _ => scalar::l1_query::<4>(x, code, f.scale),
                    };
                    (all - self.pads as f32 * f.scale).max(0.0)
                }
            },
            Body::Bits(x) => self.between_bits(x, code),
            Body::Sparse { indices, values } => {
                let x = sparse::Sparse { indices, values };
                let norms = (q.base as f32, f.bias);
                match packed::form(self.dims) {
                    Form::Two => self.between_sparse(x, Packed::<2>::new(code, f.scale), norms),
                    Form::Three => self.between_sparse(x, Packed::<3>::new(code, f.scale), norms),
                    Form::Runs => {
                        let run = Cell::new(0);
                        self.between_sparse(x, Runs::new(code, f.scale, &run), norms)
                    }
                }
            }
        }
    }

    /// How far two coded vectors are apart, on the same scale as [`Codec::score`].
    #[inline]
    pub fn between(&self, a: &[u8], fa: &Factors, b: &[u8], fb: &Factors) -> f32 {
        let (Some(a), Some(b)) = (self.checked(a), self.checked(b)) else { return f32::INFINITY };
        match self.repr {
            Repr::F32 => self.between_floats(numbers::<f32>(a), fa, numbers::<f32>(b), fb),
            Repr::F16 => self.between_floats(numbers::<f16>(a), fa, numbers::<f16>(b), fb),
            Repr::Sq8 => self.between_scalar::<1>(a, fa, b, fb),
            Repr::Sq4 => self.between_scalar::<2>(a, fa, b, fb),
            Repr::Sq2 => self.between_scalar::<4>(a, fa, b, fb),
            Repr::Bits => self.between_bits(a, b),
            Repr::Sparse => match packed::form(self.dims) {
                Form::Two => self.between_packed::<2>(a, fa, b, fb),
                Form::Three => self.between_packed::<3>(a, fa, b, fb),
                Form::Runs => {
                    let (run_a, run_b) = (Cell::new(0), Cell::new(0));
                    let x = Runs::new(a, fa.scale, &run_a);
                    let y = Runs::new(b, fb.scale, &run_b);
                    self.between_sparse(x, y, (fa.bias, fb.bias))
                }
            },
        }
    }

    #[inline(always)]
    fn between_packed<const N: usize>(
        &self,
        a: &[u8],
        fa: &Factors,
        b: &[u8],
        fb: &Factors,
    ) -> f32 {
        let (x, y) = (Packed::<N>::new(a, fa.scale), Packed::<N>::new(b, fb.scale));
        self.between_sparse(x, y, (fa.bias, fb.bias))
    }

    #[inline(always)]
    fn between_sparse(&self, x: impl Entries, y: impl Entries, norms: (f32, f32)) -> f32 {
        match self.metric {
            Metric::L1 => sparse::l1(x, y),
            Metric::L2 => sparse::l2_squared(x, y),
            Metric::InnerProduct => ranked(-sparse::dot(x, y)),
            _ => from_norms(norms.0, norms.1, sparse::dot(x, y)),
        }
    }

    /// The part of `code` that is one, if it is long enough.
    #[inline(always)]
    fn checked<'a>(&self, code: &'a [u8]) -> Option<&'a [u8]> {
        if self.repr == Repr::Sparse { Some(code) } else { code.get(..self.len) }
    }

    #[inline(always)]
    fn score_floats<B: Lane>(&self, q: &Query, x: &[f32], y: &[B], f: &Factors) -> f32 {
        match self.metric {
            Metric::L2 => float::l2_squared(x, 1.0, y, f.scale),
            Metric::L1 => float::l1(x, 1.0, y, f.scale),
            Metric::InnerProduct => ranked(-f.scale * float::dot(x, y)),
            _ => from_norms(q.base as f32, f.bias, f.scale * float::dot(x, y)),
        }
    }

    #[inline(always)]
    fn between_floats<B: Lane>(&self, a: &[B], fa: &Factors, b: &[B], fb: &Factors) -> f32 {
        match self.metric {
            Metric::L2 => float::l2_squared(a, fa.scale, b, fb.scale),
            Metric::L1 => float::l1(a, fa.scale, b, fb.scale),
            Metric::InnerProduct => ranked(-fa.scale * fb.scale * float::dot(a, b)),
            _ => from_norms(fa.bias, fb.bias, fa.scale * fb.scale * float::dot(a, b)),
        }
    }

    #[inline(always)]
    fn between_scalar<const P: usize>(
        &self,
        a: &[u8],
        fa: &Factors,
        b: &[u8],
        fb: &Factors,
    ) -> f32 {
        if self.metric == Metric::L1 {
            let all = scalar::l1_codes::<P>(a, fa.scale, b, fb.scale);
            return (all - self.pads as f32 * (fa.scale - fb.scale).abs()).max(0.0);
        }
        let dot = f64::from(scalar::dot_codes::<P>(a, b) - self.pads);
        let dot = f64::from(fa.scale) * f64::from(fb.scale) * dot;
        let biases = f64::from(fa.bias) + f64::from(fb.bias);
        if self.metric == Metric::InnerProduct {
            ranked((biases - self.mean_square - dot) as f32)
        } else {
            (biases - 2.0 * dot).max(0.0) as f32
        }
    }

    #[inline(always)]
    fn between_bits(&self, a: &[u8], b: &[u8]) -> f32 {
        match self.metric {
            Metric::Jaccard => metric::bits::jaccard(a, b) as f32,
            _ => metric::bits::hamming(a, b) as f32,
        }
    }
}

/// The squared distance of two vectors from their squared norms and their inner product.
#[inline(always)]
fn from_norms(a: f32, b: f32, dot: f32) -> f32 {
    (a + b - 2.0 * dot).max(0.0)
}

/// A score with infinity for NaN, which partial sums that overflow to both sides make and no
/// comparison would rank.
#[inline(always)]
fn ranked(score: f32) -> f32 {
    score.min(f32::INFINITY)
}

/// The numbers in the bytes of a code, which may lie at any address.
#[inline(always)]
fn numbers<E>(code: &[u8]) -> &[Unalign<E>]
where
    [Unalign<E>]: FromBytes + Immutable + KnownLayout<PointerMetadata = usize>,
{
    let count = code.len() / size_of::<E>();
    match <[Unalign<E>]>::ref_from_prefix_with_elems(code, count) {
        Ok((numbers, _)) => numbers,
        // As many as fit always fit.
        Err(_) => &[],
    }
}

#[cfg(test)]
mod tests;
