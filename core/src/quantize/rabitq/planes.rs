//! The bits of levels, packed 64 coordinates at a time.

use super::super::rotation::GROUP;

/// The most bits of a level.
pub const MAX_BITS: usize = 8;

/// What is subtracted from a level to get its value.
pub fn middle(bits: usize) -> f32 {
    ((1 << bits) - 1) as f32 / 2.0
}

/// Packs levels of `rest_bits + 1` bits; `signs` and `rest` are cleared first.
pub fn pack(rest_bits: usize, levels: &[u8], signs: &mut Vec<u8>, rest: &mut Vec<u8>) {
    signs.clear();
    rest.clear();
    let (groups, _) = levels.as_chunks::<GROUP>();
    for group in groups {
        signs.extend_from_slice(&bit(group, rest_bits).to_le_bytes());
        let mut from = 0;
        if rest_bits & 4 != 0 {
            let (low, high) = group.split_at(32);
            rest.extend(low.iter().zip(high).map(|(a, b)| a & 15 | b << 4));
            from += 4;
        }
        if rest_bits & 2 != 0 {
            let part = |i: usize| group[i] >> from & 3;
            rest.extend(
                (0..16)
                    .map(|i| part(i) | part(i + 16) << 2 | part(i + 32) << 4 | part(i + 48) << 6),
            );
            from += 2;
        }
        if rest_bits & 1 != 0 {
            rest.extend_from_slice(&bit(group, from).to_le_bytes());
        }
    }
}

/// Bit `place` of each level.
fn bit(group: &[u8; GROUP], place: usize) -> u64 {
    let (eights, _) = group.as_chunks::<8>();
    let mut bits = 0;
    for (i, eight) in eights.iter().enumerate() {
        let ones = u64::from_le_bytes(*eight) >> place & 0x0101_0101_0101_0101;
        // Gathers the lowest bit of each byte in the highest byte.
        bits |= (ones.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    bits
}

/// The levels of a code. Lengths have been checked.
pub fn unpack(rest_bits: usize, signs: &[u8], rest: &[u8], levels: &mut [u8]) {
    let (groups, _) = levels.as_chunks_mut::<GROUP>();
    let (signs, _) = signs.as_chunks::<8>();
    for (i, (group, signs)) in groups.iter_mut().zip(signs).enumerate() {
        let rest = &rest[i * 8 * rest_bits..][..8 * rest_bits];
        *group = match rest_bits {
            0 => unpack_group::<0>(signs, rest),
            1 => unpack_group::<1>(signs, rest),
            2 => unpack_group::<2>(signs, rest),
            3 => unpack_group::<3>(signs, rest),
            4 => unpack_group::<4>(signs, rest),
            5 => unpack_group::<5>(signs, rest),
            6 => unpack_group::<6>(signs, rest),
            _ => unpack_group::<7>(signs, rest),
        };
    }
}

/// The levels of 64 coordinates; `rest` has `8 R` bytes.
#[inline(always)]
pub fn unpack_group<const R: usize>(signs: &[u8; 8], rest: &[u8]) -> [u8; GROUP] {
    let mut levels = [0; GROUP];
    spread(&mut levels, signs, R);
    let (mut from, mut at) = (0, 0);
    if R & 4 != 0 {
        let bytes = &rest[..32];
        for i in 0..32 {
            levels[i] |= bytes[i] & 15;
            levels[i + 32] |= bytes[i] >> 4;
        }
        (from, at) = (4, 32);
    }
    if R & 2 != 0 {
        let bytes = &rest[at..at + 16];
        for part in 0..4 {
            for i in 0..16 {
                levels[part * 16 + i] |= (bytes[i] >> (2 * part) & 3) << from;
            }
        }
        (from, at) = (from + 2, at + 16);
    }
    if R & 1 != 0
        && let Some(bits) = rest[at..].first_chunk()
    {
        spread(&mut levels, bits, from);
    }
    levels
}

/// Sets bit `place` of each level.
#[inline(always)]
fn spread(levels: &mut [u8; GROUP], bits: &[u8; 8], place: usize) {
    let (eights, _) = levels.as_chunks_mut::<8>();
    for i in 0..8 {
        // One bit of the byte in each byte, moved to the highest and from there to the lowest.
        let picked = u64::from(bits[i]).wrapping_mul(0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
        let ones = (picked + 0x7f7f_7f7f_7f7f_7f7f) >> 7 & 0x0101_0101_0101_0101;
        eights[i] = (u64::from_le_bytes(eights[i]) | ones << place).to_le_bytes();
    }
}
