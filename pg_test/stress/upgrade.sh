#!/usr/bin/env bash
# Dump and restore: a database with leanstack comes back whole, and so does one that was dumped with
# pgvector in it, through the extension named `vector` that stands in for it.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cluster_room stress-upgrade
data="$CLUSTER_ROOM/data"
cluster_init "$data" fsync=off
cluster_start "$data" 5432
make_table 500
run_sql -c 'CREATE TABLE kinds (h halfvec(3), s sparsevec(5), b bit(7))' \
  -c "INSERT INTO kinds VALUES ('[1,2,3]', '{1:1.5,4:-2}/5', B'1010101'), (NULL, NULL, NULL)"

contents="SELECT md5(string_agg(i::text, ';' ORDER BY id)) || (SELECT md5(string_agg(k::text, ';' ORDER BY k::text)) FROM kinds AS k) FROM items AS i"
for format in plain custom; do
  "$PG_BINDIR/pg_dump" -F $format -f "$CLUSTER_ROOM/dump.$format" postgres
  "$PG_BINDIR/createdb" "from_$format"
  if [ $format = plain ]; then
    run_sql -d "from_$format" -f "$CLUSTER_ROOM/dump.$format" >/dev/null
  else
    "$PG_BINDIR/pg_restore" -e -d "from_$format" "$CLUSTER_ROOM/dump.$format"
  fi
  [ "$(sql_value "$contents")" = "$(sql_value "$contents" -d "from_$format")" ] || die "$format: the rows differ"
  check_indexes -d "from_$format"
  step "restored a $format dump"
done

# What pg_dump writes where pgvector is installed, in short.
"$PG_BINDIR/createdb" from_pgvector
run_sql -d from_pgvector -c 'CREATE EXTENSION leanstack' -f "$STRESS/pgvector_dump.sql" >/dev/null
[ "$(sql_value "SELECT count(*) FROM items WHERE embedding <-> '[1,2,3]' < 3" -d from_pgvector)" = 2 ] || die "the restored table answers wrongly"
[ "$(sql_value "SELECT extversion LIKE '0.8.%' FROM pg_extension WHERE extname = 'vector'" -d from_pgvector)" = t ] || die "no version of vector"
"$PG_BINDIR/pg_dump" -f "$CLUSTER_ROOM/dump.shim" from_pgvector
"$PG_BINDIR/createdb" again
run_sql -d again -f "$CLUSTER_ROOM/dump.shim" >/dev/null
[ "$(sql_value 'SELECT count(*) FROM items' -d again)" = 3 ] || die "a dump with the stand-in did not come back"
step "restored a dump from pgvector, and one of the stand-in"

# The control file's version, the installed one and that of the library agree.
[ "$(sql_value "SELECT extversion = default_version FROM pg_extension JOIN pg_available_extensions ON name = extname WHERE extname = 'leanstack'")" = t ] ||
  die "the installed version is not the default one"
