"""Data sets: real inputs, derived with fixed seeds, cached under target/bench-data.

Every set has base rows, held-out queries, held-out spare rows for the insert test, and exact answers. A missing
input is an error with its reason; nothing is ever replaced by random numbers.
"""

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Raising it invalidates every cached file; do so when a derivation below changes. Loaded tables need loading anew.
CACHE_VERSION = 2
# Exact answers kept per query.
TRUTH = 100
SEED = 20130
# What the text sets come from, in the folder of --data-dir; it is too large to come with the source.
WORDNET = "wordnet45k_minilm384_f16_base.npy.gz"
# This comes with the source.
DEMO = Path(__file__).resolve().parent.parent / "demo" / "glosses.copy.gz"


class MissingInput(Exception):
    """An input that cannot be had here; the text says what and how to get it."""


@dataclass
class Dataset:
    """One prepared data set; `kth(k)` gives the distance that a hit must not exceed."""

    name: str
    metric: str
    base: np.ndarray
    queries: np.ndarray
    spare: np.ndarray
    truth: np.ndarray

    @property
    def key(self) -> str:
        """Name of the schema that holds this set: one per size and metric, so that several stay loaded."""
        return f"{self.name}_{len(self.base)}_{self.metric}"

    def kth(self, k: int) -> np.ndarray:
        """Exact distance of the k-th neighbour of each query, plus room for the engines' float32 arithmetic."""
        exact = self.truth[:, k - 1]
        return exact + 1e-6 + 1e-5 * np.abs(exact)

    def distances(self, query: int, ids: np.ndarray) -> np.ndarray:
        """Exact distances from one query to some base rows."""
        return exact_distances(self.metric, self.queries[query : query + 1], self.base[ids])[0]


def exact_distances(metric: str, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Matrix of distances in float64: the reference that both engines are scored against."""
    queries, rows = queries.astype(np.float64), rows.astype(np.float64)
    products = queries @ rows.T
    if metric == "ip":
        return -products
    if metric == "cosine":
        lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(rows, axis=1)[None, :]
        return 1.0 - products / lengths
    squares = (queries**2).sum(axis=1)[:, None] + (rows**2).sum(axis=1)[None, :]
    return np.sqrt(np.maximum(squares - 2.0 * products, 0.0))


def exact_answers(metric: str, base: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Sorted distances of the nearest TRUTH rows, by brute force over blocks that fit in memory."""
    k, parts = min(TRUTH, len(base)), []
    for start in range(0, len(queries), 50):
        block = queries[start : start + 50]
        near = np.hstack(
            [
                np.sort(exact_distances(metric, block, base[at : at + 10_000]), axis=1)[:, :k]
                for at in range(0, len(base), 10_000)
            ]
        )
        parts.append(np.sort(near, axis=1)[:, :k])
    return np.vstack(parts)


def normalised(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to unit length."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def jittered(rows: np.ndarray, pool: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Unit rows moved a distance `scale` along differences of real rows, which keeps the covariance of real data."""
    step = pool[rng.integers(len(pool), size=len(rows))] - pool[rng.integers(len(pool), size=len(rows))]
    lengths = np.linalg.norm(step, axis=1, keepdims=True)
    return normalised(rows + scale * step / np.maximum(lengths, 1e-6)).astype(np.float32)


def need(path: Path) -> Path:
    """The path, if the file is there."""
    if not path.exists():
        free = "small, descriptors128 or pixels784"
        raise MissingInput(f'input file "{path}" does not exist; name its folder with --data-dir, or take {free}')
    return path


def has_wordnet(data_dir: Path) -> bool:
    """Whether the folder holds what the text sets come from."""
    return (data_dir / WORDNET).exists()


def wordnet(data_dir: Path):
    """45,000 gloss embeddings and 500 queries; the spare rows are paper abstracts embedded by the same model."""
    with gzip.open(need(data_dir / WORDNET)) as file:
        base = np.load(file).astype(np.float32)
    queries = np.load(need(data_dir / "wordnet45k_minilm384_f16_query.npy")).astype(np.float32)
    spare = np.load(need(data_dir / "scifact_docs_minilm384_f16.npy")).astype(np.float32)
    return base, queries, spare


def wordnet384(data_dir: Path, rng: np.random.Generator):
    """The embeddings as they are."""
    return wordnet(data_dir)


def wordnet384x3(data_dir: Path, rng: np.random.Generator):
    """As many rows as WordNet has glosses (117,659): the real ones, then jittered copies of them."""
    base, queries, spare = wordnet(data_dir)
    copies = base[rng.permutation(np.arange(2 * len(base)) % len(base))[: 117_659 - len(base)]]
    return np.vstack([base, jittered(copies, base, 0.6, rng)]), queries, spare


def wordnet1m(data_dir: Path, rng: np.random.Generator):
    """A million rows: the real ones, then copies of each, every one jittered anew."""
    base, queries, spare = wordnet(data_dir)
    parts = [base]
    for start in range(len(base), 1_000_000, len(base)):
        copies = base[: min(len(base), 1_000_000 - start)]
        parts.append(jittered(copies, base, 0.6, rng))
    return np.vstack(parts), queries, spare


def text1536(data_dir: Path, rng: np.random.Generator):
    """Four rotations of each embedding side by side, each of a differently jittered copy."""
    base, queries, spare = wordnet(data_dir)
    turns = [np.linalg.qr(rng.standard_normal((384, 384)))[0].astype(np.float32) for _ in range(4)]

    def widen(rows):
        return (np.hstack([jittered(rows, base, 0.5, rng) @ turn for turn in turns]) / 2.0).astype(np.float32)

    return widen(base), widen(queries), widen(spare)


# The photographs, scans and micrographs that scikit-image carries; drawings and test charts are left out.
PICTURES = (
    "astronaut.png brick.png camera.png cell.png chelsea.png coffee.png coins.png grass.png gravel.png "
    "hubble_deep_field.jpg ihc.png moon.png motorcycle_left.png motorcycle_right.png page.png retina.jpg "
    "rocket.jpg text.png"
).split()
# No picture may dominate a set.
PER_PICTURE = 7_000


def pictures():
    """The pictures in shades of grey."""
    try:
        import cv2
        import skimage
    except ImportError as error:
        raise MissingInput(f"picture data sets need opencv-python-headless and scikit-image: {error}") from error
    folder = Path(skimage.__file__).parent / "data"
    for name in PICTURES:
        image = cv2.imread(str(need(folder / name)), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise MissingInput(f'picture "{folder / name}" cannot be read')
        yield image


def held_out(rows: np.ndarray, rng: np.random.Generator):
    """Shuffles, then splits off 500 queries and 5,000 spare rows."""
    rows = rows[rng.permutation(len(rows))].astype(np.float32)
    return rows[5_500:], rows[:500], rows[500:5_500]


def descriptors128(data_dir: Path, rng: np.random.Generator):
    """SIFT descriptors of every picture, weak keypoints included."""
    import cv2

    found = []
    detector = None
    for image in pictures():
        detector = detector or cv2.SIFT_create(contrastThreshold=0.005, edgeThreshold=30)
        rows = detector.detectAndCompute(image, None)[1]
        found.append(rows[rng.permutation(len(rows))[:PER_PICTURE]])
    return held_out(np.vstack(found), rng)


def pixels784(data_dir: Path, rng: np.random.Generator):
    """28 x 28 patches, eight pixels apart, grey values 0 to 255 as they are."""
    found = []
    for image in pictures():
        windows = np.lib.stride_tricks.sliding_window_view(image, (28, 28))[::8, ::8].reshape(-1, 784)
        found.append(windows[rng.permutation(len(windows))[:PER_PICTURE]])
    return held_out(np.vstack(found), rng)


def small(data_dir: Path, rng: np.random.Generator):
    """Glosses of the demo, which come with the source: a check that the benchmark itself works."""
    rows = []
    with gzip.open(need(DEMO)) as file:
        # COPY's binary format: a header of 19 bytes, then rows of four fields, each with its length before it.
        file.read(19)
        while len(rows) < 3_350:
            file.read(2)
            fields = [file.read(int.from_bytes(file.read(4), "big")) for _ in range(4)]
            # A halfvec on the wire: how many dimensions, two bytes that are not used, the values.
            rows.append(np.frombuffer(fields[3], ">f2", offset=4))
    rows = np.array(rows, np.float32)[rng.permutation(len(rows))]
    return rows[350:], rows[:50], rows[50:350]


# name: (derivation, metric, default rows)
DATASETS = {
    "wordnet384": (wordnet384, "cosine", 45_000),
    "wordnet384x3": (wordnet384x3, "cosine", 117_659),
    "wordnet1m": (wordnet1m, "cosine", 1_000_000),
    "text1536": (text1536, "cosine", 45_000),
    "descriptors128": (descriptors128, "l2", 50_000),
    "pixels784": (pixels784, "l2", 50_000),
    "small": (small, "cosine", 3_000),
}
FOUR = ("wordnet384", "text1536", "descriptors128", "pixels784")


def load(name: str, rows: int | None, metric: str | None, data_dir: Path, cache_dir: Path, say) -> Dataset:
    """The data set, from the cache when it is there."""
    derive, default_metric, default_rows = DATASETS[name]
    metric, rows = metric or default_metric, rows or default_rows
    path = cache_dir / f"{name}-{rows}-{metric}-v{CACHE_VERSION}.npz"
    if path.exists():
        with np.load(path) as file:
            return Dataset(name, metric, file["base"], file["queries"], file["spare"], file["truth"])
    say(f"{name}: deriving {rows} rows and their exact answers")
    base, queries, spare = derive(data_dir, np.random.default_rng(SEED))
    if rows > len(base):
        raise MissingInput(f"data set {name} has {len(base)} rows, not {rows}")
    base = np.ascontiguousarray(base[:rows])
    truth = exact_answers(metric, base, queries)
    if name == "wordnet384" and rows == 45_000 and metric in ("cosine", "l2"):
        check_against_given(metric, truth, data_dir)
    cache_dir.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed, so that an interrupted run leaves no half file.
    beside = path.with_suffix(f".{os.getpid()}.tmp.npz")
    np.savez(beside, base=base, queries=queries, spare=spare, truth=truth)
    beside.rename(path)
    return Dataset(name, metric, base, queries, spare, truth)


def check_against_given(metric: str, truth: np.ndarray, data_dir: Path) -> None:
    """Compares with the answers that come with the data: two independent computations must agree."""
    name = {"cosine": "cos", "l2": "l2"}[metric]
    with np.load(need(data_dir / f"wordnet45k_minilm384_f16_gt_{name}.npz")) as file:
        worst = np.abs(file["dist"][:, :TRUTH] - truth).max()
    if worst > 1e-3:
        raise ValueError(f"exact {metric} distances differ from the given ones by up to {worst}")
