"""The tables that are printed, with ratios of leanstack to each of the others."""

from report import share, table

OURS = "leanstack"


def ratio(theirs: float, ours: float, bound: bool = False) -> str:
    """Times better than theirs, for figures of which less is better."""
    return ("> " if bound else "") + f"{theirs / ours:.2f}x"


def seconds(figure: dict) -> str:
    """A time, or the limit that it is above."""
    return ("> " if figure["over"] else "") + f"{figure['seconds']:.2f}"


def joins(results: list[dict]) -> str:
    """One line for each time to live and engine; ratios are Feast's time over that of the line."""
    rows = []
    for result in results:
        feast = next(r for r in results if r["ttl"] == result["ttl"] and r["engine"] == "feast")
        name = "Feast" if result is feast else f"{OURS}, {result['engine']}"
        times = [seconds(result[what]) for what in ("query", "query analyzed", "call")]
        # Of Feast's statement the better of its two times counts.
        best = min((feast["query"], feast["query analyzed"]), key=lambda figure: figure["seconds"])
        ratios = [
            ratio(best["seconds"], result["query"]["seconds"], best["over"]),
            ratio(feast["call"]["seconds"], result["call"]["seconds"], feast["call"]["over"]),
        ]
        rows.append([result["ttl"], name, *times, *(["", ""] if result is feast else ratios)])
    title = f"Point-in-time join of {results[0]['asked']:,} entity rows over {results[0]['rows']:,} rows of history, seconds"
    return (
        title
        + "\n"
        + table(
            ["time to live", "engine", "in the server", "analyzed", "whole call", "Feast / ours, server", "whole call"],
            rows,
        )
    )


def reads(results: list[dict]) -> str:
    """One line for each request and engine; ratios are against the first, our function that gives JSON."""
    rows = []
    for result in results:
        ours = next(r for r in results if r["request"] == result["request"] and r["engine"] == OURS)
        ratios = [ratio(result[what], ours[what]) for what in ("p50_ms", "p99_ms")] + [
            ratio(ours["qps"], result["qps"])
        ]
        figures = [
            f"{result['p50_ms']:.3f}",
            f"{result['p99_ms']:.3f}",
            f"{result['qps']:,.0f}",
            share(result["cpu_wait"]),
        ]
        rows.append([result["request"], result["engine"], *figures, *(["", "", ""] if result is ours else ratios)])
    title = "Online reads, entities x features; ratios above 1 are where leanstack is ahead"
    header = ["request", "engine", "p50 ms", "p99 ms", "reads/s", "cpu wait", "p50", "p99", "reads/s"]
    return title + "\n" + table(header, rows)


def writes(results: list[dict]) -> str:
    """Rates, or latencies where one row is written at a time."""
    rows = []
    for result in results:
        ours = next(r for r in results if r["what"] == result["what"] and r["engine"] == OURS)
        if "seconds" in result:
            figures = [f"{result['rows'] / result['seconds']:,.0f}", "", ""]
            better = ratio(result["seconds"], ours["seconds"])
        else:
            figures = [f"{result['qps']:,.0f}", f"{result['p50_ms']:.3f}", f"{result['p99_ms']:.3f}"]
            better = ratio(result["p50_ms"], ours["p50_ms"])
        rows.append([result["what"], result["engine"], *figures, "" if result is ours else better])
    title = "Writing; ratios above 1 are where leanstack is ahead"
    return title + "\n" + table(["what", "engine", "rows/s", "p50 ms", "p99 ms", "ratio"], rows)


TABLES = {"join": joins, "reads": reads, "writes": writes}
