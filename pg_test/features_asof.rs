//! Point-in-time joins by merging give what looking up gives, on random data.

use pgrx::pg_schema;

#[pg_schema]
mod tests {
    use pgrx::prelude::*;

    /// Columns of keys, as history and as entities have them, and what makes a value of one of a few numbers.
    struct Keys {
        history: &'static str,
        entities: &'static str,
        /// Values of the columns in history, from the numbers a and b.
        history_values: &'static str,
        /// Values of the columns in entities; they equal those of history whose numbers are the same.
        values: &'static str,
    }

    const fn keys(
        history: &'static str,
        entities: &'static str,
        history_values: &'static str,
        values: &'static str,
    ) -> Keys {
        Keys { history, entities, history_values, values }
    }

    const KEYS: [Keys; 21] = [
        keys("k bigint", "k bigint", "a", "a"),
        keys("k integer", "k bigint", "a - 3", "CASE a WHEN 5 THEN 5000000000 ELSE a - 3 END"),
        keys("k bigint", "k smallint", "a - 3", "a - 3"),
        keys("k text", "k text", "repeat('x', a * 700)", "repeat('x', a * 700)"),
        keys("k varchar(9)", "k text", "'k' || a", "'k' || a"),
        keys("k char(4)", "k char(8)", "'k' || a", "'k' || a || ' '"),
        keys("k numeric", "k numeric", "a + 0.50", "a + 0.5"),
        keys("k uuid", "k uuid", "md5(a::text)::uuid", "md5(a::text)::uuid"),
        keys("k boolean", "k boolean", "a > 2", "a > 2"),
        keys("k date", "k date", "'2024-01-01'::date + a", "'2024-01-01'::date + a"),
        keys(
            "k float8",
            "k float8",
            "CASE a WHEN 2 THEN 'NaN' ELSE a * 0::float8 END",
            "CASE a WHEN 1 THEN '-0' WHEN 2 THEN 'NaN' ELSE a::float8 END",
        ),
        keys("k bytea", "k bytea", "sha256(a::text::bytea)", "sha256(a::text::bytea)"),
        keys("k bit varying", "k bit varying", "a::bit(7)::varbit", "a::bit(7)::varbit"),
        keys("k integer[]", "k integer[]", "ARRAY[a, NULL]", "ARRAY[a, NULL]"),
        keys("k folded", "k folded", "'Straße ' || a", "upper('Straße ' || a)"),
        keys("k text COLLATE blind", "k text", "'kEy' || a", "'KeY' || a"),
        keys(
            "k kind",
            "k kind",
            "('{p,q,r,s,t,u}'::kind[])[a + 1]",
            "('{p,q,r,s,t,u}'::kind[])[a + 1]",
        ),
        keys("k real", "k float8", "a * 0.1", "CASE a WHEN 1 THEN 0.1 ELSE (a * 0.1)::real END"),
        keys(
            "k date",
            "k timestamptz",
            "'2024-01-01'::date + a",
            "'2024-01-01'::date + CASE a WHEN 1 THEN interval '1 hour' ELSE a * interval '1 day' END",
        ),
        keys(
            "k text, l text",
            "l text, k text",
            "(a * 9)::text, (b * 9)::text",
            "(b * 9)::text, (a * 9)::text",
        ),
        keys(
            "k integer, l numeric, m text",
            "m text, l numeric, k bigint",
            "a, b, 'm'",
            "'m', b * 1.0, a",
        ),
    ];

    /// Types of the times of history and of entities.
    const TIMES: [(&str, &str); 6] = [
        ("timestamptz", "timestamptz"),
        ("timestamp", "timestamp"),
        ("date", "date"),
        ("date", "timestamptz"),
        ("timestamp", "timestamptz"),
        ("timestamptz", "date"),
    ];

    fn run(statement: &str) {
        Spi::run(statement).unwrap_or_else(|error| panic!("{error} of {statement}"));
    }

    fn count(query: &str) -> i64 {
        Spi::get_one(query)
            .unwrap_or_else(|error| panic!("{error} of {query}"))
            .unwrap_or_else(|| panic!("no number of {query}"))
    }

    /// Random history and entities, and a feature group of the history.
    fn make(keys: &Keys, (history_time, entity_time): (&str, &str), rows: u32, ttl: &str) {
        run("DROP TABLE IF EXISTS past, asked, merged, looked_up");
        // Few times, so that there are ties, and the ends of time.
        let time = "CASE (random() * 20)::int WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' \
                    ELSE '2024-01-01'::timestamp + trunc(random() * 10) * interval '1 day' END";
        let null_keys: String = keys.history.split(", ").map(|_| "NULL, ").collect();
        run(&format!(
            "CREATE TABLE past ({}, at {history_time}, made timestamptz, f integer)",
            keys.history
        ));
        run(&format!(
            "CREATE TABLE asked ({}, event_timestamp {entity_time}, label integer)",
            keys.entities
        ));
        run(&format!(
            "INSERT INTO past SELECT {}, ({time})::{history_time}, CASE WHEN random() < 0.9 THEN \
             '2024-01-05'::timestamptz + n * interval '1 minute' END, n FROM (SELECT \
             trunc(random() * 6)::int AS a, trunc(random() * 3)::int AS b, n FROM generate_series(1, {rows}) AS n) AS x",
            keys.history_values
        ));
        run(&format!("INSERT INTO past SELECT {null_keys} '2024-01-01', now(), -1"));
        run(&format!(
            "INSERT INTO asked SELECT {}, CASE WHEN random() < 0.9 THEN ({time})::{entity_time} END, n FROM (SELECT \
             trunc(random() * 7)::int AS a, trunc(random() * 3)::int AS b, n FROM generate_series(1, {rows}) AS n) AS x",
            keys.values.replace("[a + 1]", "[a % 6 + 1]")
        ));
        run(&format!("INSERT INTO asked SELECT {null_keys} '2024-01-05', -1"));
        // Rows that nothing tells apart are no row that could be expected.
        run(
            "DELETE FROM past AS p USING past AS q WHERE p.at = q.at AND p.made IS NOT DISTINCT FROM q.made AND p.f < q.f",
        );
        let names: Vec<&str> = keys
            .history
            .split(", ")
            .map(|column| column.split(' ').next().expect("a name"))
            .collect();
        run(&format!(
            "SELECT lean.create_feature_group('g', '{{{}}}', history => 'past', event_time => 'at', \
             created_time => 'made', ttl => {ttl}, online => false)",
            names.join(",")
        ));
    }

    /// Both ways, with these options more.
    fn compare(what: &str, options: &str) {
        for (table, method) in [("merged", "merge"), ("looked_up", "lateral")] {
            run(&format!("DROP TABLE IF EXISTS {table}"));
            run(&format!(
                "SELECT lean.create_training_set('{table}', 'g', 'asked', method => '{method}'{options})"
            ));
        }
        let asked = count("SELECT count(*) FROM asked");
        assert_eq!(count("SELECT count(*) FROM merged"), asked, "{what}{options}");
        let different =
            count("SELECT count(*) FROM (TABLE merged EXCEPT ALL TABLE looked_up) AS x");
        assert_eq!(different, 0, "{what}{options}");
    }

    fn drop_group() {
        run("SELECT lean.drop_feature_group('g')");
    }

    fn make_types() {
        run("SELECT setseed(0.5)");
        run("CREATE EXTENSION IF NOT EXISTS citext");
        run("CREATE DOMAIN folded AS citext");
        run("CREATE TYPE kind AS ENUM ('p', 'q', 'r', 's', 't', 'u')");
        run(
            "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        );
    }

    #[pg_test]
    fn keys_of_every_type_merge_as_they_are_looked_up() {
        make_types();
        for keys in KEYS {
            make(&keys, TIMES[0], 300, "NULL");
            compare(keys.history, "");
            let found = count("SELECT count(f) FROM merged");
            assert!(found > 30, "{}: {found} found", keys.history);
            assert_eq!(count("SELECT count(*) FROM merged WHERE f = -1"), 0, "{}", keys.history);
            drop_group();
        }
    }

    #[pg_test]
    fn times_of_every_type_merge_with_every_option() {
        make_types();
        run("SET LOCAL timezone = 'Europe/Berlin'");
        for times in TIMES {
            for ttl in ["NULL", "interval '3 days'"] {
                make(&KEYS[20], times, 400, ttl);
                for options in [
                    "",
                    ", strict => true",
                    ", as_known_at => '2024-01-05 03:00'",
                    ", strict => true, as_known_at => '2024-01-05 02:00', lookbacks => '{0, 2 days}'",
                    ", aggregates => '{latest, count, max}', lookbacks => '{0, 4 days}'",
                ] {
                    compare(&format!("{times:?} {ttl}"), options);
                }
                drop_group();
            }
        }
    }

    #[pg_test]
    fn entities_that_memory_has_no_room_for_merge_in_parts() {
        make_types();
        run("SET LOCAL maintenance_work_mem = '1MB'; SET LOCAL work_mem = '64kB'");
        for n in [0, 3, 6, 17] {
            make(&KEYS[n], TIMES[0], 500, "NULL");
            run("INSERT INTO asked SELECT asked.* FROM asked, generate_series(1, 100)");
            run("CREATE INDEX ON past (k, at, made)");
            compare(KEYS[n].history, "");
            drop_group();
        }
    }

    #[pg_test]
    fn views_of_several_groups_merge() {
        make_types();
        make(&KEYS[0], TIMES[0], 300, "NULL");
        run("CREATE TABLE past2 (LIKE past)");
        run(
            "INSERT INTO past2 SELECT k, at + interval '12 hours', made, f + 1000 FROM past WHERE k < 4",
        );
        run(
            "SELECT lean.create_feature_group('h', '{k}', history => 'past2', event_time => 'at', \
             created_time => 'made', ttl => '2 days', online => false)",
        );
        run("SELECT lean.create_feature_view('v', '{g:f, h:f as f2}')");
        for (table, method) in [("merged", "merge"), ("looked_up", "lateral")] {
            run(&format!(
                "SELECT lean.create_training_set('{table}', 'v', 'asked', method => '{method}')"
            ));
        }
        assert_eq!(count("SELECT count(*) FROM (TABLE merged EXCEPT ALL TABLE looked_up) AS x"), 0);
        assert!(count("SELECT count(*) FROM merged WHERE f IS NOT NULL AND f2 IS NOT NULL") > 20);
    }

    #[pg_test]
    fn no_entities_merge_to_nothing() {
        make(&KEYS[0], TIMES[0], 5, "NULL");
        run("DELETE FROM asked");
        compare("nothing", "");
    }

    #[pg_test(error = "lean.asof_places: the history has other columns")]
    fn a_history_of_other_columns_is_refused() {
        run("SELECT lean.asof_places('SELECT 1', false, 1, now(), 1)");
    }

    #[pg_test(error = "lean.asof_places: a key of the history is of another type")]
    fn a_history_of_other_types_is_refused() {
        run(
            "SELECT lean.asof_places('SELECT ''a''::text, now(), now(), now(), ctid FROM pg_class', false, 1, now(), 1)",
        );
    }

    #[pg_test(error = "entities came out of their order")]
    fn entities_out_of_order_are_refused() {
        run(
            "SELECT lean.asof_places('SELECT oid, now(), now(), now(), ctid FROM pg_class', false, 2, now(), 1::oid)",
        );
    }
}
