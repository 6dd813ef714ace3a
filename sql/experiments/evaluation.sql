-- How versions of models scored, on which data and when; which is better; and promotion of what is better.

-- Evaluations without data compare with each other: data number 0 stands for none in the key.
CREATE TABLE lean.model_evaluation (
    model_id bigint NOT NULL,
    version integer NOT NULL,
    metric text NOT NULL CHECK (metric <> ''),
    dataset_id bigint REFERENCES lean.dataset,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    value double precision NOT NULL,
    run_no bigint REFERENCES lean.run,
    created_by name NOT NULL DEFAULT current_user,
    FOREIGN KEY (model_id, version) REFERENCES lean.model_version (model_id, version)
);
CREATE UNIQUE INDEX model_evaluation_key ON lean.model_evaluation (model_id, version, metric, coalesce(dataset_id, 0), at);
CREATE INDEX model_evaluation_dataset ON lean.model_evaluation (dataset_id) WHERE dataset_id IS NOT NULL;
CREATE INDEX model_evaluation_run ON lean.model_evaluation (run_no) WHERE run_no IS NOT NULL;
COMMENT ON TABLE lean.model_evaluation IS 'how versions of models scored; the newest by metric and data counts';
COMMENT ON COLUMN lean.model_evaluation.model_id IS 'the model';
COMMENT ON COLUMN lean.model_evaluation.version IS 'the version';
COMMENT ON COLUMN lean.model_evaluation.metric IS 'what was measured';
COMMENT ON COLUMN lean.model_evaluation.dataset_id IS 'on which data; null if that is not said';
COMMENT ON COLUMN lean.model_evaluation.at IS 'when';
COMMENT ON COLUMN lean.model_evaluation.value IS 'the score';
COMMENT ON COLUMN lean.model_evaluation.run_no IS 'the run that measured it';
COMMENT ON COLUMN lean.model_evaluation.created_by IS 'who noted it';

SELECT pg_catalog.pg_extension_config_dump('lean.model_evaluation', '');

CREATE FUNCTION lean.log_evaluation(
    name text, version integer, metric text, value double precision, dataset text DEFAULT NULL,
    at timestamptz DEFAULT clock_timestamp(), run uuid DEFAULT NULL
) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v lean.model_version := lean.find_version(lean.find_model(name), version);
    dataset_id bigint := CASE WHEN dataset IS NOT NULL THEN (lean.find_dataset(dataset)).dataset_id END;
    run_no bigint := CASE WHEN run IS NOT NULL THEN (lean.find_run(run)).run_no END;
    existing double precision;
BEGIN
    IF coalesce(metric, '') = '' OR value IS NULL THEN
        RAISE EXCEPTION 'metric "%" of version % of model "%" has no %', metric, version, name, CASE WHEN value IS NULL THEN 'value' ELSE 'name' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'A value that is no number is NaN.';
    END IF;
    INSERT INTO lean.model_evaluation (model_id, version, metric, dataset_id, at, value, run_no)
        VALUES (v.model_id, version, metric, dataset_id, coalesce(at, clock_timestamp()), value, run_no)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT e.value INTO existing FROM lean.model_evaluation AS e
            WHERE (e.model_id, e.version, e.metric, coalesce(e.dataset_id, 0), e.at) = (v.model_id, version, metric, coalesce(dataset_id, 0), at);
        IF existing IS DISTINCT FROM value THEN
            RAISE EXCEPTION 'metric "%" of version % of model "%" at % is % and cannot become %', metric, version, name, at, existing, value
                USING ERRCODE = 'unique_violation', HINT = 'Evaluations do not change; log a new one, with its own time.';
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION lean.log_evaluation(text, integer, text, double precision, text, timestamptz, uuid) IS
    'notes how a version of a model scored by a metric, on a dataset given as name or name@digest; the same again changes nothing';

CREATE FUNCTION lean.latest_evaluation(model_id bigint, version integer, metric text, dataset_id bigint) RETURNS double precision
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (
        SELECT e.value FROM lean.model_evaluation AS e
        WHERE e.model_id = latest_evaluation.model_id AND e.version = latest_evaluation.version AND e.metric = latest_evaluation.metric
            AND coalesce(e.dataset_id, 0) = coalesce(latest_evaluation.dataset_id, 0)
        ORDER BY e.at DESC LIMIT 1
    );
COMMENT ON FUNCTION lean.latest_evaluation(bigint, integer, text, bigint) IS 'internal: the newest score of a version';

-- Decimal places that people wrote are compared, not those of binary numbers: 0.57 is better than 0.56 by 0.01.
CREATE FUNCTION lean.metric_gain(value double precision, other double precision, maximize boolean) RETURNS double precision
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN CASE WHEN value = other OR value = 'NaN' AND other = 'NaN' THEN 0
        WHEN value = 'NaN' THEN '-Infinity' WHEN other = 'NaN' THEN 'Infinity'
        WHEN value IN ('Infinity', '-Infinity') OR other IN ('Infinity', '-Infinity') THEN CASE WHEN maximize THEN value - other ELSE other - value END
        ELSE (CASE WHEN maximize THEN value::numeric - other::numeric ELSE other::numeric - value::numeric END)::double precision END;
COMMENT ON FUNCTION lean.metric_gain(double precision, double precision, boolean) IS
    'by how much a score is better than another; what is no number is worse than any number';

CREATE FUNCTION lean.compare_models(models text[], dataset text DEFAULT NULL, metrics text[] DEFAULT NULL, minimize text[] DEFAULT '{}')
    RETURNS TABLE (metric text, on_dataset text, "values" jsonb, best text, gain double precision)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    wanted CONSTANT bigint := CASE WHEN compare_models.dataset IS NOT NULL THEN (lean.find_dataset(compare_models.dataset)).dataset_id END;
BEGIN
    IF coalesce(cardinality(models), 0) = 0 THEN
        RAISE EXCEPTION 'no versions to compare' USING ERRCODE = 'invalid_parameter_value', HINT = 'Give some, as in ''{churn@3, churn@champion}''.';
    END IF;
    RETURN QUERY
    WITH compared AS (
        SELECT DISTINCT ON (f.model_id, f.version) f.model_id, f.version, m.name || '@' || f.version AS label, x.n
        FROM unnest(models) WITH ORDINALITY AS x (reference, n), lean.find_model_version(x.reference) AS f
            JOIN lean.model AS m ON m.model_id = f.model_id
        ORDER BY f.model_id, f.version, x.n
    ), latest AS (
        SELECT DISTINCT ON (e.metric, coalesce(e.dataset_id, 0), c.n) e.metric, e.dataset_id, c.n, c.label, e.value,
            e.metric <> ALL (coalesce(minimize, '{}')) AS maximize
        FROM compared AS c JOIN lean.model_evaluation AS e ON (e.model_id, e.version) = (c.model_id, c.version)
        WHERE (wanted IS NULL OR e.dataset_id = wanted) AND (compare_models.metrics IS NULL OR e.metric = ANY (compare_models.metrics))
        ORDER BY e.metric, coalesce(e.dataset_id, 0), c.n, e.at DESC
    ), ranked AS (
        SELECT l.*, row_number() OVER by_score AS place, lead(l.value) OVER by_score AS next
        FROM latest AS l
        WINDOW by_score AS (PARTITION BY l.metric, l.dataset_id
                            ORDER BY l.value = 'NaN', CASE WHEN l.maximize THEN -l.value ELSE l.value END, l.n)
    )
    SELECT r.metric, min(d.name || '@' || d.digest),
        jsonb_object_agg(r.label, CASE WHEN r.value IN ('NaN', 'Infinity', '-Infinity') THEN to_jsonb(r.value::text) ELSE to_jsonb(r.value) END),
        min(r.label) FILTER (WHERE r.place = 1 AND lean.metric_gain(r.value, r.next, r.maximize) > 0),
        min(lean.metric_gain(r.value, r.next, r.maximize)) FILTER (WHERE r.place = 1)
    FROM ranked AS r LEFT JOIN lean.dataset AS d ON d.dataset_id = r.dataset_id
    GROUP BY r.metric, r.dataset_id ORDER BY r.metric, 2;
END
$$;
COMMENT ON FUNCTION lean.compare_models(text[], text, text[], text[]) IS
    'newest scores of versions, {churn@3, churn@champion}, side by side: which is best, unless it is a tie, and by how much; minimize names metrics of which less is better';

-- Locks the model, compares, and sets the alias: what it decides by is still so when it has decided.
CREATE FUNCTION lean.promote_if_better(
    name text, version integer, metric text, dataset text DEFAULT NULL, maximize boolean DEFAULT true, alias text DEFAULT 'champion',
    min_gain double precision DEFAULT 0, reason text DEFAULT NULL
) RETURNS TABLE (promoted boolean, champion integer, value double precision, champion_value double precision, gain double precision, why text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    m lean.model;
    v lean.model_version;
    dataset_id bigint := CASE WHEN dataset IS NOT NULL THEN (lean.find_dataset(dataset)).dataset_id END;
    measure text := metric || coalesce(' on ' || dataset, '');
BEGIN
    IF min_gain IS NULL OR NOT (min_gain >= 0 AND min_gain < 'Infinity') THEN
        RAISE EXCEPTION 'min_gain % is not a number from 0', min_gain USING ERRCODE = 'invalid_parameter_value';
    ELSIF metric IS NULL OR maximize IS NULL THEN
        RAISE EXCEPTION '% must not be null', CASE WHEN metric IS NULL THEN 'metric' ELSE 'maximize' END USING ERRCODE = 'null_value_not_allowed';
    END IF;
    m := lean.lock_model(name);
    v := lean.find_version(m, version);
    value := lean.latest_evaluation(m.model_id, version, metric, dataset_id);
    IF value IS NULL THEN
        RAISE EXCEPTION 'version % of model "%" has no %', version, name, measure
            USING ERRCODE = 'undefined_object', HINT = 'lean.log_evaluation notes it first.';
    END IF;
    SELECT a.version INTO champion FROM lean.model_alias AS a WHERE (a.model_id, a.alias) = (m.model_id, alias);
    champion_value := lean.latest_evaluation(m.model_id, champion, metric, dataset_id);
    gain := lean.metric_gain(value, champion_value, maximize);
    promoted := false;
    IF champion = version THEN
        why := format('version %s is the %s already', version, alias);
    ELSIF value = 'NaN' THEN
        why := format('%s of version %s is no number', measure, version);
    ELSIF champion IS NULL THEN
        promoted := true;
        why := format('there was no %s; %s is %s', alias, measure, value);
    ELSIF champion_value IS NULL THEN
        why := format('version %s, the %s, has no %s to compare with', champion, alias, measure);
    ELSIF gain > 0 AND gain >= min_gain THEN
        promoted := true;
        why := format('%s is %s, better than %s of version %s by %s', measure, value, champion_value, champion, gain);
    ELSIF gain > 0 THEN
        why := format('%s is %s, better than %s of version %s by %s, less than %s', measure, value, champion_value, champion, gain, min_gain);
    ELSE
        why := format('%s is %s, not better than %s of version %s', measure, value, champion_value, champion);
    END IF;
    IF promoted THEN
        PERFORM lean.set_alias(name, alias, version, coalesce(reason || ': ', '') || why);
    END IF;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION lean.promote_if_better(text, integer, text, text, boolean, text, double precision, text) IS
    'makes an alias stand for a version if its newest score is better than that of the version it stands for; tells what it did and why';
