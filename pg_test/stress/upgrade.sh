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
run_sql -f "$STRESS/registry.sql" >/dev/null
run_sql -f "$STRESS/features_dump.sql" >/dev/null
features="SELECT concat_ws(' ', g.*, f.*, v.*, u.*) FROM lean.feature_group AS g JOIN lean.feature AS f ON (f.group_name, f.group_version) = (g.name, g.version)
  LEFT JOIN lean.feature_view_feature AS u ON (u.group_name, u.group_version, u.feature) = (f.group_name, f.group_version, f.name)
  LEFT JOIN lean.feature_view AS v ON (v.name, v.version) = (u.view_name, u.view_version) ORDER BY 1;
  SELECT entity, feature_values, status, event_times FROM lean.get_online_features('rides', '[{\"driver\": 1, \"zone\": \"n\"}, {\"driver\": 2, \"zone\": \"n\"}]');
  SELECT * FROM lean.get_historical_features('rides', 'stops') AS (driver bigint, zone text, event_timestamp timestamptz, fare real, trips bigint, feeling public.mood, seen vector(2)) ORDER BY 1, 3"

features_before=$(sql_value "$features")
[ "$(wc -l <<<"$features_before")" -ge 10 ] || die "features: $features_before"

# Tables and sequences of leanstack's own, a line for each with a digest of its rows and the privileges on it.
registry="SELECT concat_ws(' ', c.oid::regclass, md5(query_to_xml(format(CASE c.relkind WHEN 'S' THEN 'SELECT last_value, is_called FROM %1\$s'
      ELSE 'SELECT * FROM %1\$s AS t ORDER BY t::text' END, c.oid::regclass), true, false, '')::text), c.relrowsecurity, c.relacl)
    FROM pg_extension AS e, unnest(e.extconfig) AS x JOIN pg_class AS c ON c.oid = x WHERE e.extname = 'leanstack' ORDER BY 1"
# A dump takes all of them along but two, which hold nothing that is true of another database, and here none is empty.
left_out=$(sql_value "SELECT string_agg(c.oid::regclass::text, ' ' ORDER BY c.oid::regclass::text) FROM pg_extension AS e
    JOIN pg_depend AS d ON (d.refclassid, d.refobjid, d.classid) = ('pg_extension'::regclass, e.oid, 'pg_class'::regclass) JOIN pg_class AS c ON c.oid = d.objid
    WHERE e.extname = 'leanstack' AND c.relkind IN ('r', 'p', 'S') AND c.oid <> ALL (e.extconfig)")
[ "$left_out" = 'lean.feature_materialization lean.lineage_guard' ] || die "a dump leaves out $left_out"
empty=$(sql_value "SELECT string_agg(c.oid::regclass::text, ' ') FROM pg_extension AS e, unnest(e.extconfig) AS x JOIN pg_class AS c ON c.oid = x
    WHERE e.extname = 'leanstack' AND c.relkind <> 'S' AND query_to_xml(format('SELECT FROM %s LIMIT 1', c.oid::regclass), true, false, '')::text !~ '<row'")
[ -z "$empty" ] || die "nothing to dump in $empty"
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
  sql_value "$registry" >"$CLUSTER_ROOM/registry"
  sql_value "$registry" -d "from_$format" >"$CLUSTER_ROOM/registry.$format"
  diff "$CLUSTER_ROOM/registry" "$CLUSTER_ROOM/registry.$format" || die "$format: leanstack's own rows differ"
  # Numbers go on where they were, and what was refused still is.
  [ "$(sql_value "SELECT lean.create_model_version('dumped') || ',' || (lean.register_model('next') > (SELECT max(model_id) FROM lean.model))" -d "from_$format")" = 3,true ] ||
    die "$format: numbers do not go on"
  ! run_sql -d "from_$format" -c "SELECT lean.drop_feature_view('dumped_view')" 2>/dev/null || die "$format: a feature view that a model uses was dropped"
  check_indexes -d "from_$format"
  [ "$features_before" = "$(sql_value "$features" -d "from_$format")" ] || die "$format: the features differ"
  # What is defined there works as it did: the same rows are not new, a later one is, and what a view uses stays.
  [ "$(sql_value "SELECT lean.write_features_from('rides_by_zone@2', 'SELECT * FROM \"Rides\".rides_by_zone_v2')" -d "from_$format")" = 0 ] || die "$format: rows are new"
  [ "$(sql_value "SELECT lean.write_features('rides_by_zone@2', '{\"driver\": 1, \"zone\": \"n\", \"event_timestamp\": \"2026-02-01Z\", \"fare\": 9}')" -d "from_$format")" = 1 ] || die "$format: a row is not new"
  [ "$(sql_value "SELECT feature_values ->> 'fare' FROM lean.get_online_features('rides', '{\"driver\": 1, \"zone\": \"n\"}')" -d "from_$format")" = 9 ] || die "$format: the row is not online"
  [ "$(sql_value "SELECT rows_changed FROM lean.materialize_incremental('drivers')" -d "from_$format")" = 0 ] || die "$format: something was not online"
  ! sql_value "SELECT lean.drop_feature_group('drivers')" -d "from_$format" 2>/dev/null || die "$format: a group that is used was dropped"
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
