//! Centroids: what k-means promises, and that searching them finds what brute force finds.

use std::sync::atomic::{AtomicUsize, Ordering};

use leanstack_core::ivf::{Centroids, Geometry, NearList, Probes, Stopped, train};
use leanstack_core::quantize::rabitq::{Rabitq, Rotated};
use leanstack_core::{Metric, metric};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool")
}

/// Clustered rows, of unit length if asked for.
fn rows(seed: u64, n: usize, dims: usize, geometry: Geometry) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    let centres: Vec<f32> = (0..30 * dims).map(|_| rng.random_range(-1.0..1.0)).collect();
    let mut all = Vec::with_capacity(n * dims);
    for _ in 0..n {
        let centre = &centres[rng.random_range(0..30) * dims..][..dims];
        let mut row: Vec<f32> = centre.iter().map(|c| c + rng.random_range(-0.6..0.6)).collect();
        if geometry == Geometry::Spherical {
            normalise(&mut row);
        }
        all.extend(row);
    }
    all
}

fn normalise(row: &mut [f32]) {
    let norm = metric::l2_norm(row) as f32;
    row.iter_mut().for_each(|x| *x /= norm);
}

fn trained(rows: &[f32], dims: usize, lists: usize, geometry: Geometry) -> Centroids {
    train(rows, dims, lists, geometry, 1, &pool(2), &|| false).expect("not stopped")
}

fn assigned(centroids: &Centroids, rows: &[f32]) -> Vec<[NearList; 2]> {
    centroids.assign(rows, &pool(2), &|| false).expect("not stopped")
}

fn sizes(centroids: &Centroids, near: &[[NearList; 2]]) -> Vec<usize> {
    let mut sizes = vec![0; centroids.len()];
    near.iter().for_each(|near| sizes[near[0].list as usize] += 1);
    sizes
}

fn mean_distance(near: &[[NearList; 2]]) -> f64 {
    near.iter().map(|near| f64::from(near[0].distance)).sum::<f64>() / near.len() as f64
}

/// All lists by brute force, nearest first.
fn by_distance(centroids: &Centroids, row: &[f32]) -> Vec<NearList> {
    let mut all: Vec<NearList> = (0..centroids.len() as u32)
        .map(|list| NearList {
            list,
            distance: metric::dense::l2_squared(row, centroids.center(list)),
        })
        .collect();
    all.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    all
}

#[test]
fn nothing_comes_of_nothing() {
    let centroids = trained(&[], 3, 10, Geometry::Euclidean);
    assert!(centroids.is_empty());
    let mut out = vec![NearList::NONE];
    centroids.nearest(&[0.0; 3], 5, &mut out);
    assert!(out.is_empty());
    assert_eq!(assigned(&centroids, &[1.0, 2.0, 3.0]), [[NearList::NONE; 2]]);
    assert!(trained(&[1.0, 2.0, 3.0], 3, 0, Geometry::Euclidean).is_empty());
}

#[test]
fn equal_rows_are_one_list() {
    for geometry in [Geometry::Euclidean, Geometry::Spherical] {
        let centroids = trained(&[0.6, 0.8].repeat(500), 2, 40, geometry);
        assert_eq!(centroids.len(), 1);
        assert!(metric::l2_squared(centroids.center(0), &[0.6, 0.8]) < 1e-9);
    }
}

#[test]
fn few_distinct_rows_are_a_list_each() {
    let mut all = rows(4, 37, 5, Geometry::Euclidean).repeat(9);
    all.extend_from_slice(&all[..5].repeat(400));
    let centroids = trained(&all, 5, 60, Geometry::Euclidean);
    assert_eq!(centroids.len(), 37);
    assert!(mean_distance(&assigned(&centroids, &all)) < 1e-5);
}

#[test]
fn zero_rows_have_a_list_on_the_sphere() {
    let mut all = rows(4, 100, 5, Geometry::Spherical);
    all.extend([0.0; 50]);
    let centroids = trained(&all, 5, 10, Geometry::Spherical);
    assert!(assigned(&centroids, &all).iter().all(|near| near[0].list < 10));
}

#[test]
fn as_good_as_plain_lloyd_and_balanced() {
    for (geometry, lists) in [(Geometry::Euclidean, 120), (Geometry::Spherical, 600)] {
        let (dims, all) = (24, rows(5, 12_000, 24, geometry));
        let centroids = trained(&all, dims, lists, geometry);
        assert_eq!(centroids.len(), lists);
        let near = assigned(&centroids, &all);
        let sizes = sizes(&centroids, &near);
        assert!(sizes.iter().all(|&size| size > 0));
        let (largest, mean) = (*sizes.iter().max().expect("lists"), all.len() / dims / lists);
        assert!(largest <= 5 * mean, "largest list {largest}, mean {mean}");
        let (ours, plain) = (mean_distance(&near), plain_lloyd(&all, dims, lists, geometry));
        assert!(ours <= 1.1 * plain, "{geometry:?}: {ours} against {plain}");
    }
}

/// Mean squared distance after ten rounds of Lloyd's algorithm from random rows.
fn plain_lloyd(rows: &[f32], dims: usize, lists: usize, geometry: Geometry) -> f64 {
    let mut centers = rows[..lists * dims].to_vec();
    let mut total = 0.0;
    for _ in 0..10 {
        let mut sums = vec![0.0f32; centers.len()];
        let mut counts = vec![0; lists];
        total = 0.0;
        let centroids = Centroids::new(centers.clone(), dims, geometry, &[lists as u32]);
        for (row, near) in rows.chunks_exact(dims).zip(assigned(&centroids, rows)) {
            let list = near[0].list as usize;
            total += f64::from(near[0].distance);
            counts[list] += 1;
            sums[list * dims..][..dims].iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        for list in (0..lists).filter(|&list| counts[list] > 0) {
            let mean = &mut sums[list * dims..][..dims];
            mean.iter_mut().for_each(|x| *x /= counts[list] as f32);
            if geometry == Geometry::Spherical {
                normalise(mean);
            }
            centers[list * dims..][..dims].copy_from_slice(mean);
        }
    }
    total / (rows.len() / dims) as f64
}

#[test]
fn threads_change_nothing() {
    for lists in [20, 300, 700] {
        let all = rows(6, 6000, 20, Geometry::Euclidean);
        let [one, three] = [1, 3].map(|threads| {
            train(&all, 20, lists, Geometry::Euclidean, 9, &pool(threads), &|| false).expect("run")
        });
        assert!(one.group_sizes().eq(three.group_sizes()));
        assert_eq!(one.into_centers(), three.into_centers());
    }
}

#[test]
fn stops_when_told() {
    let all = rows(7, 3000, 16, Geometry::Euclidean);
    for after in [0, 1, 5, 40] {
        let asked = AtomicUsize::new(0);
        let should_stop = || asked.fetch_add(1, Ordering::Relaxed) >= after;
        let stopped = train(&all, 16, 100, Geometry::Euclidean, 1, &pool(2), &should_stop);
        assert_eq!(stopped.err(), Some(Stopped));
    }
}

#[test]
fn few_lists_are_missed_among_many() {
    let (dims, all) = (24, rows(8, 20_000, 24, Geometry::Euclidean));
    let centroids = trained(&all, dims, 1500, Geometry::Euclidean);
    let again = Centroids::new(
        (0..centroids.len() as u32).flat_map(|list| centroids.center(list).to_vec()).collect(),
        dims,
        Geometry::Euclidean,
        &centroids.group_sizes().collect::<Vec<_>>(),
    );
    let near = assigned(&centroids, &all);
    let (mut found, mut first, mut wanted) = (0, 0, 0);
    let mut out = Vec::new();
    for (row, near) in all.chunks_exact(dims).zip(near).step_by(50) {
        let exact = by_distance(&centroids, row);
        again.nearest(row, 20, &mut out);
        assert!(out.is_sorted_by(|a, b| a.distance <= b.distance));
        found += out.iter().filter(|near| near.distance <= exact[19].distance).count();
        first += usize::from(near[0].list == exact[0].list);
        wanted += 1;
    }
    assert!(found as f64 >= 0.97 * 20.0 * f64::from(wanted), "{found} of {}", 20 * wanted);
    assert!(f64::from(first as u32) >= 0.97 * f64::from(wanted), "{first} of {wanted}");
}

#[test]
fn signs_find_the_lists_that_brute_force_finds() {
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        let (dims, geometry) = (100, metric.into());
        let coder = Rabitq::new(metric, dims, 5, 3).expect("coder");
        let mut rotated = Rotated::default();
        let mut all = Vec::new();
        let (rows, queries) = {
            let mut rows = rows(9, 6050, dims, geometry);
            let queries = rows.split_off(6000 * dims);
            (rows, queries)
        };
        for row in rows.chunks_exact(dims) {
            assert!(coder.rotate(row, &mut rotated));
            all.extend_from_slice(&rotated.components);
        }
        let centers = trained(&all, coder.padded(), 200, geometry).into_centers();
        let probes = Probes::new(centers, &coder);
        let (mut found, mut out, mut every) = (0, Vec::new(), Vec::new());
        for query in queries.chunks_exact(dims) {
            let query = coder.query(query);
            let mut exact: Vec<f64> =
                (0..200).map(|list| query.list(probes.center(list)).base).collect();
            exact.sort_by(f64::total_cmp);
            probes.nearest(&query, usize::MAX, &mut every);
            assert!(every.iter().map(|probe| probe.near.base).eq(exact.iter().copied()));
            probes.nearest(&query, 6, &mut out);
            assert_eq!(out.len(), 6);
            found += out.iter().filter(|probe| probe.near.base <= exact[5]).count();
        }
        assert!(found >= 285, "{metric:?}: {found} of 300");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_list_has_rows_and_all_probes_are_brute_force(
        seed in 0u64..1000, n in 0usize..400, dims in 1usize..40, lists in 1usize..120, distinct in 1usize..400,
        spherical in any::<bool>(),
    ) {
        let geometry = if spherical { Geometry::Spherical } else { Geometry::Euclidean };
        let all = rows(seed, n.min(distinct), dims, geometry);
        let all: Vec<f32> = all.iter().copied().cycle().take(if all.is_empty() { 0 } else { n * dims }).collect();
        let centroids = trained(&all, dims, lists, geometry);
        prop_assert!(centroids.len() <= lists.min(n));
        if dims > 1 {
            prop_assert_eq!(centroids.len(), lists.min(n).min(distinct));
        }
        prop_assert!(sizes(&centroids, &assigned(&centroids, &all)).iter().all(|&size| size > 0));
        let mut out = Vec::new();
        for row in all.chunks_exact(dims).take(5) {
            centroids.nearest(row, usize::MAX, &mut out);
            let exact = by_distance(&centroids, row);
            prop_assert_eq!(out.len(), exact.len());
            for (near, exact) in out.iter().zip(&exact) {
                prop_assert_eq!(near.distance, exact.distance);
            }
        }
    }
}
