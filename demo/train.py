"""Trains models that say which flights will leave late, with everything about them in the database.

Features come by a point-in-time join, so that no flight is judged by what was known only after it; runs, versions, scores
and the one in use are rows. PGHOST, PGUSER and so on name the server; leanstack has to be installed in it. The first
argument is a folder for the models' files.
"""

import gzip
import hashlib
import json
import pickle
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import psycopg
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.tree import DecisionTreeClassifier

ROOT = Path(__file__).resolve().parents[1]
# Flights up to here are for training, later ones for testing.
SPLIT = "2013-01-05 05:00+00"
BOOSTING = {"max_iter": 60, "max_depth": 3, "learning_rate": 0.05, "min_samples_leaf": 40, "random_state": 0}
# What the three runs differ in. The last one is a tree that learns its flights by heart.
RUNS = [
    ("weather", "conditions", HistGradientBoostingClassifier(**BOOSTING)),
    ("weather and delays", "conditions_and_delays", HistGradientBoostingClassifier(**BOOSTING)),
    ("one deep tree", "conditions_and_delays", DecisionTreeClassifier(random_state=0)),
]
QUESTIONS = [
    """SELECT name, params ->> 'features' AS features, round((metrics ->> 'auc')::numeric, 3) AS auc
FROM lean.search_runs('delays', 'metrics.auc > 0.5', 'metrics.auc DESC')""",
    """SELECT name, round(metric_value::numeric, 3) AS loss, step < 60 AS before_the_end
FROM lean.best_run('delays', 'loss', maximize => false, of_all_steps => true)""",
    "SELECT version, artifact_uri IS NOT NULL AS has_file FROM lean.get_model_version('delays@champion')",
    """SELECT depth, node_kind, relation, split_part(node, '@sha256', 1) AS node
FROM lean.lineage('model_version', 'delays@champion') WHERE node_kind <> 'run'""",
    "SELECT name, used_by FROM lean.feature_views",
]


def load(db: psycopg.Connection) -> None:
    """A week of flights and weather, two feature groups, and a view for each set of features."""
    db.execute("CREATE EXTENSION IF NOT EXISTS leanstack")
    db.execute(
        "CREATE TABLE flights (flight_id int PRIMARY KEY, carrier text, origin text, dest text, event_timestamp timestamptz, dep_delay float8)"
    )
    db.execute(
        "SELECT lean.create_feature_group('weather', '{origin text}', '[\"temp float64\", \"wind_speed float64\", \"visib float64\"]',"
        " ttl => '2 hours', description => 'hourly observations at the airports')"
    )
    for table, columns in (("flights", ""), ("weather_v1", "(origin, event_timestamp, temp, wind_speed, visib)")):
        name = table.removesuffix("_v1")
        with gzip.open(ROOT / "docs" / "data" / f"nyc_{name}.csv.gz") as file:
            with db.cursor().copy(f"COPY {table} {columns} FROM STDIN (FORMAT csv, HEADER)") as copy:
                copy.write(file.read())
    # How late the flights of a carrier left an airport in four hours: each counts from when it left, not from when it should have.
    db.execute(
        "SELECT lean.create_feature_group('carrier_delays', '{origin text, carrier text}', '[\"departures int64\", \"mean_delay float64\"]',"
        " ttl => '4 hours', description => 'flights that left in the last four hours')"
    )
    db.execute(
        """SELECT lean.write_features_from('carrier_delays',
            'SELECT DISTINCT origin, carrier, left_at AS event_timestamp, count(*) OVER recent AS departures, avg(dep_delay) OVER recent AS mean_delay
             FROM (SELECT *, event_timestamp + dep_delay * interval ''1 minute'' AS left_at FROM flights WHERE dep_delay IS NOT NULL) AS f
             WINDOW recent AS (PARTITION BY origin, carrier ORDER BY left_at RANGE interval ''4 hours'' PRECEDING)')"""
    )
    db.execute("SELECT lean.create_feature_view('conditions', '{weather:temp, weather:wind_speed, weather:visib}')")
    db.execute(
        "SELECT lean.create_feature_view('conditions_and_delays',"
        " '{weather:temp, weather:wind_speed, weather:visib, carrier_delays:departures, carrier_delays:mean_delay}')"
    )
    db.execute("ANALYZE")


def read(db: psycopg.Connection, view: str, name: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Features and labels of the flights of a set, and the names of the features; what was not known is NaN."""
    table = f"{name}_{view}"
    db.execute(
        "SELECT lean.create_training_set(%s, %s, entities => %s)",
        [table, view, f"SELECT flight_id, origin, carrier, event_timestamp, hour, late FROM {name}"],
    )
    cursor = db.execute(f"SELECT * FROM {table} ORDER BY flight_id")
    features = [column.name for column in cursor.description[4:] if column.name != "late"]
    columns = {column.name: values for column, values in zip(cursor.description, zip(*cursor.fetchall()))}
    return np.array([columns[name] for name in features], float).T, np.array(columns["late"]), features


def train(
    db: psycopg.Connection, name: str, view: str, model, sets: tuple, digests: dict, folder: Path, commit: str | None
) -> str:
    """One run from the training set to a version of the model that is scored on the test set; the answer of the guard."""
    run = db.execute(
        "SELECT lean.start_run('delays', %s, params => %s, git_commit => %s, language => 'python', language_version => %s,"
        " framework => 'scikit-learn', framework_version => %s)",
        [
            name,
            json.dumps({"model": type(model).__name__, "features": view, **parameters(model)}),
            commit,
            platform.python_version(),
            sklearn.__version__,
        ],
    ).fetchone()[0]
    for context, digest in digests.items():
        db.execute("SELECT lean.log_dataset(%s, %s, %s, context => %s)", [run, f"{context}_flights", digest, context])
    (known, labels, features), (unseen, truth, _) = sets

    model.fit(known, labels)
    steps = getattr(model, "staged_predict_proba", lambda rows: [model.predict_proba(rows)])
    curve = []
    for step, (seen, found) in enumerate(zip(steps(known), steps(unseen)), 1):
        curve += [{"key": "training_loss", "value": log_loss(labels, seen), "step": step}]
        curve += [{"key": "loss", "value": log_loss(truth, found), "step": step}]
        curve += [{"key": "auc", "value": roc_auc_score(truth, found[:, 1]), "step": step}]
    db.execute("SELECT lean.log_batch(%s, %s)", [run, json.dumps(curve)])

    file = folder / f"{name.replace(' ', '_')}.pickle"
    file.write_bytes(pickle.dumps(model))
    checksum = "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
    artifact = [file.as_uri(), file.stat().st_size, checksum]
    db.execute("SELECT lean.log_artifact(%s, 'model', %s, %s, %s)", [run, *artifact])
    db.execute("SELECT lean.end_run(%s, model_path => %s)", [run, file.as_uri()])

    # From here on the view cannot be changed or dropped: this version was trained with it.
    version = db.execute(
        "SELECT lean.create_model_version('delays', run => %s, artifact_uri => %s, size_bytes => %s, checksum => %s,"
        " type => 'classifier', framework => 'scikit-learn', architecture => %s, input_schema => %s, output_schema => %s,"
        " dataset => %s, feature_view => %s)",
        [run, *artifact, type(model).__name__, json.dumps(dict.fromkeys(features, "float64")), '{"late": "float64"}',
         f"training_flights@{digests['training']}", view],
    ).fetchone()[0]  # fmt: skip
    scores = {entry["key"]: entry["value"] for entry in curve[-2:]}
    for metric, value in scores.items():
        db.execute(
            "SELECT lean.log_evaluation('delays', %s, %s, %s, dataset => 'test_flights', run => %s)",
            [version, metric, value, run],
        )
    return db.execute(
        "SELECT concat_ws(' ', 'version', %s::int, CASE WHEN promoted THEN 'is the champion:' ELSE 'is not promoted:' END, 'auc', round(value::numeric, 3),"
        " 'after ' || round(champion_value::numeric, 3)) FROM lean.promote_if_better('delays', %s, 'auc', 'test_flights', min_gain => 0.01)",
        [version, version],
    ).fetchone()[0]


def parameters(model) -> dict:
    """What was set of the model's parameters."""
    return {key: value for key, value in model.get_params().items() if value is not None and key in BOOSTING}


def commit() -> str | None:
    """The commit that is checked out, if this is a checkout."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or None


def show(db: psycopg.Connection, question: str) -> None:
    """A question in SQL and its answer."""
    cursor = db.execute(question)
    rows = [
        [{"True": "t", "False": "f", "None": ""}.get(str(value), str(value)) for value in row]
        for row in cursor.fetchall()
    ]
    header = [column.name for column in cursor.description]
    widths = [max(len(row[at]) for row in [header, *rows]) for at in range(len(header))]
    print(f"\n{question};")
    for row in [header, ["-" * width for width in widths], *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def main() -> None:
    """Loads, trains three models, and asks what became of them."""
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with psycopg.connect(autocommit=True) as db:
        load(db)
        digests = {}
        for name, when in (("training", "<"), ("test", ">=")):
            db.execute(
                f"CREATE TABLE {name}_flights AS SELECT flight_id, origin, carrier, event_timestamp, dep_delay > 15 AS late,"
                " extract(hour FROM event_timestamp AT TIME ZONE 'America/New_York')::float8 AS hour"
                f" FROM flights WHERE dep_delay IS NOT NULL AND event_timestamp {when} '{SPLIT}'"
            )
            digests[name] = db.execute(
                f"SELECT 'sha256:' || encode(sha256(string_agg(f::text, E'\\n' ORDER BY flight_id)::bytea), 'hex') FROM {name}_flights AS f"
            ).fetchone()[0]
        db.execute(
            "SELECT lean.create_experiment('delays', description => 'which flights leave more than 15 minutes late')"
        )
        db.execute("SELECT lean.register_model('delays')")
        sets = {
            view: tuple(read(db, view, f"{name}_flights") for name in digests) for view in {view for _, view, _ in RUNS}
        }
        for name, view, model in RUNS:
            print(train(db, name, view, model, sets[view], digests, folder, commit()))
        for question in QUESTIONS:
            show(db, question)


if __name__ == "__main__":
    main()
