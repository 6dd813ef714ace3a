-- Models, their versions, and which version an alias or a stage stood for at any time.
--
-- Whatever changes a model takes the row of lean.model first, then its versions, then aliases and history: one order, so
-- that concurrent changes of a model wait for each other and never in a circle. Whoever changes several models takes them in
-- the order of their numbers. The number of a version comes from the locked row, so numbers have no gaps; times of the
-- history are taken under the lock, so they follow one another.

CREATE TABLE lean.model (
    model_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL DEFAULT 'default' CHECK (project <> '' AND project !~ '/'),
    name text NOT NULL UNIQUE CHECK (name ~ '^[^@\s]([^@]*[^@\s])?$'),
    description text,
    tags jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(tags) = 'object'),
    last_version integer NOT NULL DEFAULT 0 CHECK (last_version >= 0),
    created_by name NOT NULL DEFAULT current_user,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
COMMENT ON TABLE lean.model IS 'registered models; lean.models shows them in words';
COMMENT ON COLUMN lean.model.model_id IS 'number of the model inside of the database';
COMMENT ON COLUMN lean.model.project IS 'whose it is; row-level security may go by it';
COMMENT ON COLUMN lean.model.name IS 'name of the model; without @, which stands before a version or an alias';
COMMENT ON COLUMN lean.model.description IS 'what it is for';
COMMENT ON COLUMN lean.model.tags IS 'words about it, an object';
COMMENT ON COLUMN lean.model.last_version IS 'number of the newest version, 0 if there is none';
COMMENT ON COLUMN lean.model.created_by IS 'who registered it';
COMMENT ON COLUMN lean.model.created_at IS 'when it was registered';
COMMENT ON COLUMN lean.model.deleted_at IS 'when it was deleted; null if it is not';

CREATE TABLE lean.model_version (
    model_id bigint NOT NULL REFERENCES lean.model,
    version integer NOT NULL CHECK (version > 0),
    run_no bigint REFERENCES lean.run,
    artifact_uri text,
    type text,
    framework text,
    architecture text,
    input_schema jsonb,
    output_schema jsonb,
    size_bytes bigint CHECK (size_bytes >= 0),
    checksum text,
    tags jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(tags) = 'object'),
    metadata jsonb NOT NULL DEFAULT '{}',
    dataset_id bigint REFERENCES lean.dataset,
    feature_view text,
    feature_view_version integer,
    stage text NOT NULL DEFAULT 'none' CHECK (stage IN ('none', 'staging', 'production', 'archived')),
    created_by name NOT NULL DEFAULT current_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deployed_at timestamptz,
    deprecated_at timestamptz,
    deleted_at timestamptz,
    PRIMARY KEY (model_id, version),
    FOREIGN KEY (feature_view, feature_view_version) REFERENCES lean.feature_view (name, version),
    CHECK ((feature_view IS NULL) = (feature_view_version IS NULL))
);
CREATE INDEX model_version_run ON lean.model_version (run_no) WHERE run_no IS NOT NULL;
CREATE INDEX model_version_dataset ON lean.model_version (dataset_id) WHERE dataset_id IS NOT NULL;
CREATE INDEX model_version_feature_view ON lean.model_version (feature_view, feature_view_version) WHERE feature_view IS NOT NULL;
COMMENT ON TABLE lean.model_version IS 'versions of models; lean.model_versions shows them in words';
COMMENT ON COLUMN lean.model_version.model_id IS 'the model';
COMMENT ON COLUMN lean.model_version.version IS 'number of the version, from 1 without gaps';
COMMENT ON COLUMN lean.model_version.run_no IS 'the run that made it';
COMMENT ON COLUMN lean.model_version.artifact_uri IS 'where its file is';
COMMENT ON COLUMN lean.model_version.type IS 'what it does: classifier, regressor, embedding or another word';
COMMENT ON COLUMN lean.model_version.framework IS 'what it was made with';
COMMENT ON COLUMN lean.model_version.architecture IS 'what it is made of';
COMMENT ON COLUMN lean.model_version.input_schema IS 'what it takes';
COMMENT ON COLUMN lean.model_version.output_schema IS 'what it gives';
COMMENT ON COLUMN lean.model_version.size_bytes IS 'size of its file';
COMMENT ON COLUMN lean.model_version.checksum IS 'checksum of its file';
COMMENT ON COLUMN lean.model_version.tags IS 'words about it, an object';
COMMENT ON COLUMN lean.model_version.metadata IS 'anything else';
COMMENT ON COLUMN lean.model_version.dataset_id IS 'data it was trained on';
COMMENT ON COLUMN lean.model_version.feature_view IS 'feature view it was trained with; the view can be neither dropped nor changed';
COMMENT ON COLUMN lean.model_version.feature_view_version IS 'version of that feature view';
COMMENT ON COLUMN lean.model_version.stage IS 'none, staging, production or archived';
COMMENT ON COLUMN lean.model_version.created_by IS 'who registered it';
COMMENT ON COLUMN lean.model_version.created_at IS 'when it was registered';
COMMENT ON COLUMN lean.model_version.deployed_at IS 'when it last went to production';
COMMENT ON COLUMN lean.model_version.deprecated_at IS 'when it left production or was archived; null while it is in use';
COMMENT ON COLUMN lean.model_version.deleted_at IS 'when it was deleted; null if it is not';

CREATE TABLE lean.model_alias (
    model_id bigint NOT NULL REFERENCES lean.model,
    alias text NOT NULL CHECK (alias ~ '^[\w-]+$' AND alias <> 'latest' AND alias !~ '^[vV]?[0-9]+$'),
    version integer NOT NULL,
    PRIMARY KEY (model_id, alias),
    FOREIGN KEY (model_id, version) REFERENCES lean.model_version (model_id, version)
);
CREATE INDEX model_alias_version ON lean.model_alias (model_id, version);
COMMENT ON TABLE lean.model_alias IS 'names that stand for a version; lean.model_aliases shows them in words';
COMMENT ON COLUMN lean.model_alias.model_id IS 'the model';
COMMENT ON COLUMN lean.model_alias.alias IS 'the name; one of a model stands for one version';
COMMENT ON COLUMN lean.model_alias.version IS 'the version it stands for';

-- Ranges of one number make an index of ranges compare for equality. Of an alias it is the hash that is compared, which
-- takes two aliases of a model for one in a case out of 2^64.
CREATE TABLE lean.model_history (
    history_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_id bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('alias', 'stage')),
    name text NOT NULL,
    version integer NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz CHECK (valid_to > valid_from),
    changed_by name NOT NULL DEFAULT current_user,
    reason text,
    ended_by name,
    end_reason text,
    FOREIGN KEY (model_id, version) REFERENCES lean.model_version (model_id, version),
    CONSTRAINT model_history_one_version EXCLUDE USING gist (
        int8range(model_id, model_id, '[]') WITH &&,
        int8range(hashtextextended(name COLLATE "C", 0), hashtextextended(name COLLATE "C", 0), '[]') WITH &&,
        tstzrange(valid_from, valid_to) WITH &&) WHERE (kind = 'alias'),
    CONSTRAINT model_history_one_stage EXCLUDE USING gist (
        int8range(model_id, model_id, '[]') WITH &&,
        int4range(version, version, '[]') WITH &&,
        tstzrange(valid_from, valid_to) WITH &&) WHERE (kind = 'stage')
);
CREATE UNIQUE INDEX model_history_open_alias ON lean.model_history (model_id, name) WHERE kind = 'alias' AND valid_to IS NULL;
CREATE UNIQUE INDEX model_history_open_stage ON lean.model_history (model_id, version) WHERE kind = 'stage' AND valid_to IS NULL;
CREATE INDEX model_history_name ON lean.model_history (model_id, kind, name, valid_from);
COMMENT ON TABLE lean.model_history IS 'which version each alias stood for and which stage each version was in, from when to when';
COMMENT ON COLUMN lean.model_history.history_id IS 'number of the row';
COMMENT ON COLUMN lean.model_history.model_id IS 'the model';
COMMENT ON COLUMN lean.model_history.kind IS 'alias or stage';
COMMENT ON COLUMN lean.model_history.name IS 'the alias or the stage';
COMMENT ON COLUMN lean.model_history.version IS 'the version';
COMMENT ON COLUMN lean.model_history.valid_from IS 'since when, this moment included';
COMMENT ON COLUMN lean.model_history.valid_to IS 'until when, this moment excluded; null while it holds';
COMMENT ON COLUMN lean.model_history.changed_by IS 'who began it';
COMMENT ON COLUMN lean.model_history.reason IS 'why';
COMMENT ON COLUMN lean.model_history.ended_by IS 'who ended it';
COMMENT ON COLUMN lean.model_history.end_reason IS 'why';
COMMENT ON CONSTRAINT model_history_one_version ON lean.model_history IS 'an alias stands for one version at any time';
COMMENT ON CONSTRAINT model_history_one_stage ON lean.model_history IS 'a version is in one stage at any time';

SELECT pg_catalog.pg_extension_config_dump('lean.model', '');
SELECT pg_catalog.pg_extension_config_dump('lean.model_version', '');
SELECT pg_catalog.pg_extension_config_dump('lean.model_alias', '');
SELECT pg_catalog.pg_extension_config_dump('lean.model_history', '');
SELECT pg_catalog.pg_extension_config_dump('lean.model_model_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('lean.model_history_history_id_seq', '');

-- What was is not rewritten: a row of the history ends once, and nothing else happens to it.
CREATE FUNCTION lean.model_history_guard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.valid_to IS NULL AND NEW.valid_to IS NOT NULL
            AND (NEW.history_id, NEW.model_id, NEW.kind, NEW.name, NEW.version, NEW.valid_from, NEW.changed_by, NEW.reason)
                IS NOT DISTINCT FROM (OLD.history_id, OLD.model_id, OLD.kind, OLD.name, OLD.version, OLD.valid_from, OLD.changed_by, OLD.reason) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'the history of models is not changed afterwards'
        USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'lean.set_alias, lean.delete_alias and lean.set_stage add to it.';
END
$$;
COMMENT ON FUNCTION lean.model_history_guard() IS 'internal: refuses to change what the history of models says';
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON lean.model_history FOR EACH ROW EXECUTE FUNCTION lean.model_history_guard();
COMMENT ON TRIGGER guard ON lean.model_history IS 'refuses to change what the history says';
CREATE TRIGGER guard_all BEFORE TRUNCATE ON lean.model_history FOR EACH STATEMENT EXECUTE FUNCTION lean.model_history_guard();
COMMENT ON TRIGGER guard_all ON lean.model_history IS 'refuses to empty the history';

-- Finding: 'churn' is a model; 'churn@3', 'churn@champion', 'churn@production' and 'churn@latest' are versions

CREATE FUNCTION lean.find_model(name text, deleted boolean DEFAULT false) RETURNS lean.model
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result lean.model;
BEGIN
    SELECT * INTO result FROM lean.model AS m WHERE m.name = find_model.name;
    IF NOT FOUND OR (result.deleted_at IS NOT NULL AND NOT deleted) THEN
        RAISE EXCEPTION 'model "%" %', name, CASE WHEN result.deleted_at IS NULL THEN 'does not exist' ELSE 'was deleted' END
            USING ERRCODE = 'undefined_object',
                  HINT = CASE WHEN result.deleted_at IS NOT NULL THEN 'lean.restore_model brings it back.'
                      WHEN name ~ '@' THEN 'Give the name alone here, without a version.'
                      ELSE 'lean.register_model makes one; lean.models lists them.' END;
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION lean.find_model(text, boolean) IS 'internal: a model by name; one that was deleted only if asked for';

CREATE FUNCTION lean.find_version(m lean.model, version integer, deleted boolean DEFAULT false) RETURNS lean.model_version
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result lean.model_version;
BEGIN
    SELECT * INTO result FROM lean.model_version AS v WHERE (v.model_id, v.version) = (m.model_id, find_version.version);
    IF NOT FOUND OR (result.deleted_at IS NOT NULL AND NOT deleted) THEN
        RAISE EXCEPTION 'version % of model "%" %', version, m.name, CASE WHEN result.deleted_at IS NULL THEN 'does not exist' ELSE 'was deleted' END
            USING ERRCODE = 'undefined_object',
                  HINT = CASE WHEN result.deleted_at IS NOT NULL THEN 'lean.restore_model_version brings it back.'
                      WHEN m.last_version = 0 THEN 'It has none; lean.create_model_version makes one.'
                      ELSE format('Its newest version is %s.', m.last_version) END;
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION lean.find_version(lean.model, integer, boolean) IS 'internal: a version of a model; one that was deleted only if asked for';

CREATE FUNCTION lean.find_model_version(reference text, deleted boolean DEFAULT false) RETURNS lean.model_version
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts text[] := regexp_match(reference, '^(.+)@([\w-]+)$');
    m lean.model;
    found integer[];
BEGIN
    IF parts IS NULL THEN
        RAISE EXCEPTION '"%" is not a version of a model', reference
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Write churn@3, churn@latest, or churn@champion with an alias or a stage.';
    END IF;
    m := lean.find_model(parts[1], deleted);
    IF parts[2] ~ '^[vV]?\d{1,9}$' THEN
        RETURN lean.find_version(m, ltrim(parts[2], 'vV')::integer, deleted);
    ELSIF parts[2] = 'latest' THEN
        found := ARRAY(SELECT v.version FROM lean.model_version AS v WHERE v.model_id = m.model_id AND v.deleted_at IS NULL
                       ORDER BY v.version DESC LIMIT 1);
    ELSE
        found := ARRAY(SELECT a.version FROM lean.model_alias AS a WHERE (a.model_id, a.alias) = (m.model_id, parts[2]));
        IF found = '{}' AND parts[2] <> 'none' THEN
            found := ARRAY(SELECT v.version FROM lean.model_version AS v
                           WHERE v.model_id = m.model_id AND v.stage = lower(parts[2]) AND v.deleted_at IS NULL ORDER BY v.version);
        END IF;
    END IF;
    IF cardinality(found) = 0 THEN
        RAISE EXCEPTION 'model "%" has no version "%"', m.name, parts[2]
            USING ERRCODE = 'undefined_object',
                  HINT = coalesce('Its aliases are ' || (SELECT string_agg(a.alias, ', ' ORDER BY a.alias) FROM lean.model_alias AS a
                                                         WHERE a.model_id = m.model_id) || '.', 'It has no aliases.');
    ELSIF cardinality(found) > 1 THEN
        RAISE EXCEPTION 'model "%" has several versions in %: %', m.name, parts[2], array_to_string(found, ', ')
            USING ERRCODE = 'cardinality_violation', HINT = 'Name one by its number, or by an alias, which stands for one version.';
    END IF;
    RETURN lean.find_version(m, found[1], deleted);
END
$$;
COMMENT ON FUNCTION lean.find_model_version(text, boolean) IS
    'internal: the version of a reference such as churn@3, churn@champion, churn@production or churn@latest';

CREATE FUNCTION lean.find_dataset(reference text) RETURNS lean.dataset
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts text[] := regexp_match(reference, '^(.+)@([^@]+)$');
    result lean.dataset;
    digests text[];
BEGIN
    SELECT * INTO result FROM lean.dataset AS d WHERE (d.name, d.digest) = (parts[1], parts[2]);
    IF FOUND THEN
        RETURN result;
    END IF;
    digests := ARRAY(SELECT d.digest FROM lean.dataset AS d WHERE d.name = reference ORDER BY d.dataset_id);
    IF cardinality(digests) > 1 THEN
        RAISE EXCEPTION 'there are % datasets named "%"', cardinality(digests), reference
            USING ERRCODE = 'cardinality_violation',
                  HINT = format('Name the digest too: %s.', (SELECT string_agg(format('%s@%s', reference, d), ', ') FROM unnest(digests) AS d));
    END IF;
    SELECT * INTO result FROM lean.dataset AS d WHERE d.name = reference;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'dataset "%" does not exist', reference
            USING ERRCODE = 'undefined_object', HINT = 'lean.log_dataset notes one that a run read, lean.register_dataset any other.';
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION lean.find_dataset(text) IS 'internal: a dataset by name, or by name@digest';

CREATE FUNCTION lean.register_dataset(name text, digest text, version text DEFAULT NULL, uri text DEFAULT NULL, description text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO lean.dataset (name, digest, version, uri, description)
        VALUES (register_dataset.name, register_dataset.digest, register_dataset.version, register_dataset.uri, register_dataset.description)
        ON CONFLICT ON CONSTRAINT dataset_name_digest_key DO NOTHING;
    RETURN (SELECT d.dataset_id FROM lean.dataset AS d WHERE (d.name, d.digest) = (register_dataset.name, register_dataset.digest));
END
$$;
COMMENT ON FUNCTION lean.register_dataset(text, text, text, text, text) IS
    'notes data that no run has read yet, such as a holdout, or finds it; gives its number';

-- The row lock that every change of a model begins with.
CREATE FUNCTION lean.lock_model(name text, deleted boolean DEFAULT false) RETURNS lean.model
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM lean.model AS m WHERE m.name = lock_model.name FOR NO KEY UPDATE;
    RETURN lean.find_model(name, deleted);
END
$$;
COMMENT ON FUNCTION lean.lock_model(text, boolean) IS 'internal: a model, locked until the transaction ends';

-- Registering

CREATE FUNCTION lean.register_model(name text, project text DEFAULT 'default', description text DEFAULT NULL, tags jsonb DEFAULT '{}')
    RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made bigint;
    existing lean.model;
BEGIN
    IF coalesce(name, '') !~ '^[^@\s]([^@]*[^@\s])?$' THEN
        RAISE EXCEPTION '"%" is no name for a model', name
            USING ERRCODE = 'invalid_name', HINT = 'A name has no @, and no white space at its ends.';
    ELSIF project = '' OR project ~ '/' THEN
        RAISE EXCEPTION '"%" is no name for a project', project
            USING ERRCODE = 'invalid_name', HINT = 'A name of a project is not empty and has no slash.';
    ELSIF jsonb_typeof(tags) <> 'object' THEN
        RAISE EXCEPTION 'tags is not an object: %', tags USING ERRCODE = 'invalid_parameter_value', HINT = 'Write {"team": "growth"}.';
    END IF;
    INSERT INTO lean.model AS m (name, project, description, tags)
        VALUES (register_model.name, coalesce(register_model.project, 'default'), register_model.description, coalesce(register_model.tags, '{}'))
        ON CONFLICT ON CONSTRAINT model_name_key DO NOTHING RETURNING m.model_id INTO made;
    IF made IS NULL THEN
        SELECT * INTO existing FROM lean.model AS m WHERE m.name = register_model.name;
        IF existing.model_id IS NULL OR existing.deleted_at IS NOT NULL OR existing.project <> coalesce(register_model.project, 'default') THEN
            RAISE EXCEPTION 'model "%" %', name, CASE WHEN existing.model_id IS NULL THEN 'is one that you may not see'
                    WHEN existing.deleted_at IS NOT NULL THEN 'was deleted' ELSE format('is in project "%s"', existing.project) END
                USING ERRCODE = 'duplicate_object',
                      HINT = CASE WHEN existing.deleted_at IS NOT NULL THEN 'lean.restore_model brings it back.'
                          ELSE 'Names of models are one in all projects; take another.' END;
        END IF;
        made := existing.model_id;
    END IF;
    RETURN made;
END
$$;
COMMENT ON FUNCTION lean.register_model(text, text, text, jsonb) IS 'registers a model, or finds the one of this name; gives its number';

CREATE FUNCTION lean.create_model_version(
    name text, run uuid DEFAULT NULL, artifact_uri text DEFAULT NULL, type text DEFAULT NULL, framework text DEFAULT NULL,
    architecture text DEFAULT NULL, input_schema jsonb DEFAULT NULL, output_schema jsonb DEFAULT NULL, size_bytes bigint DEFAULT NULL,
    checksum text DEFAULT NULL, tags jsonb DEFAULT '{}', metadata jsonb DEFAULT '{}', dataset text DEFAULT NULL,
    feature_view text DEFAULT NULL
) RETURNS integer
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    m lean.model := lean.find_model(name);
    run_no bigint := CASE WHEN run IS NOT NULL THEN (lean.find_run(run)).run_no END;
    dataset_id bigint := CASE WHEN dataset IS NOT NULL THEN (lean.find_dataset(dataset)).dataset_id END;
    pinned lean.feature_view;
    hidden text;
    made integer;
BEGIN
    IF jsonb_typeof(tags) <> 'object' THEN
        RAISE EXCEPTION 'tags is not an object: %', tags USING ERRCODE = 'invalid_parameter_value', HINT = 'Write {"team": "growth"}.';
    ELSIF size_bytes < 0 THEN
        RAISE EXCEPTION 'size_bytes % is negative', size_bytes USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF feature_view IS NOT NULL THEN
        pinned := lean.find_feature_view(feature_view);
        -- The version keeps the owner of the view from dropping it: who may not read what is in it has no claim to that.
        SELECT format('%s@%s', g.name, g.version) INTO hidden FROM lean.feature_group AS g
            WHERE (g.name, g.version) IN (SELECT f.group_name, f.group_version FROM lean.feature_view_feature AS f
                                          WHERE (f.view_name, f.view_version) = (pinned.name, pinned.version))
                AND NOT coalesce(has_table_privilege(g.history, 'SELECT'), true) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'permission denied for feature group %', hidden
                USING ERRCODE = 'insufficient_privilege', HINT = 'A model names feature views whose history you may read.';
        END IF;
    END IF;
    UPDATE lean.model AS x SET last_version = x.last_version + 1 WHERE x.model_id = m.model_id AND x.deleted_at IS NULL
        RETURNING x.last_version INTO made;
    IF made IS NULL THEN
        -- Deleted meanwhile; or a policy lets the user see it and not change it.
        m := lean.find_model(name);
        RAISE EXCEPTION 'permission denied for model "%"', name USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO lean.model_version (model_id, version, run_no, artifact_uri, type, framework, architecture, input_schema, output_schema,
            size_bytes, checksum, tags, metadata, dataset_id, feature_view, feature_view_version)
        VALUES (m.model_id, made, run_no, artifact_uri, type, framework, architecture, input_schema, output_schema,
            size_bytes, checksum, coalesce(tags, '{}'), coalesce(metadata, '{}'), dataset_id, pinned.name, pinned.version);
    RETURN made;
END
$$;
COMMENT ON FUNCTION lean.create_model_version(text, uuid, text, text, text, text, jsonb, jsonb, bigint, text, jsonb, jsonb, text, text) IS
    'registers the next version of a model; gives its number';

CREATE FUNCTION lean.tag_model(model text, tags jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m lean.model := lean.lock_model(split_part(model, '@', 1));
    v lean.model_version;
BEGIN
    IF jsonb_typeof(tags) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'tags is not an object: %', tags USING ERRCODE = 'invalid_parameter_value', HINT = 'Write {"team": "growth"}.';
    ELSIF model ~ '@' THEN
        v := lean.find_model_version(model);
        UPDATE lean.model_version AS x SET tags = jsonb_strip_nulls(x.tags || tag_model.tags) WHERE (x.model_id, x.version) = (v.model_id, v.version);
    ELSE
        UPDATE lean.model AS x SET tags = jsonb_strip_nulls(x.tags || tag_model.tags) WHERE x.model_id = m.model_id;
    END IF;
END
$$;
COMMENT ON FUNCTION lean.tag_model(text, jsonb) IS 'sets tags of a model, churn, or of a version, churn@3, an object; null takes one away';

-- Aliases and stages

-- Times of one model go forward, whatever the clock does.
CREATE FUNCTION lean.next_time(m lean.model) RETURNS timestamptz
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT greatest(clock_timestamp(), (SELECT max(greatest(h.valid_from, h.valid_to)) + interval '1 microsecond'
                                        FROM lean.model_history AS h WHERE h.model_id = m.model_id))
$$;
COMMENT ON FUNCTION lean.next_time(lean.model) IS 'internal: the time of the next change of a model, which is locked';

CREATE FUNCTION lean.set_alias(name text, alias text, version integer, reason text DEFAULT NULL) RETURNS integer
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    m lean.model;
    v lean.model_version;
    before integer;
    at timestamptz;
BEGIN
    IF coalesce(alias, '') !~ '^[\w-]+$' THEN
        RAISE EXCEPTION '"%" is no name for an alias', alias
            USING ERRCODE = 'invalid_name', HINT = 'An alias has letters, digits, _ and -.';
    ELSIF alias = 'latest' OR alias ~ '^[vV]?[0-9]+$' THEN
        RAISE EXCEPTION 'alias "%" is reserved', alias
            USING ERRCODE = 'reserved_name',
                  HINT = CASE WHEN alias = 'latest' THEN 'latest is the version with the highest number.' ELSE 'A number stands for the version of this number.' END;
    END IF;
    m := lean.lock_model(name);
    v := lean.find_version(m, version);
    SELECT a.version INTO before FROM lean.model_alias AS a WHERE (a.model_id, a.alias) = (m.model_id, alias);
    IF before IS DISTINCT FROM version THEN
        at := lean.next_time(m);
        UPDATE lean.model_history AS h SET valid_to = at, ended_by = current_user, end_reason = reason
            WHERE h.model_id = m.model_id AND h.kind = 'alias' AND h.name = alias AND h.valid_to IS NULL;
        INSERT INTO lean.model_history (model_id, kind, name, version, valid_from, reason)
            VALUES (m.model_id, 'alias', alias, version, at, reason);
        INSERT INTO lean.model_alias AS a (model_id, alias, version) VALUES (m.model_id, alias, version)
            ON CONFLICT ON CONSTRAINT model_alias_pkey DO UPDATE SET version = EXCLUDED.version;
    END IF;
    RETURN before;
END
$$;
COMMENT ON FUNCTION lean.set_alias(text, text, integer, text) IS
    'makes an alias stand for a version of a model; gives the version it stood for, null if it is new';

CREATE FUNCTION lean.delete_alias(name text, alias text, reason text DEFAULT NULL) RETURNS integer
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    m lean.model := lean.lock_model(name);
    before integer;
BEGIN
    DELETE FROM lean.model_alias AS a WHERE (a.model_id, a.alias) = (m.model_id, alias) RETURNING a.version INTO before;
    IF before IS NULL THEN
        RAISE EXCEPTION 'model "%" has no alias "%"', name, alias
            USING ERRCODE = 'undefined_object',
                  HINT = coalesce('Its aliases are ' || (SELECT string_agg(a.alias, ', ' ORDER BY a.alias) FROM lean.model_alias AS a
                                                         WHERE a.model_id = m.model_id) || '.', 'It has no aliases.');
    END IF;
    UPDATE lean.model_history AS h SET valid_to = lean.next_time(m), ended_by = current_user, end_reason = reason
        WHERE h.model_id = m.model_id AND h.kind = 'alias' AND h.name = alias AND h.valid_to IS NULL;
    RETURN before;
END
$$;
COMMENT ON FUNCTION lean.delete_alias(text, text, text) IS 'takes an alias away, which stays in the history; gives the version it stood for';

CREATE FUNCTION lean.move_to_stage(m lean.model, version integer, stage text, reason text, at timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    UPDATE lean.model_version AS v SET stage = stage,
            deployed_at = CASE WHEN stage = 'production' THEN at ELSE v.deployed_at END,
            deprecated_at = CASE WHEN stage = 'archived' OR v.stage = 'production' THEN at END
        WHERE (v.model_id, v.version) = (m.model_id, version);
    UPDATE lean.model_history AS h SET valid_to = at, ended_by = current_user, end_reason = reason
        WHERE h.model_id = m.model_id AND h.kind = 'stage' AND h.version = version AND h.valid_to IS NULL;
    IF stage <> 'none' THEN
        INSERT INTO lean.model_history (model_id, kind, name, version, valid_from, reason)
            VALUES (m.model_id, 'stage', stage, version, at, reason);
    END IF;
END
$$;
COMMENT ON FUNCTION lean.move_to_stage(lean.model, integer, text, text, timestamptz) IS
    'internal: moves a version of a locked model to a stage it is not in';

CREATE FUNCTION lean.set_stage(name text, version integer, stage text, reason text DEFAULT NULL, archive_existing boolean DEFAULT false)
    RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    wanted text := lower(stage);
    m lean.model;
    v lean.model_version;
    at timestamptz;
    other integer;
BEGIN
    IF wanted IS NULL OR wanted NOT IN ('none', 'staging', 'production', 'archived') THEN
        RAISE EXCEPTION '"%" is no stage', stage
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Stages are none, staging, production and archived; lean.set_alias takes other names.';
    END IF;
    m := lean.lock_model(name);
    v := lean.find_version(m, version);
    at := lean.next_time(m);
    IF archive_existing AND wanted IN ('staging', 'production') THEN
        FOR other IN SELECT x.version FROM lean.model_version AS x
            WHERE x.model_id = m.model_id AND x.stage = wanted AND x.version <> version ORDER BY x.version LOOP
            PERFORM lean.move_to_stage(m, other, 'archived', coalesce(reason, format('version %s went to %s', version, wanted)), at);
        END LOOP;
    END IF;
    IF v.stage <> wanted THEN
        PERFORM lean.move_to_stage(m, version, wanted, reason, at);
    END IF;
    RETURN v.stage;
END
$$;
COMMENT ON FUNCTION lean.set_stage(text, integer, text, text, boolean) IS
    'moves a version of a model to none, staging, production or archived, and archives others there if asked to; gives the stage it was in';

CREATE FUNCTION lean.model_at(name text, alias_or_stage text, at timestamptz DEFAULT NULL, of_kind text DEFAULT NULL)
    RETURNS TABLE (version integer, kind text, since timestamptz, until timestamptz, changed_by name, reason text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    m lean.model := lean.find_model(model_at.name, deleted => true);
    meant text := of_kind;
BEGIN
    IF meant IS NOT NULL AND meant NOT IN ('alias', 'stage') THEN
        RAISE EXCEPTION '"%" is no kind of name', meant USING ERRCODE = 'invalid_parameter_value', HINT = 'It is alias or stage.';
    ELSIF alias_or_stage = 'latest' THEN
        RETURN QUERY SELECT v.version, NULL::text, v.created_at, NULL::timestamptz, v.created_by, NULL::text FROM lean.model_version AS v
            WHERE v.model_id = m.model_id AND v.created_at <= coalesce(at, 'infinity') AND (v.deleted_at > at OR v.deleted_at IS NULL)
            ORDER BY v.version DESC LIMIT 1;
        RETURN;
    END IF;
    IF meant IS NULL THEN
        SELECT min(h.kind) INTO meant FROM lean.model_history AS h
            WHERE h.model_id = m.model_id AND (h.kind = 'alias' AND h.name = alias_or_stage OR h.kind = 'stage' AND h.name = lower(alias_or_stage));
        IF meant IS NULL AND lower(alias_or_stage) NOT IN ('staging', 'production', 'archived') THEN
            RAISE EXCEPTION 'model "%" never had an alias "%"', m.name, alias_or_stage
                USING ERRCODE = 'undefined_object',
                      HINT = coalesce('It has or had ' || (SELECT string_agg(DISTINCT h.name, ', ') FROM lean.model_history AS h
                                                           WHERE h.model_id = m.model_id AND h.kind = 'alias') || '.', 'It never had an alias.');
        END IF;
    END IF;
    RETURN QUERY SELECT h.version, h.kind, h.valid_from, h.valid_to, h.changed_by, h.reason FROM lean.model_history AS h
        WHERE h.model_id = m.model_id AND h.kind = meant
            AND h.name = CASE WHEN meant = 'stage' THEN lower(alias_or_stage) ELSE alias_or_stage END
            AND CASE WHEN at IS NULL THEN h.valid_to IS NULL ELSE h.valid_from <= at AND (h.valid_to > at OR h.valid_to IS NULL) END
        ORDER BY h.valid_from DESC, h.version DESC;
END
$$;
COMMENT ON FUNCTION lean.model_at(text, text, timestamptz, text) IS
    'the version that an alias stood for, or those that were in a stage, at a time, by default now; a name that is both is the alias';

-- For people

CREATE VIEW lean.models AS
    SELECT m.name, m.project, m.last_version AS versions,
        (SELECT string_agg(format('%s=%s', a.alias, a.version), ', ' ORDER BY a.alias) FROM lean.model_alias AS a
         WHERE a.model_id = m.model_id) AS aliases,
        (SELECT string_agg(v.version::text, ', ' ORDER BY v.version) FROM lean.model_version AS v
         WHERE v.model_id = m.model_id AND v.stage = 'production') AS production,
        m.tags, m.created_by, m.created_at, m.description
    FROM lean.model AS m WHERE m.deleted_at IS NULL ORDER BY m.name;
COMMENT ON VIEW lean.models IS 'the models: how many versions, which are in use';

CREATE VIEW lean.model_versions AS
    SELECT m.name, v.version,
        (SELECT string_agg(a.alias, ', ' ORDER BY a.alias) FROM lean.model_alias AS a
         WHERE (a.model_id, a.version) = (v.model_id, v.version)) AS aliases,
        v.stage, v.deployed_at, v.deprecated_at, v.artifact_uri, v.type, v.framework, v.architecture, r.run_id AS run,
        d.name || '@' || d.digest AS dataset, v.feature_view || '@' || v.feature_view_version AS feature_view,
        v.input_schema, v.output_schema, v.size_bytes, v.checksum, v.tags, v.metadata, m.project, v.created_by, v.created_at
    FROM lean.model_version AS v JOIN lean.model AS m USING (model_id) LEFT JOIN lean.run AS r USING (run_no)
        LEFT JOIN lean.dataset AS d USING (dataset_id)
    WHERE v.deleted_at IS NULL AND m.deleted_at IS NULL ORDER BY m.name, v.version;
COMMENT ON VIEW lean.model_versions IS 'the versions of models: stage, aliases, where they are and what they came from';

CREATE VIEW lean.model_aliases AS
    SELECT m.name, a.alias, a.version, h.valid_from AS since, h.changed_by, h.reason
    FROM lean.model_alias AS a JOIN lean.model AS m USING (model_id)
        LEFT JOIN lean.model_history AS h ON h.model_id = a.model_id AND h.kind = 'alias' AND h.name = a.alias AND h.valid_to IS NULL
    WHERE m.deleted_at IS NULL ORDER BY m.name, a.alias;
COMMENT ON VIEW lean.model_aliases IS 'which version each alias stands for, since when and why';

CREATE FUNCTION lean.get_model_version(model text) RETURNS SETOF lean.model_versions
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v lean.model_version := lean.find_model_version(model);
BEGIN
    RETURN QUERY SELECT x.* FROM lean.model_versions AS x
        WHERE x.name = (SELECT m.name FROM lean.model AS m WHERE m.model_id = v.model_id) AND x.version = v.version;
END
$$;
COMMENT ON FUNCTION lean.get_model_version(text) IS 'a version of a model by reference: churn@3, churn@champion, churn@production, churn@latest';
