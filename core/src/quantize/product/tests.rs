//! Codes against the definition, training, and bytes that no encoder wrote.

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::metric::reference;

const METRICS: [Metric; 4] = [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1];

fn pool() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()
}

/// Rows around a few points.
fn rows(count: usize, dims: usize, seed: u64) -> Vec<f32> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let points: Vec<Vec<f32>> =
        (0..10).map(|_| (0..dims).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
    (0..count)
        .flat_map(|_| {
            let point = points[rng.random_range(0..10)].clone();
            point.into_iter().map(|x| x + rng.random_range(-0.2f32..0.2)).collect::<Vec<_>>()
        })
        .collect()
}

fn trained(shape: Shape, rows: &[f32]) -> Product {
    Product::train(shape, rows, 5, &pool(), &|| false).unwrap()
}

/// The score by its definition.
fn defined(metric: Metric, q: &[f32], v: &[f32]) -> f32 {
    match metric {
        Metric::L2 => reference::l2_squared(q, v),
        Metric::InnerProduct => -reference::dot(q, v),
        Metric::Cosine => reference::l2_squared(&unit(q), v),
        _ => reference::l1(q, v),
    }
}

#[test]
fn scores_are_distances_to_decoded_vectors_and_codes_are_nearest() {
    for (dims, parts, bits) in [(7, 3, 4), (32, 8, 8), (33, 33, 4), (20, 1, 8), (48, 5, 8)] {
        let data = rows(600, dims, dims as u64);
        for metric in METRICS {
            let shape = Shape::new(metric, dims, parts, bits).unwrap();
            let product = trained(shape, &data);
            let mut code = vec![];
            for (i, v) in data.chunks_exact(dims).take(30).enumerate() {
                product.encode(v, &mut code).unwrap();
                assert_eq!(code.len(), shape.code_len());
                let decoded = product.decode(&code).unwrap();
                let q = &data[(599 - i) * dims..][..dims];
                let table = product.query(q).unwrap();
                let exact = defined(metric, q, &decoded);
                assert!((table.score(&code) - exact).abs() < 1e-3, "{metric:?} {dims}");
                // No other code is nearer.
                let target = if metric == Metric::Cosine { unit(v) } else { v.to_vec() };
                let lost = reference::l2_squared(&target, &decoded);
                for change in 0..code.len() {
                    let mut other = code.clone();
                    other[change] ^= 1;
                    let other = product.decode(&other).unwrap();
                    assert!(reference::l2_squared(&target, &other) >= lost - 1e-4);
                }
            }
        }
    }
}

/// What is added up side by side is what it would be one by one.
#[test]
fn table_sums_are_those_of_the_definition() {
    for parts in 1..40 {
        for bits in [4, 8] {
            let shape = Shape::new(Metric::L2, 40, parts, bits).unwrap();
            let distances = (0..parts << bits).map(|i| (i * 37 % 101) as f32).collect();
            let table = Table { shape, distances };
            let code: Vec<u8> = (0..shape.code_len()).map(|i| (i * 91 + 13) as u8).collect();
            let looked_up =
                (0..parts).map(|part| table.distances[(part << bits) + number(&code, part, bits)]);
            assert_eq!(table.score(&code), looked_up.sum::<f32>(), "{parts} parts of {bits} bits");
        }
    }
}

#[test]
fn the_least_is_the_first_of_equal_ones() {
    let mut rng = SmallRng::seed_from_u64(9);
    for count in [16, 256] {
        for most in [2, 50, 1 << 20] {
            let numbers: Vec<f32> = (0..count).map(|_| rng.random_range(0..most) as f32).collect();
            let least = numbers.iter().copied().fold(f32::INFINITY, f32::min);
            assert_eq!(Some(first_least(&numbers)), numbers.iter().position(|x| *x == least));
        }
    }
    assert_eq!(first_least(&[f32::NAN; 16]), 0);
    assert_eq!(first_least(&[f32::INFINITY; 256]), 0);
}

#[test]
fn more_bytes_lose_less() {
    let (dims, data) = (32, rows(2000, 32, 1));
    let lost = |parts, bits| -> f64 {
        let product = trained(Shape::new(Metric::L2, dims, parts, bits).unwrap(), &data);
        let mut code = vec![];
        let losses = data.chunks_exact(dims).map(|v| {
            product.encode(v, &mut code).unwrap();
            f64::from(reference::l2_squared(v, &product.decode(&code).unwrap()))
        });
        losses.sum::<f64>() / 2000.0
    };
    let losses = [lost(2, 4), lost(8, 4), lost(8, 8), lost(32, 8)];
    assert!(losses.is_sorted_by(|a, b| a > b), "{losses:?}");
    // The spread about the points alone is 32 times 0.4^2 / 12.
    assert!(losses[0] < 32.0 * 0.4 * 0.4 / 12.0 * 2.0 && losses[3] < 1e-3, "{losses:?}");
}

#[test]
fn few_rows_train_as_well() {
    let shape = Shape::new(Metric::L2, 6, 2, 8).unwrap();
    for count in [0, 1, 3] {
        let data = rows(count, 6, 2);
        let product = trained(shape, &data);
        let mut code = vec![];
        for v in data.chunks_exact(6) {
            product.encode(v, &mut code).unwrap();
            assert_eq!(reference::l2_squared(v, &product.decode(&code).unwrap()), 0.0);
        }
    }
    assert!(Product::train(shape, &rows(500, 6, 2), 5, &pool(), &|| true).is_err());
}

#[test]
fn what_is_refused() {
    assert!(Shape::new(Metric::L2, 8, 0, 8).is_err());
    assert!(Shape::new(Metric::L2, 8, 9, 8).is_err());
    assert!(Shape::new(Metric::L2, 8, 2, 5).is_err());
    assert!(Shape::new(Metric::Hamming, 8, 2, 8).is_err());
    let product = trained(Shape::new(Metric::L2, 6, 2, 8).unwrap(), &rows(10, 6, 3));
    assert_eq!(product.encode(&[0.0; 5], &mut vec![]), Err(Error::DimensionMismatch(6, 5)));
    assert!(product.decode(&[0]).is_err());
    assert_eq!(product.query(&[0.0; 6]).unwrap().score(&[0]), f32::INFINITY);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn codebooks_come_back_and_damaged_ones_do_not_crash(
        dims in 1usize..12,
        at in 0usize..64,
        byte: u8,
        cut in 0usize..40,
        code: [u8; 12],
    ) {
        let shape = Shape::new(Metric::L2, dims, dims.div_ceil(2), 4).unwrap();
        let centers = (0..dims * 16).map(|i| i as f32 * 0.5).collect();
        let product = Product { shape, centers };
        let mut bytes = product.to_bytes();
        prop_assert_eq!(Product::from_bytes(&bytes), Ok(product));
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut / 8 * 3);
        if let Ok(product) = Product::from_bytes(&bytes) {
            let code = &code[..product.shape().code_len().min(12)];
            let decoded = product.decode(code).unwrap();
            prop_assert_eq!(decoded.len(), product.shape().dims());
            product.query(&decoded).unwrap().score(code);
        }
    }

    #[test]
    fn any_bytes_are_a_codebook_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Product::from_bytes(&bytes);
    }
}
