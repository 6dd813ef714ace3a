#!/usr/bin/env bash
# Removes target/ and, where it lies elsewhere, the room for servers and clusters.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
if [ -L "$ROOT/target/room" ]; then
  rm -rf "$(readlink "$ROOT/target/room")"
fi
rm -rf "$ROOT/target"
