#!/usr/bin/env bash
# CREATE INDEX CONCURRENTLY and REINDEX CONCURRENTLY under writes give sound indexes; a build that is
# cancelled leaves nothing behind.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cluster_room stress-build
data="$CLUSTER_ROOM/data"
cluster_init "$data" shared_buffers=64MB fsync=off
cluster_start "$data" 5432
make_table

for round in $(seq "$ROUNDS"); do
  # A vacuum in the load would wait for the build, and the build for the vacuum's snapshot.
  "$PG_BINDIR/pgbench" -n -c 3 -j 2 -T 12 -f "$STRESS/insert.sql@6" -f "$STRESS/update.sql@2" -f "$STRESS/delete.sql@2" \
    >"$CLUSTER_ROOM/load.log" 2>&1 &
  LOADERS+=($!)
  run_sql -c 'CREATE INDEX CONCURRENTLY items_hnsw_new ON items USING hnsw (v vector_l2_ops) WITH (m = 8, ef_construction = 32)'
  for index in items_hnsw_plain items_hnsw_half items_ivf_rabitq items_ivf_pq items_ivf_sq8 items_ivfflat items_bm25; do
    run_sql -c "REINDEX INDEX CONCURRENTLY $index"
  done
  finished_load
  invalid=$(sql_value "SELECT string_agg(indexrelid::regclass::text, ' ') FROM pg_index
    WHERE indrelid = 'items'::regclass AND NOT indisvalid")
  [ -z "$invalid" ] || die "invalid: $invalid"
  # Afterwards the plain one is compared with the table, and the planner could take either.
  check_sound
  run_sql -c 'DROP INDEX items_hnsw_new'
  check_indexes
  step "round $round: built twice under writes, $(sql_value 'SELECT count(*) FROM items') rows"
done

# Enough rows that a build is surely under way when the cancel comes.
run_sql -c "INSERT INTO items (v) SELECT some_vector() FROM generate_series(1, 40000)"
relations="SELECT count(*) FROM pg_class WHERE relkind = 'i'"
before=$(sql_value "$relations")
files() { find "$data/base" -type f -size +0 | wc -l; }
run_sql -c CHECKPOINT
files_before=$(files)
for build in '0 hnsw m=16,ef_construction=200' '2 hnsw m=16,ef_construction=200' '2 ivf lists=2000'; do
  read -r workers am options <<<"$build"
  PGAPPNAME=builder run_sql -c "SET max_parallel_maintenance_workers = $workers" \
    -c "CREATE INDEX items_cancelled ON items USING $am (v vector_l2_ops) WITH ($options)" \
    >"$CLUSTER_ROOM/build.log" 2>&1 &
  builder=$!
  until [ "$(sql_value "SELECT count(*) FROM pg_stat_progress_create_index WHERE phase LIKE 'building index%'")" = 1 ]; do
    kill -0 $builder 2>/dev/null || { cat "$CLUSTER_ROOM/build.log"; die "the build ended before it could be cancelled"; }
    sleep 0.05
  done
  run_sql -c "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'builder'" >/dev/null
  ! wait $builder || die "the build was not cancelled"
  grep -q 'canceling statement due to user request' "$CLUSTER_ROOM/build.log" || { cat "$CLUSTER_ROOM/build.log"; die "not a cancel"; }
  [ "$(sql_value "$relations")" = "$before" ] || die "a cancelled build left a relation"
  run_sql -c CHECKPOINT
  [ "$(files)" -le "$files_before" ] || die "a cancelled build left a file"
  step "cancelled a build of $am with $workers workers"
done
check_indexes
