"""The tables that are printed, with ratios of leanstack to each of the others."""

from peers import OURS
from report import share, table


def logging(results: list[dict]) -> str:
    """Points a second, and what they took of the processors."""
    rows = []
    for result in results:
        ours = next(r for r in results if r["what"] == result["what"] and r["engine"] == OURS)
        if "points" in result:
            count, (rate, own) = result["points"], (r["points"] / r["seconds"] for r in (result, ours))
            cpu, own_cpu = ((r["client_cpu"] + r["server_cpu"]) / r["points"] for r in (result, ours))
        else:
            count, rate, own = result["calls"], result["qps"], ours["qps"]
            cpu, own_cpu = result["cpu_ms"] / 1000, ours["cpu_ms"] / 1000
        better = ["", ""] if result is ours else [f"{own / rate:.1f}x", f"{cpu / own_cpu:.1f}x"]
        figures = [f"{count:,}", f"{rate:,.0f}", f"{1e6 * cpu:,.1f}", share(result["cpu_wait"])]
        rows.append([result["what"], result["engine"], *figures, *better])
    header = ["a batch", "engine", "points", "points/s", "cpu us a point", "cpu wait", "points/s", "cpu"]
    title = f"Logging, {results[0]['clients']} clients; ratios above 1 are where leanstack is ahead"
    return title + "\n" + table(header, rows)


def looking(results: list[dict]) -> str:
    """Latencies, and what an answer took of the processors."""
    rows = []
    for result in results:
        ours = next(r for r in results if r["what"] == result["what"] and r["engine"] == OURS)
        figures = [f"{result[name]:,.2f}" for name in ("p50_ms", "p99_ms", "cpu_ms")] + [share(result["cpu_wait"])]
        better = [f"{result[name] / ours[name]:.1f}x" for name in ("p50_ms", "cpu_ms")]
        rows.append([result["what"], result["engine"], *figures, *(["", ""] if result is ours else better)])
    title = "Looking, one client; ratios above 1 are where leanstack is ahead"
    return title + "\n" + table(["what", "engine", "p50 ms", "p99 ms", "cpu ms", "cpu wait", "p50", "cpu"], rows)


def loaded(found: dict) -> str:
    """Sizes."""
    rows = [
        [name, "", f"{table_bytes / 2**20:,.0f}", f"{index_bytes / 2**20:,.0f}"]
        for name, (table_bytes, index_bytes) in found["bytes"].items()
    ]
    title = f"{found['runs']:,} runs with {found['points']:,} points, written in {found['seconds']:,.0f} s by two connections"
    return title + "\n" + table(["table", "", "MB", "indexes MB"], rows)


TABLES = {"logging": logging, "looking": looking, "loaded": loaded}
