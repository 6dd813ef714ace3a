#!/usr/bin/env bash
# Runs unmodified client libraries against a throwaway server in which CREATE EXTENSION vector gives
# leanstack. PG_CONFIG names a server with leanstack and the stand-in installed.
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
source "$ROOT/scripts/cluster.sh"
use_server "$PG_CONFIG"
here="$ROOT/pg_test/clients"

venv="$ROOT/target/clients-venv"
if ! cmp -s "$here/requirements.txt" "$venv/installed"; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$venv/installed"
fi

cluster_room clients
cluster_init "$CLUSTER_ROOM/data" fsync=off
cluster_start "$CLUSTER_ROOM/data" 5432

status=0
"$venv/bin/python" -m pytest -p no:cacheprovider --tb=short -rA "$here" >"$CLUSTER_ROOM/pytest.log" 2>&1 || status=$?
sed -nE -e 's/^PASSED .*::/ok /p' -e 's/^(FAILED|ERROR) .*::([^ ]*).*/not ok \2/p' "$CLUSTER_ROOM/pytest.log"
[ $status -eq 0 ] || cat "$CLUSTER_ROOM/pytest.log"
exit $status
