//! Nanoseconds per distance: codes of every kind against a query and against each other, and the
//! kernels of the SQL functions, with simsimd's beside them.
//!
//! "Cached" works on codes that fit the first-level cache, "memory" on 256 MB in random order.
//! `cargo bench -p leanstack_core --bench distance -- sq8` prints the lines that contain `sq8`.

use std::hint::black_box;
use std::time::Instant;

use half::f16;
use leanstack_core::isa::{self, Level};
use leanstack_core::metric;
use leanstack_core::quantize::{Codec, Factors, Repr, Value};
use leanstack_core::{Element, Metric};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use simsimd::SpatialSimilarity;

const DIMS: [usize; 4] = [128, 384, 784, 1536];
const CACHED_BYTES: usize = 16 << 10;
const MEMORY_BYTES: usize = 256 << 20;
const ROUND: usize = 8192;

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    print!("{:<34}", "ns");
    DIMS.iter().for_each(|dims| print!("{dims:>8} cached  memory"));
    println!();
    let line = |name: &str, time: &dyn Fn(usize, usize) -> f64| {
        if name.contains(&wanted) {
            print!("{name:<34}");
            for dims in DIMS {
                print!("{:>15.1} {:>7.1}", time(dims, CACHED_BYTES), time(dims, MEMORY_BYTES));
            }
            println!();
        }
    };

    for level in [Level::Avx512, Level::Avx2, Level::Portable] {
        isa::limit(level);
        for repr in [Repr::F32, Repr::F16, Repr::Sq8, Repr::Sq4, Repr::Sq2] {
            for metric in [Metric::L2, Metric::InnerProduct, Metric::L1] {
                if metric != Metric::L2 && level != Level::Avx512 {
                    continue;
                }
                let name = format!("{repr:?} {metric:?} {level:?}").to_lowercase();
                line(&format!("{name} score"), &|dims, bytes| score(repr, metric, dims, bytes));
                line(&format!("{name} between"), &|dims, bytes| between(repr, metric, dims, bytes));
                if metric == Metric::L2 && level == Level::Avx512 {
                    line(&format!("{name} encode"), &|dims, bytes| encode(repr, dims, bytes));
                    line(&format!("{name} bound"), &|dims, bytes| bound(repr, dims, bytes));
                }
            }
        }
        line(&format!("sql l2 f16 {level:?}").to_lowercase(), &|dims, bytes| {
            dense::<f16>(dims, bytes, metric::l2_squared)
        });
        line(&format!("sql l1 f32 {level:?}").to_lowercase(), &|dims, bytes| {
            dense::<f32>(dims, bytes, metric::l1)
        });
        line(&format!("sql cosine f32 {level:?}").to_lowercase(), &|dims, bytes| {
            dense::<f32>(dims, bytes, |a, b| metric::cosine_distance(a, b) as f32)
        });
        line(&format!("own l2 f32 {level:?}").to_lowercase(), &|dims, bytes| {
            dense::<f32>(dims, bytes, metric::dense::l2_squared)
        });
    }
    line("sql l2 f32 (simsimd)", &|dims, bytes| dense::<f32>(dims, bytes, metric::l2_squared));
    line("sql dot f32 (simsimd)", &|dims, bytes| dense::<f32>(dims, bytes, metric::dot));
    line("simsimd i8 l2", &|dims, bytes| {
        bytes_pairs(dims, bytes, |a, b| i8::l2sq(a, b).unwrap_or(0.0) as f32)
    });
    line("simsimd i8 dot", &|dims, bytes| {
        bytes_pairs(dims, bytes, |a, b| SpatialSimilarity::dot(a, b).unwrap_or(0.0) as f32)
    });
}

/// Nanoseconds per call of `step` with numbers below `count` in random order: the best of several
/// rounds, which other work on the machine disturbs least.
fn per_call(count: usize, mut step: impl FnMut(usize) -> f32) -> f64 {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut SmallRng::seed_from_u64(7));
    let mut order = order.into_iter().cycle();
    let mut round = Vec::with_capacity(ROUND);
    let mut best = f64::INFINITY;
    for _ in 0..12 {
        round.clear();
        round.extend(order.by_ref().take(ROUND));
        let start = Instant::now();
        let sum: f32 = round.iter().map(|&i| step(i)).sum();
        best = best.min(start.elapsed().as_nanos() as f64 / ROUND as f64);
        black_box(sum);
    }
    best
}

/// Codes in one piece of memory of about `bytes`, made of copies of a few, and the factors of those.
fn codes(codec: &Codec, bytes: usize) -> (Vec<u8>, Vec<Factors>) {
    let (mut all, mut code, mut factors) = (vec![], vec![], vec![]);
    for seed in 0..8 {
        let x = sample::<f32>(codec.dims(), seed);
        factors.extend(codec.encode(Value::F32(&x), &mut code));
        all.extend_from_slice(&code);
    }
    let copies = (bytes / all.len()).max(1);
    (all.repeat(copies), factors)
}

fn score(repr: Repr, metric: Metric, dims: usize, bytes: usize) -> f64 {
    let codec = Codec::new(repr, metric, dims, vec![]).expect("a codec for dense vectors");
    let (codes, factors) = codes(&codec, bytes);
    let query = codec.query(Value::F32(&sample::<f32>(dims, 99)));
    let len = codec.code_len().expect("a fixed length");
    per_call(codes.len() / len, |i| codec.score(&query, &codes[i * len..][..len], &factors[i % 8]))
}

fn between(repr: Repr, metric: Metric, dims: usize, bytes: usize) -> f64 {
    let codec = Codec::new(repr, metric, dims, vec![]).expect("a codec for dense vectors");
    let (codes, factors) = codes(&codec, bytes);
    let len = codec.code_len().expect("a fixed length");
    let first = &codes[..len];
    per_call(codes.len() / len, |i| {
        codec.between(first, &factors[0], &codes[i * len..][..len], &factors[i % 8])
    })
}

fn encode(repr: Repr, dims: usize, bytes: usize) -> f64 {
    let codec = Codec::new(repr, Metric::L2, dims, vec![0.01; dims]).expect("a codec");
    let all = sample::<f32>(dims, 2).repeat((bytes / size_of::<f32>() / dims).max(1));
    let mut code = vec![];
    per_call(all.len() / dims, |i| {
        let factors = codec.encode(Value::F32(&all[i * dims..][..dims]), &mut code);
        factors.map_or(0.0, |f| f.scale)
    })
}

fn bound(repr: Repr, dims: usize, bytes: usize) -> f64 {
    let codec = Codec::new(repr, Metric::L2, dims, vec![]).expect("a codec for dense vectors");
    let (_, factors) = codes(&codec, bytes.min(CACHED_BYTES));
    let query = codec.query(Value::F32(&sample::<f32>(dims, 99)));
    per_call(8, |i| codec.lower_bound(&query, i as f32, &factors[i % 8]) as f32)
}

fn dense<E: Element>(dims: usize, bytes: usize, distance: fn(&[E], &[E]) -> f32) -> f64 {
    let first = sample::<E>(dims, 1);
    let all = sample::<E>(dims, 2).repeat((bytes / size_of::<E>() / dims).max(1));
    per_call(all.len() / dims, |i| distance(&first, &all[i * dims..][..dims]))
}

fn bytes_pairs(dims: usize, bytes: usize, distance: fn(&[i8], &[i8]) -> f32) -> f64 {
    let mut rng = SmallRng::seed_from_u64(1);
    let first: Vec<i8> = (0..dims).map(|_| rng.random_range(-127..=127)).collect();
    let all = first.repeat(bytes / dims);
    per_call(all.len() / dims, |i| distance(&first, &all[i * dims..][..dims]))
}

fn sample<E: Element>(dims: usize, seed: u64) -> Vec<E> {
    let mut rng = SmallRng::seed_from_u64(seed);
    (0..dims).map(|_| E::from_f32(rng.random_range(-1.0..1.0))).collect()
}
