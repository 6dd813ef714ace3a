//! Codes against the vectors that they are of: estimates, bounds, kernels, odd shapes.

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::block::{BLOCK, BlockFactors, BlockScores};
use super::*;
use crate::isa::{self, Level};
use crate::metric;

const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];
const LEVELS: [Level; 3] = [Level::Portable, Level::Avx2, Level::Avx512];

/// What the SQL operator returns.
fn operator(metric: Metric, a: &[f32], b: &[f32]) -> [f64; 2] {
    use crate::metric::reference as r;
    match metric {
        Metric::L2 => {
            [f64::from(metric::l2_squared(a, b)).sqrt(), f64::from(r::l2_squared(a, b)).sqrt()]
        }
        Metric::InnerProduct => [f64::from(-metric::dot(a, b)), f64::from(-r::dot(a, b))],
        _ => [metric::cosine_distance(a, b), metric::cosine_from_parts(r::cosine_parts(a, b))],
    }
}

/// The score that codes estimate, exactly.
fn exact_score(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    match metric {
        Metric::L2 => a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum(),
        Metric::InnerProduct => -dot(a, b),
        _ => 2.0 - 2.0 * dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
    }
}

fn normal(rng: &mut SmallRng) -> f32 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    ((-2.0 * u.ln()).sqrt() * (v * std::f64::consts::TAU).cos()) as f32
}

fn normals(rng: &mut SmallRng, dims: usize) -> Vec<f32> {
    (0..dims).map(|_| normal(rng)).collect()
}

/// A centroid in rotated coordinates.
fn rotated_centroid(coder: &Rabitq, centroid: &[f32]) -> Vec<f32> {
    let mut c = centroid.to_vec();
    c.resize(coder.padded(), 0.0);
    coder.rotation().apply(&mut c);
    c
}

/// Vectors of one length and scale: normal, constant, with a common offset, denormal, huge.
fn vectors(count: usize) -> impl Strategy<Value = Vec<Vec<f32>>> {
    let dims = prop_oneof![3 => 1usize..70, 2 => 70usize..400, 1 => 400usize..2000];
    (dims, any::<u64>(), -45.0f32..38.5, 0..9u8).prop_map(move |(dims, seed, exponent, kind)| {
        let mut rng = SmallRng::seed_from_u64(seed);
        let scale = match kind {
            0..=3 => 1.0,
            4 => 10.0f32.powf(exponent),
            _ => 10.0f32.powf(exponent / 2.0),
        };
        let offset = if kind % 2 == 1 { rng.random_range(-20.0..20.0) } else { 0.0 };
        let mut vector = |_| {
            let own = rng.random_range(0.0f32..1.0).powi(4);
            let constant = rng.random_bool(0.05);
            let first: f32 = rng.random_range(-1.0..1.0);
            let mut component = |_| {
                let zero = rng.random_bool(0.1);
                let x = if constant { first } else { rng.random_range(-1.0f32..1.0) };
                let x = if zero { 0.0 } else { x * own + offset };
                (x * scale).clamp(-3.3e38, 3.3e38)
            };
            (0..dims).map(&mut component).collect()
        };
        let mut out: Vec<Vec<f32>> = (0..count).map(&mut vector).collect();
        // A duplicate, a near duplicate, an opposite and a zero vector.
        out[1] = out[0].clone();
        out[2] = out[0].iter().map(|x| x * (1.0 + 1e-4 * rng.random_range(-1.0f32..1.0))).collect();
        out[3] = out[0].iter().map(|x| -x).collect();
        out[4] = vec![0.0; dims];
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bounds_are_never_above(
        vectors in vectors(7),
        bits in 1usize..=8,
        level in 0usize..3,
        center in 0u8..4,
        seed: u64,
    ) {
        // Other tests may set it at the same time: bounds hold at every level.
        isa::limit(LEVELS[level]);
        let dims = vectors[0].len();
        for metric in METRICS {
            let coder = Rabitq::new(metric, dims, bits, seed).unwrap();
            let (mut x, mut code) = (Rotated::default(), Code::default());
            let centroid = match center {
                0 => vec![0.0; coder.padded()],
                // The residual of the first vectors is zero.
                1 => { coder.rotate(&vectors[0], &mut x); x.components.clone() }
                2 => rotated_centroid(&coder, &vectors[5]),
                _ => vec![vectors[6][0].abs().sqrt(); coder.padded()],
            };
            if !centroid.iter().all(|c| c.is_finite()) {
                continue;
            }
            for v in &vectors {
                if !coder.rotate(v, &mut x) {
                    continue;
                }
                coder.encode(&x, &centroid, &mut code);
                for f in [code.factors, code.sign_factors] {
                    prop_assert!(f.scale.is_finite() && f.bias.is_finite() && !f.error.is_nan());
                }
                for q in &vectors[..4] {
                    let query = coder.query(q);
                    let list = query.list(&centroid);
                    let score = query.score(&list, &code.signs, &code.rest, &code.factors);
                    let bound = query.lower_bound(&list, score, &code.factors);
                    let (estimate, lower) =
                        query.score_signs(&list, 1.9, &code.signs, &code.sign_factors);
                    prop_assert!(!score.is_nan() && !estimate.is_nan() && !lower.is_nan());
                    for exact in operator(metric, q, v) {
                        prop_assert!(
                            bound <= exact || exact.is_nan(),
                            "{metric:?} {bits} bits {dims} bound {bound:e} exact {exact:e} \
                             score {score:e} {:?}", code.factors
                        );
                    }
                }
            }
        }
        isa::limit(Level::Avx512);
    }

    #[test]
    fn decoding_loses_no_more_than_stated(dims in 1usize..500, bits in 1usize..=8, seed: u64) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let coder = Rabitq::new(Metric::L2, dims, bits, seed).unwrap();
        let (mut x, mut code) = (Rotated::default(), Code::default());
        let centroid = rotated_centroid(&coder, &normals(&mut rng, dims));
        let v = normals(&mut rng, dims);
        prop_assert!(coder.rotate(&v, &mut x));
        coder.encode(&x, &centroid, &mut code);
        let decoded = coder.decode(&code.signs, &code.rest, &code.factors, &centroid);
        let lost = exact_score(Metric::L2, &v, &decoded).sqrt();
        // Turning back is rounded as well, and takes the padding with it.
        let slack = coder.rotation().slack(4.0 * x.norm + 4.0 * (dims as f64).sqrt());
        prop_assert!(lost <= f64::from(code.factors.error) + slack, "{lost} {:?}", code.factors);
    }

    #[test]
    fn packed_levels_come_back(bits in 1usize..=8, groups in 1usize..5, seed: u64) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let levels: Vec<u8> =
            (0..groups * 64).map(|_| rng.random_range(0..=255u8) >> (8 - bits)).collect();
        let (mut signs, mut rest) = (vec![], vec![]);
        planes::pack(bits - 1, &levels, &mut signs, &mut rest);
        prop_assert_eq!((signs.len(), rest.len()), (groups * 8, groups * 8 * (bits - 1)));
        let mut back = vec![0; levels.len()];
        planes::unpack(bits - 1, &signs, &rest, &mut back);
        prop_assert_eq!(back, levels);
    }

    #[test]
    fn kernels_equal_the_reference(groups in 1usize..40, seed: u64) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut bytes = |n: usize| -> Vec<u8> { (0..n).map(|_| rng.random()).collect() };
        let (codes, tables) = (bytes(groups * 256), bytes(groups * 256));
        let mut expected = [0u32; BLOCK];
        for (i, &code) in codes.iter().enumerate() {
            expected[i % 16] += u32::from(tables[i / 16 * 16 + usize::from(code & 15)]);
            expected[i % 16 + 16] += u32::from(tables[i / 16 * 16 + usize::from(code >> 4)]);
        }
        let signs = bytes(groups * 8);
        let query: Vec<kernels::Planes> = (0..groups)
            .map(|_| [0, 1].map(|_| bytes(64).try_into().unwrap()))
            .map(|pair: [[u8; 64]; 2]| pair.map(|plane| plane.map(|b| b as i8)))
            .collect();
        for level in LEVELS {
            isa::limit(level);
            prop_assert_eq!(kernels::look_up(&codes, &tables), expected);
            macro_rules! check {
                ($($rest:literal)*) => {$(
                    let rest = bytes(groups * 8 * $rest);
                    let mut levels = vec![0; groups * 64];
                    planes::unpack($rest, &signs, &rest, &mut levels);
                    let by_hand = [0, 1].map(|plane| {
                        let query = query.iter().flat_map(|pair| pair[plane]);
                        levels.iter().zip(query).map(|(&l, q)| i32::from(l) * i32::from(q)).sum()
                    });
                    prop_assert_eq!(kernels::dot::<$rest>(&signs, &rest, &query), by_hand);
                )*};
            }
            check!(0 1 2 3 4 5 6 7);
        }
        isa::limit(Level::Avx512);
    }

    #[test]
    fn blocks_score_as_single_vectors_do(
        dims in 1usize..1500,
        count in 1usize..=BLOCK,
        exponent in -20.0f32..15.0,
        seed: u64,
    ) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let scale = 10.0f32.powf(exponent / 2.0);
        let vector = |rng: &mut SmallRng| -> Vec<f32> {
            normals(rng, dims).iter().map(|x| x * scale).collect()
        };
        for metric in METRICS {
            let coder = Rabitq::new(metric, dims, 1, seed).unwrap();
            let centroid = rotated_centroid(&coder, &vector(&mut rng));
            let query = coder.query(&vector(&mut rng));
            let list = query.list(&centroid);
            let (mut x, mut singles) = (Rotated::default(), vec![]);
            for _ in 0..count {
                prop_assert!(coder.rotate(&vector(&mut rng), &mut x));
                let mut code = Code::default();
                coder.encode(&x, &centroid, &mut code);
                singles.push(code);
            }
            let mut codes = vec![];
            block::pack(singles.iter().map(|c| &c.signs[..]), coder.padded(), &mut codes);
            let factors: Vec<Factors> = singles.iter().map(|c| c.sign_factors).collect();
            let packed = BlockFactors::pack(&factors);
            let mut scores = BlockScores::default();
            query.score_block(&list, 1.9, &codes, &packed, &mut scores);
            let (mut signs, lower) = (vec![], scores.lower);
            for (level, limit) in LEVELS.into_iter().zip(lower) {
                isa::limit(level);
                let below = scores.below(limit);
                prop_assert!((0..BLOCK).all(|i| (below >> i & 1 == 1) == (lower[i] < limit)));
            }
            isa::limit(Level::Avx512);
            for (slot, single) in singles.iter().enumerate() {
                block::get(&codes, slot, &mut signs);
                prop_assert_eq!(&signs, &single.signs);
                let f = packed.get(slot);
                prop_assert!(f.error >= single.sign_factors.error);
                let (estimate, lower) = query.score_signs(&list, 1.9, &signs, &f);
                // A table's bytes are off by half a step, of which 255 make the widest range.
                let off = 4.0 * f.scale * coder.padded() as f32 / 4.0 * query.tables_step()
                    + 1e-5 * (list.base.abs() as f32 + f.bias.abs() + f.scale * scale);
                for (block, single) in
                    [(scores.estimates[slot], estimate), (scores.lower[slot], lower)]
                {
                    prop_assert!((block - single).abs() <= off, "{block} {single} {off}");
                }
            }
        }
    }
}

#[test]
fn estimates_have_no_bias_and_the_stated_spread() {
    let dims = 200;
    let mut rng = SmallRng::seed_from_u64(1);
    let [v, q, mut c] = [0; 3].map(|_| normals(&mut rng, dims));
    for metric in METRICS {
        if metric == Metric::Cosine {
            // The other vectors become unit vectors.
            c.iter_mut().for_each(|x| *x /= (dims as f32).sqrt());
        }
        for bits in [1, 2, 4] {
            let (mut errors, mut missed, rounds) = (vec![], 0, 600);
            let mut spread = 0.0;
            for seed in 0..rounds {
                let coder = Rabitq::new(metric, dims, bits, seed).unwrap();
                let centroid = rotated_centroid(&coder, &c);
                let (mut x, mut code) = (Rotated::default(), Code::default());
                assert!(coder.rotate(&v, &mut x));
                coder.encode(&x, &centroid, &mut code);
                let query = coder.query(&q);
                let list = query.list(&centroid);
                let exact = exact_score(metric, &q, &v);
                let score = query.score(&list, &code.signs, &code.rest, &code.factors);
                errors.push(f64::from(score) - exact);
                let (_, lower) = query.score_signs(&list, 1.9, &code.signs, &code.sign_factors);
                missed += usize::from(f64::from(lower) > exact);
                spread = f64::from(code.sign_factors.error) * list.distance;
            }
            let mean = errors.iter().sum::<f64>() / rounds as f64;
            let deviation =
                (errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / rounds as f64).sqrt();
            assert!(mean.abs() < 4.0 * deviation / (rounds as f64).sqrt(), "{metric:?} {bits}");
            if bits == 1 {
                assert!((0.6..1.2).contains(&(deviation / spread)), "{}", deviation / spread);
            }
            // 2.9 % of a normal distribution is more than 1.9 deviations below its mean.
            assert!(missed < 30, "{metric:?} {missed}");
        }
    }
}

#[test]
fn bounds_are_tight() {
    let mut rng = SmallRng::seed_from_u64(4);
    // Norms of what codes of normal vectors lose, as a share of the residual's.
    let shares = [0.76, 0.37, 0.2, 0.11, 0.06, 0.03, 0.015, 0.008];
    for (bits, share) in (1..).zip(shares) {
        for metric in METRICS {
            let dims = 300;
            let coder = Rabitq::new(metric, dims, bits, 3).unwrap();
            let [v, q, mut c] = [0; 3].map(|_| normals(&mut rng, dims));
            if metric == Metric::Cosine {
                c.iter_mut().for_each(|x| *x /= (dims as f32).sqrt());
            }
            let centroid = rotated_centroid(&coder, &c);
            let (mut x, mut code) = (Rotated::default(), Code::default());
            assert!(coder.rotate(&v, &mut x));
            coder.encode(&x, &centroid, &mut code);
            let query = coder.query(&q);
            let list = query.list(&centroid);
            let score = query.score(&list, &code.signs, &code.rest, &code.factors);
            let bound = query.lower_bound(&list, score, &code.factors);
            let exact = operator(metric, &q, &v)[0];
            // Residual and query are about as far from the centroid as from each other.
            let distance = list.distance * 1.1;
            let lost = match metric {
                Metric::L2 => share * distance,
                Metric::InnerProduct => share * distance * distance,
                _ => share * distance * 2.0,
            };
            assert!(bound >= exact - 2.0 * lost - 1e-4, "{metric:?} {bits} {bound} {exact} {lost}");
        }
    }
}

/// The quality of the best levels over all scales: at each of the scales where a coordinate passes
/// to the next level, in order.
fn best_quality(residual: &[f32], bits: usize) -> f64 {
    let top = (1usize << (bits - 1)) - 1;
    let mut passes: Vec<(f64, usize)> = vec![];
    for (i, x) in residual.iter().enumerate() {
        passes.extend((1..=top).map(|level| (level as f64 / f64::from(x.abs()), i)));
    }
    passes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut values = vec![0.5f64; residual.len()];
    let mut dot: f64 = residual.iter().map(|x| f64::from(x.abs()) / 2.0).sum();
    let mut square = residual.len() as f64 / 4.0;
    let mut best = dot * dot / square;
    for (_, i) in passes {
        square += 2.0 * values[i] + 1.0;
        values[i] += 1.0;
        dot += f64::from(residual[i].abs());
        best = best.max(dot * dot / square);
    }
    best
}

#[test]
fn the_search_loses_little_to_the_exhaustive_one() {
    let mut rng = SmallRng::seed_from_u64(2);
    for dims in [64, 384] {
        for bits in 2..=8 {
            let coder = Rabitq::new(Metric::L2, dims, bits, 3).unwrap();
            let (mut x, mut code) = (Rotated::default(), Code::default());
            let centroid = vec![0.0; coder.padded()];
            let (mut found, mut possible) = (0.0, 0.0);
            for _ in 0..20 {
                assert!(coder.rotate(&normals(&mut rng, dims), &mut x));
                coder.encode(&x, &centroid, &mut code);
                let square = x.norm * x.norm;
                // The square of the tangent, from that of the cosine.
                possible += square / best_quality(&x.components, bits) - 1.0;
                found += (f64::from(code.factors.error) / x.norm).powi(2);
            }
            assert!(found < possible * 1.2, "{dims} {bits}: {}", found / possible);
        }
    }
}

#[test]
fn no_bits_and_no_dimensions_are_refused() {
    assert!(Rabitq::new(Metric::L2, 0, 4, 0).is_err());
    assert!(Rabitq::new(Metric::L2, 10, 0, 0).is_err());
    assert!(Rabitq::new(Metric::L2, 10, 9, 0).is_err());
    assert!(Rabitq::new(Metric::L1, 10, 4, 0).is_err());
    let coder = Rabitq::new(Metric::Cosine, 3, 4, 0).unwrap();
    assert!(!coder.rotate(&[0.0f32; 3], &mut Rotated::default()));
    let coder = Rabitq::new(Metric::L2, 3, 4, 0).unwrap();
    assert!(!coder.rotate(&[1.0f32, f32::NAN, 0.0], &mut Rotated::default()));
    assert!(!coder.rotate(&[1.0f32, f32::INFINITY, 0.0], &mut Rotated::default()));
}
