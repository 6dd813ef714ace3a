//! Sparse vectors, the values of `sparsevec`: sorted positions, counted from 0, and their values.
//!
//! In text positions count from 1. Zeros are never stored, so equal vectors are equal in bytes.

use std::cmp::Ordering;

use crate::dense;
use crate::text::Scanner;
use crate::wire::Reader;
use crate::{Element, Error, metric};

/// The most dimensions of a sparse vector.
pub const MAX_DIM: usize = 1_000_000_000;
/// The most elements that are not zero.
pub const MAX_NONZERO: usize = 16_000;
/// The SQL name of the type.
pub const TYPE: &str = "sparsevec";

/// A sparse vector that lives elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sparse<'a> {
    /// Dimensions, with the zeros.
    pub dim: usize,
    /// Where the elements are, ascending, from 0.
    pub indices: &'a [i32],
    /// The elements.
    pub values: &'a [f32],
}

impl<'a> Sparse<'a> {
    /// What the distances of sparse vectors take.
    #[inline]
    pub fn elements(self) -> metric::sparse::Sparse<'a> {
        metric::sparse::Sparse { indices: self.indices, values: self.values }
    }
}

/// A sparse vector of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseBuf {
    /// Dimensions, with the zeros.
    pub dim: usize,
    /// Where the elements are, ascending, from 0.
    pub indices: Vec<i32>,
    /// The elements.
    pub values: Vec<f32>,
}

impl SparseBuf {
    /// Keeps what is not zero of `values`. The caller has checked how many there are.
    pub fn from_dense(values: impl Iterator<Item = f32>) -> Self {
        let mut sparse = SparseBuf::default();
        for (index, value) in values.enumerate() {
            sparse.dim = index + 1;
            if value != 0.0 {
                sparse.indices.push(index as i32);
                sparse.values.push(value);
            }
        }
        sparse
    }
}

/// Is this a number of dimensions that the type can have?
pub fn check_dim(dim: usize) -> Result<(), Error> {
    match dim {
        0 => Err(Error::NoDimensions(TYPE)),
        1..=MAX_DIM => Ok(()),
        _ => Err(Error::TooManyDimensions { ty: TYPE, max: MAX_DIM }),
    }
}

/// Is this a number of elements that a vector of `dim` dimensions can have?
pub fn check_nonzero(nonzero: i32, dim: usize) -> Result<usize, Error> {
    let nonzero = usize::try_from(nonzero).map_err(|_| Error::NegativeElements)?;
    if nonzero > MAX_NONZERO {
        return Err(Error::TooManyNonZero(MAX_NONZERO));
    }
    if nonzero > dim { Err(Error::MoreElementsThanDimensions) } else { Ok(nonzero) }
}

/// Have both vectors the same dimensions?
#[inline]
pub fn check_same(a: Sparse<'_>, b: Sparse<'_>) -> Result<(), Error> {
    if a.dim == b.dim {
        return Ok(());
    }
    Err(Error::DifferentDimensions { ty: TYPE, left: a.dim, right: b.dim })
}

fn check_finite(value: f32) -> Result<f32, Error> {
    match value {
        value if value.is_nan() => Err(Error::NotANumber(TYPE)),
        value if value.is_infinite() => Err(Error::Infinite(TYPE)),
        value => Ok(value),
    }
}

/// Passes finite values.
pub fn check_values(values: &[f32]) -> Result<(), Error> {
    values.iter().try_for_each(|value| check_finite(*value).map(drop))
}

/// Is `index` inside of the vector and behind the last one?
fn check_index(index: i32, last: Option<i32>, dim: usize) -> Result<(), Error> {
    if !usize::try_from(index).is_ok_and(|index| index < dim) {
        return Err(Error::IndexOutOfBounds);
    }
    match last.map(|last| index.cmp(&last)) {
        Some(Ordering::Less) => Err(Error::IndicesNotAscending),
        Some(Ordering::Equal) => Err(Error::DuplicateIndices),
        _ => Ok(()),
    }
}

/// Reads a literal such as `{1:0.5,7:-2}/10`. Elements may come in any order.
pub fn parse(text: &[u8], typmod: i32) -> Result<SparseBuf, Error> {
    let syntax = |detail| Error::Syntax {
        ty: TYPE,
        input: String::from_utf8_lossy(text).into_owned(),
        detail,
    };
    if text.iter().filter(|byte| **byte == b',').count() >= MAX_NONZERO {
        return Err(Error::TooManyNonZero(MAX_NONZERO));
    }
    let mut scanner = Scanner::new(text);
    scanner.skip_space();
    if !scanner.eat(b'{') {
        return Err(syntax(Some("Vector contents must start with \"{\".")));
    }
    let mut elements = parse_elements(&mut scanner, &syntax)?;
    scanner.skip_space();
    if !scanner.eat(b'/') {
        return Err(syntax(Some("Unexpected end of input.")));
    }
    scanner.skip_space();
    let dim = scanner.integer().ok_or_else(|| syntax(None))?;
    scanner.skip_space();
    if scanner.peek().is_some() {
        return Err(syntax(Some("Junk after closing.")));
    }
    let dim = usize::try_from(dim).unwrap_or(0);
    check_dim(dim)?;
    dense::check_typmod(typmod, dim)?;
    elements.sort_by_key(|(index, _)| *index);
    let (indices, values): (Vec<_>, Vec<_>) = elements.into_iter().unzip();
    for (i, index) in indices.iter().enumerate() {
        check_index(*index, i.checked_sub(1).map(|last| indices[last]), dim)?;
    }
    Ok(SparseBuf { dim, indices, values })
}

/// The elements up to and with the closing brace, in the order of the text and without zeros.
fn parse_elements(
    scanner: &mut Scanner<'_>,
    syntax: &impl Fn(Option<&'static str>) -> Error,
) -> Result<Vec<(i32, f32)>, Error> {
    let mut elements = Vec::new();
    scanner.skip_space();
    if scanner.eat(b'}') {
        return Ok(elements);
    }
    loop {
        scanner.skip_space();
        let index = scanner.integer().ok_or_else(|| syntax(None))?;
        scanner.skip_space();
        if !scanner.eat(b':') {
            return Err(syntax(None));
        }
        scanner.skip_space();
        let number = scanner.float().ok_or_else(|| syntax(None))?;
        if number.overflow || number.underflow {
            let number = String::from_utf8_lossy(number.text).into_owned();
            return Err(Error::LiteralOutOfRange { ty: TYPE, number });
        }
        let value = check_finite(number.value)?;
        if value != 0.0 {
            // Whatever is out of range stays so, and is reported as such once the dimensions are known.
            let index = index.clamp(i64::from(i32::MIN) + 1, i64::from(i32::MAX)) - 1;
            elements.push((index as i32, value));
        }
        scanner.skip_space();
        if scanner.eat(b'}') {
            return Ok(elements);
        }
        if !scanner.eat(b',') {
            return Err(syntax(None));
        }
    }
}

/// Reads the binary form: dimensions, count of elements, a reserved field, positions, values.
pub fn decode(reader: &mut Reader<'_>, typmod: i32) -> Result<SparseBuf, Error> {
    let (dim, nonzero, reserved) = (reader.i32()?, reader.i32()?, reader.i32()?);
    let dim = usize::try_from(dim).unwrap_or(0);
    check_dim(dim)?;
    let nonzero = check_nonzero(nonzero, dim)?;
    dense::check_typmod(typmod, dim)?;
    if reserved != 0 {
        return Err(Error::ReservedField(reserved));
    }
    let mut indices = Vec::with_capacity(nonzero);
    for _ in 0..nonzero {
        let index = reader.i32()?;
        check_index(index, indices.last().copied(), dim)?;
        indices.push(index);
    }
    let mut values = Vec::with_capacity(nonzero);
    for _ in 0..nonzero {
        let value = check_finite(reader.f32()?)?;
        if value == 0.0 {
            return Err(Error::ZeroValue);
        }
        values.push(value);
    }
    Ok(SparseBuf { dim, indices, values })
}

/// Writes the elements into a dense vector of zeros.
pub fn scatter<E: Element>(a: Sparse<'_>, out: &mut [E]) -> Result<(), Error> {
    for (index, value) in a.indices.iter().zip(a.values) {
        let out = usize::try_from(*index).ok().and_then(|index| out.get_mut(index));
        *out.ok_or(Error::IndexOutOfBounds)? = dense::convert(*value)?;
    }
    Ok(())
}

/// Scales to norm 1. A zero vector stays one; elements that vanish are not stored.
pub fn normalize(a: Sparse<'_>) -> Result<SparseBuf, Error> {
    let norm = metric::l2_norm(a.values);
    let mut out = SparseBuf { dim: a.dim, ..SparseBuf::default() };
    for (index, value) in a.indices.iter().zip(a.values) {
        let scaled = if norm > 0.0 { (f64::from(*value) / norm) as f32 } else { 0.0 };
        if scaled.is_infinite() {
            return Err(Error::Overflow);
        }
        if scaled != 0.0 {
            out.indices.push(*index);
            out.values.push(scaled);
        }
    }
    Ok(out)
}

/// Order of btree: that of the dense vectors.
pub fn compare(a: Sparse<'_>, b: Sparse<'_>) -> Ordering {
    /// How a vector with `value` compares with one that has zero in its place.
    fn against_zero(value: f32) -> Ordering {
        if value < 0.0 { Ordering::Less } else { Ordering::Greater }
    }
    let shared = a.indices.len().min(b.indices.len());
    for i in 0..shared {
        let order = match a.indices[i].cmp(&b.indices[i]) {
            Ordering::Less => against_zero(a.values[i]),
            Ordering::Greater => against_zero(b.values[i]).reverse(),
            Ordering::Equal => match a.values[i].partial_cmp(&b.values[i]) {
                None | Some(Ordering::Equal) => continue,
                Some(order) => order,
            },
        };
        return order;
    }
    // The rest of the longer one counts only where the other one has dimensions.
    let next = |x: Sparse<'_>, other: Sparse<'_>| {
        let index = usize::try_from(*x.indices.get(shared)?).ok()?;
        (index < other.dim).then(|| against_zero(x.values[shared]))
    };
    next(a, b).or_else(|| next(b, a).map(Ordering::reverse)).unwrap_or_else(|| a.dim.cmp(&b.dim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(text: &str) -> String {
        parse(text.as_bytes(), -1).unwrap_err().to_string()
    }

    impl SparseBuf {
        fn get(&self) -> Sparse<'_> {
            Sparse { dim: self.dim, indices: &self.indices, values: &self.values }
        }
    }

    #[test]
    fn parses() {
        let expected = SparseBuf { dim: 5, indices: vec![0, 2], values: vec![1.5, -2.0] };
        assert_eq!(parse(b"{1:1.5,3:-2}/5", 5), Ok(expected.clone()));
        assert_eq!(parse(b" { 3 : -2 , 1 : 1.5 , 2 : 0 } / 5 ", -1), Ok(expected));
        assert_eq!(parse(b"{}/5", -1), Ok(SparseBuf { dim: 5, ..SparseBuf::default() }));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, expected) in [
            ("{1:1}/0", "sparsevec must have at least 1 dimension"),
            ("{1:1}/-99999999999", "sparsevec must have at least 1 dimension"),
            ("{}/1000000001", "sparsevec cannot have more than 1000000000 dimensions"),
            ("{0:1}/5", "sparsevec index out of bounds"),
            ("{-9223372036854775809:1}/5", "sparsevec index out of bounds"),
            ("{9223372036854775808:1}/5", "sparsevec index out of bounds"),
            ("{1:1,1:2}/5", "sparsevec indices must not contain duplicates"),
            ("{1:NaN}/5", "NaN not allowed in sparsevec"),
            ("{1:-inf}/5", "infinite value not allowed in sparsevec"),
            ("{1:4e38}/5", "\"4e38\" is out of range for type sparsevec"),
            ("{1:1e-46}/5", "\"1e-46\" is out of range for type sparsevec"),
            ("{1:1,}/5", "invalid input syntax for type sparsevec: \"{1:1,}/5\""),
            ("{:1}/5", "invalid input syntax for type sparsevec: \"{:1}/5\""),
        ] {
            assert_eq!(message(text), expected);
        }
        let commas = ",".repeat(MAX_NONZERO);
        assert_eq!(message(&commas), "sparsevec cannot have more than 16000 non-zero elements");
    }

    #[test]
    fn normalizing_drops_what_vanishes() {
        let a = SparseBuf { dim: 9, indices: vec![1, 4], values: vec![3e38, 1e-45] };
        let unit = normalize(a.get()).unwrap();
        assert_eq!((unit.indices, unit.values), (vec![1], vec![1.0]));
    }

    proptest! {
        #[test]
        fn parsing_survives_any_text(text in "[{}:,/0-9eE+\\-.xpinfat ]{0,40}", junk in any::<Vec<u8>>()) {
            let _ = parse(text.as_bytes(), -1);
            let _ = parse(format!("{{{text}}}/9").as_bytes(), 9);
            let _ = parse(&junk, -1);
        }

        #[test]
        fn decoding_survives_any_bytes(
            header in (-2i32..20, -2i32..5, 0i32..2),
            body in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut bytes = Vec::new();
            for field in [header.0, header.1, header.2] {
                bytes.extend_from_slice(&field.to_be_bytes());
            }
            bytes.extend_from_slice(&body);
            let _ = decode(&mut Reader::new(&body), -1);
            if let Ok(sparse) = decode(&mut Reader::new(&bytes), -1) {
                prop_assert!(sparse.indices.is_sorted());
                let mut out = vec![0f32; sparse.dim];
                prop_assert_eq!(scatter(sparse.get(), &mut out), Ok(()));
            }
        }

        #[test]
        fn order_is_that_of_dense_vectors(
            a in prop::collection::vec(-1i8..=1, 1..6),
            b in prop::collection::vec(-1i8..=1, 1..6),
        ) {
            let dense = |x: &[i8]| x.iter().map(|x| f32::from(*x)).collect::<Vec<f32>>();
            let (a, b) = (dense(&a), dense(&b));
            let sparse = |x: &[f32]| SparseBuf::from_dense(x.iter().copied());
            prop_assert_eq!(compare(sparse(&a).get(), sparse(&b).get()), dense::compare(&a, &b));
        }
    }
}
