#!/usr/bin/env bash
# Runs every ```sql block of the documents below, in order, each document in a database of its own: what they show works.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
source "$ROOT/scripts/cluster.sh"
DOCUMENTS=(README.md docs/keywords.md docs/search.md docs/features.md docs/drift.md docs/experiments.md docs/models.md)
use_server "$PG_CONFIG"
cluster_room readme
cluster_init "$CLUSTER_ROOM/data" fsync=off
cluster_start "$CLUSTER_ROOM/data" 5432
# Examples name files from the root of the repository.
cd "$ROOT"

status=0
for document in "${DOCUMENTS[@]}"; do
  database=$(basename "$document" .md | tr '[:upper:]' '[:lower:]')
  "$PG_BINDIR/createdb" "$database"
  blocks="$ROOT/target/readme/$database"
  rm -rf "$blocks"
  mkdir -p "$blocks"
  awk -v dir="$blocks" -v document="$document" '
    /^```sql$/ { n++; file = sprintf("%s/%02d.sql", dir, n); print "-- " document ":" NR > file; inside = 1; next }
    /^```/ { inside = 0 }
    inside { print >> file }' "$document"
  for block in "$blocks"/*.sql; do
    name="${database}_$(basename "$block" .sql)"
    if run_sql -d "$database" -f "$block" >"$block.out" 2>&1; then
      echo "ok $name"
    else
      cat "$block" "$block.out"
      echo "not ok $name"
      status=1
    fi
  done
done
exit $status
