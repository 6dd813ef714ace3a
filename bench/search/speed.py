"""Ranked keyword search by a GIN index with ts_rank_cd and by a bm25 index, on the same tsvector, in one run."""

import random
import re
import time
from collections import Counter
from types import SimpleNamespace

from judged import short_texts
from measure import MeasureError, Pgbench, cpu_wait_seconds, cpu_wait_share, least_disturbed

SCHEMA = "speed"
QUERIES = 1000
# A word is common that is in more than this share of the documents.
COMMON = 0.02
ENGINES = ("gin", "bm25")
SEARCH = {
    "gin": "SELECT id FROM {schema}.gin_docs, (SELECT any_word FROM {schema}.queries WHERE id = {number}) AS q"
    " WHERE words @@ any_word ORDER BY ts_rank_cd(words, any_word) DESC LIMIT 10",
    "bm25": "SELECT id FROM {schema}.bm25_docs ORDER BY"
    " words <@> to_bm25query((SELECT body FROM {schema}.queries WHERE id = {number}), '{schema}.bm25_idx') LIMIT 10",
}


def questions(texts: list[str], stop_words: set[str]) -> list[str]:
    """Two to four words of one document, of which one is common and the others are not."""
    dice = random.Random(7)
    documents = [
        [word for word in dict.fromkeys(re.findall(r"[a-z]{2,}", text.lower())) if word not in stop_words]
        for text in texts
    ]
    counts = Counter(word for document in documents for word in document)
    common = {word for word, count in counts.items() if count > COMMON * len(texts)}
    found = []
    while len(found) < QUERIES:
        document = dice.choice(documents)
        frequent, rare = [w for w in document if w in common], [w for w in document if w not in common]
        others = 1 + len(found) % 3
        if frequent and len(rare) >= others:
            chosen = [dice.choice(frequent), *dice.sample(rare, others)]
            dice.shuffle(chosen)
            found.append(" ".join(chosen))
    return found


def stop_words(connection) -> set[str]:
    """Words that the configuration drops."""
    words = connection.execute(
        f"SELECT array_agg(word ORDER BY word) FROM ts_stat('SELECT to_tsvector(''simple'', body) FROM {SCHEMA}.texts')"
        " WHERE ndoc > 50"
    ).fetchone()[0]
    rows = connection.execute(
        "SELECT w FROM unnest(%s::text[]) AS w WHERE to_tsvector('english', w) = ''", [words or []]
    ).fetchall()
    return {row[0] for row in rows}


def load(connection, options) -> None:
    """The documents once for each index, those to insert, and the queries."""
    texts = short_texts(options.data_dir)[: options.rows]
    connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    connection.execute(f"CREATE SCHEMA {SCHEMA}")
    connection.execute(f"CREATE TABLE {SCHEMA}.texts (id integer, body text)")
    order = list(range(len(texts)))
    random.Random(3).shuffle(order)
    with connection.cursor().copy(f"COPY {SCHEMA}.texts FROM STDIN") as copy:
        for number, place in enumerate(order):
            copy.write_row((number, texts[place]))
    for engine in ENGINES:
        connection.execute(
            f"CREATE TABLE {SCHEMA}.{engine}_docs WITH (autovacuum_enabled = off) AS"
            f" SELECT id, body, to_tsvector('english', body) AS words FROM {SCHEMA}.texts ORDER BY id"
        )
    # What is inserted later are documents like the others: the first half of one and the second of another.
    connection.execute(
        f"CREATE TABLE {SCHEMA}.spare AS SELECT a.id, body, to_tsvector('english', body) AS words FROM ("
        " SELECT a.id, left(a.body, length(a.body) / 2) || ' ' || right(b.body, length(b.body) / 2) AS body"
        f" FROM {SCHEMA}.texts AS a JOIN {SCHEMA}.texts AS b ON b.id = (a.id + 1) % {len(texts)}"
        f" WHERE a.id < {options.inserts}) AS a"
    )
    connection.execute(f"ALTER TABLE {SCHEMA}.spare ADD PRIMARY KEY (id)")
    connection.execute(f"CREATE TABLE {SCHEMA}.queries (id integer PRIMARY KEY, body text, any_word tsquery)")
    asked = questions(texts, stop_words(connection))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {SCHEMA}.queries VALUES (%s, %s, (SELECT string_agg(quote_literal(lexeme), ' | ')::tsquery"
            " FROM unnest(to_tsvector('english', %s))))",
            [(number, text, text) for number, text in enumerate(asked)],
        )
    connection.execute("VACUUM ANALYZE")


def build(server, database: str, engine: str, options) -> dict:
    """The time of CREATE INDEX, the median of some, and the size."""
    seconds = []
    with server.connect(database) as connection:
        connection.execute("SET maintenance_work_mem = '1GB'")
        for _ in range(options.rounds):
            connection.execute(f"DROP INDEX IF EXISTS {SCHEMA}.{engine}_idx")
            connection.execute(f"SELECT sum(length(words)) FROM {SCHEMA}.{engine}_docs")
            connection.execute("CHECKPOINT")
            waited, started = cpu_wait_seconds(), time.monotonic()
            connection.execute(f"CREATE INDEX {engine}_idx ON {SCHEMA}.{engine}_docs USING {engine} (words)")
            took = time.monotonic() - started
            seconds.append({"qps": 1 / took, "seconds": took, "cpu_wait": cpu_wait_share(waited, started)})
        size = connection.execute(f"SELECT pg_relation_size('{SCHEMA}.{engine}_idx')").fetchone()[0]
    return {"build_seconds": least_disturbed(seconds)["seconds"], "index_bytes": size}


def check_plan(server, database: str, engine: str, settings: dict) -> None:
    """Raises unless the search uses its index."""
    with server.connect(database, settings) as connection:
        statement = SEARCH[engine].format(schema=SCHEMA, number=0)
        plan = "\n".join(row[0] for row in connection.execute("EXPLAIN " + statement).fetchall())
    if f"on {engine}_idx" not in plan and f"using {engine}_idx" not in plan:
        raise MeasureError(f"the search does not use {engine}_idx:\n{plan}")


def search(server, database: str, engine: str, settings: dict, seconds: float) -> dict:
    """QPS and latencies of one client."""
    script = f"\\set number random(0, {QUERIES - 1})\n{SEARCH[engine].format(schema=SCHEMA, number=':number')};\n"
    bench = SimpleNamespace(server=server, database=database)
    with Pgbench(bench, script, settings, 1, ["-T", str(max(1, round(seconds)))]) as run:
        return run.finish()


def inserts(server, database: str, engine: str, settings: dict, options) -> dict:
    """Single-row transactions by one client; commits do not wait for the disk."""
    script = (
        "\\set i :i + 1\n"
        f"INSERT INTO {SCHEMA}.{engine}_docs SELECT id + 1000000, body, words FROM {SCHEMA}.spare WHERE id = :i;\n"
    )
    bench = SimpleNamespace(server=server, database=database)
    limits = ["-t", str(options.inserts), "-D", "i=-1"]
    with Pgbench(bench, script, settings | {"synchronous_commit": "off"}, 1, limits) as run:
        return run.finish()


def run(server, database: str, options, say) -> list[dict]:
    """Builds, searches, inserts, and searches again, engines taking turns."""
    with server.connect(database) as connection:
        known = {row[0] for row in connection.execute("SELECT amname FROM pg_am").fetchall()}
        load(connection, options)
    engines = [engine for engine in ENGINES if engine in known]
    say("speed: loaded")
    settings = {"jit": "off", "enable_seqscan": "off", "max_parallel_workers_per_gather": "0"}
    results = {engine: {"engine": engine, **build(server, database, engine, options)} for engine in engines}
    for engine in engines:
        check_plan(server, database, engine, settings)
        result = results[engine]
        say(f"speed: {engine} built in {result['build_seconds']:.2f} s, {result['index_bytes'] / 1e6:.1f} MB")
    for phase in ("search", "inserted"):
        if phase == "inserted":
            for engine in engines:
                results[engine]["insert"] = inserts(server, database, engine, settings, options)
                say(f"speed: {engine} {results[engine]['insert']['qps']:,.0f} inserts a second")
        samples = {engine: [] for engine in engines}
        for _ in range(options.rounds):
            for engine in engines:
                search(server, database, engine, settings, 1)
                samples[engine].append(search(server, database, engine, settings, options.seconds))
        for engine in engines:
            results[engine][phase] = least_disturbed(samples[engine]) | {"samples": samples[engine]}
            say(f"speed: {engine} {phase}: {results[engine][phase]['qps']:,.1f} queries a second")
    with server.connect(database) as connection:
        count = connection.execute(f"SELECT count(*) FROM {SCHEMA}.texts").fetchone()[0]
    return [result | {"docs": count, "inserts": options.inserts} for result in results.values()]
