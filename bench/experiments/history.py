"""What is searched: the same runs in both databases, ours written by our functions, MLflow's by INSERT into its tables.

A run has five parameters, two tags and five metrics, whose last values are spread evenly; no two runs have the same.
"""

import threading

from measure import MeasureError

EXPERIMENT = "searched"
METRICS = ("accuracy", "auc", "f1", "loss", "rmse")
# A prime above the number of runs, so that multiples of a number are different remainders.
PRIME = 1_000_003
# What makes run n, in SQL that both databases compute: the id as text without dashes, values, tags, parameters.
RUN_ID = "md5('run ' || n)"
STARTED = "1767225600 + n"
VALUE = f"((n * 7919 + k * 104729) % {PRIME}) / {PRIME}::float8"
PARAMS = """jsonb_build_object('model', (ARRAY['linear', 'tree', 'forest', 'boosting'])[1 + n % 4], 'depth', n % 12 + 1,
    'learning_rate', (ARRAY['0.3', '0.1', '0.03', '0.01'])[1 + n / 4 % 4], 'optimizer', (ARRAY['sgd', 'adam'])[1 + n / 16 % 2], 'seed', n)"""
TAGS = "jsonb_build_object('team', (ARRAY['growth', 'risk', 'search', 'ads', 'ops'])[1 + n % 5], 'note', 'run ' || n)"
KEYS = f"unnest('{{{','.join(METRICS)}}}'::text[]) WITH ORDINALITY AS m (key, k)"
# One call for each run and kind of thing, as clients would make them. Values fall from step to step, so that the first and the
# last point, which are logged, are all that the latest and the best follow from; those between go to the history in one go.
LOAD = f"""
CREATE FUNCTION load_runs(first integer, last integer, steps integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    run uuid;
BEGIN
    FOR n IN first..last LOOP
        run := lean.start_run('{EXPERIMENT}', 'run ' || n, run_id => {RUN_ID}::uuid, params => {PARAMS}, tags => {TAGS},
            started_at => to_timestamp({STARTED}));
        PERFORM lean.log_batch(run, (
            SELECT jsonb_agg(jsonb_build_object('key', m.key, 'value', {VALUE} + (steps - s) / 1000.0, 'step', s,
                'at', to_timestamp({STARTED} + s)))
            FROM {KEYS}, unnest(ARRAY[1, steps]) AS s));
        PERFORM lean.end_run(run, ended_at => to_timestamp({STARTED} + steps));
    END LOOP;
    INSERT INTO lean.metric (run_no, key_no, step, at, value)
        SELECT r.run_no, x.key_no, s, to_timestamp({STARTED} + s), {VALUE} + (steps - s) / 1000.0
        FROM generate_series(first, last) AS n JOIN lean.run AS r ON r.run_id = {RUN_ID}::uuid,
            {KEYS} JOIN lean.metric_key AS x USING (key), generate_series(2, steps - 1) AS s
        ORDER BY 1, 2, 3;
END
$$"""
# Runs in one transaction of the load.
CHUNK = 500


def load_ours(server, database: str, runs: int, steps: int, say) -> float:
    """Runs with `steps` points of each metric, by two connections; seconds."""
    import time

    chunks = iter(range(1, runs + 1, CHUNK))
    taken = threading.Lock()
    failed = []

    def worker():
        try:
            with server.connect(database) as connection:
                while not failed:
                    with taken:
                        first = next(chunks, None)
                    if first is None:
                        return
                    last = min(first + CHUNK - 1, runs)
                    connection.execute("SELECT load_runs(%s, %s, %s)", [first, last, steps])
                    if last % (runs // 10 or 1) < CHUNK:
                        say(f"load: {last:,} runs")
        except Exception as error:
            failed.append(error)

    with server.connect(database) as connection:
        connection.execute("SELECT lean.create_experiment(%s)", [EXPERIMENT])
        connection.execute(LOAD)
    started = time.monotonic()
    threads = [threading.Thread(target=worker) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise MeasureError(f"the load failed: {failed[0]}")
    return time.monotonic() - started


def load_mlflow(server, database: str, experiment_id: str, runs: int) -> None:
    """The same runs with the last points of their metrics, all that a search of MLflow's looks at."""
    listed = f"generate_series(1, {runs}) AS n"
    with server.connect(database) as connection:
        connection.execute(
            "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time,"
            " source_version, lifecycle_stage, artifact_uri, experiment_id)"
            f" SELECT {RUN_ID}, 'run ' || n, 'UNKNOWN', '', '', 'bench', 'FINISHED', ({STARTED})::bigint * 1000, ({STARTED})::bigint * 1000,"
            f" '', 'active', 'unused:/' || n, %s FROM {listed}",
            [int(experiment_id)],
        )
        for table, pairs in (
            ("params", PARAMS),
            ("tags", f"{TAGS} || jsonb_build_object('mlflow.runName', 'run ' || n)"),
        ):
            connection.execute(
                f"INSERT INTO {table} (run_uuid, key, value) SELECT {RUN_ID}, p.key, p.value FROM {listed}, jsonb_each_text({pairs}) AS p"
            )
        for table, columns in (("latest_metrics", ""), ("metrics", "")):
            connection.execute(
                f"INSERT INTO {table} (run_uuid, key, value, timestamp, step, is_nan)"
                f" SELECT {RUN_ID}, m.key, {VALUE}, ({STARTED} + 1)::bigint * 1000, 1, false FROM {listed}, {KEYS}"
            )


def finish(server, database: str) -> None:
    """Statistics, and no dead rows."""
    with server.connect(database) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
