"""Looking: searches, the best run, the history of a metric."""

from measure import MeasureError
from peers import DATABASE, MLFLOW_DATABASE, OURS
from history import EXPERIMENT, finish, load_mlflow, load_ours
from processor import used
from timing import in_turns
from writes import START_MS

# What is asked for, in words that both understand: filter, order, number of runs.
SEARCHES = {
    "metric and parameter, by metric, 100 runs": (
        "metrics.auc > 0.9 AND params.model = 'tree'",
        "metrics.auc DESC",
        100,
    ),
    "the same, 1,000 runs": ("metrics.auc > 0.9 AND params.model = 'tree'", "metrics.auc DESC", 1_000),
    "two metrics and a tag, newest 100": ("metrics.loss < 0.1 AND metrics.f1 > 0.5 AND tags.team = 'risk'", "", 100),
    "a metric that few reach, 100 runs": ("metrics.accuracy > 0.9995", "metrics.rmse ASC", 100),
    "all, newest 100": ("", "", 100),
}
HISTORY = 10_000
TABLES = ("run", "run_param", "metric", "run_metric")


def compare(peers: dict) -> None:
    """The engines find the same runs in the same order."""
    for what, search in SEARCHES.items():
        found = {engine: peer.ids(peer.search(EXPERIMENT, *search)) for engine, peer in peers.items()}
        for engine, ids in found.items():
            if ids != found[OURS] or not ids:
                raise MeasureError(
                    f"{what}: {engine} finds {len(ids)} runs, {OURS} {len(found[OURS])} or in another order"
                )
    best = {engine: peer.best(EXPERIMENT, "auc") for engine, peer in peers.items()}
    if len(set(best.values())) != 1:
        raise MeasureError(f"the best run differs: {best}")


def sizes(connection, runs: int, points: int, seconds: float) -> dict:
    """What the load took."""
    found = {
        table: connection.execute("SELECT pg_table_size(%s), pg_indexes_size(%s)", [f"lean.{table}"] * 2).fetchone()
        for table in TABLES
    }
    return {"runs": runs, "points": points, "seconds": seconds, "bytes": found}


def run(server, address, engines: list[str], roots: dict[str, list[int]], options, say) -> dict:
    """Loads, compares, measures."""
    peers = {engine: address.open(engine) for engine in engines}
    others = [engine for engine in engines if engine != OURS]
    say(f"loading {options.runs:,} runs with {options.runs * 5 * options.steps:,} points")
    seconds = load_ours(server, DATABASE, options.runs, options.steps, say)
    finish(server, DATABASE)
    if others:
        load_mlflow(server, MLFLOW_DATABASE, peers[others[0]].experiment(EXPERIMENT), options.runs)
        finish(server, MLFLOW_DATABASE)
    compare(peers)
    results = []
    cpu = {engine: used(roots[engine]) for engine in engines}

    def measure(what: str, calls: dict) -> None:
        found = in_turns(calls, {engine: [None] for engine in calls}, options.seconds, options.rounds, cpu)
        for engine, figures in found.items():
            say(f"looking, {what}: {engine}: {figures['p50_ms']:.2f} ms")
            results.append({"what": what, "engine": engine, **figures})

    for what, search in SEARCHES.items():
        measure(
            what,
            {
                engine: lambda _, peer=peer, search=search: peer.search(EXPERIMENT, *search)
                for engine, peer in peers.items()
            },
        )
    measure(
        "best run by a metric",
        {engine: lambda _, peer=peer: peer.best(EXPERIMENT, "auc") for engine, peer in peers.items()},
    )
    histories = {}
    for engine, peer in peers.items():
        run = peer.start("history")
        for first in range(0, HISTORY, 1_000):
            peer.log(run, peer.batch([("loss", 1 / (1 + n), n, START_MS + n) for n in range(first, first + 1_000)]))
        if len(peer.history(run, "loss")) != HISTORY:
            raise MeasureError(f"{engine}: the history is not whole")
        histories[engine] = lambda _, peer=peer, run=run: peer.history(run, "loss")
    measure(f"history of {HISTORY:,} points", histories)
    with server.connect(DATABASE) as connection:
        loaded = sizes(connection, options.runs, options.runs * 5 * options.steps, seconds)
    return {"looking": results, "loaded": loaded}
