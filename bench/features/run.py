"""`make bench-features`: the feature store against Feast, with PostgreSQL and with Redis. See bench/README.md."""

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

import joins
import peers
import reads
import tables
import writes
from measure import MeasureError, machine
from server import Server, ServerError, Throwaway, bin_dir, parse_address

ROOT = Path(__file__).resolve().parents[2]
STARTED = time.monotonic()
DATABASE = "bench_features"
PARTS = {"join": joins.run, "reads": reads.run, "writes": writes.run}
# What every session of the database gets, Feast's as well as ours. A commit does not wait for the disk.
SETTINGS = {"jit": "off", "work_mem": "64MB", "synchronous_commit": "off", "timezone": "UTC"}
# Sizes: as a whole, and to see whether everything works.
FULL = {"rows": 10_000_000, "asked": 100_000, "entities": 10_000, "written": 1_000_000, "seconds": 5.0, "rounds": 3}
QUICK = {"rows": 200_000, "asked": 5_000, "entities": 500, "written": 50_000, "seconds": 0.5, "rounds": 1}


def say(text: str) -> None:
    """A line of progress with the time since the start."""
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)


def part_names(text: str) -> list[str]:
    """Parts of the benchmark by name."""
    names = text.split(",")
    for name in names:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f'unknown part "{name}"; there are {", ".join(PARTS)}')
    return names


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench/run.sh features", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="everything small: does it work? under a minute")
    add("--parts", type=part_names, default=list(PARTS), help=f"of {','.join(PARTS)}; default: all")
    add(
        "--rows",
        type=int,
        help=f"rows of the history of the join, {joins.EVENTS} of each entity; default {FULL['rows']:,}",
    )
    add("--asked", type=int, help=f"entity rows of the join; default {FULL['asked']:,}")
    add("--entities", type=int, help=f"entities of the online reads; default {FULL['entities']:,}")
    add("--written", type=int, help=f"rows of the bulk write; default {FULL['written']:,}")
    add("--seconds", type=float, help=f"length of one sample; default {FULL['seconds']:.0f}")
    add("--rounds", type=int, help=f"passes over the online reads; default {FULL['rounds']}")
    add("--limit", type=float, default=600, help="seconds after which a statement of the join is given up")
    add("--no-redis", action="store_true", help="leave Redis out, which otherwise has to be installed")
    add("--pg-config", default=os.environ.get("PG_CONFIG", "pg_config"), help="the server to use")
    add("--socket", metavar="DIR[:PORT]", help=f"a running server, whose database {DATABASE} is dropped and made anew")
    add("--user", default="postgres", help="role on a running server")
    add("--shared-buffers", default="2GB", help="of the throwaway cluster")
    add("--target", type=Path, default=ROOT / "target", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.rows < joins.EVENTS:
        parser.error(f"--rows {options.rows} is less than the {joins.EVENTS} rows of one entity")
    return options


def open_server(options) -> Server:
    """The running server that was named, or one of our own."""
    programs = bin_dir(options.pg_config)
    if options.socket:
        _, folder, port = parse_address(options.socket)
        return Server(folder, port, options.user, programs)
    say(f"starting a throwaway cluster from {programs}")
    return Throwaway(programs, options.target, options.shared_buffers)


def prepare(server: Server, options) -> dict:
    """The database with what the parts need, and the versions of everything."""
    if not server.offers("leanstack"):
        raise ServerError("leanstack is not installed in the server; see bench/README.md")
    with server.connect("postgres") as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {DATABASE}")
        for name, value in SETTINGS.items():
            connection.execute(f"ALTER DATABASE {DATABASE} SET {name} = '{value}'")
    with server.connect(DATABASE) as connection:
        connection.execute("CREATE EXTENSION leanstack")
        extension = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'leanstack'").fetchone()[0]
        if {"join", "writes"} & set(options.parts):
            say(f"loading {options.rows:,} rows of history")
            joins.load(connection, options.rows, options.asked)
        if "reads" in options.parts:
            reads.load(connection, options.entities)
    versions = {"PostgreSQL": server.version(), "leanstack": extension}
    return versions | {name: version(name) for name in ("feast", "psycopg", "redis")}


def publish(content: dict, options) -> None:
    """Tables to standard output, JSON to a file."""
    folder = options.target / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "features.json").write_text(json.dumps(content, indent=1) + "\n")
    print(", ".join(f"{name} {number}" for name, number in content["versions"].items()))
    for name, results in content["results"].items():
        print("\n" + tables.TABLES[name](results))
    say(f"written to {folder / 'features.json'}")


def interrupt(number, frame):
    """Turns a signal into the exception that the keyboard's interrupt raises."""
    raise KeyboardInterrupt


def main() -> int:
    """Runs the parts; figures of finished ones are kept when a later one fails."""
    options = arguments()
    warnings.simplefilter("ignore")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    content, opened, code = {"results": {}}, [], 0
    folder = Path(tempfile.mkdtemp(prefix="bench-feast-"))
    try:
        opened.append(open_server(options))
        server = opened[0]
        content["versions"] = prepare(server, options)
        redis = None
        if not options.no_redis:
            redis = peers.Redis()
            opened.append(redis)
            content["versions"]["redis-server"] = redis.version()
        for name in options.parts:
            if name == "join":
                content["results"][name] = joins.run(server, DATABASE, folder, options, say)
            else:
                content["results"][name] = PARTS[name](server, DATABASE, folder, redis, options, say)
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
