//! The feature store, where SQL does not reach: names of types, columns of queries, operators of keys, and plans of online
//! reads that a session keeps. The rest is tables and PL/pgSQL in `sql/features`.

mod asof;
mod online;
mod plans;
mod profile;
mod statistics;
mod watch;

use std::ffi::{CStr, CString};

use pgrx::prelude::*;
use pgrx::{PgTupleDesc, pg_sys};

use crate::error::fail;

/// Text for a function of the server.
fn c_text(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|_| unreachable!("text of PostgreSQL holds no zero byte"))
}

/// A type by its name, with its modifier, looked up in the search path.
#[pg_extern(schema = "lean", stable, parallel_safe)]
fn parse_type(
    name: &str,
) -> TableIterator<'static, (name!(type_id, pg_sys::Oid), name!(modifier, i32))> {
    let name = c_text(name);
    let (mut oid, mut modifier) = (pg_sys::InvalidOid, -1);
    // SAFETY: both results outlive the call; an unknown type is an error of the server.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        pg_sys::parseTypeString(name.as_ptr(), &mut oid, &mut modifier, false);
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        pg_sys::parseTypeString(name.as_ptr(), &mut oid, &mut modifier, std::ptr::null_mut());
    }
    TableIterator::once((oid, modifier))
}

/// The operator by which a btree index finds keys of type `left` that equal a value of type `right`; none if there is
/// none.
#[pg_extern(schema = "lean", stable, strict, parallel_safe)]
fn equality_operator_oid(left: pg_sys::Oid, right: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let flags = (pg_sys::TYPECACHE_EQ_OPR | pg_sys::TYPECACHE_BTREE_OPFAMILY) as i32;
    // SAFETY: plain look-ups in the server's caches; an entry of the type cache stays.
    unsafe {
        let entry = &*pg_sys::lookup_type_cache(left, flags);
        let other = &*pg_sys::lookup_type_cache(right, flags);
        let same = pg_sys::getBaseType(left) == pg_sys::getBaseType(right);
        let found = if same {
            entry.eq_opr
        } else if is_polymorphic(other.btree_opintype) {
            // Two arrays, or two enums, are in one family whether or not they can be compared.
            pg_sys::InvalidOid
        } else {
            // The type that stands for this one in the family: text for varchar, or what a domain is of.
            pg_sys::get_opfamily_member(
                entry.btree_opf,
                entry.btree_opintype,
                other.btree_opintype,
                pg_sys::BTEqualStrategyNumber as i16,
            )
        };
        // Without a btree family the operator may be that of a hash family: keys need an order.
        let ordered = entry.btree_opf != pg_sys::InvalidOid;
        (ordered && found != pg_sys::InvalidOid).then_some(found)
    }
}

/// Whether a class of operators is for many types, such as all enums.
fn is_polymorphic(class: pg_sys::Oid) -> bool {
    [
        pg_sys::ANYARRAYOID,
        pg_sys::ANYENUMOID,
        pg_sys::ANYRANGEOID,
        pg_sys::ANYMULTIRANGEOID,
        pg_sys::RECORDOID,
    ]
    .contains(&class)
}

/// What `each` makes of the columns that a query returns, without running it; of what is not one statement that returns
/// rows, nothing.
fn columns<T>(query: &CStr, each: impl Fn(&pg_sys::FormData_pg_attribute) -> T) -> Vec<T> {
    let mut columns = Vec::new();
    // SAFETY: calls of SPI in their order; what the plan says of its columns is copied before the plan goes.
    unsafe {
        pg_sys::SPI_connect();
        let plan = pg_sys::SPI_prepare(query.as_ptr(), 0, std::ptr::null_mut());
        let sources = match plan.is_null() {
            true => std::ptr::null_mut(),
            false => pg_sys::SPI_plan_get_plan_sources(plan),
        };
        if !sources.is_null() && (*sources).length == 1 {
            let source = (*(*sources).elements).ptr_value.cast::<pg_sys::CachedPlanSource>();
            if !(*source).resultDesc.is_null() {
                let described = PgTupleDesc::from_pg_copy((*source).resultDesc);
                columns.extend(described.iter().map(each));
            }
        }
        pg_sys::SPI_finish();
    }
    columns
}

/// The columns that a query returns, without running it.
#[pg_extern(schema = "lean", stable, strict, parallel_unsafe)]
fn query_columns(
    query: &str,
) -> TableIterator<
    'static,
    (name!(position, i32), name!(name, String), name!(type_id, pg_sys::Oid), name!(modifier, i32)),
> {
    let described = columns(&c_text(query), |column| {
        (column.name().to_owned(), column.atttypid, column.atttypmod)
    });
    if described.is_empty() {
        fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "not a query that returns rows".to_string(),
            "Give the name of a relation, or one SELECT.",
        );
    }
    let numbered = (1..).zip(described);
    TableIterator::new(numbered.map(|(n, (name, type_id, modifier))| (n, name, type_id, modifier)))
}

extension_sql_file!(
    "../../../sql/features/definitions.sql",
    name = "feature_definitions",
    requires = ["quantize", parse_type, equality_operator_oid, query_columns]
);
extension_sql_file!(
    "../../../sql/features/groups.sql",
    name = "feature_groups",
    requires = ["feature_definitions"]
);
extension_sql_file!(
    "../../../sql/features/writing.sql",
    name = "feature_writing",
    requires = ["feature_groups"]
);
extension_sql_file!(
    "../../../sql/features/reading.sql",
    name = "feature_reading",
    requires = ["feature_writing"]
);
extension_sql_file!(
    "../../../sql/features/history.sql",
    name = "feature_history",
    requires = ["feature_reading", asof::keys_alike]
);
