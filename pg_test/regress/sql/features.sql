-- The feature store's definitions: groups and views, what they are made of, how they change and go, and what is refused.
\set VERBOSITY terse
CREATE SCHEMA test_features;
SET search_path = test_features, public;
\getenv tests PG_ABS_SRCDIR
\set outcome :tests '/helpers/outcome.sql'
\i :outcome
-- The columns of a table, with types and what is not null.
CREATE FUNCTION columns(tab regclass) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%I %s%s', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN ' !' ELSE '' END), ', ' ORDER BY attnum)
	FROM pg_attribute WHERE attrelid = tab AND attnum > 0 AND NOT attisdropped
$$;

-- A group: two tables, and what is registered.
SELECT lean.create_feature_group('driver_stats', '{driver_id bigint, zone text}',
	'["conv_rate float32", {"name": "trips", "type": "int64", "default": 0, "description": "trips so far"},
	  ["tier", "string", "new", "what they pay"], "seen vector(3)"]',
	ttl => '1 day', description => 'drivers by zone');
SELECT columns('driver_stats_v1');
SELECT columns('driver_stats_v1_online');
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid IN ('driver_stats_v1'::regclass, 'driver_stats_v1_online'::regclass) ORDER BY 1;
SELECT obj_description('driver_stats_v1'::regclass), obj_description('driver_stats_v1_online'::regclass), col_description('driver_stats_v1'::regclass, 6);
SELECT reloptions FROM pg_class WHERE oid = 'driver_stats_v1_online'::regclass;

-- Words of Feast, and types of PostgreSQL.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN percent AS numeric(5,2) CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE my_list AS (a int, b int);
SELECT lean.create_feature_group('types', '{k int}', '["a Int32", "b INT64", "c Float32", "d Float64", "e Bool", "f String", "g Bytes",
	"h UnixTimestamp", "i Array(Int64)", "j Array(String)", "k2 float32_list", "l int32[]", "m Map", "n Set(String)",
	"o numeric(10,2)", "p varchar(5)", "q mood", "r percent", "s halfvec(4)", "t timestamptz(3)", "u mood[]", "v json", "w point", "x double precision", "y my_list"]', online => false);
SELECT columns('types_v1');
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["a nonsense"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["a anyelement"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["a trigger"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["a int); DROP TABLE x; --"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int, n numeric(4,1)}', '["a int"]')$$);

-- Keys of other types.
SELECT lean.create_feature_group('keys', '{m mood, p percent, d date, u uuid, v varchar(3)}', '["x int"]');
SELECT lean.write_features('keys', '[{"m": "ok", "p": 50, "d": "2026-01-01", "u": "00000000-0000-0000-0000-000000000001", "v": "abc", "event_timestamp": "2026-01-01Z", "x": 1}]');
SELECT feature_values, status FROM lean.get_online_features('keys', '[{"m": "ok", "p": 50, "d": "2026-01-01", "u": "00000000-0000-0000-0000-000000000001", "v": "abc"},
	{"m": "sad", "p": 50, "d": "2026-01-01", "u": "00000000-0000-0000-0000-000000000001", "v": "abc"}]');
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k point}', '["a int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k json}', '["a int"]')$$);

-- Names that need quotes, and a schema of its own.
CREATE SCHEMA "My Features";
SELECT lean.create_feature_group('größe', '{"Shoe:Size int"}', '["Width float32", "select int"]', event_time => 'at time', created_time => 'Made', schema => 'My Features');
SELECT columns('"My Features"."größe_v1_online"');
SELECT lean.write_features('größe', '{"Shoe:Size": 42, "at time": "2026-01-01Z", "Width": 7, "select": 1}');
SELECT feature_values FROM lean.get_online_features('größe', '{"Shoe:Size": 42}');
SELECT * FROM lean.get_historical_features('größe', 'SELECT 42 AS "Shoe:Size", timestamptz ''2026-01-02Z'' AS event_timestamp') AS ("Shoe:Size" int, at timestamptz, "Width" real, "select" int);
SELECT lean.drop_feature_group('größe', drop_history => true);

-- Names that the statements use themselves.
SELECT lean.create_feature_group('awkward', '{n int, place text, k int}', '["again int", "again_ int", "h int", "at int", "e int", "o int", "s int", "entity int", "x int", "d int", "g1 int", "r int"]', event_time => 'side', created_time => 'written');
SELECT lean.write_features_from('awkward', 'SELECT 1 AS n, ''x'' AS place, 2 AS k, timestamptz ''2026-01-01Z'' AS side, 3 AS again, 4 AS h, 5 AS at'),
	lean.write_features('awkward', '{"n": 1, "place": "x", "k": 2, "side": "2026-01-01Z", "again": 3, "h": 4, "at": 5}');
SELECT feature_values FROM lean.get_online_features('awkward', '{"n": 1, "place": "x", "k": 2}');
SELECT * FROM lean.get_historical_features('awkward', 'SELECT 1 AS n, ''x'' AS place, 2 AS k, timestamptz ''2026-01-02Z'' AS side', entity_time => 'side', features => '{again, at}', aggregates => '{latest, max}', method => 'lateral')
	AS (n int, place text, k int, side timestamptz, again int, max int, at int, max_at int);
SELECT feature_values FROM lean.get_offline_features('awkward', '{"n": 1, "place": "x", "k": 2}', NULL, NULL);
SELECT * FROM lean.materialize_incremental('awkward');

-- What is refused; nothing is left of it.
SELECT outcome($$SELECT lean.create_feature_group('driver_stats', '{k int}', '["a int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('no name', '{k int}', '["a int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('a"; DROP TABLE x; --', '{k int}', '["a int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group(NULL, '{k int}', '["a int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group(repeat('x', 41), '{k int}', '["a int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["a int"]', version => 0)$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{}', '["a int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', NULL, '["a int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k}', '["a int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int, k int}', '["a int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int, event_timestamp int}', '["a int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["a int", "a int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["k int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["created_timestamp int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["a"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '[]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '{"a": "int"}')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', NULL)$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '[7]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '[{"name": "a", "typ": "int"}]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '[{"name": "a:b", "type": "int"}]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '[["a", "int", "many"]]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '[["a", "mood", "angry"]]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '[["a", "percent", 101]]')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["a int"]', ttl => '-1 hour')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["a int"]', ttl => '5000 years')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["a int"]', event_time => NULL)$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["a int"]', created_time => NULL)$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["a int"]', schema => 'nowhere')$$);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["a int"]', schema => NULL)$$);
SELECT outcome(format($$SELECT lean.create_feature_group('bad', '{k int}', '["%s int"]')$$, repeat('x', 64)));
CREATE TABLE bad_v1 (x int);
SELECT outcome($$SELECT lean.create_feature_group('bad', '{k int}', '["a int"]')$$);
DROP TABLE bad_v1;
SELECT count(*) FROM lean.feature_groups WHERE name = 'bad';

-- Versions, and additions.
SELECT lean.create_feature_group('driver_stats', '{driver_id bigint}', '["conv_rate float64"]', version => 2, online => false);
SELECT outcome($$SELECT lean.find_feature_group('driver_stats@3')$$);
SELECT outcome($$SELECT lean.find_feature_group('drivers')$$);
SELECT lean.add_feature('driver_stats@2', '"acc_rate float32"');
SELECT lean.add_feature('driver_stats@2', '{"name": "stars", "type": "int", "default": 5, "description": "of five"}');
SELECT lean.add_feature('driver_stats@2', '["level", "string"]');
SELECT columns('driver_stats_v2');
SELECT outcome($$SELECT lean.add_feature('driver_stats@2', '"acc_rate float32"')$$);
SELECT outcome($$SELECT lean.add_feature('driver_stats@2', '"driver_id int"')$$);
SELECT outcome($$SELECT lean.add_feature('driver_stats@2', '"more"')$$);
SELECT outcome($$SELECT lean.add_feature('driver_stats@2', '["one int", "two int"]')$$);
SELECT outcome($$SELECT lean.add_feature('driver_stats@2', '["one int"]')$$);
SELECT outcome($$SELECT lean.add_feature('driver_stats@2', '[["one", "int"], ["two", "int"]]')$$);
SELECT outcome($$SELECT lean.add_feature('driver_stats@2', NULL)$$);
SELECT outcome(format($$SELECT lean.add_feature('driver_stats@2', '"%s int"')$$, repeat('x', 64)));
ALTER TABLE driver_stats_v2 ADD COLUMN age int;
SELECT outcome($$SELECT lean.add_feature('driver_stats@2', '"age text"')$$);
SELECT lean.add_feature('driver_stats@2', '"age"');

-- Views.
SELECT lean.create_feature_view('driver_model', '{driver_stats:conv_rate, driver_stats@1:trips as n_trips, driver_stats@2:stars}', description => 'of drivers');
SELECT lean.create_feature_view('driver_model', '{driver_stats:*}', version => 2);
SELECT outcome($$SELECT lean.create_feature_view('driver_model', '{driver_stats:*}')$$);
SELECT outcome($$SELECT lean.create_feature_view('driver_stats', '{driver_stats:*}')$$);
SELECT outcome($$SELECT lean.create_feature_group('driver_model', '{k int}', '["a int"]', version => 9)$$);
SELECT outcome($$SELECT lean.create_feature_view('bad', '{driver_stats:conv_rate, driver_stats@2:conv_rate}')$$);
SELECT outcome($$SELECT lean.create_feature_view('bad', '{driver_stats:conv_rate as zone}')$$);
SELECT outcome($$SELECT lean.create_feature_view('bad', '{driver_stats:nothing}')$$);
SELECT outcome($$SELECT lean.create_feature_view('bad', '{driver_stats@7:conv_rate}')$$);
SELECT outcome($$SELECT lean.create_feature_view('bad', '{conv_rate}')$$);
SELECT outcome($$SELECT lean.create_feature_view('bad', '{driver_stats:* as x}')$$);
SELECT outcome($$SELECT lean.create_feature_view('bad', '{}')$$);
SELECT outcome($$SELECT lean.create_feature_view('bad view', '{driver_stats:*}')$$);
SELECT outcome($$SELECT lean.create_feature_view('bad', '{driver_stats:*}', version => -1)$$);

-- Listings.
\pset format wrapped
\pset columns 150
SELECT name, version, entity_keys, features, ttl, history, online, used_by, description FROM lean.feature_groups WHERE name LIKE 'driver%';
SELECT "group", version, feature, type, "default", used_by, description FROM lean.features WHERE "group" LIKE 'driver%';
SELECT name, version, entity_keys, features, served, description FROM lean.feature_views;
\pset format aligned

-- What a view uses does not change, by whatever way; the rest may.
SELECT outcome($$UPDATE lean.feature SET type = 'text' WHERE group_name = 'driver_stats' AND name = 'trips'$$);
SELECT outcome($$UPDATE lean.feature SET default_value = '1' WHERE group_name = 'driver_stats' AND group_version = 2 AND name = 'stars'$$);
SELECT outcome($$DELETE FROM lean.feature WHERE group_name = 'driver_stats' AND name = 'trips'$$);
SELECT outcome($$UPDATE lean.feature_group SET ttl = '2 days' WHERE name = 'driver_stats' AND version = 1$$);
SELECT outcome($$UPDATE lean.feature_group SET description = 'drivers' WHERE name = 'driver_stats' AND version = 1$$);
SELECT outcome($$UPDATE lean.feature SET default_value = '1' WHERE group_name = 'driver_stats' AND group_version = 2 AND name = 'level'$$);
SELECT lean.add_feature('driver_stats', '"extra float32"');

-- Dropping says what depends.
SELECT outcome($$SELECT lean.drop_feature_group('driver_stats')$$);
SELECT outcome($$SELECT lean.drop_feature_group('driver_stats@3')$$);
SELECT outcome($$SELECT lean.drop_feature_view('nothing')$$);
SELECT lean.drop_feature_view('driver_model@2');
SELECT lean.drop_feature_view('driver_model');
CREATE VIEW mine AS SELECT * FROM driver_stats_v1_online;
SELECT outcome($$SELECT lean.drop_feature_group('driver_stats')$$);
DROP VIEW mine;
SELECT lean.drop_feature_group('driver_stats');
SELECT to_regclass('driver_stats_v1'), to_regclass('driver_stats_v1_online'), to_regclass('driver_model_v1_served');
SELECT outcome($$SELECT lean.create_feature_group('driver_stats', '{driver_id bigint}', '["a int"]')$$);
SELECT lean.drop_feature_group('driver_stats@2', drop_history => true);
SELECT to_regclass('driver_stats_v2');

-- A table that was there, with names of its own.
CREATE TABLE past ("Driver" int, "When" timestamp, load float8, note text, twice float8 GENERATED ALWAYS AS (load * 2) STORED,
	id bigint GENERATED ALWAYS AS IDENTITY, filled int DEFAULT 3);
INSERT INTO past VALUES (1, '2026-01-01', 1.5, 'a'), (NULL, '2026-01-01', 1, 'no driver'), (2, NULL, 2, 'no time'), (1, '2026-01-02', 2.5, 'b');
SELECT outcome($$SELECT lean.create_feature_group('past', '{Driver}', history => 'past')$$);
SELECT outcome($$SELECT lean.create_feature_group('past', '{Driver}', history => 'past', event_time => 'When')$$);
SELECT outcome($$SELECT lean.create_feature_group('past', '{Driver}', history => 'past', event_time => 'load', created_time => NULL)$$);
SELECT outcome($$SELECT lean.create_feature_group('past', '{a}', history => 'spans', created_time => NULL)$$) FROM (SELECT outcome('CREATE TABLE spans (a int, event_timestamp daterange)')) AS x;
SELECT outcome($$SELECT lean.create_feature_group('past', '{Nobody}', history => 'past', event_time => 'When', created_time => NULL)$$);
SELECT outcome($$SELECT lean.create_feature_group('past', '{Driver text}', history => 'past', event_time => 'When', created_time => NULL)$$);
SELECT outcome($$SELECT lean.create_feature_group('past', '{Driver}', '["nothing"]', history => 'past', event_time => 'When', created_time => NULL)$$);
SELECT outcome($$SELECT lean.create_feature_group('past', '{Driver}', '["load text"]', history => 'past', event_time => 'When', created_time => NULL)$$);
SELECT outcome($$SELECT lean.create_feature_group('past', '{Driver}', history => 'nowhere', event_time => 'When', created_time => NULL)$$);
SELECT lean.create_feature_group('past', '{Driver}', history => 'past', event_time => 'When', created_time => NULL);
SELECT feature, type FROM lean.features WHERE "group" = 'past';
SELECT columns('past_v1_online');
CREATE INDEX ON past ("Driver", "When");
SELECT * FROM lean.materialize_incremental('past');
TABLE past_v1_online;
-- What the table fills in itself is not compared when rows are sent again.
SELECT lean.write_features('past', '{"Driver": 3, "When": "2026-01-03", "load": 1, "note": "c"}'), lean.write_features('past', '{"Driver": 3, "When": "2026-01-03", "load": 1, "note": "c"}');
SELECT outcome($$SELECT lean.write_features('past', '{"Driver": 3, "When": "2026-01-03", "load": 2}')$$);
SELECT outcome($$SELECT lean.write_features('past', '{"Driver": 3, "When": "2026-01-03", "twice": 2}')$$);
SELECT feature_values FROM lean.get_online_features('past', '{"Driver": 3}');
SELECT outcome($$SELECT lean.drop_feature_group('past', drop_history => true)$$);
SELECT lean.drop_feature_group('past');
SELECT count(*) FROM past;

-- A view as history; a group of the same tables offline.
CREATE VIEW past_view AS SELECT "Driver" AS driver_id, "When"::timestamptz AS event_timestamp, load FROM past WHERE "Driver" IS NOT NULL;
SELECT lean.create_feature_group('past', '{driver_id}', history => 'past_view', created_time => NULL, online => false);
SELECT * FROM lean.get_historical_features('past', 'SELECT 1 AS driver_id, timestamptz ''2026-01-01 12:00'' AS event_timestamp') AS (driver_id int, t timestamptz, load float8);
SELECT outcome($$SELECT * FROM lean.get_online_features('past', '{"driver_id": 1}')$$);
SELECT outcome($$SELECT * FROM lean.materialize_incremental('past')$$);

-- Tables that were changed by hand are noticed.
SELECT lean.create_feature_group('changed', '{k int}', '["a int", "b int"]');
SELECT lean.write_features('changed', '{"k": 1, "event_timestamp": "2026-01-01Z", "a": 1, "b": 2}');
ALTER TABLE changed_v1 ALTER a TYPE bigint;
SELECT outcome($$SELECT * FROM lean.get_online_features('changed', '{"k": 1}')$$);
SELECT feature_values FROM lean.get_online_features('changed', '{"k": 1}', '{b}');
SELECT outcome($$SELECT lean.write_features('changed', '{"k": 1, "event_timestamp": "2026-01-02Z", "a": 1, "b": 2}')$$);
SELECT outcome($$SELECT lean.write_features_from('changed', 'SELECT 1 AS k, now() AS event_timestamp')$$);
SELECT outcome($$SELECT * FROM lean.materialize('changed', NULL)$$);
ALTER TABLE changed_v1 ALTER a TYPE int;
ALTER TABLE changed_v1_online ALTER k TYPE text;
SELECT outcome($$SELECT * FROM lean.get_online_features('changed', '{"k": 1}')$$);
ALTER TABLE changed_v1_online ALTER k TYPE int USING k::int;
SELECT feature_values FROM lean.get_online_features('changed', '{"k": 1}');
DROP TABLE changed_v1_online;
SELECT outcome($$SELECT * FROM lean.get_online_features('changed', '{"k": 1}')$$);
SELECT outcome($$SELECT lean.write_features('changed', '{"k": 1, "event_timestamp": "2026-01-02Z"}')$$);
DROP TABLE changed_v1;
SELECT outcome($$SELECT lean.write_features('changed', '{"k": 1, "event_timestamp": "2026-01-02Z"}')$$);
SELECT outcome($$SELECT lean.write_features_from('changed', 'SELECT 1 AS k, now() AS event_timestamp')$$);
SELECT lean.drop_feature_group('changed', drop_history => true);

SET client_min_messages = warning;
\set drop_features :tests '/helpers/drop_features.sql'
\i :drop_features
SELECT drop_features('test_features');
DROP SCHEMA test_features, "My Features" CASCADE;
