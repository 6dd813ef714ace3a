//! Statistics of features: profiles that can be merged, and how far two samples lie apart.
//!
//! Values are finite here: whoever reads them sorts out NaN and infinities first. The tests and distances agree with
//! those of scipy of the same names; `docs/drift.md` has the formulas and where they come from.

pub mod categories;
pub mod centroid;
pub mod chi2;
pub mod distance;
pub mod distinct;
pub mod histogram;
pub mod kolmogorov;
pub mod ks;
pub mod moments;
pub mod profile;
pub mod quantiles;
pub mod reservoir;

#[cfg(test)]
mod tests;

/// Mixes the bits of a number so that each bit of the result depends on all of them: the finalizer of MurmurHash3.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}
