"""`make bench`: measures vector indexes side by side. See bench/README.md for how to read the output."""

import argparse
import json
import os
import signal
import sys
import time
from itertools import zip_longest
from pathlib import Path

import datasets
import report
from measure import EFFORTS, Bench, MeasureError, least_disturbed, machine
from server import EXTENSIONS, Server, ServerError, Throwaway, bin_dir, parse_address

ROOT = Path(__file__).resolve().parent.parent
STARTED = time.monotonic()


def say(text: str) -> None:
    """A line of progress with the time since the start."""
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)


def numbers(text: str) -> list[int]:
    """A comma-separated list of positive integers."""
    values = [int(part) for part in text.split(",")]
    if not values or min(values) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not a list of positive numbers')
    return values


def dataset_names(text: str) -> list[str]:
    """Data sets by name; `all` is the four that the targets are about."""
    names = list(datasets.FOUR) if text == "all" else text.split(",")
    for name in names:
        if name not in datasets.DATASETS:
            raise argparse.ArgumentTypeError(f'unknown data set "{name}"; there are {", ".join(datasets.DATASETS)}')
    return names


def shares(text: str) -> list[float]:
    """Numbers from 0 to 1."""
    return [float(part) for part in text.split(",")]


def engine_names(text: str) -> list[str]:
    """Engines by name."""
    names = text.split(",")
    for name in names:
        if name not in EXTENSIONS:
            raise argparse.ArgumentTypeError(f'unknown engine "{name}"; there are {", ".join(EXTENSIONS)}')
    return names


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench/run.sh", description=__doc__)
    add = parser.add_argument
    add("--dataset", type=dataset_names, help="names, or all; default wordnet384 where its files are, else descriptors128")
    add("--rows", type=int, help="use the first N rows of each data set")
    add("--metric", choices=["l2", "cosine", "ip"], help="default: what the data set is for")
    add("--engines", type=engine_names, help="default: those whose extension the server offers")
    add("--index", choices=list(EFFORTS), default="hnsw", help="leanstack's access method")
    add("--peer-index", choices=["hnsw", "ivfflat"], default="hnsw", help="pgvector's access method")
    add("--ef", type=numbers, default="10,20,40,80,160,320", help="hnsw.ef_search values")
    add("--probes", type=numbers, default="1,2,4,8,16,32", help="ivfflat.probes values")
    add("--recall-targets", type=shares, default="0.8,0.9,0.95,0.98,0.99,0.995", help="ivf.recall_target values")
    add("--lists", type=int, help="of ivfflat and ivf; default: rows / 1000, and ivf's own choice")
    add("--k", type=int, default=10, help="neighbours per query")
    add("--clients", type=numbers, default="1,2", help="numbers of pgbench clients")
    add("--seconds", type=float, default=5, help="length of one throughput sample")
    add("--rounds", type=int, default=1, help="passes over all points, engines taking turns")
    add("--m", type=int, default=16)
    add("--ef-construction", type=int, default=64)
    add("--quantization", help="leanstack's option; default: not given")
    add("--workers", type=int, default=2, help="max_parallel_maintenance_workers")
    add("--maintenance-work-mem", default="2GB")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting for every session; repeatable")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--reuse",
        type=engine_names,
        nargs="?",
        const=list(EXTENSIONS),
        metavar="ENGINES",
        help="keep tables that are loaded, only rebuild the index; engines not listed are only swept",
    )
    mode.add_argument(
        "--sweep-only",
        dest="reuse",
        action="store_const",
        const=[],
        help="keep the tables and the index; no insert test",
    )
    add("--fresh", action="store_true", help="drop the engines' databases first, as after a change to extension SQL")
    add("--no-insert", action="store_true", help="skip the insert test")
    add("--no-sweep", action="store_true", help="skip recall and throughput")
    add("--mixed", action="store_true", help="also insert while searching")
    add("--sync-commit", action="store_true", help="the insert test waits for the disk")
    add("--pg-config", default=os.environ.get("PG_CONFIG", "pg_config"), help="the server to use")
    add("--socket", action="append", default=[], metavar="[ENGINE=]DIR[:PORT]", help="a running server; repeatable")
    add("--user", default="postgres", help="role on a running server")
    add("--shared-buffers", default="2GB", help="of the throwaway cluster")
    add("--data-dir", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the embeddings")
    add("--target", type=Path, default=ROOT / "target", help=argparse.SUPPRESS)
    add("--against", type=Path, metavar="JSON", help="earlier results for engines not measured now")
    add("--output", metavar="NAME", help="base name of the files under target/bench; default: the data sets")
    options = parser.parse_args()
    if options.dataset is None:
        options.dataset = ["wordnet384" if datasets.has_wordnet(options.data_dir) else "descriptors128"]
    if min(options.ef) < options.k:
        parser.error(f"ef {min(options.ef)} is less than k {options.k}: the index would return too few rows")
    options.settings = {}
    for pair in options.set:
        name, separator, value = pair.partition("=")
        if not separator:
            parser.error(f'"{pair}" is not NAME=VALUE')
        options.settings[name] = value
    if options.fresh and options.reuse is not None:
        parser.error("--fresh drops the tables that --reuse and --sweep-only need")
    if options.reuse is not None and not options.socket:
        parser.error("--reuse and --sweep-only need --socket: a throwaway cluster starts empty")
    return options


def find_servers(options, opened: list[Server]) -> dict[str, Server]:
    """A server for each engine to measure; `opened` receives each for stopping."""
    programs = bin_dir(options.pg_config)
    servers = {}
    if options.socket:
        for text in options.socket:
            engine, folder, port = parse_address(text)
            server = Server(folder, port, options.user, programs)
            for name in [engine] if engine else EXTENSIONS:
                servers[name] = server
    else:
        say(f"starting a throwaway cluster from {programs}")
        opened.append(Throwaway(programs, options.target, options.shared_buffers))
        servers = dict.fromkeys(EXTENSIONS, opened[-1])
    chosen = {}
    for engine in options.engines or EXTENSIONS:
        if engine in servers and servers[engine].offers(engine):
            chosen[engine] = servers[engine]
        elif options.engines:
            raise ServerError(f"{engine} is not installed in the server; see bench/README.md")
        else:
            say(f"{engine} is not installed in the server and is left out")
    if options.fresh:
        for engine, server in chosen.items():
            server.drop_database(engine)
    if not chosen:
        raise ServerError("neither leanstack nor pgvector is installed in the server")
    return chosen


def sweep(benches: list[Bench], options) -> None:
    """Recall once per point; throughput in `rounds` passes over all points, the engines taking turns on each.

    Whole passes rather than repeated samples, so that a spell of other work does not fall on one point alone.
    """
    for bench in benches:
        bench.warm()
    for bench in benches:
        for ef in bench.efforts():
            free = bench.check_plan(ef)
            if not free:
                say(f"note: {bench.name()} {ef}: the planner, left free, would not use the index")
            samples = {str(clients): [] for clients in options.clients}
            point = {"ef": ef, "planner_agrees": free, "recall": bench.recall(ef), "samples": samples}
            bench.result["points"].append(point)
            say(f"{bench.name()} {ef}: recall {point['recall']:.4f}")
    for passed in range(options.rounds):
        for efforts in zip_longest(*(bench.efforts() for bench in benches)):
            turn = [(bench, ef) for bench, ef in zip(benches, efforts) if ef is not None]
            for clients in options.clients:
                for bench, ef in turn:
                    if passed == 0:
                        bench.throughput(ef, clients, 1)
                    bench.point(ef)["samples"][str(clients)].append(bench.throughput(ef, clients, options.seconds))
            for bench, ef in turn:
                last = {clients: runs[-1] for clients, runs in bench.point(ef)["samples"].items()}
                shown = ", ".join(f"{run['qps']:,.0f} QPS with {clients}" for clients, run in last.items())
                say(f"{bench.name()} {ef}, pass {passed + 1}: {shown}")
    for bench in benches:
        for point in bench.result["points"]:
            point["clients"] = {clients: least_disturbed(runs) for clients, runs in point["samples"].items()}


def run_dataset(name: str, servers: dict[str, Server], options) -> list[dict]:
    """Everything about one data set."""
    cache = options.target / "bench-data"
    data = datasets.load(name, options.rows, options.metric, options.data_dir, cache, say)
    benches = [Bench(engine, server, data, options) for engine, server in servers.items()]
    for bench in benches:
        builds = options.reuse is None or bench.engine in options.reuse
        if options.reuse is not None:
            if not bench.loaded(with_index=not builds):
                raise MeasureError(f"{bench.engine}: {bench.schema} is not loaded or has no index; load it first")
        else:
            say(f"{name} {bench.engine}: loading {len(data.base):,} rows of {data.base.shape[1]} dimensions")
            bench.load()
        if not builds and not bench.as_built():
            bench.result["inserted_into"] = True
            say(f"note: {name} {bench.engine}: the index holds dead rows of an insert test; --reuse builds it anew")
        if builds:
            say(f"{name} {bench.engine}: building the index")
            bench.build()
            say(f"{name} {bench.engine}: built in {bench.result['build_seconds']:.1f} s")
        bench.sizes()
    if not options.no_sweep:
        sweep(benches, options)
    if not options.no_insert:
        for bench in (bench for bench in benches if "build_seconds" in bench.result):
            bench.inserts(options.mixed)
            say(f"{name} {bench.engine}: {bench.result['insert']['qps']:,.0f} inserts per second")
    return [bench.result for bench in benches]


def publish(results: list[dict], options) -> None:
    """Tables to standard output, JSON and plot to files."""
    if options.against:
        results = results + report.read_earlier(options.against, results)
    found = [report.ratios(*pair) for pair in report.pairs(results)]
    folder = options.target / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    base = options.output or "-".join(options.dataset)
    settings = {name: getattr(options, name) for name in ("m", "ef_construction", "lists", "k", "seconds", "rounds", "workers")}
    settings |= {"maintenance_work_mem": options.maintenance_work_mem, "sync_commit": options.sync_commit}
    settings |= {"set": options.settings}
    content = {"machine": machine(), "settings": settings, "results": results, "ratios": found}
    (folder / f"{base}.json").write_text(json.dumps(content, indent=1) + "\n")
    if any(result["points"] for result in results):
        print(report.sweep_table(results), end="\n\n")
        report.plot(results, folder / f"{base}.svg")
    print(report.summary_table(results))
    for text in (report.mixed_table(results), report.ratio_table(found) if found else ""):
        if text:
            print("\n" + text)
    say(f"written to {folder / base}.json" + (" and .svg" if not options.no_sweep else ""))


def interrupt(number, frame):
    """Turns a signal into the exception that the keyboard's interrupt raises."""
    raise KeyboardInterrupt


def main() -> int:
    """Runs what was asked for; figures of finished data sets are kept when a later one fails."""
    options = arguments()
    # Ended by a signal, the run still stops its cluster; Python handles only the keyboard's by itself.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    opened, results, code = [], [], 0
    try:
        servers = find_servers(options, opened)
        for name in options.dataset:
            results += run_dataset(name, servers, options)
    except (ServerError, MeasureError, datasets.MissingInput) as error:
        print(f"bench: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    finally:
        for server in opened:
            server.stop()
    if results:
        publish(results, options)
    return code


if __name__ == "__main__":
    sys.exit(main())
