//! What an index is to be, decided before its first page is written: what nodes hold in place of vectors, and the mean
//! that codes are relative to.

use leanstack_core::metric::Metric;
use leanstack_core::quantize::{Codec, Repr, Value};
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::index::MEAN_BYTES_PER_PAGE;
use super::options::{self, Options, Quantization};
use super::page::{Layout, Meta, NO_NODE};
use crate::am::heap::{self, Source};
use crate::am::{opclass, vectors};
use crate::error::unwrap;
use crate::storage::cells;
use crate::types::value::TypeKind;

/// Vectors up to this many bytes are kept as they are under `quantization = auto`: the rest of a node is longer.
const SHORT_BYTES: usize = 128;
/// Heap blocks read to find the mean.
const SAMPLE_BLOCKS: u32 = 100;

/// What the index is to be, before its first page is written.
pub(super) struct Plan {
    pub(super) kind: TypeKind,
    pub(super) metric: Metric,
    pub(super) options: Options,
    pub(super) repr: Repr,
    pub(super) dims: usize,
}

impl Plan {
    /// Decides, or raises why the column cannot be indexed.
    pub(super) unsafe fn new(index: pg_sys::Relation) -> Plan {
        // SAFETY: the caller holds the index open.
        let (options, (kind, metric), (type_oid, typmod)) =
            unsafe { (options::of(index), opclass::of(index), heap::first_column(index)) };
        if type_oid == pg_sys::VARBITOID {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "type not supported for hnsw index"
            );
        }
        if typmod < 0 {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "column does not have dimensions"
            );
        }
        if options.ef_construction < 2 * options.m {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "ef_construction must be greater than or equal to 2 * m"
            );
        }
        let dims = typmod as usize;
        let repr = choose_repr(kind, metric, options, dims);
        Plan { kind, metric, options, repr, dims }
    }

    fn codec(&self, mean: Vec<f32>) -> Codec {
        unwrap(Codec::new(self.repr, self.metric, self.dims, mean))
    }

    pub(super) fn meta(&self, mean: &[f32]) -> Meta {
        let code_bytes = self.codec(mean.to_vec()).code_len().unwrap_or(0);
        let mean_pages = (mean.len() * 4).div_ceil(MEAN_BYTES_PER_PAGE) as u32;
        Meta {
            build_id: rand::random(),
            dims: self.dims as u32,
            code_bytes: code_bytes as u32,
            m: self.options.m as u16,
            ef_construction: self.options.ef_construction as u16,
            repr: self.repr as u8,
            metric: self.metric as u8,
            type_kind: opclass::kind_number(self.kind),
            attribute_bytes: 0,
            mean_block: 1,
            mean_pages,
            entry: NO_NODE,
            entry_level: 0,
            root: NO_NODE,
            aux_head: cells::NO_BLOCK,
        }
    }

    /// The mean of some rows of blocks spread over the heap; empty where codes are not relative to one.
    pub(super) unsafe fn sample_mean(&self, source: &Source) -> Vec<f32> {
        if !matches!(self.repr, Repr::Sq8 | Repr::Sq4 | Repr::Sq2) {
            return Vec::new();
        }
        let (mut sums, mut rows) = (vec![0.0; self.dims], 0);
        let mut add = |_, value: Value<'_>| {
            if let Some(components) = vectors::components(value, self.metric == Metric::Cosine) {
                sums.iter_mut().zip(components).for_each(|(sum, x)| *sum += x);
                rows += 1;
            }
        };
        // SAFETY: as for `ambuild`.
        unsafe { source.sample(SAMPLE_BLOCKS, &mut || true, &mut add) };
        if rows == 0 {
            return Vec::new();
        }
        sums.iter().map(|sum| (sum / f64::from(rows)) as f32).collect()
    }
}

/// What nodes hold in place of vectors.
fn choose_repr(kind: TypeKind, _metric: Metric, options: Options, dims: usize) -> Repr {
    let room = Layout::max_code_bytes(options.m, kind == TypeKind::Sparsevec);
    let (plain, plain_bytes) = match kind {
        TypeKind::Vector => (Repr::F32, dims * 4),
        TypeKind::Halfvec => (Repr::F16, dims * 2),
        TypeKind::Sparsevec => (Repr::Sparse, 0),
        TypeKind::Bit => (Repr::Bits, dims.div_ceil(8)),
    };
    let scalar = [(Repr::Sq8, dims), (Repr::Sq4, dims.div_ceil(2)), (Repr::Sq2, dims.div_ceil(4))]
        .into_iter()
        .find(|(_, bytes)| *bytes <= room);
    let quantizable = matches!(kind, TypeKind::Vector | TypeKind::Halfvec);
    let unsupported = |name: &str| {
        crate::error::fail(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("quantization \"{name}\" is not supported for this column type"),
            "Use quantization = auto or none.",
        );
    };
    let chosen = match options.quantization {
        Quantization::Auto if quantizable && plain_bytes > SHORT_BYTES => scalar,
        Quantization::Auto | Quantization::None => Some((plain, plain_bytes)),
        Quantization::Sq8 => {
            if !quantizable {
                unsupported("sq8");
            }
            scalar
        }
        Quantization::Half => {
            if !quantizable {
                unsupported("half");
            }
            Some((Repr::F16, dims * 2))
        }
    };
    match chosen {
        Some((repr, bytes)) if bytes <= room => repr,
        _ => {
            let most = match plain {
                _ if matches!(options.quantization, Quantization::Half) => room / 2,
                Repr::F32 => room / 4,
                Repr::F16 => room / 2,
                _ => room * 8,
            };
            crate::error::fail(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("column cannot have more than {most} dimensions for hnsw index"),
                "A smaller m leaves more room; quantization = auto stores longer vectors.",
            );
        }
    }
}
