-- Features as they were at points in time: one row for each row of entities, with the newest values that held then.
--
-- There are two ways to the same rows. Looking up, by the index on keys and event time, costs as much as there are
-- entities. Merging keeps the entities in memory while the history goes by once, in whatever order it lies
-- (`src/functions/features/asof`), and then fetches the rows it found; it wins when there are many entities for the rows of
-- history, or no index. `auto` takes the one that should be faster.

CREATE FUNCTION lean.asof_places_accum(
    state internal, history text, strict boolean, number bigint, VARIADIC time_and_keys "any"
) RETURNS internal
    AS 'MODULE_PATHNAME', 'asof_places_accum' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION lean.asof_places_accum(internal, text, boolean, bigint, "any") IS 'internal: transition function of lean.asof_places';
CREATE FUNCTION lean.asof_places_final(state internal) RETURNS tid[]
    AS 'MODULE_PATHNAME', 'asof_places_final' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION lean.asof_places_final(internal) IS 'internal: final function of lean.asof_places';
CREATE AGGREGATE lean.asof_places(history text, strict boolean, number bigint, VARIADIC time_and_keys "any") (
    SFUNC = lean.asof_places_accum, STYPE = internal, FINALFUNC = lean.asof_places_final, FINALFUNC_MODIFY = READ_WRITE,
    PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE lean.asof_places(text, boolean, bigint, "any") IS
    'internal: for each entity, numbered from 1, where the row of a history is that was the newest of its keys at its time';
COMMENT ON FUNCTION lean.keys_alike(oid, oid) IS 'internal: whether keys of two types can be merged';

-- A condition on the keys of a row of history, h, and an entity, e. Where types differ and no index compares them, the
-- entity's key becomes the history's type.
CREATE FUNCTION lean.keys_match(entity_keys name[], key_types text[], entity_types jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN (
        SELECT string_agg(CASE
            WHEN lean.equality_operator(t::regtype, (entity_types ->> k)::regtype) IS NOT NULL
                THEN format('h.%1$I %2$s e.%1$I', k, lean.equality_operator(t::regtype, (entity_types ->> k)::regtype))
            ELSE format('h.%1$I %2$s (e.%1$I)::%3$s', k, lean.equality_operator(t::regtype, t::regtype), format_type(t::regtype, -1)) END, ' AND ' ORDER BY n)
        FROM unnest(entity_keys::text[], key_types) WITH ORDINALITY AS x (k, t, n)
    );
COMMENT ON FUNCTION lean.keys_match(name[], text[], jsonb) IS 'internal: the condition that a row of history is one of an entity';

-- What merging needs: the query that reads the history, and the time and the keys of an entity, e. Null if there is no
-- merging: types differ in a way that only an operator of the two bridges.
CREATE FUNCTION lean.merge_parts(
    history regclass, entity_keys name[], key_types text[], event_time name, created_time name, known text,
    entity_time text, entity_types jsonb
) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH times AS (
        SELECT event, entity, CASE WHEN event = entity THEN event WHEN event ~ 'with time' OR entity ~ 'with time' THEN 'timestamptz' ELSE 'timestamp' END AS common
        FROM (
            SELECT CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END::regtype::text AS event,
                regexp_replace(entity_types ->> entity_time, '[(].*[)]', '') AS entity
            FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
            WHERE a.attrelid = history AND a.attname = event_time
        ) AS t
    ), keys AS (
        SELECT string_agg(format(CASE WHEN common IS NULL OR common = t THEN 'h.%I' ELSE '(h.%I)::%s' END, k, common), ', ' ORDER BY n) AS of_history,
            string_agg(format(CASE WHEN common IS NULL OR common = q THEN 'e.%I' ELSE '(e.%I)::%s' END, k, common), ', ' ORDER BY n) AS of_entity,
            bool_and(lean.keys_alike(coalesce(common, t)::regtype, coalesce(common, q)::regtype)) AS alike
        FROM (
            -- What the index compares is merged as it is if the types are alike, and else as the wider of the two.
            SELECT k, n, t, q, CASE
                WHEN t = q THEN t
                WHEN lean.equality_operator(t::regtype, q::regtype) IS NULL THEN format_type(t::regtype, -1)
                WHEN lean.keys_alike(t::regtype, q::regtype) THEN NULL
                WHEN EXISTS (
                    SELECT FROM pg_cast WHERE (castsource, casttarget, castcontext) = (t::regtype, q::regtype, 'i')
                ) THEN q
                ELSE t END AS common
            FROM (
                SELECT k, n, t, entity_types ->> k AS q FROM unnest(entity_keys::text[], key_types) WITH ORDINALITY AS x (k, t, n)
            ) AS x
        ) AS x
    )
    SELECT ARRAY[
        format('SELECT %s, %s, h.%I, %s, h.ctid FROM %s AS h WHERE true%s', keys.of_history,
            format(CASE WHEN times.event = times.common THEN 'h.%I' ELSE '(h.%I)::pg_catalog.%s' END, event_time, times.common),
            event_time, coalesce('h.' || quote_ident(created_time), 'NULL::pg_catalog.timestamptz'), history, known),
        format(CASE WHEN times.entity = times.common THEN 'e.%I' ELSE '(e.%I)::pg_catalog.%s' END, entity_time, times.common) || ', ' || keys.of_entity
    ]
    FROM times, keys
    WHERE keys.alike AND times.event IN ('date', 'timestamp without time zone', 'timestamp with time zone');
END;
COMMENT ON FUNCTION lean.merge_parts(regclass, name[], text[], name, name, text, text, jsonb) IS
    'internal: the history as merging reads it, and what it is given of an entity';

CREATE FUNCTION lean.plan(statement text, seq_page_cost text, random_page_cost text, search_path text) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET seq_page_cost = 0 SET random_page_cost = 0 AS $$
DECLARE
    plan jsonb;
BEGIN
    PERFORM set_config('seq_page_cost', seq_page_cost, true), set_config('random_page_cost', random_page_cost, true);
    PERFORM set_config('search_path', search_path, true);
    EXECUTE 'EXPLAIN (FORMAT json) ' || statement INTO plan;
    RETURN plan -> 0 -> 'Plan';
END
$$;
COMMENT ON FUNCTION lean.plan(text, text, text, text) IS 'internal: the plan of a statement, if pages have these costs';

-- The planner knows neither that the aggregate reads a history, nor that rows are fetched in their order. And it takes each
-- look-up for the only one, which finds nothing in the cache: histories that effective_cache_size has room for are counted
-- as cached instead, with their indexes.
CREATE FUNCTION lean.merging_is_cheaper(looked_up text, merged text, from_clause text, histories regclass[], reads text[], search_path text)
    RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    cached constant boolean := (SELECT sum(pg_total_relation_size(h)) FROM unnest(histories) AS h) <= pg_size_bytes(current_setting('effective_cache_size'));
    seq_page_cost constant text := CASE WHEN cached THEN '0.1' ELSE current_setting('seq_page_cost') END;
    random_page_cost constant text := CASE WHEN cached THEN '0.5' ELSE current_setting('random_page_cost') END;
    operator_cost constant double precision := current_setting('cpu_operator_cost')::double precision;
    entity_bytes constant integer := 100;
    room constant double precision := greatest(pg_size_bytes(current_setting('maintenance_work_mem')),
        pg_size_bytes(current_setting('work_mem')) * current_setting('hash_mem_multiplier')::double precision);
    plan jsonb;
    entities double precision;
    cost_looked_up double precision;
    cost double precision;
BEGIN
    plan := lean.plan('SELECT * FROM ' || from_clause || ' AS e', seq_page_cost, random_page_cost, search_path);
    entities := (plan -> 'Plan Rows')::double precision;
    plan := lean.plan(looked_up, seq_page_cost, random_page_cost, search_path);
    cost_looked_up := (plan -> 'Total Cost')::double precision;
    plan := lean.plan(merged, seq_page_cost, random_page_cost, search_path);
    cost := (plan -> 'Total Cost')::double precision;
    FOR i IN 1 .. cardinality(histories) LOOP
        plan := lean.plan(reads[i], seq_page_cost, random_page_cost, search_path);
        cost := cost
            -- Each row of the history is one look-up, for as many entities at a time as there is memory.
            + ceil(greatest(entities, 1) * entity_bytes / room)
                * ((plan -> 'Total Cost')::double precision + operator_cost * (plan -> 'Plan Rows')::double precision)
            -- No block is fetched twice.
            - random_page_cost::double precision
                * greatest(0, entities - pg_relation_size(histories[i]) / current_setting('block_size')::integer);
    END LOOP;
    RETURN cost < cost_looked_up;
END
$$;
COMMENT ON FUNCTION lean.merging_is_cheaper(text, text, text, regclass[], text[], text) IS
    'internal: compares what the two ways of joining histories as of points in time should cost';

CREATE FUNCTION lean.check_aggregate(aggregate text, feature text, type text, search_path text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('search_path', search_path, true);
    PERFORM lean.query_columns(pg_catalog.format('SELECT %s(NULL::%s)', aggregate, type));
EXCEPTION WHEN undefined_function OR ambiguous_function THEN
    RAISE EXCEPTION 'there is no % of feature "%", which is of type %', aggregate, feature, type
        USING ERRCODE = 'undefined_function', HINT = 'features => ''{...}'' leaves features out.';
END
$$;
COMMENT ON FUNCTION lean.check_aggregate(text, text, text, text) IS 'internal: refuses an aggregate that a type has not';

CREATE FUNCTION lean.historical_features_sql(
    source text, entities text, entity_time text DEFAULT 'event_timestamp', strict boolean DEFAULT false,
    as_known_at timestamptz DEFAULT NULL, as_known_then boolean DEFAULT false,
    lookbacks text[] DEFAULT NULL, aggregates text[] DEFAULT '{latest}', features text[] DEFAULT NULL,
    full_feature_names boolean DEFAULT false, method text DEFAULT 'auto', search_path text DEFAULT current_setting('search_path')
) RETURNS text
    -- The server lets only volatile functions ask for a plan.
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    from_clause text := lean.from_clause(entities, search_path);
    entity_types jsonb;
    number text := '#';
    spans interval[];
    labels text[];
    g record;
    f record;
    a record;
    known text;
    at_most text := CASE WHEN strict THEN '<' ELSE '<=' END;
    at_time text := format('e.%I', entity_time);
    times text;
    outputs text[] := '{}';
    names text[] := '{}';
    expressions text[];
    lookups text := '';
    merges text := '';
    merge text[];
    places text := '';
    first_places text;
    can_merge boolean := method <> 'lateral';
    looked_up text;
    merged text;
    wrong text;
    histories regclass[] := '{}';
    reads text[] := '{}';
BEGIN
    IF method IS NULL OR method NOT IN ('auto', 'lateral', 'merge') THEN
        RAISE EXCEPTION 'unknown method "%"', method USING ERRCODE = 'invalid_parameter_value', HINT = 'Methods are auto, lateral and merge.';
    END IF;
    SELECT x INTO wrong FROM unnest(aggregates) AS x WHERE x IS NULL OR x NOT IN ('latest', 'avg', 'sum', 'count', 'min', 'max') LIMIT 1;
    IF FOUND OR coalesce(cardinality(aggregates), 0) = 0 THEN
        RAISE EXCEPTION 'unknown aggregate "%"', wrong
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Aggregates are latest, avg, sum, count, min and max.';
    END IF;
    lookbacks := coalesce(lookbacks, '{0}');
    BEGIN
        spans := ARRAY(SELECT l::interval FROM unnest(lookbacks) AS l);
    EXCEPTION WHEN data_exception THEN
        RAISE EXCEPTION 'not a span of time among lookbacks: %', lookbacks
            USING ERRCODE = SQLSTATE, DETAIL = SQLERRM, HINT = 'Write ''{0, 1 hour, 1 day}''.';
    END;
    SELECT l INTO wrong FROM unnest(lookbacks, spans) AS x (l, s) WHERE s < interval '0' OR s IS NULL LIMIT 1;
    IF FOUND OR cardinality(lookbacks) = 0 THEN
        RAISE EXCEPTION 'lookback % is no span back in time', wrong
            USING ERRCODE = 'invalid_parameter_value', HINT = 'A lookback is 0, which is without limit, or longer.';
    END IF;
    labels := ARRAY(SELECT CASE WHEN s = interval '0' THEN '' ELSE btrim(regexp_replace(lower(l), '[^[:alnum:]]+', '_', 'g'), '_') END
                    FROM unnest(lookbacks, spans) WITH ORDINALITY AS x (l, s, n) ORDER BY n);

    -- What the entities are.
    PERFORM set_config('search_path', search_path, true);
    -- Types by number: names would be those of the caller's search path.
    SELECT pg_catalog.jsonb_object_agg(q.name, q.type_id), pg_catalog.array_agg(pg_catalog.format('e.%I', q.name) ORDER BY q.position),
            pg_catalog.array_agg(q.name ORDER BY q.position)
        INTO entity_types, outputs, names FROM lean.query_columns('SELECT * FROM ' || from_clause || ' AS e') AS q;
    PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
    entity_types := (SELECT jsonb_object_agg(x.key, format_type(x.value::oid, -1)) FROM jsonb_each_text(entity_types) AS x);
    -- The column that numbers entities has a name that none of theirs has.
    WHILE EXISTS (SELECT FROM jsonb_object_keys(entity_types) AS k WHERE starts_with(k, number)) LOOP
        number := number || '#';
    END LOOP;
    IF NOT entity_types ? entity_time THEN
        RAISE EXCEPTION 'entities have no column "%"', entity_time
            USING ERRCODE = 'undefined_column', HINT = 'It says for what time features are wanted; entity_time => ''...'' names another column.';
    ELSIF entity_types ->> entity_time !~ '^(timestamp|date$)' THEN
        RAISE EXCEPTION 'column "%" of entities is of type %, not of a time', entity_time, entity_types ->> entity_time
            USING ERRCODE = 'datatype_mismatch';
    END IF;
    SELECT s.label, k INTO f FROM lean.source_groups(source, features) AS s, unnest(s.entity_keys) AS k WHERE NOT entity_types ? k::text LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entities have no column "%", which is an entity key of %', f.k, f.label USING ERRCODE = 'undefined_column';
    END IF;
    -- A cast that rounds would find another entity. What is read from text is itself or an error.
    SELECT s.label, k.key, k.type, t.oid::regtype AS given INTO f
        FROM lean.source_groups(source, features) AS s, unnest(s.entity_keys::text[], s.key_types) AS k (key, type)
        JOIN pg_type AS t ON t.oid = (entity_types ->> k.key)::regtype
        WHERE lean.equality_operator(k.type::regtype, t.oid) IS NULL AND t.typcategory NOT IN ('S', 'X')
            AND NOT EXISTS (SELECT FROM pg_cast AS c WHERE c.castsource = t.oid AND c.casttarget = k.type::regtype AND c.castcontext = 'i')
        LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entity key "%" of entities is of type %, and of type % in %', f.key, f.given, f.type, f.label
            USING ERRCODE = 'datatype_mismatch', HINT = format('Cast it: %I::%s.', f.key, f.type);
    END IF;

    FOR g IN SELECT * FROM lean.source_groups(source, features) LOOP
        known := '';
        IF as_known_at IS NOT NULL OR as_known_then THEN
            IF g.created_time IS NULL THEN
                RAISE EXCEPTION 'feature group % has no creation time: what was known when cannot be said', g.label
                    USING ERRCODE = 'object_not_in_prerequisite_state';
            END IF;
            known := concat(CASE WHEN as_known_at IS NOT NULL THEN format(' AND h.%I <= %L::timestamptz', g.created_time, as_known_at) END,
                CASE WHEN as_known_then THEN format(' AND h.%I <= %s', g.created_time, at_time) END);
        END IF;
        can_merge := can_merge AND NOT as_known_then AND 'latest' = ANY (aggregates)
            AND EXISTS (SELECT FROM pg_class AS c WHERE c.oid = g.history AND c.relkind IN ('r', 'm') AND NOT c.relhassubclass);
        times := format('h.%I DESC', g.event_time) || coalesce(', h.' || quote_ident(g.created_time) || ' DESC', '');
        IF 'latest' = ANY (aggregates) THEN
            lookups := lookups || format(
                E'\nLEFT JOIN LATERAL (\n    SELECT * FROM %s AS h\n    WHERE %s AND h.%I %s %s%s%s\n    ORDER BY %s LIMIT 1\n) AS %s ON true',
                g.history, lean.keys_match(g.entity_keys, g.key_types, entity_types), g.event_time, at_most, at_time,
                CASE WHEN g.ttl IS NOT NULL THEN format(' AND h.%I >= %s - %s', g.event_time, at_time, lean.exact_interval(g.ttl)) END,
                known, times, g.alias);
            merge := lean.merge_parts(g.history, g.entity_keys, g.key_types, g.event_time, g.created_time, known, entity_time, entity_types);
            can_merge := can_merge AND merge IS NOT NULL;
            places := places || format(', (SELECT lean.asof_places(%1$L, %2$L, e.%3$I, %4$s) FROM e)[e.%3$I::int4] AS %5$I',
                merge[1], strict, number, merge[2], number || ' ' || g.alias);
            histories := histories || g.history;
            reads := reads || merge[1];
            first_places := coalesce(first_places, number || ' ' || g.alias);
            merges := merges || format(E'\nLEFT JOIN LATERAL (SELECT * FROM %s AS h WHERE h.ctid = e.%I%s OFFSET 0) AS %s ON true',
                g.history, number || ' ' || g.alias,
                CASE WHEN g.ttl IS NOT NULL THEN format(' AND h.%I >= %s - %s', g.event_time, at_time, lean.exact_interval(g.ttl)) END, g.alias);
        END IF;
        IF aggregates <> '{latest}' THEN
            -- A row that was corrected counts once, as it was corrected.
            expressions := '{}';
            FOR a IN
                SELECT x.feature, format('%s(d.%I) FILTER (WHERE %s)', y.aggregate, x.feature,
                        CASE WHEN z.span = interval '0' THEN 'true' ELSE format('d.%I >= %s - %s', g.event_time, at_time, lean.exact_interval(z.span)) END)
                        || format(' AS %I', x.feature || ' ' || y.aggregate || ' ' || z.label) AS expression
                FROM (SELECT DISTINCT s.feature FROM lean.source_features(source, features) AS s WHERE s.n = g.n) AS x,
                    unnest(aggregates) AS y (aggregate), unnest(spans, labels) AS z (span, label)
                WHERE y.aggregate <> 'latest'
            LOOP
                expressions := expressions || a.expression;
            END LOOP;
            looked_up := format(
$sql$
LEFT JOIN LATERAL (
    SELECT %1$s FROM (
        SELECT DISTINCT ON (h.%2$I) * FROM %3$s AS h
        WHERE %4$s AND h.%2$I %5$s %6$s%7$s%8$s
        ORDER BY %9$s
    ) AS d
) AS %10$s ON true$sql$,
                array_to_string(expressions, ', '), g.event_time, g.history, lean.keys_match(g.entity_keys, g.key_types, entity_types),
                at_most, at_time,
                CASE WHEN interval '0' <> ALL (spans) THEN format(' AND h.%I >= %s - %s', g.event_time, at_time,
                    lean.exact_interval((SELECT max(x) FROM unnest(spans) AS x))) END,
                known, times, 'a' || g.n);
            lookups := lookups || looked_up;
            merges := merges || looked_up;
        END IF;
    END LOOP;

    -- Columns in the order of the features, each with its aggregates and windows.
    FOR f IN
        SELECT CASE WHEN full_feature_names THEN s.group_name || '__' || s.feature ELSE s.name END AS name, s.feature, s.type,
            s.default_value, 'g' || s.n AS latest, 'a' || s.n AS windows, y.aggregate, z.span, z.label, q.event_time
        FROM lean.source_features(source, features) WITH ORDINALITY AS s (name, group_name, group_version, feature, type, default_value, n, i)
        JOIN lean.source_groups(source, features) AS q ON q.n = s.n,
            unnest(aggregates) WITH ORDINALITY AS y (aggregate, j), unnest(spans, labels) WITH ORDINALITY AS z (span, label, k)
        ORDER BY s.i, y.j, z.k
    LOOP
        IF f.aggregate = 'latest' THEN
            merged := format('%s.%I', f.latest, f.feature);
            IF f.span > interval '0' THEN
                merged := format('CASE WHEN %s.%I >= %s - %s THEN %s END', f.latest, f.event_time, at_time, lean.exact_interval(f.span), merged);
            END IF;
            IF f.default_value IS NOT NULL THEN
                merged := format('coalesce(%s, %L::%s)', merged, f.default_value, f.type);
            END IF;
            wrong := f.name || CASE WHEN f.label = '' THEN '' ELSE '__' || f.label END;
        ELSE
            PERFORM lean.check_aggregate(f.aggregate, f.feature, f.type, search_path);
            merged := format('%s.%I', f.windows, f.feature || ' ' || f.aggregate || ' ' || f.label);
            wrong := f.name || '__' || f.aggregate || CASE WHEN f.label = '' THEN '' ELSE '_' || f.label END;
        END IF;
        IF wrong = ANY (names) THEN
            RAISE EXCEPTION 'there are two columns "%"', wrong
                USING ERRCODE = 'duplicate_column',
                      HINT = CASE WHEN full_feature_names THEN 'Leave it out of the entities.'
                                  ELSE 'With full_feature_names => true the group stands in front of a feature''s name.' END;
        END IF;
        names := names || wrong;
        outputs := outputs || format('%s AS %I', merged, wrong);
    END LOOP;

    looked_up := format(E'SELECT %s\nFROM %s AS e%s', array_to_string(outputs, ', '), from_clause, lookups);
    -- In the order of their places, rows are fetched block by block.
    merged := format(E'WITH e AS MATERIALIZED (SELECT row_number() OVER () AS %I, e.* FROM %s AS e)\nSELECT %s\nFROM (SELECT e.*%s FROM e ORDER BY %I) AS e%s',
        number, from_clause, array_to_string(outputs, ', '), places, first_places, merges);
    IF method = 'merge' AND NOT can_merge THEN
        RAISE EXCEPTION 'these features cannot be read by merging'
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'A history that is partitioned, foreign or a view, keys of types without a hash function, as_known_then, and aggregates without latest need method => ''lateral''.';
    ELSIF NOT can_merge THEN
        RETURN looked_up;
    ELSIF method = 'merge' THEN
        RETURN merged;
    END IF;
    RETURN CASE WHEN lean.merging_is_cheaper(looked_up, merged, from_clause, histories, reads, search_path) THEN merged ELSE looked_up END;
END
$$;
COMMENT ON FUNCTION lean.historical_features_sql(text, text, text, boolean, timestamptz, boolean, text[], text[], text[], boolean, text, text) IS
    'the statement that joins features to entities as of the time of each';

CREATE FUNCTION lean.get_historical_features(
    source text, entities text, entity_time text DEFAULT 'event_timestamp', strict boolean DEFAULT false,
    as_known_at timestamptz DEFAULT NULL, as_known_then boolean DEFAULT false,
    lookbacks text[] DEFAULT NULL, aggregates text[] DEFAULT '{latest}', features text[] DEFAULT NULL,
    full_feature_names boolean DEFAULT false, method text DEFAULT 'auto', search_path text DEFAULT current_setting('search_path')
) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE ROWS 100000 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    statement text := lean.historical_features_sql(source, entities, entity_time, strict, as_known_at, as_known_then, lookbacks,
        aggregates, features, full_feature_names, method, search_path);
BEGIN
    PERFORM set_config('search_path', search_path, true);
    RETURN QUERY EXECUTE statement;
END
$$;
COMMENT ON FUNCTION lean.get_historical_features(text, text, text, boolean, timestamptz, boolean, text[], text[], text[], boolean, text, text) IS
    'point-in-time join: each row of entities, a relation or a query, with the features that held at its time; '
    'columns are those of the entities, then the features';

CREATE FUNCTION lean.create_training_set(
    "table" text, source text, entities text, entity_time text DEFAULT 'event_timestamp', strict boolean DEFAULT false,
    as_known_at timestamptz DEFAULT NULL, as_known_then boolean DEFAULT false,
    lookbacks text[] DEFAULT NULL, aggregates text[] DEFAULT '{latest}', features text[] DEFAULT NULL,
    full_feature_names boolean DEFAULT false, method text DEFAULT 'auto', search_path text DEFAULT current_setting('search_path')
) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    statement text := lean.historical_features_sql(source, entities, entity_time, strict, as_known_at, as_known_then, lookbacks,
        aggregates, features, full_feature_names, method, search_path);
    parts text[] := parse_ident("table");
    written bigint;
BEGIN
    PERFORM set_config('search_path', search_path, true);
    EXECUTE format('CREATE TABLE %s AS %s', (SELECT string_agg(quote_ident(p), '.') FROM unnest(parts) AS p), statement);
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;
COMMENT ON FUNCTION lean.create_training_set(text, text, text, text, boolean, timestamptz, boolean, text[], text[], text[], boolean, text, text) IS
    'makes a table of what lean.get_historical_features gives; gives the number of rows';

CREATE FUNCTION lean.get_offline_features("group" text, keys jsonb, "start" timestamptz, "end" timestamptz)
    RETURNS TABLE (entity jsonb, event_time timestamptz, created_time timestamptz, feature_values jsonb)
    LANGUAGE plpgsql STABLE ROWS 1000 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g record;
    names text[];
    expressions text[];
BEGIN
    PERFORM lean.find_feature_group("group");
    SELECT * INTO g FROM lean.source_groups("group", NULL);
    SELECT array_agg(f.name::text ORDER BY f.i), array_agg(lean.json_value(format('h.%I', f.feature), f.type) ORDER BY f.i) INTO names, expressions
        FROM lean.source_features("group", NULL) WITH ORDINALITY AS f (name, group_name, group_version, feature, type, default_value, n, i);
    RETURN QUERY EXECUTE format(
$sql$SELECT %1$s, h.%2$I::timestamptz, %3$s, %4$s
FROM %5$s LATERAL (
    SELECT DISTINCT ON (%6$s, h.%2$I) * FROM %7$s AS h
    WHERE %8$s AND h.%2$I BETWEEN $2 AND $3 ORDER BY %6$s, h.%2$I%9$s
) AS h ORDER BY %10$s %6$s, h.%2$I$sql$,
        lean.json_object(g.entity_keys::text[], ARRAY(SELECT format('h.%I', k) FROM unnest(g.entity_keys) AS k)),
        g.event_time, coalesce('h.' || quote_ident(g.created_time) || '::timestamptz', 'NULL::timestamptz'), lean.json_object(names, expressions),
        CASE WHEN keys IS NOT NULL THEN lean.entities_sql(g.entity_keys::text[], g.key_types, 'e') || ' CROSS JOIN' END,
        (SELECT string_agg(format('h.%I', k), ', ') FROM unnest(g.entity_keys) AS k), g.history,
        CASE WHEN keys IS NULL THEN 'true' ELSE lean.keys_match(g.entity_keys, g.key_types,
            (SELECT jsonb_object_agg(k, t) FROM unnest(g.entity_keys, g.key_types) AS x (k, t))) END,
        coalesce(', h.' || quote_ident(g.created_time) || ' DESC', ''), CASE WHEN keys IS NOT NULL THEN 'k.n,' END)
        USING keys, coalesce("start", '-infinity'), coalesce("end", 'infinity');
END
$$;
COMMENT ON FUNCTION lean.get_offline_features(text, jsonb, timestamptz, timestamptz) IS
    'rows of history of some entities, or with null of all, with event times from start to end, both included; of rows of one '
    'time the last one written';
