-- The same questions for primary and standby.
SET enable_seqscan = off;
SELECT q.place, near.id, near.distance
FROM generate_series(1, 40) AS q (place), LATERAL (
    SELECT id, v <-> (SELECT array_agg(sin(q.place * p)::real ORDER BY p)::vector FROM generate_series(1, 32) AS p) AS distance
    FROM items ORDER BY distance LIMIT 10
) AS near ORDER BY q.place, near.distance, near.id;
