//! Sketches against the values that they stand for, and profiles in parts against whole ones.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::categories::{Categories, ROOM};
use super::centroid::{Centroid, norm};
use super::distinct::Distinct;
use super::histogram::Edges;
use super::profile::{Bins, CATEGORY_CHARS, Kind, Limits, Profile, Value};
use super::quantiles::{Quantiles, SIZE, percentile};
use super::reservoir::Reservoir;

const LIMITS: Limits = Limits { sample: 1000, bins: 10, categories: 5 };

fn shuffled(count: usize) -> Vec<f64> {
    let mut values: Vec<f64> = (0..count).map(|x| x as f64).collect();
    values.shuffle(&mut StdRng::seed_from_u64(7));
    values
}

/// How far the rank of each of 99 quantiles is off, as a share of the count.
fn worst_rank(sketch: &Quantiles, count: usize) -> f64 {
    let weighed = sketch.weighed();
    let off = |i: usize| {
        let share = i as f64 / 100.0;
        (percentile(&weighed, share).unwrap() / (count - 1) as f64 - share).abs()
    };
    (1..100).map(off).fold(0.0, f64::max)
}

#[test]
fn few_quantiles_are_exact() {
    let mut sketch = Quantiles::default();
    shuffled(SIZE).iter().for_each(|x| sketch.add(*x));
    assert!(worst_rank(&sketch, SIZE) < 1e-12);
    assert_eq!(percentile(&[(1.0, 1), (2.0, 1), (4.0, 2)], 0.5), Some(3.0));
    assert_eq!(percentile(&[], 0.5), None);
}

#[test]
fn many_quantiles_are_near() {
    for count in [1000, 30_000, 1_000_000] {
        let orders = [shuffled(count), (0..count).map(|x| x as f64).collect()];
        for values in orders {
            let mut whole = Quantiles::default();
            values.iter().for_each(|x| whole.add(*x));
            assert_eq!(whole.weighed().iter().map(|(_, weight)| weight).sum::<u64>(), count as u64);
            assert!(worst_rank(&whole, count) < 0.01, "{count}: {}", worst_rank(&whole, count));
            let mut merged = Quantiles::default();
            for part in values.chunks(count / 37) {
                let mut sketch = Quantiles::default();
                part.iter().for_each(|x| sketch.add(*x));
                merged.merge(&sketch);
            }
            assert_eq!(merged.count(), count as u64);
            assert!(worst_rank(&merged, count) < 0.01, "{count}: {}", worst_rank(&merged, count));
            assert!(merged.to_bytes().len() < 16 * SIZE * size_of::<f64>() / 4);
            assert_eq!(Quantiles::from_bytes(&merged.to_bytes()), Ok(merged));
        }
    }
}

#[test]
fn estimates_of_distinct_values() {
    for count in [0u32, 1, 10, 1000, 5000, 20_000, 1_000_000] {
        let (mut numbers, mut texts, mut half) =
            (Distinct::default(), Distinct::default(), Distinct::default());
        for i in 0..count {
            numbers.add_number(f64::from(i));
            numbers.add_number(f64::from(i));
            texts.add_bytes(format!("user {i}").as_bytes());
            half.add_number(f64::from(i / 2));
        }
        for sketch in [&numbers, &texts] {
            let off = (sketch.estimate() - f64::from(count)).abs();
            assert!(off <= 0.05 * f64::from(count) + 0.5, "{count}: {}", sketch.estimate());
        }
        half.merge(&numbers);
        assert_eq!(half, numbers);
        assert_eq!(Distinct::from_bytes(&numbers.to_bytes()), Ok(numbers));
    }
    let mut zeros = Distinct::default();
    zeros.add_number(0.0);
    zeros.add_number(-0.0);
    assert_eq!(zeros.estimate().round(), 1.0);
}

#[test]
fn reservoirs_are_even() {
    let mut some = Reservoir::new(5);
    [3.0, 1.0, 2.0].iter().for_each(|x| some.add(*x));
    assert_eq!(some.sorted(), [1.0, 2.0, 3.0]);
    let mut many = Reservoir::new(2000);
    (0..100_000).for_each(|x| many.add(f64::from(x)));
    let sample = many.sorted();
    assert_eq!(sample.len(), 2000);
    let mean = sample.iter().sum::<f64>() / 2000.0;
    assert!((mean - 50_000.0).abs() < 3000.0, "{mean}");
}

#[test]
fn frequent_categories_survive() {
    let mut random = StdRng::seed_from_u64(3);
    let mut summary = Categories::default();
    let mut frequent = [0u64; 3];
    let rows = 200_000u64;
    for i in 0..rows {
        let pick = random.random_range(0..10);
        if pick < 3 {
            frequent[pick] += 1;
            summary.add(["a", "b", "c"][pick]);
        } else {
            summary.add(&i.to_string());
        }
    }
    let top = summary.top(3);
    for (value, count) in top {
        let exact = frequent[usize::from(value.as_bytes()[0] - b'a')];
        assert!(
            count <= exact && exact - count <= 2 * rows / ROOM as u64,
            "{value}: {count} of {exact}"
        );
    }
    let mut few = Categories::default();
    ["x", "y", "y", "z"].iter().for_each(|value| few.add(value));
    assert_eq!(few.top(2), [("y", 2), ("x", 1)]);
}

#[test]
fn centroids() {
    let mut centroid = Centroid::default();
    assert_eq!(centroid.mean(), None);
    centroid.add(&[1.0, 2.0]);
    centroid.add(&[3.0, 6.0]);
    assert_eq!(centroid.mean(), Some(&[2.0, 4.0][..]));
    centroid.add(&[1.0]);
    assert_eq!(centroid.mean(), None);
}

fn of_numbers(values: &[f64], limits: Limits) -> Profile {
    let mut profile = Profile::new(Kind::Number, None, limits);
    values.iter().for_each(|x| profile.add(Some(Value::Number(*x))));
    profile
}

#[test]
fn numbers_get_bins_of_their_own() {
    let mut profile = of_numbers(&shuffled(101), LIMITS);
    profile.add(None);
    profile.add(Some(Value::Number(f64::NAN)));
    profile.add(Some(Value::Number(f64::INFINITY)));
    assert!(profile.find_bins());
    assert_eq!((profile.rows, profile.nulls, profile.invalid), (104, 1, 2));
    assert_eq!(profile.counts, [0, 10, 10, 10, 10, 10, 10, 10, 10, 10, 11, 0, 3]);
    assert_eq!(profile.percentiles(&[0.0, 0.25, 1.0]), [0.0, 25.0, 100.0]);
    assert_eq!(profile.into_sample().len(), 101);
}

#[test]
fn numbers_that_were_not_kept_are_counted_again() {
    let values = shuffled(20_000);
    let mut profile = of_numbers(&values, LIMITS);
    assert!(!profile.find_bins());
    values.iter().for_each(|x| profile.recount(Some(Value::Number(*x))));
    profile.recount(None);
    assert_eq!(profile.counts.iter().sum::<u64>(), 20_001);
    assert_eq!((profile.counts[0], profile.counts[11], profile.counts[12]), (0, 0, 1));
    assert!(
        profile.counts[1..11].iter().all(|count| count.abs_diff(2000) < 300),
        "{:?}",
        profile.counts
    );
}

#[test]
fn categories_get_bins_of_their_own() {
    let mut profile = Profile::new(Kind::Category, None, LIMITS);
    for i in 0..60 {
        profile.add(Some(Value::Text(&format!("{}{i}", "common ".repeat(40)))));
        profile.add(Some(Value::Text(["x", "y", "z"][i % 3])));
        profile.add(Some(Value::Text(&i.to_string())));
    }
    profile.add(None);
    assert!(profile.find_bins());
    let Some(Bins::Categories(values, _)) = &profile.bins else { panic!("no categories") };
    assert_eq!(values[0].chars().count(), CATEGORY_CHARS);
    assert_eq!(values[1..], ["x", "y", "z", "0"]);
    assert_eq!(profile.counts, [60, 20, 20, 20, 1, 59, 1]);
}

#[test]
fn far_apart_numbers_have_finite_bins() {
    let mut profile = of_numbers(&[1e308, -1e308, 1.7e308], LIMITS);
    assert!(profile.find_bins());
    let Some(Bins::Edges(edges)) = &profile.bins else { panic!("no edges") };
    assert!(Edges::new(edges.as_slice().to_vec()).is_ok());
    assert_eq!(profile.counts.iter().sum::<u64>(), 3);
    assert_eq!(norm(&[]).to_bits(), 0);
}

#[test]
fn given_bins_stay() {
    let mut profile =
        Profile::new(Kind::Category, Some(Bins::categories(vec!["b".into(), "a".into()])), LIMITS);
    ["a", "b", "new", "a"].iter().for_each(|text| profile.add(Some(Value::Text(text))));
    assert!(profile.find_bins());
    assert_eq!(profile.counts, [1, 2, 1, 0]);
    let edges = Edges::new(vec![0.0, 1.0]).unwrap();
    let mut profile = Profile::new(Kind::Embedding, Some(Bins::Edges(edges)), LIMITS);
    profile.add(Some(Value::Vector(&[0.6, 0.8])));
    profile.add(Some(Value::Vector(&[3.0, 4.0])));
    profile.add(Some(Value::Vector(&[1.0])));
    profile.add(Some(Value::Broken));
    assert_eq!((profile.counts.as_slice(), profile.invalid), (&[0, 1, 2, 1][..], 1));
    assert_eq!(profile.centroid.mean(), None);
}

proptest! {
    #[test]
    fn any_bytes_make_a_sketch_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..200), good in any::<bool>()) {
        if good && bytes.len() > 9 {
            // A true beginning gets further.
            bytes[0] = 1;
            bytes[9] %= 4;
        }
        if let Ok(sketch) = Quantiles::from_bytes(&bytes) {
            prop_assert_eq!(sketch.to_bytes(), bytes.clone());
        }
        prop_assert!(Distinct::from_bytes(&bytes).is_err());
    }

    #[test]
    fn every_row_is_in_one_bin(values in prop::collection::vec(prop::option::of(-5..5i32), 0..300)) {
        let mut profile = Profile::new(Kind::Number, None, LIMITS);
        values.iter().for_each(|x| profile.add(x.map(|x| Value::Number(f64::from(x)))));
        prop_assert!(profile.find_bins());
        prop_assert_eq!(profile.counts.iter().sum::<u64>(), values.len() as u64);
        prop_assert_eq!(profile.moments.count + profile.nulls, profile.rows);
    }
}
