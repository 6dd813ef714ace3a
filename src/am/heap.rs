//! The heap as the access methods see it: addresses of rows, and scans that hand over the indexed column's values.

use std::ffi::c_void;

use leanstack_core::quantize::Value;
use pgrx::pg_sys;
use pgrx::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::error::unwrap;
use crate::storage::Tid;
use crate::types::value::{TypeKind, detoast};

/// A row's address.
///
/// # Safety
/// `tid` points to a valid item pointer.
pub unsafe fn tid(tid: pg_sys::ItemPointer) -> Tid {
    // SAFETY: as the caller promises.
    let tid = unsafe { *tid };
    Tid {
        block: u32::from(tid.ip_blkid.bi_hi) << 16 | u32::from(tid.ip_blkid.bi_lo),
        offset: tid.ip_posid,
    }
}

/// A row's address as the server wants it.
pub fn item_pointer(tid: Tid) -> pg_sys::ItemPointerData {
    pg_sys::ItemPointerData {
        ip_blkid: pg_sys::BlockIdData { bi_hi: (tid.block >> 16) as u16, bi_lo: tid.block as u16 },
        ip_posid: tid.offset,
    }
}

/// A table, an index on one column of it, and the server's description of that index.
#[derive(Clone, Copy)]
pub struct Table {
    /// The table.
    pub heap: pg_sys::Relation,
    /// The index.
    pub index: pg_sys::Relation,
    /// As the server passes it to a build, or from `BuildIndexInfo`.
    pub index_info: *mut pg_sys::IndexInfo,
}

/// A table with an index on a column of vectors of `kind`.
#[derive(Clone, Copy)]
pub struct Source {
    /// The table.
    pub heap: pg_sys::Relation,
    /// The index.
    pub index: pg_sys::Relation,
    /// As for [`Table`].
    pub index_info: *mut pg_sys::IndexInfo,
    /// The type of the column.
    pub kind: TypeKind,
}

/// What a scan calls for each row whose value is not NULL.
pub type EachDatum<'a> = &'a mut dyn FnMut(Tid, pg_sys::Datum);

/// As [`EachDatum`], for vectors.
pub type EachRow<'a> = &'a mut dyn FnMut(Tid, Value<'_>);

/// What a scan calls for each such row before its value is looked at, which may have to be put together from elsewhere; only
/// rows for which it answers true are handed over.
pub type IsWanted<'a> = &'a mut dyn FnMut() -> bool;

#[pg_guard]
unsafe extern "C-unwind" fn row_callback(
    _index: pg_sys::Relation,
    row: pg_sys::ItemPointer,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    _alive: bool,
    each: *mut c_void,
) {
    // SAFETY: the server passes a row of one column and the `EachDatum` that the scan was started with.
    unsafe {
        if !*isnull {
            (*each.cast::<EachDatum<'_>>())(tid(row), *values);
        }
    }
}

/// Seed of the choice of blocks: builds of one table are alike.
const SAMPLE_SEED: u64 = 1;

impl Table {
    /// Goes through all rows that a build would index, reporting progress. Gives how many rows the table has.
    ///
    /// # Safety
    /// The relations are open, and `index_info` describes the index.
    pub unsafe fn scan(&self, mut each: EachDatum<'_>) -> f64 {
        // SAFETY: as the caller promises.
        unsafe {
            pg_sys::table_index_build_scan(
                self.heap,
                self.index,
                self.index_info,
                true,
                true,
                Some(row_callback),
                (&raw mut each).cast(),
                std::ptr::null_mut(),
            )
        }
    }

    /// As [`Source::sample`], with values as they are.
    unsafe fn sample(&self, count: u32, mut each: EachDatum<'_>) -> f64 {
        // SAFETY: as the caller promises; the call is table_index_build_range_scan of tableam.h.
        unsafe {
            let blocks = self.blocks();
            let step = blocks.div_ceil(count).max(1);
            let Some(scan) = (*(*self.heap).rd_tableam).index_build_range_scan else { return 1.0 };
            let mut random = SmallRng::seed_from_u64(SAMPLE_SEED);
            for start in (0..blocks).step_by(step as usize) {
                pgrx::check_for_interrupts!();
                let block = start + random.random_range(0..step.min(blocks - start));
                scan(
                    self.heap,
                    self.index,
                    self.index_info,
                    false,
                    true,
                    false,
                    block,
                    1,
                    Some(row_callback),
                    (&raw mut each).cast(),
                    std::ptr::null_mut(),
                );
            }
            f64::from(blocks.div_ceil(step).max(1)) / f64::from(blocks.max(1))
        }
    }

    /// How many blocks the table has.
    unsafe fn blocks(&self) -> u32 {
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        // SAFETY: as the caller promises.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.heap, main) }
    }

    /// Goes through the rows that a snapshot taken now sees, as a concurrent build would.
    ///
    /// # Safety
    /// As for [`Table::scan`]; `index_info` is the caller's own, and changed here.
    pub unsafe fn scan_visible(&self, mut each: EachDatum<'_>) {
        // SAFETY: as the caller promises.
        unsafe {
            (*self.index_info).ii_Concurrent = true;
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetTransactionSnapshot());
            let none = std::ptr::null_mut();
            let scan = pg_sys::table_beginscan_strat(self.heap, snapshot, 0, none, true, true);
            pg_sys::table_index_build_scan(
                self.heap,
                self.index,
                self.index_info,
                true,
                false,
                Some(row_callback),
                (&raw mut each).cast(),
                scan,
            );
            pg_sys::UnregisterSnapshot(snapshot);
        }
    }
}

impl Source {
    fn table(&self) -> Table {
        Table { heap: self.heap, index: self.index, index_info: self.index_info }
    }

    /// Hands over a value as a vector.
    fn give(&self, row: Tid, datum: pg_sys::Datum, each: EachRow<'_>) {
        // SAFETY: the column is of this kind.
        let value = unsafe { detoast(self.kind, datum) };
        each(row, unwrap(value.value()));
    }

    /// As [`Table::scan`].
    ///
    /// # Safety
    /// As there.
    pub unsafe fn scan(&self, each: EachRow<'_>) -> f64 {
        // SAFETY: as the caller promises.
        unsafe { self.table().scan(&mut |row, datum| self.give(row, datum, each)) }
    }

    /// Goes through the rows that a build would index in at most `count` blocks spread over the table: of as many ranges
    /// one block each, drawn at random, since rows may repeat themselves at a regular distance. Gives the share of the
    /// blocks that this is.
    ///
    /// # Safety
    /// As for [`Table::scan`].
    pub unsafe fn sample(&self, count: u32, is_wanted: IsWanted<'_>, each: EachRow<'_>) -> f64 {
        // SAFETY: as the caller promises.
        unsafe {
            self.table().sample(count, &mut |row, datum| {
                if is_wanted() {
                    self.give(row, datum, each);
                }
            })
        }
    }

    /// How many blocks the table has.
    ///
    /// # Safety
    /// The relations are open.
    pub unsafe fn blocks(&self) -> u32 {
        // SAFETY: as the caller promises.
        unsafe { self.table().blocks() }
    }

    /// As [`Table::scan_visible`].
    ///
    /// # Safety
    /// As there.
    pub unsafe fn scan_visible(&self, each: EachRow<'_>) {
        // SAFETY: as the caller promises.
        unsafe { self.table().scan_visible(&mut |row, datum| self.give(row, datum, each)) }
    }
}

/// The type and type modifier of a relation's first column.
///
/// # Safety
/// `relation` is open.
pub unsafe fn first_column(relation: pg_sys::Relation) -> (pg_sys::Oid, i32) {
    let (mut type_oid, mut typmod, mut collation) = (pg_sys::InvalidOid, -1, pg_sys::InvalidOid);
    // SAFETY: as the caller promises; the three places live here.
    unsafe {
        pg_sys::get_atttypetypmodcoll(
            (*relation).rd_id,
            1,
            &raw mut type_oid,
            &raw mut typmod,
            &raw mut collation,
        );
    }
    (type_oid, typmod)
}
