-- Experiments and runs: what was run, on which code and data, with which parameters, and how its metrics went.
--
-- A run is named by a uuid, which a client may bring along; inside it is a number, so that a point of a metric is small.
-- Logging the same thing again changes nothing. Statements that write several metrics take them in the order of their
-- keys, so that concurrent writers of one run wait for each other and never in a circle.

CREATE TABLE lean.experiment (
    experiment_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL DEFAULT 'default' CHECK (project <> '' AND project !~ '/'),
    name text NOT NULL CHECK (name <> '' AND name !~ '/'),
    description text,
    tags jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(tags) = 'object'),
    created_by name NOT NULL DEFAULT current_user,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (project, name)
);
COMMENT ON TABLE lean.experiment IS 'experiments: what runs are grouped by';
COMMENT ON COLUMN lean.experiment.project IS 'whose it is; row-level security may go by it';
COMMENT ON COLUMN lean.experiment.deleted_at IS 'when it was deleted; null if it is not';

CREATE TABLE lean.run (
    run_no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    experiment_id bigint NOT NULL REFERENCES lean.experiment,
    name text,
    status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'completed', 'failed', 'killed')),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    git_commit text,
    git_branch text,
    language text,
    language_version text,
    framework text,
    framework_version text,
    user_name text NOT NULL DEFAULT current_user,
    model_path text,
    parent_run_no bigint REFERENCES lean.run,
    tags jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(tags) = 'object'),
    deleted_at timestamptz,
    CHECK (parent_run_no <> run_no)
);
CREATE INDEX run_experiment ON lean.run (experiment_id, started_at);
CREATE INDEX run_parent ON lean.run (parent_run_no) WHERE parent_run_no IS NOT NULL;
COMMENT ON TABLE lean.run IS 'runs of experiments; lean.run_summary shows them with parameters and metrics';
COMMENT ON COLUMN lean.run.run_no IS 'number of the run inside of the database';
COMMENT ON COLUMN lean.run.run_id IS 'name of the run for clients';
COMMENT ON COLUMN lean.run.user_name IS 'who ran it';
COMMENT ON COLUMN lean.run.model_path IS 'where the model is that came of it';
COMMENT ON COLUMN lean.run.deleted_at IS 'when it was deleted; null if it is not';

CREATE TABLE lean.run_param (
    run_no bigint NOT NULL REFERENCES lean.run ON DELETE CASCADE,
    key text NOT NULL CHECK (key <> ''),
    value text NOT NULL,
    PRIMARY KEY (run_no, key)
);
CREATE INDEX run_param_value ON lean.run_param (key, left(value, 64));
-- Which values are frequent depends on the parameter.
CREATE STATISTICS lean.run_param_values (mcv) ON key, (left(value, 64)) FROM lean.run_param;
COMMENT ON TABLE lean.run_param IS 'parameters of runs; they never change';

CREATE TABLE lean.metric_key (
    key_no integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE CHECK (key <> '')
);
COMMENT ON TABLE lean.metric_key IS 'names of metrics';

-- The primary key is the only index: a history is read by run and metric, in the order of steps. Runs are marked as deleted
-- and stay, so that no foreign key has to be looked up for each point.
CREATE TABLE lean.metric (
    run_no bigint NOT NULL,
    step bigint NOT NULL,
    at timestamptz NOT NULL,
    value double precision NOT NULL,
    key_no integer NOT NULL,
    PRIMARY KEY (run_no, key_no, step, at, value)
);
COMMENT ON TABLE lean.metric IS 'every point of every metric; lean.metric_history shows those of a run';

CREATE TABLE lean.run_metric (
    run_no bigint NOT NULL REFERENCES lean.run ON DELETE CASCADE,
    key_no integer NOT NULL REFERENCES lean.metric_key,
    experiment_id bigint NOT NULL REFERENCES lean.experiment,
    step bigint NOT NULL,
    at timestamptz NOT NULL,
    value double precision NOT NULL,
    min_value double precision,
    min_step bigint,
    max_value double precision,
    max_step bigint,
    PRIMARY KEY (run_no, key_no)
) WITH (fillfactor = 70);
CREATE INDEX run_metric_value ON lean.run_metric (experiment_id, key_no, value) INCLUDE (run_no);
COMMENT ON TABLE lean.run_metric IS 'the latest, the smallest and the largest point of each metric of each run';
COMMENT ON COLUMN lean.run_metric.value IS 'the latest by step, then by time, then by value';
COMMENT ON COLUMN lean.run_metric.min_value IS 'the smallest that is a number';
COMMENT ON COLUMN lean.run_metric.min_step IS 'the first step at which it was';
COMMENT ON COLUMN lean.run_metric.max_value IS 'the largest that is a number';
COMMENT ON COLUMN lean.run_metric.max_step IS 'the first step at which it was';

CREATE TABLE lean.run_artifact (
    run_no bigint NOT NULL REFERENCES lean.run ON DELETE CASCADE,
    name text NOT NULL CHECK (name <> ''),
    uri text NOT NULL,
    size_bytes bigint CHECK (size_bytes >= 0),
    checksum text,
    logged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_no, name)
);
COMMENT ON TABLE lean.run_artifact IS 'files that runs left, by where they are';

CREATE TABLE lean.dataset (
    dataset_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CHECK (name <> ''),
    digest text NOT NULL,
    version text,
    uri text,
    description text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (name, digest)
);
COMMENT ON TABLE lean.dataset IS 'data that runs read; the same name with another digest is other data';

CREATE TABLE lean.run_dataset (
    run_no bigint NOT NULL REFERENCES lean.run ON DELETE CASCADE,
    dataset_id bigint NOT NULL REFERENCES lean.dataset,
    context text NOT NULL,
    PRIMARY KEY (run_no, dataset_id, context)
);
CREATE INDEX run_dataset_dataset ON lean.run_dataset (dataset_id);
COMMENT ON TABLE lean.run_dataset IS 'what runs read which data for';
COMMENT ON COLUMN lean.run_dataset.context IS 'training, validation, test or another word';

SELECT pg_catalog.pg_extension_config_dump('lean.experiment', '');
SELECT pg_catalog.pg_extension_config_dump('lean.run', '');
SELECT pg_catalog.pg_extension_config_dump('lean.run_param', '');
SELECT pg_catalog.pg_extension_config_dump('lean.metric_key', '');
SELECT pg_catalog.pg_extension_config_dump('lean.metric', '');
SELECT pg_catalog.pg_extension_config_dump('lean.run_metric', '');
SELECT pg_catalog.pg_extension_config_dump('lean.run_artifact', '');
SELECT pg_catalog.pg_extension_config_dump('lean.dataset', '');
SELECT pg_catalog.pg_extension_config_dump('lean.run_dataset', '');
SELECT pg_catalog.pg_extension_config_dump('lean.experiment_experiment_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('lean.run_run_no_seq', '');
SELECT pg_catalog.pg_extension_config_dump('lean.metric_key_key_no_seq', '');
SELECT pg_catalog.pg_extension_config_dump('lean.dataset_dataset_id_seq', '');

-- Finding

CREATE FUNCTION lean.find_experiment(experiment text, deleted boolean DEFAULT false) RETURNS lean.experiment
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result lean.experiment;
    parts text[] := regexp_match(experiment, '^(?:([^/]+)/)?([^/]+)$');
BEGIN
    SELECT * INTO result FROM lean.experiment AS e WHERE (e.project, e.name) = (coalesce(parts[1], 'default'), parts[2]);
    IF NOT FOUND OR result.deleted_at IS NOT NULL AND NOT deleted THEN
        RAISE EXCEPTION 'experiment "%" does not exist', experiment
            USING ERRCODE = 'undefined_object',
                  HINT = CASE WHEN result.deleted_at IS NOT NULL
                      THEN 'It was deleted; lean.restore_experiment brings it back.'
                      ELSE 'lean.create_experiment makes one; an experiment of another project than default is project/name.' END;
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION lean.find_experiment(text, boolean) IS 'internal: an experiment by name, or by project/name; one that was deleted only if asked for';

CREATE FUNCTION lean.find_run(run uuid) RETURNS lean.run
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result lean.run;
BEGIN
    SELECT * INTO result FROM lean.run AS r WHERE r.run_id = find_run.run;
    IF NOT FOUND OR result.deleted_at IS NOT NULL THEN
        RAISE EXCEPTION 'run % %', run, CASE WHEN result.deleted_at IS NULL THEN 'does not exist' ELSE 'was deleted' END
            USING ERRCODE = 'undefined_object',
                  HINT = CASE WHEN result.deleted_at IS NULL THEN 'lean.start_run begins one.' ELSE 'lean.restore_run brings it back.' END;
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION lean.find_run(uuid) IS 'internal: a run that is not deleted';

-- Experiments and runs

CREATE FUNCTION lean.create_experiment(name text, project text DEFAULT 'default', description text DEFAULT NULL, tags jsonb DEFAULT '{}')
    RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    existing lean.experiment;
    made bigint;
BEGIN
    SELECT * INTO existing FROM lean.experiment AS e
        WHERE (e.project, e.name) = (coalesce(create_experiment.project, 'default'), create_experiment.name);
    IF existing.experiment_id IS NOT NULL AND existing.deleted_at IS NULL THEN
        RETURN existing.experiment_id;
    END IF;
    INSERT INTO lean.experiment AS e (name, project, description, tags)
        VALUES (create_experiment.name, coalesce(create_experiment.project, 'default'), create_experiment.description, coalesce(create_experiment.tags, '{}'))
        ON CONFLICT ON CONSTRAINT experiment_project_name_key DO NOTHING RETURNING e.experiment_id INTO made;
    IF made IS NULL THEN
        SELECT * INTO existing FROM lean.experiment AS e
            WHERE (e.project, e.name) = (coalesce(create_experiment.project, 'default'), create_experiment.name);
        IF existing.deleted_at IS NOT NULL THEN
            RAISE EXCEPTION 'experiment "%/%" was deleted', existing.project, existing.name
                USING ERRCODE = 'duplicate_object', HINT = 'lean.restore_experiment brings it back.';
        END IF;
        made := existing.experiment_id;
    END IF;
    RETURN made;
END
$$;
COMMENT ON FUNCTION lean.create_experiment(text, text, text, jsonb) IS 'creates an experiment, or finds the one of this name; gives its number';

CREATE FUNCTION lean.start_run(
    experiment text, name text DEFAULT NULL, run_id uuid DEFAULT NULL, params jsonb DEFAULT NULL, tags jsonb DEFAULT '{}',
    git_commit text DEFAULT NULL, git_branch text DEFAULT NULL, language text DEFAULT NULL, language_version text DEFAULT NULL,
    framework text DEFAULT NULL, framework_version text DEFAULT NULL, model_path text DEFAULT NULL, parent_run uuid DEFAULT NULL,
    user_name text DEFAULT current_user, started_at timestamptz DEFAULT clock_timestamp()
) RETURNS uuid
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    e lean.experiment := lean.find_experiment(experiment);
    parent bigint := CASE WHEN parent_run IS NOT NULL THEN (lean.find_run(parent_run)).run_no END;
    made uuid;
    existing lean.run;
BEGIN
    INSERT INTO lean.run AS r (run_id, experiment_id, name, started_at, git_commit, git_branch, language, language_version, framework,
            framework_version, user_name, model_path, parent_run_no, tags)
        VALUES (coalesce(run_id, gen_random_uuid()), e.experiment_id, name, coalesce(started_at, clock_timestamp()), git_commit, git_branch,
            language, language_version, framework, framework_version, coalesce(user_name, current_user), model_path, parent, coalesce(tags, '{}'))
        ON CONFLICT ON CONSTRAINT run_run_id_key DO NOTHING RETURNING r.run_id INTO made;
    IF made IS NULL THEN
        existing := lean.find_run(run_id);
        IF existing.experiment_id <> e.experiment_id THEN
            RAISE EXCEPTION 'run % belongs to another experiment than "%"', run_id, experiment
                USING ERRCODE = 'unique_violation', HINT = 'Let lean.start_run choose the id, or take a new one.';
        END IF;
        made := existing.run_id;
    END IF;
    IF params IS NOT NULL THEN
        PERFORM lean.log_params(made, params);
    END IF;
    RETURN made;
END
$$;
COMMENT ON FUNCTION lean.start_run(text, text, uuid, jsonb, jsonb, text, text, text, text, text, text, text, uuid, text, timestamptz) IS
    'begins a run of an experiment, or goes on with the run of this id; gives its id';

CREATE FUNCTION lean.end_run(run uuid, status text DEFAULT 'completed', ended_at timestamptz DEFAULT clock_timestamp(), model_path text DEFAULT NULL)
    RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r lean.run := lean.find_run(run);
BEGIN
    IF end_run.status IS NULL OR end_run.status NOT IN ('completed', 'failed', 'killed') THEN
        RAISE EXCEPTION '"%" is no status of a run that has ended', end_run.status
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is completed, failed or killed.';
    END IF;
    -- Ending a run twice in the same way leaves the time of its end.
    UPDATE lean.run AS x SET status = end_run.status, model_path = coalesce(end_run.model_path, x.model_path),
            ended_at = CASE WHEN x.status = end_run.status THEN coalesce(x.ended_at, end_run.ended_at) ELSE end_run.ended_at END
        WHERE x.run_no = r.run_no;
END
$$;
COMMENT ON FUNCTION lean.end_run(uuid, text, timestamptz, text) IS 'ends a run as completed, failed or killed';

CREATE FUNCTION lean.set_tags(run uuid, tags jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r lean.run := lean.find_run(run);
BEGIN
    UPDATE lean.run AS x SET tags = jsonb_strip_nulls(x.tags || set_tags.tags) WHERE x.run_no = r.run_no;
END
$$;
COMMENT ON FUNCTION lean.set_tags(uuid, jsonb) IS 'sets tags of a run, an object; null takes one away';

-- Parameters

CREATE FUNCTION lean.log_params(run uuid, params jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r lean.run := lean.find_run(run);
    changed record;
BEGIN
    IF jsonb_typeof(params) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'params is not an object: %', params
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Write {"learning_rate": 0.1, "depth": 6}.';
    END IF;
    INSERT INTO lean.run_param (run_no, key, value)
        SELECT r.run_no, p.key, coalesce(p.value, 'null') FROM jsonb_each_text(params) AS p ORDER BY p.key
        ON CONFLICT (run_no, key) DO NOTHING;
    SELECT x.key, x.value AS old, coalesce(p.value, 'null') AS new INTO changed
        FROM jsonb_each_text(params) AS p JOIN lean.run_param AS x ON x.run_no = r.run_no AND x.key = p.key
        WHERE x.value <> coalesce(p.value, 'null') ORDER BY x.key LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'parameter "%" of run % is "%" and cannot become "%"', changed.key, run, changed.old, changed.new
            USING ERRCODE = 'unique_violation', HINT = 'Parameters do not change; start another run, or log it as a metric or tag.';
    END IF;
END
$$;
COMMENT ON FUNCTION lean.log_params(uuid, jsonb) IS 'logs parameters of a run, an object; another value for a parameter that is there is an error';

CREATE FUNCTION lean.log_param(run uuid, key text, value text) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT lean.log_params(run, jsonb_build_object(key, value))
$$;
COMMENT ON FUNCTION lean.log_param(uuid, text, text) IS 'logs a parameter of a run';

-- Metrics. The statement keeps the history and, from what is new in it, the latest, smallest and largest.

CREATE FUNCTION lean.metric_keys(keys text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT k FROM unnest(keys) AS k) AS d WHERE NOT EXISTS (SELECT FROM lean.metric_key AS m WHERE m.key = d.k)) THEN
        INSERT INTO lean.metric_key (key) SELECT DISTINCT k FROM unnest(keys) AS k
            WHERE NOT EXISTS (SELECT FROM lean.metric_key AS m WHERE m.key = k) ORDER BY k ON CONFLICT (key) DO NOTHING;
    END IF;
END
$$;
COMMENT ON FUNCTION lean.metric_keys(text[]) IS 'internal: makes numbers for names of metrics that have none';

CREATE FUNCTION lean.write_metrics(r lean.run, keys text[], "values" double precision[], steps bigint[], times timestamptz[]) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written bigint;
BEGIN
    PERFORM lean.metric_keys(keys);
    -- Points are new as a rule, and a row takes half as long to write if none is asked for that may be there. The first
    -- that is there takes back what was written; for a few points that would cost more than it saves.
    IF cardinality(keys) >= 20 THEN
        BEGIN
            INSERT INTO lean.metric (run_no, key_no, step, at, value)
                SELECT r.run_no, k.key_no, p.step, p.at, p.value
                FROM unnest(keys, "values", steps, times) AS p (key, value, step, at) JOIN lean.metric_key AS k ON k.key = p.key
                ORDER BY k.key_no, p.step, p.at, p.value;
            GET DIAGNOSTICS written = ROW_COUNT;
        EXCEPTION WHEN unique_violation THEN
            written := NULL;
        END;
    END IF;
    IF written IS NULL THEN
        INSERT INTO lean.metric (run_no, key_no, step, at, value)
            SELECT r.run_no, k.key_no, p.step, p.at, p.value
            FROM unnest(keys, "values", steps, times) AS p (key, value, step, at) JOIN lean.metric_key AS k ON k.key = p.key
            ORDER BY k.key_no, p.step, p.at, p.value
            ON CONFLICT (run_no, key_no, step, at, value) DO NOTHING;
        GET DIAGNOSTICS written = ROW_COUNT;
    END IF;
    IF written = 0 THEN
        RETURN 0;
    END IF;
    -- Of points that were there already nothing is known here; they are part of the row, and change nothing in it.
    WITH points AS MATERIALIZED (
        SELECT p.* FROM unnest(keys, "values", steps, times) AS p (key, value, step, at)
    ), bounds AS (
        SELECT p.key, max(p.step) AS last, min(p.value) FILTER (WHERE p.value <> 'NaN') AS low, max(p.value) FILTER (WHERE p.value <> 'NaN') AS high
        FROM points AS p GROUP BY p.key
    ), best AS (
        SELECT b.key, b.last, b.low, b.high,
            max(p.at) FILTER (WHERE p.step = b.last) AS last_at,
            (array_agg(p.value ORDER BY p.at DESC, p.value DESC) FILTER (WHERE p.step = b.last))[1] AS last_value,
            min(p.step) FILTER (WHERE p.value = b.low) AS low_step,
            min(p.step) FILTER (WHERE p.value = b.high) AS high_step
        FROM points AS p JOIN bounds AS b USING (key) WHERE p.step = b.last OR p.value IN (b.low, b.high)
        GROUP BY b.key, b.last, b.low, b.high
    )
    INSERT INTO lean.run_metric AS x (run_no, key_no, experiment_id, step, at, value, min_value, min_step, max_value, max_step)
        SELECT r.run_no, k.key_no, r.experiment_id, b.last, b.last_at, b.last_value, b.low, b.low_step, b.high, b.high_step
        FROM best AS b JOIN lean.metric_key AS k USING (key) ORDER BY k.key_no
        ON CONFLICT (run_no, key_no) DO UPDATE SET
            step = greatest(x.step, EXCLUDED.step),
            at = CASE WHEN (x.step, x.at, x.value) < (EXCLUDED.step, EXCLUDED.at, EXCLUDED.value) THEN EXCLUDED.at ELSE x.at END,
            value = CASE WHEN (x.step, x.at, x.value) < (EXCLUDED.step, EXCLUDED.at, EXCLUDED.value) THEN EXCLUDED.value ELSE x.value END,
            min_value = least(x.min_value, EXCLUDED.min_value),
            min_step = least(CASE WHEN x.min_value > EXCLUDED.min_value THEN NULL ELSE x.min_step END,
                             CASE WHEN EXCLUDED.min_value > x.min_value THEN NULL ELSE EXCLUDED.min_step END),
            max_value = greatest(x.max_value, EXCLUDED.max_value),
            max_step = least(CASE WHEN x.max_value < EXCLUDED.max_value THEN NULL ELSE x.max_step END,
                             CASE WHEN EXCLUDED.max_value < x.max_value THEN NULL ELSE EXCLUDED.max_step END);
    RETURN written;
END
$$;
COMMENT ON FUNCTION lean.write_metrics(lean.run, text[], double precision[], bigint[], timestamptz[]) IS
    'internal: writes points of metrics of a run; gives the number of new ones';

CREATE FUNCTION lean.log_metric(run uuid, key text, value double precision, step bigint DEFAULT 0, at timestamptz DEFAULT clock_timestamp())
    RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF key IS NULL OR value IS NULL THEN
        RAISE EXCEPTION 'metric "%" of run % is null', key, run USING ERRCODE = 'null_value_not_allowed', HINT = 'A value that is no number is NaN.';
    END IF;
    PERFORM lean.write_metrics(lean.find_run(run), ARRAY[key], ARRAY[value], ARRAY[coalesce(step, 0)], ARRAY[coalesce(at, clock_timestamp())]);
END
$$;
COMMENT ON FUNCTION lean.log_metric(uuid, text, double precision, bigint, timestamptz) IS 'logs a point of a metric of a run';

CREATE FUNCTION lean.metric_value(key text, value jsonb) RETURNS double precision
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_typeof(value) IN ('number', 'string') THEN
        BEGIN
            RETURN (value #>> '{}')::double precision;
        EXCEPTION WHEN data_exception THEN
            NULL;
        END;
    END IF;
    RAISE EXCEPTION 'value of metric "%" is no number: %', key, value
        USING ERRCODE = 'invalid_parameter_value', HINT = 'NaN, Infinity and -Infinity are strings in JSON.';
END
$$;
COMMENT ON FUNCTION lean.metric_value(text, jsonb) IS 'internal: a number in JSON, or a string with one';

CREATE FUNCTION lean.log_metrics(run uuid, metrics jsonb, step bigint DEFAULT 0, at timestamptz DEFAULT clock_timestamp()) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys text[];
    numbers double precision[];
BEGIN
    IF jsonb_typeof(metrics) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'metrics is not an object: %', metrics
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Write {"loss": 0.3, "accuracy": 0.9}; lean.log_batch takes a list.';
    END IF;
    SELECT array_agg(m.key), array_agg(CASE jsonb_typeof(m.value) WHEN 'number' THEN m.value::double precision ELSE lean.metric_value(m.key, m.value) END)
        INTO keys, numbers FROM jsonb_each(metrics) AS m;
    RETURN lean.write_metrics(lean.find_run(run), keys, numbers,
        array_fill(coalesce(step, 0), ARRAY[coalesce(cardinality(keys), 0)]), array_fill(coalesce(at, clock_timestamp()), ARRAY[coalesce(cardinality(keys), 0)]));
END
$$;
COMMENT ON FUNCTION lean.log_metrics(uuid, jsonb, bigint, timestamptz) IS
    'logs a point of each of some metrics of a run, {"loss": 0.3, "accuracy": 0.9}; gives the number of new ones';

CREATE FUNCTION lean.log_batch(run uuid, metrics jsonb DEFAULT NULL, params jsonb DEFAULT NULL, tags jsonb DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r lean.run := lean.find_run(run);
    keys text[];
    numbers double precision[];
    steps bigint[];
    times timestamptz[];
    wrong record;
    written bigint := 0;
BEGIN
    IF params IS NOT NULL THEN
        PERFORM lean.log_params(run, params);
    END IF;
    IF tags IS NOT NULL THEN
        PERFORM lean.set_tags(run, tags);
    END IF;
    IF metrics IS NOT NULL THEN
        IF jsonb_typeof(metrics) <> 'array' THEN
            RAISE EXCEPTION 'metrics is not an array: %', left(metrics::text, 100)
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Write [{"key": "loss", "value": 0.3, "step": 1, "at": "2024-01-01T00:00:00Z"}].';
        END IF;
        SELECT m.n, m.item INTO wrong FROM jsonb_array_elements(metrics) WITH ORDINALITY AS m (item, n)
            WHERE jsonb_typeof(m.item) <> 'object' OR m.item ->> 'key' IS NULL LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'metric % has no key: %', wrong.n, wrong.item USING ERRCODE = 'invalid_parameter_value';
        END IF;
        SELECT array_agg(m ->> 'key'),
            array_agg(CASE jsonb_typeof(m -> 'value') WHEN 'number' THEN (m -> 'value')::double precision ELSE lean.metric_value(m ->> 'key', m -> 'value') END),
            array_agg(coalesce((m ->> 'step')::bigint, 0)), array_agg(coalesce((m ->> 'at')::timestamptz, clock_timestamp()))
            INTO keys, numbers, steps, times FROM jsonb_array_elements(metrics) AS m;
        written := lean.write_metrics(r, keys, numbers, steps, times);
    END IF;
    RETURN written;
END
$$;
COMMENT ON FUNCTION lean.log_batch(uuid, jsonb, jsonb, jsonb) IS
    'logs points of metrics, [{"key", "value", "step", "at"}, ...], parameters and tags of a run in one go; gives the number of new points';

-- Artifacts and data

CREATE FUNCTION lean.log_artifact(run uuid, name text, uri text, size_bytes bigint DEFAULT NULL, checksum text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r lean.run := lean.find_run(run);
BEGIN
    INSERT INTO lean.run_artifact AS a (run_no, name, uri, size_bytes, checksum)
        VALUES (r.run_no, log_artifact.name, log_artifact.uri, log_artifact.size_bytes, log_artifact.checksum)
        ON CONFLICT ON CONSTRAINT run_artifact_pkey DO UPDATE SET uri = EXCLUDED.uri, size_bytes = EXCLUDED.size_bytes,
            checksum = EXCLUDED.checksum, logged_at = EXCLUDED.logged_at
        WHERE (a.uri, a.size_bytes, a.checksum) IS DISTINCT FROM (EXCLUDED.uri, EXCLUDED.size_bytes, EXCLUDED.checksum);
END
$$;
COMMENT ON FUNCTION lean.log_artifact(uuid, text, text, bigint, text) IS 'logs where a file is that a run left; a name that is there gets the new place';

CREATE FUNCTION lean.log_dataset(
    run uuid, name text, digest text, context text DEFAULT 'training', version text DEFAULT NULL, uri text DEFAULT NULL, description text DEFAULT NULL
) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r lean.run := lean.find_run(run);
    id bigint;
BEGIN
    INSERT INTO lean.dataset AS d (name, digest, version, uri, description)
        VALUES (log_dataset.name, log_dataset.digest, log_dataset.version, log_dataset.uri, log_dataset.description)
        ON CONFLICT ON CONSTRAINT dataset_name_digest_key DO NOTHING;
    SELECT d.dataset_id INTO id FROM lean.dataset AS d WHERE (d.name, d.digest) = (log_dataset.name, log_dataset.digest);
    INSERT INTO lean.run_dataset (run_no, dataset_id, context) VALUES (r.run_no, id, coalesce(log_dataset.context, 'training'))
        ON CONFLICT DO NOTHING;
    RETURN id;
END
$$;
COMMENT ON FUNCTION lean.log_dataset(uuid, text, text, text, text, text, text) IS
    'logs data that a run read, by name and digest, and what for; gives the number of the data';
