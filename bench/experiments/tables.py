"""The tables that are printed, with ratios of leanstack to each of the others."""

from peers import OURS
from report import share, table


def logging(results: list[dict]) -> str:
    """Points a second, and what they took of the processors."""
    rows = []
    for result in results:
        ours = next(r for r in results if r["what"] == result["what"] and r["engine"] == OURS)
        if "points" in result:
            rate, own = result["points"] / result["seconds"], ours["points"] / ours["seconds"]
            cpu = [1e6 * result[name] / result["points"] for name in ("client_cpu", "server_cpu")]
            own_cpu = 1e6 * (ours["client_cpu"] + ours["server_cpu"]) / ours["points"]
            figures = [f"{result['points']:,}", f"{rate:,.0f}", *(f"{one:.1f}" for one in cpu)]
            better = [f"{own / rate:.1f}x", f"{sum(cpu) / own_cpu:.1f}x"]
        else:
            figures = [f"{result['calls']:,}", f"{result['qps']:,.0f}", "", ""]
            better = [f"{result['p50_ms'] / ours['p50_ms']:.1f}x", ""]
        rows.append(
            [
                result["what"],
                result["engine"],
                *figures,
                share(result["cpu_wait"]),
                *(["", ""] if result is ours else better),
            ]
        )
    header = ["a batch", "engine", "points", "points/s", "us client", "us server", "cpu wait", "ratio", "of cpu"]
    title = f"Logging, {max(r['clients'] for r in results)} clients; processor time of a point; ratios above 1 are where leanstack is ahead"
    return title + "\n" + table(header, rows)


def looking(results: list[dict]) -> str:
    """Latencies."""
    rows = []
    for result in results:
        ours = next(r for r in results if r["what"] == result["what"] and r["engine"] == OURS)
        figures = [f"{result[name]:,.2f}" for name in ("p50_ms", "p99_ms")] + [share(result["cpu_wait"])]
        rows.append(
            [
                result["what"],
                result["engine"],
                *figures,
                "" if result is ours else f"{result['p50_ms'] / ours['p50_ms']:.1f}x",
            ]
        )
    title = "Looking, one client; ratios of p50, above 1 where leanstack is ahead"
    return title + "\n" + table(["what", "engine", "p50 ms", "p99 ms", "cpu wait", "ratio"], rows)


def loaded(found: dict) -> str:
    """Sizes."""
    rows = [
        [name, "", f"{table_bytes / 2**20:,.0f}", f"{index_bytes / 2**20:,.0f}"]
        for name, (table_bytes, index_bytes) in found["bytes"].items()
    ]
    title = f"{found['runs']:,} runs with {found['points']:,} points, written in {found['seconds']:,.0f} s by two connections"
    return title + "\n" + table(["table", "", "MB", "indexes MB"], rows)


TABLES = {"logging": logging, "looking": looking, "loaded": loaded}
