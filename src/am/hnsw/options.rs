//! `WITH (m, ef_construction, quantization)`.

use pgrx::pg_sys;
use pgrx::prelude::*;
use std::sync::OnceLock;

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
    // SAFETY: called from _PG_init; names, texts and the members array live for ever.
    unsafe {
        let kind = pg_sys::add_reloption_kind();
        let lock = pg_sys::AccessExclusiveLock as i32;
        pg_sys::add_int_reloption(
            kind,
            c"m".as_ptr(),
            c"Links of a node at each level; twice as many on the lowest".as_ptr(),
            DEFAULT_M,
            2,
            100,
            lock,
        );
        pg_sys::add_int_reloption(
            kind,
            c"ef_construction".as_ptr(),
            c"Candidates that an insertion considers for links".as_ptr(),
            DEFAULT_EF_CONSTRUCTION,
            4,
            1000,
            lock,
        );
        let member = |name: &'static std::ffi::CStr, value: Quantization| {
            pg_sys::relopt_enum_elt_def { string_val: name.as_ptr(), symbol_val: value as i32 }
        };
        let members: &'static mut [pg_sys::relopt_enum_elt_def] = Box::leak(Box::new([
            member(c"auto", Quantization::Auto),
            member(c"none", Quantization::None),
            member(c"sq8", Quantization::Sq8),
            member(c"half", Quantization::Half),
            pg_sys::relopt_enum_elt_def { string_val: std::ptr::null(), symbol_val: 0 },
        ]));
        pg_sys::add_enum_reloption(
            kind,
            c"quantization".as_ptr(),
            c"How vectors are stored in the index".as_ptr(),
            members.as_mut_ptr(),
            Quantization::Auto as i32,
            c"Valid values are \"auto\", \"none\", \"sq8\" and \"half\".".as_ptr(),
            lock,
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
    // The struct has one more field on 18.
    #[allow(clippy::needless_update)]
    let entry = |name: &'static std::ffi::CStr, kind, offset: usize| pg_sys::relopt_parse_elt {
        optname: name.as_ptr(),
        opttype: kind,
        offset: offset as i32,
        ..Default::default()
    };
    let entries = [
        entry(c"m", pg_sys::relopt_type::RELOPT_TYPE_INT, std::mem::offset_of!(RelOptions, m)),
        entry(
            c"ef_construction",
            pg_sys::relopt_type::RELOPT_TYPE_INT,
            std::mem::offset_of!(RelOptions, ef_construction),
        ),
        entry(
            c"quantization",
            pg_sys::relopt_type::RELOPT_TYPE_ENUM,
            std::mem::offset_of!(RelOptions, quantization),
        ),
    ];
    // SAFETY: the kind was registered when the library was loaded; the entries outlive the call.
    unsafe {
        pg_sys::build_reloptions(
            reloptions,
            validate,
            KIND.get().copied().unwrap_or_default(),
            size_of::<RelOptions>(),
            entries.as_ptr(),
            entries.len() as i32,
        )
        .cast()
    }
}

/// The options of an open index.
///
/// # Safety
/// `relation` is open.
pub unsafe fn of(relation: pg_sys::Relation) -> Options {
    // SAFETY: rd_options of an hnsw index is what `amoptions` made.
    let options = unsafe { (*relation).rd_options.cast::<RelOptions>().as_ref() };
    let (m, ef_construction, quantization) = match options {
        Some(options) => (options.m, options.ef_construction, options.quantization),
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
