"""Writing: from a relation, one row at a time, and bringing history online."""

import contextlib
import io
import json
from datetime import datetime, timedelta, timezone

import pandas as pd

import joins
import peers
from timing import calls, once

GROUP = "written"
FEATURES = joins.FEATURES


def bulk(connection, rows: int, say) -> list[dict]:
    """`write_features_from` into an empty group, against the INSERT that does nothing but fill the same table."""
    features = str([f"{name} float64" for name in FEATURES]).replace("'", '"')
    values = ", ".join(f"random() AS {name}" for name in FEATURES)
    connection.execute(
        f"CREATE TABLE incoming AS SELECT ceil(random() * {max(rows // 10, 1)})::bigint AS user_id,"
        f" timestamptz '{joins.START}' + random() * interval '100 days' AS event_timestamp, {values}"
        f" FROM generate_series(1, {rows}) AS n"
    )
    connection.execute("VACUUM ANALYZE incoming")
    results = []
    for what, online in (("history and online", True), ("history alone", False)):
        connection.execute(
            "SELECT lean.create_feature_group(%s, '{user_id bigint}', %s, online => %s)", [GROUP, features, online]
        )
        connection.execute("CHECKPOINT")
        seconds, _ = once(lambda: connection.execute("SELECT lean.write_features_from(%s, 'incoming')", [GROUP]))
        results.append({"what": f"from a relation, {what}", "engine": "leanstack", "rows": rows, "seconds": seconds})
        say(f"writes: {what}: {rows / seconds:,.0f} rows a second")
        if online:
            seconds, _ = once(lambda: connection.execute("SELECT lean.write_features_from(%s, 'incoming')", [GROUP]))
            results.append({"what": "the same rows again", "engine": "leanstack", "rows": rows, "seconds": seconds})
        connection.execute("SELECT lean.drop_feature_group(%s, drop_history => true)", [GROUP])
    columns = f"user_id, event_timestamp, {', '.join(FEATURES)}"
    connection.execute(
        "CREATE TABLE bare (LIKE incoming, created_timestamp timestamptz NOT NULL DEFAULT clock_timestamp(),"
        " UNIQUE (user_id, event_timestamp, created_timestamp))"
    )
    connection.execute("CHECKPOINT")
    seconds, _ = once(lambda: connection.execute(f"INSERT INTO bare ({columns}) SELECT {columns} FROM incoming"))
    results.append({"what": "from a relation, history alone", "engine": "INSERT", "rows": rows, "seconds": seconds})
    connection.execute("DROP TABLE bare, incoming")
    return results


def single(connection, stores: dict, seconds: float) -> list[dict]:
    """One row at a time: ours goes to history and online, Feast's online alone."""
    features = str([f"{name} float64" for name in FEATURES]).replace("'", '"')
    connection.execute("SELECT lean.create_feature_group(%s, '{user_id bigint}', %s)", [GROUP, features])
    now = datetime.now(timezone.utc)
    rows = [
        {"user_id": n % 1000 + 1, "event_timestamp": now + timedelta(milliseconds=n), "created_timestamp": now}
        | {name: n / 7 for name in FEATURES}
        for n in range(100_000)
    ]
    texts = [json.dumps(row, default=str) for row in rows]
    contenders = {
        "leanstack": (lambda text: connection.execute("SELECT lean.write_features(%s, %s)", [GROUP, text]), texts),
    }
    for name, store in stores.items():
        frames = [pd.DataFrame([row]) for row in rows[:1000]]
        contenders[name] = (lambda frame, store=store: store.write_to_online_store(GROUP, frame), frames)
    results = [
        {"what": "one row", "engine": name, **calls(call, arguments, seconds, len(arguments))}
        for name, (call, arguments) in contenders.items()
    ]
    connection.execute("SELECT lean.drop_feature_group(%s, drop_history => true)", [GROUP])
    return results


def bring_online(connection, stores: dict, say) -> list[dict]:
    """A day of history, in which every entity has one row, to the online store."""
    start = datetime.fromisoformat(joins.START.replace("+00", "+00:00")) + timedelta(days=joins.EVENTS - 1)
    end = start + timedelta(days=1)
    rows = connection.execute(
        f"SELECT count(*) FROM {joins.HISTORY} WHERE event_timestamp BETWEEN %s AND %s", [start, end]
    ).fetchone()[0]
    contenders = {
        "leanstack": lambda: connection.execute("SELECT * FROM lean.materialize(%s, %s, %s)", [joins.GROUP, start, end])
    }
    for name, store in stores.items():
        contenders[name] = lambda store=store: store.materialize(start, end, feature_views=[joins.GROUP])
    results = []
    for name, call in contenders.items():
        # Feast reports its progress on standard output, which is for the tables.
        with contextlib.redirect_stdout(io.StringIO()):
            seconds, _ = once(call)
        results.append({"what": "materialize a day", "engine": name, "rows": rows, "seconds": seconds})
        say(f"writes: {name} materialized {rows:,} rows in {seconds:.2f} s")
    return results


def run(server, database: str, folder, redis, options, say) -> list[dict]:
    """All three."""
    views = [peers.view(name, f"{name}_v1", FEATURES, None) for name in (joins.GROUP, GROUP)]
    with server.connect(database) as connection:
        stores = {"Feast + PostgreSQL": peers.store(server, database, folder / "writes", views, None)}
        if redis:
            stores["Feast + Redis"] = peers.store(server, database, folder / "writes-redis", views, redis)
        found = bulk(connection, options.written, say)
        found += single(connection, stores, options.seconds)
        found += bring_online(connection, stores, say)
    return found
