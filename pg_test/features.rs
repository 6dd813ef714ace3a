//! Features at points in time, written in any order, against a plain list of rows: what a slow and simple reading of the
//! rules gives for each entity.

use pgrx::pg_schema;

#[pg_schema]
mod tests {
    use std::collections::BTreeMap;

    use pgrx::prelude::*;
    use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};

    const ROUNDS: u64 = 10;
    const HISTORY: usize = 120;
    const ENTITIES: usize = 60;
    /// Hours that a row holds.
    const TTL: i64 = 5;
    /// Minutes of the windows looked back at, of which 0 is all of the past.
    const WINDOWS: [i64; 3] = [0, 120, 420];
    /// Times are whole hours, so many of them, from a day on which clocks change; two more are the infinities.
    const HOURS: i64 = 20;
    const START: &str = "timestamptz '2020-03-08 00:00Z'";
    const BEFORE_ALL: i64 = i64::MIN;
    const AFTER_ALL: i64 = i64::MAX;

    /// Keys of which some are the same when put one after the other.
    const KEYS: [(i32, &str); 6] =
        [(1, "23"), (12, "3"), (1, "2"), (2, ""), (-1, "a'b"), (123, "")];

    /// A row of history, with its times in minutes.
    #[derive(Clone, Copy)]
    struct Row {
        key: (i32, &'static str),
        event: i64,
        created: i64,
        value: Option<i32>,
    }

    /// What features are wanted for; without a key or a time there are none.
    #[derive(Clone, Copy)]
    struct Entity {
        id: Option<i32>,
        zone: Option<&'static str>,
        at: Option<i64>,
    }

    /// How it is asked for.
    #[derive(Clone, Copy, Debug)]
    struct Question {
        ttl: bool,
        strict: bool,
        known_at: Option<i64>,
        known_then: bool,
    }

    /// A time among few, so that there are ties.
    fn time(rng: &mut SmallRng) -> i64 {
        match rng.random_range(0..30) {
            0 => BEFORE_ALL,
            1 => AFTER_ALL,
            _ => 60 * rng.random_range(0..HOURS),
        }
    }

    /// Rows in any order, with ties of event times, but none of which both times are the same.
    fn history(rng: &mut SmallRng) -> Vec<Row> {
        let mut rows = BTreeMap::new();
        for _ in 0..HISTORY {
            let key = KEYS[rng.random_range(0..KEYS.len())];
            let (event, created) = (time(rng), 60 * rng.random_range(0..HOURS));
            let value = rng.random_bool(0.8).then(|| rng.random_range(0..100));
            rows.insert((key, event, created), Row { key, event, created, value });
        }
        let mut rows: Vec<_> = rows.into_values().collect();
        rows.shuffle(rng);
        rows
    }

    /// Entities at the times of rows and a minute later, some of them twice, some unknown, some with NULLs.
    fn entities(rng: &mut SmallRng) -> Vec<Entity> {
        let mut entities: Vec<_> = (0..ENTITIES)
            .map(|_| {
                let (id, zone) = KEYS[rng.random_range(0..KEYS.len())];
                let at = match time(rng) {
                    at @ (BEFORE_ALL | AFTER_ALL) => at,
                    at => at + rng.random_range(0..2),
                };
                Entity {
                    id: rng.random_bool(0.95).then_some(if rng.random_bool(0.1) { 77 } else { id }),
                    zone: rng.random_bool(0.95).then_some(zone),
                    at: rng.random_bool(0.95).then_some(at),
                }
            })
            .collect();
        entities.extend_from_within(..5);
        entities
    }

    /// Earlier by some minutes; the infinities stay what they are.
    fn back(at: i64, minutes: i64) -> i64 {
        if at == BEFORE_ALL || at == AFTER_ALL { at } else { at - minutes }
    }

    fn text(value: Option<impl ToString>) -> String {
        value.map_or("NULL".to_owned(), |value| value.to_string())
    }

    /// The rules, read slowly: the latest value within each window, then their number, then their sum.
    fn oracle(rows: &[Row], entity: Entity, question: Question) -> String {
        let held: Vec<&Row> = match entity {
            Entity { id: Some(id), zone: Some(zone), at: Some(at) } => rows
                .iter()
                .filter(|row| row.key == (id, zone))
                .filter(|row| row.event < at || row.event == at && !question.strict)
                .filter(|row| question.known_at.is_none_or(|known| row.created <= known))
                .filter(|row| !question.known_then || row.created <= at)
                .collect(),
            _ => Vec::new(),
        };
        let at = entity.at.unwrap_or(0);
        let last = held.iter().max_by_key(|row| (row.event, row.created));
        let last = last.filter(|row| !question.ttl || row.event >= back(at, 60 * TTL));
        // Of each event time what was written last.
        let mut corrected = BTreeMap::new();
        for row in &held {
            let known = corrected.entry(row.event).or_insert(row);
            if row.created > known.created {
                *known = row;
            }
        }
        let within = |row: &Row, window: i64| window == 0 || row.event >= back(at, window);
        let values = |window: i64| -> Vec<i64> {
            let rows = corrected.values().filter(|row| within(row, window));
            rows.filter_map(|row| row.value.map(i64::from)).collect()
        };
        let latest = WINDOWS
            .map(|window| text(last.filter(|row| within(row, window)).and_then(|row| row.value)));
        let counts = WINDOWS.map(|window| values(window).len().to_string());
        let sums = WINDOWS.map(|window| {
            text(
                Some(values(window))
                    .filter(|all| !all.is_empty())
                    .map(|all| all.iter().sum::<i64>()),
            )
        });
        [latest, counts, sums].concat().join(" ")
    }

    /// The rules for what is online at a time: each entity that has a row, and the value of the newest.
    fn newest(rows: &[Row], now: i64) -> String {
        let mut newest = BTreeMap::new();
        for row in rows.iter().filter(|row| row.event <= now) {
            let known = newest.entry(row.key).or_insert(row);
            if (row.event, row.created) > (known.event, known.created) {
                *known = row;
            }
        }
        let lines =
            newest.values().map(|row| format!("{} {} {}", row.key.0, row.key.1, text(row.value)));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn run(statement: &str) {
        Spi::run(statement).unwrap_or_else(|error| panic!("{error}: {statement}"));
    }

    fn one<T: FromDatum + IntoDatum>(query: &str) -> Option<T> {
        Spi::get_one(query).unwrap_or_else(|error| panic!("{error}: {query}"))
    }

    /// A time as an expression, from some moment on.
    fn time_sql(minutes: i64, start: &str) -> String {
        match minutes {
            BEFORE_ALL => "timestamptz '-infinity'".to_owned(),
            AFTER_ALL => "timestamptz 'infinity'".to_owned(),
            _ => format!("{start} + interval '{minutes} minutes'"),
        }
    }

    fn quoted(text: Option<&str>) -> String {
        text.map_or("NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
    }

    /// Rows as a query.
    fn rows_sql(rows: &[Row], start: &str) -> String {
        let lines = rows.iter().map(|row| {
            format!(
                "({}, {}, {}, {}, {})",
                row.key.0,
                quoted(Some(row.key.1)),
                time_sql(row.event, start),
                time_sql(row.created, start),
                text(row.value)
            )
        });
        format!(
            "SELECT id, zone, event_timestamp, created_timestamp, value::int AS value
             FROM (VALUES {}) AS v (id, zone, event_timestamp, created_timestamp, value)",
            lines.collect::<Vec<_>>().join(", ")
        )
    }

    fn make_group(name: &str, ttl: bool) {
        let ttl = if ttl { format!("interval '{TTL} hours'") } else { "NULL".to_owned() };
        run(&format!(
            "SELECT lean.create_feature_group('{name}', '{{id int, zone text}}', '[\"value int\"]', ttl => {ttl})"
        ));
    }

    /// What the server gives for each entity, in their order.
    fn asked(question: Question, method: &str) -> String {
        let windows: Vec<_> = WINDOWS.map(|minutes| format!("{minutes} minutes")).into();
        one(&format!(
            "SELECT string_agg(concat_ws(' ', coalesce(l0::text, 'NULL'), coalesce(l1::text, 'NULL'), coalesce(l2::text, 'NULL'),
                c0, c1, c2, coalesce(s0::text, 'NULL'), coalesce(s1::text, 'NULL'), coalesce(s2::text, 'NULL')), E'\\n' ORDER BY n)
             FROM lean.get_historical_features('{}', 'asked', 'at', {}, as_known_at => {}, as_known_then => {},
                    lookbacks => '{{{}}}', aggregates => '{{latest, count, sum}}', method => '{method}')
                AS (n int, id int, zone text, at timestamptz, l0 int, l1 int, l2 int,
                    c0 bigint, c1 bigint, c2 bigint, s0 bigint, s1 bigint, s2 bigint)",
            if question.ttl { "held" } else { "always" },
            question.strict,
            question.known_at.map_or("NULL".to_owned(), |at| time_sql(at, START)),
            question.known_then,
            windows.join(", ")
        ))
        .expect("rows")
    }

    #[pg_test]
    fn history_is_what_the_rules_say() {
        make_group("held", true);
        make_group("always", false);
        run("CREATE TABLE asked (n int, id int, zone text, at timestamptz)");
        for seed in 0..ROUNDS {
            let mut rng = SmallRng::seed_from_u64(seed);
            let (rows, entities) = (history(&mut rng), entities(&mut rng));
            let zone = ["UTC", "America/New_York", "Asia/Kathmandu"][seed as usize % 3];
            run(&format!("SET LOCAL timezone = '{zone}'"));
            run("TRUNCATE held_v1, always_v1, asked");
            for table in ["held_v1", "always_v1"] {
                run(&format!("INSERT INTO {table} {}", rows_sql(&rows, START)));
            }
            let lines = entities.iter().enumerate().map(|(n, entity)| {
                let at = entity.at.map_or("NULL".to_owned(), |at| time_sql(at, START));
                format!("({n}, {}, {}, {at})", text(entity.id), quoted(entity.zone))
            });
            run(&format!("INSERT INTO asked VALUES {}", lines.collect::<Vec<_>>().join(", ")));
            for n in 0..16 {
                let known = 60 * rng.random_range(0..HOURS);
                let question = Question {
                    ttl: n & 1 > 0,
                    strict: n & 2 > 0,
                    known_at: (n & 4 > 0).then_some(known),
                    known_then: n & 8 > 0,
                };
                let expected: Vec<_> =
                    entities.iter().map(|&entity| oracle(&rows, entity, question)).collect();
                for method in ["lateral", "merge", "auto"] {
                    if method == "merge" && question.known_then {
                        continue;
                    }
                    assert_eq!(
                        asked(question, method),
                        expected.join("\n"),
                        "seed {seed}, {method}, {question:?}"
                    );
                }
            }
        }
    }

    /// What is in an online table.
    fn online(name: &str) -> String {
        one(&format!(
            "SELECT string_agg(format('%s %s %s', id, zone, coalesce(value::text, 'NULL')), E'\\n' ORDER BY id, zone COLLATE \"C\")
             FROM {name}_v1_online"
        ))
        .unwrap_or_default()
    }

    /// Online reads against history as of this moment, for every entity: values that differ.
    fn differences(name: &str) -> Option<String> {
        let keys: Vec<_> =
            KEYS.iter().map(|(id, zone)| format!("({id}, {})", quoted(Some(zone)))).collect();
        run(&format!(
            "CREATE OR REPLACE TEMPORARY VIEW present AS
             SELECT id, zone, statement_timestamp() AS at FROM (VALUES {}, (77, 'none')) AS v (id, zone)",
            keys.join(", ")
        ));
        one(&format!(
            "SELECT string_agg(concat_ws(' ', o.entity, o.feature_values, o.status, h.value), E'\\n')
             FROM lean.get_online_features('{name}', (SELECT jsonb_agg(to_jsonb(p)) FROM present AS p)) AS o
             FULL JOIN lean.get_historical_features('{name}', 'present', 'at') AS h (id int, zone text, at timestamptz, value int)
                ON o.entity = jsonb_build_object('id', h.id, 'zone', h.zone)
             WHERE (o.feature_values ->> 'value')::int IS DISTINCT FROM h.value
                OR o.entity IS NULL OR h.id IS NULL OR (o.status ->> 'value' = 'present') <> (h.value IS NOT NULL)"
        ))
    }

    #[pg_test]
    fn rows_in_any_order_leave_the_newest_online() {
        for seed in 0..ROUNDS {
            let mut rng = SmallRng::seed_from_u64(1000 + seed);
            let rows = history(&mut rng);
            // Up to this moment, so that some rows hold and some do not, one of them to the microsecond.
            let start = format!("statement_timestamp() - interval '{} minutes'", 60 * (HOURS - 1));
            let (now, ttl) = (60 * (HOURS - 1), rng.random_bool(0.5));
            let name = format!("sent_{seed}");
            make_group(&name, ttl);
            let mut sent: Vec<Row> = Vec::new();
            let mut left = rows.as_slice();
            while !left.is_empty() {
                let (batch, rest) = left.split_at(rng.random_range(1..=left.len().min(30)));
                left = rest;
                let mut batch = batch.to_vec();
                // Some are sent again, within the batch or later.
                let again = rng.random_range(0..10);
                if !sent.is_empty() {
                    batch.extend((0..again).map(|_| sent[rng.random_range(0..sent.len())]));
                }
                batch.extend_from_within(..rng.random_range(0..=batch.len().min(3)));
                batch.shuffle(&mut rng);
                let query = rows_sql(&batch, &start);
                let before = sent.len();
                sent.extend_from_slice(&rows[before..rows.len() - left.len()]);
                let written: Option<i64> = if rng.random_bool(0.5) {
                    one(&format!(
                        "SELECT lean.write_features('{name}', (SELECT jsonb_agg(to_jsonb(q)) FROM ({query}) AS q))"
                    ))
                } else {
                    one(&format!(
                        "SELECT lean.write_features_from('{name}', $query${query}$query$)"
                    ))
                };
                assert_eq!(
                    written,
                    Some((sent.len() - before) as i64),
                    "seed {seed}: rows that are new"
                );
                assert_eq!(
                    online(&name),
                    newest(&sent, now),
                    "seed {seed} after {} rows",
                    sent.len()
                );
            }
            assert_eq!(differences(&name), None, "seed {seed}");
            assert_eq!(
                one::<i64>(&format!("SELECT count(*) FROM {name}_v1")),
                Some(rows.len() as i64)
            );

            // The same by loading and materializing, now and then.
            let name = format!("loaded_{seed}");
            make_group(&name, ttl);
            let mut loaded = 0;
            while loaded < rows.len() {
                let more = rng.random_range(1..=(rows.len() - loaded).min(50));
                run(&format!(
                    "INSERT INTO {name}_v1 {}",
                    rows_sql(&rows[loaded..loaded + more], &start)
                ));
                loaded += more;
                let first = loaded == more;
                // The first time leaves out what holds no more.
                if !first || !ttl {
                    run(&format!("SELECT lean.materialize_incremental('{name}')"));
                    assert_eq!(
                        online(&name),
                        newest(&rows[..loaded], now),
                        "seed {seed}: {loaded} loaded"
                    );
                } else {
                    run(&format!("SELECT lean.materialize('{name}', NULL)"));
                    run(&format!("SELECT lean.materialize_incremental('{name}')"));
                }
                assert_eq!(differences(&name), None, "seed {seed}");
            }
            run(&format!("SELECT lean.materialize('{name}', NULL)"));
            assert_eq!(online(&name), newest(&rows, now), "seed {seed}: materialized");
        }
    }
}
