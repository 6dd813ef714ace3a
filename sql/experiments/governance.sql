-- Who changed what: an audit that is only added to, deletion that can be undone, and roles.
--
-- The audit is written by a trigger that acts as the owner of the extension, so that a user needs no privilege on it and can
-- neither forge nor skip a row. A dump brings back the tables and the audit beside each other: rows that a restore writes are
-- not audited again.

CREATE TABLE lean.audit (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    who name NOT NULL,
    login name NOT NULL,
    action text NOT NULL CHECK (action IN ('insert', 'update', 'delete', 'truncate')),
    table_name name NOT NULL,
    key jsonb,
    project text,
    before jsonb,
    after jsonb
);
CREATE INDEX audit_key ON lean.audit (table_name, key);
CREATE INDEX audit_at ON lean.audit USING brin (at);
COMMENT ON TABLE lean.audit IS 'every change of experiments, runs, models and what belongs to them; lean.audit_log shows what differs';
COMMENT ON COLUMN lean.audit.audit_id IS 'number of the change';
COMMENT ON COLUMN lean.audit.at IS 'when';
COMMENT ON COLUMN lean.audit.who IS 'the role that acted';
COMMENT ON COLUMN lean.audit.login IS 'the role that had connected';
COMMENT ON COLUMN lean.audit.action IS 'insert, update, delete or truncate';
COMMENT ON COLUMN lean.audit.table_name IS 'the table in schema lean';
COMMENT ON COLUMN lean.audit.key IS 'primary key of the row';
COMMENT ON COLUMN lean.audit.project IS 'the project that the row belongs to; row-level security may go by it';
COMMENT ON COLUMN lean.audit.before IS 'the row as it was';
COMMENT ON COLUMN lean.audit.after IS 'the row as it became';

SELECT pg_catalog.pg_extension_config_dump('lean.audit', '');
SELECT pg_catalog.pg_extension_config_dump('lean.audit_audit_id_seq', '');

CREATE FUNCTION lean.audit_guard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the audit is not changed afterwards'
        USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'It is only added to, by changes of the tables that it is about.';
END
$$;
COMMENT ON FUNCTION lean.audit_guard() IS 'internal: refuses to change the audit';
CREATE TRIGGER guard BEFORE UPDATE OR DELETE OR TRUNCATE ON lean.audit FOR EACH STATEMENT EXECUTE FUNCTION lean.audit_guard();
COMMENT ON TRIGGER guard ON lean.audit IS 'refuses to change the audit';

-- Every dump turns check_function_bodies off. Who owns the tables could turn the audit off too, so nobody evades it by this.
CREATE FUNCTION lean.is_restoring(relation oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN current_setting('check_function_bodies') = 'off'
        AND (SELECT pg_has_role(r.oid, c.relowner, 'USAGE') FROM pg_class AS c, pg_roles AS r
             WHERE c.oid = relation AND r.rolname = coalesce(nullif(current_setting('role'), 'none'), session_user));
COMMENT ON FUNCTION lean.is_restoring(oid) IS 'internal: is a dump being restored into the table, by who may?';

-- The arguments are the columns of the primary key.
CREATE FUNCTION lean.write_audit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before jsonb;
    after jsonb;
    "row" jsonb;
    key jsonb;
    project text;
BEGIN
    IF lean.is_restoring(TG_RELID) THEN
        RETURN NULL;
    END IF;
    IF TG_LEVEL = 'ROW' THEN
        before := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
        after := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
        IF before = after THEN
            RETURN NULL;
        END IF;
        "row" := coalesce(after, before);
        key := (SELECT jsonb_object_agg(k, "row" -> k) FROM unnest(TG_ARGV) AS k);
        project := coalesce("row" ->> 'project',
            (SELECT m.project FROM lean.model AS m WHERE m.model_id = ("row" ->> 'model_id')::bigint),
            (SELECT e.project FROM lean.experiment AS e WHERE e.experiment_id = ("row" ->> 'experiment_id')::bigint));
    END IF;
    INSERT INTO lean.audit (who, login, action, table_name, key, project, before, after)
        VALUES (coalesce(nullif(current_setting('role'), 'none'), session_user), session_user, lower(TG_OP), TG_TABLE_NAME, key, project, before, after);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION lean.write_audit() IS 'internal: notes a change in the audit';

-- Who may make a trigger of a function that acts as the owner could feed it with a table of their own.
REVOKE EXECUTE ON FUNCTION lean.write_audit(), lean.refuse_cycle(), lean.feature_view_guard() FROM PUBLIC;

-- A run and an evaluation say themselves who made them and when; what happens to them afterwards is audited.
DO $$
DECLARE
    audited record;
BEGIN
    FOR audited IN SELECT * FROM (VALUES
        ('experiment', 'INSERT OR UPDATE OR DELETE', '{experiment_id}'::text[]), ('run', 'UPDATE OR DELETE', '{run_no}'),
        ('dataset', 'UPDATE OR DELETE', '{dataset_id}'), ('model', 'INSERT OR UPDATE OR DELETE', '{model_id}'),
        ('model_version', 'INSERT OR UPDATE OR DELETE', '{model_id, version}'),
        ('model_alias', 'INSERT OR UPDATE OR DELETE', '{model_id, alias}'),
        ('model_parent', 'INSERT OR UPDATE OR DELETE', '{model_id, version, parent_model_id, parent_version}'),
        ('model_evaluation', 'UPDATE OR DELETE', '{model_id, version, metric, dataset_id, at}')
    ) AS t (name, operations, keys) LOOP
        EXECUTE format('CREATE TRIGGER audit AFTER %s ON lean.%I FOR EACH ROW EXECUTE FUNCTION lean.write_audit(%s)', audited.operations, audited.name,
            (SELECT string_agg(quote_literal(k), ', ') FROM unnest(audited.keys) AS k));
        EXECUTE format('CREATE TRIGGER audit_all AFTER TRUNCATE ON lean.%I FOR EACH STATEMENT EXECUTE FUNCTION lean.write_audit()', audited.name);
        EXECUTE format('COMMENT ON TRIGGER audit ON lean.%I IS ''notes changes in lean.audit''', audited.name);
        EXECUTE format('COMMENT ON TRIGGER audit_all ON lean.%I IS ''notes in lean.audit that the table was emptied''', audited.name);
    END LOOP;
END
$$;

CREATE VIEW lean.audit_log AS
    SELECT a.at, a.who, a.action, a.table_name AS "table", a.key, a.project,
        CASE WHEN a.action = 'update' THEN
            (SELECT jsonb_object_agg(k, jsonb_build_array(a.before -> k, a.after -> k)) FROM jsonb_object_keys(a.after) AS k
             WHERE a.before -> k IS DISTINCT FROM a.after -> k)
        ELSE jsonb_strip_nulls(coalesce(a.after, a.before)) END AS changes
    FROM lean.audit AS a ORDER BY a.audit_id;
COMMENT ON VIEW lean.audit_log IS 'the audit for reading: of an update what differs, as [before, after]';

-- Deleting hides; restoring shows again. Runs go with their experiment, and come back with it.

CREATE FUNCTION lean.delete_experiment(experiment text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e lean.experiment := lean.find_experiment(experiment);
    now timestamptz := clock_timestamp();
BEGIN
    UPDATE lean.experiment AS x SET deleted_at = now WHERE x.experiment_id = e.experiment_id AND x.deleted_at IS NULL;
    UPDATE lean.run AS r SET deleted_at = now WHERE r.experiment_id = e.experiment_id AND r.deleted_at IS NULL;
END
$$;
COMMENT ON FUNCTION lean.delete_experiment(text) IS 'deletes an experiment and its runs; lean.restore_experiment brings them back';

CREATE FUNCTION lean.restore_experiment(experiment text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e lean.experiment := lean.find_experiment(experiment, deleted => true);
BEGIN
    SELECT * INTO e FROM lean.experiment AS x WHERE x.experiment_id = e.experiment_id FOR NO KEY UPDATE;
    IF e.deleted_at IS NULL THEN
        RETURN;
    END IF;
    UPDATE lean.experiment AS x SET deleted_at = NULL WHERE x.experiment_id = e.experiment_id;
    UPDATE lean.run AS r SET deleted_at = NULL WHERE r.experiment_id = e.experiment_id AND r.deleted_at = e.deleted_at;
END
$$;
COMMENT ON FUNCTION lean.restore_experiment(text) IS 'brings a deleted experiment back, with the runs that were deleted with it';

CREATE FUNCTION lean.delete_run(run uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r lean.run := lean.find_run(run);
BEGIN
    UPDATE lean.run AS x SET deleted_at = clock_timestamp() WHERE x.run_no = r.run_no AND x.deleted_at IS NULL;
END
$$;
COMMENT ON FUNCTION lean.delete_run(uuid) IS 'deletes a run; lean.restore_run brings it back';

CREATE FUNCTION lean.restore_run(run uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e lean.experiment;
BEGIN
    SELECT x.* INTO e FROM lean.run AS r JOIN lean.experiment AS x USING (experiment_id) WHERE r.run_id = run AND x.deleted_at IS NOT NULL;
    IF FOUND THEN
        RAISE EXCEPTION 'experiment "%/%" of run % was deleted', e.project, e.name, run
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'lean.restore_experiment brings it back, with its runs.';
    END IF;
    UPDATE lean.run AS x SET deleted_at = NULL WHERE x.run_id = run AND x.deleted_at IS NOT NULL;
    PERFORM lean.find_run(run);
END
$$;
COMMENT ON FUNCTION lean.restore_run(uuid) IS 'brings a deleted run back';

-- What is in use is not deleted.
CREATE FUNCTION lean.delete_model(name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m lean.model := lean.lock_model(name);
    used text;
BEGIN
    SELECT string_agg(x.what, ', ') INTO used FROM (
        SELECT format('version %s is %s', a.version, a.alias) AS what FROM lean.model_alias AS a WHERE a.model_id = m.model_id
        UNION ALL SELECT format('version %s is in %s', v.version, v.stage) FROM lean.model_version AS v
            WHERE v.model_id = m.model_id AND v.stage IN ('staging', 'production')
        ORDER BY what) AS x;
    IF used IS NOT NULL THEN
        RAISE EXCEPTION 'model "%" is in use: %', name, used
            USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Take its aliases away with lean.delete_alias, and versions out of use with lean.set_stage.';
    END IF;
    UPDATE lean.model AS x SET deleted_at = clock_timestamp() WHERE x.model_id = m.model_id;
END
$$;
COMMENT ON FUNCTION lean.delete_model(text) IS 'deletes a model of which no version is in use; lean.restore_model brings it back';

CREATE FUNCTION lean.restore_model(name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m lean.model := lean.lock_model(name, deleted => true);
BEGIN
    UPDATE lean.model AS x SET deleted_at = NULL WHERE x.model_id = m.model_id AND x.deleted_at IS NOT NULL;
END
$$;
COMMENT ON FUNCTION lean.restore_model(text) IS 'brings a deleted model back, with its versions';

CREATE FUNCTION lean.delete_model_version(name text, version integer) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m lean.model := lean.lock_model(name);
    v lean.model_version := lean.find_version(m, version);
    used text := (SELECT string_agg(a.alias, ', ' ORDER BY a.alias) FROM lean.model_alias AS a WHERE (a.model_id, a.version) = (v.model_id, v.version));
BEGIN
    IF used IS NOT NULL OR v.stage IN ('staging', 'production') THEN
        RAISE EXCEPTION 'version % of model "%" is %', version, name, coalesce(used, 'in ' || v.stage)
            USING ERRCODE = 'dependent_objects_still_exist', HINT = 'lean.set_alias and lean.set_stage put another version in its place.';
    END IF;
    UPDATE lean.model_version AS x SET deleted_at = clock_timestamp() WHERE (x.model_id, x.version) = (v.model_id, v.version);
END
$$;
COMMENT ON FUNCTION lean.delete_model_version(text, integer) IS
    'deletes a version that has no alias and is not in staging or production; lean.restore_model_version brings it back';

CREATE FUNCTION lean.restore_model_version(name text, version integer) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m lean.model := lean.lock_model(name);
    v lean.model_version := lean.find_version(m, version, deleted => true);
BEGIN
    UPDATE lean.model_version AS x SET deleted_at = NULL WHERE (x.model_id, x.version) = (v.model_id, v.version) AND x.deleted_at IS NOT NULL;
END
$$;
COMMENT ON FUNCTION lean.restore_model_version(text, integer) IS 'brings a deleted version back';

-- Roles, when someone asks for them

CREATE FUNCTION lean.create_roles() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    role name;
    tables text := (SELECT string_agg(format('lean.%I', t), ', ') FROM unnest(ARRAY['experiment', 'run', 'run_param', 'metric_key', 'metric',
        'run_metric', 'run_artifact', 'dataset', 'run_dataset', 'model', 'model_version', 'model_alias', 'model_history', 'model_evaluation',
        'model_parent']) AS t);
BEGIN
    FOREACH role IN ARRAY '{lean_reader, lean_writer}'::name[] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = role) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
        EXECUTE format('GRANT USAGE ON SCHEMA lean TO %I', role);
        EXECUTE format('GRANT SELECT ON %s TO %I', tables, role);
        EXECUTE format('GRANT SELECT ON %s TO %I', (SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class AS c
            WHERE c.relnamespace = 'lean'::regnamespace AND c.relkind = 'v' AND c.relname <> 'audit_log'), role);
    END LOOP;
    EXECUTE format('GRANT INSERT, UPDATE ON %s TO lean_writer', tables);
    GRANT DELETE ON lean.model_alias, lean.model_parent TO lean_writer;
END
$$;
COMMENT ON FUNCTION lean.create_roles() IS
    'creates the roles lean_reader and lean_writer, unless they exist, and grants them experiments and models; writers cannot delete for good, and neither sees the audit';

-- Policies of the tables of an extension are not in a dump, so they are here to be made again.
CREATE FUNCTION lean.secure_projects(prefix text DEFAULT 'project_') RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    secured record;
BEGIN
    IF prefix IS NULL THEN
        RAISE EXCEPTION 'prefix must not be null' USING ERRCODE = 'null_value_not_allowed';
    ELSIF current_setting('server_version_num')::integer < 150000 THEN
        RAISE WARNING 'the views of schema lean show rows of all projects'
            USING HINT = 'PostgreSQL 14 has no views that obey the policies of their reader; take the privilege to read them away.';
    END IF;
    FOR secured IN
        SELECT t.name, format('lean.acts_as((%L || project)::name)', prefix) AS condition FROM unnest('{experiment, model, audit}'::text[]) AS t (name)
        UNION ALL SELECT 'run', 'EXISTS (SELECT FROM lean.experiment AS e WHERE e.experiment_id = run.experiment_id)'
        UNION ALL SELECT t.name, format('EXISTS (SELECT FROM lean.run AS r WHERE r.run_no = %I.run_no)', t.name)
            FROM unnest('{run_param, metric, run_metric, run_artifact, run_dataset}'::text[]) AS t (name)
        UNION ALL SELECT t.name, format('EXISTS (SELECT FROM lean.model AS m WHERE m.model_id = %I.model_id)', t.name)
            FROM unnest('{model_version, model_alias, model_history, model_evaluation, model_parent}'::text[]) AS t (name)
    LOOP
        EXECUTE format('DROP POLICY IF EXISTS project ON lean.%I', secured.name);
        EXECUTE format('CREATE POLICY project ON lean.%I USING (%s)', secured.name, secured.condition);
        EXECUTE format('ALTER TABLE lean.%I ENABLE ROW LEVEL SECURITY', secured.name);
    END LOOP;
END
$$;
COMMENT ON FUNCTION lean.secure_projects(text) IS
    'lets users see and change only what is in projects of theirs: project churn is that of the members of role project_churn; to be called again after a dump is restored';

-- A view reads with the privileges of its owner, and past the policies of tables, unless it says otherwise. PostgreSQL 14
-- cannot say otherwise.
DO $$
DECLARE
    relation regclass;
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        FOR relation IN SELECT c.oid FROM pg_catalog.pg_class AS c WHERE c.relnamespace = 'lean'::regnamespace AND c.relkind = 'v' LOOP
            EXECUTE format('ALTER VIEW %s SET (security_invoker = true)', relation);
        END LOOP;
    END IF;
END
$$;
