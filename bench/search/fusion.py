"""Which way of joining, with how many candidates and which weights: exact branches in numpy, no index. This is what the
defaults of lean.hybrid_search were chosen by."""

import numpy as np

from judged import COLLECTIONS, Collection
from quality import bm25s_scores, measures

CANDIDATES = (20, 50, 100, 200, 500)
DEEPEST = max(CANDIDATES)


def exact_vectors(data: Collection):
    """The cosine of each query with every document."""

    def unit(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    documents = unit(data.vectors)
    for query, own in zip(unit(data.question_vectors), data.own):
        scores = documents @ query
        if own is not None:
            scores[own] = -2
        yield scores


def best(scores: np.ndarray, above: float) -> tuple[np.ndarray, np.ndarray]:
    """The deepest list of candidates: documents and their scores."""
    order = np.argsort(-scores, kind="stable")[:DEEPEST]
    order = order[scores[order] > above]
    return order, scores[order].astype(np.float64)


def rrf(scores: np.ndarray, k: float = 60) -> np.ndarray:
    """By rank alone, which counts from 1."""
    return 1 / (k + 1 + np.arange(len(scores)))


def relative_score(scores: np.ndarray) -> np.ndarray:
    """From 0 for the last to 1 for the first."""
    spread = scores[0] - scores[-1]
    return (scores - scores[-1]) / spread if spread > 0 else np.ones_like(scores)


def weighted(scores: np.ndarray) -> np.ndarray:
    """In standard deviations above the last."""
    deviation = scores.std()
    return (scores - scores[-1]) / deviation if deviation > 0 else np.ones_like(scores)


METHODS = {"rrf": rrf, "relative_score": relative_score, "weighted": weighted}


def joined(branches, method, candidates: int, weights=(1, 1)) -> list[int]:
    """Documents of both branches, best first."""
    total = {}
    for (documents, scores), weight in zip(branches, weights):
        if len(documents):
            parts = weight * method(scores[:candidates])
            for document, part in zip(documents[:candidates].tolist(), parts.tolist()):
                total[document] = total.get(document, 0) + part
    return sorted(total, key=lambda document: (-total[document], document))[:10]


def variants() -> dict:
    """What is compared: a name, and what makes ten documents of two branches."""
    listed = {"keywords": lambda both: both[0][0][:10].tolist(), "vector": lambda both: both[1][0][:10].tolist()}
    for name, method in METHODS.items():
        for count in CANDIDATES:
            listed[f"{name}, {count} candidates"] = lambda both, m=method, c=count: joined(both, m, c)
        for weight in (0.3, 0.4, 0.6, 0.7):
            pair = (weight, 1 - weight)
            title = f"{name}, weights {weight:.1f} and {1 - weight:.1f}"
            listed[title] = lambda both, m=method, w=pair: joined(both, m, 100, w)
    for k in (10, 20, 100):
        listed[f"rrf, rrf_k {k}"] = lambda both, k=k: joined(both, lambda scores: rrf(scores, k), 100)
    return listed


def run(server, database: str, options, say) -> list[dict]:
    """nDCG@10 of every variant on every collection."""
    rows = {name: {"what": name} for name in variants()}
    with server.connect(database) as connection:
        for name in options.collections:
            data = COLLECTIONS[name](options.data_dir).limited(options.queries)
            words = bm25s_scores(connection, data)
            both = [(best(w, 0), best(v, -1.5)) for w, v in zip(words, exact_vectors(data))]
            for what, answer in variants().items():
                found = [measures(answer(pair), relevant)[0] for pair, relevant in zip(both, data.relevant)]
                rows[what][name] = float(np.mean(found))
            say(f"fusion: {name}")
    return list(rows.values())
