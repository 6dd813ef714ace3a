//! The heap as the access methods see it.

use pgrx::pg_sys;

use super::hnsw::page::Tid;

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

/// Calls `callback` for the rows of one heap block that an index would hold.
///
/// # Safety
/// The relations are open, `index_info` describes the index, and `state` is what the callback expects.
pub unsafe fn scan_range(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    index_info: *mut pg_sys::IndexInfo,
    block: u32,
    callback: pg_sys::IndexBuildCallback,
    state: *mut std::ffi::c_void,
) {
    // SAFETY: as the caller promises; this is table_index_build_range_scan of tableam.h.
    unsafe {
        if let Some(scan) = (*(*heap).rd_tableam).index_build_range_scan {
            scan(
                heap,
                index,
                index_info,
                false,
                true,
                false,
                block,
                1,
                callback,
                state,
                std::ptr::null_mut(),
            );
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
