-- Fusion of ranked lists. lean.rrf and lean.rrf_accum are in Rust; everything here is SQL over them.

COMMENT ON SCHEMA lean IS 'leanstack: everything that is not a vector type or an index';

COMMENT ON FUNCTION lean.rrf(bigint, double precision, double precision) IS
    'reciprocal rank fusion score of one rank, weight / (k + rank); 0 for a null rank';
COMMENT ON FUNCTION lean.rrf_accum(double precision, bigint, double precision, double precision) IS
    'internal: transition function of lean.rrf_sum';

-- The aggregate cannot share the name of the score: PostgreSQL takes no function and aggregate with
-- the same arguments. Aggregates take no default values either, hence three of them.
CREATE AGGREGATE lean.rrf_sum(rank bigint, k double precision, weight double precision) (
    SFUNC = lean.rrf_accum, STYPE = double precision, INITCOND = '0',
    COMBINEFUNC = pg_catalog.float8pl, PARALLEL = SAFE
);
COMMENT ON AGGREGATE lean.rrf_sum(bigint, double precision, double precision) IS
    'sum of reciprocal rank fusion scores over ranked branches, each with its k and weight';

CREATE FUNCTION lean.rrf_accum(state double precision, rank bigint, k double precision)
    RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lean.rrf_accum(state, rank, k, 1.0);
COMMENT ON FUNCTION lean.rrf_accum(double precision, bigint, double precision) IS
    'internal: transition function of lean.rrf_sum';
CREATE AGGREGATE lean.rrf_sum(rank bigint, k double precision) (
    SFUNC = lean.rrf_accum, STYPE = double precision, INITCOND = '0',
    COMBINEFUNC = pg_catalog.float8pl, PARALLEL = SAFE
);
COMMENT ON AGGREGATE lean.rrf_sum(bigint, double precision) IS
    'sum of reciprocal rank fusion scores over ranked branches of weight 1';

CREATE FUNCTION lean.rrf_accum(state double precision, rank bigint)
    RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lean.rrf_accum(state, rank, 60.0, 1.0);
COMMENT ON FUNCTION lean.rrf_accum(double precision, bigint) IS
    'internal: transition function of lean.rrf_sum';
CREATE AGGREGATE lean.rrf_sum(rank bigint) (
    SFUNC = lean.rrf_accum, STYPE = double precision, INITCOND = '0',
    COMBINEFUNC = pg_catalog.float8pl, PARALLEL = SAFE
);
COMMENT ON AGGREGATE lean.rrf_sum(bigint) IS
    'sum of reciprocal rank fusion scores over ranked branches of weight 1 with k 60';

-- Arrays of arrays are rectangular, lists from a search are not: the aggregate stacks them, filled up
-- with nulls. An empty list is a row of nulls, so that every list keeps its number.
CREATE FUNCTION lean.rrf_stack(lists anyarray, list anyarray)
    RETURNS anyarray LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    width int := greatest(array_length(lists, 2), cardinality(list), 1);
    padded lists%TYPE;
    stacked lists%TYPE := '{}';
BEGIN
    IF array_ndims(list) > 1 THEN
        RAISE EXCEPTION 'a ranked list has % dimensions', array_ndims(list)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Each list is an array of one dimension.';
    END IF;
    FOR i IN 1 .. coalesce(array_length(lists, 1), 0) LOOP
        SELECT array_agg(lists[i][place] ORDER BY place) INTO padded FROM generate_series(1, width) AS place;
        stacked := stacked || ARRAY[padded];
    END LOOP;
    SELECT array_agg(list[array_lower(list, 1) + place - 1] ORDER BY place) INTO padded
        FROM generate_series(1, width) AS place;
    RETURN stacked || ARRAY[padded];
END
$$;
COMMENT ON FUNCTION lean.rrf_stack(anyarray, anyarray) IS 'internal: transition function of lean.rrf_lists';
CREATE AGGREGATE lean.rrf_lists(list anyarray) (SFUNC = lean.rrf_stack, STYPE = anyarray, INITCOND = '{}');
COMMENT ON AGGREGATE lean.rrf_lists(anyarray) IS
    'stacks ranked arrays of different lengths for lean.rrf_fuse, filled up with nulls';

CREATE FUNCTION lean.rrf_fuse(lists anyarray, k double precision DEFAULT 60, weights double precision[] DEFAULT NULL)
    RETURNS TABLE (id anyelement, score double precision, rank int)
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list_count int := CASE array_ndims(lists) WHEN 2 THEN array_length(lists, 1) ELSE 1 END;
    list_length int := cardinality(lists) / list_count;
    list_weight double precision;
BEGIN
    IF array_ndims(lists) > 2 THEN
        RAISE EXCEPTION 'lists has % dimensions', array_ndims(lists)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Give one ranked array per row, short ones filled up with nulls, or use lean.rrf_lists.';
    END IF;
    IF coalesce(array_ndims(weights), 1) > 1 OR cardinality(weights) <> list_count THEN
        RAISE EXCEPTION 'got % weights for % lists', cardinality(weights), list_count
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give one weight per list, or none.';
    END IF;
    -- k and the weights are checked even where no list has an element.
    PERFORM lean.rrf(1, k);
    FOREACH list_weight IN ARRAY coalesce(weights, '{}') LOOP
        PERFORM lean.rrf(1, k, list_weight);
    END LOOP;

    RETURN QUERY
    WITH places AS (
        -- Elements come row by row, so the ordinal number orders lists first, then places.
        SELECT u.item, u.place, (u.place - 1) / list_length + 1 AS list, (u.place - 1) % list_length + 1 AS list_rank
        FROM unnest(lists) WITH ORDINALITY AS u (item, place)
        WHERE u.item IS NOT NULL
    ), firsts AS (
        SELECT p.item, p.list, min(p.place) AS place, min(p.list_rank) AS list_rank
        FROM places AS p GROUP BY p.item, p.list
    ), scored AS (
        SELECT f.item, f.place,
            lean.rrf(f.list_rank, k, CASE WHEN weights IS NULL THEN 1.0
                                          ELSE weights[array_lower(weights, 1) + f.list::int - 1] END) AS part
        FROM firsts AS f
    ), fused AS (
        -- Summed from the smallest, so that the same places in another order are a true tie.
        SELECT s.item, sum(s.part ORDER BY s.part) AS total, min(s.place) AS place
        FROM scored AS s GROUP BY s.item
    )
    SELECT f.item, f.total, (row_number() OVER (ORDER BY f.total DESC, f.place))::int
    FROM fused AS f ORDER BY 3;
END
$$;
COMMENT ON FUNCTION lean.rrf_fuse(anyarray, double precision, double precision[]) IS
    'joins ranked arrays, one per row of lists, by reciprocal rank fusion; best first';

-- Scores of different branches on one scale. Where the branch ends is 0 in either, as for a document that it did not
-- find: what came last is hardly better than what came not at all.
CREATE FUNCTION lean.minmax(score double precision, lowest double precision, highest double precision, weight double precision DEFAULT 1)
    RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN score IS NULL THEN 0
                WHEN highest > lowest THEN weight * ((score - lowest) / (highest - lowest))
                ELSE weight END;
COMMENT ON FUNCTION lean.minmax(double precision, double precision, double precision, double precision) IS
    'a score moved to 0 for the lowest of its branch and 1 for the highest, times weight; 0 for a null score';

CREATE FUNCTION lean.zscore(score double precision, origin double precision, deviation double precision, weight double precision DEFAULT 1)
    RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN score IS NULL THEN 0
                WHEN deviation > 0 THEN weight * ((score - origin) / deviation)
                ELSE weight END;
COMMENT ON FUNCTION lean.zscore(double precision, double precision, double precision, double precision) IS
    'how many standard deviations of its branch a score lies above the origin, times weight; 0 for a null score';

CREATE FUNCTION lean.minmax_accum(state double precision, score double precision, lowest double precision, highest double precision, weight double precision)
    RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN state + lean.minmax(score, lowest, highest, weight);
COMMENT ON FUNCTION lean.minmax_accum(double precision, double precision, double precision, double precision, double precision) IS
    'internal: transition function of lean.minmax_sum';
CREATE AGGREGATE lean.minmax_sum(
    score double precision, lowest double precision, highest double precision, weight double precision
) (
    SFUNC = lean.minmax_accum, STYPE = double precision, INITCOND = '0',
    COMBINEFUNC = pg_catalog.float8pl, PARALLEL = SAFE
);
COMMENT ON AGGREGATE lean.minmax_sum(double precision, double precision, double precision, double precision) IS
    'sum of scores over branches, each from 0 to 1 by the lowest and the highest of its branch, times its weight';

CREATE FUNCTION lean.minmax_accum(state double precision, score double precision, lowest double precision, highest double precision)
    RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN state + lean.minmax(score, lowest, highest, 1);
COMMENT ON FUNCTION lean.minmax_accum(double precision, double precision, double precision, double precision) IS
    'internal: transition function of lean.minmax_sum';
CREATE AGGREGATE lean.minmax_sum(score double precision, lowest double precision, highest double precision) (
    SFUNC = lean.minmax_accum, STYPE = double precision, INITCOND = '0',
    COMBINEFUNC = pg_catalog.float8pl, PARALLEL = SAFE
);
COMMENT ON AGGREGATE lean.minmax_sum(double precision, double precision, double precision) IS
    'sum of scores over branches of weight 1, each from 0 to 1 by the lowest and the highest of its branch';

CREATE FUNCTION lean.zscore_accum(state double precision, score double precision, origin double precision, deviation double precision, weight double precision)
    RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN state + lean.zscore(score, origin, deviation, weight);
COMMENT ON FUNCTION lean.zscore_accum(double precision, double precision, double precision, double precision, double precision) IS
    'internal: transition function of lean.zscore_sum';
CREATE AGGREGATE lean.zscore_sum(
    score double precision, origin double precision, deviation double precision, weight double precision
) (
    SFUNC = lean.zscore_accum, STYPE = double precision, INITCOND = '0',
    COMBINEFUNC = pg_catalog.float8pl, PARALLEL = SAFE
);
COMMENT ON AGGREGATE lean.zscore_sum(double precision, double precision, double precision, double precision) IS
    'sum of scores over branches, each in standard deviations of its branch above an origin, times its weight';

CREATE FUNCTION lean.zscore_accum(state double precision, score double precision, origin double precision, deviation double precision)
    RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN state + lean.zscore(score, origin, deviation, 1);
COMMENT ON FUNCTION lean.zscore_accum(double precision, double precision, double precision, double precision) IS
    'internal: transition function of lean.zscore_sum';
CREATE AGGREGATE lean.zscore_sum(score double precision, origin double precision, deviation double precision) (
    SFUNC = lean.zscore_accum, STYPE = double precision, INITCOND = '0',
    COMBINEFUNC = pg_catalog.float8pl, PARALLEL = SAFE
);
COMMENT ON AGGREGATE lean.zscore_sum(double precision, double precision, double precision) IS
    'sum of scores over branches of weight 1, each in standard deviations of its branch above an origin';
