#!/usr/bin/env bash
# kill -9 of the server and all its processes in the middle of inserts, updates, deletes and vacuum;
# after recovery every index is sound and agrees with its table. Then again, with what is left.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cluster_room stress-crash
data="$CLUSTER_ROOM/data"
# Small buffers and frequent checkpoints put pages of every age on disk.
cluster_init "$data" shared_buffers=8MB checkpoint_timeout=30s max_wal_size=64MB autovacuum_naptime=1s \
  restart_after_crash=off
cluster_start "$data" 5432
make_table

# Waits until the processes are gone, or dead and only not collected by their parent.
await_death() {
  local pid
  for pid in "$@"; do
    while grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$pid/status"; do
      sleep 0.1
    done
  done
}

for round in $(seq "$ROUNDS"); do
  start_load 4 600
  # The moment is different in every round and means nothing.
  sleep "$((1 + RANDOM % 4)).$((RANDOM % 10))"
  postmaster=$(head -n 1 "$data/postmaster.pid")
  children=$(cat "/proc/$postmaster/task/$postmaster/children")
  # The postmaster first, or it would begin an orderly recovery.
  # shellcheck disable=SC2086
  kill -9 "$postmaster" $children 2>/dev/null || true
  wait_load
  # shellcheck disable=SC2086
  await_death "$postmaster" $children
  # Where nobody collects dead processes, the next server would take the old one for alive.
  rm -f "$data/postmaster.pid"
  cluster_start "$data" 5432
  step "round $round: $(sql_value 'SELECT count(*) FROM items') rows after recovery"
  check_indexes
  run_sql -c 'VACUUM items'
  check_indexes
done
