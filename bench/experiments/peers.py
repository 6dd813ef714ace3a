"""What leanstack's experiments are measured against: MLflow's own store in the client's process, and its tracking server.

All three have the same face here, so that a measurement is written once: `start` begins a run, `log` writes a batch of
points (key, value, step, milliseconds), `search`, `best` and `history` look.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from server import Server, ServerError

DATABASE = "bench_experiments"
MLFLOW_DATABASE = "bench_mlflow"
# Without the processes that ask again and again for jobs, of which there are none here.
SERVER = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
OURS, IN_PROCESS, SERVED = "leanstack", "MLflow in process", "MLflow through its server"


class Address:
    """Where the databases and the tracking server are: all that another process needs to open a connection."""

    def __init__(self, server: Server, tracking: str | None):
        self.socket, self.port, self.user, self.tracking = server.socket, server.port, server.user, tracking

    def open(self, engine: str):
        """A client of its own."""
        return {OURS: Leanstack, IN_PROCESS: InProcess, SERVED: Served}[engine](self)


class Leanstack:
    """Our functions, called with psycopg."""

    def __init__(self, address: Address):
        self.connection = psycopg.connect(
            host=address.socket, port=address.port, user=address.user, dbname=DATABASE, autocommit=True
        )

    def start(self, experiment: str) -> str:
        run = self.connection.execute(
            "SELECT lean.start_run(%s) FROM lean.create_experiment(%s)", [experiment, experiment]
        )
        return str(run.fetchone()[0])

    @staticmethod
    def batch(points: list[tuple]) -> list[dict]:
        """Points as an application of ours has them."""
        return [
            {
                "key": key,
                "value": value,
                "step": step,
                "at": f"{time.strftime('%FT%T', time.gmtime(at // 1000))}.{at % 1000:03}Z",
            }
            for key, value, step, at in points
        ]

    def log(self, run: str, batch: list[dict]) -> None:
        self.connection.execute("SELECT lean.log_batch(%s, %s)", [run, json.dumps(batch)])

    def log_one(self, run: str, point: tuple) -> None:
        key, value, step, at = point
        self.connection.execute(
            "SELECT lean.log_metric(%s, %s, %s, %s, to_timestamp(%s / 1000.0))", [run, key, value, step, at]
        )

    def search(self, experiment: str, filter: str, order: str, limit: int) -> list[dict]:
        cursor = self.connection.cursor(binary=True, row_factory=dict_row)
        return cursor.execute(
            "SELECT * FROM lean.search_runs(%s, %s, %s, %s)", [experiment, filter, order, limit]
        ).fetchall()

    def best(self, experiment: str, metric: str) -> str:
        found = self.connection.execute("SELECT run_id FROM lean.best_run(%s, %s)", [experiment, metric]).fetchone()
        return found[0].hex

    def history(self, run: str, metric: str) -> list[tuple]:
        cursor = self.connection.cursor(binary=True)
        return cursor.execute("SELECT * FROM lean.metric_history(%s, %s)", [run, metric]).fetchall()

    @staticmethod
    def ids(found: list[dict]) -> list[str]:
        """Runs of a search, as both sides can name them."""
        return [run["run_id"].hex for run in found]


class InProcess:
    """MLflow's store with a connection to the database."""

    def __init__(self, address: Address):
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        self.store = SqlAlchemyStore(mlflow_uri(address), "unused:/artifacts")
        self.experiments = {}

    def experiment(self, name: str) -> str:
        """The id of an experiment, made when there is none."""
        if name not in self.experiments:
            found = self.store.get_experiment_by_name(name)
            self.experiments[name] = found.experiment_id if found else self.store.create_experiment(name)
        return self.experiments[name]

    def start(self, experiment: str) -> str:
        return self.store.create_run(
            self.experiment(experiment), "bench", int(time.time() * 1000), [], "run"
        ).info.run_id

    @staticmethod
    def batch(points: list[tuple]) -> list:
        """Points as an application of MLflow's has them."""
        from mlflow.entities import Metric

        return [Metric(key, value, at, step) for key, value, step, at in points]

    def log(self, run: str, batch: list) -> None:
        self.store.log_batch(run, batch, [], [])

    def log_one(self, run: str, point: tuple) -> None:
        self.store.log_metric(run, self.batch([point])[0])

    def search(self, experiment: str, filter: str, order: str, limit: int) -> list:
        return self.store.search_runs([self.experiment(experiment)], filter, 1, limit, [order] if order else [])

    def best(self, experiment: str, metric: str) -> str:
        return self.search(experiment, "", f"metrics.{metric} DESC", 1)[0].info.run_id

    def history(self, run: str, metric: str) -> list:
        return self.store.get_metric_history(run, metric)

    @staticmethod
    def ids(found: list) -> list[str]:
        return [run.info.run_id for run in found]


class Served(InProcess):
    """MLflow's client, with a tracking server between it and the database."""

    def __init__(self, address: Address):
        from mlflow.store.tracking.rest_store import RestStore
        from mlflow.utils.rest_utils import MlflowHostCreds

        self.store = RestStore(lambda: MlflowHostCreds(address.tracking))
        self.experiments = {}


def mlflow_uri(address) -> str:
    """The address of MLflow's database as SQLAlchemy wants it."""
    return f"postgresql+psycopg2://{address.user}@/{MLFLOW_DATABASE}?host={address.socket}&port={address.port}"


class TrackingServer:
    """`mlflow server` on the loopback interface, with four workers as it has unless told otherwise."""

    def __init__(self, server: Server, folder: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{port}"
        arguments = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "4"]
        arguments += ["--backend-store-uri", mlflow_uri(server), "--artifacts-destination", str(folder)]
        self.log = folder / "mlflow.log"
        with open(self.log, "w") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "mlflow", *arguments],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **SERVER, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
                start_new_session=True,
            )
        for _ in range(600):
            if self.child.poll() is not None or self.answers():
                break
            time.sleep(0.2)
        if self.child.poll() is not None or not self.answers():
            text = self.log.read_text()
            self.stop()
            raise ServerError(f"mlflow server did not start: {text}")

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self) -> None:
        """Ends what was started: the session of its own, with its workers."""
        self.child.terminate()
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
