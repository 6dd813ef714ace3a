//! Graphs built in memory find what brute force finds, and lose no node.

use std::collections::HashSet;
use std::convert::Infallible;

use leanstack_core::hnsw::{
    BuildOptions, Builder, Built, Graph, Item, NodeId, Pushed, Scored, Search,
};
use leanstack_core::metric::Metric;
use leanstack_core::quantize::{Codec, Query, Repr, Value};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The graph in memory and one query.
struct Memory<'a> {
    built: &'a Built,
    query: &'a Query,
}

impl Graph for Memory<'_> {
    type Item = Scored;
    type Error = Infallible;

    fn links(&mut self, from: &Scored, level: u8, out: &mut Vec<NodeId>) -> Result<(), Infallible> {
        let mut links = Vec::new();
        self.built.links(from.id(), level, &mut links);
        out.clear();
        out.extend(links.iter().map(|link| link.id()));
        Ok(())
    }

    fn score(&mut self, ids: &mut [NodeId], out: &mut Vec<Scored>) -> Result<(), Infallible> {
        for &id in ids.iter() {
            let (code, factors) = self.built.code(id);
            out.push(Scored { id, score: self.built.codec().score(self.query, code, &factors) });
        }
        Ok(())
    }
}

/// Clustered points: real data is never uniform.
fn points(rng: &mut StdRng, n: usize, dims: usize) -> Vec<Vec<f32>> {
    let centres: Vec<Vec<f32>> =
        (0..20).map(|_| (0..dims).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
    let mut point = |_| {
        let centre = &centres[rng.random_range(0..centres.len())];
        centre.iter().map(|c| c + rng.random_range(-0.5..0.5)).collect()
    };
    (0..n).map(&mut point).collect()
}

fn build(repr: Repr, metric: Metric, data: &[Vec<f32>], threads: usize) -> (Built, Vec<Pushed>) {
    let dims = data[0].len();
    let codec = Codec::new(repr, metric, dims, Vec::new()).expect("codec");
    let mut builder = Builder::new(codec, BuildOptions { m: 16, ef_construction: 64 });
    let mut rng = StdRng::seed_from_u64(7);
    let pushed =
        data.iter().map(|v| builder.push(Value::F32(v), 1.0 - rng.random::<f64>())).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
    let built = builder.build(&pool, threads, |_| Ok::<(), Infallible>(()));
    let Ok(built) = built;
    (built, pushed)
}

fn search(built: &Built, query: &[f32], ef: usize) -> Vec<Scored> {
    let query = built.codec().query(Value::F32(query));
    let mut graph = Memory { built, query: &query };
    let mut search = Search::default();
    let (entry, level) = built.entry().expect("entry");
    let mut found = Vec::new();
    graph.score(&mut [entry], &mut found).expect("score");
    for at in (0..=level).rev() {
        search.reset(false);
        found.iter().for_each(|&seed| {
            search.seed(seed);
        });
        search.run(&mut graph, at, if at == 0 { ef } else { 1 }).expect("run");
        search.take_nearest(&mut found);
    }
    found
}

#[test]
fn finds_the_nearest() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut data = points(&mut rng, 5050, 24);
    let queries = data.split_off(5000);
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1] {
        for repr in [Repr::F32, Repr::Sq8] {
            let (built, _) = build(repr, metric, &data, 2);
            let mut hits = 0;
            for query in &queries {
                let prepared = built.codec().query(Value::F32(query));
                let mut all: Vec<f32> = (0..built.len() as NodeId)
                    .map(|id| {
                        let (code, factors) = built.code(id);
                        built.codec().score(&prepared, code, &factors)
                    })
                    .collect();
                all.sort_unstable_by(f32::total_cmp);
                let found = search(&built, query, 64);
                hits += found.iter().take(10).filter(|f| f.score <= all[9]).count();
            }
            let recall = hits as f64 / (10 * queries.len()) as f64;
            assert!(recall >= 0.97, "{metric:?} {repr:?} {recall}");
        }
    }
}

#[test]
fn reaches_every_node_from_the_root() {
    let mut rng = StdRng::seed_from_u64(2);
    let data = points(&mut rng, 3000, 4);
    for threads in [1, 4] {
        let (built, _) = build(Repr::F32, Metric::L2, &data, threads);
        let root = built.root().expect("root");
        let mut reached = HashSet::from([root]);
        let mut ahead = vec![root];
        let mut links = Vec::new();
        while let Some(id) = ahead.pop() {
            built.links(id, 0, &mut links);
            for link in links.iter().filter(|link| link.is_protected()) {
                assert!(reached.insert(link.id()), "two protected links to {}", link.id());
                ahead.push(link.id());
            }
        }
        assert_eq!(reached.len(), built.len(), "{threads} threads");
    }
}

#[test]
fn equal_vectors_share_a_node() {
    let data = vec![vec![1.0, 2.0], vec![1.0, 2.0], vec![3.0, 4.0], vec![1.0, 2.0]];
    let (built, pushed) = build(Repr::F32, Metric::L2, &data, 1);
    assert_eq!(built.len(), 2);
    let expected = [Pushed::Node(0), Pushed::Duplicate(0), Pushed::Node(1), Pushed::Duplicate(0)];
    assert_eq!(pushed, expected);
}

#[test]
fn a_failing_tick_stops_the_build() {
    let mut rng = StdRng::seed_from_u64(3);
    let codec = Codec::new(Repr::F32, Metric::L2, 8, Vec::new()).expect("codec");
    let mut builder = Builder::new(codec, BuildOptions { m: 16, ef_construction: 200 });
    for v in points(&mut rng, 20_000, 8) {
        builder.push(Value::F32(&v), 1.0 - rng.random::<f64>());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("pool");
    let stopped = builder.build(&pool, 2, |_| Err("stop"));
    assert_eq!(stopped.err(), Some("stop"));
}
