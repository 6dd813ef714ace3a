"""SQLAlchemy, unmodified, with pgvector.sqlalchemy: types, distances, an index, aggregates, async."""

import asyncio

import pytest
import sqlalchemy as sa
from pgvector import HalfVector, SparseVector
from pgvector.sqlalchemy import BIT, HALFVEC, SPARSEVEC, VECTOR, avg
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "sqlalchemy_items"
    id = mapped_column(sa.Integer, primary_key=True)
    dense = mapped_column(VECTOR(3))
    half = mapped_column(HALFVEC(3))
    bits = mapped_column(BIT(3))
    sparse = mapped_column(SPARSEVEC(3))


ROWS = [(1, [1, 1, 1], "000"), (2, [2, 2, 2], "101"), (3, [1, 1, 2], "111")]

# (column, method, query, distance to each of ROWS)
DISTANCES = [
    (column, method, [1, 1, 1], distances)
    for column in ("dense", "half", "sparse")
    for method, distances in (
        ("l2_distance", [0, 3**0.5, 1]),
        ("max_inner_product", [-3, -6, -4]),
        ("cosine_distance", [0, 0, 1 - 4 / 18**0.5]),
        ("l1_distance", [0, 3, 1]),
    )
] + [
    ("bits", "hamming_distance", "101", [2, 0, 1]),
    ("bits", "jaccard_distance", "101", [1, 0, 1 / 3]),
]


def plain(value):
    """A vector of any kind as a list: the classes differ among releases of the client."""
    value = value.to_list() if hasattr(value, "to_list") else value
    return [float(element) for element in value]


@pytest.fixture(scope="module")
def engine():
    engine = sa.create_engine("postgresql+psycopg://")
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        for key, values, bits in ROWS:
            session.add(Item(id=key, dense=values, half=values, bits=bits, sparse=SparseVector(values)))
        session.add(Item(id=9))
        session.commit()
    yield engine
    engine.dispose()


def test_sqlalchemy_round_trip(engine):
    with Session(engine) as session:
        for key, values, bits in ROWS:
            item = session.get(Item, key)
            assert [plain(item.dense), plain(item.half), plain(item.sparse)] == [values] * 3
            assert str(getattr(item.bits, "to_text", lambda: item.bits)()) == bits
        assert session.get(Item, 9).dense is None


@pytest.mark.parametrize("column, method, query, distances", DISTANCES, ids=lambda v: v if isinstance(v, str) else "")
def test_sqlalchemy_distance(engine, column, method, query, distances):
    if column == "sparse":
        query = SparseVector(query)
    distance = getattr(getattr(Item, column), method)(query)
    with Session(engine) as session:
        rows = session.execute(sa.select(Item.id, distance).where(Item.id < 9).order_by(distance, Item.id)).all()
        assert [row[1] for row in rows] == sorted(row[1] for row in rows)
        assert dict(rows) == pytest.approx(dict(zip((1, 2, 3), distances)), abs=1e-6)


def test_sqlalchemy_filter_by_distance(engine):
    with Session(engine) as session:
        near = sa.select(Item.id).where(Item.dense.l2_distance([1, 1, 1]) < 1.5).order_by(Item.id)
        assert session.scalars(near).all() == [1, 3]
        to_row = Item.dense.l2_distance(sa.select(Item.dense).where(Item.id == 3).scalar_subquery())
        assert session.scalars(sa.select(Item.id).where(Item.id < 9).order_by(to_row)).all()[0] == 3


def test_sqlalchemy_aggregates(engine):
    with Session(engine) as session:
        for column in (Item.dense, Item.half):
            assert plain(session.scalar(sa.select(avg(column)))) == pytest.approx([4 / 3, 4 / 3, 5 / 3], abs=1e-3)
            assert plain(session.scalar(sa.select(sa.func.sum(column)))) == [4, 4, 5]


# pgvector's two, and the one that only leanstack has.
OPTIONS = {"m": 16, "ef_construction": 64, "quantization": "auto"}

# The plan is asked for with literals in the text, which SQLAlchemy has none of for bits.
INDEXES = {
    "dense": ("vector_l2_ops", Item.dense.l2_distance([1, 1, 2])),
    "half": ("halfvec_cosine_ops", Item.half.cosine_distance(HalfVector([1, 1, 2]))),
    "sparse": ("sparsevec_ip_ops", Item.sparse.max_inner_product(SparseVector([1, 1, 2]))),
    "bits": ("bit_hamming_ops", Item.bits.hamming_distance(sa.literal_column("B'111'"))),
}


@pytest.mark.parametrize("column", list(INDEXES))
def test_sqlalchemy_hnsw_index(engine, column):
    opclass, distance = INDEXES[column]
    name = f"sqlalchemy_items_{column}"
    index = sa.Index(
        name,
        getattr(Item, column),
        postgresql_using="hnsw",
        postgresql_with=OPTIONS,
        postgresql_ops={column: opclass},
    )
    with engine.begin() as connection:
        index.create(connection)
        try:
            connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
            nearest = sa.select(Item.id).order_by(distance).limit(2)
            expected = {"dense": [3, 1], "half": [3], "sparse": [2, 3], "bits": [3, 2]}[column]
            assert connection.scalars(nearest).all()[: len(expected)] == expected
            sql = str(nearest.compile(connection, compile_kwargs={"literal_binds": True})).replace("%%", "%")
            plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {sql}".replace("%", "%%")).scalars())
            assert f"Index Scan using {name}" in plan
            (seen,) = [i for i in sa.inspect(connection).get_indexes(Item.__tablename__) if i["name"] == name]
            assert seen["dialect_options"]["postgresql_using"] == "hnsw"
            assert seen["dialect_options"]["postgresql_with"] == {name: str(value) for name, value in OPTIONS.items()}
        finally:
            Item.__table__.indexes.discard(index)


def test_sqlalchemy_reflection(engine):
    table = sa.Table(Item.__tablename__, sa.MetaData(), autoload_with=engine)
    kinds = {column.name: type(column.type).__name__ for column in table.columns}
    assert kinds == {"id": "INTEGER", "dense": "VECTOR", "half": "HALFVEC", "bits": "BIT", "sparse": "SPARSEVEC"}
    assert (table.c.dense.type.dim, table.c.half.type.dim, table.c.sparse.type.dim) == (3, 3, 3)


def test_sqlalchemy_wrong_dimensions(engine):
    with Session(engine) as session:
        session.add(Item(dense=[1, 2]))
        with pytest.raises(sa.exc.DataError, match="expected 3 dimensions, not 2"):
            session.commit()


def test_sqlalchemy_async(engine):
    async def nearest():
        other = create_async_engine("postgresql+asyncpg://")
        try:
            async with other.connect() as connection:
                distance = Item.dense.l2_distance([1, 1, 2])
                return (await connection.execute(sa.select(Item.id, Item.dense).order_by(distance).limit(2))).all()
        finally:
            await other.dispose()

    assert [(key, plain(value)) for key, value in asyncio.run(nearest())] == [(3, [1, 1, 2]), (1, [1, 1, 1])]
