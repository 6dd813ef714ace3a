-- The access method bm25: keyword ranking. A query names the index whose documents count; where the right side of <@> is a
-- plain text, the planner looks the index up by what stands on the left.

CREATE FUNCTION bm25_handler(internal) RETURNS index_am_handler
    LANGUAGE c AS 'MODULE_PATHNAME', 'bm25_handler_wrapper';
COMMENT ON FUNCTION bm25_handler(internal) IS 'internal: the functions of the access method bm25';

CREATE ACCESS METHOD bm25 TYPE INDEX HANDLER bm25_handler;
COMMENT ON ACCESS METHOD bm25 IS 'keyword ranking by BM25: ORDER BY column <@> ''words'' LIMIT n';

CREATE TYPE bm25query AS (query text, index regclass);
COMMENT ON TYPE bm25query IS 'words to look for, and the bm25 index whose documents tell how much each word weighs';

CREATE FUNCTION to_bm25query(query text, index regclass) RETURNS bm25query
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'bm25_to_query';
COMMENT ON FUNCTION to_bm25query(text, regclass) IS 'a query for <@> that names its bm25 index';

-- Parsing a document takes about as long as thousands of comparisons.
CREATE FUNCTION bm25_distance(document text, query bm25query) RETURNS double precision
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 2000 AS 'MODULE_PATHNAME', 'bm25_distance_text';
COMMENT ON FUNCTION bm25_distance(text, bm25query) IS
    'negative BM25 score of a document among those of an index; 0 without a word of the query';
CREATE FUNCTION bm25_distance(document tsvector, query bm25query) RETURNS double precision
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 200 AS 'MODULE_PATHNAME', 'bm25_distance_tsvector';
COMMENT ON FUNCTION bm25_distance(tsvector, bm25query) IS
    'negative BM25 score of a document among those of an index; 0 without a word of the query';
CREATE FUNCTION bm25_distance(document text[], query bm25query) RETURNS double precision
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 2000 AS 'MODULE_PATHNAME', 'bm25_distance_array';
COMMENT ON FUNCTION bm25_distance(text[], bm25query) IS
    'negative BM25 score of a document in several parts among those of an index; 0 without a word of the query';

CREATE FUNCTION bm25_distance_support(internal) RETURNS internal
    LANGUAGE c AS 'MODULE_PATHNAME', 'bm25_distance_support';
COMMENT ON FUNCTION bm25_distance_support(internal) IS
    'internal: looks up the index of a query that names none';

CREATE FUNCTION bm25_distance(document text, query text) RETURNS double precision
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 2000 SUPPORT bm25_distance_support
    AS 'MODULE_PATHNAME', 'bm25_distance_unnamed';
COMMENT ON FUNCTION bm25_distance(text, text) IS
    'negative BM25 score of a column''s document, for the bm25 index on that column';
CREATE FUNCTION bm25_distance(document tsvector, query text) RETURNS double precision
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 200 SUPPORT bm25_distance_support
    AS 'MODULE_PATHNAME', 'bm25_distance_unnamed';
COMMENT ON FUNCTION bm25_distance(tsvector, text) IS
    'negative BM25 score of a column''s document, for the bm25 index on that column';
CREATE FUNCTION bm25_distance(document text[], query text) RETURNS double precision
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 2000 SUPPORT bm25_distance_support
    AS 'MODULE_PATHNAME', 'bm25_distance_unnamed';
COMMENT ON FUNCTION bm25_distance(text[], text) IS
    'negative BM25 score of a document in several parts, for the bm25 index on that array';

CREATE OPERATOR <@> (LEFTARG = text, RIGHTARG = bm25query, FUNCTION = bm25_distance);
COMMENT ON OPERATOR <@> (text, bm25query) IS 'negative BM25 score: the best document first';
CREATE OPERATOR <@> (LEFTARG = tsvector, RIGHTARG = bm25query, FUNCTION = bm25_distance);
COMMENT ON OPERATOR <@> (tsvector, bm25query) IS 'negative BM25 score: the best document first';
CREATE OPERATOR <@> (LEFTARG = text[], RIGHTARG = bm25query, FUNCTION = bm25_distance);
COMMENT ON OPERATOR <@> (text[], bm25query) IS 'negative BM25 score: the best document first';
CREATE OPERATOR <@> (LEFTARG = text, RIGHTARG = text, FUNCTION = bm25_distance);
COMMENT ON OPERATOR <@> (text, text) IS 'negative BM25 score by the index on the column: the best document first';
CREATE OPERATOR <@> (LEFTARG = tsvector, RIGHTARG = text, FUNCTION = bm25_distance);
COMMENT ON OPERATOR <@> (tsvector, text) IS 'negative BM25 score by the index on the column: the best document first';
CREATE OPERATOR <@> (LEFTARG = text[], RIGHTARG = text, FUNCTION = bm25_distance);
COMMENT ON OPERATOR <@> (text[], text) IS 'negative BM25 score by the index on the array: the best document first';

CREATE OPERATOR CLASS text_bm25_ops DEFAULT FOR TYPE text USING bm25 AS
    OPERATOR 1 <@> (text, bm25query) FOR ORDER BY float_ops;
COMMENT ON OPERATOR CLASS text_bm25_ops USING bm25 IS 'documents of one text, parsed by text_config';
CREATE OPERATOR CLASS tsvector_bm25_ops DEFAULT FOR TYPE tsvector USING bm25 AS
    OPERATOR 1 <@> (tsvector, bm25query) FOR ORDER BY float_ops;
COMMENT ON OPERATOR CLASS tsvector_bm25_ops USING bm25 IS 'documents that were parsed before';
CREATE OPERATOR CLASS text_array_bm25_ops DEFAULT FOR TYPE text[] USING bm25 AS
    OPERATOR 1 <@> (text[], bm25query) FOR ORDER BY float_ops;
COMMENT ON OPERATOR CLASS text_array_bm25_ops USING bm25 IS 'documents of several texts, each with a weight';

CREATE FUNCTION lean.bm25_score(index regclass, document text, query text) RETURNS double precision
    LANGUAGE sql STABLE PARALLEL SAFE COST 2000
    RETURN - (document OPERATOR(@extschema@.<@>) @extschema@.to_bm25query(query, index));
COMMENT ON FUNCTION lean.bm25_score(regclass, text, text) IS
    'BM25 score of any text as a document among those of an index; 0 without a word of the query';
