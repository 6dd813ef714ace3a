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
