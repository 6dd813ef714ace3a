//! Dense vectors, the values of `vector` (f32) and `halfvec` (f16): parse, check, arithmetic, aggregates.
//!
//! One generic for both; results go to slices that the caller provides, so that the extension can
//! write straight into the value it returns. Checks come in the order in which pgvector makes them.

use std::cmp::Ordering;
use std::ops::Range;

use crate::text::Scanner;
use crate::wire::{Reader, Wire};
use crate::{Element, Error, metric};

/// The most dimensions of a dense vector.
pub const MAX_DIM: usize = 16_000;

/// Is this a number of dimensions that the type can have?
pub fn check_dim<E: Element>(dim: usize) -> Result<(), Error> {
    match dim {
        0 => Err(Error::NoDimensions(E::NAME)),
        1..=MAX_DIM => Ok(()),
        _ => Err(Error::TooManyDimensions { ty: E::NAME, max: MAX_DIM }),
    }
}

/// Does a value of `dim` dimensions fit a type modifier (-1 takes all)?
pub fn check_typmod(typmod: i32, dim: usize) -> Result<(), Error> {
    match usize::try_from(typmod) {
        Ok(expected) if expected != dim => {
            Err(Error::UnexpectedDimensions { expected, found: dim })
        }
        _ => Ok(()),
    }
}

/// Have both vectors the same dimensions?
#[inline]
pub fn check_same<E: Element>(a: &[E], b: &[E]) -> Result<(), Error> {
    if a.len() == b.len() {
        return Ok(());
    }
    Err(Error::DifferentDimensions { ty: E::NAME, left: a.len(), right: b.len() })
}

/// Passes finite elements.
pub fn check_element<E: Element>(element: E) -> Result<E, Error> {
    match element.to_f32() {
        value if value.is_nan() => Err(Error::NotANumber(E::NAME)),
        value if value.is_infinite() => Err(Error::Infinite(E::NAME)),
        _ => Ok(element),
    }
}

/// The element nearest to `value`; an error if a finite `value` is too large for it.
pub fn convert<E: Element>(value: f32) -> Result<E, Error> {
    let element = E::from_f32(value);
    if element.to_f32().is_infinite() && !value.is_infinite() {
        return Err(Error::OutOfRange { ty: E::NAME, number: value });
    }
    Ok(element)
}

/// Reads a literal such as `[1,2.5,-3e4]`.
pub fn parse<E: Element>(text: &[u8], typmod: i32) -> Result<Vec<E>, Error> {
    let syntax = |detail| Error::Syntax {
        ty: E::NAME,
        input: String::from_utf8_lossy(text).into_owned(),
        detail,
    };
    let mut scanner = Scanner::new(text);
    scanner.skip_space();
    if !scanner.eat(b'[') {
        return Err(syntax(Some("Vector contents must start with \"[\".")));
    }
    scanner.skip_space();
    if scanner.peek() == Some(b']') {
        return Err(Error::NoDimensions(E::NAME));
    }
    let mut elements = Vec::with_capacity((text.len() / 4).min(MAX_DIM));
    loop {
        if elements.len() == MAX_DIM {
            return Err(Error::TooManyDimensions { ty: E::NAME, max: MAX_DIM });
        }
        scanner.skip_space();
        let number = scanner.float().ok_or_else(|| syntax(None))?;
        let element = E::from_f32(number.value);
        if number.overflow || element.to_f32().is_infinite() && !number.value.is_infinite() {
            let number = String::from_utf8_lossy(number.text).into_owned();
            return Err(Error::LiteralOutOfRange { ty: E::NAME, number });
        }
        elements.push(check_element(element)?);
        scanner.skip_space();
        if scanner.eat(b']') {
            break;
        }
        if !scanner.eat(b',') {
            return Err(syntax(None));
        }
    }
    scanner.skip_space();
    if scanner.peek().is_some() {
        return Err(syntax(Some("Junk after closing right brace.")));
    }
    check_typmod(typmod, elements.len())?;
    Ok(elements)
}

/// Reads the binary form: dimensions, a reserved field, elements.
pub fn decode<E: Wire>(reader: &mut Reader<'_>, typmod: i32) -> Result<Vec<E>, Error> {
    let dim = usize::from(reader.u16()?);
    let reserved = reader.u16()?;
    check_dim::<E>(dim)?;
    check_typmod(typmod, dim)?;
    if reserved != 0 {
        return Err(Error::ReservedField(i32::from(reserved)));
    }
    (0..dim).map(|_| check_element(E::read(reader)?)).collect()
}

fn combine<E: Element>(a: &[E], b: &[E], out: &mut [E], f: impl Fn(f32, f32) -> f32) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = E::from_f32(f(a.to_f32(), b.to_f32()));
    }
}

fn check_overflow<E: Element>(values: &[E]) -> Result<(), Error> {
    match values.iter().any(|value| value.to_f32().is_infinite()) {
        true => Err(Error::Overflow),
        false => Ok(()),
    }
}

/// Element by element, `a + b`.
pub fn add<E: Element>(a: &[E], b: &[E], out: &mut [E]) -> Result<(), Error> {
    combine(a, b, out, |a, b| a + b);
    check_overflow(out)
}

/// Element by element, `a - b`.
pub fn subtract<E: Element>(a: &[E], b: &[E], out: &mut [E]) -> Result<(), Error> {
    combine(a, b, out, |a, b| a - b);
    check_overflow(out)
}

/// Element by element, `a * b`.
pub fn multiply<E: Element>(a: &[E], b: &[E], out: &mut [E]) -> Result<(), Error> {
    combine(a, b, out, |a, b| a * b);
    for ((out, a), b) in out.iter().zip(a).zip(b) {
        if out.to_f32().is_infinite() {
            return Err(Error::Overflow);
        }
        if out.to_f32() == 0.0 && a.to_f32() != 0.0 && b.to_f32() != 0.0 {
            return Err(Error::Underflow);
        }
    }
    Ok(())
}

/// Scales to norm 1. A zero vector stays one.
pub fn normalize<E: Element>(a: &[E], out: &mut [E]) -> Result<(), Error> {
    let norm = metric::l2_norm(a);
    for (out, x) in out.iter_mut().zip(a) {
        let scaled = if norm > 0.0 { f64::from(x.to_f32()) / norm } else { 0.0 };
        *out = E::from_f32(scaled as f32);
    }
    check_overflow(out)
}

/// Which elements `subvector(a, start, count)` takes. Counts from 1 and cuts at both ends, as `substring`.
pub fn subvector_range<E: Element>(
    dim: usize,
    start: i32,
    count: i32,
) -> Result<Range<usize>, Error> {
    let empty = Error::NoDimensions(E::NAME);
    if count < 1 {
        return Err(empty);
    }
    let (start, count) = (i64::from(start), i64::from(count));
    let end = (start + count).min(dim as i64 + 1);
    let start = start.max(1);
    if start >= end {
        return Err(empty);
    }
    Ok(start as usize - 1..end as usize - 1)
}

/// One bit for each element, set where it is positive; the first is the highest of the first byte.
pub fn binary_quantize<E: Element>(a: &[E], out: &mut [u8]) {
    for (out, elements) in out.iter_mut().zip(a.chunks(8)) {
        *out = elements
            .iter()
            .enumerate()
            .fold(0, |byte, (i, x)| byte | u8::from(x.to_f32() > 0.0) << (7 - i));
    }
}

/// Order of btree: by elements, then the shorter first, as arrays.
pub fn compare<E: Element>(a: &[E], b: &[E]) -> Ordering {
    a.iter()
        .zip(b)
        .find_map(|(a, b)| match a.to_f32().partial_cmp(&b.to_f32()) {
            None | Some(Ordering::Equal) => None,
            order => order,
        })
        .unwrap_or_else(|| a.len().cmp(&b.len()))
}

/// Adds a vector to the sums of `avg`.
pub fn accumulate<E: Element>(sums: &mut [f64], x: &[E]) -> Result<(), Error> {
    if sums.len() != x.len() {
        return Err(Error::UnexpectedDimensions { expected: sums.len(), found: x.len() });
    }
    for (sum, x) in sums.iter_mut().zip(x) {
        *sum += f64::from(x.to_f32());
        if sum.is_infinite() {
            return Err(Error::Overflow);
        }
    }
    Ok(())
}

/// Adds the sums of two states of `avg`.
pub fn add_sums(a: &[f64], b: &[f64]) -> Result<Vec<f64>, Error> {
    if a.len() != b.len() {
        return Err(Error::UnexpectedDimensions { expected: a.len(), found: b.len() });
    }
    let sums: Vec<f64> = a.iter().zip(b).map(|(a, b)| a + b).collect();
    if sums.iter().any(|sum| sum.is_infinite()) { Err(Error::Overflow) } else { Ok(sums) }
}

/// The mean that a state of `avg` stands for.
pub fn mean<E: Element>(count: f64, sums: &[f64], out: &mut [E]) -> Result<(), Error> {
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = check_element(convert((sum / count) as f32)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;
    use proptest::prelude::*;

    fn message<E: Element>(text: &str) -> String {
        parse::<E>(text.as_bytes(), -1).unwrap_err().to_string()
    }

    #[test]
    fn parses() {
        assert_eq!(parse::<f32>(b"[1,2,3]", 3), Ok(vec![1.0, 2.0, 3.0]));
        assert_eq!(parse::<f32>(b" [ 1,  2 ,    3  ] ", -1), Ok(vec![1.0, 2.0, 3.0]));
        assert_eq!(parse::<f32>(b"[1.23456]", -1), Ok(vec![1.23456]));
        assert_eq!(parse::<f32>(b"[0x1p1,1e-46]", -1), Ok(vec![2.0, 0.0]));
        assert_eq!(parse::<f16>(b"[65519.99,1e-8]", -1).unwrap()[1], f16::from_bits(0));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, expected) in [
            ("[]", "vector must have at least 1 dimension"),
            ("[ ]", "vector must have at least 1 dimension"),
            ("[NaN,1]", "NaN not allowed in vector"),
            ("[-Infinity,1]", "infinite value not allowed in vector"),
            ("[4e38,1]", "\"4e38\" is out of range for type vector"),
            ("[1,2,3", "invalid input syntax for type vector: \"[1,2,3\""),
            ("[1,]", "invalid input syntax for type vector: \"[1,]\""),
            ("[1a]", "invalid input syntax for type vector: \"[1a]\""),
        ] {
            assert_eq!(message::<f32>(text), expected);
        }
        assert_eq!(message::<f16>("[65520]"), "\"65520\" is out of range for type halfvec");
        assert_eq!(message::<f16>("[inf]"), "infinite value not allowed in halfvec");
        let long = format!("[{}1]", "1,".repeat(MAX_DIM));
        assert_eq!(message::<f32>(&long), "vector cannot have more than 16000 dimensions");
        assert_eq!(
            parse::<f32>(b"[1,2]", 3).unwrap_err().to_string(),
            "expected 3 dimensions, not 2"
        );
    }

    #[test]
    fn subvectors() {
        let range = |start, count| subvector_range::<f32>(5, start, count).ok();
        assert_eq!(range(1, 3), Some(0..3));
        assert_eq!(range(3, 2), Some(2..4));
        assert_eq!(range(-1, 3), Some(0..1));
        assert_eq!(range(3, 9), Some(2..5));
        assert_eq!(range(3, i32::MAX), Some(2..5));
        assert_eq!(range(-2_147_483_644, i32::MAX), Some(0..2));
        assert_eq!(range(6, 1), None);
        assert_eq!(range(1, 0), None);
        assert_eq!(range(-1, 2), None);
        assert_eq!(range(i32::MIN, 1), None);
        assert_eq!(range(i32::MAX, i32::MAX), None);
    }

    #[test]
    fn arithmetic_is_checked() {
        let mut out = [0f32; 1];
        assert_eq!(add(&[3e38f32], &[3e38], &mut out), Err(Error::Overflow));
        assert_eq!(subtract(&[-3e38f32], &[3e38], &mut out), Err(Error::Overflow));
        assert_eq!(multiply(&[1e37f32], &[1e37], &mut out), Err(Error::Overflow));
        assert_eq!(multiply(&[1e-37f32], &[1e-37], &mut out), Err(Error::Underflow));
        assert_eq!(multiply(&[0f32], &[1e-37], &mut out), Ok(()));
        let mut half = [f16::from_f32(0.0)];
        let big = [f16::from_f32(65504.0)];
        assert_eq!(add(&big, &big, &mut half), Err(Error::Overflow));
    }

    #[test]
    fn quantizes_to_bits() {
        let mut out = [0u8; 2];
        binary_quantize(&[1f32, 0.0, -1.0, 2.0, f32::MIN_POSITIVE, -0.0, 1.0, 1.0, 1.0], &mut out);
        assert_eq!(out, [0b1001_1011, 0b1000_0000]);
    }

    proptest! {
        #[test]
        fn parsing_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse::<f32>(&bytes, -1);
            let _ = parse::<f16>(&bytes, 3);
        }

        #[test]
        fn parsing_survives_almost_literals(text in "[\\[\\],0-9eE+\\-.xXpinfatNy \\t]{0,40}") {
            let _ = parse::<f32>(text.as_bytes(), -1);
            let _ = parse::<f16>(format!("[{text}]").as_bytes(), -1);
        }

        #[test]
        fn decoding_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(values) = decode::<f32>(&mut Reader::new(&bytes), -1) {
                prop_assert!(bytes.len() >= 4 + 4 * values.len());
                prop_assert!(values.iter().all(|value| value.is_finite()));
            }
            let _ = decode::<f16>(&mut Reader::new(&bytes), 2);
        }

        #[test]
        fn decoding_reads_what_was_sent(values in prop::collection::vec(-1e30f32..1e30, 1..50)) {
            let mut bytes = vec![0, values.len() as u8, 0, 0];
            values.iter().for_each(|value| bytes.extend_from_slice(value.to_wire().as_ref()));
            prop_assert_eq!(decode::<f32>(&mut Reader::new(&bytes), -1).unwrap(), values);
            bytes.pop();
            prop_assert_eq!(decode::<f32>(&mut Reader::new(&bytes), -1), Err(Error::Truncated));
        }
    }
}
