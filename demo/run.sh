#!/usr/bin/env bash
# Loads real text with real embeddings into a throwaway server, indexes and searches it, and leaves
# the server running for more. demo/stop.sh ends it.
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/env.sh"
source "$ROOT/scripts/cluster.sh"
use_server "$PG_CONFIG"
"$ROOT/demo/stop.sh"
copy_server demo
install_leanstack release

say "starting a throwaway server"
cluster_room demo
data="$CLUSTER_ROOM/data"
cluster_init "$data" shared_buffers=256MB maintenance_work_mem=512MB
cluster_start "$data" 5432
run_sql -c 'CREATE DATABASE demo'
export PGDATABASE=demo

say "loading $(du -h "$ROOT/demo/glosses.copy.gz" | cut -f1) of glosses with their embeddings"
gunzip -c "$ROOT/demo/glosses.copy.gz" | run_sql -f "$ROOT/demo/load.sql"

statement='CREATE INDEX ON glosses USING hnsw (embedding vector_cosine_ops)'
say "$statement"
started=$(date +%s%N)
run_sql -c "$statement" &
builder=$!
while kill -0 $builder 2>/dev/null; do
  sleep 0.5
  sql_value "SELECT format('    %s: %s', phase, CASE WHEN tuples_total > 0
      THEN format('%s of %s nodes', tuples_done, tuples_total) ELSE format('%s of %s blocks', blocks_done, blocks_total) END)
      FROM pg_stat_progress_create_index" >&2
done
wait $builder
build_ms=$((($(date +%s%N) - started) / 1000000))

run_sql -v build_ms="$build_ms" -f "$ROOT/demo/search.sql"

# From here on the server is the user's: it outlives this script.
CLUSTERS=()
ln -sfn "$SOCKET_DIR" "$CLUSTER_ROOM/socket"
SOCKET_DIR=
echo
echo "The server stays up. Go on with:"
echo "    $PG_BINDIR/psql -h $PGHOST -p $PGPORT -U postgres demo"
echo "    SELECT words, gloss FROM glosses ORDER BY embedding <=> meaning('dog') LIMIT 5;"
echo "and end it with 'make demo-stop'."
