//! Online reads: the statement that `lean.online_features_sql` writes for a view, planned once in a session.
//!
//! What is kept is the statement's plan alone. The server plans it anew when a table of it changes, and we write it anew
//! when a definition does (`watch.rs`). Rows go from the statement to the caller as they are.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::PgList;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::pgrx_extern_c_guard;
use pgrx::prelude::*;

use super::watch;
use crate::error::fail;
use crate::types::call::datum;
use crate::types::text::Bytes;

/// Plans that a session keeps at a time.
const MOST: usize = 256;

/// What a statement is written from: the arguments as they came, and the type of the rows.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Asked {
    source: Option<Vec<u8>>,
    features: Option<Vec<u8>>,
    row_type: pg_sys::Oid,
}

/// A plan of the server's that outlives the transaction.
struct Plan {
    plan: pg_sys::SPIPlanPtr,
    /// [`watch::changes`] when it was made.
    changes: u64,
}

impl Drop for Plan {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: the plan was kept, and this is the only place that frees it.
        unsafe { pg_sys::SPI_freeplan(self.plan) };
    }
}

thread_local! {
    static PLANS: RefCell<HashMap<Asked, Rc<Plan>>> = RefCell::default();
}

/// Whether an argument is NULL.
///
/// # Safety
/// `call` is valid and has more than `n` arguments.
unsafe fn is_null(call: pg_sys::FunctionCallInfo, n: usize) -> bool {
    // SAFETY: the arguments lie one after the other, and the caller counts them.
    unsafe { (*(*call).args.as_ptr().add(n)).isnull }
}

/// The datum of an argument that may be NULL.
///
/// # Safety
/// As [`is_null`].
unsafe fn argument(call: pg_sys::FunctionCallInfo, n: usize) -> Option<pg_sys::Datum> {
    // SAFETY: passed on to the caller.
    unsafe { (!is_null(call, n)).then(|| datum(call, n)) }
}

/// The bytes of an argument of varying length that may be NULL.
///
/// # Safety
/// As [`is_null`], and the argument's type has varying length.
unsafe fn bytes(call: pg_sys::FunctionCallInfo, n: usize) -> Option<Vec<u8>> {
    // SAFETY: passed on to the caller.
    unsafe { argument(call, n).map(|value| Bytes::of(value).to_vec()) }
}

/// Writes and plans the statement. SPI is connected.
///
/// # Safety
/// As [`read`].
unsafe fn make(call: pg_sys::FunctionCallInfo, first: usize, asked: &Asked) -> Plan {
    let changes = watch::changes();
    // SAFETY: the types are those of the arguments, and a NULL is told by its flag.
    unsafe {
        let mut types = [pg_sys::TEXTOID, pg_sys::TEXTARRAYOID, pg_sys::OIDOID];
        let row_type = (asked.row_type != pg_sys::InvalidOid).then(|| asked.row_type.into());
        let given = [argument(call, first), argument(call, first + 2), row_type];
        let mut values = given.map(|value| value.unwrap_or(pg_sys::Datum::from(0usize)));
        let nulls =
            given.map(|value| if value.is_some() { b' ' } else { b'n' } as std::ffi::c_char);
        let status = pg_sys::SPI_execute_with_args(
            c"SELECT lean.online_features_sql($1, $2, $3)".as_ptr(),
            3,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            nulls.as_ptr(),
            true,
            1,
        );
        if status != pg_sys::SPI_OK_SELECT as i32 || pg_sys::SPI_processed != 1 {
            error!("cannot write the statement of an online read: {status}");
        }
        let table = &*pg_sys::SPI_tuptable;
        let text = pg_sys::SPI_getvalue(*table.vals, table.tupdesc, 1);
        let options = (pg_sys::CURSOR_OPT_GENERIC_PLAN) as i32;
        let plan = pg_sys::SPI_prepare_cursor(text, 1, [pg_sys::JSONBOID].as_mut_ptr(), options);
        if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
            error!("cannot plan an online read");
        }
        let sources = pg_sys::SPI_plan_get_plan_sources(plan);
        let source = (*(*sources).elements).ptr_value.cast::<pg_sys::CachedPlanSource>();
        let tables = PgList::<pg_sys::Oid>::from_pg((*source).relationOids);
        watch::watch(tables.iter_oid());
        Plan { plan, changes }
    }
}

/// The plan for what is asked, from before or new. SPI is connected.
///
/// # Safety
/// As [`read`].
unsafe fn plan(call: pg_sys::FunctionCallInfo, first: usize, asked: Asked) -> Rc<Plan> {
    let changes = watch::changes();
    let known = PLANS.with_borrow(|plans| plans.get(&asked).cloned());
    if let Some(known) = known.filter(|known| known.changes == changes) {
        return known;
    }
    // SAFETY: passed on to the caller.
    let made = Rc::new(unsafe { make(call, first, &asked) });
    let replaced = PLANS.with_borrow_mut(|plans| {
        let all = if plans.len() >= MOST { std::mem::take(plans) } else { HashMap::new() };
        (all, plans.insert(asked, Rc::clone(&made)))
    });
    // Freeing plans calls the server, so not while the map is borrowed.
    drop(replaced);
    made
}

/// Reads: the arguments from `first` on are the source, a text, the keys, a jsonb, and the features, a text[].
///
/// # Safety
/// SQL declares the arguments so, and a result of a set of rows.
unsafe fn read(call: pg_sys::FunctionCallInfo, first: usize, row_type: pg_sys::Oid) {
    // SAFETY: passed on to the caller.
    let (asked, keys) = unsafe {
        let (source, features) = (bytes(call, first), bytes(call, first + 2));
        (Asked { source, features, row_type }, argument(call, first + 1))
    };
    let Some(keys) = keys else {
        fail(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "keys must not be null",
            "Give an object of entity keys, or an array of them.",
        )
    };
    // SAFETY: the server passes a record of how it takes rows; the store is made in the memory of the query, and rows
    // are copied into it before SPI's memory goes.
    unsafe {
        let result = (*call).resultinfo.cast::<pg_sys::ReturnSetInfo>();
        if result.is_null()
            || (*result).allowedModes & pg_sys::SetFunctionReturnMode::SFRM_Materialize as i32 == 0
        {
            fail(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "a set of rows is not accepted here",
                "Call the function in FROM.",
            );
        }
        let per_query = (*(*result).econtext).ecxt_per_query_memory;
        let before = pg_sys::MemoryContextSwitchTo(per_query);
        let description = pg_sys::CreateTupleDescCopy((*result).expectedDesc);
        let store = pg_sys::tuplestore_begin_heap(true, false, pg_sys::work_mem);
        (*result).returnMode = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
        (*result).setResult = store;
        (*result).setDesc = description;
        pg_sys::MemoryContextSwitchTo(before);

        pg_sys::SPI_connect();
        let plan = plan(call, first, asked);
        let mut values = [keys];
        let status =
            pg_sys::SPI_execute_plan(plan.plan, values.as_mut_ptr(), c" ".as_ptr(), true, 0);
        if status != pg_sys::SPI_OK_SELECT as i32 {
            error!("cannot read online features: {status}");
        }
        let table = &*pg_sys::SPI_tuptable;
        for n in 0..pg_sys::SPI_processed as usize {
            pg_sys::tuplestore_puttuple(store, *table.vals.add(n));
        }
        pg_sys::SPI_finish();
    }
}

/// Declares the record by which PostgreSQL finds out how to call a function, and the function.
macro_rules! set_function {
    ($finfo:ident, $name:ident, $first:literal, $row_type:expr) => {
        #[unsafe(no_mangle)]
        extern "C" fn $finfo() -> &'static pg_sys::Pg_finfo_record {
            &pg_sys::Pg_finfo_record { api_version: 1 }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
            // SAFETY: the outermost Rust frame; PostgreSQL calls, as SQL declares it.
            unsafe {
                pgrx_extern_c_guard(|| {
                    read(call, $first, $row_type(call));
                    pg_sys::Datum::from(0usize)
                })
            }
        }
    };
}

set_function!(pg_finfo_get_online_features, get_online_features, 0, |_| pg_sys::InvalidOid);
// The first argument only says what the rows are like.
set_function!(pg_finfo_get_online_rows, get_online_rows, 1, |call: pg_sys::FunctionCallInfo| {
    pg_sys::get_fn_expr_argtype((*call).flinfo, 0)
});
