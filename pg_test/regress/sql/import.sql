-- Importing from MLflow without MLflow: its tables in little, what is refused, privileges, and what its client does not write.
-- The client's own writing is in pg_test/clients/test_mlflow.py.
\set SHOW_CONTEXT never
\pset null '∅'
\pset format unaligned
\set main :DBNAME
CREATE DATABASE lean_import;
\c lean_import
SET client_min_messages = warning;
CREATE EXTENSION leanstack;

-- What is no schema, or not MLflow's
SELECT * FROM lean.import_mlflow('no such');
SELECT * FROM lean.import_mlflow(NULL);
SELECT * FROM lean.import_mlflow('public');
CREATE SCHEMA "ml'flow";
SET search_path = "ml'flow";
CREATE TABLE alembic_version (version_num varchar(32));
CREATE TABLE experiments (experiment_id integer PRIMARY KEY, name varchar(256), artifact_location varchar(256), lifecycle_stage varchar(32),
    creation_time bigint, last_update_time bigint);
CREATE TABLE experiment_tags (key varchar(250), value varchar(5000), experiment_id integer);
CREATE TABLE runs (run_uuid varchar(32) PRIMARY KEY, name varchar(250), user_id varchar(256), status varchar(9), start_time bigint, end_time bigint,
    source_version varchar(50), lifecycle_stage varchar(20), artifact_uri varchar(200), experiment_id integer, deleted_time bigint);
CREATE TABLE metrics (key varchar(250), value double precision, "timestamp" bigint, run_uuid varchar(32), step bigint, is_nan boolean);
CREATE TABLE params (key varchar(250), value varchar(8000), run_uuid varchar(32));
CREATE TABLE tags (key varchar(250), value varchar(8000), run_uuid varchar(32));
CREATE TABLE datasets (dataset_uuid varchar(36), experiment_id integer, name varchar(500), digest varchar(36), dataset_source_type varchar(36),
    dataset_source text, dataset_schema text, dataset_profile text);
CREATE TABLE inputs (input_uuid varchar(36), source_type varchar(36), source_id varchar(36), destination_type varchar(36), destination_id varchar(36));
CREATE TABLE input_tags (input_uuid varchar(36), name varchar(255), value varchar(500));
CREATE TABLE registered_models (name varchar(256) PRIMARY KEY, creation_time bigint, last_updated_time bigint, description varchar(5000));
CREATE TABLE registered_model_tags (key varchar(250), value varchar(5000), name varchar(256));
CREATE TABLE registered_model_aliases (alias varchar(256), version integer, name varchar(256));
CREATE TABLE model_versions (name varchar(256), version integer, creation_time bigint, last_updated_time bigint, description varchar(5000),
    user_id varchar(256), current_stage varchar(20), source varchar(500), run_id varchar(32), status varchar(20), status_message varchar(500),
    run_link varchar(500), storage_location varchar(500));
CREATE VIEW model_version_tags AS SELECT ''::varchar AS key, ''::varchar AS value, ''::varchar AS name, 0 AS version WHERE false;
RESET search_path;
SELECT * FROM lean.import_mlflow('ml''flow');
DROP VIEW "ml'flow".model_version_tags;
CREATE TABLE "ml'flow".model_version_tags (key varchar(250), value varchar(5000), name varchar(256), version integer);

-- Of no revision, of one that is not known, and where there are no workspaces yet
SELECT * FROM lean.import_mlflow('ml''flow');
INSERT INTO "ml'flow".alembic_version VALUES ('f00dfacecafe');
SELECT * FROM lean.import_mlflow('ml''flow');
SELECT count(*) > 10 AS several, bool_and(revision ~ '^[0-9a-f]{12,13}$') AS revisions FROM lean.mlflow_revisions();
UPDATE "ml'flow".alembic_version SET version_num = '0584bdc529eb';
SELECT * FROM lean.import_mlflow('ml''flow', workspace => 'x');
SELECT * FROM lean.import_mlflow('ml''flow', 'a/b');
SELECT * FROM lean.import_mlflow('ml''flow', NULL);
SELECT * FROM lean.import_mlflow('ml''flow');

-- Ids that are no uuid, times that no clock shows, no times, parents in a circle and one that is not there
SET search_path = "ml'flow";
INSERT INTO experiments VALUES (0, 'Default', 's3://0', 'active', 1700000000123, 1), (3, '/team/a/b', NULL, 'deleted', NULL, 1700000000500);
INSERT INTO experiment_tags VALUES ('k', 'v', 0), ('none', NULL, 0);
INSERT INTO runs VALUES ('00000000000040008000000000000001', 'child', 'ann', 'FINISHED', 1700000000000, 1700000001999, 'c0ffee', 'active', 's3://1', 0, NULL),
    ('00000000000040008000000000000002', 'parent', '', 'SCHEDULED', 1700000009000, NULL, '', 'active', '', 0, NULL),
    ('no uuid', '', NULL, 'KILLED', NULL, NULL, NULL, 'deleted', NULL, 3, 1700000000500), ('00000000000040008000000000000004', 'self', 'ann', 'RUNNING', 1, NULL, NULL, 'active', NULL, 0, NULL),
    ('00000000000040008000000000000005', 'orphan', 'ann', 'FAILED', 2, 3, NULL, 'deleted', NULL, 3, 1700000000400);
INSERT INTO tags VALUES ('mlflow.parentRunId', '00000000000040008000000000000002', '00000000000040008000000000000001'),
    ('mlflow.parentRunId', '00000000000040008000000000000004', '00000000000040008000000000000004'),
    ('mlflow.parentRunId', '00000000000040008000000000000009', '00000000000040008000000000000005'),
    ('mlflow.runName', 'named by a tag', 'no uuid'), ('mlflow.user', 'bob', 'no uuid'), ('none', NULL, 'no uuid');
INSERT INTO params VALUES ('depth', '3', '00000000000040008000000000000001'), ('empty', '', '00000000000040008000000000000001');
INSERT INTO metrics VALUES ('loss', 0.5, 1700000000001, '00000000000040008000000000000001', 1, false), ('loss', 0, 1700000000002, '00000000000040008000000000000001', 2, true),
    ('loss', 1.7976931348623157e308, 1700000000003, '00000000000040008000000000000001', 3, false), ('loss', -1.7976931348623157e308, 0, '00000000000040008000000000000001', -1, false),
    ('loss', 1.7976931348623155e308, 9223372036854775807, '00000000000040008000000000000001', 0, false), ('loss', 7, -9223372036854775808, '00000000000040008000000000000001', 0, false),
    ('auc', 0.25, -1, 'no uuid', 0, false);
INSERT INTO datasets VALUES ('d', 0, 'a', '1', 'http', '{"url": "https://data/a"}', NULL, NULL), ('e', 3, 'a', '1', 'http', '{"url": "https://data/b"}', NULL, NULL),
    ('f', 0, 'b', '1', 'code', '{"tags": {}}', '{}', '{"rows": 1}'), ('g', 0, 'c', '1', 'local', 'broken {', NULL, NULL);
INSERT INTO inputs VALUES ('1', 'DATASET', 'd', 'RUN', '00000000000040008000000000000001'), ('2', 'DATASET', 'f', 'RUN', '00000000000040008000000000000001'), ('3', 'RUN', 'd', 'MODEL', 'x');
INSERT INTO input_tags VALUES ('1', 'mlflow.data.context', 'training'), ('1', 'other', 'x');
INSERT INTO registered_models VALUES ('churn', 1700000000000, 1, 'who leaves'), (' a@b', NULL, NULL, NULL);
INSERT INTO registered_model_tags VALUES ('k', 'v', 'churn');
INSERT INTO model_versions VALUES ('churn', 2, 1700000000000, 1, 'the first', 'ann', 'Production', 's3://m/2', '00000000000040008000000000000001', 'READY', NULL, 'https://ci', 's3://stored/2'),
    ('churn', 5, NULL, 1700000000900, NULL, NULL, 'Deleted_Internal', 'REDACTED-SOURCE-PATH', 'REDACTED-RUN-ID', 'READY', NULL, 'REDACTED-RUN-LINK', 's3://stored/5'),
    ('churn', 7, NULL, 1, '', '', NULL, 's3://m/7', '00000000000040008000000000000077', 'FAILED_REGISTRATION', 'no', '', NULL);
INSERT INTO model_version_tags VALUES ('seed', '1', 'churn', 2), ('late', '1', 'churn', 5);
INSERT INTO registered_model_aliases VALUES ('champion', 2, 'churn'), ('7', 7, 'churn');
RESET search_path;
SELECT * FROM lean.import_mlflow('ml''flow');

SELECT project, name, description, tags, extract(epoch FROM created_at) BETWEEN 1700000000 AND 1700000001 AS its_time, deleted_at FROM lean.experiment ORDER BY name;
SELECT run_id, r.name, status, r.started_at, ended_at, git_commit, user_name, (SELECT p.name FROM lean.run AS p WHERE p.run_no = r.parent_run_no) AS parent, r.tags, r.deleted_at
    FROM lean.run AS r WHERE name <> 'named by a tag' ORDER BY name;
SELECT run_id = md5('no uuid')::uuid AS id, r.started_at = e.created_at AS started, ended_at, user_name, r.tags, r.deleted_at = e.deleted_at AS "with"
    FROM lean.run AS r JOIN lean.experiment AS e USING (experiment_id) WHERE r.name = 'named by a tag';
SELECT r.name, k.key, m.step, m.at, m.value FROM lean.metric AS m JOIN lean.metric_key AS k USING (key_no) JOIN lean.run AS r USING (run_no) ORDER BY 1, 2, 3, 4;
SELECT r.name, k.key, m.step, m.at, m.value, min_value, min_step, max_value, max_step FROM lean.run_metric AS m JOIN lean.metric_key AS k USING (key_no)
    JOIN lean.run AS r USING (run_no) ORDER BY 1;
SELECT key, value FROM lean.run_param ORDER BY 1;
SELECT name, digest, uri, description FROM lean.dataset ORDER BY 1;
SELECT d.name, context FROM lean.run_dataset JOIN lean.dataset AS d USING (dataset_id) ORDER BY 1;
SELECT name, uri, logged_at FROM lean.run_artifact ORDER BY uri;
SELECT name, project, description, tags, last_version FROM lean.model ORDER BY name;
SELECT version, artifact_uri, (SELECT r.name FROM lean.run AS r WHERE r.run_no = v.run_no) AS run, stage, tags, metadata, deleted_at FROM lean.model_version AS v ORDER BY 1;
SELECT lean.create_model_version('churn', artifact_uri => 'our own');

-- Again: nothing changes, and nothing is audited
SELECT count(*) AS audited FROM lean.audit \gset
SELECT kind, imported, updated FROM lean.import_mlflow('ml''flow') WHERE imported + updated > 0;
SELECT count(*) - :audited AS more FROM lean.audit;

-- What cannot be: a parameter of another value, an experiment, a run, a model and a version that are others' already
BEGIN;
UPDATE "ml'flow".params SET value = '4' WHERE key = 'depth';
SELECT * FROM lean.import_mlflow('ml''flow');
ROLLBACK;
BEGIN;
SELECT lean.create_experiment('mine', 'mlflow') > 0 AS made;
INSERT INTO "ml'flow".experiments VALUES (4, 'mine', NULL, 'active', 1, 1);
SAVEPOINT there;
SELECT * FROM lean.import_mlflow('ml''flow');
ROLLBACK TO there;
SELECT kind, imported FROM lean.import_mlflow('ml''flow', 'other') WHERE imported > 0;
ROLLBACK;
BEGIN;
SELECT lean.create_experiment('mine') > 0 AS made, lean.start_run('mine', run_id => '00000000-0000-4000-8000-000000000006') IS NOT NULL AS started;
INSERT INTO "ml'flow".runs VALUES ('00000000000040008000000000000006', 'x', 'ann', 'FINISHED', 1, 1, NULL, 'active', NULL, 0, NULL);
SELECT * FROM lean.import_mlflow('ml''flow');
ROLLBACK;
BEGIN;
SELECT lean.register_model('mine') > 0 AS made;
INSERT INTO "ml'flow".registered_models VALUES ('mine');
SAVEPOINT there;
SELECT * FROM lean.import_mlflow('ml''flow');
ROLLBACK TO there;
SELECT kind, imported FROM lean.import_mlflow('ml''flow', model_prefix => 'their ') WHERE imported > 0;
SELECT name FROM lean.models ORDER BY name;
ROLLBACK;
BEGIN;
INSERT INTO "ml'flow".model_versions (name, version) VALUES ('churn', 8);
SELECT * FROM lean.import_mlflow('ml''flow');
ROLLBACK;

-- A version that was deleted there and is in use here stays until it is not; a model that was deleted here keeps its aliases
BEGIN;
SELECT lean.set_alias('churn', 'ours', 7);
UPDATE "ml'flow".model_versions SET current_stage = 'Deleted_Internal', source = 'REDACTED-SOURCE-PATH', run_id = 'REDACTED-RUN-ID' WHERE version = 7;
DELETE FROM "ml'flow".registered_model_aliases WHERE alias = '7';
SELECT kind, imported, updated FROM lean.import_mlflow('ml''flow') WHERE imported + updated > 0;
SELECT version, artifact_uri, deleted_at FROM lean.model_version WHERE version = 7;
SELECT lean.delete_alias('churn', 'ours');
SELECT kind, imported, updated FROM lean.import_mlflow('ml''flow') WHERE imported + updated > 0;
SELECT version, artifact_uri, deleted_at FROM lean.model_version WHERE version = 7;
SELECT lean.delete_alias('churn', 'champion'), lean.set_stage('churn', 2, 'archived');
SELECT lean.delete_model('churn');
UPDATE "ml'flow".registered_model_aliases SET version = 7;
UPDATE "ml'flow".model_versions SET current_stage = 'Staging' WHERE version = 2;
SELECT kind, imported, updated FROM lean.import_mlflow('ml''flow') WHERE imported + updated > 0;
ROLLBACK;

-- Tables that came without workspaces, and have got them
BEGIN;
ALTER TABLE "ml'flow".experiments ADD workspace varchar(63) NOT NULL DEFAULT 'default';
ALTER TABLE "ml'flow".registered_models ADD workspace varchar(63) NOT NULL DEFAULT 'default';
ALTER TABLE "ml'flow".registered_model_tags ADD workspace varchar(63) NOT NULL DEFAULT 'default';
ALTER TABLE "ml'flow".registered_model_aliases ADD workspace varchar(63) NOT NULL DEFAULT 'default';
ALTER TABLE "ml'flow".model_versions ADD workspace varchar(63) NOT NULL DEFAULT 'default';
ALTER TABLE "ml'flow".model_version_tags ADD workspace varchar(63) NOT NULL DEFAULT 'default';
DELETE FROM "ml'flow".registered_model_aliases WHERE alias = '7';
SELECT kind, imported, updated FROM lean.import_mlflow('ml''flow') WHERE imported + updated > 0;
ROLLBACK;

-- Whoever may not read or write it is told so
CREATE ROLE lean_import_user;
SELECT lean.create_roles();
GRANT lean_writer TO lean_import_user;
SET ROLE lean_import_user;
SELECT * FROM lean.import_mlflow('ml''flow');
RESET ROLE;
GRANT USAGE ON SCHEMA "ml'flow" TO lean_import_user;
GRANT SELECT ON ALL TABLES IN SCHEMA "ml'flow" TO lean_import_user;
REVOKE SELECT ON "ml'flow".metrics FROM lean_import_user;
SET ROLE lean_import_user;
SELECT * FROM lean.import_mlflow('ml''flow');
RESET ROLE;
GRANT SELECT ON "ml'flow".metrics TO lean_import_user;
DELETE FROM "ml'flow".registered_model_aliases WHERE alias = '7';
INSERT INTO "ml'flow".metrics VALUES ('new', 1, 1, 'no uuid', 1, false);
INSERT INTO "ml'flow".experiments VALUES (9, 'new', NULL, 'active', 1, 1);
SET ROLE lean_import_user;
SELECT kind, imported, updated FROM lean.import_mlflow('ml''flow') WHERE imported + updated > 0;
RESET ROLE;
SELECT created_by FROM lean.experiment WHERE name = 'new';
REVOKE lean_writer FROM lean_import_user;
GRANT lean_reader TO lean_import_user;
SET ROLE lean_import_user;
SELECT kind FROM lean.import_mlflow('ml''flow');
RESET ROLE;

-- Policies: the project is one's own, or it is not
CREATE ROLE project_mlflow;
GRANT lean_writer, project_mlflow TO lean_import_user;
SELECT lean.secure_projects();
INSERT INTO "ml'flow".metrics VALUES ('newer', 1, 1, 'no uuid', 1, false);
SET ROLE lean_import_user;
SELECT kind, imported, updated FROM lean.import_mlflow('ml''flow') WHERE imported + updated > 0;
RESET ROLE;
REVOKE project_mlflow FROM lean_import_user;
SET ROLE lean_import_user;
SELECT kind, imported, updated FROM lean.import_mlflow('ml''flow') WHERE imported + updated > 0;
RESET ROLE;

\c :main
DROP DATABASE lean_import;
DROP ROLE lean_import_user, lean_reader, lean_writer, project_mlflow;
