-- lean.rrf, lean.rrf_sum and lean.rrf_fuse: scores, defaults, nulls, duplicates, ties, ranges.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE FUNCTION sqlstate_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    RETURN sqlstate || ': ' || sqlerrm;
END
$$;

SELECT lean.rrf(1) = 1.0::float8 / 61 AS first, lean.rrf(rank => 2, k => 10) = 1.0::float8 / 12 AS second,
    lean.rrf(3, weight => 2.5) = 2.5::float8 / 63 AS weighted, lean.rrf(4, k => 0) AS plain_reciprocal,
    lean.rrf(5, weight => 0) AS switched_off, lean.rrf(NULL) AS not_found;

SELECT sqlstate_of(format('SELECT lean.rrf(%s)', arguments)) AS error, arguments
FROM unnest(ARRAY['0', '-1', '1, -1', '1, ''NaN''', '1, ''Infinity''', '1, 60, -0.5', '1, 60, ''NaN''',
    '1, 60, ''-Infinity''', '1, NULL', '1, 60, NULL', 'NULL, -1', '9223372036854775807']) AS arguments;

-- The aggregate: absent documents add nothing, and no row at all gives 0.
CREATE TABLE found (id text, branch text, rank bigint, weight float8);
INSERT INTO found VALUES ('a', 'vector', 1, 1), ('b', 'vector', 2, 1), ('c', 'vector', 3, 1),
    ('b', 'words', 1, 2), ('d', 'words', 2, 2), ('e', 'words', NULL, 2);
SELECT id, round(lean.rrf_sum(rank)::numeric, 6) AS sum, round(lean.rrf_sum(rank, 10)::numeric, 6) AS k_10,
    round(lean.rrf_sum(rank, 60, weight)::numeric, 6) AS weighted
FROM found GROUP BY id ORDER BY weighted DESC, id;
SELECT lean.rrf_sum(rank), lean.rrf_sum(rank, 60, weight) FROM found WHERE false;
SELECT sqlstate_of('SELECT lean.rrf_sum(rank, 60, -weight) FROM found');

-- Partial sums of parallel workers are combined.
SELECT proname, aggcombinefn, proparallel FROM pg_aggregate JOIN pg_proc ON oid = aggfnoid
WHERE pronamespace = 'lean'::regnamespace AND proname LIKE 'rrf%' ORDER BY proname, pronargs;

-- Fusion of arrays. 2 and 1 have the same places in either list: the first list decides.
SELECT id, round(score::numeric, 6) AS score, rank FROM lean.rrf_fuse(ARRAY[[1, 2, 3], [2, 1, 4]]);
SELECT id, round(score::numeric, 6) AS score, rank
FROM lean.rrf_fuse(ARRAY[['x', 'y'], ['y', 'z']], k => 1, weights => '{1, 3}');
-- A tie that sums in any order: three lists, two documents, places turned round.
SELECT id, rank, score = lag(score) OVER (ORDER BY rank) AS same_score
FROM lean.rrf_fuse('{{b, x1, a}, {x2, a, b}, {a, b, x3}}'::text[]) WHERE id IN ('a', 'b');
-- A null holds its place, a duplicate counts where it stands first.
SELECT id, round(score::numeric, 6) AS score, rank FROM lean.rrf_fuse('{{7, NULL, 7, 8}}'::int[]);
-- One list, lists of other bounds and types, weight 0, nothing at all.
SELECT id, rank FROM lean.rrf_fuse(ARRAY['2024-01-02', '2024-01-01']::date[]);
SELECT id, rank FROM lean.rrf_fuse('[0:1][5:6]={{1,2},{3,1}}'::bigint[], weights => '[4:5]={1,0}'::float8[]);
SELECT * FROM lean.rrf_fuse('{}'::int[]);
SELECT * FROM lean.rrf_fuse(NULL::uuid[]);
SELECT * FROM lean.rrf_fuse('{{NULL,NULL}}'::int[]);
-- Equality is the type's own.
SELECT id, rank FROM lean.rrf_fuse('{{1.0, 2}, {1, 3}}'::numeric[]);

-- Lists of different lengths.
CREATE TABLE ranked (n int, list int[]);
INSERT INTO ranked VALUES (1, '{10,20,30}'), (2, '[3:4]={30,40}'), (3, '{}'), (4, NULL), (5, '{20,20,10,50}');
SELECT lean.rrf_lists(list ORDER BY n) FROM ranked;
SELECT lean.rrf_lists(list ORDER BY n DESC) FROM ranked WHERE n IN (2, 3);
SELECT lean.rrf_lists(list) FROM ranked WHERE false;
SELECT id, round(score::numeric, 6) AS score, rank
FROM lean.rrf_fuse((SELECT lean.rrf_lists(list ORDER BY n) FROM ranked), weights => ARRAY[1, 1, 9, 9, 0.5]);
SELECT sqlstate_of('SELECT lean.rrf_lists(ARRAY[[1]])');

SELECT sqlstate_of('SELECT * FROM lean.rrf_fuse(' || arguments || ')') AS error
FROM unnest(ARRAY['ARRAY[1,2], k => -1', '''{}''::int[], k => -1', 'ARRAY[1,2], k => NULL',
    'ARRAY[1,2], weights => ''{1,1}''', 'ARRAY[[1,2],[3,4]], weights => ''{1}''', 'ARRAY[1], weights => ''{}''',
    'ARRAY[1], weights => ''{-1}''', 'ARRAY[1], weights => ''{NULL}''', 'ARRAY[1], weights => ''{NaN}''',
    'ARRAY[1], weights => ''{{1}}''', '''{{{1}}}''::int[]']) AS arguments;

-- What a hybrid query looks like.
CREATE TABLE notes (id int PRIMARY KEY, place int, body tsvector);
INSERT INTO notes VALUES (1, 10, 'cat dog'), (2, 20, 'dog'), (3, 30, 'bird'), (4, 40, 'dog dog');
WITH near AS (
    SELECT id, row_number() OVER (ORDER BY abs(place - 28), id) AS rank FROM notes ORDER BY rank LIMIT 3
), words AS (
    SELECT id, row_number() OVER (ORDER BY id) AS rank FROM notes WHERE body @@ 'dog' LIMIT 3
)
SELECT id, near.rank AS near, words.rank AS words, round((lean.rrf(near.rank) + lean.rrf(words.rank))::numeric, 5) AS score
FROM near FULL JOIN words USING (id) ORDER BY score DESC, id;

-- Each public function says what it is, and stays usable with a hostile search path.
SELECT p.oid::regprocedure FROM pg_proc AS p
WHERE pronamespace = 'lean'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL;
SET search_path = pg_temp;
SELECT id, rank FROM lean.rrf_fuse((SELECT lean.rrf_lists(list) FROM (VALUES (ARRAY[1, 2]), (ARRAY[3])) AS v (list)));
