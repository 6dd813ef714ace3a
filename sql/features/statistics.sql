-- Distances and tests between distributions. They agree with those of scipy; docs/drift.md has the formulas.

COMMENT ON FUNCTION lean.psi(double precision[], double precision[]) IS
    'population stability index of two rows of counts or shares; an empty bin counts as a share of 0.0001';
COMMENT ON FUNCTION lean.js_distance(double precision[], double precision[]) IS
    'Jensen-Shannon distance to base 2 of two rows of counts or shares; from 0, the same, to 1, nothing in common';
COMMENT ON FUNCTION lean.wasserstein_distance(double precision[], double precision[]) IS
    'Wasserstein (earth mover''s) distance of two samples; null if one is empty';
COMMENT ON FUNCTION lean.ks_test(double precision[], double precision[]) IS
    'two-sided Kolmogorov-Smirnov test of two samples, exact for up to 10000 values; nulls if one is empty';
COMMENT ON FUNCTION lean.chi2_test(bigint[], bigint[]) IS
    'Pearson''s chi-squared test of two rows of counts; columns without a count are left out';

-- Profiles: what the values of a feature were like in a window of event times

CREATE SEQUENCE lean.feature_profile_number;
COMMENT ON SEQUENCE lean.feature_profile_number IS 'internal: numbers of profiles';
CREATE TABLE lean.feature_profile (
    profile bigint NOT NULL DEFAULT nextval('lean.feature_profile_number'),
    group_name text NOT NULL,
    group_version integer NOT NULL,
    feature name NOT NULL,
    owner name NOT NULL DEFAULT current_user,
    baseline text,
    kind text NOT NULL CHECK (kind IN ('number', 'category', 'embedding')),
    from_time timestamptz,
    to_time timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    row_count bigint NOT NULL,
    nulls bigint NOT NULL,
    invalid bigint NOT NULL,
    mean double precision,
    stddev_pop double precision,
    min double precision,
    max double precision,
    quantiles double precision[],
    distinct_estimate double precision NOT NULL,
    edges double precision[],
    categories text[],
    counts bigint[] NOT NULL,
    centroid double precision[],
    sample double precision[],
    distinct_sketch bytea NOT NULL,
    quantile_sketch bytea,
    PRIMARY KEY (profile, feature),
    FOREIGN KEY (group_name, group_version, feature) REFERENCES lean.feature (group_name, group_version, name) ON DELETE CASCADE
);
CREATE UNIQUE INDEX feature_profile_baseline ON lean.feature_profile (group_name, group_version, feature, baseline)
    WHERE baseline IS NOT NULL;
CREATE INDEX feature_profile_feature ON lean.feature_profile (group_name, group_version, feature);
COMMENT ON TABLE lean.feature_profile IS 'profiles of features; lean.feature_profiles shows them in words';
COMMENT ON COLUMN lean.feature_profile.profile IS 'number that the features profiled together share';
COMMENT ON COLUMN lean.feature_profile.owner IS 'the role that made it; members of it may merge and delete it';
COMMENT ON COLUMN lean.feature_profile.baseline IS 'the name of the baseline that it is, null of other profiles';
COMMENT ON COLUMN lean.feature_profile.from_time IS 'the first event time of the window, null without limit';
COMMENT ON COLUMN lean.feature_profile.to_time IS 'the first event time after the window, null without limit';
COMMENT ON COLUMN lean.feature_profile.row_count IS 'rows in the window, of rows corrected later the correction alone';
COMMENT ON COLUMN lean.feature_profile.invalid IS 'rows with NaN, an infinity, or a vector with gaps; they are in no other figure';
COMMENT ON COLUMN lean.feature_profile.mean IS 'of numbers, and of the norms of embeddings';
COMMENT ON COLUMN lean.feature_profile.stddev_pop IS 'standard deviation of the same, of a population';
COMMENT ON COLUMN lean.feature_profile.quantiles IS 'values above the shares that lean.profile_shares() lists';
COMMENT ON COLUMN lean.feature_profile.distinct_estimate IS 'about how many different values there are; of embeddings, different norms';
COMMENT ON COLUMN lean.feature_profile.edges IS 'edges of the bins between the one below all and the one above all';
COMMENT ON COLUMN lean.feature_profile.categories IS 'values with a bin of their own; one more is for all others';
COMMENT ON COLUMN lean.feature_profile.counts IS 'rows in each bin; the last one is for null and invalid';
COMMENT ON COLUMN lean.feature_profile.centroid IS 'mean of embeddings, null if they are of different lengths';
COMMENT ON COLUMN lean.feature_profile.sample IS 'of a baseline, its numbers in order: all, or a uniform sample';
COMMENT ON COLUMN lean.feature_profile.distinct_sketch IS 'HyperLogLog registers';
COMMENT ON COLUMN lean.feature_profile.quantile_sketch IS 'KLL sketch';
-- Sketches and samples are noise to a compressor of floats, but registers of few values are mostly zeros.
ALTER TABLE lean.feature_profile ALTER COLUMN sample SET STORAGE EXTERNAL, ALTER COLUMN quantile_sketch SET STORAGE EXTERNAL;
SELECT pg_catalog.pg_extension_config_dump('lean.feature_profile', '');
SELECT pg_catalog.pg_extension_config_dump('lean.feature_profile_number', '');

-- A profile tells of the rows that it was made of: besides its owner, only those see it who may read all of these rows.
CREATE FUNCTION lean.sees_profile(owner name, group_name text, group_version integer) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN lean.acts_as(owner) OR EXISTS (
        SELECT FROM lean.feature_group AS g
        WHERE (g.name, g.version) = (group_name, group_version)
            AND has_table_privilege(g.history, 'SELECT') AND NOT row_security_active(g.history)
    );
COMMENT ON FUNCTION lean.sees_profile(name, text, integer) IS 'internal: may the user see a profile?';
ALTER TABLE lean.feature_profile ENABLE ROW LEVEL SECURITY;
CREATE POLICY reader ON lean.feature_profile FOR SELECT USING (lean.sees_profile(owner, group_name, group_version));
COMMENT ON POLICY reader ON lean.feature_profile IS 'those see it who may read the history';
CREATE POLICY owner ON lean.feature_profile USING (lean.acts_as(owner)) WITH CHECK (
    owner <> 'public' AND lean.acts_as(owner) AND (baseline IS NULL OR EXISTS (
        SELECT FROM lean.feature_group AS g WHERE (g.name, g.version) = (group_name, group_version) AND lean.acts_as(g.owner))));
COMMENT ON POLICY owner ON lean.feature_profile IS 'the owner may do everything; a baseline belongs to the owner of the group';
GRANT SELECT, INSERT, DELETE ON lean.feature_profile TO PUBLIC;
GRANT USAGE ON SEQUENCE lean.feature_profile_number TO PUBLIC;

COMMENT ON FUNCTION lean.profile_shares() IS 'the shares of values below each of the quantiles of a profile';
COMMENT ON FUNCTION lean.profile_query(text, integer, integer, integer, integer[], integer[], double precision[], integer[], text[]) IS
    'internal: a profile of each column of a query';
COMMENT ON FUNCTION lean.merge_profile_parts(bigint[], double precision[], double precision[], bytea[], bytea[]) IS
    'internal: mean, standard deviation and sketches of several profiles together';

-- A view looks with the eyes of its owner, so it asks once more what the policy asks.
CREATE VIEW lean.feature_profiles AS
    SELECT p.profile, format('%s@%s', p.group_name, p.group_version) AS "group", p.feature, p.kind, p.baseline, p.from_time, p.to_time,
        p.row_count AS rows, p.nulls, p.invalid, round(p.distinct_estimate)::bigint AS "distinct",
        p.mean, p.stddev_pop, p.min, p.max,
        (SELECT jsonb_object_agg(s.share, q.value) FROM unnest(lean.profile_shares()) WITH ORDINALITY AS s (share, n)
         JOIN unnest(p.quantiles) WITH ORDINALITY AS q (value, n) USING (n)) AS quantiles,
        CASE WHEN p.kind = 'category' THEN jsonb_build_object(
            'categories', coalesce((SELECT jsonb_object_agg(c.value, p.counts[c.n]) FROM unnest(p.categories) WITH ORDINALITY AS c (value, n)), '{}'),
            'other', p.counts[cardinality(p.counts) - 1], 'missing', p.counts[cardinality(p.counts)])
        ELSE jsonb_build_object(
            'edges', p.edges, 'counts', p.counts[:cardinality(p.counts) - 1], 'missing', p.counts[cardinality(p.counts)])
        END AS histogram,
        p.centroid, p.owner, p.created_at
    FROM lean.feature_profile AS p WHERE lean.sees_profile(p.owner, p.group_name, p.group_version);
COMMENT ON VIEW lean.feature_profiles IS 'profiles of features: counts, moments, quantiles and histograms';
GRANT SELECT ON lean.feature_profiles TO PUBLIC;

-- How the values of a column are read: numbers as double precision, embeddings as arrays, all else as text.
CREATE FUNCTION lean.profile_expression(relation regclass, column_name name) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    type_id oid := (SELECT a.atttypid FROM pg_attribute AS a
                    WHERE a.attrelid = relation AND a.attname = column_name AND a.attnum > 0 AND NOT a.attisdropped);
    base oid;
    of_extension name;
BEGIN
    IF type_id IS NULL THEN
        RAISE EXCEPTION 'column "%" of relation % does not exist', column_name, relation USING ERRCODE = 'undefined_column';
    END IF;
    LOOP
        SELECT t.typbasetype INTO base FROM pg_type AS t WHERE t.oid = type_id AND t.typtype = 'd';
        EXIT WHEN NOT FOUND;
        type_id := base;
    END LOOP;
    SELECT t.typname INTO of_extension FROM pg_type AS t JOIN pg_extension AS e ON e.extnamespace = t.typnamespace
        WHERE t.oid = type_id AND e.extname = 'leanstack' AND t.typname IN ('vector', 'halfvec', 'sparsevec');
    RETURN format(CASE
        WHEN type_id IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'float4'::regtype, 'float8'::regtype, 'numeric'::regtype)
            THEN 'h.%I::float8'
        WHEN type_id = 'money'::regtype THEN 'h.%I::numeric::float8'
        WHEN type_id IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'time'::regtype, 'interval'::regtype)
            THEN 'extract(epoch FROM h.%I)::float8'
        WHEN type_id IN ('float4[]'::regtype, 'float8[]'::regtype) OR of_extension IN ('vector', 'halfvec')
            THEN CASE WHEN type_id = 'float8[]'::regtype THEN 'h.%I::float8[]' ELSE 'h.%I::float4[]' END
        WHEN of_extension = 'sparsevec'
            THEN format('h.%%I::%I.vector::float4[]', (SELECT t.typnamespace::regnamespace::text FROM pg_type AS t WHERE t.oid = type_id))
        ELSE 'h.%I::text'
    END, column_name);
END
$$;
COMMENT ON FUNCTION lean.profile_expression(regclass, name) IS 'internal: the expression by which profiles read a column';

-- The query for features in a window, one column each. Of rows with one key and event time the one written last counts.
-- All keys fall, so that an index on them in rising order can be read backwards.
CREATE FUNCTION lean.profile_sql(g lean.feature_group, features text[], "from" timestamptz, "to" timestamptz) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN (
        SELECT format(
            CASE WHEN g.created_time IS NULL THEN 'SELECT %1$s FROM %4$s AS h%5$s'
                 ELSE E'SELECT %1$s\nFROM (\n    SELECT DISTINCT ON (%2$s) %3$s FROM %4$s AS h%5$s\n    ORDER BY %6$s\n) AS h' END,
            (SELECT string_agg(lean.profile_expression(g.history, f::name), ', ' ORDER BY n) FROM unnest(features) WITH ORDINALITY AS x (f, n)),
            (SELECT string_agg(format('h.%I', c), ', ') FROM unnest(g.entity_keys || g.event_time) AS c),
            (SELECT string_agg(format('h.%I', f), ', ') FROM unnest(features) AS f),
            lean.qualified_name(g.history),
            (SELECT ' WHERE ' || string_agg(condition, ' AND ') FROM (VALUES
                (CASE WHEN "from" IS NOT NULL THEN format('h.%I >= %L::timestamptz', g.event_time, "from") END),
                (CASE WHEN "to" IS NOT NULL THEN format('h.%I < %L::timestamptz', g.event_time, "to") END)) AS w (condition)),
            -- A row without a creation time is older than any with one; where there is none, the index is of use.
            (SELECT string_agg(format('h.%I DESC', c), ', ') FROM unnest(array_remove(g.entity_keys || g.event_time || g.created_time, NULL)) AS c)
                || CASE WHEN EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = g.history AND a.attname = g.created_time AND a.attnotnull)
                        THEN '' ELSE ' NULLS LAST' END)
    );
COMMENT ON FUNCTION lean.profile_sql(lean.feature_group, text[], timestamptz, timestamptz) IS
    'internal: the query for features in a window of event times; of corrected rows it has the correction alone';

CREATE FUNCTION lean.check_profile_features(g lean.feature_group, features text[]) RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known text[] := (SELECT array_agg(f.name ORDER BY f.position) FROM lean.feature AS f
                     WHERE (f.group_name, f.group_version) = (g.name, g.version));
    wrong text;
BEGIN
    SELECT f INTO wrong FROM unnest(features) AS f WHERE f <> ALL (known) OR f IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'feature group %@% has no feature "%"', g.name, g.version, wrong
            USING ERRCODE = 'undefined_object', HINT = format('It has %s.', array_to_string(known, ', '));
    END IF;
    IF features = '{}' THEN
        RAISE EXCEPTION 'no features are given' USING ERRCODE = 'invalid_parameter_value', HINT = 'NULL stands for all of the group.';
    END IF;
    RETURN (SELECT array_agg(k ORDER BY n) FROM unnest(known) WITH ORDINALITY AS x (k, n) WHERE features IS NULL OR k = ANY (features));
END
$$;
COMMENT ON FUNCTION lean.check_profile_features(lean.feature_group, text[]) IS
    'internal: the features of a group that are meant, without repetitions; null means all';

CREATE FUNCTION lean.check_window("from" timestamptz, "to" timestamptz) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF "from" >= "to" THEN
        RAISE EXCEPTION 'the window from % to % is empty', "from", "to"
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It begins at "from" and ends before "to".';
    END IF;
END
$$;
COMMENT ON FUNCTION lean.check_window(timestamptz, timestamptz) IS 'internal: refuses a window that ends before it begins';

-- Profiles of features, not stored. Bins are those of the baseline named base, where it has the feature. Without a number
-- they are for looking at once, and with a baseline's name they are to become it: both keep their samples.
CREATE FUNCTION lean.compute_profile(
    g lean.feature_group, features text[], "from" timestamptz, "to" timestamptz,
    base text, bins integer, categories integer, sample integer, number bigint DEFAULT NULL, baseline text DEFAULT NULL
) RETURNS SETOF lean.feature_profile
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    frozen record;
BEGIN
    WITH b AS (
        SELECT x.n::int AS n, p.edges, p.categories FROM unnest(compute_profile.features) WITH ORDINALITY AS x (name, n)
            JOIN lean.feature_profile AS p ON (p.group_name, p.group_version, p.feature, p.baseline) = (g.name, g.version, x.name, base)
    )
    SELECT ARRAY(SELECT b.n FROM b) AS columns,
        ARRAY(SELECT b.n FROM b, unnest(b.edges) WITH ORDINALITY AS e (x, place) ORDER BY b.n, e.place) AS edge_columns,
        ARRAY(SELECT e.x FROM b, unnest(b.edges) WITH ORDINALITY AS e (x, place) ORDER BY b.n, e.place) AS edges,
        ARRAY(SELECT b.n FROM b, unnest(b.categories) WITH ORDINALITY AS c (x, place) ORDER BY b.n, c.place) AS category_columns,
        ARRAY(SELECT c.x FROM b, unnest(b.categories) WITH ORDINALITY AS c (x, place) ORDER BY b.n, c.place) AS category_values
    INTO frozen;
    RETURN QUERY
        SELECT number, g.name, g.version, compute_profile.features[q.position]::name,
            CASE WHEN compute_profile.baseline IS NULL THEN current_user ELSE g.owner END, compute_profile.baseline,
            q.kind, "from", "to", now(), q.row_count, q.nulls, q.invalid, q.mean, q.stddev_pop, q.min, q.max, q.quantiles,
            q.distinct_estimate, q.edges_used, q.categories_used, q.counts, q.centroid,
            CASE WHEN number IS NULL OR compute_profile.baseline IS NOT NULL THEN q.sample_used END,
            q.distinct_sketch, q.quantile_sketch
        FROM lean.profile_query(lean.profile_sql(g, compute_profile.features, "from", "to"), bins, compute_profile.categories,
            compute_profile.sample, frozen.columns, frozen.edge_columns, frozen.edges, frozen.category_columns, frozen.category_values) AS q;
END
$$;
COMMENT ON FUNCTION lean.compute_profile(lean.feature_group, text[], timestamptz, timestamptz, text, integer, integer, integer, bigint, text) IS
    'internal: profiles of features in a window, with the bins of a baseline';

CREATE FUNCTION lean.profile_features(
    "group" text, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL, features text[] DEFAULT NULL,
    baseline text DEFAULT 'default', bins integer DEFAULT 10, categories integer DEFAULT 50
) RETURNS SETOF lean.feature_profiles
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    g lean.feature_group := lean.find_feature_group("group");
    chosen text[] := lean.check_profile_features(g, features);
    number bigint;
BEGIN
    PERFORM lean.check_window("from", "to");
    number := nextval('lean.feature_profile_number');
    INSERT INTO lean.feature_profile
        SELECT p.* FROM lean.compute_profile(g, chosen, "from", "to", baseline, bins, categories, 10000, number) AS p;
    RETURN QUERY SELECT p.* FROM lean.feature_profiles AS p WHERE p.profile = number ORDER BY array_position(chosen, p.feature::text);
END
$$;
COMMENT ON FUNCTION lean.profile_features(text, timestamptz, timestamptz, text[], text, integer, integer) IS
    'profiles the features of a group in a window of event times and stores the profile; with the bins of the baseline, if there is one';

CREATE FUNCTION lean.set_baseline(
    "group" text, name text DEFAULT 'default', "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL,
    bins integer DEFAULT 10, categories integer DEFAULT 50, sample integer DEFAULT 10000
) RETURNS SETOF lean.feature_profiles
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    g lean.feature_group := lean.owned_feature_group("group");
    chosen text[] := lean.check_profile_features(g, NULL);
    number bigint;
BEGIN
    IF coalesce(name, '') = '' THEN
        RAISE EXCEPTION 'a baseline needs a name' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM lean.check_window("from", "to");
    -- Two at once wait for each other here, and the last one stays.
    PERFORM FROM lean.feature_group AS x WHERE (x.name, x.version) = (g.name, g.version) FOR NO KEY UPDATE;
    number := nextval('lean.feature_profile_number');
    DELETE FROM lean.feature_profile AS p WHERE (p.group_name, p.group_version, p.baseline) = (g.name, g.version, name);
    INSERT INTO lean.feature_profile
        SELECT p.* FROM lean.compute_profile(g, chosen, "from", "to", NULL, bins, categories, sample, number, name) AS p;
    IF NOT EXISTS (SELECT FROM lean.feature_profile AS p WHERE p.profile = number AND p.row_count > 0) THEN
        RAISE EXCEPTION 'the history of feature group %@% has no rows in the window', g.name, g.version
            USING ERRCODE = 'no_data_found', HINT = 'The window begins at "from" and ends before "to"; NULL is without limit.';
    END IF;
    RETURN QUERY SELECT p.* FROM lean.feature_profiles AS p WHERE p.profile = number ORDER BY array_position(chosen, p.feature::text);
END
$$;
COMMENT ON FUNCTION lean.set_baseline(text, text, timestamptz, timestamptz, integer, integer, integer) IS
    'profiles a group in a window as what drift is measured against, in place of the baseline of that name';

CREATE FUNCTION lean.merge_profiles(profiles bigint[]) RETURNS SETOF lean.feature_profiles
    LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number bigint;
    wrong record;
BEGIN
    IF profiles = '{}' THEN
        RAISE EXCEPTION 'no profiles are given' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT n INTO wrong FROM unnest(profiles) AS n WHERE NOT EXISTS (SELECT FROM lean.feature_profile AS p WHERE p.profile = n) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'profile % does not exist', wrong.n
            USING ERRCODE = 'undefined_object', HINT = 'lean.feature_profiles lists the profiles that you may see.';
    END IF;
    FOR wrong IN
        SELECT a.profile AS one, b.profile AS other, a.feature,
            (a.group_name, a.group_version) <> (b.group_name, b.group_version) AS other_group,
            coalesce(a.from_time, '-infinity') < coalesce(b.to_time, 'infinity')
                AND coalesce(b.from_time, '-infinity') < coalesce(a.to_time, 'infinity') AS overlap,
            (a.kind, a.edges, a.categories) IS DISTINCT FROM (b.kind, b.edges, b.categories) AS other_bins
        FROM lean.feature_profile AS a, lean.feature_profile AS b
        WHERE a.profile = ANY (profiles) AND b.profile = ANY (profiles) AND a.profile < b.profile
            AND (a.feature = b.feature OR (a.group_name, a.group_version) <> (b.group_name, b.group_version))
        ORDER BY a.profile, b.profile, a.feature
    LOOP
        IF wrong.other_group THEN
            RAISE EXCEPTION 'profiles % and % are of different feature groups', wrong.one, wrong.other
                USING ERRCODE = 'invalid_parameter_value';
        ELSIF wrong.overlap THEN
            RAISE EXCEPTION 'the windows of profiles % and % overlap', wrong.one, wrong.other
                USING ERRCODE = 'invalid_parameter_value', HINT = 'What is in both would count twice.';
        ELSIF wrong.other_bins THEN
            RAISE EXCEPTION 'profiles % and % have different bins of feature "%"', wrong.one, wrong.other, wrong.feature
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = 'Profiles share the bins of the baseline that they were made with: call lean.set_baseline first.';
        END IF;
    END LOOP;
    number := nextval('lean.feature_profile_number');
    INSERT INTO lean.feature_profile (profile, group_name, group_version, feature, kind, from_time, to_time, row_count, nulls, invalid,
            mean, stddev_pop, min, max, quantiles, distinct_estimate, edges, categories, counts, centroid, distinct_sketch, quantile_sketch)
        SELECT number, p.group_name, p.group_version, p.feature, p.kind, p.from_time, p.to_time, p.row_count, p.nulls, p.invalid,
            m.mean, m.stddev_pop, p.min, p.max, m.quantiles, m.distinct_estimate, p.edges, p.categories,
            ARRAY(SELECT sum(c.count)::bigint FROM lean.feature_profile AS x, unnest(x.counts) WITH ORDINALITY AS c (count, n)
                  WHERE x.profile = ANY (profiles) AND x.feature = p.feature GROUP BY c.n ORDER BY c.n),
            CASE WHEN p.one_length THEN
                ARRAY(SELECT sum(c.x * (x.row_count - x.nulls - x.invalid)) / sum(x.row_count - x.nulls - x.invalid)
                      FROM lean.feature_profile AS x, unnest(x.centroid) WITH ORDINALITY AS c (x, n)
                      WHERE x.profile = ANY (profiles) AND x.feature = p.feature GROUP BY c.n ORDER BY c.n) END,
            m.distinct_sketch, m.quantile_sketch
        FROM (
            SELECT x.group_name, x.group_version, x.feature, x.kind, x.edges, x.categories,
                CASE WHEN bool_and(x.from_time IS NOT NULL) THEN min(x.from_time) END AS from_time,
                CASE WHEN bool_and(x.to_time IS NOT NULL) THEN max(x.to_time) END AS to_time,
                sum(x.row_count) AS row_count, sum(x.nulls) AS nulls, sum(x.invalid) AS invalid, min(x.min) AS min, max(x.max) AS max,
                count(DISTINCT cardinality(x.centroid)) = 1
                    AND bool_and(x.centroid IS NOT NULL OR x.row_count = x.nulls + x.invalid) AS one_length,
                array_agg(x.row_count - x.nulls - x.invalid ORDER BY x.profile) AS value_counts,
                array_agg(x.mean ORDER BY x.profile) AS means, array_agg(x.stddev_pop ORDER BY x.profile) AS deviations,
                array_agg(x.distinct_sketch ORDER BY x.profile) AS distinct_sketches,
                array_agg(x.quantile_sketch ORDER BY x.profile) AS quantile_sketches
            FROM lean.feature_profile AS x WHERE x.profile = ANY (profiles)
            GROUP BY x.group_name, x.group_version, x.feature, x.kind, x.edges, x.categories
        ) AS p, lean.merge_profile_parts(p.value_counts, p.means, p.deviations, p.distinct_sketches, p.quantile_sketches) AS m;
    RETURN QUERY SELECT p.* FROM lean.feature_profiles AS p WHERE p.profile = number ORDER BY p.feature;
END
$$;
COMMENT ON FUNCTION lean.merge_profiles(bigint[]) IS
    'one profile of several of the same group and bins, whose windows do not overlap, without reading history again; stores it';
