-- lean.hybrid_search: its branches, fusions, filters, the indexes that it finds, row-level security, errors.
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA hybrid;
SET search_path = hybrid, public;
\i pg_test/regress/helpers/outcome.sql

CREATE TABLE docs (id int PRIMARY KEY, body text, lang text, year int, tags text[], meta jsonb, embedding vector(2));
INSERT INTO docs VALUES
    (1, 'The cat sat on the mat', 'en', 2001, '{pets,home}', '{"author": "Ann"}', '[0,0]'),
    (2, 'A dog and a cat, and another cat', 'en', 2002, '{pets}', '{"author": "Bob", "pages": 3}', '[9,0]'),
    (3, 'Birds of the north', 'en', 2003, '{}', '{"author": "Ann", "pages": 7}', '[1,0]'),
    (4, 'Die Katze und der Hund', 'de', 2004, NULL, NULL, '[2,0]'),
    (5, 'Dogs of the south', NULL, 2005, '{pets}', '{"author": "Cid"}', NULL),
    (6, NULL, 'en', NULL, '{home}', '{}', '[3,0]');

-- Without an index nothing can answer; with one of the two, the other branch is named in a notice.
SELECT * FROM lean.hybrid_search('docs', 'cats', '[0,0]');
SELECT * FROM lean.hybrid_search('docs', 'cats');
CREATE INDEX docs_words ON docs USING gin (to_tsvector('english', body));
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('docs', 'cats', '[0,0]');
CREATE INDEX docs_near ON docs USING hnsw (embedding vector_l2_ops);
DROP INDEX docs_words;
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('docs', 'cats', '[0,0]', k => 2);
SELECT * FROM lean.hybrid_search('docs', 'cats');
CREATE INDEX docs_words ON docs USING gin (to_tsvector('english', body));

-- Both branches. A row has the rank and the score that either gave it.
SELECT key, round(score::numeric, 6) AS score, text_rank, round(text_score::numeric, 3) AS text_score, vector_rank, vector_distance
FROM lean.hybrid_search('docs', 'cats', '[0,0]');
-- One branch, as the other has no question, no match or no weight.
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('docs', 'dogs');
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('docs', query_vector => '[0,0]', k => 2);
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('docs', NULL, '[0,0]'::vector, k => 2);
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('docs', 'cats', NULL::vector, k => 2);
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('docs', 'the and of', '[0,0]', k => 2);
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('docs', '', '[0,0]', k => 2);
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('docs', 'absent', '[0,0]', k => 2);
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('docs', 'cats', '[0,0]', weights => '{0,1}', k => 2);
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('docs', 'cats', '[0,0]', weights => '{2,0}', k => 2);
SELECT * FROM lean.hybrid_search('docs', 'the', filter => '{"lang": "fr"}');
-- Text with every sign that a tsquery or a literal could mistake.
SELECT key FROM lean.hybrid_search('docs', $$cat's \ & | ! <-> :* "dog" '' %s %1$I$$);

-- Every fusion is what the functions for SQL of one's own give.
CREATE VIEW found AS
    SELECT 'text' AS branch, key, text_rank::bigint AS rank, text_score AS score FROM lean.hybrid_search('docs', 'cats dog') UNION ALL
    SELECT 'vector', key, vector_rank, -vector_distance FROM lean.hybrid_search('docs', query_vector => '[0,0]');
CREATE VIEW measured AS
    SELECT *, CASE branch WHEN 'text' THEN 0.3 ELSE 0.7 END::float8 AS weight,
        min(score) OVER b AS lowest, max(score) OVER b AS highest, stddev_pop(score) OVER b AS deviation
    FROM found WINDOW b AS (PARTITION BY branch);
WITH own AS (
    SELECT 'rrf' AS method, key, lean.rrf_sum(rank, 20, weight) AS score FROM measured GROUP BY key UNION ALL
    SELECT 'relative_score', key, lean.minmax_sum(score, lowest, highest, weight) FROM measured GROUP BY key UNION ALL
    SELECT 'weighted', key, lean.zscore_sum(score, lowest, deviation, weight) FROM measured GROUP BY key
)
SELECT m.method, h.key, round(h.score::numeric, 5) AS score, abs(h.score - own.score) < 1e-12 AS same
FROM unnest('{rrf,relative_score,weighted}'::text[]) WITH ORDINALITY AS m (method, n)
CROSS JOIN lean.hybrid_search('docs', 'cats dog', '[0,0]', method => m.method, weights => '{0.3,0.7}', rrf_k => 20) WITH ORDINALITY AS h
LEFT JOIN own ON own.method = m.method AND own.key = h.key ORDER BY m.n, h.ordinality;

-- Scores on one scale: a branch of one score, of equal ones, and of none.
SELECT lean.minmax(3, 1, 5) AS middle, lean.minmax(1, 1, 5) AS lowest, lean.minmax(5, 1, 5, 0.5) AS weighted, lean.minmax(2, 2, 2) AS only_one,
    lean.minmax(NULL, 1, 5) AS not_found;
SELECT lean.zscore(3, 1, 4) AS half, lean.zscore(1, 3, 4) AS below, lean.zscore(5, 1, 2, 0.5) AS weighted, lean.zscore(2, 2, 0) AS only_one,
    lean.zscore(2, 2, NULL) AS sample_of_one, lean.zscore(NULL, 1, 5) AS not_found;
SELECT lean.minmax_sum(score, lowest, highest) AS minmax, lean.zscore_sum(score, lowest, highest) AS zscore
FROM (VALUES (3::float8, 1::float8, 5::float8), (NULL, 1, 5), (2, 2, 2)) AS v (score, lowest, highest);

-- Filters as JSON.
SELECT filter, (SELECT string_agg(key, ' ' ORDER BY key) FROM lean.hybrid_search('docs', query_vector => '[0,0]', filter => filter::jsonb)) AS keys
FROM unnest(ARRAY['{}', '{"lang": "en"}', '{"lang": null}', '{"lang": ["en", "de", null]}', '{"lang": {"$ne": "en"}}', '{"lang": {"$nin": ["en"]}}', '{"lang": {"$in": []}}',
    '{"year": 2002}', '{"year": {"$gt": 2001, "$lte": 2003}}', '{"year": {"$between": [2002, 2004]}}', '{"year": {"$lt": "2002"}}', '{"year": {"$gte": 2004}}',
    '{"year": {"$exists": false}}', '{"year": {"$exists": true}}', '{"year": {"$ne": null}}', '{"body": {"$like": "%cat%"}}', '{"body": {"$ilike": "the CAT%"}}',
    '{"tags": ["pets"]}', '{"tags": []}', '{"tags": {"$contains": "home"}}', '{"tags": {"$contains": ["pets", "home"]}}',
    '{"meta": {"author": "Ann"}}', '{"meta": {"author": "Ann", "pages": 7}}', '{"meta": {"$contains": {"pages": 3}}}', '{"meta": null}', '{"meta": {"$eq": {}}}',
    '{"$or": [{"year": 2001}, {"lang": "de"}]}', '{"$and": [{"lang": "en"}, {"$or": []}]}', '{"$not": {"lang": "en"}}', '{"lang": "en", "$not": {"year": {"$gt": 2001}}}',
    '{"lang": "en'' OR true --"}']) AS filter;
SELECT outcome(format('SELECT lean.hybrid_search(''docs'', query_vector => ''[0,0]'', filter => %L)', filter)) AS outcome
FROM unnest(ARRAY['[1]', '{"nothing": 1}', '{"ctid\" IS NULL OR true --": 1}', '{"year": {"$near": 3}}', '{"year": {"$in": 3}}', '{"year": {"$between": [1]}}',
    '{"year": {"$exists": 1}}', '{"body": {"$like": 5}}', '{"$or": {}}', '{"year": "many"}', '{"year": {"nested": 1}}']) AS filter;
-- As SQL, beside JSON; what is after a comment still counts.
SELECT key FROM lean.hybrid_search('docs', 'cats', '[0,0]', filter_sql => 'year > 2001 OR docs.tags && ''{home}'' -- or not', filter => '{"lang": "en"}');
CREATE FUNCTION is_old(y int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT y < 2003';
SELECT key FROM lean.hybrid_search('docs', 'cats', '[0,0]', filter_sql => 'is_old(year)');

-- A filter holds before the cut, in either branch and in every kind of index.
CREATE TABLE many (id int PRIMARY KEY, body text, embedding vector(3), owner int);
INSERT INTO many SELECT n, 'word number ' || n || CASE WHEN n % 500 <> 7 THEN ' word word word' ELSE '' END, ARRAY[n, n % 7, n % 11]::vector, n % 500 FROM generate_series(1, 3000) AS n;
CREATE INDEX ON many USING gin (to_tsvector('simple', body));
CREATE INDEX many_hnsw ON many USING hnsw (embedding vector_l2_ops);
ANALYZE many;
SET enable_seqscan = off;
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('many', 'word', '[3000,0,0]', k => 20, candidates => 5, filter => '{"owner": 7}');
DROP INDEX many_hnsw;
CREATE INDEX many_ivf ON many USING ivf (embedding vector_l2_ops);
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('many', 'word', '[3000,0,0]', k => 20, candidates => 5, filter_sql => 'owner = 7');
DROP INDEX many_ivf;
CREATE INDEX many_ivf ON many USING ivfflat (embedding vector_l2_ops) WITH (lists = 50);
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('many', 'word', '[3000,0,0]', k => 20, candidates => 5, filter_sql => 'owner = 7');
RESET enable_seqscan;
SELECT count(*), count(text_rank) AS text, count(vector_rank) AS vector FROM lean.hybrid_search('many', 'word', '[0,0,0]', k => 200);
-- What was set for the search is as before.
SET hnsw.iterative_scan = strict_order;
SET hnsw.ef_search = 77;
SELECT count(*) FROM lean.hybrid_search('many', 'word', '[0,0,0]');
SELECT current_setting('hnsw.ef_search') AS ef, current_setting('hnsw.iterative_scan') AS scan, current_setting('search_path') AS path;
RESET hnsw.ef_search;
RESET hnsw.iterative_scan;

-- Every type of vector, its index found with its operator; arrays; an index on an expression.
CREATE TABLE kinds (id text PRIMARY KEY, v vector(2), h halfvec(2), s sparsevec(2), b bit(4));
INSERT INTO kinds VALUES ('a', '[1,0]', '[1,0]', '{1:1}/2', B'1000'), ('b', '[0,1]', '[0,1]', '{2:1}/2', B'0111'), ('zero', '[0,0]', '[0,0]', '{}/2', B'0000');
CREATE INDEX kinds_v ON kinds USING hnsw (v vector_cosine_ops);
SELECT key, vector_rank, vector_distance FROM lean.hybrid_search('kinds', NULL, '[1,0]'::vector);
SELECT key FROM lean.hybrid_search('kinds', NULL, ARRAY[1, 0.0]);
SELECT key FROM lean.hybrid_search('kinds', NULL, '{0,1}'::real[], k => 1);
CREATE INDEX kinds_h ON kinds USING hnsw (h halfvec_ip_ops);
CREATE INDEX kinds_s ON kinds USING hnsw (s sparsevec_l1_ops);
CREATE INDEX kinds_b ON kinds USING hnsw (b bit_hamming_ops);
SELECT key, vector_distance FROM lean.hybrid_search('kinds', NULL, '[1,0]'::halfvec, vector_column => 'h');
SELECT key, vector_distance FROM lean.hybrid_search('kinds', NULL, '{1:1}/2'::sparsevec, vector_column => 's');
SELECT key, vector_distance FROM lean.hybrid_search('kinds', NULL, B'1100', vector_column => 'b');
DROP INDEX kinds_v;
CREATE INDEX kinds_v ON kinds USING hnsw ((v::halfvec(2)) halfvec_l2_ops);
SELECT key, vector_distance FROM lean.hybrid_search('kinds', NULL, '[1,0]'::vector, vector_column => 'v');
SELECT outcome('SELECT lean.hybrid_search(''kinds'', NULL, ' || arguments || ')') AS outcome
FROM unnest(ARRAY['''[1,0]''', '''[1,0]'', vector_column => ''v2''', '''[1,0,0]'', vector_column => ''v''', '''nonsense'', vector_column => ''v''', '''11'', vector_column => ''b''']) AS arguments;

-- Several indexes: a whole one before a partial one; of two for one expression the planner chooses; otherwise one must be named.
CREATE TABLE pages (id bigint PRIMARY KEY, title text, body text, words tsvector GENERATED ALWAYS AS (setweight(to_tsvector('german', title), 'A') || to_tsvector('german', body)) STORED, embedding vector(2));
INSERT INTO pages (id, title, body, embedding) VALUES (1, 'Häuser', 'am Fluss', '[1,0]'), (2, 'Boote', 'neben dem Haus', '[0,1]');
CREATE INDEX pages_words ON pages USING gin (words);
CREATE INDEX pages_some ON pages USING gin (to_tsvector('english', body)) WHERE id > 5;
CREATE INDEX pages_near ON pages USING hnsw (embedding vector_cosine_ops);
CREATE INDEX pages_near_too ON pages USING ivf (embedding vector_cosine_ops);
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('pages', 'dem Hause', '[0,1]');
CREATE INDEX pages_title ON pages USING gin (to_tsvector('simple', title));
CREATE INDEX pages_far ON pages USING hnsw (embedding vector_l2_ops);
SELECT outcome('SELECT lean.hybrid_search(''pages'', ''Haus'')');
SELECT outcome('SELECT lean.hybrid_search(''pages'', query_vector => ''[0,1]'')');
SELECT key FROM lean.hybrid_search('pages', 'Häuser', text_column => 'title');
SELECT key FROM lean.hybrid_search('pages', 'Häuser', text_column => 'words');
SELECT key, vector_distance FROM lean.hybrid_search('pages', query_vector => '[0,2]', vector_column => 'pages_near');
SELECT key, vector_distance FROM lean.hybrid_search('pages', query_vector => '[0,2]', vector_column => 'pages_far');
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('pages', 'Haus', '[0,2]', text_column => 'id', vector_column => 'pages_far');
SELECT outcome('SELECT lean.hybrid_search(''pages'', ''Haus'', text_column => ''nowhere'')');

-- bm25 comes before GIN: on text, on a tsvector, on several columns. A rare word counts more than a common one.
CREATE TABLE ranked (id int PRIMARY KEY, title text, body text, words tsvector GENERATED ALWAYS AS (to_tsvector('english', body)) STORED, embedding vector(2));
INSERT INTO ranked (id, title, body, embedding)
SELECT n, CASE n WHEN 30 THEN 'An orchard' ELSE 'Number ' || n END, 'fruit of ' || CASE WHEN n % 10 = 3 THEN 'the orchard' ELSE 'many kinds' END || repeat(' fruit', n % 4), ARRAY[n, 1]::vector
FROM generate_series(1, 30) AS n;
CREATE INDEX ranked_gin ON ranked USING gin (words);
CREATE INDEX ranked_body ON ranked USING bm25 (body) WITH (text_config = 'english');
CREATE INDEX ranked_near ON ranked USING hnsw (embedding vector_l2_ops);
SELECT key, text_rank, round(text_score::numeric, 4) AS text_score, vector_rank FROM lean.hybrid_search('ranked', 'fruits and orchards', '[1,1]', k => 4);
SELECT key, abs(text_score - lean.bm25_score('ranked_body', body, 'fruits and orchards')) < 1e-4 AS same
FROM lean.hybrid_search('ranked', 'fruits and orchards', k => 3) JOIN ranked ON id = key::int ORDER BY text_rank;
SELECT key, text_rank FROM lean.hybrid_search('ranked', 'orchard', filter => '{"id": {"$gt": 10}}', candidates => 2);
SELECT key FROM lean.hybrid_search('ranked', 'orchard', text_column => 'words');
SELECT * FROM lean.hybrid_search('ranked', 'of the');
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('ranked', 'absent', '[1,1]', k => 1);
CREATE INDEX ranked_words ON ranked USING bm25 (words) WITH (text_config = 'english');
SELECT outcome('SELECT lean.hybrid_search(''ranked'', ''orchard'')');
SELECT key, round(text_score::numeric, 4) AS text_score FROM lean.hybrid_search('ranked', 'orchards', text_column => 'words');
DROP INDEX ranked_body, ranked_words;
CREATE INDEX ranked_both ON ranked USING bm25 ((ARRAY[title, body])) WITH (text_config = 'english', weights = '{3,1}');
SELECT key, text_rank FROM lean.hybrid_search('ranked', 'orchard');
SELECT key, text_rank FROM lean.hybrid_search('ranked', 'orchard', text_column => 'title', method => 'weighted', k => 1);
SET enable_seqscan = off;
CREATE FUNCTION index_scans(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || statement LOOP
        RETURN QUERY SELECT (regexp_match(line, 'Index Scan using (\w+)'))[1] WHERE line ~ 'Index Scan';
    END LOOP;
END
$$;
SELECT index_scans(lean.hybrid_search_sql('ranked', 'orchard', '[1,1]'));
RESET enable_seqscan;

-- Rows are known by the primary key, or by a column that is named. An id that has several rows counts once, with its best.
CREATE TABLE chunks (doc text, part int, body text, embedding vector(2), PRIMARY KEY (doc, part));
INSERT INTO chunks VALUES ('x', 1, 'red', '[0,0]'), ('x', 2, 'red red', '[5,0]'), ('y', 1, 'red blue', '[1,0]'), ('z', 1, 'blue', '[2,0]');
CREATE INDEX ON chunks USING gin (to_tsvector('simple', body));
CREATE INDEX ON chunks USING hnsw (embedding vector_l2_ops);
SELECT outcome('SELECT lean.hybrid_search(''chunks'', ''red'', ''[0,0]'')');
SELECT key, text_rank, vector_rank, vector_distance FROM lean.hybrid_search('chunks', 'red', '[0,0]', id_column => 'doc');
SELECT outcome('SELECT lean.hybrid_search(''chunks'', ''red'', ''[0,0]'', id_column => ''"doc"'')');
CREATE TABLE loose (n int, body text);
SELECT outcome('SELECT lean.hybrid_search(''loose'', ''red'')');

-- Equal scores are in the order of ids.
CREATE TABLE equals (id int PRIMARY KEY, body text, embedding vector(1));
INSERT INTO equals SELECT n, 'same', '[1]' FROM generate_series(12, 1, -1) AS n;
CREATE INDEX ON equals USING gin (to_tsvector('simple', body));
CREATE INDEX ON equals USING hnsw (embedding vector_l2_ops);
SELECT string_agg(key, ' ' ORDER BY ordinality) AS keys FROM lean.hybrid_search('equals', 'same', '[0]', k => 12, method => 'weighted') WITH ORDINALITY AS h;

-- Names that need quotes, another schema, and a search path that has neither them nor the extension.
CREATE SCHEMA "My Schema";
CREATE TABLE "My Schema"."Odd ""Name""" ("The Id" uuid PRIMARY KEY, "Some Text" text, "V%s" vector(2), "select" int);
INSERT INTO "My Schema"."Odd ""Name""" VALUES ('00000000-0000-0000-0000-000000000001', 'hello world', '[1,1]', 1), ('00000000-0000-0000-0000-000000000002', 'hello', '[2,1]', 2);
CREATE INDEX "An 'Index'" ON "My Schema"."Odd ""Name""" USING gin (to_tsvector('english', "Some Text"));
CREATE INDEX ON "My Schema"."Odd ""Name""" USING hnsw ("V%s" vector_cosine_ops);
SET search_path = pg_temp;
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('"My Schema"."Odd ""Name"""', 'World', '[2,1]', filter => '{"select": {"$gte": 1}, "Some Text": {"$ne": "o''clock"}}', text_column => 'Some Text', vector_column => 'V%s', id_column => 'The Id');
DROP INDEX "My Schema"."An 'Index'";
SELECT key FROM lean.hybrid_search('"My Schema"."Odd ""Name"""', 'World', '[2,1]', k => 1);
SET search_path = hybrid, public;

-- Row-level security and privileges are the caller's.
CREATE ROLE hybrid_reader;
GRANT USAGE ON SCHEMA hybrid TO hybrid_reader;
GRANT SELECT ON docs TO hybrid_reader;
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY english ON docs TO hybrid_reader USING (lang = 'en');
SET ROLE hybrid_reader;
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('docs', 'dogs Hund', '[2,0]', filter_sql => 'true OR true');
SELECT outcome('SELECT lean.hybrid_search(''many'', ''word'')');
RESET ROLE;
CREATE INDEX ON docs USING bm25 (body) WITH (text_config = 'english');
SET ROLE hybrid_reader;
SET enable_seqscan = off;
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('docs', 'dogs Hund', '[2,0]', filter_sql => 'true OR true');
RESET enable_seqscan;
RESET ROLE;

-- Partitions, each with its part of the index.
CREATE TABLE parts (id int PRIMARY KEY, body text, embedding vector(2)) PARTITION BY RANGE (id);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (10) TO (20);
INSERT INTO parts SELECT n, 'word ' || n, ARRAY[n, 0]::vector FROM generate_series(8, 12) AS n;
CREATE INDEX ON parts USING gin (to_tsvector('simple', body));
CREATE INDEX ON parts USING hnsw (embedding vector_l2_ops);
SELECT key, text_rank, vector_rank FROM lean.hybrid_search('parts', '11', '[10,0]', k => 3);
CREATE INDEX ON parts USING bm25 (body) WITH (text_config = 'simple');
SELECT key, text_rank, vector_rank, round(text_score::numeric, 4) AS text_score FROM lean.hybrid_search('parts', '11 word', '[10,0]');

-- One call for each row of another table, read-only, prepared; joined to its table.
CREATE TABLE questions (n int, words text, near vector(2));
INSERT INTO questions VALUES (1, 'cats', '[9,0]'), (2, 'north', NULL);
BEGIN READ ONLY;
SELECT n, h.key, d.body FROM questions, lean.hybrid_search('docs', words, near, k => 2) WITH ORDINALITY AS h JOIN docs AS d ON d.id = h.key::int ORDER BY n, h.ordinality;
COMMIT;
PREPARE ask AS SELECT key FROM lean.hybrid_search('docs', $1, $2, k => 1);
EXECUTE ask ('north', '[9,0]');

-- The statement is there to be read, and what is out of range is refused.
\pset format unaligned
SELECT lean.hybrid_search_sql('docs', 'cats', '[0,0]', k => 3, filter => '{"lang": "en"}', filter_sql => 'year > 2000');
\pset format aligned
SELECT outcome('SELECT lean.hybrid_search(''docs'', ' || arguments || ')') AS outcome
FROM unnest(ARRAY['NULL, NULL', '''x'', k => 0', '''x'', k => NULL', '''x'', candidates => 0', '''x'', method => ''best''', '''x'', method => NULL', '''x'', weights => ''{1}''',
    '''x'', weights => ''{1,-1}''', '''x'', weights => ''{0,0}''', '''x'', weights => ''{1,NULL}''', '''x'', weights => NULL', '''x'', rrf_k => -1', '''x'', rrf_k => NULL',
    '''x'', filter_sql => ''no_such''', '''x'', filter_sql => ''true; DROP TABLE docs''']) AS arguments;
SELECT outcome('SELECT lean.hybrid_search(NULL::regclass, ''x'')');
SELECT outcome('SELECT lean.hybrid_search(''measured'', ''x'')');

SELECT p.oid::regprocedure FROM pg_proc AS p WHERE pronamespace = 'lean'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL;
SET client_min_messages = error;
DROP SCHEMA hybrid, "My Schema" CASCADE;
DROP ROLE hybrid_reader;
