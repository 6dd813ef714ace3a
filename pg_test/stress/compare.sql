-- What each index finds when asked for everything is what the table holds: nothing lost, nothing twice.
SET hnsw.iterative_scan = relaxed_order;
SET hnsw.max_scan_tuples = 2147483647;
SET hnsw.scan_mem_multiplier = 1000;
SET ivf.iterative_scan = relaxed_order;
SET ivfflat.probes = 32768;
SET max_parallel_workers_per_gather = 0;

DO $$
DECLARE
    index_query text;
    line text;
    index_name text;
    expression text;
    plan text;
    lost bigint;
    extra bigint;
BEGIN
    FOR index_name, expression, index_query IN VALUES
        ('items_hnsw_plain', 'v', 'v <-> array_fill(0.5::real, ARRAY[40])::vector'),
        ('items_hnsw_half', 'nullif(vector_norm(v), 0)',
         'v::halfvec(40) <=> array_fill(0.5::real, ARRAY[40])::halfvec(40)'),
        ('items_ivf_rabitq', 'v', 'v <#> array_fill(0.5::real, ARRAY[40])::vector'),
        ('items_ivf_pq', 'nullif(vector_norm(v), 0)', 'v <=> array_fill(0.5::real, ARRAY[40])::vector'),
        ('items_ivf_sq8', 'v', 'l2_normalize(v)::vector(40) <-> array_fill(0.5::real, ARRAY[40])::vector'),
        ('items_bm25', 'nullif(words, '''')', 'words <@> ''every'''),
        ('items_ivfflat', 'v', 'v::halfvec(40) <-> array_fill(0.5::real, ARRAY[40])::halfvec(40)')
    LOOP
        SET LOCAL enable_seqscan = off;
        SET LOCAL enable_sort = off;
        index_query := format('SELECT id FROM items ORDER BY %s LIMIT 1000000000', index_query);
        plan := '';
        FOR line IN EXECUTE 'EXPLAIN ' || index_query LOOP
            plan := plan || line || E'\n';
        END LOOP;
        IF plan NOT LIKE '%Index Scan using ' || index_name || '%' THEN
            RAISE EXCEPTION '% is not used: %', index_name, plan;
        END IF;
        EXECUTE format('WITH found AS MATERIALIZED (%s), held AS (SELECT id FROM items WHERE %s IS NOT NULL)
            SELECT (SELECT count(*) FROM (TABLE held EXCEPT ALL TABLE found) AS l),
                   (SELECT count(*) FROM (TABLE found EXCEPT ALL TABLE held) AS e)', index_query, expression)
            INTO lost, extra;
        IF lost > 0 OR extra > 0 THEN
            RAISE EXCEPTION '%: % rows are lost, % are too many', index_name, lost, extra;
        END IF;
    END LOOP;
END
$$;
