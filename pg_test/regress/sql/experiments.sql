-- Experiments, runs, parameters, metrics, and the search for runs.
\set a '00000000-0000-0000-0000-00000000000a'
\set b '00000000-0000-0000-0000-00000000000b'
\getenv tests PG_ABS_SRCDIR
\set outcome :tests '/helpers/outcome.sql'
\i :outcome

SELECT lean.create_experiment('churn') = lean.create_experiment('churn') AS same, lean.create_experiment('churn', 'team') <> lean.create_experiment('churn') AS other;
SELECT lean.start_run('churn', 'first', :'a', params => '{"lr": 0.1, "model": "tree", "none": null}', git_commit => 'abc', language => 'python',
    started_at => '2024-01-01');
SELECT lean.start_run('churn', 'second', :'b', params => '{"lr": 0.2, "model": "forest"}', tags => '{"note": "x"}', parent_run => :'a', started_at => '2024-01-02');
SELECT lean.start_run('churn', 'again', :'a') = :'a' AS goes_on, count(*) FROM lean.run GROUP BY 1;

-- Metrics: the latest by step, time and value; the best among numbers; the same point once.
SELECT lean.log_metric(:'a', 'loss', 0.5, 1, '2024-01-01 01:00'), lean.log_metric(:'a', 'loss', 0.3, 2, '2024-01-01 02:00');
SELECT lean.log_metric(:'a', 'loss', 0.3, 2, '2024-01-01 02:00'), lean.log_metric(:'a', 'loss', 0.4, 2, '2024-01-01 01:30');
SELECT lean.log_metric(:'a', 'loss', 'NaN', 3, '2024-01-01 03:00'), lean.log_metric(:'a', 'gain', '-Infinity', 3, '2024-01-01 03:00');
SELECT lean.log_metrics(:'b', '{"loss": 0.4, "gain": "Infinity"}', 5, '2024-01-01');
SELECT lean.log_batch(:'b', '[{"key": "loss", "value": 0.2, "step": 4, "at": "2024-01-01"}, {"key": "loss", "value": 0.9, "step": 6, "at": "2024-01-01"},
    {"key": "loss", "value": 0.9, "step": 6, "at": "2024-01-01"}]', '{"depth": 3}', '{"note": null, "team": "red"}') AS new;
SELECT r.name, k.key, m.step, m.at, m.value, m.min_value, m.min_step, m.max_value, m.max_step
    FROM lean.run_metric AS m JOIN lean.run AS r USING (run_no) JOIN lean.metric_key AS k USING (key_no) ORDER BY 1, 2;
SELECT * FROM lean.metric_history(:'a', 'loss');
SELECT count(*) FROM lean.metric_history(:'a', 'nothing');

-- What is the same changes nothing, what differs is refused.
SELECT lean.log_param(:'a', 'lr', '0.1');
SELECT outcome(format('SELECT lean.log_param(%L, %L, %L)', :'a', 'lr', '0.3'));
SELECT outcome(format('SELECT lean.log_params(%L, %L)', :'a', '[1]'));
SELECT outcome(format('SELECT lean.start_run(%L, run_id => %L)', 'team/churn', :'a'));
SELECT outcome('SELECT lean.start_run(''nothing'')');
SELECT outcome('SELECT lean.log_metric(''00000000-0000-0000-0000-0000000000ff'', ''x'', 1)');
SELECT outcome(format('SELECT lean.log_metric(%L, %L, NULL)', :'a', 'x'));
SELECT outcome(format('SELECT lean.log_metrics(%L, %L)', :'a', '{"x": "abc"}'));
SELECT outcome(format('SELECT lean.log_metrics(%L, %L)', :'a', '{"x": true}'));
SELECT outcome(format('SELECT lean.log_batch(%L, %L)', :'a', '[{"value": 1}]'));
SELECT outcome(format('SELECT lean.end_run(%L, %L)', :'a', 'running'));

SELECT lean.end_run(:'b', ended_at => '2024-01-03'), lean.end_run(:'b', ended_at => '2024-01-04');
SELECT lean.log_artifact(:'b', 'model', 's3://models/1', 100, 'sha256:1'), lean.log_artifact(:'b', 'model', 's3://models/2');
SELECT name, uri, size_bytes FROM lean.run_artifact;
SELECT lean.log_dataset(:'b', 'customers', 'd1', version => '7') = lean.log_dataset(:'b', 'customers', 'd1', 'validation') AS same;
SELECT d.name, d.version, x.context FROM lean.run_dataset AS x JOIN lean.dataset AS d USING (dataset_id) ORDER BY 3;

SELECT name, status, ended_at, params, metrics, tags, parent_run FROM lean.run_summary ORDER BY name;

-- Searching
CREATE FUNCTION found(filter text, order_by text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT string_agg(s.name, ', ' ORDER BY s.n) FROM lean.search_runs('churn', filter, order_by) WITH ORDINALITY AS s
        (run_id, project, experiment, name, status, started_at, ended_at, params, metrics, tags, git_commit, git_branch, language,
         language_version, framework, framework_version, user_name, model_path, parent_run, run_no, n));
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
SELECT filter, found(filter) FROM unnest(ARRAY[
    '', 'metrics.loss < 1', 'metrics.loss > 0.5', 'metrics.gain = ''Infinity''', 'metrics.loss IS NULL', 'metrics.gain IS NOT NULL',
    'params.lr >= 0.15', 'params.model > 1', 'params.model = ''tree'' AND params.lr = ''0.1''', 'params.none IS NULL', 'params.depth IS NULL',
    'params.model LIKE ''f%''', 'NOT params.model ILIKE ''F%''', 'tags.team = "red"', 'tags.team != ''red''', 'tags.note IS NULL',
    'status = ''completed'' OR (name = ''first'' AND git_commit IN (''abc'', ''def''))', 'start_time > 1704100000000', 'started_at <= ''2024-01-01''',
    'run_id LIKE ''%a''', 'run_id = ''' || :'a' || '''', 'metrics.nothing > 0', 'attributes.language NOT IN (''r'')',
    'metrics.loss <', 'speed > 1', 'metrics.loss LIKE ''1''', 'metrics.loss = ''x''', 'name LIKE 1', 'name = ''a''; DROP TABLE x', 'name = ''it''''s''']) AS filter;
SELECT order_by, found('', order_by) FROM unnest(ARRAY['', 'metrics.loss', 'metrics.loss DESC', 'name', 'name DESC', 'params.lr DESC, start_time', 'tags.team', 'name x']) AS order_by;
SELECT count(*) FROM lean.search_runs(max_results => 1);
SELECT name FROM lean.search_runs(order_by => 'name', "offset" => 1);

SELECT name, metric_value, step FROM lean.best_run('churn', 'loss', maximize => false);
SELECT name, metric_value, step FROM lean.best_run('churn', 'loss', maximize => false, of_all_steps => true);
SELECT name, metric_value, step FROM lean.best_run('churn', 'gain');
SELECT count(*) FROM lean.best_run('churn', 'nothing');
SELECT * FROM lean.compare_runs(ARRAY[:'a', :'b']::uuid[]);

DROP FUNCTION outcome, found;
DELETE FROM lean.run_dataset;
DELETE FROM lean.dataset;
DELETE FROM lean.metric;
DELETE FROM lean.run WHERE parent_run_no IS NOT NULL;
DELETE FROM lean.run;
DELETE FROM lean.experiment;
DELETE FROM lean.metric_key;
