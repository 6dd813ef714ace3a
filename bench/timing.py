"""How long things take at the client: one call, or as many as fit into some seconds."""

import time
from typing import Callable

import numpy as np

from measure import cpu_wait_seconds, cpu_wait_share, least_disturbed


def once(call: Callable) -> tuple[float, object]:
    """Seconds that a call takes, and what it returns."""
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def calls(
    call: Callable, arguments: list, seconds: float, at_most: int | None = None, cpu: Callable | None = None
) -> dict:
    """Rate and percentiles of `call` on the arguments in turn, after a warm-up of a tenth of the time.

    `cpu` tells the seconds of processor that all who take part have used so far.
    """
    for pass_seconds in (seconds / 10, seconds):
        nanos, n = [], 0
        started, waited, used = time.monotonic(), cpu_wait_seconds(), cpu() if cpu else 0
        until = time.perf_counter_ns() + int(pass_seconds * 1e9)
        while (now := time.perf_counter_ns()) < until and (at_most is None or n < at_most):
            call(arguments[n % len(arguments)])
            nanos.append(time.perf_counter_ns() - now)
            n += 1
        cpu_wait = cpu_wait_share(waited, started)
        span = time.monotonic() - started
        used = cpu() - used if cpu else 0
    return {
        **({"cpu_ms": 1000 * used / n} if cpu else {}),
        "calls": n,
        "qps": n / span,
        "p50_ms": float(np.percentile(nanos, 50)) / 1e6,
        "p99_ms": float(np.percentile(nanos, 99)) / 1e6,
        "cpu_wait": cpu_wait,
    }


def in_turns(
    contenders: dict[str, Callable],
    arguments: dict[str, list],
    seconds: float,
    rounds: int,
    cpu: dict[str, Callable] | None = None,
) -> dict[str, dict]:
    """Every contender measured `rounds` times, taking turns; of each, the median of the least disturbed samples."""
    samples = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            samples[name].append(calls(call, arguments[name], seconds, cpu=cpu and cpu[name]))
    return {name: least_disturbed(runs) | {"samples": runs} for name, runs in samples.items()}
