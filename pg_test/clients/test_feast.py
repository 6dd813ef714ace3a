"""Feast from PyPI, unmodified, reads our history tables, and its point-in-time join equals ours row for row.

What is different is Feast's mistake, and each mistake has a test here that shows both answers: when one fails after an
update of Feast, it may have been mended there.
"""

import gzip
import json
import random
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

import feast_store
import numpy
import pandas
import psycopg
import pytest
from feast.driver_test_data import create_driver_hourly_stats_df
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
METHODS = ("auto", "lateral", "merge")
RECORDED = Path(__file__).parents[3] / "shared" / "data" / "feast_driver_stats.csv.gz"


@pytest.fixture
def db():
    """A connection; the feature groups and views that a test makes go with its transaction's tables at the end."""
    with psycopg.connect(autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
        yield connection
        for kind, argument in (("view", ""), ("group", ", drop_history => NOT adopted")):
            connection.execute(
                f"SELECT lean.drop_feature_{kind}(format('%s@%s', name, version){argument}) FROM lean.feature_{kind}"
            )
        connection.execute("DROP TABLE IF EXISTS asked, adopted_history")


@pytest.fixture
def store(tmp_path, request):
    """A Feast store of this test alone."""
    made = feast_store.new_store("p" + str(abs(hash(request.node.name)) % 10**8), tmp_path)
    yield made
    made.teardown()


def make_group(db, name, keys, features, ttl=None, history=None):
    """A feature group of ours, and the Feast view of its history table under the same name."""
    db.execute(
        "SELECT lean.create_feature_group(%s, %s, %s, ttl => %s, history => %s)",
        [
            name,
            [f"{key} {'text' if key == 'zone' else 'bigint'}" for key in keys],
            json.dumps([f"{feature} {word}" for feature, word in features.items()]),
            ttl,
            history,
        ],
    )
    return feast_store.feature_view(name, history or f"{name}_v1", keys, features, ttl)


def ours(db, source, entities="asked", **options):
    """Our point-in-time join: one dict per row."""
    extra = "".join(f", {name} => {value}" for name, value in options.items())
    statement = db.execute(
        f"SELECT lean.historical_features_sql(%s, %s{extra}) AS statement", [source, entities]
    ).fetchone()["statement"]
    return db.execute(statement).fetchall()


def theirs(store, features, entities="SELECT * FROM asked", **options):
    """Feast's point-in-time join: one dict per row."""
    return store.get_historical_features(entity_df=entities, features=features, **options).to_arrow().to_pylist()


def ask(db, *rows, columns="driver_id bigint"):
    """The entity rows: the table `asked` with the given keys and, last, the time."""
    db.execute("DROP TABLE IF EXISTS asked")
    db.execute(
        f"CREATE TABLE asked (row_number bigint GENERATED ALWAYS AS IDENTITY, {columns}, event_timestamp timestamptz)"
    )
    marks = ", ".join(["%s"] * len(rows[0]))
    with db.cursor() as cursor:
        cursor.executemany(f"INSERT INTO asked OVERRIDING USER VALUE VALUES (DEFAULT, {marks})", rows)


def write(db, group, *rows):
    """Writes rows of our group; times are made text."""
    return db.execute("SELECT lean.write_features(%s, %s) AS n", [group, json.dumps(rows, default=str)]).fetchone()["n"]


def by_row(rows, *columns):
    """What is compared: the chosen columns in the order of the entity rows."""
    return [
        tuple(row[column] for column in ("row_number", *columns)) for row in sorted(rows, key=lambda r: r["row_number"])
    ]


GROUPS = {
    # name: (keys, features, time to live)
    "trips": (["driver_id", "zone"], {"fare": "float64", "riders": "int64"}, 40 * MINUTE),
    "drivers": (["driver_id"], {"rating": "float64", "level": "string"}, None),
    "zones": (["zone"], {"busy": "bool", "demand": "float64"}, 10 * MINUTE),
}
ZONES = ["north", "south", "harbour"]


def random_value(dice, word):
    """A value of a type, or NULL."""
    if dice.random() < 0.2:
        return None
    return {
        "float64": lambda: dice.uniform(-1, 1),
        "int64": lambda: dice.randint(-(2**40), 2**40),
        "string": lambda: dice.choice(["", "new", "o'ld", "grün"]),
        "bool": lambda: dice.random() < 0.5,
    }[word]()


def random_history(dice, keys, features):
    """Rows on a coarse grid of times, so that event times tie, and creation times decide; some rows come late."""
    found = {}
    for _ in range(250):
        row = {"driver_id": dice.randint(1, 5), "zone": dice.choice(ZONES)}
        row = {key: row[key] for key in keys}
        event = START + dice.randint(0, 40) * 5 * MINUTE
        created = event + dice.choice([0, 1, 5, 60]) * MINUTE
        key = (*row.values(), event, created)
        row |= {"event_timestamp": event, "created_timestamp": created}
        found[key] = row | {name: random_value(dice, word) for name, word in features.items()}
    return list(found.values())


@pytest.mark.parametrize("seed", range(6))
def test_equals_ours_on_random_data(db, store, seed):
    """Three groups in one view: ties, edges of the time to live, NULL features and keys, rows asked for twice."""
    dice = random.Random(seed)
    views = []
    for name, (keys, features, ttl) in GROUPS.items():
        views.append(make_group(db, name, keys, features, ttl))
        write(db, name, *random_history(dice, keys, features))
    feast_store.define(store, *views)
    references = [f"{name}:{feature}" for name, (_, features, _) in GROUPS.items() for feature in features]
    db.execute("SELECT lean.create_feature_view('all_of_it', %s)", [references])

    rows = []
    for _ in range(250):
        # Driver 6 has no history, nor has a key that is NULL.
        driver, zone = dice.choice([1, 2, 3, 4, 5, 6, None]), dice.choice([*ZONES, None])
        rows.append((driver, zone, START + dice.randint(-2, 50) * 5 * MINUTE))
    rows += dice.choices(rows, k=50)
    ask(db, *rows, columns="driver_id bigint, zone text")

    columns = [reference.split(":")[1] for reference in references]
    expected = by_row(theirs(store, references), *columns)
    assert len(expected) == len(rows)
    assert any(value is not None for row in expected for value in row[1:])
    for method in METHODS:
        assert by_row(ours(db, "all_of_it", method=f"'{method}'"), *columns) == expected, method
    named = ", ".join(f"{name} {kind}" for name, kind in ANSWER)
    returned = db.execute(f"SELECT * FROM lean.get_historical_features('all_of_it', 'asked') AS ({named})").fetchall()
    assert by_row(returned, *columns) == expected

    # Nor rows that were not yet recorded at the moment that is asked about.
    expected_then = by_row(theirs(store, references, filter_by_created_timestamp=True), *columns)
    assert expected_then != expected
    for method in ("auto", "lateral"):
        assert by_row(ours(db, "all_of_it", as_known_then="true", method=f"'{method}'"), *columns) == expected_then, (
            method
        )


# What the view of the random test returns.
ANSWER = [
    ("row_number", "bigint"),
    ("driver_id", "bigint"),
    ("zone", "text"),
    ("event_timestamp", "timestamptz"),
    ("fare", "double precision"),
    ("riders", "bigint"),
    ("rating", "double precision"),
    ("level", "text"),
    ("busy", "boolean"),
    ("demand", "double precision"),
]


def test_both_edges_of_the_time_to_live_are_inside(db, store):
    """A row counts from its own time until, and with, the last moment of its time to live."""
    view = make_group(db, "drivers", ["driver_id"], {"rating": "float64"}, 10 * MINUTE)
    feast_store.define(store, view)
    write(db, "drivers", {"driver_id": 1, "event_timestamp": START, "rating": 4.5})
    tick = timedelta(microseconds=1)
    ask(db, *[(1, START + offset) for offset in (-tick, 0 * tick, 10 * MINUTE, 10 * MINUTE + tick)])
    expected = [(1, None), (2, 4.5), (3, 4.5), (4, None)]
    assert by_row(theirs(store, ["drivers:rating"]), "rating") == expected
    for method in METHODS:
        assert by_row(ours(db, "drivers", method=f"'{method}'"), "rating") == expected


def test_rows_asked_for_twice_come_twice(db, store):
    """Without a number to tell them apart, too."""
    view = make_group(db, "drivers", ["driver_id"], {"rating": "float64"})
    feast_store.define(store, view)
    write(db, "drivers", {"driver_id": 1, "event_timestamp": START, "rating": 4.5})
    ask(db, (1, START), (1, START), (2, START), (2, START), (2, START))
    rows = "SELECT driver_id, event_timestamp FROM asked"
    expected = {(1, 4.5): 2, (2, None): 3}
    assert Counter((row["driver_id"], row["rating"]) for row in theirs(store, ["drivers:rating"], rows)) == expected
    for method in METHODS:
        answer = ours(db, "drivers", rows, method=f"'{method}'")
        assert Counter((row["driver_id"], row["rating"]) for row in answer) == expected


def demonstration_data(source):
    """Feast's hourly statistics of drivers: made by the package, or as its documentation ships them."""
    if source == "recorded":
        if not RECORDED.exists():
            pytest.skip("the recorded file is not beside the checkout")
        with gzip.open(RECORDED) as file:
            frame = pandas.read_csv(file, parse_dates=["event_timestamp", "created"])
        return frame.assign(created=frame.created.dt.tz_localize("UTC"))
    numpy.random.seed(7)
    end = datetime(2026, 3, 20)
    frame = create_driver_hourly_stats_df([1001, 1002, 1003, 1004, 1005], end - timedelta(days=15), end)
    return frame.assign(created=pandas.to_datetime(frame.created, utc=True))


@pytest.mark.parametrize("source", ["made", "recorded"])
def test_equals_ours_on_feasts_own_demonstration(db, store, source):
    """The table is adopted as it is, with Feast's names; the entity rows are a DataFrame that Feast uploads."""
    frame = demonstration_data(source)
    features = {"conv_rate": "float64", "acc_rate": "float64", "avg_daily_trips": "int64"}
    db.execute(
        "CREATE TABLE adopted_history (event_timestamp timestamptz NOT NULL, driver_id bigint NOT NULL,"
        " conv_rate float8, acc_rate float8, avg_daily_trips bigint, created timestamptz)"
    )
    with db.cursor() as cursor, cursor.copy("COPY adopted_history FROM STDIN") as copy:
        names = ["event_timestamp", "driver_id", *features, "created"]
        for row in frame[names].itertuples(index=False):
            copy.write_row([int(v) if n in ("driver_id", "avg_daily_trips") else v for n, v in zip(names, row)])
    db.execute(
        "SELECT lean.create_feature_group('driver_hourly_stats', '{driver_id bigint}', %s, ttl => '2 hours',"
        " created_time => 'created', history => 'adopted_history', online => false)",
        [json.dumps([f"{name} {word}" for name, word in features.items()])],
    )
    view = feast_store.feature_view(
        "driver_hourly_stats", "adopted_history", ["driver_id"], features, timedelta(hours=2), "created"
    )
    feast_store.define(store, view)

    dice = random.Random(11)
    hours = sorted(frame.event_timestamp)
    asked = [
        (
            dice.choice([1001, 1002, 1003, 1004, 1005, 1006]),
            dice.choice(hours) + dice.choice([0, 0, 1, 120, 121]) * MINUTE,
        )
        for _ in range(400)
    ]
    # The package makes one row twice, and rows of the same moment for one driver: asked for in any case.
    asked += list(
        frame[frame.duplicated(["driver_id", "event_timestamp"])][["driver_id", "event_timestamp"]].itertuples(
            index=False
        )
    )
    ask(db, *[(int(driver), time.to_pydatetime()) for driver, time in asked])
    entities = pandas.DataFrame(
        {
            "row_number": range(1, len(asked) + 1),
            "driver_id": [int(d) for d, _ in asked],
            "event_timestamp": pandas.to_datetime([t for _, t in asked], utc=True),
        }
    )
    references = [f"driver_hourly_stats:{name}" for name in features]
    found = store.get_historical_features(entity_df=entities, features=references).to_arrow().to_pylist()
    # Rows that stand in the history twice are returned twice, which a test below is about.
    expected = sorted(set(by_row(found, *features)))
    assert len(expected) == len(asked)
    for method in METHODS:
        assert by_row(ours(db, "driver_hourly_stats", method=f"'{method}'"), *features) == expected, method


# Where Feast is wrong


def test_feast_confuses_entities_whose_keys_read_alike(db, store):
    """Its name for an entity row is keys and time in one text without separators: (1, 23) and (12, 3) are one to it."""
    view = make_group(db, "shifts", ["driver_id", "shift"], {"hours": "float64"})
    feast_store.define(store, view)
    write(
        db,
        "shifts",
        {"driver_id": 1, "shift": 23, "event_timestamp": START, "hours": 0.1},
        {"driver_id": 12, "shift": 3, "event_timestamp": START + MINUTE, "hours": 0.2},
    )
    ask(db, (1, 23, START + 5 * MINUTE), (12, 3, START + 5 * MINUTE), columns="driver_id bigint, shift bigint")
    for method in METHODS:
        assert by_row(ours(db, "shifts", method=f"'{method}'"), "hours") == [(1, 0.1), (2, 0.2)]
    # The newest row of either goes to both.
    assert by_row(theirs(store, ["shifts:hours"]), "hours") == [(1, 0.2), (2, 0.2)]
    # Each asked for alone gets its own.
    alone = theirs(store, ["shifts:hours"], "SELECT * FROM asked WHERE driver_id = 1")
    assert by_row(alone, "hours") == [(1, 0.1)]


def test_feast_returns_a_row_for_each_repetition_in_the_history(db, store):
    """A row that a loader wrote twice makes two training rows of one; our own history tables cannot hold it twice."""
    db.execute(
        "CREATE TABLE adopted_history AS SELECT 1::bigint AS driver_id, %s AS event_timestamp, %s AS created_timestamp,"
        " 4.5::float8 AS rating FROM generate_series(1, 2)",
        [START, START],
    )
    view = make_group(db, "drivers", ["driver_id"], {"rating": "float64"}, history="adopted_history")
    feast_store.define(store, view)
    ask(db, (1, START + MINUTE))
    for method in METHODS:
        assert by_row(ours(db, "drivers", method=f"'{method}'"), "rating") == [(1, 4.5)]
    assert by_row(theirs(store, ["drivers:rating"]), "rating") == [(1, 4.5), (1, 4.5)]


def test_feast_loses_rows_without_a_creation_time(db, store):
    """NULL is not equal to NULL in its join of the newest creation time with the rows."""
    db.execute(
        "CREATE TABLE adopted_history AS SELECT 1::bigint AS driver_id, %s AS event_timestamp,"
        " NULL::timestamptz AS created_timestamp, 4.5::float8 AS rating",
        [START],
    )
    view = make_group(db, "drivers", ["driver_id"], {"rating": "float64"}, history="adopted_history")
    feast_store.define(store, view)
    ask(db, (1, START + MINUTE))
    for method in METHODS:
        assert by_row(ours(db, "drivers", method=f"'{method}'"), "rating") == [(1, 4.5)]
    assert by_row(theirs(store, ["drivers:rating"]), "rating") == [(1, None)]


def test_feast_cuts_the_time_to_live_to_whole_seconds(db, store):
    """So half a second is none, which is unlimited."""
    view = make_group(db, "drivers", ["driver_id"], {"rating": "float64"}, timedelta(seconds=0.5))
    feast_store.define(store, view)
    write(db, "drivers", {"driver_id": 1, "event_timestamp": START, "rating": 4.5})
    ask(db, (1, START + timedelta(seconds=0.5)), (1, START + MINUTE))
    for method in METHODS:
        assert by_row(ours(db, "drivers", method=f"'{method}'"), "rating") == [(1, 4.5), (2, None)]
    assert by_row(theirs(store, ["drivers:rating"]), "rating") == [(1, 4.5), (2, 4.5)]


def push(store, event_time, rating):
    """One row to Feast's online store."""
    row = {"driver_id": [1], "event_timestamp": [event_time], "created_timestamp": [event_time], "rating": [rating]}
    store.write_to_online_store("drivers", pandas.DataFrame(row).astype({"rating": "float64"}))


def online(store):
    """Value and status of the feature of driver 1 in Feast's online store."""
    answer = store.get_online_features(features=["drivers:rating"], entity_rows=[{"driver_id": 1}])
    return answer.to_dict()["rating"][0], FieldStatus.Name(answer.proto.results[-1].statuses[0])


def our_online(db):
    """The same of ours."""
    # The names of what the function returns are not part of this: the second is values, the third statuses.
    _, features, status, *_ = (
        db.execute("SELECT * FROM lean.get_online_features('drivers', '{\"driver_id\": 1}')").fetchone().values()
    )
    return features["rating"], status["rating"]


def test_feast_lets_an_older_row_replace_a_newer_one(db, store):
    """Its online write does not look at times; neither does a materialization of an older span after a newer one."""
    view = make_group(db, "drivers", ["driver_id"], {"rating": "float64"})
    feast_store.define(store, view)
    for minutes, rating in ((5, 5.0), (1, 1.0)):
        write(db, "drivers", {"driver_id": 1, "event_timestamp": START + minutes * MINUTE, "rating": rating})
        push(store, START + minutes * MINUTE, rating)
    assert our_online(db) == (5.0, "present")
    assert online(store) == (1.0, "PRESENT")
    store.materialize(START, START + 10 * MINUTE)
    assert online(store) == (5.0, "PRESENT")
    store.materialize(START, START + 2 * MINUTE)
    db.execute("SELECT lean.materialize('drivers', %s, %s)", [START, START + 2 * MINUTE])
    assert our_online(db) == (5.0, "present")
    assert online(store) == (1.0, "PRESENT")


def test_feast_serves_what_is_past_its_time_to_live(db, store):
    """From Python the time to live is not looked at online: ten days old is as good as new."""
    view = make_group(db, "drivers", ["driver_id"], {"rating": "float64"}, timedelta(hours=1))
    feast_store.define(store, view)
    old = datetime.now(timezone.utc) - timedelta(days=10)
    write(db, "drivers", {"driver_id": 1, "event_timestamp": old, "rating": 4.5})
    push(store, old, 4.5)
    assert our_online(db) == (None, "outside_ttl")
    assert online(store) == (4.5, "PRESENT")


def test_feast_keeps_the_old_value_when_a_null_is_written(db, store):
    """It does not write a row without any value; and where a NULL gets through, it says that it is there."""
    view = make_group(db, "drivers", ["driver_id"], {"rating": "float64"})
    feast_store.define(store, view)
    for minutes, rating in ((0, 4.5), (1, None)):
        write(db, "drivers", {"driver_id": 1, "event_timestamp": START + minutes * MINUTE, "rating": rating})
        push(store, START + minutes * MINUTE, rating)
    assert our_online(db) == (None, "null")
    assert online(store) == (4.5, "PRESENT")
    store.materialize(START, START + 2 * MINUTE)
    assert online(store) == (None, "PRESENT")
