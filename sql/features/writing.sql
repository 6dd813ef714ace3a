-- Writing features: history and online row in one statement, so that no reader ever sees one without the other.
--
-- A row is new when history has no row of the same entity, event time and values (and creation time, if it is given).
-- Only new rows are written, so sending rows again changes nothing. Online is the newest by event time, then by creation
-- time; whoever comes later with something older changes history alone.

-- Rows whose event time is further ahead than clocks differ wait in history for lean.materialize.
CREATE FUNCTION lean.online_from() RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN statement_timestamp() + interval '1 minute';
COMMENT ON FUNCTION lean.online_from() IS 'internal: event times up to here are online; a minute from now, since clocks differ';

-- The newest row of each entity goes to the online table, unless that has a newer one.
CREATE FUNCTION lean.online_upsert_sql(g lean.feature_group, newest text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    names text[] := (SELECT array_agg(f.name ORDER BY f.position) FROM lean.feature AS f
                     WHERE (f.group_name, f.group_version) = (g.name, g.version));
    times text[] := array_remove(ARRAY[g.event_time::text, g.created_time::text], NULL);
    -- An adopted history may have rows without a key, which no entity is, and without a creation time, which count as the
    -- last ones written, as they do when history is read.
    complete text := CASE WHEN g.adopted THEN (SELECT string_agg(format(' AND x.%I IS NOT NULL', k), '') FROM unnest(g.entity_keys) AS k) END;
    newer text := CASE WHEN g.adopted THEN 'coalesce(%1$s.%2$I, ''infinity'')' ELSE '%1$s.%2$I' END;
    columns text := (SELECT string_agg(quote_ident(c), ', ') FROM unnest(g.entity_keys::text[] || times || names) AS c);
    keys text := (SELECT string_agg(quote_ident(k), ', ') FROM unnest(g.entity_keys) AS k);
BEGIN
    RETURN format(
$sql$INSERT INTO %s AS o (%s)
    SELECT DISTINCT ON (%s) %s FROM %s AS x WHERE x.%I <= lean.online_from()%s ORDER BY %s, %s
    ON CONFLICT (%s) DO UPDATE SET %s WHERE (%s) > (%s)$sql$,
        g.online, columns, keys, columns, newest, g.event_time, complete, keys,
        (SELECT string_agg(quote_ident(t) || ' DESC', ', ') FROM unnest(times) AS t), keys,
        (SELECT string_agg(format('%I = EXCLUDED.%I', c, c), ', ') FROM unnest(times || names) AS c),
        (SELECT string_agg(format(newer, 'EXCLUDED', t), ', ') FROM unnest(times) AS t),
        (SELECT string_agg(format(newer, 'o', t), ', ') FROM unnest(times) AS t));
END
$$;
COMMENT ON FUNCTION lean.online_upsert_sql(lean.feature_group, text) IS
    'internal: the statement that brings rows online; newest is what it reads them from';

-- A type without equality is compared as text.
CREATE FUNCTION lean.comparable(expression text, type text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN CASE WHEN lean.equality_operator(type::regtype, type::regtype) IS NULL THEN expression || '::text' ELSE expression END;
COMMENT ON FUNCTION lean.comparable(text, text) IS 'internal: an expression that can be compared, whatever its type';

CREATE FUNCTION lean.conflicting_rows(columns text[], "values" text[]) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'rows of one time differ: %',
        (SELECT string_agg(format('%s = %s', c, v), ', ' ORDER BY n) FROM unnest(columns, "values") WITH ORDINALITY AS x (c, v, n))
        USING ERRCODE = 'unique_violation', HINT = 'Say by their creation time which was written last.';
END
$$;
COMMENT ON FUNCTION lean.conflicting_rows(text[], text[]) IS 'internal: refuses rows of which nothing says which is newer';

-- What a cast to a type of limited length would cut off is an error, as it is when a row is inserted.
CREATE FUNCTION lean.unshortened(given anyelement, stored anyelement, column_name text) RETURNS anyelement
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF given::text IS DISTINCT FROM stored::text AND rtrim(given::text) IS DISTINCT FROM rtrim(stored::text) THEN
        RAISE EXCEPTION 'value too long for column "%": %', column_name, given USING ERRCODE = 'string_data_right_truncation';
    END IF;
    RETURN stored;
END
$$;
COMMENT ON FUNCTION lean.unshortened(anyelement, anyelement, text) IS 'internal: a value that is stored in full';

-- A value of a source as its column stores it.
CREATE FUNCTION lean.stored_value(column_name text, type text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN CASE WHEN type ~ '^(character|bit).*\(\d+\)(\[\])?$'
        THEN format('lean.unshortened((s.%1$I)::%2$s, (s.%1$I)::%3$s, %1$L)', column_name, format_type(type::regtype, -1), type)
        ELSE format('(s.%I)::%s', column_name, type) END;
COMMENT ON FUNCTION lean.stored_value(text, text) IS 'internal: the expression of a column s of a source as a type';

-- The statement that writes the rows of a source, whose columns are the keys, the event time, and any of the rest.
CREATE FUNCTION lean.write_sql(g lean.feature_group, source text, given text[]) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    created_given boolean := g.created_time IS NOT NULL AND g.created_time = ANY (given);
    identity text[] := g.entity_keys::text[] || g.event_time::text || CASE WHEN created_given THEN g.created_time::text END;
    columns text := (SELECT string_agg(quote_ident(c), ', ') FROM unnest(given) AS c);
    types text[] := (SELECT array_agg(lean.column_type(g.history, c::name) ORDER BY n) FROM unnest(given) WITH ORDINALITY AS c (c, n));
    clock text := 'pg_catalog.clock_timestamp()::' || lean.column_type(g.history, g.created_time);
    conflict text;
    same text;
BEGIN
    identity := array_remove(identity, NULL);
    conflict := format('lean.conflicting_rows(%L, ARRAY[%s])', identity,
        (SELECT string_agg(format('s.%I::text', c), ', ') FROM unnest(identity) AS c));
    -- The same bytes are the same value: not every type has an equality. What the table fills in itself is not compared.
    same := (SELECT format('pg_catalog.record_image_eq(ROW(%s), ROW(%s))', string_agg(format('h.%I', f.name), ', ' ORDER BY f.position),
            string_agg(CASE WHEN f.name = ANY (given) THEN format('s.%I', f.name)
                            ELSE format('NULL::%s', lean.column_type(g.history, f.name)) END, ', ' ORDER BY f.position))
        FROM lean.feature AS f LEFT JOIN pg_attribute AS a ON a.attrelid = g.history AND a.attname = f.name
        WHERE (f.group_name, f.group_version) = (g.name, g.version)
            AND (f.name = ANY (given) OR NOT (a.atthasdef OR a.attidentity <> '')));
    RETURN format(
$sql$WITH sent AS (
    SELECT *, pg_catalog.lag(true) OVER (PARTITION BY %1$s ORDER BY %1$s) AS "#again"
    FROM (SELECT DISTINCT ON (%2$s) %3$s FROM (SELECT %4$s FROM %5$s AS s) AS s ORDER BY %2$s) AS s
), fresh AS (
    INSERT INTO %6$s AS h (%7$s)
    SELECT %8$s FROM sent AS s
    WHERE CASE WHEN s."#again" THEN %9$s ELSE true END
        AND NOT EXISTS (SELECT FROM %6$s AS h WHERE %10$s AND %11$s%12$s)%13$s
    RETURNING *
)%14$s
SELECT pg_catalog.count(*) FROM fresh$sql$,
        (SELECT string_agg(quote_ident(c), ', ') FROM unnest(identity) AS c),
        (SELECT string_agg(lean.comparable(quote_ident(c), t), ', ' ORDER BY array_position(identity, c), n)
         FROM unnest(given, types) WITH ORDINALITY AS x (c, t, n)),
        columns,
        (SELECT string_agg(lean.stored_value(c, t) || ' AS ' || quote_ident(c), ', ' ORDER BY n)
         FROM unnest(given, types) WITH ORDINALITY AS x (c, t, n)),
        source, g.history,
        columns || CASE WHEN g.created_time IS NOT NULL AND NOT created_given THEN ', ' || quote_ident(g.created_time) ELSE '' END,
        (SELECT string_agg(CASE WHEN c = g.created_time THEN format('coalesce(s.%I, %s)', c, clock) ELSE quote_ident(c) END, ', ' ORDER BY n)
         FROM unnest(given) WITH ORDINALITY AS x (c, n)) || CASE WHEN NOT created_given THEN coalesce(', ' || clock, '') ELSE '' END,
        conflict,
        (SELECT string_agg(format(CASE WHEN c = g.created_time THEN '(s.%1$I IS NULL OR h.%1$I %2$s s.%1$I)' ELSE 'h.%1$I %2$s s.%1$I' END, c,
                lean.equality_operator(lean.column_type(g.history, c::name)::regtype, lean.column_type(g.history, c::name)::regtype)), ' AND ')
         FROM unnest(identity) AS c),
        -- Two rows that differ, of which neither was written after the other, would be in no order.
        CASE WHEN created_given THEN format('CASE WHEN %s THEN true WHEN s.%I IS NULL THEN false ELSE %s END', same, g.created_time, conflict)
             WHEN g.created_time IS NULL THEN format('CASE WHEN %s THEN true ELSE %s END', same, conflict)
             ELSE same END,
        -- With an index it is a look-up for each row, which costs the same however long the history is.
        CASE WHEN lean.has_history_index(g.history, g.entity_keys::text[], g.event_time) THEN ' OFFSET 0' END,
        -- Another session may be sending the same rows.
        CASE WHEN created_given AND NOT g.adopted THEN E'\n    ON CONFLICT DO NOTHING' END,
        CASE WHEN g.online IS NOT NULL THEN E', served AS (\n' || lean.online_upsert_sql(g, 'fresh') || E'\n)' END);
END
$$;
COMMENT ON FUNCTION lean.write_sql(lean.feature_group, text, text[]) IS
    'internal: the statement that writes the rows of a source, which has the given columns, and counts the new ones';

-- Columns of a source against those of a group: what is needed is there, and nothing else.
CREATE FUNCTION lean.check_columns(g lean.feature_group, given text[], what text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    features text[] := (SELECT array_agg(f.name ORDER BY f.position) FROM lean.feature AS f
                        WHERE (f.group_name, f.group_version) = (g.name, g.version));
    wrong text;
BEGIN
    SELECT c INTO wrong FROM unnest(given) AS c
        WHERE c <> ALL (features || g.entity_keys::text[] || g.event_time::text) AND c IS DISTINCT FROM g.created_time::text LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% has a column "%", which feature group %@% has not', what, wrong, g.name, g.version
            USING ERRCODE = 'undefined_column',
                  HINT = format('It has %s, and the features %s.', array_to_string(g.entity_keys::text[] || g.event_time::text || g.created_time::text, ', '),
                                array_to_string(features, ', '));
    END IF;
    SELECT c INTO wrong FROM unnest(g.entity_keys::text[] || g.event_time::text) AS c WHERE c <> ALL (given) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% has no column "%", which feature group %@% needs', what, wrong, g.name, g.version
            USING ERRCODE = 'undefined_column';
    END IF;
END
$$;
COMMENT ON FUNCTION lean.check_columns(lean.feature_group, text[], text) IS 'internal: refuses a source whose columns are not those of a group';

-- After an error: tries value by value, and says which row and column it was.
CREATE FUNCTION lean.raise_bad_value(g lean.feature_group, item jsonb, n bigint) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    member record;
BEGIN
    FOR member IN SELECT m.key, m.value FROM jsonb_each(item) AS m LOOP
        BEGIN
            EXECUTE format('SELECT (jsonb_populate_record(NULL::%s, $1)).%I', g.history, member.key) USING jsonb_build_object(member.key, member.value);
        EXCEPTION WHEN OTHERS THEN
            RAISE EXCEPTION 'row %, column "%": % is not of type %', n, member.key, member.value, lean.column_type(g.history, member.key::name)
                USING ERRCODE = SQLSTATE, DETAIL = SQLERRM;
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION lean.raise_bad_value(lean.feature_group, jsonb, bigint) IS 'internal: raises an error for the first value that is not of its type';

CREATE FUNCTION lean.write_rows_sql("group" text, given text[]) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g lean.feature_group := lean.find_feature_group("group");
BEGIN
    PERFORM lean.check_feature_tables(g);
    RETURN lean.write_sql(g, format('pg_catalog.jsonb_populate_recordset(NULL::%s, $1)', g.history), given);
END
$$;
COMMENT ON FUNCTION lean.write_rows_sql(text, text[]) IS 'internal: the statement that writes rows with the given columns; $1 stands for them as jsonb';

CREATE FUNCTION lean.write_rows("group" text, given text[], "rows" jsonb) RETURNS bigint
    AS 'MODULE_PATHNAME', 'write_rows' LANGUAGE c VOLATILE STRICT;
COMMENT ON FUNCTION lean.write_rows(text, text[], jsonb) IS 'internal: writes rows that have been checked; gives the number of new ones';

CREATE FUNCTION lean.write_features("group" text, "rows" jsonb) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g lean.feature_group := lean.find_feature_group("group");
    items jsonb := CASE jsonb_typeof("rows") WHEN 'array' THEN "rows" ELSE jsonb_build_array("rows") END;
    item record;
    given text[];
BEGIN
    IF "rows" IS NULL THEN
        RAISE EXCEPTION 'rows must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT e.n, e.value INTO item FROM jsonb_array_elements(items) WITH ORDINALITY AS e (value, n) WHERE jsonb_typeof(e.value) <> 'object' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'row % is no object: %', item.n, item.value
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give an object for each row, with the columns as members.';
    END IF;
    SELECT array_agg(DISTINCT k) INTO given FROM jsonb_array_elements(items) AS e, jsonb_object_keys(e) AS k;
    IF given IS NULL AND items = '[]' THEN
        RETURN 0;
    END IF;
    given := coalesce(given, '{}');
    -- Which row it is is only looked for when there is one.
    IF EXISTS (SELECT FROM unnest(given) AS c WHERE c IS DISTINCT FROM g.created_time::text AND c <> ALL (g.entity_keys::text[] || g.event_time::text)
        AND NOT EXISTS (SELECT FROM lean.feature AS f WHERE (f.group_name, f.group_version, f.name) = (g.name, g.version, c)))
        OR EXISTS (SELECT FROM jsonb_array_elements(items) AS e WHERE NOT e ?& (g.entity_keys::text[] || g.event_time::text)) THEN
        FOR item IN SELECT e.n, e.value FROM jsonb_array_elements(items) WITH ORDINALITY AS e (value, n) LOOP
            PERFORM lean.check_columns(g, ARRAY(SELECT jsonb_object_keys(item.value)), format('row %s', item.n));
        END LOOP;
    END IF;
    SELECT e.n, k INTO item FROM jsonb_array_elements(items) WITH ORDINALITY AS e (value, n),
        unnest(g.entity_keys::text[] || g.event_time::text) AS k WHERE e.value -> k = 'null' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'row %, column "%" is null', item.n, item.k
            USING ERRCODE = 'not_null_violation', HINT = 'An entity key or an event time is never null.';
    END IF;
    BEGIN
        EXECUTE format('SELECT count(r) FROM jsonb_populate_recordset(NULL::%s, $1) AS r', g.history) USING items;
    EXCEPTION WHEN OTHERS THEN
        PERFORM lean.check_feature_tables(g);
        FOR item IN SELECT e.n, e.value FROM jsonb_array_elements(items) WITH ORDINALITY AS e (value, n) LOOP
            PERFORM lean.raise_bad_value(g, item.value, item.n);
        END LOOP;
        RAISE;
    END;
    RETURN lean.write_rows("group", given, items);
END
$$;
COMMENT ON FUNCTION lean.write_features(text, jsonb) IS
    'writes rows, a JSON array of objects, to history and online in one go; gives the number of rows that are new';

-- A relation or a query as what stands after FROM. Names in it are looked up in the caller's search path.
CREATE FUNCTION lean.from_clause(source text, search_path text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation regclass;
BEGIN
    IF source IS NULL THEN
        RAISE EXCEPTION 'neither a relation nor a query' USING ERRCODE = 'null_value_not_allowed';
    ELSIF source ~* '^\s*(select|with|values|table)\y.*\s' OR source ~ '^\s*(\(|--|/\*)' THEN
        RETURN format(E'(%s\n)', regexp_replace(source, '[\s;]+$', ''));
    END IF;
    PERFORM set_config('search_path', search_path, true);
    relation := source::regclass;
    PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
    RETURN lean.qualified_name(relation);
END
$$;
COMMENT ON FUNCTION lean.from_clause(text, text) IS 'internal: a relation or a query, as it stands after FROM';

-- Which value it was that could not be converted, looked for when there is one.
CREATE FUNCTION lean.raise_bad_row(g lean.feature_group, from_clause text, given text[], search_path text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c record;
    item record;
BEGIN
    PERFORM set_config('search_path', search_path, true);
    FOR c IN SELECT q.name, pg_catalog.format_type(q.type_id, q.modifier) AS source_type, lean.column_type(g.history, q.name::name) AS type
        FROM lean.query_columns('SELECT * FROM ' || from_clause || ' AS s') AS q LOOP
        FOR item IN EXECUTE pg_catalog.format('SELECT pg_catalog.row_number() OVER () AS n, (s.%I)::text AS value FROM %s AS s', c.name, from_clause) LOOP
            IF item.value IS NULL AND (c.name = ANY (g.entity_keys) OR c.name = g.event_time) THEN
                RAISE EXCEPTION 'row %, column "%" is null', item.n, c.name
                    USING ERRCODE = 'not_null_violation', HINT = 'An entity key or an event time is never null.';
            END IF;
            BEGIN
                EXECUTE pg_catalog.format('SELECT CAST(CAST($1 AS %s) AS %s)', c.source_type, c.type) USING item.value;
            EXCEPTION WHEN OTHERS THEN
                RAISE EXCEPTION 'row %, column "%": % is not of type %', item.n, c.name, item.value, c.type
                    USING ERRCODE = SQLSTATE, DETAIL = SQLERRM;
            END;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION lean.raise_bad_row(lean.feature_group, text, text[], text) IS 'internal: raises an error for the first value that cannot be written';

CREATE FUNCTION lean.write_features_from("group" text, source text, search_path text DEFAULT current_setting('search_path')) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g lean.feature_group := lean.find_feature_group("group");
    from_clause text := lean.from_clause(source, search_path);
    given text[];
    columns text;
    statement text;
    written bigint;
BEGIN
    PERFORM lean.check_feature_tables(g);
    PERFORM set_config('search_path', search_path, true);
    given := ARRAY(SELECT q.name FROM lean.query_columns('SELECT * FROM ' || from_clause || ' AS s') AS q ORDER BY q.position);
    PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
    PERFORM lean.check_columns(g, given, CASE WHEN from_clause LIKE '(%' THEN 'the query' ELSE format('relation %s', source) END);
    statement := lean.write_sql(g, from_clause, given);
    columns := (SELECT string_agg(quote_ident(c), ', ') FROM unnest(given) AS c);
    PERFORM set_config('search_path', search_path, true);
    -- The server's own check of the types, by column.
    PERFORM lean.query_columns(format('INSERT INTO %s (%s) SELECT %s FROM %s AS s RETURNING 1', g.history, columns, columns, from_clause));
    BEGIN
        EXECUTE statement INTO written;
    EXCEPTION WHEN data_exception OR not_null_violation OR check_violation THEN
        PERFORM lean.raise_bad_row(g, from_clause, given, search_path);
        RAISE;
    END;
    RETURN written;
END
$$;
COMMENT ON FUNCTION lean.write_features_from(text, text, text) IS
    'writes the rows of a relation or a query to history and online in one go; gives the number of rows that are new';

-- Bringing online what was loaded into history by other means

CREATE TABLE lean.feature_materialization (
    group_name text NOT NULL,
    group_version integer NOT NULL,
    up_to timestamptz NOT NULL,
    snapshot pg_snapshot NOT NULL,
    system_identifier bigint NOT NULL,
    materialized_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_name, group_version),
    FOREIGN KEY (group_name, group_version) REFERENCES lean.feature_group (name, version) ON DELETE CASCADE
);
COMMENT ON TABLE lean.feature_materialization IS 'up to where history has been brought online; a dump leaves it out, since transactions of another cluster mean nothing';
COMMENT ON COLUMN lean.feature_materialization.up_to IS 'the latest event time that was brought online';
COMMENT ON COLUMN lean.feature_materialization.snapshot IS 'the transactions that had ended then';
COMMENT ON COLUMN lean.feature_materialization.system_identifier IS 'the cluster whose transactions they are';
ALTER TABLE lean.feature_materialization ENABLE ROW LEVEL SECURITY;
CREATE POLICY reader ON lean.feature_materialization FOR SELECT USING (true);
COMMENT ON POLICY reader ON lean.feature_materialization IS 'everyone sees how far it is';
CREATE POLICY writer ON lean.feature_materialization USING (EXISTS (SELECT FROM lean.feature_group AS g
    WHERE (g.name, g.version) = (group_name, group_version) AND has_table_privilege(g.online, 'INSERT')));
COMMENT ON POLICY writer ON lean.feature_materialization IS 'whoever may write online rows';
GRANT SELECT, INSERT, UPDATE, DELETE ON lean.feature_materialization TO PUBLIC;

CREATE FUNCTION lean.online_groups(source text) RETURNS SETOF lean.feature_group
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g lean.feature_group;
BEGIN
    FOR g IN SELECT DISTINCT x.* FROM lean.source_groups(source, NULL) AS s
        CROSS JOIN LATERAL lean.find_feature_group(s.label) AS x ORDER BY x.name, x.version LOOP
        IF g.online IS NULL THEN
            RAISE EXCEPTION 'feature group %@% is not online', g.name, g.version USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        RETURN NEXT g;
    END LOOP;
END
$$;
COMMENT ON FUNCTION lean.online_groups(text) IS 'internal: the groups of a view or group, which have to be online';

CREATE FUNCTION lean.materialize(source text, "from" timestamptz, "to" timestamptz DEFAULT statement_timestamp())
    RETURNS TABLE (feature_group text, rows_changed bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g lean.feature_group;
BEGIN
    IF "from" > "to" THEN
        RAISE EXCEPTION 'from % is after to %', "from", "to" USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR g IN SELECT * FROM lean.online_groups(source) LOOP
        -- History is named first, and locked first, as by all who take both tables.
        EXECUTE format('WITH newest AS (SELECT * FROM %s AS h WHERE h.%I BETWEEN $1 AND $2) ', g.history, g.event_time)
            || lean.online_upsert_sql(g, 'newest') USING coalesce("from", '-infinity'), coalesce("to", statement_timestamp());
        GET DIAGNOSTICS rows_changed = ROW_COUNT;
        feature_group := format('%s@%s', g.name, g.version);
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION lean.materialize(text, timestamptz, timestamptz) IS
    'brings online the newest rows of history with event times from one time to another, both included; newer online rows stay';

-- What a transaction has written that had not ended at the last run was not seen then, whatever its times say. Its number
-- is not below the oldest that was running then; rows keep the number of the transaction that wrote them.
CREATE FUNCTION lean.materialize_incremental(source text, "to" timestamptz DEFAULT statement_timestamp())
    RETURNS TABLE (feature_group text, rows_changed bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g lean.feature_group;
    last lean.feature_materialization;
    this_cluster bigint := (SELECT c.system_identifier FROM pg_control_system() AS c);
    snapshot pg_snapshot;
    unseen text;
    span bigint;
BEGIN
    "to" := least("to", statement_timestamp());
    FOR g IN SELECT * FROM lean.online_groups(source) LOOP
        -- One at a time, and before any online row is locked: the row below is not there the first time.
        PERFORM pg_advisory_xact_lock(hashtextextended(format('lean.feature_materialization %s@%s', g.name, g.version), 0));
        SELECT * INTO last FROM lean.feature_materialization AS m
            WHERE (m.group_name, m.group_version, m.system_identifier) = (g.name, g.version, this_cluster) FOR UPDATE;
        snapshot := pg_current_snapshot();
        unseen := NULL;
        IF FOUND AND EXISTS (SELECT FROM pg_class AS c WHERE c.oid = g.history AND c.relkind IN ('r', 'p', 'm')) THEN
            span := pg_snapshot_xmax(snapshot)::text::bigint - pg_snapshot_xmin(last.snapshot)::text::bigint;
            -- Numbers of transactions in rows go round after four billion. Ages count from some transaction of this moment,
            -- so there are negative ones, and some are read that need not be.
            IF span < 1000000000 THEN
                unseen := format('(h.%I > %L OR age(h.xmin) BETWEEN -1000000000 AND %s)', g.event_time, last.up_to, span + 100000);
            END IF;
        END IF;
        EXECUTE format('WITH newest AS (SELECT * FROM %s AS h WHERE h.%I <= $1 AND %s) ', g.history, g.event_time,
            coalesce(unseen, CASE WHEN g.ttl IS NULL THEN 'true'
                ELSE format('h.%I >= $1 - %s', g.event_time, lean.exact_interval(g.ttl)) END)) || lean.online_upsert_sql(g, 'newest') USING "to";
        GET DIAGNOSTICS rows_changed = ROW_COUNT;
        feature_group := format('%s@%s', g.name, g.version);
        INSERT INTO lean.feature_materialization AS m (group_name, group_version, up_to, snapshot, system_identifier)
            VALUES (g.name, g.version, "to", snapshot, this_cluster)
            ON CONFLICT (group_name, group_version) DO UPDATE SET up_to = EXCLUDED.up_to, snapshot = EXCLUDED.snapshot,
                system_identifier = EXCLUDED.system_identifier, materialized_at = EXCLUDED.materialized_at;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION lean.materialize_incremental(text, timestamptz) IS
    'brings online what has come into history since the last time, however late it was committed; the first time, what is not too old';

CREATE FUNCTION lean.expire_online("group" text DEFAULT NULL) RETURNS TABLE (feature_group text, rows_deleted bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g lean.feature_group;
    keys text;
BEGIN
    FOR g IN SELECT * FROM lean.feature_group AS x
        WHERE x.online IS NOT NULL AND x.ttl IS NOT NULL
            AND CASE WHEN "group" IS NULL THEN has_table_privilege(x.online, 'DELETE') AND has_table_privilege(x.online, 'UPDATE')
                     ELSE (x.name, x.version) = (SELECT f.name, f.version FROM lean.find_feature_group("group") AS f) END
        ORDER BY x.name, x.version LOOP
        PERFORM lean.check_feature_tables(g);
        keys := (SELECT string_agg(quote_ident(k), ', ') FROM unnest(g.entity_keys) AS k);
        -- Writers lock rows in the order of keys, this would in that of the table: a row that is being written stays.
        EXECUTE format('DELETE FROM %1$s WHERE (%2$s) IN (SELECT %2$s FROM %1$s AS o WHERE o.%3$I < statement_timestamp() - %4$s FOR UPDATE SKIP LOCKED)',
            g.online, keys, g.event_time, lean.exact_interval(g.ttl));
        GET DIAGNOSTICS rows_deleted = ROW_COUNT;
        feature_group := format('%s@%s', g.name, g.version);
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION lean.expire_online(text) IS
    'deletes online rows that are older than the time to live of their group; without a name, of every group whose rows one may delete';
