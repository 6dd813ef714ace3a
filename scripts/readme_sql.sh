#!/usr/bin/env bash
# Runs every ```sql block of README.md, in order, in one database: what the README shows works.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
source "$ROOT/scripts/cluster.sh"
use_server "$PG_CONFIG"
cluster_room readme
cluster_init "$CLUSTER_ROOM/data" fsync=off
cluster_start "$CLUSTER_ROOM/data" 5432

blocks="$ROOT/target/readme"
rm -rf "$blocks"
mkdir -p "$blocks"
awk -v dir="$blocks" '
  /^```sql$/ { n++; file = sprintf("%s/%02d.sql", dir, n); print "-- README.md:" NR > file; inside = 1; next }
  /^```/ { inside = 0 }
  inside { print >> file }' "$ROOT/README.md"

status=0
for block in "$blocks"/*.sql; do
  name="readme_$(basename "$block" .sql)"
  if run_sql -f "$block" >"$block.out" 2>&1; then
    echo "ok $name"
  else
    cat "$block" "$block.out"
    echo "not ok $name"
    status=1
  fi
done
exit $status
