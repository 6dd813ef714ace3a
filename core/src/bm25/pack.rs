//! Numbers in as few bits as the greatest needs.
//!
//! A full block of 128 lies in four lanes: number i is in lane i % 4, so that four neighbours come apart by the same shift
//! and a processor unpacks them at once. Fewer numbers are one string of bits, which wastes less than a byte.

use super::block::BLOCK;

const LANES: usize = 4;

/// Bits that hold numbers up to a greatest.
pub fn width(greatest: u32) -> usize {
    32 - greatest.leading_zeros() as usize
}

/// Bytes that so many numbers of a width take.
#[inline]
pub fn packed_bytes(count: usize, width: usize) -> usize {
    (count * width).div_ceil(8)
}

/// Appends numbers that have no bits beyond `width`.
pub fn pack(values: &[u32], width: usize, out: &mut Vec<u8>) {
    if values.len() == BLOCK {
        let mut words = [[0u32; LANES]; 32];
        for (row, values) in values.chunks_exact(LANES).enumerate() {
            let (word, shift) = (row * width / 32, row * width % 32);
            for (lane, &value) in values.iter().enumerate() {
                words[word][lane] |= value << shift;
                if shift + width > 32 {
                    words[word + 1][lane] |= value >> (32 - shift);
                }
            }
        }
        for word in words[..width].as_flattened() {
            out.extend_from_slice(&word.to_le_bytes());
        }
        return;
    }
    let (mut bits, mut held) = (0u64, 0);
    for &value in values {
        bits |= u64::from(value) << held;
        held += width;
        while held >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.push(bits as u8);
    }
}

/// Unpacks `count` numbers; what is beyond them in `out` has no meaning.
///
/// # Panics
/// If `bytes` is not [`packed_bytes`] long, the width above 32 or the count above [`BLOCK`].
pub fn unpack(bytes: &[u8], width: usize, count: usize, out: &mut [u32; BLOCK]) {
    assert!(bytes.len() == packed_bytes(count, width) && width <= 32);
    if count < BLOCK {
        for (i, value) in out[..count].iter_mut().enumerate() {
            *value = string_bits(bytes, width, i);
        }
        return;
    }
    macro_rules! by_width {
        ($($width:literal)*) => {
            match width {
                0 => out.fill(0),
                $($width => unpack_lanes::<$width>(bytes, out),)*
                _ => {}
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
}

#[inline]
fn unpack_lanes<const WIDTH: usize>(bytes: &[u8], out: &mut [u32; BLOCK]) {
    let mut words = [[0u32; LANES]; WIDTH];
    for (word, bytes) in words.as_flattened_mut().iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    let mask = u32::MAX >> (32 - WIDTH);
    for (row, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let (word, shift) = (row * WIDTH / 32, row * WIDTH % 32);
        for (lane, out) in out.iter_mut().enumerate() {
            let mut value = words[word][lane] >> shift;
            if shift + WIDTH > 32 {
                value |= words[word + 1][lane] << (32 - shift);
            }
            *out = value & mask;
        }
    }
}

/// Number `index` of `count` packed ones, alone.
///
/// # Panics
/// As [`unpack`].
#[inline]
pub fn get(bytes: &[u8], width: usize, count: usize, index: usize) -> u32 {
    if width == 0 {
        return 0;
    }
    if count < BLOCK {
        return string_bits(bytes, width, index);
    }
    let (row, lane) = (index / LANES, index % LANES);
    let word = |n: usize| {
        let at = (n * LANES + lane) * 4;
        u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
    };
    let (first, shift) = (row * width / 32, row * width % 32);
    let mut bits = word(first);
    if shift + width > 32 {
        bits |= word(first + 1) << 32;
    }
    (bits >> shift) as u32 & (u32::MAX >> (32 - width))
}

/// A number of a string of bits.
#[inline]
fn string_bits(bytes: &[u8], width: usize, index: usize) -> u32 {
    if width == 0 {
        return 0;
    }
    let bit = index * width;
    let rest = &bytes[bit / 8..];
    let bits = match rest.first_chunk() {
        Some(word) => u64::from_le_bytes(*word),
        None => {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(word)
        }
    };
    (bits >> (bit % 8)) as u32 & (u32::MAX >> (32 - width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(
            values in prop::collection::vec(any::<u32>(), 1..=BLOCK), full in any::<bool>(), cut in 0usize..=32,
        ) {
            let mask = u32::MAX.checked_shr(cut as u32).unwrap_or(0);
            let mut values: Vec<u32> = values.into_iter().map(|value| value & mask).collect();
            if full {
                values.resize(BLOCK, 0);
            }
            let width = width(*values.iter().max().unwrap());
            let mut bytes = Vec::new();
            pack(&values, width, &mut bytes);
            prop_assert_eq!(bytes.len(), packed_bytes(values.len(), width));
            let mut out = [0; BLOCK];
            unpack(&bytes, width, values.len(), &mut out);
            prop_assert_eq!(&out[..values.len()], &values[..]);
            for (i, &value) in values.iter().enumerate() {
                prop_assert_eq!(get(&bytes, width, values.len(), i), value);
            }
        }
    }
}
