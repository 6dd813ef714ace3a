"""What leanstack's feature store is measured against: Feast over PostgreSQL and Redis, and Redis itself."""

import shutil
import subprocess
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import redis
from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.types import Float64, Int64
from feast.value_type import ValueType

from server import Server, ServerError

USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)


class Redis:
    """A process of our own on a Unix socket, which keeps everything in memory and nothing on disk."""

    def __init__(self):
        program = shutil.which("redis-server")
        if program is None:
            raise ServerError("redis-server is missing: apt-get install redis-server, or --no-redis")
        self.folder = Path(tempfile.mkdtemp(prefix="bench-redis-"))
        self.socket = self.folder / "socket"
        with open(self.folder / "log", "w") as log:
            self.child = subprocess.Popen(
                [program, "--port", "0", "--unixsocket", self.socket, "--save", "", "--appendonly", "no"],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        for _ in range(100):
            if self.socket.exists() or self.child.poll() is not None:
                break
            time.sleep(0.05)
        if not self.socket.exists():
            text = (self.folder / "log").read_text()
            self.stop()
            raise ServerError(f"redis-server did not start: {text}")
        self.client = redis.Redis(unix_socket_path=str(self.socket))

    def version(self) -> str:
        """As the server states it."""
        return self.client.info("server")["redis_version"]

    def stop(self) -> None:
        """Ends the process that was started, and removes its folder."""
        self.child.terminate()
        self.child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def view(name: str, table: str, features: list[str], ttl: timedelta | None) -> FeatureView:
    """A Feast view of one of our history tables; all features are numbers."""
    return FeatureView(
        name=name,
        entities=[USER],
        ttl=ttl or timedelta(0),
        source=PostgreSQLSource(
            name=name, table=table, timestamp_field="event_timestamp", created_timestamp_column="created_timestamp"
        ),
        schema=[Field(name="user_id", dtype=Int64), *(Field(name=name, dtype=Float64) for name in features)],
    )


def store(server: Server, database: str, folder: Path, views: list[FeatureView], online: Redis | None) -> FeatureStore:
    """A Feast store with our server for history and, unless a Redis is given, for online rows as well."""
    folder.mkdir(parents=True, exist_ok=True)
    # Feast wants a password and, unless told otherwise, TLS, which a Unix socket has not.
    postgres = {
        "type": "postgres", "host": server.socket, "port": server.port, "database": database, "user": server.user,
        "password": "unused", "db_schema": "public", "sslmode": "disable",
    }  # fmt: skip
    # A host and a port are asked for and not used: the client prefers the socket.
    in_redis = online and {"type": "redis", "connection_string": f"unused:0,unix_socket_path={online.socket}"}
    made = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store=postgres,
            online_store=in_redis or postgres,
            entity_key_serialization_version=3,
        )  # fmt: skip
    )
    made.apply([USER, *views])
    return made
