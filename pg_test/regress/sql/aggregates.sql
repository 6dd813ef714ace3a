-- avg and sum of vectors: results, NULLs, empty sets, windows, parallel plans.

SELECT avg(v), sum(v), avg(v::halfvec), sum(v::halfvec)
	FROM unnest(ARRAY['[1,2,3]', '[3,5,7]', NULL]::vector[]) v;
SELECT avg(v), sum(v), avg(v::halfvec), sum(v::halfvec) FROM unnest(ARRAY[]::vector[]) v;
SELECT avg(v) FROM unnest(ARRAY['[-0]']::vector[]) v;
SELECT avg(v) FROM unnest(ARRAY['[3e38]', '[3e38]']::vector[]) v;
SELECT avg(v) FROM unnest(ARRAY['[65504]', '[65504]']::halfvec[]) v;
SELECT sum(v) FROM unnest(ARRAY['[3e38]', '[3e38]']::vector[]) v;
SELECT avg(v) FROM unnest(ARRAY['[1,2]', '[3]']::vector[]) v;
SELECT sum(v) FROM unnest(ARRAY['[1,2]', '[3]']::halfvec[]) v;

-- Groups and windows keep their states apart.
SELECT g, avg(ARRAY[i, g]::vector), sum(ARRAY[i, g]::halfvec)
	FROM generate_series(1, 10) i, LATERAL (SELECT i % 3 AS g) x GROUP BY g ORDER BY g;
SELECT i, avg(ARRAY[i]::vector) OVER (ORDER BY i), avg(ARRAY[i]::vector) OVER (ORDER BY i ROWS 1 PRECEDING)
	FROM generate_series(1, 5) i;

-- The functions by hand leave their arguments alone.
SELECT vector_accum('{0}', '[1,2]'), vector_accum(s, '[1,2]'), vector_combine(s, s), s, vector_avg(s)
	FROM (VALUES ('{2,10,20}'::float8[])) x(s);
SELECT vector_combine('{0}', '{2,10,20}'), halfvec_combine('{1,3}', '{0}'), vector_combine('{0}', '{0}'),
	vector_avg('{0}'), halfvec_accum('{1,1}', '[2]'), halfvec_avg('{4,2}');
SELECT vector_combine('{1,1,2}', '{1,1}');
SELECT vector_accum('{}', '[1]');
SELECT vector_accum('{{1,2}}', '[1]');
SELECT vector_avg('{1,NULL}');
SELECT vector_avg('{1}');
SELECT vector_combine('{1,1e308}', '{1,1e308}');

CREATE TABLE many (id int, v vector(3), h halfvec(3));
INSERT INTO many SELECT i, ARRAY[i % 7, i % 11, 1], ARRAY[i % 7, i % 11, 0] FROM generate_series(1, 20000) i;
CREATE TABLE serial AS SELECT avg(v) AS va, sum(v) AS vs, avg(h) AS ha FROM many;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT avg(v), sum(v), avg(h) FROM many;
SELECT va = a AS avg, vs = s AS sum, ha = h AS half
	FROM (SELECT avg(v) AS a, sum(v) AS s, avg(h) AS h FROM many) parallel, serial;
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
DROP TABLE many, serial;
