-- Models, versions, aliases and stages over time, evaluations, lineage, the audit, deletion and roles.
-- Numbers and the audit are those of a database of its own.
\set SHOW_CONTEXT never
\pset null '∅'
\pset format unaligned
\set main :DBNAME
CREATE DATABASE lean_models;
\c lean_models
SET client_min_messages = warning;
CREATE EXTENSION leanstack;

-- Registering
SELECT lean.register_model('churn', description => 'who leaves', tags => '{"team": "growth"}') = lean.register_model('churn') AS same;
SELECT lean.register_model('a@b');
SELECT lean.register_model(' a');
SELECT lean.register_model(NULL);
SELECT lean.register_model('x', project => 'a/b');
SELECT lean.register_model('churn', project => 'other');
SELECT lean.register_model('x', tags => '[]');

SELECT lean.create_experiment('churn') > 0 AS made;
SELECT lean.start_run('churn', run_id => '00000000-0000-4000-8000-000000000001') \gset
SELECT lean.log_dataset(:'start_run', 'customers', 'd1') > 0 AS logged;
SELECT lean.register_dataset('holdout', 'h1') = lean.register_dataset('holdout', 'h1') AS same;
SELECT lean.create_feature_group('usage', '{customer bigint}', '["calls int64"]');
SELECT lean.create_feature_view('churn_features', '{usage:calls}');

SELECT lean.create_model_version('churn', :'start_run', 's3://models/churn/1', 'classifier', 'scikit-learn', 'gradient boosting',
    '{"calls": "int64"}', '{"p": "float64"}', 12345, 'sha256:aa', '{"seed": 1}', '{"note": "first"}', 'customers', 'churn_features');
SELECT lean.create_model_version('churn');
BEGIN;
SELECT lean.create_model_version('churn', artifact_uri => 'lost');
ROLLBACK;
SELECT lean.create_model_version('churn', artifact_uri => 's3://models/churn/3');
\x on
SELECT * FROM (SELECT (to_jsonb(v) - 'created_at' - 'created_by') AS v FROM lean.model_versions AS v) AS x;
\x off
SELECT lean.create_model_version('chrun');
SELECT lean.create_model_version('churn@1');
SELECT lean.create_model_version('churn', size_bytes => -1);
SELECT lean.create_model_version('churn', tags => '1');
SELECT lean.create_model_version('churn', run => '00000000-0000-4000-8000-000000000009');
SELECT lean.create_model_version('churn', dataset => 'nothing');
SELECT lean.create_model_version('churn', feature_view => 'churn_features@2');
SELECT max(version) FROM lean.model_versions;
SELECT lean.tag_model('churn', '{"team": null, "tier": 1}'), lean.tag_model('churn@3', '{"fast": true}');
SELECT lean.tag_model('churn', '3');
SELECT name, tags FROM lean.models;
SELECT tags FROM lean.get_model_version('churn@3');

-- Aliases
SELECT lean.set_alias('churn', 'champion', 1, 'the first');
SELECT lean.set_alias('churn', 'champion', 1, 'nothing changes');
SELECT lean.set_alias('churn', 'champion', 2, 'the second is better'), lean.set_alias('churn', 'shadow-1', 3);
SELECT name, alias, version, changed_by, reason, since <= clock_timestamp() AS since FROM lean.model_aliases;
SELECT lean.delete_alias('churn', 'champion', 'a bad day');
SELECT lean.set_alias('churn', 'champion', 3);
SELECT version, changed_by, reason, ended_by, end_reason, valid_to IS NULL AS open, valid_from >= lag(valid_to) OVER (ORDER BY history_id) AS follows
    FROM lean.model_history WHERE name = 'champion' ORDER BY history_id;
SELECT lean.set_alias('churn', 'champion', 4);
SELECT lean.set_alias('churn', 'latest', 1);
SELECT lean.set_alias('churn', 'v2', 1);
SELECT lean.set_alias('churn', 'a b', 1);
SELECT lean.set_alias('churn', NULL, 1);
SELECT lean.set_alias('churn', 'champion', NULL);
SELECT lean.delete_alias('churn', 'nobody');
SELECT reference, (lean.find_model_version(reference)).version FROM unnest('{churn@1, churn@v2, churn@champion, churn@latest}'::text[]) AS reference;
SELECT lean.get_model_version('churn');
SELECT lean.get_model_version('churn@challenger');
SELECT lean.get_model_version('churn@9');

-- Only one version for an alias at any time, whoever writes
INSERT INTO lean.model_alias SELECT model_id, 'champion', 1 FROM lean.model;
INSERT INTO lean.model_alias SELECT model_id, 'latest', 1 FROM lean.model;
\set VERBOSITY terse
INSERT INTO lean.model_history (model_id, kind, name, version, valid_from) SELECT model_id, 'alias', 'champion', 1, now() FROM lean.model;
INSERT INTO lean.model_history (model_id, kind, name, version, valid_from, valid_to)
    SELECT model_id, 'alias', 'champion', 1, valid_from - interval '1 day', valid_to FROM lean.model_history WHERE name = 'champion' AND version = 1;
\set VERBOSITY default
UPDATE lean.model_history SET version = 1;
UPDATE lean.model_history SET valid_to = NULL WHERE valid_to IS NOT NULL;
DELETE FROM lean.model_history;
TRUNCATE lean.model_history;

-- Stages
SELECT lean.set_stage('churn', 1, 'Production', 'go'), lean.set_stage('churn', 2, 'staging');
SELECT lean.set_stage('churn', 2, 'production', 'go on');
SELECT version, stage, deployed_at IS NOT NULL AS deployed, deprecated_at IS NOT NULL AS deprecated FROM lean.model_versions;
SELECT lean.get_model_version('churn@production');
SELECT lean.set_stage('churn', 3, 'production', archive_existing => true), lean.set_stage('churn', 3, 'production');
SELECT version, stage, deployed_at IS NOT NULL AS deployed, deprecated_at IS NOT NULL AS deprecated FROM lean.model_versions;
SELECT version FROM lean.get_model_version('churn@production');
SELECT name, version, reason, ended_by, end_reason, valid_to IS NULL AS open FROM lean.model_history WHERE kind = 'stage' ORDER BY history_id;
SELECT lean.set_stage('churn', 1, 'none'), lean.set_stage('churn', 2, 'production', 'back');
SELECT version, stage, deployed_at IS NOT NULL AS deployed, deprecated_at IS NOT NULL AS deprecated FROM lean.model_versions;
SELECT lean.set_stage('churn', 1, 'live');
SELECT lean.set_stage('churn', 7, 'staging');
SELECT name, versions, aliases, production, tags, description FROM lean.models;

-- What was when
SELECT version, kind, reason, until IS NULL AS still FROM lean.model_at('churn', 'champion');
SELECT h.valid_from AS first_day, h.valid_to AS last_day FROM lean.model_history AS h WHERE h.name = 'champion' AND h.version = 1 \gset
SELECT version FROM lean.model_at('churn', 'champion', :'first_day');
SELECT version FROM lean.model_at('churn', 'champion', :'first_day'::timestamptz - interval '1 microsecond');
SELECT version FROM lean.model_at('churn', 'champion', :'last_day');
SELECT version, kind FROM lean.model_at('churn', 'production');
SELECT version, kind FROM lean.model_at('churn', 'latest');
SELECT version FROM lean.model_at('churn', 'staging', 'infinity');
SELECT lean.set_alias('churn', 'production', 1);
SELECT version, kind FROM lean.model_at('churn', 'production');
SELECT version, kind FROM lean.model_at('churn', 'production', of_kind => 'stage');
SELECT version FROM lean.get_model_version('churn@production');
SELECT lean.delete_alias('churn', 'production');
SELECT lean.model_at('churn', 'nobody');
SELECT lean.model_at('churn', 'champion', of_kind => 'tag');

-- Evaluations
SELECT lean.log_evaluation('churn', 1, 'auc', 0.56, 'holdout', '2024-01-01'), lean.log_evaluation('churn', 1, 'auc', 0.56, 'holdout', '2024-01-01');
SELECT lean.log_evaluation('churn', 1, 'auc', 0.66, 'holdout', '2024-01-01');
SELECT lean.log_evaluation('churn', 2, 'auc', 0.4, 'holdout@h1', '2024-01-01'), lean.log_evaluation('churn', 2, 'auc', 0.57, 'holdout', '2024-01-02'),
    lean.log_evaluation('churn', 3, 'auc', 'NaN', 'holdout'), lean.log_evaluation('churn', 1, 'rmse', 2), lean.log_evaluation('churn', 2, 'rmse', 2.5),
    lean.log_evaluation('churn', 3, 'rmse', 2, run => '00000000-0000-4000-8000-000000000001'), lean.log_evaluation('churn', 1, 'auc', 0.9);
SELECT lean.log_evaluation('churn', 1, 'auc', NULL);
SELECT lean.log_evaluation('churn', 1, '', 1);
SELECT lean.log_evaluation('churn', 1, 'auc', 1, 'houldout');
SELECT * FROM lean.compare_models('{churn@1, churn@2, churn@champion}', minimize => '{rmse}');
SELECT * FROM lean.compare_models('{churn@1, churn@v1}', dataset => 'holdout');
SELECT * FROM lean.compare_models('{churn@1, churn@2}', metrics => '{auc}', minimize => '{auc}');
SELECT * FROM lean.compare_models('{}');
SELECT * FROM lean.compare_models('{churn}');

-- Promotion
SELECT lean.set_alias('churn', 'champion', 1);
SELECT * FROM lean.promote_if_better('churn', 2, 'auc', 'holdout', min_gain => 0.02);
SELECT * FROM lean.promote_if_better('churn', 2, 'auc', 'holdout', maximize => false);
SELECT * FROM lean.promote_if_better('churn', 2, 'auc', 'holdout', min_gain => 0.01, reason => 'weekly');
SELECT * FROM lean.promote_if_better('churn', 2, 'auc', 'holdout');
SELECT * FROM lean.promote_if_better('churn', 3, 'auc', 'holdout');
SELECT * FROM lean.promote_if_better('churn', 1, 'auc');
SELECT * FROM lean.promote_if_better('churn', 3, 'rmse', maximize => false);
SELECT * FROM lean.promote_if_better('churn', 1, 'rmse', maximize => false);
SELECT * FROM lean.promote_if_better('churn', 1, 'rmse', maximize => false, alias => 'challenger');
SELECT * FROM lean.promote_if_better('churn', 1, 'f1');
SELECT * FROM lean.promote_if_better('churn', 1, 'auc', min_gain => -1);
SELECT * FROM lean.promote_if_better('churn', 8, 'auc');
SELECT alias, version, reason FROM lean.model_aliases;

-- Lineage
SELECT lean.register_model('base') > 0 AS made, lean.create_model_version('base');
SELECT lean.register_model('small') > 0 AS made, lean.create_model_version('small'), lean.create_model_version('small');
SELECT lean.add_parent('churn@1', 'base@1', 'fine_tuned', '{"epochs": 3}'), lean.add_parent('small@1', 'churn@1', 'distilled'),
    lean.add_parent('small@2', 'small@1', 'quantized', '{"bits": 8}'), lean.add_parent('small@2', 'churn@2', 'merged'), lean.add_parent('churn@2', 'base@1', 'fine_tuned');
SELECT lean.add_parent('small@2', 'small@1', 'quantized', '{"bits": 4}');
SELECT * FROM lean.lineage('model_version', 'small@2');
SELECT * FROM lean.lineage('model_version', 'small@2', max_depth => 1);
SELECT depth, node_kind, node, relation FROM lean.lineage('feature_group', 'usage', 'down');
SELECT depth, node_kind, node, relation FROM lean.lineage('feature_view', 'churn_features', 'down');
SELECT depth, node_kind, node, relation FROM lean.lineage('dataset', 'customers', 'down');
SELECT depth, node_kind, node, relation FROM lean.lineage('run', '00000000-0000-4000-8000-000000000001', 'up');
SELECT lean.start_run('churn', run_id => '00000000-0000-4000-8000-000000000002', parent_run => '00000000-0000-4000-8000-000000000001');
SELECT depth, node_kind, node, relation, path FROM lean.lineage('run', '00000000-0000-4000-8000-000000000001', 'down');
SELECT lean.add_parent('base@1', 'small@2', 'retrained');
SELECT lean.add_parent('base@1', 'base@1', 'retrained');
SELECT lean.add_parent('base@1', 'small@2', 'Fine Tuned');
INSERT INTO lean.model_parent (model_id, version, parent_model_id, parent_version, relation)
    SELECT parent_model_id, parent_version, model_id, version, 'copied' FROM lean.model_parent WHERE relation = 'distilled';
SELECT lean.remove_parent('small@2', 'churn@2');
SELECT lean.remove_parent('small@2', 'churn@2');
SELECT lean.lineage('table', 'x');
SELECT lean.lineage('run', 'x');
SELECT lean.lineage('dataset', 'x');
SELECT lean.lineage('model_version', 'churn@2', 'sideways');
SELECT lean.lineage('model_version', 'churn@2', max_depth => 0);

-- A version keeps its feature view
SELECT lean.drop_feature_view('churn_features');
SELECT lean.drop_feature_group('usage');
UPDATE lean.feature_view_feature SET name = 'c' WHERE view_name = 'churn_features';
DELETE FROM lean.feature_view_feature WHERE view_name = 'churn_features';
INSERT INTO lean.feature_view_feature (view_name, view_version, position, name, group_name, group_version, feature)
    VALUES ('churn_features', 1, 2, 'again', 'usage', 1, 'calls');
DELETE FROM lean.feature_view WHERE name = 'churn_features';
SELECT name, used_by FROM lean.feature_views;

-- Deletion and restoring
SELECT lean.delete_model_version('churn', 2);
SELECT lean.delete_model_version('churn', 1);
SELECT lean.delete_model('churn');
SELECT lean.set_stage('churn', 2, 'none'), lean.delete_alias('churn', 'challenger');
SELECT lean.delete_model_version('churn', 1);
SELECT lean.set_alias('churn', 'challenger', 1);
SELECT lean.create_model_version('churn'), version FROM lean.get_model_version('churn@latest');
SELECT version FROM lean.model_versions WHERE name = 'churn';
SELECT lean.drop_feature_view('churn_features');
SELECT lean.restore_model_version('churn', 1), lean.restore_model_version('churn', 1);
SELECT lean.delete_model('base');
SELECT lean.register_model('base');
SELECT lean.create_model_version('base');
SELECT name FROM lean.models;
SELECT lean.restore_model('base');
SELECT name FROM lean.models;
SELECT lean.restore_model('nothing');
SELECT lean.delete_run('00000000-0000-4000-8000-000000000002');
SELECT lean.delete_experiment('churn');
SELECT lean.log_metric('00000000-0000-4000-8000-000000000001', 'loss', 1);
SELECT lean.restore_run('00000000-0000-4000-8000-000000000001');
SELECT lean.restore_experiment('churn'), lean.restore_experiment('churn');
SELECT run_id, deleted_at IS NOT NULL AS deleted FROM lean.run ORDER BY run_no;
SELECT lean.restore_run('00000000-0000-4000-8000-000000000002');
SELECT lean.restore_experiment('nothing');

-- The audit
SELECT action, "table", count(*) FROM lean.audit_log GROUP BY 1, 2 ORDER BY 2, 1;
SELECT who, project, key - 'model_id' AS key, changes FROM lean.audit_log WHERE "table" = 'model_alias' AND action = 'update' ORDER BY at LIMIT 2;
UPDATE lean.audit SET who = 'nobody';
DELETE FROM lean.audit;
DELETE FROM lean.audit WHERE false;
TRUNCATE lean.audit;
BEGIN;
TRUNCATE lean.model_parent;
SELECT who, action, "table", changes FROM lean.audit_log ORDER BY at DESC LIMIT 1;
ROLLBACK;

-- Roles
SELECT lean.create_roles(), lean.create_roles();
CREATE ROLE regress_models_reader IN ROLE lean_reader;
CREATE ROLE regress_models_writer IN ROLE lean_writer;
SET ROLE regress_models_reader;
SELECT count(*) FROM lean.model_versions;
SELECT version FROM lean.model_at('churn', 'champion');
SELECT lean.set_alias('churn', 'champion', 1);
TABLE lean.audit;
SET ROLE regress_models_writer;
SELECT lean.register_model('written') > 0 AS made, lean.create_model_version('written'), lean.set_alias('written', 'champion', 1, 'only'), lean.set_stage('written', 1, 'production');
SELECT lean.add_parent('written@1', 'base@1', 'retrained'), lean.delete_alias('written', 'champion');
SET check_function_bodies = off;
SELECT lean.tag_model('written', '{"seen": true}');
RESET check_function_bodies;
DELETE FROM lean.model_version;
CREATE TEMP TABLE model (model_id bigint);
CREATE TRIGGER forged AFTER INSERT ON model FOR EACH ROW EXECUTE FUNCTION lean.write_audit('model_id');
INSERT INTO lean.audit (who, login, action, table_name) VALUES ('nobody', 'nobody', 'insert', 'model');
TABLE lean.audit;
RESET ROLE;
SELECT who, login = session_user AS login, action, table_name FROM lean.audit WHERE who = 'regress_models_writer' ORDER BY audit_id;

-- Projects
SELECT lean.register_model('secret', project => 'lab') > 0 AS made, lean.create_model_version('secret'), lean.set_alias('secret', 'champion', 1);
SELECT lean.create_experiment('trials', project => 'lab') > 0 AS made;
SELECT lean.start_run('lab/trials', run_id => '00000000-0000-4000-8000-000000000003', params => '{"a": 1}');
SELECT lean.log_metric('00000000-0000-4000-8000-000000000003', 'loss', 1);
SELECT lean.create_model_version('small'), lean.add_parent('small@3', 'secret@1', 'merged'), lean.add_parent('secret@1', 'base@1', 'copied');
CREATE ROLE project_default ROLE regress_models_reader, regress_models_writer;
SELECT lean.secure_projects(), lean.secure_projects();
GRANT SELECT ON lean.audit TO lean_reader;
SET ROLE regress_models_reader;
SELECT name FROM lean.models;
SELECT count(*) FROM lean.model_versions WHERE name = 'secret';
SELECT count(*), count(*) FILTER (WHERE project <> 'default') AS others FROM lean.audit WHERE table_name = 'model';
SELECT name FROM lean.experiment;
SELECT (SELECT count(*) FROM lean.run) AS runs, (SELECT count(*) FROM lean.run_param) AS params, (SELECT count(*) FROM lean.metric) AS points;
SELECT lean.get_model_version('secret@1');
SELECT node FROM lean.lineage('model_version', 'small@3');
SET ROLE regress_models_writer;
SELECT lean.create_model_version('written'), lean.set_alias('written', 'champion', 2);
SELECT lean.start_run('churn', run_id => '00000000-0000-4000-8000-000000000004', params => '{"depth": 3}');
SELECT lean.log_metrics('00000000-0000-4000-8000-000000000004', '{"loss": 0.5, "auc": 0.7}');
SELECT run_id, params, metrics FROM lean.run_summary WHERE run_id > '00000000-0000-4000-8000-000000000002';
SELECT lean.register_model('secret');
SELECT lean.register_model('mine', project => 'lab');
SELECT lean.set_alias('secret', 'champion', 1);
UPDATE lean.model SET project = 'lab' WHERE name = 'written';
SELECT lean.log_metric('00000000-0000-4000-8000-000000000003', 'loss', 2);
-- The cycle goes through what the user does not see.
SELECT lean.add_parent('base@1', 'small@3', 'retrained');
RESET ROLE;
DO $$
DECLARE
    t regclass;
BEGIN
    FOR t IN SELECT polrelid FROM pg_policy WHERE polname = 'project' LOOP
        EXECUTE format('DROP POLICY project ON %s', t);
        EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', t);
    END LOOP;
END
$$;

-- A user without privileges on models owns a feature view that a model uses
CREATE ROLE regress_models_owner;
GRANT CREATE ON SCHEMA public TO regress_models_owner;
SET ROLE regress_models_owner;
SELECT lean.create_feature_group('own', '{id bigint}', '["x int64"]');
SELECT lean.create_feature_view('own_view', '{own:x}');
SET ROLE regress_models_writer;
SELECT lean.create_model_version('written', feature_view => 'own_view');
RESET ROLE;
GRANT SELECT ON own_v1 TO regress_models_writer;
SET ROLE regress_models_writer;
SELECT lean.create_model_version('written', feature_view => 'own_view') > 0 AS made;
SET ROLE regress_models_owner;
SELECT lean.drop_feature_view('own_view');
RESET ROLE;
DELETE FROM lean.model_parent;
DELETE FROM lean.model_version WHERE feature_view = 'own_view';
SET ROLE regress_models_owner;
SELECT lean.drop_feature_view('own_view');
SELECT lean.drop_feature_group('own', drop_history => true);
RESET ROLE;
DROP OWNED BY regress_models_owner, regress_models_reader, regress_models_writer, lean_reader, lean_writer, project_default;
DROP ROLE regress_models_owner, regress_models_reader, regress_models_writer, lean_reader, lean_writer, project_default;
\c :main
DROP DATABASE lean_models;
