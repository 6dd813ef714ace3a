//! Reading numbers out of vector literals exactly as C's `strtof` and `strtol` do, which is what
//! PostgreSQL's own types and pgvector use: longest prefix wins, hexadecimal floats and `inf` included.

/// A position in a literal.
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

/// A number as it was written and what it means.
pub(crate) struct Number<'a> {
    /// The nearest single-precision value.
    pub value: f32,
    /// The characters that were read.
    pub text: &'a [u8],
    /// Written as digits, but infinite in single precision.
    pub overflow: bool,
    /// Written as something other than zero, but zero in single precision.
    pub underflow: bool,
}

impl<'a> Scanner<'a> {
    /// Starts at the first byte.
    pub fn new(text: &'a [u8]) -> Self {
        Scanner { text, at: 0 }
    }

    /// The byte here, or None at the end.
    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Steps over `byte` if it is here.
    pub fn eat(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    /// Steps over white space.
    pub fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) = self.peek() {
            self.at += 1;
        }
    }

    /// Reads a floating-point number, as `strtof`. None if there is none here.
    pub fn float(&mut self) -> Option<Number<'a>> {
        let rest = &self.text[self.at..];
        let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
        let negative = rest.first() == Some(&b'-');
        let digits = &rest[sign..];
        let (magnitude, length, is_zero) =
            special(digits).or_else(|| hexadecimal(digits)).or_else(|| decimal(digits))?;
        let text = &rest[..sign + length];
        self.at += text.len();
        let by_name = matches!(digits[0], b'i' | b'I' | b'n' | b'N');
        Some(Number {
            value: if negative { -magnitude } else { magnitude },
            text,
            overflow: magnitude.is_infinite() && !by_name,
            underflow: magnitude == 0.0 && !is_zero,
        })
    }

    /// Reads a decimal integer, as `strtol` with its results kept in the range of `i64`.
    pub fn integer(&mut self) -> Option<i64> {
        let rest = &self.text[self.at..];
        let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
        let negative = rest.first() == Some(&b'-');
        let length = count_digits(&rest[sign..]);
        if length == 0 {
            return None;
        }
        let value = rest[sign..sign + length].iter().fold(0i64, |value, digit| {
            let digit = i64::from(digit - b'0');
            let step = if negative { -digit } else { digit };
            value.saturating_mul(10).saturating_add(step)
        });
        self.at += sign + length;
        Some(value)
    }
}

fn count_digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// `inf`, `infinity` and `nan` in any case: value, length, whether it means zero.
fn special(text: &[u8]) -> Option<(f32, usize, bool)> {
    [("infinity", f32::INFINITY), ("inf", f32::INFINITY), ("nan", f32::NAN)]
        .into_iter()
        .find(|(name, _)| {
            text.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name.as_bytes()))
        })
        .map(|(name, value)| (value, name.len(), false))
}

/// The exponent after the letter at `text[at]`, and where it ends. Without digits there is none.
fn exponent(text: &[u8], at: usize, letter: u8) -> (i64, usize) {
    if !text.get(at).is_some_and(|byte| byte.eq_ignore_ascii_case(&letter)) {
        return (0, at);
    }
    let mut scanner = Scanner { text, at: at + 1 };
    match scanner.integer() {
        Some(value) => (value.clamp(-1 << 40, 1 << 40), scanner.at),
        None => (0, at),
    }
}

/// A decimal number: value, length, whether it means zero.
fn decimal(text: &[u8]) -> Option<(f32, usize, bool)> {
    let whole = count_digits(text);
    let mut end = whole;
    if text.get(end) == Some(&b'.') {
        let fraction = count_digits(&text[end + 1..]);
        if whole + fraction > 0 {
            end += 1 + fraction;
        }
    }
    if end == 0 {
        return None;
    }
    let is_zero = text[..end].iter().all(|byte| matches!(byte, b'0' | b'.'));
    let (_, end) = exponent(text, end, b'e');
    let value = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((value, end, is_zero))
}

/// A hexadecimal number, `0x1.8p3`: value, length, whether it means zero.
fn hexadecimal(text: &[u8]) -> Option<(f32, usize, bool)> {
    if text.first() != Some(&b'0') || !matches!(text.get(1), Some(b'x' | b'X')) {
        return None;
    }
    let (mut mantissa, mut power, mut inexact) = (0u64, 0i64, false);
    let (mut digits, mut point, mut end) = (0usize, false, 2usize);
    while let Some(&byte) = text.get(end) {
        if byte == b'.' && !point {
            point = true;
        } else if let Some(digit) = char::from(byte).to_digit(16) {
            digits += 1;
            if mantissa < 1 << 58 {
                mantissa = mantissa * 16 + u64::from(digit);
                power -= if point { 4 } else { 0 };
            } else {
                inexact |= digit != 0;
                power += if point { 0 } else { 4 };
            }
        } else {
            break;
        }
        end += 1;
    }
    if digits == 0 {
        return None;
    }
    let (scale, end) = exponent(text, end, b'p');
    // Rounded to odd in 53 bits, so that the rounding to 24 bits below is the only one that counts.
    while mantissa >= 1 << 53 {
        inexact |= mantissa & 1 == 1;
        mantissa >>= 1;
        power += 1;
    }
    mantissa |= u64::from(inexact);
    let value = match power + scale {
        _ if mantissa == 0 => 0.0,
        power if power > 900 => f64::INFINITY,
        power if power < -900 => 0.0,
        power => mantissa as f64 * 2f64.powi(power as i32),
    };
    Some((value as f32, end, mantissa == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<(f32, usize)> {
        Scanner::new(text.as_bytes()).float().map(|number| (number.value, number.text.len()))
    }

    #[test]
    fn reads_the_longest_number() {
        for (text, value, length) in [
            ("1", 1.0, 1),
            ("-1.5e2x", -150.0, 6),
            ("+.5", 0.5, 3),
            ("1.", 1.0, 2),
            ("1.e3]", 1000.0, 4),
            ("1e", 1.0, 1),
            ("1e+", 1.0, 1),
            ("1.2.3", 1.2, 3),
            ("0x", 0.0, 1),
            ("0x.p1", 0.0, 1),
            ("0x1.8p1", 3.0, 7),
            ("0X10,", 16.0, 4),
            ("0x1p", 1.0, 3),
            ("-0x1p-149", -f32::from_bits(1), 9),
            // Halfway between two floats, then just above it.
            ("0x1.000001p0", 1.0, 12),
            ("0x1.0000010000000000000001p0", f32::from_bits(0x3f80_0001), 28),
            ("0x1.000003p0", f32::from_bits(0x3f80_0002), 12),
            ("1e-60", 0.0, 5),
            ("1e99999999999999999999", f32::INFINITY, 22),
            ("0x1p99999999999999999999", f32::INFINITY, 24),
            ("InFinitE", f32::INFINITY, 3),
            ("infinity", f32::INFINITY, 8),
        ] {
            assert_eq!(read(text), Some((value, length)), "{text}");
        }
        for text in ["", "-", ".", "e5", "+-1", "x", "--1", "-.e1"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(read("-NaN").is_some_and(|(value, length)| value.is_nan() && length == 4));
    }

    #[test]
    fn tells_range_errors_from_words() {
        let number = |text: &'static str| Scanner::new(text.as_bytes()).float().unwrap();
        assert!(
            number("4e38").overflow && !number("inf").overflow && !number("-Infinity").overflow
        );
        assert!(
            number("1e-60").underflow && !number("0.00e5").underflow && !number("1e-45").underflow
        );
        assert!(number("0x1p-200").underflow && !number("0x0p-200").underflow);
    }

    #[test]
    fn reads_integers() {
        let read = |text: &str| {
            let mut scanner = Scanner::new(text.as_bytes());
            (scanner.integer(), scanner.at)
        };
        assert_eq!(read("12:"), (Some(12), 2));
        assert_eq!(read("-7"), (Some(-7), 2));
        assert_eq!(read("+7"), (Some(7), 2));
        assert_eq!(read("99999999999999999999"), (Some(i64::MAX), 20));
        assert_eq!(read("-99999999999999999999"), (Some(i64::MIN), 21));
        assert_eq!(read("-"), (None, 0));
    }

    proptest! {
        #[test]
        fn survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut scanner = Scanner::new(&bytes);
            scanner.skip_space();
            let _ = scanner.float();
            let _ = scanner.integer();
            prop_assert!(scanner.at <= bytes.len());
        }

        #[test]
        fn reads_back_what_rust_prints(value in any::<f32>().prop_filter("finite", |v| v.is_finite())) {
            let text = format!("{value:e}");
            prop_assert_eq!(read(&text), Some((value, text.len())));
        }

        #[test]
        fn hexadecimal_is_exact(bits in 0u32..0x7f80_0000) {
            let value = f32::from_bits(bits);
            let (mantissa, exponent) = match bits >> 23 {
                0 => (bits, -149),
                exponent => (bits & 0x7f_ffff | 0x80_0000, exponent as i32 - 150),
            };
            let text = format!("0x{mantissa:x}p{exponent}");
            prop_assert_eq!(read(&text), Some((value, text.len())));
        }
    }
}
