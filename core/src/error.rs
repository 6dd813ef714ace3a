//! What can go wrong in the algorithms, as facts. The extension turns each into a SQLSTATE.
//!
//! The texts are part of the interface: clients and tests of pgvector compare them, so the wording is
//! pgvector's. `ty` is the SQL name of the type that the user sees.

/// An error of this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Two vectors of different length met.
    #[error("different vector dimensions {0} and {1}")]
    DimensionMismatch(usize, usize),
    /// A stored code means nothing to this version: what it stands for, and the code.
    #[error("unknown {0} code {1}")]
    UnknownCode(&'static str, u8),
    /// Codes of this kind cannot tell distances of this metric.
    #[error("{0:?} codes do not support the {1:?} metric")]
    UnsupportedCodec(crate::quantize::Repr, crate::Metric),
    /// A stored mean vector is damaged.
    #[error("mean vector has a component that is not finite")]
    NonFiniteMean,
    /// The same, of values of one SQL type.
    #[error("different {ty} dimensions {left} and {right}")]
    DifferentDimensions {
        /// Type of both values.
        ty: &'static str,
        /// Dimensions of the left value.
        left: usize,
        /// Dimensions of the right value.
        right: usize,
    },
    /// Two bit strings of different length met.
    #[error("different bit lengths {0} and {1}")]
    DifferentBitLengths(usize, usize),
    /// Two lists that belong together are not of one length.
    #[error("different array lengths {0} and {1}")]
    DifferentLengths(usize, usize),
    /// A value does not have the dimensions that its column or its aggregate asks for.
    #[error("expected {expected} dimensions, not {found}")]
    UnexpectedDimensions {
        /// What the type modifier says.
        expected: usize,
        /// What the value has.
        found: usize,
    },
    /// A vector without elements.
    #[error("{0} must have at least 1 dimension")]
    NoDimensions(&'static str),
    /// More dimensions than the type can hold.
    #[error("{ty} cannot have more than {max} dimensions")]
    TooManyDimensions {
        /// Type of the value.
        ty: &'static str,
        /// The most it can hold.
        max: usize,
    },
    /// A NaN element.
    #[error("NaN not allowed in {0}")]
    NotANumber(&'static str),
    /// An infinite element.
    #[error("infinite value not allowed in {0}")]
    Infinite(&'static str),
    /// Text that is no literal of the type.
    #[error("invalid input syntax for type {ty}: \"{input}\"")]
    Syntax {
        /// Type that was read.
        ty: &'static str,
        /// The whole literal.
        input: String,
        /// What exactly is wrong with it, if that can be said.
        detail: Option<&'static str>,
    },
    /// A number in a literal that the element type cannot hold.
    #[error("\"{number}\" is out of range for type {ty}")]
    LiteralOutOfRange {
        /// Type that was read.
        ty: &'static str,
        /// The number as it was written.
        number: String,
    },
    /// A number that the element type cannot hold. The extension prints it as the server prints a `real`.
    #[error("\"{number}\" is out of range for type {ty}")]
    OutOfRange {
        /// Type that should hold it.
        ty: &'static str,
        /// The number.
        number: f32,
    },
    /// Arithmetic gave an infinity.
    #[error("value out of range: overflow")]
    Overflow,
    /// Arithmetic gave zero from what was not zero.
    #[error("value out of range: underflow")]
    Underflow,
    /// Binary input ends before the value does.
    #[error("insufficient data left in message")]
    Truncated,
    /// The reserved field of a binary value is in use.
    #[error("expected unused to be 0, not {0}")]
    ReservedField(i32),
    /// Binary input says that it has fewer than no elements.
    #[error("sparsevec cannot have negative number of elements")]
    NegativeElements,
    /// More non-zero elements than a sparse vector can hold.
    #[error("sparsevec cannot have more than {0} non-zero elements")]
    TooManyNonZero(usize),
    /// More elements than dimensions.
    #[error("sparsevec cannot have more elements than dimensions")]
    MoreElementsThanDimensions,
    /// An element that lies outside of the dimensions.
    #[error("sparsevec index out of bounds")]
    IndexOutOfBounds,
    /// Binary input whose elements are not sorted.
    #[error("sparsevec indices must be in ascending order")]
    IndicesNotAscending,
    /// An element given twice.
    #[error("sparsevec indices must not contain duplicates")]
    DuplicateIndices,
    /// Binary input that spells out a zero.
    #[error("binary representation of sparsevec cannot contain zero values")]
    ZeroValue,
    /// A type modifier that is not one number.
    #[error("invalid type modifier")]
    TypeModifier,
    /// A type modifier below one.
    #[error("dimensions for type {0} must be at least 1")]
    TypeModifierTooSmall(&'static str),
    /// A type modifier above the limit of the type.
    #[error("dimensions for type {ty} cannot exceed {max}")]
    TypeModifierTooLarge {
        /// Type that was declared.
        ty: &'static str,
        /// The most it can hold.
        max: usize,
    },
    /// An array of arrays where a list of numbers is needed.
    #[error("array must be 1-D")]
    NestedArray,
    /// An array with a NULL in it.
    #[error("array must not contain nulls")]
    NullElement,
    /// An array of something that is no number.
    #[error("unsupported array type")]
    ArrayType,
    /// An aggregate function called with something that is not its state.
    #[error("{0}: expected state array")]
    AggregateState(&'static str),
    /// Stored bytes that contradict themselves.
    #[error("damaged {ty} value of {bytes} bytes")]
    Damaged {
        /// Type of the value.
        ty: &'static str,
        /// Size of the value with its header.
        bytes: usize,
    },
    /// An argument outside the range that has a meaning.
    #[error("{name} must be {range}, not {value}")]
    Argument {
        /// Name of the argument.
        name: &'static str,
        /// What it may be, in words.
        range: &'static str,
        /// What was given.
        value: f64,
    },
}
