"""`make bench-experiments`: experiments and runs against MLflow on the same PostgreSQL. See bench/README.md."""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import reads
import tables
import writes
from measure import MeasureError, machine
from peers import DATABASE, IN_PROCESS, MLFLOW_DATABASE, OURS, SERVED, Address, TrackingServer
from server import Server, ServerError, Throwaway, bin_dir, parse_address

ROOT = Path(__file__).resolve().parents[2]
STARTED = time.monotonic()
# What every session of both databases gets. A commit does not wait for the disk.
SETTINGS = {"jit": "off", "work_mem": "64MB", "synchronous_commit": "off", "timezone": "UTC"}
# Sizes: as a whole, and to see whether everything works. A run has five metrics of `steps` points each.
FULL = {"points": 1_000_000, "clients": 4, "runs": 100_000, "steps": 100, "seconds": 5.0, "rounds": 3}
QUICK = {"points": 40_000, "clients": 4, "runs": 4_000, "steps": 5, "seconds": 0.3, "rounds": 1}


def say(text: str) -> None:
    """A line of progress with the time since the start."""
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench/run.sh experiments", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="everything small: does it work? under a minute")
    add("--parts", default="logging,looking", help="of logging,looking; default: both")
    add("--points", type=int, help=f"points that all clients log together; default {FULL['points']:,}")
    add("--clients", type=int, help=f"clients that log at once; default {FULL['clients']}")
    add("--runs", type=int, help=f"runs to search; default {FULL['runs']:,}")
    add("--steps", type=int, help=f"points of each of the five metrics of a run; default {FULL['steps']}")
    add("--seconds", type=float, help=f"length of one sample; default {FULL['seconds']:.0f}")
    add("--rounds", type=int, help=f"passes over what is asked for; default {FULL['rounds']}")
    add("--no-server", action="store_true", help="leave out MLflow's tracking server")
    add("--no-mlflow", action="store_true", help="leave out MLflow")
    add("--pg-config", default=os.environ.get("PG_CONFIG", "pg_config"), help="the server to use")
    add(
        "--socket",
        metavar="DIR[:PORT]",
        help=f"a running server, whose databases {DATABASE} and {MLFLOW_DATABASE} are made anew",
    )
    add("--user", default="postgres", help="role on a running server")
    add("--shared-buffers", default="2GB", help="of the throwaway cluster")
    add("--target", type=Path, default=ROOT / "target", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.parts = options.parts.split(",")
    if unknown := set(options.parts) - {"logging", "looking"}:
        parser.error(f"unknown part {', '.join(unknown)}; there are logging and looking")
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def open_server(options) -> Server:
    """The running server that was named, or one of our own."""
    programs = bin_dir(options.pg_config)
    if options.socket:
        _, folder, port = parse_address(options.socket)
        return Server(folder, port, options.user, programs)
    say(f"starting a throwaway cluster from {programs}")
    return Throwaway(programs, options.target, options.shared_buffers)


def prepare(server: Server) -> dict:
    """Both databases, empty, and the versions of everything."""
    if not server.offers("leanstack"):
        raise ServerError("leanstack is not installed in the server; see bench/README.md")
    with server.connect("postgres") as connection:
        for database in (DATABASE, MLFLOW_DATABASE):
            connection.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {database}")
            for name, value in SETTINGS.items():
                connection.execute(f"ALTER DATABASE {database} SET {name} = '{value}'")
    with server.connect(DATABASE) as connection:
        connection.execute("CREATE EXTENSION leanstack")
        extension = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'leanstack'").fetchone()[0]
    versions = {"PostgreSQL": server.version(), "leanstack": extension}
    return versions | {name: version(name) for name in ("mlflow", "SQLAlchemy", "psycopg2-binary", "psycopg")}


def postmaster(server: Server) -> int:
    """The server's process, whose children do the work."""
    with server.connect("postgres") as connection:
        return int(connection.execute("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)").fetchone()[0])


def publish(content: dict, options) -> None:
    """Tables to standard output, JSON to a file."""
    folder = options.target / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "experiments.json").write_text(json.dumps(content, indent=1) + "\n")
    print(", ".join(f"{name} {number}" for name, number in content["versions"].items()))
    for name, results in content["results"].items():
        print("\n" + tables.TABLES[name](results))
    say(f"written to {folder / 'experiments.json'}")


def interrupt(number, frame):
    """Turns a signal into the exception that the keyboard's interrupt raises."""
    raise KeyboardInterrupt


def main() -> int:
    """Runs the parts; figures of finished ones are kept when a later one fails."""
    options = arguments()
    warnings.simplefilter("ignore")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    content, opened, code = {"results": {}}, [], 0
    folder = Path(tempfile.mkdtemp(prefix="bench-mlflow-"))
    try:
        server = open_server(options)
        opened.append(server)
        content["versions"] = prepare(server)
        engines, roots, tracking = [OURS], {OURS: [postmaster(server)]}, None
        if not options.no_mlflow:
            engines.append(IN_PROCESS)
            roots[IN_PROCESS] = roots[OURS]
            # It makes the tables, which several clients that start together would all try to make.
            Address(server, None).open(IN_PROCESS)
            if not options.no_server:
                tracking = TrackingServer(server, folder)
                opened.append(tracking)
                engines.append(SERVED)
                roots[SERVED] = [*roots[OURS], tracking.child.pid]
        address = Address(server, tracking and tracking.uri)
        if "logging" in options.parts:
            content["results"]["logging"] = writes.run(address, engines, roots, options, say)
        if "looking" in options.parts:
            content["results"] |= reads.run(server, address, engines, roots, options, say)
    except (ServerError, MeasureError) as error:
        print(f"bench: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    finally:
        for one in reversed(opened):
            one.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if content["results"]:
        sizes = {name: getattr(options, name) for name in FULL}
        publish({"machine": machine(), "settings": SETTINGS | sizes, **content}, options)
    return code


if __name__ == "__main__":
    sys.exit(main())
