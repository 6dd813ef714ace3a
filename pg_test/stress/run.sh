#!/usr/bin/env bash
# Runs the stress scripts of this folder, or those that the arguments name. PG_CONFIG names a server
# with leanstack installed, STRESS_ROUNDS how long each goes on (2 is the short form of `make test`).
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
use_server "$PG_CONFIG"
export STRESS_ROUNDS=${STRESS_ROUNDS:-2}
scripts=("$@")
[ ${#scripts[@]} -gt 0 ] || scripts=(crash standby concurrent_build low_memory wal_consistency upgrade features experiments models)

status=0
for script in "${scripts[@]}"; do
  started=$SECONDS
  if "$ROOT/pg_test/stress/$script.sh"; then
    echo "ok stress_$script"
  else
    echo "not ok stress_$script"
    status=1
  fi
  echo "# $script: $((SECONDS - started)) s"
done
exit $status
