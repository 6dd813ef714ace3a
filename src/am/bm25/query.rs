//! Queries: the SQL type `bm25query`, an index's part in them, and scores of documents that are not looked up by an index.

use leanstack_core::bm25::Params;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;

use super::meta::Meta;
use super::sight::{Counts, Weighed, Word, look};
use super::words::{Bag, Reader, Source};
use super::{given, is_bm25};
use crate::error::fail;
use crate::types::call::{Arg, Kept, datum, export_calls};

mod server {
    use pgrx::pg_sys::{List, Oid};
    unsafe extern "C-unwind" {
        pub fn find_all_inheritors(parent: Oid, lock: i32, parents: *mut *mut List) -> *mut List;
    }
}

const SHARE: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

/// A value of type `bm25query`.
pub struct Query {
    /// A text.
    pub text: pg_sys::Datum,
    /// The index whose documents count.
    pub index: pg_sys::Oid,
}

impl Query {
    /// Reads a value; nothing if a part of it is NULL.
    ///
    /// # Safety
    /// `datum` is of type `bm25query`.
    pub unsafe fn read(datum: pg_sys::Datum) -> Option<Query> {
        let (mut no_text, mut no_index) = (false, false);
        // SAFETY: as the caller promises: the attributes are a text and a regclass.
        unsafe {
            let tuple: pg_sys::HeapTupleHeader =
                pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast();
            let text = pg_sys::GetAttributeByNum(tuple, 1, &raw mut no_text);
            let index = pg_sys::GetAttributeByNum(tuple, 2, &raw mut no_index);
            let index = pg_sys::Oid::from(index.value() as u32);
            (!no_text && !no_index).then_some(Query { text, index })
        }
    }
}

/// The words of a query for an index.
///
/// # Safety
/// `text` is a text.
pub unsafe fn words(reader: &mut Reader, text: pg_sys::Datum) -> Vec<Word> {
    let mut bag = Bag::default();
    // SAFETY: as the caller promises.
    unsafe { reader.read_query(text, &mut bag) };
    bag.iter().map(|(word, times)| (word.to_vec(), times)).collect()
}

/// The indexes with documents that a name stands for: itself, or those of the partitions.
///
/// # Safety
/// Called in a transaction. The indexes are locked until it ends.
pub unsafe fn leaves(index: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    // SAFETY: plain look-ups; the list is the server's, of OIDs.
    unsafe {
        if pg_sys::get_rel_relkind(index) as u8 != pg_sys::RELKIND_PARTITIONED_INDEX {
            return vec![index];
        }
        let none = std::ptr::null_mut();
        let all = pg_guard_ffi_boundary(|| server::find_all_inheritors(index, SHARE, none));
        let at = |at: i32| pg_sys::list_nth_oid(all, at);
        let count = if all.is_null() { 0 } else { (*all).length };
        let is_leaf =
            |oid: &pg_sys::Oid| pg_sys::get_rel_relkind(*oid) as u8 == pg_sys::RELKIND_INDEX;
        (0..count).map(at).filter(is_leaf).collect()
    }
}

/// The index that an expression of type `bm25query` names, where that is known before it is run.
///
/// # Safety
/// `query` is such an expression.
pub unsafe fn named_in(query: *mut pg_sys::Node) -> Option<pg_sys::Oid> {
    // SAFETY: as the caller promises: the only function of that type takes the index as its second argument.
    unsafe {
        let as_const = |node: *mut pg_sys::Node| {
            let is_const = (*node).type_ == pg_sys::NodeTag::T_Const;
            is_const.then(|| &*node.cast::<pg_sys::Const>()).filter(|value| !value.constisnull)
        };
        if let Some(value) = as_const(query) {
            return Query::read(value.constvalue).map(|query| query.index);
        }
        if (*query).type_ != pg_sys::NodeTag::T_FuncExpr {
            return None;
        }
        let args = (*query.cast::<pg_sys::FuncExpr>()).args;
        if args.is_null() || (*args).length != 2 {
            return None;
        }
        let index = as_const(pg_sys::list_nth(args, 1).cast())?;
        (index.consttype == pg_sys::REGCLASSOID)
            .then(|| pg_sys::Oid::from(index.constvalue.value() as u32))
    }
}

/// Weighs a query of a scan of `relation` that names another index: one that this is a partition of.
///
/// # Safety
/// `relation` is an open and locked `bm25` index.
pub unsafe fn weigh_above(
    relation: pg_sys::Relation,
    named: pg_sys::Oid,
    words: &[Word],
    params: Params,
) -> Weighed {
    // SAFETY: as the caller promises.
    unsafe {
        let leaves = leaves(named);
        if !leaves.contains(&(*relation).rd_id) {
            fail(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!(
                    "a scan of index \"{}\" cannot answer a query for index \"{}\"",
                    name((*relation).rd_id),
                    name(named)
                ),
                "Name the index of the table and column that the query is about, or drop one of the two.",
            );
        }
        Weighed::new(words, params, &counts_of(&leaves, words))
    }
}

/// What several indexes count together.
unsafe fn counts_of(leaves: &[pg_sys::Oid], words: &[Word]) -> Counts {
    let mut counts = Counts::none(words.len());
    for &leaf in leaves {
        // SAFETY: the caller passes indexes; each is opened and closed here.
        unsafe {
            let relation = pg_sys::index_open(leaf, SHARE);
            require_bm25(relation, leaf);
            look(relation, words, |_, sight| {
                counts.add(&sight.counts);
                Ok(())
            });
            pg_sys::index_close(relation, SHARE);
        }
    }
    counts
}

unsafe fn require_bm25(relation: pg_sys::Relation, oid: pg_sys::Oid) {
    // SAFETY: the caller has the index open.
    if unsafe { !is_bm25(relation) } {
        not_bm25(oid);
    }
}

fn not_bm25(oid: pg_sys::Oid) -> ! {
    fail(
        PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
        format!("\"{}\" is not a bm25 index", name(oid)),
        "Name an index made by CREATE INDEX … USING bm25.",
    )
}

/// A relation's name, for messages.
fn name(oid: pg_sys::Oid) -> String {
    // SAFETY: looks in the catalogs; the name is ours.
    unsafe {
        let name = pg_sys::get_rel_name(oid);
        if name.is_null() {
            return format!("OID {}", oid.to_u32());
        }
        std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// A query ready to judge documents.
struct Judge {
    text: Vec<u8>,
    index: pg_sys::Oid,
    reader: Reader,
    words: Vec<Word>,
    weighed: Weighed,
}

impl Judge {
    /// Reads what the index counts.
    unsafe fn new(query: &Query, source: Source) -> Judge {
        let Query { text, index } = *query;
        // SAFETY: the caller passes a query; what is opened is an index, and closed here.
        unsafe {
            let table = pg_sys::IndexGetRelation(index, true);
            if table == pg_sys::InvalidOid {
                not_bm25(index);
            }
            require_select(table, index);
            let leaves = leaves(index);
            let Some(&first) = leaves.first() else {
                fail(
                    PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("index \"{}\" has no partitions", name(index)),
                    "A table without partitions has no documents to compare with.",
                )
            };
            let relation = pg_sys::index_open(first, SHARE);
            require_bm25(relation, first);
            let meta = Meta::load(relation);
            let mut reader = Reader::of(source, &meta);
            pg_sys::index_close(relation, SHARE);
            let words = words(&mut reader, text);
            let weighed = Weighed::new(&words, meta.params, &counts_of(&leaves, &words));
            Judge { text: bytes_of(text), index, reader, words, weighed }
        }
    }

    fn is_for(&self, index: pg_sys::Oid, text: &[u8]) -> bool {
        self.index == index && self.text == text
    }

    unsafe fn score(&mut self, document: pg_sys::Datum) -> f64 {
        let mut bag = Bag::default();
        // SAFETY: the caller passes a document of the type that the reader reads.
        unsafe { self.reader.read(document, &mut bag) };
        let has: Vec<(&[u8], u32)> = bag.iter().collect();
        let times = |(word, _): &Word| {
            has.binary_search_by(|(its, _)| (*its).cmp(word)).map_or(0, |at| has[at].1)
        };
        let times: Vec<u32> = self.words.iter().map(times).collect();
        self.weighed.score(&times, bag.length)
    }
}

/// The bytes of a text.
///
/// # Safety
/// `text` is one.
pub unsafe fn bytes_of(text: pg_sys::Datum) -> Vec<u8> {
    // SAFETY: the caller passes a text.
    unsafe {
        let text = pg_sys::pg_detoast_datum_packed(text.cast_mut_ptr());
        let len = pgrx::varlena::varsize_any_exhdr(text);
        std::slice::from_raw_parts(pgrx::varlena::vardata_any(text).cast::<u8>(), len).to_vec()
    }
}

/// Counts of words tell about documents, so they are for those who may read them.
unsafe fn require_select(table: pg_sys::Oid, index: pg_sys::Oid) {
    // SAFETY: looks in the catalogs.
    unsafe {
        let (user, select) = (pg_sys::GetUserId(), pg_sys::ACL_SELECT as pg_sys::AclMode);
        let ok = pg_sys::AclResult::ACLCHECK_OK;
        let relation = pg_sys::index_open(index, SHARE);
        let column = *(*(*relation).rd_index).indkey.values.as_ptr();
        pg_sys::index_close(relation, SHARE);
        // An index on an expression is on several columns, perhaps.
        if pg_sys::pg_class_aclcheck(table, user, select) != ok
            && (column == 0 || pg_sys::pg_attribute_aclcheck(table, column, user, select) != ok)
        {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("permission denied for table {}", name(table))
            );
        }
    }
}

/// Makes a value of type `bm25query`.
unsafe fn to_query(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: PostgreSQL calls, as SQL declares it: the result is a row of as many columns as there are arguments.
    unsafe {
        let mut columns = std::ptr::null_mut();
        pg_sys::get_call_result_type(call, std::ptr::null_mut(), &raw mut columns);
        if columns.is_null() || (*columns).natts != 2 {
            ereport!(ERROR, PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "bm25query is not a row type");
        }
        let columns = pg_sys::BlessTupleDesc(columns);
        let args = [0, 1].map(|at| *(*call).args.as_ptr().add(at));
        let mut values = args.map(|arg| arg.value);
        let mut nulls = args.map(|arg| arg.isnull);
        let tuple = pg_sys::heap_form_tuple(columns, values.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)
    }
}

/// The distance of a document, which is not NULL, to a query.
unsafe fn distance(call: pg_sys::FunctionCallInfo, source: Source) -> pg_sys::Datum {
    // SAFETY: PostgreSQL calls, with the arguments that SQL declares: a document and a bm25query, not NULL. The reader is
    // made in the memory of the function's record, and so is what is kept of it.
    unsafe {
        let Some(query) = Query::read(datum(call, 1)) else {
            (*call).isnull = true;
            return pg_sys::Datum::from(0usize);
        };
        let text = bytes_of(query.text);
        if let Some(distance) = given::distance(query.index, &text, datum(call, 0)) {
            return pg_sys::Datum::from(distance.to_bits());
        }
        let kept = Kept::<Judge>::fetch(call, 2);
        let mut kept = crate::error::unwrap(kept);
        if !kept.as_ref().is_some_and(|judge| judge.is_for(query.index, &text)) {
            let memory = (*(*call).flinfo).fn_mcxt;
            let before = pg_sys::MemoryContextSwitchTo(memory);
            if let Some(judge) = kept.take() {
                judge.reader.free();
            }
            *kept = Some(Judge::new(&query, source));
            pg_sys::MemoryContextSwitchTo(before);
        }
        let score = kept.as_mut().map_or(0.0, |judge| judge.score(datum(call, 0)));
        // Not the negative: that of 0 is -0.
        pg_sys::Datum::from((0.0 - score).to_bits())
    }
}

/// The distance to a query that names no index, for whose column there is none either.
unsafe fn unnamed(_call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    fail(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "there is no bm25 index to rank by",
        "Create one on what stands left of <@>: CREATE INDEX … USING bm25 (column); or name one: column <@> to_bm25query('words', 'index').",
    )
}

export_calls! {
    "bm25_" "distance_text" = |call| distance(call, Source::Text);
    "bm25_" "distance_tsvector" = |call| distance(call, Source::Tsvector);
    "bm25_" "distance_array" = |call| distance(call, Source::Array);
    "bm25_" "distance_unnamed" = |call| unnamed(call);
    "bm25_" "to_query" = |call| to_query(call);
    "bm25_" "distance_support" = |call| super::support::simplify(call);
}
