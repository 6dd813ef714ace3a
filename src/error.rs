//! One match from the errors of `leanstack_core` to SQLSTATEs: pgvector's where it has the error too.

use leanstack_core::Error;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

use crate::types::text::print_float;

/// The error as PostgreSQL reports it.
pub fn report(error: Error) -> ErrorReport {
    use PgSqlErrorCode as Code;
    let code = match &error {
        Error::DimensionMismatch(..)
        | Error::DifferentDimensions { .. }
        | Error::DifferentBitLengths(..)
        | Error::DifferentLengths(..)
        | Error::UnexpectedDimensions { .. }
        | Error::NoDimensions(_)
        | Error::NotANumber(_)
        | Error::Infinite(_)
        | Error::ReservedField(_)
        | Error::NegativeElements
        | Error::IndexOutOfBounds
        | Error::IndicesNotAscending
        | Error::DuplicateIndices
        | Error::ZeroValue
        | Error::NestedArray
        | Error::ArrayType => Code::ERRCODE_DATA_EXCEPTION,
        Error::TooManyDimensions { .. }
        | Error::TooManyNonZero(_)
        | Error::MoreElementsThanDimensions => Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        Error::Syntax { .. } => Code::ERRCODE_INVALID_TEXT_REPRESENTATION,
        Error::LiteralOutOfRange { .. }
        | Error::OutOfRange { .. }
        | Error::Overflow
        | Error::Underflow => Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
        Error::Truncated => Code::ERRCODE_PROTOCOL_VIOLATION,
        Error::TypeModifier
        | Error::TypeModifierTooSmall(_)
        | Error::TypeModifierTooLarge { .. }
        | Error::Argument { .. } => Code::ERRCODE_INVALID_PARAMETER_VALUE,
        Error::NullElement => Code::ERRCODE_NULL_VALUE_NOT_ALLOWED,
        Error::AggregateState(_) => Code::ERRCODE_INTERNAL_ERROR,
        Error::Damaged { .. } => Code::ERRCODE_DATA_CORRUPTED,
        Error::UnsupportedCodec(..) => Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        Error::UnknownCode(..) | Error::NonFiniteMean => Code::ERRCODE_INDEX_CORRUPTED,
    };
    let message = match &error {
        Error::OutOfRange { ty, number } => {
            let mut text = Vec::new();
            print_float(&mut text, *number);
            format!("\"{}\" is out of range for type {ty}", String::from_utf8_lossy(&text))
        }
        error => error.to_string(),
    };
    let report = ErrorReport::new(code, message, "leanstack");
    match error {
        Error::Syntax { detail: Some(detail), .. } => report.set_detail(detail),
        _ => report,
    }
}

/// Raises the error; control goes to PostgreSQL's error handler.
#[cold]
pub fn raise(error: Error) -> ! {
    report(error).report(PgLogLevel::ERROR);
    unreachable!("an ERROR does not return")
}

/// The value, or its error raised.
pub fn unwrap<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| raise(error))
}

/// Raises an error that says what to do.
#[cold]
pub fn fail(code: PgSqlErrorCode, message: impl Into<String>, hint: &str) -> ! {
    ErrorReport::new(code, message.into(), "leanstack").set_hint(hint).report(PgLogLevel::ERROR);
    unreachable!("an ERROR does not return")
}
