//! An inverted-list index in memory, to measure how many bits, lists and probes a query wants before pages are involved.
//!
//! `cargo run --release -p leanstack_core --example ivf_prototype -- STEM METRIC ROWS_PER_LIST BITS [KEPT [EPSILON]]`
//! reads `STEM.base.f32` and `STEM.queries.f32` (number of rows and of dimensions as `u32`, then the numbers, all little
//! endian); METRIC is `cosine` or `l2`. It prints the build by phases, then for several numbers of probes recall@10 and
//! microseconds by phases, on one thread.
//!
//! A query goes lazily through three queues: rows by the likely lower end of their signs' score, then by the certain lower
//! bound of their whole code, then by exact distance. Nothing depends on how many rows are asked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::time::{Duration, Instant};

use leanstack_core::Metric;
use leanstack_core::ivf::{Probe, Probes, train};
use leanstack_core::metric::dense;
use leanstack_core::quantize::Factors;
use leanstack_core::quantize::rabitq::block::{self, BLOCK, BlockFactors, BlockScores};
use leanstack_core::quantize::rabitq::{Code, Query, Rabitq, Rotated};

const K: usize = 10;

const ROUNDS: usize = 4;

struct Rows {
    dims: usize,
    values: Vec<f32>,
}

impl Rows {
    fn read(path: &str) -> Result<Rows, Box<dyn Error>> {
        let bytes = std::fs::read(path)?;
        let (words, _) = bytes.as_chunks::<4>();
        let dims = u32::from_le_bytes(words[1]) as usize;
        Ok(Rows { dims, values: words[2..].iter().map(|&word| f32::from_le_bytes(word)).collect() })
    }

    fn len(&self) -> usize {
        self.values.len() / self.dims
    }

    fn get(&self, at: usize) -> &[f32] {
        &self.values[at * self.dims..][..self.dims]
    }

    fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.dims)
    }

    fn normalise(&mut self) {
        for row in self.values.chunks_exact_mut(self.dims) {
            let norm = dense::norm_squared(row).sqrt() as f32;
            row.iter_mut().for_each(|x| *x /= norm);
        }
    }
}

/// A list: its members' codes, the signs in blocks.
struct Members {
    ids: Vec<u32>,
    blocks: Vec<u8>,
    block_factors: Vec<BlockFactors>,
    signs: Vec<u8>,
    rest: Vec<u8>,
    factors: Vec<Factors>,
}

struct Index<'a> {
    rows: &'a Rows,
    coder: Rabitq,
    probes: Probes,
    lists: Vec<Members>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [stem, metric, per_list, bits, rest @ ..] = arguments.as_slice() else {
        return Err("arguments: STEM METRIC ROWS_PER_LIST BITS [KEPT [EPSILON]]".into());
    };
    let metric = if metric == "cosine" { Metric::Cosine } else { Metric::L2 };
    let kept: usize = rest.first().map_or(Ok(256), |kept| kept.parse())?;
    let epsilon: f32 = rest.get(1).map_or(Ok(1.9), |epsilon| epsilon.parse())?;
    let mut rows = Rows::read(&format!("{stem}.base.f32"))?;
    let mut queries = Rows::read(&format!("{stem}.queries.f32"))?;
    if metric == Metric::Cosine {
        rows.normalise();
        queries.normalise();
    }
    let index = build(&rows, metric, per_list.parse()?, bits.parse()?)?;
    let kth: Vec<f32> = queries.iter().map(|query| kth_distance(&rows, query)).collect();
    println!(
        "{:>6} {:>7} {:>7} {:>7} {:>7} {:>6} | {:>6} {:>6} {:>6} {:>6} {:>6} | {:>8}",
        "probes",
        "recall",
        "rows",
        "kept",
        "whole",
        "exact",
        "query",
        "lists",
        "signs",
        "rest",
        "total",
        "scan all"
    );
    let mut probes = 6;
    while probes < index.lists.len() {
        let mut report = Report::default();
        // The least of several times is what other work disturbed least; by the next round the caches hold other rows.
        let mut least: Vec<Option<Report>> = vec![None; queries.len()];
        for _ in 0..ROUNDS {
            for ((query, &kth), least) in queries.iter().zip(&kth).zip(&mut least) {
                let run = index.search(query, probes, kept, epsilon, kth);
                *least = Some(least.take().map_or(run, |least| least.quicker(run)));
            }
        }
        least.into_iter().flatten().for_each(|run| report.add(run));
        report.print(probes);
        if report.recall() >= 0.992 {
            break;
        }
        probes += (probes / 4).max(1);
    }
    Ok(())
}

/// The squared distance that counts as a hit.
fn kth_distance(rows: &Rows, query: &[f32]) -> f32 {
    let mut all: Vec<f32> = rows.iter().map(|row| dense::l2_squared(query, row)).collect();
    let kth = *all.select_nth_unstable_by(K - 1, f32::total_cmp).1;
    kth * (1.0 + 2e-5) + 2e-6
}

fn build(
    rows: &Rows,
    metric: Metric,
    per_list: usize,
    bits: usize,
) -> Result<Index<'_>, Box<dyn Error>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
    let start = Instant::now();
    let coder = Rabitq::new(metric, rows.dims, bits, 7)?;
    let rotated = pool.install(|| rotate(&coder, rows));
    let turned = start.elapsed();
    let lists = rows.len() / per_list;
    let go = || false;
    let centroids = train(&rotated, coder.padded(), lists, metric.into(), 1, &pool, &go)?;
    let trained = start.elapsed();
    let near = centroids.assign(&rotated, &pool, &go)?;
    let assigned = start.elapsed();
    let mut ids: Vec<Vec<u32>> = vec![Vec::new(); centroids.len()];
    near.iter().enumerate().for_each(|(at, near)| ids[near[0].list as usize].push(at as u32));
    let sizes: Vec<usize> = ids.iter().map(Vec::len).collect();
    let lists = pool.install(|| {
        use rayon::prelude::*;
        let encode =
            |(list, ids)| encode_list(&coder, centroids.center(list as u32), &rotated, ids);
        ids.into_par_iter().enumerate().map(encode).collect::<Vec<Members>>()
    });
    let encoded = start.elapsed();
    let largest = *sizes.iter().max().unwrap_or(&0);
    let blocks: usize = sizes.iter().map(|size| size.div_ceil(BLOCK)).sum();
    println!(
        "{} rows, {} lists, largest {largest}, {bits} bits: rotation {turned:.2?}, k-means {:.2?}, assignment {:.2?}, codes {:.2?}; \
         {} code bytes a row, {:.2} of the blocks' slots in use",
        rows.len(),
        centroids.len(),
        trained - turned,
        assigned - trained,
        encoded - assigned,
        coder.sign_bytes() + coder.rest_bytes(),
        rows.len() as f64 / (blocks * BLOCK) as f64,
    );
    let probes = Probes::new(centroids.into_centers(), &coder);
    Ok(Index { rows, coder, probes, lists })
}

/// The rows in rotated coordinates.
fn rotate(coder: &Rabitq, rows: &Rows) -> Vec<f32> {
    use rayon::prelude::*;
    let mut all = vec![0.0; rows.len() * coder.padded()];
    let pairs =
        all.par_chunks_exact_mut(coder.padded()).zip(rows.values.par_chunks_exact(rows.dims));
    pairs.for_each_init(Rotated::default, |rotated, (out, row)| {
        coder.rotate(row, rotated);
        out.copy_from_slice(&rotated.components);
    });
    all
}

fn encode_list(coder: &Rabitq, center: &[f32], rows: &[f32], ids: Vec<u32>) -> Members {
    let (mut rotated, mut code) = (Rotated::default(), Code::default());
    let (mut signs, mut rest, mut factors, mut sign_factors) = (vec![], vec![], vec![], vec![]);
    for &id in &ids {
        rotated.components.clear();
        rotated
            .components
            .extend_from_slice(&rows[id as usize * coder.padded()..][..coder.padded()]);
        rotated.norm = dense::norm_squared(&rotated.components).sqrt();
        rotated.slack = 1e-6 * rotated.norm;
        coder.encode(&rotated, center, &mut code);
        signs.extend_from_slice(&code.signs);
        rest.extend_from_slice(&code.rest);
        factors.push(code.factors);
        sign_factors.push(code.sign_factors);
    }
    let (mut blocks, mut codes) = (Vec::new(), Vec::new());
    for some in signs.chunks(BLOCK * coder.sign_bytes()) {
        block::pack(some.chunks_exact(coder.sign_bytes()), coder.padded(), &mut codes);
        blocks.extend_from_slice(&codes);
    }
    let block_factors = sign_factors.chunks(BLOCK).map(BlockFactors::pack).collect();
    Members { ids, blocks, block_factors, signs, rest, factors }
}

/// A row in a queue.
#[derive(Clone, Copy, PartialEq)]
struct Entry {
    key: f32,
    list: u32,
    at: u32,
}

impl Eq for Entry {}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        let by_key = self.key.total_cmp(&other.key);
        by_key.then((self.list, self.at).cmp(&(other.list, other.at)))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Clone, Copy, Default)]
struct Report {
    queries: u32,
    hits: usize,
    rows: usize,
    kept: usize,
    whole: usize,
    exact: usize,
    prepare: Duration,
    near: Duration,
    signs: Duration,
    rest: Duration,
    scan_all: Duration,
}

impl Report {
    fn quicker(self, other: Report) -> Report {
        Report {
            prepare: self.prepare.min(other.prepare),
            near: self.near.min(other.near),
            signs: self.signs.min(other.signs),
            rest: self.rest.min(other.rest),
            scan_all: self.scan_all.min(other.scan_all),
            ..self
        }
    }

    fn add(&mut self, other: Report) {
        self.queries += other.queries;
        self.hits += other.hits;
        self.rows += other.rows;
        self.kept += other.kept;
        self.whole += other.whole;
        self.exact += other.exact;
        self.prepare += other.prepare;
        self.near += other.near;
        self.signs += other.signs;
        self.rest += other.rest;
        self.scan_all += other.scan_all;
    }

    fn recall(&self) -> f64 {
        self.hits as f64 / (K as f64 * f64::from(self.queries))
    }

    fn print(&self, probes: usize) {
        let mean = |count: usize| count as f64 / f64::from(self.queries);
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(self.queries);
        println!(
            "{probes:>6} {:>7.4} {:>7.0} {:>7.0} {:>7.1} {:>6.2} | {:>6.1} {:>6.1} {:>6.1} {:>6.1} {:>6.1} | {:>8.1}",
            self.recall(),
            mean(self.rows),
            mean(self.kept),
            mean(self.whole),
            mean(self.exact),
            micros(self.prepare),
            micros(self.near),
            micros(self.signs),
            micros(self.rest),
            micros(self.prepare + self.near + self.signs + self.rest),
            micros(self.scan_all),
        );
    }
}

impl Index<'_> {
    fn search(&self, query: &[f32], probes: usize, kept: usize, epsilon: f32, kth: f32) -> Report {
        let mut report = Report { queries: 1, ..Report::default() };
        let start = Instant::now();
        let prepared = self.coder.query(query);
        let prepared_at = start.elapsed();
        let mut near = Vec::new();
        self.probes.nearest(&prepared, probes, &mut near);
        let near_at = start.elapsed();
        let first = self.scan_signs(&prepared, &near, kept, epsilon, &mut report);
        let signs_at = start.elapsed();
        report.kept += first.len();
        let hits = self.nearest_rows(query, &prepared, &near, first, &mut report);
        report.hits += hits.iter().filter(|&&distance| distance <= kth).count();
        let rest_at = start.elapsed();
        std::hint::black_box(self.scan_whole(&prepared, &near));
        let all_at = start.elapsed();
        report.prepare += prepared_at;
        report.near += near_at - prepared_at;
        report.signs += signs_at - near_at;
        report.rest += rest_at - signs_at;
        report.scan_all += all_at - rest_at;
        report
    }

    /// About `kept` rows with the lowest lower ends by their signs.
    fn scan_signs(
        &self,
        query: &Query,
        near: &[Probe],
        kept: usize,
        epsilon: f32,
        report: &mut Report,
    ) -> Vec<Entry> {
        let (mut found, mut limit) = (Vec::with_capacity(3 * kept), f32::INFINITY);
        let mut scores = BlockScores::default();
        let block_bytes = BLOCK * self.coder.sign_bytes();
        for (place, near) in near.iter().enumerate() {
            let members = &self.lists[near.list as usize];
            report.rows += members.ids.len();
            let blocks = members.blocks.chunks_exact(block_bytes).zip(&members.block_factors);
            for (block, (codes, factors)) in blocks.enumerate() {
                query.score_block(&near.near, epsilon, codes, factors, &mut scores);
                let filled = BLOCK.min(members.ids.len() - block * BLOCK);
                for (slot, &key) in scores.lower[..filled].iter().enumerate() {
                    if key < limit {
                        let at = (block * BLOCK + slot) as u32;
                        found.push(Entry { key, list: place as u32, at });
                    }
                }
                if found.len() >= 2 * kept {
                    limit = found.select_nth_unstable(kept).1.key;
                    found.truncate(kept);
                }
            }
        }
        found
    }

    /// The exact squared distances of the nearest, in order.
    fn nearest_rows(
        &self,
        query: &[f32],
        prepared: &Query,
        near: &[Probe],
        first: Vec<Entry>,
        report: &mut Report,
    ) -> Vec<f32> {
        let mut by_signs: BinaryHeap<Reverse<Entry>> =
            first.into_iter().map(Reverse).collect::<Vec<_>>().into();
        let (mut by_code, mut by_distance) = (BinaryHeap::new(), BinaryHeap::new());
        let mut hits = Vec::with_capacity(K);
        let key = |top: Option<&Reverse<Entry>>| top.map_or(f32::INFINITY, |top| top.0.key);
        let (sign_bytes, rest_bytes) = (self.coder.sign_bytes(), self.coder.rest_bytes());
        while hits.len() < K {
            let (signs, code, exact) =
                (key(by_signs.peek()), key(by_code.peek()), key(by_distance.peek()));
            if exact <= code && exact <= signs {
                let Some(Reverse(Entry { key, .. })) = by_distance.pop() else { break };
                hits.push(key);
            } else if code <= signs {
                let Some(Reverse(entry)) = by_code.pop() else { break };
                let members = &self.lists[near[entry.list as usize].list as usize];
                let row = self.rows.get(members.ids[entry.at as usize] as usize);
                by_distance.push(Reverse(Entry { key: dense::l2_squared(query, row), ..entry }));
                report.exact += 1;
            } else {
                let Some(Reverse(entry)) = by_signs.pop() else { break };
                let members = &self.lists[near[entry.list as usize].list as usize];
                let (list, at) = (&near[entry.list as usize].near, entry.at as usize);
                let factors = &members.factors[at];
                let score = prepared.score(
                    list,
                    &members.signs[at * sign_bytes..][..sign_bytes],
                    &members.rest[at * rest_bytes..][..rest_bytes],
                    factors,
                );
                let bound = prepared.lower_bound(list, score, factors);
                // From the operator's units to those of scores.
                let key = match self.coder.metric() {
                    Metric::Cosine => 2.0 * bound,
                    _ => bound * bound,
                };
                by_code.push(Reverse(Entry { key: key as f32, ..entry }));
                report.whole += 1;
            }
        }
        hits
    }

    /// What it takes to score the whole codes of all rows of the lists.
    fn scan_whole(&self, query: &Query, near: &[Probe]) -> f32 {
        let (sign_bytes, rest_bytes) = (self.coder.sign_bytes(), self.coder.rest_bytes());
        let mut least = f32::INFINITY;
        for Probe { list, near } in near {
            let members = &self.lists[*list as usize];
            for (at, factors) in members.factors.iter().enumerate() {
                let signs = &members.signs[at * sign_bytes..][..sign_bytes];
                let rest = &members.rest[at * rest_bytes..][..rest_bytes];
                least = least.min(query.score(near, signs, rest, factors));
            }
        }
        least
    }
}
