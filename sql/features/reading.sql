-- Reading features: the newest rows online, and history as it was known at points in time.
--
-- Both are statements that functions write for a view and run; the functions whose names end in _sql return them. A value
-- online and the value of history at the same moment are the same by the same rules: outside of its time to live, or
-- without a row, a feature is null, and null is its default where it has one.

-- What to read

CREATE FUNCTION lean.source_features(source text, features text[])
    RETURNS TABLE (name name, group_name text, group_version integer, feature name, type text, default_value text, n integer)
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    all_features lean.feature_view_feature[];
    wanted text[] := features;
    unknown text;
    parts text[] := lean.reference_parts(source);
BEGIN
    IF source IS NULL THEN
        IF coalesce(cardinality(features), 0) = 0 THEN
            RAISE EXCEPTION 'neither a feature view or group nor features to read'
                USING ERRCODE = 'null_value_not_allowed', HINT = 'Name a view or a group, or features such as driver_stats:conv_rate.';
        END IF;
        SELECT array_agg((NULL, NULL, f.position, f.name, f.group_name, f.group_version, f.feature)::lean.feature_view_feature)
            INTO all_features FROM lean.find_features(features) AS f;
        wanted := NULL;
    ELSIF EXISTS (SELECT FROM lean.feature_group AS g WHERE g.name = parts[1]) THEN
        SELECT array_agg((NULL, NULL, f.position, f.name, g.name, g.version, f.name)::lean.feature_view_feature)
            INTO all_features
            FROM lean.find_feature_group(source) AS g JOIN lean.feature AS f ON (f.group_name, f.group_version) = (g.name, g.version);
    ELSIF EXISTS (SELECT FROM lean.feature_view AS v WHERE v.name = parts[1]) THEN
        SELECT array_agg(f) INTO all_features
            FROM lean.find_feature_view(source) AS v
            JOIN lean.feature_view_feature AS f ON (f.view_name, f.view_version) = (v.name, v.version);
    ELSE
        RAISE EXCEPTION 'there is no feature view or feature group "%"', source
            USING ERRCODE = 'undefined_object', HINT = 'lean.feature_views and lean.feature_groups list them.';
    END IF;
    IF wanted = '{}' THEN
        RAISE EXCEPTION 'no features of % to read', source
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Without a list of features it is all of them.';
    END IF;
    SELECT w INTO unknown FROM unnest(wanted) AS w WHERE w IS NULL OR w <> ALL (SELECT f.name FROM unnest(all_features) AS f) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% has no feature "%"', source, unknown
            USING ERRCODE = 'undefined_object',
                  HINT = (SELECT 'It has ' || string_agg(f.name, ', ' ORDER BY f.position) || '.' FROM unnest(all_features) AS f);
    END IF;
    PERFORM lean.check_feature_tables(g, (SELECT array_agg(m.feature) FROM unnest(all_features) AS m
            WHERE (m.group_name, m.group_version) = (g.name, g.version) AND (wanted IS NULL OR m.name = ANY (wanted))))
        FROM lean.feature_group AS g
        WHERE (g.name, g.version) IN (SELECT m.group_name, m.group_version FROM unnest(all_features) AS m
                                      WHERE wanted IS NULL OR m.name = ANY (wanted));
    RETURN QUERY
        SELECT m.name, f.group_name, f.group_version, f.name, f.type, f.default_value,
            (dense_rank() OVER (ORDER BY first.position))::int
        FROM unnest(all_features) AS m
        JOIN lean.feature AS f ON (f.group_name, f.group_version, f.name) = (m.group_name, m.group_version, m.feature)
        JOIN (SELECT x.group_name, x.group_version, min(x.position) AS position FROM unnest(all_features) AS x
              WHERE wanted IS NULL OR x.name = ANY (wanted) GROUP BY 1, 2) AS first
            ON (first.group_name, first.group_version) = (f.group_name, f.group_version)
        WHERE wanted IS NULL OR m.name = ANY (wanted)
        ORDER BY coalesce(array_position(wanted, m.name::text), m.position);
END
$$;
COMMENT ON FUNCTION lean.source_features(text, text[]) IS
    'internal: the features that a view, a group or a list of references stands for, with the number of their group among them';

-- Seconds, so that a day is 24 hours in every time zone.
CREATE FUNCTION lean.exact_interval(span interval) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN format('interval %L', make_interval(secs => extract(epoch FROM span)::double precision));
COMMENT ON FUNCTION lean.exact_interval(interval) IS 'internal: a span of time as a literal in hours, minutes and seconds';

-- The groups that features belong to, as they are joined: keys with their types, tables, times.
CREATE FUNCTION lean.source_groups(source text, features text[])
    RETURNS TABLE (n integer, alias text, label text, entity_keys name[], key_types text[], event_time name, created_time name,
                   ttl interval, history regclass, online regclass)
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT ON (f.n) f.n, 'g' || f.n, format('%s@%s', g.name, g.version), g.entity_keys,
        -- Without a length or precision, to which a key that is asked for would be cut or rounded.
        (SELECT array_agg(format_type(lean.column_type(g.history, k)::regtype, -1) ORDER BY k.n) FROM unnest(g.entity_keys) WITH ORDINALITY AS k (k, n)),
        g.event_time, g.created_time, g.ttl, g.history, g.online
    FROM lean.source_features(source, features) AS f
    JOIN lean.feature_group AS g ON (g.name, g.version) = (f.group_name, f.group_version)
    ORDER BY f.n
$$;
COMMENT ON FUNCTION lean.source_groups(text, text[]) IS 'internal: the groups of the features that are read, in the order in which they are joined';

-- Online

CREATE FUNCTION lean.missing_key(entity jsonb, n bigint, keys text[]) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'entity % is no object with the key "%": %', n,
        coalesce((SELECT k FROM unnest(keys) AS k WHERE jsonb_typeof(entity) <> 'object' OR NOT entity ? k LIMIT 1), keys[1]), entity
        USING ERRCODE = 'invalid_parameter_value',
              HINT = format('Give {%s} for each entity.', (SELECT string_agg(format('"%s": ...', k), ', ') FROM unnest(keys) AS k));
END
$$;
COMMENT ON FUNCTION lean.missing_key(jsonb, bigint, text[]) IS 'internal: says which entity lacks which key';

-- Entities given as jsonb, an object or an array of them, as rows of their keys; k.n numbers them.
CREATE FUNCTION lean.entities_sql(keys text[], key_types text[], alias text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN format(
$sql$pg_catalog.jsonb_array_elements(CASE pg_catalog.jsonb_typeof($1) WHEN 'array' THEN $1 ELSE pg_catalog.jsonb_build_array($1) END) WITH ORDINALITY AS k (entity, n)
    CROSS JOIN LATERAL pg_catalog.jsonb_to_record(
        CASE WHEN pg_catalog.jsonb_typeof(k.entity) = 'object' AND k.entity ?& %1$L THEN k.entity ELSE lean.missing_key(k.entity, k.n, %1$L) END
    ) AS %2$I (%3$s)$sql$, keys, alias,
        (SELECT string_agg(format('%I %s', k, t), ', ' ORDER BY n) FROM unnest(keys, key_types) WITH ORDINALITY AS x (k, t, n)));
COMMENT ON FUNCTION lean.entities_sql(text[], text[], text) IS
    'internal: the part of FROM that makes rows, by the name of alias, of entities; $1 stands for them as jsonb';

-- Vectors are arrays in JSON; PostgreSQL would make text of them.
CREATE FUNCTION lean.json_value(expression text, type text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN CASE WHEN EXISTS (
        SELECT FROM pg_type AS t JOIN pg_extension AS e ON e.extnamespace = t.typnamespace
        WHERE t.oid = to_regtype(type) AND t.typname IN ('vector', 'halfvec') AND e.extname = 'leanstack'
    ) THEN format('(%s)::text::jsonb', expression) ELSE expression END;
COMMENT ON FUNCTION lean.json_value(text, text) IS 'internal: an expression as it is put into JSON';

CREATE FUNCTION lean.json_object(names text[], expressions text[]) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (
        -- A function takes a hundred arguments.
        SELECT string_agg(format('pg_catalog.jsonb_build_object(%s)', pairs), ' || ' ORDER BY part) FROM (
            SELECT (n - 1) / 50 AS part, string_agg(format('%L, %s', name, expression), ', ' ORDER BY n) AS pairs
            FROM unnest(names, expressions) WITH ORDINALITY AS x (name, expression, n) GROUP BY 1
        ) AS parts
    );
COMMENT ON FUNCTION lean.json_object(text[], text[]) IS 'internal: an expression for a JSON object of any number of members';

CREATE FUNCTION lean.online_features_sql(source text, features text[] DEFAULT NULL, row_type oid DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys text[];
    key_types text[];
    clash record;
    joins text := '';
    g record;
    fresh jsonb := '{}';
    members record;
    chosen text;
    a record;
BEGIN
    SELECT s.label INTO g FROM lean.source_groups(source, features) AS s WHERE s.online IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'feature group % is not online', g.label
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Read it with lean.get_historical_features.';
    END IF;
    SELECT array_agg(k.key ORDER BY k.n, k.i), array_agg(k.type ORDER BY k.n, k.i) INTO keys, key_types FROM (
        -- Of the types of a key in several groups the one that holds the values of all.
        SELECT DISTINCT ON (x.key) x.key, x.type, s.n, x.i
        FROM lean.source_groups(source, features) AS s, unnest(s.entity_keys, s.key_types) WITH ORDINALITY AS x (key, type, i)
        ORDER BY x.key, EXISTS (
            SELECT FROM lean.source_groups(source, features) AS other, unnest(other.entity_keys, other.key_types) AS y (key, type)
            JOIN pg_cast AS c ON c.castsource = x.type::regtype AND c.casttarget = y.type::regtype AND c.castcontext = 'i'
            WHERE y.key = x.key AND NOT EXISTS (SELECT FROM pg_cast AS b
                WHERE b.castsource = y.type::regtype AND b.casttarget = x.type::regtype AND b.castcontext = 'i')
        ), s.n
    ) AS k;
    FOR g IN SELECT * FROM lean.source_groups(source, features) LOOP
        SELECT k.key, k.type, key_types[array_position(keys, k.key::text)] AS other INTO clash
            FROM unnest(g.entity_keys, g.key_types) AS k (key, type)
            WHERE lean.equality_operator(k.type::regtype, key_types[array_position(keys, k.key::text)]::regtype) IS NULL LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'entity key "%" is of type % in %, and of type % in another group', clash.key, clash.type, g.label, clash.other
                USING ERRCODE = 'datatype_mismatch';
        END IF;
        -- OFFSET keeps it a look-up for each entity, whatever the planner thinks of the number of entities.
        joins := joins || format(E'\n    LEFT JOIN LATERAL (SELECT * FROM %s AS o WHERE %s OFFSET 0) AS %I ON true', lean.qualified_name(g.online),
            (SELECT string_agg(format('o.%I %s r.%I', k.key, lean.equality_operator(k.type::regtype,
                        key_types[array_position(keys, k.key::text)]::regtype), k.key), ' AND ')
             FROM unnest(g.entity_keys, g.key_types) AS k (key, type)), g.alias);
        fresh := fresh || jsonb_build_object(g.n::text, CASE WHEN g.ttl IS NULL THEN NULL
            ELSE format('%I.%I >= pg_catalog.statement_timestamp() - %s', g.alias, g.event_time, lean.exact_interval(g.ttl)) END);
    END LOOP;

    -- Every member's value and status as expressions.
    SELECT array_agg(f.name::text ORDER BY f.i) AS names, array_agg(f.type ORDER BY f.i) AS types,
        array_agg(CASE WHEN f.default_value IS NULL THEN f.value
                       ELSE format('coalesce(%s, %L::%s)', f.value, f.default_value, f.type) END ORDER BY f.i) AS "values",
        array_agg(format('CASE WHEN %s.%I IS NULL THEN ''not_found''%s WHEN %s.%I IS NULL THEN ''null'' ELSE ''present'' END',
            f.alias, f.event_time, ' WHEN NOT (' || f.fresh || ') THEN ''outside_ttl''', f.alias, f.feature) ORDER BY f.i) AS statuses
        INTO members
        FROM (
            SELECT x.*, s.alias, s.event_time, fresh ->> s.n::text AS fresh,
                CASE WHEN s.ttl IS NULL THEN format('%s.%I', s.alias, x.feature)
                     ELSE format('CASE WHEN %s THEN %s.%I END', fresh ->> s.n::text, s.alias, x.feature) END AS value
            FROM lean.source_features(source, features) WITH ORDINALITY
                AS x (name, group_name, group_version, feature, type, default_value, n, i)
            JOIN lean.source_groups(source, features) AS s ON s.n = x.n
        ) AS f;

    IF row_type IS NULL THEN
        chosen := concat_ws(E',\n    ',
            lean.json_object(keys, (SELECT array_agg(format('r.%I', k) ORDER BY n) FROM unnest(keys) WITH ORDINALITY AS k (k, n))),
            lean.json_object(members.names, (SELECT array_agg(lean.json_value(m.value, m.type) ORDER BY m.n)
                FROM unnest(members."values", members.types) WITH ORDINALITY AS m (value, type, n))),
            lean.json_object(members.names, members.statuses),
            (SELECT lean.json_object(array_agg(s.label), array_agg(format('%s.%I', s.alias, s.event_time)))
             FROM lean.source_groups(source, features) AS s));
    ELSE
        IF NOT EXISTS (SELECT FROM pg_type AS t WHERE t.oid = row_type AND t.typrelid <> 0) THEN
            RAISE EXCEPTION 'type % has no columns', format_type(row_type, NULL)
                USING ERRCODE = 'datatype_mismatch', HINT = 'Give a row of the type that is wanted, as in NULL::driver_row.';
        END IF;
        FOR a IN
            SELECT x.attname AS name, x.attisdropped AS dropped, format_type(x.atttypid, x.atttypmod) AS type,
                CASE WHEN x.attname = ANY (keys) THEN format('r.%I', x.attname)
                     ELSE coalesce(members."values"[array_position(members.names, x.attname::text)],
                         members.statuses[array_position(members.names, substring(x.attname FROM '^(.*)__status$'))],
                         (SELECT format('%s.%I', s.alias, x.attname) FROM lean.source_groups(source, features) AS s
                          WHERE x.attname IN (s.event_time, s.created_time) ORDER BY s.n LIMIT 1)) END AS value
            FROM pg_type AS t JOIN pg_attribute AS x ON x.attrelid = t.typrelid
            WHERE t.oid = row_type AND x.attnum > 0 ORDER BY x.attnum
        LOOP
            IF a.value IS NULL AND NOT a.dropped THEN
                RAISE EXCEPTION 'column "%" of type % is neither a key nor a feature of %', a.name, format_type(row_type, NULL), source
                    USING ERRCODE = 'undefined_column',
                          HINT = 'A column is named after a key, a feature, feature__status, or the column of a time.';
            END IF;
            chosen := concat_ws(E',\n    ', chosen, CASE WHEN a.dropped THEN 'NULL::integer' ELSE format('(%s)::%s', a.value, a.type) END);
        END LOOP;
    END IF;
    RETURN format(
$sql$SELECT
    %s
FROM %s%s
ORDER BY k.n$sql$, chosen, lean.entities_sql(keys, key_types, 'r'), joins);
END
$$;
COMMENT ON FUNCTION lean.online_features_sql(text, text[], oid) IS
    'the statement that reads online features; $1 stands for the keys as jsonb';

CREATE FUNCTION lean.get_online_features(source text, keys jsonb, features text[] DEFAULT NULL)
    RETURNS TABLE (entity jsonb, feature_values jsonb, status jsonb, event_times jsonb)
    AS 'MODULE_PATHNAME', 'get_online_features' LANGUAGE c STABLE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION lean.get_online_features(text, jsonb, text[]) IS
    'newest features of a view or group for one entity, or for each of an array: values, and for each its status '
    '(present, null, not_found, outside_ttl), and the event time of each group';

CREATE FUNCTION lean.get_online_rows(row_type anyelement, source text, keys jsonb, features text[] DEFAULT NULL) RETURNS SETOF anyelement
    AS 'MODULE_PATHNAME', 'get_online_rows' LANGUAGE c STABLE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION lean.get_online_rows(anyelement, text, jsonb, text[]) IS
    'newest features as rows of a type, whose columns are named after keys, features, feature__status and the columns of times';
