//! Eight bits for each dimension as `bytea`, one signed byte each, over a range that the caller gives; and the
//! aggregate `extent`, which finds the range of a column.
//!
//! The state of the aggregate is an array of `double precision`, as `avg` has it: the count, then the smallest values
//! of all dimensions, then the largest.

use half::f16;
use leanstack_core::quantize::range::Ranges;
use leanstack_core::{Element, Error, Metric, dense};

use crate::functions::aggregates::{NextState, new_state};
use crate::types::array::{ArrayOut, State};
use crate::types::call::export;
use crate::types::text::{Bytea, Bytes};
use crate::types::vector::{Dense, DenseOut};

/// The components in single precision.
pub fn components<E: Element>(v: &[E]) -> Vec<f32> {
    v.iter().map(|x| x.to_f32()).collect()
}

fn encode<E: Element>(v: &[E], ranges: &Ranges) -> Result<Bytea, Error> {
    let mut code = Vec::new();
    ranges.encode(&components(v), &mut code)?;
    Ok(Bytea(code))
}

fn decode(code: &[u8], ranges: &Ranges) -> Result<DenseOut<f32>, Error> {
    dense::check_dim::<f32>(code.len())?;
    ranges.decode(code).map(|v| DenseOut::of(&v))
}

fn quantize<E: Element>(v: Dense<E>, lo: f32, hi: f32) -> Result<Bytea, Error> {
    encode(&v, &Ranges::global(Metric::L2, v.len(), lo, hi)?)
}

fn quantize_each<E: Element>(v: Dense<E>, lo: Dense<f32>, hi: Dense<f32>) -> Result<Bytea, Error> {
    encode(&v, &Ranges::per_dimension(Metric::L2, &lo, &hi)?)
}

fn dequantize(code: Bytes, lo: f32, hi: f32) -> Result<DenseOut<f32>, Error> {
    decode(&code, &Ranges::global(Metric::L2, code.len(), lo, hi)?)
}

fn dequantize_each(code: Bytes, lo: Dense<f32>, hi: Dense<f32>) -> Result<DenseOut<f32>, Error> {
    decode(&code, &Ranges::per_dimension(Metric::L2, &lo, &hi)?)
}

/// The dimensions that a state is about; 0 before the first vector.
fn state_dims(state: &State, caller: &'static str) -> Result<usize, Error> {
    let numbers = state.values(caller)?.len() - 1;
    if !numbers.is_multiple_of(2) {
        return Err(Error::AggregateState(caller));
    }
    Ok(numbers / 2)
}

/// Widens the ranges in `numbers` by a vector.
fn widen<E: Element>(numbers: &mut [f64], v: &[E]) {
    let (lows, highs) = numbers.split_at_mut(v.len());
    for ((lo, hi), x) in lows.iter_mut().zip(highs).zip(v) {
        let x = f64::from(x.to_f32());
        *lo = lo.min(x);
        *hi = hi.max(x);
    }
}

fn accumulate<E: Element>(mut state: State, v: Dense<E>) -> Result<NextState, Error> {
    const CALLER: &str = "extent_accum";
    let dims = state_dims(&state, CALLER)?;
    let count = state.values(CALLER)?[0] + 1.0;
    if dims == 0 {
        let numbers: Vec<f64> = v.iter().chain(v.iter()).map(|x| f64::from(x.to_f32())).collect();
        return Ok(NextState::New(new_state(count, &numbers)));
    }
    if dims != v.len() {
        return Err(Error::DimensionMismatch(dims, v.len()));
    }
    if let Some(values) = state.values_mut(CALLER)? {
        values[0] = count;
        widen(&mut values[1..], &v);
        return Ok(NextState::Same(state));
    }
    let mut numbers = state.values(CALLER)?[1..].to_vec();
    widen(&mut numbers, &v);
    Ok(NextState::New(new_state(count, &numbers)))
}

fn combine(a: State, b: State) -> Result<ArrayOut, Error> {
    const CALLER: &str = "extent_combine";
    let (dims, others) = (state_dims(&a, CALLER)?, state_dims(&b, CALLER)?);
    let (a, b) = (a.values(CALLER)?, b.values(CALLER)?);
    let count = a[0] + b[0];
    if dims == 0 || others == 0 {
        return Ok(new_state(count, if dims == 0 { &b[1..] } else { &a[1..] }));
    }
    if dims != others {
        return Err(Error::DimensionMismatch(dims, others));
    }
    let pairs = a[1..].iter().zip(&b[1..]).enumerate();
    let wider = pairs.map(|(i, (a, b))| if i < dims { a.min(*b) } else { a.max(*b) });
    Ok(new_state(count, &wider.collect::<Vec<f64>>()))
}

/// One end of the ranges of a state; of no vectors it is NULL.
fn bounds(state: State, highs: bool) -> Result<Option<DenseOut<f32>>, Error> {
    const CALLER: &str = "extent_bounds";
    let dims = state_dims(&state, CALLER)?;
    if dims == 0 {
        return Ok(None);
    }
    dense::check_dim::<f32>(dims)?;
    let start = if highs { 1 + dims } else { 1 };
    let ends = state.values(CALLER)?[start..start + dims].iter();
    let ends: Vec<f32> = ends.map(|x| *x as f32).collect();
    ends.iter().try_for_each(|x| dense::check_element::<f32>(*x).map(drop))?;
    Ok(Some(DenseOut::of(&ends)))
}

export! {
    "vector" "_quantize_int8" = quantize::<f32>;
    "halfvec" "_quantize_int8" = quantize::<f16>;
    "vector" "_quantize_int8_each" = quantize_each::<f32>;
    "halfvec" "_quantize_int8_each" = quantize_each::<f16>;
    "dequantize_int8" "" = dequantize;
    "dequantize_int8" "_each" = dequantize_each;
    "vector" "_extent_accum" = accumulate::<f32>;
    "halfvec" "_extent_accum" = accumulate::<f16>;
    "extent" "_combine" = combine;
    "extent" "_bounds" = bounds;
}
