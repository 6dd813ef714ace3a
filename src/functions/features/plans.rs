//! Statements that functions in SQL write, planned once in a session and kept.
//!
//! What is kept is the plan alone. The server plans it anew when a table of it changes, and we have it written anew when a
//! definition does (`watch.rs`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::Rc;

use pgrx::prelude::*;
use pgrx::{PgList, pg_sys};

use super::watch;
use crate::types::text::Bytes;

/// Plans that a session keeps at a time.
const MOST: usize = 256;

/// A kind of statement, by the query that has it written. The statement takes one jsonb.
pub struct Kind {
    /// Returns the statement.
    pub writer: &'static CStr,
    /// Types of the writer's arguments.
    pub types: &'static [pg_sys::BuiltinOid],
}

/// What is kept under: the kind, and the writer's arguments as bytes.
type Asked = (&'static CStr, Vec<Option<Vec<u8>>>);

/// A plan of the server's that outlives the transaction.
pub struct Plan {
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

impl Plan {
    /// Runs the statement. SPI is connected, and has the rows afterwards.
    ///
    /// # Safety
    /// `given` is a jsonb.
    pub unsafe fn run(&self, given: pg_sys::Datum, read_only: bool) {
        let mut values = [given];
        // SAFETY: the plan is kept for as long as `self`, and takes one jsonb.
        let status = unsafe {
            pg_sys::SPI_execute_plan(self.plan, values.as_mut_ptr(), c" ".as_ptr(), read_only, 0)
        };
        if status != pg_sys::SPI_OK_SELECT as i32 {
            error!("a statement of the feature store ended with status {status}");
        }
    }
}

thread_local! {
    static PLANS: RefCell<HashMap<Asked, Rc<Plan>>> = RefCell::default();
}

/// The plan for a kind of statement and arguments of its writer, from before or new. SPI is connected.
///
/// # Safety
/// The arguments are of the kind's types: texts, arrays or Oids.
pub unsafe fn plan(kind: &Kind, arguments: &[Option<pg_sys::Datum>]) -> Rc<Plan> {
    let bytes = arguments.iter().zip(kind.types).map(|(argument, &type_id)| match argument {
        Some(oid) if type_id == pg_sys::BuiltinOid::OIDOID => {
            Some(oid.value().to_ne_bytes().to_vec())
        }
        // SAFETY: any other type has varying length.
        Some(value) => Some(unsafe { Bytes::of(*value) }.to_vec()),
        None => None,
    });
    let asked: Asked = (kind.writer, bytes.collect());
    let changes = watch::changes();
    let known = PLANS.with_borrow(|plans| plans.get(&asked).cloned());
    if let Some(known) = known.filter(|known| known.changes == changes) {
        return known;
    }
    // SAFETY: passed on to the caller.
    let made = Rc::new(unsafe { make(kind, arguments, changes) });
    let replaced = PLANS.with_borrow_mut(|plans| {
        let all = if plans.len() >= MOST { std::mem::take(plans) } else { HashMap::new() };
        (all, plans.insert(asked, Rc::clone(&made)))
    });
    // Freeing plans calls the server, so not while the map is borrowed.
    drop(replaced);
    made
}

/// Has the statement written, and plans it.
///
/// # Safety
/// As [`plan`].
unsafe fn make(kind: &Kind, arguments: &[Option<pg_sys::Datum>], changes: u64) -> Plan {
    // SAFETY: the types are those of the arguments, and a NULL is told by its flag.
    unsafe {
        let mut types: Vec<pg_sys::Oid> = kind.types.iter().map(|&oid| oid.into()).collect();
        let mut values: Vec<_> =
            arguments.iter().map(|value| value.unwrap_or(pg_sys::Datum::from(0usize))).collect();
        let nulls: Vec<_> = arguments
            .iter()
            .map(|value| if value.is_some() { b' ' } else { b'n' } as std::ffi::c_char)
            .collect();
        let status = pg_sys::SPI_execute_with_args(
            kind.writer.as_ptr(),
            types.len() as i32,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            nulls.as_ptr(),
            true,
            1,
        );
        if status != pg_sys::SPI_OK_SELECT as i32 || pg_sys::SPI_processed != 1 {
            error!("cannot write a statement of the feature store: status {status}");
        }
        let table = &*pg_sys::SPI_tuptable;
        let text = pg_sys::SPI_getvalue(*table.vals, table.tupdesc, 1);
        let options = pg_sys::CURSOR_OPT_GENERIC_PLAN as i32;
        let plan = pg_sys::SPI_prepare_cursor(text, 1, [pg_sys::JSONBOID].as_mut_ptr(), options);
        if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
            error!("cannot plan a statement of the feature store");
        }
        let sources = pg_sys::SPI_plan_get_plan_sources(plan);
        let source = (*(*sources).elements).ptr_value.cast::<pg_sys::CachedPlanSource>();
        let tables = PgList::<pg_sys::Oid>::from_pg((*source).relationOids);
        // A row type that the caller names has columns of its own.
        let row_types = arguments.iter().zip(kind.types).filter_map(|(argument, &type_id)| {
            argument.filter(|_| type_id == pg_sys::BuiltinOid::OIDOID)
        });
        let rows =
            row_types.map(|oid| pg_sys::get_typ_typrelid(pg_sys::Oid::from(oid.value() as u32)));
        watch::watch(tables.iter_oid().chain(rows));
        Plan { plan, changes }
    }
}
