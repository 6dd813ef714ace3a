#!/usr/bin/env bash
# Runs unmodified client libraries against a throwaway server in which CREATE EXTENSION vector gives
# leanstack. PG_CONFIG names a server with leanstack and the stand-in installed. `run.sh langchain` runs
# LangChain's tests instead of the others: it brings much along, and another pgvector-python. `run.sh feast`
# runs Feast's, which brings half a gigabyte along, and `run.sh mlflow` MLflow's.
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
source "$ROOT/scripts/cluster.sh"
use_server "$PG_CONFIG"
here="$ROOT/pg_test/clients"

case "${1:-}" in
  "") set=clients requirements="$here/requirements.txt" tests=("$here" --ignore "$here/test_langchain.py" --ignore "$here/test_feast.py"
    --ignore "$here/test_mlflow.py") ;;
  langchain) set=langchain requirements="$here/requirements-langchain.txt" tests=("$here/test_langchain.py") ;;
  feast) set=feast requirements="$here/requirements-feast.txt" tests=("$here/test_feast.py") ;;
  mlflow) set=mlflow requirements="$here/requirements-mlflow.txt" tests=("$here/test_mlflow.py") ;;
  *) die "run.sh knows 'langchain', 'feast', 'mlflow' and nothing, not '$1'" ;;
esac

venv="$ROOT/target/$set-venv"
if ! cmp -s "$requirements" "$venv/installed"; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
  cp "$requirements" "$venv/installed"
fi

cluster_room "$set"
cluster_init "$CLUSTER_ROOM/data" fsync=off
cluster_start "$CLUSTER_ROOM/data" 5432

status=0
"$venv/bin/python" -m pytest -p no:cacheprovider --tb=short -rA "${tests[@]}" >"$CLUSTER_ROOM/pytest.log" 2>&1 || status=$?
sed -nE -e 's/^PASSED .*::/ok /p' -e 's/^(FAILED|ERROR) .*::([^ ]*).*/not ok \2/p' "$CLUSTER_ROOM/pytest.log"
[ $status -eq 0 ] || cat "$CLUSTER_ROOM/pytest.log"
exit $status
