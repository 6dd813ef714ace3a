//! How many different values there are, about: HyperLogLog with 4096 registers (Flajolet and others, 2007), whose
//! estimate is the improved one of Ertl (2017), right at any count. The standard error is 1.04 / sqrt(4096) = 1.6 %.

use super::mix;
use crate::Error;

/// Bits of a hash that choose the register.
const BITS: u32 = 12;

/// Registers.
pub const REGISTERS: usize = 1 << BITS;

/// The largest value of a register.
const MAX: usize = 64 - BITS as usize + 1;

/// A sketch of a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Distinct(Vec<u8>);

impl Default for Distinct {
    fn default() -> Self {
        Distinct(vec![0; REGISTERS])
    }
}

impl Distinct {
    /// Takes a number. Both zeros are one.
    pub fn add_number(&mut self, x: f64) {
        let x = if x == 0.0 { 0.0 } else { x };
        self.add_hash(mix(x.to_bits() ^ 0x9e37_79b9_7f4a_7c15));
    }

    /// Takes bytes.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        // FNV-1a, whose upper bits need the mixing.
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        self.add_hash(mix(hash));
    }

    fn add_hash(&mut self, hash: u64) {
        let register = &mut self.0[(hash >> (64 - BITS)) as usize];
        let rank = ((hash << BITS).leading_zeros() as usize + 1).min(MAX) as u8;
        *register = (*register).max(rank);
    }

    /// Takes all values of another sketch.
    pub fn merge(&mut self, other: &Distinct) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a = (*a).max(*b));
    }

    /// The estimate.
    pub fn estimate(&self) -> f64 {
        let mut counts = [0.0f64; MAX + 1];
        self.0.iter().for_each(|rank| counts[usize::from(*rank)] += 1.0);
        let m = REGISTERS as f64;
        let mut z = m * tau(1.0 - counts[MAX] / m);
        for count in counts[1..MAX].iter().rev() {
            z = 0.5 * (z + count);
        }
        z += m * sigma(counts[0] / m);
        m * m / (2.0 * std::f64::consts::LN_2 * z)
    }

    /// The registers.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.clone()
    }

    /// The sketch of some registers.
    pub fn from_bytes(bytes: &[u8]) -> Result<Distinct, Error> {
        if bytes.len() == REGISTERS && bytes.iter().all(|rank| usize::from(*rank) <= MAX) {
            Ok(Distinct(bytes.to_vec()))
        } else {
            Err(Error::Damaged { ty: "distinct sketch", bytes: bytes.len() })
        }
    }
}

/// What the empty registers say.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut sum) = (1.0, x);
    loop {
        let before = sum;
        x *= x;
        sum += x * y;
        y += y;
        if sum == before {
            return sum;
        }
    }
}

/// What the full registers say.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut sum) = (1.0, 1.0 - x);
    loop {
        let before = sum;
        x = x.sqrt();
        y *= 0.5;
        sum -= (1.0 - x).powi(2) * y;
        if sum == before {
            return sum / 3.0;
        }
    }
}
