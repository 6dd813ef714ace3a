-- The weather at the time of flights, not older than two hours, against what another program found for them.
SELECT lean.create_feature_group('weather', '{origin text}', '["temp float64", "wind_speed float64", "visib float64"]', ttl => '2 hours');
\copy weather_v1 (origin, event_timestamp, temp, wind_speed, visib) FROM PROGRAM 'gzip -dc "$PG_ABS_SRCDIR/../../docs/data/nyc_weather.csv.gz"' CSV HEADER
CREATE TABLE flights (flight_id int, carrier text, origin text, dest text, event_timestamp timestamptz, dep_delay float8);
\copy flights FROM PROGRAM 'gzip -dc "$PG_ABS_SRCDIR/../../docs/data/nyc_flights.csv.gz"' CSV HEADER
CREATE TABLE oracle (flight_id int, temp float8, wind_speed float8, visib float8, weather_ts timestamptz);
\copy oracle FROM PROGRAM 'gzip -dc "$PG_ABS_SRCDIR/../../docs/data/nyc_oracle.csv.gz"' CSV HEADER
ANALYZE;

SELECT lean.create_training_set('looked_up', 'weather', 'flights', method => 'lateral');
SELECT lean.create_training_set('merged', 'weather', 'flights', method => 'merge');
SELECT count(*) FILTER (WHERE weather_ts IS NULL) AS without, count(*) FILTER (WHERE weather_ts IS NOT NULL) AS "with" FROM oracle;
(SELECT flight_id, temp, wind_speed, visib FROM looked_up EXCEPT ALL SELECT flight_id, temp, wind_speed, visib FROM oracle)
UNION ALL (SELECT flight_id, temp, wind_speed, visib FROM oracle EXCEPT ALL SELECT flight_id, temp, wind_speed, visib FROM looked_up);
TABLE looked_up EXCEPT ALL TABLE merged;
TABLE merged EXCEPT ALL TABLE looked_up;

-- The same from the table as it is, which has no creation time and no index.
CREATE TABLE weather_table AS SELECT origin, event_timestamp, temp, wind_speed, visib FROM weather_v1;
SELECT lean.create_feature_group('adopted', '{origin}', history => 'weather_table', created_time => NULL, ttl => '2 hours', online => false);
SELECT lean.create_training_set('from_adopted', 'adopted', 'flights');
SELECT count(*) FROM lean.get_offline_features('adopted', '{"origin": "JFK"}', '2013-01-02', '2013-01-03');
TABLE from_adopted EXCEPT ALL TABLE looked_up;
TABLE looked_up EXCEPT ALL TABLE from_adopted;

DROP TABLE flights, oracle, looked_up, merged, from_adopted;
SELECT lean.drop_feature_group('adopted');
DROP TABLE weather_table;
SELECT lean.drop_feature_group('weather', drop_history => true);
