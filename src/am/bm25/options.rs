//! `WITH (text_config, k1, b, weights)` of `bm25`. They hold from the next build on: what a build was told is on the metapage.

use std::ffi::CStr;
use std::mem::offset_of;
use std::sync::OnceLock;

use leanstack_core::bm25::Params;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::meta::MAX_WEIGHTS;
use crate::am::options;

const DEFAULT_K1: f64 = 1.2;
const DEFAULT_B: f64 = 0.75;
/// The largest weight.
const MAX_WEIGHT: u8 = 100;

#[repr(C)]
struct RelOptions {
    vl_len_: i32,
    text_config: i32,
    k1: f64,
    b: f64,
    weights: i32,
}

static KIND: OnceLock<pg_sys::relopt_kind::Type> = OnceLock::new();

/// Makes the options known. Called once, when the library is loaded.
pub fn register() {
    // SAFETY: called from _PG_init; the texts live for ever.
    unsafe {
        let kind = pg_sys::add_reloption_kind();
        let text = c"Text search configuration of documents and queries";
        options::add_text(kind, c"text_config", text, None);
        let text = c"How soon more of a word stops to count for more";
        options::add_real(kind, c"k1", text, DEFAULT_K1, 0.0..=100.0);
        let text = c"How much longer documents count for less";
        options::add_real(kind, c"b", text, DEFAULT_B, 0.0..=1.0);
        let text = c"How many words a word stands for, by its place in an array or by its label";
        options::add_text(kind, c"weights", text, Some(validate_weights));
        let _ = KIND.set(kind);
    }
}

/// Parses the options.
#[pg_guard]
pub unsafe extern "C-unwind" fn amoptions(
    reloptions: pg_sys::Datum,
    validate: bool,
) -> *mut pg_sys::bytea {
    let entries = [
        options::text(c"text_config", offset_of!(RelOptions, text_config)),
        options::real(c"k1", offset_of!(RelOptions, k1)),
        options::real(c"b", offset_of!(RelOptions, b)),
        options::text(c"weights", offset_of!(RelOptions, weights)),
    ];
    // SAFETY: the kind was registered when the library was loaded; the entries are of fields of the struct.
    unsafe {
        let kind = KIND.get().copied().unwrap_or_default();
        options::parse::<RelOptions>(reloptions, validate, kind, &entries)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn validate_weights(text: *const std::ffi::c_char) {
    if !text.is_null() {
        // SAFETY: the server passes a text that ends.
        parse_weights(unsafe { CStr::from_ptr(text) });
    }
}

/// The weights that a text such as `{2,1}` names; raises an error for another.
fn parse_weights(text: &CStr) -> [u8; MAX_WEIGHTS] {
    let text = text.to_string_lossy();
    let trimmed = text.trim();
    let inner =
        trimmed.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(trimmed);
    let mut weights = [0; MAX_WEIGHTS];
    let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
    let parsed: Option<Vec<u8>> = parts
        .iter()
        .map(|part| part.parse().ok().filter(|weight| (1..=MAX_WEIGHT).contains(weight)))
        .collect();
    match parsed {
        Some(parsed) if parsed.len() <= MAX_WEIGHTS => {
            weights[..parsed.len()].copy_from_slice(&parsed)
        }
        _ => crate::error::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("weights of a bm25 index cannot be \"{text}\""),
            "Give up to 16 whole numbers from 1 to 100, such as weights = '{2,1}'.",
        ),
    }
    weights
}

/// What a build is told.
pub struct Options {
    /// The text search configuration.
    pub config: pg_sys::Oid,
    /// The constants of the score.
    pub params: Params,
    /// How many words a word stands for; all 0 where nothing was said.
    pub weights: [u8; MAX_WEIGHTS],
}

/// The options of an open index.
///
/// # Safety
/// `relation` is an open index of `bm25`.
pub unsafe fn of(relation: pg_sys::Relation) -> Options {
    // SAFETY: rd_options is what `amoptions` made; the function called looks in the catalogs.
    unsafe {
        let parsed = options::parsed::<RelOptions>(relation);
        let text = |place: fn(&RelOptions) -> i32| {
            parsed.and_then(|parsed| options::text_at(parsed, place(parsed)))
        };
        let config = match text(|parsed| parsed.text_config) {
            None => pg_sys::getTSCurrentConfig(true),
            Some(name) => {
                let name = pg_sys::Datum::from(name.as_ptr());
                pgrx::direct_function_call::<pg_sys::Oid>(pg_sys::regconfigin, &[Some(name)])
                    .unwrap_or(pg_sys::InvalidOid)
            }
        };
        Options {
            config,
            params: parsed.map_or(Params { k1: DEFAULT_K1, b: DEFAULT_B }, |parsed| Params {
                k1: parsed.k1,
                b: parsed.b,
            }),
            weights: text(|parsed| parsed.weights).map_or([0; MAX_WEIGHTS], parse_weights),
        }
    }
}
