//! `avg` of vectors: the state is an array of `double precision`, the count in front of the sums.
//!
//! Inside an aggregate the state is changed in place; a state array per row would cost more than
//! the additions. `sum` needs nothing here: it adds with `+`.

use leanstack_core::{Element, Error, dense};
use pgrx::pg_sys;

use crate::types::array::{ArrayOut, State};
use crate::types::call::{Ret, export};
use crate::types::vector::{Dense, DenseOut};

/// The next state: the one that came, or a new one.
pub enum NextState {
    /// Changed in place.
    Same(State),
    /// Made anew.
    New(ArrayOut),
}

impl Ret for NextState {
    fn give(self) -> Option<pg_sys::Datum> {
        match self {
            NextState::Same(state) => state.give(),
            NextState::New(array) => array.give(),
        }
    }
}

/// A new state of a count and sums.
pub(super) fn new_state(count: f64, sums: &[f64]) -> ArrayOut {
    let mut out = ArrayOut::zeros::<f64>(pg_sys::FLOAT8OID, sums.len() + 1);
    out.elements()[0] = count;
    out.elements()[1..].copy_from_slice(sums);
    out
}

/// Adds a vector to a state.
pub fn accumulate<E: Element>(
    caller: &'static str,
    mut state: State,
    x: Dense<E>,
) -> Result<NextState, Error> {
    let (count, len) = {
        let values = state.values(caller)?;
        (values[0] + 1.0, values.len() - 1)
    };
    if len == 0 {
        let sums: Vec<f64> = x.iter().map(|x| f64::from(x.to_f32())).collect();
        return Ok(NextState::New(new_state(count, &sums)));
    }
    if let Some(values) = state.values_mut(caller)? {
        dense::accumulate::<E>(&mut values[1..], &x)?;
        values[0] = count;
        return Ok(NextState::Same(state));
    }
    let mut out = new_state(count, &state.values(caller)?[1..]);
    dense::accumulate::<E>(&mut out.elements()[1..], &x)?;
    Ok(NextState::New(out))
}

/// Adds two states, of `vector` or of `halfvec`.
fn combine(a: State, b: State) -> Result<ArrayOut, Error> {
    const CALLER: &str = "vector_combine";
    let (a, b) = (a.values(CALLER)?, b.values(CALLER)?);
    let sums = match (&a[1..], &b[1..]) {
        ([], []) => Vec::new(),
        ([], sums) | (sums, []) => {
            dense::check_dim::<f32>(sums.len())?;
            sums.to_vec()
        }
        (a, b) => {
            dense::check_dim::<f32>(a.len())?;
            dense::add_sums(a, b)?
        }
    };
    Ok(new_state(a[0] + b[0], &sums))
}

export! {
    "vector" "_combine" = combine;
}

/// The mean that a state stands for; of no vectors it is NULL.
pub fn mean<E: Element>(caller: &'static str, state: State) -> Result<Option<DenseOut<E>>, Error> {
    let values = state.values(caller)?;
    if values[0] == 0.0 {
        return Ok(None);
    }
    dense::check_dim::<E>(values.len() - 1)?;
    let mut out = DenseOut::zeros(values.len() - 1);
    dense::mean(values[0], &values[1..], out.elements())?;
    Ok(Some(out))
}
