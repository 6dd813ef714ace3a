-- Writing features: what is new, what is newest, what is refused and leaves nothing behind; bringing loaded rows online.
\set VERBOSITY terse
CREATE SCHEMA test_features_write;
SET search_path = test_features_write, public;
\getenv tests PG_ABS_SRCDIR
\set outcome :tests '/helpers/outcome.sql'
\i :outcome
SET timezone = 'UTC';
CREATE TYPE mood AS ENUM ('sad', 'happy');
SELECT lean.create_feature_group('w', '{k int, zone text}', '["a float32", "n int64", "d json", "p point", "m mood", "v vector(2)", "c varchar(3)", "q numeric(4,1)"]');
CREATE FUNCTION state() RETURNS TABLE (history bigint, k int, zone text, event timestamptz, a real, n bigint) LANGUAGE sql AS $$
	SELECT (SELECT count(*) FROM w_v1), k, zone, event_timestamp, a, n FROM w_v1_online ORDER BY k, zone
$$;

-- One object, an array, none; the same rows again change nothing, whatever their types.
SELECT lean.write_features('w', '{"k": 1, "zone": "x", "event_timestamp": "2026-01-02Z", "a": 1.5, "n": 1, "d": {"a": [1]}, "p": "(1,2)", "m": "sad", "v": "[1,2]", "c": "abc", "q": 1.25}');
SELECT lean.write_features('w', '{"k": 1, "zone": "x", "event_timestamp": "2026-01-02Z", "a": 1.5, "n": 1, "d": {"a": [1]}, "p": "(1,2)", "m": "sad", "v": "[1,2]", "c": "abc", "q": 1.25}');
SELECT lean.write_features('w', '[]'), lean.write_features('w', '[{"k": 2, "zone": "x", "event_timestamp": "2026-01-02Z"}, {"k": 2, "zone": "x", "event_timestamp": "2026-01-02Z"}]');
SELECT * FROM state();
-- Later and earlier rows, in one batch and alone.
SELECT lean.write_features('w', '[{"k": 1, "zone": "x", "event_timestamp": "2026-01-04Z", "a": 4}, {"k": 1, "zone": "x", "event_timestamp": "2026-01-05Z", "a": 5},
	{"k": 1, "zone": "x", "event_timestamp": "2026-01-03Z", "a": 3}]');
SELECT lean.write_features('w', '{"k": 1, "zone": "x", "event_timestamp": "2026-01-01Z", "a": 1}');
SELECT * FROM state();
-- A correction: the same time, written later. Of equal event times the later creation time counts.
SELECT lean.write_features('w', '{"k": 1, "zone": "x", "event_timestamp": "2026-01-05Z", "a": 5.5}');
SELECT * FROM state();
SELECT lean.write_features('w', '[{"k": 3, "zone": "x", "event_timestamp": "2026-01-05Z", "created_timestamp": "2026-01-07Z", "a": 2},
	{"k": 3, "zone": "x", "event_timestamp": "2026-01-05Z", "created_timestamp": "2026-01-08Z", "a": 3},
	{"k": 3, "zone": "x", "event_timestamp": "2026-01-05Z", "created_timestamp": "2026-01-06Z", "a": 1}]');
SELECT lean.write_features('w', '{"k": 3, "zone": "x", "event_timestamp": "2026-01-05Z", "created_timestamp": "2026-01-07 12:00Z", "a": 2.5}');
SELECT a, created_timestamp FROM w_v1_online WHERE k = 3;
-- Some rows with a creation time, some without; again.
SELECT lean.write_features('w', '[{"k": 4, "zone": "x", "event_timestamp": "2026-01-05Z", "created_timestamp": "2026-01-07Z", "a": 2}, {"k": 4, "zone": "x", "event_timestamp": "2026-01-06Z", "a": 3}]');
SELECT lean.write_features('w', '[{"k": 4, "zone": "x", "event_timestamp": "2026-01-05Z", "created_timestamp": "2026-01-07Z", "a": 2}, {"k": 4, "zone": "x", "event_timestamp": "2026-01-06Z", "a": 3}]');
-- Keys that would be one if they were put together without a separator.
SELECT lean.write_features('w', '[{"k": 1, "zone": "23", "event_timestamp": "2026-01-05Z", "a": 123}, {"k": 12, "zone": "3", "event_timestamp": "2026-01-05Z", "a": 1230}]');
SELECT * FROM state();
-- Times without end; a row of the future waits.
SELECT lean.write_features('w', '[{"k": 5, "zone": "", "event_timestamp": "-infinity", "a": 1}, {"k": 5, "zone": "", "event_timestamp": "infinity", "a": 9}]');
SELECT lean.write_features_from('w', 'SELECT 6 AS k, '''' AS zone, now() + interval ''1 day'' AS event_timestamp, 1 AS a UNION ALL SELECT 6, '''', now() - interval ''1 day'', 2');
SELECT k, a, event_timestamp = '-infinity' AS from_ever FROM w_v1_online WHERE k IN (5, 6) ORDER BY k;

-- What is refused. Nothing of a batch is written.
CREATE TABLE before AS SELECT * FROM state();
SELECT outcome($$SELECT lean.write_features('w', NULL)$$);
SELECT outcome($$SELECT lean.write_features('nothing', '[]')$$);
SELECT outcome($$SELECT lean.write_features(NULL, '[]')$$);
SELECT outcome($$SELECT lean.write_features('w', '7')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z"}, 7]')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z"}, {"k": 9, "zone": "y", "event_timestamp": "2026-01-01Z", "b": 1}]')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z"}, {"k": 9, "event_timestamp": "2026-01-01Z"}]')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z"}, {"k": 9, "zone": "x"}]')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z"}, {}]')$$);
SELECT outcome($$SELECT lean.write_features('w', '{}')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z"}, {"k": null, "zone": "x", "event_timestamp": "2026-01-01Z"}]')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z"}, {"k": 9, "zone": "x", "event_timestamp": null}]')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z"}, {"k": 9, "zone": "z", "event_timestamp": "2026-01-01Z", "a": "much"}]')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "soon"}]')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z", "n": 9223372036854775808}]')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z", "m": "angry"}]')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z", "v": "[1,2,3]"}]')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z", "c": "long"}]')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z", "q": 1000}]')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z", "a": 1}, {"k": 9, "zone": "x", "event_timestamp": "2026-01-01Z", "a": 2}]')$$);
SELECT outcome($$SELECT lean.write_features('w', '[{"k": 3, "zone": "x", "event_timestamp": "2026-01-05Z", "created_timestamp": "2026-01-07Z", "a": 7}]')$$);
SELECT count(*) AS changed FROM (TABLE before EXCEPT SELECT * FROM state()) AS x;

-- From a relation, from a query.
CREATE TABLE incoming (k int, zone text, event_timestamp timestamptz, a float8, n int);
INSERT INTO incoming SELECT i % 7 + 20, 'q', timestamptz '2026-01-01Z' + i * interval '1 minute', i / 2.0, i FROM generate_series(1, 100) AS i;
SELECT lean.write_features_from('w', 'incoming'), lean.write_features_from('w', 'test_features_write.incoming'), lean.write_features_from('w', 'TABLE incoming');
SELECT lean.write_features_from('w', 'SELECT * FROM incoming WHERE n < 50; '), lean.write_features_from('w', $$-- half
	SELECT k, zone, event_timestamp + interval '1 day' AS event_timestamp FROM incoming WHERE n > 95 -- of them$$),
	lean.write_features_from('w', '(SELECT 30 AS k, ''p'' AS zone, date ''2026-01-01'' AS event_timestamp)');
SELECT lean.write_features_from('w', 'SELECT 31 AS k, ''r'' AS zone, timestamptz ''2026-01-01Z'' AS event_timestamp WHERE false');
SELECT k, a, n, event_timestamp FROM w_v1_online WHERE k BETWEEN 20 AND 31 ORDER BY k;
DROP TABLE before;
CREATE TABLE before AS SELECT * FROM state();
SELECT outcome($$SELECT lean.write_features_from('w', NULL)$$);
SELECT outcome($$SELECT lean.write_features_from('w', 'nowhere')$$);
SELECT outcome($$SELECT lean.write_features_from('w', 'SELECT')$$);
SELECT outcome($$SELECT lean.write_features_from('w', 'VALUES (1)')$$);
SELECT outcome($$SELECT lean.write_features_from('w', 'DELETE FROM incoming')$$);
SELECT outcome($$SELECT lean.write_features_from('w', 'SELECT 1) AS s; DELETE FROM incoming; SELECT * FROM (SELECT 1')$$);
SELECT outcome($$SELECT lean.write_features_from('w', 'SELECT 1 AS k, ''x'' AS zone')$$);
SELECT outcome($$SELECT lean.write_features_from('w', 'SELECT *, 1 AS b FROM incoming')$$);
ALTER TABLE incoming ADD COLUMN b int;
SELECT outcome($$SELECT lean.write_features_from('w', 'incoming')$$);
SELECT outcome($$SELECT lean.write_features_from('w', 'SELECT k, zone, event_timestamp, ''much'' AS a FROM incoming')$$);
SELECT outcome($$SELECT lean.write_features_from('w', 'SELECT k, zone, event_timestamp, 1e300 AS a FROM incoming')$$);
SELECT outcome($$SELECT lean.write_features_from('w', 'SELECT 9 AS k, ''x'' AS zone, timestamptz ''2026-01-01Z'' AS event_timestamp, x::text::float8 AS a FROM (VALUES (1), (1e300), (2)) AS v (x)')$$);
SELECT outcome($$SELECT lean.write_features_from('w', 'SELECT x AS k, ''x'' AS zone, timestamptz ''2026-01-01Z'' AS event_timestamp FROM (VALUES (1), (NULL)) AS v (x)')$$);
SELECT outcome($$SELECT lean.write_features_from('w', 'SELECT 1 AS k, ''x'' AS zone, timestamptz ''2026-01-01Z'' AS event_timestamp, ''long'' AS c')$$);
SELECT outcome($$SELECT lean.write_features_from('w', 'SELECT 1 AS k, ''x'' AS zone, timestamptz ''2026-01-01Z'' AS event_timestamp, 1 / 0 AS n')$$);
SELECT count(*) AS changed FROM (TABLE before EXCEPT SELECT * FROM state()) AS x;
-- Names are looked up in the caller's search path.
CREATE SCHEMA other;
CREATE TABLE other.only_there AS SELECT 40 AS k, 'x' AS zone, timestamptz '2026-01-01Z' AS event_timestamp;
SELECT outcome($$SELECT lean.write_features_from('w', 'only_there')$$);
SET search_path = other, test_features_write, public;
SELECT lean.write_features_from('w', 'only_there'), lean.write_features_from('w', 'SELECT k, zone, event_timestamp, 1.5 AS a FROM only_there');
SHOW search_path;
SET search_path = test_features_write, public;

-- Loaded by COPY, then brought online: what came late too, whatever its time.
SELECT lean.create_feature_group('m', '{k int}', '["a int"]', ttl => '10000 days');
COPY m_v1 (k, event_timestamp, created_timestamp, a) FROM STDIN;
1	2026-01-01 00:00Z	2026-01-01 00:00Z	1
1	2026-01-02 00:00Z	2026-01-02 00:00Z	2
1	2026-01-02 00:00Z	2026-01-02 12:00Z	3
2	2026-01-03 00:00Z	2026-01-03 00:00Z	4
3	1990-01-01 00:00Z	1990-01-01 00:00Z	5
4	infinity	1990-01-01 00:00Z	6
\.
SELECT * FROM lean.materialize('m', '2026-01-01Z', '2026-01-01 12:00Z');
SELECT k, a FROM m_v1_online ORDER BY k;
SELECT * FROM lean.materialize('m', '2026-01-02Z', '2026-01-02Z');
SELECT * FROM lean.materialize_incremental('m');
SELECT k, a FROM m_v1_online ORDER BY k;
INSERT INTO m_v1 VALUES (2, '2026-01-02Z', '2026-01-09Z', 40), (5, '2026-01-01Z', '2026-01-01Z', 7), (1, '2026-01-02Z', '2026-01-02 13:00Z', 30);
SELECT * FROM lean.materialize_incremental('m');
SELECT * FROM lean.materialize_incremental('m');
SELECT k, a FROM m_v1_online ORDER BY k;
BEGIN;
SELECT txid_current_if_assigned() IS NULL, (SELECT count(*) FROM lean.feature_materialization);
INSERT INTO m_v1 VALUES (6, '2026-01-01Z', '2026-01-01Z', 8);
SAVEPOINT a;
INSERT INTO m_v1 VALUES (7, '2026-01-01Z', '2026-01-01Z', 9);
RELEASE a;
SELECT * FROM lean.materialize_incremental('m', '2025-01-01Z');
SELECT * FROM lean.materialize_incremental('m');
COMMIT;
SELECT * FROM lean.materialize_incremental('m');
SELECT k, a FROM m_v1_online ORDER BY k;
SELECT outcome($$SELECT * FROM lean.materialize('m', '2026-01-02Z', '2026-01-01Z')$$);
SELECT outcome($$SELECT * FROM lean.materialize('nothing', NULL)$$);
-- A view stands for its groups; materializing loses to what is newer online.
SELECT lean.create_feature_view('both', '{m:a, w:a as wa}');
SELECT lean.write_features('m', '{"k": 1, "event_timestamp": "2026-02-01Z", "a": 100}');
SELECT * FROM lean.materialize('both', '2026-01-01Z', '2026-01-31Z');
SELECT k, a FROM m_v1_online WHERE k = 1;
-- What holds no more goes; history stays.
INSERT INTO m_v1 VALUES (8, now() - interval '9999 days', now(), 11), (9, now() - interval '10001 days', now(), 12);
SELECT * FROM lean.materialize('m', NULL);
SELECT k, a FROM m_v1_online ORDER BY k;
SELECT * FROM lean.expire_online('m');
SELECT * FROM lean.expire_online();
SELECT * FROM lean.expire_online('w');
SELECT outcome($$SELECT * FROM lean.expire_online('nothing')$$);
SELECT k, a FROM m_v1_online ORDER BY k;
SELECT count(*) FROM m_v1;

-- An adopted history with rows that have no key, no time or no creation time.
CREATE TABLE holes (k int, event_timestamp timestamptz, created_timestamp timestamptz, a int);
INSERT INTO holes VALUES (NULL, '2026-01-01Z', '2026-01-01Z', 1), (1, NULL, '2026-01-01Z', 2), (1, '2026-01-01Z', '2026-01-01Z', 3), (1, '2026-01-01Z', NULL, 4), (2, '2026-01-01Z', NULL, 5);
SELECT lean.create_feature_group('holes', '{k}', history => 'holes');
SELECT * FROM lean.materialize_incremental('holes');
SELECT * FROM lean.materialize('holes', NULL);
SELECT k, a FROM holes_v1_online ORDER BY k;
SELECT * FROM lean.get_historical_features('holes', 'SELECT x AS k, timestamptz ''2026-01-02Z'' AS event_timestamp FROM (VALUES (1), (2), (NULL)) AS v (x)', method => 'lateral') AS (k int, t timestamptz, a int) ORDER BY k;
SELECT * FROM lean.get_historical_features('holes', 'SELECT x AS k, timestamptz ''2026-01-02Z'' AS event_timestamp FROM (VALUES (1), (2), (NULL)) AS v (x)', method => 'merge') AS (k int, t timestamptz, a int) ORDER BY k;

-- A partitioned history, of which the time is a date.
CREATE TABLE parts (k text, day date, created_timestamp timestamptz, a int) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
SELECT lean.create_feature_group('parts', '{k}', history => 'parts', event_time => 'day', ttl => '1 day');
SELECT lean.write_features('parts', '[{"k": "a", "day": "2026-01-31", "a": 1}, {"k": "a", "day": "2026-02-01", "a": 2}]'), lean.write_features('parts', '[{"k": "a", "day": "2026-01-31", "a": 1}]');
SELECT outcome($$SELECT lean.write_features('parts', '[{"k": "a", "day": "2026-04-01", "a": 1}]')$$);
SELECT * FROM lean.materialize_incremental('parts');
SELECT k, day, a FROM parts_v1_online;
SELECT * FROM lean.get_historical_features('parts', $$SELECT 'a' AS k, d AS event_timestamp FROM (VALUES (timestamptz '2026-01-31 12:00Z'), ('2026-02-02Z'), ('2026-02-02 01:00Z')) AS v (d)$$) AS (k text, t timestamptz, a int) ORDER BY t;

SET client_min_messages = warning;
\set drop_features :tests '/helpers/drop_features.sql'
\i :drop_features
SELECT drop_features('test_features_write');
DROP SCHEMA test_features_write, other CASCADE;
