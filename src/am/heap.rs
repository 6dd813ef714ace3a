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

/// A table, an index on a column of `kind` in it, and the server's description of that index.
#[derive(Clone, Copy)]
pub struct Source {
    /// The table.
    pub heap: pg_sys::Relation,
    /// The index.
    pub index: pg_sys::Relation,
    /// As the server passes it to a build, or from `BuildIndexInfo`.
    pub index_info: *mut pg_sys::IndexInfo,
    /// The type of the column.
    pub kind: TypeKind,
}

/// What a scan calls for each row whose value is not NULL.
pub type EachRow<'a> = &'a mut dyn FnMut(Tid, Value<'_>);

/// What a scan calls for each such row before its value is looked at, which may have to be put together from elsewhere; only
/// rows for which it answers true are handed over.
pub type IsWanted<'a> = &'a mut dyn FnMut() -> bool;

struct Rows<'a> {
    kind: TypeKind,
    is_wanted: IsWanted<'a>,
    each: EachRow<'a>,
}

#[pg_guard]
unsafe extern "C-unwind" fn row_callback(
    _index: pg_sys::Relation,
    row: pg_sys::ItemPointer,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    _alive: bool,
    rows: *mut c_void,
) {
    // SAFETY: the server passes a row of one column and the `Rows` that the scan was started with.
    unsafe {
        let rows = &mut *rows.cast::<Rows<'_>>();
        if *isnull || !(rows.is_wanted)() {
            return;
        }
        let value = detoast(rows.kind, *values);
        (rows.each)(tid(row), unwrap(value.value()));
    }
}

/// Seed of the choice of blocks: builds of one table are alike.
const SAMPLE_SEED: u64 = 1;

impl Source {
    /// Goes through all rows that a build would index, reporting progress. Gives how many rows the table has.
    ///
    /// # Safety
    /// The relations are open, and `index_info` describes the index.
    pub unsafe fn scan(&self, each: EachRow<'_>) -> f64 {
        let mut rows = Rows { kind: self.kind, is_wanted: &mut || true, each };
        // SAFETY: as the caller promises.
        unsafe {
            pg_sys::table_index_build_scan(
                self.heap,
                self.index,
                self.index_info,
                true,
                true,
                Some(row_callback),
                (&raw mut rows).cast(),
                std::ptr::null_mut(),
            )
        }
    }

    /// Goes through the rows that a build would index in at most `count` blocks spread over the table: of as many ranges
    /// one block each, drawn at random, since rows may repeat themselves at a regular distance. Gives the share of the
    /// blocks that this is.
    ///
    /// # Safety
    /// As for [`Source::scan`].
    pub unsafe fn sample(&self, count: u32, is_wanted: IsWanted<'_>, each: EachRow<'_>) -> f64 {
        let mut rows = Rows { kind: self.kind, is_wanted, each };
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
                    (&raw mut rows).cast(),
                    std::ptr::null_mut(),
                );
            }
            f64::from(blocks.div_ceil(step).max(1)) / f64::from(blocks.max(1))
        }
    }

    /// How many blocks the table has.
    ///
    /// # Safety
    /// The relations are open.
    pub unsafe fn blocks(&self) -> u32 {
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        // SAFETY: as the caller promises.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.heap, main) }
    }

    /// Goes through the rows that a snapshot taken now sees, as a concurrent build would.
    ///
    /// # Safety
    /// As for [`Source::scan`]; `index_info` is the caller's own, and changed here.
    pub unsafe fn scan_visible(&self, each: EachRow<'_>) {
        let mut rows = Rows { kind: self.kind, is_wanted: &mut || true, each };
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
                (&raw mut rows).cast(),
                scan,
            );
            pg_sys::UnregisterSnapshot(snapshot);
        }
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
