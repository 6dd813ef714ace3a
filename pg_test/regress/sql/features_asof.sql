-- Which way point-in-time joins go: by look-up, or by merging.
\set SHOW_CONTEXT never
CREATE TABLE past AS
    SELECT n % 200 AS id, '2024-01-01'::timestamptz + n / 200 * interval '1 hour' AS event_timestamp, n AS f
    FROM generate_series(0, 19999) AS n;
CREATE TABLE few AS SELECT n AS id, '2024-01-03'::timestamptz AS event_timestamp FROM generate_series(1, 50) AS n;
CREATE TABLE many AS
    SELECT n % 200 AS id, '2024-01-01'::timestamptz + n * interval '17 seconds' AS event_timestamp FROM generate_series(1, 20000) AS n;
ANALYZE past, few, many;
SELECT lean.create_feature_group('g', '{id}', history => 'past', created_time => NULL, online => false);
CREATE FUNCTION way(entities text, features text DEFAULT 'g') RETURNS text
    LANGUAGE sql RETURN CASE WHEN lean.historical_features_sql(features, entities) LIKE '%lean.asof_places%' THEN 'merge' ELSE 'lateral' END;

-- Without an index, a look-up reads the whole history.
SELECT way('few'), way('many'), way('SELECT * FROM few LIMIT 1');
CREATE INDEX ON past (id, event_timestamp);
SELECT way('few'), way('many'), way('SELECT * FROM many LIMIT 100');
-- Entities that come again are looked up once.
SELECT way('SELECT id, date_trunc(''day'', event_timestamp) AS event_timestamp FROM few, generate_series(1, 400)');
-- What a cache has no room for is dear to look up.
SET effective_cache_size = '800kB';
SELECT way('few'), way('many'), way('SELECT * FROM many LIMIT 2000');
RESET effective_cache_size;
-- Settings of costs are what they were.
SELECT current_setting('random_page_cost') AS random_page_cost, current_setting('seq_page_cost') AS seq_page_cost;

-- The statement, and how it is planned.
SELECT lean.historical_features_sql('g', 'many', method => 'merge', strict => true);
DO $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || lean.historical_features_sql('g', 'many', method => 'merge') LOOP
        IF line ~ '(Join|Scan|Aggregate|Sort)( |$)' AND line !~ 'Sort Key' THEN
            RAISE NOTICE '%', line;
        END IF;
    END LOOP;
END
$$;
SELECT count(*), sum(f), count(f) FROM lean.get_historical_features('g', 'many', method => 'merge') AS (id int, event_timestamp timestamptz, f int);
SELECT count(*), sum(f), count(f) FROM lean.get_historical_features('g', 'many', method => 'lateral') AS (id int, event_timestamp timestamptz, f int);

-- Keys that only an operator compares become the wider of the two types; what has no hash function, and bytes of its own
-- for equal values, is looked up.
SELECT lean.keys_alike('int2'::regtype, 'int8'::regtype) AS integers, lean.keys_alike('varchar'::regtype, 'text'::regtype) AS texts,
    lean.keys_alike('float4'::regtype, 'float8'::regtype) AS floats, lean.keys_alike('varbit'::regtype, 'varbit'::regtype) AS bits,
    lean.keys_alike('money'::regtype, 'money'::regtype) AS money, lean.keys_alike('tsvector'::regtype, 'tsvector'::regtype) AS documents;
ALTER TABLE past ALTER id TYPE real;
CREATE TABLE numbers AS SELECT id::float8 AS id, event_timestamp::timestamp AS event_timestamp FROM few;
SELECT substring(lean.historical_features_sql('g', 'numbers', method => 'merge') FROM 'asof_places.*?FROM e') AS merged;
CREATE TABLE documents (id tsvector, event_timestamp timestamptz, f int);
SELECT lean.create_feature_group('d', '{id}', history => 'documents', created_time => NULL, online => false);
SELECT lean.historical_features_sql('d', 'SELECT id, event_timestamp FROM documents', method => 'merge');
SELECT way('SELECT id, event_timestamp FROM documents', 'd');

-- Entities may have a column of the name that numbers them otherwise.
SELECT count(*), sum("#"), count(f) FROM lean.get_historical_features('g', 'SELECT id, event_timestamp, 1 AS "#" FROM numbers', method => 'merge')
    AS (id float8, event_timestamp timestamp, "#" int, f int);

SELECT lean.drop_feature_group('d'), lean.drop_feature_group('g');
DROP FUNCTION way;
DROP TABLE past, few, many, numbers, documents;
