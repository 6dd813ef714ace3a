\set size random(1, 30)
\set hour random(0, 3)
SELECT lean.write_features('load', (SELECT jsonb_agg(b ORDER BY random()) FROM batch(:size) AS b));
SELECT lean.write_features_from('load', 'SELECT id, zone, event_timestamp, id * 10 + :hour AS value, timestamptz ''2026-01-02Z'' + interval ''1 hour'' * :hour AS created_timestamp FROM batch(:size)');
SELECT lean.write_features_from('brief', 'SELECT id, zone, now() - random() * interval ''2 seconds'' AS event_timestamp, value FROM batch(:size)');
