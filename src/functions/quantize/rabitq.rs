//! The type `rabitq`: a RaBitQ code that stands by itself, and its estimates of distances to full-precision vectors.
//!
//! A code is made for Euclidean distance and the zero vector as its centroid. Its scale then gives the inner product
//! with any query, and its bias is the squared norm of the vector, so that one code serves all three metrics.
//!
//! ```text
//! length word | u8 version | u8 bits | u16 dimensions | f32 scale | f32 bias | f32 error | signs | rest
//! ```
//! Little-endian; signs and rest are as in [`leanstack_core::quantize::rabitq`]. Text is `dimensions` `x` `bits` `:`
//! and what follows the dimensions in hexadecimal digits; the binary format is all but the length word.

use half::f16;
use leanstack_core::quantize::Factors;
use leanstack_core::quantize::rabitq::{Code, List, MAX_BITS, Query, Rabitq, Rotated};
use leanstack_core::{Element, Error, Metric, dense};
use pgrx::{PgSqlErrorCode, pg_sys};

use super::int8::components;
use crate::types::call::{Arg, Kept, Ret, export};
use crate::types::text::{Bytea, Bytes, Literal, Message, Text};
use crate::types::vector::{Dense, DenseOut};

const TYPE: &str = "rabitq";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 16;
/// Coordinates come in groups of this many.
const GROUP: usize = 64;
/// The rotation of all codes: part of the format.
const SEED: u64 = 0x6c65_616e_7261_6271;

/// What a code is made of.
struct Parts<'a> {
    dims: usize,
    bits: usize,
    factors: Factors,
    signs: &'a [u8],
    rest: &'a [u8],
}

/// Reads a code, or nothing if the bytes contradict themselves.
fn parts(bytes: &[u8]) -> Option<Parts<'_>> {
    let (header, code) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let [version, bits, d0, d1, numbers @ ..] = *header;
    let (dims, bits) = (usize::from(u16::from_le_bytes([d0, d1])), usize::from(bits));
    let (numbers, _) = numbers.as_chunks::<4>();
    let [scale, bias, error] = [0, 1, 2].map(|i| f32::from_le_bytes(numbers[i]));
    let sound = version == VERSION
        && (1..=MAX_BITS).contains(&bits)
        && dense::check_dim::<f32>(dims).is_ok()
        && [scale, bias, error].iter().all(|x| x.is_finite())
        && scale >= 0.0
        && error >= 0.0
        && code.len() == dims.next_multiple_of(GROUP) / 8 * bits;
    if !sound {
        return None;
    }
    let (signs, rest) = code.split_at(code.len() / bits);
    Some(Parts { dims, bits, factors: Factors { scale, bias, error }, signs, rest })
}

/// An argument of the type.
struct Value(Bytes);

impl Arg for Value {
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error> {
        // SAFETY: passed on to the caller.
        unsafe { Bytes::fetch(call, n) }.map(Value)
    }
}

impl Value {
    fn parts(&self) -> Result<Parts<'_>, Error> {
        parts(&self.0).ok_or(Error::Damaged { ty: TYPE, bytes: self.0.len() + 4 })
    }
}

/// A result of the type.
struct ValueOut(Vec<u8>);

impl Ret for ValueOut {
    fn give(self) -> Option<pg_sys::Datum> {
        Bytea(self.0).give()
    }
}

/// A code read from text that holds no more than it should.
fn parse(text: &str) -> Option<Vec<u8>> {
    let (shape, digits) = text.trim().split_once(':')?;
    let (dims, bits) = shape.split_once('x')?;
    let (dims, bits): (u16, u8) = (dims.parse().ok()?, bits.parse().ok()?);
    let mut bytes = vec![VERSION, bits];
    bytes.extend(dims.to_le_bytes());
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    for &[high, low] in pairs {
        let digit = |c: u8| char::from(c).to_digit(16);
        bytes.push((digit(high)? * 16 + digit(low)?) as u8);
    }
    parts(&bytes).is_some().then_some(bytes)
}

fn text_in(literal: Literal) -> Result<ValueOut, Error> {
    let text = String::from_utf8_lossy(&literal);
    parse(&text).map(ValueOut).ok_or_else(|| Error::Syntax {
        ty: TYPE,
        input: text.into_owned(),
        detail: Some("A code is dimensions, \"x\", bits, \":\" and as many hexadecimal digits as these take."),
    })
}

fn text_out(value: Value) -> Result<Text, Error> {
    let Parts { dims, bits, .. } = value.parts()?;
    let mut text = format!("{dims}x{bits}:").into_bytes();
    for byte in &value.0[4..] {
        text.extend([byte >> 4, byte & 15].map(|x| b"0123456789abcdef"[usize::from(x)]));
    }
    Ok(Text(text))
}

fn receive(message: Message) -> Result<ValueOut, Error> {
    let bytes = message.read(|reader| Ok(reader.rest().to_vec()))?;
    if parts(&bytes).is_none() {
        crate::error::fail(
            PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
            format!("invalid binary value of {} bytes for type {TYPE}", bytes.len()),
            "A code is sent as it was received.",
        );
    }
    Ok(ValueOut(bytes))
}

fn send(value: Value) -> Result<Bytea, Error> {
    value.parts()?;
    Ok(Bytea(value.0.to_vec()))
}

fn quantize<E: Element>(v: Dense<E>, bits: i32, mut kept: Kept<Rabitq>) -> Result<ValueOut, Error> {
    let bits = usize::try_from(bits).ok().filter(|bits| (1..=MAX_BITS).contains(bits)).ok_or(
        Error::Argument { name: "bits", range: "between 1 and 8", value: f64::from(bits) },
    )?;
    let coder = match kept.take() {
        Some(coder) if coder.dims() == v.len() && coder.bits() == bits => coder,
        _ => Rabitq::new(Metric::L2, v.len(), bits, SEED)?,
    };
    let (mut rotated, mut code) = (Rotated::default(), Code::default());
    let fit = coder.rotate(&v, &mut rotated);
    coder.encode(&rotated, &vec![0.0; coder.padded()], &mut code);
    *kept = Some(coder);
    if !fit || !code.factors.error.is_finite() {
        return Err(Error::Overflow);
    }
    let Factors { scale, bias, error } = code.factors;
    let mut bytes = vec![VERSION, bits as u8];
    bytes.extend((v.len() as u16).to_le_bytes());
    bytes.extend([scale, bias, error].iter().flat_map(|x| x.to_le_bytes()));
    bytes.extend_from_slice(&code.signs);
    bytes.extend_from_slice(&code.rest);
    Ok(ValueOut(bytes))
}

fn dequantize(value: Value) -> Result<DenseOut<f32>, Error> {
    let Parts { dims, bits, factors, signs, rest } = value.parts()?;
    let coder = Rabitq::new(Metric::L2, dims, bits, SEED)?;
    let v = coder.decode(signs, rest, &factors, &vec![0.0; coder.padded()]);
    // Numbers that no encoder wrote may lead out of range.
    v.iter().try_for_each(|x| if x.is_finite() { Ok(()) } else { Err(Error::Overflow) })?;
    Ok(DenseOut::of(&v))
}

fn lost(value: Value) -> Result<f32, Error> {
    Ok(value.parts()?.factors.error)
}

/// A query as it was prepared for codes of some number of bits.
struct Prepared {
    components: Vec<f32>,
    bits: usize,
    query: Query,
    list: List,
    norm: f64,
}

impl Prepared {
    fn new(metric: Metric, v: &[f32], bits: usize) -> Result<Prepared, Error> {
        // The cosine comes of the inner product and both norms.
        let metric = if metric == Metric::Cosine { Metric::InnerProduct } else { metric };
        let coder = Rabitq::new(metric, v.len(), bits, SEED)?;
        let query = coder.query(v);
        let list = query.list(&vec![0.0; coder.padded()]);
        let norm = v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        Ok(Prepared { components: components(v), bits, query, list, norm })
    }
}

/// The estimate of the distance of what was coded to `v`.
fn distance(
    metric: Metric,
    value: &Value,
    v: &Dense<f32>,
    mut kept: Kept<Prepared>,
) -> Result<f64, Error> {
    let Parts { dims, bits, factors, signs, rest } = value.parts()?;
    if dims != v.len() {
        return Err(Error::DimensionMismatch(dims, v.len()));
    }
    let same = kept.as_ref().is_some_and(|p| p.bits == bits && p.components[..] == v[..]);
    if !same {
        *kept = Some(Prepared::new(metric, v, bits)?);
    }
    let Some(Prepared { query, list, norm, .. }) = &*kept else {
        unreachable!("prepared just now");
    };
    if metric == Metric::L2 {
        return Ok(f64::from(query.score(list, signs, rest, &factors)).sqrt());
    }
    let plain = Factors { bias: 0.0, ..factors };
    let negative = f64::from(query.score(list, signs, rest, &plain));
    Ok(match metric {
        Metric::Cosine => {
            // A zero vector has no direction, and the distance is NaN as that of vectors is.
            let norms = norm * f64::from(factors.bias.max(0.0)).sqrt();
            1.0 + (negative / norms).clamp(-1.0, 1.0)
        }
        _ => negative,
    })
}

/// A distance with the code on the left.
fn from_code(metric: Metric) -> impl Fn(Value, Dense<f32>, Kept<Prepared>) -> Result<f64, Error> {
    move |value, v, kept| distance(metric, &value, &v, kept)
}

/// A distance with the code on the right.
fn to_code(metric: Metric) -> impl Fn(Dense<f32>, Value, Kept<Prepared>) -> Result<f64, Error> {
    move |v, value, kept| distance(metric, &value, &v, kept)
}

export! {
    "rabitq" "_in" = text_in;
    "rabitq" "_out" = text_out;
    "rabitq" "_recv" = receive;
    "rabitq" "_send" = send;
    "rabitq" "_error" = lost;
    "vector" "_quantize_rabitq" = quantize::<f32>;
    "halfvec" "_quantize_rabitq" = quantize::<f16>;
    "dequantize" "_rabitq" = dequantize;
    "rabitq" "_l2_distance" = from_code(Metric::L2);
    "rabitq" "_negative_inner_product" = from_code(Metric::InnerProduct);
    "rabitq" "_cosine_distance" = from_code(Metric::Cosine);
    "rabitq" "_l2_distance_reversed" = to_code(Metric::L2);
    "rabitq" "_negative_inner_product_reversed" = to_code(Metric::InnerProduct);
    "rabitq" "_cosine_distance_reversed" = to_code(Metric::Cosine);
}
