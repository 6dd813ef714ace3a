-- What a team has in MLflow, brought over from its tables in the same database, and again what has changed since.
--
-- Nothing is remembered beside what is imported: an experiment and a model say in tags.mlflow what they were, a version in
-- metadata.mlflow, a run has its own id, and the history of aliases and stages says what the last import did. MLflow's
-- columns have been the same in all revisions below but for workspaces and logged models.

CREATE FUNCTION lean.mlflow_revisions() RETURNS TABLE (revision text, mlflow text)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('4465047574b1', '2.16.2'), ('0584bdc529eb', '2.22.5'), ('bda7b8c39065', '3.0.1, 3.1.4'), ('770bee3ae1dd', '3.2.0'),
        ('1a0cddfcaa16', '3.3.2'), ('71994744cf8e', '3.4.0'), ('bf29a5ff90ea', '3.5.1, 3.6.0, 3.7.0'), ('1bd49d398cd23', '3.8.1'),
        ('d3e4f5a6b7c8', '3.9.0'), ('1b5f0d9ad7c1', '3.10.1'), ('c3d6457b6d8a', '3.11.1'), ('7d34483879f0', '3.12.0'),
        ('da6fb0208061', '3.13.0'), ('b7e4c1a90f23', '3.14.0'), ('6f8d9c3b2a1e', '3.15.2'), ('b7e2c1a4d9f3', '3.16.1'),
        ('dc11669786a5', '3.17.2')
$$;
COMMENT ON FUNCTION lean.mlflow_revisions() IS 'the revisions of MLflow''s tables that lean.import_mlflow was tested with, and what wrote them';

-- How MLflow writes it, and what it is here

CREATE FUNCTION lean.mlflow_time(ms bigint) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ms >= 9224318016000000 THEN 'infinity' WHEN ms < -210866803200000 THEN '-infinity'
        ELSE pg_catalog.to_timestamp(ms / 1000.0::double precision) END;
COMMENT ON FUNCTION lean.mlflow_time(bigint) IS 'internal: a time of MLflow, which counts milliseconds';

CREATE FUNCTION lean.mlflow_metric(value double precision, is_nan boolean) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN is_nan THEN 'NaN' WHEN value >= 1.7976931348623157e308 THEN 'Infinity'
        WHEN value <= -1.7976931348623157e308 THEN '-Infinity' ELSE value END;
COMMENT ON FUNCTION lean.mlflow_metric(double precision, boolean) IS 'internal: a value of MLflow, which writes infinities as the largest numbers';

-- MLflow makes ids of 32 hexadecimal digits; its tables would take others too.
CREATE FUNCTION lean.mlflow_run_id(run text) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN run ~ '^[0-9a-fA-F]{32}$' THEN run::uuid ELSE pg_catalog.md5(run)::uuid END;
COMMENT ON FUNCTION lean.mlflow_run_id(text) IS 'internal: the id of a run of MLflow as uuid';

CREATE FUNCTION lean.mlflow_uri(source text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts jsonb;
BEGIN
    parts := source::jsonb;
    RETURN coalesce(parts ->> 'uri', parts ->> 'url', parts ->> 'path', parts ->> 'delta_table_name', parts ->> 'table_name',
        CASE WHEN jsonb_typeof(parts) <> 'object' THEN source END);
EXCEPTION WHEN data_exception THEN
    RETURN source;
END
$$;
COMMENT ON FUNCTION lean.mlflow_uri(text) IS 'internal: where data are by what MLflow says of their source, in JSON as a rule';

-- What all of the statements below share: {schema}; {workspace}, the condition on a table x; {known}, the runs that are here;
-- {from}, what marks where something came from. Their first parameter is the schema, the second the workspace.
CREATE FUNCTION lean.mlflow_query(statement text, schema text, workspace text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    RETURN replace(replace(replace(replace(statement,
        -- OFFSET 0: by run and not once more for each of its points.
        '{known}', '(SELECT r.run_uuid, l.run_no FROM {schema}.runs AS r JOIN {schema}.experiments AS x USING (experiment_id)'
                   ' JOIN lean.run AS l ON l.run_id = lean.mlflow_run_id(r.run_uuid) WHERE {workspace} OFFSET 0)'),
        '{from}', 'jsonb_strip_nulls(jsonb_build_object(''schema'', $1, ''workspace'', $2))'),
        '{workspace}', CASE WHEN workspace IS NULL THEN 'true' ELSE 'x.workspace = $2' END),
        '{schema}', quote_ident(schema));
COMMENT ON FUNCTION lean.mlflow_query(text, text, text) IS 'internal: a statement on MLflow''s tables in a schema';

-- Refuses what is not MLflow's, or not as known; gives the workspace, null where there are none yet.
CREATE FUNCTION lean.mlflow_workspace(schema text, workspace text, allow_untested boolean) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    namespace oid := (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname = schema);
    missing text;
    actual text;
    workspaces text[];
BEGIN
    IF namespace IS NULL THEN
        RAISE EXCEPTION 'schema "%" does not exist', schema
            USING ERRCODE = 'invalid_schema_name', HINT = 'Name the schema that MLflow''s tables are in, such as public.';
    END IF;
    SELECT string_agg(t, ', ' ORDER BY place) INTO missing FROM unnest(ARRAY['alembic_version', 'experiments', 'experiment_tags', 'runs', 'metrics', 'params', 'tags',
            'datasets', 'inputs', 'input_tags', 'registered_models', 'registered_model_tags', 'registered_model_aliases', 'model_versions',
            'model_version_tags']) WITH ORDINALITY AS u (t, place)
        WHERE NOT EXISTS (SELECT FROM pg_class AS c WHERE c.relnamespace = namespace AND c.relname = t AND c.relkind IN ('r', 'p', 'f'));
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'schema "%" is not MLflow''s: it has no table %', schema, missing
            USING ERRCODE = 'undefined_table', HINT = 'Name the schema that MLflow''s tables are in, of 2.16 or later; older ones take "mlflow db upgrade".';
    END IF;
    EXECUTE format('SELECT string_agg(version_num, '', '') FROM %I.alembic_version', schema) INTO actual;
    IF NOT coalesce(allow_untested, false) AND NOT EXISTS (SELECT FROM lean.mlflow_revisions() AS r WHERE r.revision = actual) THEN
        RAISE EXCEPTION 'MLflow''s tables in schema "%" have revision %, with which import is not tested', schema, coalesce(actual, 'none')
            USING ERRCODE = 'feature_not_supported',
                  DETAIL = 'Tested are ' || (SELECT string_agg(format('%s (MLflow %s)', r.revision, r.mlflow), ', ') FROM lean.mlflow_revisions() AS r) || '.',
                  HINT = 'Older tables are brought to one of these by "mlflow db upgrade" of that MLflow. With allow_untested => true it is tried; '
                         'what fails leaves nothing behind.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
                   WHERE c.relnamespace = namespace AND c.relname = 'experiments' AND a.attname = 'workspace' AND NOT a.attisdropped) THEN
        IF workspace IS NOT NULL THEN
            RAISE EXCEPTION 'MLflow''s tables in schema "%" have no workspaces', schema
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave workspace out.';
        END IF;
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT array_agg(x.workspace ORDER BY x.workspace) FROM (SELECT workspace::text FROM %1$I.experiments UNION '
        'SELECT workspace::text FROM %1$I.registered_models) AS x', schema) INTO workspaces;
    IF workspace IS NULL AND cardinality(workspaces) > 1 THEN
        RAISE EXCEPTION 'MLflow''s tables in schema "%" have % workspaces: %', schema, cardinality(workspaces), array_to_string(workspaces, ', ')
            USING ERRCODE = 'ambiguous_parameter',
                  HINT = 'Import one at a time: workspace => …, with a project of its own, and a model_prefix if names of models are the same in two.';
    ELSIF workspace <> ALL (coalesce(workspaces, '{}')) THEN
        RAISE EXCEPTION 'MLflow''s tables in schema "%" have nothing in workspace "%"', schema, workspace
            USING ERRCODE = 'invalid_parameter_value', HINT = format('There is %s.', coalesce(array_to_string(workspaces, ', '), 'nothing at all'));
    END IF;
    RETURN coalesce(workspace, workspaces[1], 'default');
END
$$;
COMMENT ON FUNCTION lean.mlflow_workspace(text, text, boolean) IS 'internal: the workspace to import from tables that are MLflow''s and of a tested revision';

-- Experiments, by their number in tags.mlflow. A name has no slash here; one that was changed by hand stays until MLflow's changes.
CREATE FUNCTION lean.import_mlflow_experiments(schema text, workspace text, project text, OUT total bigint, OUT imported bigint, OUT updated bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    theirs text := lean.mlflow_query($q$
        WITH theirs AS (
            SELECT replace(x.name, '/', ':') AS name, t.tags ->> 'mlflow.note.content' AS description,
                coalesce(t.tags, '{}') || jsonb_build_object('mlflow', {from} || jsonb_strip_nulls(jsonb_build_object(
                    'experiment_id', x.experiment_id, 'name', x.name, 'artifact_location', x.artifact_location))) AS tags,
                coalesce(lean.mlflow_time(x.creation_time), now()) AS created_at,
                CASE WHEN x.lifecycle_stage = 'deleted' THEN coalesce(lean.mlflow_time(x.last_update_time), now()) END AS deleted_at,
                e.experiment_id, e.name AS old_name, e.tags AS old_tags, e.description AS old_description, e.deleted_at AS old_deleted_at
            FROM {schema}.experiments AS x
                LEFT JOIN (SELECT experiment_id, jsonb_object_agg(key, value) FILTER (WHERE value IS NOT NULL) AS tags
                           FROM {schema}.experiment_tags GROUP BY 1) AS t USING (experiment_id)
                LEFT JOIN lean.experiment AS e ON e.tags -> 'mlflow' ->> 'schema' = $1 AND e.tags -> 'mlflow' -> 'experiment_id' = to_jsonb(x.experiment_id)
            WHERE {workspace}
        ), wanted AS (
            SELECT t.experiment_id, CASE WHEN t.old_tags -> 'mlflow' -> 'name' = t.tags -> 'mlflow' -> 'name' THEN t.old_name ELSE t.name END AS name,
                coalesce(t.description, t.old_description) AS description, t.old_tags || t.tags AS tags,
                CASE WHEN t.deleted_at IS NOT NULL THEN coalesce(t.old_deleted_at, t.deleted_at) END AS deleted_at
            FROM theirs AS t WHERE t.experiment_id IS NOT NULL
        )
    $q$, schema, workspace);
    clash text;
BEGIN
    EXECUTE theirs || 'SELECT count(*) FROM theirs' INTO total USING schema, workspace;
    -- Names that are exchanged make room for each other first.
    EXECUTE theirs || $q$
        UPDATE lean.experiment AS e SET name = format('%s %s', e.name, gen_random_uuid()) FROM wanted AS w
        WHERE e.experiment_id = w.experiment_id AND e.name <> w.name AND EXISTS (SELECT FROM wanted AS o WHERE o.name = e.name)
    $q$ USING schema, workspace;
    EXECUTE theirs || $q$
        UPDATE lean.experiment AS e SET name = w.name, description = w.description, tags = w.tags, deleted_at = w.deleted_at FROM wanted AS w
        WHERE e.experiment_id = w.experiment_id
            AND (e.name, e.description, e.tags, e.deleted_at) IS DISTINCT FROM (w.name, w.description, w.tags, w.deleted_at)
    $q$ USING schema, workspace;
    GET DIAGNOSTICS updated = ROW_COUNT;
    EXECUTE theirs || $q$
        INSERT INTO lean.experiment (project, name, description, tags, created_at, deleted_at)
        SELECT $3, t.name, t.description, t.tags, t.created_at, t.deleted_at FROM theirs AS t WHERE t.experiment_id IS NULL
        ORDER BY t.created_at, t.tags -> 'mlflow' -> 'experiment_id'
    $q$ USING schema, workspace, project;
    GET DIAGNOSTICS imported = ROW_COUNT;
EXCEPTION WHEN unique_violation THEN
    GET STACKED DIAGNOSTICS clash = PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION 'an experiment of MLflow would have the name of another that is here'
        USING ERRCODE = 'duplicate_object', DETAIL = clash, HINT = 'Import into a project of its own, project => …, or rename one; a/b becomes a:b.';
END
$$;
COMMENT ON FUNCTION lean.import_mlflow_experiments(text, text, text) IS 'internal: brings experiments of MLflow over';

-- Runs, by their ids. Parents come before what is in them.
CREATE FUNCTION lean.import_mlflow_runs(schema text, workspace text, OUT total bigint, OUT imported bigint, OUT updated bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    has_models boolean := to_regclass(format('%I.logged_models', schema)) IS NOT NULL;
    theirs text := lean.mlflow_query(replace($q$
        WITH theirs AS (
            SELECT lean.mlflow_run_id(r.run_uuid) AS run_id, e.experiment_id, e.name AS experiment,
                coalesce(nullif(r.name, ''), t.tags ->> 'mlflow.runName', l.name) AS name,
                CASE r.status WHEN 'FINISHED' THEN 'completed' WHEN 'FAILED' THEN 'failed' WHEN 'KILLED' THEN 'killed' ELSE 'running' END AS status,
                coalesce(lean.mlflow_time(r.start_time), l.started_at, lean.mlflow_time(r.end_time), e.created_at) AS started_at,
                lean.mlflow_time(r.end_time) AS ended_at,
                coalesce(t.tags ->> 'mlflow.source.git.commit', nullif(r.source_version, ''), l.git_commit) AS git_commit,
                coalesce(t.tags ->> 'mlflow.source.git.branch', l.git_branch) AS git_branch,
                coalesce(nullif(r.user_id, ''), t.tags ->> 'mlflow.user', l.user_name, current_user) AS user_name,
                coalesce(m.model_path, l.model_path) AS model_path,
                lean.mlflow_run_id(t.tags ->> 'mlflow.parentRunId') AS parent_run,
                coalesce(l.tags, '{}') || coalesce(t.tags, '{}') AS tags,
                -- Runs go with their experiment, and come back with it.
                CASE WHEN r.lifecycle_stage = 'deleted' THEN coalesce(l.deleted_at, least(lean.mlflow_time(r.deleted_time), e.deleted_at), now()) END AS deleted_at,
                l.run_no, l.experiment_id AS old_experiment_id
            FROM {schema}.runs AS r JOIN {schema}.experiments AS x USING (experiment_id)
                JOIN lean.experiment AS e ON e.tags -> 'mlflow' ->> 'schema' = $1 AND e.tags -> 'mlflow' -> 'experiment_id' = to_jsonb(x.experiment_id)
                LEFT JOIN (SELECT run_uuid, jsonb_object_agg(key, value) FILTER (WHERE value IS NOT NULL) AS tags FROM {schema}.tags GROUP BY 1) AS t USING (run_uuid)
                LEFT JOIN {models} AS m USING (run_uuid)
                LEFT JOIN lean.run AS l ON l.run_id = lean.mlflow_run_id(r.run_uuid)
            WHERE {workspace}
        )
    $q$, '{models}', CASE WHEN has_models THEN
            $q$(SELECT DISTINCT ON (source_run_id) source_run_id AS run_uuid, artifact_location AS model_path FROM {schema}.logged_models
                WHERE lifecycle_stage = 'active' ORDER BY source_run_id, creation_timestamp_ms DESC, model_id)$q$
        ELSE '(SELECT NULL::text AS run_uuid, NULL::text AS model_path)' END), schema, workspace);
    foreign_run record;
    missing bigint;
    added bigint;
BEGIN
    EXECUTE theirs || 'SELECT count(*) FROM theirs' INTO total USING schema, workspace;
    EXECUTE theirs || 'SELECT t.run_id, t.experiment FROM theirs AS t WHERE t.experiment_id <> t.old_experiment_id LIMIT 1'
        INTO foreign_run USING schema, workspace;
    IF foreign_run.run_id IS NOT NULL THEN
        RAISE EXCEPTION 'run % belongs to another experiment than "%"', foreign_run.run_id, foreign_run.experiment
            USING ERRCODE = 'duplicate_object', HINT = 'It is here already and did not come from this schema, or the schema had another name.';
    END IF;
    EXECUTE theirs || $q$
        UPDATE lean.run AS r SET name = t.name, status = t.status, started_at = t.started_at, ended_at = t.ended_at, git_commit = t.git_commit,
            git_branch = t.git_branch, user_name = t.user_name, model_path = t.model_path, tags = t.tags, deleted_at = t.deleted_at,
            parent_run_no = coalesce(p.run_no, r.parent_run_no)
        FROM theirs AS t LEFT JOIN lean.run AS p ON p.run_id = t.parent_run AND p.run_id <> t.run_id
        WHERE r.run_no = t.run_no
            AND (r.name, r.status, r.started_at, r.ended_at, r.git_commit, r.git_branch, r.user_name, r.model_path, r.tags, r.deleted_at, r.parent_run_no)
                IS DISTINCT FROM (t.name, t.status, t.started_at, t.ended_at, t.git_commit, t.git_branch, t.user_name, t.model_path, t.tags, t.deleted_at,
                    coalesce(p.run_no, r.parent_run_no))
    $q$ USING schema, workspace;
    GET DIAGNOSTICS updated = ROW_COUNT;
    EXECUTE theirs || 'SELECT count(*) FROM theirs AS t WHERE t.run_no IS NULL' INTO imported USING schema, workspace;
    missing := imported;
    WHILE missing > 0 LOOP
        -- Those that are left in the end are one another's parents, and have none here.
        EXECUTE theirs || $q$
            INSERT INTO lean.run (run_id, experiment_id, name, status, started_at, ended_at, git_commit, git_branch, user_name, model_path,
                parent_run_no, tags, deleted_at)
            SELECT t.run_id, t.experiment_id, t.name, t.status, t.started_at, t.ended_at, t.git_commit, t.git_branch, t.user_name, t.model_path,
                p.run_no, t.tags, t.deleted_at
            FROM theirs AS t LEFT JOIN lean.run AS p ON p.run_id = t.parent_run
            WHERE t.run_no IS NULL AND ($3 OR p.run_no IS NOT NULL OR t.parent_run IS NULL
                OR NOT EXISTS (SELECT FROM theirs AS o WHERE o.run_id = t.parent_run AND o.run_no IS NULL))
            ORDER BY t.started_at, t.run_id
        $q$ USING schema, workspace, coalesce(added = 0, false);
        GET DIAGNOSTICS added = ROW_COUNT;
        missing := missing - added;
    END LOOP;
END
$$;
COMMENT ON FUNCTION lean.import_mlflow_runs(text, text) IS 'internal: brings runs of MLflow over, with their tags';

-- Parameters never change: one that has another value here is an error, as in lean.log_params.
CREATE FUNCTION lean.import_mlflow_params(schema text, workspace text, OUT total bigint, OUT imported bigint, OUT updated bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    theirs text := lean.mlflow_query($q$
        WITH theirs AS (
            SELECT k.run_no, k.run_uuid, p.key, p.value, l.value AS old
            FROM {schema}.params AS p JOIN {known} AS k USING (run_uuid) LEFT JOIN lean.run_param AS l ON (l.run_no, l.key) = (k.run_no, p.key)
        )
    $q$, schema, workspace);
    changed record;
BEGIN
    EXECUTE theirs || 'SELECT count(*), count(*) FILTER (WHERE t.old IS NULL) FROM theirs AS t' INTO total, imported USING schema, workspace;
    updated := 0;
    EXECUTE theirs || 'SELECT * FROM theirs AS t WHERE t.value <> t.old ORDER BY t.run_no, t.key LIMIT 1' INTO changed USING schema, workspace;
    IF changed.run_no IS NOT NULL THEN
        RAISE EXCEPTION 'parameter "%" of run % is "%" and cannot become "%"', changed.key, changed.run_uuid, changed.old, changed.value
            USING ERRCODE = 'unique_violation', HINT = 'Parameters do not change; this one was logged here and in MLflow.';
    END IF;
    IF imported > 0 THEN
        EXECUTE theirs || $q$
            INSERT INTO lean.run_param (run_no, key, value) SELECT t.run_no, t.key, t.value FROM theirs AS t WHERE t.old IS NULL ORDER BY 1, 2
        $q$ USING schema, workspace;
    END IF;
END
$$;
COMMENT ON FUNCTION lean.import_mlflow_params(text, text) IS 'internal: brings parameters of runs of MLflow over';

-- Points of metrics that are not here go to the function that logs them, by run and in pieces that fit into memory.
CREATE FUNCTION lean.import_mlflow_metrics(schema text, workspace text, OUT total bigint, OUT imported bigint, OUT updated bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE lean.mlflow_query('SELECT count(*) FROM {schema}.metrics JOIN {known} AS k USING (run_uuid)', schema, workspace)
        INTO total USING schema, workspace;
    updated := 0;
    EXECUTE lean.mlflow_query($q$
        WITH theirs AS (
            SELECT k.run_no, m.key::text AS key, lean.mlflow_metric(m.value, m.is_nan) AS value, m.step, lean.mlflow_time(m."timestamp") AS at
            FROM {schema}.metrics AS m JOIN {known} AS k USING (run_uuid)
        ), fresh AS (
            SELECT t.*, row_number() OVER (PARTITION BY t.run_no ORDER BY t.key, t.step) / 100000 AS piece
            FROM theirs AS t LEFT JOIN lean.metric_key AS n USING (key)
            WHERE NOT EXISTS (SELECT FROM lean.metric AS l
                              WHERE (l.run_no, l.key_no, l.step, l.at, l.value) = (t.run_no, n.key_no, t.step, t.at, t.value))
        ), pieces AS (
            SELECT f.run_no, f.piece, array_agg(f.key) AS keys, array_agg(f.value) AS "values", array_agg(f.step) AS steps, array_agg(f.at) AS times
            FROM fresh AS f GROUP BY f.run_no, f.piece ORDER BY f.run_no, f.piece
        )
        SELECT coalesce(sum(lean.write_metrics(l, p.keys, p."values", p.steps, p.times)), 0) FROM pieces AS p JOIN lean.run AS l USING (run_no)
    $q$, schema, workspace) INTO imported USING schema, workspace;
END
$$;
COMMENT ON FUNCTION lean.import_mlflow_metrics(text, text) IS 'internal: brings points of metrics of MLflow over';

-- Data are known by name and digest, in MLflow once for each experiment.
CREATE FUNCTION lean.import_mlflow_datasets(schema text, workspace text, OUT total bigint, OUT imported bigint, OUT updated bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    theirs text := lean.mlflow_query($q$
        WITH theirs AS (
            SELECT DISTINCT ON (d.name, d.digest) d.name, d.digest, d.dataset_source AS source,
                nullif(concat_ws(E'\n', 'schema: ' || d.dataset_schema, 'profile: ' || d.dataset_profile), '') AS description
            FROM {schema}.datasets AS d JOIN {schema}.experiments AS x USING (experiment_id) WHERE {workspace}
            ORDER BY d.name, d.digest, d.experiment_id
        )
    $q$, schema, workspace);
BEGIN
    EXECUTE theirs || 'SELECT count(*) FROM theirs' INTO total USING schema, workspace;
    updated := 0;
    EXECUTE theirs || $q$
        INSERT INTO lean.dataset (name, digest, uri, description) SELECT t.name, t.digest, lean.mlflow_uri(t.source), t.description FROM theirs AS t
        WHERE NOT EXISTS (SELECT FROM lean.dataset AS d WHERE (d.name, d.digest) = (t.name, t.digest))
        ON CONFLICT ON CONSTRAINT dataset_name_digest_key DO NOTHING
    $q$ USING schema, workspace;
    GET DIAGNOSTICS imported = ROW_COUNT;
END
$$;
COMMENT ON FUNCTION lean.import_mlflow_datasets(text, text) IS 'internal: brings datasets of MLflow over';

CREATE FUNCTION lean.import_mlflow_inputs(schema text, workspace text, OUT total bigint, OUT imported bigint, OUT updated bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    theirs text := lean.mlflow_query($q$
        WITH theirs AS (
            SELECT DISTINCT k.run_no, l.dataset_id, coalesce(t.value, 'input') AS context
            FROM {schema}.inputs AS i JOIN {known} AS k ON k.run_uuid = i.destination_id
                JOIN {schema}.datasets AS d ON d.dataset_uuid = i.source_id JOIN lean.dataset AS l ON (l.name, l.digest) = (d.name, d.digest)
                LEFT JOIN {schema}.input_tags AS t ON t.input_uuid = i.input_uuid AND t.name = 'mlflow.data.context'
            WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN'
        )
    $q$, schema, workspace);
BEGIN
    EXECUTE theirs || 'SELECT count(*) FROM theirs' INTO total USING schema, workspace;
    updated := 0;
    EXECUTE theirs || 'INSERT INTO lean.run_dataset (run_no, dataset_id, context) SELECT t.* FROM theirs AS t ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING'
        USING schema, workspace;
    GET DIAGNOSTICS imported = ROW_COUNT;
END
$$;
COMMENT ON FUNCTION lean.import_mlflow_inputs(text, text) IS 'internal: brings over which runs of MLflow read which data for what';

-- MLflow does not list the files of a run in its tables: where they are is one artifact, and each logged model another.
CREATE FUNCTION lean.import_mlflow_artifacts(schema text, workspace text, OUT total bigint, OUT imported bigint, OUT updated bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    theirs text := lean.mlflow_query($q$
        WITH theirs AS (
            SELECT k.run_no, 'artifacts' AS name, r.artifact_uri AS uri, coalesce(lean.mlflow_time(r.start_time), now()) AS logged_at
            FROM {schema}.runs AS r JOIN {known} AS k USING (run_uuid) WHERE r.artifact_uri <> ''
    $q$ || CASE WHEN to_regclass(format('%I.logged_models', schema)) IS NOT NULL THEN $q$
            UNION ALL SELECT k.run_no, 'models:/' || m.model_id, m.artifact_location, lean.mlflow_time(m.creation_timestamp_ms)
            FROM {schema}.logged_models AS m JOIN {known} AS k ON k.run_uuid = m.source_run_id WHERE m.lifecycle_stage = 'active'
    $q$ ELSE '' END || ')', schema, workspace);
BEGIN
    EXECUTE theirs || 'SELECT count(*) FROM theirs' INTO total USING schema, workspace;
    updated := 0;
    EXECUTE theirs || $q$
        INSERT INTO lean.run_artifact (run_no, name, uri, logged_at) SELECT t.run_no, t.name, t.uri, t.logged_at FROM theirs AS t ORDER BY 1, 2
        ON CONFLICT ON CONSTRAINT run_artifact_pkey DO NOTHING
    $q$ USING schema, workspace;
    GET DIAGNOSTICS imported = ROW_COUNT;
END
$$;
COMMENT ON FUNCTION lean.import_mlflow_artifacts(text, text) IS 'internal: brings over where artifacts of runs of MLflow are';
