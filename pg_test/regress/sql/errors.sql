-- What goes wrong with vectors: SQLSTATE, message and detail of every error.

CREATE FUNCTION outcome(expression text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	message text;
	detail text;
BEGIN
	EXECUTE 'SELECT ' || expression INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' | ', SQLSTATE, message, NULLIF(detail, ''));
END
$$;
-- Hands bytes to the receive function of a type.
CREATE FUNCTION receive(ty text, bytes bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	file text := current_setting('data_directory') || '/receive';
	result text;
BEGIN
	EXECUTE format('CREATE TEMP TABLE received (v %s)', ty);
	EXECUTE format('COPY (SELECT %L::bytea) TO %L (FORMAT binary)', bytes, file);
	EXECUTE format('COPY received FROM %L (FORMAT binary)', file);
	EXECUTE 'SELECT v FROM received' INTO result;
	DROP TABLE received;
	RETURN result;
END
$$;
\pset format unaligned
\pset tuples_only on

-- Literals of dense vectors.
SELECT ty, literal, outcome(format('%L::%s', literal, ty))
	FROM (VALUES ('vector'), ('halfvec')) t(ty), (VALUES
		(''), ('1,2'), ('['), ('[1'), ('[1,2'), ('[]'), ('[ ]'), ('[,]'), ('[1,]'), ('[1a]'), ('[1 2]'),
		('[1,,3]'), ('[1]x'), ('[1]]'), ('[NaN]'), ('[nan]'), ('[inf]'), ('[-Infinity]'), ('[4e38]'),
		('[-1e400]'), ('[0x1p128]'), ('[1e39,x')) l(literal)
	ORDER BY ty COLLATE "C", literal COLLATE "C";
SELECT outcome($$'[65520]'::halfvec$$), outcome($$'[-7e4]'::halfvec$$);
SELECT outcome(format('(%L || repeat(%L, 16000) || %L)::%s', '[', '1,', '1]', ty))
	FROM (VALUES ('vector'), ('halfvec')) t(ty);

-- Literals of sparse vectors.
SELECT literal, outcome(format('%L::sparsevec', literal)) FROM (VALUES
	(''), ('{'), ('{}'), ('{}/'), ('{}/x'), ('{}/0'), ('{}/-1'), ('{}/1000000001'), ('{}/99999999999999999999'),
	('{}/5x'), ('{1}/5'), ('{1:}/5'), ('{:1}/5'), ('{1:1,}/5'), ('{1:1 2:1}/5'), ('{1:x}/5'), ('{1:NaN}/5'),
	('{1:inf}/5'), ('{1:4e38}/5'), ('{1:1e-50}/5'), ('{0:1}/5'), ('{6:1}/5'), ('{-1:1}/5'),
	('{99999999999999999999:1}/5'), ('{2:1,2:1}/5'), ('[1,2]')) l(literal);
SELECT outcome($$('{' || repeat('1:1,', 16000) || '1:1}/5')::sparsevec$$);

-- Type modifiers.
SELECT ty, modifier, outcome(format('NULL::%s(%s)', ty, modifier))
	FROM (VALUES ('vector'), ('halfvec'), ('sparsevec')) t(ty),
		(VALUES ('0'), ('-1'), ('16001'), ('1000000001'), ('1,2'), ($$'a'$$)) m(modifier)
	ORDER BY ty COLLATE "C", modifier COLLATE "C";
SELECT outcome($$'[1,2]'::vector(3)$$), outcome($$'[1,2]'::vector::vector(3)$$),
	outcome($$'[1,2]'::halfvec::halfvec(3)$$), outcome($$'{}/2'::sparsevec::sparsevec(3)$$);

-- Binary input.
SELECT ty, bytes, outcome(format('receive(%L, %L)', ty, bytes)) FROM (VALUES
	('vector', '\x'), ('vector', '\x0001'), ('vector', '\x00010000'), ('vector', '\x000000003f800000'),
	('vector', '\x3e8100003f800000'), ('vector', '\x000100013f800000'), ('vector', '\x000100007fc00000'),
	('vector', '\x00010000ff800000'), ('vector', '\x000100003f80000000'), ('vector(2)', '\x000100003f800000'),
	('halfvec', '\x00010000'), ('halfvec', '\x000000003c00'), ('halfvec', '\x000100003e'),
	('halfvec', '\x000100007c00'), ('halfvec', '\x000100007e00'), ('halfvec', '\x0001ffff3c00'),
	('sparsevec', '\x00000005'), ('sparsevec', '\x000000000000000000000000'),
	('sparsevec', '\x00000005ffffffff00000000'), ('sparsevec', '\x0000000500003e8100000000'),
	('sparsevec', '\x00000001000000020000000000000000000000013f8000003f800000'),
	('sparsevec', '\x000000050000000000000001'), ('sparsevec', '\x000000050000000100000000000000053f800000'),
	('sparsevec', '\x000000050000000100000000ffffffff3f800000'),
	('sparsevec', '\x00000005000000020000000000000002000000013f8000003f800000'),
	('sparsevec', '\x00000005000000020000000000000001000000013f8000003f800000'),
	('sparsevec', '\x0000000500000001000000000000000000000000'),
	('sparsevec', '\x00000005000000010000000000000000ff800000')) b(ty, bytes);

-- Casts.
SELECT input, outcome(format('%s::%s', input, ty)) FROM (VALUES ('vector'), ('halfvec'), ('sparsevec')) t(ty), (VALUES
	($$'{}'::int[]$$), ('ARRAY[1,NULL]'), ('ARRAY[[1],[2]]'), ($$'{NaN}'::real[]$$), ($$'{-Infinity}'::float8[]$$),
	($$'{1e39}'::float8[]$$), ($$'{NaN}'::numeric[]$$), ($$'{1e39}'::numeric[]$$),
	('array_fill(1, ARRAY[16001])')) a(input)
	ORDER BY ty COLLATE "C", input COLLATE "C";
SELECT outcome($$ARRAY[70000]::halfvec$$), outcome($$'[7e4]'::vector::halfvec$$),
	outcome($$'{1:-1e6}/2'::sparsevec::halfvec$$), outcome($$'[1,2]'::vector::halfvec(3)$$),
	outcome($$'{}/16001'::sparsevec::vector$$), outcome($$'{}/16001'::sparsevec::halfvec$$),
	outcome($$ARRAY[1,2]::vector(3)$$);

-- Two vectors that do not go together, and arithmetic out of range.
SELECT f, outcome(format('%s(%s, %s)', f, a, b)) FROM (VALUES ('l2_distance'), ('inner_product'),
	('cosine_distance'), ('l1_distance')) f(f), (VALUES ($$'[1,2]'::vector$$, $$'[3]'::vector$$),
	($$'[1,2]'::halfvec$$, $$'[3]'::halfvec$$), ($$'{}/2'::sparsevec$$, $$'{}/1'::sparsevec$$)) v(a, b)
	ORDER BY f COLLATE "C", a COLLATE "C";
SELECT a, op, b, outcome(format('%s %s %s', a, op, b)) FROM (VALUES ('+'), ('-'), ('*')) o(op), (VALUES
	($$'[1,2]'::vector$$, $$'[3]'$$), ($$'[3e38]'::vector$$, $$'[3e38]'$$), ($$'[3e38]'::vector$$, $$'[-3e38]'$$),
	($$'[1e-30]'::vector$$, $$'[1e-30]'$$), ($$'[1,2]'::halfvec$$, $$'[3]'$$), ($$'[65504]'::halfvec$$, $$'[65504]'$$),
	($$'[65504]'::halfvec$$, $$'[-65504]'$$), ($$'[1e-7]'::halfvec$$, $$'[1e-7]'$$)) v(a, b)
	ORDER BY op COLLATE "C", a COLLATE "C", b COLLATE "C";
SELECT outcome($$array_fill(1, ARRAY[16000])::vector || '[1]'$$), outcome($$array_fill(1, ARRAY[16000])::halfvec || '[1]'$$);
SELECT outcome($$subvector('[1,2]'::vector, 3, 1)$$), outcome($$subvector('[1,2]'::halfvec, 1, 0)$$),
	outcome($$subvector('[1,2]'::vector, -2147483648, 2147483647)$$);
SELECT outcome($$'11'::bit(2) <~> '1'::bit(1)$$), outcome($$'11'::bit(2) <%> '1'::bit(1)$$);

-- Bytes that are no vectors, brought in past the input functions.
BEGIN;
SET LOCAL client_min_messages = error;
CREATE CAST (bytea AS vector) WITHOUT FUNCTION;
CREATE CAST (bytea AS halfvec) WITHOUT FUNCTION;
CREATE CAST (bytea AS sparsevec) WITHOUT FUNCTION;
SELECT ty, bytes, outcome(format('%L::bytea::%s', bytes, ty)) FROM (VALUES ('vector'), ('halfvec'), ('sparsevec')) t(ty),
	(VALUES ('\x'), ('\x00'), ('\x01000000'), ('\xffff0000'), ('\x010000000000803f00'), ('\x00000080ffffff7f00000000'),
		('\x01000000ffffffff00000000'), ('\x0100000002000000000000000000000000000000')) b(bytes)
	ORDER BY ty COLLATE "C", bytes COLLATE "C";
ROLLBACK;

\pset format aligned
\pset tuples_only off
DROP FUNCTION outcome, receive;
