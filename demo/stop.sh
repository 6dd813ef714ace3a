#!/usr/bin/env bash
# Stops the demo's server, if there is one, and removes its data.
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/env.sh"
source "$ROOT/scripts/cluster.sh"
room="$ROOT/target/room/clusters/demo"
[ -d "$room" ] || exit 0
use_server "$PG_CONFIG"
cluster_stop "$room/data" fast
if [ -L "$room/socket" ]; then
  rm -rf "$(readlink "$room/socket")"
fi
rm -rf "$room"
echo "the demo's server is gone"
