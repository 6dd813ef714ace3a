-- Feature groups and feature views: the registry, and how what it names is found and kept from changing.
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

CREATE FUNCTION lean.reference_parts(reference text) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN regexp_match(reference, '^\s*([^@:\s]+)(?:@(\d{1,9}))?\s*$');
COMMENT ON FUNCTION lean.reference_parts(text) IS 'internal: the name of a group or view and its version, which may be left out; null for what is neither';

CREATE FUNCTION lean.find_feature_group(reference text) RETURNS lean.feature_group
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts text[] := lean.reference_parts(reference);
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
    parts text[] := lean.reference_parts(reference);
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
