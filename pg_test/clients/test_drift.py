"""Distances, tests and drift against scipy and numpy on random data: the oracle for every number that lean.drift gives."""

import numpy as np
import psycopg
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def connection():
    with psycopg.connect(autocommit=True) as connection:
        yield connection


def row(connection, query, *arguments):
    return connection.execute(query, arguments).fetchone()


def near(found, expected, tolerance=TOLERANCE):
    return found == pytest.approx(expected, abs=tolerance, rel=tolerance)


def shapes(random):
    """Pairs of samples: sizes from one to beyond the exact method, ties, constants, near and far apart."""
    for n, m in [(1, 1), (1, 7), (2, 2), (3, 5), (10, 10), (17, 40), (40, 17), (100, 100), (64, 96), (500, 333)]:
        yield random.normal(size=n), random.normal(0.3, 1.2, size=m)
        yield random.integers(0, 4, size=n).astype(float), random.integers(1, 6, size=m).astype(float)
        yield np.full(n, 2.0), random.normal(2, 1, size=m)
        yield np.full(n, 2.0), np.full(m, 2.0)
        yield random.normal(size=n) * 1e12, random.normal(size=m) * 1e-12
        yield random.normal(size=n), random.normal(50, 1, size=m)
    yield random.exponential(size=2000), random.exponential(1.05, size=2000)
    yield random.normal(size=3001), random.normal(0.02, 1, size=2999)
    yield random.normal(size=10_000), random.normal(0.01, 1, size=9_999)
    # Beyond 10,000 values the p-value is asymptotic: every arm of the one-sample distribution.
    for m in [1, 3, 30, 145, 200, 5000, 12_000]:
        for shift in [0, 0.02, 0.1, 0.5, 3]:
            yield random.normal(size=10_001), random.normal(shift, 1, size=m)
    yield random.normal(size=150_000), random.normal(0.005, 1, size=120_000)
    yield np.round(random.normal(size=20_000), 1), np.round(random.normal(size=15_000), 1)


def test_ks_agrees_with_scipy(connection):
    for a, b in shapes(np.random.default_rng(1)):
        expected = stats.ks_2samp(a, b)
        statistic, p_value = row(connection, "SELECT * FROM lean.ks_test(%b, %b)", a.tolist(), b.tolist())
        assert near(statistic, expected.statistic), (len(a), len(b))
        assert near(p_value, expected.pvalue), (len(a), len(b), expected)


def test_wasserstein_agrees_with_scipy(connection):
    for a, b in shapes(np.random.default_rng(2)):
        (found,) = row(connection, "SELECT lean.wasserstein_distance(%b, %b)", a.tolist(), b.tolist())
        assert near(found, stats.wasserstein_distance(a, b)), (len(a), len(b))


def test_chi2_agrees_with_scipy(connection):
    random = np.random.default_rng(3)
    for columns in [1, 2, 3, 10, 100]:
        for scale in [1, 5, 100, 1e6]:
            for _ in range(5):
                table = random.poisson(random.exponential(scale, size=(2, columns)))
                kept = table[:, table.sum(axis=0) > 0]
                found = row(connection, "SELECT * FROM lean.chi2_test(%b::bigint[], %b::bigint[])", *table.tolist())
                if (table.sum(axis=1) == 0).any():
                    assert found == (None, None, None)
                    continue
                expected = stats.chi2_contingency(kept, correction=False)
                assert near(found[0], expected.statistic) and near(found[1], expected.pvalue)
                assert found[2] == expected.dof


def test_js_agrees_with_scipy(connection):
    random = np.random.default_rng(4)
    for bins in [1, 2, 7, 50, 1000]:
        for zeros in [0, 0.3, 0.9]:
            p, q = random.exponential(size=(2, bins)) * (random.random((2, bins)) >= zeros)
            (found,) = row(connection, "SELECT lean.js_distance(%b, %b)", p.tolist(), q.tolist())
            if p.sum() == 0 or q.sum() == 0:
                assert found is None
            else:
                expected = jensenshannon(p, q, base=2)
                # scipy takes the root of a small negative number for two equal distributions.
                assert near(found, 0.0 if np.isnan(expected) else expected)


def psi(p, q):
    """The sum of (q - p) ln(q / p) over shares, with Evidently's stand-in for none."""
    p, q = (np.where(x == 0, 1e-4, x / x.sum()) for x in (np.asarray(p, float), np.asarray(q, float)))
    return ((q - p) * np.log(q / p)).sum()


def test_psi_agrees_with_its_formula(connection):
    random = np.random.default_rng(5)
    for bins in [1, 2, 13, 200]:
        for scale in [0.5, 3, 1000]:
            p, q = random.poisson(scale, size=(2, bins)) + np.eye(bins, dtype=int)[:1]
            found = row(connection, "SELECT lean.psi(%b, %b)", p.astype(float).tolist(), q.astype(float).tolist())[0]
            assert near(found, psi(p, q))


@pytest.mark.parametrize(
    "call, state",
    [
        ("lean.psi('{1,2}', '{1}')", "22000"),
        ("lean.psi('{1,-2}', '{1,2}')", "22023"),
        ("lean.psi('{1,NULL}', '{1,2}')", "22004"),
        ("lean.js_distance('{1,NaN}', '{1,2}')", "22023"),
        ("lean.ks_test('{1,NaN}', '{1,2}')", "22023"),
        ("lean.wasserstein_distance('{1,Infinity}', '{1,2}')", "22023"),
        ("lean.chi2_test('{1,2}', '{1}')", "22000"),
        ("lean.chi2_test('{1,-2}', '{1,2}')", "22023"),
    ],
)
def test_what_is_no_sample_is_refused(connection, call, state):
    with pytest.raises(psycopg.Error) as error:
        connection.execute("SELECT " + call)
    assert error.value.sqlstate == state


def test_what_is_empty_is_null(connection):
    assert row(connection, "SELECT * FROM lean.ks_test('{}', '{1}')") == (None, None)
    assert row(connection, "SELECT * FROM lean.ks_test(NULL, '{1}')") == (None, None)
    assert row(connection, "SELECT * FROM lean.chi2_test('{0,0}', '{1,2}')") == (None, None, None)
    query = "SELECT lean.wasserstein_distance('{}', '{1}'), lean.psi('{}', '{}'), lean.js_distance('{0}', '{1}')"
    assert row(connection, query) == (None, None, None)


def group_of(connection, name, columns, baseline, window):
    """A feature group whose first day is the baseline and whose second is the window; both are lists of columns."""
    kinds = {float: "float64", str: "string", bool: "bool"}
    features = [f"{c} {kinds[next(type(x) for x in values if x is not None)]}" for c, values in zip(columns, baseline)]
    connection.execute(f"DROP TABLE IF EXISTS {name}_v1, {name}_v1_online")
    connection.execute(
        "SELECT lean.drop_feature_group(format('%%s@%%s', name, version)) FROM lean.feature_group WHERE name = %s", (name,)
    )
    connection.execute("SELECT lean.create_feature_group(%s, '{id bigint}', to_jsonb(%s::text[]))", (name, features))
    with connection.cursor().copy(f"COPY {name}_v1 (id, event_timestamp, {', '.join(columns)}) FROM STDIN") as copy:
        for day, rows in enumerate((zip(*baseline), zip(*window))):
            for number, row in enumerate(rows):
                copy.write_row((number, f"2026-01-0{day + 1} 00:00:{number / 1e6:09.6f}", *row))
    connection.execute("SELECT lean.set_baseline(%s, \"to\" => '2026-01-02')", (name,))


def drift(connection, name, method, **options):
    given = "".join(f", {key} => {value}" for key, value in options.items())
    query = f"SELECT feature, value, p_value FROM lean.drift(%s, \"from\" => '2026-01-02', method => %s{given})"
    return {feature: (value, p) for feature, value, p in connection.execute(query, (name, method))}


def missing(values):
    return sum(x is None or not np.isfinite(x) for x in values)


def finite(values):
    return np.array([x for x in values if x is not None and np.isfinite(x)])


def counts(values, edges):
    """Counts between frozen edges, below and above them, and of missing values."""
    x = finite(values)
    if len(edges) == 1:
        inner = [(x == edges[0]).sum()]
    else:
        inner = np.histogram(x, edges)[0]
    return np.array([(x < edges[0]).sum(), *inner, (x > edges[-1]).sum(), missing(values)])


def number_columns(random, n):
    holes = random.random(n)
    return [
        random.normal(size=n).tolist(),
        random.integers(0, 6, size=n).astype(float).tolist(),
        [3.5] * n,
        [None if h < 0.2 else float("nan") if h < 0.3 else x for h, x in zip(holes, random.exponential(size=n).tolist())],
        (1e9 + random.normal(size=n)).tolist(),
    ]


@pytest.mark.parametrize("n, m, shift", [(1, 1, 0), (3, 40, 1), (200, 150, 0), (1000, 1000, 0.3), (9000, 12_000, 0.05)])
def test_drift_of_numbers_agrees_with_scipy(connection, n, m, shift):
    random = np.random.default_rng(n)
    columns = ["gauss", "ties", "fixed", "holes", "far"]
    baseline, window = number_columns(random, n), [[x and x + shift for x in c] for c in number_columns(random, m)]
    if n == 1:
        baseline[3] = [0.5]
    group_of(connection, "drift_numbers", columns, baseline, window)
    profiles = connection.execute("SELECT feature, edges FROM lean.feature_profile WHERE group_name = 'drift_numbers'")
    edges = dict(profiles.fetchall())
    found = {method: drift(connection, "drift_numbers", method) for method in ("psi", "js", "chi2", "ks", "wasserstein")}
    for name, old, new in zip(columns, baseline, window):
        expected_edges = np.unique(np.quantile(finite(old), np.linspace(0, 1, 11)))
        assert edges[name] == pytest.approx(expected_edges.tolist(), rel=1e-12) or name in ("far", "fixed")
        p, q = counts(old, edges[name]), counts(new, edges[name])
        assert p.sum() == n and q.sum() == m
        assert near(found["psi"][name][0], psi(p, q)), name
        distance = jensenshannon(p, q, base=2)
        assert near(found["js"][name][0], 0.0 if np.isnan(distance) else distance), name
        table = np.array([p, q])[:, (p + q) > 0]
        chi2 = stats.chi2_contingency(table, correction=False)
        assert near(found["chi2"][name], (chi2.statistic, chi2.pvalue)), name
        a, b = finite(old), finite(new)
        if len(b) == 0:
            assert found["ks"][name] == (None, None) and found["wasserstein"][name] == (None, None)
            continue
        ks = stats.ks_2samp(a, b)
        assert near(found["ks"][name], (ks.statistic, ks.pvalue)), name
        earth = stats.wasserstein_distance(a, b)
        expected = 0 if earth == 0 else float("inf") if a.std() == 0 else earth / a.std()
        assert near(found["wasserstein"][name][0], expected), name


def test_drift_of_categories_agrees_with_scipy(connection):
    random = np.random.default_rng(11)
    words = np.array([f"word {i}" for i in range(80)])
    old = random.choice(words[:70], p=(w := 1 / np.arange(1, 71)) / w.sum(), size=3000).tolist()
    new = [None if random.random() < 0.1 else x for x in random.choice(words[5:], size=2000).tolist()]
    night = (random.random(3000) < 0.3).tolist(), (random.random(2000) < 0.35).tolist()
    group_of(connection, "drift_words", ["word", "night"], [old, night[0]], [new, night[1]])
    kept = connection.execute("SELECT feature, categories FROM lean.feature_profile WHERE group_name = 'drift_words'")
    kept = dict(kept.fetchall())
    assert len(kept["word"]) == 50 and set(kept["night"]) == {"true", "false"}
    texts = {"word": (old, new), "night": [[str(x).lower() for x in side] for side in night]}
    for name, sides in texts.items():
        # What the baseline has no bin for, new words among it, is one column; null is another.
        p, q = (
            np.array([side.count(c) for c in kept[name]] + [sum(x is not None and x not in kept[name] for x in side), side.count(None)])
            for side in sides
        )
        table = np.array([p, q])[:, (p + q) > 0]
        chi2 = stats.chi2_contingency(table, correction=False)
        assert near(drift(connection, "drift_words", "chi2")[name], (chi2.statistic, chi2.pvalue))
        assert near(drift(connection, "drift_words", "js")[name][0], jensenshannon(p, q, base=2))
        assert near(drift(connection, "drift_words", "psi")[name][0], psi(p, q))


def test_samples_stand_for_large_windows(connection):
    """Beyond the caps both sides are uniform samples, which are near the whole; counts in bins are of all rows."""
    random = np.random.default_rng(13)
    old, new = random.normal(size=60_000), random.normal(0.2, 1, size=50_000)
    group_of(connection, "drift_large", ["x"], [old.tolist()], [new.tolist()])
    (sample, edges, kept) = row(
        connection, "SELECT cardinality(sample), edges, counts FROM lean.feature_profile WHERE group_name = 'drift_large'"
    )
    assert sample == 10_000
    assert kept == counts(old, edges).tolist() and np.ptp(kept[1:-2]) < 0.02 * len(old)
    assert near(drift(connection, "drift_large", "psi")["x"][0], psi(counts(old, edges), counts(new, edges)))
    statistic, p = drift(connection, "drift_large", "ks", sample=20_000)["x"]
    assert statistic == pytest.approx(stats.ks_2samp(old, new).statistic, abs=0.03) and p < 1e-20
    found = drift(connection, "drift_large", "wasserstein")["x"][0]
    assert found == pytest.approx(stats.wasserstein_distance(old, new) / old.std(), abs=0.03)


def test_profiles_agree_with_numpy(connection):
    random = np.random.default_rng(17)
    x = random.gamma(2, size=(5, 7000))
    group_of(connection, "drift_profile", ["x"], [x.ravel().tolist()], [[0.0]])
    connection.execute("SELECT lean.drop_feature_group('drift_parts') FROM lean.feature_group WHERE name = 'drift_parts'")
    connection.execute("DROP TABLE IF EXISTS drift_parts_v1")
    connection.execute("SELECT lean.create_feature_group('drift_parts', '{id bigint}', '[\"x float64\"]', online => false)")
    with connection.cursor().copy("COPY drift_parts_v1 (id, event_timestamp, x) FROM STDIN") as copy:
        for day, values in enumerate(x):
            for number, value in enumerate(values):
                copy.write_row((number, f"2026-01-0{day + 1}", value))
    connection.execute("SELECT lean.set_baseline('drift_parts')")
    query = "SELECT profile FROM lean.profile_features('drift_parts', %s, %s)"
    parts = [row(connection, query, f"2026-01-0{day}", f"2026-01-0{day + 1}")[0] for day in range(1, 6)]
    connection.execute("SELECT lean.merge_profiles(%s)", (parts,))
    columns = "row_count, mean, stddev_pop, min, max, counts, quantiles, distinct_estimate"
    query = f"SELECT {columns} FROM lean.feature_profile WHERE group_name LIKE 'drift_p%%' ORDER BY profile"
    found = connection.execute(query).fetchall()
    whole, merged, shares = found[0], found[-1], row(connection, "SELECT lean.profile_shares()")[0]
    for profile in (whole, merged):
        rows, mean, deviation, low, high, _, quantiles, distinct = profile
        assert rows == x.size and near(mean, x.mean(), 1e-12) and near(deviation, x.std(), 1e-9)
        assert (low, high) == (x.min(), x.max())
        ranks = [(x < value).mean() for value in quantiles]
        assert ranks == pytest.approx(shares, abs=0.01)
        assert distinct == pytest.approx(x.size, rel=0.06)
    assert merged[7] == whole[7] and sum(merged[5]) == x.size
    # All of a day's values are in its sample, so its quantiles are exact.
    assert found[2][6] == pytest.approx(np.quantile(x[0], shares).tolist(), rel=1e-12)
