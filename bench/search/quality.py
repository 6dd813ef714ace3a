"""How good the answers are, and how long one takes: keywords, vectors, and each way to join them."""

import time

import bm25s
import numpy as np

from judged import COLLECTIONS, Collection
from measure import copy_messages

K, DEEP = 10, 100
REFERENCE = "bm25s, same tokens"


def measures(found: list[int], relevant: dict[int, int]) -> tuple[float, float]:
    """nDCG and the reciprocal rank of the first relevant document, of the first ten."""
    gains = [relevant.get(doc, 0) for doc in found[:K]]
    ideal = sorted(relevant.values(), reverse=True)[:K]
    discounts = 1 / np.log2(np.arange(2, K + 2))
    first = next((1 / (n + 1) for n, gain in enumerate(gains) if gain > 0), 0.0)
    return float(np.dot(gains, discounts[: len(gains)]) / np.dot(ideal, discounts[: len(ideal)])), first


def recall(found: list[int], relevant: dict[int, int]) -> float:
    """Share of the relevant documents among the first hundred."""
    return len(set(found[:DEEP]) & set(relevant)) / len(relevant)


def load(connection, schema: str, data: Collection, access_methods: set) -> None:
    """The documents in a table with all indexes, the queries in another."""
    connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    connection.execute(f"CREATE SCHEMA {schema}")
    dimensions = data.vectors.shape[1]
    connection.execute(f"CREATE TABLE {schema}.vectors (id integer, v vector({dimensions}))")
    with connection.cursor().copy(f"COPY {schema}.vectors FROM STDIN (FORMAT binary)") as copy:
        for message in copy_messages(data.vectors):
            copy.write(message)
    connection.execute(f"CREATE TABLE {schema}.texts (id integer, body text)")
    with connection.cursor().copy(f"COPY {schema}.texts FROM STDIN") as copy:
        for row in enumerate(data.texts):
            copy.write_row(row)
    connection.execute(
        f"CREATE TABLE {schema}.docs AS SELECT id, body, v AS embedding"
        f" FROM {schema}.texts JOIN {schema}.vectors USING (id) ORDER BY id"
    )
    connection.execute(f"ALTER TABLE {schema}.docs ADD PRIMARY KEY (id)")
    # Ranks are computed from the tsvector of each row that has a word: stored, or it would be made anew every time.
    connection.execute(
        f"ALTER TABLE {schema}.docs ADD words tsvector GENERATED ALWAYS AS (to_tsvector('english', body)) STORED"
    )
    connection.execute(f"CREATE INDEX docs_gin ON {schema}.docs USING gin (words)")
    if "bm25" in access_methods:
        for name, column in (("docs_bm25", "words"), ("docs_text", "body")):
            connection.execute(
                f"CREATE INDEX {name} ON {schema}.docs USING bm25 ({column}) WITH (text_config = 'english')"
            )
    connection.execute(f"CREATE INDEX docs_hnsw ON {schema}.docs USING hnsw (embedding vector_cosine_ops)")
    connection.execute(f"VACUUM ANALYZE {schema}.docs")


def tokens(connection, texts: list[str]) -> list[list[str]]:
    """What the index counts of each text: the lexemes of the configuration, as often as they occur."""
    found = []
    for start in range(0, len(texts), 2000):
        found += connection.execute(
            "SELECT coalesce((SELECT array_agg(lexeme)"
            " FROM unnest(to_tsvector('english', t)) AS w, unnest(positions) AS p), '{}')"
            " FROM unnest(%s::text[]) WITH ORDINALITY AS u (t, n) ORDER BY n",
            [texts[start : start + 2000]],
        ).fetchall()
    return [row[0] for row in found]


def bm25s_scores(connection, data: Collection):
    """Every document's score for each query by bm25s on the same tokens, with Lucene's score as the index has it."""
    vocabulary = {}
    ids = [[vocabulary.setdefault(t, len(vocabulary)) for t in doc] for doc in tokens(connection, data.texts)]
    model = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    model.index((ids, vocabulary), show_progress=False)
    for question, own in zip(tokens(connection, data.questions), data.own):
        known = [word for word in question if word in vocabulary]
        scores = model.get_scores(known) if known else np.zeros(len(ids), dtype=np.float32)
        if own is not None:
            scores[own] = 0
        yield scores


def reference(connection, data: Collection) -> dict:
    """What the index should come to."""
    answers = []
    for scores in bm25s_scores(connection, data):
        best = np.argsort(-scores, kind="stable")[:DEEP]
        answers.append([int(doc) for doc in best if scores[doc] > 0])
    return judged(data, answers, answers) | {"what": REFERENCE}


def judged(data: Collection, answers: list[list[int]], deep: list[list[int]]) -> dict:
    """The means over all queries."""
    both = np.array([measures(found, relevant) for found, relevant in zip(answers, data.relevant)])
    return {
        "ndcg": float(both[:, 0].mean()),
        "mrr": float(both[:, 1].mean()),
        "recall": float(np.mean([recall(found, relevant) for found, relevant in zip(deep, data.relevant)])),
    }


def contender(connection, schema: str, keyword: str | None, **arguments):
    """A call of lean.hybrid_search; `keyword` is the index for the words, null for none."""
    given = ", ".join(f"{name} => %({name})s" for name in arguments)
    statement = (
        f"SELECT key FROM lean.hybrid_search('{schema}.docs', %(words)s, %(vector)s, k => %(k)s, filter => %(filter)s"
        + (f", text_column => '{keyword}'" if keyword else "")
        + (f", {given}" if given else "")
        + ")"
    )

    def call(words, vector, own, k):
        row_filter = None if own is None else f'{{"id": {{"$ne": {own}}}}}'
        values = {"words": words, "vector": vector, "k": k, "filter": row_filter} | arguments
        return [int(row[0]) for row in connection.execute(statement, values).fetchall()]

    return call


def contenders(connection, schema: str, access_methods: set) -> dict:
    """Each branch alone, and each way to join them with the default settings."""
    listed = {}
    best = None
    for keyword, name in (("docs_gin", "ts_rank_cd (GIN)"), ("docs_text", "bm25 of the text"), ("docs_bm25", "bm25")):
        if keyword == "docs_gin" or "bm25" in access_methods:
            listed[f"keywords, {name}"] = contender(connection, schema, keyword, weights="{1,0}")
            best = (keyword, name)
    listed["vector, hnsw"] = contender(connection, schema, None, weights="{0,1}")
    for method in ("rrf", "relative_score", "weighted"):
        listed[f"{method}, {best[1]}"] = contender(connection, schema, best[0], method=method)
    if best[0] != "docs_gin":
        listed["rrf, ts_rank_cd (GIN)"] = contender(connection, schema, "docs_gin")
    return listed


def ask(call, data: Collection, vectors: list[str]) -> dict:
    """All queries: twice for the first ten, the second time by the clock, and once for a hundred."""
    queries = list(zip(data.questions, vectors, data.own))
    answers, deep, nanos = [], [], []
    for words, vector, own in queries:
        deep.append(call(words, vector, own, DEEP))
        call(words, vector, own, K)
        started = time.perf_counter_ns()
        answers.append(call(words, vector, own, K))
        nanos.append(time.perf_counter_ns() - started)
    times = {f"p{p}_ms": float(np.percentile(nanos, p)) / 1e6 for p in (50, 99)}
    return judged(data, answers, deep) | times


def run(server, database: str, options, say) -> list[dict]:
    """Every collection, every contender."""
    results = []
    with server.connect(database) as connection:
        access_methods = {row[0] for row in connection.execute("SELECT amname FROM pg_am").fetchall()}
        for name in options.collections:
            data = COLLECTIONS[name](options.data_dir).limited(options.queries)
            load(connection, name, data, access_methods)
            say(f"{name}: {len(data.texts):,} documents, {len(data.questions)} queries")
            common = {"collection": name, "about": data.what, "docs": len(data.texts), "queries": len(data.questions)}
            results.append(common | reference(connection, data))
            vectors = ["[" + ",".join(map(str, row.tolist())) + "]" for row in data.question_vectors]
            for what, call in contenders(connection, name, access_methods).items():
                results.append(common | {"what": what} | ask(call, data, vectors))
                say(f"{name}: {what} nDCG@10 {results[-1]['ndcg']:.4f}")
    return results
