"""Feast as its users set it up: a file registry, and this server as offline and as online store."""

import os
from datetime import timedelta

from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.types import Bool, Float64, Int64, String
from feast.value_type import ValueType

# Our words for types and Feast's objects for the same.
TYPES = {"float64": Float64, "int64": Int64, "string": String, "bool": Bool}
# The entities of the tests, by their key's name.
ENTITIES = {
    "driver_id": Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64),
    "shift": Entity(name="shift", join_keys=["shift"], value_type=ValueType.INT64),
    "zone": Entity(name="zone", join_keys=["zone"], value_type=ValueType.STRING),
}
KEY_TYPES = {"driver_id": Int64, "shift": Int64, "zone": String}


def new_store(project, folder):
    """A store of its own project; `folder` takes the registry."""
    # Feast wants a password and, unless told otherwise, TLS, which a Unix socket has not.
    server = {
        "type": "postgres",
        "host": os.environ["PGHOST"],
        "port": int(os.environ["PGPORT"]),
        "database": os.environ["PGDATABASE"],
        "user": os.environ["PGUSER"],
        "password": "unused",
        "db_schema": "public",
        "sslmode": "disable",
    }
    return FeatureStore(
        config=RepoConfig(
            project=project,
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store=server,
            online_store=server,
            entity_key_serialization_version=3,
        )
    )


def feature_view(name, table, keys, features, ttl=None, created="created_timestamp"):
    """A view of `features` (name: type) over our history table, unlimited in time when `ttl` is None."""
    return FeatureView(
        name=name,
        entities=[ENTITIES[key] for key in keys],
        ttl=ttl or timedelta(0),
        source=PostgreSQLSource(
            name=name, table=table, timestamp_field="event_timestamp", created_timestamp_column=created
        ),
        schema=[Field(name=key, dtype=KEY_TYPES[key]) for key in keys]
        + [Field(name=feature, dtype=TYPES[word]) for feature, word in features.items()],
    )


def define(store, *views):
    """Makes the views, and all entities, known to Feast."""
    store.apply([*ENTITIES.values(), *views])
