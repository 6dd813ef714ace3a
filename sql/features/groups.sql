-- Creating, extending and dropping feature groups and feature views, and the views of the registry for people.

-- Definitions as they are given

CREATE FUNCTION lean.name_and_type(definition text) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN regexp_match(definition, '^\s*(\S+)(?:\s+(.*\S))?\s*$');
COMMENT ON FUNCTION lean.name_and_type(text) IS 'internal: the name and the type of a definition such as driver_id bigint; the type may be left out';

CREATE FUNCTION lean.parse_features(features jsonb)
    RETURNS TABLE ("position" integer, name text, type text, default_value jsonb, description text)
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item jsonb;
    parts text[];
    unknown text;
    hint CONSTANT text := 'Give a JSON array: "conv_rate float32", {"name": "conv_rate", "type": "float32", "default": 0, '
                          '"description": "..."} or ["conv_rate", "float32", 0, "..."] for each feature.';
BEGIN
    IF jsonb_typeof(features) <> 'array' OR features = '[]' THEN
        RAISE EXCEPTION 'features is not an array of features: %', features
            USING ERRCODE = 'invalid_parameter_value', HINT = hint;
    END IF;
    FOR item, "position" IN SELECT e.value, e.ordinality FROM jsonb_array_elements(features) WITH ORDINALITY AS e LOOP
        default_value := NULL;
        description := NULL;
        CASE jsonb_typeof(item)
            WHEN 'string' THEN
                parts := lean.name_and_type(item #>> '{}');
                name := parts[1];
                type := parts[2];
            WHEN 'array' THEN
                name := item ->> 0;
                type := item ->> 1;
                default_value := nullif(item -> 2, 'null');
                description := item ->> 3;
            WHEN 'object' THEN
                SELECT k INTO unknown FROM jsonb_object_keys(item) AS k WHERE k NOT IN ('name', 'type', 'default', 'description') LIMIT 1;
                IF FOUND THEN
                    RAISE EXCEPTION 'feature % has an unknown member "%"', "position", unknown
                        USING ERRCODE = 'invalid_parameter_value', HINT = hint;
                END IF;
                name := item ->> 'name';
                type := item ->> 'type';
                default_value := nullif(item -> 'default', 'null');
                description := item ->> 'description';
            ELSE
                name := NULL;
        END CASE;
        IF coalesce(name, '') = '' OR name ~ '[:@\s]' THEN
            RAISE EXCEPTION 'feature % has no proper name: %', "position", item
                USING ERRCODE = 'invalid_parameter_value', HINT = hint;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION lean.parse_features(jsonb) IS 'internal: a list of features as rows';

-- The text of a default, checked by making a row of the table of it.
CREATE FUNCTION lean.default_text(relation regclass, feature name, given jsonb) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    value text;
BEGIN
    IF given IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT (jsonb_populate_record(NULL::%s, $1)).%I::text', relation, feature)
        INTO value USING jsonb_build_object(feature, given);
    RETURN value;
EXCEPTION WHEN data_exception OR check_violation THEN
    RAISE EXCEPTION 'default % of feature "%" is not of type %', given, feature, lean.column_type(relation, feature)
        USING ERRCODE = 'invalid_parameter_value', DETAIL = SQLERRM;
END
$$;
COMMENT ON FUNCTION lean.default_text(regclass, name, jsonb) IS 'internal: a default as text of the type of the column';

CREATE FUNCTION lean.check_name(name text, kind text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF name IS NULL OR name !~ '^[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*$' OR octet_length(name) > 40 THEN
        RAISE EXCEPTION '"%" is no name for a feature %', name, kind
            USING ERRCODE = 'invalid_name', HINT = 'A name has letters, digits and underscores, and at most 40 bytes.';
    END IF;
    IF kind = 'group' AND EXISTS (SELECT FROM lean.feature_view AS v WHERE v.name = check_name.name)
        OR kind = 'view' AND EXISTS (SELECT FROM lean.feature_group AS g WHERE g.name = check_name.name) THEN
        RAISE EXCEPTION 'there is a feature % named "%"', CASE kind WHEN 'group' THEN 'view' ELSE 'group' END, name
            USING ERRCODE = 'duplicate_object', HINT = 'A name stands for a group or for a view, not for both.';
    END IF;
END
$$;
COMMENT ON FUNCTION lean.check_name(text, text) IS 'internal: refuses a name that no feature group or feature view can have';

CREATE FUNCTION lean.check_timestamp(relation regclass, column_name text, argument text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    type text := lean.column_type(relation, column_name);
BEGIN
    IF type IS NULL THEN
        RAISE EXCEPTION 'column "%" of relation % does not exist', column_name, relation
            USING ERRCODE = 'undefined_column',
                  HINT = format('Name it with %s => ''...''%s.', argument, CASE argument WHEN 'created_time' THEN ', or say that there is none with created_time => NULL' ELSE '' END);
    ELSIF type !~ '^(timestamp|date$)' THEN
        RAISE EXCEPTION 'column "%" of relation % is of type %, not of a time', column_name, relation, type
            USING ERRCODE = 'datatype_mismatch';
    END IF;
END
$$;
COMMENT ON FUNCTION lean.check_timestamp(regclass, text, text) IS 'internal: refuses a column that does not hold times';

-- Creating

CREATE FUNCTION lean.create_feature_group(
    name text, entity_keys text[], features jsonb DEFAULT NULL, version integer DEFAULT 1,
    event_time text DEFAULT 'event_timestamp', created_time text DEFAULT 'created_timestamp', ttl interval DEFAULT NULL,
    online boolean DEFAULT true, description text DEFAULT NULL, history text DEFAULT NULL,
    schema text DEFAULT current_schema(), search_path text DEFAULT current_setting('search_path')
) RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    reference text := format('%s@%s', name, version);
    table_name text := format('%s_v%s', name, version);
    past regclass;
    present regclass;
    keys text[] := '{}';
    columns text[] := '{}';
    names text[] := '{}';
    item record;
    parts text[];
    type text;
    existing text;
BEGIN
    PERFORM lean.check_name(name, 'group');
    IF version < 1 OR version IS NULL THEN
        RAISE EXCEPTION 'version % is not a version', version USING ERRCODE = 'invalid_parameter_value', HINT = 'Versions count from 1.';
    ELSIF EXISTS (SELECT FROM lean.feature_group AS g WHERE g.name = create_feature_group.name AND g.version = create_feature_group.version) THEN
        RAISE EXCEPTION 'feature group % already exists', reference
            USING ERRCODE = 'duplicate_object',
                  HINT = 'lean.add_feature adds to it; anything else is another version.';
    ELSIF ttl < interval '0' THEN
        RAISE EXCEPTION 'ttl % is negative', ttl USING ERRCODE = 'invalid_parameter_value', HINT = 'Without a limit it is NULL or 0.';
    ELSIF ttl > interval '1000 years' THEN
        RAISE EXCEPTION 'ttl % is longer than 1000 years', ttl USING ERRCODE = 'invalid_parameter_value', HINT = 'Without a limit it is NULL or 0.';
    ELSIF coalesce(cardinality(entity_keys), 0) = 0 OR array_ndims(entity_keys) > 1 THEN
        RAISE EXCEPTION 'feature group % has no entity keys', reference
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give at least one, as in ''{driver_id bigint}''.';
    ELSIF event_time IS NULL THEN
        RAISE EXCEPTION 'event_time must not be null' USING ERRCODE = 'null_value_not_allowed';
    ELSIF features IS NULL AND history IS NULL THEN
        RAISE EXCEPTION 'feature group % has no features', reference
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Give them, as in ''["conv_rate float32"]'', or history => ''...'' to take the columns of a table.';
    END IF;

    IF history IS NOT NULL THEN
        PERFORM set_config('search_path', search_path, true);
        past := history::regclass;
        PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
        PERFORM lean.check_timestamp(past, event_time, 'event_time');
        IF created_time IS NOT NULL THEN
            PERFORM lean.check_timestamp(past, created_time, 'created_time');
        END IF;
    END IF;

    FOR item IN SELECT k.definition, k.n FROM unnest(entity_keys) WITH ORDINALITY AS k (definition, n) LOOP
        parts := lean.name_and_type(item.definition);
        type := CASE WHEN parts[2] IS NOT NULL
            THEN lean.column_definition_type(parts[2], format('entity key "%s"', parts[1]), search_path) END;
        existing := CASE WHEN past IS NOT NULL THEN lean.column_type(past, parts[1]) END;
        IF parts IS NULL OR parts[1] = ANY (keys) THEN
            RAISE EXCEPTION 'entity key % of feature group % is no key of its own: "%"', item.n, reference, item.definition
                USING ERRCODE = 'invalid_parameter_value';
        ELSIF past IS NOT NULL AND existing IS NULL THEN
            RAISE EXCEPTION 'column "%" of relation % does not exist', parts[1], past USING ERRCODE = 'undefined_column';
        ELSIF past IS NOT NULL AND type IS DISTINCT FROM existing AND type IS NOT NULL THEN
            RAISE EXCEPTION 'column "%" of relation % is of type %, not %', parts[1], past, existing, type
                USING ERRCODE = 'datatype_mismatch';
        ELSIF coalesce(type, existing) IS NULL THEN
            RAISE EXCEPTION 'entity key "%" of feature group % has no type', parts[1], reference
                USING ERRCODE = 'invalid_parameter_value', HINT = format('Give it with the name: ''{%s bigint}''.', parts[1]);
        ELSIF lean.equality_operator(coalesce(type, existing)::regtype, coalesce(type, existing)::regtype) IS NULL THEN
            RAISE EXCEPTION 'entity key "%" is of type %, which has no order', parts[1], coalesce(type, existing)
                USING ERRCODE = 'undefined_function', HINT = 'A key needs a type that a btree index takes.';
        END IF;
        keys := keys || parts[1];
        columns := columns || format('%I %s NOT NULL', parts[1], coalesce(type, existing));
    END LOOP;

    IF past IS NULL THEN
        IF created_time IS NULL THEN
            RAISE EXCEPTION 'created_time must not be null' USING ERRCODE = 'null_value_not_allowed',
                HINT = 'Only a history that was there before may be without.';
        ELSIF event_time = ANY (keys) OR created_time = ANY (keys) OR event_time = created_time THEN
            RAISE EXCEPTION 'the columns of times of feature group % are not columns of their own', reference
                USING ERRCODE = 'duplicate_column';
        END IF;
    END IF;
    columns := columns || format('%I %s NOT NULL', event_time, coalesce(lean.column_type(past, event_time), 'timestamptz'));
    IF created_time IS NOT NULL THEN
        columns := columns || format('%I %s%s DEFAULT clock_timestamp()', created_time, coalesce(lean.column_type(past, created_time), 'timestamptz'),
            CASE WHEN past IS NULL THEN ' NOT NULL' END);
    END IF;

    IF features IS NULL THEN
        SELECT jsonb_agg(jsonb_build_array(a.attname) ORDER BY a.attnum) INTO features FROM pg_attribute AS a
            WHERE a.attrelid = past AND a.attnum > 0 AND NOT a.attisdropped
                AND a.attname <> ALL (keys || event_time) AND a.attname IS DISTINCT FROM created_time;
    END IF;
    FOR item IN SELECT * FROM lean.parse_features(features) LOOP
        type := CASE WHEN item.type IS NOT NULL
            THEN lean.column_definition_type(item.type, format('feature "%s"', item.name), search_path) END;
        existing := CASE WHEN past IS NOT NULL THEN lean.column_type(past, item.name) END;
        IF item.name = ANY (keys || names || ARRAY[event_time, created_time]) THEN
            RAISE EXCEPTION 'feature "%" is a column of its own already', item.name USING ERRCODE = 'duplicate_column';
        ELSIF octet_length(item.name) > 63 THEN
            RAISE EXCEPTION 'feature name "%" is longer than 63 bytes', item.name USING ERRCODE = 'name_too_long';
        ELSIF past IS NOT NULL AND existing IS NULL THEN
            RAISE EXCEPTION 'column "%" of relation % does not exist', item.name, past USING ERRCODE = 'undefined_column';
        ELSIF past IS NOT NULL AND type IS NOT NULL AND type <> existing THEN
            RAISE EXCEPTION 'column "%" of relation % is of type %, not %', item.name, past, existing, type
                USING ERRCODE = 'datatype_mismatch';
        ELSIF coalesce(type, existing) IS NULL THEN
            RAISE EXCEPTION 'feature "%" has no type', item.name
                USING ERRCODE = 'invalid_parameter_value', HINT = format('Give it with the name: "%s float32".', item.name);
        END IF;
        names := names || item.name;
        columns := columns || format('%I %s', item.name, coalesce(type, existing));
    END LOOP;

    IF schema IS NULL AND (past IS NULL OR online) THEN
        RAISE EXCEPTION 'no schema to create the tables of feature group % in', reference
            USING ERRCODE = 'invalid_schema_name', HINT = 'No schema of search_path exists; schema => ''...'' names one.';
    END IF;
    IF past IS NULL THEN
        IF to_regclass(format('%I.%I', schema, table_name)) IS NOT NULL THEN
            RAISE EXCEPTION 'relation %.% already exists', quote_ident(schema), quote_ident(table_name)
                USING ERRCODE = 'duplicate_table',
                      HINT = format('history => ''%I.%I'' adopts it as the history.', schema, table_name);
        END IF;
        EXECUTE format('CREATE TABLE %I.%I (%s, UNIQUE (%s))', schema, table_name, array_to_string(columns, ', '),
            (SELECT string_agg(quote_ident(c), ', ') FROM unnest(keys || ARRAY[event_time, created_time]) AS c));
        past := format('%I.%I', schema, table_name)::regclass;
        EXECUTE format('COMMENT ON TABLE %s IS %L', past, format('history of feature group %s%s', reference, ': ' || description));
    END IF;
    IF online THEN
        EXECUTE format('CREATE TABLE %I.%I (%s, PRIMARY KEY (%s)) WITH (fillfactor = 70)', schema, table_name || '_online',
            array_to_string(columns, ', '), (SELECT string_agg(quote_ident(c), ', ') FROM unnest(keys) AS c));
        present := format('%I.%I', schema, table_name || '_online')::regclass;
        EXECUTE format('COMMENT ON TABLE %s IS %L', present, format('newest rows of feature group %s%s', reference, ': ' || description));
    END IF;
    FOR item IN SELECT f.name, f.description FROM lean.parse_features(features) AS f WHERE f.description IS NOT NULL AND history IS NULL LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', past, item.name, item.description);
    END LOOP;

    INSERT INTO lean.feature_group (name, version, entity_keys, event_time, created_time, ttl, history, online, adopted, description)
        VALUES (name, version, keys, event_time, created_time, nullif(ttl, interval '0'), past, present, history IS NOT NULL, description);
    INSERT INTO lean.feature (group_name, group_version, position, name, type, default_value, description)
        SELECT name, version, f.position, f.name, lean.column_type(past, f.name),
            lean.default_text(past, f.name, f.default_value), f.description
        FROM lean.parse_features(features) AS f;
    IF history IS NOT NULL AND NOT lean.has_history_index(past, keys, event_time) THEN
        RAISE NOTICE 'relation % has no index on (%)', past,
            (SELECT string_agg(quote_ident(c), ', ') FROM unnest(keys || event_time || created_time) AS c WHERE c IS NOT NULL)
            USING HINT = 'Reads at points in time and checks for rows sent twice are slow without one.';
    END IF;
    RETURN reference;
END
$$;
COMMENT ON FUNCTION lean.create_feature_group(text, text[], jsonb, integer, text, text, interval, boolean, text, text, text, text) IS
    'creates a feature group with its history and its online table, or adopts a table as the history; gives its name with the version';

CREATE FUNCTION lean.has_history_index(history regclass, keys text[], event_time text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN EXISTS (
        SELECT FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS m ON m.oid = c.relam
        WHERE i.indrelid = history AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree'
            AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM unnest(i.indkey[0:cardinality(keys) - 1]) AS k (attnum)
                 JOIN pg_attribute AS a ON a.attrelid = history AND a.attnum = k.attnum)
                = (SELECT array_agg(k ORDER BY k) FROM unnest(keys) AS k)
            AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = history AND a.attname = event_time
                        AND a.attnum = i.indkey[cardinality(keys)])
    );
COMMENT ON FUNCTION lean.has_history_index(regclass, text[], text) IS
    'internal: has a table an index on entity keys and event time, in this order?';

CREATE FUNCTION lean.add_feature("group" text, feature jsonb, search_path text DEFAULT current_setting('search_path')) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g lean.feature_group := lean.owned_feature_group("group");
    f record;
    type text;
    existing text;
BEGIN
    IF jsonb_typeof(feature) = 'array' AND feature ->> 1 IS NULL THEN
        RAISE EXCEPTION 'not a feature: %', feature USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Add one at a time, as in ''"acc_rate float32"''.';
    END IF;
    SELECT * INTO f FROM lean.parse_features(jsonb_build_array(feature));
    IF octet_length(f.name) > 63 THEN
        RAISE EXCEPTION 'feature name "%" is longer than 63 bytes', f.name USING ERRCODE = 'name_too_long';
    END IF;
    type := CASE WHEN f.type IS NOT NULL THEN lean.column_definition_type(f.type, format('feature "%s"', f.name), search_path) END;
    existing := lean.column_type(g.history, f.name);
    IF EXISTS (SELECT FROM lean.feature AS x WHERE (x.group_name, x.group_version, x.name) = (g.name, g.version, f.name))
        OR f.name = ANY (g.entity_keys || g.event_time || g.created_time) THEN
        RAISE EXCEPTION 'feature group %@% has a column "%" already', g.name, g.version, f.name
            USING ERRCODE = 'duplicate_column', HINT = 'What exists is not changed: take another name, or another version of the group.';
    ELSIF existing IS NULL AND type IS NULL THEN
        RAISE EXCEPTION 'feature "%" has no type', f.name
            USING ERRCODE = 'invalid_parameter_value', HINT = format('Give it with the name: ''"%s float32"''.', f.name);
    ELSIF existing IS NULL THEN
        EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s', g.history, f.name, type);
    ELSIF type <> existing THEN
        RAISE EXCEPTION 'column "%" of relation % is of type %, not %', f.name, g.history, existing, type
            USING ERRCODE = 'datatype_mismatch';
    END IF;
    IF g.online IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s', g.online, f.name, coalesce(existing, type));
    END IF;
    INSERT INTO lean.feature (group_name, group_version, position, name, type, default_value, description)
        SELECT g.name, g.version, max(x.position) + 1, f.name, lean.column_type(g.history, f.name),
            lean.default_text(g.history, f.name, f.default_value), f.description
        FROM lean.feature AS x WHERE (x.group_name, x.group_version) = (g.name, g.version);
END
$$;
COMMENT ON FUNCTION lean.add_feature(text, jsonb, text) IS
    'adds a feature to a group; rows that are there have null, or the default of the feature when they are read';

CREATE FUNCTION lean.drop_feature_group("group" text, drop_history boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g lean.feature_group := lean.owned_feature_group("group");
    users text := lean.feature_group_users(g.name, g.version);
    models text;
    history text := lean.qualified_name(g.history);
BEGIN
    IF users IS NOT NULL THEN
        SELECT string_agg(format('Feature view %s@%s is used by model version %s.', v.view_name, v.view_version, v.models), ' ' ORDER BY v.view_name, v.view_version)
            INTO models FROM (
                SELECT u.view_name, u.view_version, lean.feature_view_users(u.view_name, u.view_version) AS models
                FROM lean.feature_view_feature AS u WHERE (u.group_name, u.group_version) = (g.name, g.version)
                GROUP BY u.view_name, u.view_version) AS v
            WHERE v.models IS NOT NULL;
        IF models IS NOT NULL THEN
            RAISE EXCEPTION 'feature group %@% is used by feature view %', g.name, g.version, users
                USING ERRCODE = 'dependent_objects_still_exist', DETAIL = models,
                      HINT = 'A version of a model keeps the feature view that it was trained with.';
        END IF;
        RAISE EXCEPTION 'feature group %@% is used by feature view %', g.name, g.version, users
            USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Drop what uses it first, with lean.drop_feature_view.';
    ELSIF drop_history AND g.adopted THEN
        RAISE EXCEPTION 'the history of feature group %@%, %, was there before the group', g.name, g.version, history
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Drop the group without drop_history, then the table.';
    END IF;
    DELETE FROM lean.feature AS f WHERE (f.group_name, f.group_version) = (g.name, g.version);
    DELETE FROM lean.feature_group AS x WHERE (x.name, x.version) = (g.name, g.version);
    IF EXISTS (SELECT FROM pg_class AS c WHERE c.oid = g.online) THEN
        EXECUTE format('DROP TABLE %s', g.online);
    END IF;
    IF drop_history AND history IS NOT NULL THEN
        EXECUTE format('DROP TABLE %s', g.history);
    ELSIF history IS NOT NULL THEN
        RAISE NOTICE 'kept the history of feature group %@%, table %', g.name, g.version, history;
    END IF;
END
$$;
COMMENT ON FUNCTION lean.drop_feature_group(text, boolean) IS
    'drops a feature group and its online rows; its history only when asked to, and never one that was there before';

-- Features by reference: 'driver_stats@2:conv_rate', 'driver_stats:*', 'driver_stats:conv_rate as rate'

CREATE FUNCTION lean.find_features(refs text[])
    RETURNS TABLE ("position" integer, name name, group_name text, group_version integer, feature name)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    ref text;
    parts text[];
    g lean.feature_group;
    f record;
BEGIN
    "position" := 0;
    FOREACH ref IN ARRAY refs LOOP
        parts := regexp_match(ref, '^\s*([^:\s]+):(\S+)(?:\s+as\s+(\S+))?\s*$', 'i');
        IF parts IS NULL OR (parts[2] = '*' AND parts[3] IS NOT NULL) THEN
            RAISE EXCEPTION '"%" is not a feature of a group', ref
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Write driver_stats@2:conv_rate, driver_stats:* or driver_stats:conv_rate as rate.';
        END IF;
        g := lean.find_feature_group(parts[1]);
        IF parts[2] <> '*' AND NOT EXISTS (
            SELECT FROM lean.feature AS x WHERE (x.group_name, x.group_version, x.name) = (g.name, g.version, parts[2])) THEN
            RAISE EXCEPTION 'feature group %@% has no feature "%"', g.name, g.version, parts[2]
                USING ERRCODE = 'undefined_object',
                      HINT = (SELECT 'It has ' || string_agg(x.name, ', ' ORDER BY x.position) || '.' FROM lean.feature AS x
                              WHERE (x.group_name, x.group_version) = (g.name, g.version));
        END IF;
        FOR f IN SELECT x.name FROM lean.feature AS x
            WHERE (x.group_name, x.group_version) = (g.name, g.version) AND (parts[2] = '*' OR x.name = parts[2])
            ORDER BY x.position LOOP
            "position" := "position" + 1;
            name := coalesce(parts[3], f.name);
            group_name := g.name;
            group_version := g.version;
            feature := f.name;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION lean.find_features(text[]) IS 'internal: what feature references stand for, in their order';

CREATE FUNCTION lean.create_feature_view(
    name text, features text[], version integer DEFAULT 1, description text DEFAULT NULL, schema text DEFAULT current_schema()
) RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    reference text := format('%s@%s', name, version);
    served text := format('%I.%I', schema, format('%s_v%s_served', name, version));
    clash record;
BEGIN
    PERFORM lean.check_name(name, 'view');
    IF version < 1 OR version IS NULL THEN
        RAISE EXCEPTION 'version % is not a version', version USING ERRCODE = 'invalid_parameter_value', HINT = 'Versions count from 1.';
    ELSIF coalesce(cardinality(features), 0) = 0 THEN
        RAISE EXCEPTION 'feature view % has no features', reference
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give some, as in ''{driver_stats@2:conv_rate}''.';
    ELSIF EXISTS (SELECT FROM lean.feature_view AS v WHERE (v.name, v.version) = (create_feature_view.name, create_feature_view.version)) THEN
        RAISE EXCEPTION 'feature view % already exists', reference
            USING ERRCODE = 'duplicate_object', HINT = 'A view does not change; create another version of it.';
    END IF;
    SELECT f.name, string_agg(format('%s@%s:%s', f.group_name, f.group_version, f.feature), ' and ') AS refs INTO clash
        FROM lean.find_features(features) AS f GROUP BY f.name HAVING count(*) > 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'two features of view % are named "%": %', reference, clash.name, clash.refs
            USING ERRCODE = 'duplicate_column', HINT = 'Give one another name: driver_stats:conv_rate as rate.';
    END IF;
    SELECT f.name, format('%s@%s', g.name, g.version) AS of_group INTO clash
        FROM lean.find_features(features) AS f
        JOIN (SELECT DISTINCT x.group_name, x.group_version FROM lean.find_features(features) AS x) AS used ON true
        JOIN lean.feature_group AS g ON (g.name, g.version) = (used.group_name, used.group_version)
        WHERE f.name = ANY (g.entity_keys) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'feature "%" of view % is named as an entity key of %', clash.name, reference, clash.of_group
            USING ERRCODE = 'duplicate_column', HINT = 'Give it another name: driver_stats:conv_rate as rate.';
    END IF;
    -- A view keeps the owner of a group from changing it: who may not read the group has no claim to that.
    SELECT g.name, g.version INTO clash FROM lean.feature_group AS g
        WHERE (g.name, g.version) IN (SELECT f.group_name, f.group_version FROM lean.find_features(features) AS f)
            AND NOT coalesce(has_table_privilege(g.history, 'SELECT'), true) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'permission denied for feature group %@%', clash.name, clash.version
            USING ERRCODE = 'insufficient_privilege', HINT = 'A view takes features of groups whose history you may read.';
    END IF;
    EXECUTE format('CREATE TABLE %s (served_at timestamptz NOT NULL, entity jsonb NOT NULL, features jsonb NOT NULL, status jsonb, request_id text)', served);
    EXECUTE format('CREATE INDEX ON %s USING brin (served_at)', served);
    EXECUTE format('COMMENT ON TABLE %s IS %L', served, format('what was served of feature view %s', reference));
    INSERT INTO lean.feature_view (name, version, served, description) VALUES (name, version, served::regclass, description);
    INSERT INTO lean.feature_view_feature (view_name, view_version, position, name, group_name, group_version, feature)
        SELECT name, version, f.position, f.name, f.group_name, f.group_version, f.feature FROM lean.find_features(features) AS f;
    RETURN reference;
END
$$;
COMMENT ON FUNCTION lean.create_feature_view(text, text[], integer, text, text) IS
    'joins features of groups under one name; gives its name with the version';

CREATE FUNCTION lean.drop_feature_view("view" text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v lean.feature_view := lean.find_feature_view("view");
    users text := lean.feature_view_users(v.name, v.version);
    served_rows boolean;
BEGIN
    IF NOT lean.acts_as(v.owner) THEN
        RAISE EXCEPTION 'feature view %@% belongs to %', v.name, v.version, v.owner USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF users IS NOT NULL THEN
        RAISE EXCEPTION 'feature view %@% is used by model version %', v.name, v.version, users
            USING ERRCODE = 'dependent_objects_still_exist', HINT = 'A version of a model keeps the feature view that it was trained with.';
    END IF;
    DELETE FROM lean.feature_view_feature AS f WHERE (f.view_name, f.view_version) = (v.name, v.version);
    DELETE FROM lean.feature_view AS x WHERE (x.name, x.version) = (v.name, v.version);
    IF EXISTS (SELECT FROM pg_class AS c WHERE c.oid = v.served) THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', v.served) INTO served_rows;
        IF served_rows THEN
            RAISE NOTICE 'kept what was served of feature view %@%, table %', v.name, v.version, v.served;
        ELSE
            EXECUTE format('DROP TABLE %s', v.served);
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION lean.drop_feature_view(text) IS 'drops a feature view; the log of what was served stays if it has rows';

-- For people

CREATE VIEW lean.feature_groups AS
    SELECT g.name, g.version, array_to_string(g.entity_keys, ', ') AS entity_keys,
        (SELECT string_agg(f.name, ', ' ORDER BY f.position) FROM lean.feature AS f
         WHERE (f.group_name, f.group_version) = (g.name, g.version)) AS features,
        g.ttl, g.history, g.online, lean.feature_group_users(g.name, g.version) AS used_by, g.owner, g.description
    FROM lean.feature_group AS g ORDER BY g.name, g.version;
COMMENT ON VIEW lean.feature_groups IS 'the feature groups: keys, features, tables, and the views that use them';

CREATE VIEW lean.features AS
    SELECT f.group_name AS "group", f.group_version AS version, f.name AS feature, f.type, f.default_value AS "default",
        lean.feature_group_users(f.group_name, f.group_version, f.name) AS used_by, f.description
    FROM lean.feature AS f ORDER BY f.group_name, f.group_version, f.position;
COMMENT ON VIEW lean.features IS 'the features of all groups';

CREATE VIEW lean.feature_views AS
    SELECT v.name, v.version,
        (SELECT array_to_string(array_agg(DISTINCT k ORDER BY k), ', ') FROM lean.feature_view_feature AS f
         JOIN lean.feature_group AS g ON (g.name, g.version) = (f.group_name, f.group_version), unnest(g.entity_keys) AS k
         WHERE (f.view_name, f.view_version) = (v.name, v.version)) AS entity_keys,
        (SELECT string_agg(format('%s@%s:%s%s', f.group_name, f.group_version, f.feature,
                                  CASE WHEN f.name <> f.feature THEN ' as ' || f.name END), ', ' ORDER BY f.position)
         FROM lean.feature_view_feature AS f WHERE (f.view_name, f.view_version) = (v.name, v.version)) AS features,
        v.served, lean.feature_view_users(v.name, v.version) AS used_by, v.owner, v.description
    FROM lean.feature_view AS v ORDER BY v.name, v.version;
COMMENT ON VIEW lean.feature_views IS 'the feature views: entity keys and features, by group, and the versions of models that use them';
GRANT SELECT ON lean.feature_groups, lean.features, lean.feature_views TO PUBLIC;
