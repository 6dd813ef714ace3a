//! `EXPLAIN (ANALYZE, vector_scan)`: what scans counted, beside the plan's nodes. PostgreSQL 18 is the first that lets an
//! extension add an option.

use std::ffi::CStr;
use std::sync::OnceLock;

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;

use super::stats::Breadth;
use super::{bm25, hnsw, ivf, scan};

const OPTION: &CStr = c"vector_scan";

/// What was there before us.
struct Before {
    /// The number by which EXPLAIN keeps our option.
    id: i32,
    per_node: pg_sys::explain_per_node_hook_type,
    validate: pg_sys::explain_validate_options_hook_type,
}

static BEFORE: OnceLock<Before> = OnceLock::new();

/// Makes the option known. Called once, when the library is loaded.
pub fn register() {
    // SAFETY: called from _PG_init, by the one thread there is; the names live for ever.
    unsafe {
        let id = pg_sys::GetExplainExtensionId(c"leanstack".as_ptr());
        let (per_node, validate) =
            (pg_sys::explain_per_node_hook, pg_sys::explain_validate_options_hook);
        if BEFORE.set(Before { id, per_node, validate }).is_err() {
            return;
        }
        pg_sys::RegisterExtensionExplainOption(OPTION.as_ptr(), Some(set_option));
        pg_sys::explain_per_node_hook = Some(explain_node);
        pg_sys::explain_validate_options_hook = Some(validate_options);
    }
}

/// Whether our option is on.
unsafe fn is_on(es: *mut pg_sys::ExplainState, id: i32) -> bool {
    // SAFETY: the caller has `es` from the server. Any address but null means yes.
    unsafe { !pg_sys::GetExplainExtensionState(es, id).is_null() }
}

#[pg_guard]
unsafe extern "C-unwind" fn set_option(
    es: *mut pg_sys::ExplainState,
    option: *mut pg_sys::DefElem,
    _pstate: *mut pg_sys::ParseState,
) {
    let Some(before) = BEFORE.get() else { return };
    // SAFETY: the server passes the state and our option.
    unsafe {
        let on = pg_sys::defGetBoolean(option);
        let mark = if on { es.cast() } else { std::ptr::null_mut() };
        pg_sys::SetExplainExtensionState(es, before.id, mark);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn validate_options(
    es: *mut pg_sys::ExplainState,
    options: *mut pg_sys::List,
    pstate: *mut pg_sys::ParseState,
) {
    let Some(before) = BEFORE.get() else { return };
    // SAFETY: the server passes the state after it has read all options; who was there before us gets the same.
    unsafe {
        if let Some(validate) = before.validate {
            pg_guard_ffi_boundary(|| validate(es, options, pstate));
        }
        if is_on(es, before.id) && !(*es).analyze {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "EXPLAIN option VECTOR_SCAN requires ANALYZE"
            );
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn explain_node(
    node: *mut pg_sys::PlanState,
    ancestors: *mut pg_sys::List,
    relationship: *const std::ffi::c_char,
    plan_name: *const std::ffi::c_char,
    es: *mut pg_sys::ExplainState,
) {
    let Some(before) = BEFORE.get() else { return };
    // SAFETY: the server passes a node of a plan that was run; who was there before us gets the same.
    unsafe {
        if let Some(per_node) = before.per_node {
            pg_guard_ffi_boundary(|| per_node(node, ancestors, relationship, plan_name, es));
        }
        if is_on(es, before.id) && (*node).type_ == pg_sys::NodeTag::T_IndexScanState {
            explain_scan(node.cast(), es);
        }
    }
}

/// Adds what a scan counted, unless it is not of one of our indexes or was never started.
///
/// # Safety
/// `node` is the state of an index scan whose executor has not ended.
unsafe fn explain_scan(node: *mut pg_sys::IndexScanState, es: *mut pg_sys::ExplainState) {
    // SAFETY: as the caller promises: the index is open, and the scan is that of its access method.
    unsafe {
        let (relation, desc) = ((*node).iss_RelationDesc, (*node).iss_ScanDesc);
        if relation.is_null() || desc.is_null() {
            return;
        }
        if !hnsw::is_hnsw(relation) && !ivf::is_ivf(relation) && !bm25::is_bm25(relation) {
            return;
        }
        let stats = scan::stats(desc);
        let Some(about) = stats.about() else { return };
        let number = |label: &CStr, value: i64| {
            pg_sys::ExplainPropertyInteger(label.as_ptr(), std::ptr::null(), value, es);
        };
        match about.breadth {
            Breadth::Probes(probes) => {
                number(c"Probes", probes as i64);
                number(c"Index Pages", stats.pages.get());
                number(c"Lists", stats.lists.get());
                number(c"Codes", stats.codes.get());
                number(c"Whole Codes", stats.whole_codes.get());
            }
            Breadth::Ef(ef) => {
                number(c"Ef Search", ef as i64);
                number(c"Index Pages", stats.pages.get());
                number(c"Nodes", stats.nodes.get());
                number(c"Codes", stats.codes.get());
            }
            Breadth::Best(_) => {
                number(c"Index Pages", stats.pages.get());
                number(c"Words", stats.lists.get());
                number(c"Documents Scored", stats.codes.get());
            }
        }
        number(c"Index Rows", stats.rows.get());
        number(c"Exact Distances", stats.exact_distances.get());
        pg_sys::ExplainPropertyBool(c"Grew".as_ptr(), stats.grew.get(), es);
    }
}
