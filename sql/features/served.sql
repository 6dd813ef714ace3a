-- What was served, and whether history says the same of that moment.

-- The keys of a view, and these with their types, as they are taken out of JSON. Where groups have keys of one name and
-- different types, text becomes each of them.
CREATE FUNCTION lean.served_keys(v lean.feature_view, OUT names text[], OUT columns text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(x.k ORDER BY x.k), string_agg(format('%I %s', x.k, x.t), ', ' ORDER BY x.k)
    FROM (
        SELECT k.k::text AS k, CASE WHEN count(DISTINCT t.t) = 1 THEN min(t.t) ELSE 'text' END AS t
        FROM lean.feature_group AS g, unnest(g.entity_keys) AS k (k), lean.column_type(g.history, k.k) AS t (t)
        WHERE (g.name, g.version) IN (SELECT f.group_name, f.group_version FROM lean.feature_view_feature AS f
                                      WHERE (f.view_name, f.view_version) = (v.name, v.version))
        GROUP BY k.k
    ) AS x
$$;
COMMENT ON FUNCTION lean.served_keys(lean.feature_view) IS 'internal: the entity keys of a view, alone and as a list of columns';

CREATE FUNCTION lean.served_table(v lean.feature_view) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF lean.qualified_name(v.served) IS NULL THEN
        RAISE EXCEPTION 'the table of what was served of feature view %@% is gone', v.name, v.version
            USING ERRCODE = 'undefined_table', HINT = 'Drop the view and create it again; its log begins anew.';
    END IF;
    RETURN lean.qualified_name(v.served);
END
$$;
COMMENT ON FUNCTION lean.served_table(lean.feature_view) IS 'internal: the table of what was served of a view';

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
    keys_of record := lean.served_keys(v);
    known text[] := ARRAY(SELECT f.name::text FROM lean.feature_view_feature AS f
                          WHERE (f.view_name, f.view_version) = (v.name, v.version) ORDER BY f.position);
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
        WHERE jsonb_typeof(e.value) <> 'object' OR NOT e.value ?& keys_of.names LIMIT 1;
    IF FOUND THEN
        PERFORM lean.missing_key(wrong.value, wrong.n, keys_of.names);
    END IF;
    SELECT e.value INTO wrong FROM jsonb_array_elements(given) AS e WHERE jsonb_typeof(e.value) <> 'object' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'features is no object: %', wrong.value
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give {"feature": value, ...}, as lean.get_online_features does.';
    END IF;
    SELECT k INTO wrong FROM jsonb_array_elements(given) AS e, jsonb_object_keys(e.value) AS k
        WHERE k <> ALL (known) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'feature view %@% has no feature "%"', v.name, v.version, wrong.k
            USING ERRCODE = 'undefined_object', HINT = format('It has %s.', array_to_string(known, ', '));
    END IF;
    -- Keys are read as their types here: if they are of others, that would come to light when nobody can mend it.
    EXECUTE format(
$sql$INSERT INTO %s (served_at, entity, features, status, request_id)
    SELECT $1, e.value, $3 -> (e.n - 1)::int, nullif($4 -> (e.n - 1)::int, 'null'), $5
    FROM jsonb_array_elements($2) WITH ORDINALITY AS e (value, n) CROSS JOIN LATERAL jsonb_to_record(e.value) AS k (%s)$sql$,
        lean.served_table(v), keys_of.columns)
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
WHERE s.served_at >= %L::timestamptz$sql$, lean.served_table(v), (lean.served_keys(v)).columns, since);
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
), compared AS MATERIALIZED (
    SELECT m.i, w.difference, v.verdict, n."served at" AS at,
        -- Most rows are equal, and need not carry this along.
        CASE WHEN v.verdict <> 'equal' THEN jsonb_build_object('entity', n."served entity", 'served_at', n."served at", 'served', w.served,
            'history', m.truth, 'verdict', v.verdict, 'request_id', n."served request") END AS example
    FROM n JOIN t ON t."served row" = n."served row" CROSS JOIN LATERAL (VALUES
        %4$s
    ) AS m (i, name, truth, known, is_time) CROSS JOIN LATERAL (
        SELECT s.served, CASE WHEN jsonb_typeof(s.served) = 'number' AND jsonb_typeof(m.truth) = 'number'
                              THEN least(abs(s.served::numeric - m.truth::numeric), 1e308) END AS difference
        FROM (SELECT n."served features" -> m.name::text OFFSET 0) AS s (served) OFFSET 0
    ) AS w CROSS JOIN LATERAL (
        SELECT CASE
            WHEN w.served = m.truth OR w.difference <= %3$L::numeric
                OR lean.served_agrees(w.served, m.truth, %3$L, m.is_time) THEN 'equal'
            WHEN lean.served_agrees(w.served, m.known, %3$L, m.is_time) THEN 'late'
            ELSE 'different' END AS verdict OFFSET 0
    ) AS v
    WHERE w.served IS NOT NULL
)
SELECT f.name, coalesce(c.served, 0), coalesce(c.equal, 0), coalesce(c.late, 0), coalesce(c.different, 0), c.mean, c.max, x.example
FROM lean.source_features(%5$L, NULL) WITH ORDINALITY AS f (name, group_name, group_version, feature, type, default_value, n, i)
    LEFT JOIN (
        SELECT c.i, count(*) AS served, count(*) FILTER (WHERE c.verdict = 'equal') AS equal,
            count(*) FILTER (WHERE c.verdict = 'late') AS late, count(*) FILTER (WHERE c.verdict = 'different') AS different,
            avg(c.difference)::float8 AS mean, max(c.difference)::float8 AS max
        FROM compared AS c GROUP BY c.i
    ) AS c ON c.i = f.i
    LEFT JOIN (
        SELECT DISTINCT ON (c.i) c.i, c.example FROM compared AS c WHERE c.verdict <> 'equal' ORDER BY c.i, c.verdict, c.at DESC, c.example
    ) AS x ON x.i = f.i
ORDER BY f.i$sql$, today, thence, tolerance, members, "view");
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
