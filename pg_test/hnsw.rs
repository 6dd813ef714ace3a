//! Recall floors of the hnsw index: every operator class, for each way in which an index comes by its nodes. The exact
//! answers come first, from a plain scan, and each case ends with `lean.index_check`. What vacuum leaves is tested in
//! regress/, since no vacuum runs inside a transaction.

#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    /// An operator class, with what a column of it holds.
    struct Case {
        opclass: &'static str,
        ty: &'static str,
        operator: &'static str,
        /// The SQL of a random value of the type.
        value: &'static str,
        floor: f64,
    }

    const DENSE: &str =
        "(SELECT array_agg(random() * random()) FROM generate_series(1, 8) d WHERE i = i)";
    const SPARSE: &str = "(SELECT array_agg(greatest(random() - 0.4, 0)) FROM generate_series(1, 16) d WHERE i = i)::vector";
    const BITS: &str = "(SELECT string_agg((random() < 0.5)::int::text, '') FROM generate_series(1, 52) d WHERE i = i)";
    const TYPES: [(&str, &str, &str); 3] = [
        ("vector", "vector(8)", DENSE),
        ("halfvec", "halfvec(8)", DENSE),
        ("sparsevec", "sparsevec(16)", SPARSE),
    ];
    const METRICS: [(&str, &str, f64); 4] =
        [("l2", "<->", 0.99), ("ip", "<#>", 0.97), ("cosine", "<=>", 0.99), ("l1", "<+>", 0.99)];

    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for (name, ty, value) in TYPES {
            for (metric, operator, floor) in METRICS {
                let opclass = format!("{name}_{metric}_ops").leak();
                cases.push(Case { opclass, ty, operator, value, floor });
            }
        }
        for (opclass, operator) in [("bit_hamming_ops", "<~>"), ("bit_jaccard_ops", "<%>")] {
            cases.push(Case { opclass, ty: "bit(52)", operator, value: BITS, floor: 0.97 });
        }
        cases
    }

    fn run(sql: &str) {
        Spi::run(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    fn get<T: FromDatum + IntoDatum>(sql: &str) -> T {
        Spi::get_one(sql).unwrap_or_else(|error| panic!("{error}: {sql}")).unwrap()
    }

    impl Case {
        /// Makes the table and the queries, without an index.
        fn create_table(&self) {
            run("DROP TABLE IF EXISTS items, queries, exact");
            run(&format!("CREATE TABLE items (id serial PRIMARY KEY, v {})", self.ty));
            run("SELECT setseed(0.25)");
            run(&format!(
                "CREATE TABLE queries AS SELECT i AS id, {}::{} AS v FROM generate_series(1, 30) i",
                self.value, self.ty
            ));
        }

        fn insert(&self, rows: usize) {
            run(&format!(
                "INSERT INTO items (v) SELECT {}::{} FROM generate_series(1, {rows}) i",
                self.value, self.ty
            ));
        }

        fn create_index(&self, options: &str) {
            run(&format!("CREATE INDEX items_v ON items USING hnsw (v {}){options}", self.opclass));
        }

        /// The distances of the nearest ten of each query.
        fn nearest(&self) -> String {
            let op = self.operator;
            format!(
                "SELECT q.id, n.d FROM queries q,
                LATERAL (SELECT items.v {op} q.v AS d FROM items ORDER BY items.v {op} q.v LIMIT 10) n"
            )
        }

        /// Remembers how far the tenth is, by a plain scan.
        fn find_exact(&self) {
            run("SET LOCAL enable_indexscan = off; SET LOCAL enable_seqscan = on");
            run("DROP TABLE IF EXISTS exact");
            run(&format!(
                "CREATE TABLE exact AS SELECT id, max(d) AS d FROM ({}) n GROUP BY id",
                self.nearest()
            ));
        }

        /// The index finds the share of them that it should, and is sound.
        fn check(&self, situation: &str) {
            run(
                "SET LOCAL enable_indexscan = on; SET LOCAL enable_seqscan = off; SET LOCAL hnsw.ef_search = 100",
            );
            let plan = Spi::explain(&self.nearest()).unwrap();
            assert!(plan.0.to_string().contains("\"items_v\""), "{}: {}", self.opclass, plan.0);
            let recall: f64 = get(&format!(
                "SELECT count(*) FILTER (WHERE n.d <= exact.d)::float8 / (SELECT 10 * count(*) FROM queries)
                FROM ({}) n JOIN exact USING (id)",
                self.nearest()
            ));
            assert!(recall >= self.floor, "{} {situation}: recall {recall}", self.opclass);
            let unsound: String = get(
                "SELECT coalesce(string_agg(check_name || ': ' || detail, '; ') FILTER (WHERE NOT ok), '')
                FROM lean.index_check('items_v')",
            );
            assert_eq!(unsound, "", "{} {situation}", self.opclass);
        }
    }

    fn built_with(rows: usize, settings: &str, options: &str) {
        for case in cases() {
            case.create_table();
            case.insert(rows);
            case.find_exact();
            run(settings);
            case.create_index(options);
            case.check(&format!("with {settings}"));
        }
    }

    #[pg_test]
    fn recall_after_serial_build() {
        built_with(1200, "SET LOCAL max_parallel_maintenance_workers = 0", "");
    }

    #[pg_test]
    fn recall_after_parallel_build() {
        built_with(1200, "SET LOCAL max_parallel_maintenance_workers = 4", "");
    }

    /// With so many links, not all of the rows fit into a megabyte.
    #[pg_test]
    fn recall_after_build_in_low_memory() {
        built_with(
            1500,
            "SET LOCAL maintenance_work_mem = '1MB'",
            " WITH (m = 50, ef_construction = 100)",
        );
    }

    #[pg_test]
    fn recall_after_inserts() {
        for case in cases() {
            case.create_table();
            case.create_index("");
            case.insert(700);
            case.find_exact();
            case.check("after inserts");
        }
    }

    #[pg_test]
    fn recall_after_build_inserts_and_updates() {
        for case in cases() {
            case.create_table();
            case.insert(500);
            case.create_index("");
            case.insert(300);
            run("UPDATE items SET id = id + 100000 WHERE id % 5 = 0");
            run(&format!(
                "UPDATE items i SET v = {}::{} WHERE id % 7 = 0",
                case.value.replace("i = i", "i.id > 0"),
                case.ty
            ));
            run("DELETE FROM items WHERE id % 3 = 0");
            case.find_exact();
            case.check("after updates");
        }
    }

    /// Ten rows of each vector: those of the nearest are the nearest ten.
    #[pg_test]
    fn recall_among_duplicates() {
        for case in cases() {
            case.create_table();
            case.insert(200);
            run("INSERT INTO items (v) SELECT v FROM items, generate_series(1, 4)");
            case.create_index("");
            run("INSERT INTO items (v) SELECT v FROM items");
            case.find_exact();
            case.check("among duplicates");
            run("SET LOCAL hnsw.ef_search = 1");
            let found: i64 = get(&format!("SELECT count(*) FROM ({}) n", case.nearest()));
            assert_eq!(found, 300, "{}", case.opclass);
        }
    }

    /// Rows have the same answers whatever the nodes hold of them.
    #[pg_test]
    fn recall_of_each_quantization() {
        for case in cases().iter().filter(|case| case.value == DENSE) {
            case.create_table();
            case.insert(700);
            case.find_exact();
            for quantization in ["none", "sq8", "half", "auto"] {
                case.create_index(&format!(" WITH (quantization = {quantization})"));
                case.check(quantization);
                run("DROP INDEX items_v");
            }
        }
    }
}
