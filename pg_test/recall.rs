//! What the tests of the access methods share: a table for each operator class, its exact answers from a plain scan, and
//! what an index finds of them.

use pgrx::prelude::*;

/// An operator class of an access method, with what a column of it holds.
#[derive(Clone)]
pub struct Case {
    pub am: &'static str,
    pub opclass: String,
    pub ty: &'static str,
    pub operator: &'static str,
    /// The SQL of a value of the type, that of row `i`.
    pub value: &'static str,
    /// `WITH` these options, `lists = 5` say.
    pub options: &'static str,
    /// The share of the nearest that the index must find.
    pub floor: f64,
}

/// How many queries there are, and how many rows each asks for.
const QUERIES: usize = 30;
const LIMIT: usize = 10;

pub fn run(sql: &str) {
    Spi::run(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
}

pub fn get<T: FromDatum + IntoDatum>(sql: &str) -> T {
    Spi::get_one(sql).unwrap_or_else(|error| panic!("{error}: {sql}")).unwrap()
}

impl Case {
    /// Makes the table and the queries, without an index.
    pub fn create_table(&self) {
        run("DROP TABLE IF EXISTS items, queries, exact");
        run(&format!("CREATE TABLE items (id serial PRIMARY KEY, v {})", self.ty));
        run("SELECT setseed(0.25)");
        run(&format!(
            "CREATE TABLE queries AS SELECT i AS id, {}::{} AS v FROM generate_series(1, {QUERIES}) i",
            self.value, self.ty
        ));
    }

    pub fn insert(&self, rows: usize) {
        run(&format!(
            "INSERT INTO items (v) SELECT {}::{} FROM generate_series(1, {rows}) i",
            self.value, self.ty
        ));
    }

    /// Gives some rows another place, some another value, and deletes a third.
    pub fn update(&self) {
        run("UPDATE items SET id = id + 100000 WHERE id % 5 = 0");
        run(&format!(
            "UPDATE items SET v = n.v FROM (SELECT i, {}::{} AS v FROM generate_series(1, 1000) i) n
            WHERE id % 7 = 0 AND i = id",
            self.value, self.ty
        ));
        run("DELETE FROM items WHERE id % 3 = 0");
    }

    pub fn create_index(&self) {
        let Case { am, opclass, options, .. } = self;
        let with = if options.is_empty() { String::new() } else { format!(" WITH ({options})") };
        run(&format!("CREATE INDEX items_v ON items USING {am} (v {opclass}){with}"));
    }

    /// The distances of the nearest rows of each query.
    pub fn nearest(&self, limit: usize) -> String {
        let op = self.operator;
        format!(
            "SELECT q.id, n.d FROM queries q,
            LATERAL (SELECT items.v {op} q.v AS d FROM items ORDER BY items.v {op} q.v LIMIT {limit}) n"
        )
    }

    /// Remembers the distances of all rows from each query, the nearest first, by a plain scan.
    pub fn find_exact(&self) {
        let op = self.operator;
        run(
            "SET LOCAL enable_indexscan = off; SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on",
        );
        run("DROP TABLE IF EXISTS exact");
        run(&format!(
            "CREATE TABLE exact AS SELECT id, ARRAY(SELECT items.v {op} q.v AS d FROM items ORDER BY d) AS d FROM queries q"
        ));
    }

    /// The index finds the share of them that it should, and is sound.
    pub fn check(&self, situation: &str) {
        let recall = self.recall();
        assert!(recall >= self.floor, "{} {situation}: recall {recall}", self.name());
        self.check_sound(situation);
    }

    /// The share of the nearest rows that the index finds.
    pub fn recall(&self) -> f64 {
        self.use_index();
        get(&format!(
            "SELECT count(*) FILTER (WHERE n.d <= exact.d[{LIMIT}])::float8 / (SELECT {LIMIT} * count(*) FROM queries)
            FROM ({}) n JOIN exact USING (id)",
            self.nearest(LIMIT)
        ))
    }

    /// Makes the planner use the index.
    pub fn use_index(&self) {
        run(
            "SET LOCAL enable_indexscan = on; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off",
        );
        let plan = Spi::explain(&self.nearest(LIMIT)).unwrap();
        assert!(plan.0.to_string().contains("\"items_v\""), "{}: {}", self.name(), plan.0);
    }

    /// `lean.index_check` has nothing against the index.
    pub fn check_sound(&self, situation: &str) {
        let unsound: String = get(
            "SELECT coalesce(string_agg(check_name || ': ' || detail, '; ') FILTER (WHERE NOT ok), '')
            FROM lean.index_check('items_v')",
        );
        assert_eq!(unsound, "", "{} {situation}", self.name());
    }

    /// What failures call the case.
    pub fn name(&self) -> String {
        format!("{} {} {}", self.am, self.opclass, self.options)
    }
}
