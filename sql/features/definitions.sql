-- Feature groups and feature views: what is registered, how it is created, changed and dropped.
--
-- A group is a history table and, unless it is offline, a table of online rows. Both are ordinary tables of the user who
-- created the group. What is here only says which table and which column is what.

-- Names are checked by the numbers of their characters: what is a letter differs from one locale to the next, and a dump
-- may be restored in another.
CREATE TABLE lean.feature_group (
    name text NOT NULL CHECK (name ~ '^[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*$'),
    version integer NOT NULL CHECK (version > 0),
    owner name NOT NULL DEFAULT current_user,
    entity_keys name[] NOT NULL,
    event_time name NOT NULL,
    created_time name,
    ttl interval CHECK (ttl > interval '0'),
    history regclass NOT NULL,
    online regclass,
    adopted boolean NOT NULL,
    description text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, version)
);
COMMENT ON TABLE lean.feature_group IS 'feature groups; lean.feature_groups shows them in words';
COMMENT ON COLUMN lean.feature_group.owner IS 'the role that created it; members of it may change and drop it';
COMMENT ON COLUMN lean.feature_group.entity_keys IS 'columns that name the entity';
COMMENT ON COLUMN lean.feature_group.event_time IS 'column that says from when on a row holds';
COMMENT ON COLUMN lean.feature_group.created_time IS 'column that says when a row was written; of equal event times the last one written counts';
COMMENT ON COLUMN lean.feature_group.ttl IS 'how long a row holds, null without limit';
COMMENT ON COLUMN lean.feature_group.history IS 'table of all rows';
COMMENT ON COLUMN lean.feature_group.online IS 'table of the newest row of each entity';
COMMENT ON COLUMN lean.feature_group.adopted IS 'the history was there before the group';

CREATE TABLE lean.feature (
    group_name text NOT NULL,
    group_version integer NOT NULL,
    position integer NOT NULL,
    name name NOT NULL,
    type text NOT NULL,
    default_value text,
    description text,
    PRIMARY KEY (group_name, group_version, name),
    FOREIGN KEY (group_name, group_version) REFERENCES lean.feature_group (name, version)
);
COMMENT ON TABLE lean.feature IS 'features of feature groups; lean.features shows them in words';
COMMENT ON COLUMN lean.feature.position IS 'place in the group, from 1';
COMMENT ON COLUMN lean.feature.type IS 'PostgreSQL type of the column';
COMMENT ON COLUMN lean.feature.default_value IS 'what stands in for a value that is missing, null or too old';

CREATE TABLE lean.feature_view (
    name text NOT NULL CHECK (name ~ '^[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*$'),
    version integer NOT NULL CHECK (version > 0),
    owner name NOT NULL DEFAULT current_user,
    served regclass NOT NULL,
    description text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, version)
);
COMMENT ON TABLE lean.feature_view IS 'feature views; lean.feature_views shows them in words';
COMMENT ON COLUMN lean.feature_view.owner IS 'the role that created it; members of it may drop it';
COMMENT ON COLUMN lean.feature_view.served IS 'table that lean.log_served writes to';

CREATE TABLE lean.feature_view_feature (
    view_name text NOT NULL,
    view_version integer NOT NULL,
    position integer NOT NULL,
    name name NOT NULL,
    group_name text NOT NULL,
    group_version integer NOT NULL,
    feature name NOT NULL,
    PRIMARY KEY (view_name, view_version, name),
    FOREIGN KEY (view_name, view_version) REFERENCES lean.feature_view (name, version),
    FOREIGN KEY (group_name, group_version, feature) REFERENCES lean.feature (group_name, group_version, name)
);
CREATE INDEX feature_view_feature_feature ON lean.feature_view_feature (group_name, group_version, feature);
COMMENT ON TABLE lean.feature_view_feature IS 'the features of feature views';
COMMENT ON COLUMN lean.feature_view_feature.position IS 'place in the view, from 1';
COMMENT ON COLUMN lean.feature_view_feature.name IS 'name in the view';

SELECT pg_catalog.pg_extension_config_dump('lean.feature_group', '');
SELECT pg_catalog.pg_extension_config_dump('lean.feature', '');
SELECT pg_catalog.pg_extension_config_dump('lean.feature_view', '');
SELECT pg_catalog.pg_extension_config_dump('lean.feature_view_feature', '');

-- Everyone sees the definitions, as everyone sees pg_class; those who act as the owner may change them.
ALTER TABLE lean.feature_group ENABLE ROW LEVEL SECURITY;
CREATE POLICY reader ON lean.feature_group FOR SELECT USING (true);
CREATE POLICY owner ON lean.feature_group USING (lean.acts_as(owner)) WITH CHECK (owner <> 'public' AND lean.acts_as(owner));
ALTER TABLE lean.feature ENABLE ROW LEVEL SECURITY;
CREATE POLICY reader ON lean.feature FOR SELECT USING (true);
CREATE POLICY owner ON lean.feature USING (
    EXISTS (SELECT FROM lean.feature_group AS g WHERE (g.name, g.version) = (group_name, group_version) AND lean.acts_as(g.owner)));
ALTER TABLE lean.feature_view ENABLE ROW LEVEL SECURITY;
CREATE POLICY reader ON lean.feature_view FOR SELECT USING (true);
CREATE POLICY owner ON lean.feature_view USING (lean.acts_as(owner)) WITH CHECK (owner <> 'public' AND lean.acts_as(owner));
ALTER TABLE lean.feature_view_feature ENABLE ROW LEVEL SECURITY;
CREATE POLICY reader ON lean.feature_view_feature FOR SELECT USING (true);
CREATE POLICY owner ON lean.feature_view_feature USING (
    EXISTS (SELECT FROM lean.feature_view AS v WHERE (v.name, v.version) = (view_name, view_version) AND lean.acts_as(v.owner)));
COMMENT ON POLICY reader ON lean.feature_group IS 'everyone sees the definitions';
COMMENT ON POLICY owner ON lean.feature_group IS 'the owner may change them';
COMMENT ON POLICY reader ON lean.feature IS 'everyone sees the definitions';
COMMENT ON POLICY owner ON lean.feature IS 'the owner of the group may change them';
COMMENT ON POLICY reader ON lean.feature_view IS 'everyone sees the definitions';
COMMENT ON POLICY owner ON lean.feature_view IS 'the owner may change them';
COMMENT ON POLICY reader ON lean.feature_view_feature IS 'everyone sees the definitions';
COMMENT ON POLICY owner ON lean.feature_view_feature IS 'the owner of the view may change them';
GRANT SELECT, INSERT, UPDATE, DELETE ON lean.feature_group, lean.feature, lean.feature_view, lean.feature_view_feature TO PUBLIC;

-- A definition that someone reads by does not change under them.

CREATE FUNCTION lean.feature_group_users(group_name text, group_version integer, feature name DEFAULT NULL) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (
        SELECT string_agg(DISTINCT format('%s@%s', u.view_name, u.view_version), ', ')
        FROM lean.feature_view_feature AS u
        WHERE u.group_name = feature_group_users.group_name AND u.group_version = feature_group_users.group_version
            AND (feature_group_users.feature IS NULL OR u.feature = feature_group_users.feature)
    );
COMMENT ON FUNCTION lean.feature_group_users(text, integer, name) IS 'internal: the feature views that use a group, or one feature of it';

CREATE FUNCTION lean.feature_view_users(view_name text, view_version integer) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Of models the user sees those that privileges and policies let them see.
    IF NOT has_table_privilege('lean.model', 'SELECT') OR NOT has_table_privilege('lean.model_version', 'SELECT') THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT string_agg(format('%s@%s%s', m.name, v.version, CASE WHEN coalesce(v.deleted_at, m.deleted_at) IS NOT NULL THEN ' (deleted)' END),
                          ', ' ORDER BY m.name, v.version)
        FROM lean.model_version AS v JOIN lean.model AS m USING (model_id)
        WHERE (v.feature_view, v.feature_view_version) = (feature_view_users.view_name, feature_view_users.view_version)
    );
END
$$;
COMMENT ON FUNCTION lean.feature_view_users(text, integer) IS 'internal: the versions of models that use a feature view, of those the user may see';

CREATE FUNCTION lean.feature_view_guard() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pinned record;
BEGIN
    -- Models of any project keep a view as it is, which is for the owner to see.
    IF TG_OP <> 'INSERT' THEN
        pinned := OLD;
    ELSIF lean.is_restoring(TG_RELID) THEN
        RETURN NEW;
    ELSE
        pinned := NEW;
    END IF;
    IF EXISTS (SELECT FROM lean.model_version AS v WHERE (v.feature_view, v.feature_view_version) = (pinned.view_name, pinned.view_version)) THEN
        RAISE EXCEPTION 'feature view %@% is used by versions of models', pinned.view_name, pinned.view_version
            USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Create another version of the view.';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;
COMMENT ON FUNCTION lean.feature_view_guard() IS 'internal: refuses to change the features of a view that a model uses';
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON lean.feature_view_feature FOR EACH ROW EXECUTE FUNCTION lean.feature_view_guard();
COMMENT ON TRIGGER guard ON lean.feature_view_feature IS 'refuses to change the features of a view that a model uses';

CREATE FUNCTION lean.feature_group_guard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    users text := lean.feature_group_users(OLD.name, OLD.version);
BEGIN
    IF users IS NOT NULL AND (NEW.name, NEW.version, NEW.entity_keys, NEW.event_time, NEW.created_time, NEW.ttl, NEW.history)
        IS DISTINCT FROM (OLD.name, OLD.version, OLD.entity_keys, OLD.event_time, OLD.created_time, OLD.ttl, OLD.history) THEN
        RAISE EXCEPTION 'feature group %@% is used by feature view %', OLD.name, OLD.version, users
            USING ERRCODE = 'dependent_objects_still_exist',
                  HINT = 'Create another version of the group, and a view of it.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION lean.feature_group_guard() IS 'internal: refuses to change a group that a view uses';
CREATE TRIGGER guard BEFORE UPDATE ON lean.feature_group FOR EACH ROW EXECUTE FUNCTION lean.feature_group_guard();
COMMENT ON TRIGGER guard ON lean.feature_group IS 'refuses to change a group that a view uses';

CREATE FUNCTION lean.feature_guard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    users text := lean.feature_group_users(OLD.group_name, OLD.group_version, OLD.name);
BEGIN
    IF users IS NOT NULL AND (NEW.group_name, NEW.group_version, NEW.name, NEW.type, NEW.default_value)
        IS DISTINCT FROM (OLD.group_name, OLD.group_version, OLD.name, OLD.type, OLD.default_value) THEN
        RAISE EXCEPTION 'feature %@%:% is used by feature view %', OLD.group_name, OLD.group_version, OLD.name, users
            USING ERRCODE = 'dependent_objects_still_exist',
                  HINT = 'Create another version of the group, or add a feature with another name.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION lean.feature_guard() IS 'internal: refuses to change a feature that a view uses';
CREATE TRIGGER guard BEFORE UPDATE ON lean.feature FOR EACH ROW EXECUTE FUNCTION lean.feature_guard();
COMMENT ON TRIGGER guard ON lean.feature IS 'refuses to change a feature that a view uses';

-- Sessions keep the plans of online reads, and are told when a definition changes.
CREATE FUNCTION lean.definitions_changed() RETURNS trigger AS 'MODULE_PATHNAME', 'definitions_changed' LANGUAGE c;
COMMENT ON FUNCTION lean.definitions_changed() IS 'internal: tells all sessions that a definition of the feature store has changed';
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON lean.feature_group
    FOR EACH STATEMENT EXECUTE FUNCTION lean.definitions_changed();
COMMENT ON TRIGGER changed ON lean.feature_group IS 'tells sessions to plan anew';
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON lean.feature
    FOR EACH STATEMENT EXECUTE FUNCTION lean.definitions_changed();
COMMENT ON TRIGGER changed ON lean.feature IS 'tells sessions to plan anew';
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON lean.feature_view
    FOR EACH STATEMENT EXECUTE FUNCTION lean.definitions_changed();
COMMENT ON TRIGGER changed ON lean.feature_view IS 'tells sessions to plan anew';
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON lean.feature_view_feature
    FOR EACH STATEMENT EXECUTE FUNCTION lean.definitions_changed();
COMMENT ON TRIGGER changed ON lean.feature_view_feature IS 'tells sessions to plan anew';

-- Finding what a name means: 'driver_stats@2', or 'driver_stats' for version 1

CREATE FUNCTION lean.find_feature_group(reference text) RETURNS lean.feature_group
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts text[] := regexp_match(reference, '^\s*([^@:\s]+)(?:@(\d{1,9}))?\s*$');
    result lean.feature_group;
    others text;
BEGIN
    SELECT * INTO result FROM lean.feature_group AS g WHERE g.name = parts[1] AND g.version = coalesce(parts[2]::int, 1);
    IF NOT FOUND THEN
        SELECT string_agg(format('%s@%s', g.name, g.version), ', ' ORDER BY g.version) INTO others
            FROM lean.feature_group AS g WHERE g.name = parts[1];
        RAISE EXCEPTION 'feature group "%" does not exist', reference
            USING ERRCODE = 'undefined_object',
                  HINT = coalesce('There is ' || others || '; a name without a version means version 1.',
                                  'lean.feature_groups lists the feature groups.');
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION lean.find_feature_group(text) IS 'internal: the feature group of a name such as driver_stats@2; without a version, version 1';

CREATE FUNCTION lean.find_feature_view(reference text) RETURNS lean.feature_view
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts text[] := regexp_match(reference, '^\s*([^@:\s]+)(?:@(\d{1,9}))?\s*$');
    result lean.feature_view;
    others text;
BEGIN
    SELECT * INTO result FROM lean.feature_view AS v WHERE v.name = parts[1] AND v.version = coalesce(parts[2]::int, 1);
    IF NOT FOUND THEN
        SELECT string_agg(format('%s@%s', v.name, v.version), ', ' ORDER BY v.version) INTO others
            FROM lean.feature_view AS v WHERE v.name = parts[1];
        RAISE EXCEPTION 'feature view "%" does not exist', reference
            USING ERRCODE = 'undefined_object',
                  HINT = coalesce('There is ' || others || '; a name without a version means version 1.',
                                  'lean.feature_views lists the feature views.');
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION lean.find_feature_view(text) IS 'internal: the feature view of a name such as driver_features@2; without a version, version 1';

CREATE FUNCTION lean.qualified_name(relation regclass) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (
        SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.oid = relation
    );
COMMENT ON FUNCTION lean.qualified_name(regclass) IS 'internal: a relation with its schema, null if it is gone';

-- The column of a feature as the table has it today, so that a column changed behind the registry's back is noticed.
CREATE FUNCTION lean.column_type(relation regclass, column_name name) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (
        SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a
        WHERE a.attrelid = relation AND a.attname = column_name AND a.attnum > 0 AND NOT a.attisdropped
    );
COMMENT ON FUNCTION lean.column_type(regclass, name) IS 'internal: the type of a column, null if there is none';

CREATE FUNCTION lean.check_feature_tables(g lean.feature_group, features name[] DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed record;
BEGIN
    SELECT c.what, c.type, lean.column_type(g.history, c.name) AS past, lean.column_type(g.online, c.name) AS present INTO changed FROM (
        SELECT format('feature "%s"', f.name) AS what, f.name, f.type FROM lean.feature AS f
        WHERE (f.group_name, f.group_version) = (g.name, g.version) AND (features IS NULL OR f.name = ANY (features))
        UNION ALL
        SELECT format('column "%s"', k), k, lean.column_type(coalesce(g.online, g.history), k)
        FROM unnest(g.entity_keys || g.event_time || g.created_time) AS k WHERE k IS NOT NULL
    ) AS c
        WHERE c.type IS NULL OR c.type IS DISTINCT FROM lean.column_type(g.history, c.name)
            OR g.online IS NOT NULL AND c.type IS DISTINCT FROM lean.column_type(g.online, c.name) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the tables of feature group %@% have changed: % %', g.name, g.version, changed.what,
            CASE WHEN changed.what LIKE 'feature%' THEN format('was defined as %s', changed.type) ELSE 'is not what it was' END
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = concat(CASE WHEN changed.past IS NULL THEN 'The history, or its column, is gone.'
                                       ELSE format('The column of the history is of type %s.', changed.past) END,
                                  CASE WHEN g.online IS NULL THEN NULL WHEN changed.present IS NULL THEN ' The online table, or its column, is gone.'
                                       ELSE format(' The column of the online table is of type %s.', changed.present) END),
                  HINT = 'Restore the columns, or create another version of the group.';
    END IF;
END
$$;
COMMENT ON FUNCTION lean.check_feature_tables(lean.feature_group, name[]) IS
    'internal: refuses a group whose tables have not the columns that were defined; features names some to look at';

CREATE FUNCTION lean.owned_feature_group(reference text) RETURNS lean.feature_group
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result lean.feature_group := lean.find_feature_group(reference);
BEGIN
    IF NOT lean.acts_as(result.owner) THEN
        RAISE EXCEPTION 'feature group %@% belongs to %', result.name, result.version, result.owner
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION lean.owned_feature_group(text) IS 'internal: a feature group that the user may change';

-- The operator as it is written whatever the search path; it is the one that an index on the key uses.
CREATE FUNCTION lean.equality_operator("left" regtype, "right" regtype) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (
        SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
        FROM pg_operator AS o JOIN pg_namespace AS n ON n.oid = o.oprnamespace
        WHERE o.oid = lean.equality_operator_oid("left", "right")
    );
COMMENT ON FUNCTION lean.equality_operator(regtype, regtype) IS
    'internal: how to compare a key of one type with a value of another, null if there is no way';
COMMENT ON FUNCTION lean.equality_operator_oid(oid, oid) IS 'internal: the operator by which a btree index on one type finds another';
COMMENT ON FUNCTION lean.query_columns(text) IS 'internal: the columns that a query returns, without running it';

-- Types: PostgreSQL's, and Feast's words for them

COMMENT ON FUNCTION lean.parse_type(text) IS 'internal: a type by its name, with its modifier, looked up in the search path';

CREATE FUNCTION lean.feast_word(type text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE lower(btrim(type, E' \t\n'))
        WHEN 'int32' THEN 'pg_catalog.int4'
        WHEN 'int64' THEN 'pg_catalog.int8'
        WHEN 'float32' THEN 'pg_catalog.float4'
        WHEN 'float64' THEN 'pg_catalog.float8'
        WHEN 'double' THEN 'pg_catalog.float8'
        WHEN 'string' THEN 'pg_catalog.text'
        WHEN 'bytes' THEN 'pg_catalog.bytea'
        WHEN 'map' THEN 'pg_catalog.jsonb'
        WHEN 'unix_timestamp' THEN 'pg_catalog.timestamptz'
        WHEN 'unixtimestamp' THEN 'pg_catalog.timestamptz'
        ELSE type
    END;
COMMENT ON FUNCTION lean.feast_word(text) IS 'internal: the PostgreSQL type of a scalar type of Feast; other names as they are';

CREATE FUNCTION lean.feast_type(type text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE
        WHEN type ~* '^\s*(array|set)\s*\(.*\)\s*$' THEN lean.feast_word(regexp_replace(type, '^\s*\w+\s*\((.*)\)\s*$', '\1')) || '[]'
        WHEN type ~* '^\s*(u?int\d+|float\d+|double|bool|string|bytes|map|unix_timestamp)_list\s*$' THEN lean.feast_word(regexp_replace(type, '_list\s*$', '', 'i')) || '[]'
        WHEN type ~ '\[\s*\]\s*$' THEN lean.feast_word(regexp_replace(type, '\[\s*\]\s*$', '')) || '[]'
        ELSE lean.feast_word(type)
    END;
COMMENT ON FUNCTION lean.feast_type(text) IS
    'internal: the PostgreSQL type of a type of Feast, such as Int64, Array(String) or float32_list; other names as they are';

CREATE FUNCTION lean.column_definition_type(type text, what text, search_path text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parsed record;
BEGIN
    PERFORM set_config('search_path', search_path, true);
    BEGIN
        SELECT p.type_id, p.modifier, t.typtype INTO parsed
            FROM lean.parse_type(lean.feast_type(column_definition_type.type)) AS p JOIN pg_catalog.pg_type AS t ON t.oid = p.type_id
            WHERE pg_catalog.to_regtype(lean.feast_type(column_definition_type.type)) IS NOT NULL;
    EXCEPTION WHEN syntax_error THEN
        SELECT NULL::pg_catalog.oid AS type_id, NULL::pg_catalog.int4 AS modifier, NULL::pg_catalog.text AS typtype INTO parsed;
    END;
    PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
    IF parsed.type_id IS NULL OR parsed.typtype = 'p' THEN
        RAISE EXCEPTION 'type "%" of % does not exist', type, what
            USING ERRCODE = 'undefined_object',
                  HINT = 'Types are those of PostgreSQL, and Feast''s words for them: int32, int64, float32, float64, string, '
                         'bytes, unix_timestamp, map, Array(...).';
    END IF;
    RETURN format_type(parsed.type_id, parsed.modifier);
END
$$;
COMMENT ON FUNCTION lean.column_definition_type(text, text, text) IS
    'internal: a type that a definition names, qualified; what says whose type it is';

-- Definitions as they are given

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
                parts := regexp_match(item #>> '{}', '^\s*(\S+)(?:\s+(.*\S))?\s*$');
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
        parts := regexp_match(item.definition, '^\s*(\S+)(?:\s+(.*\S))?\s*$');
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
