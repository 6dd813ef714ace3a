-- Lineage: what a version of a model came from, and what came of a run, of data or of a feature.
--
-- An edge leads up, from what was made to what it was made from. Between versions it is a row here; to runs, data and feature
-- views it is their foreign key. There are no cycles: whoever adds an edge between versions takes the one row of
-- lean.lineage_guard before it looks, so that two sessions cannot each add half of a cycle. That row comes after those of models
-- in the order of locks.

CREATE TABLE lean.model_parent (
    model_id bigint NOT NULL,
    version integer NOT NULL,
    parent_model_id bigint NOT NULL,
    parent_version integer NOT NULL,
    relation text NOT NULL CHECK (relation ~ '^[a-z][a-z0-9_]*$'),
    config jsonb NOT NULL DEFAULT '{}',
    created_by name NOT NULL DEFAULT current_user,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model_id, version, parent_model_id, parent_version),
    FOREIGN KEY (model_id, version) REFERENCES lean.model_version (model_id, version),
    FOREIGN KEY (parent_model_id, parent_version) REFERENCES lean.model_version (model_id, version)
);
CREATE INDEX model_parent_parent ON lean.model_parent (parent_model_id, parent_version);
COMMENT ON TABLE lean.model_parent IS 'which versions of models a version was made from';
COMMENT ON COLUMN lean.model_parent.model_id IS 'the model of the version that was made';
COMMENT ON COLUMN lean.model_parent.version IS 'the version that was made';
COMMENT ON COLUMN lean.model_parent.parent_model_id IS 'the model of the version that it was made from';
COMMENT ON COLUMN lean.model_parent.parent_version IS 'the version that it was made from';
COMMENT ON COLUMN lean.model_parent.relation IS 'how: fine_tuned, retrained, distilled, quantized, merged or another word';
COMMENT ON COLUMN lean.model_parent.config IS 'settings of that';
COMMENT ON COLUMN lean.model_parent.created_by IS 'who noted it';
COMMENT ON COLUMN lean.model_parent.created_at IS 'when it was noted';

SELECT pg_catalog.pg_extension_config_dump('lean.model_parent', '');

CREATE TABLE lean.lineage_guard (changed_in xid8);
COMMENT ON TABLE lean.lineage_guard IS 'internal: the one row that a transaction takes which adds to the lineage of models';
COMMENT ON COLUMN lean.lineage_guard.changed_in IS 'the last transaction that added to the lineage';
INSERT INTO lean.lineage_guard VALUES (NULL);

-- It sees every edge, of whatever project, and is where the row is taken that users have no privilege on. Under REPEATABLE
-- READ whoever waited for the row fails to update it, rather than look at edges as they were.
CREATE FUNCTION lean.refuse_cycle() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE lean.lineage_guard SET changed_in = pg_current_xact_id() WHERE changed_in IS DISTINCT FROM pg_current_xact_id();
    IF EXISTS (
        WITH RECURSIVE ancestors (model_id, version) AS (
            SELECT NEW.parent_model_id, NEW.parent_version
            UNION
            SELECT p.parent_model_id, p.parent_version
            FROM ancestors AS a JOIN lean.model_parent AS p ON (p.model_id, p.version) = (a.model_id, a.version)
        )
        SELECT FROM ancestors AS a WHERE (a.model_id, a.version) = (NEW.model_id, NEW.version)
    ) THEN
        RAISE EXCEPTION '%@% cannot be made from %@%, which was made from it',
            (SELECT m.name FROM lean.model AS m WHERE m.model_id = NEW.model_id), NEW.version,
            (SELECT m.name FROM lean.model AS m WHERE m.model_id = NEW.parent_model_id), NEW.parent_version
            USING ERRCODE = 'integrity_constraint_violation', HINT = 'lean.lineage shows what a version was made from.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION lean.refuse_cycle() IS 'internal: refuses an edge that closes a cycle of the lineage';
CREATE TRIGGER cycle AFTER INSERT OR UPDATE ON lean.model_parent FOR EACH ROW EXECUTE FUNCTION lean.refuse_cycle();
COMMENT ON TRIGGER cycle ON lean.model_parent IS 'refuses cycles';

CREATE FUNCTION lean.add_parent(model text, parent text, relation text, config jsonb DEFAULT '{}') RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v lean.model_version := lean.find_model_version(model);
    p lean.model_version := lean.find_model_version(parent);
BEGIN
    IF coalesce(relation, '') !~ '^[a-z][a-z0-9_]*$' THEN
        RAISE EXCEPTION '"%" is no name for a relation', relation
            USING ERRCODE = 'invalid_name', HINT = 'It is fine_tuned, retrained, distilled, quantized, merged, or another word in lower case.';
    ELSIF (v.model_id, v.version) = (p.model_id, p.version) THEN
        RAISE EXCEPTION '% cannot be made from itself', model USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO lean.model_parent AS x (model_id, version, parent_model_id, parent_version, relation, config)
        VALUES (v.model_id, v.version, p.model_id, p.version, relation, coalesce(config, '{}'))
        ON CONFLICT ON CONSTRAINT model_parent_pkey DO UPDATE SET relation = EXCLUDED.relation, config = EXCLUDED.config
        WHERE (x.relation, x.config) IS DISTINCT FROM (EXCLUDED.relation, EXCLUDED.config);
END
$$;
COMMENT ON FUNCTION lean.add_parent(text, text, text, jsonb) IS
    'notes that a version, student@1, was made from another, teacher@3, and how: fine_tuned, retrained, distilled, quantized, merged, ...';

CREATE FUNCTION lean.remove_parent(model text, parent text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v lean.model_version := lean.find_model_version(model);
    p lean.model_version := lean.find_model_version(parent);
BEGIN
    DELETE FROM lean.model_parent AS x
        WHERE (x.model_id, x.version, x.parent_model_id, x.parent_version) = (v.model_id, v.version, p.model_id, p.version);
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is no parent of %', parent, model USING ERRCODE = 'undefined_object', HINT = 'lean.lineage shows its parents.';
    END IF;
END
$$;
COMMENT ON FUNCTION lean.remove_parent(text, text) IS 'takes back what lean.add_parent noted';

-- Walking. Inside, a node is a kind and a key of numbers, or name@version of a feature view or group; ids are for people.

CREATE FUNCTION lean.lineage_key(kind text, id text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v lean.model_version;
    fv lean.feature_view;
    g lean.feature_group;
    run uuid;
BEGIN
    CASE kind
        WHEN 'model_version' THEN
            v := lean.find_model_version(id, deleted => true);
            RETURN format('%s@%s', v.model_id, v.version);
        WHEN 'run' THEN
            BEGIN
                run := id::uuid;
            EXCEPTION WHEN invalid_text_representation THEN
                RAISE EXCEPTION '"%" is no id of a run', id USING ERRCODE = 'invalid_parameter_value', HINT = 'It is the uuid that lean.start_run gave.';
            END;
            RETURN (lean.find_run(run)).run_no;
        WHEN 'dataset' THEN
            RETURN (lean.find_dataset(id)).dataset_id;
        WHEN 'feature_view' THEN
            fv := lean.find_feature_view(id);
            RETURN format('%s@%s', fv.name, fv.version);
        WHEN 'feature_group' THEN
            g := lean.find_feature_group(id);
            RETURN format('%s@%s', g.name, g.version);
        ELSE
            RAISE EXCEPTION '"%" is no kind of thing with a lineage', kind
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Kinds are model_version, run, dataset, feature_view and feature_group.';
    END CASE;
END
$$;
COMMENT ON FUNCTION lean.lineage_key(text, text) IS 'internal: the key of a node of the lineage';

CREATE FUNCTION lean.lineage_id(kind text, key text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN CASE kind
        WHEN 'model_version' THEN (SELECT m.name FROM lean.model AS m WHERE m.model_id = split_part(key, '@', 1)::bigint) || '@' || split_part(key, '@', 2)
        WHEN 'run' THEN (SELECT r.run_id::text FROM lean.run AS r WHERE r.run_no = key::bigint)
        WHEN 'dataset' THEN (SELECT d.name || '@' || d.digest FROM lean.dataset AS d WHERE d.dataset_id = key::bigint)
        ELSE key
    END;
COMMENT ON FUNCTION lean.lineage_id(text, text) IS 'internal: how people name a node of the lineage';

CREATE FUNCTION lean.lineage_parents(kind text, keys text[])
    RETURNS TABLE (n bigint, relation text, parent_kind text, parent_key text, config jsonb)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF kind = 'model_version' THEN
        RETURN QUERY
        WITH v AS (
            SELECT k.n, v.* FROM unnest(keys) WITH ORDINALITY AS k (key, n)
                JOIN lean.model_version AS v ON (v.model_id, v.version) = (split_part(k.key, '@', 1)::bigint, split_part(k.key, '@', 2)::integer)
        )
        SELECT v.n, p.relation, 'model_version', format('%s@%s', p.parent_model_id, p.parent_version), p.config
            FROM v JOIN lean.model_parent AS p USING (model_id, version)
        UNION ALL SELECT v.n, 'made_by', 'run', v.run_no::text, NULL FROM v WHERE v.run_no IS NOT NULL
        UNION ALL SELECT v.n, 'trained_on', 'dataset', v.dataset_id::text, NULL FROM v WHERE v.dataset_id IS NOT NULL
        UNION ALL SELECT v.n, 'trained_with', 'feature_view', format('%s@%s', v.feature_view, v.feature_view_version), NULL
            FROM v WHERE v.feature_view IS NOT NULL;
    ELSIF kind = 'run' THEN
        RETURN QUERY
        SELECT k.n, r.context, 'dataset', r.dataset_id::text, NULL::jsonb
            FROM unnest(keys) WITH ORDINALITY AS k (key, n) JOIN lean.run_dataset AS r ON r.run_no = k.key::bigint
        UNION ALL SELECT k.n, 'part_of', 'run', r.parent_run_no::text, NULL
            FROM unnest(keys) WITH ORDINALITY AS k (key, n) JOIN lean.run AS r ON r.run_no = k.key::bigint WHERE r.parent_run_no IS NOT NULL;
    ELSIF kind = 'feature_view' THEN
        RETURN QUERY
        SELECT DISTINCT k.n, 'features_of', 'feature_group', format('%s@%s', f.group_name, f.group_version), NULL::jsonb
            FROM unnest(keys) WITH ORDINALITY AS k (key, n) JOIN lean.feature_view_feature AS f
                ON (f.view_name, f.view_version) = (split_part(k.key, '@', 1), split_part(k.key, '@', 2)::integer);
    END IF;
END
$$;
COMMENT ON FUNCTION lean.lineage_parents(text, text[]) IS 'internal: the edges that lead up from nodes of a kind; n is the place of the key';

CREATE FUNCTION lean.lineage_children(kind text, keys text[])
    RETURNS TABLE (n bigint, relation text, child_kind text, child_key text, config jsonb)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF kind = 'model_version' THEN
        RETURN QUERY SELECT k.n, p.relation, 'model_version', format('%s@%s', p.model_id, p.version), p.config
            FROM unnest(keys) WITH ORDINALITY AS k (key, n) JOIN lean.model_parent AS p
                ON (p.parent_model_id, p.parent_version) = (split_part(k.key, '@', 1)::bigint, split_part(k.key, '@', 2)::integer);
    ELSIF kind = 'run' THEN
        RETURN QUERY SELECT k.n, 'made_by', 'model_version', format('%s@%s', v.model_id, v.version), NULL::jsonb
            FROM unnest(keys) WITH ORDINALITY AS k (key, n) JOIN lean.model_version AS v ON v.run_no = k.key::bigint
        UNION ALL SELECT k.n, 'part_of', 'run', r.run_no::text, NULL
            FROM unnest(keys) WITH ORDINALITY AS k (key, n) JOIN lean.run AS r ON r.parent_run_no = k.key::bigint;
    ELSIF kind = 'dataset' THEN
        RETURN QUERY SELECT k.n, 'trained_on', 'model_version', format('%s@%s', v.model_id, v.version), NULL::jsonb
            FROM unnest(keys) WITH ORDINALITY AS k (key, n) JOIN lean.model_version AS v ON v.dataset_id = k.key::bigint
        UNION ALL SELECT k.n, r.context, 'run', r.run_no::text, NULL
            FROM unnest(keys) WITH ORDINALITY AS k (key, n) JOIN lean.run_dataset AS r ON r.dataset_id = k.key::bigint;
    ELSIF kind = 'feature_view' THEN
        RETURN QUERY SELECT k.n, 'trained_with', 'model_version', format('%s@%s', v.model_id, v.version), NULL::jsonb
            FROM unnest(keys) WITH ORDINALITY AS k (key, n) JOIN lean.model_version AS v
                ON (v.feature_view, v.feature_view_version) = (split_part(k.key, '@', 1), split_part(k.key, '@', 2)::integer);
    ELSIF kind = 'feature_group' THEN
        RETURN QUERY SELECT DISTINCT k.n, 'features_of', 'feature_view', format('%s@%s', f.view_name, f.view_version), NULL::jsonb
            FROM unnest(keys) WITH ORDINALITY AS k (key, n) JOIN lean.feature_view_feature AS f
                ON (f.group_name, f.group_version) = (split_part(k.key, '@', 1), split_part(k.key, '@', 2)::integer);
    END IF;
END
$$;
COMMENT ON FUNCTION lean.lineage_children(text, text[]) IS 'internal: the edges that lead down from nodes of a kind; n is the place of the key';

-- Breadth first, each node once: of a lineage with many ways to one node, the ways would be too many to list.
CREATE FUNCTION lean.lineage(kind text, id text, direction text DEFAULT 'up', max_depth integer DEFAULT NULL)
    RETURNS TABLE (depth integer, node_kind text, node text, relation text, config jsonb, path text[])
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    kinds text[] := ARRAY[kind];
    keys text[] := ARRAY[lean.lineage_key(kind, id)];
    names text[];
    origins integer[] := '{0}';
    first integer := 1;
    last integer := 1;
    place integer;
    found record;
BEGIN
    IF direction IS NULL OR direction NOT IN ('up', 'down') THEN
        RAISE EXCEPTION '"%" is no direction', direction
            USING ERRCODE = 'invalid_parameter_value', HINT = 'up is what it was made from, down is what was made from it.';
    ELSIF max_depth < 1 THEN
        RAISE EXCEPTION 'max_depth % is not a depth', max_depth USING ERRCODE = 'invalid_parameter_value', HINT = 'Depths count from 1.';
    END IF;
    names := ARRAY[lean.lineage_id(kinds[1], keys[1])];
    depth := 0;
    WHILE first <= last AND depth < coalesce(max_depth, 1000000) LOOP
        depth := depth + 1;
        FOR found IN
            WITH here AS (
                SELECT k.kind, array_agg(k.key ORDER BY k.n) AS batch, array_agg((first + k.n - 1)::integer ORDER BY k.n) AS places
                FROM unnest(kinds[first:last], keys[first:last]) WITH ORDINALITY AS k (kind, key, n) GROUP BY k.kind
            ), edges AS (
                SELECT DISTINCT ON (e.kind, e.key) e.kind, e.key, e.relation, e.config, h.places[e.n] AS origin
                FROM here AS h, LATERAL (
                    SELECT p.n, p.relation, p.parent_kind, p.parent_key, p.config FROM lean.lineage_parents(h.kind, h.batch) AS p WHERE direction = 'up'
                    UNION ALL SELECT c.n, c.relation, c.child_kind, c.child_key, c.config FROM lean.lineage_children(h.kind, h.batch) AS c WHERE direction = 'down'
                ) AS e (n, relation, kind, key, config)
                WHERE (e.kind, e.key) NOT IN (SELECT s.kind, s.key FROM unnest(kinds, keys) AS s (kind, key))
                ORDER BY e.kind, e.key, h.places[e.n], e.relation
            )
            SELECT e.*, i.name FROM edges AS e, LATERAL (SELECT lean.lineage_id(e.kind, e.key) AS name) AS i
            WHERE i.name IS NOT NULL ORDER BY e.kind, i.name
        LOOP
            kinds := kinds || found.kind;
            keys := keys || found.key;
            names := names || found.name;
            origins := origins || found.origin;
            node_kind := found.kind;
            node := found.name;
            relation := found.relation;
            config := found.config;
            path := ARRAY[node];
            place := found.origin;
            WHILE place > 0 LOOP
                path := names[place] || path;
                place := origins[place];
            END LOOP;
            RETURN NEXT;
        END LOOP;
        first := last + 1;
        last := cardinality(keys);
    END LOOP;
END
$$;
COMMENT ON FUNCTION lean.lineage(text, text, text, integer) IS
    'what a model_version, run, dataset, feature_view or feature_group was made from (up) or what was made from it (down), nearest first, with the shortest way there';
