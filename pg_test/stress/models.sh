#!/usr/bin/env bash
# Models under concurrent sessions: numbers of versions have no gaps, the history of aliases and stages has neither gaps of
# its own making nor overlaps and agrees with what is set, and no two sessions close a cycle of the lineage between them.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cluster_room stress-models
cluster_init "$CLUSTER_ROOM/data" fsync=off deadlock_timeout=200ms
cluster_start "$CLUSTER_ROOM/data" 5432
run_sql -c 'CREATE EXTENSION leanstack' -c "SELECT lean.register_model('a'), lean.register_model('b')" >/dev/null
run_sql -c "SELECT lean.create_model_version(m), lean.log_evaluation(m, 1, 'auc', 0) FROM unnest('{a,b}'::text[]) AS m" >/dev/null

# pgbench with a script on its standard input, of which every transaction must work.
clients() {
  cat >"$CLUSTER_ROOM/script.sql"
  "$PG_BINDIR/pgbench" -n -c 6 -j 2 -t "$1" -f "$CLUSTER_ROOM/script.sql" >"$CLUSTER_ROOM/load.log" 2>&1 && ! grep -q aborted "$CLUSTER_ROOM/load.log" ||
    { cat "$CLUSTER_ROOM/load.log"; die "a session met an error"; }
}

clients $((60 * ROUNDS)) <<'SQL'
\set model random(1, 2)
\set score random(0, 1000)
\set alias random(1, 3)
\set stage random(1, 3)
SELECT lean.create_model_version(CASE :model WHEN 1 THEN 'a' ELSE 'b' END) AS v \gset
BEGIN;
SELECT lean.create_model_version('a'), lean.set_alias('a', 'undone', 1);
ROLLBACK;
SELECT lean.log_evaluation(CASE :model WHEN 1 THEN 'a' ELSE 'b' END, :v, 'auc', :score);
SELECT lean.set_alias(CASE :model WHEN 1 THEN 'a' ELSE 'b' END, 'alias' || :alias, :v, 'load');
SELECT lean.set_stage(CASE :model WHEN 1 THEN 'a' ELSE 'b' END, :v, (ARRAY['staging', 'production', 'archived'])[:stage], archive_existing => :alias = 1);
SELECT * FROM lean.promote_if_better(CASE :model WHEN 1 THEN 'a' ELSE 'b' END, :v, 'auc');
SQL
bad=$(sql_value "SELECT m.name, m.last_version, count(v), max(v.version) FROM lean.model AS m JOIN lean.model_version AS v USING (model_id)
    GROUP BY m.model_id HAVING NOT (count(v) = m.last_version AND max(v.version) = m.last_version)")
[ -z "$bad" ] || die "numbers of versions have gaps: $bad"
[ "$(sql_value 'SELECT count(*) FROM lean.model_version')" = $((6 * 60 * ROUNDS + 2)) ] || die "versions are missing"
bad=$(sql_value "SELECT * FROM (SELECT h.*, lead(valid_from) OVER (PARTITION BY model_id, name ORDER BY history_id) AS next FROM lean.model_history AS h
    WHERE kind = 'alias') AS h WHERE valid_to IS DISTINCT FROM next")
[ -z "$bad" ] || die "the history of an alias is not without gaps: $bad"
bad=$(sql_value "SELECT a, h FROM (SELECT * FROM lean.model_history WHERE kind = 'alias' AND valid_to IS NULL) AS h
    FULL JOIN lean.model_alias AS a ON (a.model_id, a.alias, a.version) = (h.model_id, h.name, h.version) WHERE a.version IS NULL OR h.version IS NULL")
[ -z "$bad" ] || die "aliases and their history differ: $bad"
bad=$(sql_value "SELECT v.version, v.stage, h.name FROM lean.model_version AS v LEFT JOIN lean.model_history AS h
    ON (h.model_id, h.version, h.kind) = (v.model_id, v.version, 'stage') AND h.valid_to IS NULL WHERE v.stage <> coalesce(h.name, 'none')")
[ -z "$bad" ] || die "stages and their history differ: $bad"
# Of each model the champion has the best score there is: no promotion overwrote a better one.
bad=$(sql_value "SELECT m.name, a.version FROM lean.model_alias AS a JOIN lean.model AS m USING (model_id) JOIN lean.model_evaluation AS e USING (model_id, version)
    WHERE a.alias = 'champion' AND e.value < (SELECT max(x.value) FROM lean.model_evaluation AS x WHERE x.model_id = m.model_id)")
[ -z "$bad" ] || die "a champion is not the best: $bad"
step "$(sql_value 'SELECT count(*) FROM lean.model_version') versions and $(sql_value 'SELECT count(*) FROM lean.model_history') changes without gaps"

# Edges at random between ten versions: most would close a cycle.
clients $((60 * ROUNDS)) <<'SQL'
\set a random(1, 10)
\set b random(1, 10)
\set drop random(1, 4)
DELETE FROM lean.model_parent WHERE :drop = 1 AND version = :a;
DO $$ BEGIN PERFORM lean.add_parent('a@' || :a, 'a@' || :b, 'retrained'); EXCEPTION WHEN integrity_constraint_violation THEN NULL; END $$;
SQL
bad=$(sql_value "WITH RECURSIVE up AS (SELECT version AS start, parent_version FROM lean.model_parent
    UNION SELECT u.start, p.parent_version FROM up AS u JOIN lean.model_parent AS p ON p.version = u.parent_version) SELECT * FROM up WHERE start = parent_version")
[ -z "$bad" ] || die "the lineage has a cycle: $bad"
step "no cycle among $(sql_value 'SELECT count(*) FROM lean.model_parent') edges"

# Two sessions that each add one half of a cycle: the second one waits for the first, and then is refused, or, if its
# snapshot is from before, fails to serialize.
waits_for() { # CONDITION, in which time does not matter: it comes true or the server's time limit ends the test
  echo "DO \$\$ BEGIN FOR i IN 1..6000 LOOP EXIT WHEN $1; PERFORM pg_sleep(0.01); PERFORM pg_stat_clear_snapshot(); END LOOP; END \$\$;"
}
for isolation in 'READ COMMITTED=integrity_constraint_violation' 'REPEATABLE READ=serialization_failure' 'SERIALIZABLE=serialization_failure'; do
  run_sql -c 'DELETE FROM lean.model_parent'
  {
    echo "BEGIN; SELECT lean.add_parent('a@1', 'b@1', 'retrained'), pg_advisory_xact_lock(1);"
    waits_for "EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
    echo 'COMMIT;'
  } | run_sql -f - >"$CLUSTER_ROOM/first.log" 2>&1 &
  first=$!
  {
    waits_for "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted)"
    echo "BEGIN ISOLATION LEVEL ${isolation%%=*}; SELECT count(*) FROM lean.model_parent;"
    echo "DO \$\$ BEGIN PERFORM lean.add_parent('b@1', 'a@1', 'retrained'); RAISE 'a cycle'; EXCEPTION WHEN ${isolation##*=} THEN RAISE NOTICE 'refused'; END \$\$;"
    echo 'COMMIT;'
  } | run_sql -f - >"$CLUSTER_ROOM/second.log" 2>&1 || { cat "$CLUSTER_ROOM/second.log"; die "${isolation%%=*}: the second session was not refused"; }
  wait $first || { cat "$CLUSTER_ROOM/first.log"; die "the first session failed"; }
  grep -q refused "$CLUSTER_ROOM/second.log" || die "the second session was not refused"
  [ "$(sql_value 'SELECT count(*) FROM lean.model_parent')" = 1 ] || die "not one edge"
done
step "of two sessions that each add half of a cycle, the second one is refused"
