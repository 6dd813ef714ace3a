//! Product quantization (Jégou, Douze and Schmid 2011): a vector is cut into parts, and of each
//! part the number of the nearest of 16 or 256 trained centers is stored.
//!
//! A score is the distance of the query to the decoded vector, from a table of the query's
//! distances to all centers: the asymmetric distance of section III. By the triangle inequality it
//! is off from the distance to the vector itself by at most the distance of vector and decoded
//! vector.
//!
//! # Format of a codebook
//! Version (1), metric, bits, zero, one byte each; dimensions and parts, `u32`; then the centers as
//! `f32`, part by part, for each dimension of the part the coordinate of all `2^bits` centers.
//! Little-endian throughout.
//!
//! # Format of a code
//! With 8 bits a byte for each part; with 4 bits a byte for two, the first in the low half.
#![allow(unsafe_code)]
// Index loops over lanes are the form that is sure to become vector code.
#![allow(clippy::needless_range_loop)]

pub mod relative;
mod train;

use crate::isa::{Isa, LANES, multiversion};
use crate::metric::dense::norm_squared;
use crate::{Error, Metric};

pub use train::MAX_ROWS;

/// Bytes before the centers.
const HEADER_BYTES: usize = 12;

/// The version of the format that is written.
const VERSION: u8 = 1;

/// How vectors are cut and how many centers a part has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    metric: Metric,
    dims: usize,
    parts: usize,
    bits: usize,
}

impl Shape {
    /// `parts` parts of as equal length as can be, `bits`, 4 or 8, for the number of a center.
    pub fn new(metric: Metric, dims: usize, parts: usize, bits: usize) -> Result<Shape, Error> {
        if !matches!(metric, Metric::L2 | Metric::InnerProduct | Metric::Cosine | Metric::L1) {
            return Err(Error::UnknownCode("product quantization metric", metric as u8));
        }
        if !matches!(bits, 4 | 8) {
            return Err(Error::Argument { name: "nbits", range: "4 or 8", value: bits as f64 });
        }
        if parts == 0 || parts > dims || dims > 1 << 16 {
            let range = "between 1 and the number of dimensions";
            return Err(Error::Argument { name: "m", range, value: parts as f64 });
        }
        Ok(Shape { metric, dims, parts, bits })
    }

    /// Number of centers of a part.
    pub fn centers(&self) -> usize {
        1 << self.bits
    }

    /// Number of dimensions.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Number of parts.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Bits of a number of a center.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// The metric of the scores.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Bytes of a code.
    #[inline]
    pub fn code_len(&self) -> usize {
        (self.parts * self.bits).div_ceil(8)
    }

    /// The dimensions of a part.
    fn range(&self, part: usize) -> std::ops::Range<usize> {
        let start = |part: usize| part * self.dims / self.parts;
        start(part)..start(part + 1)
    }
}

/// A trained product quantizer.
#[derive(Clone, PartialEq, Debug)]
pub struct Product {
    shape: Shape,
    /// See the head of the file.
    centers: Vec<f32>,
}

/// A query's distances to all centers.
#[derive(Clone, Debug)]
pub struct Table {
    shape: Shape,
    /// `2^bits` numbers for each part.
    distances: Vec<f32>,
}

impl Product {
    /// How vectors are cut, and the metric.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Encodes a vector into `code`, which is cleared first; for cosine its unit vector, a zero
    /// vector as it is.
    pub fn encode(&self, v: &[f32], code: &mut Vec<u8>) -> Result<(), Error> {
        let v = self.prepared(v)?;
        let mut distances = vec![0.0; self.shape.centers()];
        code.clear();
        code.resize(self.shape.code_len(), 0);
        for part in 0..self.shape.parts {
            square_distances(&v[self.shape.range(part)], self.part(part), &mut distances);
            let number = first_least(&distances) as u8;
            match self.shape.bits {
                8 => code[part] = number,
                _ => code[part / 2] |= number << (part % 2 * 4),
            }
        }
        Ok(())
    }

    /// The components that a code stands for; for cosine about those of a unit vector.
    pub fn decode(&self, code: &[u8]) -> Result<Vec<f32>, Error> {
        if code.len() != self.shape.code_len() {
            return Err(Error::Damaged { ty: "product code", bytes: code.len() });
        }
        let mut v = Vec::with_capacity(self.shape.dims);
        for part in 0..self.shape.parts {
            let number = number(code, part, self.shape.bits);
            v.extend(self.part(part).chunks_exact(self.shape.centers()).map(|all| all[number]));
        }
        Ok(v)
    }

    /// Prepares a query.
    pub fn query(&self, v: &[f32]) -> Result<Table, Error> {
        let v = self.prepared(v)?;
        let centers = self.shape.centers();
        let mut distances = vec![0.0; self.shape.parts * centers];
        for (part, distances) in distances.chunks_exact_mut(centers).enumerate() {
            let (v, centers) = (&v[self.shape.range(part)], self.part(part));
            match self.shape.metric {
                Metric::InnerProduct => products(v, centers, distances),
                Metric::L1 => absolute_distances(v, centers, distances),
                _ => square_distances(v, centers, distances),
            }
        }
        Ok(Table { shape: self.shape, distances })
    }

    /// The codebook as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Shape { metric, dims, parts, bits } = self.shape;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.centers.len() * size_of::<f32>());
        bytes.extend([VERSION, metric as u8, bits as u8, 0]);
        bytes.extend((dims as u32).to_le_bytes());
        bytes.extend((parts as u32).to_le_bytes());
        bytes.extend(self.centers.iter().flat_map(|x| x.to_le_bytes()));
        bytes
    }

    /// A stored codebook.
    pub fn from_bytes(bytes: &[u8]) -> Result<Product, Error> {
        let damaged = Error::Damaged { ty: "codebook", bytes: bytes.len() };
        let Some((header, centers)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(damaged);
        };
        let [version, metric, bits, zero, dims @ .., p0, p1, p2, p3] = *header;
        if version != VERSION {
            return Err(Error::UnknownCode("codebook version", version));
        }
        let (dims, parts) =
            (u32::from_le_bytes(dims) as usize, u32::from_le_bytes([p0, p1, p2, p3]) as usize);
        let Ok(shape) =
            Metric::try_from(metric).and_then(|m| Shape::new(m, dims, parts, bits.into()))
        else {
            return Err(damaged);
        };
        let (centers, rest) = centers.as_chunks::<4>();
        if zero != 0 || !rest.is_empty() || centers.len() != dims * shape.centers() {
            return Err(damaged);
        }
        let centers: Vec<f32> = centers.iter().map(|x| f32::from_le_bytes(*x)).collect();
        if !centers.iter().all(|x| x.is_finite()) {
            return Err(damaged);
        }
        Ok(Product { shape, centers })
    }

    /// The centers of a part.
    fn part(&self, part: usize) -> &[f32] {
        let range = self.shape.range(part);
        &self.centers[range.start * self.shape.centers()..range.end * self.shape.centers()]
    }

    /// The vector that is encoded.
    fn prepared<'a>(&self, v: &'a [f32]) -> Result<std::borrow::Cow<'a, [f32]>, Error> {
        if v.len() != self.shape.dims {
            return Err(Error::DimensionMismatch(self.shape.dims, v.len()));
        }
        Ok(if self.shape.metric == Metric::Cosine { unit(v).into() } else { v.into() })
    }
}

impl Table {
    /// The score of a code: the squared distance, for cosine of unit vectors, the negative inner
    /// product, or for L1 the distance; infinite for a code of another length.
    #[inline]
    pub fn score(&self, code: &[u8]) -> f32 {
        if code.len() != self.shape.code_len() {
            return f32::INFINITY;
        }
        let sum = match self.shape.bits {
            8 => sum_of_bytes(self.distances.as_chunks().0, code),
            _ => sum_of_nibbles(self.distances.as_chunks().0, code),
        };
        sum.min(f32::INFINITY)
    }
}

/// Sums that are made side by side: an addition waits for the one before, a look into a table does not.
const SUMS: usize = 8;

/// What the tables say of codes of a byte for each part.
#[inline]
fn sum_of_bytes(tables: &[[f32; 256]], code: &[u8]) -> f32 {
    let mut sums = [0.0f32; SUMS];
    let ((tables, last), (code, rest)) = (tables.as_chunks::<SUMS>(), code.as_chunks::<SUMS>());
    for (tables, numbers) in tables.iter().zip(code) {
        for i in 0..SUMS {
            sums[i] += tables[i][usize::from(numbers[i])];
        }
    }
    for (i, (table, &number)) in last.iter().zip(rest).enumerate() {
        sums[i] += table[usize::from(number)];
    }
    total(sums)
}

/// The same of codes of a byte for two parts.
#[inline]
fn sum_of_nibbles(tables: &[[f32; 16]], code: &[u8]) -> f32 {
    let mut sums = [0.0f32; SUMS];
    let (pairs, last) = tables.as_chunks::<SUMS>();
    let (code, rest) = code.split_at(pairs.len() * SUMS / 2);
    let (numbers, _) = code.as_chunks::<{ SUMS / 2 }>();
    for (tables, numbers) in pairs.iter().zip(numbers) {
        for i in 0..SUMS / 2 {
            sums[2 * i] += tables[2 * i][usize::from(numbers[i] & 15)];
            sums[2 * i + 1] += tables[2 * i + 1][usize::from(numbers[i] >> 4)];
        }
    }
    for (part, table) in last.iter().enumerate() {
        sums[part] += table[number(rest, part, 4)];
    }
    total(sums)
}

#[inline]
fn total(sums: [f32; SUMS]) -> f32 {
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}

/// The number of a part's center.
#[inline(always)]
fn number(code: &[u8], part: usize, bits: usize) -> usize {
    match bits {
        8 => code[part].into(),
        _ => (code[part / 2] >> (part % 2 * 4) & 15).into(),
    }
}

/// The unit vector, or a zero vector.
fn unit(v: &[f32]) -> Vec<f32> {
    let norm = norm_squared(v).sqrt();
    let inverse = if norm > 0.0 { 1.0 / norm } else { 0.0 };
    v.iter().map(|&x| (f64::from(x) * inverse) as f32).collect()
}

multiversion! {
    /// Where the least of whole blocks of numbers is, the first of equal ones; 0 where none is less
    /// than infinity.
    fn first_least[][](distances: &[f32]) -> usize = first_least_kernel;
    /// Squared distance of a part to each center.
    fn square_distances[][](v: &[f32], centers: &[f32], out: &mut [f32]) -> () = square_kernel;
    /// Sums of absolute differences.
    fn absolute_distances[][](v: &[f32], centers: &[f32], out: &mut [f32]) -> () = absolute_kernel;
    /// Negative inner products.
    fn products[][](v: &[f32], centers: &[f32], out: &mut [f32]) -> () = products_kernel;
}

#[inline(always)]
fn first_least_kernel<I: Isa>(_: I, distances: &[f32]) -> usize {
    let (blocks, _) = distances.as_chunks::<LANES>();
    let mut lanes = [f32::INFINITY; LANES];
    for block in blocks {
        for i in 0..LANES {
            lanes[i] = if block[i] < lanes[i] { block[i] } else { lanes[i] };
        }
    }
    let mut least = f32::INFINITY;
    for i in 0..LANES {
        least = if lanes[i] < least { lanes[i] } else { least };
    }
    for (at, block) in blocks.iter().enumerate() {
        let mut is_here = false;
        for i in 0..LANES {
            is_here |= block[i] == least;
        }
        if is_here {
            for i in 0..LANES {
                if block[i] == least {
                    return at * LANES + i;
                }
            }
        }
    }
    0
}

#[inline(always)]
fn square_kernel<I: Isa>(_: I, v: &[f32], centers: &[f32], out: &mut [f32]) {
    for_centers::<I, 0>(v, centers, out);
}

#[inline(always)]
fn absolute_kernel<I: Isa>(_: I, v: &[f32], centers: &[f32], out: &mut [f32]) {
    for_centers::<I, 1>(v, centers, out);
}

#[inline(always)]
fn products_kernel<I: Isa>(_: I, v: &[f32], centers: &[f32], out: &mut [f32]) {
    for_centers::<I, 2>(v, centers, out);
}

/// Sums over the dimensions of a part, for all centers: of squares (`TERM` 0), of magnitudes (1) of
/// the differences, or of negative products (2).
#[inline(always)]
fn for_centers<I: Isa, const TERM: usize>(v: &[f32], centers: &[f32], out: &mut [f32]) {
    let count = out.len();
    assert_eq!(centers.len(), v.len() * count, "centers of as many dimensions as the part");
    // 64 centers at a time, where there are as many: an addition waits for the one before.
    let (many, few) = out.as_chunks_mut::<{ 4 * LANES }>();
    let done = many.len() * 4 * LANES;
    for (at, out) in many.iter_mut().enumerate() {
        some_centers::<I, TERM, 4>(v, &centers[at * 4 * LANES..], count, out);
    }
    for (at, out) in few.chunks_exact_mut(LANES).enumerate() {
        some_centers::<I, TERM, 1>(v, &centers[done + at * LANES..], count, out);
    }
}

/// The sums of the first `N` blocks of the `count` centers that `centers` has a row of for each
/// dimension.
#[inline(always)]
fn some_centers<I: Isa, const TERM: usize, const N: usize>(
    v: &[f32],
    centers: &[f32],
    count: usize,
    out: &mut [f32],
) {
    let mut sums = [I::splat(0.0); N];
    for d in 0..v.len() {
        let x = I::splat(v[d]);
        let (row, _) = centers[d * count..][..N * LANES].as_chunks::<LANES>();
        for i in 0..N {
            let center = I::load(&row[i]);
            let difference = I::sub(x, center);
            sums[i] = match TERM {
                0 => I::fma(difference, difference, sums[i]),
                1 => I::add(sums[i], I::abs(difference)),
                _ => I::sub(sums[i], I::mul(x, center)),
            };
        }
    }
    for (out, sum) in out.chunks_exact_mut(LANES).zip(sums) {
        out.copy_from_slice(&I::store(sum));
    }
}

#[cfg(test)]
mod tests;
