//! The second part of a build: the leader reads the heap batch by batch, threads find each row's list and encode it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};

use half::f16;
use leanstack_core::ivf::Centroids;
use leanstack_core::quantize::Value;
use leanstack_core::workers::{self, StopFlag};
use rayon::ThreadPool;

use super::index::IndexInfo;
use super::pack::Rows;
use super::page::NONE;
use super::spill::{Batch, Spill};
use crate::am::heap::Source;
use crate::am::{progress, vectors};
use crate::storage::Tid;

/// Rows of a batch at most. More do not make the search of their lists faster.
const BATCH_ROWS: usize = 4096;
/// Rows of a batch at least, however long they are.
const LEAST_BATCH_ROWS: usize = 16;

/// Reads the whole heap, and gives `spill` the rows that can be indexed. Returns how many rows the heap has. Of memory,
/// `memory_bytes` are taken besides what `spill` keeps.
///
/// # Safety
/// As for [`Source::scan`].
pub unsafe fn scan(
    source: &Source,
    encoder: &Encoder<'_>,
    pool: &ThreadPool,
    memory_bytes: usize,
    spill: &mut Spill,
) -> f64 {
    let threads = pool.current_num_threads();
    // One batch is read, one waits, each thread has one.
    let batch_rows = memory_bytes / (threads + 2) / encoder.row_bytes();
    let batch_rows = batch_rows.clamp(LEAST_BATCH_ROWS, BATCH_ROWS);
    let stop = AtomicBool::new(false);
    pool.in_place_scope(|scope| {
        let _stop = StopFlag(&stop);
        let stop = &stop;
        let mut under_way: VecDeque<Receiver<Batch>> = VecDeque::new();
        let mut values = Values::new(encoder.info);
        let send = |values: Values, under_way: &mut VecDeque<Receiver<Batch>>| {
            let (sender, receiver) = channel();
            under_way.push_back(receiver);
            scope.spawn(move |_| {
                let _ = sender.send(encoder.encode(&values, pool, stop));
            });
        };
        let mut rows = 0;
        let mut receive = |receiver: Receiver<Batch>| {
            let batch = workers::receive(&receiver, || {
                pgrx::check_for_interrupts!();
            });
            rows += batch.rows.len();
            progress::tuples_done(rows as i64);
            spill.push(batch);
        };
        let mut each = |tid, value: Value<'_>| {
            vectors::check_dims(encoder.info.coder.spec().dims, &value);
            values.push(tid, value);
            if values.tids.len() == batch_rows {
                if under_way.len() > threads {
                    under_way.pop_front().into_iter().for_each(&mut receive);
                }
                send(values.take(), &mut under_way);
            }
        };
        // SAFETY: as the caller promises.
        let heap_rows = unsafe { source.scan(&mut each) };
        send(values, &mut under_way);
        under_way.into_iter().for_each(&mut receive);
        heap_rows
    })
}

/// What threads need to know of the index.
pub struct Encoder<'a> {
    /// The index.
    pub info: &'a IndexInfo,
    /// Its centroids, as stored.
    pub centroids: &'a Centroids,
}

impl Encoder<'_> {
    /// Bytes that a row of a batch takes while it is encoded.
    fn row_bytes(&self) -> usize {
        let coder = &self.info.coder;
        coder.spec().dims * size_of::<f32>()
            + coder.placed_dims() * size_of::<f32>()
            + coder.row_bytes()
            + size_of::<Tid>()
            + size_of::<u32>()
    }

    fn encode(&self, values: &Values, pool: &ThreadPool, stop: &AtomicBool) -> Batch {
        let (coder, dims) = (&self.info.coder, self.info.coder.placed_dims());
        let rows = values.tids.len();
        let mut placed = Vec::with_capacity(rows * dims);
        let mut is_placed = Vec::with_capacity(rows);
        let mut one = Vec::new();
        for row in 0..rows {
            is_placed.push(coder.place(values.get(row), &mut one));
            one.resize(dims, 0.0);
            placed.extend_from_slice(&one);
        }
        let Ok(near) = self.centroids.assign(&placed, pool, &|| stop.load(Relaxed)) else {
            return Batch::default();
        };
        let mut batch = Batch {
            lists: Vec::with_capacity(rows),
            rows: Rows { tids: values.tids.clone(), codes: vec![0; rows * coder.row_bytes()] },
        };
        let codes = batch.rows.codes.chunks_exact_mut(coder.row_bytes());
        for (row, ((near, code), placed)) in
            near.iter().zip(codes).zip(placed.chunks_exact(dims)).enumerate()
        {
            if stop.load(Relaxed) {
                return Batch::default();
            }
            let list = near[0].list;
            let centroid = self.centroids.center(list);
            let encoded = is_placed[row] && coder.encode(values.get(row), placed, centroid, code);
            batch.lists.push(if encoded { list } else { NONE });
        }
        batch
    }
}

/// Values of some rows, one after the other.
struct Values {
    dims: usize,
    tids: Vec<Tid>,
    numbers: Numbers,
}

enum Numbers {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bits(Vec<u8>),
}

impl Values {
    fn new(info: &IndexInfo) -> Values {
        use crate::types::value::TypeKind;
        let numbers = match info.kind {
            TypeKind::Halfvec => Numbers::F16(Vec::new()),
            TypeKind::Bit => Numbers::Bits(Vec::new()),
            TypeKind::Vector | TypeKind::Sparsevec => Numbers::F32(Vec::new()),
        };
        Values { dims: info.coder.spec().dims, tids: Vec::new(), numbers }
    }

    fn push(&mut self, tid: Tid, value: Value<'_>) {
        match (&mut self.numbers, value) {
            (Numbers::F32(numbers), Value::F32(x)) => numbers.extend_from_slice(x),
            (Numbers::F16(numbers), Value::F16(x)) => numbers.extend_from_slice(x),
            (Numbers::Bits(bits), Value::Bits { bytes, .. }) => bits.extend_from_slice(bytes),
            _ => return,
        }
        self.tids.push(tid);
    }

    fn get(&self, row: usize) -> Value<'_> {
        let of = |len: usize| row * len..(row + 1) * len;
        match &self.numbers {
            Numbers::F32(numbers) => Value::F32(&numbers[of(self.dims)]),
            Numbers::F16(numbers) => Value::F16(&numbers[of(self.dims)]),
            Numbers::Bits(bits) => {
                Value::Bits { len: self.dims, bytes: &bits[of(self.dims.div_ceil(8))] }
            }
        }
    }

    /// Gives what was collected, and begins anew with room for as much.
    fn take(&mut self) -> Values {
        let numbers = match &self.numbers {
            Numbers::F32(numbers) => Numbers::F32(Vec::with_capacity(numbers.len())),
            Numbers::F16(numbers) => Numbers::F16(Vec::with_capacity(numbers.len())),
            Numbers::Bits(bits) => Numbers::Bits(Vec::with_capacity(bits.len())),
        };
        let empty = Values { dims: self.dims, tids: Vec::with_capacity(self.tids.len()), numbers };
        std::mem::replace(self, empty)
    }
}
