"""`make bench-search`: how good keyword, vector and hybrid search are on judged collections, and how fast bm25 is
beside GIN. See bench/README.md."""

import argparse
import json
import os
import signal
import sys
import time
from importlib.metadata import version
from pathlib import Path

import fusion
import judged
import quality
import speed
import tables
from measure import MeasureError, machine
from server import Server, ServerError, Throwaway, bin_dir, parse_address

ROOT = Path(__file__).resolve().parents[2]
STARTED = time.monotonic()
DATABASE = "bench_search"
PARTS = {"fusion": fusion.run, "quality": quality.run, "speed": speed.run}
USUAL = ["quality", "speed"]
FULL = {"queries": None, "rows": None, "inserts": 20_000, "seconds": 10.0, "rounds": 3}
QUICK = {"queries": 20, "rows": 10_000, "inserts": 500, "seconds": 1.0, "rounds": 1}


def say(text: str) -> None:
    """A line of progress with the time since the start."""
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)


def names_of(known: dict):
    """A parser of comma-separated names out of those that are known."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f'unknown name "{name}"; there are {", ".join(known)}')
        return names

    return parse


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench/run.sh search", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="everything small: does it work? a minute")
    add("--parts", type=names_of(PARTS), default=USUAL, help=f"of {','.join(PARTS)}; default: {','.join(USUAL)}")
    listed = ",".join(judged.COLLECTIONS)
    add("--collections", type=names_of(judged.COLLECTIONS), default=list(judged.COLLECTIONS), help=f"of {listed}")
    add("--queries", type=int, help="use the first N queries of each collection")
    add("--rows", type=int, help="use the first N documents of the speed part")
    add("--inserts", type=int, help=f"single-row inserts; default {FULL['inserts']:,}")
    add("--seconds", type=float, help=f"length of one sample; default {FULL['seconds']:.0f}")
    add("--rounds", type=int, help=f"samples and builds of each engine; default {FULL['rounds']}")
    add("--data-dir", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the collections")
    add("--pg-config", default=os.environ.get("PG_CONFIG", "pg_config"), help="the server to use")
    add("--socket", metavar="DIR[:PORT]", help=f"a running server, whose database {DATABASE} is dropped and made anew")
    add("--user", default="postgres", help="role on a running server")
    add("--shared-buffers", default="1GB", help="of the throwaway cluster")
    add("--target", type=Path, default=ROOT / "target", help=argparse.SUPPRESS)
    options = parser.parse_args()
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
    """The database, and the versions of everything."""
    if not server.offers("leanstack"):
        raise ServerError("leanstack is not installed in the server; see bench/README.md")
    with server.connect("postgres") as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {DATABASE}")
        connection.execute(f"ALTER DATABASE {DATABASE} SET jit = off")
    with server.connect(DATABASE) as connection:
        connection.execute("CREATE EXTENSION leanstack")
        extension = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'leanstack'").fetchone()[0]
    return {"PostgreSQL": server.version(), "leanstack": extension, "bm25s": version("bm25s")}


def publish(content: dict, options) -> None:
    """Tables to standard output, JSON to a file."""
    folder = options.target / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "search.json").write_text(json.dumps(content, indent=1) + "\n")
    print(", ".join(f"{name} {number}" for name, number in content["versions"].items()))
    for name, results in content["results"].items():
        print("\n" + tables.TABLES[name](results))
    say(f"written to {folder / 'search.json'}")


def interrupt(number, frame):
    """Turns a signal into the exception that the keyboard's interrupt raises."""
    raise KeyboardInterrupt


def main() -> int:
    """Runs the parts; figures of finished ones are kept when a later one fails."""
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    content, server, code = {"results": {}}, None, 0
    try:
        server = open_server(options)
        content["versions"] = prepare(server)
        for name in options.parts:
            content["results"][name] = PARTS[name](server, DATABASE, options, say)
    except (ServerError, MeasureError, judged.MissingInput) as error:
        print(f"bench: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    finally:
        if server:
            server.stop()
    if content["results"]:
        sizes = {name: getattr(options, name) for name in FULL}
        publish({"machine": machine(), "settings": sizes, **content}, options)
    return code


if __name__ == "__main__":
    sys.exit(main())
