-- What lean.last_scan says of scans of one list, of all lists, of a graph, and of those that a nested loop starts anew.

SET enable_seqscan = off;
SELECT count(*) FROM lean.last_scan();
CREATE TABLE t (id int PRIMARY KEY, v vector(40));
INSERT INTO t SELECT i, (SELECT array_agg((hashint4(i * 1000 + d) & 1023) / 1000.0) FROM generate_series(1, 40) d)::vector
	FROM generate_series(1, 300) i;

-- 300 rows are ten blocks of 32; those inserted later are no block yet.
CREATE INDEX t_v_idx ON t USING ivf (v vector_l2_ops) WITH (lists = 1, rerank = off);
SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 7) LIMIT 1;
\x on
SELECT index, access_method, searches, probes, ef_search, lists, nodes, codes, rows, exact_distances, grew FROM lean.last_scan();
\x off
INSERT INTO t SELECT 1000 + id, v FROM t WHERE id BETWEEN 11 AND 15;
SET ivf.iterative_scan = relaxed_order;
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 7) LIMIT 1000) s;
SELECT lists, codes, whole_codes, rows, exact_distances FROM lean.last_scan();
DROP INDEX t_v_idx;

-- Lists of vectors, some and all of them.
CREATE INDEX t_v_idx ON t USING ivfflat (v vector_l2_ops) WITH (lists = 5);
SET ivfflat.probes = 2;
SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 7) LIMIT 1;
SELECT access_method, probes, lists, codes BETWEEN 1 AND 304 AS some, rows, exact_distances FROM lean.last_scan();
SET ivfflat.probes = 5;
SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 7) LIMIT 1;
SELECT probes, lists, codes, whole_codes, rows, exact_distances FROM lean.last_scan();
SELECT count(*) FROM t a, LATERAL (SELECT id FROM t ORDER BY v <-> a.v LIMIT 2) b WHERE a.id IN (7, 8, 9);
SELECT searches, probes, lists, codes, rows FROM lean.last_scan();
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 7);
MOVE 4 FROM c;
SELECT searches, rows FROM lean.last_scan();
MOVE 4 FROM c;
SELECT searches, rows FROM lean.last_scan();
ROLLBACK;
DROP INDEX t_v_idx;

-- A graph, which is walked wider and, if need be, further.
CREATE INDEX t_v_idx ON t USING hnsw (v vector_l2_ops) WITH (quantization = none);
SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 7) LIMIT 1;
SELECT access_method, probes, ef_search, lists, nodes >= 40 AS nodes, codes > nodes AS codes, whole_codes, rows,
	exact_distances, grew FROM lean.last_scan();
SET hnsw.iterative_scan = relaxed_order;
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 7) LIMIT 1000) s;
SELECT codes >= rows AS codes, rows, grew FROM lean.last_scan();
DROP TABLE t;
SELECT count(*) FROM lean.last_scan();
