#!/usr/bin/env bash
# Builds for release and installs into the server that PG_CONFIG names.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
use_server "$PG_CONFIG"
sudo_flag=()
[ -w "$("$PG_CONFIG" --pkglibdir)" ] && [ -w "$("$PG_CONFIG" --sharedir)/extension" ] || sudo_flag=(--sudo)
install_leanstack release "${sudo_flag[@]}"
echo "installed into PostgreSQL $PG_MAJOR; now: CREATE EXTENSION leanstack;"
