\set id random(0, 20)
SELECT * FROM lean.get_online_features('load', jsonb_build_object('id', :id, 'zone', (:id % 3)::text));
SELECT * FROM lean.get_historical_features('load', 'SELECT id, zone, now() AS event_timestamp FROM batch(20)', features => '{value, note}')
    AS (id int, zone text, event_timestamp timestamptz, value int, note text);
