//! Product codes of vectors relative to a centroid, for inverted lists (IVFADC of Jégou, Douze and Schmid 2011,
//! section IV).
//!
//! With `y` the residual of a vector to its centroid `c` and `u` what its code stands for, the residual is taken to be
//! `s u` with `s = |y|^2 / <u, y>`, so that what is lost, `e = y - s u`, is orthogonal to the residual, as with
//! RaBitQ: then scores have no bias, neither for queries near the vector nor for those far from it, where the distance
//! to the decoded vector is too small by `|e|^2`.
//!
//! # Format of a code
//! That of the product quantizer, with [`Factors`]: `scale` is `s`, and with `m` = 2 and `b` = `|q - c|^2` for L2 and
//! cosine (of unit vectors), `m` = 1 and `b` = `-<q, c>` for the inner product, the score of `q` is `b + bias - m s
//! <q, u>`. The products of a query and all centers serve all lists; what a list adds is one number. `error` is a
//! bound on `|e|`, rounding included.
//!
//! # Bounds
//! For L2 the squared distance is the score less `2 <q - x, e>`, and so at least the score less `2 |q - x| |e|` times
//! a share that is 1 for certainty. In many dimensions the two are all but orthogonal, and the *spread*, the standard
//! deviation of their cosine in the sample, is how far they are from it: three times that is a share that one row in
//! some hundreds goes beyond. For the inner product `q - c` stands in for `q - x`.

use super::{Product, Shape, Table};
use crate::quantize::Factors;
use crate::quantize::bound::{TINY, UNIT, cosine_computed, l2_computed, product_error};
use crate::quantize::encode::{Directed, ROUNDING, SAFE_SQUARE, rounded_up};
use crate::quantize::rabitq::{DOUBLES, List, UNIT64, relation};
use crate::{Element, Error, Metric};

/// Numbers of a model before the centers: the number of parts, the spread.
const MODEL_HEAD: usize = 2;

/// Codes of the vectors of one column, relative to centroids.
#[derive(Clone, Debug)]
pub struct Relative {
    metric: Metric,
    product: Product,
    spread: f32,
    /// At least the norm of whatever a code stands for.
    reach: f64,
}

/// A query, prepared once for the codes of all lists.
#[derive(Clone, Debug)]
pub struct Query {
    /// The query; for cosine the unit vector.
    components: Vec<f32>,
    /// Its negative products with all centers.
    table: Table,
    /// At least its norm.
    norm: f64,
    /// At least how far the components are from the exact ones.
    error: f64,
    /// Nothing is known of what the operator makes of it.
    lawless: bool,
}

impl Relative {
    /// Numbers of the model of codes of this shape.
    pub fn model_len(shape: Shape) -> usize {
        MODEL_HEAD + shape.dims() * shape.centers()
    }

    /// How residuals of `dims` dimensions are cut.
    pub fn shape(metric: Metric, dims: usize, parts: usize, bits: usize) -> Result<Shape, Error> {
        if !matches!(metric, Metric::L2 | Metric::InnerProduct | Metric::Cosine) {
            return Err(Error::UnknownCode("product quantization metric", metric as u8));
        }
        // Residuals are no unit vectors, and what is asked of a query is its products with centers.
        Shape::new(Metric::InnerProduct, dims, parts, bits)
    }

    /// The coder with a model that [`Relative::train`] made.
    pub fn new(metric: Metric, dims: usize, bits: usize, model: &[f32]) -> Result<Relative, Error> {
        let damaged = Error::Damaged { ty: "codebook", bytes: size_of_val(model) };
        let Some((&[parts, spread], centers)) = model.split_first_chunk::<MODEL_HEAD>() else {
            return Err(damaged);
        };
        let shape = Relative::shape(metric, dims, parts.clamp(0.0, 65536.0) as usize, bits)?;
        let is_finite = centers.iter().all(|x| x.is_finite());
        if !is_finite || !(0.0..=1.0).contains(&spread) || model.len() != Relative::model_len(shape)
        {
            return Err(damaged);
        }
        let product = Product { shape, centers: centers.to_vec() };
        let longest = (0..shape.parts()).map(|part| longest_square(product.part(part), shape));
        let reach = longest.sum::<f64>().sqrt() * (1.0 + UNIT64);
        Ok(Relative { metric, product, spread, reach })
    }

    /// The product quantizer of the residuals.
    pub fn product(&self) -> &Product {
        &self.product
    }

    /// Bytes of a code.
    #[inline]
    pub fn code_len(&self) -> usize {
        self.product.shape.code_len()
    }

    fn dims(&self) -> f64 {
        self.product.shape.dims as f64
    }

    /// What a product with a query is multiplied by in a score.
    #[inline]
    fn multiple(&self) -> f64 {
        if self.metric == Metric::InnerProduct { 1.0 } else { 2.0 }
    }

    /// Encodes a vector into `code`. `placed` is its unit vector for cosine, else the vector itself. Nothing if it cannot
    /// be indexed: a component is not finite, or the metric is cosine and the vector is zero.
    ///
    /// # Panics
    /// If lengths differ from those of the coder.
    pub fn encode<E: Element>(
        &self,
        v: &[E],
        placed: &[f32],
        centroid: &[f32],
        code: &mut Vec<u8>,
    ) -> Option<Factors> {
        let x = Directed::new(v);
        let cosine = self.metric == Metric::Cosine;
        if !x.norm.is_finite() || cosine && x.norm == 0.0 {
            return None;
        }
        let rough: Vec<f32> = placed.iter().zip(centroid).map(|(x, c)| x - c).collect();
        self.product.encode(&rough, code).expect("a residual of the coder's dimensions");
        let decoded = self.product.decode(code).expect("a code of the coder's length");
        let divisor = if cosine { x.norm } else { 1.0 };
        let exact = x.components.iter().zip(centroid).map(|(x, &c)| x / divisor - f64::from(c));
        let residual: Vec<f64> = exact.collect();
        let (mut square, mut product, mut decoded_square) = (0.0, 0.0, 0.0);
        for (y, &u) in residual.iter().zip(&decoded) {
            square += y * y;
            product += y * f64::from(u);
            decoded_square += f64::from(u) * f64::from(u);
        }
        let scale = scale(square, product, decoded_square);
        let (mut lost, mut with_lost) = (0.0, 0.0);
        let (mut with_decoded, mut with_residual, mut own) = (0.0, 0.0, 0.0);
        for ((y, &u), &c) in residual.iter().zip(&decoded).zip(centroid) {
            let (w, c) = (f64::from(scale) * f64::from(u), f64::from(c));
            lost += (y - w) * (y - w);
            with_lost += y * (y - w);
            with_decoded += c * w;
            with_residual += c * y;
            own += c * c;
        }
        let bias = match self.metric {
            Metric::InnerProduct => with_decoded - with_residual,
            // The second term is what rounding leaves, where what is lost is orthogonal.
            _ => square - 2.0 * with_lost + 2.0 * with_decoded,
        };
        let sizes = x.norm / divisor + own.sqrt() + f64::from(scale) * decoded_square.sqrt();
        let error = lost.sqrt() * (1.0 + ROUNDING) + sizes * ROUNDING;
        let is_safe = !cosine || SAFE_SQUARE.contains(&(x.norm * x.norm));
        let error = if is_safe { rounded_up(error) } else { f32::INFINITY };
        Some(Factors { scale, bias: bias as f32, error })
    }

    /// About the vector that a code stands for, for cosine its unit vector, into `out`. False if the code is damaged.
    pub fn decode(&self, code: &[u8], f: &Factors, centroid: &[f32], out: &mut Vec<f32>) -> bool {
        let Ok(decoded) = self.product.decode(code) else { return false };
        out.clear();
        out.extend(centroid.iter().zip(decoded).map(|(c, u)| c + f.scale * u));
        true
    }

    /// Prepares a query. `placed` is the unit vector for cosine, zero if there is none; else the vector itself.
    ///
    /// # Panics
    /// If lengths differ from those of the coder.
    pub fn query<E: Element>(&self, v: &[E], placed: &[f32]) -> Query {
        let x = Directed::new(v);
        let cosine = self.metric == Metric::Cosine;
        let table = self.product.query(placed).expect("a query of the coder's dimensions");
        let rounding = UNIT + self.dims().sqrt() * TINY;
        Query {
            components: placed.to_vec(),
            table,
            norm: if cosine { 1.0 + 1e-6 } else { x.norm * (1.0 + UNIT64) },
            error: if cosine { rounding * (1.0 + 1e-6) } else { 0.0 },
            lawless: cosine && !SAFE_SQUARE.contains(&(x.norm * x.norm)),
        }
    }

    /// What the query has to do with a list.
    ///
    /// # Panics
    /// If the centroid is not of the coder's dimensions.
    pub fn list(&self, q: &Query, centroid: &[f32]) -> List {
        assert_eq!(centroid.len(), q.components.len(), "dimensions of a centroid");
        let [mut square, mut dot, mut norm] = relation(&q.components, centroid);
        let rest = q.components.len() / DOUBLES * DOUBLES;
        for (&a, &b) in q.components[rest..].iter().zip(&centroid[rest..]) {
            let (a, b) = (f64::from(a), f64::from(b));
            square += (a - b) * (a - b);
            dot += a * b;
            norm += b * b;
        }
        let base = if self.metric == Metric::InnerProduct { -dot } else { square };
        List { base, distance: square.sqrt(), norm: norm.sqrt() }
    }

    /// The score of a code: about the squared distance, for cosine of unit vectors, or the negative inner product.
    #[inline]
    pub fn score(&self, q: &Query, list: &List, code: &[u8], f: &Factors) -> f64 {
        let product = -f64::from(q.table.score(code));
        let score = list.base + f64::from(f.bias) - self.multiple() * f64::from(f.scale) * product;
        let least = if self.metric == Metric::InnerProduct { f64::NEG_INFINITY } else { 0.0 };
        // Infinity for NaN, which no comparison would rank.
        score.min(f64::INFINITY).max(least)
    }

    /// A value in the units of the SQL operator that it is not likely to fall below, being `deviations` standard
    /// deviations from what the score says. Where nothing is known it is 0, and for the negative inner product minus
    /// infinity.
    #[inline]
    pub fn likely_bound(
        &self,
        deviations: f32,
        q: &Query,
        list: &List,
        score: f64,
        f: &Factors,
    ) -> f64 {
        let error = f64::from((deviations * self.spread).min(1.0) * f.error);
        let bound = list.likely_bound(self.metric, score, error);
        // Of infinite errors, NaN.
        if q.lawless || bound.is_nan() { self.lowest() } else { bound }
    }

    /// What is true of every vector.
    fn lowest(&self) -> f64 {
        if self.metric == Metric::InnerProduct { f64::NEG_INFINITY } else { 0.0 }
    }

    /// A value in the units of the SQL operator that is not above what the operator returns for the query and the vector
    /// whose code has this score and these factors. Where nothing is known it is as there.
    pub fn lower_bound(&self, q: &Query, list: &List, score: f64, f: &Factors) -> f64 {
        let lowest = self.lowest();
        if q.lawless || !score.is_finite() || !f.error.is_finite() {
            return lowest;
        }
        let (error, scale) = (f64::from(f.error), f64::from(f.scale).abs());
        let terms = self.dims();
        // Sums of products of single precision, in each part and over all of them.
        let sums = terms + self.product.shape.parts as f64 + 4.0;
        let table = scale * (q.norm * self.reach * sums * UNIT + sums * TINY);
        let sizes = q.norm + list.norm + scale * self.reach + error;
        let rounding = self.multiple() * table
            + f64::from(f.bias).abs() * UNIT
            + sizes * sizes * UNIT64
            + 2.0 * TINY;
        let bound = match self.metric {
            Metric::InnerProduct => {
                let product = q.norm * (list.norm + scale * self.reach + error) * (1.0 + 1e-6);
                if product > f64::from(f32::MAX) {
                    // A partial sum of the operator may overflow to either side.
                    return lowest;
                }
                let operator = product_error(product, terms);
                score - (list.distance * error + rounding + operator) * (1.0 + UNIT64)
            }
            metric => {
                let decoded = (score - rounding + error * error).max(0.0).sqrt();
                let distance = decoded * (1.0 - UNIT64) - (error + q.error) * (1.0 + UNIT64);
                let square = distance.max(0.0) * distance.max(0.0);
                let computed = if metric == Metric::L2 { l2_computed } else { cosine_computed };
                computed(square, terms, UNIT64)
            }
        };
        // Infinite errors have made infinities or NaN of it.
        if bound >= lowest { bound } else { lowest }
    }
}

/// What a decoded residual is multiplied by. Where its direction has little to do with the residual's, what is lost would
/// be longer than the residual if it had to be orthogonal; there the nearest multiple is taken.
pub(super) fn scale(square: f64, product: f64, decoded_square: f64) -> f32 {
    let aligned = product * product > 0.5 * square * decoded_square;
    let scale = if product <= 0.0 {
        0.0
    } else if aligned {
        square / product
    } else {
        product / decoded_square
    };
    if scale.is_finite() { scale as f32 } else { 0.0 }
}

/// The squared norm of the longest center of a part.
fn longest_square(part: &[f32], shape: Shape) -> f64 {
    let square = |center: usize| -> f64 {
        part[center..].iter().step_by(shape.centers()).map(|&x| f64::from(x).powi(2)).sum()
    };
    (0..shape.centers()).map(square).fold(0.0, f64::max)
}
