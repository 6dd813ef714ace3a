//! `WITH (lists)` of `ivfflat`, `WITH (lists, quantization, bits, m, rerank)` of `ivf`.

use std::mem::offset_of;
use std::sync::OnceLock;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::am::options;

/// Most lists that can be asked for.
pub const MAX_LISTS: i32 = 32_768;
/// Most parts that can be asked for: as many as a vector has dimensions.
const MAX_PARTS: i32 = 16_000;
/// Lists of an `ivfflat` index, unless told otherwise.
const DEFAULT_FLAT_LISTS: i32 = 100;

/// The option `quantization` of `ivf`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Quantization {
    /// RaBitQ codes; bit strings as they are.
    Rabitq = 0,
    /// Eight bits for each dimension, relative to the mean of the table.
    Sq8 = 1,
    /// Values as they are in the column.
    None = 2,
    /// A number for each part of the vector, of the nearest of centers that the build finds.
    Pq = 3,
}

impl Quantization {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Quantization::Rabitq => "rabitq",
            Quantization::Sq8 => "sq8",
            Quantization::None => "none",
            Quantization::Pq => "pq",
        }
    }
}

/// The option `rerank` of `ivf`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Rerank {
    /// From the heap, unless the codes are exact.
    Auto = 0,
    /// The order is that of the codes.
    Off = 1,
    /// From the heap.
    Heap = 2,
}

#[repr(C)]
struct RelOptions {
    vl_len_: i32,
    lists: i32,
    quantization: i32,
    bits: i32,
    parts: i32,
    rerank: i32,
}

/// The options of an index.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many lists; 0: as suits the number of rows.
    pub lists: u32,
    /// What rows hold.
    pub quantization: Quantization,
    /// Bits for each dimension of RaBitQ codes, for each part of product codes; 0: the default.
    pub bits: u8,
    /// Parts of product codes; 0: the default.
    pub parts: u32,
    /// Where the order of the result comes from.
    pub rerank: Rerank,
}

static FLAT_KIND: OnceLock<pg_sys::relopt_kind::Type> = OnceLock::new();
static KIND: OnceLock<pg_sys::relopt_kind::Type> = OnceLock::new();

/// Makes the options known. Called once, when the library is loaded.
pub fn register() {
    // SAFETY: called from _PG_init; the texts live for ever.
    unsafe {
        let flat = pg_sys::add_reloption_kind();
        let lists = c"Number of lists";
        options::add_int(flat, c"lists", lists, DEFAULT_FLAT_LISTS, 1..=MAX_LISTS);
        let _ = FLAT_KIND.set(flat);
        let kind = pg_sys::add_reloption_kind();
        options::add_int(kind, c"lists", c"Number of lists; 0 chooses", 0, 0..=MAX_LISTS);
        options::add_enum(
            kind,
            c"quantization",
            c"How vectors are stored in the index",
            &[
                (c"rabitq", Quantization::Rabitq as i32),
                (c"sq8", Quantization::Sq8 as i32),
                (c"pq", Quantization::Pq as i32),
                (c"none", Quantization::None as i32),
            ],
            Quantization::Rabitq as i32,
            c"Valid values are \"rabitq\", \"sq8\", \"pq\" and \"none\".",
        );
        let bits = c"Bits for each dimension of rabitq codes, for each part of pq codes; 0 chooses";
        options::add_int(kind, c"bits", bits, 0, 0..=8);
        let parts = c"Parts that pq codes cut a vector into; 0 chooses";
        options::add_int(kind, c"m", parts, 0, 0..=MAX_PARTS);
        options::add_enum(
            kind,
            c"rerank",
            c"Where the order of the result comes from",
            &[
                (c"auto", Rerank::Auto as i32),
                (c"off", Rerank::Off as i32),
                (c"heap", Rerank::Heap as i32),
            ],
            Rerank::Auto as i32,
            c"Valid values are \"auto\", \"off\" and \"heap\".",
        );
        let _ = KIND.set(kind);
    }
}

/// Parses the options of `ivfflat`.
#[pg_guard]
pub unsafe extern "C-unwind" fn flat_amoptions(
    reloptions: pg_sys::Datum,
    validate: bool,
) -> *mut pg_sys::bytea {
    let entries = [options::int(c"lists", offset_of!(RelOptions, lists))];
    // SAFETY: the kind was registered when the library was loaded; the entries are of fields of the struct.
    unsafe {
        let kind = FLAT_KIND.get().copied().unwrap_or_default();
        options::parse::<RelOptions>(reloptions, validate, kind, &entries)
    }
}

/// Parses the options of `ivf`.
#[pg_guard]
pub unsafe extern "C-unwind" fn amoptions(
    reloptions: pg_sys::Datum,
    validate: bool,
) -> *mut pg_sys::bytea {
    let entries = [
        options::int(c"lists", offset_of!(RelOptions, lists)),
        options::choice(c"quantization", offset_of!(RelOptions, quantization)),
        options::int(c"bits", offset_of!(RelOptions, bits)),
        options::int(c"m", offset_of!(RelOptions, parts)),
        options::choice(c"rerank", offset_of!(RelOptions, rerank)),
    ];
    // SAFETY: as above.
    unsafe {
        let kind = KIND.get().copied().unwrap_or_default();
        options::parse::<RelOptions>(reloptions, validate, kind, &entries)
    }
}

/// Whether an open index is one of `ivfflat`.
///
/// # Safety
/// `relation` is an open index of `ivf` or `ivfflat`.
pub unsafe fn is_flat(relation: pg_sys::Relation) -> bool {
    let flat: unsafe extern "C-unwind" fn(_, _) -> _ = flat_amoptions;
    // SAFETY: as the caller promises.
    let routine = unsafe { (*relation).rd_indam.as_ref() };
    routine.and_then(|r| r.amoptions).is_some_and(|its| std::ptr::fn_addr_eq(its, flat))
}

/// The options of an open index.
///
/// # Safety
/// As for [`is_flat`].
pub unsafe fn of(relation: pg_sys::Relation) -> Options {
    // SAFETY: rd_options is what one of the functions above made.
    let (flat, parsed) = unsafe { (is_flat(relation), options::parsed::<RelOptions>(relation)) };
    if flat {
        let lists = parsed.map_or(DEFAULT_FLAT_LISTS, |p| p.lists) as u32;
        let (quantization, rerank) = (Quantization::None, Rerank::Auto);
        return Options { lists, quantization, bits: 0, parts: 0, rerank };
    }
    let Some(parsed) = parsed else {
        let (quantization, rerank) = (Quantization::Rabitq, Rerank::Auto);
        return Options { lists: 0, quantization, bits: 0, parts: 0, rerank };
    };
    Options {
        lists: parsed.lists as u32,
        quantization: match parsed.quantization {
            1 => Quantization::Sq8,
            2 => Quantization::None,
            3 => Quantization::Pq,
            _ => Quantization::Rabitq,
        },
        bits: parsed.bits as u8,
        parts: parsed.parts as u32,
        rerank: match parsed.rerank {
            1 => Rerank::Off,
            2 => Rerank::Heap,
            _ => Rerank::Auto,
        },
    }
}
