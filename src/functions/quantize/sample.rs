//! Vectors taken at random from a query, evenly from all of its rows.
//!
//! The query runs as the caller: with their privileges, their search path and the policies on the rows of their tables.

use leanstack_core::Error;
use pgrx::pg_sys;
use pgrx::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::error::raise;
use crate::types::value;
use crate::types::varlena::Varlena;

/// Rows fetched at a time.
const BATCH: i64 = 1000;

/// The same rows of the same table are taken each time.
const SEED: u64 = 1;

/// Vectors that lie one after the other.
pub struct Rows {
    /// Number of dimensions; 0 without rows.
    pub dims: usize,
    /// The components.
    pub components: Vec<f32>,
}

impl Rows {
    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.components.len().checked_div(self.dims).unwrap_or(0)
    }

    /// Each vector.
    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.components.chunks_exact(self.dims.max(1))
    }
}

/// How many of `wanted` vectors may be held: with what is made of them, `maintenance_work_mem` has room for three.
fn most(wanted: usize, dims: usize) -> usize {
    // SAFETY: a plain setting of the server, read on its thread.
    let bytes = unsafe { pg_sys::maintenance_work_mem }.max(0) as usize * 1024;
    wanted.min(bytes / (3 * size_of::<f32>() * dims)).max(1)
}

/// Takes up to `wanted` vectors of a query with one column of type `vector`, in random order. NULLs are left out.
pub fn take(query: &str, wanted: usize) -> Rows {
    let mut rows = Rows { dims: 0, components: Vec::new() };
    let (mut most_rows, mut seen) = (0, 0);
    let mut random = StdRng::seed_from_u64(SEED);
    for_each(query, |v| {
        if seen == 0 {
            rows.dims = v.len();
            most_rows = most(wanted, v.len());
        }
        if v.len() != rows.dims {
            raise(Error::DimensionMismatch(rows.dims, v.len()));
        }
        seen += 1;
        let dims = rows.dims;
        if rows.len() < most_rows {
            // The order is random too: the new row changes places with one that is there.
            let at = random.random_range(0..seen) * dims;
            rows.components.extend_from_slice(v);
            let last = rows.components.len() - dims;
            let (before, new) = rows.components.split_at_mut(last);
            if at < last {
                before[at..at + dims].swap_with_slice(new);
            }
            return;
        }
        let at = random.random_range(0..seen);
        if at < most_rows {
            rows.components[at * dims..(at + 1) * dims].copy_from_slice(v);
        }
    });
    rows
}

/// Calls `each` with every vector of the query's only column.
fn for_each(query: &str, mut each: impl FnMut(&[f32])) {
    Spi::connect(|client| {
        // After an error the transaction closes the cursor: closing it while unwinding would raise another one.
        let mut cursor = std::mem::ManuallyDrop::new(client.open_cursor(query, &[]));
        loop {
            let mut batch = match cursor.fetch(BATCH as _) {
                Ok(batch) => batch,
                Err(error) => error!("cannot read vectors: {error}"),
            };
            if batch.is_empty() {
                break;
            }
            while batch.next().is_some() {
                let Ok(Some(datum)) = batch.get_datum_by_ordinal(1) else { continue };
                // SAFETY: the query casts its column to `vector`, and the batch keeps the row.
                let varlena = unsafe { Varlena::new(datum) };
                each(crate::error::unwrap(value::dense::<f32>(varlena.bytes())));
            }
            // SAFETY: the last fetch has set the table, and nothing of it is kept. Without this all rows would pile up.
            unsafe { pg_sys::SPI_freetuptable(pg_sys::SPI_tuptable) };
            pgrx::check_for_interrupts!();
        }
        drop(std::mem::ManuallyDrop::into_inner(cursor));
    });
}
