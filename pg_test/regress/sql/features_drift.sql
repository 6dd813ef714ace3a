-- Statistics of features: distances and tests, profiles, baselines, drift, what was served and its skew.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET TimeZone = 'UTC';
SET client_min_messages = warning;
CREATE SCHEMA drift;
SET search_path = drift, public;
CREATE FUNCTION failure(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    hint text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', sqlstate || ': ' || sqlerrm, nullif(hint, ''));
END
$$;

-- The arithmetic; scipy has its say in the client tests.
SELECT round(statistic::numeric, 9) AS statistic, round(p_value::numeric, 9) AS p FROM lean.ks_test('{1,2,3}', '{2,3,4,5}');
SELECT round(statistic::numeric, 9) AS statistic, round(p_value::numeric, 9) AS p, degrees_of_freedom AS df
FROM lean.chi2_test('{10,0,20,30}', '{6,0,9,17}');
SELECT round(lean.psi('{50,50}', '{75,25}')::numeric, 9) AS psi, round(lean.psi('{1,1}', '{0,1}')::numeric, 9) AS empty_bin,
    round(lean.js_distance('{1,0}', '{1,1}')::numeric, 9) AS js, lean.wasserstein_distance('{3,0,1}', '{5,6,8}') AS wasserstein;
SELECT lean.ks_test('{}', '{1}') AS ks, lean.chi2_test('{0}', '{1}') AS chi2, lean.psi('{}', '{}') AS psi,
    lean.js_distance('{0}', '{1}') AS js, lean.wasserstein_distance('{1}', '{}') AS wasserstein, lean.ks_test('{5}', '{5}') AS same;
SELECT failure('SELECT lean.' || call) FROM unnest(ARRAY['psi(''{1,2}'', ''{1}'')', 'psi(''{-1}'', ''{1}'')',
    'js_distance(''{NaN}'', ''{1}'')', 'ks_test(''{NULL}'', ''{1}'')', 'wasserstein_distance(''{Infinity}'', ''{1}'')',
    'chi2_test(''{-1}'', ''{1}'')']) AS call;

-- A group with all kinds of features. Trips become longer after the tenth day, the zones others.
SELECT lean.create_feature_group('trips', '{driver_id bigint}',
    '["distance float64", "zone string", "night bool", "started timestamptz", "emb vector(2)", "parts float32_list", "fixed int32"]');
INSERT INTO trips_v1 (driver_id, event_timestamp, created_timestamp, distance, zone, night, started, emb, parts, fixed)
SELECT i % 7, t, t + interval '1 minute',
    CASE WHEN i % 20 = 0 THEN NULL WHEN i % 20 = 1 THEN float8 'NaN' ELSE (i * 37 % 100) + CASE WHEN i > 1440 THEN 30 ELSE 0 END END,
    CASE WHEN i > 1440 THEN 'new' ELSE 'z' || sqrt(i % 10)::int END, i % 4 = 0, t - interval '5 minutes',
    ARRAY[i % 3, 4]::real[]::vector, CASE i % 3 WHEN 0 THEN ARRAY[3, 4] WHEN 1 THEN ARRAY[6, 8] ELSE ARRAY[1] END, 7
FROM generate_series(1, 2880) AS i, LATERAL (SELECT timestamptz '2026-01-01' + i * interval '10 minutes' AS t) AS x;

-- Before there is a baseline a profile has bins of its own.
SELECT feature, kind, rows, nulls, invalid, "distinct", round(mean::numeric, 6) AS mean, round(stddev_pop::numeric, 6) AS stddev, min, max
FROM lean.profile_features('trips', '2026-01-01', '2026-01-11');
SELECT max(profile) AS early FROM lean.feature_profiles \gset
SELECT feature, histogram, quantiles -> '0.5' AS median, centroid FROM lean.feature_profiles
WHERE feature IN ('distance', 'zone', 'night', 'parts', 'fixed') ORDER BY profile, feature;

SELECT feature, baseline, rows, jsonb_array_length(histogram -> 'edges') AS edges FROM lean.set_baseline('trips', "to" => '2026-01-11');
SELECT feature, method, round(value::numeric, 6) AS value, p_value, threshold, drifted, verdict, baseline_rows, window_rows, baseline_missing,
    window_missing FROM lean.drift('trips', "from" => '2026-01-11');
SELECT feature, round(value::numeric, 6) AS value, round(p_value::numeric, 6) AS p, drifted, verdict
FROM lean.drift('trips', "from" => '2026-01-11', method => 'ks');
SELECT feature, round(value::numeric, 6) AS value, p_value AS p, threshold, drifted, verdict
FROM lean.drift('trips', "from" => '2026-01-11', method => 'wasserstein');
SELECT feature, round(value::numeric, 6) AS value, drifted, verdict FROM lean.drift('trips', "from" => '2026-01-11', method => 'js');
SELECT feature, round(value::numeric, 4) AS value, round(p_value::numeric, 6) AS p, drifted, verdict
FROM lean.drift('trips', "from" => '2026-01-11', method => 'chi2', features => '{zone,night,distance}');
SELECT feature, round(value::numeric, 6) AS value, threshold, drifted, verdict
FROM lean.drift('trips', "from" => '2026-01-11', method => 'centroid', features => '{emb,parts}');
-- Nothing is further from itself than nothing.
SELECT method, max(value) AS furthest, bool_or(drifted) AS drifted
FROM unnest('{psi,js,ks,chi2,wasserstein,centroid}'::text[]) AS m, lean.drift('trips', "to" => '2026-01-11', method => m) GROUP BY 1 ORDER BY 1;
-- A threshold of one's own.
SELECT threshold, drifted, verdict FROM lean.drift('trips', "from" => '2026-01-11', features => '{distance}', threshold => 100);
SELECT threshold, drifted, verdict FROM lean.drift('trips', "from" => '2026-01-11', features => '{distance}', threshold => 0);

-- What never changed and then does is infinitely far.
UPDATE trips_v1 SET fixed = 8 WHERE event_timestamp >= '2026-01-20';
SELECT value, verdict FROM lean.drift('trips', "from" => '2026-01-20', method => 'wasserstein', features => '{fixed}');
-- No values at all.
UPDATE trips_v1 SET fixed = NULL WHERE event_timestamp >= '2026-01-20';
SELECT method, round(value::numeric, 6) AS value, p_value, drifted, verdict
FROM unnest('{psi,ks}'::text[]) AS m, lean.drift('trips', "from" => '2026-01-20', method => m, features => '{fixed}');

-- A corrected row counts once, as it was corrected; so do profiles that are merged, and both agree with SQL.
INSERT INTO trips_v1 (driver_id, event_timestamp, created_timestamp, distance)
SELECT driver_id, event_timestamp, created_timestamp + interval '1 day', 1000 FROM trips_v1 WHERE event_timestamp = '2026-01-03';
SELECT rows, max FROM lean.profile_features('trips', '2026-01-03', '2026-01-03 00:10', '{distance}');
SELECT profile AS first FROM lean.profile_features('trips', '2026-01-02', '2026-01-05', '{distance,zone,emb,parts}') LIMIT 1 \gset
SELECT profile AS second FROM lean.profile_features('trips', '2026-01-05', '2026-01-06', '{distance,zone,emb,parts}') LIMIT 1 \gset
SELECT profile AS third FROM lean.profile_features('trips', '2026-01-06', '2026-01-14', '{distance,zone,emb,parts}') LIMIT 1 \gset
SELECT profile AS whole FROM lean.profile_features('trips', '2026-01-02', '2026-01-14', '{distance,zone,emb,parts}') LIMIT 1 \gset
SELECT profile AS merged FROM lean.merge_profiles(ARRAY[:first, :second, :third]) LIMIT 1 \gset
SELECT m.feature, (m.from_time, m.to_time, m.rows, m.nulls, m.invalid, m.histogram, m."distinct", m.min, m.max)
        IS NOT DISTINCT FROM (w.from_time, w.to_time, w.rows, w.nulls, w.invalid, w.histogram, w."distinct", w.min, w.max) AS same,
    abs(m.mean - w.mean) < 1e-9 AS mean, abs(m.stddev_pop - w.stddev_pop) < 1e-9 AS stddev,
    (SELECT max(abs(x - y)) < 1e-6 FROM unnest(m.centroid, w.centroid) AS c (x, y)) AS centroid,
    (SELECT max(abs((m.quantiles ->> k)::float8 - (w.quantiles ->> k)::float8)) <= 2 FROM jsonb_object_keys(w.quantiles) AS k) AS quantiles
FROM lean.feature_profiles AS m JOIN lean.feature_profiles AS w USING (feature)
WHERE m.profile = :merged AND w.profile = :whole ORDER BY 1;
SELECT abs(w.mean - avg(distance)) < 1e-9 AS mean, abs(w.stddev_pop - stddev_pop(distance)) < 1e-9 AS stddev, w.max = max(distance) AS max
FROM lean.feature_profiles AS w, trips_v1 AS t
WHERE w.profile = :whole AND w.feature = 'distance' AND t.distance <> 'NaN' AND t.event_timestamp >= '2026-01-02' AND t.event_timestamp < '2026-01-14'
    AND NOT (t.event_timestamp = '2026-01-03' AND t.distance < 1000)
GROUP BY w.mean, w.stddev_pop, w.max;

-- Baselines stay when history goes, and are replaced by name.
SELECT count(*) FROM lean.set_baseline('trips', 'spring', '2026-01-01', '2026-01-05', bins => 4, categories => 2, sample => 50);
SELECT feature, cardinality(sample) AS sample, cardinality(edges) AS edges, cardinality(categories) AS categories
FROM lean.feature_profile WHERE baseline = 'spring' ORDER BY feature;
DELETE FROM trips_v1 WHERE event_timestamp < '2026-01-12';
SELECT feature, verdict FROM lean.drift('trips', 'spring', "from" => '2026-01-12', method => 'ks', features => '{distance}');
SELECT lean.add_feature('trips', '"tip float32"');
SELECT feature, verdict FROM lean.drift('trips', 'spring', "from" => '2026-01-12', method => 'js') WHERE feature IN ('tip', 'night');
SELECT count(*), count(DISTINCT profile) FROM lean.set_baseline('trips', 'spring', '2026-01-12');
SELECT baseline, count(*) FROM lean.feature_profiles WHERE baseline IS NOT NULL GROUP BY 1 ORDER BY 1;

-- Errors
SELECT failure('SELECT lean.' || call) FROM unnest(ARRAY[
    'profile_features(''journeys'')', 'profile_features(''trips@2'')', 'profile_features(''trips'', features => ''{distance,speed}'')',
    'profile_features(''trips'', features => ''{}'')', 'profile_features(''trips'', ''2026-02-01'', ''2026-01-01'')',
    'profile_features(''trips'', ''2020-01-01'', ''2026-01-01'', bins => 0)', 'set_baseline(''trips'', ''empty'', ''2020-01-01'', ''2020-02-01'')',
    'set_baseline(''trips'', '''')', 'set_baseline(''trips'', sample => 0)', 'drift(''trips'', ''autumn'')', 'drift(''trips'', method => ''chi'')',
    'drift(''trips'', method => NULL)', 'drift(''trips'', method => ''ks'', features => ''{zone}'')', 'drift(''trips'', features => ''{tip}'')',
    'drift(''trips'', features => ''{speed}'')', 'drift(''trips'', "from" => ''2030-01-01'')', 'drift(''trips'', threshold => -1)',
    'drift(''trips'', threshold => ''NaN'')', 'merge_profiles(''{}'')', 'merge_profiles(''{123456}'')',
    'profile_query(''SELECT 1'', 1, 1, 1, ''{}'', ''{}'', ''{}'', ''{}'', ''{}'')']) AS call;
SELECT failure(format('SELECT lean.merge_profiles(ARRAY[%s, %s])', :first, :whole)) LIKE '22023: the windows of profiles % overlap%' AS overlap,
    failure(format('SELECT lean.merge_profiles(ARRAY[%s, %s])', :early,
        (SELECT min(profile) FROM lean.profile_features('trips', '2026-01-12', baseline => 'spring'))))
        LIKE '55000: profiles % have different bins of feature%' AS bins;

-- History that was there before, with names of its own and without creation times; of a later creation time with them.
CREATE TABLE readings (sensor text, at timestamp, noted timestamptz, level numeric);
INSERT INTO readings SELECT 's' || i % 3, timestamp '2026-01-01' + i * interval '1 hour', NULL, i % 10 FROM generate_series(0, 99) AS i;
INSERT INTO readings VALUES ('s0', '2026-01-01', '2026-01-02', 99), ('s0', '2026-01-01', '2026-01-03', 50);
SELECT lean.create_feature_group('readings', '{sensor}', '["level"]', event_time => 'at', created_time => 'noted', online => false, history => 'readings');
SELECT lean.create_feature_group('readings', '{sensor}', '["level"]', 2, event_time => 'at', created_time => NULL, online => false, history => 'readings');
SELECT "group", rows, max FROM lean.profile_features('readings') UNION ALL SELECT "group", rows, max FROM lean.profile_features('readings@2');

-- Other roles see profiles if they may read the history, and make baselines if they own the group.
CREATE ROLE drift_reader;
GRANT USAGE ON SCHEMA drift TO drift_reader;
SET ROLE drift_reader;
SELECT count(*) FROM lean.feature_profiles;
SELECT count(*) FROM lean.feature_profile;
SELECT failure('SELECT lean.drift(''trips'', ''spring'')'), failure('SELECT lean.profile_features(''trips'')');
RESET ROLE;
GRANT SELECT ON trips_v1 TO drift_reader;
SET ROLE drift_reader;
SELECT count(*) > 0 AS seen FROM lean.feature_profiles;
SELECT feature, verdict FROM lean.drift('trips', 'spring', features => '{distance}');
SELECT feature, owner FROM lean.profile_features('trips', features => '{distance}');
SELECT failure('SELECT lean.set_baseline(''trips'')');
SELECT failure('INSERT INTO lean.feature_profile SELECT (jsonb_populate_record(p, ''{"profile":0,"baseline":"mine","owner":"drift_reader"}'')).* FROM lean.feature_profile AS p LIMIT 1');
DELETE FROM lean.feature_profile WHERE baseline = 'spring';
RESET ROLE;
SELECT count(*) FROM lean.feature_profile WHERE baseline = 'spring';
ALTER TABLE trips_v1 ENABLE ROW LEVEL SECURITY;
SET ROLE drift_reader;
SELECT DISTINCT owner FROM lean.feature_profiles;
RESET ROLE;

-- What was served, against history
SELECT lean.create_feature_group('stats', '{driver_id bigint}',
    '[["rate", "float32"], ["trips", "int64", 0], ["zone", "string"], ["seen", "timestamptz"], ["emb", "vector(2)"]]', ttl => '10 days');
SELECT lean.create_feature_view('drivers', '{stats:rate, stats:trips, stats:zone, "stats:seen as last_seen", stats:emb}');
INSERT INTO stats_v1 VALUES
    (1, '2026-01-01', '2026-01-01 00:01', 0.1, 5, 'a', '2026-01-01', '[1,2]'),
    (1, '2026-01-03', '2026-01-05', 0.2, 6, 'b', '2026-01-03', '[1,3]'),
    (2, '2026-01-01', '2026-01-01 00:01', 0.5, 50, 'a', '2026-01-01', '[1,2]');
SELECT lean.log_served('drivers', '{"driver_id": 1}',
    '{"rate": 0.1, "trips": 5, "zone": "a", "last_seen": "2026-01-01T02:00:00+02:00", "emb": [1, 2.0000000001]}', served_at => '2026-01-02');
SELECT lean.log_served('drivers', '[{"driver_id": 1}, {"driver_id": 2}, {"driver_id": 3}]',
    '[{"rate": 0.1, "trips": 5, "zone": "a", "last_seen": "2026-01-01T00:00:00+00:00", "emb": [1, 2]},
      {"rate": 0.6, "trips": 51, "zone": null, "last_seen": "soon", "emb": [1]}, {"trips": 0, "rate": null}]',
    '[{}, {}, {"trips": "not_found", "rate": "not_found"}]', '2026-01-04', 'request 7');
-- Out of its time to live a feature is null or its default in history too.
SELECT lean.log_served('drivers', '{"driver_id": 2}', '{"rate": null, "trips": 0, "zone": "a"}', served_at => '2026-02-01');
SELECT feature, served, equal, late, different, round(mean_difference::numeric, 6) AS mean, round(max_difference::numeric, 6) AS max, example
FROM lean.skew_report('drivers');
SELECT feature, served, equal, late, different FROM lean.skew_report('drivers', '2026-01-03'::timestamptz, tolerance => 0.5);
SELECT sum(served) FROM lean.skew_report('drivers', interval '1 second');
-- What is read online and noted as it was read agrees with history.
SELECT lean.write_features('stats', jsonb_build_array(jsonb_build_object('driver_id', 9, 'event_timestamp', statement_timestamp() - interval '1 hour',
    'rate', 0.3, 'trips', 7, 'zone', 'c', 'seen', statement_timestamp(), 'emb', '[0.1, 0.7]'), jsonb_build_object('driver_id', 10, 'event_timestamp', statement_timestamp() - interval '11 days', 'rate', 1)));
SELECT lean.log_served('drivers', jsonb_agg(entity), jsonb_agg(feature_values), jsonb_agg(status))
FROM lean.get_online_features('drivers', '[{"driver_id": 9}, {"driver_id": 10}, {"driver_id": 11}]');
SELECT feature, served, equal FROM lean.skew_report('drivers', interval '1 hour');
SELECT failure(call) FROM unnest(ARRAY[
    $$SELECT lean.log_served('driver', '{"driver_id": 1}', '{}')$$, $$SELECT lean.log_served('drivers', '{"driver_id": "x"}', '{}')$$,
    $$SELECT lean.log_served('drivers', '{"driver": 1}', '{}')$$, $$SELECT lean.log_served('drivers', '{"driver_id": 1}', '{"rat": 0.1}')$$,
    $$SELECT lean.log_served('drivers', '{"driver_id": 1}', '[{}, {}]')$$, $$SELECT lean.log_served('drivers', '{"driver_id": 1}', '7')$$,
    $$SELECT lean.log_served('drivers', '{"driver_id": 1}', '{}', served_at => NULL)$$, $$SELECT lean.skew_report('driver')$$,
    $$SELECT lean.skew_report('drivers', tolerance => -1)$$, $$SELECT lean.skew_report('drivers', NULL::timestamptz)$$]) AS call;

-- Groups without creation times, with keys of one name and different types.
CREATE TABLE tips (driver_id text, event_timestamp timestamptz, tip numeric);
INSERT INTO tips VALUES ('1', '2026-01-01', 2.5), ('2', '2026-01-01', 3.5);
SELECT lean.create_feature_group('tips', '{driver_id}', history => 'tips', created_time => NULL, online => false);
SELECT lean.create_feature_view('mixed', '{stats:rate, tips:tip}');
SELECT lean.log_served('mixed', '[{"driver_id": 1}, {"driver_id": "2"}]', '[{"rate": 0.2, "tip": 2.5}, {"rate": 0.5, "tip": 9}]',
    served_at => '2026-01-04');
SELECT feature, served, equal, late, different FROM lean.skew_report('mixed');
SELECT lean.drop_feature_view('mixed'), lean.drop_feature_group('tips');

DROP TABLE drivers_v1_served;
SELECT failure($$SELECT lean.log_served('drivers', '{"driver_id": 1}', '{}')$$) AS log, failure($$SELECT lean.skew_report('drivers')$$) AS report;

-- Everything says what it is.
SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'lean'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL;
DROP OWNED BY drift_reader;
DELETE FROM lean.feature_profile WHERE owner = 'drift_reader';
DROP ROLE drift_reader;
SELECT lean.drop_feature_view('drivers'), lean.drop_feature_group('stats', true), lean.drop_feature_group('trips', true),
    lean.drop_feature_group('readings'), lean.drop_feature_group('readings@2');
SELECT count(*) FROM lean.feature_profile;
DROP SCHEMA drift CASCADE;
