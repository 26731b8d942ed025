"""A session with a DuckDB file: opening it, running SQL, letting SQL see Arrow tables, saying what went wrong.

What comes in is a path and SQL; what goes out are rows, Arrow tables and StoreErrors that say what to do. Nothing
here knows a table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from collector.errors import StoreBusy, StoreError
from collector.store import Parameters

MEMORY = ":memory:"

_SEALED = {
    "autoinstall_known_extensions": False,  # nothing is fetched from the network
    "autoload_known_extensions": False,
    "python_enable_replacements": False,  # SQL sees tables, not the variables of whoever runs it
}
_LOCKED = re.compile(r"Could not set lock.*?(?:\(PID (\d+)\)|$)", re.DOTALL)


class Session:
    """One connection to the file. Not for two threads at once; `cursor()` gives the others theirs."""

    def __init__(self, path: str, connection: duckdb.DuckDBPyConnection) -> None:
        self.path = path
        self._connection = connection

    def run(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """Run one statement to its end; its rows."""
        return self._connection.execute(sql, parameters or None).fetchall()

    def arrow(self, sql: str, parameters: Parameters = ()) -> pa.Table:
        """Run one query; its rows as Arrow."""
        return self._connection.sql(sql, params=parameters or None).to_arrow_table()

    @contextmanager
    def showing(self, **tables: pa.Table) -> Iterator[None]:
        """Let SQL see Arrow tables under these names."""
        for name, rows in tables.items():
            self._connection.register(name, rows)
        try:
            yield
        finally:
            with suppress(duckdb.Error):  # an aborted transaction refuses; its own error is the one to tell
                for name in tables:
                    self._connection.unregister(name)

    @contextmanager
    def transaction(self, around: Callable[[], AbstractContextManager[None]] = nullcontext) -> Iterator[None]:
        """All of it is stored, or nothing; it sees what was stored when it began. `around` stands around its end."""
        self.run("BEGIN")
        try:
            yield
            with around():
                self.run("COMMIT")
        except BaseException:
            with suppress(duckdb.Error):  # a COMMIT that failed has rolled back already
                self.run("ROLLBACK")
            raise

    @contextmanager
    def cursor(self) -> Iterator[Session]:
        """A session of its own on the same file."""
        with self._connection.cursor() as connection:
            yield Session(self.path, connection)

    def twin(self) -> Session:
        """A session of its own on the same file, to be closed by who asked."""
        return Session(self.path, self._connection.cursor())

    def close(self) -> None:
        """Let go of the file once every cursor has ended."""
        self._connection.close()


def connect(path: str, *, read_only: bool, **settings: object) -> Session:
    """Open a file, in UTC. `settings` are DuckDB's own; None leaves one as it is. Raises StoreError."""
    wanted: dict[str, Any] = _SEALED | {name: str(value) for name, value in settings.items() if value is not None}
    if path == MEMORY:
        read_only = False
    elif not Path(path).parent.is_dir():
        raise StoreError(f"store {path}: there is no directory {Path(path).parent}; make it or name another path")
    try:
        session = Session(path, duckdb.connect(path, read_only=read_only, config=wanted))
        session.run("SET GLOBAL TimeZone = 'UTC'")
        session.run("SET GLOBAL immediate_transaction_mode = true")
    except duckdb.Error as error:
        kind = StoreBusy if _LOCKED.search(str(error)) else StoreError
        raise kind(f"store {path}: {_refusal(str(error))}") from None
    return session


@contextmanager
def telling(path: str) -> Iterator[None]:
    """Turn what DuckDB raises into StoreError."""
    try:
        yield
    except duckdb.FatalException as error:
        raise StoreError(
            f"store {path}: {_brief(error)}; open it again (restart the service) once that is mended"
        ) from None
    except duckdb.Error as error:
        raise StoreError(f"store {path}: {_brief(error)}{_advice(str(error))}") from None


def quoted(text: str) -> str:
    """An SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _refusal(message: str) -> str:
    if locked := _LOCKED.search(message):
        holder = f"process {locked[1]}" if locked[1] else "another process"
        return (
            f"{holder} holds the file, as a running service does; "
            "ask that service, stop it, or open a backup of the file"
        )
    if "not a valid DuckDB database" in message or "xtension" in message:
        return "there is a file already and it is no DuckDB database; name another path"
    if "read-only mode: database does not exist" in message:
        return "there is no such file to read; name another path, or bring facts first: pulling and ingesting make it"
    return message.partition("\n")[0]


def _brief(error: duckdb.Error) -> str:
    """The first line: the others repeat the statement."""
    return str(error).partition("\n")[0]


def _advice(message: str) -> str:
    if any(words in message for words in ("No space left", "File too large", "Disk quota", "not enough disk space")):
        return "; nothing of the batch was stored: make room on the disk, it will be tried again"
    if "read-only" in message:
        return "; it was opened read-only"
    return ""
