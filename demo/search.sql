-- The searches that the demo shows. Every statement can be typed into psql as it stands.
\pset footer off
\pset format wrapped
\pset columns 110

\echo
\echo '--- Sizes'
SELECT count(*) AS glosses, pg_size_pretty(pg_table_size('glosses')) AS "table",
    pg_size_pretty(pg_relation_size('glosses_embedding_idx')) AS "hnsw index",
    round(:build_ms / 1000.0, 2) || ' s' AS "build time"
FROM glosses;

\echo
\echo '--- Nearest glosses to that of a word, by cosine distance'
SELECT word, near.words, near.gloss, round(near.distance::numeric, 3) AS distance
FROM unnest(ARRAY['penguin', 'violin', 'submarine', 'cheesecake']) WITH ORDINALITY AS asked (word, place),
    LATERAL (
        SELECT words, gloss, embedding <=> (SELECT embedding FROM glosses WHERE words = word LIMIT 1) AS distance
        FROM glosses ORDER BY distance LIMIT 4
    ) AS near
ORDER BY place, distance;

\echo
\echo '--- Hybrid: like "violin" by meaning, and with "pitch" or "wind" among the words, joined by rank (RRF)'
WITH near AS (
    SELECT id, row_number() OVER () AS rank
    FROM (SELECT id FROM glosses
          ORDER BY embedding <=> (SELECT embedding FROM glosses WHERE words = 'violin' LIMIT 1) LIMIT 40) AS found
), worded AS (
    SELECT id, row_number() OVER (ORDER BY ts_rank_cd(keywords, query) DESC, id) AS rank
    FROM glosses, to_tsquery('english', 'pitch | wind') AS query
    WHERE keywords @@ query ORDER BY rank LIMIT 40
)
SELECT words, gloss, near.rank AS "by meaning", worded.rank AS "by words",
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
SELECT id AS violin FROM glosses WHERE words = 'violin' LIMIT 1 \gset
EXPLAIN (ANALYZE, COSTS OFF, SUMMARY OFF, TIMING OFF)
SELECT words FROM glosses ORDER BY embedding <=> (SELECT embedding FROM glosses WHERE id = :violin) LIMIT 10;
