#!/usr/bin/env bash
# A build that outgrows maintenance_work_mem ends as sound as any: that of hnsw says so once and goes on row by row,
# that of ivf and ivfflat takes a temporary file.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cluster_room stress-memory
data="$CLUSTER_ROOM/data"
cluster_init "$data" fsync=off maintenance_work_mem=1MB log_temp_files=0
cluster_start "$data" 5432
make_table 100
run_sql -c 'INSERT INTO items (v) SELECT some_vector() FROM generate_series(1, 2500)'

for quantization in none sq8; do
  run_sql -c "CREATE INDEX items_hnsw_low ON items USING hnsw (v vector_l2_ops) WITH (m = 40, ef_construction = 80, quantization = $quantization)" >"$CLUSTER_ROOM/build.log" 2>&1 ||
    { cat "$CLUSTER_ROOM/build.log"; die "the build failed"; }
  notices=$(grep -c 'hnsw graph no longer fits into maintenance_work_mem after [0-9]* tuples' "$CLUSTER_ROOM/build.log" || true)
  [ "$notices" = 1 ] || { cat "$CLUSTER_ROOM/build.log"; die "$notices notices with $quantization"; }
  check_sound
  run_sql -c 'DROP INDEX items_hnsw_low'
  step "built with $quantization, $(grep -o "after .*" "$CLUSTER_ROOM/build.log")"
done

run_sql -c 'DROP INDEX items_hnsw_plain, items_hnsw_half, items_ivf_rabitq, items_ivf_pq, items_ivf_sq8, items_ivfflat, items_bm25' \
  -c 'INSERT INTO items (v) SELECT some_vector() FROM generate_series(1, 20000)'
for build in 'ivf (v vector_l2_ops)' 'ivf (v vector_ip_ops) WITH (quantization = sq8)' 'ivf (v vector_cosine_ops) WITH (quantization = pq, m = 40)' 'ivfflat (v vector_cosine_ops) WITH (lists = 40)' 'bm25 (words)'; do
  lines=$(wc -l <"$data.log")
  run_sql -c "CREATE INDEX items_low ON items USING $build" >"$CLUSTER_ROOM/build.log" 2>&1 ||
    { cat "$CLUSTER_ROOM/build.log"; die "the build failed"; }
  files=$(tail -n "+$((lines + 1))" "$data.log" | grep -c 'temporary file' || true)
  [ "$files" -gt 0 ] || die "$build needed no temporary file"
  # One for so many rows as fit in memory, not one for each row after the first ones.
  [ "$files" -lt 200 ] || die "$build made $files temporary files"
  check_sound
  run_sql -c 'DROP INDEX items_low'
  step "built $build, with a temporary file"
done
