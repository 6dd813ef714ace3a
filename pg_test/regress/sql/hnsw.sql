-- The hnsw index from SQL: every operator class through a life of inserts, deletes and vacuum, options and errors,
-- the kinds of tables, scans, plans.

\getenv tests PG_ABS_SRCDIR
\set outcome :tests '/helpers/outcome.sql'
\i :outcome
-- What index_check has to say against the indexes of a table.
CREATE FUNCTION unsound(tab regclass) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(concat_ws(' ', i.indexrelid::regclass, c.check_name, c.detail), '; '), 'sound')
	FROM pg_index i JOIN pg_class r ON r.oid = i.indexrelid JOIN pg_am a ON a.oid = r.relam,
		LATERAL lean.index_check(i.indexrelid) c
	WHERE i.indrelid = tab AND a.amname = 'hnsw' AND NOT c.ok
$$;
-- The elements of the vector number i: repeatable, and unlike those of its neighbours.
CREATE FUNCTION elements(i int, dims int) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg((hashint4(i * 1000 + d) & 1023)::real / 1024 + 0.001) FROM generate_series(1, dims) d
$$;
CREATE FUNCTION bits(i int, dims int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg((hashint4(i * 1000 + d) & 1)::text, '') FROM generate_series(1, dims) d
$$;
-- The share of the nearest ten that the index finds, over twenty queries, rows at equal distance being equal.
CREATE FUNCTION recall(tab text, op text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	statement text := format('SELECT array_agg(d ORDER BY d) FROM (SELECT v %s (SELECT v FROM %I WHERE id = $1) AS d
		FROM %I ORDER BY v %s (SELECT v FROM %I WHERE id = $1) LIMIT 10) nearest', op, tab, tab, op, tab);
	exact float8[];
	found float8[];
	hits int := 0;
	plan text;
BEGIN
	FOR q IN 1..20 LOOP
		PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true);
		EXECUTE statement INTO exact USING q;
		PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true);
		EXECUTE statement INTO found USING q;
		hits := hits + (SELECT count(*) FROM unnest(found) d WHERE d <= exact[10]);
	END LOOP;
	FOR plan IN EXECUTE format('EXPLAIN (COSTS OFF) SELECT id FROM %I ORDER BY v %s (SELECT v FROM %I WHERE id = 1) LIMIT 10', tab, op, tab) LOOP
		IF plan LIKE '%Index Scan using%' || tab || '_v_idx%' THEN
			RETURN hits / 200.0;
		END IF;
	END LOOP;
	RAISE 'the index of % was not used', tab;
END
$$;

-- Every operator class: built on some rows, more inserted, a third deleted and cleared away, more inserted.
-- The statements that \gexec makes for each are not shown.
CREATE TABLE opclasses (name text COLLATE "C" PRIMARY KEY, type text, op text, options text);
INSERT INTO opclasses SELECT ty || '_' || metric || '_ops', ty || '(12)', op, options
	FROM (VALUES ('vector'), ('halfvec'), ('sparsevec')) t(ty),
		(VALUES ('l2', '<->', 'm = 16'), ('ip', '<#>', 'ef_construction = 100'), ('cosine', '<=>', 'm = 8, ef_construction = 80'),
			('l1', '<+>', 'quantization = none')) m(metric, op, options);
INSERT INTO opclasses SELECT ty || '_' || metric || '_' || quantization, ty || '(12)', op, 'quantization = ' || quantization
	FROM (VALUES ('vector'), ('halfvec')) t(ty), (VALUES ('sq8'), ('half')) q(quantization),
		(VALUES ('l2', '<->'), ('ip', '<#>'), ('cosine', '<=>'), ('l1', '<+>')) m(metric, op);
INSERT INTO opclasses VALUES ('bit_hamming_ops', 'bit(100)', '<~>', 'm = 4'), ('bit_jaccard_ops', 'bit(100)', '<%>', 'm = 40, ef_construction = 80');
CREATE FUNCTION value_of(type text, i int) RETURNS text LANGUAGE sql AS $$
	SELECT CASE
		WHEN type LIKE 'bit%' THEN bits(i, 100)
		WHEN type LIKE 'sparsevec%' THEN (SELECT array_agg(CASE WHEN e < 0.3 THEN 0 ELSE e END) FROM unnest(elements(i, 12)) e)::vector::sparsevec::text
		ELSE elements(i, 12)::vector::text END
$$;
SET client_min_messages = warning;
SELECT format('CREATE TABLE %I (id int PRIMARY KEY, v %s)', 'of_' || name, type),
	format('INSERT INTO %I SELECT i, value_of(%L, i)::%s FROM generate_series(1, 300) i', 'of_' || name, type, type),
	format('CREATE INDEX %I ON %I USING hnsw (v %s) WITH (%s)', 'of_' || name || '_v_idx', 'of_' || name,
		regexp_replace(name, '(sq8|half)$', 'ops'), options),
	format('INSERT INTO %I SELECT i, value_of(%L, i)::%s FROM generate_series(301, 500) i', 'of_' || name, type, type)
	FROM opclasses ORDER BY name
\set ECHO none
\gexec
\set ECHO all
SET hnsw.ef_search = 100;
SELECT name, CASE WHEN recall('of_' || name, op) >= 0.97 THEN 'good recall' ELSE recall('of_' || name, op)::text END AS recall,
	unsound(('of_' || name)::regclass) FROM opclasses ORDER BY name;
SELECT format('DELETE FROM %I WHERE id > 20 AND id %% 3 = 0', 'of_' || name), format('VACUUM %I', 'of_' || name)
	FROM opclasses ORDER BY name
\set ECHO none
\gexec
\set ECHO all
SELECT name, CASE WHEN recall('of_' || name, op) >= 0.97 THEN 'good recall' ELSE recall('of_' || name, op)::text END AS recall,
	unsound(('of_' || name)::regclass) FROM opclasses ORDER BY name;
SELECT format('INSERT INTO %I SELECT i, value_of(%L, i)::%s FROM generate_series(501, 700) i', 'of_' || name, type, type),
	format('UPDATE %I SET id = id + 10000 WHERE id BETWEEN 600 AND 620', 'of_' || name),
	format('UPDATE %I SET v = value_of(%L, id + 1000)::%s WHERE id BETWEEN 621 AND 640', 'of_' || name, type, type)
	FROM opclasses ORDER BY name
\set ECHO none
\gexec
\set ECHO all
SELECT name, CASE WHEN recall('of_' || name, op) >= 0.97 THEN 'good recall' ELSE recall('of_' || name, op)::text END AS recall,
	unsound(('of_' || name)::regclass) FROM opclasses ORDER BY name;
-- All rows gone, and the index of use again.
SELECT format('DELETE FROM %I', 'of_' || name), format('VACUUM %I', 'of_' || name),
	format('INSERT INTO %I SELECT i, value_of(%L, i)::%s FROM generate_series(1, 50) i', 'of_' || name, type, type)
	FROM opclasses ORDER BY name
\set ECHO none
\gexec
\set ECHO all
SELECT min(recall('of_' || name, op)), string_agg(DISTINCT unsound(('of_' || name)::regclass), ', ') FROM opclasses;
SELECT format('DROP TABLE %I', 'of_' || name) FROM opclasses ORDER BY name
\set ECHO none
\gexec
\set ECHO all
RESET hnsw.ef_search;

-- NULLs and, for cosine, zero vectors are not in the index.
SET enable_seqscan = off;
CREATE TABLE t (id serial, v vector(3));
INSERT INTO t (v) VALUES ('[0,0,0]'), ('[1,2,3]'), ('[1,1,1]'), (NULL);
CREATE INDEX t_v_idx ON t USING hnsw (v vector_cosine_ops);
INSERT INTO t (v) VALUES ('[1,2,4]'), (NULL), ('[0,0,0]');
SELECT id, v FROM t ORDER BY v <=> '[3,3,3]';
SELECT detail FROM lean.index_check('t_v_idx') WHERE check_name = 'table';
-- A NULL query is equally far from all, a zero vector too as cosine goes.
SELECT count(*) FROM (SELECT * FROM t ORDER BY v <=> NULL::vector) nearest;
SELECT count(*) FROM (SELECT * FROM t ORDER BY v <=> (SELECT NULL::vector)) nearest;
SELECT count(*) FROM (SELECT * FROM t ORDER BY v <=> '[0,0,0]') nearest;
SELECT outcome($$SELECT * FROM t ORDER BY v <=> '[1,2]'$$);
-- One index for each order of the same column, and one on half precision of it.
CREATE INDEX t_l2 ON t USING hnsw (v vector_l2_ops);
CREATE INDEX t_half ON t USING hnsw ((v::halfvec(3)) halfvec_l1_ops);
CREATE INDEX t_bits ON t USING hnsw ((binary_quantize(v)::bit(3)) bit_hamming_ops);
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[3,3,3]' LIMIT 5;
SELECT id FROM t ORDER BY v <-> '[3,3,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v::halfvec(3) <+> '[3,3,3]' LIMIT 5;
SELECT id FROM t ORDER BY v::halfvec(3) <+> '[3,3,3]', id LIMIT 3;
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
SELECT options, outcome(format('CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (%s)', options)) FROM (VALUES
	('m = 1'), ('m = 2'), ('m = 100, ef_construction = 200'), ('m = 101'), ('ef_construction = 3'), ('ef_construction = 1001'),
	('m = 16, ef_construction = 31'), ('m = 33'), ('m = many'), ('quantization = none'), ('quantization = sq8'),
	('quantization = half'), ('quantization = auto'), ('quantization = sq4'), ('lists = 5')) o(options);
SELECT columns, outcome(format('CREATE INDEX ON t USING hnsw (%s)', columns)) FROM (VALUES
	('h halfvec_l2_ops) WITH (quantization = sq8'), ('s sparsevec_l2_ops) WITH (quantization = sq8'),
	('s sparsevec_l2_ops) WITH (quantization = half'), ('b bit_hamming_ops) WITH (quantization = sq8'),
	('s sparsevec_l2_ops) WITH (quantization = none'), ('b bit_jaccard_ops) WITH (quantization = auto'),
	('v'), ('v halfvec_l2_ops'), ('id'), ('v vector_l2_ops, h halfvec_l2_ops'), ('v vector_l2_ops) INCLUDE (id'),
	('vb bit_hamming_ops'), ('free vector_l2_ops'), ('(free::vector(3)) vector_l2_ops'), ('v vector_l2_ops DESC'))
	c(columns);
SELECT outcome('CREATE UNIQUE INDEX ON t USING hnsw (v vector_l2_ops)');
-- PostgreSQL 18 words its own message differently.
SELECT left(outcome('ALTER TABLE t ADD EXCLUDE USING hnsw (v vector_l2_ops WITH <->)'), 5) AS outcome;
SELECT setting, outcome('SET ' || setting) FROM (VALUES ('hnsw.ef_search = 0'), ('hnsw.ef_search = 1001'),
	('hnsw.iterative_scan = on'), ('hnsw.max_scan_tuples = 0'), ('hnsw.scan_mem_multiplier = 0'),
	('hnsw.scan_mem_multiplier = 1001'), ('hnsw.ef = 1')) s(setting);
SHOW hnsw.ef_search;
SHOW hnsw.iterative_scan;
SHOW hnsw.max_scan_tuples;
SHOW hnsw.scan_mem_multiplier;
CREATE INDEX t_id ON t (id);
SELECT relation, regexp_replace(outcome(format('SELECT lean.index_check(%L)', relation)), 'OID \d+', 'OID N')
	FROM (VALUES ('t'), ('t_id')) r(relation);
SELECT opcname FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod WHERE amname = 'hnsw' AND NOT amvalidate(c.oid);
DROP TABLE t;

-- Changed options hold from the next REINDEX on, and the answers stay.
CREATE TABLE t (id int PRIMARY KEY, v vector(64));
INSERT INTO t SELECT i, elements(i, 64)::vector FROM generate_series(1, 200) i;
CREATE INDEX t_v_idx ON t USING hnsw (v vector_l2_ops) WITH (quantization = none);
CREATE TEMP TABLE size_of AS SELECT pg_relation_size('t_v_idx') AS bytes;
ALTER INDEX t_v_idx SET (quantization = sq8);
INSERT INTO t SELECT i, elements(i, 64)::vector FROM generate_series(201, 220) i;
SELECT recall('t', '<->') >= 0.99 AS recall, unsound('t');
REINDEX INDEX t_v_idx;
SELECT pg_relation_size('t_v_idx') < bytes AS smaller, recall('t', '<->') >= 0.99 AS recall, unsound('t') FROM size_of;
-- Distances and order are exact whatever the nodes hold.
SELECT every(d = exact) AS exact, every(d >= before) AS in_order FROM (
	SELECT d, exact, coalesce(lag(d) OVER (ORDER BY at), d) AS before FROM (
		SELECT row_number() OVER () AS at, d, exact FROM (
			SELECT v <-> elements(7, 64)::vector AS d, l2_distance(v, elements(7, 64)::vector) AS exact FROM t
			ORDER BY v <-> elements(7, 64)::vector LIMIT 40) s) s) s;
REINDEX INDEX CONCURRENTLY t_v_idx;
CREATE INDEX CONCURRENTLY t_cosine ON t USING hnsw (v vector_cosine_ops);
SELECT unsound('t');
VACUUM FULL t;
SELECT recall('t', '<->') >= 0.99 AS recall, unsound('t');
ALTER TABLE t ALTER COLUMN id TYPE bigint;
SELECT recall('t', '<->') >= 0.99 AS recall, unsound('t');
DROP TABLE t, size_of;

-- Long vectors.
SELECT dims, quantization, outcome(format('CREATE TEMP TABLE long AS SELECT %1$L::int AS id, elements(%1$L, 1)::vector AS v LIMIT 0;
	ALTER TABLE long ALTER v TYPE %2$s(%1$s); CREATE INDEX ON long USING hnsw (v %2$s_l2_ops) WITH (quantization = %3$s); DROP TABLE long',
	dims, ty, quantization))
	FROM (VALUES ('vector', 2000, 'none'), ('vector', 2002, 'none'), ('vector', 4000, 'half'), ('vector', 4003, 'half'),
		('vector', 16000, 'auto'), ('vector', 16000, 'sq8'), ('halfvec', 4000, 'none'), ('halfvec', 4003, 'none'),
		('halfvec', 16000, 'auto')) l(ty, dims, quantization);
CREATE TABLE t (id int PRIMARY KEY, v vector(16000));
INSERT INTO t SELECT i, elements(i, 16000)::vector FROM generate_series(1, 40) i;
CREATE INDEX t_v_idx ON t USING hnsw (v vector_l2_ops);
INSERT INTO t SELECT i, elements(i, 16000)::vector FROM generate_series(41, 50) i;
SELECT recall('t', '<->'), unsound('t');
DROP TABLE t;
CREATE TABLE t (v bit(64000), s sparsevec(1000000000));
CREATE INDEX ON t USING hnsw (v bit_hamming_ops);
CREATE INDEX t_s ON t USING hnsw (s sparsevec_l2_ops);
INSERT INTO t SELECT repeat('01', 32000)::bit(64000), '{1:1,1000000000:2}/1000000000';
-- The more dimensions, the longer an index, and the fewer of them fit into a node.
SELECT dims, entries, outcome(format($$CREATE TEMP TABLE long (s sparsevec(%1$s));
	CREATE INDEX ON long USING hnsw (s sparsevec_l2_ops);
	INSERT INTO long SELECT ('{' || string_agg(i * (%1$s / %2$s) || ':' || i, ',') || '}/%1$s')::sparsevec FROM generate_series(1, %2$s) i;
	INSERT INTO long SELECT * FROM long;
	DO 'BEGIN ASSERT (SELECT count(*) = 2 FROM (SELECT 1 FROM long ORDER BY s <-> (SELECT s FROM long LIMIT 1)) s); END';
	DROP TABLE long$$, dims, entries))
	FROM (VALUES (65536, 1311), (65536, 1312), (65537, 1124), (16777216, 1124), (16777216, 1125), (16777217, 1122),
		(16777217, 1123), (1000000000, 1000), (1000000000, 1097), (1000000000, 1098)) l(dims, entries);
SELECT s FROM t ORDER BY s <-> '{}/1000000000';
SELECT unsound('t');
DROP TABLE t;

-- Duplicates share a node: they are all found, however small ef_search is, and cleared away.
CREATE TABLE t (id serial PRIMARY KEY, v vector(3));
INSERT INTO t (v) SELECT '[1,1,1]' FROM generate_series(1, 1500);
CREATE INDEX t_v_idx ON t USING hnsw (v vector_l2_ops);
INSERT INTO t (v) SELECT '[1,1,1]' FROM generate_series(1, 1500);
INSERT INTO t (v) VALUES ('[1,1,2]');
SET hnsw.ef_search = 1;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> '[1,1,1]') s;
SELECT unsound('t');
DELETE FROM t WHERE id % 7 <> 0;
VACUUM t;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> '[1,1,1]') s;
SELECT unsound('t');
INSERT INTO t (v) SELECT '[1,1,1]' FROM generate_series(1, 100);
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> '[1,1,1]') s;
DELETE FROM t WHERE v = '[1,1,1]';
VACUUM t;
SELECT v FROM t ORDER BY v <-> '[1,1,1]';
INSERT INTO t (v) VALUES ('[1,1,2]');
SELECT v FROM t ORDER BY v <-> '[1,1,1]';
SELECT unsound('t');
RESET hnsw.ef_search;
DROP TABLE t;

-- Iterative scans.
CREATE TABLE t (id int PRIMARY KEY, v vector(8), filter int);
INSERT INTO t SELECT i, elements(i, 8)::vector, i % 50 FROM generate_series(1, 1000) i;
CREATE INDEX t_v_idx ON t USING hnsw (v vector_l2_ops);
ANALYZE t;
CREATE FUNCTION scan(mode text, tuples int) RETURNS TABLE (rows bigint, once boolean, in_order boolean) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('hnsw.iterative_scan', mode, true), set_config('hnsw.max_scan_tuples', tuples::text, true),
		set_config('enable_sort', 'off', true);
	RETURN QUERY WITH found AS MATERIALIZED (
			SELECT id, v <-> elements(7, 8)::vector AS d FROM t WHERE filter < 25 ORDER BY v <-> elements(7, 8)::vector),
		numbered AS (SELECT id, d, row_number() OVER () AS at FROM found),
		compared AS (SELECT id, d, lag(d) OVER (ORDER BY at) AS before FROM numbered)
		SELECT count(*), count(*) = count(DISTINCT id), coalesce(every(d >= before), true) FROM compared;
END
$$;
SELECT rows BETWEEN 1 AND 40 AS few, once, in_order FROM scan('off', 20000);
SELECT rows, once FROM scan('relaxed_order', 20000);
SELECT rows BETWEEN 450 AND 500 AS most, once, in_order FROM scan('strict_order', 20000);
SELECT rows < 500 AS fewer, once FROM scan('relaxed_order', 100);
SELECT rows < 500 AS fewer, once, in_order FROM scan('strict_order', 100);
-- Dead rows are walked past until enough living ones are found, and before they are cleared away.
DELETE FROM t WHERE filter <> 3;
SET hnsw.iterative_scan = relaxed_order;
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> elements(7, 8)::vector LIMIT 20) s;
RESET hnsw.iterative_scan;

-- Scans that begin anew, stop early, and are kept open.
SELECT q.id, near.ids FROM (SELECT id, v FROM t WHERE filter = 3 ORDER BY id LIMIT 3) q,
	LATERAL (SELECT array_agg(id ORDER BY d) AS ids FROM (SELECT t.id, t.v <-> q.v AS d FROM t ORDER BY t.v <-> q.v LIMIT 1) s) near;
BEGIN;
DECLARE c CURSOR FOR SELECT id, (v <-> elements(53, 8)::vector)::numeric(6, 3) AS d FROM t ORDER BY v <-> elements(53, 8)::vector;
FETCH 1 FROM c;
INSERT INTO t SELECT 2000, elements(53, 8)::vector, 3;
MOVE 5 FROM c;
CLOSE c;
ROLLBACK;
PREPARE nearest(vector) AS SELECT id FROM t ORDER BY v <-> $1 LIMIT 1;
SET plan_cache_mode = force_generic_plan;
EXECUTE nearest(elements(53, 8)::vector);
EXECUTE nearest(elements(103, 8)::vector);
EXECUTE nearest(NULL::vector) \g /dev/null
RESET plan_cache_mode;
DROP TABLE t;

-- Plans: the index for the nearest few, a plain scan for a selective filter, all rows, or no order.
RESET enable_seqscan;
CREATE TABLE t (id int, v vector(8), filter int);
INSERT INTO t SELECT i, elements(i, 8)::vector, i % 100 FROM generate_series(1, 5000) i;
CREATE INDEX t_v_idx ON t USING hnsw (v vector_l2_ops);
ANALYZE t;
\set q '''[1,1,1,1,1,1,1,1]'''
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> :q LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE filter <> 1 ORDER BY v <-> :q LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE filter = 1 ORDER BY v <-> :q LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> :q;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <=> :q LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> :q DESC LIMIT 10;
EXPLAIN (COSTS OFF) SELECT count(*) FROM t WHERE v <-> :q < 1;
CREATE INDEX t_partial ON t USING hnsw (v vector_l2_ops) WHERE filter = 1;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE filter = 1 ORDER BY v <-> :q LIMIT 10;
SELECT unsound('t');
DROP TABLE t;
SET enable_seqscan = off;

-- Kinds of tables.
CREATE TEMP TABLE temporary (id int PRIMARY KEY, v vector(8)) ON COMMIT DELETE ROWS;
CREATE INDEX temporary_v_idx ON temporary USING hnsw (v vector_l2_ops);
BEGIN;
INSERT INTO temporary SELECT i, elements(i, 8)::vector FROM generate_series(1, 100) i;
SELECT recall('temporary', '<->') >= 0.99 AS recall, unsound('temporary');
COMMIT;
SELECT id FROM temporary ORDER BY v <-> :q;
SELECT unsound('temporary');
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY, v vector(8));
INSERT INTO unlogged SELECT i, elements(i, 8)::vector FROM generate_series(1, 100) i;
CREATE INDEX unlogged_v_idx ON unlogged USING hnsw (v vector_l2_ops);
INSERT INTO unlogged SELECT i, elements(i, 8)::vector FROM generate_series(101, 200) i;
SELECT pg_relation_size('unlogged_v_idx', 'init') > 0 AS init_fork, recall('unlogged', '<->') >= 0.99 AS recall, unsound('unlogged');
ALTER TABLE unlogged SET LOGGED;
SELECT recall('unlogged', '<->') >= 0.99 AS recall, unsound('unlogged');
DROP TABLE unlogged;
CREATE TABLE partitioned (id int, v vector(8)) PARTITION BY RANGE (id);
CREATE INDEX partitioned_v_idx ON partitioned USING hnsw (v vector_l2_ops);
CREATE TABLE part_a PARTITION OF partitioned FOR VALUES FROM (1) TO (101);
CREATE TABLE part_b PARTITION OF partitioned FOR VALUES FROM (101) TO (301);
INSERT INTO partitioned SELECT i, elements(i, 8)::vector FROM generate_series(1, 300) i;
EXPLAIN (COSTS OFF) SELECT id FROM partitioned ORDER BY v <-> :q LIMIT 10;
SELECT count(*) FROM (SELECT id FROM partitioned ORDER BY v <-> elements(7, 8)::vector LIMIT 30) s;
SELECT id FROM partitioned ORDER BY v <-> elements(150, 8)::vector LIMIT 1;
SELECT unsound('part_a'), unsound('part_b');
SELECT regexp_replace(outcome($$SELECT lean.index_check('partitioned_v_idx')$$), 'OID \d+', 'OID N');
DROP TABLE partitioned;
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE hnsw_space LOCATION '';
CREATE TABLE t (id int PRIMARY KEY, v vector(8));
INSERT INTO t SELECT i, elements(i, 8)::vector FROM generate_series(1, 100) i;
CREATE INDEX t_v_idx ON t USING hnsw (v vector_l2_ops) TABLESPACE hnsw_space;
SELECT recall('t', '<->') >= 0.99 AS recall, unsound('t');
ALTER INDEX t_v_idx SET TABLESPACE pg_default;
SELECT recall('t', '<->') >= 0.99 AS recall, unsound('t');
DROP TABLESPACE hnsw_space;

-- A build that does not fit into memory has the same answers.
SET maintenance_work_mem = '1MB';
INSERT INTO t SELECT i, elements(i, 8)::vector FROM generate_series(101, 8000) i;
REINDEX TABLE t;
SET hnsw.ef_search = 100;
SELECT recall('t', '<->') >= 0.97 AS recall, unsound('t');
RESET hnsw.ef_search;
RESET maintenance_work_mem;
DROP TABLE t, opclasses;
DROP FUNCTION outcome, unsound, elements, bits, recall, value_of, scan;
