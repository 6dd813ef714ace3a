-- Looking at runs: all of one, the best, those that a filter finds, and what differs between some.

CREATE VIEW lean.run_summary AS
    SELECT r.run_id, e.project, e.name AS experiment, r.name, r.status, r.started_at, r.ended_at,
        (SELECT jsonb_object_agg(p.key, p.value) FROM lean.run_param AS p WHERE p.run_no = r.run_no) AS params,
        (SELECT jsonb_object_agg((SELECT k.key FROM lean.metric_key AS k WHERE k.key_no = m.key_no), m.value) FROM lean.run_metric AS m
         WHERE m.run_no = r.run_no) AS metrics,
        r.tags, r.git_commit, r.git_branch, r.language, r.language_version, r.framework, r.framework_version, r.user_name,
        r.model_path, (SELECT p.run_id FROM lean.run AS p WHERE p.run_no = r.parent_run_no) AS parent_run, r.run_no
    FROM lean.run AS r JOIN lean.experiment AS e USING (experiment_id)
    WHERE r.deleted_at IS NULL AND e.deleted_at IS NULL;
COMMENT ON VIEW lean.run_summary IS 'runs that are not deleted, each with its parameters and latest metrics as jsonb';

COMMENT ON FUNCTION lean.parse_run_filter(text) IS 'internal: the parts of a filter for runs';
COMMENT ON FUNCTION lean.parse_run_order(text) IS 'internal: the parts of an order of runs';

CREATE FUNCTION lean.run_attribute(name text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    attribute text := CASE lower(name) WHEN 'run_name' THEN 'name' WHEN 'start_time' THEN 'started_at' WHEN 'end_time' THEN 'ended_at'
        WHEN 'user' THEN 'user_name' WHEN 'user_id' THEN 'user_name' ELSE lower(name) END;
BEGIN
    IF attribute NOT IN ('run_id', 'name', 'status', 'started_at', 'ended_at', 'git_commit', 'git_branch', 'language', 'language_version',
                         'framework', 'framework_version', 'user_name', 'model_path') THEN
        RAISE EXCEPTION 'runs have no attribute "%"', name
            USING ERRCODE = 'undefined_column',
                  HINT = 'Attributes are run_id, name, status, started_at, ended_at, git_commit, git_branch, language, language_version, '
                         'framework, framework_version, user_name and model_path; others are params.x, metrics.x or tags.x.';
    END IF;
    RETURN 'r.' || attribute;
END
$$;
COMMENT ON FUNCTION lean.run_attribute(text) IS 'internal: the column of an attribute of runs, by our name or MLflow''s';

-- Of a search in the order of a metric, `ordered` is that metric: its row is joined as o1 then, and need not be looked for.
CREATE FUNCTION lean.run_condition(field text, name text, operator text, operands text[], "numeric" boolean, ordered text DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_null boolean := operator IN ('IS NULL', 'IS NOT NULL');
    negated text := CASE WHEN operator = 'IS NULL' THEN 'NOT ' ELSE '' END;
    subject text;
    texts text := (SELECT string_agg(quote_literal(o), ', ') FROM unnest(operands) AS o);
    compared text;
    key integer;
BEGIN
    IF field = 'metric' AND NOT is_null AND (NOT "numeric" OR operator ~ 'LIKE') THEN
        BEGIN
            PERFORM o::double precision FROM unnest(operands) AS o;
        EXCEPTION WHEN data_exception THEN
            RAISE EXCEPTION 'metric "%" is compared with %, which is no number', name, texts USING ERRCODE = 'invalid_parameter_value';
        END;
        IF operator ~ 'LIKE' THEN
            RAISE EXCEPTION 'metric "%" is a number: % does not go with it', name, operator USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END IF;
    IF operator ~ 'LIKE' AND "numeric" THEN
        RAISE EXCEPTION '% wants a text in quotes', operator USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF field = 'metric' THEN
        subject := CASE WHEN name = ordered THEN 'o1.value' ELSE 'm.value' END;
        texts := (SELECT string_agg(format('%L::double precision', o), ', ') FROM unnest(operands) AS o);
        compared := CASE WHEN is_null THEN CASE operator WHEN 'IS NULL' THEN 'false' ELSE 'true' END
            WHEN operator ~ 'IN$' THEN format('%s %s (%s)', subject, operator, texts)
            -- What is no number is neither smaller nor larger.
            WHEN operator ~ '[<>]' THEN format('(%s %s %s AND %1$s <> ''NaN'')', subject, operator, texts)
            ELSE format('%s %s %s', subject, operator, texts) END;
        IF name = ordered THEN
            RETURN compared;
        END IF;
        SELECT k.key_no INTO key FROM lean.metric_key AS k WHERE k.key = name;
        IF NOT FOUND THEN
            RETURN CASE operator WHEN 'IS NULL' THEN 'true' ELSE 'false' END;
        END IF;
        RETURN format('%sEXISTS (SELECT FROM lean.run_metric AS m WHERE m.run_no = r.run_no AND m.experiment_id = r.experiment_id'
            ' AND m.key_no = %s%s)', negated, key, CASE WHEN NOT is_null THEN ' AND ' || compared END);
    END IF;
    subject := CASE field WHEN 'param' THEN 'p.value' WHEN 'tag' THEN format('(r.tags ->> %L)', name) ELSE lean.run_attribute(name) END;
    IF field = 'attribute' AND subject IN ('r.started_at', 'r.ended_at') THEN
        -- MLflow's users give milliseconds.
        texts := (SELECT string_agg(CASE WHEN "numeric" THEN format('to_timestamp(%s / 1000.0)', o::numeric) ELSE format('%L::timestamptz', o) END, ', ')
                  FROM unnest(operands) AS o);
    ELSIF field = 'attribute' AND subject = 'r.run_id' AND operator IN ('=', '!=', 'IN', 'NOT IN') THEN
        texts := (SELECT string_agg(format('%L::uuid', o), ', ') FROM unnest(operands) AS o);
    ELSIF "numeric" THEN
        -- A text that is no number is compared with none.
        subject := format('CASE WHEN %1$s ~ ''^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$'' THEN %1$s::numeric END', subject);
        texts := (SELECT string_agg(format('%L::numeric', o), ', ') FROM unnest(operands) AS o);
    ELSIF subject = 'r.run_id' AND NOT is_null THEN
        subject := 'r.run_id::text';
    END IF;
    compared := CASE WHEN is_null THEN format('%s %s', subject, operator)
        WHEN operator ~ 'IN$' THEN format('%s %s (%s)', subject, operator, texts) ELSE format('%s %s %s', subject, operator, texts) END;
    IF field = 'param' THEN
        -- The index and the statistics have the beginnings of values, which of short ones are all.
        IF operator IN ('=', 'IN') AND NOT "numeric" AND (SELECT bool_and(length(o) < 64) FROM unnest(operands) AS o) THEN
            compared := format('left(p.value, 64) %s (%s)', operator, texts);
        END IF;
        RETURN format('%sEXISTS (SELECT FROM lean.run_param AS p WHERE p.run_no = r.run_no AND p.key = %L%s)', negated, name,
            CASE WHEN NOT is_null THEN ' AND ' || compared END);
    END IF;
    IF field = 'tag' THEN
        -- The planner knows nothing of tags and takes them for rare, if it is shown a comparison.
        compared := format('CASE %s WHEN true THEN true WHEN false THEN false END', compared);
    END IF;
    RETURN coalesce(compared, 'false');
END
$$;
COMMENT ON FUNCTION lean.run_condition(text, text, text, text[], boolean, text) IS 'internal: a condition of a filter for runs, in SQL';

-- Statistics know the values of all metrics together, and not how many runs of an experiment reach a value of one of them,
-- but the index has them at hand.
CREATE FUNCTION lean.rare_runs(experiment_id bigint, filter text) RETURNS bigint[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    few CONSTANT integer := 2000;
    part record;
    reached bigint[];
    rarest bigint[];
BEGIN
    IF EXISTS (SELECT FROM lean.parse_run_filter(filter) AS f WHERE f.word IN ('OR', 'NOT')) THEN
        RETURN NULL;
    END IF;
    FOR part IN
        SELECT k.key_no, lean.run_condition(f.field, f.name, f.operator, f.operands, f."numeric", ordered => f.name) AS condition
            FROM lean.parse_run_filter(filter) AS f JOIN lean.metric_key AS k ON k.key = f.name
            WHERE f.field = 'metric' AND f.operator IN ('=', '<', '<=', '>', '>=')
    LOOP
        EXECUTE format('SELECT ARRAY(SELECT o1.run_no FROM lean.run_metric AS o1 WHERE o1.experiment_id = $1 AND o1.key_no = $2 AND %s LIMIT %s)',
            part.condition, few) INTO reached USING experiment_id, part.key_no;
        IF cardinality(reached) < least(few, cardinality(rarest)) THEN
            rarest := reached;
        END IF;
    END LOOP;
    RETURN rarest;
END
$$;
COMMENT ON FUNCTION lean.rare_runs(bigint, text) IS
    'internal: of the conditions on metrics that all have to hold the runs that the rarest leaves, if these are few; null otherwise';

-- It takes milliseconds, and starting workers would take as long.
CREATE FUNCTION lean.search_runs(
    experiment text DEFAULT NULL, filter text DEFAULT '', order_by text DEFAULT '', max_results bigint DEFAULT 1000, "offset" bigint DEFAULT 0
) RETURNS SETOF lean.run_summary
    LANGUAGE plpgsql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp SET max_parallel_workers_per_gather = 0 AS $$
DECLARE
    own bigint := CASE WHEN experiment IS NOT NULL THEN (lean.find_experiment(experiment)).experiment_id END;
    found_in text := CASE WHEN experiment IS NOT NULL THEN format('r.experiment_id = %s', own)
        ELSE 'EXISTS (SELECT FROM lean.experiment AS e WHERE e.experiment_id = r.experiment_id AND e.deleted_at IS NULL)' END;
    wanted bigint := max_results + coalesce("offset", 0);
    found bigint[] := '{}';
    more bigint[] := '{}';
    head record;
    conditions text;
    conditions_of_head text;
    required boolean;
    candidates bigint[];
    joins text;
    orders text;
    statement text := 'SELECT ARRAY(SELECT r.run_no FROM %s%s WHERE %s AND r.deleted_at IS NULL AND (%s) ORDER BY %s LIMIT $1)';
BEGIN
    SELECT o.name, o.descending, k.key_no INTO head
        FROM lean.parse_run_order(coalesce(order_by, '')) WITH ORDINALITY AS o (field, name, descending, n) JOIN lean.metric_key AS k ON k.key = o.name
        WHERE o.field = 'metric' AND o.n = 1;
    SELECT string_agg(coalesce(f.word, lean.run_condition(f.field, f.name, f.operator, f.operands, f."numeric")), ' ' ORDER BY f.n),
        string_agg(coalesce(f.word, lean.run_condition(f.field, f.name, f.operator, f.operands, f."numeric", head.name)), ' ' ORDER BY f.n),
        -- Whether all that is found has a number in the leading metric.
        bool_or(f.field = 'metric' AND f.name = head.name AND f.operator IN ('<', '<=', '>', '>=')) AND NOT bool_or(coalesce(f.word IN ('OR', 'NOT'), false))
        INTO conditions, conditions_of_head, required
        FROM lean.parse_run_filter(coalesce(filter, '')) WITH ORDINALITY AS f (word, field, name, operator, operands, "numeric", n);
    SELECT string_agg(CASE o.field
            WHEN 'metric' THEN format(' LEFT JOIN lean.run_metric AS o%s ON o%1$s.run_no = r.run_no AND o%1$s.experiment_id = r.experiment_id'
                ' AND o%1$s.key_no = (SELECT k.key_no FROM lean.metric_key AS k WHERE k.key = %L)', o.n, o.name)
            WHEN 'param' THEN format(' LEFT JOIN lean.run_param AS o%s ON o%1$s.run_no = r.run_no AND o%1$s.key = %L', o.n, o.name) END, '' ORDER BY o.n),
        string_agg(CASE o.field
            -- What is no number comes last, either way.
            WHEN 'metric' THEN format('nullif(o%s.value, ''NaN'')', o.n)
            WHEN 'param' THEN format('o%s.value', o.n)
            WHEN 'tag' THEN format('r.tags ->> %L', o.name)
            ELSE lean.run_attribute(o.name) END || CASE WHEN o.descending THEN ' DESC NULLS LAST' ELSE ' NULLS LAST' END || ', ', '' ORDER BY o.n)
        INTO joins, orders
        FROM lean.parse_run_order(coalesce(order_by, '')) WITH ORDINALITY AS o (field, name, descending, n)
        WHERE o.n > 1 OR head.name IS NULL;
    orders := coalesce(orders, '') || 'r.started_at DESC, r.run_no DESC';
    candidates := CASE WHEN own IS NOT NULL THEN lean.rare_runs(own, filter) END;
    found_in := found_in || CASE WHEN candidates IS NOT NULL THEN ' AND r.run_no = ANY ($2)' ELSE '' END;
    -- In the order of a metric come first the runs that have it, as its index has them, and then the others.
    IF head.name IS NOT NULL THEN
        EXECUTE format(statement, 'lean.run_metric AS o1 JOIN lean.run AS r USING (run_no)', joins,
                format('o1.key_no = %s AND o1.value <> ''NaN''%s AND %s', head.key_no, ' AND o1.experiment_id = ' || own, found_in),
                coalesce(conditions_of_head, 'true'), CASE WHEN head.descending THEN 'o1.value DESC, ' ELSE 'o1.value, ' END || orders)
            INTO found USING wanted, candidates;
        found_in := found_in || format(' AND NOT EXISTS (SELECT FROM lean.run_metric AS o1 WHERE o1.run_no = r.run_no AND o1.key_no = %s AND o1.value <> ''NaN'')',
            head.key_no);
    END IF;
    IF head.name IS NULL OR NOT coalesce(required, false) AND (wanted > cardinality(found)) IS NOT FALSE THEN
        EXECUTE format(statement, 'lean.run AS r', joins, found_in, coalesce(conditions, 'true'), orders)
            INTO more USING wanted - cardinality(found), candidates;
    END IF;
    RETURN QUERY SELECT s.* FROM unnest(found || more) WITH ORDINALITY AS x (run_no, n) JOIN lean.run_summary AS s USING (run_no)
        WHERE x.n > coalesce("offset", 0) ORDER BY x.n;
END
$$;
COMMENT ON FUNCTION lean.search_runs(text, text, text, bigint, bigint) IS
    'runs of an experiment, or of all, that a filter such as metrics.rmse < 1 AND params.model = ''tree'' finds; newest first unless '
    'ordered otherwise, as by metrics.rmse DESC';

CREATE FUNCTION lean.best_run(experiment text, metric text, maximize boolean DEFAULT true, of_all_steps boolean DEFAULT false)
    RETURNS TABLE (run_id uuid, name text, metric_value double precision, step bigint, params jsonb, metrics jsonb, status text, started_at timestamptz)
    LANGUAGE plpgsql STABLE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    e lean.experiment := lean.find_experiment(experiment);
    key integer := (SELECT k.key_no FROM lean.metric_key AS k WHERE k.key = best_run.metric);
    bound text := CASE WHEN of_all_steps THEN CASE WHEN maximize THEN 'm.max_value' ELSE 'm.min_value' END ELSE 'm.value' END;
BEGIN
    RETURN QUERY EXECUTE format(
$sql$SELECT s.run_id, s.name, x.value, x.step, s.params, s.metrics, s.status, s.started_at
FROM (
    SELECT m.run_no, %1$s AS value, %2$s AS step
    FROM lean.run_metric AS m JOIN lean.run AS r USING (run_no)
    WHERE m.experiment_id = $1 AND m.key_no = $2 AND %1$s IS NOT NULL AND %1$s <> 'NaN' AND r.deleted_at IS NULL
    ORDER BY %1$s %3$s, r.started_at, m.run_no LIMIT 1
) AS x JOIN lean.run_summary AS s USING (run_no)$sql$,
        bound, CASE WHEN of_all_steps THEN CASE WHEN maximize THEN 'm.max_step' ELSE 'm.min_step' END ELSE 'm.step' END,
        CASE WHEN maximize THEN 'DESC' ELSE '' END)
        USING e.experiment_id, key;
END
$$;
COMMENT ON FUNCTION lean.best_run(text, text, boolean, boolean) IS
    'the run of an experiment with the largest, or smallest, latest value of a metric, or value at any step; no row without one';

CREATE FUNCTION lean.metric_history(run uuid, key text) RETURNS TABLE (step bigint, at timestamptz, value double precision)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r lean.run := lean.find_run(run);
BEGIN
    RETURN QUERY SELECT m.step, m.at, m.value FROM lean.metric AS m
        WHERE m.run_no = r.run_no AND m.key_no = (SELECT k.key_no FROM lean.metric_key AS k WHERE k.key = metric_history.key)
        ORDER BY m.step, m.at, m.value;
END
$$;
COMMENT ON FUNCTION lean.metric_history(uuid, text) IS 'the points of a metric of a run, by step';

CREATE FUNCTION lean.compare_runs(runs uuid[]) RETURNS TABLE (kind text, name text, "values" jsonb)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM lean.find_run(r) FROM unnest(runs) AS r;
    RETURN QUERY
    WITH compared AS (
        SELECT s.* FROM unnest(runs) AS u JOIN lean.run_summary AS s ON s.run_id = u
    ), facts AS (
        SELECT c.run_id, 'attribute' AS kind, a.key, a.value FROM compared AS c,
            jsonb_each(to_jsonb(c) - '{run_id,params,metrics,tags,started_at,ended_at,run_no}'::text[]) AS a
        UNION ALL SELECT c.run_id, 'param', p.key, p.value FROM compared AS c, jsonb_each(c.params) AS p
        UNION ALL SELECT c.run_id, 'metric', m.key, m.value FROM compared AS c, jsonb_each(c.metrics) AS m
        UNION ALL SELECT c.run_id, 'tag', t.key, t.value FROM compared AS c, jsonb_each(c.tags) AS t
    )
    SELECT f.kind, f.key, jsonb_object_agg(f.run_id, f.value)
    FROM facts AS f GROUP BY f.kind, f.key
    HAVING count(DISTINCT f.value) > 1 OR count(*) < (SELECT count(*) FROM compared)
    ORDER BY array_position('{attribute,param,metric,tag}', f.kind), f.key;
END
$$;
COMMENT ON FUNCTION lean.compare_runs(uuid[]) IS 'what differs between runs: attributes, parameters, latest metrics and tags, by run';
