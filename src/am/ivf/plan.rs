//! What an index is to be, before its first row is read.

use leanstack_core::ivf::coder::Repr;
use leanstack_core::metric::Metric;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::options::{self, Options, Quantization};
use super::page::{MAGIC, Meta, NONE};
use crate::am::{heap, opclass};
use crate::types::value::TypeKind;

/// Rows that a list should have, unless `lists` was given.
const ROWS_PER_LIST: u64 = 200;
/// Seed of rotations: any will do, and with the same one an index can be built again as it was.
const SEED: u64 = 0x6C65_616E;

/// What was asked for, and what follows from it.
pub struct Plan {
    /// The type of the column.
    pub kind: TypeKind,
    /// What the opclass's distances mean.
    pub metric: Metric,
    /// Dimensions of the column.
    pub dims: usize,
    /// What rows hold.
    pub repr: Repr,
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
        let repr = choose_repr(kind, options, name);
        Plan { kind, metric, dims, repr, is_flat, options }
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
        (rows / ROWS_PER_LIST).clamp(1, options::MAX_LISTS as u64) as usize
    }

    /// The metapage, as far as it is settled.
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
            bits: self.options.bits,
            metric: self.metric as u8,
            type_kind: opclass::kind_number(self.kind),
            attribute_bytes: 0,
            unused: [0; 3],
            groups: 0,
            group_head: NONE,
            lists: 0,
            target_rows: ROWS_PER_LIST as u32,
            free_head: NONE,
            free_pages: 0,
            calibration: [0.0; 8],
            entry_pages: 0,
            unused_too: 0,
        }
    }
}

fn access_method(is_flat: bool) -> &'static str {
    if is_flat { "ivfflat" } else { "ivf" }
}

fn choose_repr(kind: TypeKind, options: Options, access_method: &str) -> Repr {
    let plain = match kind {
        TypeKind::Vector => Repr::F32,
        TypeKind::Halfvec => Repr::F16,
        TypeKind::Bit => Repr::Bits,
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
        Quantization::Sq8 if plain == Repr::Bits => {
            crate::error::fail(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "quantization \"sq8\" is not supported for this column type",
                "Use quantization = none.",
            );
        }
        Quantization::Rabitq if plain == Repr::Bits => plain,
        Quantization::Sq8 | Quantization::Rabitq => Repr::Sq8,
    }
}
