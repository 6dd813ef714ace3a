#!/usr/bin/env bash
# A build that outgrows maintenance_work_mem says so once, goes on row by row, and ends as sound as any.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cluster_room stress-memory
data="$CLUSTER_ROOM/data"
cluster_init "$data" fsync=off maintenance_work_mem=1MB
cluster_start "$data" 5432
make_table 100
run_sql -c 'INSERT INTO items (v) SELECT some_vector() FROM generate_series(1, 2500)'

for quantization in none sq8; do
  run_sql -c "CREATE INDEX items_hnsw_low ON items USING hnsw (v vector_l2_ops) WITH (m = 40, ef_construction = 80, quantization = $quantization)" >"$CLUSTER_ROOM/build.log" 2>&1 ||
    { cat "$CLUSTER_ROOM/build.log"; die "the build failed"; }
  notices=$(grep -c 'hnsw graph no longer fits into maintenance_work_mem after [0-9]* tuples' "$CLUSTER_ROOM/build.log" || true)
  [ "$notices" = 1 ] || { cat "$CLUSTER_ROOM/build.log"; die "$notices notices with $quantization"; }
  bad=$(sql_value "SELECT check_name, detail FROM lean.index_check('items_hnsw_low') WHERE NOT ok")
  [ -z "$bad" ] || die "index_check: $bad"
  run_sql -c 'DROP INDEX items_hnsw_low'
  step "built with $quantization, $(grep -o "after .*" "$CLUSTER_ROOM/build.log")"
done
