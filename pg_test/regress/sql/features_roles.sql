-- Whose feature groups they are: what an ordinary role may do, what others may; row-level security; the extension in a
-- schema of its own, gone and back within a session.
\set VERBOSITY terse
\pset null -
CREATE DATABASE regress_features;
\c regress_features
CREATE SCHEMA ext;
CREATE EXTENSION leanstack SCHEMA ext;
\getenv tests PG_ABS_SRCDIR
\set outcome :tests '/helpers/outcome.sql'
\i :outcome
SET timezone = 'UTC';
CREATE ROLE regress_maker;
CREATE ROLE regress_reader;
CREATE ROLE regress_member IN ROLE regress_maker;
CREATE SCHEMA made AUTHORIZATION regress_maker;
GRANT USAGE ON SCHEMA made, ext TO PUBLIC;

-- An ordinary role makes a group and a view of its own, writes and reads.
SET ROLE regress_maker;
SET search_path = made, ext, public;
SELECT lean.create_feature_group('mine', '{k int}', '["a int", ["v", "vector(2)", "[0,0]"], "tenant text"]', ttl => '30 years');
SELECT lean.write_features('mine', '[{"k": 1, "event_timestamp": "2026-01-01Z", "a": 1, "v": [1, 2], "tenant": "regress_reader"}, {"k": 2, "event_timestamp": "2026-01-01Z", "a": 2, "v": [3, 4]}]');
SELECT lean.create_feature_view('my_view', '{mine:*}');
SELECT feature_values FROM lean.get_online_features('my_view', '[{"k": 1}, {"k": 3}]');
SELECT * FROM lean.get_historical_features('my_view', 'SELECT 1 AS k, timestamptz ''2026-01-02Z'' AS event_timestamp') AS (k int, at timestamptz, a int, v vector, tenant text);
SELECT count(*) FROM lean.materialize_incremental('mine');
SELECT count(*) FROM lean.expire_online();
SELECT name, owner FROM lean.feature_groups;

-- Another role sees the definitions, and nothing else.
SET ROLE regress_reader;
SELECT name, version, features, used_by FROM lean.feature_groups;
SELECT outcome($$SELECT * FROM lean.get_online_features('mine', '{"k": 1}')$$);
SELECT outcome($$SELECT * FROM lean.get_historical_features('mine', 'SELECT 1 AS k, now() AS event_timestamp') AS (k int)$$);
SELECT outcome($$SELECT * FROM lean.get_offline_features('mine', '{"k": 1}', NULL, NULL)$$);
SELECT outcome($$SELECT lean.write_features('mine', '{"k": 1, "event_timestamp": "2026-01-03Z"}')$$);
SELECT outcome($$SELECT lean.write_features_from('mine', 'SELECT 1 AS k, now() AS event_timestamp')$$);
SELECT outcome($$SELECT * FROM lean.materialize('mine', NULL)$$);
SELECT outcome($$SELECT * FROM lean.expire_online('mine')$$);
SELECT count(*) FROM lean.expire_online();
SELECT outcome($$SELECT lean.add_feature('mine', '"b int"')$$);
SELECT outcome($$SELECT lean.drop_feature_group('mine')$$);
SELECT outcome($$SELECT lean.drop_feature_view('my_view')$$);
SELECT outcome($$SELECT lean.create_feature_view('your_view', '{mine:*}')$$);
SELECT outcome($$SELECT lean.create_feature_group('mine', '{k int}', '["a int"]')$$);
SELECT outcome($$SELECT lean.create_feature_group('yours', '{k int}', '["a int"]', schema => 'made')$$);
SELECT outcome($$INSERT INTO lean.feature_group (name, version, owner, entity_keys, event_time, history, adopted) VALUES ('fake', 1, 'regress_maker', '{k}', 'event_timestamp', 'pg_class', true)$$);
SELECT outcome($$INSERT INTO lean.feature_group (name, version, owner, entity_keys, event_time, history, adopted) VALUES ('fake', 1, 'public', '{k}', 'event_timestamp', 'pg_class', true)$$);
SELECT outcome($$INSERT INTO lean.feature (group_name, group_version, position, name, type) VALUES ('mine', 1, 9, 'x', 'int')$$);
WITH u AS (UPDATE lean.feature_group SET owner = current_user RETURNING 1), d AS (DELETE FROM lean.feature RETURNING 1),
	e AS (DELETE FROM lean.feature_view_feature RETURNING 1), f AS (UPDATE lean.feature SET type = 'text' RETURNING 1)
	SELECT (SELECT count(*) FROM u), (SELECT count(*) FROM d), (SELECT count(*) FROM e), (SELECT count(*) FROM f);
-- Functions that look the name of a group up are no way around privileges either.
SELECT outcome($$SELECT lean.write_rows('mine', '{k,event_timestamp}', '[{"k": 1, "event_timestamp": "2026-01-03Z"}]')$$);

SELECT outcome('SELECT lean.definitions_changed()');
SELECT outcome('SELECT lean.equality_operator_oid(0, 0)') <> 'done' AS refused;
SELECT outcome('SELECT lean.equality_operator(''trigger'', ''int'')');

-- With privileges on the tables others read and write; row-level security decides which rows, for each role in turn.
SET ROLE regress_maker;
GRANT SELECT, INSERT, UPDATE ON mine_v1, mine_v1_online TO regress_reader;
SET ROLE regress_reader;
SELECT lean.write_features('mine', '{"k": 5, "event_timestamp": "2026-01-03Z", "a": 5, "tenant": "regress_reader"}');
SELECT count(*) FROM lean.materialize_incremental('mine');
SELECT count(*) FROM lean.expire_online();
SELECT lean.create_feature_group('own', '{k int}', history => 'mine_v1', online => false) IS NOT NULL;
SELECT outcome($$SELECT lean.create_feature_view('your_view', '{mine:a}', schema => 'pg_temp')$$);
SELECT lean.drop_feature_view('your_view'), lean.drop_feature_group('own');
SELECT entity, feature_values -> 'a' AS a FROM lean.get_online_features('mine', '[{"k": 1}, {"k": 2}]');
SET ROLE regress_maker;
ALTER TABLE mine_v1_online ENABLE ROW LEVEL SECURITY;
ALTER TABLE mine_v1 ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenants ON mine_v1_online USING (tenant = current_user);
CREATE POLICY tenants ON mine_v1 USING (tenant = current_user);
SELECT entity, feature_values -> 'a' AS a FROM lean.get_online_features('mine', '[{"k": 1}, {"k": 2}]');
SET ROLE regress_reader;
SELECT entity, feature_values -> 'a' AS a, status -> 'a' AS status FROM lean.get_online_features('mine', '[{"k": 1}, {"k": 2}]');
SELECT * FROM lean.get_historical_features('mine', 'SELECT x AS k, timestamptz ''2026-01-02Z'' AS event_timestamp FROM generate_series(1, 2) AS x', features => '{a}', method => 'lateral') AS (k int, at timestamptz, a int) ORDER BY k;
SELECT * FROM lean.get_historical_features('mine', 'SELECT x AS k, timestamptz ''2026-01-02Z'' AS event_timestamp FROM generate_series(1, 2) AS x', features => '{a}', method => 'merge') AS (k int, at timestamptz, a int) ORDER BY k;
SELECT entity FROM lean.get_offline_features('mine', NULL, NULL, NULL);
SELECT outcome($$SELECT lean.write_features('mine', '{"k": 6, "event_timestamp": "2026-01-03Z", "a": 5, "tenant": "another"}')$$);
SET ROLE regress_maker;
REVOKE SELECT ON mine_v1_online FROM regress_reader;
SET ROLE regress_reader;
SELECT outcome($$SELECT * FROM lean.get_online_features('mine', '{"k": 1}')$$);

-- A member of the owner may change and drop.
SET ROLE regress_member;
SELECT lean.add_feature('mine', '"b int"');
SELECT lean.drop_feature_view('my_view');
SELECT lean.drop_feature_group('mine', drop_history => true);
SELECT name FROM lean.feature_groups;

-- Functions of the same names in the caller's search path are not called, even where pg_catalog comes last.
SET ROLE regress_maker;
CREATE FUNCTION made.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '1999-01-01' $$;
CREATE FUNCTION made.jsonb_typeof(jsonb) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$;
CREATE FUNCTION made.record_image_eq(record, record) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$;
SELECT lean.create_feature_group('safe', '{k int}', '["a int"]');
SET search_path = made, pg_catalog;
SELECT lean.write_features('safe', '{"k": 1, "event_timestamp": "2026-01-01Z", "a": 1}');
SELECT lean.write_features_from('safe', 'SELECT 1 AS k, timestamptz ''2026-01-02Z'' AS event_timestamp, 2 AS a');
SELECT feature_values, created_timestamp > '2026-01-01' AS now FROM lean.get_online_features('safe', '{"k": 1}'), safe_v1_online;
SELECT lean.drop_feature_group('safe', drop_history => true);
RESET ROLE;

-- The extension goes and comes back: plans of before are not used.
SET search_path = public, ext;
SELECT lean.create_feature_group('again', '{k int}', '["a int"]');
SELECT lean.write_features('again', '{"k": 1, "event_timestamp": "2026-01-01Z", "a": 1}');
SELECT feature_values FROM lean.get_online_features('again', '{"k": 1}');
SET client_min_messages = warning;
DROP EXTENSION leanstack CASCADE;
CREATE EXTENSION leanstack SCHEMA public;
RESET client_min_messages;
SELECT outcome($$SELECT * FROM lean.get_online_features('again', '{"k": 1}')$$);
DROP TABLE again_v1_online;
SELECT lean.create_feature_group('again', '{k int}', history => 'again_v1');
SELECT * FROM lean.materialize('again', NULL);
SELECT lean.write_features('again', '{"k": 2, "event_timestamp": "2026-01-01Z", "a": 2}'), lean.write_features('again', '{"k": 2, "event_timestamp": "2026-01-01Z", "a": 2}');
SELECT feature_values FROM lean.get_online_features('again', '[{"k": 1}, {"k": 2}]');
\c lean_regress
DROP DATABASE regress_features;
DROP ROLE regress_member, regress_reader, regress_maker;
