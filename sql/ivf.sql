-- The access methods ivfflat and ivf and their operator classes.

CREATE FUNCTION ivfflat_handler(internal) RETURNS index_am_handler
    LANGUAGE c AS 'MODULE_PATHNAME', 'ivfflat_handler_wrapper';
COMMENT ON FUNCTION ivfflat_handler(internal) IS 'internal: the functions of the access method ivfflat';

CREATE ACCESS METHOD ivfflat TYPE INDEX HANDLER ivfflat_handler;
COMMENT ON ACCESS METHOD ivfflat IS
    'inverted lists of full-precision vectors: ORDER BY column <-> vector LIMIT n';

CREATE FUNCTION ivf_handler(internal) RETURNS index_am_handler
    LANGUAGE c AS 'MODULE_PATHNAME', 'ivf_handler_wrapper';
COMMENT ON FUNCTION ivf_handler(internal) IS 'internal: the functions of the access method ivf';

CREATE ACCESS METHOD ivf TYPE INDEX HANDLER ivf_handler;
COMMENT ON ACCESS METHOD ivf IS
    'inverted lists of quantized vectors: ORDER BY column <-> vector LIMIT n';

-- Support function 1 of an operator class says what its column holds and what its distances mean.

CREATE FUNCTION ivf_vector_l2() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'vector l2' $$;
COMMENT ON FUNCTION ivf_vector_l2() IS 'internal: names the type and the metric of vector_l2_ops';
CREATE OPERATOR CLASS vector_l2_ops DEFAULT FOR TYPE vector USING ivfflat AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 ivf_vector_l2();
COMMENT ON OPERATOR CLASS vector_l2_ops USING ivfflat IS 'Euclidean distance, <->';
CREATE OPERATOR CLASS vector_l2_ops FOR TYPE vector USING ivf AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 ivf_vector_l2();
COMMENT ON OPERATOR CLASS vector_l2_ops USING ivf IS 'Euclidean distance, <->';

CREATE FUNCTION ivf_vector_inner_product() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'vector inner_product' $$;
COMMENT ON FUNCTION ivf_vector_inner_product() IS 'internal: names the type and the metric of vector_ip_ops';
CREATE OPERATOR CLASS vector_ip_ops FOR TYPE vector USING ivfflat AS
    OPERATOR 1 <#> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 ivf_vector_inner_product();
COMMENT ON OPERATOR CLASS vector_ip_ops USING ivfflat IS 'negative inner product, <#>';
CREATE OPERATOR CLASS vector_ip_ops FOR TYPE vector USING ivf AS
    OPERATOR 1 <#> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 ivf_vector_inner_product();
COMMENT ON OPERATOR CLASS vector_ip_ops USING ivf IS 'negative inner product, <#>';

CREATE FUNCTION ivf_vector_cosine() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'vector cosine' $$;
COMMENT ON FUNCTION ivf_vector_cosine() IS 'internal: names the type and the metric of vector_cosine_ops';
CREATE OPERATOR CLASS vector_cosine_ops FOR TYPE vector USING ivfflat AS
    OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 ivf_vector_cosine();
COMMENT ON OPERATOR CLASS vector_cosine_ops USING ivfflat IS 'cosine distance, <=>';
CREATE OPERATOR CLASS vector_cosine_ops FOR TYPE vector USING ivf AS
    OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 ivf_vector_cosine();
COMMENT ON OPERATOR CLASS vector_cosine_ops USING ivf IS 'cosine distance, <=>';

CREATE FUNCTION ivf_halfvec_l2() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'halfvec l2' $$;
COMMENT ON FUNCTION ivf_halfvec_l2() IS 'internal: names the type and the metric of halfvec_l2_ops';
CREATE OPERATOR CLASS halfvec_l2_ops FOR TYPE halfvec USING ivfflat AS
    OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 ivf_halfvec_l2();
COMMENT ON OPERATOR CLASS halfvec_l2_ops USING ivfflat IS 'Euclidean distance, <->';
CREATE OPERATOR CLASS halfvec_l2_ops FOR TYPE halfvec USING ivf AS
    OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 ivf_halfvec_l2();
COMMENT ON OPERATOR CLASS halfvec_l2_ops USING ivf IS 'Euclidean distance, <->';

CREATE FUNCTION ivf_halfvec_inner_product() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'halfvec inner_product' $$;
COMMENT ON FUNCTION ivf_halfvec_inner_product() IS 'internal: names the type and the metric of halfvec_ip_ops';
CREATE OPERATOR CLASS halfvec_ip_ops FOR TYPE halfvec USING ivfflat AS
    OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 ivf_halfvec_inner_product();
COMMENT ON OPERATOR CLASS halfvec_ip_ops USING ivfflat IS 'negative inner product, <#>';
CREATE OPERATOR CLASS halfvec_ip_ops FOR TYPE halfvec USING ivf AS
    OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 ivf_halfvec_inner_product();
COMMENT ON OPERATOR CLASS halfvec_ip_ops USING ivf IS 'negative inner product, <#>';

CREATE FUNCTION ivf_halfvec_cosine() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'halfvec cosine' $$;
COMMENT ON FUNCTION ivf_halfvec_cosine() IS 'internal: names the type and the metric of halfvec_cosine_ops';
CREATE OPERATOR CLASS halfvec_cosine_ops FOR TYPE halfvec USING ivfflat AS
    OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 ivf_halfvec_cosine();
COMMENT ON OPERATOR CLASS halfvec_cosine_ops USING ivfflat IS 'cosine distance, <=>';
CREATE OPERATOR CLASS halfvec_cosine_ops FOR TYPE halfvec USING ivf AS
    OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 ivf_halfvec_cosine();
COMMENT ON OPERATOR CLASS halfvec_cosine_ops USING ivf IS 'cosine distance, <=>';

CREATE FUNCTION ivf_bit_hamming() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'bit hamming' $$;
COMMENT ON FUNCTION ivf_bit_hamming() IS 'internal: names the type and the metric of bit_hamming_ops';
CREATE OPERATOR CLASS bit_hamming_ops FOR TYPE bit USING ivfflat AS
    OPERATOR 1 <~> (bit, bit) FOR ORDER BY float_ops,
    FUNCTION 1 ivf_bit_hamming();
COMMENT ON OPERATOR CLASS bit_hamming_ops USING ivfflat IS 'Hamming distance, <~>';
CREATE OPERATOR CLASS bit_hamming_ops FOR TYPE bit USING ivf AS
    OPERATOR 1 <~> (bit, bit) FOR ORDER BY float_ops,
    FUNCTION 1 ivf_bit_hamming();
COMMENT ON OPERATOR CLASS bit_hamming_ops USING ivf IS 'Hamming distance, <~>';
