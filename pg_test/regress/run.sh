#!/usr/bin/env bash
# Runs sql/*.sql through pg_regress in a throwaway cluster and compares with expected/*.out.
# PG_CONFIG names a server with leanstack installed; arguments choose some of the tests. PG_REGRESS is the
# pg_regress to use in place of that server's: it only talks to the server, so one of another major will do.
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
source "$ROOT/scripts/cluster.sh"
use_server "$PG_CONFIG"

tests=("$@")
if [ ${#tests[@]} -eq 0 ]; then
  for file in "$ROOT"/pg_test/regress/sql/*.sql; do
    tests+=("$(basename "$file" .sql)")
  done
fi

cluster_room regress
# No workers, for the shape of plans; pg_regress sets the time zone and the style of dates.
cluster_init "$CLUSTER_ROOM/data" fsync=off max_parallel_workers_per_gather=0
cluster_start "$CLUSTER_ROOM/data" 5432
output="$ROOT/target/regress-$PG_MAJOR"
mkdir -p "$output"

status=0
"${PG_REGRESS:-$("$PG_CONFIG" --pkglibdir)/pgxs/src/test/regress/pg_regress}" \
  --inputdir="$ROOT/pg_test/regress" --outputdir="$output" --bindir="$PG_BINDIR" \
  --host="$PGHOST" --port=5432 --user=postgres --dbname=lean_regress --load-extension=leanstack \
  "${tests[@]}" >"$output/run.log" 2>&1 || status=$?

# 15 prints "test NAME ... ok", 16 and later "ok 1 - NAME".
sed -nE -e 's/^test ([^ ]+) +\.\.\. ok .*/ok \1/p' -e 's/^test ([^ ]+) +\.\.\. FAILED.*/not ok \1/p' \
  -e 's/^(ok|not ok) +[0-9]+ +[-+] ([^ ]+).*/\1 \2/p' "$output/run.log"
if [ $status -ne 0 ]; then
  cat "$output/regression.diffs" 2>/dev/null || cat "$output/run.log"
fi
exit $status
