//! Bit strings, the values of PostgreSQL's `bit`, as far as vectors need them.

use crate::Error;

/// Have both bit strings the same length?
#[inline]
pub fn check_same(a: usize, b: usize) -> Result<(), Error> {
    if a == b { Ok(()) } else { Err(Error::DifferentBitLengths(a, b)) }
}
