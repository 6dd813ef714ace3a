-- What was served, and whether history says the same of that moment.

CREATE FUNCTION lean.log_served(
    "view" text, keys jsonb, features jsonb, status jsonb DEFAULT NULL,
    served_at timestamptz DEFAULT clock_timestamp(), request_id text DEFAULT NULL
) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v lean.feature_view := lean.find_feature_view("view");
    entities jsonb := CASE jsonb_typeof(keys) WHEN 'array' THEN keys ELSE jsonb_build_array(keys) END;
    given jsonb := CASE jsonb_typeof(features) WHEN 'array' THEN features ELSE jsonb_build_array(features) END;
    statuses jsonb := CASE jsonb_typeof(status) WHEN 'array' THEN status ELSE jsonb_build_array(status) END;
    names text[] := (SELECT array_agg(DISTINCT k::text) FROM lean.source_groups("view", NULL) AS s, unnest(s.entity_keys) AS k);
    wrong record;
    written bigint;
BEGIN
    IF served_at IS NULL OR NOT isfinite(served_at) THEN
        RAISE EXCEPTION 'served_at is not a time: %', served_at USING ERRCODE = 'invalid_parameter_value';
    ELSIF jsonb_array_length(given) IS DISTINCT FROM jsonb_array_length(entities)
        OR status IS NOT NULL AND jsonb_array_length(statuses) <> jsonb_array_length(entities) THEN
        RAISE EXCEPTION 'got % entities, % objects of features and % of status', jsonb_array_length(entities),
                jsonb_array_length(given), CASE WHEN status IS NULL THEN 0 ELSE jsonb_array_length(statuses) END
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give an object each, or arrays of the same length.';
    END IF;
    SELECT e.value, e.n INTO wrong FROM jsonb_array_elements(entities) WITH ORDINALITY AS e (value, n)
        WHERE jsonb_typeof(e.value) <> 'object' OR NOT e.value ?& names LIMIT 1;
    IF FOUND THEN
        PERFORM lean.missing_key(wrong.value, wrong.n, names);
    END IF;
    SELECT e.value INTO wrong FROM jsonb_array_elements(given) AS e WHERE jsonb_typeof(e.value) <> 'object' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'features is no object: %', wrong.value
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give {"feature": value, ...}, as lean.get_online_features does.';
    END IF;
    SELECT k INTO wrong FROM jsonb_array_elements(given) AS e, jsonb_object_keys(e.value) AS k
        WHERE NOT EXISTS (SELECT FROM lean.feature_view_feature AS f WHERE (f.view_name, f.view_version, f.name) = (v.name, v.version, k)) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'feature view %@% has no feature "%"', v.name, v.version, wrong.k
            USING ERRCODE = 'undefined_object',
                  HINT = (SELECT 'It has ' || string_agg(f.name, ', ' ORDER BY f.position) || '.' FROM lean.feature_view_feature AS f
                          WHERE (f.view_name, f.view_version) = (v.name, v.version));
    END IF;
    -- Keys that are not of their type would come to light when nobody can mend them.
    EXECUTE format('SELECT count(k) FROM jsonb_to_recordset($1) AS k (%s)', lean.served_keys("view")) USING entities;
    EXECUTE format(
$sql$INSERT INTO %s (served_at, entity, features, status, request_id)
    SELECT $1, e.value, $3 -> (e.n - 1)::int, nullif($4 -> (e.n - 1)::int, 'null'), $5
    FROM jsonb_array_elements($2) WITH ORDINALITY AS e (value, n)$sql$, v.served)
        USING served_at, entities, given, statuses, request_id;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;
COMMENT ON FUNCTION lean.log_served(text, jsonb, jsonb, jsonb, timestamptz, text) IS
    'notes what was served of a view, for one entity or for each of an array; gives the number of rows';

-- Numbers agree within the tolerance, relative to the larger one beyond 1; lists agree element by element.
CREATE FUNCTION lean.served_agrees(served jsonb, history jsonb, tolerance double precision, is_time boolean) RETURNS boolean
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    difference double precision;
BEGIN
    IF served = history THEN
        RETURN true;
    ELSIF jsonb_typeof(served) = 'number' AND jsonb_typeof(history) = 'number' THEN
        RETURN abs((served::float8) - (history::float8)) <= tolerance * greatest(1, abs(served::float8), abs(history::float8));
    ELSIF jsonb_typeof(served) = 'array' AND jsonb_typeof(history) = 'array' THEN
        RETURN jsonb_array_length(served) = jsonb_array_length(history) AND NOT EXISTS (
            SELECT FROM generate_series(0, jsonb_array_length(served) - 1) AS i
            WHERE NOT lean.served_agrees(served -> i, history -> i, tolerance, is_time));
    ELSIF is_time AND jsonb_typeof(served) = 'string' AND jsonb_typeof(history) = 'string' THEN
        RETURN (served #>> '{}')::timestamptz = (history #>> '{}')::timestamptz;
    END IF;
    RETURN false;
EXCEPTION WHEN data_exception THEN
    -- A number that no float8 holds, or a text that is no time.
    RETURN false;
END
$$;
COMMENT ON FUNCTION lean.served_agrees(jsonb, jsonb, double precision, boolean) IS
    'internal: is a served value the one that history has?';

CREATE TYPE lean.feature_skew AS (
    feature name,
    served bigint,
    equal bigint,
    late bigint,
    different bigint,
    mean_difference double precision,
    max_difference double precision,
    example jsonb
);
COMMENT ON TYPE lean.feature_skew IS 'how far what was served of a feature is from what history says';
COMMENT ON COLUMN lean.feature_skew.served IS 'values that were served: the sum of equal, late and different';
COMMENT ON COLUMN lean.feature_skew.equal IS 'values that history has for that moment too';
COMMENT ON COLUMN lean.feature_skew.late IS 'values that history had then, before a row came that was written later';
COMMENT ON COLUMN lean.feature_skew.different IS 'values that history has not and had not';
COMMENT ON COLUMN lean.feature_skew.mean_difference IS 'of numbers, the mean of the absolute differences to history as it is now';
COMMENT ON COLUMN lean.feature_skew.max_difference IS 'of numbers, the largest absolute difference';
COMMENT ON COLUMN lean.feature_skew.example IS 'the newest of the different values, or else of the late ones';

-- The keys of a view with their types, as they are taken out of JSON.
CREATE FUNCTION lean.served_keys("view" text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN (
        SELECT string_agg(format('%I %s', x.k, x.t), ', ' ORDER BY x.k) FROM (
            SELECT DISTINCT ON (k.k) k.k, k.t FROM lean.source_groups("view", NULL) AS s,
                unnest(s.entity_keys, s.key_types) AS k (k, t) ORDER BY k.k, s.n) AS x
    );
COMMENT ON FUNCTION lean.served_keys(text) IS 'internal: the entity keys of a view as a list of columns';

-- History is joined as it is for training, with defaults and time to live: once as it is known now, once as it was known
-- when a value was served. Without creation times nobody can say what was known then, and nothing is late.
CREATE FUNCTION lean.skew_sql("view" text, since timestamptz, tolerance double precision) RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v lean.feature_view := lean.find_feature_view("view");
    timed boolean := NOT EXISTS (SELECT FROM lean.source_groups("view", NULL) AS s WHERE s.created_time IS NULL);
    entities text := format(
$sql$SELECT s.ctid AS "served row", s.served_at AS "served at", s.entity AS "served entity", s.features AS "served features",
    s.request_id AS "served request", k.*
FROM %s AS s CROSS JOIN LATERAL jsonb_to_record(s.entity) AS k (%s)
WHERE s.served_at >= %L::timestamptz$sql$, lean.qualified_name(v.served), lean.served_keys("view"), since);
    today text := lean.historical_features_sql("view", entities, 'served at', search_path => 'pg_catalog, pg_temp');
    thence text := CASE WHEN timed
        THEN lean.historical_features_sql("view", entities, 'served at', as_known_then => true, search_path => 'pg_catalog, pg_temp')
        ELSE today END;
    members text;
BEGIN
    SELECT string_agg(format('(%s, %L::name, coalesce(to_jsonb(%s), ''null''), coalesce(to_jsonb(%s), ''null''), %L::boolean)',
            s.i, s.name, lean.json_value(format('n.%I', s.name), s.type), lean.json_value(format('t.%I', s.name), s.type),
            s.type ~ '^(timestamp|date)'), E',\n        ' ORDER BY s.i) INTO members
        FROM lean.source_features("view", NULL) WITH ORDINALITY AS s (name, group_name, group_version, feature, type, default_value, n, i);
    RETURN format(
$sql$WITH n AS MATERIALIZED (
%1$s
), t AS MATERIALIZED (
%2$s
), compared AS (
    SELECT m.i, m.name, n."served at" AS at, n."served entity" AS entity, n."served request" AS request,
        n."served features" -> m.name::text AS served, m.truth,
        CASE WHEN n."served features" -> m.name::text = m.truth OR lean.served_agrees(n."served features" -> m.name::text, m.truth, %3$L, m.is_time) THEN 'equal'
             WHEN lean.served_agrees(n."served features" -> m.name::text, m.known, %3$L, m.is_time) THEN 'late'
             ELSE 'different' END AS verdict
    FROM n JOIN t ON t."served row" = n."served row" CROSS JOIN LATERAL (VALUES
        %4$s
    ) AS m (i, name, truth, known, is_time)
    WHERE n."served features" ? m.name::text
), measured AS (
    SELECT c.*, CASE WHEN jsonb_typeof(c.served) = 'number' AND jsonb_typeof(c.truth) = 'number'
                     THEN abs(c.served::numeric - c.truth::numeric)::float8 END AS difference
    FROM compared AS c
)
SELECT f.name, count(m), count(m) FILTER (WHERE m.verdict = 'equal'), count(m) FILTER (WHERE m.verdict = 'late'),
    count(m) FILTER (WHERE m.verdict = 'different'), avg(m.difference), max(m.difference),
    (array_agg(jsonb_build_object('entity', m.entity, 'served_at', m.at, 'served', m.served, 'history', m.truth, 'verdict', m.verdict,
                                  'request_id', m.request) ORDER BY m.verdict, m.at DESC, m.entity)
     FILTER (WHERE m.verdict <> 'equal'))[1]
FROM lean.source_features(%5$L, NULL) WITH ORDINALITY AS f (name, group_name, group_version, feature, type, default_value, n, i)
    LEFT JOIN measured AS m ON m.i = f.i
GROUP BY f.i, f.name ORDER BY f.i$sql$, today, thence, tolerance, members, "view");
END
$$;
COMMENT ON FUNCTION lean.skew_sql(text, timestamptz, double precision) IS 'internal: the statement of lean.skew_report';

CREATE FUNCTION lean.skew_report("view" text, since timestamptz DEFAULT '-infinity', tolerance double precision DEFAULT 1e-6)
    RETURNS SETOF lean.feature_skew
    LANGUAGE plpgsql VOLATILE ROWS 50 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF since IS NULL THEN
        RAISE EXCEPTION 'since must not be null' USING ERRCODE = 'null_value_not_allowed', HINT = '-infinity is from the beginning.';
    ELSIF tolerance >= 0 AND tolerance < 'Infinity' THEN
        RETURN QUERY EXECUTE lean.skew_sql("view", since, tolerance);
    ELSE
        RAISE EXCEPTION 'tolerance must be finite and not negative, not %', tolerance USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;
COMMENT ON FUNCTION lean.skew_report(text, timestamptz, double precision) IS
    'compares what was served of a view since then with what history says of those moments, per feature';

CREATE FUNCTION lean.skew_report("view" text, since interval, tolerance double precision DEFAULT 1e-6)
    RETURNS SETOF lean.feature_skew
    LANGUAGE sql VOLATILE ROWS 50
    BEGIN ATOMIC
        SELECT * FROM lean.skew_report("view", statement_timestamp() - since, tolerance);
    END;
COMMENT ON FUNCTION lean.skew_report(text, interval, double precision) IS
    'compares what was served of a view in the last time with what history says of those moments, per feature';
