-- Quantization: codes of eight bits, RaBitQ codes, product quantization with named codebooks, and a report on what each
-- makes of a column. What belongs to the vector types is in their schema, the rest in lean.

-- Anyone may use what is in lean; tables and functions there look after their own privileges.
GRANT USAGE ON SCHEMA lean TO PUBLIC;

-- int8: bytea, a signed byte for each dimension

CREATE FUNCTION quantize_int8(v vector, lo real, hi real) RETURNS bytea
	AS 'MODULE_PATHNAME', 'vector_quantize_int8' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quantize_int8(vector, real, real) IS
	'eight bits for each dimension over one range for all; what lies outside of it is cut off';
CREATE FUNCTION quantize_int8(v vector, lo vector, hi vector) RETURNS bytea
	AS 'MODULE_PATHNAME', 'vector_quantize_int8_each' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quantize_int8(vector, vector, vector) IS
	'eight bits for each dimension over a range for each; what lies outside of it is cut off';
CREATE FUNCTION quantize_int8(v halfvec, lo real, hi real) RETURNS bytea
	AS 'MODULE_PATHNAME', 'halfvec_quantize_int8' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quantize_int8(halfvec, real, real) IS
	'eight bits for each dimension over one range for all; what lies outside of it is cut off';
CREATE FUNCTION quantize_int8(v halfvec, lo vector, hi vector) RETURNS bytea
	AS 'MODULE_PATHNAME', 'halfvec_quantize_int8_each' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quantize_int8(halfvec, vector, vector) IS
	'eight bits for each dimension over a range for each; what lies outside of it is cut off';
CREATE FUNCTION dequantize_int8(code bytea, lo real, hi real) RETURNS vector
	AS 'MODULE_PATHNAME', 'dequantize_int8' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION dequantize_int8(bytea, real, real) IS
	'what a code of quantize_int8 over the same range stands for';
CREATE FUNCTION dequantize_int8(code bytea, lo vector, hi vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'dequantize_int8_each' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION dequantize_int8(bytea, vector, vector) IS
	'what a code of quantize_int8 over the same ranges stands for';

CREATE TYPE vector_extent AS (lo real, hi real, lows vector, highs vector);
COMMENT ON TYPE vector_extent IS 'the smallest and the largest component of some vectors: of all dimensions, and of each';
COMMENT ON COLUMN vector_extent.lo IS 'smallest component of all';
COMMENT ON COLUMN vector_extent.hi IS 'largest component of all';
COMMENT ON COLUMN vector_extent.lows IS 'smallest component of each dimension';
COMMENT ON COLUMN vector_extent.highs IS 'largest component of each dimension';
CREATE FUNCTION vector_extent_accum(double precision[], vector) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'vector_extent_accum' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_extent_accum(double precision[], vector) IS
	'internal: transition function of extent';
CREATE FUNCTION halfvec_extent_accum(double precision[], halfvec) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'halfvec_extent_accum' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_extent_accum(double precision[], halfvec) IS
	'internal: transition function of extent';
CREATE FUNCTION extent_combine(double precision[], double precision[]) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'extent_combine' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION extent_combine(double precision[], double precision[]) IS
	'internal: combine function of extent';
CREATE FUNCTION extent_bounds(double precision[], boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'extent_bounds' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION extent_bounds(double precision[], boolean) IS
	'internal: the lower or the upper ends that a state of extent stands for';
CREATE FUNCTION extent_final(state double precision[]) RETURNS vector_extent
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	RETURN (
		SELECT ROW(
			(SELECT min(x) FROM unnest(e.lows::real[]) AS x), (SELECT max(x) FROM unnest(e.highs::real[]) AS x),
			e.lows, e.highs
		)::vector_extent
		FROM (SELECT extent_bounds(state, false) AS lows, extent_bounds(state, true) AS highs) AS e
		WHERE e.lows IS NOT NULL
	);
COMMENT ON FUNCTION extent_final(double precision[]) IS 'internal: final function of extent';
CREATE AGGREGATE extent(vector) (
	SFUNC = vector_extent_accum, STYPE = double precision[], FINALFUNC = extent_final,
	COMBINEFUNC = extent_combine, INITCOND = '{0}', PARALLEL = SAFE
);
COMMENT ON AGGREGATE extent(vector) IS 'the smallest and the largest components, for quantize_int8';
CREATE AGGREGATE extent(halfvec) (
	SFUNC = halfvec_extent_accum, STYPE = double precision[], FINALFUNC = extent_final,
	COMBINEFUNC = extent_combine, INITCOND = '{0}', PARALLEL = SAFE
);
COMMENT ON AGGREGATE extent(halfvec) IS 'the smallest and the largest components, for quantize_int8';

-- rabitq

CREATE TYPE rabitq;
CREATE FUNCTION rabitq_in(cstring) RETURNS rabitq
	AS 'MODULE_PATHNAME', 'rabitq_in' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION rabitq_in(cstring) IS
	'text input';
CREATE FUNCTION rabitq_out(rabitq) RETURNS cstring
	AS 'MODULE_PATHNAME', 'rabitq_out' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION rabitq_out(rabitq) IS
	'text output';
CREATE FUNCTION rabitq_recv(internal) RETURNS rabitq
	AS 'MODULE_PATHNAME', 'rabitq_recv' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION rabitq_recv(internal) IS
	'binary input';
CREATE FUNCTION rabitq_send(rabitq) RETURNS bytea
	AS 'MODULE_PATHNAME', 'rabitq_send' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION rabitq_send(rabitq) IS
	'binary output';
CREATE TYPE rabitq (
	INPUT = rabitq_in, OUTPUT = rabitq_out, RECEIVE = rabitq_recv, SEND = rabitq_send, STORAGE = external
);
COMMENT ON TYPE rabitq IS 'vector as a RaBitQ code of 1 to 8 bits per dimension';
CREATE FUNCTION quantize_rabitq(v vector, bits integer DEFAULT 4) RETURNS rabitq
	AS 'MODULE_PATHNAME', 'vector_quantize_rabitq' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quantize_rabitq(vector, integer) IS
	'RaBitQ code of 1 to 8 bits per dimension';
CREATE FUNCTION quantize_rabitq(v halfvec, bits integer DEFAULT 4) RETURNS rabitq
	AS 'MODULE_PATHNAME', 'halfvec_quantize_rabitq' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quantize_rabitq(halfvec, integer) IS
	'RaBitQ code of 1 to 8 bits per dimension';
CREATE FUNCTION dequantize_rabitq(code rabitq) RETURNS vector
	AS 'MODULE_PATHNAME', 'dequantize_rabitq' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION dequantize_rabitq(rabitq) IS
	'what a code stands for';
CREATE FUNCTION rabitq_error(code rabitq) RETURNS real
	AS 'MODULE_PATHNAME', 'rabitq_error' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION rabitq_error(rabitq) IS
	'how far what a code stands for is from the vector; times the norm of a query, the most that their inner product is off';
CREATE FUNCTION rabitq_l2_distance(rabitq, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'rabitq_l2_distance' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION rabitq_l2_distance(rabitq, vector) IS
	'estimate of the Euclidean distance of the coded vector, right on average';
CREATE FUNCTION rabitq_l2_distance(vector, rabitq) RETURNS double precision
	AS 'MODULE_PATHNAME', 'rabitq_l2_distance_reversed' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION rabitq_l2_distance(vector, rabitq) IS
	'estimate of the Euclidean distance of the coded vector, right on average';
CREATE OPERATOR <-> (LEFTARG = rabitq, RIGHTARG = vector, PROCEDURE = rabitq_l2_distance, COMMUTATOR = <->);
COMMENT ON OPERATOR <-> (rabitq, vector) IS 'estimate of the Euclidean distance';
CREATE OPERATOR <-> (LEFTARG = vector, RIGHTARG = rabitq, PROCEDURE = rabitq_l2_distance, COMMUTATOR = <->);
COMMENT ON OPERATOR <-> (vector, rabitq) IS 'estimate of the Euclidean distance';
CREATE FUNCTION rabitq_negative_inner_product(rabitq, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'rabitq_negative_inner_product' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION rabitq_negative_inner_product(rabitq, vector) IS
	'estimate of the inner product with its sign turned of the coded vector, right on average';
CREATE FUNCTION rabitq_negative_inner_product(vector, rabitq) RETURNS double precision
	AS 'MODULE_PATHNAME', 'rabitq_negative_inner_product_reversed' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION rabitq_negative_inner_product(vector, rabitq) IS
	'estimate of the inner product with its sign turned of the coded vector, right on average';
CREATE OPERATOR <#> (LEFTARG = rabitq, RIGHTARG = vector, PROCEDURE = rabitq_negative_inner_product, COMMUTATOR = <#>);
COMMENT ON OPERATOR <#> (rabitq, vector) IS 'estimate of the inner product with its sign turned';
CREATE OPERATOR <#> (LEFTARG = vector, RIGHTARG = rabitq, PROCEDURE = rabitq_negative_inner_product, COMMUTATOR = <#>);
COMMENT ON OPERATOR <#> (vector, rabitq) IS 'estimate of the inner product with its sign turned';
CREATE FUNCTION rabitq_cosine_distance(rabitq, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'rabitq_cosine_distance' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION rabitq_cosine_distance(rabitq, vector) IS
	'estimate of the cosine distance of the coded vector, right on average';
CREATE FUNCTION rabitq_cosine_distance(vector, rabitq) RETURNS double precision
	AS 'MODULE_PATHNAME', 'rabitq_cosine_distance_reversed' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION rabitq_cosine_distance(vector, rabitq) IS
	'estimate of the cosine distance of the coded vector, right on average';
CREATE OPERATOR <=> (LEFTARG = rabitq, RIGHTARG = vector, PROCEDURE = rabitq_cosine_distance, COMMUTATOR = <=>);
COMMENT ON OPERATOR <=> (rabitq, vector) IS 'estimate of the cosine distance';
CREATE OPERATOR <=> (LEFTARG = vector, RIGHTARG = rabitq, PROCEDURE = rabitq_cosine_distance, COMMUTATOR = <=>);
COMMENT ON OPERATOR <=> (vector, rabitq) IS 'estimate of the cosine distance';

-- Product quantization

CREATE TABLE lean.pq_codebook (
	name text PRIMARY KEY,
	owner name NOT NULL DEFAULT current_user,
	readers name[] NOT NULL DEFAULT '{}',
	metric text NOT NULL CHECK (metric IN ('l2', 'ip', 'cosine', 'l1')),
	dims integer NOT NULL,
	m integer NOT NULL,
	nbits integer NOT NULL,
	trained_rows bigint NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	book bytea NOT NULL
);
-- Floats of a codebook do not compress.
ALTER TABLE lean.pq_codebook ALTER COLUMN book SET STORAGE EXTERNAL;
COMMENT ON TABLE lean.pq_codebook IS 'codebooks of product quantization that the user may use';
COMMENT ON COLUMN lean.pq_codebook.owner IS 'the role that trained it; members of it may use and drop it';
COMMENT ON COLUMN lean.pq_codebook.readers IS 'roles whose members may use it too; public stands for all';
COMMENT ON COLUMN lean.pq_codebook.metric IS 'what lean.pq_distance tells: l2, ip, cosine or l1';
COMMENT ON COLUMN lean.pq_codebook.dims IS 'dimensions of the vectors';
COMMENT ON COLUMN lean.pq_codebook.m IS 'parts that a vector is cut into';
COMMENT ON COLUMN lean.pq_codebook.nbits IS 'bits of a code for each part';
COMMENT ON COLUMN lean.pq_codebook.trained_rows IS 'rows that it was trained with';
COMMENT ON COLUMN lean.pq_codebook.book IS 'the centers of the parts';
SELECT pg_catalog.pg_extension_config_dump('lean.pq_codebook', '');

-- Centers are means of rows, and of few rows the rows themselves: whoever trained a codebook says who may see it.
CREATE FUNCTION lean.acts_as(role name) RETURNS boolean
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	RETURN role = 'public' OR EXISTS (
		SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = role AND pg_catalog.pg_has_role(r.oid, 'USAGE')
	);
COMMENT ON FUNCTION lean.acts_as(name) IS 'has the user the privileges of the role?';
ALTER TABLE lean.pq_codebook ENABLE ROW LEVEL SECURITY;
CREATE POLICY owner ON lean.pq_codebook USING (lean.acts_as(owner)) WITH CHECK (owner <> 'public' AND lean.acts_as(owner));
COMMENT ON POLICY owner ON lean.pq_codebook IS 'the owner may do everything';
CREATE POLICY reader ON lean.pq_codebook FOR SELECT USING (EXISTS (SELECT FROM unnest(readers) AS r WHERE lean.acts_as(r)));
COMMENT ON POLICY reader ON lean.pq_codebook IS 'readers may use it';
GRANT SELECT, INSERT, DELETE, UPDATE (readers) ON lean.pq_codebook TO PUBLIC;

CREATE FUNCTION lean.vectors_of(query text) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	RETURN (
		SELECT format(E'SELECT x::%I.vector FROM (%s\n) AS q (x)', n.nspname, rtrim(query, E' \t\n;'))
		FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
		WHERE e.extname = 'leanstack'
	);
COMMENT ON FUNCTION lean.vectors_of(text) IS 'internal: the query for the first column of a query as vectors';
CREATE FUNCTION lean.vectors_of(relation regclass, column_name text) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	queries text[];
BEGIN
	SELECT array_agg(format('SELECT %I::%I.vector FROM %s', a.attname, n.nspname, relation)) INTO queries
	FROM pg_extension AS e
		JOIN pg_namespace AS n ON n.oid = e.extnamespace
		JOIN pg_type AS t ON t.typnamespace = n.oid AND t.typname IN ('vector', 'halfvec')
		JOIN pg_attribute AS a ON a.atttypid = t.oid
	WHERE e.extname = 'leanstack' AND a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
		AND (column_name IS NULL OR a.attname = column_name);
	IF cardinality(queries) = 1 THEN
		RETURN queries[1];
	END IF;
	IF queries IS NOT NULL THEN
		RAISE EXCEPTION 'relation % has % columns of type vector or halfvec', relation, cardinality(queries)
			USING ERRCODE = 'ambiguous_column', HINT = 'Give a query that returns one of them.';
	ELSIF column_name IS NULL THEN
		RAISE EXCEPTION 'relation % has no column of type vector or halfvec', relation
			USING ERRCODE = 'undefined_column', HINT = 'Give a query that casts to vector what is to be read.';
	ELSIF EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation AND attname = column_name AND NOT attisdropped) THEN
		RAISE EXCEPTION 'column "%" of relation % is not of type vector or halfvec', column_name, relation
			USING ERRCODE = 'datatype_mismatch', HINT = 'Create a view that casts it.';
	END IF;
	RAISE EXCEPTION 'column "%" of relation % does not exist', column_name, relation USING ERRCODE = 'undefined_column';
END
$$;
COMMENT ON FUNCTION lean.vectors_of(regclass, text) IS
	'internal: the query for a column as vectors; without its name, for the only one of type vector or halfvec';

COMMENT ON FUNCTION lean.train_pq(text, text, integer, integer, text, integer) IS
	'trains a codebook with the vectors of a relation or a query, and stores it; gives the number of rows it was trained with';

CREATE FUNCTION lean.pq_encode(codebook text, v vector) RETURNS bytea
	AS 'MODULE_PATHNAME', 'pq_encode' LANGUAGE c STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION lean.pq_encode(text, vector) IS
	'code of a vector: for each part the number of the nearest center';
CREATE FUNCTION lean.pq_decode(codebook text, code bytea) RETURNS vector
	AS 'MODULE_PATHNAME', 'pq_decode' LANGUAGE c STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION lean.pq_decode(text, bytea) IS
	'what a code stands for; of a cosine codebook about a unit vector';
CREATE FUNCTION lean.pq_distance(codebook text, code bytea, query vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'pq_distance' LANGUAGE c STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION lean.pq_distance(text, bytea, vector) IS
	'distance of a query, by the metric of the codebook, to what a code stands for';

CREATE FUNCTION lean.drop_pq(codebook text) RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM lean.pq_codebook WHERE name = codebook AND lean.acts_as(owner);
	IF NOT FOUND THEN
		RAISE EXCEPTION 'codebook "%" does not exist, or is not yours', codebook
			USING ERRCODE = 'undefined_object', HINT = 'lean.pq_codebook shows the codebooks that you may use, and their owners.';
	END IF;
END
$$;
COMMENT ON FUNCTION lean.drop_pq(text) IS 'drops a codebook; codes that it made can no longer be read';

COMMENT ON FUNCTION lean.quantization_report(regclass, text, integer, text) IS
	'what each way to store the vectors of a column costs and keeps, measured on a sample of its rows';
