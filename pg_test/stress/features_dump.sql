-- Feature groups and a view as upgrade.sh dumps them: of two schemas, with defaults, a type of the user's, a vector, an
-- adopted history and a description.
CREATE TYPE public.mood AS ENUM ('sad', 'happy');
CREATE SCHEMA "Rides";
SELECT lean.create_feature_group('rides_by_zone', '{driver bigint, zone text}', '["fare float32", {"name": "trips", "type": "int64", "default": 7},
  {"name": "feeling", "type": "mood", "default": "happy", "description": "how it went"}]', version => 2, schema => 'Rides', description => 'rides, by zone');
CREATE TABLE driven (driver bigint, at timestamptz, seen vector(2));
CREATE INDEX ON driven (driver, at);
INSERT INTO driven SELECT i, timestamptz '2026-01-01Z' + i * interval '1 hour', ARRAY[i, 1]::vector FROM generate_series(1, 3) AS i;
SELECT lean.create_feature_group('drivers', '{driver}', '[{"name": "seen", "default": "[0,0]"}]', event_time => 'at', created_time => NULL, history => 'driven', ttl => '100 years');
SELECT lean.create_feature_view('rides', '{rides_by_zone@2:*, drivers:seen}', description => 'of rides');
SELECT lean.write_features('rides_by_zone@2', '[{"driver": 1, "zone": "n", "event_timestamp": "2026-01-01Z", "fare": 1.5, "feeling": "sad"},
  {"driver": 1, "zone": "n", "event_timestamp": "2026-01-02Z", "fare": 2.5, "trips": 3}, {"driver": 1, "zone": "n", "event_timestamp": "2026-01-02Z", "fare": 3.5}]'
  #- '{2}');
SELECT lean.write_features('rides_by_zone@2', '{"driver": 1, "zone": "n", "event_timestamp": "2026-01-02Z", "fare": 3.5}');
SELECT * FROM lean.materialize_incremental('drivers');
CREATE TABLE stops AS SELECT driver::bigint, 'n' AS zone, timestamptz '2026-01-03Z' AS event_timestamp FROM generate_series(1, 4) AS driver;
SELECT feature FROM lean.set_baseline('rides_by_zone@2', "to" => '2026-02-01Z');
