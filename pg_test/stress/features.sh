#!/usr/bin/env bash
# Many sessions write the same entities at the same time, late rows and corrections among them, while others load history,
# bring it online, expire, read, and add features: at the end the online row of each entity is the newest of history, and nobody met an
# error.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cluster_room stress-features
data="$CLUSTER_ROOM/data"
cluster_init "$data" fsync=off deadlock_timeout=100ms log_lock_waits=on
cluster_start "$data" 5432
run_sql -f "$STRESS/features.sql" >/dev/null

# Online rows that are not the newest of history, entities that are missing among them.
wrong="SELECT count(*) FROM (
    SELECT DISTINCT ON (id, zone) * FROM load_v1 WHERE event_timestamp <= now() ORDER BY id, zone, event_timestamp DESC, created_timestamp DESC
  ) AS h FULL JOIN load_v1_online AS o USING (id, zone) WHERE h IS DISTINCT FROM o"

for round in $(seq "$ROUNDS"); do
  "$PG_BINDIR/pgbench" -n -c 8 -j 2 -T 5 -f "$STRESS/features_write.sql@6" -f "$STRESS/features_load.sql@2" \
    -f "$STRESS/features_read.sql@3" -f "$STRESS/features_expire.sql@1" \
    -f "$STRESS/features_define.sql@1" >"$CLUSTER_ROOM/load.log" 2>&1 ||
    { cat "$CLUSTER_ROOM/load.log"; die "the load met an error"; }
  ! grep -q 'aborted' "$CLUSTER_ROOM/load.log" || { cat "$CLUSTER_ROOM/load.log"; die "a client of the load aborted"; }
  ! grep -q 'deadlock' "$data.log" || die "there was a deadlock"
  run_sql -c "SELECT * FROM lean.materialize_incremental('load')" >/dev/null
  [ "$(sql_value "$wrong")" = 0 ] || die "online and history differ"
  [ "$(sql_value 'SELECT count(*) FROM (SELECT FROM load_v1 GROUP BY id, zone, event_timestamp, created_timestamp HAVING count(*) > 1) AS x')" = 0 ] ||
    die "rows are twice in history"
  step "round $round: $(sql_value 'SELECT count(*) FROM load_v1') rows of $(sql_value 'SELECT count(*) FROM load_v1_online') entities, $(sql_value "SELECT count(*) FROM lean.features WHERE \"group\" = 'load'") features"
done
