//! What dense and sparse vectors have in common: distances, norms and comparisons, each written once.

use std::cmp::Ordering;
use std::f64::consts::PI;

use leanstack_core::{Element, Error, dense, metric, sparse};

use crate::types::call::Arg;
use crate::types::vector::{Dense, SparseArg};

/// An argument that is a vector.
pub trait Vector: Arg {
    /// Have both the same dimensions?
    fn check_same(&self, other: &Self) -> Result<(), Error>;
    /// Squared Euclidean distance.
    fn l2_squared(&self, other: &Self) -> f32;
    /// Inner product.
    fn dot(&self, other: &Self) -> f32;
    /// Sum of absolute differences.
    fn l1(&self, other: &Self) -> f32;
    /// One minus the cosine.
    fn cosine(&self, other: &Self) -> f64;
    /// Euclidean norm.
    fn norm(&self) -> f64;
    /// Order of btree.
    fn compare(&self, other: &Self) -> Ordering;
}

impl<E: Element> Vector for Dense<E> {
    #[inline]
    fn check_same(&self, other: &Self) -> Result<(), Error> {
        dense::check_same(self, other)
    }

    #[inline]
    fn l2_squared(&self, other: &Self) -> f32 {
        metric::l2_squared::<E>(self, other)
    }

    #[inline]
    fn dot(&self, other: &Self) -> f32 {
        metric::dot::<E>(self, other)
    }

    #[inline]
    fn l1(&self, other: &Self) -> f32 {
        metric::l1::<E>(self, other)
    }

    #[inline]
    fn cosine(&self, other: &Self) -> f64 {
        metric::cosine_distance::<E>(self, other)
    }

    fn norm(&self) -> f64 {
        metric::l2_norm::<E>(self)
    }

    fn compare(&self, other: &Self) -> Ordering {
        dense::compare::<E>(self, other)
    }
}

impl Vector for SparseArg {
    #[inline]
    fn check_same(&self, other: &Self) -> Result<(), Error> {
        sparse::check_same(self.get(), other.get())
    }

    fn l2_squared(&self, other: &Self) -> f32 {
        metric::sparse::l2_squared(self.get().elements(), other.get().elements())
    }

    fn dot(&self, other: &Self) -> f32 {
        metric::sparse::dot(self.get().elements(), other.get().elements())
    }

    fn l1(&self, other: &Self) -> f32 {
        metric::sparse::l1(self.get().elements(), other.get().elements())
    }

    fn cosine(&self, other: &Self) -> f64 {
        metric::sparse::cosine_distance(self.get().elements(), other.get().elements())
    }

    fn norm(&self) -> f64 {
        metric::l2_norm(self.get().values)
    }

    fn compare(&self, other: &Self) -> Ordering {
        sparse::compare(self.get(), other.get())
    }
}

/// Euclidean distance.
#[inline]
pub fn l2_distance<V: Vector>(a: V, b: V) -> Result<f64, Error> {
    a.check_same(&b)?;
    Ok(f64::from(a.l2_squared(&b)).sqrt())
}

/// Squared Euclidean distance.
#[inline]
pub fn l2_squared_distance<V: Vector>(a: V, b: V) -> Result<f64, Error> {
    a.check_same(&b)?;
    Ok(f64::from(a.l2_squared(&b)))
}

/// Inner product.
#[inline]
pub fn inner_product<V: Vector>(a: V, b: V) -> Result<f64, Error> {
    a.check_same(&b)?;
    Ok(f64::from(a.dot(&b)))
}

/// Inner product with its sign turned, so that near is small.
#[inline]
pub fn negative_inner_product<V: Vector>(a: V, b: V) -> Result<f64, Error> {
    a.check_same(&b)?;
    Ok(f64::from(-a.dot(&b)))
}

/// One minus the cosine.
#[inline]
pub fn cosine_distance<V: Vector>(a: V, b: V) -> Result<f64, Error> {
    a.check_same(&b)?;
    Ok(a.cosine(&b))
}

/// Angle between unit vectors as a share of half a turn.
pub fn spherical_distance<V: Vector>(a: V, b: V) -> Result<f64, Error> {
    a.check_same(&b)?;
    Ok(f64::from(a.dot(&b)).clamp(-1.0, 1.0).acos() / PI)
}

/// Sum of absolute differences.
#[inline]
pub fn l1_distance<V: Vector>(a: V, b: V) -> Result<f64, Error> {
    a.check_same(&b)?;
    Ok(f64::from(a.l1(&b)))
}

/// Euclidean norm.
pub fn norm<V: Vector>(a: V) -> Result<f64, Error> {
    Ok(a.norm())
}

/// `<`
pub fn lt<V: Vector>(a: V, b: V) -> Result<bool, Error> {
    Ok(a.compare(&b).is_lt())
}

/// `<=`
pub fn le<V: Vector>(a: V, b: V) -> Result<bool, Error> {
    Ok(a.compare(&b).is_le())
}

/// `=`
pub fn eq<V: Vector>(a: V, b: V) -> Result<bool, Error> {
    Ok(a.compare(&b).is_eq())
}

/// `<>`
pub fn ne<V: Vector>(a: V, b: V) -> Result<bool, Error> {
    Ok(a.compare(&b).is_ne())
}

/// `>=`
pub fn ge<V: Vector>(a: V, b: V) -> Result<bool, Error> {
    Ok(a.compare(&b).is_ge())
}

/// `>`
pub fn gt<V: Vector>(a: V, b: V) -> Result<bool, Error> {
    Ok(a.compare(&b).is_gt())
}

/// Three-way comparison, for btree.
pub fn cmp<V: Vector>(a: V, b: V) -> Result<i32, Error> {
    Ok(a.compare(&b) as i32)
}
