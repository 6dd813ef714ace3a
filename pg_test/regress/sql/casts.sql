-- Casts among the vector types and with arrays, by assignment and implicit.

SELECT '{1,2,3}'::int[]::vector, '{1,2,3}'::real[]::vector, '{1,2,3}'::float8[]::vector,
	'{1,2,3}'::numeric[]::vector;
SELECT '{1,2,3}'::int[]::halfvec(3), '{1,2,3}'::real[]::halfvec(3), '{1,2,3}'::float8[]::halfvec(3),
	'{1,2,3}'::numeric[]::halfvec(3);
SELECT '{1,0,3}'::int[]::sparsevec, '{1,0,3}'::real[]::sparsevec, '{1,0,3}'::float8[]::sparsevec,
	'{1,0,3}'::numeric[]::sparsevec;
SELECT '[1,2,3]'::vector::real[], '[1,2,3]'::halfvec::real[];
SELECT '[1,0,3]'::vector::halfvec, '[1,0,3]'::vector::sparsevec, '[1,0,3]'::halfvec::vector,
	'[1,0,3]'::halfvec::sparsevec, '{1:1,3:3}/3'::sparsevec::vector, '{1:1,3:3}/3'::sparsevec::halfvec;
SELECT castsource::regtype, casttarget::regtype, castcontext FROM pg_cast
	WHERE castfunc::regprocedure::text ~ 'vec' ORDER BY castsource::regtype::text, casttarget::regtype::text;

-- Rounding, underflow and signs on the way.
SELECT ARRAY[16777217, 2147483647]::vector, ARRAY[1e-50, -0.0]::float8[]::vector, '[1e-8,-0]'::vector::halfvec,
	'[-0,1]'::vector::sparsevec, ARRAY[1e-50]::float8[]::sparsevec;

-- Arrays that were cut or have a bitmap but no NULLs; long ones.
SELECT (ARRAY[1,2,NULL])[1:2]::vector, (ARRAY[1.5,NULL,2.5]::numeric[])[3:3]::vector,
	('[5:7]={1,2,3}'::real[])::vector;
SELECT vector_dims(array_fill(1, ARRAY[16000])::vector), array_length(array_fill(1, ARRAY[16000])::vector::real[], 1);

-- Assignment and implicit casts where they count.
CREATE TABLE assigned (v vector(2), h halfvec(2), s sparsevec(2), a real[]);
INSERT INTO assigned VALUES (ARRAY[1,2], ARRAY[1,2], ARRAY[1,2], '[1,2]'::vector);
INSERT INTO assigned VALUES ('[1,2]'::halfvec, '[1,2]'::vector, '[1,2]'::halfvec, '[1,2]'::halfvec);
INSERT INTO assigned VALUES ('{}/2'::sparsevec, '{}/2'::sparsevec, '[1,2]'::vector, NULL);
SELECT * FROM assigned;
SELECT v <-> ARRAY[1,2]::vector, h <-> '[1,3]'::vector, s <-> v FROM assigned ORDER BY 1, 3;
DROP TABLE assigned;
