"""The point-in-time join: ours against the SQL that Feast generates, over the same table with the same index."""

import time
from datetime import timedelta

import numpy as np
import pandas as pd
import psycopg

import peers
from measure import MeasureError, cpu_wait_seconds, cpu_wait_share
from timing import once

GROUP = "activity"
HISTORY = f"{GROUP}_v1"
FEATURES = [f"f{n:02}" for n in range(1, 11)]
# Events of one entity, one a day from START on, each at some time of its day.
EVENTS = 100
START = "2026-01-01 00:00+00"
# Times to live and the group, or Feast's view, that has it.
TTLS = {"none": None, "7 days": timedelta(days=7), "1 day": timedelta(days=1)}
METHODS = ["auto", "lateral", "merge"]


def group_of(ttl: str) -> str:
    """The name of the group with a time to live."""
    return GROUP if TTLS[ttl] is None else f"{GROUP}_{ttl.replace(' ', '_')}"


def load(connection, rows: int, asked: int) -> None:
    """The history, whose rows come in the order of their time, as they would, and the entity rows."""
    features = str([f"{name} float64" for name in FEATURES]).replace("'", '"')
    connection.execute("SELECT lean.create_feature_group(%s, '{user_id bigint}', %s)", [GROUP, features])
    columns = ", ".join(FEATURES)
    values = ", ".join(["random()"] * len(FEATURES))
    connection.execute("SELECT setseed(0.5)")
    connection.execute(
        f"INSERT INTO {HISTORY} (user_id, event_timestamp, created_timestamp, {columns})"
        f" SELECT u, t, t + interval '5 minutes', {values} FROM ("
        f"  SELECT u, timestamptz '{START}' + e * interval '1 day' + random() * interval '1 day' AS t"
        f"  FROM generate_series(0, {EVENTS - 1}) AS e, generate_series(1, {rows // EVENTS}) AS u) AS x"
    )
    connection.execute(f"VACUUM ANALYZE {HISTORY}")
    for ttl, span in TTLS.items():
        if span is not None:
            connection.execute(
                "SELECT lean.create_feature_group(%s, '{user_id bigint}', %s, ttl => %s, history => %s, online => false)",
                [group_of(ttl), features, span, HISTORY],
            )
    connection.execute(
        f"CREATE TABLE entity_rows AS SELECT ceil(random() * {rows // EVENTS})::bigint AS user_id,"
        f" timestamptz '{START}' + random() * interval '{EVENTS} days' AS event_timestamp, n AS row_number"
        f" FROM generate_series(1, {asked}) AS n"
    )


def execution_seconds(connection, statement: str) -> float:
    """Time of a statement in the server alone, without sending its rows."""
    plan = connection.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}").fetchone()[0][0]
    return (plan["Execution Time"] + plan["Planning Time"]) / 1e3


class Limited:
    """Sessions of the database get a time limit while this is open: Feast takes its own connections."""

    def __init__(self, connection, limit: float):
        self.connection, self.limit = connection, limit
        self.database = connection.info.dbname

    def __enter__(self):
        self.connection.execute(f"ALTER DATABASE {self.database} SET statement_timeout = '{int(self.limit * 1000)}'")

    def __exit__(self, *_):
        self.connection.execute(f"ALTER DATABASE {self.database} RESET statement_timeout")


def limited(call, connection, limit: float) -> dict:
    """Seconds of a call, or the limit that it ran into."""
    started, waited = time.monotonic(), cpu_wait_seconds()
    with Limited(connection, limit):
        try:
            seconds, result = once(call)
        except psycopg.errors.QueryCanceled:
            return {"seconds": limit, "over": True, "result": None}
    return {"seconds": seconds, "over": False, "result": result, "cpu_wait": cpu_wait_share(waited, started)}


def feast_join(connection, feast, ttl: str, frame: pd.DataFrame, limit: float) -> dict:
    """Feast's whole call from a DataFrame to one; then its statement alone, as it is and with an analyzed entity table."""
    references = [f"{group_of(ttl)}:{name}" for name in FEATURES]
    call = limited(
        lambda: feast.get_historical_features(entity_df=frame, features=references).to_df(), connection, limit
    )
    found = {"call": call, "result": call.pop("result")}
    job = feast.get_historical_features(entity_df=frame, features=references)
    # What to_df() does first: it uploads the entity rows and generates the statement.
    with job._query_generator() as statement:
        table = statement.split("feast_entity_df_")[1].split()[0]
        for name, preparation in (("query", "SELECT 1"), ("query analyzed", f"ANALYZE feast_entity_df_{table}")):
            connection.execute(preparation)
            connection.execute(f"SET statement_timeout = '{int(limit * 1000)}'")
            try:
                found[name] = {"seconds": execution_seconds(connection, statement), "over": False}
            except psycopg.errors.QueryCanceled:
                found[name] = {"seconds": limit, "over": True}
            connection.execute("RESET statement_timeout")
    return found


def our_join(connection, ttl: str, method: str, frame: pd.DataFrame) -> dict:
    """The same of ours: from a DataFrame to one through a temporary table, then writing and running the statement alone."""

    def upload():
        connection.execute("DROP TABLE IF EXISTS pg_temp.asked")
        connection.execute("CREATE TEMP TABLE asked (user_id bigint, event_timestamp timestamptz, row_number bigint)")
        with connection.cursor() as cursor, cursor.copy("COPY asked FROM STDIN") as copy:
            for row in frame.itertuples(index=False):
                copy.write_row(row)

    def whole() -> pd.DataFrame:
        upload()
        returned = ", ".join(f"{name} double precision" for name in FEATURES)
        cursor = connection.cursor(binary=True).execute(
            "SELECT * FROM lean.get_historical_features(%s, 'asked', method => %s) AS"
            f" (user_id bigint, event_timestamp timestamptz, row_number bigint, {returned})",
            [group_of(ttl), method],
        )
        return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])

    waited, started = cpu_wait_seconds(), time.monotonic()
    seconds, result = once(whole)
    found = {"call": {"seconds": seconds, "over": False, "cpu_wait": cpu_wait_share(waited, started)}, "result": result}
    upload()
    for name, preparation in (("query", "SELECT 1"), ("query analyzed", "ANALYZE asked")):
        connection.execute(preparation)
        written, row = once(
            lambda: connection.execute(
                "SELECT lean.historical_features_sql(%s, 'asked', method => %s)", [group_of(ttl), method]
            ).fetchone()
        )
        found[name] = {"seconds": written + execution_seconds(connection, row[0]), "over": False}
    return found


def check_equal(ours: pd.DataFrame, theirs: pd.DataFrame, what: str) -> None:
    """An answer that differs would make its time mean nothing."""
    one, other = (
        frame.sort_values("row_number")[["row_number", "user_id", *FEATURES]].to_numpy(dtype=float)
        for frame in (ours, theirs)
    )
    if one.shape != other.shape or not np.array_equal(one, other, equal_nan=True):
        raise MeasureError(f"{what}: the answers of leanstack and Feast differ")


def run(server, database: str, folder, options, say) -> list[dict]:
    """All times to live, the engines in turns."""
    results = []
    with server.connect(database) as connection:
        rows = connection.execute("SELECT * FROM entity_rows").fetchall()
        frame = pd.DataFrame(rows, columns=["user_id", "event_timestamp", "row_number"])
        views = [peers.view(group_of(ttl), HISTORY, FEATURES, span) for ttl, span in TTLS.items()]
        feast = peers.store(server, database, folder / "join", views, None)
        # Both sides find the table in memory.
        if connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_prewarm'").fetchone():
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
            connection.execute("SELECT pg_prewarm(%s)", [HISTORY])
            connection.execute("SELECT pg_prewarm(indexrelid) FROM pg_index WHERE indrelid = %s::regclass", [HISTORY])
        for ttl in TTLS:
            answers = {}
            for engine in [*METHODS, "feast"]:
                if engine == "feast":
                    found = feast_join(connection, feast, ttl, frame, options.limit)
                else:
                    found = our_join(connection, ttl, engine, frame)
                answers[engine] = found.pop("result")
                results.append({"ttl": ttl, "engine": engine, "rows": options.rows, "asked": len(frame), **found})
                say(f"join, time to live {ttl}: {engine} {found['query']['seconds']:.2f} s in the server")
            for method in METHODS:
                if answers["feast"] is not None:
                    check_equal(answers[method], answers["feast"], f"time to live {ttl}, {method}")
    return results
