"""The demonstration of training runs as the README shows it, in a database of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "training"


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the script prints."""
    with psycopg.connect(autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        connection.execute(f"CREATE DATABASE {DATABASE}")
    done = subprocess.run(
        [sys.executable, "-B", ROOT / "demo" / "train.py", tmp_path_factory.mktemp("models")],
        env={**os.environ, "PGDATABASE": DATABASE},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def db():
    """A connection to where it was trained."""
    with psycopg.connect(dbname=DATABASE, autocommit=True) as connection:
        yield connection


def test_training_prints_what_the_readme_shows(printed):
    """Word for word; scores may differ a little on another processor."""
    shown = (ROOT / "README.md").read_text().split("$ make demo-train\n", 1)[1].split("```", 1)[0]
    score = re.compile(r"\d+\.\d+")
    assert score.sub("#", shown.strip()) == score.sub("#", printed.strip())
    pairs = zip(score.findall(shown), score.findall(printed))
    assert all(abs(float(one) - float(other)) < 0.02 for one, other in pairs)


def test_training_promotes_the_better_version_alone(printed, db):
    assert db.execute("SELECT version FROM lean.model_at('delays', 'champion')").fetchone() == (2,)
    history = db.execute("SELECT version FROM lean.model_history WHERE kind = 'alias' ORDER BY valid_from").fetchall()
    assert history == [(1,), (2,)]
    assert db.execute("SELECT count(*) FROM lean.model_versions WHERE name = 'delays'").fetchone() == (3,)


def test_training_keeps_curves_files_data_and_commit(printed, db):
    runs = db.execute("SELECT run_id, name, status, git_commit FROM lean.run_summary ORDER BY started_at").fetchall()
    assert [run[1:3] for run in runs] == [
        ("weather", "completed"),
        ("weather and delays", "completed"),
        ("one deep tree", "completed"),
    ]
    points = [
        db.execute("SELECT count(*) FROM lean.metric_history(%s, 'loss')", [run[0]]).fetchone()[0] for run in runs
    ]
    assert points == [60, 60, 1]
    assert db.execute("SELECT count(*), count(checksum) FROM lean.run_artifact").fetchone() == (3, 3)
    assert db.execute("SELECT count(*) FROM lean.run_dataset").fetchone() == (6,)


def test_training_pins_the_view(printed, db):
    with pytest.raises(psycopg.Error, match="delays@2"):
        db.execute("SELECT lean.drop_feature_view('conditions_and_delays')")
    found = db.execute(
        "SELECT node FROM lean.lineage('model_version', 'delays@champion') WHERE node_kind = 'feature_group'"
    )
    assert sorted(found.fetchall()) == [("carrier_delays@1",), ("weather@1",)]


def test_training_knew_nothing_of_the_future(printed, db):
    """Every value is of a row of the same keys that had been there, and of the newest."""
    wrong = db.execute(
        """SELECT count(*) FROM training_flights_conditions_and_delays AS t
        LEFT JOIN LATERAL (SELECT w.temp FROM weather_v1 AS w WHERE w.origin = t.origin AND w.event_timestamp <= t.event_timestamp
            AND w.event_timestamp >= t.event_timestamp - interval '2 hours' ORDER BY w.event_timestamp DESC LIMIT 1) AS w ON true
        LEFT JOIN LATERAL (SELECT avg(f.dep_delay) AS delay FROM flights AS f
            WHERE f.origin = t.origin AND f.carrier = t.carrier AND f.event_timestamp + f.dep_delay * interval '1 minute' =
                (SELECT max(g.event_timestamp + g.dep_delay * interval '1 minute') FROM flights AS g WHERE g.origin = t.origin AND g.carrier = t.carrier
                 AND g.event_timestamp + g.dep_delay * interval '1 minute' <= t.event_timestamp)) AS f ON true
        WHERE t.temp IS DISTINCT FROM w.temp OR (t.mean_delay IS NOT NULL AND f.delay IS NULL)"""
    ).fetchone()[0]
    assert wrong == 0
