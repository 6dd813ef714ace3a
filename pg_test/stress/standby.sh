#!/usr/bin/env bash
# A streaming standby answers as its primary does, after rounds of delete, vacuum and insert, quiet
# and under load, and its copy of each index is sound. STANDBY_SETTINGS adds settings to both servers.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cluster_room "${STRESS_NAME:-stress-standby}"
primary="$CLUSTER_ROOM/primary"
standby="$CLUSTER_ROOM/standby"
# The load vacuums; a vacuum of the server's own could change pages while the standby's are checked.
# shellcheck disable=SC2086
cluster_init "$primary" shared_buffers=32MB fsync=off autovacuum=off wal_level=replica max_standby_streaming_delay=-1 \
  ${STANDBY_SETTINGS:-}
cluster_start "$primary" 5432
(cd "$CLUSTER_ROOM" && as_pg "$PG_BINDIR/pg_basebackup" -h "$PGHOST" -U postgres -D "$standby" -R -X stream -c fast --no-sync)
# The standby follows from here, so it replays the build too.
cluster_start "$standby" 5433
make_table 2000

# A vacuum commits without flushing what it logged, so the target is behind a commit that does.
caught_up() {
  local target tries
  run_sql -c "SELECT pg_logical_emit_message(true, 'stress', 'caught up')" >/dev/null
  target=$(sql_value 'SELECT pg_current_wal_flush_lsn()')
  for tries in $(seq 600); do
    [ "$(sql_value "SELECT pg_last_wal_replay_lsn() >= '$target'" -p 5433)" != t ] || return 0
    [ -f "$standby/postmaster.pid" ] || break
    sleep 0.2
  done
  tail -n 40 "$standby.log"
  die "the standby did not reach $target"
}

same_answers() {
  local server
  for server in 5432 5433; do
    run_sql -At -p $server -f "$STRESS/answers.sql" >"$CLUSTER_ROOM/answers.$server"
  done
  diff "$CLUSTER_ROOM/answers.5432" "$CLUSTER_ROOM/answers.5433" >"$CLUSTER_ROOM/answers.diff" ||
    { head -n 40 "$CLUSTER_ROOM/answers.diff"; die "primary and standby answer differently"; }
}

for round in $(seq "$ROUNDS"); do
  run_sql -c "DELETE FROM items WHERE id % 4 = $round % 4" -c 'VACUUM items' \
    -c "INSERT INTO items (v) SELECT some_vector() FROM generate_series(1, 400)"
  caught_up
  same_answers
  start_load 2 5
  # Reads on the standby while it replays: no answer to compare with, but no error either.
  "$PG_BINDIR/pgbench" -n -p 5433 -c 2 -T 4 -f "$STRESS/search.sql" >"$CLUSTER_ROOM/reads.log" 2>&1 ||
    { cat "$CLUSTER_ROOM/reads.log"; die "reading on the standby failed"; }
  finished_load
  caught_up
  same_answers
  check_indexes
  check_indexes -p 5433
  step "round $round: both agree on $(sql_value 'SELECT count(*) FROM items') rows"
done
