//! How far a query must look for a share of its nearest rows: measured on a sample, since it differs from table to table by
//! a factor of five.
//!
//! Rows of the sample go through the lists as queries will, those nearest first, and watch bounds as uncertain as those of
//! first bits are.

use rayon::ThreadPool;
use rayon::prelude::*;

use super::coder::EPSILON;
use super::kmeans::ShouldStop;
use super::patience::{NEAREST, PATIENCE, Watch};
use super::tiles::{PANEL, Panels};
use super::{Centroids, Geometry, Stopped};
use crate::Error;
use crate::isa::LANES;
use crate::metric::dense;

/// Shares of the nearest rows for which the number of lists is kept.
pub const TARGETS: [f64; 8] = [0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995];

/// Rows of the sample that stand for queries, at most: as many as fill panels.
const QUERIES: usize = 10 * PANEL;
/// Rows between two looks at whether the work was called off.
const INTERRUPT_EVERY: usize = 1024;
/// Multiplications for all of them, at most: some tenths of a second.
const WORK: usize = 10_000_000_000;
/// Bytes of the distances that a thread keeps at a time.
const DISTANCES_BYTES: usize = 8 << 20;

/// How queries rank rows and lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ranking {
    /// By distance.
    Distance,
    /// By inner product, the largest first.
    Product,
}

impl Ranking {
    fn rank(self, a: &[f32], b: &[f32]) -> f32 {
        match self {
            Ranking::Distance => dense::l2_squared(a, b),
            Ranking::Product => -dense::dot(a, b),
        }
    }

    /// The same from the product and the squares.
    #[inline]
    fn of_product(self, dot: f32, squares: f32) -> f32 {
        match self {
            Ranking::Distance => (squares - 2.0 * dot).max(0.0),
            Ranking::Product => -dot,
        }
    }
}

/// How queries stop. The numbers are part of the index format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Stop {
    /// After a number of lists.
    Fixed = 0,
    /// After a number of lists, or when a share of so many in turn changed nothing, see [`Watch`].
    Patience = 1,
}

impl Stop {
    /// How many lists in turn that change nothing are enough, if `most` are read otherwise.
    fn patience(self, most: usize) -> Option<usize> {
        (self == Stop::Patience).then(|| most.div_ceil(PATIENCE).max(1))
    }
}

impl TryFrom<u8> for Stop {
    type Error = Error;

    fn try_from(code: u8) -> Result<Stop, Error> {
        [Stop::Fixed, Stop::Patience]
            .into_iter()
            .find(|stop| *stop as u8 == code)
            .ok_or(Error::UnknownCode("calibration", code))
    }
}

/// How far a query looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Lists at most.
    pub most: usize,
    /// So many lists in turn without a change are enough.
    pub patience: Option<usize>,
}

impl Extent {
    /// So many lists.
    pub fn fixed(lists: usize) -> Extent {
        Extent { most: lists, patience: None }
    }

    /// How many lists a query reads on average, about: between a half and two thirds of those that it may.
    pub fn expected(&self) -> usize {
        if self.patience.is_some() { (self.most * 2).div_ceil(3) } else { self.most }
    }
}

/// For each of [`TARGETS`], how many lists hold that share of the ten nearest rows, on average over rows of the sample that
/// stand for queries and stop in this way. A sample thinner than the table has its neighbours farther away and asks for more
/// lists rather than for fewer. Zeros if the sample is too small to tell.
///
/// `error` is by how much the bounds that a query will watch are uncertain: the standard deviation, divided by the distances
/// of the row and of the query from the centroid; [`EPSILON`] times as much is taken from them.
pub fn calibrate(
    rows: &[f32],
    centroids: &Centroids,
    (stop, error): (Stop, f32),
    ranking: Ranking,
    pool: &ThreadPool,
    should_stop: ShouldStop<'_>,
) -> Result<[f32; 8], Stopped> {
    let dims = centroids.dims();
    let count = rows.len() / dims;
    let queries = QUERIES.min(WORK / rows.len().max(1)).min(count / (2 * NEAREST));
    if queries == 0 || centroids.len() < 2 {
        return Ok([0.0; 8]);
    }
    let step = count / queries;
    let chosen: Vec<u32> = (0..queries).map(|query| (query * step) as u32).collect();
    let sample = Sample::new(rows, centroids, ranking, pool, should_stop)?;
    // Whole panels of queries at a time, or half of one.
    let width = DISTANCES_BYTES / (count * size_of::<f32>()) / PANEL * PANEL;
    let width = width.clamp(LANES, queries.div_ceil(pool.current_num_threads()).max(LANES));
    let walks: Vec<Vec<Walk>> = pool.install(|| {
        chosen
            .par_chunks(width)
            .map(|some| {
                let products = sample.products(some, should_stop)?;
                let walk = |(at, &me): (usize, &u32)| {
                    let products = products[at..].iter().step_by(some.len()).copied();
                    sample.walk(me, products, error)
                };
                Ok(some.iter().enumerate().map(walk).collect())
            })
            .collect::<Result<_, _>>()
    })?;
    let walks: Vec<Walk> = walks.into_iter().flatten().collect();
    let found = |lists: usize| -> usize { walks.iter().map(|walk| walk.found(stop, lists)).sum() };
    let (mut at, mut shares) = (1, [0.0; 8]);
    for (share, needed) in TARGETS.iter().zip(&mut shares) {
        let wanted = (share * (queries * NEAREST) as f64).ceil() as usize;
        while at < centroids.len() && found(at) < wanted {
            at += 1;
        }
        *needed = at as f32;
    }
    Ok(shares)
}

/// The sample, list by list.
struct Sample<'a> {
    rows: &'a [f32],
    centroids: &'a Centroids,
    ranking: Ranking,
    /// The rows of each list, one list after the other.
    ids: Vec<u32>,
    /// Where each list begins in `ids`, and the last one ends.
    starts: Vec<u32>,
    /// For each of `ids`, its square and how far it is from its centroid.
    sizes: Vec<(f32, f32)>,
}

/// What a query met on its way through all lists.
struct Walk {
    /// How many lists hold each of its nearest rows and what comes before.
    needed: Vec<u32>,
    /// How many lists it takes for one in turn to change nothing, for two, ….
    patient: Vec<u32>,
}

impl Walk {
    /// How many lists it takes until so many in turn change nothing.
    fn stops(&self, patience: usize) -> usize {
        self.patient.get(patience - 1).map_or(usize::MAX, |&read| read as usize)
    }

    /// How many of the nearest rows are found in so many lists, or fewer.
    fn found(&self, stop: Stop, lists: usize) -> usize {
        let read = match stop.patience(lists) {
            Some(patience) => lists.min(self.stops(patience)),
            None => lists,
        };
        self.needed.iter().filter(|&&needed| needed as usize <= read).count()
    }
}

impl<'a> Sample<'a> {
    fn new(
        rows: &'a [f32],
        centroids: &'a Centroids,
        ranking: Ranking,
        pool: &ThreadPool,
        should_stop: ShouldStop<'_>,
    ) -> Result<Sample<'a>, Stopped> {
        let near = centroids.assign(rows, pool, should_stop)?;
        let mut starts = vec![0; centroids.len() + 1];
        near.iter().for_each(|[near, _]| starts[near.list as usize + 1] += 1);
        (0..centroids.len()).for_each(|list| starts[list + 1] += starts[list]);
        let (mut next, mut ids) = (starts.clone(), vec![0; near.len()]);
        for (at, [near, _]) in near.iter().enumerate() {
            let place = &mut next[near.list as usize];
            ids[*place as usize] = at as u32;
            *place += 1;
        }
        let dims = centroids.dims();
        let size = |&id: &u32| {
            let square = dense::norm_squared(&rows[id as usize * dims..][..dims]) as f32;
            (square, near[id as usize][0].distance.max(0.0).sqrt())
        };
        let sizes = pool.install(|| ids.par_iter().map(size).collect());
        Ok(Sample { rows, centroids, ranking, ids, starts, sizes })
    }

    fn row(&self, id: u32) -> &[f32] {
        &self.rows[id as usize * self.centroids.dims()..][..self.centroids.dims()]
    }

    /// The products of all rows with some of them, all of these for each row.
    fn products(&self, some: &[u32], should_stop: ShouldStop<'_>) -> Result<Vec<f32>, Stopped> {
        let (dims, width) = (self.centroids.dims(), some.len());
        let some: Vec<f32> = some.iter().flat_map(|&id| self.row(id)).copied().collect();
        let panels = Panels::new(&some, dims, Geometry::Spherical);
        let mut products = vec![0.0; self.ids.len() * width];
        let mut whole = vec![0.0; INTERRUPT_EVERY * panels.width()];
        let pieces = self.ids.chunks(INTERRUPT_EVERY);
        for (ids, out) in pieces.zip(products.chunks_mut(INTERRUPT_EVERY * width)) {
            if should_stop() {
                return Err(Stopped);
            }
            if width == panels.width() {
                panels.scores(self.rows, ids, out);
                continue;
            }
            let whole = &mut whole[..ids.len() * panels.width()];
            panels.scores(self.rows, ids, whole);
            for (out, whole) in out.chunks_mut(width).zip(whole.chunks(panels.width())) {
                out.copy_from_slice(&whole[..width]);
            }
        }
        Ok(products)
    }

    /// Row `me` as a query, whose products with the rows are given list by list.
    fn walk(&self, me: u32, products: impl Iterator<Item = f32>, error: f32) -> Walk {
        let query = self.row(me);
        let square = dense::norm_squared(query) as f32;
        let far: Vec<f32> = products
            .zip(&self.sizes)
            .map(|(dot, size)| self.ranking.of_product(dot, square + size.0))
            .collect();
        let lists = self.centroids.len();
        let center = |list: u32| self.centroids.center(list);
        let mut order: Vec<(f32, u32)> =
            (0..lists as u32).map(|list| (self.ranking.rank(query, center(list)), list)).collect();
        order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut places = vec![0; lists];
        order.iter().zip(1..).for_each(|(&(_, list), place)| places[list as usize] = place);
        let list_of = |at: usize| self.starts.partition_point(|&start| start as usize <= at) - 1;
        let needed = self.nearest(me, &far).into_iter().map(|at| places[list_of(at)]).collect();
        let (mut watch, mut patient) = (Watch::new(true), Vec::new());
        for (&(rank, list), read) in order.iter().zip(1..) {
            let to_center = match self.ranking {
                Ranking::Distance => rank,
                Ranking::Product => dense::l2_squared(query, center(list)),
            };
            let unit = error * to_center.sqrt();
            let rows = self.starts[list as usize] as usize..self.starts[list as usize + 1] as usize;
            let sizes = &self.sizes[rows.clone()];
            for ((&id, far), size) in self.ids[rows.clone()].iter().zip(&far[rows]).zip(sizes) {
                let deviation = unit * size.1;
                if far - deviation * (LARGEST + EPSILON) < watch.reach() && id != me {
                    let bound = far + deviation * (normal(me, id) - EPSILON);
                    watch.row(match self.ranking {
                        Ranking::Distance => bound.max(0.0),
                        Ranking::Product => bound,
                    });
                }
            }
            if watch.list_ends() > patient.len() {
                patient.push(read);
            }
        }
        Walk { needed, patient }
    }

    /// The places of the rows nearest to row `me`.
    fn nearest(&self, me: u32, far: &[f32]) -> Vec<usize> {
        // Products have lost some digits, so that some more are compared once more.
        let mut near = [(f32::INFINITY, usize::MAX); 2 * NEAREST];
        for (at, &far) in far.iter().enumerate() {
            if far < near[2 * NEAREST - 1].0 && self.ids[at] != me {
                let place = near.partition_point(|near| near.0 <= far);
                near[place..].rotate_right(1);
                near[place] = (far, at);
            }
        }
        let mut near = near.to_vec();
        near.retain(|&(_, at)| at != usize::MAX);
        for (far, at) in &mut near {
            *far = self.ranking.rank(self.row(me), self.row(self.ids[*at]));
        }
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        near.truncate(NEAREST);
        near.into_iter().map(|(_, at)| at).collect()
    }
}

/// [`normal`] is not beyond this.
const LARGEST: f32 = 3.5;

/// A number that goes with two others, about normally distributed.
#[inline]
fn normal(a: u32, b: u32) -> f32 {
    // The finalizer of MurmurHash3, then the sum of four bytes, whose deviation is 147.8.
    let mut x = (u64::from(a) << 32 | u64::from(b)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    let bytes = ((x >> 32) as u32).to_le_bytes();
    (bytes.iter().map(|&byte| i32::from(byte)).sum::<i32>() - 510) as f32 / 147.8
}

/// How far a query looks into `lists` lists for `target` of its nearest rows, by what [`calibrate`] found when there were
/// `then`. Between the targets it interpolates, and past them it goes on in the same direction.
pub fn extent(
    (stop, calibration): (Stop, &[f32; 8]),
    then: usize,
    lists: usize,
    target: f64,
) -> Extent {
    if target >= 1.0 || lists < 2 {
        return Extent::fixed(lists);
    }
    if calibration[0] <= 0.0 {
        // Nothing is known: more than any table was seen to need for 0.95.
        let guess = 2.0 * (lists as f64).sqrt() * (0.05 / (1.0 - target)).sqrt();
        return Extent::fixed((guess.ceil() as usize).clamp(1, lists));
    }
    // The logarithm of the number is about linear in that of what is missed.
    let place = |share: f64| -(1.0 - share).ln();
    let to = TARGETS.iter().position(|&t| t >= target).unwrap_or(TARGETS.len() - 1).max(1);
    let (from, x) = (to - 1, place(target));
    let (x0, x1) = (place(TARGETS[from]), place(TARGETS[to]));
    let (y0, y1) = (f64::from(calibration[from]).ln(), f64::from(calibration[to]).ln());
    let here = (y0 + (y1 - y0) * (x - x0) / (x1 - x0)).exp();
    // With more lists than then, a query needs more of them. What was near each other went to one list then and is cut into
    // several now: on texts and descriptors it took the square root of as many, on patches nearly as many; and who had to
    // read all has to read all still.
    let then = then.max(1) as f64;
    let exponent = 0.7 + 0.3 * (here / then).min(1.0);
    let grown = (lists as f64 / then).max(1.0).powf(exponent);
    // What rounding adds is not a list more.
    let number = ((here * grown - 1e-6).ceil() as usize).clamp(1, lists);
    Extent { most: number, patience: stop.patience(number) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ivf::{Geometry, train};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn extents_follow_the_calibration() {
        let calibration = [1.0, 2.0, 3.0, 6.0, 10.0, 20.0, 30.0, 50.0];
        let fixed = |then, lists, target| {
            let extent = extent((Stop::Fixed, &calibration), then, lists, target);
            assert_eq!(extent.patience, None);
            extent.most
        };
        for (target, found) in TARGETS.iter().zip(calibration) {
            assert_eq!(fixed(100, 100, *target), found as usize);
        }
        assert!(fixed(100, 100, 0.97) > 10);
        assert!(fixed(100, 100, 0.999) > 50);
        assert_eq!(fixed(100, 400, 0.7), 6);
        assert_eq!(fixed(100, 400, 0.95), 28);
        assert_eq!(fixed(50, 200, 0.995), 200);
        assert_eq!(fixed(100, 100, 1.0), 100);
        assert_eq!(extent((Stop::Fixed, &[0.0; 8]), 0, 1, 0.9).most, 1);
        let patient = |lists, target| extent((Stop::Patience, &calibration), 100, lists, target);
        assert_eq!(patient(100, 0.95), Extent { most: 10, patience: Some(3) });
        assert_eq!(patient(100, 0.99), Extent { most: 30, patience: Some(8) });
        assert_eq!(patient(400, 0.95), Extent { most: 28, patience: Some(7) });
        assert_eq!(patient(100, 1.0), Extent::fixed(100));
        assert_eq!(extent((Stop::Patience, &[0.0; 8]), 0, 100, 0.95).patience, None);
    }

    #[test]
    fn as_many_lists_as_calibrated_hold_the_share() {
        let mut random = StdRng::seed_from_u64(7);
        let dims = 8;
        let rows: Vec<f32> = (0..4000 * dims).map(|_| random.random()).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let centroids = train(&rows, dims, 40, Geometry::Euclidean, 1, &pool, &|| false).unwrap();
        for ranking in [Ranking::Distance, Ranking::Product] {
            let calibrated =
                |how| calibrate(&rows, &centroids, how, ranking, &pool, &|| false).unwrap();
            let fixed = calibrated((Stop::Fixed, 0.0));
            for found in [fixed, calibrated((Stop::Patience, 0.0))] {
                assert!(found.windows(2).all(|pair| pair[0] <= pair[1]), "{found:?}");
                assert!(found[0] >= 1.0 && found[7] <= 40.0 && found[7] > found[0], "{found:?}");
            }
            // Other queries find what was promised, and read no more lists than without patience.
            let patient = calibrated((Stop::Patience, 0.05));
            let sample = Sample::new(&rows, &centroids, ranking, &pool, &|| false).unwrap();
            let some: Vec<u32> = (5..4000).step_by(61).collect();
            let most = patient[4] as usize;
            let patience = Stop::Patience.patience(most).unwrap();
            let (mut shares, mut read) = (0, 0);
            for some in some.chunks(PANEL) {
                let products = sample.products(some, &|| false).unwrap();
                for (at, &me) in some.iter().enumerate() {
                    let products = products[at..].iter().step_by(some.len()).copied();
                    let walk = sample.walk(me, products, 0.05);
                    shares += walk.found(Stop::Patience, most);
                    read += walk.stops(patience).min(most);
                }
            }
            let queries = some.len() as f64;
            let (share, read) = (shares as f64 / 10.0 / queries, read as f64 / queries);
            assert!(share > 0.93, "{share}");
            assert!(read < f64::from(fixed[4]) + 0.5, "{read} against {fixed:?}");
        }
    }

    #[test]
    fn noise_is_normal() {
        let (mut sum, mut square) = (0.0, 0.0);
        for at in 0..10_000 {
            let x = f64::from(normal(at % 100, at / 100));
            sum += x;
            square += x * x;
        }
        assert!((sum / 1e4).abs() < 0.05 && (square / 1e4 - 1.0).abs() < 0.05);
    }
}
