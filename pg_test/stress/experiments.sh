#!/usr/bin/env bash
# Metrics under concurrent sessions: several log overlapping batches, small and large, to the same runs at once. No session meets
# an error, a deadlock least of all; every point is there once; the latest and best of each metric follow from its points.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cluster_room stress-experiments
cluster_init "$CLUSTER_ROOM/data" fsync=off deadlock_timeout=200ms
cluster_start "$CLUSTER_ROOM/data" 5432
run_sql -c 'CREATE EXTENSION leanstack' -c "SELECT lean.create_experiment('load')" >/dev/null
run_sql -c "SELECT lean.start_run('load', run_id => ('00000000-0000-4000-8000-00000000000' || n)::uuid) FROM generate_series(1, 3) AS n" >/dev/null

# The value of a point follows from its key and step, so that sessions log the same points; new metrics appear all the time.
cat >"$CLUSTER_ROOM/log.sql" <<'SQL'
\set run random(1, 3)
\set first random(1, 2000)
\set size random(1, 120)
\set metrics random(1, 40)
BEGIN;
SELECT lean.log_batch(('00000000-0000-4000-8000-00000000000' || :run)::uuid, (SELECT jsonb_agg(jsonb_build_object('key', 'm' || s % :metrics,
    'value', CASE WHEN s % 17 = 0 THEN to_jsonb('NaN'::text) ELSE to_jsonb(s * 7919 % 1009) END, 'step', s, 'at', '2026-01-01Z') ORDER BY random())
    FROM generate_series(:first, :first + :size) AS s), tags => jsonb_build_object('by', :client_id));
END;
SQL
"$PG_BINDIR/pgbench" -n -c 6 -j 2 -t $((100 * ROUNDS)) -f "$CLUSTER_ROOM/log.sql" >"$CLUSTER_ROOM/load.log" 2>&1 && ! grep -q aborted "$CLUSTER_ROOM/load.log" ||
  { cat "$CLUSTER_ROOM/load.log"; die "a session met an error"; }

bad=$(sql_value "SELECT count(*) FROM lean.metric WHERE value <> 'NaN' AND value <> step * 7919 % 1009 OR value = 'NaN' AND step % 17 <> 0")
[ "$bad" = 0 ] || die "$bad points are wrong"
bad=$(sql_value "WITH b AS (
    SELECT run_no, key_no, max(step) AS step, min(value) FILTER (WHERE value <> 'NaN') AS low, max(value) FILTER (WHERE value <> 'NaN') AS high
    FROM lean.metric GROUP BY run_no, key_no
  ), expected AS (
    SELECT b.*, (SELECT m.value FROM lean.metric AS m WHERE (m.run_no, m.key_no, m.step) = (b.run_no, b.key_no, b.step)) AS value,
      (SELECT min(m.step) FROM lean.metric AS m WHERE (m.run_no, m.key_no, m.value) = (b.run_no, b.key_no, b.low)) AS low_step,
      (SELECT min(m.step) FROM lean.metric AS m WHERE (m.run_no, m.key_no, m.value) = (b.run_no, b.key_no, b.high)) AS high_step FROM b
  )
  SELECT count(*) FROM lean.run_metric AS x FULL JOIN expected AS e USING (run_no, key_no)
  WHERE (x.step, x.value, x.min_value, x.min_step, x.max_value, x.max_step) IS DISTINCT FROM (e.step, e.value, e.low, e.low_step, e.high, e.high_step)")
[ "$bad" = 0 ] || die "the latest or best of $bad metrics are wrong"
step "$(sql_value 'SELECT count(*) FROM lean.metric') points of $(sql_value 'SELECT count(*) FROM lean.run_metric') metrics, logged by six sessions at once"
