#!/usr/bin/env bash
# Runs bench/run.sh in a private copy of the chosen server with leanstack built for release; arguments go
# before those of BENCH_ARGS. A pgvector installed in that server is copied with it, and measured beside
# leanstack.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
use_server "$PG_CONFIG"
copy_server bench
install_leanstack release
# BENCH_ARGS is split on blanks on purpose: it comes from the command line of make.
# shellcheck disable=SC2086
exec "$ROOT/bench/run.sh" "$@" --pg-config "$PG_CONFIG" ${BENCH_ARGS:-}
