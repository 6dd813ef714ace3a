# Sourced by the stress scripts: a table under load, and the checks that each of them ends with.

source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
source "$ROOT/scripts/cluster.sh"
use_server "$PG_CONFIG"
ROUNDS=${STRESS_ROUNDS:-2}
STRESS="$ROOT/pg_test/stress"
LOADERS=()

step() { echo "# $(basename "$0" .sh): $*"; }

# The table that the load writes to: 40 dimensions, clustered, with an index of each access method,
# several of them where vectors as they are and codes of several kinds make different pages.
make_table() {
  run_sql -v rows="${1:-3000}" -f "$STRESS/table.sql"
  local kinds
  kinds=$(sql_value "SELECT string_agg(value, ' ' ORDER BY kind) FROM unnest(ARRAY['pq', 'rabitq', 'sq8']) AS kind,
      lean.index_info(('items_ivf_' || kind)::regclass) WHERE property = 'quantization'")
  [ "$kinds" = 'pq rabitq sq8' ] || die "the indexes are of $kinds"
}

# start_load CLIENTS SECONDS: writers in the background; what they did not finish is no error, since
# the server may be killed under them.
start_load() {
  "$PG_BINDIR/pgbench" -n -c "$1" -j 2 -T "$2" -f "$STRESS/insert.sql@6" -f "$STRESS/update.sql@2" \
    -f "$STRESS/delete.sql@2" -f "$STRESS/search.sql@2" -f "$STRESS/vacuum.sql@1" >"$CLUSTER_ROOM/load.log" 2>&1 &
  LOADERS+=($!)
}

wait_load() {
  local loader
  for loader in "${LOADERS[@]}"; do
    wait "$loader" || true
  done
  LOADERS=()
}

# finished_load: as wait_load, but every statement must have worked.
finished_load() {
  local loader
  for loader in "${LOADERS[@]}"; do
    wait "$loader" || { cat "$CLUSTER_ROOM/load.log"; die "the load met an error"; }
  done
  LOADERS=()
  ! grep -q 'WARNING' "$CLUSTER_ROOM/load.log" || { cat "$CLUSTER_ROOM/load.log"; die "the load met a warning"; }
  # pgbench goes on with the other clients after one has aborted.
  ! grep -q 'aborted' "$CLUSTER_ROOM/load.log" || { cat "$CLUSTER_ROOM/load.log"; die "a client of the load aborted"; }
}

# check_sound [psql options]: every index of the table is sound.
check_sound() {
  local bad
  bad=$(sql_value "SELECT indexrelid::regclass, c.check_name, c.detail FROM pg_index JOIN pg_class AS r ON r.oid = indexrelid
      JOIN pg_am AS a ON a.oid = relam, LATERAL lean.index_check(indexrelid::regclass) AS c
      WHERE indrelid = 'items'::regclass AND amname IN ('hnsw', 'ivf', 'ivfflat', 'bm25') AND NOT c.ok" "$@")
  [ -z "$bad" ] || die "index_check: $bad"
}

# check_indexes [psql options]: as check_sound, and each finds every row there is.
check_indexes() {
  check_sound "$@"
  run_sql -f "$STRESS/compare.sql" "$@" >"$CLUSTER_ROOM/compare.log" 2>&1 ||
    { cat "$CLUSTER_ROOM/compare.log"; die "the index and the table differ"; }
}
