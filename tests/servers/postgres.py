"""A real PostgreSQL for tests, with Dify's tables in it.

What comes in is a directory; what goes out is a running server and the addresses of databases on it. The tables are
made from `tests/recorded/database/columns.csv` and `indexes.csv`, as a running Dify has them. Listens on a socket in
its directory and on loopback, there with a password; keeps nothing.
"""

from __future__ import annotations

import csv
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.servers.ports import free_port

RECORDED = Path(__file__).parents[1] / "recorded" / "database"
PASSWORD = "correct-horse-battery"

_MORE_TABLES = (
    "CREATE TABLE app_dataset_joins (id uuid DEFAULT gen_random_uuid() NOT NULL, app_id uuid NOT NULL,"
    " dataset_id uuid NOT NULL, created_at timestamp DEFAULT CURRENT_TIMESTAMP NOT NULL)",
    "CREATE TABLE tenant_account_joins (id uuid DEFAULT gen_random_uuid() NOT NULL, tenant_id uuid NOT NULL,"
    " account_id uuid NOT NULL, role varchar(16) DEFAULT 'normal' NOT NULL)",
)
"""Tables of Dify's that the recorded list of columns leaves out, as its source makes them."""

_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "40"}
_DEFAULTS = {"uuid_generate_v4()": "gen_random_uuid()", "uuidv7()": "gen_random_uuid()"}


class Postgres:
    """One server: `run()` and `stop()` it, ask it for databases."""

    def __init__(self, binaries: Path, directory: Path, port: int) -> None:
        self.binaries, self.directory, self.port = binaries, directory, port
        self.data = directory / "data"
        self._numbers = itertools.count(1)

    def create(self) -> None:
        """Make the cluster: trust on the socket, passwords on loopback."""
        secret = self.directory / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        accounts = ("--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}")
        self._command("initdb", f"--pgdata={self.data}", "--no-sync", "--encoding=UTF8", "--locale=C", *accounts)

    def run(self) -> None:
        """Start and wait until it takes connections."""
        settings = _FAST | {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.directory,
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._command("pg_ctl", "start", "-w", f"--pgdata={self.data}", f"--log={self.directory}/log", "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """End it; "immediate" is what a power cut does."""
        if (self.data / "postmaster.pid").exists():
            self._command("pg_ctl", "stop", "-w", f"--pgdata={self.data}", f"--mode={mode}")

    def dsn(self, database: str) -> str:
        """The address over the socket, as the owner."""
        return f"postgresql://postgres@/{database}?host={self.directory}&port={self.port}"

    def dsn_over_tcp(self, database: str, user: str = "postgres", password: str = PASSWORD) -> str:
        """The address over loopback, with a password."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def database(self, template: str = "template1") -> str:
        """A new database made from the template; its name."""
        name = f"made_{next(self._numbers)}"
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop(self, name: str) -> None:
        """Away with a database, and with whoever is connected to it."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, database: str, *statements: str) -> None:
        """Run statements as the owner, committed together."""
        with psycopg.connect(self.dsn(database)) as connection:
            for statement in statements:
                connection.execute(statement)

    def end_connections(self, database: str) -> None:
        """End every other connection to the database, as an administrator would."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])

    def _command(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), *arguments]
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        log = (self.directory / "command.log").open("ab")
        with log:
            done = subprocess.run(command, stdout=log, stderr=log, cwd=self.directory, check=False)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {(self.directory / 'command.log').read_text()[-2000:]}")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A running server in a directory of its own; both are gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="dify-metric-postgres-"))
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(directory, account.pw_uid, account.pw_gid)
    server = Postgres(_binaries(), directory, free_port())
    try:
        server.create()
        server.run()
        yield server
    finally:
        _kill(server)
        shutil.rmtree(directory, ignore_errors=True)


def create_tables(server: Postgres, database: str, *, indexes: bool = True) -> None:
    """Make Dify's tables as its version 1.11.1 has them."""
    statements = [f'CREATE TABLE "{table}" ({", ".join(columns)})' for table, columns in _tables().items()]
    statements += _MORE_TABLES
    server.execute(database, *statements)
    if indexes:
        create_indexes(server, database)


def create_indexes(server: Postgres, database: str) -> None:
    """Make Dify's indexes; after its tables were filled that is quicker."""
    server.execute(database, "SET maintenance_work_mem = '1GB'", *(row["indexdef"] for row in _csv("indexes.csv")))


def load_sample(server: Postgres, database: str) -> None:
    """Fill Dify's tables with the recorded rows."""
    with psycopg.connect(server.dsn(database)) as connection:
        for path in sorted((RECORDED / "sample").glob("*.csv")):
            rows = path.read_bytes()
            header = rows.split(b"\n", 1)[0].decode()
            columns = ", ".join(f'"{column}"' for column in header.split(","))
            statement = f'COPY "{path.stem}" ({columns}) FROM STDIN WITH (FORMAT csv, HEADER)'
            with connection.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(rows)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A server for the whole session. Skips when PostgreSQL is not installed."""
    if missing := why_missing():
        pytest.skip(missing)
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def dify_template(postgres_server: Postgres) -> str:
    """A database with Dify's empty tables, to make others from."""
    name = postgres_server.database()
    create_tables(postgres_server, name)
    return name


@pytest.fixture(scope="session")
def sample_template(postgres_server: Postgres, dify_template: str) -> str:
    """A database with the recorded rows. Read it, or make others from it."""
    name = postgres_server.database(dify_template)
    load_sample(postgres_server, name)
    return name


def why_missing() -> str | None:
    """Why no PostgreSQL can be started here; None when one can."""
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")) and not shutil.which("initdb"):
        return "no PostgreSQL here; `sudo apt-get install postgresql` brings it, as `make test` does when it may"
    return None


def _binaries() -> Path:
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return newest[-1].parent if newest else Path(str(shutil.which("initdb"))).parent


def _kill(server: Postgres) -> None:
    try:
        server.stop("immediate")
    except RuntimeError:
        os.kill(int((server.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)


def _tables() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in _csv("columns.csv"):
        default = _DEFAULTS.get(row["column_default"], row["column_default"])
        kind = f"varchar({row['max_length']})" if row["max_length"] else row["data_type"]
        parts = [f'"{row["column_name"]}"', kind, "NOT NULL" if row["is_nullable"] == "NO" else ""]
        found.setdefault(row["table_name"], []).append(" ".join([*parts, f"DEFAULT {default}" if default else ""]))
    return found


def _csv(name: str) -> list[dict[str, str]]:
    with (RECORDED / name).open(newline="") as lines:
        return list(csv.DictReader(lines))
