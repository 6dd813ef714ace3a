-- The group that features.sh writes to, and batches of rows for few entities, in any order.
CREATE EXTENSION leanstack;
SELECT lean.create_feature_group('load', '{id int, zone text}', '["value int", "note string"]', ttl => '100 years');
SELECT lean.create_feature_group('brief', '{id int, zone text}', '["value int"]', ttl => '1 second');
CREATE FUNCTION batch(size int) RETURNS TABLE (id int, zone text, event_timestamp timestamptz, value int) LANGUAGE sql VOLATILE AS $$
    SELECT DISTINCT ON (random_id, event) random_id, (random_id % 3)::text, event, (random() * 1000)::int FROM (
        SELECT (random() * 20)::int AS random_id, timestamptz '2026-01-01Z' + (random() * 100)::int * interval '1 minute' AS event
        FROM generate_series(1, size)
    ) AS x
$$;
