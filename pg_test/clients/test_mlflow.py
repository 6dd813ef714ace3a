"""MLflow from PyPI, unmodified, writes its tables into a schema; imported, they say what its client reads from them."""

import os
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest

# No word to anybody about who runs these tests.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "true"

from mlflow import MlflowClient, set_tracking_uri
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow_reads import PROJECT, assert_same, footprint


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory):
    """MLflow, which makes its tables when it is first asked."""
    os.chdir(tmp_path_factory.mktemp("mlflow"))
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("CREATE SCHEMA mlflow")
        info = connection.info
        place = f"host={info.host}&port={info.port}&options=-csearch_path%3Dmlflow"
        uri = f"postgresql+psycopg2://{info.user}@/{info.dbname}?{place}"
    set_tracking_uri(uri)
    made = MlflowClient(uri, uri)
    made.search_experiments()
    return made


@pytest.fixture
def db():
    """A connection, and nothing imported yet."""
    with psycopg.connect(autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
        connection.execute("DROP EXTENSION leanstack CASCADE")
        connection.execute("CREATE EXTENSION leanstack")
        yield connection


@pytest.fixture
def client(db, mlflow):
    """MLflow with empty tables, but for the experiment that is always there."""
    revision = db.execute("SELECT version_num FROM mlflow.alembic_version").fetchone()["version_num"]
    tables = db.execute(
        "SELECT string_agg(oid::regclass::text, ', ') AS names FROM pg_class"
        " WHERE relnamespace = 'mlflow'::regnamespace AND relkind = 'r'"
        " AND relname NOT IN ('alembic_version', 'workspaces')"
    ).fetchone()["names"]
    db.execute(f"TRUNCATE {tables} RESTART IDENTITY")
    db.execute(
        "INSERT INTO mlflow.experiments (experiment_id, name, lifecycle_stage, creation_time)"
        " VALUES (0, 'Default', 'active', 0)"
    )
    yield mlflow
    db.execute("UPDATE mlflow.alembic_version SET version_num = %s", [revision])


def brought(db, **options):
    """Imports, and gives what was done by kind: (total, imported, updated)."""
    named = "".join(f", {name} => %s" for name in options)
    rows = db.execute(f"SELECT * FROM lean.import_mlflow('mlflow', %s{named})", [PROJECT, *options.values()])
    return {row["kind"]: (row["total"], row["imported"], row["updated"]) for row in rows}


def dataset(name, digest, context, source='{"uri": "s3://data/x.parquet"}'):
    """Data that a run reads."""
    tags = [InputTag("mlflow.data.context", context)] if context else []
    return DatasetInput(Dataset(name, digest, "s3", source, '{"mlflow_colspec": []}', '{"num_rows": 3}'), tags)


def written(client):
    """A team's work: what it made, by name."""
    plain = client.create_experiment("/Users/ann/churn", tags={"team": "growth", "mlflow.note.content": "who leaves"})
    empty = client.create_experiment("nothing yet")
    gone = client.create_experiment("given up")
    parent = client.create_run(
        plain,
        run_name="sweep",
        tags={"mlflow.source.git.commit": "4f2c9d1", "mlflow.source.git.branch": "main", "mlflow.user": "ann"},
    ).info.run_id
    child = client.create_run(plain, run_name="depth 3", tags={"mlflow.parentRunId": parent}).info.run_id
    grandchild = client.create_run(plain, tags={"mlflow.parentRunId": child}).info.run_id
    deleted = client.create_run(plain, run_name="mistake").info.run_id
    lost = client.create_run(gone).info.run_id
    points = [Metric("loss", 1 / (step + 1), 1_700_000_000_000 + 250 * step, step) for step in range(300)]
    odd = [float("nan"), float("inf"), -float("inf"), -0.5, 1e-300, 5e307]
    points += [Metric("odd", value, 1_700_000_000_000 + n, n) for n, value in enumerate(odd)]
    # The latest is that of the highest step, then time; the same step twice, one late.
    points += [
        Metric("twice", 0.5, 1_700_000_000_001, 7),
        Metric("twice", 0.25, 1_700_000_000_000, 7),
        Metric("twice", 9.0, 1_700_000_000_009, 1),
    ]
    points += [Metric("ends as nan", 1.0, 1, 1), Metric("ends as nan", float("nan"), 2, 2)]
    client.log_batch(
        child,
        points,
        [Param("depth", "3"), Param("note", "ö' \\ \""), Param("long", "x" * 5000)],
        [RunTag("seed", "7")],
    )
    for run in (parent, deleted, lost):
        client.log_metric(run, "loss", 0.5, step=1)
        client.log_param(run, "depth", 4)
    client.log_inputs(child, [dataset("customers", "d1", "training"), dataset("customers", "d2", "validation")])
    client.log_inputs(lost, [dataset("customers", "d1", None)])
    client.set_terminated(child, "FINISHED")
    client.set_terminated(grandchild, "FAILED")
    client.delete_run(deleted)
    client.delete_experiment(gone)

    client.create_registered_model("churn", {"tier": "1"}, "who leaves")
    client.create_registered_model("no versions")
    for n, run in enumerate([child, None, parent, child], 1):
        client.create_model_version(
            "churn",
            f"s3://models/churn/{n}",
            run,
            tags={"n": str(n)},
            description=f"number {n}",
            run_link="https://ci/1",
        )
    client.set_registered_model_alias("churn", "champion", "1")
    client.set_registered_model_alias("churn", "challenger", "4")
    client.transition_model_version_stage("churn", "1", "Production")
    client.transition_model_version_stage("churn", "4", "Staging")
    client.delete_model_version("churn", "2")
    return {
        "plain": plain,
        "empty": empty,
        "gone": gone,
        "parent": parent,
        "child": child,
        "deleted": deleted,
        "lost": lost,
        "grandchild": grandchild,
    }


def test_everything_is_as_mlflow_reads_it(db, client):
    """Experiments, nested runs, metrics with all points, params, tags, data, models, versions, aliases, stages."""
    made = written(client)
    done = brought(db)
    assert {kind: counts[:2] for kind, counts in done.items()} == {
        "experiments": (4, 4),
        "runs": (5, 5),
        "params": (6, 6),
        "metrics": (314, 314),
        "datasets": (2, 2),
        "inputs": (3, 3),
        "artifacts": (5, 5),
        "models": (2, 2),
        "versions": (4, 4),
        "aliases": (2, 2),
        "stages": (2, 2),
    }
    assert not any(counts[2] for counts in done.values())
    assert_same(db, client)

    # The summaries that were kept while importing are those of the history.
    best = db.execute(
        "SELECT * FROM lean.best_run(%s, 'loss', maximize => false, of_all_steps => true)",
        [f"{PROJECT}/:Users:ann:churn"],
    ).fetchone()
    assert (str(best["run_id"]), best["metric_value"], best["step"]) == (str(UUID(made["child"])), 1 / 300, 299)
    kept = db.execute(
        "SELECT count(*) FROM lean.run_metric AS x"
        " JOIN (SELECT run_no, key_no, min(value) FILTER (WHERE value <> 'NaN') AS low,"
        " max(value) FILTER (WHERE value <> 'NaN') AS high FROM lean.metric GROUP BY 1, 2) AS m USING (run_no, key_no)"
        " WHERE (x.min_value, x.max_value) IS DISTINCT FROM (m.low, m.high)"
    ).fetchone()
    assert kept["count"] == 0
    filtered = db.execute(
        "SELECT name FROM lean.search_runs(%s, 'params.depth = 3 AND tags.seed = 7')", [f"{PROJECT}/:Users:ann:churn"]
    )
    assert [row["name"] for row in filtered] == ["depth 3"]

    # A number that was used is not used again, and the deleted version has no more to say than in MLflow.
    assert db.execute("SELECT lean.create_model_version('churn') AS version").fetchone()["version"] == 5
    row = db.execute("SELECT * FROM lean.model_version WHERE version = 2").fetchone()
    assert row["deleted_at"] is not None and row["artifact_uri"] is None and row["run_no"] is None
    found = db.execute(
        "SELECT version, since <= now() AS since, reason FROM lean.model_at('churn', 'champion')"
    ).fetchone()
    assert found == {"version": 1, "since": True, "reason": "import from MLflow, schema mlflow"}
    data = db.execute("SELECT * FROM lean.dataset WHERE digest = 'd1'").fetchone()
    assert data["uri"] == "s3://data/x.parquet" and "num_rows" in data["description"]

    # What came as deleted comes back as it does here.
    db.execute("SELECT lean.restore_experiment(%s)", [f"{PROJECT}/given up"])
    assert db.execute("SELECT name FROM lean.run_summary WHERE run_id = %s", [UUID(made["lost"])]).fetchone()


def test_a_second_import_changes_nothing(db, client):
    """Not a row is written."""
    written(client)
    first = brought(db)
    before = footprint(db)
    again = brought(db)
    assert again == {kind: (counts[0], 0, 0) for kind, counts in first.items()}
    assert footprint(db) == before


def test_two_imports_at_once(db, client):
    """One waits for the other, and has nothing left to do."""
    written(client)
    statement = f"SELECT imported + updated FROM lean.import_mlflow('mlflow', '{PROJECT}')"
    with psycopg.connect() as first, psycopg.connect() as second, ThreadPoolExecutor() as pool:
        assert sum(row[0] for row in first.execute(statement)) > 300
        waits = pool.submit(lambda: sum(row[0] for row in second.execute(statement)))
        first.commit()
        assert waits.result() == 0


def test_changes_come_over(db, client):
    """New points, ends of runs, tags, names, deleting and restoring, aliases and stages, which the history gets."""
    made = written(client)
    brought(db)
    client.log_metric(made["parent"], "loss", 0.125, step=2)
    client.log_metric(made["parent"], "accuracy", float("-inf"), step=1)
    client.log_metric(made["child"], "odd", 3.0, timestamp=5, step=2)
    client.log_param(made["parent"], "width", 9)
    client.set_terminated(made["parent"], "KILLED")
    client.set_tag(made["parent"], "seed", "8")
    client.set_tag(made["child"], "seed", "9")
    client.update_run(made["child"], name="depth three")
    client.restore_run(made["deleted"])
    client.delete_run(made["grandchild"])
    client.log_inputs(
        made["parent"], [dataset("customers", "d1", "test"), dataset("prices", "p", "training", "by hand")]
    )
    late = client.create_run(made["empty"], tags={"mlflow.parentRunId": made["parent"]}).info.run_id
    client.set_tag(late, "late", "yes")
    client.set_experiment_tag(made["plain"], "team", "care")
    client.set_experiment_tag(made["plain"], "mlflow.note.content", "who stays")
    client.restore_experiment(made["gone"])
    # Names that are exchanged.
    client.rename_experiment(made["empty"], "aside")
    client.rename_experiment(made["gone"], "nothing yet")
    client.rename_experiment(made["empty"], "given up")
    client.delete_experiment(made["empty"])

    client.update_registered_model("churn", "who stays")
    client.set_registered_model_tag("churn", "tier", "2")
    client.set_model_version_tag("churn", "1", "n", "one")
    client.update_model_version("churn", "1", "the first")
    client.create_model_version("churn", "s3://models/churn/5", late)
    client.set_registered_model_alias("churn", "champion", "5")
    client.delete_registered_model_alias("churn", "challenger")
    client.set_registered_model_alias("churn", "shadow", "3")
    client.transition_model_version_stage("churn", "5", "Production", archive_existing_versions=True)
    client.transition_model_version_stage("churn", "4", "None")
    client.delete_model_version("churn", "4")
    client.create_registered_model("another")

    done = brought(db)
    assert_same(db, client)
    assert done["metrics"][1:] == (3, 0) and done["params"][1:] == (1, 0)
    assert done["runs"] == (6, 1, 5) and done["experiments"] == (4, 0, 3)
    assert done["datasets"][1:] == (1, 0) and done["inputs"][1:] == (2, 0)
    assert done["models"] == (3, 1, 1) and done["versions"] == (5, 1, 1)
    assert done["aliases"] == (2, 1, 2) and done["stages"] == (2, 1, 3)
    assert db.execute("SELECT uri FROM lean.dataset WHERE name = 'prices'").fetchone()["uri"] == "by hand"

    history = db.execute(
        "SELECT kind, name, version, valid_to IS NULL AS holds, reason, end_reason FROM lean.model_history"
        " ORDER BY kind, name, version"
    ).fetchall()
    reason = "import from MLflow, schema mlflow"
    assert [tuple(row.values()) for row in history] == [
        ("alias", "challenger", 4, False, reason, reason),
        ("alias", "champion", 1, False, reason, reason),
        ("alias", "champion", 5, True, reason, None),
        ("alias", "shadow", 3, True, reason, None),
        ("stage", "archived", 1, True, reason, None),
        ("stage", "production", 1, False, reason, reason),
        ("stage", "production", 5, True, reason, None),
        ("stage", "staging", 4, False, reason, reason),
    ]
    before = footprint(db)
    assert not any(counts[1] or counts[2] for counts in brought(db).values())
    assert footprint(db) == before


def test_what_was_done_here_stays(db, client):
    """Tags, metrics, aliases and stages of our own, until MLflow says something else about the same."""
    made = written(client)
    brought(db)
    child = UUID(made["child"])
    db.execute(
        """SELECT lean.set_tags(%s, '{"ours": "1"}'), lean.log_metric(%s, 'ours', 1, 0, '2024-01-01')""", [child, child]
    )
    db.execute(
        "SELECT lean.set_alias('churn', 'champion', 3), lean.set_alias('churn', 'ours', 3),"
        " lean.set_stage('churn', 4, 'archived')"
    )
    db.execute("SELECT lean.delete_alias('churn', 'challenger')")
    before = footprint(db)
    assert not any(counts[1] or counts[2] for counts in brought(db).values())
    assert footprint(db) == before

    client.set_registered_model_alias("churn", "champion", "4")
    client.set_registered_model_alias("churn", "challenger", "3")
    client.set_tag(made["child"], "theirs", "2")
    done = brought(db)
    assert (done["aliases"], done["stages"], done["runs"]) == ((2, 1, 1), (2, 0, 0), (5, 0, 1))
    rows = db.execute("SELECT alias, version FROM lean.model_aliases ORDER BY 1").fetchall()
    assert [tuple(row.values()) for row in rows] == [("challenger", 3), ("champion", 4), ("ours", 3)]
    assert db.execute(
        "SELECT tags ->> 'ours' AS ours, tags ->> 'theirs' AS theirs FROM lean.run WHERE run_id = %s", [child]
    ).fetchone() == {
        "ours": "1",
        "theirs": "2",
    }

    # Two cannot number the versions of one model.
    db.execute("SELECT lean.create_model_version('churn')")
    client.create_model_version("churn", "s3://models/churn/5")
    with pytest.raises(psycopg.errors.DuplicateObject, match='version 5 of model "churn" was made here'):
        brought(db)


def test_logged_models(db, client):
    """MLflow 3 has models that are logged and not registered: artifacts of their runs."""
    if not hasattr(client, "create_logged_model"):
        pytest.skip("this MLflow has none")
    experiment = client.create_experiment("e")
    run = client.create_run(experiment).info.run_id
    model = client.create_logged_model(experiment, name="m", source_run_id=run)
    client.create_registered_model("r")
    version = client.create_model_version("r", f"models:/{model.model_id}", run)
    assert brought(db)["artifacts"] == (2, 2, 0)
    rows = db.execute(
        "SELECT a.uri, r.model_path FROM lean.run_artifact AS a JOIN lean.run AS r USING (run_no) WHERE a.name = %s",
        [f"models:/{model.model_id}"],
    )
    assert [tuple(row.values()) for row in rows] == [(model.artifact_location, model.artifact_location)]
    assert db.execute("SELECT artifact_uri FROM lean.get_model_version('r@1')").fetchone()[
        "artifact_uri"
    ] == client.get_model_version_download_uri("r", version.version)
    assert_same(db, client)


def test_prompts_are_no_models(db, client):
    """MLflow keeps prompts in the tables of models, and does not list them as such either."""
    if not hasattr(client, "register_prompt"):
        pytest.skip("this MLflow has none")
    client.register_prompt("words", "Say {{it}}.")
    client.create_registered_model("model")
    assert brought(db)["models"] == (1, 1, 0)
    assert_same(db, client)


def test_another_revision_is_refused(db, client):
    """By its name, with those that are known; who insists may try."""
    client.create_experiment("e")
    tested = {row["revision"] for row in db.execute("SELECT revision FROM lean.mlflow_revisions()")}
    current = db.execute("SELECT version_num FROM mlflow.alembic_version").fetchone()["version_num"]
    assert current in tested
    db.execute("UPDATE mlflow.alembic_version SET version_num = 'f00dfacecafe'")
    with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
        brought(db)
    message = refused.value.diag
    assert (
        message.message_primary
        == 'MLflow\'s tables in schema "mlflow" have revision f00dfacecafe, with which import is not tested'
    )
    assert all(revision in message.message_detail for revision in tested)
    assert "allow_untested" in message.message_hint
    assert db.execute("SELECT count(*) FROM lean.experiment").fetchone()["count"] == 0
    assert brought(db, allow_untested=True)["experiments"] == (2, 2, 0)


def test_workspaces(db, client):
    """Of several, one is chosen; models of the same name in two get a prefix."""
    columns = "SELECT FROM information_schema.columns WHERE table_schema = 'mlflow' AND column_name = 'workspace'"
    if not db.execute(columns).fetchall():
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="have no workspaces"):
            brought(db, workspace="x")
        pytest.skip("this MLflow has none")
    client.create_registered_model("churn", description="the first")
    client.create_model_version("churn", "s3://1")
    assert brought(db)["models"] == (1, 1, 0)
    # Another workspace, as MLflow writes it.
    db.execute("INSERT INTO mlflow.workspaces (name) VALUES ('two')")
    db.execute("INSERT INTO mlflow.experiments (name, lifecycle_stage, workspace) VALUES ('Default', 'active', 'two')")
    db.execute(
        "INSERT INTO mlflow.registered_models (name, description, workspace) VALUES ('churn', 'the second', 'two')"
    )
    db.execute(
        "INSERT INTO mlflow.model_versions (name, version, current_stage, source, workspace)"
        " VALUES ('churn', 3, 'Production', 's3://2', 'two')"
    )
    db.execute(
        "INSERT INTO mlflow.model_version_tags (name, version, key, value, workspace)"
        " VALUES ('churn', 3, 'k', 'v', 'two')"
    )
    db.execute(
        "INSERT INTO mlflow.registered_model_aliases (name, alias, version, workspace)"
        " VALUES ('churn', 'champion', 3, 'two')"
    )
    with pytest.raises(psycopg.errors.AmbiguousParameter, match="have 2 workspaces: default, two"):
        brought(db)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match='nothing in workspace "three"'):
        brought(db, workspace="three")
    assert not any(counts[1] or counts[2] for counts in brought(db, workspace="default").values())
    statement = "SELECT * FROM lean.import_mlflow('mlflow', 'other', workspace => 'two'{})"
    with pytest.raises(psycopg.errors.DuplicateObject) as refused:
        db.execute(statement.format(""))
    assert "(churn)" in refused.value.diag.message_detail and "model_prefix" in refused.value.diag.message_hint
    done = db.execute(statement.format(", model_prefix => 'two-'")).fetchall()
    assert [(row["kind"], row["imported"]) for row in done if row["imported"]] == [
        ("experiments", 1),
        ("models", 1),
        ("versions", 1),
        ("aliases", 1),
        ("stages", 1),
    ]
    rows = db.execute(
        "SELECT m.name, m.description, v.version, v.artifact_uri, v.tags FROM lean.models AS m"
        " JOIN lean.model_versions AS v USING (name) ORDER BY 1"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("churn", "the first", 1, "s3://1", {}),
        ("two-churn", "the second", 3, "s3://2", {"k": "v"}),
    ]
    # The prefix is no longer needed to find it.
    assert not any(row["imported"] or row["updated"] for row in db.execute(statement.format("")))
