"""The tables that are printed."""

from report import share, table


def quality(results: list[dict]) -> str:
    """One table for each collection."""
    parts = []
    for name in dict.fromkeys(result["collection"] for result in results):
        listed = [result for result in results if result["collection"] == name]
        rows = [
            [
                result["what"],
                f"{result['ndcg']:.4f}",
                f"{result['recall']:.4f}",
                f"{result['mrr']:.4f}",
                *(f"{result[p]:.2f}" if p in result else "" for p in ("p50_ms", "p99_ms")),
            ]
            for result in listed
        ]
        first = listed[0]
        title = f"{name}: {first['about']}, {first['docs']:,} documents, {first['queries']} queries"
        parts.append(title + "\n" + table(["", "nDCG@10", "recall@100", "MRR@10", "p50 ms", "p99 ms"], rows))
    return "\n\n".join(parts)


def speed(results: list[dict]) -> str:
    """One line for each figure, one column for each engine, and bm25 as a multiple of GIN."""
    first = results[0]
    figures = [
        ("searches a second", lambda r: r["search"]["qps"], "{:,.0f}"),
        ("p50 ms", lambda r: r["search"]["p50_ms"], "{:.3f}"),
        ("p99 ms", lambda r: r["search"]["p99_ms"], "{:.3f}"),
        ("cpu wait", lambda r: r["search"]["cpu_wait"], None),
        ("index MB", lambda r: r["index_bytes"] / 1e6, "{:.1f}"),
        ("build s", lambda r: r["build_seconds"], "{:.2f}"),
        ("inserts a second", lambda r: r["insert"]["qps"], "{:,.0f}"),
        (f"searches a second after {first['inserts']:,}", lambda r: r["inserted"]["qps"], "{:,.0f}"),
        ("p99 ms then", lambda r: r["inserted"]["p99_ms"], "{:.3f}"),
    ]
    rows = []
    for name, value, form in figures:
        values = [value(result) for result in results]
        ratio = f"{values[1] / values[0]:.2f}" if form and len(values) == 2 else ""
        rows.append([name, "", *(form.format(v) if form else share(v) for v in values), ratio])
    header = ["", "", *(result["engine"] for result in results), *(["bm25 / gin"] if len(results) == 2 else [""])]
    title = f"Ten best of {first['docs']:,} short documents, two to four words, one of them common"
    return title + "\n" + table(header, rows)


def fusion(results: list[dict]) -> str:
    """One line for each variant, one column for each collection."""
    names = [name for name in results[0] if name != "what"]
    rows = [[result["what"], "", *(f"{result[name]:.4f}" for name in names)] for result in results]
    return "nDCG@10 of exact branches, joined in numpy\n" + table(["", "", *names], rows)


TABLES = {"fusion": fusion, "quality": quality, "speed": speed}
