# Sourced by every script: which server, which cargo features, and the room for throwaway things.
# Nothing here writes outside target/, except where the server's user cannot reach that folder.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PG_CONFIG=${PG_CONFIG:-pg_config}
export PATH="$HOME/.cargo/bin:$PATH"

# build.rs gives the library its linker flag. The same one from cargo-pgrx would go to every package,
# and each would be built twice, for the tests and for the library.
export CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND=1

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# PostgreSQL refuses to run as root, so root's servers run as its own user.
PG_OS_USER=$(id -un)
[ "$(id -u)" -ne 0 ] || PG_OS_USER=postgres

as_pg() {
  if [ "$(id -un)" = "$PG_OS_USER" ]; then
    "$@"
  else
    runuser -u "$PG_OS_USER" -- "$@"
  fi
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    command -v sudo >/dev/null || die "root is needed, and sudo is not installed, for: $*"
    sudo "$@"
  fi
}

# Names the server: PG_BINDIR, PG_MAJOR, and the feature flags that fit it.
use_server() {
  PG_CONFIG=$1
  PG_BINDIR=$("$PG_CONFIG" --bindir) || die "cannot run $PG_CONFIG: PG_CONFIG=/path/to/pg_config names a server"
  [ ! -x "$PG_BINDIR/pg_config" ] || PG_CONFIG=$PG_BINDIR/pg_config
  PG_MAJOR=$("$PG_CONFIG" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
  grep -q "^pg$PG_MAJOR = " "$ROOT/Cargo.toml" ||
    die "$("$PG_CONFIG" --version) is not one of the majors that leanstack builds for"
  FEATURES="pg$PG_MAJOR"
  CARGO_FLAGS=(--no-default-features --features "$FEATURES")
  export PG_CONFIG PG_BINDIR PG_MAJOR
}

# The room for servers and clusters. Where the server's user cannot enter the checkout (a root
# home, say), the room is a fresh temporary folder and target/room only points to it.
use_room() {
  mkdir -p "$ROOT/target"
  local link="$ROOT/target/room"
  if [ ! -d "$link" ]; then
    rm -f "$link"
    if as_pg test -x "$ROOT/target"; then
      mkdir "$link"
    else
      ln -s "$(mktemp -d -t leanstack.XXXXXX)" "$link"
    fi
  fi
  ROOM=$(cd "$link" && pwd -P)
  chmod 755 "$ROOM"
}

# A private copy of the chosen server's programs, so that tests and the demo install into it and
# never into the system. PostgreSQL finds its folders relative to its programs, so a copy with the
# same relative places is a whole server; headers and libraries are only linked.
copy_server() {
  local name=$1 copy stamp dir entry
  use_room
  copy="$ROOM/servers/$name-$PG_MAJOR"
  [[ "$PG_CONFIG" != "$copy"/* ]] || die "PG_CONFIG names the private copy itself: leave it out, or name the server"
  stamp="$PG_CONFIG $("$PG_CONFIG" --version) $(stat -c %Y "$PG_BINDIR/postgres")"
  if [ "$(cat "$copy/stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$copy"
    for dir in --bindir --pkglibdir --sharedir; do
      dir=$("$PG_CONFIG" $dir)
      mkdir -p "$copy$(dirname "$dir")"
      # A dangling link in a packaged tree is no reason to stop.
      cp -aL "$dir" "$copy$(dirname "$dir")/" 2>/dev/null || true
    done
    for dir in --libdir --includedir --pkgincludedir --includedir-server; do
      dir=$("$PG_CONFIG" $dir)
      if [ ! -e "$copy$dir" ]; then
        mkdir -p "$copy$(dirname "$dir")"
        ln -s "$dir" "$copy$dir"
      elif [ ! -L "$copy$dir" ] && ! [ "$copy$dir" -ef "$dir" ]; then
        for entry in "$dir"/*; do
          [ -e "$copy$entry" ] || ln -s "$entry" "$copy$entry"
        done
      fi
    done
    chmod -R a+rX "$copy"
    chmod 755 "$ROOM/servers"
    echo "$stamp" >"$copy/stamp"
  fi
  # Programs that look for libraries beside themselves, outside of the folders above, cannot be copied:
  # such a server is used where it is, as if PG_CONFIG had named a copy.
  if "$copy$PG_BINDIR/initdb" --version >/dev/null 2>&1; then
    use_server "$copy$PG_BINDIR/pg_config"
  fi
  # cargo-pgrx reads the server from its own configuration, so the copy gets one of its own.
  export PGRX_HOME="$copy/pgrx"
  if [ ! -f "$PGRX_HOME/config.toml" ]; then
    mkdir -p "$PGRX_HOME"
    printf '[configs]\npg%s = "%s"\n' "$PG_MAJOR" "$PG_CONFIG" >"$PGRX_HOME/config.toml"
  fi
}

# Builds leanstack with a profile (dev or release) and installs it into the chosen server.
install_leanstack() {
  local profile=$1 log
  shift
  mkdir -p "$ROOT/target/logs"
  log="$ROOT/target/logs/install.log"
  say "building leanstack ($profile) for PostgreSQL $PG_MAJOR"
  (cd "$ROOT" && cargo pgrx install --profile "$profile" --pg-config "$PG_CONFIG" "${CARGO_FLAGS[@]}" "$@") 2>&1 |
    tee "$log" | show_progress || {
    tail -n 60 "$log" >&2
    die "the build failed; the whole output is in $log"
  }
}

# One line that counts what cargo compiles, or a line now and then where there is no terminal.
show_progress() {
  local terminal=0
  [ ! -t 2 ] || terminal=1
  awk -v terminal=$terminal '
    / Compiling / {
      n++
      if (terminal) printf "\r    %d packages compiled, now %-40s", n, $2 > "/dev/stderr"
      else if (n % 10 == 0 || $2 == "leanstack") printf "    %d packages compiled, now %s\n", n, $2 > "/dev/stderr"
    }
    END { if (terminal && n) printf "\r%70s\r", "" > "/dev/stderr" }'
}
