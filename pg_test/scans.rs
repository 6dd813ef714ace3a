//! What `lean.last_scan` and, from PostgreSQL 18 on, `EXPLAIN (ANALYZE, vector_scan)` say of a scan.

#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use crate::pg_test::recall::{get, run};

    const ROWS: i64 = 1000;
    const BLOCK: i64 = 32;

    /// A table of so many rows of ten clusters, and queries that lie in these.
    fn create_table() {
        run("SET LOCAL enable_seqscan = off");
        run("SELECT setseed(0.5)");
        for (table, rows) in [("items", ROWS), ("queries", 5)] {
            run(&format!(
                "CREATE TABLE {table} AS SELECT i AS id, (SELECT array_agg(sin((i % 10 + 1) * d) + 0.3 * random())
                FROM generate_series(1, 40) d)::vector(40) AS v FROM generate_series(1, {rows}) i"
            ));
        }
    }

    fn create_index(am: &str, options: &str) {
        run("DROP INDEX IF EXISTS items_v");
        run(&format!("CREATE INDEX items_v ON items USING {am} (v vector_l2_ops) {options}"));
    }

    fn nearest(limit: i64) -> String {
        format!(
            "SELECT id FROM items ORDER BY v <-> (SELECT v FROM queries WHERE id = 1) LIMIT {limit}"
        )
    }

    /// Columns of the last scan.
    fn last<const N: usize>(columns: [&str; N]) -> [i64; N] {
        columns.map(|column| get(&format!("SELECT {column}::bigint FROM lean.last_scan()")))
    }

    fn is_true(condition: &str) -> bool {
        get(&format!("SELECT coalesce(bool_or({condition}), false) FROM lean.last_scan()"))
    }

    #[pg_test]
    fn last_scan_of_a_new_session() {
        assert_eq!(get::<i64>("SELECT count(*) FROM lean.last_scan()"), 0);
        create_table();
        run(&nearest(10));
        assert_eq!(get::<i64>("SELECT count(*) FROM lean.last_scan()"), 0, "without an index");
        create_index("ivf", "WITH (lists = 8)");
        assert_eq!(get::<i64>("SELECT count(*) FROM lean.last_scan()"), 0, "before a scan");
        run(&nearest(10));
        assert!(is_true("index = 'items_v'::regclass AND access_method = 'ivf' AND searches = 1"));
        run("DROP INDEX items_v");
        assert_eq!(get::<i64>("SELECT count(*) FROM lean.last_scan()"), 1, "of a dropped index");
    }

    #[pg_test]
    fn last_scan_of_ivf() {
        create_table();
        create_index("ivf", "WITH (lists = 8)");
        run("SET LOCAL ivf.iterative_scan = off; SET LOCAL ivf.probes = 3");
        run(&nearest(10));
        let [probes, lists, codes, whole, rows, exact] =
            last(["probes", "lists", "codes", "whole_codes", "rows", "exact_distances"]);
        assert_eq!((probes, lists, codes % BLOCK), (3, 3, 0));
        assert!(codes < ROWS && rows >= 10 && rows == exact && rows <= whole && whole < ROWS);
        assert!(is_true("nodes IS NULL AND ef_search IS NULL AND NOT grew AND pages > lists"));

        run("SET LOCAL ivf.probes = 8");
        run(&nearest(2 * ROWS));
        let [lists, codes, whole, rows] = last(["lists", "codes", "whole_codes", "rows"]);
        assert_eq!((lists, codes % BLOCK, whole, rows), (8, 0, ROWS, ROWS));
        assert!((ROWS..ROWS + 8 * BLOCK).contains(&codes), "{codes} codes");

        // What was inserted since the build is not in blocks, and its code lies in one place.
        run("INSERT INTO items SELECT * FROM queries");
        run(&nearest(2 * ROWS));
        assert_eq!(last(["codes", "whole_codes", "rows"]), [codes + 5, ROWS, ROWS + 5]);

        // Distances tell which rows to give, and are computed again for those.
        create_index("ivf", "WITH (lists = 8, quantization = pq)");
        run(&nearest(10));
        let [lists, codes, whole, rows, exact] =
            last(["lists", "codes", "whole_codes", "rows", "exact_distances"]);
        assert_eq!((lists, codes, whole), (8, ROWS + 5, 0));
        assert!(rows >= 10 && exact >= rows && exact < 2 * ROWS, "{exact} distances, {rows} rows");

        create_index("ivf", "WITH (lists = 1, rerank = off)");
        run(&nearest(10));
        let codes = (ROWS + 5 + BLOCK - 1) / BLOCK * BLOCK;
        assert_eq!(last(["lists", "codes", "rows", "exact_distances"]), [1, codes, 10, 0]);

        run("SELECT id FROM items ORDER BY v <-> (SELECT NULL::vector) LIMIT 3");
        assert_eq!(last(["lists", "codes", "rows", "exact_distances"]), [1, 0, 3, 0]);
    }

    #[pg_test]
    fn last_scan_of_ivf_that_grows() {
        create_table();
        create_index("ivf", "WITH (lists = 8)");
        run("SET LOCAL ivf.probes = 1; SET LOCAL ivf.iterative_scan = relaxed_order");
        run(&nearest(2 * ROWS));
        assert_eq!(last(["probes", "lists", "rows"]), [1, 8, ROWS]);
        assert!(is_true("grew"));
    }

    /// How many rows the index gives that all are asked of. No row comes after a farther one, and none twice; scores of
    /// vectors as they are may differ from what the operator computes by rounding.
    fn given_in_order(operator: &str, filter: &str) -> i64 {
        let query = "(SELECT v FROM queries WHERE id = 1)";
        run(&format!(
            "CREATE TEMP TABLE given ON COMMIT DROP AS SELECT row_number() OVER () AS n, id, d
                FROM (SELECT id, v {operator} {query} AS d FROM items WHERE {filter}
                ORDER BY v {operator} {query} LIMIT 1000000) x"
        ));
        let rounding = if is_true("exact_distances = 0") { 1e-6 } else { 0.0 };
        let disorder: i64 = get(&format!(
            "SELECT count(*) FILTER (WHERE d < before - {rounding} * (1 + abs(d))) + count(*) - count(DISTINCT id)
                FROM (SELECT id, d, lag(d) OVER (ORDER BY n) AS before FROM given) x"
        ));
        assert_eq!(disorder, 0, "{operator} WHERE {filter}");
        let given = get("SELECT count(*) FROM given");
        run("DROP TABLE given");
        given
    }

    /// Whatever the codes, rows that were inserted after the build being half of them.
    #[pg_test]
    fn ivf_strict_order_is_that_of_exact_distances() {
        run("CREATE TABLE items (id int, v vector(40));
            SELECT setseed(0.5);
            INSERT INTO items SELECT i, (SELECT array_agg(0.7 * sin(i % 50 * d) + 2 * random())
                FROM generate_series(1, 40) d)::vector FROM generate_series(1, 3000) i;
            CREATE TABLE queries AS SELECT id, v FROM items WHERE id <= 5;
            CREATE TABLE pool AS TABLE items;
            SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off");
        let codes = ["bits = 7", "bits = 1", "bits = 4", "quantization = sq8"];
        for options in codes.into_iter().chain(["quantization = pq", "quantization = none"]) {
            // What lists have in common is distance: by inner product, more comes too late.
            for (metric, operator, least) in
                [("l2", "<->", 2700), ("ip", "<#>", 1600), ("cosine", "<=>", 2700)]
            {
                run("TRUNCATE items; INSERT INTO items SELECT * FROM pool WHERE id % 2 = 0");
                run(&format!(
                    "DROP INDEX IF EXISTS items_v;
                    CREATE INDEX items_v ON items USING ivf (v vector_{metric}_ops) WITH (lists = 60, {options});
                    INSERT INTO items SELECT * FROM pool WHERE id % 2 = 1"
                ));
                for settings in ["SET LOCAL ivf.probes = 0", "SET LOCAL ivf.probes = 5"] {
                    run(settings);
                    let given = given_in_order(operator, "true");
                    assert!(is_true("index = 'items_v'::regclass AND lists = 60"));
                    assert!(
                        given >= least,
                        "{options} {operator} {settings}: {given} of 3000 rows"
                    );
                }
                run("SET LOCAL ivf.probes = 0; SET LOCAL ivf.recall_target = 1");
                assert_eq!(given_in_order(operator, "true"), 3000, "{options} {operator}");
                run("RESET ivf.recall_target; SET LOCAL ivf.iterative_scan = relaxed_order");
                let query = "(SELECT v FROM queries WHERE id = 1)";
                let all: i64 = get(&format!(
                    "SELECT count(*) FROM (SELECT id FROM items ORDER BY v {operator} {query} LIMIT 3001) x"
                ));
                assert_eq!(all, 3000, "{options} {operator} in relaxed order");
                run("RESET ivf.iterative_scan");
            }
        }
    }

    #[pg_test]
    fn ivf_scans_stop_when_lists_change_nothing_and_go_on_when_asked() {
        run("CREATE TABLE items (id int, v vector(40));
            SELECT setseed(0.5);
            INSERT INTO items SELECT i, (SELECT array_agg(0.7 * sin(i % 50 * d) + 2 * random())
                FROM generate_series(1, 40) d)::vector FROM generate_series(1, 3000) i;
            CREATE TABLE queries AS SELECT id, v FROM items WHERE id <= 5;
            SET LOCAL enable_seqscan = off; SET LOCAL ivf.recall_target = 0.9");
        create_index("ivf", "WITH (lists = 60)");
        let stopped = |id: i32| {
            run(&format!(
                "SELECT count(*) FROM (SELECT id FROM items
                    ORDER BY v <-> (SELECT v FROM queries WHERE id = {id}) LIMIT 10) x"
            ));
            let [lists, probes] = last(["lists", "probes"]);
            assert!(probes < 60, "{probes} lists at most");
            lists < probes && is_true("NOT grew")
        };
        assert!((1..=5).any(stopped), "no query stops early");
        for (filter, rows) in [("true", 3000), ("id % 20 = 0", 150)] {
            let given = given_in_order("<->", filter);
            assert!(is_true("grew AND lists = 60"));
            assert!(given * 10 >= rows * 9, "{given} of {rows} rows");
        }
        // Without going on there is no more than was read.
        run("SET LOCAL ivf.iterative_scan = off");
        run("SELECT id FROM items ORDER BY v <-> (SELECT v FROM queries WHERE id = 1) LIMIT 3000");
        let [lists, rows] = last(["lists", "rows"]);
        assert!(lists < 60 && rows < 3000, "{rows} rows of {lists} lists");
    }

    #[pg_test]
    fn last_scan_of_ivfflat() {
        create_table();
        create_index("ivfflat", "WITH (lists = 8)");
        run("SET LOCAL ivfflat.probes = 8");
        run(&nearest(10));
        assert!(is_true("access_method = 'ivfflat'"));
        let columns = ["lists", "codes", "whole_codes", "rows", "exact_distances"];
        assert_eq!(last(columns), [8, ROWS, 0, 10, 0]);
        run("SET LOCAL ivfflat.probes = 2");
        run(&nearest(10));
        let [lists, codes] = last(["lists", "codes"]);
        assert!(lists == 2 && codes < ROWS, "{codes} codes");
    }

    #[pg_test]
    fn last_scan_of_hnsw() {
        create_table();
        create_index("hnsw", "");
        run("SET LOCAL hnsw.ef_search = 20");
        run(&nearest(10));
        let [ef, pages, nodes, codes, rows, exact] =
            last(["ef_search", "pages", "nodes", "codes", "rows", "exact_distances"]);
        assert_eq!((ef, rows), (20, exact));
        assert!(nodes >= 20 && codes > nodes && codes < ROWS && pages > nodes && rows >= 10);
        assert!(is_true("lists IS NULL AND whole_codes IS NULL AND probes IS NULL AND NOT grew"));
        run("SET LOCAL hnsw.ef_search = 40");
        run(&nearest(10));
        let [wider] = last(["codes"]);
        assert!(wider > codes, "{wider} codes with more candidates, {codes} with fewer");

        run("SET LOCAL hnsw.iterative_scan = relaxed_order");
        run(&nearest(2 * ROWS));
        assert_eq!(last(["rows"]), [ROWS]);
        assert!(is_true("grew"));

        create_index("hnsw", "WITH (quantization = none)");
        run(&nearest(10));
        assert_eq!(last(["rows", "exact_distances"]), [10, 0]);
    }

    /// The inner side of a nested loop is one scan, started anew for each query.
    #[pg_test]
    fn last_scan_of_a_nested_loop() {
        create_table();
        create_index("ivfflat", "WITH (lists = 8)");
        run("SET LOCAL ivfflat.probes = 3");
        run(
            "SELECT q.id, n.id FROM queries q, LATERAL (SELECT id FROM items ORDER BY items.v <-> q.v LIMIT 4) n",
        );
        assert_eq!(last(["searches", "lists", "rows"]), [5, 15, 20]);
        run(&nearest(10));
        assert_eq!(last(["searches", "lists", "rows"]), [1, 3, 10], "the next one starts from 0");
    }

    /// Of two scans under way, the last is that which was started last; its numbers are those of now.
    #[pg_test]
    fn last_scan_of_cursors() {
        create_table();
        create_index("ivfflat", "WITH (lists = 8)");
        run("SET LOCAL ivfflat.probes = 8");
        run(&format!(
            "DECLARE a CURSOR FOR {}; DECLARE b CURSOR FOR {}",
            nearest(100),
            nearest(100)
        ));
        run("FETCH 3 FROM a");
        assert_eq!(last(["rows"]), [3]);
        run("FETCH 1 FROM b");
        assert_eq!(last(["rows"]), [1]);
        run("FETCH 5 FROM a");
        assert_eq!(last(["rows"]), [1]);
        run("FETCH 5 FROM b");
        assert_eq!(last(["rows", "codes"]), [6, ROWS]);
        run("CLOSE b; CLOSE a");
        assert_eq!(last(["rows", "codes"]), [6, ROWS]);
    }

    #[pg_test]
    fn last_scan_that_failed() {
        create_table();
        create_index("ivfflat", "WITH (lists = 8)");
        run("SET LOCAL ivfflat.probes = 8");
        run(&nearest(1));
        // One that does not come to start leaves the one before; one that fails later has done what it has done.
        for (statement, searches, rows) in [
            ("SELECT id FROM items ORDER BY v <-> ''[1,2]''::vector LIMIT 5", 1, 1),
            (
                "SELECT id / (row_number() OVER () - 4) FROM (SELECT id FROM items ORDER BY v <-> (SELECT v FROM queries
                WHERE id = 2)) n",
                1,
                4,
            ),
        ] {
            run(&format!(
                "DO $$ DECLARE row record; BEGIN FOR row IN EXECUTE '{statement}' LOOP END LOOP; RAISE 'no error';
                EXCEPTION WHEN division_by_zero OR data_exception THEN END $$"
            ));
            assert_eq!(last(["searches", "rows"]), [searches, rows], "{statement}");
        }
        run(&nearest(10));
        assert_eq!(last(["searches", "codes", "rows"]), [1, ROWS, 10]);
    }

    #[cfg(feature = "pg18")]
    fn explained(options: &str, query: &str) -> String {
        Spi::connect_mut(|client| {
            let lines = client.update(&format!("EXPLAIN ({options}) {query}"), None, &[]).unwrap();
            let line = |row: pgrx::spi::SpiHeapTupleData<'_>| -> String {
                row.get_datum_by_ordinal(1).unwrap().value::<String>().unwrap().unwrap()
            };
            lines.map(line).collect::<Vec<_>>().join("\n")
        })
    }

    #[cfg(feature = "pg18")]
    #[pg_test]
    fn explain_vector_scan() {
        const ON: &str = "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF, vector_scan";
        create_table();
        create_index("ivf", "WITH (lists = 8)");
        run("SET LOCAL ivf.probes = 3; SET LOCAL ivf.iterative_scan = off");
        let plan = explained(ON, &nearest(10));
        let [pages, codes, whole, rows] = last(["pages", "codes", "whole_codes", "rows"]);
        let lines = [
            String::from("Index Searches: 1"),
            String::from("Probes: 3"),
            format!("Index Pages: {pages}"),
            String::from("Lists: 3"),
            format!("Codes: {codes}"),
            format!("Whole Codes: {whole}"),
            format!("Index Rows: {rows}"),
            format!("Exact Distances: {rows}"),
            String::from("Grew: false"),
        ];
        let found: Vec<&str> = plan.lines().map(str::trim).collect();
        let at = found.iter().position(|line| *line == lines[0]).expect("an index scan");
        assert_eq!(found[at..at + lines.len()], lines, "{plan}");

        let off = explained("ANALYZE, vector_scan OFF", &nearest(10));
        assert!(off.contains("Index Scan using items_v") && !off.contains("Probes"), "{off}");

        create_index("hnsw", "");
        let query = nearest(10);
        let json: pgrx::Json =
            get(&format!("EXPLAIN ({ON}, FORMAT json) SELECT count(*) FROM ({query}) n"));
        let plan = json.0.to_string();
        let [pages, nodes] = last(["pages", "nodes"]);
        for property in [
            String::from("\"Ef Search\":40"),
            format!("\"Index Pages\":{pages}"),
            format!("\"Nodes\":{nodes}"),
            String::from("\"Grew\":false"),
        ] {
            assert_eq!(plan.matches(&property).count(), 1, "{property} in {plan}");
        }
        assert!(!plan.contains("Probes") && !plan.contains("Lists"), "{plan}");

        let plan = explained(ON, "SELECT count(*) FROM items");
        assert!(!plan.contains("Codes"), "{plan}");
    }

    #[cfg(feature = "pg18")]
    #[pg_test(error = "EXPLAIN option VECTOR_SCAN requires ANALYZE")]
    fn explain_vector_scan_without_analyze() {
        run("EXPLAIN (vector_scan) SELECT '[1]'::vector");
    }
}
