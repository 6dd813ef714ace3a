//! `WITH (m, ef_construction, quantization)`.

use std::mem::offset_of;
use std::sync::OnceLock;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::am::options;

/// Default of `m`.
const DEFAULT_M: i32 = 16;
/// Default of `ef_construction`.
const DEFAULT_EF_CONSTRUCTION: i32 = 64;

/// The option `quantization`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Quantization {
    /// Whatever suits the column: `sq8` for all but the shortest vectors.
    Auto = 0,
    /// Values as they are in the column.
    None = 1,
    /// Eight bits for each dimension.
    Sq8 = 2,
    /// Sixteen bits for each dimension.
    Half = 3,
}

/// The parsed options, as PostgreSQL keeps them.
#[repr(C)]
struct RelOptions {
    vl_len_: i32,
    m: i32,
    ef_construction: i32,
    quantization: i32,
}

/// The options of an index.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Links at each level above the ground.
    pub m: usize,
    /// Candidates of an insertion.
    pub ef_construction: usize,
    /// What nodes hold in place of vectors.
    pub quantization: Quantization,
}

static KIND: OnceLock<pg_sys::relopt_kind::Type> = OnceLock::new();

/// Makes the options known. Called once, when the library is loaded.
pub fn register() {
    // SAFETY: called from _PG_init; the texts live for ever.
    unsafe {
        let kind = pg_sys::add_reloption_kind();
        options::add_int(
            kind,
            c"m",
            c"Links of a node at each level; twice as many on the lowest",
            DEFAULT_M,
            2..=100,
        );
        options::add_int(
            kind,
            c"ef_construction",
            c"Candidates that an insertion considers for links",
            DEFAULT_EF_CONSTRUCTION,
            4..=1000,
        );
        options::add_enum(
            kind,
            c"quantization",
            c"How vectors are stored in the index",
            &[
                (c"auto", Quantization::Auto as i32),
                (c"none", Quantization::None as i32),
                (c"sq8", Quantization::Sq8 as i32),
                (c"half", Quantization::Half as i32),
            ],
            Quantization::Auto as i32,
            c"Valid values are \"auto\", \"none\", \"sq8\" and \"half\".",
        );
        let _ = KIND.set(kind);
    }
}

/// Parses options.
#[pg_guard]
pub unsafe extern "C-unwind" fn amoptions(
    reloptions: pg_sys::Datum,
    validate: bool,
) -> *mut pg_sys::bytea {
    let entries = [
        options::int(c"m", offset_of!(RelOptions, m)),
        options::int(c"ef_construction", offset_of!(RelOptions, ef_construction)),
        options::choice(c"quantization", offset_of!(RelOptions, quantization)),
    ];
    // SAFETY: the kind was registered when the library was loaded; the entries are of fields of the struct.
    unsafe {
        let kind = KIND.get().copied().unwrap_or_default();
        options::parse::<RelOptions>(reloptions, validate, kind, &entries)
    }
}

/// The options of an open index.
///
/// # Safety
/// `relation` is open.
pub unsafe fn of(relation: pg_sys::Relation) -> Options {
    // SAFETY: rd_options of an hnsw index is what `amoptions` made.
    let parsed = unsafe { options::parsed::<RelOptions>(relation) };
    let (m, ef_construction, quantization) = match parsed {
        Some(parsed) => (parsed.m, parsed.ef_construction, parsed.quantization),
        None => (DEFAULT_M, DEFAULT_EF_CONSTRUCTION, Quantization::Auto as i32),
    };
    Options {
        m: m as usize,
        ef_construction: ef_construction as usize,
        quantization: match quantization {
            1 => Quantization::None,
            2 => Quantization::Sq8,
            3 => Quantization::Half,
            _ => Quantization::Auto,
        },
    }
}
