//! Reading online rows and writing rows given as JSON, by statements whose plans a session keeps (`plans.rs`). Rows go from
//! the statement to the caller as they are.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::plans::{Kind, plan};
use crate::error::fail;
use crate::types::call::{datum, export_calls};

/// Reads features of a source, some or all, as JSON or as rows of a type.
const READ: Kind = Kind {
    writer: c"SELECT lean.online_features_sql($1, $2, $3)",
    types: &[
        pg_sys::BuiltinOid::TEXTOID,
        pg_sys::BuiltinOid::TEXTARRAYOID,
        pg_sys::BuiltinOid::OIDOID,
    ],
};

/// Writes rows with some columns to a group.
const WRITE: Kind = Kind {
    writer: c"SELECT lean.write_rows_sql($1, $2)",
    types: &[pg_sys::BuiltinOid::TEXTOID, pg_sys::BuiltinOid::TEXTARRAYOID],
};

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

/// Whether rows of one description can be read by another.
///
/// # Safety
/// Both are valid.
unsafe fn same_columns(one: pg_sys::TupleDesc, other: pg_sys::TupleDesc) -> bool {
    // SAFETY: passed on to the caller; columns count from 1, and one that was dropped has no type.
    unsafe {
        (*one).natts == (*other).natts
            && (1..=(*one).natts).all(|n| {
                let expected = pg_sys::SPI_gettypeid(other, n);
                expected == pg_sys::InvalidOid || pg_sys::SPI_gettypeid(one, n) == expected
            })
    }
}

/// Reads: the arguments from `first` on are the source, a text, the keys, a jsonb, and the features, a text[].
///
/// # Safety
/// SQL declares the arguments so, and a result of a set of rows.
unsafe fn read(
    call: pg_sys::FunctionCallInfo,
    first: usize,
    row_type: pg_sys::Oid,
) -> pg_sys::Datum {
    // SAFETY: passed on to the caller.
    let (source, keys, features) =
        unsafe { (argument(call, first), argument(call, first + 1), argument(call, first + 2)) };
    let row_type = (row_type != pg_sys::InvalidOid).then(|| row_type.into());
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
        plan(&READ, &[source, features, row_type]).run(keys, true);
        let table = &*pg_sys::SPI_tuptable;
        if !same_columns(table.tupdesc, description) {
            fail(
                PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                "the columns of the row type have changed within the statement",
                "Run the statement again.",
            );
        }
        for n in 0..pg_sys::SPI_processed as usize {
            pg_sys::tuplestore_puttuple(store, *table.vals.add(n));
        }
        pg_sys::SPI_finish();
    }
    pg_sys::Datum::from(0usize)
}

/// Writes: the arguments are the group, a text, the columns that the rows have, a text[], and the rows, a jsonb. Gives the
/// number of rows that are new.
///
/// # Safety
/// SQL declares the arguments so, and that none is NULL.
unsafe fn write(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the statement returns one row with a number, which is passed by value.
    unsafe {
        pg_sys::SPI_connect();
        plan(&WRITE, &[argument(call, 0), argument(call, 1)]).run(datum(call, 2), false);
        let table = &*pg_sys::SPI_tuptable;
        let mut is_null = false;
        let written = pg_sys::SPI_getbinval(*table.vals, table.tupdesc, 1, &mut is_null);
        pg_sys::SPI_finish();
        written
    }
}

export_calls! {
    "get_online" "_features" = |call| read(call, 0, pg_sys::InvalidOid);
    // The first argument only says what the rows are like.
    "get_online" "_rows" = |call: pg_sys::FunctionCallInfo| {
        read(call, 1, pg_sys::get_fn_expr_argtype((*call).flinfo, 0))
    };
    "write" "_rows" = |call| write(call);
}
