#!/usr/bin/env bash
# Every suite, one after the other, in a private copy of the server; closes with the count of tests.
# SUITES chooses some: lint core pg regress readme stress clients feast mlflow, and langchain, which only runs when named.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
SUITES=${SUITES:-lint core pg regress readme stress clients feast mlflow}
use_server "$PG_CONFIG"
copy_server test

LOGS="$ROOT/target/logs"
mkdir -p "$LOGS"
passed=0
failed=0

wants() { [[ " $SUITES " == *" $1 "* ]]; }

# tally NAME STATUS: adds up what the suite printed. cargo prints "test result: … 3 passed; 0 failed",
# our own suites print "ok NAME" or "not ok NAME". A suite that fails without naming a test counts as one.
tally() {
  local ok bad
  ok=$(awk '/^test result:/ { for (i = 1; i < NF; i++) if ($(i + 1) ~ /^passed/) n += $i } /^ok / { n++ } END { print n + 0 }' "$LOGS/$1.log")
  bad=$(awk '/^test result:/ { for (i = 1; i < NF; i++) if ($(i + 1) ~ /^failed/) n += $i } /^not ok / { n++ } END { print n + 0 }' "$LOGS/$1.log")
  [ "$2" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
  passed=$((passed + ok))
  failed=$((failed + bad))
  [ "$bad" -eq 0 ] || echo "suite $1: $bad failed (target/logs/$1.log)"
}

suite() {
  local name=$1 status=0 start=$SECONDS
  shift
  say "suite $name"
  "$@" 2>&1 | tee "$LOGS/$name.log" || status=$?
  tally "$name" $status
  say "suite $name took $((SECONDS - start)) s"
}

lint() {
  local status=0
  cargo fmt --all --check || status=1
  cargo clippy --workspace --all-targets --no-default-features --features "$FEATURES pg_test" --quiet \
    -- -D warnings || status=1
  return $status
}

pg_tests() {
  local data="$ROOM/pgrx-test" runas=()
  rm -rf "$data"
  mkdir -p "$data"
  if [ "$(id -un)" != "$PG_OS_USER" ]; then
    chown "$PG_OS_USER" "$data"
    runas=(--runas "$PG_OS_USER")
  fi
  cargo pgrx test "pg$PG_MAJOR" "${CARGO_FLAGS[@]}" --pgdata "$data" "${runas[@]}"
}

if wants lint; then suite lint lint; fi
if wants core; then suite core cargo test -p leanstack_core; fi

if [[ " $SUITES " =~ \ (pg|regress|readme|stress|clients|feast|mlflow|langchain)\  ]]; then
  # A copied pgvector would be in the way of the shim.
  extensions="$("$PG_CONFIG" --sharedir)/extension"
  grep -qs leanstack "$extensions/vector.control" || rm -f "$extensions"/vector.control "$extensions"/vector--*.sql
  if wants pg; then suite pg pg_tests; fi
  if [[ " $SUITES " =~ \ (regress|readme|stress|clients|feast|mlflow|langchain)\  ]]; then
    if (install_leanstack dev && scripts/install_shim.sh); then
      if wants regress; then suite regress pg_test/regress/run.sh; fi
      if wants readme; then suite readme scripts/readme_sql.sh; fi
      if wants stress; then suite stress pg_test/stress/run.sh; fi
      if wants clients; then suite clients pg_test/clients/run.sh; fi
      if wants feast; then suite feast pg_test/clients/run.sh feast; fi
      if wants mlflow; then suite mlflow pg_test/clients/run.sh mlflow; fi
      if wants langchain; then suite langchain pg_test/clients/run.sh langchain; fi
    else
      failed=$((failed + 1))
    fi
  fi
fi

echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
