"""The database that the client tests share: PGHOST and PGUSER come from run.sh."""

import psycopg
import pytest


@pytest.fixture(scope="session", autouse=True)
def extension():
    """What a migration does: leanstack once, then the name that the client knows."""
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS leanstack")
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
