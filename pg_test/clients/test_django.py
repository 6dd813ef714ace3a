"""Django, unmodified, with pgvector.django: its migration operation, fields, indexes and distances."""

import os

import django
import psycopg
import pytest
from django.conf import settings
from django.db import connection, migrations, models
from django.db.migrations.state import ModelState, ProjectState
from django.db.utils import DataError
from pgvector import SparseVector

NAME = "django_clients"
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": NAME,
            "HOST": os.environ["PGHOST"],
            "USER": os.environ["PGUSER"],
        }
    },
    INSTALLED_APPS=["django.contrib.postgres", "pgvector.django"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

# These modules want the settings.
from django.contrib.postgres.indexes import OpClass  # noqa: E402
from django.db.models import Avg, Sum  # noqa: E402
from django.db.models.functions import Cast  # noqa: E402
from pgvector import django as pg  # noqa: E402


class Item(models.Model):
    dense = pg.VectorField(dimensions=3, null=True)
    half = pg.HalfVectorField(dimensions=3, null=True)
    bits = pg.BitField(length=3, null=True)
    sparse = pg.SparseVectorField(dimensions=3, null=True)

    class Meta:
        app_label = "clients"
        indexes = [
            pg.HnswIndex(name="dense_l2", fields=["dense"], m=16, ef_construction=64, opclasses=["vector_l2_ops"]),
            pg.HnswIndex(name="half_cosine", fields=["half"], opclasses=["halfvec_cosine_ops"]),
            pg.HnswIndex(name="bits_hamming", fields=["bits"], opclasses=["bit_hamming_ops"]),
            pg.HnswIndex(name="sparse_ip", fields=["sparse"], opclasses=["sparsevec_ip_ops"]),
            pg.HnswIndex(OpClass(Cast("dense", pg.HalfVectorField(dimensions=3)), "halfvec_l2_ops"), name="dense_as_half"),
        ]


class First(migrations.Migration):
    """What makemigrations writes for Item, with the extension before it."""

    _state = ModelState.from_model(Item)
    operations = [
        pg.VectorExtension(),
        migrations.CreateModel(_state.name, list(_state.fields.items()), options=_state.options, bases=_state.bases),
    ]


ROWS = {1: ([1, 1, 1], "000"), 2: ([2, 2, 2], "101"), 3: ([1, 1, 2], "111")}


def plain(value):
    """A vector of any kind as a list: the classes differ among releases of the client."""
    value = value.to_list() if hasattr(value, "to_list") else value
    return [float(element) for element in value]


def extensions():
    with connection.cursor() as cursor:
        cursor.execute("SELECT extname FROM pg_extension WHERE extname IN ('leanstack', 'vector') ORDER BY 1")
        return [name for (name,) in cursor.fetchall()]


@pytest.fixture(scope="module", autouse=True)
def migrated():
    """A database of its own: what the migration creates and takes away must not be in others' way."""
    with psycopg.connect(autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {NAME}")
        admin.execute(f"CREATE DATABASE {NAME}")
    with psycopg.connect(dbname=NAME, autocommit=True) as admin:
        admin.execute("CREATE EXTENSION leanstack")
    assert extensions() == ["leanstack"]
    migration = First("0001_initial", "clients")
    with connection.schema_editor(atomic=True) as editor:
        migration.apply(ProjectState(), editor)
    assert extensions() == ["leanstack", "vector"]
    for key, (values, bits) in ROWS.items():
        Item.objects.create(id=key, dense=values, half=values, bits=bits, sparse=SparseVector(values))
    Item.objects.create(id=9)
    yield
    with connection.schema_editor(atomic=True) as editor:
        First("0001_initial", "clients").unapply(ProjectState(), editor)
    assert extensions() == ["leanstack"]
    connection.close()


def test_django_round_trip():
    for key, (values, bits) in ROWS.items():
        item = Item.objects.get(pk=key)
        assert [plain(item.dense), plain(item.half), plain(item.sparse), item.bits] == [values] * 3 + [bits]
    assert Item.objects.get(pk=9).dense is None


# (field, function, query, distance to each of ROWS)
DISTANCES = [
    (field, function, query, distances)
    for field, query in (("dense", [1, 1, 1]), ("half", [1, 1, 1]), ("sparse", SparseVector([1, 1, 1])))
    for function, distances in (
        (pg.L2Distance, [0, 3**0.5, 1]),
        (pg.MaxInnerProduct, [-3, -6, -4]),
        (pg.CosineDistance, [0, 0, 1 - 4 / 18**0.5]),
        (pg.L1Distance, [0, 3, 1]),
    )
] + [
    ("bits", pg.HammingDistance, "101", [2, 0, 1]),
    ("bits", pg.JaccardDistance, "101", [1, 0, 1 / 3]),
]


@pytest.mark.parametrize("field, function, query, distances", DISTANCES, ids=lambda v: getattr(v, "__name__", v) if isinstance(v, (str, type)) else "")
def test_django_distance(field, function, query, distances):
    rows = Item.objects.filter(pk__lt=9).annotate(distance=function(field, query)).order_by("distance", "id")
    found = [(item.pk, item.distance) for item in rows]
    assert [distance for _, distance in found] == sorted(distance for _, distance in found)
    assert dict(found) == pytest.approx(dict(zip((1, 2, 3), distances)), abs=1e-6)


def test_django_filter_by_distance():
    near = Item.objects.alias(distance=pg.L2Distance("dense", [1, 1, 1])).filter(distance__lt=1.5)
    assert sorted(item.pk for item in near) == [1, 3]


def test_django_aggregates():
    for field in ("dense", "half"):
        found = Item.objects.aggregate(mean=Avg(field), total=Sum(field))
        assert plain(found["mean"]) == pytest.approx([4 / 3, 4 / 3, 5 / 3], abs=1e-3)
        assert plain(found["total"]) == [4, 4, 5]


@pytest.mark.parametrize(
    "index, distance, nearest",
    [
        ("dense_l2", pg.L2Distance("dense", [1, 1, 2]), 3),
        ("half_cosine", pg.CosineDistance("half", [1, 1, 2]), 3),
        ("bits_hamming", pg.HammingDistance("bits", "111"), 3),
        ("sparse_ip", pg.MaxInnerProduct("sparse", SparseVector([1, 1, 2])), 2),
        ("dense_as_half", pg.L2Distance(Cast("dense", pg.HalfVectorField(dimensions=3)), [1, 1, 2]), 3),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_django_hnsw_index(index, distance, nearest):
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        try:
            rows = Item.objects.order_by(distance)[:2]
            assert rows[0].pk == nearest
            assert f"Index Scan using {index}" in rows.explain()
        finally:
            cursor.execute("RESET enable_seqscan")


def test_django_options_of_an_index():
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'dense_l2'")
        assert sorted(cursor.fetchone()[0]) == ["ef_construction=64", "m=16"]


def test_django_wrong_dimensions():
    with pytest.raises(DataError, match="expected 3 dimensions, not 2"):
        Item.objects.create(dense=[1, 2])
