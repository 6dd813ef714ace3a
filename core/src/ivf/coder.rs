//! How the rows of inverted lists are stored and scored: one face for values as they are, scalar codes, product codes and
//! RaBitQ.
//!
//! Three spaces: the column's values; the *placed* vectors, in which centroids lie and lists are chosen (unit vectors
//! for cosine, rotated for RaBitQ, zeros and ones for bits); and codes, of the placed vector relative to a centroid or
//! of the value itself. Bounds are in the units of the SQL operator.
//!
//! # Formats
//! ```text
//! row, plain       factors 12 bytes | code, see quantize; for product codes, see quantize::product::relative
//! row, RaBitQ      factors of the signs 12 | factors of the whole 12 | signs | rest
//! block, RaBitQ    factors of 32 rows' signs 196 | their signs, see quantize::rabitq::block
//! ex, RaBitQ       factors of the whole 12 | rest
//! ```

mod parts;
mod placed;

use std::cell::RefCell;

use zerocopy::{FromBytes, IntoBytes};

use self::parts::{RowParts, split};
pub use self::placed::{Placed, store_centroid};
use super::Geometry;
use crate::metric::dense;
use crate::quantize::product::relative::{self, Relative};
use crate::quantize::rabitq::{self, Code, Rabitq, Rotated, block};
use crate::quantize::{self, Codec, Factors, Value};
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
    /// One to eight bits for each dimension, relative to a centroid.
    Rabitq = 4,
    /// A number of four or eight bits for each part of the vector, relative to a centroid.
    Pq = 5,
}

impl TryFrom<u8> for Repr {
    type Error = Error;

    fn try_from(code: u8) -> Result<Repr, Error> {
        [Repr::F32, Repr::F16, Repr::Bits, Repr::Sq8, Repr::Rabitq, Repr::Pq]
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
    /// Bits for each dimension of RaBitQ codes, for each part of product codes.
    pub bits: u8,
    /// The metric of the opclass.
    pub metric: Metric,
    /// Dimensions of the column.
    pub dims: usize,
    /// Seed of the rotation, where there is one.
    pub seed: u64,
    /// What was learned from the table: the mean of [`Repr::Sq8`], `dims` numbers; for [`Repr::Pq`], the number of
    /// parts, the spread and the centers, see [`Relative::train`]; else empty. A coder of product codes does not keep it
    /// here.
    pub model: Vec<f32>,
}

/// Encodes rows and scores them.
pub struct Coder {
    spec: Spec,
    kind: Kind,
}

enum Kind {
    Plain(Codec),
    Rabitq(Rabitq),
    Product(Box<Relative>),
}

/// A query, prepared once for a scan.
pub struct Query {
    /// The query among the centroids.
    pub placed: Vec<f32>,
    body: Body,
}

enum Body {
    Plain(quantize::Query),
    Rabitq(Box<rabitq::Query>),
    Product(Box<relative::Query>),
}

/// What a query has to do with one list, prepared once for its rows.
pub struct ListQuery(Option<rabitq::List>);

/// What is asked of a code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// A value below which the operator will not fall.
    Bound,
    /// A value below which the operator will hardly fall, where codes tell; else the same. Not for the executor.
    Likely,
    /// About the operator's value.
    Estimate,
}

const FACTORS_BYTES: usize = size_of::<Factors>();
const BLOCK_FACTORS_BYTES: usize = size_of::<block::BlockFactors>();

/// By how many standard deviations a bound from first bits is to be below the estimate, so that one row in some hundreds
/// is above it. Gao and Long (2024, section 5.2.4) take 1.9 and let one in thirty be; a row that comes too late is lost
/// or out of order here, and the wider bound has few more whole codes read.
pub const EPSILON: f32 = 3.0;

/// The same for bounds from whole RaBitQ codes, which leave so few rows that some more cost little: one row in tens of
/// thousands is above it. The spread of product codes is measured with some room.
const WHOLE_EPSILON: f32 = 4.0;

/// With so many bits for each dimension or fewer, certain bounds of whole codes are so low that the executor would fetch
/// several times the rows that likely ones ask for.
const COARSE_BITS: usize = 4;

thread_local! {
    /// Buffers of the RaBitQ encoder.
    static SCRATCH: RefCell<(Rotated, Code)> = RefCell::default();
}

impl Coder {
    /// The coder that a metapage describes.
    ///
    /// # Errors
    /// If the parts do not go together.
    pub fn new(mut spec: Spec) -> Result<Coder, Error> {
        let plain =
            |repr| Codec::new(repr, spec.metric, spec.dims, spec.model.clone()).map(Kind::Plain);
        let kind = match spec.repr {
            Repr::F32 => plain(quantize::Repr::F32)?,
            Repr::F16 => plain(quantize::Repr::F16)?,
            Repr::Bits => plain(quantize::Repr::Bits)?,
            Repr::Sq8 => plain(quantize::Repr::Sq8)?,
            Repr::Rabitq => {
                Kind::Rabitq(Rabitq::new(spec.metric, spec.dims, spec.bits.into(), spec.seed)?)
            }
            Repr::Pq => {
                let model = std::mem::take(&mut spec.model);
                let bits = spec.bits.into();
                Kind::Product(Box::new(Relative::new(spec.metric, spec.dims, bits, &model)?))
            }
        };
        Ok(Coder { spec, kind })
    }

    /// What settles it.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Dimensions of placed vectors and centroids.
    pub fn placed_dims(&self) -> usize {
        match &self.kind {
            Kind::Plain(_) | Kind::Product(_) => self.spec.dims,
            Kind::Rabitq(rabitq) => rabitq.padded(),
        }
    }

    /// Bytes of the whole code of a row.
    #[inline]
    pub fn row_bytes(&self) -> usize {
        match &self.kind {
            Kind::Plain(codec) => FACTORS_BYTES + codec.code_len().unwrap_or(0),
            Kind::Product(relative) => FACTORS_BYTES + relative.code_len(),
            Kind::Rabitq(r) => 2 * FACTORS_BYTES + r.sign_bytes() + r.rest_bytes(),
        }
    }

    /// Bytes of the factors and first bits of 32 rows; 0 where rows are not packed.
    pub fn block_bytes(&self) -> usize {
        match &self.kind {
            Kind::Plain(_) | Kind::Product(_) => 0,
            Kind::Rabitq(r) => BLOCK_FACTORS_BYTES + block::BLOCK * r.sign_bytes(),
        }
    }

    /// Bytes of the remaining bits of a row, with the factors of its whole code.
    pub fn ex_bytes(&self) -> usize {
        match &self.kind {
            Kind::Plain(_) | Kind::Product(_) => 0,
            Kind::Rabitq(r) => FACTORS_BYTES + r.rest_bytes(),
        }
    }

    /// Whether codes are relative to a centroid.
    pub fn is_relative(&self) -> bool {
        matches!(self.kind, Kind::Rabitq(_) | Kind::Product(_))
    }

    /// Whether scores order rows as well as the SQL operator does. `halves` says that the vectors are `halfvec`.
    pub fn is_exact(&self, halves: bool) -> bool {
        match &self.kind {
            Kind::Plain(codec) => codec.is_exact(halves),
            Kind::Rabitq(_) | Kind::Product(_) => false,
        }
    }

    /// Whether scores are so far from distances that bounds that are certain say little, so that candidates are better
    /// ranked by likely ones and their distances computed before they are given.
    pub fn is_coarse(&self) -> bool {
        match &self.kind {
            Kind::Plain(_) => false,
            Kind::Rabitq(rabitq) => rabitq.bits() <= COARSE_BITS,
            Kind::Product(_) => true,
        }
    }

    /// How uncertain the bounds are by which rows are first looked at, as [`super::calibrate`] wants it: the standard
    /// deviation, divided by the distances of the row and of the query from the centroid. Zero where rows are scored whole;
    /// nothing where it is not known before the rows are.
    pub fn first_error(&self) -> Option<f32> {
        match &self.kind {
            Kind::Plain(_) => Some(0.0),
            Kind::Product(_) => None,
            Kind::Rabitq(rabitq) => Some(rabitq.signs_error()),
        }
    }

    /// What is to be watched of a row of which the whole code is there, beside the bounds of first bits: the like of them.
    pub fn first_bound(&self, q: &Query, list: &ListQuery, row: &[u8]) -> Option<f32> {
        let (Kind::Rabitq(rabitq), Body::Rabitq(query), Some(list)) =
            (&self.kind, &q.body, &list.0)
        else {
            return None;
        };
        let parts = RowParts::new(rabitq, row)?;
        let (_, lower) = query.score_signs(list, EPSILON, parts.signs, &parts.sign_factors);
        Some(self.in_units(lower.max(self.lowest() as f32)) as f32)
    }

    /// Parts of product codes.
    pub fn parts(&self) -> Option<usize> {
        match &self.kind {
            Kind::Product(relative) => Some(relative.product().shape().parts()),
            _ => None,
        }
    }

    /// How centroids are found: of unit vectors for cosine, else means.
    pub fn geometry(&self) -> Geometry {
        if self.spec.metric == Metric::Cosine { Geometry::Spherical } else { Geometry::Euclidean }
    }

    /// The vector among the centroids, into `out`. False if it cannot be indexed: the metric is cosine and it is zero,
    /// or its norm is not finite.
    ///
    /// # Panics
    /// If it is not of the type and dimensions that the coder is for.
    pub fn place(&self, v: Value<'_>, out: &mut Vec<f32>) -> bool {
        if let Kind::Rabitq(rabitq) = &self.kind {
            let mut rotated = Rotated { components: std::mem::take(out), ..Rotated::default() };
            let placed = rotate(rabitq, v, &mut rotated);
            *out = rotated.components;
            return placed;
        }
        out.clear();
        match v {
            Value::F32(x) => out.extend_from_slice(x),
            Value::F16(x) => out.extend(x.iter().map(|x| x.to_f32())),
            Value::Bits { len, bytes } => {
                out.extend((0..len).map(|at| f32::from(bytes[at / 8] >> (7 - at % 8) & 1)));
            }
            Value::Sparse { .. } => return false,
        }
        let norm = dense::norm_squared(out).sqrt();
        if self.spec.metric == Metric::Cosine {
            out.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
            return norm > 0.0 && norm.is_finite();
        }
        norm.is_finite()
    }

    /// Encodes a row into `out`, [`Coder::row_bytes`] long, relative to `centroid` where codes are. `placed` is what
    /// [`Coder::place`] made of it. False if it cannot be indexed.
    ///
    /// # Panics
    /// If it is not of the type and dimensions that the coder is for, or `out` not of the length.
    pub fn encode(&self, v: Value<'_>, placed: &[f32], centroid: &[f32], out: &mut [u8]) -> bool {
        match &self.kind {
            Kind::Plain(codec) => {
                let mut code = Vec::with_capacity(out.len());
                let Some(factors) = codec.encode(v, &mut code) else { return false };
                out[..FACTORS_BYTES].copy_from_slice(factors.as_bytes());
                out[FACTORS_BYTES..].copy_from_slice(&code);
                true
            }
            Kind::Product(relative) => {
                let mut code = Vec::with_capacity(relative.code_len());
                let factors = match v {
                    Value::F32(x) => relative.encode(x, placed, centroid, &mut code),
                    Value::F16(x) => relative.encode(x, placed, centroid, &mut code),
                    _ => panic!("a product code of a vector of another type"),
                };
                let Some(factors) = factors else { return false };
                out[..FACTORS_BYTES].copy_from_slice(factors.as_bytes());
                out[FACTORS_BYTES..].copy_from_slice(&code);
                true
            }
            Kind::Rabitq(rabitq) => SCRATCH.with_borrow_mut(|(rotated, code)| {
                let can = match v {
                    Value::F32(x) => rabitq.rotated(x, placed, rotated),
                    Value::F16(x) => rabitq.rotated(x, placed, rotated),
                    _ => panic!("a RaBitQ code of a vector of another type"),
                };
                if !can {
                    return false;
                }
                rabitq.encode(rotated, centroid, code);
                let (signs, rest) = self.split_mut(rabitq, out);
                signs.copy_from_slice(&code.signs);
                rest.copy_from_slice(&code.rest);
                out[..FACTORS_BYTES].copy_from_slice(code.sign_factors.as_bytes());
                out[FACTORS_BYTES..2 * FACTORS_BYTES].copy_from_slice(code.factors.as_bytes());
                true
            }),
        }
    }

    fn split_mut<'a>(&self, rabitq: &Rabitq, row: &'a mut [u8]) -> (&'a mut [u8], &'a mut [u8]) {
        row[2 * FACTORS_BYTES..].split_at_mut(rabitq.sign_bytes())
    }

    /// About the placed vector that a code stands for, into `out`. False if the code is damaged.
    pub fn decode(&self, row: &[u8], centroid: &[f32], out: &mut Vec<f32>) -> bool {
        out.clear();
        match &self.kind {
            Kind::Plain(codec) => {
                let Some((factors, code)) = split(row) else { return false };
                match codec.decode(code, &factors) {
                    Some(x) => {
                        *out = x;
                        true
                    }
                    None => false,
                }
            }
            Kind::Product(relative) => {
                let Some((factors, code)) = split(row) else { return false };
                relative.decode(code, &factors, centroid, out)
            }
            Kind::Rabitq(rabitq) => {
                let Some(parts) = RowParts::new(rabitq, row) else { return false };
                rabitq.decode_rotated(parts.signs, parts.rest, &parts.factors, centroid, out);
                true
            }
        }
    }

    /// Packs up to 32 rows' codes into `out`, [`Coder::block_bytes`] long.
    ///
    /// # Panics
    /// If there are more, or one is damaged.
    pub fn pack(&self, rows: &[&[u8]], out: &mut [u8]) {
        let Kind::Rabitq(rabitq) = &self.kind else { return };
        let parts: Vec<_> =
            rows.iter().map(|row| RowParts::new(rabitq, row).expect("a whole code")).collect();
        let factors: Vec<_> = parts.iter().map(|part| part.sign_factors).collect();
        let (head, codes) = out.split_at_mut(BLOCK_FACTORS_BYTES);
        head.copy_from_slice(block::BlockFactors::pack(&factors).as_bytes());
        codes.fill(0);
        for (slot, part) in parts.iter().enumerate() {
            block::set(codes, slot, part.signs);
        }
    }

    /// What an ex page holds of a row's code, into `out`, [`Coder::ex_bytes`] long.
    ///
    /// # Panics
    /// If the code is damaged.
    pub fn ex(&self, row: &[u8], out: &mut [u8]) {
        let Kind::Rabitq(rabitq) = &self.kind else { return };
        let parts = RowParts::new(rabitq, row).expect("a whole code");
        out[..FACTORS_BYTES].copy_from_slice(parts.factors.as_bytes());
        out[FACTORS_BYTES..FACTORS_BYTES + parts.rest.len()].copy_from_slice(parts.rest);
    }

    /// The whole code of row `at` of a block, from what [`Coder::pack`] and [`Coder::ex`] made. False if they are
    /// damaged.
    pub fn unpack(&self, block: &[u8], at: usize, ex: &[u8], out: &mut [u8]) -> bool {
        let Kind::Rabitq(rabitq) = &self.kind else { return false };
        let Some((factors, codes)) = self.block(rabitq, block) else { return false };
        let Some(rest) = ex.get(FACTORS_BYTES..FACTORS_BYTES + rabitq.rest_bytes()) else {
            return false;
        };
        let mut signs = Vec::with_capacity(rabitq.sign_bytes());
        block::get(codes, at, &mut signs);
        out[..FACTORS_BYTES].copy_from_slice(factors.get(at).as_bytes());
        out[FACTORS_BYTES..2 * FACTORS_BYTES].copy_from_slice(&ex[..FACTORS_BYTES]);
        let (to_signs, to_rest) = self.split_mut(rabitq, out);
        to_signs.copy_from_slice(&signs);
        to_rest.copy_from_slice(rest);
        true
    }

    fn block<'a>(
        &self,
        rabitq: &Rabitq,
        block: &'a [u8],
    ) -> Option<(&'a block::BlockFactors, &'a [u8])> {
        let (factors, codes) = block::BlockFactors::ref_from_prefix(block).ok()?;
        Some((factors, codes.get(..block::BLOCK * rabitq.sign_bytes())?))
    }

    /// Prepares a query. A query that cannot be placed has a placed vector of zeros.
    ///
    /// # Panics
    /// If it is not of the type and dimensions that the coder is for.
    pub fn query(&self, v: Value<'_>) -> Query {
        let placed = || {
            let mut placed = Vec::new();
            if !self.place(v, &mut placed) {
                placed.fill(0.0);
            }
            placed
        };
        match &self.kind {
            Kind::Plain(codec) => Query { placed: placed(), body: Body::Plain(codec.query(v)) },
            Kind::Rabitq(rabitq) => {
                let mut rotated = Rotated::default();
                let can = rotate(rabitq, v, &mut rotated);
                let body = Body::Rabitq(Box::new(rabitq.query_of(&rotated)));
                let mut placed = rotated.components;
                if !can {
                    placed.fill(0.0);
                }
                Query { placed, body }
            }
            Kind::Product(relative) => {
                let placed = placed();
                let query = match v {
                    Value::F32(x) => relative.query(x, &placed),
                    Value::F16(x) => relative.query(x, &placed),
                    _ => panic!("a query on product codes with a vector of another type"),
                };
                Query { placed, body: Body::Product(Box::new(query)) }
            }
        }
    }

    /// Prepares a query for the rows of a list whose codes are relative to `centroid`.
    pub fn list(&self, q: &Query, centroid: &[f32]) -> ListQuery {
        match (&self.kind, &q.body) {
            (_, Body::Rabitq(query)) => ListQuery(Some(query.list(centroid))),
            (Kind::Product(relative), Body::Product(query)) => {
                ListQuery(Some(relative.list(query, centroid)))
            }
            _ => ListQuery(None),
        }
    }

    /// The same for [`Coder::block_bounds`] alone, if what [`Coder::to_centroid`] says is enough for that.
    pub fn list_at(&self, q: &Query, to_centroid: f32) -> Option<ListQuery> {
        match &q.body {
            Body::Rabitq(query) => query.list_at(to_centroid).map(|list| ListQuery(Some(list))),
            _ => None,
        }
    }

    /// How far the row of a whole code is, in the units of the operator; both are the distance itself, but for rounding,
    /// if [`Coder::is_exact`].
    #[inline]
    pub fn score(&self, wanted: Wanted, q: &Query, list: &ListQuery, row: &[u8]) -> f64 {
        match (&self.kind, &q.body, &list.0) {
            (Kind::Plain(codec), Body::Plain(query), _) => {
                let Some((factors, code)) = split(row) else { return self.lowest() };
                let score = codec.score(query, code, &factors);
                match wanted {
                    Wanted::Bound | Wanted::Likely => codec.lower_bound(query, score, &factors),
                    Wanted::Estimate => self.in_units(score),
                }
            }
            (Kind::Product(relative), Body::Product(query), Some(list)) => {
                let Some((factors, code)) = split(row) else { return self.lowest() };
                let score = relative.score(query, list, code, &factors);
                match wanted {
                    Wanted::Bound => relative.lower_bound(query, list, score, &factors),
                    Wanted::Likely => relative.likely_bound(EPSILON, query, list, score, &factors),
                    Wanted::Estimate => self.in_units(score as f32),
                }
            }
            (Kind::Rabitq(rabitq), Body::Rabitq(query), Some(list)) => {
                let Some(parts) = RowParts::new(rabitq, row) else { return self.lowest() };
                self.score_parts(wanted, query, list, &parts)
            }
            _ => self.lowest(),
        }
    }

    fn score_parts(
        &self,
        wanted: Wanted,
        query: &rabitq::Query,
        list: &rabitq::List,
        parts: &RowParts<'_>,
    ) -> f64 {
        let score = query.score(list, parts.signs, parts.rest, &parts.factors);
        match wanted {
            Wanted::Bound => query.lower_bound(list, score, &parts.factors),
            Wanted::Likely => query.likely_bound(WHOLE_EPSILON, list, score, &parts.factors),
            Wanted::Estimate => self.in_units(score),
        }
    }

    /// From the score of a code to the units of the operator.
    fn in_units(&self, score: f32) -> f64 {
        match self.spec.metric {
            Metric::L2 => f64::from(score.max(0.0)).sqrt(),
            Metric::Cosine => 0.5 * f64::from(score),
            _ => f64::from(score),
        }
    }

    /// Below what the operator will hardly fall for each of the 32 rows of a block; with an infinite `epsilon`, what is
    /// true of every row.
    #[inline]
    pub fn block_bounds(
        &self,
        epsilon: f32,
        (q, list): (&Query, &ListQuery),
        block: &[u8],
        out: &mut block::BlockScores,
    ) {
        let scored = match (&self.kind, &q.body, &list.0) {
            (Kind::Rabitq(rabitq), Body::Rabitq(query), Some(list)) => {
                self.block(rabitq, block).map(|(factors, codes)| {
                    query.score_block(list, epsilon, codes, factors, out);
                })
            }
            _ => None,
        };
        if scored.is_none() {
            out.lower.fill(self.lowest() as f32);
            return;
        }
        match self.spec.metric {
            Metric::L2 => out.lower.iter_mut().for_each(|x| *x = x.max(0.0).sqrt()),
            Metric::Cosine => out.lower.iter_mut().for_each(|x| *x = 0.5 * x.max(0.0)),
            _ => {}
        }
    }

    /// As [`Coder::score`], for row `at` of a block and what an ex page holds of it.
    pub fn score_packed(
        &self,
        wanted: Wanted,
        (q, list): (&Query, &ListQuery),
        block: &[u8],
        at: usize,
        ex: &[u8],
    ) -> f64 {
        let (Kind::Rabitq(rabitq), Body::Rabitq(query), Some(list)) =
            (&self.kind, &q.body, &list.0)
        else {
            return self.lowest();
        };
        let (Some((_, codes)), Some((factors, rest))) = (self.block(rabitq, block), split(ex))
        else {
            return self.lowest();
        };
        let Some(rest) = rest.get(..rabitq.rest_bytes()) else { return self.lowest() };
        SCRATCH.with_borrow_mut(|(_, code)| {
            block::get(codes, at, &mut code.signs);
            let signs = &code.signs[..];
            let parts = RowParts { sign_factors: factors, factors, signs, rest };
            self.score_parts(wanted, query, list, &parts)
        })
    }

    /// What is true of every row.
    pub fn lowest(&self) -> f64 {
        if self.spec.metric == Metric::InnerProduct { f64::NEG_INFINITY } else { 0.0 }
    }
}

/// Rotates a vector; false if it cannot be indexed.
fn rotate(rabitq: &Rabitq, v: Value<'_>, out: &mut Rotated) -> bool {
    match v {
        Value::F32(x) => rabitq.rotate(x, out),
        Value::F16(x) => rabitq.rotate(x, out),
        _ => panic!("a RaBitQ code of a vector of another type"),
    }
}

#[cfg(test)]
mod tests;
