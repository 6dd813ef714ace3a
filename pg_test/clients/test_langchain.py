"""LangChain's PGVectorStore, unmodified: tables, filters, the hnsw index, hybrid search; and the older PGVector."""

import math
import uuid
import zlib

import psycopg
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_postgres import Column, PGEngine, PGVector, PGVectorStore
from langchain_postgres.v2.hybrid_search_config import HybridSearchConfig, reciprocal_rank_fusion
from langchain_postgres.v2.indexes import DistanceStrategy, HNSWIndex, HNSWQueryOptions

SIZE = 64
TABLE = "langchain_documents"
DOCUMENTS = [
    ("a red apple on the table", "fruit", 3),
    ("a green apple in the basket", "fruit", 5),
    ("black tea in the cup", "drink", 2),
    ("green tea with lemon", "drink", 4),
    ("the train to the mountains", "travel", 9),
    ("a boat on the lake", "travel", 7),
]


class WordCounts(Embeddings):
    """Each word adds to one of the elements, so texts that share words are near: the same on every machine."""

    def embed_query(self, text):
        vector = [0.01] * SIZE
        for word in text.split():
            vector[zlib.crc32(word.encode()) % SIZE] += 1
        norm = math.sqrt(sum(element * element for element in vector))
        return [element / norm for element in vector]

    def embed_documents(self, texts):
        return [self.embed_query(text) for text in texts]


def documents():
    for number, (text, topic, price) in enumerate(DOCUMENTS):
        yield Document(
            id=str(uuid.UUID(int=number + 1)), page_content=text, metadata={"topic": topic, "price": price, "extra": number}
        )


@pytest.fixture(params=["asyncpg", "psycopg"])
def engine(request):
    """The engine makes the extension itself: conftest's is dropped, and the table with what depends on it."""
    with psycopg.connect(autocommit=True) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {TABLE}")
        connection.execute("DROP EXTENSION IF EXISTS vector")
    engine = PGEngine.from_connection_string(f"postgresql+{request.param}://")
    yield engine
    engine._run_as_sync(engine.close())


@pytest.fixture
def store(engine):
    engine.init_vectorstore_table(
        TABLE, SIZE, metadata_columns=[Column("topic", "TEXT"), Column("price", "INTEGER")], overwrite_existing=True
    )
    store = PGVectorStore.create_sync(
        engine,
        WordCounts(),
        TABLE,
        metadata_columns=["topic", "price"],
        index_query_options=HNSWQueryOptions(ef_search=100),
    )
    store.add_documents(list(documents()))
    return store


def texts(found):
    return [document.page_content for document in found]


def test_langchain_creates_the_extension(store):
    with psycopg.connect() as connection:
        assert connection.execute("SELECT count(*) FROM pg_extension WHERE extname = 'vector'").fetchone() == (1,)


def test_langchain_similarity_search(store):
    (document,) = store.similarity_search("red apple", k=1)
    assert (document.page_content, document.metadata) == (DOCUMENTS[0][0], {"topic": "fruit", "price": 3, "extra": 0})
    (_, near), (_, far) = store.similarity_search_with_score("lemon tea", k=2)
    assert 0 <= near < far
    assert texts(store.max_marginal_relevance_search("apple", k=2, fetch_k=4))[0] in {DOCUMENTS[0][0], DOCUMENTS[1][0]}
    assert len(store.get_by_ids([str(uuid.UUID(int=1))])) == 1


@pytest.mark.parametrize(
    "condition, expected",
    [
        ({"topic": "drink"}, {2, 3}),
        ({"price": {"$gte": 7}}, {4, 5}),
        ({"$and": [{"topic": {"$in": ["fruit", "drink"]}}, {"price": {"$between": (3, 4)}}]}, {0, 3}),
        ({"$or": [{"topic": {"$like": "tra%"}}, {"price": 2}]}, {2, 4, 5}),
    ],
    ids=["equal", "compare", "and", "or"],
)
def test_langchain_filter(store, condition, expected):
    found = store.similarity_search("tea", k=6, filter=condition)
    assert {document.metadata["extra"] for document in found} == expected


@pytest.mark.parametrize("strategy", list(DistanceStrategy), ids=lambda s: s.name.lower())
def test_langchain_hnsw_index(engine, store, strategy):
    store = PGVectorStore.create_sync(
        engine,
        WordCounts(),
        TABLE,
        distance_strategy=strategy,
        index_query_options=HNSWQueryOptions(ef_search=100),
    )
    exact = texts(store.similarity_search("green apple", k=3))
    store.apply_vector_index(HNSWIndex(name="near", distance_strategy=strategy, m=8, ef_construction=32))
    assert store.is_valid_index("near")
    with psycopg.connect(options="-c enable_seqscan=off") as connection:
        query = str(WordCounts().embed_query("green apple"))
        sql = f"SELECT * FROM {TABLE} ORDER BY embedding {strategy.operator} %s LIMIT 3"
        plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {sql}", (query,)))
        assert "Index Scan using near" in plan
        assert [row[1] for row in connection.execute(sql, (query,))] == exact
    store.reindex("near")
    assert texts(store.similarity_search("green apple", k=3)) == exact
    store.drop_vector_index("near")
    assert not store.is_valid_index("near")


def test_langchain_index_built_concurrently(store):
    store.apply_vector_index(HNSWIndex(), name="near", concurrently=True)
    assert store.is_valid_index("near")
    store.add_texts(["a pear beside the apple"], [{"topic": "fruit", "price": 1}])
    assert texts(store.similarity_search("pear beside apple", k=1)) == ["a pear beside the apple"]


def test_langchain_update_and_delete(store):
    (first, *_) = documents()
    first.page_content = "snow on the roof"
    store.add_documents([first])
    assert texts(store.similarity_search("snow roof", k=1)) == ["snow on the roof"]
    store.delete([first.id])
    assert "snow on the roof" not in texts(store.similarity_search("snow roof", k=6))


def test_langchain_hybrid_search(engine):
    config = HybridSearchConfig(
        tsv_column="content_tsv", tsv_lang="pg_catalog.english", fusion_function=reciprocal_rank_fusion
    )
    engine.init_vectorstore_table(TABLE, SIZE, hybrid_search_config=config, overwrite_existing=True)
    store = PGVectorStore.create_sync(engine, WordCounts(), TABLE, hybrid_search_config=config)
    store.add_documents(list(documents()))
    store.apply_hybrid_search_index()
    assert texts(store.similarity_search("boats", k=6)).index(DOCUMENTS[5][0]) >= 0
    assert texts(store.similarity_search("lemon", k=1)) == [DOCUMENTS[3][0]]


def test_langchain_older_pgvector_class():
    store = PGVector(
        WordCounts(), connection="postgresql+psycopg://", collection_name="old", pre_delete_collection=True, use_jsonb=True
    )
    store.add_documents(list(documents()))
    assert texts(store.similarity_search("red apple", k=1)) == [DOCUMENTS[0][0]]
    assert {d.metadata["extra"] for d in store.similarity_search("tea", k=6, filter={"topic": {"$eq": "drink"}})} == {2, 3}
