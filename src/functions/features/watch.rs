//! Tells sessions when a definition of the feature store has changed, the way the server tells them of changed tables.
//!
//! A trigger on the registry's tables sends the message with the commit, to standbys too. The callback that receives it
//! only counts, since it may run in the middle of anything.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;

use super::c_text;
use crate::error::fail;
use crate::types::call::export_calls;

/// The tables of the registry, in the schema `lean`.
const REGISTRY: [&str; 4] = ["feature_group", "feature", "feature_view", "feature_view_feature"];

thread_local! {
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    static LISTENING: Cell<bool> = const { Cell::new(false) };
    static WATCHED: RefCell<HashSet<pg_sys::Oid>> = RefCell::default();
}

/// A number that is another one after any definition, or a watched table, has changed.
pub fn changes() -> u64 {
    if !LISTENING.replace(true) {
        // SAFETY: once for the life of the process, and the function is part of the library, which stays.
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(heard), pg_sys::Datum::from(0usize)) };
    }
    // SAFETY: as at the start of a statement, when the server does it too.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    CHANGES.get()
}

/// Watches the registry and these tables from now on.
pub fn watch(tables: impl Iterator<Item = pg_sys::Oid>) {
    // SAFETY: plain look-ups in the server's caches.
    let registry = REGISTRY.map(|name| unsafe {
        pg_sys::get_relname_relid(
            c_text(name).as_ptr(),
            pg_sys::get_namespace_oid(c"lean".as_ptr(), false),
        )
    });
    WATCHED.with_borrow_mut(|watched| watched.extend(tables.chain(registry)));
}

/// Called by the server for a relation whose description may have changed; without one, for any.
unsafe extern "C-unwind" fn heard(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    let concerns = relation == pg_sys::InvalidOid
        || WATCHED.with(|watched| {
            watched.try_borrow().map_or(true, |watched| watched.contains(&relation))
        });
    if concerns {
        CHANGES.set(CHANGES.get().wrapping_add(1));
    }
}

/// The trigger on the tables of the registry.
///
/// # Safety
/// PostgreSQL calls, as a trigger or otherwise.
unsafe fn definitions_changed(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: a call's context is a node of the server's, if there is one, and that of a call by a trigger is its record.
    unsafe {
        let context = (*call).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            fail(
                PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                "lean.definitions_changed is a trigger",
                "It is not to be called.",
            );
        }
        let trigger = context.cast::<pg_sys::TriggerData>();
        pg_sys::CacheInvalidateRelcacheByRelid((*(*trigger).tg_relation).rd_id);
    }
    pg_sys::Datum::from(0usize)
}

export_calls! {
    "definitions" "_changed" = |call| definitions_changed(call);
}
