"""pgvector-python, unmodified, over psycopg and asyncpg: text, binary, COPY and an index."""

import asyncio

import asyncpg
import numpy as np
import pgvector.asyncpg
import pgvector.psycopg
import psycopg
import pytest
from pgvector import Bit, HalfVector, SparseVector, Vector

VALUES = {
    "vector(3)": Vector([1.5, -2, 3]),
    "halfvec(3)": HalfVector([1.5, -2, 3]),
    "sparsevec(5)": SparseVector({0: 1.5, 3: -2.0}, 5),
    "bit(5)": Bit("10110"),
}


def same(left, right):
    """Clients give numpy arrays for vector, their own classes for the rest."""
    if isinstance(left, (np.ndarray, Vector)) or isinstance(right, (np.ndarray, Vector)):
        left = left.to_numpy() if isinstance(left, Vector) else left
        right = right.to_numpy() if isinstance(right, Vector) else right
        return np.array_equal(left, right)
    return left == right


@pytest.fixture
def connection():
    with psycopg.connect(autocommit=True) as connection:
        pgvector.psycopg.register_vector(connection)
        connection.execute("DROP TABLE IF EXISTS items")
        yield connection


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("sql_type", [t for t in VALUES if not t.startswith("bit")])
def test_psycopg_round_trip(connection, sql_type, binary):
    connection.execute(f"CREATE TABLE items (id bigserial, v {sql_type})")
    connection.execute(f"INSERT INTO items (v) VALUES (%{'b' if binary else 't'}), (NULL)", (VALUES[sql_type],))
    cursor = connection.cursor(binary=binary)
    rows = cursor.execute("SELECT v FROM items ORDER BY id").fetchall()
    assert same(rows[0][0], VALUES[sql_type])
    assert rows[1][0] is None


def test_psycopg_array_of_vectors(connection):
    (value,) = connection.execute("SELECT ARRAY['[1,2]', '[3,4]']::vector[]").fetchone()
    assert [same(v, Vector(e)) for v, e in zip(value, ([1, 2], [3, 4]))] == [True, True]


@pytest.mark.parametrize("sql_type", [t for t in VALUES if not t.startswith("bit")])
def test_psycopg_binary_copy(connection, sql_type):
    connection.execute(f"CREATE TABLE items (v {sql_type})")
    with connection.cursor().copy("COPY items (v) FROM STDIN WITH (FORMAT BINARY)") as copy:
        copy.set_types([sql_type.split("(")[0]])
        for _ in range(3):
            copy.write_row([VALUES[sql_type]])
    with connection.cursor().copy("COPY items (v) TO STDOUT WITH (FORMAT BINARY)") as copy:
        copy.set_types([sql_type.split("(")[0]])
        assert [same(row[0], VALUES[sql_type]) for row in copy.rows()] == [True] * 3


def test_psycopg_nearest_through_an_index(connection):
    connection.execute("CREATE TABLE items (id int, v vector(8))")
    vectors = np.random.default_rng(7).standard_normal((500, 8)).astype(np.float32)
    with connection.cursor().copy("COPY items FROM STDIN WITH (FORMAT BINARY)") as copy:
        copy.set_types(["int4", "vector"])
        for number, vector in enumerate(vectors):
            copy.write_row([number, vector])
    connection.execute("CREATE INDEX ON items USING hnsw (v vector_l2_ops)")
    connection.execute("SET enable_seqscan = off")
    hits = 0
    for query in vectors[:50]:
        rows = connection.execute("SELECT id FROM items ORDER BY v <-> %s LIMIT 5", (query,)).fetchall()
        exact = np.argsort(((vectors - query) ** 2).sum(axis=1))[:5]
        hits += len({row[0] for row in rows} & set(exact.tolist()))
    assert hits >= 0.95 * 50 * 5


def test_psycopg_wrong_dimensions(connection):
    connection.execute("CREATE TABLE items (v vector(3))")
    with pytest.raises(psycopg.errors.DataException, match="expected 3 dimensions, not 2"):
        connection.execute("INSERT INTO items VALUES (%s)", (Vector([1, 2]),))


@pytest.mark.parametrize("sql_type", list(VALUES))
def test_asyncpg_round_trip(sql_type):
    async def round_trip():
        connection = await asyncpg.connect()
        try:
            await pgvector.asyncpg.register_vector(connection)
            await connection.execute(f"CREATE TEMP TABLE items (id bigserial, v {sql_type})")
            value = VALUES[sql_type]
            if isinstance(value, Bit):
                value = asyncpg.BitString(value.to_text())
            await connection.executemany("INSERT INTO items (v) VALUES ($1)", [(value,), (None,)])
            await connection.copy_records_to_table("items", records=[(value,)], columns=["v"])
            return value, [row["v"] for row in await connection.fetch("SELECT v FROM items ORDER BY id")]
        finally:
            await connection.close()

    value, (first, null, copied) = asyncio.run(round_trip())
    assert same(first, value) and null is None and same(copied, value)
