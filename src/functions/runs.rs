//! What the search for runs reads with the parser of the core. The rest of experiments is SQL, in `sql/experiments`.

use leanstack_core::filter::{Field, Misread, Part, Subject, filter, order};
use pgrx::prelude::*;

use crate::error::fail;

fn field(subject: &Subject) -> String {
    match subject.field {
        Field::Metric => "metric",
        Field::Param => "param",
        Field::Tag => "tag",
        Field::Attribute => "attribute",
    }
    .to_owned()
}

fn misread(what: &str, text: &str, misread: Misread) -> ! {
    let rest: String = text.chars().skip(misread.at).take(20).collect();
    let place = if rest.is_empty() { "its end".to_owned() } else { format!("\"{rest}\"") };
    fail(
        PgSqlErrorCode::ERRCODE_SYNTAX_ERROR,
        format!("{what} \"{text}\": at {place} expected {}", misread.expected),
        "A filter is like metrics.rmse < 1 AND params.model = 'tree', an order like metrics.rmse DESC, started_at.",
    )
}

/// The parts of a filter in their order: words and parentheses as they are, conditions in their pieces.
#[pg_extern(schema = "lean", immutable, strict, parallel_safe)]
#[allow(clippy::type_complexity)]
fn parse_run_filter(
    text: &str,
) -> TableIterator<
    'static,
    (
        name!(word, Option<String>),
        name!(field, Option<String>),
        name!(name, Option<String>),
        name!(operator, Option<String>),
        name!(operands, Option<Vec<String>>),
        name!(numeric, bool),
    ),
> {
    let parts = filter(text).unwrap_or_else(|error| misread("filter", text, error));
    TableIterator::new(parts.into_iter().map(|part| match part {
        Part::Word(word) => (Some(word.to_owned()), None, None, None, None, false),
        Part::Condition(subject, operator, values) => {
            let numeric = !values.is_empty() && values.iter().all(|value| value.number);
            let values = values.into_iter().map(|value| value.text).collect();
            let kind = field(&subject);
            (None, Some(kind), Some(subject.name), Some(operator.to_owned()), Some(values), numeric)
        }
    }))
}

/// What an order goes by, in its order.
#[pg_extern(schema = "lean", immutable, strict, parallel_safe)]
fn parse_run_order(
    text: &str,
) -> TableIterator<'static, (name!(field, String), name!(name, String), name!(descending, bool))> {
    let parts = order(text).unwrap_or_else(|error| misread("order", text, error));
    TableIterator::new(
        parts.into_iter().map(|(subject, descending)| (field(&subject), subject.name, descending)),
    )
}

extension_sql_file!(
    "../../sql/experiments/tracking.sql",
    name = "experiment_tracking",
    requires = ["quantize"]
);
extension_sql_file!(
    "../../sql/experiments/search.sql",
    name = "experiment_search",
    requires = ["experiment_tracking", parse_run_filter, parse_run_order]
);
