\set size random(1, 30)
INSERT INTO load_v1 (id, zone, event_timestamp, value) SELECT * FROM batch(:size);
SELECT * FROM lean.materialize_incremental('load');
