//! Distances of rows from the table, for codes too coarse to tell which rows to fetch: where bounds that are certain
//! say so little that the executor, which fetches a row as soon as its bound is the least, would fetch most of what was
//! scored. The operator itself computes them, of the row version that the scan's snapshot sees.

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::am::heap;
use crate::storage::Tid;

/// What it takes to fetch rows and compute distances. All of it is memory of the scan's context, so that nothing need be
/// done when that goes; between calls there is no pin in it.
pub struct Exact {
    slot: *mut pg_sys::TupleTableSlot,
    index_info: *mut pg_sys::IndexInfo,
    /// For an index on an expression; else null.
    estate: *mut pg_sys::EState,
    /// For what the operator leaves behind.
    scratch: pg_sys::MemoryContext,
}

impl Exact {
    /// Prepares for the scans that `scan` is used for.
    ///
    /// # Safety
    /// The server began the scan, with an index and its table, and `context` lives as long as it does.
    pub unsafe fn new(scan: pg_sys::IndexScanDesc, context: pg_sys::MemoryContext) -> Exact {
        // SAFETY: as the caller promises; the description of the table is copied, missing values of columns included.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(context);
            let table = (*scan).heapRelation;
            let columns = pg_sys::CreateTupleDescCopyConstr((*table).rd_att);
            let slot =
                pg_sys::MakeSingleTupleTableSlot(columns, pg_sys::table_slot_callbacks(table));
            let index_info = pg_sys::BuildIndexInfo((*scan).indexRelation);
            let is_column = (*index_info).ii_Expressions.is_null();
            let estate =
                if is_column { std::ptr::null_mut() } else { pg_sys::CreateExecutorState() };
            let scratch = pg_sys::AllocSetContextCreateExtended(
                context,
                c"distances of rows".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as pg_sys::Size,
                pg_sys::ALLOCSET_SMALL_INITSIZE as pg_sys::Size,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as pg_sys::Size,
            );
            pg_sys::MemoryContextSwitchTo(before);
            Exact { slot, index_info, estate, scratch }
        }
    }

    /// The distance of a row to what the scan looks for. Nothing if the scan's snapshot does not see it.
    ///
    /// # Safety
    /// The scan is the one that this was made for, with a query that is not NULL.
    pub unsafe fn distance(&self, scan: pg_sys::IndexScanDesc, tid: Tid) -> Option<f64> {
        // SAFETY: as the caller promises. The server fetches rows of the scan in the same way and sets what this changes
        // anew; the key is of an operator on the indexed type that returns float8.
        unsafe {
            (*scan).xs_heaptid = heap::item_pointer(tid);
            (*scan).xs_heap_continue = false;
            if !pg_sys::index_fetch_heap(scan, self.slot) {
                return None;
            }
            let before = pg_sys::MemoryContextSwitchTo(self.scratch);
            let (mut value, mut is_null) = (pg_sys::Datum::from(0), true);
            if let Some(estate) = self.estate.as_mut() {
                if estate.es_per_tuple_exprcontext.is_null() {
                    pg_sys::MakePerTupleExprContext(estate);
                }
                (*estate.es_per_tuple_exprcontext).ecxt_scantuple = self.slot;
            }
            pg_sys::FormIndexDatum(
                self.index_info,
                self.slot,
                self.estate,
                &raw mut value,
                &raw mut is_null,
            );
            let distance = (!is_null).then(|| {
                let key = (*scan).orderByData;
                let function = &raw mut (*key).sk_func;
                let (collation, query) = ((*key).sk_collation, (*key).sk_argument);
                let distance = pg_sys::FunctionCall2Coll(function, collation, value, query);
                f64::from_datum(distance, false)
            });
            if let Some(estate) = self.estate.as_ref() {
                let values = (*estate.es_per_tuple_exprcontext).ecxt_per_tuple_memory;
                pg_sys::MemoryContextReset(values);
            }
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::MemoryContextReset(self.scratch);
            distance.flatten()
        }
    }

    /// Lets go of the row that was fetched last.
    ///
    /// # Safety
    /// The scan has not ended.
    pub unsafe fn release(&self) {
        // SAFETY: as the caller promises.
        unsafe {
            pg_sys::ExecClearTuple(self.slot);
        }
    }
}
