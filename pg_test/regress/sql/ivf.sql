-- The ivfflat and ivf indexes from SQL: every operator class through a life of inserts, deletes and vacuum, lists
-- rewritten and split, options and errors, long vectors, scans, plans, the kinds of tables.

SET client_min_messages = warning;
\getenv tests PG_ABS_SRCDIR
\set outcome :tests '/helpers/outcome.sql'
\i :outcome
-- What index_check has to say against the indexes of a table.
CREATE FUNCTION unsound(tab regclass) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(concat_ws(' ', i.indexrelid::regclass, c.check_name, c.detail), '; '), 'sound')
	FROM pg_index i JOIN pg_class r ON r.oid = i.indexrelid JOIN pg_am a ON a.oid = r.relam,
		LATERAL lean.index_check(i.indexrelid) c
	WHERE i.indrelid = tab AND a.amname IN ('ivf', 'ivfflat') AND NOT c.ok
$$;
-- A line of index_info.
CREATE FUNCTION info(index regclass, line text) RETURNS text LANGUAGE sql AS $$
	SELECT value FROM lean.index_info(index) WHERE property = line
$$;
-- The elements of the vector number i, one of fifteen clusters: repeatable, and unlike those of its neighbours.
CREATE FUNCTION elements(i int, dims int) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg((sin((i % 15 + 1) * d) + (hashint4(i * 1000 + d) & 1023) / 1800.0)::real) FROM generate_series(1, dims) d
$$;
CREATE FUNCTION bits(i int, dims int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg((CASE WHEN hashint4(i * 1000 + d) & 7 = 0 THEN hashint4(i * 1000 - d) ELSE hashint4(i % 15 * 1000 + d) END & 1)::text, '')
	FROM generate_series(1, dims) d
$$;
-- The share of the nearest ten that the index finds, over ten queries, rows at equal distance being equal.
CREATE FUNCTION recall(tab text, op text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	statement text := format('SELECT array_agg(d ORDER BY d) FROM (SELECT v %s (SELECT v FROM %I WHERE id = $1) AS d
		FROM %I ORDER BY v %s (SELECT v FROM %I WHERE id = $1) LIMIT 10) nearest', op, tab, tab, op, tab);
	exact float8[];
	found float8[];
	hits int := 0;
	plan text;
BEGIN
	FOR q IN 1..10 LOOP
		PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true);
		EXECUTE statement INTO exact USING q;
		PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true);
		EXECUTE statement INTO found USING q;
		hits := hits + (SELECT count(*) FROM unnest(found) d WHERE d <= exact[10]);
	END LOOP;
	FOR plan IN EXECUTE format('EXPLAIN (COSTS OFF) SELECT id FROM %I ORDER BY v %s (SELECT v FROM %I WHERE id = 1) LIMIT 10', tab, op, tab) LOOP
		IF plan LIKE '%Index Scan using%' || tab || '_v_idx%' THEN
			RETURN hits / 100.0;
		END IF;
	END LOOP;
	RAISE 'the index of % was not used', tab;
END
$$;
-- The recall of a few lists is good, and that of all lists is one.
CREATE FUNCTION good_recall(tab text, op text, floor float8 DEFAULT 0.9) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	few_lists float8;
	all_lists float8;
BEGIN
	few_lists := recall(tab, op);
	PERFORM set_config('ivfflat.probes', '32768', true), set_config('ivf.recall_target', '1', true);
	all_lists := recall(tab, op);
	PERFORM set_config('ivfflat.probes', '3', true), set_config('ivf.recall_target', '0.95', true);
	RETURN CASE WHEN few_lists >= floor AND all_lists = 1 THEN 'good' ELSE format('%s, of all lists %s', few_lists, all_lists) END;
END
$$;
SET ivfflat.probes = 3;

-- Every operator class: built on some rows, more inserted, a third deleted and cleared away, more inserted.
-- The statements that \gexec makes for each are not shown.
CREATE TABLE opclasses (name text COLLATE "C" PRIMARY KEY, am text, type text, opclass text, op text, options text);
INSERT INTO opclasses SELECT concat_ws('_', ty, metric, way), am, ty || '(' || dims || ')', ty || '_' || metric || '_ops', op, options
	FROM (VALUES ('vector', 40), ('halfvec', 72)) t(ty, dims),
		(VALUES ('l2', '<->'), ('ip', '<#>'), ('cosine', '<=>')) m(metric, op),
		(VALUES ('flat', 'ivfflat', 'lists = 5'), ('rabitq', 'ivf', 'lists = 5'), ('1bit', 'ivf', 'lists = 5, bits = 1'),
			('sq8', 'ivf', 'lists = 5, quantization = sq8'), ('none', 'ivf', 'lists = 5, quantization = none'),
			('pq', 'ivf', 'lists = 5, quantization = pq, bits = 4')) w(way, am, options)
	WHERE metric = 'cosine' OR ty = 'vector' OR way IN ('flat', 'rabitq');
INSERT INTO opclasses VALUES ('bit_flat', 'ivfflat', 'bit(100)', 'bit_hamming_ops', '<~>', 'lists = 5'),
	('bit_ivf', 'ivf', 'bit(100)', 'bit_hamming_ops', '<~>', 'lists = 5');
CREATE FUNCTION value_of(type text, i int) RETURNS text LANGUAGE sql AS $$
	SELECT CASE type WHEN 'bit(100)' THEN bits(i, 100) WHEN 'halfvec(72)' THEN elements(i, 72)::vector::text
		ELSE elements(i, 40)::vector::text END
$$;
SELECT format('CREATE TABLE %I (id int PRIMARY KEY, v %s)', 'of_' || name, type),
	format('INSERT INTO %I SELECT i, value_of(%L, i)::%s FROM generate_series(1, 250) i', 'of_' || name, type, type),
	format('CREATE INDEX %I ON %I USING %s (v %s) WITH (%s)', 'of_' || name || '_v_idx', 'of_' || name, am, opclass, options),
	format('INSERT INTO %I SELECT i, value_of(%L, i)::%s FROM generate_series(251, 400) i', 'of_' || name, type, type)
	FROM opclasses ORDER BY name
\set ECHO none
\gexec
\set ECHO all
SELECT name, good_recall('of_' || name, op) AS recall, unsound(('of_' || name)::regclass) FROM opclasses ORDER BY name;
SELECT format('DELETE FROM %I WHERE id > 10 AND id %% 7 < 2', 'of_' || name), format('VACUUM %I', 'of_' || name)
	FROM opclasses ORDER BY name
\set ECHO none
\gexec
\set ECHO all
SELECT name, good_recall('of_' || name, op) AS recall, unsound(('of_' || name)::regclass) FROM opclasses ORDER BY name;
SELECT format('INSERT INTO %I SELECT i, value_of(%L, i)::%s FROM generate_series(401, 500) i', 'of_' || name, type, type),
	format('UPDATE %I SET id = id + 10000 WHERE id BETWEEN 450 AND 470', 'of_' || name),
	format('UPDATE %I SET v = value_of(%L, id + 1000)::%s WHERE id BETWEEN 471 AND 490', 'of_' || name, type, type),
	format('VACUUM %I', 'of_' || name)
	FROM opclasses ORDER BY name
\set ECHO none
\gexec
\set ECHO all
SELECT name, good_recall('of_' || name, op) AS recall, unsound(('of_' || name)::regclass) FROM opclasses ORDER BY name;
-- All rows gone, and the index of use again.
SELECT format('DELETE FROM %I', 'of_' || name), format('VACUUM %I', 'of_' || name),
	format('INSERT INTO %I SELECT i, value_of(%L, i)::%s FROM generate_series(1, 50) i', 'of_' || name, type, type)
	FROM opclasses ORDER BY name
\set ECHO none
\gexec
\set ECHO all
SELECT string_agg(DISTINCT good_recall('of_' || name, op, 0.3), ', ') AS recall,
	string_agg(DISTINCT unsound(('of_' || name)::regclass), ', ') FROM opclasses;
SELECT format('DROP TABLE %I', 'of_' || name) FROM opclasses ORDER BY name
\set ECHO none
\gexec
\set ECHO all

-- A table that has grown much since its index was built: vacuum makes more lists of those of ivf, not of ivfflat's.
SET enable_seqscan = off;
CREATE TABLE grown (id int PRIMARY KEY, v vector(40));
INSERT INTO grown SELECT i, elements(i, 40)::vector FROM generate_series(1, 100) i;
CREATE INDEX grown_v_idx ON grown USING ivf (v vector_l2_ops);
CREATE TABLE grown_plain (id int PRIMARY KEY, v halfvec(40));
CREATE INDEX grown_plain_v_idx ON grown_plain USING ivf (v halfvec_cosine_ops);
CREATE TABLE grown_flat (id int PRIMARY KEY, v vector(40));
CREATE TABLE grown_pq (id int PRIMARY KEY, v vector(40));
INSERT INTO grown_pq TABLE grown;
CREATE INDEX grown_pq_v_idx ON grown_pq USING ivf (v vector_l2_ops) WITH (quantization = pq, bits = 4, m = 20);
CREATE INDEX grown_flat_v_idx ON grown_flat USING ivfflat (v vector_ip_ops) WITH (lists = 2);
INSERT INTO grown SELECT i, elements(i, 40)::vector FROM generate_series(101, 3000) i;
INSERT INTO grown_plain SELECT i, elements(i, 40)::halfvec FROM generate_series(1, 3000) i;
INSERT INTO grown_flat TABLE grown;
INSERT INTO grown_pq SELECT * FROM grown WHERE id > 100;
SELECT info('grown_v_idx', 'lists') AS rabitq, info('grown_plain_v_idx', 'lists') AS plain, info('grown_flat_v_idx', 'lists') AS flat,
	info('grown_pq_v_idx', 'lists') AS pq;
VACUUM grown, grown_plain, grown_flat, grown_pq;
SELECT info('grown_v_idx', 'lists')::int > 4 AS rabitq, info('grown_plain_v_idx', 'lists')::int > 4 AS plain,
	info('grown_flat_v_idx', 'lists') AS flat, info('grown_pq_v_idx', 'lists')::int > 4 AS pq;
SELECT good_recall('grown', '<->'), good_recall('grown_plain', '<=>'), good_recall('grown_flat', '<#>'), good_recall('grown_pq', '<->');
SELECT unsound('grown'), unsound('grown_plain'), unsound('grown_flat'), unsound('grown_pq');
-- Rows that come and go afterwards; once vacuum has caught up, it has nothing to do.
DELETE FROM grown WHERE id % 2 = 0 AND id > 10;
DELETE FROM grown_plain WHERE id % 2 = 0 AND id > 10;
DELETE FROM grown_pq WHERE id % 2 = 0 AND id > 10;
VACUUM grown, grown_plain, grown_pq;
INSERT INTO grown SELECT i, elements(i, 40)::vector FROM generate_series(3001, 3500) i;
INSERT INTO grown_plain SELECT i, elements(i, 40)::halfvec FROM generate_series(3001, 3500) i;
INSERT INTO grown_pq SELECT * FROM grown WHERE id > 3000;
VACUUM grown, grown_plain, grown_pq;
SELECT good_recall('grown', '<->'), good_recall('grown_plain', '<=>'), unsound('grown'), unsound('grown_plain');
SELECT good_recall('grown_pq', '<->'), unsound('grown_pq');
REINDEX INDEX CONCURRENTLY grown_pq_v_idx;
SELECT good_recall('grown_pq', '<->'), unsound('grown_pq');
-- Then no page changes, as even its LSN would tell.
CREATE FUNCTION digest(index regclass) RETURNS text LANGUAGE sql AS $$
	SELECT md5(pg_read_binary_file(pg_relation_filepath(index)))
$$;
VACUUM grown, grown_plain;
VACUUM grown, grown_plain;
CHECKPOINT;
CREATE TEMP TABLE before AS SELECT i, digest(i) AS bytes FROM unnest(ARRAY['grown_v_idx', 'grown_plain_v_idx', 'grown_flat_v_idx']) i;
VACUUM (INDEX_CLEANUP on) grown, grown_plain, grown_flat;
ANALYZE grown, grown_plain, grown_flat;
CHECKPOINT;
SELECT i, digest(i) = bytes AS untouched FROM before;
DROP TABLE before;
-- Space is used again: deleting all and inserting as much, over and over, does not make the index grow for ever.
SELECT pg_relation_size('grown_v_idx') AS bytes \gset
SELECT format('DELETE FROM grown WHERE id > 10'), 'VACUUM grown', 'VACUUM grown',
	'INSERT INTO grown SELECT i, elements(i, 40)::vector FROM generate_series(11, 1500) i', 'VACUUM grown'
	FROM generate_series(1, 5)
\set ECHO none
\gexec
\set ECHO all
SELECT CASE WHEN pg_relation_size('grown_v_idx') <= 2 * :bytes THEN 'did not grow' ELSE pg_relation_size('grown_v_idx') || ' bytes were ' || :bytes END AS size,
	good_recall('grown', '<->'), unsound('grown');
DROP TABLE grown, grown_plain, grown_flat, grown_pq;
DROP FUNCTION digest;
-- From nothing, a hundred rows and a tenth of what they are in the end, tables grow to 20,000: the nearest are found as the target of
-- 0.95 has it, of which a hundred rows tell about, before vacuum and after it has split the lists.
CREATE TABLE steps (name text COLLATE "C" PRIMARY KEY, built int, options text, before float8, waiting float8, after float8);
INSERT INTO steps (name, built, options) VALUES ('from_none', 0, ''), ('from_few', 100, ''), ('from_tenth', 2000, ''),
	('pq_from_none', 0, 'WITH (quantization = pq, bits = 4)'), ('pq_from_few', 100, 'WITH (quantization = pq, bits = 4)'),
	('pq_from_tenth', 2000, 'WITH (quantization = pq, bits = 4)');
CREATE TABLE pool AS SELECT i AS id, elements(i, 40)::vector AS v FROM generate_series(1, 20000) i;
SELECT format('CREATE TABLE %I (id int PRIMARY KEY, v vector(40))', name),
	format('INSERT INTO %I SELECT * FROM pool WHERE id <= %s', name, built),
	format('CREATE INDEX %I ON %I USING ivf (v vector_l2_ops) %s', name || '_v_idx', name, options),
	format('UPDATE steps SET before = recall(name, ''<->'') WHERE name = %L AND built > 0', name),
	format('INSERT INTO %I SELECT * FROM pool WHERE id > %s', name, built),
	format('UPDATE steps SET waiting = recall(name, ''<->'') WHERE name = %L', name),
	format('VACUUM %I', name),
	format('UPDATE steps SET after = recall(name, ''<->'') WHERE name = %L', name)
	FROM steps ORDER BY name
\set ECHO none
\gexec
\set ECHO all
SELECT name, CASE WHEN waiting >= 0.9 AND after >= 0.9 THEN 'good' ELSE format('%s, %s, %s', before, waiting, after) END AS recall,
	info((name || '_v_idx')::regclass, 'lists')::int > 60 AS split, unsound(name::regclass) FROM steps ORDER BY name;
SELECT format('DROP TABLE %I', name) FROM steps ORDER BY name
\set ECHO none
\gexec
\set ECHO all
DROP TABLE steps, pool;
RESET client_min_messages;

-- NULLs and, for cosine, zero vectors are not in the index.
CREATE TABLE t (id serial, v vector(3));
INSERT INTO t (v) VALUES ('[0,0,0]'), ('[1,2,3]'), ('[1,1,1]'), (NULL);
CREATE INDEX t_v_idx ON t USING ivf (v vector_cosine_ops);
INSERT INTO t (v) VALUES ('[1,2,4]'), (NULL), ('[0,0,0]');
SELECT id, v FROM t ORDER BY v <=> '[3,3,3]';
SELECT detail FROM lean.index_check('t_v_idx') WHERE check_name = 'table';
-- A NULL query is equally far from all, a zero vector too as cosine goes.
SELECT count(*) FROM (SELECT * FROM t ORDER BY v <=> NULL::vector) nearest;
SELECT count(*) FROM (SELECT * FROM t ORDER BY v <=> (SELECT NULL::vector)) nearest;
SELECT count(*) FROM (SELECT * FROM t ORDER BY v <=> '[0,0,0]') nearest;
SELECT outcome($$SELECT * FROM t ORDER BY v <=> '[1,2]'$$);
DROP INDEX t_v_idx;
CREATE INDEX t_v_idx ON t USING ivfflat (v vector_cosine_ops) WITH (lists = 1);
SELECT id, v FROM t ORDER BY v <=> '[3,3,3]';
SELECT count(*) FROM (SELECT * FROM t ORDER BY v <=> NULL::vector) nearest;
SELECT count(*) FROM (SELECT * FROM t ORDER BY v <=> '[0,0,0]') nearest;
-- One index for each order of the same column, and one on half precision of it.
CREATE INDEX t_l2 ON t USING ivf (v vector_l2_ops);
CREATE INDEX t_half ON t USING ivf ((v::halfvec(3)) halfvec_ip_ops);
CREATE INDEX t_bits ON t USING ivfflat ((binary_quantize(v)::bit(3)) bit_hamming_ops) WITH (lists = 1);
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[3,3,3]' LIMIT 5;
SELECT id FROM t ORDER BY v <-> '[3,3,3]' LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v::halfvec(3) <#> '[3,3,3]' LIMIT 5;
SELECT id FROM t ORDER BY v::halfvec(3) <#> '[3,3,3]' LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY binary_quantize(v)::bit(3) <~> '000' LIMIT 2;
SELECT id FROM (SELECT id, v FROM t ORDER BY binary_quantize(v)::bit(3) <~> '000' LIMIT 2) near ORDER BY id;
SELECT unsound('t');
TRUNCATE t;
SELECT * FROM t ORDER BY v <-> '[3,3,3]';
INSERT INTO t (id, v) VALUES (1, '[1,2,3]');
SELECT * FROM t ORDER BY v <-> '[3,3,3]';
SELECT unsound('t');
-- What a transaction rolls back is not found.
BEGIN;
INSERT INTO t (id, v) VALUES (2, '[3,3,3]');
SAVEPOINT s;
INSERT INTO t (id, v) VALUES (3, '[3,3,4]');
ROLLBACK TO s;
SELECT id FROM t ORDER BY v <-> '[3,3,3]';
ROLLBACK;
SELECT id FROM t ORDER BY v <-> '[3,3,3]';
DROP TABLE t;

-- Options.
CREATE TABLE t (id int, v vector(3), h halfvec(3), s sparsevec(3), b bit(3), vb varbit(3), free vector);
SET client_min_messages = warning;
SELECT am, options, outcome(format('CREATE INDEX ON t USING %s (v vector_l2_ops) WITH (%s)', am, options)) FROM (VALUES
	('ivfflat', 'lists = 0'), ('ivfflat', 'lists = 32768'), ('ivfflat', 'lists = 32769'), ('ivfflat', 'quantization = none'),
	('ivfflat', 'bits = 4'), ('ivf', 'lists = -1'), ('ivf', 'lists = 0'), ('ivf', 'lists = 32769'), ('ivf', 'lists = many'),
	('ivf', 'bits = 0'), ('ivf', 'bits = 8'), ('ivf', 'bits = 9'), ('ivf', 'quantization = rabitq'), ('ivf', 'quantization = sq8'),
	('ivf', 'quantization = none'), ('ivf', 'quantization = half'), ('ivf', 'rerank = auto'), ('ivf', 'rerank = off'),
	('ivf', 'rerank = heap'), ('ivf', 'rerank = on'), ('ivf', 'm = 3'), ('ivf', 'quantization = pq'), ('ivf', 'quantization = pq, m = 3'),
	('ivf', 'quantization = pq, m = 4'), ('ivf', 'quantization = pq, m = -1'), ('ivf', 'quantization = pq, bits = 4'),
	('ivf', 'quantization = pq, bits = 7'), ('ivf', 'quantization = sq8, bits = 8'), ('ivf', 'quantization = sq8, m = 1'),
	('ivf', 'quantization = none, bits = 1'), ('ivf', 'ef = 16')) o(am, options);
SELECT columns, outcome('CREATE INDEX ON t USING ivf (' || columns || ')') AS ivf, outcome('CREATE INDEX ON t USING ivfflat (' || columns || ')') AS ivfflat
	FROM (VALUES ('h halfvec_l2_ops'), ('b bit_hamming_ops'), ('v'), ('b'), ('h'), ('v halfvec_l2_ops'), ('v vector_l1_ops'),
		('s sparsevec_l2_ops'), ('b bit_jaccard_ops'), ('id'), ('v vector_l2_ops, h halfvec_l2_ops'), ('v vector_l2_ops) INCLUDE (id'),
		('vb bit_hamming_ops'), ('free vector_l2_ops'), ('(free::vector(3)) vector_l2_ops'), ('v vector_l2_ops DESC'))
	c(columns);
SELECT outcome('CREATE INDEX ON t USING ivf (b bit_hamming_ops) WITH (quantization = sq8)');
SELECT outcome('CREATE INDEX ON t USING ivf (b bit_hamming_ops) WITH (quantization = pq)');
SELECT outcome('CREATE INDEX ON t USING ivf (b bit_hamming_ops) WITH (quantization = none)');
SELECT outcome('CREATE UNIQUE INDEX ON t USING ivf (v vector_l2_ops)');
RESET client_min_messages;
DROP TABLE t;
CREATE TABLE t (id int, v vector(3));
CREATE INDEX t_pq ON t USING ivf (v vector_l2_ops) WITH (quantization = pq);
DROP INDEX t_pq;
CREATE INDEX t_flat ON t USING ivfflat (v vector_l2_ops);
CREATE INDEX t_ivf ON t USING ivf (v vector_l2_ops);
TRUNCATE t;
DROP TABLE t;
SELECT setting, outcome('SET ' || setting) FROM (VALUES ('ivfflat.probes = 0'), ('ivfflat.probes = 32769'),
	('ivfflat.iterative_scan = strict_order'), ('ivfflat.max_probes = 0'), ('ivfflat.max_probes = 32769'), ('ivfflat.lists = 1'),
	('ivf.probes = -1'), ('ivf.probes = 32769'), ('ivf.recall_target = 0.4'), ('ivf.recall_target = 1.1'),
	('ivf.iterative_scan = on'), ('ivf.max_probes = 1')) s(setting);
RESET ivfflat.probes;
SHOW ivfflat.probes;
SHOW ivfflat.iterative_scan;
SHOW ivfflat.max_probes;
SHOW ivf.probes;
SHOW ivf.recall_target;
SHOW ivf.iterative_scan;
SELECT amname, opcname FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod WHERE amname IN ('ivf', 'ivfflat') AND NOT amvalidate(c.oid);

-- Changed options hold from the next REINDEX on, and the answers stay.
SET client_min_messages = warning;
CREATE TABLE t (id int PRIMARY KEY, v vector(64));
INSERT INTO t SELECT i, elements(i, 64)::vector FROM generate_series(1, 300) i;
CREATE INDEX t_v_idx ON t USING ivf (v vector_l2_ops) WITH (lists = 4, quantization = none);
ALTER INDEX t_v_idx SET (quantization = rabitq, bits = 3, lists = 6);
INSERT INTO t SELECT i, elements(i, 64)::vector FROM generate_series(301, 320) i;
SELECT info('t_v_idx', 'quantization') AS quantization, info('t_v_idx', 'lists') AS lists, good_recall('t', '<->'), unsound('t');
REINDEX INDEX t_v_idx;
SELECT info('t_v_idx', 'quantization') AS quantization, info('t_v_idx', 'bits') AS bits, info('t_v_idx', 'lists') AS lists,
	good_recall('t', '<->'), unsound('t');
-- Without another look at the table, the order is that of the codes: near enough.
ALTER INDEX t_v_idx SET (rerank = off, bits = 8);
REINDEX INDEX t_v_idx;
SELECT recall('t', '<->') >= 0.85 AS recall, unsound('t');
ALTER INDEX t_v_idx RESET (rerank, bits, lists);
REINDEX INDEX CONCURRENTLY t_v_idx;
CREATE INDEX CONCURRENTLY t_cosine ON t USING ivf (v vector_cosine_ops);
CREATE INDEX CONCURRENTLY t_flat ON t USING ivfflat (v vector_ip_ops) WITH (lists = 3);
SELECT good_recall('t', '<->'), unsound('t');
VACUUM FULL t;
SELECT good_recall('t', '<->'), unsound('t');
ALTER TABLE t ALTER COLUMN id TYPE bigint;
SELECT good_recall('t', '<->'), unsound('t');
DROP TABLE t;

-- Long vectors.
CREATE TABLE t (id int PRIMARY KEY, v vector(16000));
INSERT INTO t SELECT i, elements(i, 16000)::vector FROM generate_series(1, 30) i;
CREATE INDEX t_v_idx ON t USING ivf (v vector_l2_ops) WITH (lists = 2);
INSERT INTO t SELECT i, elements(i, 16000)::vector FROM generate_series(31, 36) i;
SELECT good_recall('t', '<->'), unsound('t');
DELETE FROM t WHERE id % 7 < 2 AND id > 10;
VACUUM t;
SELECT good_recall('t', '<->'), unsound('t');
DROP INDEX t_v_idx;
CREATE INDEX t_v_idx ON t USING ivfflat (v vector_cosine_ops) WITH (lists = 2);
INSERT INTO t SELECT i, elements(i, 16000)::vector FROM generate_series(37, 40) i;
DELETE FROM t WHERE id % 7 = 0 AND id > 10;
VACUUM t;
SELECT good_recall('t', '<=>', 0.5), unsound('t');
DROP TABLE t;
CREATE TABLE t (id int PRIMARY KEY, v bit(64000));
INSERT INTO t SELECT i, rpad('', 64000, bits(i, 100))::bit(64000) FROM generate_series(1, 20) i;
CREATE INDEX t_v_idx ON t USING ivf (v bit_hamming_ops) WITH (lists = 2);
INSERT INTO t SELECT i, rpad('', 64000, bits(i, 100))::bit(64000) FROM generate_series(21, 25) i;
SELECT good_recall('t', '<~>'), unsound('t');
DROP INDEX t_v_idx;
CREATE INDEX t_v_idx ON t USING ivfflat (v bit_hamming_ops) WITH (lists = 2);
INSERT INTO t SELECT i, rpad('', 64000, bits(i, 100))::bit(64000) FROM generate_series(26, 30) i;
SELECT good_recall('t', '<~>', 0.5), unsound('t');
DROP TABLE t;

-- Rows that are their centroids, and a query that is, too.
CREATE TABLE t (id serial PRIMARY KEY, v vector(40));
INSERT INTO t (v) SELECT array_fill(i % 2, ARRAY[40])::vector FROM generate_series(1, 200) i;
CREATE INDEX t_v_idx ON t USING ivf (v vector_ip_ops) WITH (lists = 2);
CREATE INDEX t_l2 ON t USING ivf (v vector_l2_ops) WITH (lists = 2, bits = 1);
CREATE INDEX t_cosine ON t USING ivf (v vector_cosine_ops) WITH (lists = 2, bits = 4);
SELECT target, (SELECT count(*) FROM (SELECT id FROM t ORDER BY v <#> array_fill(1, ARRAY[40])::vector LIMIT 150) s) AS ip,
	(SELECT count(*) FROM (SELECT id FROM t ORDER BY v <#> array_fill(0, ARRAY[40])::vector LIMIT 150) s) AS ip_of_zero,
	(SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> array_fill(1, ARRAY[40])::vector LIMIT 150) s) AS l2,
	(SELECT count(*) FROM (SELECT id FROM t ORDER BY v <=> array_fill(1, ARRAY[40])::vector LIMIT 150) s) AS cosine
	FROM (VALUES ('0.95'), ('1')) s(target), LATERAL set_config('ivf.recall_target', target, false);
RESET ivf.recall_target;
SELECT good_recall('t', '<#>'), unsound('t');
DROP TABLE t;

-- Duplicates, in more lists than there are vectors.
CREATE TABLE t (id serial PRIMARY KEY, v vector(3));
INSERT INTO t (v) SELECT '[1,1,1]' FROM generate_series(1, 1500);
CREATE INDEX t_v_idx ON t USING ivf (v vector_l2_ops) WITH (lists = 20);
INSERT INTO t (v) SELECT '[1,1,1]' FROM generate_series(1, 1500);
INSERT INTO t (v) VALUES ('[1,1,2]');
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> '[1,1,1]') s;
SELECT unsound('t');
DELETE FROM t WHERE id % 7 <> 0;
VACUUM t;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> '[1,1,1]') s;
INSERT INTO t (v) SELECT '[1,1,1]' FROM generate_series(1, 100);
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> '[1,1,1]') s;
DELETE FROM t WHERE v = '[1,1,1]';
VACUUM t;
SELECT v FROM t ORDER BY v <-> '[1,1,1]';
INSERT INTO t (v) VALUES ('[1,1,2]');
SELECT v FROM t ORDER BY v <-> '[1,1,1]';
SELECT unsound('t');
DROP TABLE t;

-- Scans that are asked for more than their first lists have.
CREATE TABLE t (id int PRIMARY KEY, v vector(40), filter int);
INSERT INTO t SELECT i, elements(i, 40)::vector, i % 50 FROM generate_series(1, 1000) i;
CREATE INDEX t_v_idx ON t USING ivf (v vector_l2_ops) WITH (lists = 16);
ANALYZE t;
CREATE FUNCTION scan(condition text) RETURNS TABLE (rows bigint, once boolean, in_order boolean) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('enable_sort', 'off', true);
	RETURN QUERY EXECUTE format('WITH found AS MATERIALIZED (
			SELECT id, v <-> elements(7, 40)::vector AS d FROM t WHERE %s ORDER BY v <-> elements(7, 40)::vector),
		numbered AS (SELECT id, d, row_number() OVER () AS at FROM found),
		compared AS (SELECT id, d, lag(d) OVER (ORDER BY at) AS before FROM numbered)
		SELECT count(*), count(*) = count(DISTINCT id), coalesce(every(d >= before), true) FROM compared', condition);
END
$$;
SET ivf.probes = 1;
-- Under strict_order, what comes too late is left out.
SELECT rows > 100 AS many, once, in_order FROM scan('true');
SELECT rows > 1 AS some, once, in_order FROM scan('filter = 3');
SET ivf.iterative_scan = relaxed_order;
SELECT rows, once FROM scan('true');
SELECT rows, once FROM scan('filter = 3');
SET ivf.iterative_scan = off;
SELECT rows BETWEEN 1 AND 300 AS few, once, in_order FROM scan('true');
SET ivf.probes = 16;
SELECT rows, once, in_order FROM scan('true');
RESET ivf.probes;
SET ivf.recall_target = 1;
SELECT rows, once, in_order FROM scan('true');
RESET ivf.iterative_scan;
SELECT rows, once, in_order FROM scan('true');
SELECT rows, once, in_order FROM scan('filter = 3');
RESET ivf.recall_target;
SELECT rows > 100 AS many, once, in_order FROM scan('true');
SELECT rows > 1 AS some, once, in_order FROM scan('filter = 3');
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> (SELECT NULL::vector)) s;
INSERT INTO t SELECT i, elements(i, 40)::vector, -1 FROM generate_series(1001, 1100) i;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> (SELECT NULL::vector)) s;
-- Scans that begin anew, stop early, and are kept open.
SELECT q.id, near.ids FROM (SELECT id, v FROM t WHERE filter = 3 ORDER BY id LIMIT 3) q,
	LATERAL (SELECT array_agg(id ORDER BY d) AS ids FROM (SELECT t.id, t.v <-> q.v AS d FROM t ORDER BY t.v <-> q.v LIMIT 1) s) near;
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> elements(53, 40)::vector;
FETCH 1 FROM c;
INSERT INTO t SELECT 2000, elements(53, 40)::vector, 3;
SAVEPOINT s;
DELETE FROM t WHERE id < 500;
MOVE 300 FROM c;
ROLLBACK TO s;
MOVE 300 FROM c;
CLOSE c;
ROLLBACK;
PREPARE nearest(vector) AS SELECT id FROM t ORDER BY v <-> $1 LIMIT 1;
SET plan_cache_mode = force_generic_plan;
EXECUTE nearest(elements(53, 40)::vector);
EXECUTE nearest(elements(103, 40)::vector);
EXECUTE nearest(NULL::vector) \g /dev/null
RESET plan_cache_mode;
DROP INDEX t_v_idx;
CREATE INDEX t_v_idx ON t USING ivfflat (v vector_l2_ops) WITH (lists = 16);
SELECT rows BETWEEN 1 AND 300 AS few, once, in_order FROM scan('true');
SET ivfflat.probes = 16;
SELECT rows, once, in_order FROM scan('true');
RESET ivfflat.probes;
SET ivfflat.iterative_scan = relaxed_order;
SELECT rows, once FROM scan('true');
SELECT rows, once FROM scan('filter = 3');
SET ivfflat.max_probes = 8;
SELECT rows BETWEEN 200 AND 900 AS some, once FROM scan('true');
RESET ivfflat.max_probes;
RESET ivfflat.iterative_scan;
DROP TABLE t;

-- No combination of settings is an error, whatever the index, nor when the table is empty.
CREATE TABLE t (id int, v vector(40));
CREATE TABLE u (v vector(40));
INSERT INTO t SELECT i, elements(i, 40)::vector FROM generate_series(1, 600) i;
DO $$
DECLARE
	am text;
	options text;
	tab text;
	setting text[];
	line text;
	planned int := 0;
	found int;
BEGIN
	PERFORM set_config('client_min_messages', 'warning', true);
	FOR am, options IN VALUES ('ivf', 'quantization = rabitq'), ('ivf', 'bits = 2'), ('ivf', 'quantization = pq'), ('ivf', 'quantization = sq8'),
		('ivf', 'rerank = off'), ('ivf', 'quantization = none'), ('ivf', 'lists = 1'), ('ivfflat', 'lists = 8') LOOP
		FOREACH tab IN ARRAY ARRAY['t', 'u'] LOOP
			EXECUTE format('CREATE INDEX %I ON %I USING %s (v vector_l2_ops) WITH (%s)', tab || '_v_idx', tab, am, options);
			FOR setting IN SELECT ARRAY[p, r, i, CASE p WHEN '0' THEN '1' ELSE p END, CASE r WHEN '1' THEN 'relaxed_order' ELSE 'off' END, m]
				FROM unnest(ARRAY['0', '1', '32768']) p, unnest(ARRAY['0.5', '0.95', '1']) r, unnest(ARRAY['off', 'strict_order', 'relaxed_order']) i,
				unnest(ARRAY['1', '32768']) m LOOP
				PERFORM set_config('ivf.probes', setting[1], true), set_config('ivf.recall_target', setting[2], true),
					set_config('ivf.iterative_scan', setting[3], true), set_config('ivfflat.probes', setting[4], true),
					set_config('ivfflat.iterative_scan', setting[5], true), set_config('ivfflat.max_probes', setting[6], true);
				FOR line IN EXECUTE format('EXPLAIN (COSTS OFF) SELECT * FROM %I ORDER BY v <-> array_fill(1, ARRAY[40])::vector LIMIT 3', tab) LOOP
					planned := planned + (line ~ 'Index Scan using')::int;
				END LOOP;
				EXECUTE format('SELECT count(*) FROM (SELECT * FROM %I ORDER BY v <-> array_fill(1, ARRAY[40])::vector LIMIT 3) s', tab) INTO found;
				IF found <> (tab = 't')::int * 3 THEN
					RAISE '% rows of % with %, %', found, tab, options, setting;
				END IF;
			END LOOP;
			EXECUTE format('DROP INDEX %I', tab || '_v_idx');
		END LOOP;
	END LOOP;
	IF planned <> 8 * 2 * 54 THEN
		RAISE '% scans of an index', planned;
	END IF;
END
$$;
-- What index_info says, and the phases of a build as progress names them.
CREATE INDEX t_v_idx ON t USING ivf (v vector_l2_ops) WITH (lists = 4);
INSERT INTO t SELECT i, elements(i, 40)::vector FROM generate_series(601, 2000) i;
DELETE FROM t WHERE id % 10 = 0;
SELECT property, regexp_replace(value, '\d+', 'N', 'g') AS value FROM lean.index_info('t_v_idx');
VACUUM t;
SELECT property, regexp_replace(value, '\d+', 'N', 'g') AS value FROM lean.index_info('t_v_idx') WHERE property IN ('dead rows', 'rebuild', 'lists that were split');
SELECT amname, string_agg(pg_indexam_progress_phasename(oid, phase), ', ' ORDER BY phase) AS phases FROM pg_am, generate_series(1, 9) phase
	WHERE amname IN ('ivf', 'ivfflat') GROUP BY amname ORDER BY amname COLLATE "C";
DROP TABLE t, u;

-- Plans: the index for the nearest few, a plain scan for a selective filter, all rows, or no order.
RESET enable_seqscan;
CREATE TABLE t (id int, v vector(40), filter int);
INSERT INTO t SELECT i, elements(i, 40)::vector, i % 100 FROM generate_series(1, 3000) i;
CREATE INDEX t_v_idx ON t USING ivf (v vector_l2_ops);
CREATE INDEX t_flat ON t USING ivfflat (v vector_ip_ops) WITH (lists = 30);
ANALYZE t;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> array_fill(1, ARRAY[40])::vector LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE filter <> 1 ORDER BY v <-> array_fill(1, ARRAY[40])::vector LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <#> array_fill(1, ARRAY[40])::vector LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> array_fill(1, ARRAY[40])::vector;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <=> array_fill(1, ARRAY[40])::vector LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> array_fill(1, ARRAY[40])::vector DESC LIMIT 10;
EXPLAIN (COSTS OFF) SELECT count(*) FROM t WHERE v <-> array_fill(1, ARRAY[40])::vector < 1;
EXPLAIN (COSTS OFF) SELECT count(*) FROM t;
CREATE INDEX t_partial ON t USING ivf (v vector_l2_ops) WHERE filter = 1;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE filter = 1 ORDER BY v <-> array_fill(1, ARRAY[40])::vector LIMIT 10;
SELECT unsound('t');
DROP INDEX t_v_idx, t_flat, t_partial;
-- The same choices with every kind of codes.
CREATE FUNCTION plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ 'Scan' THEN
			RETURN btrim(line, ' ->');
		END IF;
	END LOOP;
END
$$;
CREATE TABLE plans (options text, nearest text, weak_filter text, selective_filter text, all_rows text);
SELECT format('CREATE INDEX t_v_idx ON t USING ivf (v vector_l2_ops) WITH (%s)', o),
	format('INSERT INTO plans SELECT %L, plan(q || o || '' LIMIT 10''), plan(q || ''WHERE filter <> 1'' || o || '' LIMIT 10''),
		plan(q || ''WHERE id BETWEEN 5 AND 20'' || o || '' LIMIT 10''), plan(q || o)
		FROM (VALUES (''SELECT id FROM t '', '' ORDER BY v <-> array_fill(1, ARRAY[40])::vector'')) s(q, o)', o), 'DROP INDEX t_v_idx'
	FROM unnest(ARRAY['quantization = rabitq', 'bits = 1', 'quantization = sq8', 'quantization = pq', 'quantization = pq, bits = 4, m = 10',
		'quantization = none', 'rerank = off']) o
\set ECHO none
\gexec
\set ECHO all
SELECT * FROM plans;
DROP TABLE t, plans;
DROP FUNCTION plan;
SET enable_seqscan = off;

-- Kinds of tables.
CREATE TEMP TABLE temporary (id int PRIMARY KEY, v vector(40)) ON COMMIT DELETE ROWS;
CREATE INDEX temporary_v_idx ON temporary USING ivf (v vector_l2_ops);
BEGIN;
INSERT INTO temporary SELECT i, elements(i, 40)::vector FROM generate_series(1, 100) i;
SELECT good_recall('temporary', '<->'), unsound('temporary');
COMMIT;
SELECT id FROM temporary ORDER BY v <-> elements(7, 40)::vector;
SELECT unsound('temporary');
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY, v vector(40));
INSERT INTO unlogged SELECT i, elements(i, 40)::vector FROM generate_series(1, 100) i;
CREATE INDEX unlogged_v_idx ON unlogged USING ivf (v vector_l2_ops) WITH (lists = 3);
CREATE INDEX unlogged_flat ON unlogged USING ivfflat (v vector_ip_ops) WITH (lists = 3);
INSERT INTO unlogged SELECT i, elements(i, 40)::vector FROM generate_series(101, 200) i;
SELECT pg_relation_size('unlogged_v_idx', 'init') > 0 AS init_fork, good_recall('unlogged', '<->'), unsound('unlogged');
DELETE FROM unlogged WHERE id % 3 = 0 AND id > 10;
VACUUM unlogged;
ALTER TABLE unlogged SET LOGGED;
SELECT good_recall('unlogged', '<->'), unsound('unlogged');
TRUNCATE unlogged;
INSERT INTO unlogged SELECT i, elements(i, 40)::vector FROM generate_series(1, 100) i;
SELECT good_recall('unlogged', '<->'), unsound('unlogged');
DROP TABLE unlogged;
CREATE TABLE partitioned (id int, v vector(40)) PARTITION BY RANGE (id);
CREATE INDEX partitioned_v_idx ON partitioned USING ivf (v vector_l2_ops);
CREATE TABLE part_a PARTITION OF partitioned FOR VALUES FROM (1) TO (101);
CREATE TABLE part_b PARTITION OF partitioned FOR VALUES FROM (101) TO (301);
INSERT INTO partitioned SELECT i, elements(i, 40)::vector FROM generate_series(1, 300) i;
EXPLAIN (COSTS OFF) SELECT id FROM partitioned ORDER BY v <-> array_fill(1, ARRAY[40])::vector LIMIT 10;
SELECT count(*) FROM (SELECT id FROM partitioned ORDER BY v <-> elements(7, 40)::vector LIMIT 30) s;
SELECT id FROM partitioned ORDER BY v <-> elements(150, 40)::vector LIMIT 1;
SELECT unsound('part_a'), unsound('part_b');
DROP TABLE partitioned;
DROP TABLE opclasses;
DROP FUNCTION outcome, unsound, info, elements, bits, recall, good_recall, value_of, scan;
