//! What the code of a row consists of.

use zerocopy::FromBytes;

use crate::quantize::Factors;
use crate::quantize::rabitq::Rabitq;

/// A row's code in RaBitQ, taken apart.
pub(super) struct RowParts<'a> {
    pub sign_factors: Factors,
    pub factors: Factors,
    pub signs: &'a [u8],
    pub rest: &'a [u8],
}

impl<'a> RowParts<'a> {
    pub fn new(rabitq: &Rabitq, row: &'a [u8]) -> Option<RowParts<'a>> {
        let (sign_factors, rest) = split(row)?;
        let (factors, codes) = split(rest)?;
        let (signs, rest) = codes.split_at_checked(rabitq.sign_bytes())?;
        let rest = rest.get(..rabitq.rest_bytes())?;
        Some(RowParts { sign_factors, factors, signs, rest })
    }
}

/// The factors at the head of a row's code, and the rest.
#[inline]
pub(super) fn split(row: &[u8]) -> Option<(Factors, &[u8])> {
    Factors::read_from_prefix(row).ok()
}
