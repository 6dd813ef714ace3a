//! Recall floors of the ivfflat and ivf indexes: every operator class with every way of storing rows, for each way in
//! which an index comes by them; exactness when all lists are read; what scans give beyond their first lists. Each ends
//! with `lean.index_check`. What vacuum leaves is tested in regress/, since no vacuum runs inside a transaction.

#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use crate::pg_test::recall::{Case, get, run};

    // Twenty clusters, and more bytes than those up to which codes would be longer than the vector.
    const VECTORS: &str =
        "(SELECT array_agg(sin((i % 20 + 1) * d) + 0.6 * random()) FROM generate_series(1, 40) d)";
    const HALVES: &str =
        "(SELECT array_agg(sin((i % 20 + 1) * d) + 0.6 * random()) FROM generate_series(1, 72) d)";
    const BITS: &str =
        "(SELECT string_agg((CASE WHEN random() < 0.8 THEN hashint4(i % 20 * 1000 + d) & 1
        ELSE (random() < 0.5)::int END)::text, '') FROM generate_series(1, 100) d)";
    const TYPES: [(&str, &str, &str); 2] =
        [("vector", "vector(40)", VECTORS), ("halfvec", "halfvec(72)", HALVES)];
    const METRICS: [(&str, &str); 3] = [("l2", "<->"), ("ip", "<#>"), ("cosine", "<=>")];
    /// Ways of storing vectors, as access methods and options.
    const VARIANTS: [(&str, &str); 9] = [
        ("ivfflat", "lists = 12"),
        ("ivf", ""),
        ("ivf", "bits = 1"),
        ("ivf", "bits = 4"),
        ("ivf", "bits = 8"),
        ("ivf", "quantization = sq8"),
        ("ivf", "quantization = none"),
        ("ivf", "quantization = pq"),
        ("ivf", SHORT_CODES),
    ];
    const SHORT_CODES: &str = "quantization = pq, bits = 4, m = 21";
    const BIT_VARIANTS: [(&str, &str); 2] = [("ivfflat", "lists = 12"), ("ivf", "")];

    /// A column and its order. The access method is still to be chosen.
    fn columns() -> Vec<Case> {
        let mut columns = Vec::new();
        for (name, ty, value) in TYPES {
            for (metric, operator) in METRICS {
                let opclass = format!("{name}_{metric}_ops");
                // How many lists the nearest by inner product are in, a build tells less well.
                let floor = if metric == "ip" { 0.8 } else { 0.9 };
                columns.push(Case { am: "", opclass, ty, operator, value, options: "", floor });
            }
        }
        let (opclass, operator) = ("bit_hamming_ops".into(), "<~>");
        columns.push(Case {
            am: "",
            opclass,
            ty: "bit(100)",
            operator,
            value: BITS,
            options: "",
            floor: 0.9,
        });
        columns
    }

    fn variants(column: &Case) -> Vec<Case> {
        let variants = if column.value == BITS { &BIT_VARIANTS[..] } else { &VARIANTS };
        variants.iter().map(|&(am, options)| Case { am, options, ..column.clone() }).collect()
    }

    /// So many lists are read that the nearest are found, but not all; `ivf` is left to choose.
    fn some_probes() {
        run("SET LOCAL ivfflat.probes = 4; SET LOCAL ivf.recall_target = 0.95");
    }

    fn all_probes() {
        run("SET LOCAL ivfflat.probes = 32768; SET LOCAL ivf.recall_target = 1");
    }

    /// The recall is above its floor, and all there is when all lists are read.
    fn check(case: &Case, situation: &str) {
        some_probes();
        case.check(situation);
        all_probes();
        let recall = case.recall();
        assert_eq!(recall, 1.0, "{} {situation}, all lists", case.name());
    }

    fn built_with(rows: usize, settings: &str) {
        for column in columns() {
            column.create_table();
            column.insert(rows);
            column.find_exact();
            for case in variants(&column) {
                run(settings);
                case.create_index();
                check(&case, &format!("with {settings}"));
                run("DROP INDEX items_v");
            }
        }
    }

    #[pg_test]
    fn ivf_recall_after_serial_build() {
        built_with(1000, "SET LOCAL max_parallel_maintenance_workers = 0");
    }

    #[pg_test]
    fn ivf_recall_after_parallel_build() {
        built_with(1000, "SET LOCAL max_parallel_maintenance_workers = 4");
    }

    /// More rows than fit into a megabyte: the build needs a temporary file. Neither do as many fit as a codebook of 8 bits
    /// takes.
    #[pg_test]
    fn ivf_recall_after_build_in_low_memory() {
        let value = "(SELECT array_agg(sin((i % 20 + 1) * d) + 0.6 * random()) FROM generate_series(1, 1000) d)";
        let column = Case {
            am: "",
            opclass: "vector_l2_ops".into(),
            ty: "vector(1000)",
            operator: "<->",
            value,
            options: "",
            floor: 0.9,
        };
        column.create_table();
        column.insert(1400);
        column.find_exact();
        run("SET LOCAL maintenance_work_mem = '1MB'");
        for (am, options) in VARIANTS
            .into_iter()
            .filter(|variant| !["bits = 1", "bits = 4", SHORT_CODES].contains(&variant.1))
        {
            let case = Case { am, options, ..column.clone() };
            run("SET LOCAL temp_file_limit = 0");
            let Case { opclass, .. } = &case;
            let with = if options.is_empty() { String::new() } else { format!("WITH ({options})") };
            run(&format!(
                "DO $$ BEGIN
                    CREATE INDEX items_v ON items USING {am} (v {opclass}) {with};
                    RAISE 'the build did not need a file';
                EXCEPTION WHEN configuration_limit_exceeded THEN NULL; END $$"
            ));
            run("SET LOCAL temp_file_limit = -1");
            case.create_index();
            check(&case, "built in low memory");
            run("DROP INDEX items_v");
        }
    }

    /// For every case: an index is built on the first `built` of so many rows, the others come afterwards. Its floor is
    /// `floor` at least.
    fn inserted(built: usize, rows: usize, floor: f64) {
        for column in columns() {
            column.create_table();
            column.insert(rows);
            column.find_exact();
            run("DROP TABLE IF EXISTS pool; CREATE TABLE pool AS TABLE items");
            for case in variants(&column) {
                run(&format!(
                    "TRUNCATE items; INSERT INTO items SELECT * FROM pool WHERE id <= {built}"
                ));
                let case = Case { floor: case.floor.max(floor), ..case };
                case.create_index();
                run(&format!("INSERT INTO items SELECT * FROM pool WHERE id > {built}"));
                check(&case, &format!("built on {built}"));
                run("DROP INDEX items_v");
            }
        }
    }

    #[pg_test]
    fn ivf_recall_after_inserts() {
        inserted(500, 900, 0.0);
    }

    /// One list only, which is always read; but bounds that are only likely may lose a row.
    #[pg_test]
    fn ivf_recall_of_index_built_empty() {
        inserted(0, 500, 0.99);
    }

    #[pg_test]
    fn ivf_recall_after_updates() {
        for column in columns() {
            for case in variants(&column).into_iter().filter(|case| case.options != "bits = 4") {
                case.create_table();
                case.insert(500);
                case.create_index();
                case.insert(200);
                case.update();
                case.find_exact();
                check(&case, "after updates");
            }
        }
    }

    /// Thirty different vectors, each often, in more lists than that.
    #[pg_test]
    fn ivf_recall_among_duplicates() {
        for column in columns() {
            column.create_table();
            column.insert(30);
            run("INSERT INTO items (v) SELECT v FROM items, generate_series(1, 9)");
            run(
                "DROP TABLE IF EXISTS pool; CREATE TABLE pool AS SELECT id + 1000 AS id, v FROM items",
            );
            run("INSERT INTO items TABLE pool");
            column.find_exact();
            for case in variants(&column) {
                let options = if case.options.is_empty() { "lists = 50" } else { case.options };
                let case = Case { options, ..case };
                run("DELETE FROM items WHERE id > 1000");
                case.create_index();
                run("INSERT INTO items TABLE pool");
                check(&case, "among duplicates");
                for limit in [1, 15, 45] {
                    let found: i64 =
                        get(&format!("SELECT count(*) FROM ({}) n", case.nearest(limit)));
                    assert_eq!(found, 30 * limit as i64, "{}", case.name());
                }
                run("DROP INDEX items_v");
            }
        }
    }

    /// With all lists read, every LIMIT gives what a sort would, to the last row.
    #[pg_test]
    fn ivf_scans_of_all_lists_are_sorts() {
        for column in columns() {
            column.create_table();
            column.insert(400);
            column.find_exact();
            run("DELETE FROM queries WHERE id > 6");
            for case in variants(&column) {
                case.create_index();
                run("INSERT INTO items (v) SELECT NULL FROM generate_series(1, 3)");
                all_probes();
                case.use_index();
                for limit in ["1", "2", "7", "50", "399", "400", "ALL"] {
                    let op = case.operator;
                    let first = if limit == "ALL" { "400" } else { limit };
                    // Of distances that differ by rounding alone, either may come first.
                    let wrong: i64 = get(&format!(
                        "SELECT count(*) FROM queries q JOIN exact e USING (id),
                            unnest(e.d[1:{first}], ARRAY(SELECT items.v {op} q.v FROM items
                                ORDER BY items.v {op} q.v LIMIT {limit})) d (exact, found)
                        WHERE exact IS NULL OR found IS NULL OR abs(exact - found) > 1e-6 * (1 + abs(exact))"
                    ));
                    assert_eq!(wrong, 0, "{} LIMIT {limit}", case.name());
                }
                case.check_sound("after scans");
                run("DROP INDEX items_v");
            }
        }
    }
}
