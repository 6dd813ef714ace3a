-- Keyword and vector search in one call. The statement is written by lean.hybrid_search_sql from the catalogs and run by
-- lean.hybrid_run with the settings that it needs; everything in it is qualified, as a filter brings the caller's search path.

-- Filters given as JSON

-- A JSON value as a literal of a column's type, written by the type's own output.
CREATE FUNCTION lean.filter_literal(value jsonb, type oid) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN format('%L::%s',
        CASE WHEN type IN ('json'::regtype, 'jsonb'::regtype) THEN value::text
             WHEN jsonb_typeof(value) = 'array' THEN (SELECT array_agg(e ORDER BY n)::text FROM jsonb_array_elements_text(value) WITH ORDINALITY AS x (e, n))
             ELSE value #>> '{}' END,
        format_type(type, -1));
COMMENT ON FUNCTION lean.filter_literal(jsonb, oid) IS 'internal: a value of a filter as SQL';

CREATE FUNCTION lean.column_condition(name text, type oid, operator text, value jsonb) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted text := CASE WHEN operator IN ('$in', '$nin', '$between') THEN 'array' WHEN operator = '$exists' THEN 'boolean'
                        WHEN operator IN ('$like', '$ilike') THEN 'string' END;
    -- NULL among them equals nothing.
    elements text;
BEGIN
    IF jsonb_typeof(value) <> wanted OR operator = '$between' AND jsonb_array_length(value) <> 2 THEN
        RAISE EXCEPTION 'filter: % of column "%" got %', operator, name, value
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = CASE wanted WHEN 'array' THEN 'It wants a JSON array' || CASE operator WHEN '$between' THEN ' of two values.' ELSE '.' END
                                     WHEN 'boolean' THEN 'It wants true or false.' ELSE 'It wants a string.' END;
    ELSIF value = 'null' THEN
        RETURN CASE operator WHEN '$eq' THEN format('%I IS NULL', name) WHEN '$ne' THEN format('%I IS NOT NULL', name) ELSE 'false' END;
    END IF;
    IF operator IN ('$in', '$nin') THEN
        SELECT coalesce(string_agg(lean.filter_literal(e, type), ', '), '') INTO elements FROM jsonb_array_elements(value) AS e WHERE e <> 'null';
        elements := format('%I = ANY (ARRAY[%s]::%s[])', name, elements, format_type(type, -1));
    END IF;
    RETURN CASE operator
        WHEN '$eq' THEN format('%I = %s', name, lean.filter_literal(value, type))
        WHEN '$ne' THEN format('%I IS DISTINCT FROM %s', name, lean.filter_literal(value, type))
        WHEN '$lt' THEN format('%I < %s', name, lean.filter_literal(value, type))
        WHEN '$lte' THEN format('%I <= %s', name, lean.filter_literal(value, type))
        WHEN '$gt' THEN format('%I > %s', name, lean.filter_literal(value, type))
        WHEN '$gte' THEN format('%I >= %s', name, lean.filter_literal(value, type))
        WHEN '$in' THEN elements
        WHEN '$nin' THEN format('(%s) IS NOT TRUE', elements)
        WHEN '$between' THEN format('%I BETWEEN %s AND %s', name, lean.filter_literal(value -> 0, type), lean.filter_literal(value -> 1, type))
        WHEN '$contains' THEN format('%I @> %s', name, lean.filter_literal(
            CASE WHEN type IN ('json'::regtype, 'jsonb'::regtype) OR jsonb_typeof(value) = 'array' THEN value ELSE jsonb_build_array(value) END, type))
        WHEN '$exists' THEN format('%I IS %sNULL', name, CASE WHEN value::boolean THEN 'NOT ' ELSE '' END)
        WHEN '$like' THEN format('%I LIKE %L', name, value #>> '{}')
        WHEN '$ilike' THEN format('%I ILIKE %L', name, value #>> '{}')
    END;
END
$$;
COMMENT ON FUNCTION lean.column_condition(text, oid, text, jsonb) IS
    'internal: one operator of a filter on one column as SQL; null for an operator that there is not';

CREATE FUNCTION lean.filter_condition(relation regclass, filter jsonb) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    conditions text[] := '{}';
    member record;
    part record;
    type oid;
    condition text;
BEGIN
    IF jsonb_typeof(filter) <> 'object' THEN
        RAISE EXCEPTION 'filter is not a JSON object: %', filter
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For example {"lang": "en", "year": {"$gte": 2020}}; filter_sql takes SQL.';
    END IF;
    FOR member IN SELECT key, value FROM jsonb_each(filter) LOOP
        IF member.key IN ('$and', '$or') THEN
            IF jsonb_typeof(member.value) <> 'array' THEN
                RAISE EXCEPTION 'filter: % got %', member.key, member.value
                    USING ERRCODE = 'invalid_parameter_value', HINT = 'It wants a JSON array of filters.';
            END IF;
            SELECT coalesce('(' || string_agg(lean.filter_condition(relation, e), CASE member.key WHEN '$and' THEN ' AND ' ELSE ' OR ' END) || ')',
                            CASE member.key WHEN '$and' THEN 'true' ELSE 'false' END)
            INTO condition FROM jsonb_array_elements(member.value) AS e;
            conditions := conditions || condition;
            CONTINUE;
        ELSIF member.key = '$not' THEN
            conditions := conditions || format('(%s) IS NOT TRUE', lean.filter_condition(relation, member.value));
            CONTINUE;
        END IF;
        SELECT CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END INTO type FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
            WHERE a.attrelid = relation AND a.attname = member.key AND NOT a.attisdropped;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'filter: % has no column "%"', relation, member.key
                USING ERRCODE = 'undefined_column', HINT = '$and, $or and $not join filters; filter_sql takes SQL.';
        END IF;
        IF jsonb_typeof(member.value) = 'object' AND (type NOT IN ('json'::regtype, 'jsonb'::regtype)
            OR (SELECT bool_and(k LIKE '$%') FROM jsonb_object_keys(member.value) AS k)) THEN
            FOR part IN SELECT key, value FROM jsonb_each(member.value) LOOP
                condition := lean.column_condition(member.key, type, part.key, part.value);
                IF condition IS NULL THEN
                    RAISE EXCEPTION 'filter: "%" of column "%" is no operator', part.key, member.key
                        USING ERRCODE = 'invalid_parameter_value',
                              HINT = 'There are $eq, $ne, $lt, $lte, $gt, $gte, $in, $nin, $between, $contains, $exists, $like and $ilike.';
                END IF;
                conditions := conditions || condition;
            END LOOP;
        ELSE
            conditions := conditions || lean.column_condition(member.key, type, CASE
                WHEN type IN ('json'::regtype, 'jsonb'::regtype) AND member.value <> 'null' THEN '$contains'
                WHEN jsonb_typeof(member.value) = 'array' AND NOT EXISTS (SELECT FROM pg_type AS t WHERE t.oid = type AND t.typelem <> 0 AND t.typlen = -1) THEN '$in'
                ELSE '$eq' END, member.value);
        END IF;
    END LOOP;
    RETURN CASE conditions WHEN '{}' THEN 'true' ELSE '(' || array_to_string(conditions, ') AND (') || ')' END;
END
$$;
COMMENT ON FUNCTION lean.filter_condition(regclass, jsonb) IS 'internal: a filter given as JSON as a condition on a relation, in SQL';

-- What can be searched

-- The indexes of a relation that answer a branch of a hybrid search, "text" or "vector".
CREATE FUNCTION lean.search_indexes(relation regclass, branch text)
    RETURNS TABLE (index regclass, access_method name, expression text, columns name[], type oid, operator text, query_schema name, partial boolean)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    -- Planned once in a session: planning takes longer than the search of a small table.
    RETURN QUERY SELECT i.indexrelid::regclass, m.amname,
        pg_get_indexdef(i.indexrelid, n, false),
        ARRAY(
            SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[n - 1]
            UNION ALL
            -- The columns of an expression are the index's dependencies that its text names.
            SELECT a.attname FROM pg_depend AS d JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE i.indkey[n - 1] = 0 AND d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid > 0
                AND position(quote_ident(a.attname) IN pg_get_indexdef(i.indexrelid, n, false)) > 0
        ),
        o.opcintype, p.operator, p.query_schema, i.indpred IS NOT NULL
    FROM pg_index AS i
    JOIN pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_am AS m ON m.oid = c.relam
    CROSS JOIN generate_series(1, i.indnkeyatts) AS n
    JOIN pg_opclass AS o ON o.oid = i.indclass[n - 1]
    LEFT JOIN LATERAL (
        SELECT format('OPERATOR(%I.%s)', s.nspname, r.oprname) AS operator, q.nspname AS query_schema
        FROM pg_amop AS a JOIN pg_operator AS r ON r.oid = a.amopopr JOIN pg_namespace AS s ON s.oid = r.oprnamespace
        JOIN pg_type AS t ON t.oid = a.amoprighttype JOIN pg_namespace AS q ON q.oid = t.typnamespace
        WHERE a.amopfamily = o.opcfamily AND a.amoplefttype = o.opcintype AND a.amoppurpose = 'o' ORDER BY a.amopstrategy LIMIT 1
    ) AS p ON true
    WHERE i.indrelid = relation AND i.indisvalid
        AND CASE branch WHEN 'vector' THEN m.amname IN ('hnsw', 'ivf', 'ivfflat') AND p.operator IS NOT NULL
            ELSE m.amname = 'bm25' OR m.amname = 'gin' AND o.opcintype = 'tsvector'::regtype END;
END
$$;
COMMENT ON FUNCTION lean.search_indexes(regclass, text) IS 'internal: the indexes of a relation that keyword or vector search can use';

-- What to create for a branch that has no index. A column that was named is the one, else that of a proper type which
-- holds most, as far as is known.
CREATE FUNCTION lean.missing_index(relation regclass, branch text, chosen text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN coalesce((
        SELECT format(CASE branch WHEN 'text' THEN 'CREATE INDEX ON %s USING bm25 (%I)' ELSE 'CREATE INDEX ON %s USING hnsw (%I %s)' END,
            relation, a.attname, CASE WHEN s.nspname = 'public' THEN '' ELSE quote_ident(s.nspname) || '.' END
                || t.typname || CASE t.typname WHEN 'bit' THEN '_hamming_ops' ELSE '_cosine_ops' END)
        FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid CROSS JOIN pg_extension AS e JOIN pg_namespace AS s ON s.oid = e.extnamespace
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND e.extname = 'leanstack' AND a.attname = coalesce(chosen, a.attname)
            AND CASE branch WHEN 'text' THEN t.oid IN ('text'::regtype, 'varchar'::regtype, 'tsvector'::regtype)
                ELSE t.oid = 'bit'::regtype OR t.typnamespace = e.extnamespace AND t.typname IN ('vector', 'halfvec', 'sparsevec') END
            AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = relation AND i.indisprimary AND a.attnum = ANY (i.indkey))
        ORDER BY (
            SELECT max(w.avg_width) FROM pg_stats AS w JOIN pg_namespace AS n ON n.nspname = w.schemaname JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.tablename
            WHERE c.oid = relation AND w.attname = a.attname
        ) DESC NULLS LAST, a.attnum LIMIT 1
    ), CASE branch WHEN 'text' THEN 'A column of type text or tsvector with an index USING bm25' ELSE 'A column of type vector with an index USING hnsw' END);
COMMENT ON FUNCTION lean.missing_index(regclass, text, text) IS 'internal: what to create so that a branch of a hybrid search can answer';

-- The index that answers a branch: a whole one before a partial one, bm25 before GIN, one of the column alone before one of
-- an expression. Without any, a NOTICE and no row.
CREATE FUNCTION lean.search_index(relation regclass, branch text, chosen text)
    RETURNS TABLE (index regclass, access_method name, expression text, type oid, operator text, query_schema name)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_variable
DECLARE
    candidate record;
    best integer;
    choices text[] := '{}';
BEGIN
    IF chosen IS NOT NULL AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attname = chosen AND a.attnum > 0 AND NOT a.attisdropped)
        AND NOT EXISTS (SELECT FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = relation AND c.relname = chosen) THEN
        RAISE EXCEPTION '%_column: % has no column and no index "%"', branch, relation, chosen USING ERRCODE = 'undefined_column';
    END IF;
    FOR candidate IN
        SELECT s.*, c.relname, 4 * s.partial::int + 2 * (s.access_method = 'gin')::int
            + (chosen IS NOT NULL AND s.columns <> ARRAY[chosen::name] AND c.relname <> chosen)::int AS level
        FROM lean.search_indexes(relation, branch) AS s JOIN pg_class AS c ON c.oid = s.index
        WHERE chosen IS NULL OR chosen = ANY (s.columns) OR chosen = c.relname
        ORDER BY level, c.relname
    LOOP
        IF best IS NULL THEN
            best := candidate.level;
            index := candidate.index;
            access_method := candidate.access_method;
            expression := candidate.expression;
            type := candidate.type;
            operator := candidate.operator;
            query_schema := candidate.query_schema;
            choices := ARRAY[candidate.relname];
        ELSIF candidate.level = best AND (access_method = 'bm25' OR (candidate.expression, candidate.operator) IS DISTINCT FROM (expression, operator)) THEN
            -- Indexes that order the same expression by the same operator are one choice, which the planner makes.
            choices := choices || candidate.relname::text;
        END IF;
    END LOOP;
    IF cardinality(choices) > 1 THEN
        RAISE EXCEPTION '% has several indexes for search by %: %', relation, branch, array_to_string(choices, ', ')
            USING ERRCODE = 'ambiguous_column', HINT = format('%s_column => ''...'' names a column, or one of these.', branch);
    ELSIF best IS NOT NULL THEN
        RETURN NEXT;
    ELSE
        RAISE NOTICE '% is not searched by %: % has no index for it', relation, branch, coalesce('"' || chosen || '"', 'it')
            USING HINT = lean.missing_index(relation, branch, chosen);
    END IF;
END
$$;
COMMENT ON FUNCTION lean.search_index(regclass, text, text) IS 'internal: the index that answers a branch of a hybrid search, and how';

CREATE FUNCTION lean.search_key(relation regclass, chosen text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys text[];
BEGIN
    IF chosen IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attname = chosen AND a.attnum > 0 AND NOT a.attisdropped) THEN
            RAISE EXCEPTION 'id_column: % has no column "%"', relation, chosen USING ERRCODE = 'undefined_column';
        END IF;
        RETURN chosen;
    END IF;
    SELECT array_agg(a.attname ORDER BY a.attnum) INTO keys
    FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0 : i.indnkeyatts - 1])
    WHERE i.indrelid = relation AND i.indisprimary;
    IF keys IS NULL THEN
        RAISE EXCEPTION '% has no primary key', relation
            USING ERRCODE = 'undefined_object', HINT = 'id_column => ''...'' names the column that rows are known by.';
    ELSIF cardinality(keys) > 1 THEN
        RAISE EXCEPTION 'the primary key of % has several columns: %', relation, array_to_string(keys, ', ')
            USING ERRCODE = 'ambiguous_column', HINT = 'id_column => ''...'' names the column that rows are known by.';
    END IF;
    RETURN keys[1];
END
$$;
COMMENT ON FUNCTION lean.search_key(regclass, text) IS 'internal: the column that the rows of a hybrid search are known by';

-- The statement

-- The configuration of a tsvector that a GIN index holds: that of its expression, or of the expression its column is made by.
CREATE FUNCTION lean.tsvector_config(relation regclass, expression text) RETURNS regconfig
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN coalesce(
        substring(expression FROM '''([^'']+)''::regconfig'),
        (SELECT substring(pg_get_expr(d.adbin, d.adrelid) FROM '''([^'']+)''::regconfig')
            FROM pg_attribute AS a JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attrelid = relation AND quote_ident(a.attname) = expression AND a.attgenerated <> ''),
        get_current_ts_config()::text)::regconfig;
COMMENT ON FUNCTION lean.tsvector_config(regclass, text) IS 'internal: the text search configuration of an indexed tsvector';

-- Any of the words of a text, as bm25 takes them; null if there are none but stop words.
CREATE FUNCTION lean.any_word(config regconfig, words text) RETURNS tsquery
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN (
        SELECT string_agg('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''', ' | ')::tsquery
        FROM unnest(to_tsvector(config, words))
    );
COMMENT ON FUNCTION lean.any_word(regconfig, text) IS 'internal: the query that matches any of the words of a text';

CREATE FUNCTION lean.keyword_branch(relation regclass, chosen text, words text, key text, condition text, candidates integer) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    how record;
    distance text;
    query tsquery;
BEGIN
    SELECT * INTO how FROM lean.search_index(relation, 'text', chosen);
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF how.access_method = 'bm25' THEN
        distance := format('(%s) %s %I.to_bm25query(%L, %L)', how.expression, how.operator, how.query_schema, words, how.index);
        RETURN format('      SELECT %I AS id, %s AS distance FROM %s WHERE %s ORDER BY 2 LIMIT %s', key, distance, relation, condition, candidates);
    END IF;
    query := lean.any_word(lean.tsvector_config(relation, how.expression), words);
    IF query IS NULL THEN
        RETURN format('      SELECT %I AS id, 0 AS distance FROM %s WHERE false', key, relation);
    END IF;
    RETURN format(
        '      SELECT %I AS id, -pg_catalog.ts_rank_cd(%s, %L) AS distance FROM %s'
        ' WHERE (%2$s) OPERATOR(pg_catalog.@@) %3$L::pg_catalog.tsquery AND %5$s ORDER BY 2, 1 LIMIT %6$s',
        key, how.expression, query, relation, condition, candidates);
END
$$;
COMMENT ON FUNCTION lean.keyword_branch(regclass, text, text, text, text, integer) IS
    'internal: the best rows of a relation for the words of a text, with negative scores as distances, as SQL';

CREATE FUNCTION lean.vector_branch(relation regclass, chosen text, vector text, key text, condition text, candidates integer) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    how record;
    distance text;
BEGIN
    SELECT * INTO how FROM lean.search_index(relation, 'vector', chosen);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- An array of numbers is a vector in other brackets; a sparse vector has its length after them.
    distance := format('(%s) %s %L::%s', how.expression, how.operator,
        CASE WHEN vector LIKE '{%}' THEN translate(vector, '{}', '[]') ELSE vector END, format_type(how.type, -1));
    RETURN format('      SELECT %I AS id, %s AS distance FROM %s WHERE %s ORDER BY 2 LIMIT %s', key, distance, relation, condition, candidates);
END
$$;
COMMENT ON FUNCTION lean.vector_branch(regclass, text, text, text, text, integer) IS
    'internal: the rows of a relation nearest to a vector, with their distances, as SQL';

CREATE FUNCTION lean.hybrid_search_sql(
    relation regclass, query_text text DEFAULT NULL, query_vector text DEFAULT NULL, k integer DEFAULT 10, method text DEFAULT 'rrf',
    weights double precision[] DEFAULT '{1,1}', rrf_k double precision DEFAULT 60, candidates integer DEFAULT NULL,
    filter jsonb DEFAULT NULL, filter_sql text DEFAULT NULL,
    id_column text DEFAULT NULL, text_column text DEFAULT NULL, vector_column text DEFAULT NULL
) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key text;
    condition text := 'true';
    part text;
    rows_of_branch text;
    branches text[] := '{}';
    text_weight CONSTANT double precision := weights[array_lower(weights, 1)];
    vector_weight CONSTANT double precision := weights[array_lower(weights, 1) + 1];
    wanted CONSTANT integer := coalesce(candidates, least(greatest(100, 2 * k::bigint), 2147483647));
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION 'relation must not be null' USING ERRCODE = 'null_value_not_allowed';
    ELSIF (SELECT relkind NOT IN ('r', 'p', 'm') FROM pg_class WHERE oid = relation) THEN
        RAISE EXCEPTION '% is not a table or materialized view', relation
            USING ERRCODE = 'wrong_object_type', HINT = 'Only these have indexes; join what was found with the view.';
    ELSIF query_text IS NULL AND query_vector IS NULL THEN
        RAISE EXCEPTION 'query_text and query_vector are both null' USING ERRCODE = 'null_value_not_allowed';
    ELSIF k IS NULL OR k < 1 THEN
        RAISE EXCEPTION 'k must be at least 1, not %', k USING ERRCODE = 'invalid_parameter_value';
    ELSIF candidates < 1 THEN
        RAISE EXCEPTION 'candidates must be at least 1, not %', candidates USING ERRCODE = 'invalid_parameter_value';
    ELSIF method IS NULL OR method NOT IN ('rrf', 'relative_score', 'weighted') THEN
        RAISE EXCEPTION 'unknown method "%"', method USING ERRCODE = 'invalid_parameter_value', HINT = 'There are rrf, relative_score and weighted.';
    ELSIF weights IS NULL OR array_ndims(weights) <> 1 OR cardinality(weights) <> 2 THEN
        RAISE EXCEPTION 'weights must be two numbers, not %', weights
            USING ERRCODE = 'invalid_parameter_value', HINT = 'The first is that of keywords, the second that of vectors.';
    END IF;
    -- Weights and rrf_k are checked even where no row is found.
    PERFORM lean.rrf(1, rrf_k, text_weight), lean.rrf(1, rrf_k, vector_weight);
    IF text_weight = 0 AND vector_weight = 0 THEN
        RAISE EXCEPTION 'weights are both 0' USING ERRCODE = 'invalid_parameter_value', HINT = 'A weight of 0 leaves its branch out.';
    END IF;

    key := lean.search_key(relation, id_column);
    IF filter IS NOT NULL THEN
        condition := lean.filter_condition(relation, filter);
    END IF;
    IF filter_sql IS NOT NULL THEN
        -- On a line of its own, so that a comment at its end takes nothing with it.
        condition := format(E'%s AND (%s\n)', condition, filter_sql);
    END IF;

    -- A branch is reduced to the best row of each id; ids break ties, so that ranks are the same each time.
    part := CASE method
        WHEN 'rrf' THEN format('lean.rrf(pg_catalog.row_number() OVER best, %L, %%L)', rrf_k)
        WHEN 'relative_score' THEN 'lean.minmax(score, pg_catalog.min(score) OVER (), pg_catalog.max(score) OVER (), %L)'
        ELSE 'lean.zscore(score, pg_catalog.min(score) OVER (), pg_catalog.stddev_pop(score) OVER (), %L)' END;
    IF query_text IS NOT NULL AND text_weight > 0 THEN
        rows_of_branch := lean.keyword_branch(relation, text_column, query_text, key, condition, wanted);
        branches := branches || CASE WHEN rows_of_branch IS NOT NULL THEN format(
            E'  SELECT id, %s, pg_catalog.row_number() OVER best, score, NULL::pg_catalog.int8, NULL::pg_catalog.float8 FROM (\n'
            '    SELECT id, -pg_catalog.min(distance)::pg_catalog.float8 AS score FROM (\n%s\n'
            '    ) AS found WHERE distance < 0 AND id IS NOT NULL GROUP BY id\n'
            '  ) AS ranked WINDOW best AS (ORDER BY score DESC, id)',
            format(part, text_weight), rows_of_branch) END;
    END IF;
    IF query_vector IS NOT NULL AND vector_weight > 0 THEN
        rows_of_branch := lean.vector_branch(relation, vector_column, query_vector, key, condition, wanted);
        branches := branches || CASE WHEN rows_of_branch IS NOT NULL THEN format(
            E'  SELECT id, %s, NULL::pg_catalog.int8, NULL::pg_catalog.float8, pg_catalog.row_number() OVER best, -score FROM (\n'
            '    SELECT id, -pg_catalog.min(distance) AS score FROM (\n%s\n'
            '    ) AS found WHERE distance <> ''NaN'' AND id IS NOT NULL GROUP BY id\n'
            '  ) AS ranked WINDOW best AS (ORDER BY score DESC, id)',
            format(part, vector_weight), rows_of_branch) END;
    END IF;
    branches := array_remove(branches, NULL);
    IF branches = '{}' THEN
        RAISE EXCEPTION '% has no index that can answer', relation
            USING ERRCODE = 'undefined_object', HINT = 'The notice before this error says what to create.';
    END IF;
    RETURN format(
        E'SELECT id::pg_catalog.text AS key, pg_catalog.sum(part) AS score,\n'
        '  pg_catalog.max(text_rank)::pg_catalog.int4 AS text_rank, pg_catalog.max(text_score) AS text_score,\n'
        '  pg_catalog.max(vector_rank)::pg_catalog.int4 AS vector_rank, pg_catalog.max(vector_distance) AS vector_distance\n'
        'FROM (\n%s\n) AS branch (id, part, text_rank, text_score, vector_rank, vector_distance)\n'
        'GROUP BY branch.id ORDER BY 2 DESC, branch.id LIMIT %s',
        array_to_string(branches, E'\n  UNION ALL\n'), k);
END
$$;
COMMENT ON FUNCTION lean.hybrid_search_sql(regclass, text, text, integer, text, double precision[], double precision, integer, jsonb, text, text, text, text) IS
    'the statement that lean.hybrid_search runs, to look at, to EXPLAIN or to build on';

-- A scan goes on until it has its candidates, whatever a filter drops. All that is set, below and in the body, ends with the function.
CREATE FUNCTION lean.hybrid_run(statement text, candidates integer, search_path text, ef_search text)
    RETURNS TABLE (key text, score double precision, text_rank integer, text_score double precision, vector_rank integer, vector_distance double precision)
    LANGUAGE plpgsql STABLE ROWS 10
    SET search_path = pg_catalog, pg_temp
    SET hnsw.ef_search = 40
    SET hnsw.iterative_scan = relaxed_order SET hnsw.max_scan_tuples = 2147483647 SET hnsw.scan_mem_multiplier = 100
    SET ivf.iterative_scan = relaxed_order
    SET ivfflat.iterative_scan = relaxed_order SET ivfflat.max_probes = 32768 AS $$
BEGIN
    PERFORM set_config('hnsw.ef_search', least(1000, greatest(nullif(ef_search, '')::integer, candidates, 40))::text, true),
        set_config('search_path', search_path, true);
    RETURN QUERY EXECUTE statement;
END
$$;
COMMENT ON FUNCTION lean.hybrid_run(text, integer, text, text) IS 'internal: runs a statement of lean.hybrid_search_sql';

CREATE FUNCTION lean.hybrid_search(
    relation regclass, query_text text DEFAULT NULL, query_vector text DEFAULT NULL, k integer DEFAULT 10, method text DEFAULT 'rrf',
    weights double precision[] DEFAULT '{1,1}', rrf_k double precision DEFAULT 60, candidates integer DEFAULT NULL,
    filter jsonb DEFAULT NULL, filter_sql text DEFAULT NULL,
    id_column text DEFAULT NULL, text_column text DEFAULT NULL, vector_column text DEFAULT NULL
) RETURNS TABLE (key text, score double precision, text_rank integer, text_score double precision, vector_rank integer, vector_distance double precision)
    LANGUAGE sql STABLE ROWS 10
BEGIN ATOMIC
    SELECT * FROM lean.hybrid_run(
        lean.hybrid_search_sql(relation, query_text, query_vector, k, method, weights, rrf_k, candidates, filter, filter_sql, id_column, text_column, vector_column),
        coalesce(candidates, greatest(100, 2 * least(k, 500))),
        pg_catalog.current_setting('search_path'), pg_catalog.current_setting('hnsw.ef_search', true));
END;
COMMENT ON FUNCTION lean.hybrid_search(regclass, text, text, integer, text, double precision[], double precision, integer, jsonb, text, text, text, text) IS
    'the best rows of a relation by keywords and by vector, with the rank and the score that each branch gave them; best first';

CREATE FUNCTION lean.hybrid_search(
    relation regclass, query_text text, query_vector anyelement, k integer DEFAULT 10, method text DEFAULT 'rrf',
    weights double precision[] DEFAULT '{1,1}', rrf_k double precision DEFAULT 60, candidates integer DEFAULT NULL,
    filter jsonb DEFAULT NULL, filter_sql text DEFAULT NULL,
    id_column text DEFAULT NULL, text_column text DEFAULT NULL, vector_column text DEFAULT NULL
) RETURNS TABLE (key text, score double precision, text_rank integer, text_score double precision, vector_rank integer, vector_distance double precision)
    LANGUAGE sql STABLE ROWS 10 AS $$
    SELECT * FROM lean.hybrid_search(
        relation, query_text, query_vector::pg_catalog.text, k, method, weights, rrf_k, candidates, filter, filter_sql, id_column, text_column, vector_column)
$$;
COMMENT ON FUNCTION lean.hybrid_search(regclass, text, anyelement, integer, text, double precision[], double precision, integer, jsonb, text, text, text, text) IS
    'lean.hybrid_search with a query vector of any vector type, or an array of numbers';
