"""What MLflow's client reads from its tables and what ours have after an import, in the same words."""

from uuid import UUID

from mlflow.entities import ViewType

# The project that is imported into.
PROJECT = "brought"
LARGEST = 1.7976931348623157e308


def number(value):
    """A value that MLflow read: it writes infinities as the largest numbers, and NaN is not equal to itself."""
    if value != value:
        return "NaN"
    return float("inf") if value == LARGEST else -float("inf") if value == -LARGEST else value


def ms(time):
    """A time of ours in MLflow's milliseconds."""
    return None if time is None else round(time.timestamp() * 1000)


STATUS = {"SCHEDULED": "running", "RUNNING": "running", "FINISHED": "completed", "FAILED": "failed", "KILLED": "killed"}


def theirs(client):
    """Everything that MLflow's client reads, in our words."""
    experiments, runs, points, inputs = {}, {}, {}, {}
    found = client.search_experiments(view_type=ViewType.ALL)
    for e in found:
        experiments[e.name.replace("/", ":")] = (
            e.lifecycle_stage == "deleted",
            e.tags,
            e.tags.get("mlflow.note.content"),
            e.creation_time,
            e.artifact_location,
        )
    names = {e.experiment_id: e.name.replace("/", ":") for e in found}
    for r in client.search_runs(list(names), run_view_type=ViewType.ALL):
        run = str(UUID(r.info.run_id))
        tags = r.data.tags
        runs[run] = {
            "experiment": names[r.info.experiment_id],
            "deleted": r.info.lifecycle_stage == "deleted",
            "name": r.info.run_name,
            "status": STATUS[r.info.status],
            "started": r.info.start_time,
            "ended": r.info.end_time,
            "user_name": r.info.user_id,
            "params": r.data.params,
            "metrics": {key: number(value) for key, value in r.data.metrics.items()},
            "tags": tags,
            "git_commit": tags.get("mlflow.source.git.commit"),
            "git_branch": tags.get("mlflow.source.git.branch"),
            "parent": str(UUID(tags["mlflow.parentRunId"])) if "mlflow.parentRunId" in tags else None,
            "artifacts": r.info.artifact_uri,
        }
        for key in r.data.metrics:
            points[run, key] = sorted(
                ((m.step, m.timestamp, number(m.value)) for m in client.get_metric_history(r.info.run_id, key)),
                key=repr,
            )
        inputs[run] = sorted(
            (
                i.dataset.name,
                i.dataset.digest,
                next((t.value for t in i.tags if t.key == "mlflow.data.context"), "input"),
            )
            for i in r.inputs.dataset_inputs
        )
    models, versions = {}, {}
    for m in client.search_registered_models():
        models[m.name] = (
            m.description or None,
            m.tags,
            {a: int(v) for a, v in m.aliases.items()},
            m.creation_timestamp,
        )
        for v in client.search_model_versions(f"name = '{m.name}'"):
            versions[m.name, int(v.version)] = {
                "source": v.source,
                "uri": client.get_model_version_download_uri(v.name, v.version),
                "run": str(UUID(v.run_id)) if v.run_id else None,
                "tags": v.tags,
                "stage": v.current_stage.lower(),
                "description": v.description or None,
                "run_link": v.run_link or None,
                "created": v.creation_timestamp,
            }
    return experiments, runs, points, inputs, models, versions


def ours(db):
    """The same, as our functions and views give it; of what is deleted, as the tables have it."""
    experiments, runs, points, inputs, models, versions = {}, {}, {}, {}, {}, {}
    for e in db.execute("SELECT * FROM lean.experiment WHERE project = %s", [PROJECT]).fetchall():
        origin = e["tags"].pop("mlflow")
        assert origin["schema"] == "mlflow" and origin["name"].replace("/", ":") == e["name"]
        experiments[e["name"]] = (
            e["deleted_at"] is not None,
            e["tags"],
            e["description"],
            ms(e["created_at"]),
            origin.get("artifact_location"),
        )
    listed = {str(r["run_id"]) for r in db.execute("SELECT run_id FROM lean.run_summary").fetchall()}
    for r in db.execute(
        "SELECT r.*, e.name AS experiment, p.run_id AS parent, a.uri,"
        " (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM lean.run_param AS x"
        " WHERE x.run_no = r.run_no) AS params"
        " FROM lean.run AS r JOIN lean.experiment AS e USING (experiment_id)"
        " LEFT JOIN lean.run AS p ON p.run_no = r.parent_run_no"
        " LEFT JOIN lean.run_artifact AS a ON a.run_no = r.run_no AND a.name = 'artifacts'"
    ).fetchall():
        run = str(r["run_id"])
        latest = db.execute(
            "SELECT key, value FROM lean.run_metric JOIN lean.metric_key USING (key_no) WHERE run_no = %s",
            [r["run_no"]],
        ).fetchall()
        runs[run] = {
            "experiment": r["experiment"],
            "deleted": r["deleted_at"] is not None,
            "started": ms(r["started_at"]),
            "ended": ms(r["ended_at"]),
            "metrics": {m["key"]: number(m["value"]) for m in latest},
            "parent": str(r["parent"]) if r["parent"] else None,
            "artifacts": r["uri"],
        } | {key: r[key] for key in ("name", "status", "user_name", "params", "tags", "git_commit", "git_branch")}
        assert (run in listed) == (r["deleted_at"] is None)
        for m in latest:
            history = (
                db.execute("SELECT * FROM lean.metric_history(%s, %s)", [run, m["key"]]).fetchall()
                if run in listed
                else db.execute(
                    "SELECT step, at, value FROM lean.metric JOIN lean.metric_key USING (key_no)"
                    " WHERE run_no = %s AND key = %s",
                    [r["run_no"], m["key"]],
                ).fetchall()
            )
            points[run, m["key"]] = sorted(((p["step"], ms(p["at"]), number(p["value"])) for p in history), key=repr)
        inputs[run] = sorted(
            (d["name"], d["digest"], d["context"])
            for d in db.execute(
                "SELECT d.name, d.digest, x.context FROM lean.run_dataset AS x JOIN lean.dataset AS d"
                " USING (dataset_id) WHERE run_no = %s",
                [r["run_no"]],
            )
        )
    aliases = db.execute("SELECT * FROM lean.model_aliases").fetchall()
    for m in db.execute("SELECT * FROM lean.models WHERE project = %s", [PROJECT]).fetchall():
        assert m["tags"].pop("mlflow")["name"] == m["name"]
        models[m["name"]] = (
            m["description"],
            m["tags"],
            {a["alias"]: a["version"] for a in aliases if a["name"] == m["name"]},
            ms(m["created_at"]),
        )
    for v in db.execute("SELECT * FROM lean.model_versions WHERE project = %s", [PROJECT]).fetchall():
        origin = v["metadata"]["mlflow"]
        versions[v["name"], v["version"]] = {
            "source": origin["source"],
            "uri": v["artifact_uri"],
            "run": str(v["run"]) if v["run"] else None,
            "tags": v["tags"],
            "stage": v["stage"],
            "description": v["metadata"].get("description"),
            "run_link": origin.get("run_link"),
            "created": ms(v["created_at"]),
        }
    return experiments, runs, points, inputs, models, versions


def assert_same(db, client):
    """What we have is what MLflow's client reads, kind by kind."""
    for mine, other in zip(ours(db), theirs(client)):
        assert mine == other


def footprint(db):
    """Every row with the transaction that wrote it last."""
    tables = db.execute(
        "SELECT oid::regclass::text AS name FROM pg_class WHERE relnamespace = 'lean'::regnamespace"
        " AND relkind = 'r' ORDER BY 1"
    ).fetchall()
    return {
        t["name"]: sorted(db.execute(f"SELECT xmin::text, ctid::text FROM {t['name']}").fetchall(), key=repr)
        for t in tables
    }
