-- Distances, arithmetic, comparisons and btree indexes over the vector types.

SELECT a <-> b AS l2, a <#> b AS negative_product, a <=> b AS cosine, a <+> b AS l1
	FROM (VALUES ('[1,2,2]'::vector, '[4,6,2]'::vector)) x(a, b)
UNION ALL SELECT a <-> b, a <#> b, a <=> b, a <+> b
	FROM (VALUES ('[1,2,2]'::halfvec, '[4,6,2]'::halfvec)) x(a, b)
UNION ALL SELECT a <-> b, a <#> b, a <=> b, a <+> b
	FROM (VALUES ('{1:1,2:2,3:2}/3'::sparsevec, '{1:4,2:6,3:2}/3'::sparsevec)) x(a, b);
SELECT l2_distance('[0,0]'::vector, '[3,4]'), inner_product('[1,2]'::vector, '[3,4]'),
	cosine_distance('[1,2]'::vector, '[2,4]'), l1_distance('[0,0]'::vector, '[3,4]');
SELECT vector_l2_squared_distance('[0,0]', '[3,4]'), vector_negative_inner_product('[1,2]', '[3,4]'),
	vector_spherical_distance('[1,0]', '[0,1]');
SELECT halfvec_l2_squared_distance('[0,0]', '[3,4]'), halfvec_negative_inner_product('[1,2]', '[3,4]'),
	halfvec_spherical_distance('[1,0]', '[-1,0]');
SELECT sparsevec_l2_squared_distance('{}/2', '{1:3,2:4}/2'),
	sparsevec_negative_inner_product('{1:1}/2', '{2:4}/2');
SELECT '1100'::bit(4) <~> '1010'::bit(4) AS hamming, '1100'::bit(4) <%> '1010'::bit(4) AS jaccard,
	'0'::bit <%> '0'::bit AS empty, repeat('10', 500)::varbit <~> repeat('01', 500)::varbit AS long;

-- Where numbers end.
SELECT '[3e38]'::vector <-> '[-3e38]' AS overflow, '[0,0]'::vector <=> '[1,2]' AS of_zero,
	'[1,2]'::vector <=> '[-1,-2]' AS opposite, '{}/2'::sparsevec <=> '{1:1}/2' AS sparse_zero;

SELECT '[1,2,3]'::vector + '[4,5,6]', '[1,2,3]'::vector - '[4,5,6]', '[1,2,3]'::vector * '[4,5,6]',
	'[1,2,3]'::vector || '[4]';
SELECT '[1,2,3]'::halfvec + '[4,5,6]', '[1,2,3]'::halfvec - '[4,5,6]', '[1,2,3]'::halfvec * '[4,5,6]',
	'[1,2,3]'::halfvec || '[4]';

-- One order for every type: by elements, then the shorter first.
CREATE VIEW pairs AS SELECT * FROM (VALUES
	('[1,2]'::vector, '[1,2]'::vector), ('[1,2]', '[1,3]'), ('[1,2]', '[1,2,0]'), ('[1,2]', '[1,2,-1]'),
	('[2]', '[1,2]'), ('[-0]', '[0]'), ('[-1]', '[0,0]')) x(a, b);
SELECT a, b, a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt,
	vector_cmp(a, b) AS cmp FROM pairs;
SELECT count(*) AS agree FROM pairs,
	LATERAL (SELECT a::halfvec AS ha, b::halfvec AS hb, a::sparsevec AS sa, b::sparsevec AS sb) x
	WHERE (a < b, a <= b, a = b, a <> b, a >= b, a > b, vector_cmp(a, b))
		= (ha < hb, ha <= hb, ha = hb, ha <> hb, ha >= hb, ha > hb, halfvec_cmp(ha, hb))
	AND (a < b, a <= b, a = b, a <> b, a >= b, a > b, vector_cmp(a, b))
		= (sa < sb, sa <= sb, sa = sb, sa <> sb, sa >= sb, sa > sb, sparsevec_cmp(sa, sb));
DROP VIEW pairs;

CREATE TABLE sorted (id int, v vector, h halfvec, s sparsevec);
INSERT INTO sorted SELECT i, v::vector, v::vector, v::vector FROM unnest(ARRAY[
	'[0,0,0]', '[1,2,3]', '[1,1,1]', NULL, '[1,2,4]', '[1,2]']) WITH ORDINALITY x(v, i);
CREATE INDEX ON sorted (v);
CREATE INDEX ON sorted (h);
CREATE UNIQUE INDEX ON sorted (s);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM sorted WHERE v = '[1,2,3]';
SELECT (SELECT id FROM sorted WHERE v = '[1,2,3]') AS v, (SELECT id FROM sorted WHERE h = '[1,2,3]') AS h,
	(SELECT id FROM sorted WHERE s = '{1:1,2:2,3:3}/3') AS s;
SELECT array_agg(id ORDER BY v), array_agg(id ORDER BY h DESC), array_agg(id ORDER BY s) FROM sorted;
INSERT INTO sorted (s) VALUES ('{1:1,2:2}/2');
DROP TABLE sorted;
RESET enable_seqscan;
