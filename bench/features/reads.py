"""Online reads at the client, one connection, and ours in the server: one entity with 50 features, 100 with 10 of them."""

import random
import struct
from types import SimpleNamespace

import pandas as pd
from psycopg.rows import dict_row

import peers
from measure import Pgbench, MeasureError
from timing import in_turns

GROUP = "profile"
FEATURES = [f"f{n:02}" for n in range(1, 51)]
# A request: how many entities, how many features.
REQUESTS = [(1, 50), (100, 10)]
DOUBLE = struct.Struct("<d")


def load(connection, entities: int) -> None:
    """The same values for all: written to ours from a relation, and read back for the others."""
    features = str([f"{name} float64" for name in FEATURES]).replace("'", '"')
    connection.execute("SELECT lean.create_feature_group(%s, '{user_id bigint}', %s)", [GROUP, features])
    values = ", ".join(f"random() AS {name}" for name in FEATURES)
    connection.execute(
        f"CREATE TABLE profile_rows AS SELECT u AS user_id, date_trunc('second', now()) AS event_timestamp,"
        f" date_trunc('second', now()) AS created_timestamp, {values} FROM generate_series(1, {entities}::bigint) AS u"
    )
    connection.execute("SELECT lean.write_features_from(%s, 'profile_rows')", [GROUP])
    connection.execute(f"VACUUM ANALYZE {GROUP}_v1_online")


def frame_of(connection) -> pd.DataFrame:
    """All rows, for Feast."""
    cursor = connection.cursor(binary=True).execute("SELECT * FROM profile_rows ORDER BY user_id")
    return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])


class Ours:
    """Our ways to read the same, by name: the function that gives JSON, the one that gives rows, and the table itself."""

    def __init__(self, connection, features: list[str]):
        self.connection, self.features = connection, features
        self.all = features == FEATURES
        table = f"public.{GROUP}_v1_online"
        if not self.all:
            columns = ", ".join(f"{name} float8" for name in features)
            connection.execute("DROP TYPE IF EXISTS profile_some")
            connection.execute(f"CREATE TYPE profile_some AS (user_id bigint, {columns})")
        self.row_type = table if self.all else "profile_some"
        names = ", ".join(features)
        self.direct = f"SELECT user_id, {names} FROM {table} WHERE user_id = ANY (%s)"

    def wanted(self) -> str:
        """The argument that chooses features."""
        return "" if self.all else ", '{" + ",".join(self.features) + "}'"

    def json(self, keys: list[int]) -> list[dict]:
        """`get_online_features`, values alone, as dicts."""
        return [row[0] for row in self.connection.execute(
            f"SELECT feature_values FROM lean.get_online_features('{GROUP}', %s{self.wanted()})", [entities(keys)], prepare=True
        ).fetchall()]  # fmt: skip

    def json_with_statuses(self, keys: list[int]) -> list[tuple]:
        """`get_online_features` with all that it says."""
        return self.connection.execute(
            f"SELECT * FROM lean.get_online_features('{GROUP}', %s{self.wanted()})", [entities(keys)], prepare=True
        ).fetchall()

    def rows(self, keys: list[int]) -> list[dict]:
        """`get_online_rows`, typed columns."""
        cursor = self.connection.cursor(binary=True, row_factory=dict_row)
        statement = f"SELECT * FROM lean.get_online_rows(NULL::{self.row_type}, '{GROUP}', %s{self.wanted()})"
        return cursor.execute(statement, [entities(keys)], prepare=True).fetchall()

    def table(self, keys: list[int]) -> list[dict]:
        """The online table by its primary key, as anyone may."""
        cursor = self.connection.cursor(binary=True, row_factory=dict_row)
        return cursor.execute(self.direct, [keys], prepare=True).fetchall()


def entities(keys: list[int]) -> str:
    """Keys as the functions take them."""
    return "[" + ",".join(f'{{"user_id":{key}}}' for key in keys) + "]"


def fill_redis(client, frame: pd.DataFrame) -> None:
    """A hash for each entity with eight bytes for each feature, which is as small as it gets."""
    with client.pipeline(transaction=False) as pipe:
        for row in frame.itertuples(index=False):
            values = row._asdict()
            pipe.hset(f"u{row.user_id}", mapping={name: DOUBLE.pack(values[name]) for name in FEATURES})
        pipe.execute()


def from_redis(client, features: list[str]):
    """One HMGET for each entity, in one go."""

    def read(keys: list[int]) -> list[dict]:
        pipe = client.pipeline(transaction=False)
        for key in keys:
            pipe.hmget(f"u{key}", features)
        return [dict(zip(features, (DOUBLE.unpack(value)[0] for value in row))) for row in pipe.execute()]

    def read_one(keys: list[int]) -> list[dict]:
        found = client.hgetall(f"u{keys[0]}")
        return [{name.decode(): DOUBLE.unpack(value)[0] for name, value in found.items()}]

    return read if features != FEATURES else read_one


def from_feast(store, features: list[str]):
    """Feast's own call, made into a dict."""
    references = [f"{GROUP}:{name}" for name in features]
    return lambda keys: store.get_online_features(
        features=references, entity_rows=[{"user_id": key} for key in keys]
    ).to_dict()


def check_equal(contenders: dict, keys: list[int], features: list[str]) -> None:
    """What was read has to be the same for all before it is timed."""
    answers = {}
    for name, call in contenders.items():
        found = call(keys)
        if name.startswith("Feast"):
            found = [dict(zip(found, values)) for values in zip(*found.values())]
        elif name.endswith("statuses"):
            found = [row[1] for row in found]
        answers[name] = sorted(tuple(row[feature] for feature in features) for row in found)
    first, expected = next(iter(answers.items()))
    for name, answer in answers.items():
        if answer != expected or len(answer) != len(keys):
            raise MeasureError(f"{name} read other values than {first}")


def in_the_server(server, database: str, entities_in_all: int, seconds: float, clients: int) -> dict:
    """pgbench's figures for one entity with all features: the server and a client that does nothing."""
    script = (
        f"\\set key random(1, {entities_in_all})\n"
        f"SELECT * FROM lean.get_online_features('{GROUP}', jsonb_build_object('user_id', :key::bigint));\n"
    )
    bench = SimpleNamespace(server=server, database=database)
    with Pgbench(bench, script, {}, clients, ["-T", str(max(1, round(seconds)))]) as run:
        return run.finish()


def run(server, database: str, folder, redis, options, say) -> list[dict]:
    """Both requests, all contenders in turns."""
    results = []
    dice = random.Random(7)
    with server.connect(database) as connection:
        frame = frame_of(connection)
        view = [peers.view(GROUP, f"{GROUP}_v1", FEATURES, None)]
        stores = {"Feast + PostgreSQL": peers.store(server, database, folder / "postgres", view, None)}
        if redis:
            stores["Feast + Redis"] = peers.store(server, database, folder / "redis", view, redis)
            fill_redis(redis.client, frame)
        for name, store in stores.items():
            store.write_to_online_store(GROUP, frame)
            say(f"reads: {name} holds {len(frame):,} entities")
        connection.execute("VACUUM ANALYZE")
        for asked, width in REQUESTS:
            features = FEATURES[:width]
            ours = Ours(connection, features)
            contenders = {
                "leanstack": ours.json,
                "leanstack, with statuses": ours.json_with_statuses,
                "leanstack, typed rows": ours.rows,
                "the online table itself": ours.table,
            }
            contenders |= {name: from_feast(store, features) for name, store in stores.items()}
            if redis:
                contenders["Redis itself"] = from_redis(redis.client, features)
            requests = [dice.sample(range(1, len(frame) + 1), min(asked, len(frame))) for _ in range(1000)]
            check_equal(contenders, requests[0], features)
            found = in_turns(contenders, dict.fromkeys(contenders, requests), options.seconds, options.rounds)
            for name, figures in found.items():
                results.append({"request": f"{asked} x {width}", "engine": name, **figures})
                say(f"reads, {asked} entities x {width}: {name} p50 {figures['p50_ms']:.3f} ms")
        for clients in (1, 2):
            in_the_server(server, database, len(frame), 1, clients)
            figures = in_the_server(server, database, len(frame), options.seconds, clients)
            results.append(
                {"request": "1 x 50", "engine": f"leanstack, pgbench, {clients} client{'s' * (clients > 1)}", **figures}
            )
    return results
