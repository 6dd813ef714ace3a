-- Models of MLflow with their versions, aliases and stages, and the function that imports everything.
--
-- An alias or a stage moves here when it has moved in MLflow since the last import, which the history tells by its reason: what
-- was moved here in between stays.

-- MLflow keeps prompts among the models; they are none. Of a model of ours, tags.mlflow has the name there.
CREATE FUNCTION lean.mlflow_models(schema text, workspace text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    RETURN lean.mlflow_query($q$
        WITH models AS (
            SELECT x.name AS their_name, x.description, x.creation_time, coalesce(t.tags, '{}') AS tags, m.model_id, m.name, m.deleted_at
            FROM {schema}.registered_models AS x
                LEFT JOIN (SELECT x.name, jsonb_object_agg(x.key, x.value) FILTER (WHERE x.value IS NOT NULL) AS tags
                           FROM {schema}.registered_model_tags AS x WHERE {workspace} GROUP BY 1) AS t USING (name)
                LEFT JOIN lean.model AS m ON m.tags -> 'mlflow' ->> 'schema' = $1
                    AND coalesce(m.tags -> 'mlflow' ->> 'workspace', 'default') = coalesce($2, 'default') AND m.tags -> 'mlflow' ->> 'name' = x.name
            WHERE {workspace} AND t.tags ->> 'mlflow.prompt.is_prompt' IS DISTINCT FROM 'true'
        ), versions AS (
            SELECT m.model_id, m.name, x.version, x.source, x.storage_location, lean.mlflow_time(x.creation_time) AS created_at,
                lower(x.current_stage) AS stage,
                CASE WHEN x.current_stage = 'Deleted_Internal' THEN coalesce(lean.mlflow_time(x.last_updated_time), now()) END AS deleted_at,
                coalesce(t.tags, '{}') AS tags, nullif(x.run_id, '') AS run_id, x.description,
                jsonb_strip_nulls(jsonb_build_object('source', x.source, 'status', x.status, 'status_message', nullif(x.status_message, ''),
                    'run_id', nullif(x.run_id, ''), 'run_link', nullif(x.run_link, ''), 'user', nullif(x.user_id, ''))) AS origin
            FROM {schema}.model_versions AS x JOIN models AS m ON m.their_name = x.name
                LEFT JOIN (SELECT x.name, x.version, jsonb_object_agg(x.key, x.value) FILTER (WHERE x.value IS NOT NULL) AS tags
                           FROM {schema}.model_version_tags AS x WHERE {workspace} GROUP BY 1, 2) AS t ON (t.name, t.version) = (x.name, x.version)
            WHERE {workspace}
        )
    $q$, schema, workspace);
COMMENT ON FUNCTION lean.mlflow_models(text, text) IS 'internal: the beginning of a statement on models and versions of MLflow';

CREATE FUNCTION lean.import_mlflow_models(schema text, workspace text, project text, model_prefix text,
    OUT total bigint, OUT imported bigint, OUT updated bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    theirs text := lean.mlflow_models(schema, workspace);
    clash text;
BEGIN
    EXECUTE theirs || 'SELECT count(*) FROM models' INTO total USING schema, workspace;
    EXECUTE theirs || $q$
        UPDATE lean.model AS m SET description = coalesce(t.description, m.description), tags = m.tags || t.tags FROM models AS t
        WHERE m.model_id = t.model_id AND (m.description, m.tags) IS DISTINCT FROM (coalesce(t.description, m.description), m.tags || t.tags)
    $q$ USING schema, workspace;
    GET DIAGNOSTICS updated = ROW_COUNT;
    EXECUTE theirs || lean.mlflow_query($q$
        INSERT INTO lean.model (name, project, description, tags, created_at)
        SELECT $4 || btrim(replace(t.their_name, '@', '(at)')), $3, t.description,
            t.tags || jsonb_build_object('mlflow', {from} || jsonb_build_object('name', t.their_name)), coalesce(lean.mlflow_time(t.creation_time), now())
        FROM models AS t WHERE t.model_id IS NULL ORDER BY t.creation_time, t.their_name
    $q$, schema, workspace) USING schema, workspace, project, model_prefix;
    GET DIAGNOSTICS imported = ROW_COUNT;
EXCEPTION WHEN unique_violation THEN
    GET STACKED DIAGNOSTICS clash = PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION 'a model of MLflow would have the name of another that is here'
        USING ERRCODE = 'duplicate_object', DETAIL = clash, HINT = 'Names of models are one in all projects; model_prefix => … goes before those of MLflow.';
END
$$;
COMMENT ON FUNCTION lean.import_mlflow_models(text, text, text, text) IS 'internal: brings registered models of MLflow over';

-- Of a version that was deleted MLflow keeps the number, and blackens the rest.
CREATE FUNCTION lean.import_mlflow_versions(schema text, workspace text, OUT total bigint, OUT imported bigint, OUT updated bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    theirs text := lean.mlflow_models(schema, workspace) || $q$, theirs AS (
            SELECT t.model_id, t.name, t.version, coalesce(r.run_no, v.run_no) AS run_no,
                CASE WHEN t.deleted_at IS NULL THEN coalesce(nullif(t.storage_location, ''), t.source) ELSE v.artifact_uri END AS artifact_uri,
                coalesce(v.tags, '{}') || t.tags AS tags,
                CASE WHEN t.deleted_at IS NOT NULL THEN coalesce(v.metadata, '{"mlflow": {}}')
                    ELSE coalesce(v.metadata, '{}') - 'description' || jsonb_strip_nulls(jsonb_build_object('description', nullif(t.description, '')))
                        || jsonb_build_object('mlflow', t.origin) END AS metadata,
                coalesce(t.created_at, v.created_at, now()) AS created_at, t.deleted_at, v.version IS NOT NULL AS known, v.metadata AS old_metadata
            FROM versions AS t LEFT JOIN lean.model_version AS v USING (model_id, version)
                LEFT JOIN lean.run AS r ON t.deleted_at IS NULL AND r.run_id = lean.mlflow_run_id(t.run_id)
        )
    $q$;
    ours record;
BEGIN
    -- Every change of a model begins with its row.
    EXECUTE lean.mlflow_models(schema, workspace) || 'SELECT count(*) FROM (SELECT FROM lean.model AS l WHERE l.model_id IN
        (SELECT model_id FROM models) ORDER BY l.model_id FOR NO KEY UPDATE) AS locked' INTO total USING schema, workspace;
    EXECUTE theirs || 'SELECT count(*) FROM theirs' INTO total USING schema, workspace;
    EXECUTE theirs || $q$ SELECT t.name, t.version FROM theirs AS t WHERE t.known AND NOT t.old_metadata ? 'mlflow' LIMIT 1 $q$
        INTO ours USING schema, workspace;
    IF ours.name IS NOT NULL THEN
        RAISE EXCEPTION 'version % of model "%" was made here, and MLflow has one of the same number', ours.version, ours.name
            USING ERRCODE = 'duplicate_object', HINT = 'Versions of a model are registered in one place, until it is left for the other.';
    END IF;
    EXECUTE theirs || $q$
        UPDATE lean.model_version AS v SET run_no = t.run_no, artifact_uri = t.artifact_uri, tags = t.tags, metadata = t.metadata FROM theirs AS t
        WHERE (v.model_id, v.version) = (t.model_id, t.version)
            AND (v.run_no, v.artifact_uri, v.tags, v.metadata) IS DISTINCT FROM (t.run_no, t.artifact_uri, t.tags, t.metadata)
    $q$ USING schema, workspace;
    GET DIAGNOSTICS updated = ROW_COUNT;
    EXECUTE theirs || $q$
        UPDATE lean.model AS m SET last_version = t.version FROM (SELECT model_id, max(version) AS version FROM theirs GROUP BY 1) AS t
        WHERE m.model_id = t.model_id AND m.last_version < t.version
    $q$ USING schema, workspace;
    EXECUTE theirs || $q$
        INSERT INTO lean.model_version (model_id, version, run_no, artifact_uri, tags, metadata, created_at, deleted_at)
        SELECT t.model_id, t.version, t.run_no, t.artifact_uri, t.tags, t.metadata, t.created_at, t.deleted_at FROM theirs AS t
        WHERE NOT t.known ORDER BY 1, 2
    $q$ USING schema, workspace;
    GET DIAGNOSTICS imported = ROW_COUNT;
END
$$;
COMMENT ON FUNCTION lean.import_mlflow_versions(text, text) IS 'internal: brings versions of models of MLflow over';

CREATE FUNCTION lean.import_mlflow_aliases(schema text, workspace text, OUT total bigint, OUT imported bigint, OUT updated bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    reason CONSTANT text := format('import from MLflow, schema %s', schema);
    change record;
BEGIN
    imported := 0;
    updated := 0;
    EXECUTE lean.mlflow_models(schema, workspace)
        || lean.mlflow_query('SELECT count(*) FROM {schema}.registered_model_aliases AS x JOIN models AS m ON m.their_name = x.name WHERE {workspace}',
            schema, workspace) INTO total USING schema, workspace;
    FOR change IN EXECUTE lean.mlflow_models(schema, workspace) || lean.mlflow_query($q$
        SELECT m.name, m.model_id, named.alias, t.version, ours.version AS current
        FROM (SELECT * FROM models WHERE model_id IS NOT NULL AND deleted_at IS NULL) AS m
            CROSS JOIN LATERAL (SELECT x.alias FROM {schema}.registered_model_aliases AS x WHERE {workspace} AND x.name = m.their_name
                                UNION SELECT a.alias FROM lean.model_alias AS a WHERE a.model_id = m.model_id) AS named
            LEFT JOIN LATERAL (SELECT x.version FROM {schema}.registered_model_aliases AS x
                               WHERE {workspace} AND (x.name, x.alias) = (m.their_name, named.alias)) AS t ON true
            LEFT JOIN lean.model_alias AS ours ON (ours.model_id, ours.alias) = (m.model_id, named.alias)
            LEFT JOIN LATERAL (SELECT h.version, h.valid_to FROM lean.model_history AS h
                               WHERE (h.model_id, h.kind, h.name, h.reason) = (m.model_id, 'alias', named.alias, $3)
                               ORDER BY h.valid_from DESC LIMIT 1) AS last ON true
        WHERE t.version IS DISTINCT FROM ours.version
            AND CASE WHEN t.version IS NULL THEN last.valid_to IS NULL AND last.version IS NOT NULL ELSE t.version IS DISTINCT FROM last.version END
        ORDER BY m.model_id, named.alias
    $q$, schema, workspace) USING schema, workspace, reason LOOP
        IF change.version IS NULL THEN
            PERFORM lean.delete_alias(change.name, change.alias, reason);
            updated := updated + 1;
        ELSIF change.alias = 'latest' OR change.alias !~ '^[\w-]+$' OR change.alias ~ '^[vV]?[0-9]+$' THEN
            RAISE WARNING 'alias "%" of model "%" was left out', change.alias, change.name
                USING HINT = 'It is reserved here: a number stands for the version of this number.';
        ELSIF EXISTS (SELECT FROM lean.model_version AS v WHERE (v.model_id, v.version) = (change.model_id, change.version) AND v.deleted_at IS NULL) THEN
            PERFORM lean.set_alias(change.name, change.alias, change.version, reason);
            imported := imported + (change.current IS NULL)::integer;
            updated := updated + (change.current IS NOT NULL)::integer;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION lean.import_mlflow_aliases(text, text) IS 'internal: moves aliases that have moved in MLflow';

CREATE FUNCTION lean.import_mlflow_stages(schema text, workspace text, OUT total bigint, OUT imported bigint, OUT updated bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    reason CONSTANT text := format('import from MLflow, schema %s', schema);
    change record;
    deleted bigint;
BEGIN
    imported := 0;
    updated := 0;
    EXECUTE lean.mlflow_models(schema, workspace) || $q$ SELECT count(*) FROM versions AS t WHERE t.stage IN ('staging', 'production', 'archived') $q$
        INTO total USING schema, workspace;
    FOR change IN EXECUTE lean.mlflow_models(schema, workspace) || $q$
        SELECT t.name, t.version, w.stage, v.stage AS current
        FROM versions AS t JOIN lean.model_version AS v USING (model_id, version) JOIN lean.model AS m USING (model_id)
            CROSS JOIN LATERAL (SELECT CASE WHEN t.stage IN ('staging', 'production', 'archived') THEN t.stage ELSE 'none' END) AS w (stage)
            LEFT JOIN LATERAL (SELECT CASE WHEN h.end_reason = $3 THEN 'none' ELSE h.name END AS stage FROM lean.model_history AS h
                               WHERE (h.model_id, h.kind, h.version, h.reason) = (t.model_id, 'stage', t.version, $3)
                               ORDER BY h.valid_from DESC LIMIT 1) AS last ON true
        WHERE m.deleted_at IS NULL AND v.deleted_at IS NULL AND w.stage <> v.stage AND w.stage <> coalesce(last.stage, 'none')
        ORDER BY t.model_id, t.version
    $q$ USING schema, workspace, reason LOOP
        PERFORM lean.set_stage(change.name, change.version, change.stage, reason);
        imported := imported + (change.current = 'none')::integer;
        updated := updated + (change.current <> 'none')::integer;
    END LOOP;
    -- What is in use here is not deleted, as in lean.delete_model_version.
    EXECUTE lean.mlflow_models(schema, workspace) || $q$
        UPDATE lean.model_version AS v SET deleted_at = t.deleted_at FROM versions AS t
        WHERE (v.model_id, v.version) = (t.model_id, t.version) AND t.deleted_at IS NOT NULL AND v.deleted_at IS NULL
            AND v.stage NOT IN ('staging', 'production')
            AND NOT EXISTS (SELECT FROM lean.model_alias AS a WHERE (a.model_id, a.version) = (v.model_id, v.version))
    $q$ USING schema, workspace;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    updated := updated + deleted;
END
$$;
COMMENT ON FUNCTION lean.import_mlflow_stages(text, text) IS 'internal: moves versions to stages as in MLflow, and deletes what was deleted there';

CREATE FUNCTION lean.import_mlflow(
    schema text, project text DEFAULT 'mlflow', workspace text DEFAULT NULL, model_prefix text DEFAULT '', allow_untested boolean DEFAULT false
) RETURNS TABLE (kind text, total bigint, imported bigint, updated bigint)
    -- All is joined with all. Of tables that have just been filled a plan expects few rows, and would loop over many.
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
DECLARE
    chosen text := lean.mlflow_workspace(schema, workspace, allow_untested);
BEGIN
    IF coalesce(project, '') = '' OR project ~ '/' THEN
        RAISE EXCEPTION '"%" is no name for a project', project
            USING ERRCODE = 'invalid_name', HINT = 'A name of a project is not empty and has no slash.';
    END IF;
    -- Two imports at once would both find that something is missing.
    PERFORM pg_advisory_xact_lock(hashtextextended('lean.import_mlflow', 0));
    RETURN QUERY SELECT 'experiments', x.* FROM lean.import_mlflow_experiments(schema, chosen, project) AS x;
    RETURN QUERY SELECT 'runs', x.* FROM lean.import_mlflow_runs(schema, chosen) AS x;
    RETURN QUERY SELECT 'params', x.* FROM lean.import_mlflow_params(schema, chosen) AS x;
    RETURN QUERY SELECT 'metrics', x.* FROM lean.import_mlflow_metrics(schema, chosen) AS x;
    RETURN QUERY SELECT 'datasets', x.* FROM lean.import_mlflow_datasets(schema, chosen) AS x;
    RETURN QUERY SELECT 'inputs', x.* FROM lean.import_mlflow_inputs(schema, chosen) AS x;
    RETURN QUERY SELECT 'artifacts', x.* FROM lean.import_mlflow_artifacts(schema, chosen) AS x;
    RETURN QUERY SELECT 'models', x.* FROM lean.import_mlflow_models(schema, chosen, project, coalesce(model_prefix, '')) AS x;
    RETURN QUERY SELECT 'versions', x.* FROM lean.import_mlflow_versions(schema, chosen) AS x;
    RETURN QUERY SELECT 'aliases', x.* FROM lean.import_mlflow_aliases(schema, chosen) AS x;
    RETURN QUERY SELECT 'stages', x.* FROM lean.import_mlflow_stages(schema, chosen) AS x;
END
$$;
COMMENT ON FUNCTION lean.import_mlflow(text, text, text, text, boolean) IS
    'brings over from MLflow''s tables in a schema of this database what is not here yet or has changed there; new experiments and models go to the project';
