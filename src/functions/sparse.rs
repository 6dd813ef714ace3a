//! `sparsevec`: input and output, casts, distances and comparisons.

use half::f16;
use leanstack_core::sparse::{self, MAX_DIM, SparseBuf, TYPE};
use leanstack_core::{Element, Error, dense};
use pgrx::pg_sys;

use super::vectors::*;
use crate::types::array::Numbers;
use crate::types::call::export;
use crate::types::text::{Bytea, Literal, Message, Text, Typmods, print_float};
use crate::types::vector::{Dense, SparseArg};

fn text_in(literal: Literal, _ty: pg_sys::Oid, typmod: i32) -> Result<SparseBuf, Error> {
    sparse::parse(&literal, typmod)
}

fn text_out(a: SparseArg) -> Result<Text, Error> {
    let a = a.get();
    let mut text = vec![b'{'];
    for (i, (index, value)) in a.indices.iter().zip(a.values).enumerate() {
        if i > 0 {
            text.push(b',');
        }
        // Counted from 1 in SQL; a damaged index must not overflow.
        text.extend_from_slice((i64::from(*index) + 1).to_string().as_bytes());
        text.push(b':');
        print_float(&mut text, *value);
    }
    text.extend_from_slice(format!("}}/{}", a.dim).as_bytes());
    Ok(Text(text))
}

fn typmod_in(typmods: Typmods) -> Result<i32, Error> {
    typmods.dimensions(TYPE, MAX_DIM)
}

fn receive(message: Message, _ty: pg_sys::Oid, typmod: i32) -> Result<SparseBuf, Error> {
    message.read(|reader| sparse::decode(reader, typmod))
}

fn send(a: SparseArg) -> Result<Bytea, Error> {
    let a = a.get();
    let mut bytes = Vec::with_capacity(12 + 8 * a.indices.len());
    for field in [a.dim as i32, a.indices.len() as i32, 0] {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    a.indices.iter().for_each(|index| bytes.extend_from_slice(&index.to_be_bytes()));
    a.values.iter().for_each(|value| bytes.extend_from_slice(&value.to_be_bytes()));
    Ok(Bytea(bytes))
}

/// Checks the type modifier of a value that has the type already.
fn cast(a: SparseArg, typmod: i32, _explicit: bool) -> Result<SparseArg, Error> {
    dense::check_typmod(typmod, a.get().dim)?;
    Ok(a)
}

fn check_dims(dim: usize, typmod: i32) -> Result<(), Error> {
    sparse::check_dim(dim)?;
    dense::check_typmod(typmod, dim)
}

/// Keeps what is not zero, if that is not too much.
fn from_numbers(numbers: impl Iterator<Item = f32>) -> Result<SparseBuf, Error> {
    let sparse = SparseBuf::from_dense(numbers);
    sparse::check_nonzero(sparse.indices.len().try_into().unwrap_or(i32::MAX), sparse.dim)?;
    sparse::check_values(&sparse.values)?;
    Ok(sparse)
}

fn from_array(numbers: Numbers, typmod: i32, _explicit: bool) -> Result<SparseBuf, Error> {
    from_numbers(numbers.read(|dim| check_dims(dim, typmod), Ok)?.into_iter())
}

fn from_dense<E: Element>(a: Dense<E>, typmod: i32, _explicit: bool) -> Result<SparseBuf, Error> {
    check_dims(a.len(), typmod)?;
    from_numbers(a.iter().map(|x| x.to_f32()))
}

fn l2_normalize(a: SparseArg) -> Result<SparseBuf, Error> {
    sparse::normalize(a.get())
}

export! {
    "sparsevec" "_in" = text_in;
    "sparsevec" "_out" = text_out;
    "sparsevec" "_typmod_in" = typmod_in;
    "sparsevec" "_recv" = receive;
    "sparsevec" "_send" = send;
    "sparsevec" "_cast" = cast;
    "sparsevec" "_from_array" = from_array;
    "sparsevec" "_from_vector" = from_dense::<f32>;
    "sparsevec" "_from_halfvec" = from_dense::<f16>;
    "sparsevec" "_l2_distance" = l2_distance::<SparseArg>;
    "sparsevec" "_inner_product" = inner_product::<SparseArg>;
    "sparsevec" "_cosine_distance" = cosine_distance::<SparseArg>;
    "sparsevec" "_l1_distance" = l1_distance::<SparseArg>;
    "sparsevec" "_l2_squared_distance" = l2_squared_distance::<SparseArg>;
    "sparsevec" "_negative_inner_product" = negative_inner_product::<SparseArg>;
    "sparsevec" "_norm" = norm::<SparseArg>;
    "sparsevec" "_l2_normalize" = l2_normalize;
    "sparsevec" "_lt" = lt::<SparseArg>;
    "sparsevec" "_le" = le::<SparseArg>;
    "sparsevec" "_eq" = eq::<SparseArg>;
    "sparsevec" "_ne" = ne::<SparseArg>;
    "sparsevec" "_ge" = ge::<SparseArg>;
    "sparsevec" "_gt" = gt::<SparseArg>;
    "sparsevec" "_cmp" = cmp::<SparseArg>;
}
