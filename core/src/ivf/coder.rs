//! How the rows of inverted lists are stored and scored: one face for values as they are, scalar codes and RaBitQ.
//!
//! Three spaces: the column's values; the *placed* vectors, in which centroids lie and lists are chosen (unit vectors
//! for cosine, rotated for RaBitQ, zeros and ones for bits); and codes, of the placed vector relative to a centroid or
//! of the value itself. Bounds are in the units of the SQL operator.

use half::f16;
use zerocopy::{FromBytes, IntoBytes, Unalign};

use super::Geometry;
use crate::metric::dense;
use crate::quantize::{self, Codec, Factors, Value, float};
use crate::{Error, Metric};

/// What a row of a list holds. The numbers are part of the index format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Repr {
    /// The components as `f32`.
    F32 = 0,
    /// The components as `f16`.
    F16 = 1,
    /// A bit string as it is.
    Bits = 2,
    /// Eight bits for each dimension, relative to the mean of the table.
    Sq8 = 3,
}

impl TryFrom<u8> for Repr {
    type Error = Error;

    fn try_from(code: u8) -> Result<Repr, Error> {
        [Repr::F32, Repr::F16, Repr::Bits, Repr::Sq8]
            .into_iter()
            .find(|repr| *repr as u8 == code)
            .ok_or(Error::UnknownCode("quantization", code))
    }
}

/// What settles a [`Coder`], as the metapage keeps it.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What rows hold.
    pub repr: Repr,
    /// Bits for each dimension, where the codes leave a choice.
    pub bits: u8,
    /// The metric of the opclass.
    pub metric: Metric,
    /// Dimensions of the column.
    pub dims: usize,
    /// Seed of the rotation, where there is one.
    pub seed: u64,
    /// What was learned from the table: the mean of [`Repr::Sq8`], `dims` numbers; else empty.
    pub model: Vec<f32>,
}

/// Encodes rows and scores them.
pub struct Coder {
    spec: Spec,
    codec: Codec,
}

/// A query, prepared once for a scan.
pub struct Query {
    /// The query among the centroids.
    pub placed: Vec<f32>,
    codec: quantize::Query,
}

/// A placed vector on the way to its lists.
#[derive(Clone, Copy)]
pub struct Placed<'a> {
    vector: &'a [f32],
    norm_squared: f32,
    is_query: bool,
}

impl<'a> Placed<'a> {
    /// A query, whose rows are to be found.
    pub fn query(vector: &'a [f32]) -> Placed<'a> {
        Placed { vector, norm_squared: dense::norm_squared(vector) as f32, is_query: true }
    }

    /// A row, which belongs to the list of the nearest centroid.
    pub fn row(vector: &'a [f32]) -> Placed<'a> {
        Placed { is_query: false, ..Placed::query(vector) }
    }
}

/// What a query has to do with one list, prepared once for its rows.
pub struct ListQuery {}

/// Numbers before a code of [`Codec`].
const FACTORS_BYTES: usize = size_of::<Factors>();

impl Coder {
    /// The coder that a metapage describes.
    pub fn new(spec: Spec) -> Result<Coder, Error> {
        let repr = match spec.repr {
            Repr::F32 => quantize::Repr::F32,
            Repr::F16 => quantize::Repr::F16,
            Repr::Bits => quantize::Repr::Bits,
            Repr::Sq8 => quantize::Repr::Sq8,
        };
        let codec = Codec::new(repr, spec.metric, spec.dims, spec.model.clone())?;
        Ok(Coder { spec, codec })
    }

    /// What settles it.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Dimensions of placed vectors and centroids.
    pub fn placed_dims(&self) -> usize {
        self.spec.dims
    }

    /// Bytes of the whole code of a row.
    pub fn row_bytes(&self) -> usize {
        FACTORS_BYTES + self.codec.code_len().unwrap_or(0)
    }

    /// Bytes of the factors and first bits of 32 rows; 0 where rows are not packed.
    pub fn block_bytes(&self) -> usize {
        0
    }

    /// Bytes of the remaining bits of a row.
    pub fn ex_bytes(&self) -> usize {
        0
    }

    /// Whether codes are relative to a centroid.
    pub fn is_relative(&self) -> bool {
        false
    }

    /// Whether scores order rows as well as the SQL operator does. `halves` says that the vectors are `halfvec`.
    pub fn is_exact(&self, halves: bool) -> bool {
        self.codec.is_exact(halves)
    }

    /// The vector among the centroids, into `out`. False if it cannot be indexed: the metric is cosine and it is zero,
    /// or its norm is not finite.
    pub fn place(&self, v: Value<'_>, out: &mut Vec<f32>) -> bool {
        out.clear();
        match v {
            Value::F32(x) => out.extend_from_slice(x),
            Value::F16(x) => out.extend(x.iter().map(|x| x.to_f32())),
            Value::Bits { len, bytes } => {
                out.extend((0..len).map(|at| f32::from(bytes[at / 8] >> (7 - at % 8) & 1)));
            }
            Value::Sparse { .. } => return false,
        }
        if !matches!(self.spec.metric, Metric::Cosine) {
            return out.iter().all(|x| x.is_finite());
        }
        let norm = out.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
        out.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
        norm > 0.0 && norm.is_finite()
    }

    /// Encodes a row into `out`, [`Coder::row_bytes`] long. `placed` is what [`Coder::place`] made of it, `centroid` is
    /// what its code is relative to. False if it cannot be indexed.
    pub fn encode(&self, v: Value<'_>, _placed: &[f32], _centroid: &[f32], out: &mut [u8]) -> bool {
        let mut code = Vec::with_capacity(out.len());
        let Some(factors) = self.codec.encode(v, &mut code) else { return false };
        out[..FACTORS_BYTES].copy_from_slice(factors_bytes(&factors));
        out[FACTORS_BYTES..].copy_from_slice(&code);
        true
    }

    /// About the placed vector that a code stands for, into `out`. False if the code is damaged.
    pub fn decode(&self, code: &[u8], _centroid: &[f32], out: &mut Vec<f32>) -> bool {
        let Some((factors, code)) = split(code) else { return false };
        match self.codec.decode(code, &factors) {
            Some(mut x) => {
                std::mem::swap(out, &mut x);
                true
            }
            None => false,
        }
    }

    /// Packs up to 32 rows' codes into `out`, [`Coder::block_bytes`] long. A missing row is any code.
    pub fn pack(&self, _rows: &[&[u8]], _out: &mut [u8]) {}

    /// The remaining bits of a row's code, into `out`.
    pub fn ex(&self, _row: &[u8], _out: &mut [u8]) {}

    /// The whole code of row `at` of a block, from what [`Coder::pack`] and [`Coder::ex`] made.
    pub fn unpack(&self, _block: &[u8], _at: usize, _ex: &[u8], _out: &mut [u8]) {}

    /// Prepares a query. A query that cannot be placed has a placed vector of zeros.
    ///
    /// # Panics
    /// If it is not of the type and dimensions that the coder is for.
    pub fn query(&self, v: Value<'_>) -> Query {
        let mut placed = Vec::new();
        if !self.place(v, &mut placed) {
            placed.iter_mut().for_each(|x| *x = 0.0);
        }
        Query { placed, codec: self.codec.query(v) }
    }

    /// Prepares a query for the rows of a list whose codes are relative to `centroid`.
    pub fn list(&self, _q: &Query, _centroid: &[f32]) -> ListQuery {
        ListQuery {}
    }

    /// Below what the operator will not fall for the row of a whole code; the distance itself, but for rounding, if
    /// [`Coder::is_exact`].
    #[inline]
    pub fn bound(&self, q: &Query, _list: &ListQuery, row: &[u8]) -> f64 {
        let Some((factors, code)) = split(row) else { return self.lowest() };
        let score = self.codec.score(&q.codec, code, &factors);
        self.codec.lower_bound(&q.codec, score, &factors)
    }

    /// Below what the operator will hardly fall (see `epsilon` of RaBitQ) for each of the 32 rows of a block.
    pub fn block_bounds(&self, _q: &Query, _list: &ListQuery, _block: &[u8], out: &mut [f32; 32]) {
        out.fill(f32::NEG_INFINITY);
    }

    /// As [`Coder::bound`], for row `at` of a block and its remaining bits.
    pub fn packed_bound(
        &self,
        _q: &Query,
        _list: &ListQuery,
        _block: &[u8],
        _at: usize,
        _ex: &[u8],
    ) -> f64 {
        self.lowest()
    }

    /// What is true of every row.
    pub fn lowest(&self) -> f64 {
        if self.spec.metric == Metric::InnerProduct { f64::NEG_INFINITY } else { 0.0 }
    }

    /// How centroids are found: of unit vectors for cosine, else means.
    pub fn geometry(&self) -> Geometry {
        if self.spec.metric == Metric::Cosine { Geometry::Spherical } else { Geometry::Euclidean }
    }

    /// How far a placed vector is from a centroid, so that nearer lists come first: the squared distance, for queries
    /// by inner product the negative product. `centroid` is as stored, with its squared norm.
    #[inline]
    pub fn to_centroid(&self, x: &Placed<'_>, centroid: &[Unalign<f16>], norm_squared: f32) -> f32 {
        let dot = float::dot(x.vector, &centroid[..x.vector.len().min(centroid.len())]);
        match self.spec.metric {
            Metric::InnerProduct if x.is_query => -dot,
            _ => (x.norm_squared + norm_squared - 2.0 * dot).max(0.0),
        }
    }
}

fn factors_bytes(f: &Factors) -> &[u8] {
    f.as_bytes()
}

fn split(row: &[u8]) -> Option<(Factors, &[u8])> {
    Factors::read_from_prefix(row).ok()
}

/// The numbers of a centroid as an index stores them, and as everything then uses them.
pub fn store_centroid(centroid: &[f32], out: &mut Vec<f16>) {
    out.clear();
    out.extend(centroid.iter().map(|&x| f16::from_f32(x.clamp(-65504.0, 65504.0))));
}
