-- Batches of metrics, and searches in the order of a metric, against what follows from their definition.
-- Batches of any size and with any overlap: the same rows as one by one, and the row that has the latest and the best of them.
SELECT lean.create_experiment('batches') > 0 AS made;
SELECT lean.start_run('batches', run_id => '00000000-0000-0000-0000-0000000000b1') AS big,
	lean.start_run('batches', run_id => '00000000-0000-0000-0000-0000000000b2') AS one_by_one;
CREATE TEMP TABLE points AS
	SELECT n, 'k' || n % 7 AS key, CASE n % 11 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' ELSE (n * 31 % 17 - 8)::float8 END AS value,
		(n * 37 % 50)::bigint AS step, timestamptz '2024-01-01' + n % 3 * interval '1 hour' AS at
	FROM generate_series(1, 600) AS n;
CREATE FUNCTION pg_temp.batch(first integer, last integer) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(jsonb_build_object('key', key, 'value', CASE WHEN value::text ~ '[NI]' THEN to_jsonb(value::text) ELSE to_jsonb(value) END,
		'step', step, 'at', at) ORDER BY n) FROM points WHERE n BETWEEN first AND last $$;
SELECT lean.log_batch('00000000-0000-0000-0000-0000000000b1', pg_temp.batch(1, 300)) AS written;
SELECT lean.log_batch('00000000-0000-0000-0000-0000000000b1', pg_temp.batch(200, 450)) AS overlapping;
SELECT lean.log_batch('00000000-0000-0000-0000-0000000000b1', pg_temp.batch(1, 450)) AS all_there;
SELECT lean.log_batch('00000000-0000-0000-0000-0000000000b1', pg_temp.batch(440, 600)) AS rest;
SELECT count(*) AS distinct_points FROM (SELECT DISTINCT key, value, step, at FROM points) AS p;
SELECT count(lean.log_metric('00000000-0000-0000-0000-0000000000b2', key, value, step, at)) FROM points;
SELECT r.run_id, count(*), md5(string_agg(concat_ws(',', m.key_no, m.step, m.at, m.value), ';' ORDER BY m.key_no, m.step, m.at, m.value)) =
	(SELECT md5(string_agg(concat_ws(',', k.key_no, p.step, p.at, p.value), ';' ORDER BY k.key_no, p.step, p.at, p.value))
	FROM (SELECT DISTINCT key, value, step, at FROM points) AS p JOIN lean.metric_key AS k USING (key)) AS as_given
	FROM lean.metric AS m JOIN lean.run AS r USING (run_no) WHERE r.run_id::text ~ 'b[12]$' GROUP BY r.run_id ORDER BY r.run_id;
-- From all points anew.
SELECT r.run_id, count(*) FILTER (WHERE (x.step, x.at, x.value, x.min_value, x.min_step, x.max_value, x.max_step) IS NOT DISTINCT FROM
		(l.step, l.at, l.value, b.low, (SELECT min(step) FROM points AS p WHERE p.key = k.key AND p.value = b.low),
			b.high, (SELECT min(step) FROM points AS p WHERE p.key = k.key AND p.value = b.high))) AS right, count(*)
	FROM lean.run_metric AS x JOIN lean.run AS r USING (run_no) JOIN lean.metric_key AS k USING (key_no),
		LATERAL (SELECT * FROM points AS p WHERE p.key = k.key ORDER BY p.step DESC, p.at DESC, p.value DESC LIMIT 1) AS l,
		LATERAL (SELECT min(value) AS low, max(value) AS high FROM points AS p WHERE p.key = k.key AND p.value <> 'NaN') AS b
	WHERE r.run_id::text ~ 'b[12]$' GROUP BY r.run_id ORDER BY r.run_id;

-- In the order of a metric, of which some runs have no number and some nothing: page by page the same as sorted in one go.
SELECT lean.create_experiment('ordered') > 0 AS made;
DO $$
BEGIN
	FOR n IN 1..60 LOOP
		PERFORM lean.start_run('ordered', 'r' || n, ('00000000-0000-0000-0000-0000000c' || lpad(n::text, 4, '0'))::uuid,
			params => jsonb_build_object('even', n % 2 = 0, 'long', repeat('x', 70) || n % 3), tags => CASE WHEN n % 4 > 0 THEN jsonb_build_object('team', 't' || n % 4) ELSE '{}' END,
			started_at => timestamptz '2024-01-01' + n * 7 % 60 * interval '1 minute');
		IF n % 5 > 0 THEN
			PERFORM lean.log_metric(('00000000-0000-0000-0000-0000000c' || lpad(n::text, 4, '0'))::uuid, 'q', CASE WHEN n % 7 = 0 THEN 'NaN'::float8 ELSE n * 13 % 20 END);
		END IF;
		PERFORM lean.log_metric(('00000000-0000-0000-0000-0000000c' || lpad(n::text, 4, '0'))::uuid, 'other', n % 10);
	END LOOP;
END
$$;
CREATE FUNCTION pg_temp.expected(matches text, descending boolean, at_most integer, skipped integer) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	names text[];
BEGIN
	EXECUTE format('SELECT ARRAY(SELECT name FROM (SELECT *, (metrics ->> ''q'')::float8 AS q, (metrics ->> ''other'')::float8 AS other,
			params ->> ''even'' = ''true'' AS even, params ->> ''long'' AS long, tags ->> ''team'' AS team FROM lean.run_summary WHERE experiment = ''ordered'') AS f
		WHERE %s ORDER BY nullif(q, ''NaN'') %s NULLS LAST, started_at DESC LIMIT $1 OFFSET $2)', matches, CASE WHEN descending THEN 'DESC' END)
		INTO names USING at_most, skipped;
	RETURN names;
END
$$;
WITH asked AS (
	SELECT f.filter, f.matches, o.order_by, o.descending, p."limit", p."offset"
	FROM (VALUES
		('', 'true'),
		('metrics.q > 5', 'q > 5 AND q <> ''NaN'''),
		('metrics.q > 5 AND params.even = ''true''', 'q > 5 AND q <> ''NaN'' AND even'),
		('metrics.q IS NULL', 'q IS NULL'),
		('metrics.q IS NOT NULL', 'q IS NOT NULL'),
		('metrics.q != 3', 'q <> 3'),
		('NOT metrics.q > 5', 'NOT coalesce(q > 5 AND q <> ''NaN'', false)'),
		('metrics.q > 5 OR metrics.other IN (1, 2)', 'q > 5 AND q <> ''NaN'' OR other IN (1, 2)'),
		('metrics.q < 9 AND (tags.team = ''t1'' OR tags.team IS NULL)', 'q < 9 AND (team = ''t1'' OR team IS NULL)'),
		('NOT tags.team = ''t1''', 'team <> ''t1'''),
		('params.long = ''' || repeat('x', 70) || '1''', 'long = repeat(''x'', 70) || 1'),
		('metrics.never > 1', 'false'), ('metrics.never IS NULL AND metrics.other >= 5', 'other >= 5')) AS f (filter, matches),
		(VALUES ('metrics.q DESC', true), ('metrics.q', false)) AS o (order_by, descending),
		(VALUES (NULL, 0), (10, 0), (10, 35), (NULL, 45)) AS p ("limit", "offset")
), answers AS (
	SELECT a.*, ARRAY(SELECT s.name FROM lean.search_runs('ordered', a.filter, a.order_by, a."limit", a."offset") AS s) AS found,
		pg_temp.expected(a.matches, a.descending, a."limit", a."offset") AS expected
	FROM asked AS a
)
SELECT count(*), count(*) FILTER (WHERE found = expected) AS right, sum(cardinality(found)) AS runs,
	string_agg(concat_ws(' ', filter, order_by, "limit", "offset", found, expected), E'\n') FILTER (WHERE found <> expected) AS wrong FROM answers;

DELETE FROM lean.metric;
DELETE FROM lean.run;
DELETE FROM lean.experiment;
DELETE FROM lean.metric_key;
