//! Many rows against many centroids: blocked products, as in a matrix multiplication.
//!
//! The score of a pair is `<row, centroid> - |centroid|² / 2` for Euclidean geometry, the product alone on the
//! sphere: the nearest centroid has the highest. Each score is one chain of fused operations over the dimensions, so
//! that it does not depend on which other rows are in the block.
#![allow(unsafe_code)]
// Index loops over lanes are the form that is sure to become vector code.
#![allow(clippy::needless_range_loop)]

use super::Geometry;
#[cfg(target_arch = "x86_64")]
use crate::isa::{Avx2, Avx512};
use crate::isa::{Isa, LANES, Portable, multiversion};

/// Centroids in a panel, which is what a tile reads at once.
pub(super) const PANEL: usize = 2 * LANES;

/// Bytes of rows that are held against one panel after another: they stay in the second-level cache.
const BLOCK_BYTES: usize = 256 << 10;

/// Scores of one row against a panel.
type Scores = [f32; PANEL];

/// Centroids packed for tiles: panel by panel, in it dimension by dimension.
pub(super) struct Panels {
    dims: usize,
    count: usize,
    values: Vec<[f32; LANES]>,
    /// What is taken from each product; infinite in the places past the last centroid.
    offsets: Vec<Scores>,
}

impl Panels {
    /// Packs `centers`, which is rows of `dims` numbers.
    pub fn new(centers: &[f32], dims: usize, geometry: Geometry) -> Panels {
        let count = centers.len() / dims;
        let panels = count.div_ceil(PANEL);
        let mut values = vec![[0.0; LANES]; panels * dims * 2];
        let mut offsets = vec![[f32::INFINITY; PANEL]; panels];
        for (at, center) in centers.chunks_exact(dims).enumerate() {
            let (panel, place) = (at / PANEL, at % PANEL);
            let start = panel * dims * 2 + place / LANES;
            for (dim, &x) in center.iter().enumerate() {
                values[start + 2 * dim][place % LANES] = x;
            }
            offsets[panel][place] = match geometry {
                Geometry::Euclidean => center.iter().map(|x| x * x).sum::<f32>() / 2.0,
                Geometry::Spherical => 0.0,
            };
        }
        Panels { dims, count, values, offsets }
    }

    /// Rows that are worth scoring in one call.
    pub fn block_rows(&self) -> usize {
        (BLOCK_BYTES / size_of::<f32>() / self.dims.max(1)).clamp(16, 512)
    }

    /// All scores of the rows `ids` of `rows`, [`Panels::width`] for each; those past the last centroid mean nothing.
    pub fn scores(&self, rows: &[f32], ids: &[u32], out: &mut [f32]) {
        scores_of(self, rows, ids, out);
    }

    /// Places for the scores of a row.
    pub fn width(&self) -> usize {
        self.offsets.len() * PANEL
    }

    /// The best centroids of the rows `ids` of `rows`.
    pub fn best<const N: usize>(&self, rows: &[f32], ids: &[u32], out: &mut [[Best; N]]) {
        best_of::<N>(self, rows, ids, out);
    }
}

/// A centroid and its score.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Best {
    pub score: f32,
    pub at: u32,
}

impl Best {
    /// Worse than any.
    pub const NONE: Best = Best { score: f32::NEG_INFINITY, at: u32::MAX };
}

multiversion! {
    fn best_of[const N: usize][N](panels: &Panels, rows: &[f32], ids: &[u32], out: &mut [[Best; N]]) -> () = best_kernel;
}

multiversion! {
    fn scores_of[][](panels: &Panels, rows: &[f32], ids: &[u32], out: &mut [f32]) -> () = scores_kernel;
}

/// Takes the scores of a row against the panel that starts at `first`; the earlier centroid stays when two are equal.
#[inline(always)]
fn keep<const N: usize>(best: &mut [Best; N], first: usize, scores: &Scores) {
    let mut highest = [f32::NEG_INFINITY; LANES];
    for lane in 0..LANES {
        let (a, b) = (scores[lane], scores[lane + LANES]);
        highest[lane] = if a > b { a } else { b };
    }
    let mut top = f32::NEG_INFINITY;
    for lane in 0..LANES {
        top = if highest[lane] > top { highest[lane] } else { top };
    }
    if top > best[N - 1].score {
        for lane in 0..PANEL {
            insert(best, Best { score: scores[lane], at: (first + lane) as u32 });
        }
    }
}

/// Puts `new` in its place among the best, if it has one.
#[inline(always)]
pub(super) fn insert<const N: usize>(best: &mut [Best; N], new: Best) {
    if new.score > best[N - 1].score {
        let mut at = N - 1;
        while at > 0 && new.score > best[at - 1].score {
            best[at] = best[at - 1];
            at -= 1;
        }
        best[at] = new;
    }
}

#[inline(always)]
fn best_kernel<I: Tile, const N: usize>(
    _: I,
    panels: &Panels,
    rows: &[f32],
    ids: &[u32],
    out: &mut [[Best; N]],
) {
    assert_eq!(ids.len(), out.len(), "an answer for each row");
    for best in &mut *out {
        *best = [Best::NONE; N];
    }
    let dims = panels.dims;
    let block = panels.block_rows();
    for start in (0..ids.len()).step_by(block) {
        let end = ids.len().min(start + block);
        for (at, offsets) in panels.offsets.iter().enumerate() {
            let half = panels.count - at * PANEL <= LANES;
            let panel = &panels.values[at * dims * 2..][..dims * 2];
            let mut row = start;
            while row < end {
                let mut scores = [[0.0; PANEL]; MAX_ROWS];
                let taken = if end - row >= I::ROWS {
                    let ids = &ids[row..row + I::ROWS];
                    if half {
                        I::half(rows, ids, panel, &mut scores);
                    } else {
                        I::tile(rows, ids, panel, &mut scores);
                    }
                    I::ROWS
                } else {
                    tile::<I, 1, 2>(rows, &ids[row..row + 1], panel, 0, &mut scores);
                    1
                };
                for done in 0..taken {
                    for lane in 0..PANEL {
                        scores[done][lane] -= offsets[lane];
                    }
                    keep(&mut out[row + done], at * PANEL, &scores[done]);
                }
                row += taken;
            }
        }
    }
}

#[inline(always)]
fn scores_kernel<I: Tile>(_: I, panels: &Panels, rows: &[f32], ids: &[u32], out: &mut [f32]) {
    let (dims, width) = (panels.dims, panels.width());
    assert_eq!(out.len(), ids.len() * width, "a place for each score");
    let block = panels.block_rows();
    for start in (0..ids.len()).step_by(block) {
        let end = ids.len().min(start + block);
        for (at, offsets) in panels.offsets.iter().enumerate() {
            let panel = &panels.values[at * dims * 2..][..dims * 2];
            let mut row = start;
            while row < end {
                let mut scores = [[0.0; PANEL]; MAX_ROWS];
                let taken = if end - row >= I::ROWS {
                    I::tile(rows, &ids[row..row + I::ROWS], panel, &mut scores);
                    I::ROWS
                } else {
                    tile::<I, 1, 2>(rows, &ids[row..row + 1], panel, 0, &mut scores);
                    1
                };
                for done in 0..taken {
                    let out = &mut out[(row + done) * width + at * PANEL..][..PANEL];
                    for lane in 0..PANEL {
                        out[lane] = scores[done][lane] - offsets[lane];
                    }
                }
                row += taken;
            }
        }
    }
}

/// The most rows of a tile.
const MAX_ROWS: usize = 8;

/// How large a tile of sums the registers hold.
trait Tile: Isa {
    /// Rows of a tile.
    const ROWS: usize;
    /// The products of [`Tile::ROWS`] rows with the first half of a panel.
    fn half(rows: &[f32], ids: &[u32], panel: &[[f32; LANES]], out: &mut [Scores; MAX_ROWS]);
    /// The same with a whole panel.
    fn tile(rows: &[f32], ids: &[u32], panel: &[[f32; LANES]], out: &mut [Scores; MAX_ROWS]);
}

impl Tile for Portable {
    const ROWS: usize = 2;
    #[inline(always)]
    fn half(rows: &[f32], ids: &[u32], panel: &[[f32; LANES]], out: &mut [Scores; MAX_ROWS]) {
        tile::<Self, 2, 1>(rows, ids, panel, 0, out);
    }
    #[inline(always)]
    fn tile(rows: &[f32], ids: &[u32], panel: &[[f32; LANES]], out: &mut [Scores; MAX_ROWS]) {
        tile::<Self, 2, 1>(rows, ids, panel, 0, out);
        tile::<Self, 2, 1>(rows, ids, panel, 1, out);
    }
}

#[cfg(target_arch = "x86_64")]
impl Tile for Avx2 {
    const ROWS: usize = 6;
    #[inline(always)]
    fn half(rows: &[f32], ids: &[u32], panel: &[[f32; LANES]], out: &mut [Scores; MAX_ROWS]) {
        tile::<Self, 6, 1>(rows, ids, panel, 0, out);
    }
    #[inline(always)]
    fn tile(rows: &[f32], ids: &[u32], panel: &[[f32; LANES]], out: &mut [Scores; MAX_ROWS]) {
        tile::<Self, 6, 1>(rows, ids, panel, 0, out);
        tile::<Self, 6, 1>(rows, ids, panel, 1, out);
    }
}

#[cfg(target_arch = "x86_64")]
impl Tile for Avx512 {
    const ROWS: usize = 8;
    #[inline(always)]
    fn half(rows: &[f32], ids: &[u32], panel: &[[f32; LANES]], out: &mut [Scores; MAX_ROWS]) {
        tile::<Self, 8, 1>(rows, ids, panel, 0, out);
    }
    #[inline(always)]
    fn tile(rows: &[f32], ids: &[u32], panel: &[[f32; LANES]], out: &mut [Scores; MAX_ROWS]) {
        tile::<Self, 8, 2>(rows, ids, panel, 0, out);
    }
}

/// Products of `R` rows with `C` blocks of a panel, from block `first` on.
#[inline(always)]
fn tile<I: Isa, const R: usize, const C: usize>(
    rows: &[f32],
    ids: &[u32],
    panel: &[[f32; LANES]],
    first: usize,
    out: &mut [Scores; MAX_ROWS],
) {
    let (panel, _) = panel.as_chunks::<2>();
    let dims = panel.len();
    let mut x: [&[f32]; R] = [&[]; R];
    for row in 0..R {
        x[row] = &rows[ids[row] as usize * dims..][..dims];
    }
    let mut sums = [[I::splat(0.0); C]; R];
    for dim in 0..dims {
        let mut block = [I::splat(0.0); C];
        for at in 0..C {
            block[at] = I::load(&panel[dim][first + at]);
        }
        for row in 0..R {
            let value = I::splat(x[row][dim]);
            for at in 0..C {
                sums[row][at] = I::fma(value, block[at], sums[row][at]);
            }
        }
    }
    for row in 0..R {
        for at in 0..C {
            let lanes = I::store(sums[row][at]);
            let start = (first + at) * LANES;
            out[row][start..start + LANES].copy_from_slice(&lanes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{self, Level};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn tiles_agree_with_the_definition() {
        let mut rng = StdRng::seed_from_u64(3);
        for level in [Level::Portable, Level::Avx2, Level::Avx512] {
            isa::limit(level);
            for (count, dims, wanted) in [(1, 1, 1), (31, 7, 5), (33, 40, 19), (97, 130, 70)] {
                let centers: Vec<f32> = (0..count * dims).map(|_| rng.random()).collect();
                let rows: Vec<f32> = (0..wanted * dims).map(|_| rng.random()).collect();
                let ids: Vec<u32> = (0..wanted as u32).rev().collect();
                for geometry in [Geometry::Euclidean, Geometry::Spherical] {
                    let panels = Panels::new(&centers, dims, geometry);
                    let mut best = vec![[Best::NONE; 2]; wanted];
                    panels.best::<2>(&rows, &ids, &mut best);
                    let mut scores = vec![0.0; wanted * panels.width()];
                    panels.scores(&rows, &ids, &mut scores);
                    for (at, &id) in ids.iter().enumerate() {
                        let row = &rows[id as usize * dims..][..dims];
                        let mut exact: Vec<f32> = Vec::new();
                        for center in centers.chunks_exact(dims) {
                            let offset: f32 = match geometry {
                                Geometry::Euclidean => center.iter().map(|c| c * c / 2.0).sum(),
                                Geometry::Spherical => 0.0,
                            };
                            let dot: f32 = row.iter().zip(center).map(|(x, c)| x * c).sum();
                            exact.push(dot - offset);
                        }
                        for near in best[at].iter().take(count) {
                            assert!((near.score - exact[near.at as usize]).abs() < 1e-3);
                        }
                        let scores = &scores[at * panels.width()..];
                        for (score, exact) in scores.iter().zip(&exact) {
                            assert!((score - exact).abs() < 1e-3);
                        }
                        exact.sort_by(|a, b| b.total_cmp(a));
                        for (near, exact) in best[at].iter().zip(&exact) {
                            assert!((near.score - exact).abs() < 1e-3);
                        }
                    }
                }
            }
        }
        isa::limit(Level::Avx512);
    }
}
