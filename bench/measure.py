"""Measurements: load, build, recall, throughput and latency, inserts. One `Bench` per engine and data set.

Queries run as a prepared statement whose vector comes from a table through an InitPlan, so that neither planning nor
text parsing of a vector is part of what is measured.
"""

import os
import platform
import re
import shlex
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from datasets import Dataset
from server import Server

OPERATORS = {"l2": "<->", "cosine": "<=>", "ip": "<#>"}
INDEX = "items_v_idx"
# The setting by which a search with each access method takes more time and finds more.
EFFORTS = {"hnsw": "hnsw.ef_search", "ivfflat": "ivfflat.probes", "ivf": "ivf.recall_target"}
# Rows of one COPY message; bounds the memory of a load.
COPY_ROWS = 2_000


class MeasureError(Exception):
    """A measurement that would mean nothing, and why."""


class Bench:
    """One engine with one data set: a schema of its own in the engine's database."""

    def __init__(self, engine: str, server: Server, data: Dataset, options):
        self.engine, self.server, self.data, self.options = engine, server, data, options
        self.database = server.database(engine)
        self.schema = data.key
        # Random plans are no part of the comparison: JIT would start for some ef and not for others.
        self.settings = {"jit": "off", "enable_seqscan": "off", **options.settings}
        self.access_method = options.index if engine == "leanstack" else options.peer_index
        self.effort = EFFORTS[self.access_method]
        self.result = {"engine": engine, "dataset": data.name, "metric": data.metric, "rows": len(data.base)}
        self.result |= {"access_method": self.access_method, "effort": self.effort}
        self.result |= {"dimensions": data.base.shape[1], "server": server.version(), "points": []}
        with server.connect(self.database) as connection:
            self.result["extension_version"] = connection.execute(
                "SELECT extversion FROM pg_extension WHERE extname IN ('leanstack', 'vector')"
            ).fetchone()[0]

    def name(self) -> str:
        """What is measured, for messages."""
        return f"{self.data.name} {self.engine} {self.effort}"

    def point(self, ef: float) -> dict:
        """The result at one effort."""
        return next(point for point in self.result["points"] if point["ef"] == ef)

    def efforts(self) -> list:
        """The values of the setting to measure."""
        by_method = {"hnsw": self.options.ef, "ivfflat": self.options.probes, "ivf": self.options.recall_targets}
        return by_method[self.access_method]

    def connect(self, ef: float | None = None):
        """A session with the run's settings, and the effort when given."""
        return self.server.connect(self.database, self.session(ef))

    def session(self, ef: float | None) -> dict:
        return {**self.settings, **({self.effort: ef} if ef else {})}

    def loaded(self, with_index: bool) -> bool:
        """Whether this very data set is in the table already, and the index if that is needed."""
        with self.connect() as connection:
            if not connection.execute("SELECT to_regclass(%s)", [f"{self.schema}.queries"]).fetchone()[0]:
                return False
            if with_index and not connection.execute(
                "SELECT to_regclass(%s)", [f"{self.schema}.{INDEX}"]
            ).fetchone()[0]:
                return False
            count = connection.execute(f"SELECT count(*) FROM {self.schema}.items WHERE id < %s", [len(self.data.base)])
            return count.fetchone()[0] == len(self.data.base)

    def load(self) -> None:
        """Fills the tables by binary COPY."""
        dims = self.data.base.shape[1]
        with self.connect() as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")
            connection.execute(f"CREATE SCHEMA {self.schema}")
            # Workers are allowed by option because the planner counts main-fork pages only, and gives a table none
            # whose vectors are all in TOAST.
            connection.execute(
                f"CREATE TABLE {self.schema}.items (id integer NOT NULL, v vector({dims}))"
                " WITH (parallel_workers = 2, autovacuum_enabled = off)"
            )
            for table in ("spare", "queries"):
                connection.execute(f"CREATE TABLE {self.schema}.{table} (id integer PRIMARY KEY, v vector({dims}))")
                connection.execute(f"ALTER TABLE {self.schema}.{table} ALTER v SET STORAGE PLAIN")
            started = time.monotonic()
            for table, rows in (("items", self.data.base), ("spare", self.data.spare), ("queries", self.data.queries)):
                with connection.cursor().copy(f"COPY {self.schema}.{table} FROM STDIN (FORMAT binary)") as copy:
                    for message in copy_messages(rows):
                        copy.write(message)
            self.result["load_seconds"] = time.monotonic() - started
            for table in ("items", "spare", "queries"):
                connection.execute(f"VACUUM (ANALYZE) {self.schema}.{table}")

    def build(self) -> None:
        """Drops what is there and builds the index, timed; rows of an earlier insert test go first."""
        options = {}
        if self.access_method == "hnsw":
            options = {"m": self.options.m, "ef_construction": self.options.ef_construction}
        elif self.access_method == "ivfflat":
            # What pgvector's documentation recommends up to a million rows.
            options = {"lists": self.options.lists or max(1, len(self.data.base) // 1000)}
        elif self.options.lists:
            options = {"lists": self.options.lists}
        if self.engine == "leanstack" and self.options.quantization:
            options["quantization"] = self.options.quantization
        listed = ", ".join(f"{name} = {value}" for name, value in options.items())
        listed = f" WITH ({listed})" if listed else ""
        with self.connect() as connection:
            connection.execute(f"DROP INDEX IF EXISTS {self.schema}.{INDEX}")
            if connection.execute(f"DELETE FROM {self.schema}.items WHERE id >= %s", [len(self.data.base)]).rowcount:
                connection.execute(f"VACUUM {self.schema}.items")
            connection.execute(f"SET maintenance_work_mem = '{self.options.maintenance_work_mem}'")
            connection.execute(f"SET max_parallel_maintenance_workers = {self.options.workers}")
            self.prewarm(connection, "items")
            connection.execute("CHECKPOINT")
            started, waited = time.monotonic(), cpu_wait_seconds()
            with PeakMemory(connection.info.backend_pid) as memory:
                connection.execute(
                    f"CREATE INDEX {INDEX} ON {self.schema}.items"
                    f" USING {self.access_method} (v vector_{self.data.metric}_ops){listed}"
                )
            self.result["build_memory_bytes"] = memory.peak
            self.result["build_seconds"] = time.monotonic() - started
            self.result["build_cpu_wait"] = cpu_wait_share(waited, started)

    def sizes(self) -> None:
        """Index and heap sizes, the heap with its TOAST; and the index's definition."""
        with self.connect() as connection:
            row = connection.execute(
                f"SELECT pg_relation_size(i), pg_table_size('{self.schema}.items'), pg_get_indexdef(i)"
                f" FROM CAST('{self.schema}.{INDEX}' AS regclass) AS i"
            ).fetchone()
        self.result["index_bytes"], self.result["heap_bytes"], self.result["index"] = row

    def query(self, parameter: str) -> str:
        """The measured statement."""
        operator = OPERATORS[self.data.metric]
        vector = f"(SELECT v FROM {self.schema}.queries WHERE id = {parameter})"
        return f"SELECT id FROM {self.schema}.items ORDER BY v {operator} {vector} LIMIT {self.options.k}"

    def check_plan(self, ef: float) -> bool:
        """Raises unless the statement, planned with and without its parameter, uses the index at this ef.

        Returns whether the planner would have chosen it unforced: sessions run with sequential scans discouraged, since
        on small tables and large ef a planner rightly prefers them, and that would be measured in place of the index.
        """
        freely = True
        with self.connect(ef) as connection:
            for mode in ("force_custom_plan", "force_generic_plan"):
                connection.execute(f"SET plan_cache_mode = {mode}")
                for forced in (False, True):
                    connection.execute(f"SET enable_seqscan = {'off' if forced else 'on'}")
                    # Anew each time: a generic plan would be kept across the change of setting.
                    connection.execute(f"PREPARE q(integer) AS {self.query('$1')}")
                    plan = "\n".join(row[0] for row in connection.execute("EXPLAIN EXECUTE q(0)"))
                    connection.execute("DEALLOCATE q")
                    uses = f"Index Scan using {INDEX} on items" in plan and "InitPlan" in plan
                    if forced and not uses:
                        raise MeasureError(f"{self.engine}: {self.effort} {ef} does not use the index ({mode}):\n{plan}")
                    freely = freely and uses
            shown = connection.execute(f"SHOW {self.effort}").fetchone()[0]
            if float(shown) != ef:
                raise MeasureError(f"{self.engine}: {self.effort} is {shown}, not the {ef} that was asked for")
        return freely

    def prewarm(self, connection, *relations: str) -> None:
        """Reads relations into shared buffers, TOAST included; a sequential scan where pg_prewarm is missing."""
        have = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'pg_prewarm'").fetchone()
        for relation in relations:
            name = f"{self.schema}.{relation}"
            if have:
                connection.execute(
                    "SELECT pg_prewarm(part) FROM pg_class, unnest(ARRAY[oid, reltoastrelid]) AS part"
                    " WHERE oid = %s::regclass AND part <> 0",
                    [name],
                )
            elif relation != INDEX:
                connection.execute(f"SELECT count(v) FROM {name}")

    def warm(self) -> None:
        """Everything that a query touches is in memory before anything is measured."""
        with self.connect() as connection:
            self.prewarm(connection, "items", INDEX, "queries")

    def recall(self, ef: float) -> float:
        """Share of the k nearest found, judged by distance, so that ties between duplicates count as hits."""
        k, hits = self.options.k, 0
        allowed = self.data.kth(k)
        with self.connect(ef) as connection:
            for query in range(len(self.data.queries)):
                found = connection.execute(self.query("%s"), [query], prepare=True).fetchall()
                ids = np.array([row[0] for row in found], dtype=np.int64)
                if len(np.unique(ids)) != len(ids):
                    raise MeasureError(f"{self.engine}: query {query} at ef {ef} returned a row twice: {ids.tolist()}")
                ids = ids[ids < len(self.data.base)]
                hits += int((self.data.distances(query, ids) <= allowed[query]).sum())
        return hits / (k * len(self.data.queries))

    def throughput(self, ef: float, clients: int, seconds: float) -> dict:
        """QPS and latencies of the search statement."""
        script = f"\\set qid random(0, {len(self.data.queries) - 1})\n{self.query(':qid')};\n"
        with Pgbench(self, script, self.session(ef), clients, ["-T", str(max(1, round(seconds)))]) as run:
            return run.finish()

    def inserts(self, search_beside: bool) -> None:
        """Single-row inserts of held-out rows by one client, into the finished index; then the same with searches
        running beside them. The rows are deleted again, but the index keeps their traces until the next build."""
        half = len(self.data.spare) // 2
        with self.connect() as connection:
            self.prewarm(connection, "spare", "items", INDEX)
        self.result["insert"] = self.insert_run(0, half)
        if search_beside:
            script = f"\\set qid random(0, {len(self.data.queries) - 1})\n{self.query(':qid')};\n"
            with Pgbench(self, script, self.session(self.efforts()[len(self.efforts()) // 2]), 1, ["-T", "3600"]) as searching:
                insert = self.insert_run(half, half)
                search = searching.interrupt()
            self.result["mixed"] = {"insert": insert, "search": search}
        with self.connect() as connection:
            connection.execute(f"DELETE FROM {self.schema}.items WHERE id >= %s", [len(self.data.base)])
            connection.execute(f"COMMENT ON INDEX {self.schema}.{INDEX} IS 'has been inserted into'")

    def as_built(self) -> bool:
        """Whether no insert test has been run since the build; the build drops the index and with it the comment."""
        with self.connect() as connection:
            regclass = f"'{self.schema}.{INDEX}'::regclass"
            return connection.execute(f"SELECT obj_description({regclass}, 'pg_class') IS NULL").fetchone()[0]

    def insert_run(self, first: int, count: int) -> dict:
        """`count` inserts. Commits are asynchronous by default: waiting for the disk would hide the index's part."""
        script = (
            "\\set i :i + 1\n"
            f"INSERT INTO {self.schema}.items SELECT {len(self.data.base)} + :i, v"
            f" FROM {self.schema}.spare WHERE id = :i;\n"
        )
        settings = self.session(None) | {"synchronous_commit": "on" if self.options.sync_commit else "off"}
        with Pgbench(self, script, settings, 1, ["-t", str(count), "-D", f"i={first - 1}"]) as run:
            return run.finish()


class Pgbench:
    """One pgbench run in the background, with its per-transaction log."""

    def __init__(self, bench: Bench, script: str, settings: dict, clients: int, limits: list[str]):
        self.folder = tempfile.TemporaryDirectory(prefix="bench-log-")
        path = Path(self.folder.name)
        (path / "script.sql").write_text(script)
        server = bench.server
        command = [str(server.bin_dir / "pgbench"), "-n", "-M", "prepared", "-f", "script.sql", "-l"]
        command += ["-c", str(clients), "-j", str(clients), "--random-seed=7", *limits]
        command += ["-h", server.socket, "-p", str(server.port), "-U", server.user, bench.database]
        self.command = command
        self.output = open(path / "output", "w+")
        self.load = os.getloadavg()[0]
        self.started, self.waited = time.monotonic(), cpu_wait_seconds()
        self.child = subprocess.Popen(
            command, cwd=path, env=server.environment(settings), stdout=self.output, stderr=subprocess.STDOUT
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.terminate()
            self.child.wait()
        self.output.close()
        self.folder.cleanup()

    def finish(self) -> dict:
        """Waits for the end; a failed transaction is an error, not a slow one."""
        code = self.child.wait()
        self.note_cpu_wait()
        self.output.seek(0)
        text = self.output.read()
        if code or "ERROR" in text:
            raise MeasureError(f"pgbench ended with code {code}: {shlex.join(self.command)}\n{text.strip()}")
        return self.statistics()

    def interrupt(self) -> dict:
        """Ends a run whose length another one decides."""
        if self.child.poll() is not None:
            return self.finish()
        self.child.terminate()
        self.child.wait()
        self.note_cpu_wait()
        return self.statistics()

    def note_cpu_wait(self) -> None:
        """Keeps how much of the run was disturbed."""
        self.cpu_wait = cpu_wait_share(self.waited, self.started)

    def statistics(self) -> dict:
        """Rate and percentiles from the log, whose columns are client, transaction, microseconds, script, end time."""
        rows = []
        for path in Path(self.folder.name).glob("pgbench_log.*"):
            # What follows the last line feed is a line that the end of the run cut short.
            for line in path.read_text().rpartition("\n")[0].splitlines():
                fields = line.split()
                rows.append((int(fields[2]), int(fields[4]) * 1_000_000 + int(fields[5])))
        if not rows:
            raise MeasureError(f"pgbench finished no transaction: {shlex.join(self.command)}")
        micros, ends = np.array(rows, dtype=np.int64).T
        span = (ends.max() - (ends - micros).min()) / 1e6
        return {
            "transactions": len(rows),
            "qps": len(rows) / span,
            "p50_ms": float(np.percentile(micros, 50)) / 1e3,
            "p99_ms": float(np.percentile(micros, 99)) / 1e3,
            "load_before": self.load,
            "cpu_wait": self.cpu_wait,
        }


class PeakMemory:
    """The most memory of its own that a process has while this is open; `peak` is None where /proc does not tell.

    Memory shared with other processes is not in it, so of a build by several processes it is the leader's part.
    """

    def __init__(self, pid: int):
        self.status = Path(f"/proc/{pid}/status")
        self.peak = None
        self.ended = threading.Event()
        self.sampler = threading.Thread(target=self.sample, daemon=True)

    def __enter__(self):
        self.sampler.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.sampler.join()

    def sample(self) -> None:
        """Looks forty times a second."""
        while True:
            try:
                found = re.search(r"^RssAnon:\s+(\d+) kB", self.status.read_text(), re.MULTILINE)
            except OSError:
                return
            if found:
                self.peak = max(self.peak or 0, int(found.group(1)) * 1024)
            if self.ended.wait(0.025):
                return


def cpu_wait_seconds() -> float | None:
    """Linux's count of time in which processes waited for a core; None where the kernel keeps none."""
    try:
        return int(Path("/proc/pressure/cpu").read_text().split("total=")[1].split()[0]) / 1e6
    except (OSError, IndexError):
        return None


def cpu_wait_share(waited_before: float | None, started: float) -> float | None:
    """Share of the time since `started` during which some process of the machine wanted a core and had none."""
    waited = cpu_wait_seconds()
    known = waited is not None and waited_before is not None
    return (waited - waited_before) / (time.monotonic() - started) if known else None


def least_disturbed(samples: list[dict]) -> dict:
    """The median of those samples that other work disturbed least: chosen by disturbance, never by result."""
    least = min(sample["cpu_wait"] or 0 for sample in samples)
    quiet = [sample for sample in samples if (sample["cpu_wait"] or 0) <= least + 0.1]
    middle = statistics.median_low(sample["qps"] for sample in quiet)
    return next(sample for sample in quiet if sample["qps"] == middle)


def machine() -> dict:
    """What the figures depend on besides the code."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        memory = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines())
    except (OSError, StopIteration):
        memory = 0
    memory = round(int(memory) / 2**20)
    return {"cpu": model, "cores": os.cpu_count(), "memory_gb": memory, "system": platform.platform()}


def copy_messages(rows: np.ndarray):
    """Rows in COPY's binary format: id as integer, vector as its wire form (int16 dimensions, int16 0, float32s)."""
    dims = rows.shape[1]
    row_type = np.dtype(
        [("fields", ">i2"), ("id_bytes", ">i4"), ("id", ">i4"), ("v_bytes", ">i4")]
        + [("dims", ">i2"), ("unused", ">i2"), ("v", ">f4", (dims,))]
    )
    yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
    for start in range(0, len(rows), COPY_ROWS):
        part = rows[start : start + COPY_ROWS]
        block = np.zeros(len(part), dtype=row_type)
        block["fields"], block["id_bytes"], block["v_bytes"], block["dims"] = 2, 4, 4 + 4 * dims, dims
        block["id"] = np.arange(start, start + len(part))
        block["v"] = part
        yield block.tobytes()
    yield b"\xff\xff"
