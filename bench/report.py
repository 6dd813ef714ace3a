"""Reports: tables on the terminal, JSON, and the recall/QPS plot; QPS at equal recall by interpolation."""

import json
import math
from pathlib import Path

TARGETS = (0.95, 0.99)


def table(header: list[str], rows: list[list[str]]) -> str:
    """Columns aligned: the first two to the left, figures to the right."""
    widths = [max(len(row[at]) for row in [header, *rows]) for at in range(len(header))]

    def line(row):
        pairs = enumerate(zip(row, widths))
        cells = [cell.ljust(width) if at < 2 else cell.rjust(width) for at, (cell, width) in pairs]
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def at_recall(points: list[dict], clients: int, target: float, what: str = "qps") -> tuple[float | None, bool]:
    """QPS or a latency at a recall, linear between points in recall against its logarithm; true when it is a bound.

    A curve that starts above the target gives its first point's figure, since a smaller ef would be faster still; one
    that never reaches it gives None.
    """
    curve = [
        (point["recall"], point["clients"][str(clients)][what])
        for point in sorted(points, key=lambda point: point["ef"])
        if str(clients) in point["clients"]
    ]
    if not curve:
        return None, False
    if curve[0][0] >= target:
        return curve[0][1], curve[0][0] > target
    for (low, low_value), (high, high_value) in zip(curve, curve[1:]):
        if low < target <= high:
            share = (target - low) / (high - low)
            return math.exp(math.log(low_value) + share * (math.log(high_value) - math.log(low_value))), False
    return None, False


def client_counts(results: list[dict]) -> list[int]:
    """Every number of clients that was measured."""
    return sorted({int(clients) for result in results for point in result["points"] for clients in point["clients"]})


def number(value: float | None, lower_bound: bool = False, digits: int = 0) -> str:
    """A figure for a table; `>` marks a lower bound."""
    if value is None:
        return "-"
    return (">" if lower_bound else "") + f"{value:,.{digits}f}"


def share(value: float | None) -> str:
    """A share as a percentage."""
    return "-" if value is None else f"{100 * value:.0f} %"


def sweep_table(results: list[dict]) -> str:
    """Every point of every engine."""
    rows = []
    for result in results:
        for point in sorted(result["points"], key=lambda point: point["ef"]):
            for clients, run in point["clients"].items():
                rows.append(
                    [result["dataset"], label(result), clients, str(point["ef"]), f"{point['recall']:.4f}"]
                    + [number(run["qps"]), f"{run['p50_ms']:.3f}", f"{run['p99_ms']:.3f}"]
                    + [share(run.get("cpu_wait"))]
                )
    return table(["data set", "engine", "clients", "effort", "recall@k", "QPS", "p50 ms", "p99 ms", "cpu wait"], rows)


def label(result: dict) -> str:
    """Engine as shown; figures that an earlier run measured are marked."""
    return f"{result['engine']} {result.get('access_method', 'hnsw')}" + (" (earlier)" if result.get("earlier") else "")


def summary_table(results: list[dict]) -> str:
    """One line per engine and data set."""
    counts = client_counts(results)
    header = ["data set", "engine", "rows", "build s", "cpu wait", "build MB", "index MB", "heap MB"]
    header += ["insert/s", "ins p50", "ins p99"]
    header += [f"QPS@{target} c{clients}" for clients in counts for target in TARGETS]
    header += [f"p50@{target} c1" for target in TARGETS]
    rows = []
    for result in results:
        insert = result.get("insert", {})
        row = [result["dataset"], label(result), f"{result['rows']:,}"]
        row += [number(result.get("build_seconds"), digits=1), share(result.get("build_cpu_wait"))]
        memory = result.get("build_memory_bytes")
        row.append(number(memory and memory / 2**20))
        row += [number(result[name] / 2**20, digits=1) for name in ("index_bytes", "heap_bytes")]
        row += [number(insert.get("qps"))] + [number(insert.get(name), digits=3) for name in ("p50_ms", "p99_ms")]
        row += [number(*at_recall(result["points"], clients, target)) for clients in counts for target in TARGETS]
        for target in TARGETS:
            value, bound = at_recall(result["points"], 1, target, "p50_ms")
            row.append(("<" if bound else "") + number(value, digits=3))
        rows.append(row)
    return table(header, rows)


def mixed_table(results: list[dict]) -> str:
    """Inserts and searches side by side, where measured."""
    rows = [
        [result["dataset"], label(result), number(result["mixed"]["insert"]["qps"])]
        + [f"{result['mixed']['insert']['p99_ms']:.3f}", number(result["mixed"]["search"]["qps"])]
        + [f"{result['mixed']['search']['p99_ms']:.3f}"]
        for result in results
        if "mixed" in result
    ]
    return table(["data set", "engine", "insert/s", "ins p99", "search QPS", "search p99"], rows) if rows else ""


def pairs(results: list[dict]) -> list[tuple[dict, dict]]:
    """leanstack and pgvector on the same data."""
    by_key = {(result["engine"], result["dataset"], result["rows"], result["metric"]): result for result in results}
    return [
        (ours, by_key["pgvector", *key[1:]])
        for key, ours in by_key.items()
        if key[0] == "leanstack" and ("pgvector", *key[1:]) in by_key
    ]


def ratios(ours: dict, theirs: dict) -> dict:
    """leanstack against pgvector; all but the size are "times better", the size is ours as a share of theirs."""
    found = {"dataset": ours["dataset"]}
    for clients in client_counts([ours, theirs]):
        for target in TARGETS:
            (mine, mine_bound), (other, other_bound) = (at_recall(x["points"], clients, target) for x in (ours, theirs))
            # Over a lower bound the quotient could lie on either side, so it says nothing.
            value = mine / other if mine and other and not other_bound else None
            found[f"QPS@{target} c{clients}"] = {"value": value, "lower_bound": mine_bound and value is not None}
    # The median latency of one client suffers least from other work on the machine: a second opinion on the QPS.
    for target in TARGETS:
        (mine, mine_bound), (other, other_bound) = (at_recall(x["points"], 1, target, "p50_ms") for x in (ours, theirs))
        value = other / mine if mine and other and not other_bound else None
        found[f"p50@{target} c1"] = {"value": value, "lower_bound": mine_bound and value is not None}
    for name, mine, other in (
        ("build", theirs.get("build_seconds"), ours.get("build_seconds")),
        ("size", ours.get("index_bytes"), theirs.get("index_bytes")),
        ("insert", ours.get("insert", {}).get("qps"), theirs.get("insert", {}).get("qps")),
    ):
        found[name] = {"value": mine / other if mine and other else None, "lower_bound": False}
    return found


def ratio_table(found: list[dict]) -> str:
    """Ratios, one line per data set."""
    names = [name for name in found[0] if name != "dataset"]
    rows = []
    for entry in found:
        cells = []
        for name in names:
            value, bound = entry[name]["value"], entry[name]["lower_bound"]
            if value is None:
                cells.append("-")
            elif name == "size":
                cells.append(share(value))
            else:
                cells.append(("> " if bound else "") + f"{value:.2f}x")
        rows.append([entry["dataset"], "leanstack/pgvector", *cells])
    return table(["data set", "ratio", *names], rows)


def read_earlier(path: Path, results: list[dict]) -> list[dict]:
    """Results of an earlier run for engines and data sets that this one did not measure."""
    have = {(result["engine"], result["dataset"], result["rows"], result["metric"]) for result in results}
    return [
        result | {"earlier": True}
        for result in json.loads(path.read_text())["results"]
        if (result["engine"], result["dataset"], result["rows"], result["metric"]) not in have
        and any(result["dataset"] == mine["dataset"] and result["rows"] == mine["rows"] for mine in results)
    ]


def plot(results: list[dict], path: Path) -> None:
    """QPS over recall, a panel per data set, a line per engine."""
    import matplotlib

    matplotlib.use("svg")
    # Text stays text, and the same figures give the same file.
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "bench"}
    from matplotlib import pyplot

    names = list(dict.fromkeys(result["dataset"] for result in results if result["points"]))
    if not names:
        return
    figure, axes = pyplot.subplots(1, len(names), figsize=(5 * len(names), 4), squeeze=False)
    for axis, name in zip(axes[0], names):
        for result in (result for result in results if result["dataset"] == name):
            for clients in client_counts([result]):
                points = [
                    (point["recall"], point["clients"][str(clients)]["qps"])
                    for point in sorted(result["points"], key=lambda point: point["ef"])
                ]
                style = {1: "-o"}.get(clients, "--o")
                colour = {"leanstack": "tab:blue", "pgvector": "tab:orange"}[result["engine"]]
                name_shown = f"{label(result)}, {clients} client{'s' if clients > 1 else ''}"
                axis.plot(*zip(*points), style, color=colour, markersize=3, label=name_shown)
        axis.set(title=name, xlabel="recall", ylabel="queries per second", yscale="log")
        axis.grid(True, which="both", alpha=0.3)
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
