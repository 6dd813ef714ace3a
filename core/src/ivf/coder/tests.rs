//! Scores and bounds against the definition, for each way of storing rows, and bytes that no encoder wrote.

use super::*;
use half::f16;
use proptest::prelude::*;

fn coder(repr: Repr, bits: u8, metric: Metric, dims: usize) -> Coder {
    let model = match repr {
        Repr::Sq8 => vec![0.1; dims],
        Repr::Pq => model(bits, metric, dims),
        _ => Vec::new(),
    };
    Coder::new(Spec { repr, bits, metric, dims, seed: 3, model }).unwrap()
}

/// A model of product codes that no training has seen.
fn model(bits: u8, metric: Metric, dims: usize) -> Vec<f32> {
    let parts = dims.div_ceil(3);
    let shape = Relative::shape(metric, dims, parts, bits.into()).unwrap();
    let mut model = vec![parts as f32, 0.05];
    model.extend((2..Relative::model_len(shape)).map(|i| (i as f32 * 0.7).sin()));
    model
}

/// What the SQL operator returns, in double precision.
fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    match metric {
        Metric::L2 => (dot(a, a) + dot(b, b) - 2.0 * dot(a, b)).max(0.0).sqrt(),
        Metric::InnerProduct => -dot(a, b),
        _ => 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
    }
}

fn vectors() -> impl Strategy<Value = Vec<Vec<f32>>> {
    (1usize..150).prop_flat_map(|dims| {
        proptest::collection::vec(proptest::collection::vec(-2.0f32..2.0, dims), 2..36)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Rows scored whole and from a block agree, are not above the distance, and come back from the block.
    #[test]
    fn packed_rows_are_the_rows(
        vectors in vectors(),
        bits in 1u8..=8,
        metric in proptest::sample::select(vec![Metric::L2, Metric::InnerProduct, Metric::Cosine]),
    ) {
        let (query, rows) = vectors.split_first().unwrap();
        let rows = &rows[..rows.len().min(block::BLOCK)];
        let coder = coder(Repr::Rabitq, bits, metric, query.len());
        prop_assume!(dense::norm_squared(query) > 1e-3);
        let mut placed = Vec::new();
        prop_assert!(coder.place(Value::F32(&rows[0]), &mut placed) || rows[0].iter().all(|x| *x == 0.0));
        let centroid: Vec<f32> = placed.iter().map(|x| 0.5 * x).collect();
        let mut codes = Vec::new();
        for row in rows {
            let mut code = vec![0; coder.row_bytes()];
            prop_assume!(coder.place(Value::F32(row), &mut placed));
            prop_assert!(coder.encode(Value::F32(row), &placed, &centroid, &mut code));
            codes.push(code);
        }
        let mut packed = vec![0; coder.block_bytes()];
        let slices: Vec<&[u8]> = codes.iter().map(|code| &code[..]).collect();
        coder.pack(&slices, &mut packed);
        let q = coder.query(Value::F32(query));
        let list = coder.list(&q, &centroid);
        for (at, (row, code)) in rows.iter().zip(&codes).enumerate() {
            let mut ex = vec![0; coder.ex_bytes()];
            coder.ex(code, &mut ex);
            let whole = coder.score(Wanted::Bound, &q, &list, code);
            let apart = coder.score_packed(Wanted::Bound, (&q, &list), &packed, at, &ex);
            prop_assert_eq!(whole, apart);
            prop_assert!(whole <= distance(metric, query, row) + 1e-9, "{whole}");
            let likely = coder.score(Wanted::Likely, &q, &list, code);
            prop_assert!(whole <= likely && likely <= coder.score(Wanted::Estimate, &q, &list, code) + 1e-4);
            let mut back = vec![0; coder.row_bytes()];
            prop_assert!(coder.unpack(&packed, at, &ex, &mut back));
            prop_assert_eq!(&back[FACTORS_BYTES..], &code[FACTORS_BYTES..]);
            let again = coder.score(Wanted::Estimate, &q, &list, &back);
            prop_assert_eq!(again, coder.score(Wanted::Estimate, &q, &list, code));
        }
    }

    /// Bounds of product codes are not above the distance, likely ones not below them; what a code lost is no more than
    /// its factors say, and halves are coded as well.
    #[test]
    fn product_codes_bound_distances(
        vectors in vectors(),
        bits in proptest::sample::select(vec![4u8, 8]),
        metric in proptest::sample::select(vec![Metric::L2, Metric::InnerProduct, Metric::Cosine]),
        large in proptest::bool::ANY,
        near in proptest::bool::ANY,
    ) {
        let times = if large { 1e4 } else { 1.0 };
        let vectors: Vec<Vec<f32>> = vectors
            .iter()
            .map(|v| v.iter().map(|x| f16::from_f32(times * x).to_f32()).collect())
            .collect();
        let (query, rows) = vectors.split_first().unwrap();
        let coder = coder(Repr::Pq, bits, metric, query.len());
        prop_assume!(dense::norm_squared(query) > 1e-3);
        let mut placed = Vec::new();
        prop_assume!(coder.place(Value::F32(&rows[0]), &mut placed));
        let centroid: Vec<f32> = placed.iter().map(|x| if near { *x } else { 0.5 * x }).collect();
        let q = coder.query(Value::F32(query));
        let list = coder.list(&q, &centroid);
        let (mut code, mut other) = (vec![0; coder.row_bytes()], vec![0; coder.row_bytes()]);
        let mut back = Vec::new();
        for row in rows {
            prop_assume!(coder.place(Value::F32(row), &mut placed));
            prop_assert!(coder.encode(Value::F32(row), &placed, &centroid, &mut code));
            let exact = distance(metric, query, row);
            let scale = if metric == Metric::InnerProduct {
                (dense::norm_squared(query) * dense::norm_squared(row)).sqrt()
            } else {
                exact
            };
            let bound = coder.score(Wanted::Bound, &q, &list, &code);
            prop_assert!(bound <= exact + 1e-9 * scale.max(1.0), "{bound} above {exact}");
            prop_assert!(bound <= coder.score(Wanted::Likely, &q, &list, &code));
            prop_assert!(coder.decode(&code, &centroid, &mut back));
            let lost: f64 = placed.iter().zip(&back).map(|(x, y)| f64::from(x - y).powi(2)).sum();
            let (factors, _) = split(&code).unwrap();
            let rounding = 1e-5 * (f64::from(times) * dense::norm_squared(&placed).sqrt()).max(1.0);
            prop_assert!(lost.sqrt() <= f64::from(factors.error) + rounding, "{lost} {factors:?}");
            let halves: Vec<f16> = row.iter().map(|x| f16::from_f32(*x)).collect();
            prop_assert!(coder.encode(Value::F16(&halves), &placed, &centroid, &mut other));
            prop_assert_eq!(&code, &other);
        }
    }

    /// A model of any numbers is one or an error.
    #[test]
    fn models_are_checked(
        model in proptest::collection::vec(any::<f32>(), 0..600),
        parts in proptest::option::of(0u8..9),
    ) {
        let mut model = model;
        if let (Some(parts), Some(first)) = (parts, model.first_mut()) {
            *first = parts.into();
        }
        for dims in [2, 8, 20] {
            let spec = Spec { repr: Repr::Pq, bits: 4, metric: Metric::L2, dims, seed: 0, model: model.clone() };
            if let Ok(coder) = Coder::new(spec) {
                prop_assert_eq!(coder.placed_dims(), dims);
            }
        }
    }

    /// Whatever lies on a page, scores are numbers or bounds that are always true.
    #[test]
    fn damaged_codes_do_no_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        at in 0usize..32,
        repr in proptest::sample::select(vec![Repr::F32, Repr::F16, Repr::Sq8, Repr::Rabitq, Repr::Pq]),
    ) {
        let coder = coder(repr, if repr == Repr::Pq { 8 } else { 5 }, Metric::L2, 20);
        let q = coder.query(Value::F32(&[0.5; 20]));
        let centroid = vec![0.25; coder.placed_dims()];
        let list = coder.list(&q, &centroid);
        let mut out = Vec::new();
        let _ = coder.score(Wanted::Bound, &q, &list, &bytes);
        let _ = coder.score(Wanted::Estimate, &q, &list, &bytes);
        let _ = coder.decode(&bytes, &centroid, &mut out);
        let mut row = vec![0; coder.row_bytes()];
        let _ = coder.unpack(&bytes, at, &bytes, &mut row);
        let _ = coder.score_packed(Wanted::Bound, (&q, &list), &bytes, at, &bytes);
        let mut scores = block::BlockScores::default();
        coder.block_bounds(3.0, (&q, &list), &bytes, &mut scores);
        prop_assert!(scores.lower.iter().all(|x| !x.is_nan()));
    }
}

/// Trained on rows of some lists, codes find what they are to find: the nearest by estimate are mostly those by distance,
/// and likely bounds are hardly ever above it, though far above the certain ones.
#[test]
fn trained_product_codes_rank_rows() {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};
    let (dims, lists, each) = (48, 16, 100);
    let mut random = SmallRng::seed_from_u64(5);
    let mut numbers = |count: usize, size: f32| -> Vec<f32> {
        (0..count).map(|_| random.random_range(-size..size)).collect()
    };
    let centers = numbers(lists * dims, 1.0);
    let mut rows = numbers(lists * each * dims, 0.5);
    let of: Vec<u32> = (0..lists * each).map(|at| (at % lists) as u32).collect();
    let residuals = rows.clone();
    for (row, list) in rows.chunks_exact_mut(dims).zip(&of) {
        let center = &centers[*list as usize * dims..][..dims];
        row.iter_mut().zip(center).for_each(|(x, c)| *x += c);
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for metric in [Metric::L2, Metric::InnerProduct] {
        for bits in [4, 8] {
            let shape = Relative::shape(metric, dims, dims / 3, bits.into()).unwrap();
            let train =
                |stop: bool| Relative::train(shape, &residuals, &of, 1, &pool, &move || stop);
            assert!(train(true).is_err());
            let model = train(false).unwrap();
            assert!((0.05..0.3).contains(&model[1]), "spread {}", model[1]);
            let spec = Spec { repr: Repr::Pq, bits, metric, dims, seed: 0, model };
            let coder = Coder::new(spec).unwrap();
            assert_eq!(coder.parts(), Some(dims / 3));
            let (mut above, mut sure, mut likely, mut found) = (0, 0.0, 0.0, 0);
            for query in rows.chunks_exact(dims).step_by(40) {
                let query: Vec<f32> =
                    query.iter().enumerate().map(|(i, x)| x + 0.3 * (i as f32).sin()).collect();
                let q = coder.query(Value::F32(&query));
                let mut code = vec![0; coder.row_bytes()];
                let mut ranked: Vec<(f64, f64)> = Vec::new();
                for (row, list) in rows.chunks_exact(dims).zip(&of) {
                    let center = &centers[*list as usize * dims..][..dims];
                    assert!(coder.encode(Value::F32(row), row, center, &mut code));
                    let list = coder.list(&q, center);
                    let score = |wanted| coder.score(wanted, &q, &list, &code);
                    let exact = distance(metric, &query, row);
                    ranked.push((score(Wanted::Estimate), exact));
                    above += usize::from(score(Wanted::Likely) > exact);
                    sure += exact - score(Wanted::Bound);
                    likely += exact - score(Wanted::Likely);
                }
                let mut exact: Vec<f64> = ranked.iter().map(|pair| pair.1).collect();
                exact.sort_by(f64::total_cmp);
                ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
                found += ranked[..30].iter().filter(|pair| pair.1 <= exact[9]).count();
            }
            let queries = lists * each / 40;

            assert!(above < lists * each * queries / 100, "{above} above");
            assert!(likely < 0.7 * sure, "{likely} {sure}");
            assert!(found > 8 * queries, "{found} of {} found", 10 * queries);
        }
    }
}
