//! Builds of `ivf` and `ivfflat` indexes: whatever the type, the codes and the memory, each row that can be indexed is in
//! one list once. Each case reads all lists through a scan and ends with `lean.index_check`.

#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    fn run(sql: &str) {
        Spi::run(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    fn get<T: FromDatum + IntoDatum>(sql: &str) -> T {
        Spi::get_one(sql).unwrap_or_else(|error| panic!("{error}: {sql}")).unwrap()
    }

    /// The SQL of a random value of `ty`, `n` its length.
    fn value(ty: &str, n: usize) -> String {
        let (one, all) = match ty {
            "bit" => ("(random() < 0.5)::int::text", "string_agg(x, '')"),
            _ => ("random() - 0.3", "array_agg(x)"),
        };
        let numbers = format!("SELECT {one} AS x FROM generate_series(1, {n}) WHERE i = i");
        format!("(SELECT {all} FROM ({numbers}) s)::{ty}({n})")
    }

    fn create_table(ty: &str, n: usize, rows: usize) {
        run("DROP TABLE IF EXISTS items");
        run(&format!("CREATE TABLE items (id serial, v {ty}({n}))"));
        run("SELECT setseed(0.5)");
        run(&format!(
            "INSERT INTO items (v) SELECT {} FROM generate_series(1, {rows}) i",
            value(ty, n)
        ));
    }

    fn create_index(using: &str, opclass: &str, options: &str) {
        run(&format!("CREATE INDEX items_v ON items USING {using} (v {opclass}) {options}"));
        run("SET LOCAL enable_seqscan = off");
        run("SET LOCAL ivf.probes = 32768");
        run("SET LOCAL ivfflat.probes = 32768");
        run("SET LOCAL ivf.iterative_scan = relaxed_order");
    }

    /// The rows that a scan of all lists gives are `expected` rows, each once, those of `filter`.
    fn assert_rows(operator: &str, filter: &str, case: &str) {
        let query = "(SELECT v FROM items WHERE id = 1)";
        let scan = format!("SELECT id FROM items ORDER BY v {operator} {query}");
        let plan: String = get(&format!("EXPLAIN (COSTS off) {scan}"));
        assert!(plan.contains("Index Scan using items_v"), "{case}: {plan}");
        let found: i64 = get(&format!("SELECT count(*) FROM ({scan}) s"));
        let wrong: i64 = get(&format!(
            "SELECT count(*) FROM (SELECT id, count(*) FROM ({scan}) s GROUP BY id) s \
             FULL JOIN (SELECT id FROM items WHERE {filter}) t USING (id) \
             WHERE s.count IS DISTINCT FROM 1 OR t.id IS NULL"
        ));
        assert_eq!(wrong, 0, "{case}: {found} rows");
        run("SELECT lean.index_check('items_v')");
        run("DROP INDEX items_v");
    }

    #[pg_test]
    fn every_row_is_in_a_list_of_every_kind_of_index() {
        let metrics = [("l2", "<->"), ("ip", "<#>"), ("cosine", "<=>")];
        let options = [
            ("ivfflat", "WITH (lists = 20)"),
            ("ivf", ""),
            ("ivf", "WITH (lists = 20, bits = 1)"),
            ("ivf", "WITH (lists = 1, bits = 4)"),
            ("ivf", "WITH (quantization = sq8)"),
            ("ivf", "WITH (quantization = none)"),
            ("ivf", "WITH (quantization = pq)"),
            ("ivf", "WITH (quantization = pq, bits = 4, m = 33, rerank = off)"),
        ];
        for ty in ["vector", "halfvec"] {
            create_table(ty, 100, 700);
            run("INSERT INTO items (v) SELECT NULL FROM generate_series(1, 20)");
            run(&format!("INSERT INTO items (v) SELECT array_fill(0, ARRAY[100])::{ty}"));
            for (metric, operator) in metrics {
                let zero = format!("array_fill(0, ARRAY[100])::{ty}");
                let filter = match metric {
                    "cosine" => format!("v <> {zero}"),
                    _ => "v IS NOT NULL".to_owned(),
                };
                for (using, with) in options {
                    create_index(using, &format!("{ty}_{metric}_ops"), with);
                    assert_rows(operator, &filter, &format!("{using} {ty} {metric} {with}"));
                }
            }
        }
        create_table("bit", 100, 700);
        for using in ["ivfflat", "ivf"] {
            create_index(using, "bit_hamming_ops", "WITH (lists = 20)");
            assert_rows("<~>", "true", using);
        }
    }

    #[pg_test]
    fn items_may_be_longer_than_pages() {
        create_table("vector", 16_000, 40);
        for with in [
            "(lists = 2)",
            "(lists = 2, bits = 1)",
            "(lists = 2, quantization = none)",
            "(lists = 2, quantization = pq, bits = 4, m = 16000)",
        ] {
            create_index("ivf", "vector_l2_ops", &format!("WITH {with}"));
            assert_rows("<->", "true", with);
        }
        create_table("bit", 64_000, 10);
        create_index("ivfflat", "bit_hamming_ops", "WITH (lists = 2)");
        assert_rows("<~>", "true", "long bit strings");
    }

    #[pg_test]
    fn rows_that_do_not_fit_into_memory_are_sorted_in_a_file() {
        create_table("vector", 200, 6_000);
        run("SET LOCAL maintenance_work_mem = '1MB'");
        for (using, with) in [
            ("ivfflat", "WITH (lists = 10)"),
            ("ivfflat", "WITH (lists = 1)"),
            ("ivf", "WITH (lists = 10)"),
        ] {
            create_index(using, "vector_l2_ops", with);
            assert_rows("<->", "true", with);
        }
    }

    #[pg_test]
    fn fewer_distinct_rows_than_lists_are_no_trouble() {
        create_table("vector", 100, 3);
        run("INSERT INTO items (v) SELECT v FROM items, generate_series(1, 300)");
        for using in ["ivfflat", "ivf"] {
            create_index(using, "vector_l2_ops", "WITH (lists = 100)");
            assert_rows("<->", "true", using);
        }
        run("TRUNCATE items");
        create_index("ivf", "vector_l2_ops", "");
        assert_eq!(get::<i64>("SELECT count(*) FROM items"), 0);
        run("SELECT lean.index_check('items_v')");
    }

    #[pg_test(error = "memory required is 5 MB, maintenance_work_mem is 1 MB")]
    fn lists_that_do_not_fit_into_memory_are_refused() {
        create_table("vector", 200, 4_000);
        run("SET LOCAL maintenance_work_mem = '1MB'");
        create_index("ivfflat", "vector_l2_ops", "WITH (lists = 250)");
    }

    /// The facts of `lean.index_info` about how vectors are stored.
    fn stored_as() -> String {
        get("SELECT string_agg(property || ' ' || value, ', ') FROM lean.index_info('items_v')
            WHERE property IN ('quantization', 'bits', 'm', 'bytes of a code')")
    }

    #[pg_test]
    fn a_codebook_takes_as_many_rows_as_can_fill_it() {
        create_table("vector", 100, 511);
        create_index("ivf", "vector_l2_ops", "WITH (quantization = pq)");
        assert_eq!(stored_as(), "quantization sq8, bytes of a code 112");
        run("INSERT INTO items (v) SELECT v FROM items WHERE id = 1");
        run("REINDEX INDEX items_v");
        assert_eq!(stored_as(), "quantization pq, bits 8, m 25, bytes of a code 37");
        assert_rows("<->", "true", "rebuilt with a codebook");
        create_index("ivf", "vector_ip_ops", "WITH (quantization = pq, m = 7, bits = 4)");
        assert_eq!(stored_as(), "quantization pq, bits 4, m 7, bytes of a code 16");
        run("DROP INDEX items_v; TRUNCATE items");
        create_index("ivf", "vector_l2_ops", "WITH (quantization = pq)");
        assert_eq!(stored_as(), "quantization sq8, bytes of a code 112");
        create_unlogged_index();
    }

    /// That of an unlogged table, on an expression and some of the rows.
    fn create_unlogged_index() {
        run("DROP TABLE items; CREATE UNLOGGED TABLE items (id int, v vector(100))");
        run("INSERT INTO items SELECT i, (SELECT array_agg(sin(i * d)) FROM generate_series(1, 100) d)
            FROM generate_series(1, 900) i");
        run("CREATE INDEX items_v ON items USING ivf ((v::halfvec(100)) halfvec_cosine_ops)
            WITH (quantization = pq) WHERE id % 3 > 0");
        run(
            "DELETE FROM items WHERE id % 10 = 1; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off",
        );
        let order = "v::halfvec(100) <=> (SELECT v::halfvec(100) FROM items WHERE id = 2)";
        let found: Vec<i32> = get(&format!(
            "SELECT array_agg(id) FROM (SELECT id FROM items WHERE id % 3 > 0 ORDER BY {order} LIMIT 30) s"
        ));
        assert_eq!((found.len(), found[0]), (30, 2));
        assert!(found.iter().all(|id| id % 3 > 0 && id % 10 != 1), "{found:?}");
        let unsound: i64 = get("SELECT count(*) FROM lean.index_check('items_v') WHERE NOT ok");
        assert_eq!(unsound, 0);
    }

    #[pg_test(error = "bits = 6 is not possible with quantization = pq")]
    fn parts_have_four_or_eight_bits() {
        create_table("vector", 10, 3);
        create_index("ivf", "vector_l2_ops", "WITH (quantization = pq, bits = 6)");
    }

    #[pg_test(error = "m = 11 is more than the 10 dimensions of the column")]
    fn parts_have_a_dimension_at_least() {
        create_table("halfvec", 10, 3);
        create_index("ivf", "halfvec_l2_ops", "WITH (quantization = pq, m = 11)");
    }

    #[pg_test(error = "type not supported for ivfflat index")]
    fn bit_strings_of_any_length_are_refused() {
        run("CREATE TABLE items (v varbit(3))");
        create_index("ivfflat", "bit_hamming_ops", "");
    }

    #[pg_test(error = "column does not have dimensions")]
    fn vectors_of_any_length_are_refused() {
        run("CREATE TABLE items (v vector)");
        create_index("ivf", "vector_l2_ops", "");
    }
}
