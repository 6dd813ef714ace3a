//! Codes against brute force: scores, bounds, and bytes that no encoder wrote.

use half::f16;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::isa::{self, Level};
use crate::metric::sparse::Sparse;

const DENSE: [Repr; 5] = [Repr::F32, Repr::F16, Repr::Sq8, Repr::Sq4, Repr::Sq2];
const METRICS: [Metric; 4] = [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1];

/// What the SQL operator returns.
fn operator(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    match metric {
        Metric::L2 => f64::from(metric::l2_squared(a, b)).sqrt(),
        Metric::InnerProduct => f64::from(-metric::dot(a, b)),
        Metric::Cosine => metric::cosine_distance(a, b),
        _ => f64::from(metric::l1(a, b)),
    }
}

/// The same by the definitions, adding one by one.
fn definition(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    use crate::metric::reference as r;
    match metric {
        Metric::L2 => f64::from(r::l2_squared(a, b)).sqrt(),
        Metric::InnerProduct => f64::from(-r::dot(a, b)),
        Metric::Cosine => metric::cosine_from_parts(r::cosine_parts(a, b)),
        _ => f64::from(r::l1(a, b)),
    }
}

/// Vectors of one length and scale: normal, constant, with a common offset, denormal, huge.
fn vectors(count: usize) -> impl Strategy<Value = Vec<Vec<f32>>> {
    let dims = prop_oneof![3 => 1usize..70, 2 => 70usize..400, 1 => 400usize..2000];
    (dims, any::<u64>(), -45.0f32..38.5, 0..9u8).prop_map(move |(dims, seed, exponent, kind)| {
        use rand::{Rng, SeedableRng};
        let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
        let scale = match kind {
            0..=3 => 1.0,
            4 => 10.0f32.powf(exponent),
            _ => 10.0f32.powf(exponent / 2.0),
        };
        let offset = if kind % 2 == 1 { rng.random_range(-20.0..20.0) } else { 0.0 };
        let mut out: Vec<Vec<f32>> = (0..count)
            .map(|_| {
                let own = rng.random_range(0.0f32..1.0).powi(4);
                let constant = rng.random_bool(0.05);
                let first: f32 = rng.random_range(-1.0..1.0);
                (0..dims)
                    .map(|_| {
                        let sparse = rng.random_bool(0.1);
                        let x = if constant { first } else { rng.random_range(-1.0f32..1.0) };
                        let x = if sparse { 0.0 } else { x * own + offset };
                        (x * scale).clamp(-3.3e38, 3.3e38)
                    })
                    .collect()
            })
            .collect();
        // A duplicate, a near duplicate, an opposite and a zero vector.
        out[1] = out[0].clone();
        out[2] = out[0].iter().map(|x| x * (1.0 + 1e-4 * rng.random_range(-1.0f32..1.0))).collect();
        out[3] = out[0].iter().map(|x| -x).collect();
        out[4] = vec![0.0; dims];
        out
    })
}

fn mean_of(metric: Metric, vectors: &[Vec<f32>]) -> Vec<f32> {
    let dims = vectors[0].len();
    let mut mean = vec![0.0f64; dims];
    for v in vectors {
        let norm = metric::l2_norm(v);
        let divisor = if metric == Metric::Cosine && norm > 0.0 { norm } else { 1.0 };
        mean.iter_mut().zip(v).for_each(|(m, x)| *m += f64::from(*x) / divisor);
    }
    mean.iter().map(|m| (m / vectors.len() as f64) as f32).collect()
}

/// Checks the bound for each pair of `vectors`, whose half-precision forms are `halves`, if any.
fn check_bounds(vectors: &[Vec<f32>], halves: Option<&[Vec<f16>]>, mean: bool) {
    let dims = vectors[0].len();
    for (repr, metric) in DENSE.into_iter().flat_map(|r| METRICS.map(|m| (r, m))) {
        let mean = if mean { mean_of(metric, vectors) } else { vec![] };
        let codec = Codec::new(repr, metric, dims, mean).unwrap();
        let value = |i: usize| match halves {
            Some(halves) => Value::F16(&halves[i]),
            None => Value::F32(&vectors[i]),
        };
        for x in 0..vectors.len() {
            let mut code = vec![];
            let Some(f) = codec.encode(value(x), &mut code) else {
                assert_eq!(metric, Metric::Cosine);
                assert_eq!(metric::l2_norm(&vectors[x]), 0.0);
                continue;
            };
            assert_eq!(Some(code.len()), codec.code_len());
            assert!(!f.error.is_nan() && f.scale.is_finite());
            for q in 0..3.min(vectors.len()) {
                let query = codec.query(value(q));
                let score = codec.score(&query, &code, &f);
                assert!(!score.is_nan(), "{repr:?} {metric:?} {f:?}");
                let bound = codec.lower_bound(&query, score, &f);
                for exact in [
                    operator(metric, &vectors[q], &vectors[x]),
                    definition(metric, &vectors[q], &vectors[x]),
                ] {
                    assert!(
                        bound <= exact || exact.is_nan(),
                        "{repr:?} {metric:?} {dims} bound {bound:e} exact {exact:e} score {score:e} \
                         {f:?} of {:?} {:?}",
                        &vectors[q][..dims.min(8)],
                        &vectors[x][..dims.min(8)]
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bounds_are_never_above(vectors in vectors(7), mean in any::<bool>(), level in 0usize..3) {
        // Other tests may set it at the same time: bounds hold at every level.
        isa::limit([Level::Portable, Level::Avx2, Level::Avx512][level]);
        check_bounds(&vectors, None, mean);
        let largest = vectors.iter().flatten().fold(0.0f32, |max, x| max.max(x.abs()));
        if largest < 65_000.0 {
            let halves: Vec<Vec<f16>> = vectors
                .iter()
                .map(|v| v.iter().map(|&x| f16::from_f32(x)).collect())
                .collect();
            let vectors: Vec<Vec<f32>> =
                halves.iter().map(|v| v.iter().map(|x| x.to_f32()).collect()).collect();
            check_bounds(&vectors, Some(&halves), mean);
        }
        isa::limit(Level::Avx512);
    }

    #[test]
    fn sparse_codes(
        entries in vec((any::<(bool, bool)>(), -5.0f32..5.0, -5.0f32..5.0), 1..300),
        exponent in -40.0f32..38.0,
        dim in prop::sample::select(vec![60_000, 10_000_000, 1_000_000_000]),
    ) {
        let scale = 10.0f32.powf(exponent / 2.0);
        let (mut a, mut b) = ((vec![], vec![]), (vec![], vec![]));
        for (i, ((in_a, in_b), x, y)) in entries.iter().enumerate() {
            for (is_in, value, (indices, values)) in [(in_a, x, &mut a), (in_b, y, &mut b)] {
                if *is_in && value * scale != 0.0 {
                    indices.push((i * (dim / 300)) as i32);
                    values.push(value * scale);
                }
            }
        }
        let [a, b] = [&a, &b].map(|(i, v)| Sparse { indices: i, values: v });
        for metric in METRICS {
            let codec = Codec::new(Repr::Sparse, metric, dim, vec![]).unwrap();
            let mut code = vec![];
            let stored = Value::Sparse { dim, indices: b.indices, values: b.values };
            let Some(f) = codec.encode(stored, &mut code) else { continue };
            let query = codec.query(Value::Sparse { dim, indices: a.indices, values: a.values });
            let score = codec.score(&query, &code, &f);
            let exact = match metric {
                Metric::L2 => f64::from(sparse::l2_squared(a, b)).sqrt(),
                Metric::InnerProduct => f64::from(-sparse::dot(a, b)),
                Metric::Cosine => sparse::cosine_distance(a, b),
                _ => f64::from(sparse::l1(a, b)),
            };
            let bound = codec.lower_bound(&query, score, &f);
            prop_assert!(bound <= exact || exact.is_nan(), "{metric:?} {bound} {exact}");
            // Unscaled values give the very sums of the operator; so do two codes.
            if !matches!(metric, Metric::Cosine) {
                let mut other = vec![];
                let stored = Value::Sparse { dim, indices: a.indices, values: a.values };
                let Some(fa) = codec.encode(stored, &mut other) else { continue };
                let expected = match metric {
                    Metric::L2 => sparse::l2_squared(a, b),
                    Metric::InnerProduct => -sparse::dot(a, b),
                    _ => sparse::l1(a, b),
                };
                if !expected.is_nan() {
                    prop_assert_eq!(score, expected);
                    prop_assert_eq!(codec.between(&other, &fa, &code, &f), expected);
                }
            }
        }
    }

    #[test]
    fn bit_codes_are_exact(pairs in vec(any::<(u8, u8)>(), 1..300)) {
        let (a, b): (Vec<u8>, Vec<u8>) = pairs.into_iter().unzip();
        let len = a.len() * 8 - 3;
        for metric in [Metric::Hamming, Metric::Jaccard] {
            let codec = Codec::new(Repr::Bits, metric, len, vec![]).unwrap();
            let mut code = vec![];
            let f = codec.encode(Value::Bits { len, bytes: &b }, &mut code).unwrap();
            let query = codec.query(Value::Bits { len, bytes: &a });
            let score = codec.score(&query, &code, &f);
            let exact = match metric {
                Metric::Hamming => metric::bits::hamming(&a, &b) as f64,
                _ => metric::bits::jaccard(&a, &b),
            };
            prop_assert_eq!(score, exact as f32);
            let bound = codec.lower_bound(&query, score, &f);
            prop_assert!(bound <= exact && bound >= exact - 1e-6);
        }
    }

    #[test]
    fn any_bytes_are_scored(
        code in vec(any::<u8>(), 0..200),
        other in vec(any::<u8>(), 0..200),
        numbers in any::<[f32; 3]>(),
        dims in 1usize..100,
    ) {
        let f = Factors { scale: numbers[0], bias: numbers[1], error: numbers[2] };
        for repr in DENSE.into_iter().chain([Repr::Bits, Repr::Sparse]) {
            for metric in METRICS.into_iter().chain([Metric::Hamming, Metric::Jaccard]) {
                let Ok(codec) = Codec::new(repr, metric, dims, vec![]) else { continue };
                let zeros = vec![0.5; dims];
                let query = match repr {
                    Repr::Bits => codec.query(Value::Bits { len: dims, bytes: &code_of(dims) }),
                    Repr::Sparse => {
                        codec.query(Value::Sparse { dim: dims, indices: &[0], values: &[1.0] })
                    }
                    _ => codec.query(Value::F32(&zeros)),
                };
                let score = codec.score(&query, &code, &f);
                prop_assert!(!codec.lower_bound(&query, score, &f).is_nan());
                codec.between(&code, &f, &other, &f);
                codec.decode(&code, &f);
            }
        }
    }
}

fn code_of(dims: usize) -> Vec<u8> {
    vec![0x55; dims.div_ceil(8)]
}

/// A repeatable vector of ordinary numbers.
fn sample(dims: usize, seed: u64) -> Vec<f32> {
    use rand::{Rng, SeedableRng};
    let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
    (0..dims).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Scores and distances between codes, at every level, against the decoded vectors.
#[test]
fn scores_are_distances_to_decoded_vectors() {
    for level in [Level::Portable, Level::Avx2, Level::Avx512] {
        isa::limit(level);
        for dims in [1, 2, 3, 7, 15, 16, 31, 63, 64, 65, 127, 128, 129, 255, 257, 384, 1001, 1536] {
            let [a, b, q] = [1, 2, 3].map(|seed| sample(dims, seed * 1000 + dims as u64));
            for (repr, metric) in DENSE.into_iter().flat_map(|r| METRICS.map(|m| (r, m))) {
                let mean =
                    if dims % 2 == 0 { mean_of(metric, &[a.clone(), b.clone()]) } else { vec![] };
                let codec = Codec::new(repr, metric, dims, mean).unwrap();
                let encoded = [&a, &b].map(|v| {
                    let mut code = vec![];
                    let f = codec.encode(Value::F32(v), &mut code).unwrap();
                    let decoded = codec.decode(&code, &f).unwrap();
                    // Unaligned on purpose.
                    (std::iter::once(0).chain(code).collect::<Vec<u8>>(), f, decoded)
                });
                let [(ca, fa, da), (cb, fb, db)] = &encoded;
                let norm = if metric == Metric::Cosine { metric::l2_norm(&q) as f32 } else { 1.0 };
                let unit: Vec<f32> = q.iter().map(|x| x / norm).collect();
                let want = |x: &[f32], y: &[f32]| match metric {
                    Metric::InnerProduct => -metric::reference::dot(x, y),
                    Metric::L1 => metric::reference::l1(x, y),
                    _ => metric::reference::l2_squared(x, y),
                };
                let size = dims as f32 * if metric == Metric::Cosine { 0.01 } else { 1.0 };
                let close = |got: f32, want: f32| {
                    let slack = 1e-5 * (size + 1.0);
                    assert!(
                        (got - want).abs() <= slack,
                        "{level:?} {repr:?} {metric:?} {dims}: {got} {want}"
                    );
                };
                let query = codec.query(Value::F32(&q));
                close(codec.score(&query, &ca[1..], fa), want(&unit, da));
                close(codec.score(&query, &cb[1..], fb), want(&unit, db));
                close(codec.between(&ca[1..], fa, &cb[1..], fb), want(da, db));
                close(codec.between(&ca[1..], fa, &ca[1..], fa), want(da, da));
            }
        }
    }
    isa::limit(Level::Avx512);
}

/// The bounds would also hold if they were useless, so their distance is bounded too.
#[test]
fn bounds_are_tight() {
    let dims = 384;
    let (x, q) = (sample(dims, 1), sample(dims, 2));
    for (repr, slack) in [
        (Repr::F32, 1e-4),
        (Repr::F16, 1e-3),
        (Repr::Sq8, 1e-2),
        (Repr::Sq4, 0.15),
        (Repr::Sq2, 0.7),
    ] {
        for metric in METRICS {
            let codec = Codec::new(repr, metric, dims, vec![]).unwrap();
            let mut code = vec![];
            let f = codec.encode(Value::F32(&x), &mut code).unwrap();
            let query = codec.query(Value::F32(&q));
            let bound = codec.lower_bound(&query, codec.score(&query, &code, &f), &f);
            let exact = operator(metric, &q, &x);
            let size = match metric {
                Metric::InnerProduct => metric::l2_norm(&x) * metric::l2_norm(&q),
                _ => exact,
            };
            assert!(exact - bound <= slack * size, "{repr:?} {metric:?} {bound} {exact}");
        }
    }
}

#[test]
fn what_cannot_be_indexed() {
    let mut code = vec![];
    for repr in DENSE {
        let codec = Codec::new(repr, Metric::Cosine, 2, vec![]).unwrap();
        assert_eq!(codec.encode(Value::F32(&[0.0, 0.0]), &mut code), None);
        assert_eq!(codec.encode(Value::F32(&[0.0, f32::NAN]), &mut code), None);
        assert_eq!(codec.encode(Value::F32(&[f32::INFINITY, 1.0]), &mut code), None);
        let f = codec.encode(Value::F32(&[1.0, 2.0]), &mut code).unwrap();
        let zero = codec.query(Value::F32(&[0.0, 0.0]));
        let other = codec.encode(Value::F32(&[-1.0, 2.0]), &mut vec![]).unwrap();
        assert_eq!(codec.score(&zero, &code, &f), codec.score(&zero, &code, &other));
    }
    assert!(Codec::new(Repr::Sq8, Metric::Hamming, 8, vec![]).is_err());
    assert!(Codec::new(Repr::Bits, Metric::L2, 8, vec![]).is_err());
    assert!(Codec::new(Repr::Sq8, Metric::L2, 8, vec![0.0; 7]).is_err());
    assert!(Codec::new(Repr::Sq8, Metric::L2, 1, vec![f32::NAN]).is_err());
    assert!(Repr::try_from(7).is_err());
}
