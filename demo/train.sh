#!/usr/bin/env bash
# Trains models on flights and weather in a throwaway server, and ends the server: demo/train.py says what is done. The files
# of the models stay under target/.
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/env.sh"
source "$ROOT/scripts/cluster.sh"
use_server "$PG_CONFIG"
copy_server demo
install_leanstack release

venv="$ROOT/target/train-venv"
if ! cmp -s "$ROOT/demo/requirements.txt" "$venv/installed"; then
  say "preparing scikit-learn in target/train-venv"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$ROOT/demo/requirements.txt"
  cp "$ROOT/demo/requirements.txt" "$venv/installed"
fi

say "starting a throwaway server"
cluster_room train
cluster_init "$CLUSTER_ROOM/data" fsync=off
cluster_start "$CLUSTER_ROOM/data" 5432
"$venv/bin/python" -B "$ROOT/demo/train.py" "$ROOT/target/train"
