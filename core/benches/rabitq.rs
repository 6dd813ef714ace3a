//! What RaBitQ codes cost and lose: nanoseconds per block of 32 signs, per whole code, per
//! preparation, microseconds per encoding, and relative errors of norm and of scores.
//!
//! `cargo bench -p leanstack_core --bench rabitq -- block` prints the lines that contain `block`.
//! With `-- loss FILE` the errors are of real vectors: half-precision numbers in row order, of 384
//! dimensions, after a header of 128 bytes. `-- recall FILE` has each quantizer look for neighbours
//! among them.

use std::hint::black_box;
use std::time::Instant;

use half::f16;
use leanstack_core::Metric;
use leanstack_core::isa::{self, Level};
use leanstack_core::quantize::product::{Product, Shape};
use leanstack_core::quantize::quantizer::{Binary, Centered, Quantizer};
use leanstack_core::quantize::rabitq::block::{self, BLOCK, BlockFactors, BlockScores};
use leanstack_core::quantize::rabitq::{Code, Rabitq, Rotated};
use leanstack_core::quantize::range::{Extent, Ranges};
use leanstack_core::quantize::report::{Report, Sample};
use leanstack_core::quantize::{Codec, Factors, Repr};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const DIMS: [usize; 4] = [128, 384, 768, 1536];
const ROUND: usize = 4096;
const CACHED_BYTES: usize = 256 << 10;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = args.first().cloned().unwrap_or_default();
    println!("{:<34}{:>9}{:>9}{:>9}{:>9}", "ns", DIMS[0], DIMS[1], DIMS[2], DIMS[3]);
    let line = |name: &str, time: &dyn Fn(usize) -> f64| {
        if name.contains(&wanted) {
            print!("{name:<34}");
            DIMS.iter().for_each(|&dims| print!("{:>9.1}", time(dims)));
            println!();
        }
    };
    for level in [Level::Avx512, Level::Avx2, Level::Portable] {
        isa::limit(level);
        let name = |what: &str| format!("{what} {level:?}").to_lowercase();
        line(&name("rotate"), &rotate);
        line(&name("query"), &query);
        line(&name("list"), &list);
        line(&name("block look-up"), &|dims| score_block(dims, false));
        line(&name("block score"), &|dims| score_block(dims, true));
        line(&name("block get one"), &get_one);
        for bits in 1..=8 {
            line(&name(&format!("score {bits} bits")), &|dims| score(dims, bits));
        }
        for bits in 1..=8 {
            line(&name(&format!("encode {bits} bits")), &|dims| encode(dims, bits));
        }
    }
    isa::limit(Level::Avx512);
    line("bound", &bound);
    if "loss".contains(&wanted) {
        loss(&vectors(args.get(1).map(String::as_str)));
    }
    if wanted == "recall" {
        recall(&vectors(args.get(1).map(String::as_str)));
    }
}

/// Nanoseconds per call of `step`, which is given numbers below `count`: the best of several
/// rounds, which other work on the machine disturbs least.
fn per_call(count: usize, mut step: impl FnMut(usize) -> f32) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..12 {
        let start = Instant::now();
        let mut sum = 0.0;
        let mut i = 0;
        for _ in 0..ROUND {
            sum += step(i);
            i = if i + 1 == count { 0 } else { i + 1 };
        }
        best = best.min(start.elapsed().as_nanos() as f64 / ROUND as f64);
        black_box(sum);
    }
    best
}

/// A number of a standard normal distribution.
fn normal(rng: &mut SmallRng) -> f32 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    ((-2.0 * u.ln()).sqrt() * (v * std::f64::consts::TAU).cos()) as f32
}

fn normals(rng: &mut SmallRng, dims: usize) -> Vec<f32> {
    (0..dims).map(|_| normal(rng)).collect()
}

struct Codes {
    coder: Rabitq,
    vectors: Vec<Rotated>,
    codes: Vec<Code>,
    centroid: Vec<f32>,
    rng: SmallRng,
}

fn sample(dims: usize, bits: usize, count: usize) -> Codes {
    let mut rng = SmallRng::seed_from_u64(1);
    let coder = Rabitq::new(Metric::L2, dims, bits, 7).expect("a coder");
    let centroid = normals(&mut rng, coder.padded());
    let (mut vectors, mut codes) = (vec![], vec![]);
    for _ in 0..count {
        let (mut x, mut code) = (Rotated::default(), Code::default());
        coder.rotate(&normals(&mut rng, dims), &mut x);
        coder.encode(&x, &centroid, &mut code);
        vectors.push(x);
        codes.push(code);
    }
    Codes { coder, vectors, codes, centroid, rng }
}

fn rotate(dims: usize) -> f64 {
    let Codes { coder, mut rng, .. } = sample(dims, 1, 1);
    let vectors: Vec<Vec<f32>> = (0..32).map(|_| normals(&mut rng, dims)).collect();
    let mut x = Rotated::default();
    per_call(32, |i| {
        coder.rotate(&vectors[i], &mut x);
        x.components[0]
    })
}

fn query(dims: usize) -> f64 {
    let Codes { coder, mut rng, .. } = sample(dims, 1, 1);
    let vectors: Vec<Vec<f32>> = (0..32).map(|_| normals(&mut rng, dims)).collect();
    per_call(32, |i| coder.query(&vectors[i]).error())
}

fn list(dims: usize) -> f64 {
    let Codes { coder, vectors, mut rng, .. } = sample(dims, 1, 32);
    let query = coder.query(&normals(&mut rng, dims));
    per_call(32, |i| query.list(&vectors[i].components).distance as f32)
}

fn score_block(dims: usize, whole: bool) -> f64 {
    let Codes { coder, codes, centroid, mut rng, .. } = sample(dims, 1, BLOCK);
    let mut packed = vec![];
    block::pack(codes.iter().map(|c| &c.signs[..]), coder.padded(), &mut packed);
    let factors: Vec<Factors> = codes.iter().map(|c| c.sign_factors).collect();
    let factors = BlockFactors::pack(&factors);
    let count = (CACHED_BYTES / packed.len()).max(1);
    let blocks = packed.repeat(count);
    let query = coder.query(&normals(&mut rng, dims));
    let list = query.list(&centroid);
    let mut scores = BlockScores::default();
    per_call(count, |i| {
        let codes = &blocks[i * packed.len()..][..packed.len()];
        if whole {
            query.score_block(&list, 1.9, codes, &factors, &mut scores);
            scores.lower[7]
        } else {
            query.tables().look_up(codes)[7] as f32
        }
    })
}

fn get_one(dims: usize) -> f64 {
    let Codes { coder, codes, .. } = sample(dims, 1, BLOCK);
    let mut packed = vec![];
    block::pack(codes.iter().map(|c| &c.signs[..]), coder.padded(), &mut packed);
    let mut signs = vec![];
    per_call(BLOCK, |i| {
        block::get(&packed, i, &mut signs);
        f32::from(signs[3])
    })
}

fn score(dims: usize, bits: usize) -> f64 {
    let Codes { coder, codes, centroid, mut rng, .. } = sample(dims, bits, 64);
    let query = coder.query(&normals(&mut rng, dims));
    let list = query.list(&centroid);
    per_call(codes.len(), |i| {
        let code = &codes[i];
        query.score(&list, &code.signs, &code.rest, &code.factors)
    })
}

fn bound(dims: usize) -> f64 {
    let Codes { coder, codes, centroid, mut rng, .. } = sample(dims, 4, 64);
    let query = coder.query(&normals(&mut rng, dims));
    let list = query.list(&centroid);
    per_call(codes.len(), |i| query.lower_bound(&list, i as f32, &codes[i].factors) as f32)
}

fn encode(dims: usize, bits: usize) -> f64 {
    let Codes { coder, vectors, centroid, .. } = sample(dims, bits, 32);
    let mut code = Code::default();
    per_call(32, |i| {
        coder.encode(&vectors[i], &centroid, &mut code);
        code.factors.scale
    })
}

/// The vectors in a file, or normal ones.
fn vectors(file: Option<&str>) -> Vec<Vec<f32>> {
    let mut rng = SmallRng::seed_from_u64(3);
    let Some(file) = file else {
        return (0..5000).map(|_| normals(&mut rng, 384)).collect();
    };
    let bytes = std::fs::read(file).expect("a readable file");
    let rows = bytes[128..].chunks_exact(768).step_by(2);
    rows.map(|row| row.chunks_exact(2).map(|h| f16::from_le_bytes([h[0], h[1]]).to_f32()).collect())
        .collect()
}

/// What each quantizer makes of the vectors: how much it loses, and how many of the ten nearest it
/// finds without looking at the vectors themselves.
fn recall(vectors: &[Vec<f32>]) {
    let (metric, dims) = (Metric::L2, vectors[0].len());
    let rows: Vec<&[f32]> = vectors.iter().map(|v| &v[..]).collect();
    let sample = Sample::new(metric, &rows, 200);
    let mean = mean(vectors);
    println!("{:<22}{:>8}{:>10}{:>10}{:>10}", "quantizer", "bytes", "error", "worst", "recall");
    let line = |name: &str, quantizer: &dyn Quantizer| {
        let Report { code_bytes, mean_error, worst_error, recall } =
            sample.report(quantizer).expect("vectors that can be encoded");
        println!("{name:<22}{code_bytes:>8}{mean_error:>10.5}{worst_error:>10.5}{recall:>10.4}");
    };
    for repr in [Repr::F16, Repr::Sq8, Repr::Sq4, Repr::Sq2] {
        let codec = Codec::new(repr, metric, dims, mean.clone()).expect("a codec");
        line(&format!("{repr:?}").to_lowercase(), &codec);
    }
    let mut extent = Extent::default();
    vectors.iter().for_each(|v| extent.add(v).expect("equal dimensions"));
    let (lo, hi) = extent.global().expect("vectors");
    line("int8, one range", &Ranges::global(metric, dims, lo, hi).expect("a range"));
    let ranges = Ranges::per_dimension(metric, &extent.lo, &extent.hi).expect("ranges");
    line("int8, range each", &ranges);
    line("binary", &Binary { dims });
    for bits in 1..=8 {
        let coder = Rabitq::new(metric, dims, bits, 11).expect("a coder");
        line(&format!("rabitq {bits}"), &Centered::new(coder, &mean).expect("a centroid"));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
    for (parts, bits) in [(dims / 8, 8), (dims / 4, 8), (dims / 2, 8), (dims / 2, 4), (dims, 4)] {
        let shape = Shape::new(metric, dims, parts, bits).expect("a shape");
        let start = Instant::now();
        let product = Product::train(shape, &vectors.concat(), 1, &pool, &|| false);
        let seconds = start.elapsed().as_secs_f64();
        line(&format!("pq {parts}x{bits} {seconds:.1} s"), &product.expect("not stopped"));
    }
}

fn mean(vectors: &[Vec<f32>]) -> Vec<f32> {
    let mut mean = vec![0.0; vectors[0].len()];
    for v in vectors {
        mean.iter_mut().zip(v).for_each(|(m, x)| *m += x / vectors.len() as f32);
    }
    mean
}

/// Errors by bits: of the norm as a share of the residual's, rigorous; of the squared distances, as
/// a share of `|o - c| |q - c|`; and how often the signs' lower end was too high.
fn loss(vectors: &[Vec<f32>]) {
    let mean = mean(vectors);
    let vectors: Vec<&Vec<f32>> = vectors.iter().step_by(vectors.len() / 2250).collect();
    let dims = vectors[0].len();
    println!(
        "{:<8}{:>12}{:>12}{:>12}{:>12}",
        "bits", "norm error", "worst", "score rms", "missed %"
    );
    for bits in 1..=8 {
        let coder = Rabitq::new(Metric::L2, dims, bits, 11).expect("a coder");
        let mut centroid = mean.clone();
        centroid.resize(coder.padded(), 0.0);
        coder.rotation().apply(&mut centroid);
        let queries: Vec<_> = vectors.iter().step_by(45).map(|v| (v, coder.query(v))).collect();
        let (mut x, mut code) = (Rotated::default(), Code::default());
        let (mut norm, mut worst, mut score, mut missed, mut pairs) = (0.0, 0.0f64, 0.0, 0, 0);
        for v in &vectors {
            coder.rotate(v, &mut x);
            coder.encode(&x, &centroid, &mut code);
            let size = distance(v, &mean).sqrt();
            let share = f64::from(code.factors.error) / size;
            norm += share / vectors.len() as f64;
            worst = worst.max(share);
            for (q, query) in &queries {
                let list = query.list(&centroid);
                let exact = distance(q, v);
                let estimate = query.score(&list, &code.signs, &code.rest, &code.factors);
                let share = (f64::from(estimate) - exact) / (size * list.distance);
                score += share * share;
                let lower = query.score_signs(&list, 1.9, &code.signs, &code.sign_factors).1;
                missed += usize::from(f64::from(lower) > exact);
                pairs += 1;
            }
        }
        let score = (score / pairs as f64).sqrt();
        let missed = 100.0 * missed as f64 / pairs as f64;
        println!("{bits:<8}{norm:>12.5}{worst:>12.5}{score:>12.6}{missed:>12.3}");
    }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}
