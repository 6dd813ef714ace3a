//! Operator classes: which type a column has and what its distances mean. Support function 1 of each opclass says it
//! in words, such as `vector l2`.

use leanstack_core::metric::Metric;
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::types::value::TypeKind;

/// Support functions of an opclass.
pub const SUPPORT_FUNCTIONS: u16 = 1;
const NAME_FUNCTION: u16 = 1;

const KINDS: [(&str, TypeKind); 4] = [
    ("vector", TypeKind::Vector),
    ("halfvec", TypeKind::Halfvec),
    ("sparsevec", TypeKind::Sparsevec),
    ("bit", TypeKind::Bit),
];

const METRICS: [(&str, Metric); 6] = [
    ("l2", Metric::L2),
    ("inner_product", Metric::InnerProduct),
    ("cosine", Metric::Cosine),
    ("l1", Metric::L1),
    ("hamming", Metric::Hamming),
    ("jaccard", Metric::Jaccard),
];

/// The number that stands for a type on the metapage.
pub fn kind_number(kind: TypeKind) -> u8 {
    KINDS.iter().position(|(_, k)| *k == kind).unwrap_or(0) as u8
}

/// The type that a number stands for.
pub fn kind_of_number(number: u8) -> Option<TypeKind> {
    KINDS.get(usize::from(number)).map(|(_, kind)| *kind)
}

/// The metric that a number stands for.
pub fn metric_of_number(number: u8) -> Option<Metric> {
    METRICS.iter().map(|(_, metric)| *metric).find(|metric| *metric as u8 == number)
}

/// The names of the type and the metric of the opclass of an index.
///
/// # Safety
/// `relation` is an open index.
pub unsafe fn names(relation: pg_sys::Relation) -> (&'static str, &'static str) {
    // SAFETY: as the caller promises.
    let (kind, metric) = unsafe { of(relation) };
    let kind = KINDS.iter().find(|(_, its)| *its == kind);
    let metric = METRICS.iter().find(|(_, its)| *its == metric);
    (kind.map_or("", |(name, _)| name), metric.map_or("", |(name, _)| name))
}

/// The type and metric of the opclass of an index.
///
/// # Safety
/// `relation` is an open index.
pub unsafe fn of(relation: pg_sys::Relation) -> (TypeKind, Metric) {
    // SAFETY: as the caller promises; the support function takes nothing and returns text. It is in the language SQL,
    // which asks for a snapshot, and ON COMMIT DELETE ROWS rebuilds indexes when there is none.
    let name = unsafe {
        let function = pg_sys::index_getprocinfo(relation, 1, NAME_FUNCTION);
        let without_snapshot = !pg_sys::ActiveSnapshotSet();
        if without_snapshot {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        let datum = pg_sys::FunctionCall0Coll(function, pg_sys::InvalidOid);
        let name = String::from_datum(datum, false);
        if without_snapshot {
            pg_sys::PopActiveSnapshot();
        }
        name
    };
    let name = name.unwrap_or_default();
    let parsed = name.split_once(' ').and_then(|(kind, metric)| {
        let kind = KINDS.iter().find(|(name, _)| *name == kind)?.1;
        let metric = METRICS.iter().find(|(name, _)| *name == metric)?.1;
        Some((kind, metric))
    });
    match parsed {
        Some(parsed) => parsed,
        None => {
            crate::error::fail(
                PgSqlErrorCode::ERRCODE_INVALID_OBJECT_DEFINITION,
                format!("support function 1 of the operator class returned \"{name}\""),
                "It must return a type and a metric, such as \"vector l2\".",
            );
        }
    }
}

/// Accepts every opclass: what is wrong with one shows when an index is built.
#[pg_guard]
pub unsafe extern "C-unwind" fn amvalidate(_opclass: pg_sys::Oid) -> bool {
    true
}
