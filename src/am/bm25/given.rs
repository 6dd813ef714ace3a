//! The row that a scan of this backend gave last. An executor that takes a row from an index scan in the order of `<@>` also
//! computes `<@>` for it, as a column of the result, and would parse the document again, which takes longer than the
//! search; so the operator asks here first whether the document is that of the row just given.
//!
//! The answer is good while the scan lasts: afterwards the same words may weigh more or less. That the document is that of the
//! row is not guessed: the document must lie in the page that the row is on, within the version of the row that the scan's
//! address leads to, as the value of the column that the index is on.

use std::cell::RefCell;
use std::rc::Rc;

use pgrx::pg_sys;

use crate::storage::Tid;
use crate::storage::page::PAGE_BYTES;

/// What was given.
struct Given {
    index: pg_sys::Oid,
    query: Rc<[u8]>,
    table: pg_sys::Oid,
    column: i16,
    row: Tid,
    distance: f64,
    /// When the statement began. A scan whose statement failed is not ended.
    statement: i64,
}

thread_local! {
    static LAST: RefCell<Option<Given>> = const { RefCell::new(None) };
}

/// Remembers a row that a scan gives for a query of the index `named`.
///
/// # Safety
/// `relation` is the open index of the scan.
pub unsafe fn remember(
    relation: pg_sys::Relation,
    named: pg_sys::Oid,
    query: &Rc<[u8]>,
    row: Tid,
    distance: f64,
) {
    // SAFETY: as the caller promises; an index has a column.
    let (table, column) = unsafe {
        let index = &*(*relation).rd_index;
        (index.indrelid, *index.indkey.values.as_ptr())
    };
    let given = Given {
        index: named,
        query: Rc::clone(query),
        table,
        column,
        row,
        distance,
        // SAFETY: reads a number of this backend's.
        statement: unsafe { pg_sys::GetCurrentStatementStartTimestamp() },
    };
    // The values of an index on an expression lie nowhere.
    LAST.with_borrow_mut(|last| *last = (column > 0).then_some(given));
}

/// Forgets the row: a scan ends.
pub fn forget() {
    LAST.take();
}

/// The distance of a document to a query, if it is that of the row given last.
///
/// # Safety
/// `document` is a value that is not passed in the datum itself.
pub unsafe fn distance(index: pg_sys::Oid, query: &[u8], document: pg_sys::Datum) -> Option<f64> {
    LAST.with_borrow(|last| {
        let last = last.as_ref()?;
        // SAFETY: reads a number of this backend's.
        let statement = unsafe { pg_sys::GetCurrentStatementStartTimestamp() };
        let is_asked = last.index == index && last.statement == statement && *last.query == *query;
        // SAFETY: as the caller promises.
        (is_asked && unsafe { is_of(last, document.cast_mut_ptr()) }).then_some(last.distance)
    })
}

/// Whether a value lies where the row's document does.
unsafe fn is_of(given: &Given, value: *const u8) -> bool {
    // SAFETY: the pool of buffers stays where it is. A value that lies in it is one that an executor holds by a pin, so that
    // the page is not another one's, and no version of a row moves, until it is done.
    unsafe {
        let start = pg_sys::BufferBlocks as usize;
        let Some(offset) = (value as usize).checked_sub(start) else { return false };
        let number = offset / PAGE_BYTES;
        if number >= pg_sys::NBuffers as usize {
            return false;
        }
        let (block, fork, file) = tag(number as pg_sys::Buffer + 1);
        if block != given.row.block || fork != pg_sys::ForkNumber::MAIN_FORKNUM {
            return false;
        }
        let table = pg_sys::RelationIdGetRelation(given.table);
        if table.is_null() {
            return false;
        }
        let page = (start + number * PAGE_BYTES) as *const u8;
        let is_of = file == file_of(table)
            && version_at(page, given.row.offset, value)
                .is_some_and(|(tuple, bytes)| column_of(table, tuple, bytes, given) == Some(value));
        pg_sys::RelationClose(table);
        is_of
    }
}

/// What a file of a relation is known by.
type File = (pg_sys::Oid, pg_sys::Oid, u32);

unsafe fn tag(buffer: pg_sys::Buffer) -> (u32, pg_sys::ForkNumber::Type, File) {
    let (mut fork, mut block) = (pg_sys::ForkNumber::MAIN_FORKNUM, 0);
    // SAFETY: the caller passes a buffer that somebody has pinned.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let file = {
            let mut file = pg_sys::RelFileNode::default();
            pg_sys::BufferGetTag(buffer, &raw mut file, &raw mut fork, &raw mut block);
            (file.spcNode, file.dbNode, file.relNode.to_u32())
        };
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let file = {
            let mut file = pg_sys::RelFileLocator::default();
            pg_sys::BufferGetTag(buffer, &raw mut file, &raw mut fork, &raw mut block);
            (file.spcOid, file.dbOid, file.relNumber.to_u32())
        };
        (block, fork, file)
    }
}

unsafe fn file_of(relation: pg_sys::Relation) -> File {
    // SAFETY: the caller has the relation open.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        {
            let file = (*relation).rd_node;
            (file.spcNode, file.dbNode, file.relNode.to_u32())
        }
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        {
            let file = (*relation).rd_locator;
            (file.spcOid, file.dbOid, file.relNumber.to_u32())
        }
    }
}

/// The version of a row that a value lies in, with its bytes: the one at a line pointer, or one that it leads to on its page.
unsafe fn version_at(
    page: *const u8,
    offset: u16,
    value: *const u8,
) -> Option<(pg_sys::HeapTupleHeader, u32)> {
    let mut offset = offset;
    // SAFETY: the caller passes a pinned page of a table. A chain has fewer versions than a page has line pointers, and those
    // that lead to the visible one do not change.
    unsafe {
        let header = page.cast::<pg_sys::PageHeaderData>();
        let lines = (usize::from((*header).pd_lower)
            .saturating_sub(std::mem::offset_of!(pg_sys::PageHeaderData, pd_linp)))
            / size_of::<pg_sys::ItemIdData>();
        for _ in 0..lines {
            if offset == 0 || usize::from(offset) > lines {
                return None;
            }
            let line = *(*header).pd_linp.as_ptr().add(usize::from(offset) - 1);
            match line.lp_flags() {
                pg_sys::LP_REDIRECT => offset = line.lp_off() as u16,
                pg_sys::LP_NORMAL => {
                    let start = page.add(line.lp_off() as usize);
                    if (start..start.add(line.lp_len() as usize)).contains(&value) {
                        return Some((start.cast_mut().cast(), line.lp_len()));
                    }
                    offset = (*start.cast::<pg_sys::HeapTupleHeaderData>()).t_ctid.ip_posid;
                }
                _ => return None,
            }
        }
    }
    None
}

/// Where the value of the indexed column lies in a version of a row; nothing if it is NULL.
unsafe fn column_of(
    table: pg_sys::Relation,
    tuple: pg_sys::HeapTupleHeader,
    bytes: u32,
    given: &Given,
) -> Option<*const u8> {
    // SAFETY: the caller passes a version of a row of the open table.
    unsafe {
        let columns = (*table).rd_att;
        let count = (*columns).natts as usize;
        let at = usize::try_from(given.column - 1).ok().filter(|&at| at < count)?;
        let (mut values, mut nulls) = (vec![pg_sys::Datum::from(0usize); count], vec![true; count]);
        let mut tuple = pg_sys::HeapTupleData { t_len: bytes, t_data: tuple, ..Default::default() };
        pg_sys::heap_deform_tuple(&raw mut tuple, columns, values.as_mut_ptr(), nulls.as_mut_ptr());
        (!nulls[at]).then(|| values[at].cast_mut_ptr::<u8>().cast_const())
    }
}
