-- The access method hnsw, its operator classes, and the functions that look at an index.

CREATE FUNCTION hnsw_handler(internal) RETURNS index_am_handler
    LANGUAGE c AS 'MODULE_PATHNAME', 'hnsw_handler_wrapper';
COMMENT ON FUNCTION hnsw_handler(internal) IS 'internal: the functions of the access method hnsw';

CREATE ACCESS METHOD hnsw TYPE INDEX HANDLER hnsw_handler;
COMMENT ON ACCESS METHOD hnsw IS
    'graph index for nearest-neighbour search: ORDER BY column <-> vector LIMIT n';

-- Support function 1 of an operator class says what its column holds and what its distances mean.

CREATE FUNCTION hnsw_vector_l2() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'vector l2' $$;
COMMENT ON FUNCTION hnsw_vector_l2() IS 'internal: names the type and the metric of vector_l2_ops';
CREATE OPERATOR CLASS vector_l2_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_vector_l2();
COMMENT ON OPERATOR CLASS vector_l2_ops USING hnsw IS 'Euclidean distance, <->';

CREATE FUNCTION hnsw_vector_inner_product() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'vector inner_product' $$;
COMMENT ON FUNCTION hnsw_vector_inner_product() IS 'internal: names the type and the metric of vector_ip_ops';
CREATE OPERATOR CLASS vector_ip_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <#> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_vector_inner_product();
COMMENT ON OPERATOR CLASS vector_ip_ops USING hnsw IS 'negative inner product, <#>';

CREATE FUNCTION hnsw_vector_cosine() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'vector cosine' $$;
COMMENT ON FUNCTION hnsw_vector_cosine() IS 'internal: names the type and the metric of vector_cosine_ops';
CREATE OPERATOR CLASS vector_cosine_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_vector_cosine();
COMMENT ON OPERATOR CLASS vector_cosine_ops USING hnsw IS 'cosine distance, <=>';

CREATE FUNCTION hnsw_vector_l1() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'vector l1' $$;
COMMENT ON FUNCTION hnsw_vector_l1() IS 'internal: names the type and the metric of vector_l1_ops';
CREATE OPERATOR CLASS vector_l1_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <+> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_vector_l1();
COMMENT ON OPERATOR CLASS vector_l1_ops USING hnsw IS 'taxicab distance, <+>';

CREATE FUNCTION hnsw_halfvec_l2() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'halfvec l2' $$;
COMMENT ON FUNCTION hnsw_halfvec_l2() IS 'internal: names the type and the metric of halfvec_l2_ops';
CREATE OPERATOR CLASS halfvec_l2_ops FOR TYPE halfvec USING hnsw AS
    OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_halfvec_l2();
COMMENT ON OPERATOR CLASS halfvec_l2_ops USING hnsw IS 'Euclidean distance, <->';

CREATE FUNCTION hnsw_halfvec_inner_product() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'halfvec inner_product' $$;
COMMENT ON FUNCTION hnsw_halfvec_inner_product() IS 'internal: names the type and the metric of halfvec_ip_ops';
CREATE OPERATOR CLASS halfvec_ip_ops FOR TYPE halfvec USING hnsw AS
    OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_halfvec_inner_product();
COMMENT ON OPERATOR CLASS halfvec_ip_ops USING hnsw IS 'negative inner product, <#>';

CREATE FUNCTION hnsw_halfvec_cosine() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'halfvec cosine' $$;
COMMENT ON FUNCTION hnsw_halfvec_cosine() IS 'internal: names the type and the metric of halfvec_cosine_ops';
CREATE OPERATOR CLASS halfvec_cosine_ops FOR TYPE halfvec USING hnsw AS
    OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_halfvec_cosine();
COMMENT ON OPERATOR CLASS halfvec_cosine_ops USING hnsw IS 'cosine distance, <=>';

CREATE FUNCTION hnsw_halfvec_l1() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'halfvec l1' $$;
COMMENT ON FUNCTION hnsw_halfvec_l1() IS 'internal: names the type and the metric of halfvec_l1_ops';
CREATE OPERATOR CLASS halfvec_l1_ops FOR TYPE halfvec USING hnsw AS
    OPERATOR 1 <+> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_halfvec_l1();
COMMENT ON OPERATOR CLASS halfvec_l1_ops USING hnsw IS 'taxicab distance, <+>';

CREATE FUNCTION hnsw_sparsevec_l2() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'sparsevec l2' $$;
COMMENT ON FUNCTION hnsw_sparsevec_l2() IS 'internal: names the type and the metric of sparsevec_l2_ops';
CREATE OPERATOR CLASS sparsevec_l2_ops FOR TYPE sparsevec USING hnsw AS
    OPERATOR 1 <-> (sparsevec, sparsevec) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_sparsevec_l2();
COMMENT ON OPERATOR CLASS sparsevec_l2_ops USING hnsw IS 'Euclidean distance, <->';

CREATE FUNCTION hnsw_sparsevec_inner_product() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'sparsevec inner_product' $$;
COMMENT ON FUNCTION hnsw_sparsevec_inner_product() IS 'internal: names the type and the metric of sparsevec_ip_ops';
CREATE OPERATOR CLASS sparsevec_ip_ops FOR TYPE sparsevec USING hnsw AS
    OPERATOR 1 <#> (sparsevec, sparsevec) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_sparsevec_inner_product();
COMMENT ON OPERATOR CLASS sparsevec_ip_ops USING hnsw IS 'negative inner product, <#>';

CREATE FUNCTION hnsw_sparsevec_cosine() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'sparsevec cosine' $$;
COMMENT ON FUNCTION hnsw_sparsevec_cosine() IS 'internal: names the type and the metric of sparsevec_cosine_ops';
CREATE OPERATOR CLASS sparsevec_cosine_ops FOR TYPE sparsevec USING hnsw AS
    OPERATOR 1 <=> (sparsevec, sparsevec) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_sparsevec_cosine();
COMMENT ON OPERATOR CLASS sparsevec_cosine_ops USING hnsw IS 'cosine distance, <=>';

CREATE FUNCTION hnsw_sparsevec_l1() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'sparsevec l1' $$;
COMMENT ON FUNCTION hnsw_sparsevec_l1() IS 'internal: names the type and the metric of sparsevec_l1_ops';
CREATE OPERATOR CLASS sparsevec_l1_ops FOR TYPE sparsevec USING hnsw AS
    OPERATOR 1 <+> (sparsevec, sparsevec) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_sparsevec_l1();
COMMENT ON OPERATOR CLASS sparsevec_l1_ops USING hnsw IS 'taxicab distance, <+>';

CREATE FUNCTION hnsw_bit_hamming() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'bit hamming' $$;
COMMENT ON FUNCTION hnsw_bit_hamming() IS 'internal: names the type and the metric of bit_hamming_ops';
CREATE OPERATOR CLASS bit_hamming_ops FOR TYPE bit USING hnsw AS
    OPERATOR 1 <~> (bit, bit) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_bit_hamming();
COMMENT ON OPERATOR CLASS bit_hamming_ops USING hnsw IS 'Hamming distance, <~>';

CREATE FUNCTION hnsw_bit_jaccard() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'bit jaccard' $$;
COMMENT ON FUNCTION hnsw_bit_jaccard() IS 'internal: names the type and the metric of bit_jaccard_ops';
CREATE OPERATOR CLASS bit_jaccard_ops FOR TYPE bit USING hnsw AS
    OPERATOR 1 <%> (bit, bit) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_bit_jaccard();
COMMENT ON OPERATOR CLASS bit_jaccard_ops USING hnsw IS 'Jaccard distance, <%>';

COMMENT ON FUNCTION lean.index_check(regclass) IS
    'verifies an hnsw, ivf, ivfflat or bm25 index against itself and its table; each check is a row, ok when nothing is wrong';

COMMENT ON FUNCTION lean.index_info(regclass) IS
    'describes an hnsw, ivf, ivfflat or bm25 index: what it holds, how large it is, and whether building it again is advised';

CREATE FUNCTION lean.last_scan()
    RETURNS TABLE (
        index regclass, access_method text, searches bigint, probes integer, ef_search integer, pages bigint,
        lists bigint, nodes bigint, codes bigint, whole_codes bigint, rows bigint, exact_distances bigint, grew boolean)
    LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 1 AS 'MODULE_PATHNAME', 'last_scan_wrapper';
COMMENT ON FUNCTION lean.last_scan() IS
    'what the last scan of an hnsw, ivf, ivfflat or bm25 index in this session did: pages and lists or nodes read, codes compared or documents scored, rows given';
