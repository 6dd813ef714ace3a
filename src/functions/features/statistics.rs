//! Distances and tests between distributions, each a few lines into `leanstack_core::stats`; `lean.drift` is made of
//! them, and users may call them on arrays of their own.

use leanstack_core::Error;
use leanstack_core::stats::{chi2, distance, ks};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::error::report;

/// The numbers of an array.
fn numbers(array: &Array<f64>) -> Result<Vec<f64>, Error> {
    array.iter().map(|x| x.ok_or(Error::NullElement)).collect()
}

/// The numbers of two samples, each in order.
fn samples(a: &Array<f64>, b: &Array<f64>) -> Result<[Vec<f64>; 2], Error> {
    let sorted = |array: &Array<f64>| {
        let mut sample = numbers(array)?;
        if let Some(&value) = sample.iter().find(|x| !x.is_finite()) {
            return Err(Error::Argument { name: "a value of a sample", range: "finite", value });
        }
        if !sample.is_sorted() {
            sample.sort_by(f64::total_cmp);
        }
        Ok(sample)
    };
    Ok([sorted(a)?, sorted(b)?])
}

/// The population stability index of two rows of counts or shares.
#[pg_extern(schema = "lean", immutable, strict, parallel_safe)]
fn psi(expected: Array<f64>, actual: Array<f64>) -> Result<Option<f64>, ErrorReport> {
    let found = || distance::psi(&numbers(&expected)?, &numbers(&actual)?);
    found().map_err(report)
}

/// The distance of Jensen and Shannon, to base 2, of two rows of counts or shares.
#[pg_extern(schema = "lean", immutable, strict, parallel_safe)]
fn js_distance(expected: Array<f64>, actual: Array<f64>) -> Result<Option<f64>, ErrorReport> {
    let found = || distance::jensen_shannon(&numbers(&expected)?, &numbers(&actual)?);
    found().map_err(report)
}

/// The distance of Wasserstein of two samples.
#[pg_extern(schema = "lean", immutable, strict, parallel_safe)]
fn wasserstein_distance(
    expected: Array<f64>,
    actual: Array<f64>,
) -> Result<Option<f64>, ErrorReport> {
    let [a, b] = samples(&expected, &actual).map_err(report)?;
    Ok(distance::wasserstein(&a, &b))
}

/// The test of Kolmogorov and Smirnov of two samples.
#[pg_extern(schema = "lean", immutable, parallel_safe)]
#[allow(clippy::type_complexity)]
fn ks_test(
    expected: Option<Array<f64>>,
    actual: Option<Array<f64>>,
) -> Result<
    TableIterator<'static, (name!(statistic, Option<f64>), name!(p_value, Option<f64>))>,
    ErrorReport,
> {
    let found = match (expected, actual) {
        (Some(expected), Some(actual)) => {
            let [a, b] = samples(&expected, &actual).map_err(report)?;
            ks::test(&a, &b)
        }
        _ => None,
    };
    Ok(TableIterator::once((found.map(|ks| ks.statistic), found.map(|ks| ks.p_value))))
}

/// Pearson's test of two rows of counts.
#[pg_extern(schema = "lean", immutable, parallel_safe)]
#[allow(clippy::type_complexity)]
fn chi2_test(
    expected: Option<Array<i64>>,
    actual: Option<Array<i64>>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(statistic, Option<f64>),
            name!(p_value, Option<f64>),
            name!(degrees_of_freedom, Option<i64>),
        ),
    >,
    ErrorReport,
> {
    let counts = |array: &Array<i64>| {
        let count = |x: Option<i64>| {
            let x = x.ok_or(Error::NullElement)?;
            let value = x as f64;
            u64::try_from(x).map_err(|_| Error::Argument {
                name: "a count",
                range: "at least 0",
                value,
            })
        };
        array.iter().map(count).collect::<Result<Vec<u64>, Error>>()
    };
    let found = match (expected, actual) {
        (Some(a), Some(b)) => {
            let found = || chi2::test(&counts(&a)?, &counts(&b)?);
            found().map_err(report)?
        }
        _ => None,
    };
    Ok(TableIterator::once((
        found.map(|chi2| chi2.statistic),
        found.map(|chi2| chi2.p_value),
        found.map(|chi2| chi2.degrees_of_freedom as i64),
    )))
}

extension_sql_file!(
    "../../../sql/features/statistics.sql",
    name = "feature_statistics",
    requires = [
        "feature_writing",
        psi,
        js_distance,
        wasserstein_distance,
        ks_test,
        chi2_test,
        profile_shares,
        profile_query,
        merge_profile_parts
    ]
);
extension_sql_file!(
    "../../../sql/features/drift.sql",
    name = "feature_drift",
    requires = ["feature_statistics"]
);
extension_sql_file!(
    "../../../sql/features/served.sql",
    name = "feature_served",
    requires = ["feature_history"]
);
