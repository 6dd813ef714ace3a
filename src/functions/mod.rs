//! SQL-callable functions by topic, each a few lines into `leanstack_core`.

mod search;
