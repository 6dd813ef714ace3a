-- The same questions for primary and standby, for each index in turn.
SET enable_seqscan = off;
SET ivfflat.probes = 3;
\set query '(SELECT array_agg(sin(q.place * p)::real ORDER BY p)::vector(40) FROM generate_series(1, 40) AS p)'
SELECT q.place, near.id, near.distance FROM generate_series(1, 40) AS q (place), LATERAL (
    SELECT id, v <-> :query AS distance FROM items ORDER BY distance LIMIT 10) AS near ORDER BY q.place, near.distance, near.id;
SELECT q.place, near.id, near.distance FROM generate_series(1, 40) AS q (place), LATERAL (
    SELECT id, v::halfvec(40) <=> :query::halfvec(40) AS distance FROM items ORDER BY distance LIMIT 10) AS near ORDER BY q.place, near.distance, near.id;
SELECT q.place, near.id, near.distance FROM generate_series(1, 40) AS q (place), LATERAL (
    SELECT id, v <#> :query AS distance FROM items ORDER BY distance LIMIT 10) AS near ORDER BY q.place, near.distance, near.id;
SELECT q.place, near.id, near.distance FROM generate_series(1, 40) AS q (place), LATERAL (
    SELECT id, v <=> :query AS distance FROM items ORDER BY distance LIMIT 10) AS near ORDER BY q.place, near.distance, near.id;
SELECT q.place, near.id, near.distance FROM generate_series(1, 40) AS q (place), LATERAL (
    SELECT id, l2_normalize(v)::vector(40) <-> l2_normalize(:query) AS distance FROM items ORDER BY distance LIMIT 10) AS near ORDER BY q.place, near.distance, near.id;
SELECT q.place, near.id, near.distance FROM generate_series(1, 40) AS q (place), LATERAL (
    SELECT id, v::halfvec(40) <-> :query::halfvec(40) AS distance FROM items ORDER BY distance LIMIT 10) AS near ORDER BY q.place, near.distance, near.id;
SELECT q.place, near.id, near.distance FROM generate_series(1, 40) AS q (place), LATERAL (
    SELECT id, words <@> ('w' || q.place || ' w' || q.place * 100) AS distance FROM items ORDER BY distance LIMIT 10) AS near ORDER BY q.place, near.distance, near.id;
