-- Drift: how far features in a window are from what they were in a baseline. docs/drift.md has the formulas.

CREATE TYPE lean.feature_drift AS (
    feature name,
    method text,
    value double precision,
    p_value double precision,
    threshold double precision,
    drifted boolean,
    verdict text,
    baseline_rows bigint,
    window_rows bigint,
    baseline_missing bigint,
    window_missing bigint
);
COMMENT ON TYPE lean.feature_drift IS 'how far a feature is from its baseline';
COMMENT ON COLUMN lean.feature_drift.value IS 'the statistic';
COMMENT ON COLUMN lean.feature_drift.p_value IS 'the probability of such a statistic without drift, of ks and chi2';
COMMENT ON COLUMN lean.feature_drift.threshold IS 'drift is at least so large a value; of ks and chi2, at most so small a p-value';
COMMENT ON COLUMN lean.feature_drift.verdict IS
    'stable or drift, of psi moderate or major drift; no values, not applicable and not in baseline, where there is no statistic';
COMMENT ON COLUMN lean.feature_drift.baseline_missing IS 'rows of the baseline without a value: null and invalid';
COMMENT ON COLUMN lean.feature_drift.window_missing IS 'rows of the window without a value: null and invalid';

CREATE FUNCTION lean.drift_threshold(method text) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE method WHEN 'psi' THEN 0.1 WHEN 'js' THEN 0.1 WHEN 'wasserstein' THEN 0.1 WHEN 'centroid' THEN 0.2
                       WHEN 'ks' THEN 0.05 WHEN 'chi2' THEN 0.05 END;
COMMENT ON FUNCTION lean.drift_threshold(text) IS
    'from where on lean.drift speaks of drift: at least so large a distance, at most so small a p-value (ks, chi2)';

CREATE FUNCTION lean.drift_applies(method text, kind text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN method IN ('ks', 'wasserstein') THEN kind <> 'category' WHEN method = 'centroid' THEN kind = 'embedding' ELSE true END;
COMMENT ON FUNCTION lean.drift_applies(text, text) IS 'internal: can a method tell the drift of a kind of feature?';

-- Samples hold finite numbers alone. A baseline that never changes has no spread to measure by: whatever is moved is far.
CREATE FUNCTION lean.drift_of(method text, b lean.feature_profile, w lean.feature_profile, OUT value double precision, OUT p_value double precision)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE method
        WHEN 'psi' THEN value := lean.psi(b.counts::float8[], w.counts::float8[]);
        WHEN 'js' THEN value := lean.js_distance(b.counts::float8[], w.counts::float8[]);
        WHEN 'chi2' THEN SELECT t.statistic, t.p_value INTO value, p_value FROM lean.chi2_test(b.counts, w.counts) AS t;
        WHEN 'ks' THEN SELECT t.statistic, t.p_value INTO value, p_value FROM lean.ks_test(b.sample, w.sample) AS t;
        WHEN 'wasserstein' THEN
            value := lean.wasserstein_distance(b.sample, w.sample);
            value := CASE WHEN value = 0 THEN 0 WHEN b.stddev_pop = 0 THEN 'Infinity' ELSE value / b.stddev_pop END;
        WHEN 'centroid' THEN
            IF cardinality(b.centroid) = cardinality(w.centroid) THEN
                value := sqrt((SELECT sum((x - y) ^ 2) FROM unnest(b.centroid, w.centroid) AS c (x, y)));
            END IF;
    END CASE;
END
$$;
COMMENT ON FUNCTION lean.drift_of(text, lean.feature_profile, lean.feature_profile) IS 'internal: the statistic and p-value of a method of a baseline and a window';

CREATE FUNCTION lean.drift(
    "group" text, baseline text DEFAULT 'default', "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL,
    method text DEFAULT 'psi', features text[] DEFAULT NULL, threshold double precision DEFAULT NULL, sample integer DEFAULT 100000
) RETURNS SETOF lean.feature_drift
    LANGUAGE plpgsql VOLATILE ROWS 50 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    g lean.feature_group := lean.find_feature_group("group");
    chosen text[] := lean.check_profile_features(g, features);
    result lean.feature_drift;
    applies boolean;
    wrong record;
    pair record;
BEGIN
    result.method := method;
    result.threshold := coalesce(threshold, lean.drift_threshold(method));
    IF result.threshold IS NULL THEN
        RAISE EXCEPTION 'unknown drift method "%"', method
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Methods are psi, ks, js, wasserstein and chi2, and centroid for embeddings.';
    ELSIF NOT result.threshold >= 0 OR result.threshold = 'NaN' THEN
        RAISE EXCEPTION 'threshold % is not a threshold', threshold USING ERRCODE = 'invalid_parameter_value', HINT = 'It is at least 0.';
    END IF;
    PERFORM lean.check_window("from", "to");
    IF NOT EXISTS (SELECT FROM lean.feature_profile AS p WHERE (p.group_name, p.group_version, p.baseline) = (g.name, g.version, baseline)) THEN
        RAISE EXCEPTION 'feature group %@% has no baseline "%"', g.name, g.version, baseline
            USING ERRCODE = 'undefined_object',
                  HINT = coalesce('It has ' || (SELECT string_agg(DISTINCT p.baseline, ', ') FROM lean.feature_profile AS p
                                                WHERE (p.group_name, p.group_version) = (g.name, g.version)) || '.',
                                  'lean.set_baseline makes one.');
    END IF;
    IF features IS NOT NULL THEN
        SELECT f AS name, p.kind INTO wrong FROM unnest(chosen) AS f
            LEFT JOIN lean.feature_profile AS p ON (p.group_name, p.group_version, p.feature, p.baseline) = (g.name, g.version, f, baseline)
            WHERE p.kind IS NULL OR NOT lean.drift_applies(method, p.kind) LIMIT 1;
        IF FOUND AND wrong.kind IS NULL THEN
            RAISE EXCEPTION 'baseline "%" of feature group %@% has no feature "%"', baseline, g.name, g.version, wrong.name
                USING ERRCODE = 'undefined_object', HINT = 'It was added to the group later: call lean.set_baseline again.';
        ELSIF FOUND THEN
            RAISE EXCEPTION 'method % does not apply to feature "%", which is of kind %', method, wrong.name, wrong.kind
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'psi, js and chi2 apply to all kinds; ks and wasserstein to numbers and, by their norms, embeddings; centroid to embeddings.';
        END IF;
    END IF;

    FOR pair IN
        SELECT b, w FROM lean.compute_profile(g, chosen, "from", "to", baseline, 10, 50, CASE WHEN method IN ('ks', 'wasserstein') THEN sample ELSE 1 END) AS w
            LEFT JOIN lean.feature_profile AS b ON (b.group_name, b.group_version, b.feature, b.baseline) = (g.name, g.version, w.feature, baseline)
        ORDER BY array_position(chosen, w.feature::text)
    LOOP
        IF (pair.w).row_count = 0 THEN
            RAISE EXCEPTION 'the history of feature group %@% has no rows in the window', g.name, g.version
                USING ERRCODE = 'no_data_found', HINT = 'The window begins at "from" and ends before "to"; NULL is without limit.';
        END IF;
        applies := lean.drift_applies(method, (pair.b).kind);
        result.feature := (pair.w).feature;
        SELECT d.value, d.p_value INTO result.value, result.p_value FROM lean.drift_of(method, pair.b, pair.w) AS d WHERE applies;
        result.drifted := CASE WHEN method IN ('ks', 'chi2') THEN result.p_value <= result.threshold ELSE result.value >= result.threshold END;
        result.verdict := CASE WHEN applies IS NULL THEN 'not in baseline'
                              WHEN NOT applies THEN 'not applicable'
                              WHEN result.drifted IS NULL THEN 'no values'
                              WHEN NOT result.drifted THEN 'stable'
                              WHEN method <> 'psi' OR threshold IS NOT NULL THEN 'drift'
                              WHEN result.value >= 0.25 THEN 'major drift'
                              ELSE 'moderate drift' END;
        result.baseline_rows := (pair.b).row_count;
        result.baseline_missing := (pair.b).nulls + (pair.b).invalid;
        result.window_rows := (pair.w).row_count;
        result.window_missing := (pair.w).nulls + (pair.w).invalid;
        RETURN NEXT result;
    END LOOP;
END
$$;
COMMENT ON FUNCTION lean.drift(text, text, timestamptz, timestamptz, text, text[], double precision, integer) IS
    'how far the features of a group in a window are from a baseline: statistic, p-value where there is one, threshold and verdict';
