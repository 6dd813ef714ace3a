//! `vector` and `halfvec`: one generic of each function, exported for both types.

use half::f16;
use leanstack_core::dense::{self, MAX_DIM};
use leanstack_core::wire::Wire;
use leanstack_core::{Element, Error, sparse};
use pgrx::pg_sys;

use super::aggregates::{accumulate, mean};
use super::vectors::*;
use crate::types::array::{ArrayOut, Numbers};
use crate::types::call::export;
use crate::types::text::{Bytea, Literal, Message, Text, Typmods, print_float};
use crate::types::vector::{BitsOut, Dense, DenseOut, SparseArg};

fn check_dims<E: Element>(dim: usize, typmod: i32) -> Result<(), Error> {
    dense::check_dim::<E>(dim)?;
    dense::check_typmod(typmod, dim)
}

fn text_in<E: Element>(
    literal: Literal,
    _ty: pg_sys::Oid,
    typmod: i32,
) -> Result<DenseOut<E>, Error> {
    dense::parse(&literal, typmod).map(|elements| DenseOut::of(&elements))
}

fn text_out<E: Element>(a: Dense<E>) -> Result<Text, Error> {
    let mut text = Vec::with_capacity(12 * a.len() + 2);
    text.push(b'[');
    for (i, x) in a.iter().enumerate() {
        if i > 0 {
            text.push(b',');
        }
        print_float(&mut text, x.to_f32());
    }
    text.push(b']');
    Ok(Text(text))
}

fn typmod_in<E: Element>(typmods: Typmods) -> Result<i32, Error> {
    typmods.dimensions(E::NAME, MAX_DIM)
}

fn receive<E: Wire>(message: Message, _ty: pg_sys::Oid, typmod: i32) -> Result<DenseOut<E>, Error> {
    let elements = message.read(|reader| dense::decode(reader, typmod))?;
    Ok(DenseOut::of(&elements))
}

fn send<E: Wire>(a: Dense<E>) -> Result<Bytea, Error> {
    let mut bytes = Vec::with_capacity(4 + size_of_val::<[E]>(&a));
    bytes.extend_from_slice(&(a.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    a.iter().for_each(|x| bytes.extend_from_slice(x.to_wire().as_ref()));
    Ok(Bytea(bytes))
}

/// Checks the type modifier of a value that has the type already.
fn cast<E: Element>(a: Dense<E>, typmod: i32, _explicit: bool) -> Result<Dense<E>, Error> {
    dense::check_typmod(typmod, a.len())?;
    Ok(a)
}

fn from_array<E: Element>(
    numbers: Numbers,
    typmod: i32,
    _explicit: bool,
) -> Result<DenseOut<E>, Error> {
    let elements = numbers.read(|dim| check_dims::<E>(dim, typmod), dense::convert)?;
    elements.iter().try_for_each(|x| dense::check_element::<E>(*x).map(drop))?;
    Ok(DenseOut::of(&elements))
}

fn to_float4<E: Element>(a: Dense<E>, _typmod: i32, _explicit: bool) -> Result<ArrayOut, Error> {
    let mut out = ArrayOut::zeros::<f32>(pg_sys::FLOAT4OID, a.len());
    out.elements().iter_mut().zip(a.iter()).for_each(|(out, x)| *out = x.to_f32());
    Ok(out)
}

/// From the other dense type.
fn from_dense<A: Element, E: Element>(
    a: Dense<A>,
    typmod: i32,
    _explicit: bool,
) -> Result<DenseOut<E>, Error> {
    check_dims::<E>(a.len(), typmod)?;
    let mut out = DenseOut::zeros(a.len());
    for (out, x) in out.elements().iter_mut().zip(a.iter()) {
        *out = dense::convert(x.to_f32())?;
    }
    Ok(out)
}

fn from_sparse<E: Element>(
    a: SparseArg,
    typmod: i32,
    _explicit: bool,
) -> Result<DenseOut<E>, Error> {
    check_dims::<E>(a.get().dim, typmod)?;
    let mut out = DenseOut::zeros(a.get().dim);
    sparse::scatter(a.get(), out.elements())?;
    Ok(out)
}

fn dims<E: Element>(a: Dense<E>) -> Result<i32, Error> {
    Ok(a.len() as i32)
}

fn l2_normalize<E: Element>(a: Dense<E>) -> Result<DenseOut<E>, Error> {
    let mut out = DenseOut::zeros(a.len());
    dense::normalize(&a, out.elements())?;
    Ok(out)
}

fn binary_quantize<E: Element>(a: Dense<E>) -> Result<BitsOut, Error> {
    let mut out = BitsOut::zeros(a.len());
    dense::binary_quantize::<E>(&a, out.bytes());
    Ok(out)
}

fn subvector<E: Element>(a: Dense<E>, start: i32, count: i32) -> Result<DenseOut<E>, Error> {
    let range = dense::subvector_range::<E>(a.len(), start, count)?;
    Ok(DenseOut::of(&a[range]))
}

/// An operation that takes two vectors element by element and writes a third.
type Operation<E> = fn(&[E], &[E], &mut [E]) -> Result<(), Error>;

fn apply<E: Element>(
    operation: Operation<E>,
    a: Dense<E>,
    b: Dense<E>,
) -> Result<DenseOut<E>, Error> {
    dense::check_same(&a, &b)?;
    let mut out = DenseOut::zeros(a.len());
    operation(&a, &b, out.elements())?;
    Ok(out)
}

fn add<E: Element>(a: Dense<E>, b: Dense<E>) -> Result<DenseOut<E>, Error> {
    apply(dense::add, a, b)
}

fn sub<E: Element>(a: Dense<E>, b: Dense<E>) -> Result<DenseOut<E>, Error> {
    apply(dense::subtract, a, b)
}

fn mul<E: Element>(a: Dense<E>, b: Dense<E>) -> Result<DenseOut<E>, Error> {
    apply(dense::multiply, a, b)
}

fn concat<E: Element>(a: Dense<E>, b: Dense<E>) -> Result<DenseOut<E>, Error> {
    dense::check_dim::<E>(a.len() + b.len())?;
    let mut out = DenseOut::zeros(a.len() + b.len());
    let (left, right) = out.elements().split_at_mut(a.len());
    left.copy_from_slice(&a);
    right.copy_from_slice(&b);
    Ok(out)
}

macro_rules! dense_type {
    ($name:literal, $e:ty, $other:ty) => {
        export! {
            $name "_in" = text_in::<$e>;
            $name "_out" = text_out::<$e>;
            $name "_typmod_in" = typmod_in::<$e>;
            $name "_recv" = receive::<$e>;
            $name "_send" = send::<$e>;
            $name "_cast" = cast::<$e>;
            $name "_from_array" = from_array::<$e>;
            $name "_from_dense" = from_dense::<$other, $e>;
            $name "_from_sparse" = from_sparse::<$e>;
            $name "_to_float4" = to_float4::<$e>;
            $name "_l2_distance" = l2_distance::<Dense<$e>>;
            $name "_inner_product" = inner_product::<Dense<$e>>;
            $name "_cosine_distance" = cosine_distance::<Dense<$e>>;
            $name "_l1_distance" = l1_distance::<Dense<$e>>;
            $name "_l2_squared_distance" = l2_squared_distance::<Dense<$e>>;
            $name "_negative_inner_product" = negative_inner_product::<Dense<$e>>;
            $name "_spherical_distance" = spherical_distance::<Dense<$e>>;
            $name "_dims" = dims::<$e>;
            $name "_norm" = norm::<Dense<$e>>;
            $name "_l2_normalize" = l2_normalize::<$e>;
            $name "_binary_quantize" = binary_quantize::<$e>;
            $name "_subvector" = subvector::<$e>;
            $name "_add" = add::<$e>;
            $name "_sub" = sub::<$e>;
            $name "_mul" = mul::<$e>;
            $name "_concat" = concat::<$e>;
            $name "_lt" = lt::<Dense<$e>>;
            $name "_le" = le::<Dense<$e>>;
            $name "_eq" = eq::<Dense<$e>>;
            $name "_ne" = ne::<Dense<$e>>;
            $name "_ge" = ge::<Dense<$e>>;
            $name "_gt" = gt::<Dense<$e>>;
            $name "_cmp" = cmp::<Dense<$e>>;
            $name "_accum" = |state, x: Dense<$e>| accumulate(concat!($name, "_accum"), state, x);
            $name "_avg" = |state| mean::<$e>(concat!($name, "_avg"), state);
        }
    };
}

dense_type!("vector", f32, f16);
dense_type!("halfvec", f16, f32);
