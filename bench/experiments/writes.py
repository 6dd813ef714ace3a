"""Logging from several clients at once, each a process with a run of its own; and one point at a time."""

import multiprocessing
import threading
import time

from measure import MeasureError, cpu_wait_seconds, cpu_wait_share
from processor import tree_seconds, used
from timing import calls

# What a batch of MLflow's may hold.
BATCH = 1_000
EXPERIMENT = "logged"
START_MS = 1_767_225_600_000
# Batches by shape: how many metrics there are, of which a batch has as many steps as fit.
SHAPES = {"10 metrics x 100 steps": 10, "1 metric x 1,000 steps": 1, "1,000 metrics x 1 step": 1_000}


def points(client: int, number: int, metrics: int) -> list[tuple]:
    """One batch: keys, values, steps, times in milliseconds."""
    steps = BATCH // metrics
    return [
        (f"metric_{key}", 1 / (1 + client + step) + key, step, START_MS + step * 1_000)
        for step in range(number * steps, (number + 1) * steps)
        for key in range(metrics)
    ]


def client(address, engine: str, number: int, batches: int, metrics: int, barrier, results) -> None:
    """The life of one client; what it is asked to write is ready before the clock starts."""
    try:
        peer = address.open(engine)
        run = peer.start(EXPERIMENT)
        prepared = [peer.batch(points(number, n, metrics)) for n in range(batches)]
        # The first call connects and looks up what is then kept.
        peer.log(run, prepared[0])
        barrier.wait()
        began, worked = time.monotonic(), time.process_time()
        for batch in prepared[1:]:
            peer.log(run, batch)
        results.put((began, time.monotonic(), time.process_time() - worked))
    except Exception as error:
        barrier.abort()
        results.put(repr(error))


def at_once(address, engine: str, clients: int, total: int, metrics: int, roots: list[int]) -> dict:
    """`total` points by `clients` at once: rate, and processor seconds of clients and servers."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(clients + 1), context.Queue()
    batches = total // BATCH // clients + 1
    children = [
        context.Process(target=client, args=(address, engine, n, batches, metrics, barrier, results), daemon=True)
        for n in range(clients)
    ]
    for child in children:
        child.start()
    try:
        barrier.wait()
    except threading.BrokenBarrierError:
        raise MeasureError(f"{engine}: {results.get()}") from None
    started, waited, served = time.monotonic(), cpu_wait_seconds(), sum(map(tree_seconds, roots))
    done = [results.get() for _ in children]
    for failed in done:
        if isinstance(failed, str):
            raise MeasureError(f"{engine}: {failed}")
    cpu_wait, served = cpu_wait_share(waited, started), sum(map(tree_seconds, roots)) - served
    for child in children:
        child.join()
    written = (batches - 1) * BATCH * clients
    seconds = max(end for _, end, _ in done) - min(began for began, _, _ in done)
    return {
        "engine": engine,
        "points": written,
        "clients": clients,
        "seconds": seconds,
        "client_cpu": sum(cpu for *_, cpu in done),
        "server_cpu": served,
        "cpu_wait": cpu_wait,
    }


def run(address, engines: list[str], roots: dict[str, list[int]], options, say) -> list[dict]:
    """Every shape by every engine; the first shape in full, the others with a tenth of the points."""
    results = []
    for shape, metrics in SHAPES.items():
        total = options.points if metrics == 10 else max(options.points // 10, options.clients * BATCH)
        for engine in engines:
            found = at_once(address, engine, options.clients, total, metrics, roots[engine])
            say(f"logging {shape}: {engine}: {found['points'] / found['seconds']:,.0f} points a second")
            results.append({"what": shape} | found)
    for engine in engines:
        peer = address.open(engine)
        run = peer.start(EXPERIMENT)
        singles = [("loss", 1 / (n + 1), n, START_MS + n) for n in range(100_000)]
        found = calls(
            lambda point, peer=peer, run=run: peer.log_one(run, point),
            singles,
            options.seconds,
            cpu=used(roots[engine]),
        )
        results.append({"what": "one point", "engine": engine, "clients": 1, **found})
        say(f"logging one point: {engine}: {found['p50_ms']:.2f} ms")
    return results
