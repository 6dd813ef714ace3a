//! Centers of the parts by k-means on a sample.

use rayon::ThreadPool;
use rayon::prelude::*;

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
        let mut centers = vec![0.0; shape.dims * shape.centers()];
        let mut rest = &mut centers[..];
        for part in 0..shape.parts {
            let range = shape.range(part);
            let rows: Vec<f32> = sample
                .chunks_exact(shape.dims)
                .flat_map(|row| &row[range.clone()])
                .copied()
                .collect();
            let (centers, after) = rest.split_at_mut(range.len() * shape.centers());
            rest = after;
            train_part(&rows, range.len(), centers, seed ^ part as u64, pool, should_stop)?;
        }
        Ok(Product { shape, centers })
    }
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
