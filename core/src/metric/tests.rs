//! Kernels against their definitions, on ordinary values and on the odd ones.

use half::f16;
use proptest::collection::vec;
use proptest::prelude::*;

use super::sparse::Sparse;
use super::*;

/// Ordinary numbers, and every kind that is not.
fn element() -> impl Strategy<Value = f32> + Clone {
    prop_oneof![
        8 => -10.0f32..10.0,
        1 => prop::num::f32::ANY,
        1 => prop::num::f32::SUBNORMAL,
        1 => prop_oneof![
            Just(0.0f32), Just(-0.0), Just(f32::MAX), Just(f32::MIN), Just(f32::INFINITY),
            Just(f32::NAN), Just(f32::MIN_POSITIVE),
        ],
    ]
}

fn finite() -> impl Strategy<Value = f32> + Clone {
    prop_oneof![8 => -10.0f32..10.0, 1 => prop::num::f32::SUBNORMAL, 1 => Just(0.0f32)]
}

/// Two vectors of equal length: unrelated, equal, or one of them zero.
fn pair(
    element: impl Strategy<Value = f32> + Clone,
) -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    (vec((element.clone(), element), 0..300), 0..6).prop_map(|(pairs, kind)| {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let other = match kind {
            0 => a.clone(),
            1 => vec![0.0; a.len()],
            _ => b,
        };
        (a, other)
    })
}

/// Equal but for the rounding of a sum of `n` terms whose magnitudes add up to `magnitude`.
fn close(got: f32, want: f32, n: usize, magnitude: f64) -> bool {
    if got.is_nan() || want.is_nan() || got.is_infinite() || want.is_infinite() {
        // Terms that overflow with both signs may meet in any order.
        return got == want || got.is_nan() && want.is_nan() || magnitude > f64::from(f32::MAX);
    }
    let slack = (n + 2) as f64 * f64::from(f32::EPSILON) * magnitude;
    (f64::from(got) - f64::from(want)).abs() <= slack + (n + 2) as f64 * 1.5e-45
}

fn agree<E: Element>(a: &[E], b: &[E]) {
    let n = a.len();
    let wide = |x: E| f64::from(x.to_f32());
    let magnitude = |term: fn(f64, f64) -> f64| -> f64 {
        // What comes of infinities and NaN is compared as a class, not by size.
        let terms = a.iter().zip(b).map(|(&x, &y)| term(wide(x), wide(y)).abs());
        terms.filter(|term| term.is_finite()).sum()
    };
    let squared = |x: f64, y: f64| (x - y) * (x - y);
    let check = |what: &str, got: f32, want: f32, magnitude: f64| {
        assert!(close(got, want, n, magnitude), "{what} {got} {want} of {a:?} {b:?}");
    };
    check("l2", l2_squared(a, b), reference::l2_squared(a, b), magnitude(squared));
    check("own l2", dense::l2_squared(a, b), reference::l2_squared(a, b), magnitude(squared));
    check("dot", dot(a, b), reference::dot(a, b), magnitude(|x, y| x * y));
    check("own dot", dense::dot(a, b), reference::dot(a, b), magnitude(|x, y| x * y));
    check("l1", l1(a, b), reference::l1(a, b), magnitude(|x, y| x - y));
    let (got, want) = (dense::cosine_parts(a, b), reference::cosine_parts(a, b));
    check("cosine dot", got.dot, want.dot, magnitude(|x, y| x * y));
    check("cosine a", got.norm_a, want.norm_a, magnitude(|x, _| x * x));
    check("cosine b", got.norm_b, want.norm_b, magnitude(|_, y| y * y));
}

proptest! {
    #[test]
    fn dense_kernels_agree((a, b) in pair(element())) {
        agree(&a, &b);
        let half = |v: &[f32]| v.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>();
        agree(&half(&a), &half(&b));
    }

    #[test]
    fn cosine_is_in_range((a, b) in pair(finite())) {
        let distance = cosine_distance(&a, &b);
        let zero = dense::norm_squared(&a) < 1e-37 || dense::norm_squared(&b) < 1e-37;
        prop_assert!((0.0..=2.0).contains(&distance) || zero, "{distance}");
    }

    #[test]
    fn bit_kernels_agree(pairs in vec(any::<(u8, u8)>(), 0..400)) {
        let (a, b): (Vec<u8>, Vec<u8>) = pairs.into_iter().unzip();
        prop_assert_eq!(bits::hamming(&a, &b), reference::hamming(&a, &b));
        prop_assert_eq!(bits::jaccard(&a, &b), reference::jaccard(&a, &b));
    }

    #[test]
    fn sparse_kernels_agree((a, b) in pair(element()), keep in vec(any::<(bool, bool)>(), 300)) {
        let thin = |v: &[f32], keep: &dyn Fn(usize) -> bool| -> Vec<f32> {
            v.iter().enumerate().map(|(i, &x)| if keep(i) { x } else { 0.0 }).collect()
        };
        let (a, b) = (thin(&a, &|i| keep[i].0), thin(&b, &|i| keep[i].1));
        let pack = |v: &[f32]| -> (Vec<i32>, Vec<f32>) {
            v.iter().enumerate().filter(|(_, x)| **x != 0.0).map(|(i, &x)| (i as i32, x)).unzip()
        };
        let ((ai, av), (bi, bv)) = (pack(&a), pack(&b));
        let (sa, sb) = (Sparse { indices: &ai, values: &av }, Sparse { indices: &bi, values: &bv });
        let same = |x: f32, y: f32| x == y || x.is_nan() && y.is_nan();
        prop_assert!(same(sparse::l2_squared(sa, sb), reference::l2_squared(&a, &b)));
        prop_assert!(same(sparse::l1(sa, sb), reference::l1(&a, &b)));
        // A zero against an infinity is NaN in the dense sum and absent from the sparse one.
        if a.iter().chain(&b).all(|x| x.is_finite()) {
            prop_assert!(same(sparse::dot(sa, sb), reference::dot(&a, &b)));
        }
    }
}

#[test]
fn sql_results_match_pgvector() {
    assert_eq!(f64::from(l2_squared(&[0.0f32, 0.0], &[3.0, 4.0])).sqrt(), 5.0);
    assert_eq!(l2_squared(&[3e38f32], &[-3e38]), f32::INFINITY);
    assert_eq!(dot(&[3e38f32], &[3e38]), f32::INFINITY);
    assert_eq!(l1(&[3e38f32], &[-3e38]), f32::INFINITY);
    assert_eq!(dot(&[f16::MAX], &[f16::MAX]), 4_290_774_016.0);
    assert_eq!(cosine_distance(&[1.0f32, 2.0], &[2.0, 4.0]), 0.0);
    assert_eq!(cosine_distance(&[1.0f32, 1.0], &[1.1, 1.1]), 0.0);
    assert_eq!(cosine_distance(&[1.0f32, 1.0], &[-1.1, -1.1]), 2.0);
    assert_eq!(cosine_distance(&[1.0f32, 0.0], &[0.0, 2.0]), 1.0);
    assert!(cosine_distance(&[1.0f32, 2.0], &[0.0, 0.0]).is_nan());
    assert!(cosine_distance(&[3e38f32], &[3e38]).is_nan());
    assert_eq!(bits::jaccard(&[], &[]), 1.0);
    assert_eq!(bits::hamming(&[0b1110_0000], &[0b1000_0000]), 2);
    let (indices, values) = (&[0, 1][..], &[1.0, 1.0][..]);
    let other = Sparse { indices, values: &[1.1, 1.1] };
    assert_eq!(sparse::cosine_distance(Sparse { indices, values }, other), 0.0);
    assert_eq!(l2_norm(&[3e37f32, 4e37]) as f32, 5e37);
}
