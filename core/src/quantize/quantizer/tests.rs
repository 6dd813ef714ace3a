//! What all quantizers have in common, tried on each.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::metric::reference;
use crate::quantize::Repr;
use crate::quantize::product::Shape;
use crate::quantize::range::Extent;

const DIMS: usize = 75;

fn vectors(count: usize) -> Vec<Vec<f32>> {
    let mut rng = SmallRng::seed_from_u64(4);
    (0..count).map(|_| (0..DIMS).map(|_| rng.random_range(-1.0f32..1.0)).collect()).collect()
}

/// All quantizers for a metric, with the largest share of a vector's norm that they may lose.
fn all(metric: Metric, vectors: &[Vec<f32>]) -> Vec<(String, Box<dyn Quantizer>, f64)> {
    let mut out: Vec<(String, Box<dyn Quantizer>, f64)> = vec![];
    for (repr, lost) in [
        (Repr::F32, 1e-6),
        (Repr::F16, 1e-3),
        (Repr::Sq8, 0.01),
        (Repr::Sq4, 0.1),
        (Repr::Sq2, 0.5),
    ] {
        let codec = Codec::new(repr, metric, DIMS, vec![]).unwrap();
        out.push((format!("{repr:?}"), Box::new(codec), lost));
    }
    let mut extent = Extent::default();
    vectors.iter().for_each(|v| extent.add(v).unwrap());
    let (lo, hi) = extent.global().unwrap();
    out.push(("global".into(), Box::new(Ranges::global(metric, DIMS, lo, hi).unwrap()), 0.01));
    let ranges = Ranges::per_dimension(metric, &extent.lo, &extent.hi).unwrap();
    out.push(("ranges".into(), Box::new(ranges), 0.01));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let rows = vectors.concat();
    let shape = Shape::new(metric, DIMS, 25, 8).unwrap();
    let product = Product::train(shape, &rows, 1, &pool, &|| false).unwrap();
    out.push(("product".into(), Box::new(product), 0.5));
    if metric != Metric::L1 {
        for (bits, lost) in [(1, 1.2), (4, 0.2), (8, 0.02)] {
            let coder = Rabitq::new(metric, DIMS, bits, 9).unwrap();
            let centered = Centered::new(coder, &[0.01; DIMS]).unwrap();
            out.push((format!("rabitq {bits}"), Box::new(centered), lost));
        }
    }
    out
}

fn norm(v: &[f32]) -> f64 {
    v.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

fn scaled(v: &[f32], norm_is: f64) -> Vec<f32> {
    v.iter().map(|&x| (f64::from(x) / norm_is) as f32).collect()
}

fn exact(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    f64::from(match metric {
        Metric::L2 => reference::l2_squared(a, b),
        Metric::InnerProduct => -reference::dot(a, b),
        Metric::L1 => reference::l1(a, b),
        _ => reference::l2_squared(&scaled(a, norm(a)), &scaled(b, norm(b))),
    })
}

#[test]
fn every_quantizer_loses_little_and_scores_what_it_decodes() {
    let vectors = vectors(400);
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1] {
        for (name, quantizer, share) in all(metric, &vectors) {
            assert_eq!((quantizer.dims(), quantizer.metric()), (DIMS, metric), "{name}");
            let query = quantizer.query(&vectors[0]).unwrap();
            let mut code = vec![1, 2, 3];
            for v in &vectors[1..40] {
                quantizer.encode(v, &mut code).unwrap();
                assert_eq!(code.len(), quantizer.code_len(), "{name}");
                let decoded = quantizer.decode(&code).unwrap();
                // For cosine some decode to the unit vector.
                let size = if norm(&decoded) < norm(v) / 2.0 { norm(v) } else { 1.0 };
                let lost = reference::l2_squared(&scaled(v, size), &decoded).sqrt();
                assert!(f64::from(lost) <= share * norm(v) / size, "{metric:?} {name} {lost}");
                let score = f64::from(query.score(&code));
                let (of_decoded, of_vector) =
                    (exact(metric, &vectors[0], &decoded), exact(metric, &vectors[0], v));
                let scale = if metric == Metric::Cosine { 2.0 } else { norm(v) * norm(v) };
                // What is decoded of a unit vector is not quite one.
                let unit = name.starts_with("rabitq") || metric == Metric::Cosine;
                let off = if unit { share * scale } else { 1e-4 * scale };
                assert!(
                    (score - of_decoded).abs() <= off,
                    "{metric:?} {name} {score} {of_decoded}"
                );
                assert!(
                    (score - of_vector).abs() <= 2.0 * share * scale + 1e-3,
                    "{metric:?} {name}"
                );
            }
            assert_eq!(query.score(&code[1..]), f32::INFINITY, "{name}");
            assert!(quantizer.decode(&code[1..]).is_err(), "{name}");
            assert!(quantizer.encode(&vectors[0][1..], &mut code).is_err(), "{name}");
            assert!(quantizer.query(&vectors[0][1..]).is_err(), "{name}");
        }
    }
}

#[test]
fn arbitrary_codes_are_scored_or_refused() {
    let vectors = vectors(50);
    let mut rng = SmallRng::seed_from_u64(8);
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        for (name, quantizer, _) in all(metric, &vectors) {
            let query = quantizer.query(&vectors[3]).unwrap();
            for _ in 0..200 {
                let code: Vec<u8> = (0..quantizer.code_len()).map(|_| rng.random()).collect();
                assert!(!query.score(&code).is_nan(), "{name}");
                assert_eq!(quantizer.decode(&code).unwrap().len(), DIMS, "{name}");
            }
        }
    }
}

#[test]
fn ranges_cut_off_what_lies_outside() {
    let ranges = Ranges::per_dimension(Metric::L2, &[-1.0, 0.0, 5.0], &[1.0, 255.0, 5.0]).unwrap();
    let mut code = vec![];
    ranges.encode(&[-3.0, 300.0, 7.0], &mut code).unwrap();
    assert_eq!(ranges.decode(&code).unwrap(), [-1.0, 255.0, 5.0]);
    ranges.encode(&[1.0, 17.4, 5.0], &mut code).unwrap();
    assert_eq!(code.iter().map(|&byte| byte as i8).collect::<Vec<_>>(), [127, -111, i8::MIN]);
    let decoded = ranges.decode(&code).unwrap();
    assert!((decoded[0] - 1.0).abs() < 1e-6 && decoded[1..] == [17.0, 5.0]);
    assert!(Ranges::global(Metric::L2, 3, 1.0, 0.0).is_err());
    assert!(Ranges::global(Metric::L2, 3, f32::NAN, 0.0).is_err());
    assert!(Ranges::global(Metric::L2, 3, 0.0, f32::INFINITY).is_err());
    assert!(Ranges::global(Metric::Hamming, 3, 0.0, 1.0).is_err());
    assert!(Ranges::per_dimension(Metric::L2, &[0.0], &[1.0, 2.0]).is_err());
}

#[test]
fn signs_are_counted() {
    let binary = Binary { dims: 10 };
    let v: Vec<f32> = (0..10).map(|i| if i % 3 == 0 { 1.0 } else { -1.0 }).collect();
    let mut code = vec![];
    binary.encode(&v, &mut code).unwrap();
    assert_eq!(code, [0b1001_0010, 0b0100_0000]);
    assert_eq!(binary.decode(&code).unwrap(), v);
    let opposite: Vec<f32> = v.iter().map(|x| -x).collect();
    assert_eq!(binary.query(&opposite).unwrap().score(&code), 10.0);
    assert_eq!(binary.query(&v).unwrap().score(&code), 0.0);
}
