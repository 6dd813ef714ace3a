//! Recall floors of the hnsw index: every operator class, for each way in which an index comes by its nodes. The exact
//! answers come first, from a plain scan, and each case ends with `lean.index_check`. What vacuum leaves is tested in
//! regress/, since no vacuum runs inside a transaction.

#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use crate::pg_test::recall::{Case, get, run};

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

    fn case(
        opclass: String,
        ty: &'static str,
        operator: &'static str,
        value: &'static str,
        floor: f64,
    ) -> Case {
        Case { am: "hnsw", opclass, ty, operator, value, options: "", floor }
    }

    fn cases() -> Vec<Case> {
        run("SET LOCAL hnsw.ef_search = 100");
        let mut cases = Vec::new();
        for (name, ty, value) in TYPES {
            for (metric, operator, floor) in METRICS {
                let opclass = format!("{name}_{metric}_ops");
                cases.push(case(opclass, ty, operator, value, floor));
            }
        }
        for (opclass, operator) in [("bit_hamming_ops", "<~>"), ("bit_jaccard_ops", "<%>")] {
            cases.push(case(opclass.into(), "bit(52)", operator, BITS, 0.97));
        }
        cases
    }

    fn built_with(rows: usize, settings: &str, options: &'static str) {
        for case in cases() {
            let case = Case { options, ..case };
            case.create_table();
            case.insert(rows);
            case.find_exact();
            run(settings);
            case.create_index();
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
        built_with(1500, "SET LOCAL maintenance_work_mem = '1MB'", "m = 50, ef_construction = 100");
    }

    #[pg_test]
    fn recall_after_inserts() {
        for case in cases() {
            case.create_table();
            case.create_index();
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
            case.create_index();
            case.insert(300);
            case.update();
            case.find_exact();
            case.check("after updates");
        }
    }

    /// Ten rows of each vector: those of the nearest are the nearest ten.
    #[pg_test]
    fn recall_among_duplicates() {
        for case in cases() {
            run("SET LOCAL hnsw.ef_search = 100");
            case.create_table();
            case.insert(200);
            run("INSERT INTO items (v) SELECT v FROM items, generate_series(1, 4)");
            case.create_index();
            run("INSERT INTO items (v) SELECT v FROM items");
            case.find_exact();
            case.check("among duplicates");
            run("SET LOCAL hnsw.ef_search = 1");
            let found: i64 = get(&format!("SELECT count(*) FROM ({}) n", case.nearest(10)));
            assert_eq!(found, 300, "{}", case.name());
        }
    }

    /// Rows have the same answers whatever the nodes hold of them.
    #[pg_test]
    fn recall_of_each_quantization() {
        for case in cases().iter().filter(|case| case.value == DENSE) {
            case.create_table();
            case.insert(700);
            case.find_exact();
            for options in [
                "quantization = none",
                "quantization = sq8",
                "quantization = half",
                "quantization = auto",
            ] {
                let case = Case { options, ..case.clone() };
                case.create_index();
                case.check("after build");
                run("DROP INDEX items_v");
            }
        }
    }
}
