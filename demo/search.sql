-- The searches that the demo shows. Every statement can be typed into psql as it stands.
\pset footer off

\echo
\echo '--- Sizes'
SELECT count(*) AS glosses, pg_size_pretty(pg_table_size('glosses')) AS "table",
    pg_size_pretty(pg_relation_size('glosses_embedding_idx')) AS "hnsw index",
    round(:build_ms / 1000.0, 2) || ' s' AS "build time"
FROM glosses;

\echo
\echo '--- Nearest glosses to that of a word, by cosine distance'
SELECT word, left(near.words, 30) AS words, left(near.gloss, 70) AS gloss, round(near.distance::numeric, 3) AS distance
FROM unnest(ARRAY['penguin', 'violin', 'pizza', 'joy']) WITH ORDINALITY AS asked (word, place),
    LATERAL (
        SELECT words, gloss, embedding <=> meaning(word) AS distance FROM glosses ORDER BY distance LIMIT 4
    ) AS near
ORDER BY place, distance;

\echo
\echo '--- Hybrid: near "violin" by meaning, and with "strings" among the words, joined by rank (RRF)'
WITH near AS (
    SELECT id, row_number() OVER (ORDER BY embedding <=> meaning('violin')) AS rank
    FROM glosses ORDER BY rank LIMIT 40
), worded AS (
    SELECT id, row_number() OVER (ORDER BY ts_rank_cd(keywords, query) DESC, id) AS rank
    FROM glosses, to_tsquery('english', 'strings') AS query
    WHERE keywords @@ query ORDER BY rank LIMIT 40
)
SELECT left(words, 30) AS words, left(gloss, 60) AS gloss, near.rank AS "by meaning", worded.rank AS "by words",
    round((lean.rrf(near.rank) + lean.rrf(worded.rank))::numeric, 4) AS score
FROM near FULL JOIN worded USING (id) JOIN glosses USING (id)
ORDER BY score DESC, id LIMIT 8;

\echo
\echo '--- Recall at 10 over 200 glosses as queries: what the index finds, against every distance computed'
CREATE TEMP TABLE asked AS SELECT id, embedding FROM glosses ORDER BY hashint4(id) LIMIT 200;
SET enable_indexscan = off;
CREATE TEMP TABLE exact AS
    SELECT asked.id, max(distance) AS tenth FROM asked,
        LATERAL (SELECT g.embedding <=> asked.embedding AS distance FROM glosses AS g ORDER BY distance LIMIT 10) AS g
    GROUP BY asked.id;
SET enable_indexscan = on;
SET enable_seqscan = off;
SELECT 'ef_search ' || current_setting('hnsw.ef_search') AS setting,
    round(avg(hits) / 10.0, 4) AS "recall at 10"
FROM (SELECT count(*) FILTER (WHERE g.distance <= exact.tenth + 1e-6) AS hits FROM asked JOIN exact USING (id),
        LATERAL (SELECT g.embedding <=> asked.embedding AS distance FROM glosses AS g ORDER BY distance LIMIT 10) AS g
      GROUP BY asked.id) AS each_query;
RESET enable_seqscan;

\echo
\echo '--- The plan: PostgreSQL chose the index'
EXPLAIN (ANALYZE, COSTS OFF, SUMMARY OFF, TIMING OFF)
SELECT words FROM glosses ORDER BY embedding <=> meaning('violin') LIMIT 10;
