//! `lean.asof_places`: an aggregate over entities that gives, for each, the place of the row of a history that was the
//! newest of its key at its time.
//!
//! The history is a query, which the aggregate runs itself, under the snapshot of the statement that it is part of: so
//! places stay good for as long as the statement runs. It runs when all entities have come, or as often as those that
//! came fill the memory there is for them: what sorts of tables and indexes have, maintenance_work_mem, or what hash
//! tables have if that is more.
//!
//! The query gives the key's columns; the time from which on an entity sees the row, of the type of the entities' time;
//! the event time and the creation time, by which rows are newer than others; and the row's ctid.

mod keys;

use std::ffi::{CString, c_int};
use std::num::NonZeroU64;

use leanstack_core::asof::{Entities, Join, Row};
use pgrx::pg_sys::panic::pgrx_extern_c_guard;
use pgrx::prelude::*;
use pgrx::{PgList, PgMemoryContexts, pg_sys};

use self::keys::{Declared, Keys};
use crate::error::fail;
use crate::types::call::{datum, export_calls};
use crate::types::text::Bytes;

/// Arguments in front of the time and the keys: state, history, strict, number.
const BEFORE_TIME: usize = 4;
/// Columns of the history behind the keys: from when on it is seen, event time, creation time, ctid.
const BEHIND_KEYS: usize = 4;
/// The header of an array of one dimension without NULLs.
const ARRAY_HEADER_BYTES: usize = 24;
/// Rows of history that are shown to the entities together.
const ROWS: usize = 256;
/// What the server gives room for in one piece.
const LARGEST_BYTES: usize = 0x3fff_ffff;
/// The most entities that an array of places has room for.
const MOST: usize = (LARGEST_BYTES - ARRAY_HEADER_BYTES) / size_of::<Tid>();

/// A ctid: the halves of the block, the upper one first, and the line.
type Tid = [u16; 3];

/// The ctid of no row.
const NOWHERE: Tid = [u16::MAX, u16::MAX, 0];

/// Can entities and history with keys of these types be merged?
#[pg_extern(schema = "lean", stable, strict, parallel_safe)]
fn keys_alike(left: pg_sys::Oid, right: pg_sys::Oid) -> bool {
    keys::alike(left, right)
}

/// A type of times.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Time {
    Date,
    Timestamp,
    TimestampTz,
}

impl Time {
    fn of(type_id: pg_sys::Oid) -> Option<Time> {
        // SAFETY: a look-up in the server's catalog.
        match unsafe { pg_sys::getBaseType(type_id) } {
            pg_sys::DATEOID => Some(Time::Date),
            pg_sys::TIMESTAMPOID => Some(Time::Timestamp),
            pg_sys::TIMESTAMPTZOID => Some(Time::TimestampTz),
            _ => None,
        }
    }

    /// A time as a number, in the order of times.
    #[inline]
    fn number(self, value: pg_sys::Datum) -> i64 {
        match self {
            Time::Date => match value.value() as i32 {
                i32::MIN => i64::MIN,
                i32::MAX => i64::MAX,
                day => i64::from(day),
            },
            Time::Timestamp | Time::TimestampTz => value.value() as i64,
        }
    }
}

/// A creation time as a number. Without one a row counts as created last: that is how the server sorts.
#[inline]
fn created_number(time: Time, value: pg_sys::Datum, is_null: bool) -> i64 {
    // There are no finite times next to infinity.
    if is_null { i64::MAX } else { time.number(value).min(i64::MAX - 1) }
}

/// The types that the columns of the history have.
struct Shape {
    types: Vec<pg_sys::Oid>,
    keys: Vec<Declared>,
    seen: Time,
    event: Time,
    created: Time,
}

/// The aggregate's state.
struct State {
    history: CString,
    strict: bool,
    shape: Shape,
    keys: Keys,
    entities: Entities,
    /// Of the entities that came before those.
    places: Vec<Tid>,
    limit_bytes: usize,
    /// Where the state lives.
    context: pg_sys::MemoryContext,
    /// Where copies of keys live.
    key_context: pg_sys::MemoryContext,
}

/// Raises: the arguments are not what the aggregate is made for.
#[cold]
fn misused(what: &str) -> ! {
    fail(
        PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
        format!("lean.asof_places: {what}"),
        "It is part of the statements that lean.historical_features_sql writes.",
    )
}

/// Prepares the query. SPI is connected.
fn prepare(query: &CString) -> pg_sys::SPIPlanPtr {
    // SAFETY: the text outlives the call, and there are no parameters.
    let plan = unsafe { pg_sys::SPI_prepare(query.as_ptr(), 0, std::ptr::null_mut()) };
    if plan.is_null() {
        error!("cannot plan a history");
    }
    plan
}

/// The types and the collations of the time and the keys that the aggregate is called with.
///
/// # Safety
/// `call` is a call of the transition function.
unsafe fn arguments(call: pg_sys::FunctionCallInfo) -> Vec<(pg_sys::Oid, pg_sys::Oid)> {
    // SAFETY: in a transition function the server knows the aggregate, whose arguments are target entries.
    unsafe {
        let aggregate = pg_sys::AggGetAggref(call);
        if aggregate.is_null() {
            misused("no aggregate");
        }
        let entries = PgList::<pg_sys::TargetEntry>::from_pg((*aggregate).args);
        let arguments = entries.iter_ptr().skip(BEFORE_TIME - 1);
        arguments
            .map(|entry| {
                let value: *mut pg_sys::Node = (*entry).expr.cast();
                (pg_sys::exprType(value), pg_sys::exprCollation(value))
            })
            .collect()
    }
}

/// The collation by which two columns are compared.
fn common_collation(history: pg_sys::Oid, entity: pg_sys::Oid) -> pg_sys::Oid {
    match (history, entity) {
        (a, b) if a == b => a,
        (a, pg_sys::DEFAULT_COLLATION_OID | pg_sys::InvalidOid) => a,
        (pg_sys::DEFAULT_COLLATION_OID | pg_sys::InvalidOid, b) => b,
        _ => fail(
            PgSqlErrorCode::ERRCODE_COLLATION_MISMATCH,
            "a key has one collation in the history and another one in the entities",
            "Give the entities' column the collation of the history with COLLATE.",
        ),
    }
}

impl Shape {
    /// What history and entities say of themselves, if they fit.
    fn new(
        history: &[(pg_sys::Oid, pg_sys::Oid)],
        entities: &[(pg_sys::Oid, pg_sys::Oid)],
    ) -> Shape {
        let Some(((time, _), entity_keys)) = entities.split_first().filter(|(_, k)| !k.is_empty())
        else {
            misused("no keys");
        };
        if history.len() != entity_keys.len() + BEHIND_KEYS {
            misused("the history has other columns");
        }
        let (history_keys, behind) = history.split_at(entity_keys.len());
        let pairs = history_keys.iter().zip(entity_keys);
        let keys = pairs.map(|(&(history, a), &(entity, b))| {
            if !keys::alike(entity, history) {
                misused("a key of the history is of another type");
            }
            Declared { entity, history, collation: common_collation(a, b) }
        });
        let [seen, event, created] = [0, 1, 2].map(|n| {
            Time::of(behind[n].0).unwrap_or_else(|| misused("a time of the history is none"))
        });
        if Time::of(*time) != Some(seen) || behind[3].0 != pg_sys::TIDOID {
            misused("the times of history and entities are of different types");
        }
        let types = history.iter().map(|column| column.0).collect();
        Shape { types, keys: keys.collect(), seen, event, created }
    }
}

impl State {
    /// # Safety
    /// `call` is a first call of the transition function in an aggregate of this memory context.
    unsafe fn new(call: pg_sys::FunctionCallInfo, context: pg_sys::MemoryContext) -> State {
        // SAFETY: SQL declares a text and a boolean; a NULL is told by its flag.
        let (history, strict) = unsafe {
            let given = (*call).args.as_slice(BEFORE_TIME);
            if given[1].isnull || given[2].isnull {
                misused("no history");
            }
            (Bytes::of(given[1].value).to_vec(), given[2].value.value() & 0xff != 0)
        };
        let history = super::c_text(&String::from_utf8_lossy(&history));
        let columns = super::columns(&history, |column| (column.atttypid, column.attcollation));
        // SAFETY: passed on to the caller.
        let shape = Shape::new(&columns, &unsafe { arguments(call) });
        // SAFETY: plain settings of the server, and a context as child of another.
        let (limit_bytes, key_context) = unsafe {
            let maintenance = pg_sys::maintenance_work_mem as usize * 1024;
            (maintenance.max(pg_sys::get_hash_memory_limit()), memory(context, c"keys of entities"))
        };
        State {
            history,
            strict,
            keys: Keys::new(&shape.keys, key_context),
            shape,
            entities: Entities::default(),
            places: Vec::new(),
            limit_bytes,
            context,
            key_context,
        }
    }

    /// How many entities have come.
    fn count(&self) -> usize {
        self.places.len() + self.entities.len()
    }

    /// Runs the history past the entities that are in memory; then they are gone, and their places known.
    fn flush(&mut self) {
        if self.entities.is_empty() {
            return;
        }
        let keys = Keys::new(&self.shape.keys, self.key_context);
        let mut flow = Flow {
            receiver: pg_sys::DestReceiver {
                receiveSlot: Some(receive),
                rStartup: Some(start),
                rShutdown: Some(stop),
                rDestroy: Some(stop),
                mydest: pg_sys::CommandDest::DestTuplestore,
            },
            join: std::mem::take(&mut self.entities).sorted(self.strict),
            keys: std::mem::replace(&mut self.keys, keys),
            rows: Vec::with_capacity(ROWS),
            shape: &self.shape,
            // SAFETY: a context as child of another.
            scratch: unsafe { memory(self.context, c"keys of history") },
            scratched: 0,
        };
        // SAFETY: calls of SPI in their order. The receiver is the first field of a record that stays where it is until
        // the query has run. Read only, the query sees what the running statement sees.
        unsafe {
            pg_sys::SPI_connect();
            let plan = prepare(&self.history);
            let options = pg_sys::SPIExecuteOptions {
                read_only: true,
                dest: (&raw mut flow).cast(),
                ..Default::default()
            };
            let status = pg_sys::SPI_execute_plan_extended(plan, &options);
            if status < 0 {
                error!("cannot read a history: {status}");
            }
            pg_sys::SPI_finish();
            pg_sys::MemoryContextDelete(flow.scratch);
        }
        flow.show();
        let Flow { join, keys, .. } = flow;
        self.places.extend(join.places().into_iter().map(|place| {
            place.map_or(NOWHERE, |place| {
                let place = place.get();
                [(place >> 32) as u16, (place >> 16) as u16, place as u16]
            })
        }));
        drop(keys);
        // SAFETY: the keys that had values in there are gone.
        unsafe { pg_sys::MemoryContextReset(self.key_context) };
    }
}

/// A new memory context.
///
/// # Safety
/// `parent` is valid.
unsafe fn memory(
    parent: pg_sys::MemoryContext,
    name: &'static std::ffi::CStr,
) -> pg_sys::MemoryContext {
    // SAFETY: the name is static, and the caller vouches for the parent.
    unsafe {
        pg_sys::AllocSetContextCreateInternal(
            parent,
            name.as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        )
    }
}

/// What takes the rows of the history. The receiver comes first, as the server knows nothing of the rest.
#[repr(C)]
struct Flow<'a> {
    receiver: pg_sys::DestReceiver,
    join: Join,
    keys: Keys,
    /// What has come and was not shown yet.
    rows: Vec<Row>,
    shape: &'a Shape,
    /// Where values are detoasted, with the number of rows since it was last emptied.
    scratch: pg_sys::MemoryContext,
    scratched: u32,
}

/// Before the first row: it must be the query that the aggregate was told of.
unsafe extern "C-unwind" fn start(
    receiver: *mut pg_sys::DestReceiver,
    _operation: c_int,
    described: pg_sys::TupleDesc,
) {
    // SAFETY: the outermost Rust frame; the server calls with the receiver it was given.
    unsafe {
        pgrx_extern_c_guard(|| {
            let flow = &*receiver.cast::<Flow>();
            let described = pgrx::PgTupleDesc::from_pg_copy(described);
            if !described.iter().map(|column| column.atttypid).eq(flow.shape.types.iter().copied())
            {
                misused("the history has changed");
            }
        })
    }
}

/// After the last row.
unsafe extern "C-unwind" fn stop(_receiver: *mut pg_sys::DestReceiver) {}

/// One row of history.
unsafe extern "C-unwind" fn receive(
    slot: *mut pg_sys::TupleTableSlot,
    receiver: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: the outermost Rust frame; the server calls with the receiver it was given, and with rows of the types that
    // `start` has seen.
    unsafe {
        pgrx_extern_c_guard(|| {
            let flow = &mut *receiver.cast::<Flow>();
            let count = flow.shape.types.len();
            if ((*slot).tts_nvalid as usize) < count {
                pg_sys::slot_getsomeattrs_int(slot, count as c_int);
            }
            let values = std::slice::from_raw_parts((*slot).tts_values, count);
            let nulls = std::slice::from_raw_parts((*slot).tts_isnull, count);
            flow.row(values, nulls);
            true
        })
    }
}

impl Flow<'_> {
    /// # Safety
    /// Values are of the types of the shape.
    #[inline]
    unsafe fn row(&mut self, values: &[pg_sys::Datum], nulls: &[bool]) {
        let behind = values.len() - BEHIND_KEYS;
        // The creation time alone may be missing.
        if nulls[..behind + 2].contains(&true) || nulls[behind + 3] {
            return;
        }
        // SAFETY: passed on to the caller.
        let Some(key) = (unsafe { self.key(values) }) else { return };
        let seen = self.shape.seen.number(values[behind]);
        let event = self.shape.event.number(values[behind + 1]);
        let created = created_number(self.shape.created, values[behind + 2], nulls[behind + 2]);
        // SAFETY: a ctid is passed by a pointer to three half words.
        let [high, low, line] = unsafe { *values[behind + 3].cast_mut_ptr::<Tid>() }.map(u64::from);
        if let Some(place) = NonZeroU64::new(high << 32 | low << 16 | line) {
            self.rows.push(Row::new(key, seen, event, created, place));
            if self.rows.len() == ROWS {
                self.show();
            }
        }
    }

    /// Shows the rows that wait to the entities.
    fn show(&mut self) {
        self.join.show(self.keys.ids(), &self.rows);
        self.rows.clear();
    }

    /// # Safety
    /// As [`Flow::row`].
    #[inline]
    unsafe fn key(&mut self, values: &[pg_sys::Datum]) -> Option<u128> {
        // SAFETY: passed on to the caller; what is detoasted is not looked at once the key has its number.
        unsafe {
            if !self.keys.allocates() {
                return self.keys.pair::<false>(|n| values[n]);
            }
            self.scratched += 1;
            if self.scratched == 1024 {
                self.scratched = 0;
                pg_sys::MemoryContextReset(self.scratch);
            }
            let outside = pg_sys::MemoryContextSwitchTo(self.scratch);
            let key = self.keys.pair::<false>(|n| values[n]);
            pg_sys::MemoryContextSwitchTo(outside);
            key
        }
    }
}

/// The memory of the aggregate that calls.
///
/// # Safety
/// `call` is valid.
unsafe fn aggregate_context(call: pg_sys::FunctionCallInfo) -> pg_sys::MemoryContext {
    let mut context = std::ptr::null_mut();
    // SAFETY: the result outlives the call.
    if unsafe { pg_sys::AggCheckCallContext(call, &mut context) }
        != pg_sys::AGG_CONTEXT_AGGREGATE as c_int
    {
        misused("not called as an aggregate");
    }
    context
}

/// Takes one entity.
///
/// # Safety
/// SQL declares the arguments: internal, text, boolean, bigint, then any.
unsafe fn accumulate(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the server passes as many arguments as it says, of the types that the first call has checked, and the state
    // that the last call gave.
    unsafe {
        let context = aggregate_context(call);
        let given = (*call).args.as_slice((*call).nargs as usize);
        let state: *mut State = if given[0].isnull {
            let outside = pg_sys::MemoryContextSwitchTo(context);
            let state = State::new(call, context);
            pg_sys::MemoryContextSwitchTo(outside);
            PgMemoryContexts::For(context).leak_and_drop_on_delete(state)
        } else {
            given[0].value.cast_mut_ptr()
        };
        let known = &mut *state;
        if given[3].isnull || given[3].value.value() != known.count() + 1 {
            error!("entities came out of their order");
        }
        if known.count() >= MOST {
            fail(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("more than {MOST} entities"),
                "Split the entities, or look them up with method => 'lateral'.",
            );
        }
        let (time, key) = (&given[BEFORE_TIME], &given[BEFORE_TIME + 1..]);
        let entity = if time.isnull || key.iter().any(|value| value.isnull) {
            None
        } else {
            let number = known.keys.number(|n| key[n].value);
            number.map(|number| (number, known.shape.seen.number(time.value)))
        };
        known.entities.push(entity);
        if known.entities.len().is_multiple_of(1024)
            && known.entities.bytes() + known.keys.bytes() > known.limit_bytes
        {
            known.flush();
        }
        pg_sys::Datum::from(state)
    }
}

/// The places of all entities as a tid[].
///
/// # Safety
/// SQL declares one argument, the state, and the function STRICT.
unsafe fn finish(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the state is what [`accumulate`] gave; the array has room for header and places.
    unsafe {
        aggregate_context(call);
        let state = &mut *datum(call, 0).cast_mut_ptr::<State>();
        state.flush();
        let places = &state.places;
        let bytes = ARRAY_HEADER_BYTES + size_of_val(places.as_slice());
        let array: *mut u8 = pg_sys::palloc(bytes).cast();
        pgrx::varlena::set_varsize_4b(array.cast(), bytes as i32);
        let header = [1, 0, pg_sys::TIDOID.to_u32(), places.len() as u32, 1];
        std::ptr::copy_nonoverlapping(header.as_ptr(), array.add(4).cast(), header.len());
        std::ptr::copy_nonoverlapping(
            places.as_ptr(),
            array.add(ARRAY_HEADER_BYTES).cast(),
            places.len(),
        );
        pg_sys::Datum::from(array)
    }
}

export_calls! {
    "asof_places" "_accum" = |call| accumulate(call);
    "asof_places" "_final" = |call| finish(call);
}
