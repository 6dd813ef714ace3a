//! What an index is to be, before its first row is read.

use leanstack_core::ivf::coder::Repr;
use leanstack_core::metric::Metric;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::options::{self, Options, Quantization};
use super::page::{MAGIC, Meta, NONE};
use crate::am::{heap, opclass};
use crate::types::value::TypeKind;

/// An index has this many lists times the square root of its rows, unless `lists` was given: then the centroids, which
/// every scan looks at, and the rows that it looks at cost about the same.
const LISTS_FACTOR: f64 = 4.0;
/// Rows that a list should have at least when the index is built.
const LEAST_LIST_ROWS: u64 = 100;
/// Rows that a list should have at least later, when those that have grown are split.
const LEAST_TARGET_ROWS: u64 = 200;
/// Bits of RaBitQ codes: so many that hardly more rows are fetched from the heap than are returned.
const BITS: u8 = 7;
/// Bits of a part of product codes.
const PART_BITS: u8 = 8;
/// Dimensions of a part: with 8 bits for each, two bits for a dimension.
const PART_DIMS: usize = 4;
/// Rows of the sample for each center of a part, without which product codes would know nothing of rows to come.
const LEAST_CENTER_ROWS: usize = 2;
/// Vectors up to this many bytes are kept as they are: the factors of a code are not much shorter.
const SHORT_BYTES: usize = 128;
/// Seed of rotations: any will do, and with the same one an index can be built again as it was.
const SEED: u64 = 0x6C65_616E;

/// What was asked for, and what follows from it.
#[derive(Clone, Copy)]
pub struct Plan {
    /// The type of the column.
    pub kind: TypeKind,
    /// What the opclass's distances mean.
    pub metric: Metric,
    /// Dimensions of the column.
    pub dims: usize,
    /// What rows hold.
    pub repr: Repr,
    /// Bits for each dimension of RaBitQ codes, for each part of product codes, else 0.
    pub bits: u8,
    /// Parts of product codes, else 0.
    pub parts: usize,
    /// Whether the access method is `ivfflat`.
    pub is_flat: bool,
    options: Options,
}

impl Plan {
    /// Decides, or raises why the column cannot be indexed.
    ///
    /// # Safety
    /// `index` is an open index of `ivf` or `ivfflat`.
    pub unsafe fn new(index: pg_sys::Relation) -> Plan {
        // SAFETY: as the caller promises.
        let (is_flat, options, (kind, metric), (type_oid, typmod)) = unsafe {
            let (is_flat, options) = (options::is_flat(index), options::of(index));
            (is_flat, options, opclass::of(index), heap::first_column(index))
        };
        let name = access_method(is_flat);
        if type_oid == pg_sys::VARBITOID {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("type not supported for {name} index")
            );
        }
        if typmod < 0 {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "column does not have dimensions"
            );
        }
        let dims = typmod as usize;
        let repr = choose_repr(kind, dims, options, name);
        let bits = match (repr, options.bits) {
            (Repr::Rabitq, 0) => BITS,
            (Repr::Pq, 0) => PART_BITS,
            (Repr::Rabitq | Repr::Pq, bits) => bits,
            _ => 0,
        };
        let parts = match (repr, options.parts) {
            (Repr::Pq, 0) => dims.div_ceil(PART_DIMS),
            (_, parts) => parts as usize,
        };
        check_codes(options, dims);
        Plan { kind, metric, dims, repr, bits, parts, is_flat, options }
    }

    /// What the index is as long as nothing is known of its rows, or if there are too few to learn from.
    pub fn untrained(self) -> Plan {
        match self.repr {
            Repr::Pq => Plan { repr: Repr::Sq8, bits: 0, parts: 0, ..self },
            _ => self,
        }
    }

    /// Rows of the sample that what the index holds is learned from, at least.
    pub fn least_rows(&self) -> usize {
        if self.repr == Repr::Pq { LEAST_CENTER_ROWS << self.bits } else { 0 }
    }

    /// The name of the access method.
    pub fn access_method(&self) -> &'static str {
        access_method(self.is_flat)
    }

    /// How many lists were asked for, if the user said so.
    pub fn lists_option(&self) -> Option<usize> {
        (self.options.lists > 0).then_some(self.options.lists as usize)
    }

    /// How many lists suit so many rows.
    pub fn lists_for(rows: u64) -> usize {
        let lists = (LISTS_FACTOR * (rows as f64).sqrt()) as u64;
        lists.min(rows / LEAST_LIST_ROWS).clamp(1, options::MAX_LISTS as u64) as usize
    }

    /// Rows that a list should have in an index that was built with so many.
    pub fn target_rows(rows: u64, lists: usize) -> u32 {
        let target = (rows / lists.max(1) as u64).max(LEAST_TARGET_ROWS);
        u32::try_from(target).unwrap_or(u32::MAX)
    }

    /// The metapage, as far as it is settled before any row is read.
    pub fn meta(&self) -> Meta {
        Meta {
            magic: MAGIC,
            build_id: rand::random(),
            dims: self.dims as u32,
            model_block: NONE,
            model_bytes: 0,
            rows: 0,
            seed: SEED,
            repr: self.repr as u8,
            bits: self.bits,
            metric: self.metric as u8,
            type_kind: opclass::kind_number(self.kind),
            attribute_bytes: 0,
            stop: 0,
            unused: [0; 2],
            groups: 0,
            group_head: NONE,
            lists: 0,
            target_rows: LEAST_TARGET_ROWS as u32,
            free_head: NONE,
            free_pages: 0,
            calibration: [0.0; 8],
            entry_pages: 0,
            calibrated_lists: 0,
        }
    }
}

fn access_method(is_flat: bool) -> &'static str {
    if is_flat { "ivfflat" } else { "ivf" }
}

fn choose_repr(kind: TypeKind, dims: usize, options: Options, access_method: &str) -> Repr {
    let (plain, plain_bytes) = match kind {
        TypeKind::Vector => (Repr::F32, dims * 4),
        TypeKind::Halfvec => (Repr::F16, dims * 2),
        TypeKind::Bit => (Repr::Bits, dims.div_ceil(8)),
        TypeKind::Sparsevec => {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("type not supported for {access_method} index")
            );
        }
    };
    match options.quantization {
        Quantization::None => plain,
        quantization @ (Quantization::Sq8 | Quantization::Pq) if plain == Repr::Bits => {
            let name = quantization.name();
            crate::error::fail(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("quantization \"{name}\" is not supported for this column type"),
                "Use quantization = none.",
            );
        }
        Quantization::Sq8 => Repr::Sq8,
        Quantization::Pq => Repr::Pq,
        Quantization::Rabitq if plain == Repr::Bits || plain_bytes <= SHORT_BYTES => plain,
        Quantization::Rabitq => Repr::Rabitq,
    }
}

/// Raises an error if the options about codes do not go together.
fn check_codes(options: Options, dims: usize) {
    let Options { quantization, bits, parts, .. } = options;
    let name = quantization.name();
    let refuse = |message: String, hint: &str| {
        crate::error::fail(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message, hint)
    };
    match quantization {
        Quantization::Pq if !matches!(bits, 0 | 4 | 8) => {
            refuse(
                format!("bits = {bits} is not possible with quantization = {name}"),
                "Use bits = 4 or bits = 8, and m to choose the number of parts.",
            );
        }
        Quantization::Pq if parts as usize > dims => {
            refuse(
                format!("m = {parts} is more than the {dims} dimensions of the column"),
                "m is the number of parts that a vector is cut into.",
            );
        }
        Quantization::Pq => {}
        _ if parts > 0 => {
            refuse(
                format!("m = {parts} is not possible with quantization = {name}"),
                "m is the number of parts of a vector with quantization = pq.",
            );
        }
        Quantization::Sq8 | Quantization::None if bits > 0 => {
            refuse(
                format!("bits = {bits} is not possible with quantization = {name}"),
                "bits goes with quantization = rabitq and quantization = pq.",
            );
        }
        _ => {}
    }
}
