-- Reading features: online with their status, history as of points in time, ranges; who may do what; other schemas.
\set VERBOSITY terse
CREATE SCHEMA test_features_read;
SET search_path = test_features_read, public;
\getenv tests PG_ABS_SRCDIR
\set outcome :tests '/helpers/outcome.sql'
\i :outcome
SET timezone = 'UTC';
SELECT lean.create_feature_group('driver', '{driver_id int}', '["rate float32", ["trips", "int64", 0], ["seen", "vector(2)", "[0,0]"], "words string[]"]', ttl => '1 day');
SELECT lean.create_feature_group('place', '{driver_id bigint, zone varchar(10)}', '["rate float64", "busy bool"]');
SELECT lean.create_feature_view('model', '{driver:rate, driver:trips, driver:seen as at, place:rate as place_rate, place:busy}');
-- Of the day before, of this moment, with a null, and none.
SELECT lean.write_features_from('driver', $$SELECT i AS driver_id, now() - h * interval '1 hour' AS event_timestamp, i / 4.0 AS rate, trips, '[1,2]'::vector AS seen, ARRAY['a', NULL] AS words
	FROM (VALUES (1, 1, 11), (2, 2, NULL), (3, 23, 33), (4, 25, 44)) AS v (i, h, trips)$$);
SELECT lean.write_features('place', '[{"driver_id": 1, "zone": "n", "event_timestamp": "2020-01-01Z", "rate": "NaN", "busy": true}, {"driver_id": 4, "zone": "n", "event_timestamp": "2020-01-01Z", "rate": 4}]');

-- A group: present, null, outside of the time to live, not found; with defaults.
SELECT entity, feature_values, status, event_times ->> 'driver@1' IS NOT NULL AS dated FROM lean.get_online_features('driver', '[{"driver_id": 1}, {"driver_id": 2}, {"driver_id": 3}, {"driver_id": 4}, {"driver_id": 5}]');
-- A view of two groups, of which one is found.
SELECT entity, feature_values, status, event_times -> 'place@1' AS place FROM lean.get_online_features('model', '[{"driver_id": 1, "zone": "n"}, {"driver_id": "4", "zone": "n"}, {"driver_id": 2, "zone": "s"}]');
-- Some features, in the order asked for; features without a view; the same entity twice; keys that are null; more members.
SELECT feature_values FROM lean.get_online_features('model', '{"driver_id": 1, "zone": "n"}', '{busy, trips}');
SELECT feature_values, status FROM lean.get_online_features(NULL, '{"driver_id": 1, "zone": "n"}', '{place:rate as r, driver@1:words, place:busy}');
SELECT feature_values FROM lean.get_online_features('driver', '{"driver_id": 1}', '{trips}');
SELECT entity, feature_values FROM lean.get_online_features('driver', '[{"driver_id": 1}, {"driver_id": 1, "more": 2}, {"driver_id": null}]', '{trips}');
SELECT * FROM lean.get_online_features('driver', '[]');
SELECT entity, feature_values FROM lean.get_online_features('model', '{"driver_id": 1, "zone": "n"}', '{place_rate}');
SELECT (lean.get_online_features('driver', '{"driver_id": 1}', '{trips}')).feature_values;
SELECT d.driver_id, f.feature_values FROM (VALUES (1), (3)) AS d (driver_id), lean.get_online_features('driver', jsonb_build_object('driver_id', d.driver_id), '{trips}') AS f;

-- Keys of like types in several groups, whichever comes first; a key that is too long, or not as precise, is another one.
SELECT lean.create_feature_group('short', '{k int, v varchar(3), "n numeric(4,1)"}', '["x int"]'), lean.create_feature_group('long', '{k bigint, v text, n numeric}', '["y int"]');
SELECT lean.write_features('short', '{"k": 1, "v": "abc", "n": 1.2, "event_timestamp": "2026-01-01Z", "x": 1}'), lean.write_features('long', '[{"k": 1, "v": "abc", "n": 1.2, "event_timestamp": "2026-01-01Z", "y": 2}, {"k": 4294967297, "v": "abcd", "n": 1.24, "event_timestamp": "2026-01-01Z", "y": 3}]');
SELECT entity, feature_values FROM lean.get_online_features(NULL, '[{"k": 1, "v": "abc", "n": 1.2}, {"k": 4294967297, "v": "abcd", "n": 1.24}]', '{short:x, long:y}');
SELECT entity, feature_values FROM lean.get_online_features(NULL, '[{"k": 1, "v": "abc", "n": 1.2}, {"k": 4294967297, "v": "abcd", "n": 1.24}]', '{long:y, short:x}');
SELECT feature_values FROM lean.get_online_features('short', '[{"k": 1, "v": "abcd", "n": 1.2}, {"k": 1, "v": "abc", "n": 1.24}]');
SELECT feature_values FROM lean.get_offline_features('short', '[{"k": 1, "v": "abcd", "n": 1.2}, {"k": 1, "v": "abc", "n": 1.24}, {"k": 1, "v": "abc", "n": 1.20}]', NULL, NULL);
SELECT lean.create_feature_group('other_kind', '{k text}', '["z int"]');
SELECT outcome($$SELECT * FROM lean.get_online_features(NULL, '{"k": 1, "v": "abc", "n": 1.2}', '{short:x, other_kind:z}')$$);

-- Typed rows.
CREATE TYPE driver_row AS (driver_id int, trips bigint, rate float8, rate__status text, seen vector);
SELECT * FROM lean.get_online_rows(NULL::driver_row, 'driver', '[{"driver_id": 1}, {"driver_id": 2}, {"driver_id": 4}, {"driver_id": 5}]');
ALTER TYPE driver_row ALTER ATTRIBUTE trips TYPE text, DROP ATTRIBUTE rate, ADD ATTRIBUTE words text[];
SELECT * FROM lean.get_online_rows(NULL::driver_row, 'driver', '[{"driver_id": 1}, {"driver_id": 2}]');
SELECT driver_id, trips FROM lean.get_online_rows(NULL::driver_v1_online, 'driver', '{"driver_id": 1}');
CREATE TYPE model_row AS (driver_id bigint, zone text, place_rate float4, "at" float4[]);
SELECT * FROM lean.get_online_rows(NULL::model_row, 'model', '{"driver_id": 1, "zone": "n"}');
SELECT outcome($$SELECT * FROM lean.get_online_rows(NULL::model_row, 'driver', '{"driver_id": 1}')$$);
SELECT outcome($$SELECT * FROM lean.get_online_rows(1, 'driver', '{"driver_id": 1}')$$);

-- What is refused.
SELECT outcome($$SELECT * FROM lean.get_online_features('driver', NULL)$$);
SELECT outcome($$SELECT * FROM lean.get_online_features('driver', '7')$$);
SELECT outcome($$SELECT * FROM lean.get_online_features('driver', '[{"driver_id": 1}, {"driver": 1}]')$$);
SELECT outcome($$SELECT * FROM lean.get_online_features('model', '{"driver_id": 1}')$$);
SELECT outcome($$SELECT * FROM lean.get_online_features('driver', '{"driver_id": "one"}')$$);
SELECT outcome($$SELECT * FROM lean.get_online_features('nothing', '{"driver_id": 1}')$$);
SELECT outcome($$SELECT * FROM lean.get_online_features('driver@2', '{"driver_id": 1}')$$);
SELECT outcome($$SELECT * FROM lean.get_online_features('driver', '{"driver_id": 1}', '{nothing}')$$);
SELECT outcome($$SELECT * FROM lean.get_online_features('driver', '{"driver_id": 1}', '{}')$$);
SELECT outcome($$SELECT * FROM lean.get_online_features(NULL, '{"driver_id": 1}')$$);
SELECT outcome($$SELECT * FROM lean.get_online_features(NULL, '{"driver_id": 1}', '{driver:nothing}')$$);

-- The plan that a session keeps follows the definitions, the tables and the user.
SELECT lean.add_feature('driver', '["new", "int", 7]');
SELECT feature_values -> 'new' AS new, status -> 'new' AS status FROM lean.get_online_features('driver', '{"driver_id": 1}');
BEGIN;
SELECT lean.add_feature('driver', '"gone int"');
SELECT feature_values ? 'gone' AS there FROM lean.get_online_features('driver', '{"driver_id": 1}');
ROLLBACK;
SELECT feature_values ? 'gone' AS there FROM lean.get_online_features('driver', '{"driver_id": 1}');
UPDATE lean.feature SET default_value = '8' WHERE group_name = 'driver' AND name = 'new';
SELECT feature_values -> 'new' AS new FROM lean.get_online_features('driver', '{"driver_id": 1}');
DISCARD ALL;
SET timezone = 'UTC';
SET search_path = test_features_read, public;
SELECT feature_values -> 'new' AS new FROM lean.get_online_features('driver', '{"driver_id": 1}');
BEGIN READ ONLY;
SELECT feature_values -> 'trips' AS trips FROM lean.get_online_features('model', '{"driver_id": 1, "zone": "n"}');
SELECT * FROM lean.get_historical_features('driver', 'SELECT 1 AS driver_id, now() AS t', entity_time => 't', features => '{trips}') AS (driver_id int, t timestamptz, trips bigint) \gset
COMMIT;
SELECT :trips AS trips;

-- History. The time to live includes its end; what is later does not count, nor at the same time when strict.
SELECT lean.create_feature_group('past', '{k int, zone text}', '["a int", ["b", "int", -1], "t text"]', ttl => '1 day');
COPY past_v1 (k, zone, event_timestamp, created_timestamp, a, b, t) FROM STDIN;
1	23	2026-01-01 00:00Z	2026-01-01 00:00Z	1	10	one
1	23	2026-01-01 12:00Z	2026-01-01 12:00Z	2	\N	two
1	23	2026-01-01 12:00Z	2026-01-01 18:00Z	3	30	three
1	23	2026-01-03 00:00Z	2026-01-03 00:00Z	4	40	four
12	3	2026-01-01 00:00Z	2026-01-01 00:00Z	5	50	five
2	x	-infinity	2026-01-01 00:00Z	6	60	six
2	x	infinity	2026-01-01 00:00Z	7	70	seven
\.
CREATE TABLE asked (n int, k int, zone text, event_timestamp timestamptz);
COPY asked FROM STDIN;
1	1	23	2025-12-31 23:59:59.999999Z
2	1	23	2026-01-01 00:00Z
3	1	23	2026-01-01 12:00Z
4	1	23	2026-01-02 12:00Z
5	1	23	2026-01-02 12:00:00.000001Z
6	1	23	2026-01-02 12:00Z
6	1	23	2026-01-02 12:00Z
7	12	3	2026-01-01 06:00Z
8	12	23	2026-01-01 06:00Z
9	\N	23	2026-01-01 06:00Z
10	1	23	\N
11	2	x	-infinity
12	2	x	2026-01-01 00:00Z
13	2	x	infinity
14	1	23	2026-01-03 00:00Z
\.
SELECT * FROM lean.get_historical_features('past', 'asked', method => 'lateral') AS (n int, k int, zone text, at timestamptz, a int, b int, t text) ORDER BY n;
SELECT * FROM lean.get_historical_features('past', 'asked', method => 'merge', strict => true, features => '{a}') AS (n int, k int, zone text, at timestamptz, a int) ORDER BY n;
-- Both ways give the same, whatever the options.
CREATE FUNCTION differences(options text, columns text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('WITH l AS (SELECT * FROM lean.get_historical_features(''past'', ''asked'', method => ''lateral''%1$s) AS (n int, k int, zone text, at timestamptz, %2$s)),
		m AS (SELECT * FROM lean.get_historical_features(''past'', ''asked'', method => ''merge''%1$s) AS (n int, k int, zone text, at timestamptz, %2$s))
		SELECT ''-'' || x::text FROM (TABLE l EXCEPT ALL TABLE m) AS x UNION ALL SELECT ''+'' || x::text FROM (TABLE m EXCEPT ALL TABLE l) AS x', options, columns);
END
$$;
SELECT * FROM differences('', 'a int, b int, t text');
SELECT * FROM differences(', strict => true', 'a int, b int, t text');
SELECT * FROM differences(', as_known_at => ''2026-01-01 12:00Z''', 'a int, b int, t text');
SELECT * FROM differences(', lookbacks => ''{0, 6 hours}'', aggregates => ''{latest, count}'', features => ''{a}''', 'a int, a_6 int, c bigint, c_6 bigint');
-- As it was known at a time, and as it was known then.
SELECT n, a FROM lean.get_historical_features('past', 'asked', as_known_at => '2026-01-01 17:59Z', features => '{a}') AS (n int, k int, zone text, at timestamptz, a int) WHERE n IN (2, 3, 4) ORDER BY n;
SELECT n, a FROM lean.get_historical_features('past', 'asked', as_known_then => true, features => '{a}') AS (n int, k int, zone text, at timestamptz, a int) WHERE n IN (2, 3, 4) ORDER BY n;
-- Windows: one column each, by each aggregate; a row that was corrected counts once.
SELECT n, r.a, r.a_12h, sum, sum_12h, avg, avg_12h, count, count_12h, min, min_12h, max, max_12h
	FROM lean.get_historical_features('past', 'asked', lookbacks => '{0, 12 hours}', aggregates => '{latest, sum, avg, count, min, max}', features => '{a}')
	AS r (n int, k int, zone text, at timestamptz, a int, a_12h int, sum bigint, sum_12h bigint, avg numeric, avg_12h numeric, count bigint, count_12h bigint, min int, min_12h int, max int, max_12h int)
	WHERE n IN (1, 2, 3, 4, 14) ORDER BY n;
SELECT n, t, c FROM lean.get_historical_features('past', 'asked', lookbacks => '{1 hour}', aggregates => '{latest, count}', features => '{t}') AS (n int, k int, zone text, at timestamptz, t text, c bigint) WHERE n <= 3 ORDER BY n;
-- Names.
SELECT lean.create_training_set('training', 'past', 'asked', lookbacks => '{0, 90 minutes}', aggregates => '{latest, max}', features => '{a}');
SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'training'::regclass AND attnum > 0;
CREATE SCHEMA "My Schema";
SELECT lean.create_training_set('"My Schema"."The Set"', 'past', 'asked');
SELECT count(*), count(a) FROM "My Schema"."The Set";
SELECT lean.create_training_set('full_names', NULL, 'SELECT 1 AS k, ''x''::text AS zone, 1 AS driver_id, 5 AS rate, now() AS at', entity_time => 'at', features => '{past:a, driver:rate, place:rate}', full_feature_names => true);
SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'full_names'::regclass AND attnum > 0;
SELECT outcome($$SELECT lean.create_training_set('clash', NULL, 'SELECT 1 AS k, ''x''::text AS zone, 1 AS driver_id, now() AS at', entity_time => 'at', features => '{driver:rate, place:rate}')$$);
SELECT outcome($$SELECT lean.create_training_set('clash', 'past', 'SELECT *, 1 AS a FROM asked')$$);
SELECT outcome($$SELECT lean.create_training_set('training', 'past', 'asked')$$);
-- Entities as a query or a relation, with keys of other types and times without a zone; none at all.
SELECT * FROM lean.get_historical_features('past', 'SELECT 1::bigint AS k, ''23''::varchar AS zone, date ''2026-01-02'' AS day;', entity_time => 'day', features => '{a}') AS (k bigint, zone varchar, day date, a int);
SELECT * FROM lean.get_historical_features('past', 'SELECT x AS k, ''23'' AS zone, timestamp ''2026-01-02'' AS event_timestamp FROM (VALUES (1), (4294967297)) AS v (x)', features => '{a}', method => 'lateral') AS (k bigint, zone text, at timestamp, a int) ORDER BY k;
SELECT * FROM lean.get_historical_features('past', 'SELECT x AS k, ''23'' AS zone, timestamp ''2026-01-02'' AS event_timestamp FROM (VALUES (1), (4294967297)) AS v (x)', features => '{a}', method => 'merge') AS (k bigint, zone text, at timestamp, a int) ORDER BY k;
CREATE TYPE mood AS ENUM ('sad', 'happy');
SELECT lean.create_feature_group('moods', '{m mood, "n numeric(4,1)", v varchar(3)}', '["a int"]');
SELECT lean.write_features('moods', '[{"m": "sad", "n": 1, "v": "abc", "event_timestamp": "2026-01-01Z", "a": 1}, {"m": "happy", "n": 1.2, "v": "abc", "event_timestamp": "2026-01-01Z", "a": 2}]');
SELECT m, n, v, a FROM lean.get_historical_features('moods', $$SELECT m, n, v, timestamptz '2026-01-02Z' AS event_timestamp FROM unnest(enum_range(NULL::mood)) AS m, (VALUES (1), (1.2), (1.24)) AS x (n), (VALUES ('abc'), ('abcd')) AS y (v)$$, method => 'lateral')
	AS (m mood, n numeric, v text, t timestamptz, a int) WHERE a > 0 ORDER BY m;
SELECT m, n, v, a FROM lean.get_historical_features('moods', $$SELECT m, n, v, timestamptz '2026-01-02Z' AS event_timestamp FROM unnest(enum_range(NULL::mood)) AS m, (VALUES (1), (1.2), (1.24)) AS x (n), (VALUES ('abc'), ('abcd')) AS y (v)$$, method => 'merge')
	AS (m mood, n numeric, v text, t timestamptz, a int) WHERE a > 0 ORDER BY m;
SELECT m, n, v, a FROM lean.get_historical_features('moods', $$SELECT 'happy' AS m, 1 AS n, 'abc'::name AS v, timestamptz '2026-01-02Z' AS event_timestamp UNION ALL SELECT 'sad', 1, 'abc', '2026-01-02Z'$$, method => 'merge')
	AS (m text, n int, v name, t timestamptz, a int) ORDER BY m;
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'SELECT 1.4 AS k, ''23'' AS zone, now() AS event_timestamp') AS (k numeric)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'SELECT ''one'' AS k, ''23'' AS zone, now() AS event_timestamp') AS (k text, z text, t timestamptz, a int, b int, c text)$$);
SELECT * FROM lean.get_historical_features('past', 'SELECT * FROM asked WHERE false') AS (n int, k int, zone text, at timestamptz, a int, b int, t text);
-- What is refused.
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', NULL) AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'nowhere') AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('nothing', 'asked') AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'SELECT k, zone FROM asked') AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'SELECT k, event_timestamp FROM asked') AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'SELECT k, zone, n AS event_timestamp FROM asked') AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'asked', method => 'magic') AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'asked', aggregates => '{median}') AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'asked', aggregates => '{}') AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'asked', aggregates => '{avg}') AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'asked', lookbacks => '{soon}') AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'asked', lookbacks => '{-1 hour}') AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'asked', lookbacks => '{}') AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'asked', as_known_then => true, method => 'merge') AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'asked; DROP TABLE asked') AS (x int)$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('past', 'SELECT 1) AS e; DROP TABLE asked; --') AS (x int)$$);
-- A day is 24 hours, also where clocks change.
SET timezone = 'America/New_York';
SELECT lean.create_feature_group('dst', '{k int}', '["a int"]', ttl => '1 day');
SELECT lean.write_features('dst', '[{"k": 1, "event_timestamp": "2026-03-07 12:00-05", "a": 1}, {"k": 2, "event_timestamp": "2026-10-31 12:00-04", "a": 2}]');
SELECT * FROM lean.get_historical_features('dst', $$SELECT k, at AS event_timestamp FROM (VALUES (1, timestamptz '2026-03-08 13:00-04'), (1, '2026-03-08 13:00:00.1-04'), (2, '2026-11-01 11:00-05'), (2, '2026-11-01 11:00:00.1-05')) AS v (k, at)$$) AS (k int, at timestamptz, a int) ORDER BY at;
SET timezone = 'UTC';

-- Ranges.
SELECT * FROM lean.get_offline_features('past', '[{"k": 1, "zone": "23"}, {"k": 3, "zone": "x"}]', '2026-01-01Z', '2026-01-01 12:00Z');
SELECT entity, event_time FROM lean.get_offline_features('past', NULL, NULL, NULL);
SELECT outcome($$SELECT * FROM lean.get_offline_features('past', '{"k": 1}', NULL, NULL)$$);
SELECT outcome($$SELECT * FROM lean.get_offline_features('model', '{"k": 1}', NULL, NULL)$$);

SET client_min_messages = warning;
\set drop_features :tests '/helpers/drop_features.sql'
\i :drop_features
SELECT drop_features('test_features_read');
DROP SCHEMA test_features_read, "My Schema" CASCADE;
