//! Centers of the parts by k-means on a sample.

use rayon::ThreadPool;
use rayon::prelude::*;

use super::relative::{Relative, scale};
use super::{Product, Shape, first_least, square_distances, unit};
use crate::Metric;
use crate::ivf::{self, Geometry, Stopped};

/// More rows than this make no better centers.
pub const MAX_ROWS: usize = 256 * 64;

/// Rounds of Lloyd's after those of the lists, which stop early.
const ROUNDS: usize = 6;

impl Product {
    /// Finds the centers for `rows`, which is whole rows of finite numbers; of more than
    /// [`MAX_ROWS`] it takes some, evenly. `should_stop` is asked often, from any thread of the
    /// pool.
    ///
    /// # Panics
    /// If the rows are not whole.
    pub fn train(
        shape: Shape,
        rows: &[f32],
        seed: u64,
        pool: &ThreadPool,
        should_stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Product, Stopped> {
        assert!(rows.len().is_multiple_of(shape.dims), "whole rows");
        let count = rows.len() / shape.dims;
        let kept = count.min(MAX_ROWS);
        let mut sample = Vec::with_capacity(kept * shape.dims);
        for i in 0..kept {
            let row = &rows[i * count / kept * shape.dims..][..shape.dims];
            match shape.metric {
                Metric::Cosine => sample.extend(unit(row)),
                _ => sample.extend_from_slice(row),
            }
        }
        let centers = centers(shape, &sample, seed, pool, should_stop)?;
        Ok(Product { shape, centers })
    }
}

/// Pairs of rows of which the spread is measured, at most.
const PAIRS: usize = 2048;
/// Of fewer than so many, nothing is concluded.
const LEAST_PAIRS: usize = 32;
/// Pairs that a thread takes at a time.
const PIECE: usize = 64;

impl Relative {
    /// Finds the model for `residuals`, which is whole rows of finite numbers, no more than [`super::MAX_ROWS`] of them
    /// being of use; `lists` says which list each is of. `shape` is from [`Relative::shape`].
    ///
    /// # Panics
    /// If the rows are not whole, or the lists not as many.
    pub fn train(
        shape: Shape,
        residuals: &[f32],
        lists: &[u32],
        seed: u64,
        pool: &ThreadPool,
        should_stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<f32>, Stopped> {
        assert_eq!(residuals.len(), lists.len() * shape.dims, "whole rows, each with its list");
        let centers = centers(shape, residuals, seed, pool, should_stop)?;
        let product = Product { shape, centers };
        let spread = spread(&product, residuals, lists, pool, should_stop)?;
        let mut model = vec![shape.parts as f32, spread];
        model.extend(product.centers);
        Ok(model)
    }
}

/// The standard deviation, about zero, of the cosine of what the code of a row lost and another row of its list, relative
/// to the centroid, which stands for a query that has nothing to do with the row. A query near the row has less to do
/// with what its code lost, that being orthogonal to the row. One, which nothing exceeds, where it cannot be told.
fn spread(
    product: &Product,
    residuals: &[f32],
    lists: &[u32],
    pool: &ThreadPool,
    should_stop: &(dyn Fn() -> bool + Sync),
) -> Result<f32, Stopped> {
    let dims = product.shape.dims;
    let row = |at: u32| &residuals[at as usize * dims..][..dims];
    let mut order: Vec<u32> = (0..lists.len() as u32).collect();
    order.sort_by_key(|&at| lists[at as usize]);
    let pairs: Vec<&[u32]> = order
        .windows(2)
        .filter(|pair| lists[pair[0] as usize] == lists[pair[1] as usize])
        .collect();
    let chosen: Vec<&[u32]> =
        pairs.iter().step_by(pairs.len().div_ceil(PAIRS).max(1)).copied().collect();
    let cosine_squared = |pair: &[u32]| -> Option<f64> {
        let (query, row) = (row(pair[0]), row(pair[1]));
        let mut code = Vec::new();
        product.encode(row, &mut code).ok()?;
        let decoded = product.decode(&code).ok()?;
        let sum = |terms: &dyn Fn(f64, f64, f64) -> f64| -> f64 {
            let each = query.iter().zip(row).zip(&decoded);
            each.map(|((&q, &y), &u)| terms(q.into(), y.into(), u.into())).sum()
        };
        let scale: f64 =
            scale(sum(&|_, y, _| y * y), sum(&|_, y, u| y * u), sum(&|_, _, u| u * u)).into();
        let product = sum(&|q, y, u| q * (y - scale * u));
        let squares = sum(&|q, _, _| q * q) * sum(&|_, y, u| (y - scale * u).powi(2));
        (squares > 0.0).then(|| product * product / squares)
    };
    let found: Vec<f64> = pool.install(|| {
        let pieces = chosen.par_chunks(PIECE).map(|pairs| {
            if should_stop() {
                return Err(Stopped);
            }
            Ok(pairs.iter().filter_map(|pair| cosine_squared(pair)).collect::<Vec<_>>())
        });
        Ok(pieces.collect::<Result<Vec<_>, _>>()?.concat())
    })?;
    let mean = found.iter().sum::<f64>() / found.len() as f64;
    Ok(if found.len() < LEAST_PAIRS { 1.0 } else { mean.sqrt().min(1.0) as f32 })
}

/// The centers of all parts for a sample of rows, as a codebook has them.
fn centers(
    shape: Shape,
    sample: &[f32],
    seed: u64,
    pool: &ThreadPool,
    should_stop: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<f32>, Stopped> {
    let mut centers = vec![0.0; shape.dims * shape.centers()];
    let (mut rest, mut places) = (&mut centers[..], Vec::with_capacity(shape.parts));
    for part in 0..shape.parts {
        let (place, after) = rest.split_at_mut(shape.range(part).len() * shape.centers());
        places.push((part, place));
        rest = after;
    }
    // A part by itself has too little for threads to share.
    pool.install(|| {
        places.into_par_iter().try_for_each(|(part, place)| {
            let range = shape.range(part);
            let rows = sample.chunks_exact(shape.dims).flat_map(|row| &row[range.clone()]);
            let rows: Vec<f32> = rows.copied().collect();
            train_part(&rows, range.len(), place, seed ^ part as u64, pool, should_stop)
        })
    })?;
    Ok(centers)
}

/// Fills `out` with the centers, transposed, of rows of `dims` numbers.
fn train_part(
    rows: &[f32],
    dims: usize,
    out: &mut [f32],
    seed: u64,
    pool: &ThreadPool,
    should_stop: &(dyn Fn() -> bool + Sync),
) -> Result<(), Stopped> {
    let count = out.len() / dims;
    let found =
        ivf::train(rows, dims, count, Geometry::Euclidean, seed, pool, should_stop)?.into_centers();
    for (at, center) in found.chunks_exact(dims).enumerate() {
        center.iter().enumerate().for_each(|(d, x)| out[d * count + at] = *x);
    }
    // Fewer distinct rows than centers: the first one again, which is found first.
    let present = found.len() / dims;
    for all in out.chunks_exact_mut(count) {
        let first = all[0];
        all[present..].fill(first);
    }
    if present < count {
        return Ok(());
    }
    for _ in 0..ROUNDS {
        if should_stop() {
            return Err(Stopped);
        }
        let mut numbers = vec![0u32; rows.len() / dims];
        let centers = &*out;
        pool.install(|| {
            let chunks = numbers.par_chunks_mut(256).zip(rows.par_chunks(256 * dims));
            chunks.for_each(|(numbers, rows)| {
                let mut distances = vec![0.0; count];
                for (number, row) in numbers.iter_mut().zip(rows.chunks_exact(dims)) {
                    square_distances(row, centers, &mut distances);
                    *number = first_least(&distances) as u32;
                }
            });
        });
        let (mut sums, mut sizes) = (vec![0.0f64; out.len()], vec![0u32; count]);
        for (number, row) in numbers.iter().zip(rows.chunks_exact(dims)) {
            sizes[*number as usize] += 1;
            row.iter()
                .enumerate()
                .for_each(|(d, x)| sums[d * count + *number as usize] += f64::from(*x));
        }
        for (i, (x, sum)) in out.iter_mut().zip(sums).enumerate() {
            let size = sizes[i % count];
            // A center that lost its rows stays.
            if size > 0 {
                *x = (sum / f64::from(size)) as f32;
            }
        }
    }
    Ok(())
}
