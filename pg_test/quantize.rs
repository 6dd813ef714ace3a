//! Quantization in SQL on random vectors: estimates near the truth, parallel aggregates, dumps of codebooks.

use pgrx::pg_schema;

#[pg_schema]
mod tests {
    use pgrx::prelude::*;

    /// A table of 600 vectors of 64 dimensions, the same each time.
    fn fill() {
        Spi::run(
            "CREATE TABLE sample AS SELECT i, (SELECT array_agg(sin(i * 12.9898 + j * 78.233 + i * j))
                FROM generate_series(1, 64) AS j)::real[]::vector(64) AS v FROM generate_series(1, 600) AS i",
        )
        .expect("a table");
    }

    fn number(query: &str) -> f64 {
        Spi::get_one(query).expect(query).expect(query)
    }

    #[pg_test]
    fn estimates_of_rabitq_codes_are_near_and_nearer_with_more_bits() {
        fill();
        for operator in ["<->", "<#>", "<=>"] {
            let error = |bits: i32| {
                number(&format!(
                    "SELECT avg(abs((quantize_rabitq(a.v, {bits}) {operator} b.v) - (a.v {operator} b.v)))
                     / avg(abs(a.v {operator} b.v)) FROM sample AS a, sample AS b WHERE a.i < 100 AND b.i > 590"
                ))
            };
            let errors = [error(1), error(2), error(4), error(8)];
            assert!(errors.is_sorted_by(|a, b| a > b), "{operator}: {errors:?}");
            assert!(errors[3] < 0.02, "{operator}: {errors:?}");
        }
    }

    #[pg_test]
    fn inner_products_are_off_by_no_more_than_the_error_says() {
        fill();
        let worst = number(
            "SELECT max(abs((code <#> b.v) - (a.v <#> b.v)) / (rabitq_error(code) * vector_norm(b.v)))
             FROM (SELECT i, v, quantize_rabitq(v, 2) AS code FROM sample) AS a, sample AS b
             WHERE a.i < 100 AND b.i > 500",
        );
        assert!(0.05 < worst && worst <= 1.0, "{worst}");
    }

    #[pg_test]
    fn a_changing_query_is_prepared_anew() {
        fill();
        // The nested loop changes the query, and codes of different bits meet the same one.
        let most = number(
            "SELECT max(abs((quantize_rabitq(a.v, 7 + b.i % 2) <-> b.v) - (a.v <-> b.v)))
             FROM sample AS a, sample AS b WHERE a.i < 30 AND b.i < 30",
        );
        assert!(most < 0.5, "{most}");
    }

    #[pg_test]
    fn extents_found_in_parallel_are_the_same() {
        fill();
        let query = "SELECT extent(v)::text FROM sample";
        let alone: Option<String> = Spi::get_one(query).expect("an extent");
        for setting in [
            "parallel_setup_cost = 0",
            "parallel_tuple_cost = 0",
            "min_parallel_table_scan_size = 0",
            "max_parallel_workers_per_gather = 2",
            "parallel_leader_participation = off",
        ] {
            Spi::run(&format!("SET LOCAL {setting}")).expect("a setting");
        }
        let plan: Option<String> = Spi::connect(|client| {
            let plan = client.select(&format!("EXPLAIN {query}"), None, &[]).expect("a plan");
            Some(plan.map(|row| row.get::<String>(1).unwrap().unwrap()).collect())
        });
        assert!(plan.expect("a plan").contains("Partial Aggregate"));
        assert_eq!(Spi::get_one::<String>(query).expect("an extent"), alone);
        assert!(alone.is_some());
    }

    #[pg_test]
    fn codebooks_work_in_parallel_workers() {
        fill();
        Spi::run("SELECT lean.train_pq('sample', 'sample', 16, 4)").expect("a codebook");
        let query =
            "SELECT sum(lean.pq_distance('sample', lean.pq_encode('sample', v), v)) FROM sample";
        let alone = number(query);
        // The setting has another name since PostgreSQL 16.
        let forced = Spi::get_one::<String>(
            "SELECT set_config(name, 'on', true) FROM pg_settings
             WHERE name IN ('force_parallel_mode', 'debug_parallel_query')",
        );
        assert_eq!(forced, Ok(Some("on".to_string())));
        assert!((number(query) - alone).abs() < 1e-6 * alone);
    }

    #[pg_test]
    fn distances_of_product_codes_are_those_to_what_they_stand_for() {
        fill();
        for (metric, operator) in [("l2", "<->"), ("ip", "<#>"), ("l1", "<+>")] {
            let name = format!("sample_{metric}");
            Spi::run(&format!(
                "SELECT lean.train_pq('{name}', 'SELECT v FROM sample', 16, 4, '{metric}')"
            ))
            .expect("a codebook");
            let most = number(&format!(
                "SELECT max(abs(lean.pq_distance('{name}', code, b.v)
                     - (lean.pq_decode('{name}', code) {operator} b.v)))
                 FROM (SELECT i, lean.pq_encode('{name}', v) AS code FROM sample) AS a, sample AS b
                 WHERE a.i < 20 AND b.i < 20"
            ));
            assert!(most < 1e-3, "{metric}: {most}");
        }
    }

    #[pg_test]
    fn codebooks_are_dumped() {
        let dumped = Spi::get_one::<bool>(
            "SELECT 'lean.pq_codebook'::regclass = ANY (extconfig) FROM pg_extension WHERE extname = 'leanstack'",
        );
        assert_eq!(dumped, Ok(Some(true)));
    }

    #[pg_test]
    fn binary_format_of_rabitq_is_checked() {
        Spi::run("CREATE TABLE codes AS SELECT quantize_rabitq('[3,4]'::vector, 3) AS code")
            .expect("a table");
        let sent = Spi::get_one::<i32>("SELECT length(rabitq_send(code)) FROM codes");
        assert_eq!(sent, Ok(Some(16 + 8 * 3)));
    }

    #[pg_test]
    fn a_report_says_more_bytes_are_better() {
        fill();
        let recalls = |like: &str| -> Vec<f64> {
            Spi::connect(|client| {
                let query = format!(
                    "SELECT recall_at_10 FROM lean.quantization_report('sample', 'v', 300)
                     WHERE method LIKE '{like}' ORDER BY bytes_per_vector"
                );
                let rows = client.select(&query, None, &[]).expect("a report");
                rows.map(|row| row.get::<f64>(1).unwrap().unwrap()).collect()
            })
        };
        let rabitq = recalls("rabitq%");
        assert_eq!(rabitq.len(), 4);
        assert!(rabitq.is_sorted() && rabitq[3] > 0.9, "{rabitq:?}");
        assert_eq!(recalls("vector"), [1.0]);
        assert_eq!(recalls("%").len(), 11);
    }
}
