//! `CREATE INDEX`: the documents of the table become one segment, and all pages are logged once.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::gather::Gather;
use super::meta::{Buffer, MAX_WEIGHTS, Meta};
use super::options;
use super::page::{META_BLOCK, init_buffer_page};
use super::segments::{self, raise};
use super::words::{Bag, Reader, Source, config_name};
use crate::am::heap::Table;
use crate::am::progress;
use crate::guc;
use crate::storage::{WalTxn, WriteGuard, corrupt, fresh};
use crate::threads;

/// The catalog `pg_ts_config`.
const TEXT_CONFIGS: pg_sys::Oid = pg_sys::Oid::from_u32(3602);
/// Labels that the positions of a tsvector can have.
const LABELS: usize = 4;
/// The stamp of the first write buffer, and of the segment that a build writes.
const FIRST_BUFFER: u32 = 1;
const FIRST_SEGMENT: u32 = 2;

/// Phases, as `pg_stat_progress_create_index` shows them.
#[derive(Clone, Copy)]
#[repr(i64)]
enum Phase {
    Initialize = 1,
    Read = 2,
    Write = 3,
}

/// Names a phase.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildphasename(phase: i64) -> *mut std::ffi::c_char {
    let name = match phase {
        p if p == Phase::Initialize as i64 => c"initializing",
        p if p == Phase::Read as i64 => c"reading documents",
        p if p == Phase::Write as i64 => c"writing postings",
        _ => return std::ptr::null_mut(),
    };
    name.as_ptr().cast_mut()
}

fn enter(phase: Phase) {
    progress::phase(phase as i64);
}

/// Builds an index.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuild(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    index_info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    // SAFETY: the server passes open relations and the description of the index; nobody else sees the index yet.
    unsafe {
        enter(Phase::Initialize);
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        let mut meta = start(index, fork);
        let Some(mut reader) = Reader::new(&meta) else {
            corrupt(index, META_BLOCK, "a new index contradicts itself")
        };
        enter(Phase::Read);
        let (mut heap_tuples, mut bag, mut documents) = (0.0, Bag::default(), 0);
        let entry = segments::write(index, &meta, FIRST_SEGMENT, true, |writer| {
            let mut gather =
                Gather::new(writer, guc::build_memory_bytes(), threads::build_threads());
            let mut failed = None;
            let table = Table { heap, index, index_info };
            heap_tuples = table.scan(&mut |row, document| {
                if failed.is_some() {
                    return;
                }
                if gather.documents() == u32::MAX {
                    too_many();
                }
                reader.read(document, &mut bag);
                failed = gather.push(row, bag.length, bag.iter()).err();
            });
            if let Some(fault) = failed {
                return Err(fault);
            }
            documents = gather.documents();
            if documents == 0 {
                return Ok(None);
            }
            enter(Phase::Write);
            gather.finish().map(Some)
        });
        meta.segments.extend(entry.unwrap_or_else(|fault| raise(index, &fault)));
        let first = WriteGuard::new(index, META_BLOCK);
        let mut txn = WalTxn::new(index, true);
        meta.write(txn.page(&first));
        txn.commit();
        drop(first);
        fresh::log_whole(index, fork);
        let mut result = PgBox::<pg_sys::IndexBuildResult>::alloc0();
        result.heap_tuples = heap_tuples;
        result.index_tuples = f64::from(documents);
        result.into_pg()
    }
}

fn too_many() -> ! {
    crate::error::fail(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        "a bm25 index cannot have more than 4294967295 documents",
        "Partition the table.",
    )
}

/// Writes the empty index that an unlogged table's index is reset to.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildempty(index: pg_sys::Relation) {
    // SAFETY: the server passes the open index.
    unsafe {
        let fork = pg_sys::ForkNumber::INIT_FORKNUM;
        start(index, fork);
        fresh::log_whole(index, fork);
    }
}

/// Writes the metapage and an empty write buffer.
unsafe fn start(index: pg_sys::Relation, fork: pg_sys::ForkNumber::Type) -> Meta {
    // SAFETY: the caller has the index open, and nobody else sees it.
    unsafe {
        if (*(*index).rd_att).natts != 1 {
            crate::error::fail(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "a bm25 index has one column",
                "Index several together, with weights if they matter differently: USING bm25 ((ARRAY[title, body])) WITH (weights = '{2,1}').",
            );
        }
        let Some(source) = Source::of_type(*(*index).rd_opcintype) else {
            corrupt(index, META_BLOCK, "the operator class is for another type")
        };
        let options = options::of(index);
        check_weights(source, &options.weights);
        let Some(config) = config_name(options.config) else {
            corrupt(index, META_BLOCK, "the text search configuration is gone")
        };
        if fork == pg_sys::ForkNumber::MAIN_FORKNUM {
            depend(index, options.config);
        }
        let head = META_BLOCK + 1;
        let meta = Meta {
            build_id: rand::random(),
            config,
            source: source as u8,
            weights: options.weights,
            params: options.params,
            next_stamp: FIRST_SEGMENT + 1,
            is_unclean: false,
            active: Buffer { stamp: FIRST_BUFFER, head, tail: head, pages: 1 },
            sealed: Buffer::NONE,
            segments: Vec::new(),
        };
        fresh::add_page(index, fork, |page| meta.write(page));
        fresh::add_page(index, fork, |page| init_buffer_page(page, FIRST_BUFFER));
        meta
    }
}

/// Records that an index depends on its text search configuration, which then is not dropped without it.
unsafe fn depend(index: pg_sys::Relation, config: pg_sys::Oid) {
    let address =
        |class, object| pg_sys::ObjectAddress { classId: class, objectId: object, objectSubId: 0 };
    let normal = pg_sys::DependencyType::DEPENDENCY_NORMAL;
    // SAFETY: the caller has the index open; what a build before this one recorded is taken back.
    unsafe {
        let own = address(pg_sys::RelationRelationId, (*index).rd_id);
        let on = address(TEXT_CONFIGS, config);
        pg_sys::deleteDependencyRecordsForSpecific(
            own.classId,
            own.objectId,
            normal as std::ffi::c_char,
            on.classId,
            on.objectId,
        );
        pg_sys::recordDependencyOn(&raw const own, &raw const on, normal);
    }
}

/// Raises an error for weights that do not suit the type.
fn check_weights(source: Source, weights: &[u8; MAX_WEIGHTS]) {
    let count = weights.iter().filter(|&&weight| weight > 0).count();
    let what = match source {
        _ if count == 0 => return,
        Source::Array => return,
        Source::Text if count == 1 => return,
        Source::Tsvector if count == LABELS => return,
        Source::Text => "one weight, which changes nothing but lengths",
        Source::Tsvector => "four weights, for the labels D, C, B and A",
    };
    crate::error::fail(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("{count} weights for a bm25 index on a column of type {}", source.name()),
        &format!(
            "A column of type {} takes {what}. For several columns: USING bm25 ((ARRAY[title, body])) WITH (weights = '{{2,1}}').",
            source.name()
        ),
    )
}
