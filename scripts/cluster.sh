# Sourced by scripts that need throwaway clusters: they listen on a Unix socket of their own only,
# and are stopped by their data directory when the script ends, however it ends.

SOCKET_DIR=
CLUSTERS=()

# Prepares the folder $ROOM/clusters/NAME and the socket directory (whose path has to be short).
cluster_room() {
  use_room
  CLUSTER_ROOM="$ROOM/clusters/$1"
  local old
  for old in "$CLUSTER_ROOM"/*/postmaster.pid; do
    [ ! -f "$old" ] || cluster_stop "$(dirname "$old")" immediate
  done
  rm -rf "$CLUSTER_ROOM"
  mkdir -p "$CLUSTER_ROOM"
  chmod 755 "$ROOM/clusters" "$CLUSTER_ROOM"
  SOCKET_DIR=$(mktemp -d -t lean.XXXXXX)
  chmod 755 "$SOCKET_DIR"
  if [ "$(id -un)" != "$PG_OS_USER" ]; then
    chown "$PG_OS_USER" "$CLUSTER_ROOM" "$SOCKET_DIR"
  fi
  # Nothing of the user's own connection settings, which may lead elsewhere.
  unset PGSERVICE PGSERVICEFILE PGHOSTADDR PGPASSWORD PGPASSFILE PGOPTIONS PGSSLMODE PGCLIENTENCODING PGTZ PGDATESTYLE
  export PGHOST=$SOCKET_DIR PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
  trap cluster_cleanup EXIT
  trap 'exit 130' INT TERM
}

# cluster_init DIR [setting=value …]: makes a cluster; the settings are for a test, not for use.
cluster_init() {
  local dir=$1 setting
  shift
  (cd "$CLUSTER_ROOM" && as_pg "$PG_BINDIR/initdb" -D "$dir" -U postgres -A trust -E UTF8 --locale=C \
    --no-sync --no-instructions) >"$CLUSTER_ROOM/initdb.log" 2>&1 ||
    { cat "$CLUSTER_ROOM/initdb.log" >&2; die "initdb failed"; }
  {
    echo "listen_addresses = ''"
    echo "unix_socket_directories = '$SOCKET_DIR'"
    for setting in "$@"; do
      echo "${setting%%=*} = '${setting#*=}'"
    done
  } | as_pg tee -a "$dir/postgresql.conf" >/dev/null
}

cluster_start() {
  local dir=$1 port=$2
  CLUSTERS+=("$dir")
  # With RUST_BACKTRACE the server would add a trace to the detail of each error.
  (cd "$CLUSTER_ROOM" && as_pg env -u RUST_BACKTRACE -u RUST_LIB_BACKTRACE "$PG_BINDIR/pg_ctl" start -D "$dir" -l "$dir.log" -w -t 120 -o "-p $port") \
    >"$CLUSTER_ROOM/pg_ctl.log" 2>&1 || {
    tail -n 40 "$dir.log" >&2
    die "the server in $dir did not start"
  }
}

cluster_stop() {
  (cd / && as_pg "$PG_BINDIR/pg_ctl" stop -D "$1" -m "${2:-fast}" -w -t 120) >/dev/null 2>&1 || true
}

cluster_cleanup() {
  local status=$? dir
  for dir in "${CLUSTERS[@]}"; do
    [ ! -f "$dir/postmaster.pid" ] || cluster_stop "$dir" immediate
    # What a failed run leaves is what one needs to look into it.
    [ $status -ne 0 ] || rm -rf "$dir"
  done
  [ -z "$SOCKET_DIR" ] || rm -rf "$SOCKET_DIR"
  return $status
}

# psql without the user's settings, stopping at the first error.
run_sql() { "$PG_BINDIR/psql" -X -q -v ON_ERROR_STOP=1 "$@"; }
# One value, as bare text.
sql_value() { run_sql -At -c "$1" "${@:2}"; }
