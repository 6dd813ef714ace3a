"""Servers: a throwaway cluster under target/, or one that is already there, and the databases in them.

A throwaway cluster listens on a Unix socket only and is stopped by its own data directory.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg

# What an engine is called in SQL, which is all that differs between them.
EXTENSIONS = {"leanstack": "leanstack", "pgvector": "vector"}


class ServerError(Exception):
    """The server cannot be used; the text says why and what to do."""


class Server:
    """Where to connect, and the programs that belong to it."""

    def __init__(self, socket: str, port: int, user: str, bin_dir: Path):
        self.socket, self.port, self.user, self.bin_dir = socket, port, user, bin_dir

    def connect(self, database: str, settings: dict | None = None) -> psycopg.Connection:
        """An autocommit connection whose session starts with `settings`."""
        options = " ".join(f"-c {name}={value}" for name, value in (settings or {}).items())
        return psycopg.connect(
            host=self.socket, port=self.port, user=self.user, dbname=database, options=options, autocommit=True
        )

    def environment(self, settings: dict) -> dict:
        """The same settings for a child process that uses libpq."""
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        return {**os.environ, "PGOPTIONS": options, "PGCONNECT_TIMEOUT": "10"}

    def offers(self, engine: str) -> bool:
        """Whether the engine's extension can be created here."""
        with self.connect("postgres") as connection:
            row = connection.execute(
                "SELECT 1 FROM pg_available_extensions WHERE name = %s", [EXTENSIONS[engine]]
            ).fetchone()
            if row and engine == "pgvector":
                # The optional shim calls itself vector, too, and would be leanstack measured against itself.
                row = connection.execute(
                    "SELECT 1 FROM pg_available_extension_versions WHERE name = 'vector' AND requires IS NULL"
                ).fetchone()
        return row is not None

    def database(self, engine: str) -> str:
        """The engine's database with its extensions, made when missing."""
        name = database_name(engine)
        with self.connect("postgres") as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(f"CREATE DATABASE {name}")
        with self.connect(name) as connection:
            connection.execute(f"CREATE EXTENSION IF NOT EXISTS {EXTENSIONS[engine]}")
            if connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_prewarm'").fetchone():
                connection.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
        return name

    def drop_database(self, engine: str) -> None:
        """Removes the engine's database, for instance to get a changed version of its extension."""
        with self.connect("postgres") as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {database_name(engine)}")

    def version(self) -> str:
        """The server's version as it states it."""
        with self.connect("postgres") as connection:
            return connection.execute("SHOW server_version").fetchone()[0]

    def stop(self) -> None:
        """Nothing: a server that was there before stays as it is."""


class Throwaway(Server):
    """A cluster of our own. PostgreSQL refuses to run as root, so root hands it to user postgres."""

    def __init__(self, bin_dir: Path, target: Path, shared_buffers: str):
        self.as_user = "postgres" if os.geteuid() == 0 else None
        user = self.as_user or pwd.getpwuid(os.geteuid()).pw_name
        super().__init__(tempfile.mkdtemp(prefix="bench-"), 5432, user, bin_dir)
        self.running = False
        self.data = target.resolve() / "bench" / "cluster"
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True)
        if self.as_user:
            for folder in (self.data, Path(self.socket)):
                shutil.chown(folder, self.as_user, self.as_user)
            if subprocess.run(["runuser", "-u", self.as_user, "--", "test", "-w", self.data]).returncode:
                # A checkout under a folder that postgres may not search, /root for one.
                self.data.rmdir()
                self.data = Path(self.socket) / "data"
        try:
            self.program("initdb", "-D", str(self.data), "-U", user, "-A", "trust", "-E", "UTF8", "--locale=C")
            configuration = {
                "listen_addresses": "''",
                "unix_socket_directories": f"'{self.socket}'",
                "shared_buffers": f"'{shared_buffers}'",
                "max_wal_size": "'8GB'",
                "autovacuum": "off",
            }
            with open(self.data / "postgresql.conf", "a") as file:
                file.writelines(f"{name} = {value}\n" for name, value in configuration.items())
            self.program("pg_ctl", "-D", str(self.data), "-l", str(self.data / "log"), "-w", "start")
            self.running = True
        except ServerError:
            self.stop()
            raise

    def program(self, name: str, *arguments: str) -> None:
        """Runs one of the server's programs as the user who owns the cluster."""
        command = [str(self.bin_dir / name), *arguments]
        if self.as_user:
            command = ["runuser", "-u", self.as_user, "--", *command]
        # Output goes to a file: the server inherits it, and a pipe would stay open for as long as it runs.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(command, cwd=self.socket, stdout=output, stderr=subprocess.STDOUT)
            if done.returncode:
                output.seek(0)
                raise ServerError(f"{name} failed with code {done.returncode}: {output.read().strip()}")

    def stop(self) -> None:
        if self.running:
            self.program("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "stop")
            self.running = False
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.rmtree(self.socket, ignore_errors=True)


def database_name(engine: str) -> str:
    """Each engine has a database of its own, since access-method names clash."""
    return f"bench_{engine}"


def bin_dir(pg_config: str) -> Path:
    """Folder of the server's programs, as pg_config names it."""
    try:
        found = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServerError(f'"{pg_config}" cannot be run: {error}') from error
    if not (Path(found) / "pgbench").exists():
        raise ServerError(f'pgbench is missing in "{found}"')
    return Path(found)


def parse_address(text: str) -> tuple[str | None, str, int]:
    """Splits `[ENGINE=]DIR[:PORT]`; the engine is None when the address is meant for all."""
    engine, _, address = text.rpartition("=")
    folder, _, port = address.partition(":")
    if engine and engine not in EXTENSIONS:
        raise ServerError(f'unknown engine "{engine}" in address "{text}"')
    if not port.isdigit() and port:
        raise ServerError(f'port "{port}" in address "{text}" is not a number')
    return engine or None, folder, int(port or 5432)
