#!/usr/bin/env bash
# Installs an extension named `vector` that requires leanstack and creates nothing, so that clients,
# migrations and dumps which say CREATE EXTENSION vector keep working. Never part of `make install`.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
use_server "$PG_CONFIG"

# What the shim calls itself: the pgvector release whose SQL surface leanstack has.
VERSION=0.8.6
MARK='leanstack under the name vector'
target="$("$PG_CONFIG" --sharedir)/extension"

if [ -f "$target/vector.control" ] && ! grep -q "$MARK" "$target/vector.control"; then
  die "pgvector is installed in $target: remove it first (its package, or its vector.control and vector--*.sql)," \
    "since both would be called \"vector\""
fi
[ -f "$target/leanstack.control" ] || die "leanstack is not installed in $target: run 'make install' first"

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
cat >"$stage/vector.control" <<CONTROL
comment = '$MARK'
default_version = '$VERSION'
requires = 'leanstack'
relocatable = true
superuser = true
CONTROL
echo "-- Everything is in the extension leanstack, which this one requires." >"$stage/vector--$VERSION.sql"
# Dumps may name the version they were made with; each is the same empty script.
for version in 0.5.0 0.5.1 0.6.0 0.6.1 0.6.2 0.7.0 0.7.1 0.7.2 0.7.3 0.7.4 0.8.0 0.8.1 0.8.2 0.8.3 0.8.4 0.8.5; do
  cp "$stage/vector--$VERSION.sql" "$stage/vector--$version.sql"
  cp "$stage/vector--$VERSION.sql" "$stage/vector--$version--$VERSION.sql"
done
if [ -w "$target" ]; then
  install -m 644 "$stage"/* "$target/"
else
  as_root install -m 644 "$stage"/* "$target/"
fi
echo "CREATE EXTENSION vector CASCADE now gives leanstack in PostgreSQL $PG_MAJOR"
