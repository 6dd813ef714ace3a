"""Text collections with embeddings and judgements of relevance, from the files in the folder of --data-dir.

The embeddings came with the files, made by all-MiniLM-L6-v2; nothing here runs a model.
"""

import csv
import gzip
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Queries of each derived collection.
DERIVED = 500


class MissingInput(Exception):
    """A file that a collection comes from is not there."""


@dataclass
class Collection:
    """Documents and queries, both as text and as vectors. `relevant` has a gain for each judged document of a query;
    `own` is the document that a query was made from, which is not to be found, where there is one."""

    name: str
    what: str
    texts: list[str]
    vectors: np.ndarray
    questions: list[str]
    question_vectors: np.ndarray
    relevant: list[dict[int, int]]
    own: list[int | None]

    def limited(self, queries: int | None) -> "Collection":
        """With the first queries only."""
        return Collection(
            self.name, self.what, self.texts, self.vectors, self.questions[:queries],
            self.question_vectors[:queries], self.relevant[:queries], self.own[:queries],
        )  # fmt: skip


def need(path: Path) -> Path:
    """The path, if the file is there."""
    if not path.exists():
        raise MissingInput(f'input file "{path}" does not exist; name its folder with --data-dir')
    return path


def rows(folder: Path, name: str) -> list[list[str]]:
    """Lines of a table without its header."""
    with gzip.open(need(folder / name), "rt", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]


def scifact(folder: Path) -> Collection:
    """Claims, and the abstracts that support or refute them: the test queries as they are."""
    docs, queries = rows(folder, "scifact_docs.tsv.gz"), rows(folder, "scifact_queries.tsv.gz")
    place = {doc[0]: n for n, doc in enumerate(docs)}
    relevant = defaultdict(dict)
    for query, doc, gain in rows(folder, "scifact_qrels.tsv.gz"):
        relevant[query][place[doc]] = int(gain)
    return Collection(
        "scifact", "claims to abstracts", [f"{title} {text}" for _, title, text in docs], scifact_vectors(folder),
        [text for _, text in queries], np.load(need(folder / "scifact_queries_minilm384_f32.npy")),
        [relevant[query] for query, _ in queries], [None] * len(queries),
    )  # fmt: skip


def scifact_vectors(folder: Path) -> np.ndarray:
    """The abstracts' embeddings."""
    return np.load(need(folder / "scifact_docs_minilm384_f16.npy")).astype(np.float32)


def evidence(folder: Path) -> Collection:
    """From an abstract to the others that were judged evidence for the same claim, of test and training claims. The
    query is its title, with the embedding of the abstract."""
    docs = rows(folder, "scifact_docs.tsv.gz")
    place = {doc[0]: n for n, doc in enumerate(docs)}
    together = defaultdict(dict)
    for name in ("scifact_qrels.tsv.gz", "scifact_train_qrels.tsv.gz"):
        claims = defaultdict(list)
        for query, doc, _ in rows(folder, name):
            claims[query].append(place[doc])
        for found in claims.values():
            for one in found:
                together[one] |= {other: 1 for other in found if other != one}
    asked = sorted(one for one, others in together.items() if others)
    vectors = scifact_vectors(folder)
    return Collection(
        "evidence", "abstracts to others on the same claim", [f"{title} {text}" for _, title, text in docs], vectors,
        [docs[one][1] for one in asked], vectors[asked], [together[one] for one in asked], asked,
    )  # fmt: skip


def senses(folder: Path) -> Collection:
    """From the gloss of a word's meaning to those of its other meanings, as WordNet's editors divided them. The words
    themselves are not in the texts."""
    glosses = rows(folder, "wordnet_glosses.tsv.gz")
    kept = np.load(need(folder / "wordnet45k_base_rowid.npy"))
    with gzip.open(need(folder / "wordnet45k_minilm384_f16_base.npy.gz")) as file:
        vectors = np.load(file).astype(np.float32)
    words = [[word.strip().lower() for word in glosses[row][4].split(";")] for row in kept]
    meanings = defaultdict(set)
    for n, listed in enumerate(words):
        for word in listed:
            meanings[word].add(n)
    asked, relevant = [], []
    for n in np.random.default_rng(1).permutation(len(kept)):
        others = set().union(*(meanings[word] for word in words[n])) - {n}
        if others and len(asked) < DERIVED:
            asked.append(int(n))
            relevant.append({int(other): 1 for other in others})
    texts = [glosses[row][5] for row in kept]
    return Collection(
        "senses", "glosses to other senses of the word", texts, vectors, [texts[n] for n in asked], vectors[asked],
        relevant, asked,
    )  # fmt: skip


COLLECTIONS = {"scifact": scifact, "evidence": evidence, "senses": senses}


def short_texts(folder: Path) -> list[str]:
    """181,099 short documents: WordNet's words with their glosses, and the descriptions of Debian's packages."""
    return [f"{row[4]}: {row[5]}" for row in rows(folder, "wordnet_glosses.tsv.gz")] + [
        f"{row[7]} {row[8]}" for row in rows(folder, "debian_packages.tsv.gz")
    ]
