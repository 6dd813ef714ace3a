-- int8: a signed byte for each dimension.
SELECT quantize_int8('[-1,0,0.5,1,9]'::vector, -1, 1), quantize_int8('[-1,0,0.5,1,9]'::halfvec, -1, 1);
SELECT dequantize_int8('\x80007f', -1, 1.55);
SELECT dequantize_int8(quantize_int8('[0,7]'::vector, '[0,5]'::vector, '[2,10]'::vector), '[0,5]'::vector, '[2,10]'::vector);
SELECT quantize_int8(NULL::vector, 0, 1), quantize_int8('[1]'::vector, NULL::real, 1);
SELECT quantize_int8('[1,2,3]'::vector, '[0,0]'::vector, '[1,1]'::vector);
SELECT quantize_int8('[1,2]'::vector, '[0,0]'::vector, '[1,1,1]'::vector);
SELECT dequantize_int8('\x000000', '[0,0]'::vector, '[1,1]'::vector);
SELECT dequantize_int8('\x', 0, 1);
SELECT quantize_int8('[1]'::vector, 1, 0);
SELECT quantize_int8('[1]'::vector, 'NaN'::real, 0);

-- extent
CREATE TABLE quantized (id int, v vector, h halfvec);
SELECT extent(v) FROM quantized;
INSERT INTO quantized VALUES (1, '[1,-2]', '[1,-2]'), (2, '[3,5]', '[3,5]'), (3, NULL, NULL), (4, '[-1,0]', '[-1,0]');
SELECT (extent(v)).*, extent(h) FROM quantized;
SELECT extent(v) FROM quantized GROUP BY id ORDER BY id;
-- Each state is widened for itself.
SELECT id, extent(v) OVER (ORDER BY id) FROM quantized ORDER BY id;
SELECT extent_combine('{1,-1,2,3,4}', '{2,-3,2,1,9}'), extent_combine('{0}', '{1,5,6}'), extent_combine('{1,5,6}', '{0}');
SELECT extent_combine('{1,5,6}', '{1,1,2,3,4}');
SELECT extent_combine('{1,5}', '{0}');
SELECT extent_bounds('{1,2,1e300}', true);
SELECT extent(v) FROM (VALUES ('[1,2]'::vector), ('[1,2,3]')) AS x (v);
SELECT dequantize_int8(quantize_int8(v, lo, hi), lo, hi) <-> v < 0.02 AS near
FROM quantized, (SELECT (extent(v)).* FROM quantized) AS range WHERE v IS NOT NULL;

-- rabitq
SELECT quantize_rabitq('[3,4]'::halfvec, 1)::text = quantize_rabitq('[3,4]'::vector, 1)::text AS same;
SELECT length(quantize_rabitq('[3,4]'::vector)::text), pg_column_size(quantize_rabitq('[3,4]'::vector, 8));
SELECT text::rabitq::text = text AS same FROM (SELECT quantize_rabitq('[3,4,5]'::vector, bits)::text AS text FROM generate_series(1, 8) AS bits) AS x;
SELECT dequantize_rabitq(quantize_rabitq('[3,4]'::vector, 8)) <-> '[3,4]' < 0.05 AS near;
WITH c AS (SELECT quantize_rabitq('[3,4]'::vector, 8) AS code)
SELECT round((code <-> '[0,0]')::numeric, 1) AS l2, round((code <#> '[1,0]')::numeric, 1) AS ip, round((code <=> '[4,-3]')::numeric, 1) AS cosine,
    code <-> '[1,2]' = '[1,2]'::vector <-> code AS l2_same, code <#> '[1,2]' = '[1,2]'::vector <#> code AS ip_same,
    code <=> '[1,2]' = '[1,2]'::vector <=> code AS cosine_same, rabitq_error(code) < 0.05 AS near FROM c;
SELECT quantize_rabitq('[0,0]'::vector, 2) <=> '[1,2]', round((quantize_rabitq('[0,0]'::vector, 2) <-> '[3,4]')::numeric, 3) AS l2, dequantize_rabitq(quantize_rabitq('[0,0]'::vector, 2));
SELECT quantize_rabitq('[3,4]'::vector, 4) <-> '[1,2,3]';
SELECT '[1,2,3]'::vector <=> quantize_rabitq('[3,4]'::vector, 4);
SELECT quantize_rabitq('[3,4]'::vector, 0);
SELECT quantize_rabitq('[3,4]'::vector, -9);
SELECT quantize_rabitq('[3e38,3e38]'::vector, 4);
SELECT ''::rabitq;
SELECT '2x1:00'::rabitq;
SELECT '2x1:0000c07f000000000000000000000000000000000000'::rabitq;
SELECT '2x9:0000'::rabitq;
-- Plain literals still mean vectors.
SELECT '[1,2]'::vector <-> '[1,2]', '[1,2]'::halfvec <-> '[1,2]';

-- Product quantization
CREATE TABLE parts (id int, v vector(4), h halfvec(4));
INSERT INTO parts SELECT i, format('[%s,%s,%s,%s]', i % 4, i % 4, i / 4, i / 4)::vector, format('[%s,%s,%s,%s]', i % 4, i % 4, i / 4, i / 4)::halfvec
FROM generate_series(0, 15) AS i;
SELECT lean.train_pq('by query', 'SELECT v FROM parts;', 2, 4);
SELECT lean.train_pq('by view', 'parts_view', 2);
CREATE VIEW parts_view AS SELECT id, h FROM parts;
SELECT lean.train_pq('by view', 'parts_view', m => 2, nbits => 8, metric => 'cosine', max_rows => 10);
SELECT name, owner = current_user AS mine, readers, metric, dims, m, nbits, trained_rows, length(book) AS bytes FROM lean.pq_codebook ORDER BY name;
-- Four different halves have room among 16 centers: nothing is lost.
SELECT count(*), bool_and(lean.pq_decode('by query', lean.pq_encode('by query', v)) = v) AS exact, max(length(lean.pq_encode('by query', v))) AS bytes FROM parts;
SELECT bool_and(lean.pq_distance('by query', lean.pq_encode('by query', a.v), b.v) = a.v <-> b.v) AS exact FROM parts AS a, parts AS b;
SELECT abs(lean.pq_distance('by view', lean.pq_encode('by view', v), '[1,1,2,2]') - (v <=> '[1,1,2,2]')) < 0.1 AS near FROM parts WHERE id = 5;
SELECT lean.pq_encode('by query', '[1,2,3]');
SELECT lean.pq_distance('by query', '\x00', '[1,2,3]');
SELECT lean.pq_distance('by query', '\x0000', '[1,2,3,4]');
SELECT lean.pq_decode('by query', '\x0000');
SELECT lean.pq_encode('unknown', '[1,2,3,4]');
SELECT lean.train_pq('by query', 'SELECT v FROM parts', 2);
SELECT lean.train_pq('bad', 'SELECT v FROM parts', 5);
SELECT lean.train_pq('bad', 'SELECT v FROM parts', 0);
SELECT lean.train_pq('bad', 'SELECT v FROM parts', 2, 5);
SELECT lean.train_pq('bad', 'SELECT v FROM parts', 2, metric => 'hamming');
SELECT lean.train_pq('bad', 'SELECT v FROM parts', 2, max_rows => 0);
SELECT lean.train_pq('bad', 'SELECT v FROM parts WHERE false', 2);
SELECT lean.train_pq('bad', 'SELECT id FROM parts', 2);
SELECT lean.train_pq('bad', 'parts', 2);
SELECT lean.train_pq('bad', 'pg_class', 2);
SELECT lean.train_pq('bad', 'SELECT v FROM quantized UNION ALL SELECT v FROM parts', 2);

-- Who may use a codebook: its owner, and whom the owner lets.
CREATE ROLE lean_quantize_owner;
CREATE ROLE lean_quantize_user;
ALTER TABLE parts ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON parts USING (id < 4);
GRANT SELECT ON parts TO lean_quantize_owner;
SET ROLE lean_quantize_owner;
-- Only rows that the owner may see take part.
SELECT lean.train_pq('owned', 'SELECT v FROM parts', 1, 4);
SELECT lean.pq_decode('owned', lean.pq_encode('owned', '[9,9,9,9]'));
SET ROLE lean_quantize_user;
SELECT lean.train_pq('stolen', 'SELECT v FROM parts', 1, 4);
SELECT name FROM lean.pq_codebook;
SELECT lean.pq_encode('owned', '[1,1,1,1]');
SELECT lean.drop_pq('owned');
SELECT lean.train_pq('owned', 'SELECT ''[1,2]''::vector', 1);
INSERT INTO lean.pq_codebook (name, owner, metric, dims, m, nbits, trained_rows, book) VALUES ('x', 'lean_quantize_owner', 'l2', 1, 1, 4, 1, '');
SET ROLE lean_quantize_owner;
UPDATE lean.pq_codebook SET readers = '{lean_quantize_user}' WHERE name = 'owned';
UPDATE lean.pq_codebook SET owner = 'lean_quantize_user' WHERE name = 'owned';
SET ROLE lean_quantize_user;
SELECT length(lean.pq_encode('owned', '[1,1,1,1]'));
SELECT lean.drop_pq('owned');
SET ROLE lean_quantize_owner;
SELECT lean.drop_pq('owned');
RESET ROLE;
DROP OWNED BY lean_quantize_owner, lean_quantize_user;
DROP ROLE lean_quantize_owner, lean_quantize_user;

-- A codebook that was trained anew is noticed by an expression that knew the old one.
CREATE FUNCTION pg_temp.anew() RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    decoded text[] := '{}';
BEGIN
    FOR i IN 1..2 LOOP
        PERFORM lean.train_pq('anew', format('SELECT ''[%s,0]''::vector', i), 1, 4);
        decoded := decoded || lean.pq_decode('anew', '\x00')::text;
        PERFORM lean.drop_pq('anew');
    END LOOP;
    RETURN decoded;
END $$;
SELECT pg_temp.anew();

-- The report
-- A zero vector has no direction: what is lost of it cannot be told where only directions are kept.
SELECT method, bytes_per_vector, round(mean_error::numeric, 2) AS mean_error, worst_error < 0.3 AS near, recall_at_10 > 0.7 AS found
FROM lean.quantization_report('parts', 'v', 16);
SELECT method, bytes_per_vector FROM lean.quantization_report('parts', 'h', metric => 'cosine') WHERE method LIKE '%vec%';
SELECT * FROM lean.quantization_report('parts', 'id');
SELECT * FROM lean.quantization_report('parts', 'none');
SELECT * FROM lean.quantization_report('parts', 'v', 1);
SELECT * FROM lean.quantization_report('parts', 'v', metric => 'jaccard');
TRUNCATE parts;
SELECT * FROM lean.quantization_report('parts', 'v');
SELECT lean.drop_pq('by query'), lean.drop_pq('by view');
DROP TABLE quantized, parts CASCADE;

-- Every object has a comment, and none that reads a table says it does not.
SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'leanstack' WHERE obj_description(p.oid, 'pg_proc') IS NULL ORDER BY 1;
SELECT proname, provolatile, proparallel, proisstrict FROM pg_proc
WHERE pronamespace = 'lean'::regnamespace AND (proname LIKE '%pq%' OR proname LIKE 'quantization%') ORDER BY 1;
