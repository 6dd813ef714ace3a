//! Values of an indexed column, checked and turned into plain numbers.

use leanstack_core::Element;
use leanstack_core::quantize::Value;
use pgrx::prelude::*;

/// Raises an error if a vector cannot be compared with those of an index of `dims` dimensions, 0 being any.
pub fn check_dims(dims: usize, value: &Value<'_>) {
    let own = value.dims();
    if dims == 0 || dims == own {
        return;
    }
    let what =
        if matches!(value, Value::Bits { .. }) { "bit lengths" } else { "vector dimensions" };
    ereport!(
        ERROR,
        PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
        format!("different {what} {dims} and {own}")
    );
}

/// The components of a dense vector, of its unit vector with `normalize`. Nothing if it has none: it is not dense, not
/// finite, or to be normalized and zero.
pub fn components(value: Value<'_>, normalize: bool) -> Option<Vec<f64>> {
    match value {
        Value::F32(x) => widened(x, normalize),
        Value::F16(x) => widened(x, normalize),
        Value::Bits { .. } | Value::Sparse { .. } => None,
    }
}

fn widened<E: Element>(x: &[E], normalize: bool) -> Option<Vec<f64>> {
    let mut components: Vec<f64> = x.iter().map(|x| f64::from(x.to_f32())).collect();
    let norm = components.iter().map(|x| x * x).sum::<f64>().sqrt();
    if !norm.is_finite() || normalize && norm == 0.0 {
        return None;
    }
    if normalize {
        components.iter_mut().for_each(|x| *x /= norm);
    }
    Some(components)
}
