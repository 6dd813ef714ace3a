-- The access method bm25: what a query returns must equal the definition, whatever has happened to the table.
SET client_min_messages = warning;
\getenv tests PG_ABS_SRCDIR
\set outcome :tests '/helpers/outcome.sql'
\i :outcome

-- Documents are strings of short words, and the configuration is one that leaves words as they are: so the definition can
-- be written down in SQL.
CREATE TABLE docs (id int PRIMARY KEY, body text, kind int);
INSERT INTO docs
    SELECT i, (SELECT string_agg('w' || (1 + (i * (7 + p) + p * p) % (3 + p * 5)), ' ') FROM generate_series(1, 2 + i * i % 23) AS p), i % 5
    FROM generate_series(1, 400) AS i;
INSERT INTO docs VALUES (401, '', 1), (402, NULL, 1), (403, 'unique', 1), (404, 'w1 w1 w1 w1', 1);
CREATE INDEX docs_body ON docs USING bm25 (body) WITH (text_config = 'simple');

-- Lucene's BM25 with exact lengths, as the README of the access method has it.
CREATE FUNCTION plain_bm25(query text, k1 float8 DEFAULT 1.2, b float8 DEFAULT 0.75)
    RETURNS TABLE (id int, score float8) LANGUAGE sql STABLE AS $$
    WITH tokens AS (SELECT d.id, t.word FROM docs AS d, regexp_split_to_table(d.body, ' +') AS t (word) WHERE t.word <> ''),
        lengths AS (SELECT d.id, (SELECT count(*) FROM tokens AS t WHERE t.id = d.id) AS length FROM docs AS d WHERE d.body IS NOT NULL),
        corpus AS (SELECT count(*) AS n, avg(length) AS avgdl FROM lengths),
        counts AS (SELECT t.id, t.word, count(*) AS tf FROM tokens AS t GROUP BY t.id, t.word),
        asked AS (SELECT q.word, count(*) AS times FROM regexp_split_to_table(query, ' +') AS q (word) GROUP BY q.word),
        weights AS (SELECT a.word, a.times * ln(1 + (c.n - f.df + 0.5) / (f.df + 0.5)) AS weight
            FROM corpus AS c, asked AS a, LATERAL (SELECT count(*) AS df FROM counts WHERE counts.word = a.word) AS f)
    SELECT c.id, sum(w.weight * c.tf / (c.tf + k1 * (1 - b + b * l.length / corpus.avgdl)))::float8
    FROM counts AS c JOIN weights AS w USING (word) JOIN lengths AS l ON l.id = c.id CROSS JOIN corpus GROUP BY c.id
$$;

-- Compares all that an index scan returns for a query, and the operator evaluated for each row, with the definition.
CREATE FUNCTION agrees(query text, k1 float8 DEFAULT 1.2, b float8 DEFAULT 0.75) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    plan text := '';
    line text;
    wrong text;
BEGIN
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_sort = off;
    CREATE TEMP TABLE plain ON COMMIT DROP AS SELECT * FROM plain_bm25(query, k1, b);
    FOR line IN EXECUTE format('EXPLAIN SELECT id FROM docs ORDER BY body <@> %L LIMIT 1000', query) LOOP
        plan := plan || line;
    END LOOP;
    IF plan NOT LIKE '%Index Scan using docs_body%' THEN
        RETURN 'no index scan: ' || plan;
    END IF;
    EXECUTE format('CREATE TEMP TABLE found ON COMMIT DROP AS
        SELECT id, - (body <@> %1$L) AS score, row_number() OVER () AS place
        FROM (SELECT id, body FROM docs ORDER BY body <@> %1$L LIMIT 1000) AS f', query);
    SELECT format('%s of %s rows, %s too far, %s out of order, %s evaluated wrong',
            count(f.id), count(p.id), count(*) FILTER (WHERE abs(f.score - p.score) > 1e-9 * p.score OR (f.id IS NULL) <> (p.id IS NULL)),
            (SELECT count(*) FROM (SELECT score - lag(score) OVER (ORDER BY place) AS step FROM found) AS s WHERE step > 0),
            (SELECT count(*) FROM docs AS d LEFT JOIN plain USING (id)
             WHERE abs((d.body <@> to_bm25query(query, 'docs_body')) + coalesce(plain.score, 0)) > 1e-9))
        INTO wrong FROM found AS f FULL JOIN plain AS p USING (id);
    DROP TABLE found, plain;
    RETURN wrong;
END
$$;
SELECT agrees('w1');
SELECT agrees('w3 w9 w20');
SELECT agrees('w1 w1 w2 unique absent');
SELECT agrees('absent');
SELECT count(*) FROM (SELECT id FROM docs ORDER BY body <@> '' LIMIT 10) AS none;
SELECT count(*) FROM (SELECT id FROM docs ORDER BY body <@> '?! ...' LIMIT 10) AS none;
SELECT body <@> 'w1' AS of_empty FROM docs WHERE id = 401;
SELECT body <@> 'w1' AS of_null FROM docs WHERE id = 402;

-- Inserts, updates, deletes and vacuum: what is in the write buffer, in a new segment and marked dead counts as it should.
INSERT INTO docs SELECT i, 'w1 w' || i % 7 || ' late', 2 FROM generate_series(500, 700) AS i;
SELECT agrees('w1 late w9');
DELETE FROM docs WHERE id % 3 = 0;
VACUUM docs;
SELECT agrees('w1 late w9'), agrees('unique w404');
UPDATE docs SET body = body || ' changed' WHERE id % 5 = 1;
VACUUM docs;
SELECT agrees('w1 late w9 changed');
-- Documents that need more than a page each, and enough of them to fill the buffer many times.
INSERT INTO docs SELECT i, (SELECT string_agg('long' || p * (1 + i % 3), ' ') || ' w1' FROM generate_series(1, 3000) AS p), 3 FROM generate_series(1000, 1030) AS i;
SELECT agrees('long6 w1 late'), agrees('long8999 long2 w3');
SELECT property, value FROM lean.index_info('docs_body') WHERE property IN ('rows', 'dead rows', 'text_config', 'k1', 'b');
VACUUM docs;
DELETE FROM docs WHERE id > 1000;
VACUUM docs;
SELECT agrees('long6 w1 late');
SELECT check_name, ok FROM lean.index_check('docs_body');
REINDEX INDEX docs_body;
SELECT agrees('long6 w1 late');
-- A transaction that fails and a savepoint that is rolled back leave nothing that counts after a vacuum.
BEGIN;
INSERT INTO docs SELECT i, 'w1 gone', 4 FROM generate_series(2000, 2100) AS i;
SAVEPOINT before;
INSERT INTO docs SELECT i, 'w1 gone', 4 FROM generate_series(2101, 2200) AS i;
ROLLBACK TO before;
SELECT count(*) FROM (SELECT id FROM docs ORDER BY body <@> 'gone' LIMIT 1000) AS own;
ROLLBACK;
SELECT count(*) FROM (SELECT id FROM docs ORDER BY body <@> 'gone' LIMIT 1000) AS none;
VACUUM docs;
SELECT agrees('w1 gone');
SELECT check_name, ok FROM lean.index_check('docs_body');

ANALYZE docs;
-- Filters, joins and cursors get rows in order for as long as they ask.
EXPLAIN (COSTS OFF) SELECT id FROM docs ORDER BY body <@> 'w1 w3' LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id FROM docs WHERE kind = 3 ORDER BY body <@> 'w1 w3' LIMIT 3;
SET enable_sort = off;
SELECT count(*) = (SELECT count(*) FROM docs JOIN plain_bm25('w1 w3') USING (id) WHERE kind = 3) AS all_of_kind
    FROM (SELECT id FROM docs WHERE kind = 3 ORDER BY body <@> 'w1 w3' LIMIT 1000) AS f;
RESET enable_sort;
EXPLAIN (COSTS OFF) SELECT q.word, near.id FROM (VALUES ('w1'), ('w2')) AS q (word), LATERAL (SELECT id FROM docs ORDER BY body <@> q.word LIMIT 1) AS near;
SELECT q.word, near.id FROM (VALUES ('unique'), ('absent'), ('w404')) AS q (word), LATERAL (SELECT id FROM docs ORDER BY body <@> q.word LIMIT 1) AS near;
BEGIN;
DECLARE c CURSOR FOR SELECT row_number() OVER () AS place, round(d::numeric, 9) AS d FROM (SELECT body <@> 'w1' AS d FROM docs ORDER BY d) AS f;
FETCH 1 FROM c;
MOVE 150 FROM c;
INSERT INTO docs SELECT i, 'w1 w1 w1', 4 FROM generate_series(3000, 3009) AS i;
FETCH 1 FROM c;
COMMIT;
DELETE FROM docs WHERE id >= 3000;
PREPARE ask (text) AS SELECT id FROM docs ORDER BY body <@> $1 LIMIT 1;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE ask ('unique');
EXECUTE ask ('unique');
RESET plan_cache_mode;
SELECT access_method, searches, rows FROM lean.last_scan();

-- Other types of documents.
CREATE TABLE articles (id int, title varchar(100), body text, tsv tsvector);
INSERT INTO articles VALUES (1, 'Lakes of Finland', 'Water, islands and water.'), (2, 'Water', 'A molecule of hydrogen and oxygen.'),
    (3, 'Deserts', 'Little water.'), (4, NULL, 'Nothing said about waters here'), (5, 'Islands', NULL);
UPDATE articles SET tsv = setweight(to_tsvector('english', coalesce(title, '')), 'A') || to_tsvector('english', coalesce(body, ''));
CREATE INDEX articles_title ON articles USING bm25 (title) WITH (text_config = 'english');
CREATE INDEX articles_both ON articles USING bm25 ((ARRAY[title::text, body])) WITH (text_config = 'english', weights = '{5,1}');
CREATE INDEX articles_tsv ON articles USING bm25 (tsv) WITH (text_config = 'english', weights = '{1,1,1,5}');
CREATE INDEX articles_joined ON articles USING bm25 ((coalesce(title, '') || ' ' || coalesce(body, ''))) WITH (text_config = 'english', k1 = 0.9, b = 0);
SET enable_seqscan = off;
SELECT id, round((title <@> 'water')::numeric, 4) AS distance FROM articles ORDER BY title <@> 'water' LIMIT 9;
SELECT id, round((ARRAY[title::text, body] <@> 'waters')::numeric, 4) AS distance FROM articles ORDER BY ARRAY[title::text, body] <@> 'waters' LIMIT 9;
SELECT id, round((tsv <@> 'waters')::numeric, 4) AS distance FROM articles ORDER BY tsv <@> 'waters' LIMIT 9;
SELECT id, round(((coalesce(title, '') || ' ' || coalesce(body, '')) <@> 'the islands')::numeric, 4) AS distance FROM articles
    ORDER BY (coalesce(title, '') || ' ' || coalesce(body, '')) <@> 'the islands' LIMIT 9;
SELECT count(*) AS stop_words FROM (SELECT id FROM articles ORDER BY title <@> 'the of and' LIMIT 9) AS f;
RESET enable_seqscan;
-- The same without an index scan.
SET enable_indexscan = off;
SELECT id, round((ARRAY[title::text, body] <@> 'waters')::numeric, 4) AS distance FROM articles
    WHERE ARRAY[title::text, body] <@> 'waters' < 0 ORDER BY 2, 1;
SELECT id, round((tsv <@> 'waters')::numeric, 4) AS distance FROM articles WHERE tsv <@> 'waters' < 0 ORDER BY 2, 1;
RESET enable_indexscan;
SELECT round(lean.bm25_score('articles_title', 'water and more water', 'water')::numeric, 4) AS score;
SELECT property, value FROM lean.index_info('articles_both') WHERE property IN ('type', 'weights', 'text_config');

-- Of two indexes on one column the first is taken, or the one that is named.
CREATE INDEX docs_again ON docs USING bm25 (body) WITH (text_config = 'english', b = 0);
EXPLAIN (COSTS OFF) SELECT id FROM docs ORDER BY body <@> 'w1' LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id FROM docs ORDER BY body <@> to_bm25query('w1', 'docs_again') LIMIT 3;
SELECT count(*) AS wrong FROM (SELECT id, - (body <@> to_bm25query('w1 w9', 'docs_again')) AS score FROM docs
    ORDER BY body <@> to_bm25query('w1 w9', 'docs_again') LIMIT 1000) AS f FULL JOIN plain_bm25('w1 w9', 1.2, 0) AS p USING (id)
    WHERE abs(f.score - p.score) > 1e-9 OR f.id IS NULL OR p.id IS NULL;
DROP INDEX docs_again;

-- The index of a column is found through joins and subqueries, but not where a column comes from several tables.
SELECT a.id, round((d.body <@> 'unique')::numeric, 3) AS distance FROM articles AS a LEFT JOIN docs AS d ON d.id = a.id + 402 ORDER BY d.body <@> 'unique', a.id LIMIT 2;
CREATE VIEW named AS SELECT id, body AS text_of FROM docs;
EXPLAIN (COSTS OFF) SELECT id FROM named ORDER BY text_of <@> 'w1' LIMIT 3;
SELECT outcome($$SELECT 1 FROM (SELECT body FROM docs UNION ALL SELECT title FROM articles) AS s ORDER BY body <@> 'w1'$$);
DROP VIEW named;
-- An index of some rows is taken where there is none of all.
CREATE TABLE partly AS SELECT id, body, kind FROM docs;
CREATE INDEX partly_some ON partly USING bm25 (body) WITH (text_config = 'simple') WHERE kind = 1;
EXPLAIN (COSTS OFF) SELECT id FROM partly WHERE kind = 1 ORDER BY body <@> 'w1' LIMIT 3;
CREATE INDEX partly_all ON partly USING bm25 (body) WITH (text_config = 'simple');
EXPLAIN (COSTS OFF) SELECT id FROM partly ORDER BY body <@> 'w1' LIMIT 3;
DROP TABLE partly;
-- Statistics on the operator are computed for what is then no part of the query.
CREATE STATISTICS docs_stat ON kind, (body <@> to_bm25query('w1', 'docs_body')) FROM docs;
SELECT count(*) FROM (SELECT kind FROM docs) AS v, docs AS d WHERE d.id = 1 AND v.kind = 1 AND d.kind = v.kind;
DROP STATISTICS docs_stat;
-- A configuration is not dropped under its index.
CREATE TEXT SEARCH CONFIGURATION own (COPY = simple);
CREATE TABLE own_texts (body text);
CREATE INDEX own_texts_body ON own_texts USING bm25 (body) WITH (text_config = 'public.own');
REINDEX INDEX own_texts_body;
REINDEX INDEX CONCURRENTLY own_texts_body;
DO $$ BEGIN DROP TEXT SEARCH CONFIGURATION own; EXCEPTION WHEN dependent_objects_still_exist THEN RAISE WARNING 'it is still needed'; END $$;
DROP TABLE own_texts;
DROP TEXT SEARCH CONFIGURATION own;

-- Partitions: a query of the whole table weighs words by all partitions.
CREATE TABLE parts (id int, body text) PARTITION BY RANGE (id);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (1000);
CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (1000) TO (100000);
CREATE INDEX parts_body ON parts USING bm25 (body) WITH (text_config = 'simple');
INSERT INTO parts SELECT id, body FROM docs;
EXPLAIN (COSTS OFF) SELECT id FROM parts ORDER BY body <@> 'w1 w9' LIMIT 3;
SELECT count(*) AS wrong FROM (SELECT id, - (body <@> 'w1 w9') AS score FROM parts ORDER BY body <@> 'w1 w9' LIMIT 1000) AS f
    FULL JOIN plain_bm25('w1 w9') AS p USING (id) WHERE abs(f.score - p.score) > 1e-9 OR f.id IS NULL OR p.id IS NULL;

-- Tables of other kinds.
CREATE UNLOGGED TABLE quick (body text);
CREATE INDEX quick_body ON quick USING bm25 (body);
INSERT INTO quick SELECT 'word' || i FROM generate_series(1, 100) AS i;
SELECT body FROM quick ORDER BY body <@> 'word7' LIMIT 2;
CREATE TEMP TABLE brief (body text);
CREATE INDEX brief_body ON brief USING bm25 (body);
INSERT INTO brief SELECT 'word' || i FROM generate_series(1, 100) AS i;
SELECT body FROM brief ORDER BY body <@> 'word7' LIMIT 2;
TRUNCATE brief;
SELECT count(*) FROM (SELECT 1 FROM brief ORDER BY body <@> 'word7' LIMIT 2) AS none;
CREATE INDEX CONCURRENTLY quick_again ON quick USING bm25 (body);
SELECT ok FROM lean.index_check('quick_again') WHERE NOT ok;

-- What cannot be.
SELECT outcome($$CREATE INDEX ON docs USING bm25 (id)$$);
SELECT outcome($$CREATE INDEX ON articles USING bm25 (title, body)$$);
SELECT outcome($$CREATE UNIQUE INDEX ON docs USING bm25 (body)$$);
SELECT outcome($$CREATE INDEX ON docs USING bm25 (body) WITH (k1 = -1)$$);
SELECT outcome($$CREATE INDEX ON docs USING bm25 (body) WITH (b = 1.5)$$);
SELECT outcome($$CREATE INDEX ON docs USING bm25 (body) WITH (text_config = 'no_such')$$);
SELECT outcome($$CREATE INDEX ON docs USING bm25 (body) WITH (weights = '{0}')$$);
SELECT outcome($$CREATE INDEX ON docs USING bm25 (body) WITH (weights = '{1,2}')$$);
SELECT outcome($$CREATE INDEX ON articles USING bm25 (tsv) WITH (weights = '{2,1}')$$);
SELECT outcome($$SELECT 'text' <@> 'query'$$);
SELECT outcome($$SELECT kind::text <@> 'query' FROM docs$$);
SELECT outcome($$SELECT 'text' <@> to_bm25query('query', 'docs_pkey')$$);
SELECT outcome($$SELECT 'text' <@> to_bm25query('query', 'docs')$$);
SELECT 'text' <@> to_bm25query(NULL, 'docs_body') AS no_query;
SET enable_seqscan = off;
SELECT id FROM docs ORDER BY body <@> to_bm25query('absent', 'articles_title'), id LIMIT 1;
PREPARE any_index (bm25query) AS SELECT id FROM docs ORDER BY body <@> $1 LIMIT 1;
SET plan_cache_mode = force_generic_plan;
SELECT outcome($$EXECUTE any_index (to_bm25query('w1', 'articles_title'))$$);
RESET plan_cache_mode;
RESET enable_seqscan;
-- Counts of words are for those who may read the table.
CREATE ROLE bm25_nobody;
SET ROLE bm25_nobody;
SELECT outcome($$SELECT 'text' <@> to_bm25query('query', 'docs_body')$$);
RESET ROLE;
DROP ROLE bm25_nobody;
DEALLOCATE ALL;
DROP TABLE docs, articles, parts, quick, brief;
DROP FUNCTION plain_bm25, agrees, outcome;
