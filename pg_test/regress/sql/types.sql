-- Text and binary forms, type modifiers, storage and functions of the vector types.

-- What goes in comes out in its shortest form.
SELECT '[1,2,3]'::vector, '[1,2,3]'::halfvec, '{1:1,3:3}/3'::sparsevec;
SELECT E' [ 1,\t-2.50 , 3e0\n] '::vector, E' [ 1,\t-2.50 , 3e0\n] '::halfvec,
	E' { 3 : 3e0 , 1\t: 1.50 , 2 : 0 } / 5\n'::sparsevec;
SELECT '[1e-45,3.4028235e38,-0,0.1,123456,1234567,0.0001,0.00001]'::vector;
SELECT '[6e-8,65504,-0,0.1,1e4,5.9604645e-8]'::halfvec;
SELECT '[.5,5.,+1,0x1.8p1,1e-50]'::vector;
SELECT '{}/1000000000'::sparsevec, '{1000000000:-1e-40}/1000000000'::sparsevec;

-- Half precision rounds to nearest even.
SELECT '[2049,2051,65519.99,1e-8]'::halfvec;

-- On the wire and on disk.
SELECT vector_send('[1,-2]'), halfvec_send('[1,-2]'), sparsevec_send('{2:1,4:-2}/5');
SELECT pg_column_size('[1,2,3]'::vector) AS vector, pg_column_size('[1,2,3]'::halfvec) AS halfvec,
	pg_column_size('{1:1,3:3}/3'::sparsevec) AS sparsevec;
SELECT typname, typlen, typalign, typstorage FROM pg_type
	WHERE typname IN ('vector', 'halfvec', 'sparsevec') ORDER BY typname;

CREATE FUNCTION through_binary(value anyelement) RETURNS anyelement LANGUAGE plpgsql AS $$
DECLARE
	file text := current_setting('data_directory') || '/binary';
	result value%TYPE;
BEGIN
	EXECUTE format('CREATE TEMP TABLE binary_copy (v %s)', pg_typeof(value));
	EXECUTE format('COPY (SELECT %L::%s) TO %L (FORMAT binary)', value, pg_typeof(value), file);
	EXECUTE format('COPY binary_copy FROM %L (FORMAT binary)', file);
	EXECUTE 'SELECT v FROM binary_copy' INTO result;
	DROP TABLE binary_copy;
	RETURN result;
END
$$;
SELECT through_binary('[1.5,-0,3e38]'::vector), through_binary('[1.5,-0,65504]'::halfvec),
	through_binary('{2:1.5,9:-3e38}/10'::sparsevec);

-- Type modifiers.
CREATE TABLE typed (v vector(2), h halfvec(2), s sparsevec(2));
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
	WHERE attrelid = 'typed'::regclass AND attnum > 0 ORDER BY attnum;
INSERT INTO typed VALUES ('[1,2]', '[1,2]', '{1:1}/2'), (NULL, NULL, NULL);
INSERT INTO typed (v) VALUES ('[1]');
INSERT INTO typed (h) VALUES ('[1,2,3]');
INSERT INTO typed (s) VALUES ('{}/3');
SELECT * FROM typed;
DROP TABLE typed;

-- Values of every storage: plain, with a short header, compressed, out of line.
CREATE TABLE stored (id int, v vector, h halfvec, s sparsevec);
ALTER TABLE stored ALTER h SET STORAGE extended, ALTER s SET STORAGE main;
INSERT INTO stored SELECT n, array_fill(n, ARRAY[n])::vector, array_fill(n, ARRAY[n])::halfvec,
	array_fill(n, ARRAY[n])::sparsevec FROM (VALUES (1), (20), (30), (2000), (16000)) x(n);
SELECT id, vector_dims(v) AS dims, v = array_fill(id, ARRAY[id])::vector AS v,
	h = array_fill(id, ARRAY[id])::halfvec AS h, s = array_fill(id, ARRAY[id])::sparsevec AS s,
	l2_distance(v, v) AS distance, round(inner_product(h, h)::numeric / id ^ 3, 3) AS product, s <-> s AS sparse
	FROM stored ORDER BY id;
SELECT count(*) FROM stored a, stored b WHERE a.id = b.id AND a.v = b.v AND a.h = b.h AND a.s = b.s;
DROP TABLE stored;

-- Functions of one vector.
SELECT vector_dims('[1,2,3]'::vector), vector_dims('[1,2]'::halfvec);
SELECT vector_norm('[3,4]'), l2_norm('[3,4]'::halfvec), l2_norm('{1:3,9:4}/9'::sparsevec),
	l2_norm('{}/9'::sparsevec);
SELECT l2_normalize('[3,4]'::vector), l2_normalize('[3,4]'::halfvec), l2_normalize('{1:3,9:4}/9'::sparsevec);
SELECT l2_normalize('[0,0]'::vector), l2_normalize('[0,0]'::halfvec), l2_normalize('{}/9'::sparsevec);
SELECT l2_normalize('[3e38,1e-45]'::vector), l2_normalize('{1:3e38,2:1e-45}/9'::sparsevec);
SELECT subvector('[1,2,3,4,5]'::vector, 2, 3), subvector('[1,2,3,4,5]'::halfvec, -1, 4),
	subvector('[1,2,3,4,5]'::vector, 4, 2147483647);
SELECT binary_quantize('[1,0,-1,-0,2,1e-45,3,-4,5]'::vector), binary_quantize('[1,0,-1]'::halfvec);

DROP FUNCTION through_binary;
