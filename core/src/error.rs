//! What can go wrong in the algorithms, as facts. The extension turns each into a SQLSTATE.

/// An error of this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Two vectors of different length met.
    #[error("different vector dimensions {0} and {1}")]
    DimensionMismatch(usize, usize),
    /// A stored code means nothing to this version: what it stands for, and the code.
    #[error("unknown {0} code {1}")]
    UnknownCode(&'static str, u8),
}
