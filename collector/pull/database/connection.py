"""One look at Dify's database: a read-only transaction in which all tables agree, and rows out of it in batches.

What comes in is an address and SQL; what goes out are tuples, or an error of ours. Never writes, never takes a lock
beyond that of reading, never lets a password or a row's content into an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias

import psycopg
from psycopg import conninfo, errors

from collector.errors import DifyMetricError, Forbidden, SettingsError, Unauthorized, Unavailable
from collector.pull.database.limits import Limits, Stop
from collector.pull.database.schema import TABLES, Schema

Row: TypeAlias = tuple[Any, ...]
Parameters: TypeAlias = Mapping[str, object]

_PATIENCE = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""So that a server that vanished without a word is noticed within a minute. The address may say otherwise."""

_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, NULL)
FROM unnest(%(tables)s::text[]) t(name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name))
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
"""  # the catalogue, not information_schema: that one hides what the role may not read

_REFUSED = ("password authentication failed", "no password supplied", "authentication failed", "no pg_hba.conf entry")
_MISNAMED = "does not exist"


class Look:
    """An open snapshot. Counts what it asked and got."""

    def __init__(
        self,
        connection: psycopg.Connection[Row],
        limits: Limits,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
        stop: Stop,
    ) -> None:
        self._connection, self._limits, self._clock, self._sleep = connection, limits, clock, sleep
        self._stop = stop
        self._cursors = itertools.count(1)
        self._open = ExitStack()
        self.requests = 0
        self.schema = Schema(self.rows(_COLUMNS, {"tables": list(TABLES)}))

    def batches(self, sql: str, parameters: Parameters) -> Generator[list[Row], None, None]:
        """The rows of a query, at most `fetch_rows` at a time, through a cursor of the server.

        The next batch is asked for before one is handed over, so that the server works while we do. Close it when you
        stop early; what is still open when a guarded block or the look ends is closed there.
        """
        fetched = self._fetched(sql, parameters)
        self._open.callback(fetched.close)
        return fetched

    def _fetched(self, sql: str, parameters: Parameters) -> Generator[list[Row], None, None]:
        started, count, size = self._clock(), 0, self._limits.fetch_rows
        name = f"dify_metric_{next(self._cursors)}"
        with _translated(), self._connection.cursor(name) as cursor, ThreadPoolExecutor(1, "fetch") as ahead:
            cursor.execute(sql.encode(), parameters, binary=True)
            coming = ahead.submit(cursor.fetchmany, size)
            while rows := self._awaited(coming):
                self._stop.check()
                self.requests += 1
                count += len(rows)
                self._wait(started, count)
                coming = ahead.submit(cursor.fetchmany, size)
                yield rows

    def rows(self, sql: str, parameters: Parameters) -> list[Row]:
        """All rows of a query that gives few."""
        self._stop.check()
        with _translated(), self._connection.cursor(binary=True) as cursor:
            self.requests += 1
            return cursor.execute(sql.encode(), parameters).fetchall()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """What fails inside leaves the snapshot usable."""
        with _translated(), self._connection.transaction(), self.settled():
            yield

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Afterwards no thread of ours is reading: neither a rollback nor a close may meet one on the connection."""
        try:
            yield
        finally:
            self._open.close()

    @property
    def is_open(self) -> bool:
        """Whether the server is still there."""
        return not self._connection.closed

    def _awaited(self, coming: Future[list[Row]]) -> list[Row]:
        try:
            return coming.result()
        except KeyboardInterrupt:  # the thread is not told: let the server end what it waits for
            self._connection.cancel()
            raise

    def _wait(self, started: datetime, count: int) -> None:
        if self._limits.rows_per_second:
            ahead = timedelta(seconds=count / self._limits.rows_per_second) - (self._clock() - started)
            if ahead > timedelta(0):
                self._sleep(ahead.total_seconds())


@contextmanager
def look(
    dsn: str,
    limits: Limits,
    clock: Callable[[], datetime],
    sleep: Callable[[float], None],
    stop: Stop | None = None,
) -> Iterator[Look]:
    """Connect and open a snapshot. Raises SettingsError, Unauthorized, Forbidden, Unavailable, Stopped."""
    stop = stop or Stop()
    stop.check()
    connection = _connect(dsn)
    try:
        stop.reaches(partial(_end_statement, connection))
        stop.check()
        with _translated():
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            # For this transaction only: behind a pooler the session is Dify's own again afterwards.
            connection.execute(
                "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true),"
                " set_config('idle_in_transaction_session_timeout', %s, true), set_config('timezone', 'UTC', true),"
                " set_config('jit', 'off', true)",  # compiling takes longer than it saves on rows read once
                [_milliseconds(s) for s in (limits.statement_seconds, limits.lock_seconds, limits.idle_seconds)],
            )
        view = Look(connection, limits, clock, sleep, stop)
        with view.settled():
            yield view
    finally:
        stop.reaches(None)
        connection.close()


def _end_statement(connection: psycopg.Connection[Row]) -> None:
    """End what the server is at; nothing, where it is at nothing."""
    with suppress(psycopg.Error):
        connection.cancel_safe(timeout=5.0)


def address(dsn: str) -> Mapping[str, Any]:
    """The parts of a database's address. Raises SettingsError without quoting it."""
    if dsn.startswith(("mysql", "mariadb", "oceanbase")):
        raise SettingsError(
            "the database's address cannot be read: only PostgreSQL is, not MySQL; pull from the console API"
        )
    try:
        return conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:  # its text quotes the address, password and all
        raise SettingsError(
            "the database's address cannot be read; wanted postgresql://user:password@host:5432/dify"
            " (special characters of the password percent-encoded)"
        ) from None


def _connect(dsn: str) -> psycopg.Connection[Row]:
    known = address(dsn)
    place = f"{known.get('user', 'the current user')} at {known.get('host', 'the local socket')}"
    place += f":{known.get('port', 5432)}/{known.get('dbname', '')}"
    settings = {**_PATIENCE, **known, "application_name": "dify-metric", "client_encoding": "utf-8"}
    try:
        return psycopg.connect(**settings, prepare_threshold=None)
    except psycopg.OperationalError as error:
        raise _refusal(str(error), place) from None


def _refusal(text: str, place: str) -> DifyMetricError:
    """Why no connection came about: libpq tells it in words only. Its words are not repeated."""
    if any(words in text for words in _REFUSED):
        return Unauthorized(f"Dify's database refused {place}: check user, password and pg_hba.conf")
    if _MISNAMED in text:
        return SettingsError(f"no such user or database: {place}; check the database's address")
    return Unavailable(f"Dify's database cannot be reached as {place}; is it running, and open to this machine?")


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the driver become ours, by their code: the driver's own text may quote a row."""
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise Forbidden(
            f"the role may not read {_table(error)} of Dify's database; `dify-metric check` shows the GRANT that is"
            " missing"
        ) from None
    except errors.QueryCanceled:
        raise Unavailable(
            "Dify's database took longer than the statement timeout; read a shorter period, or allow more time"
        ) from None
    except errors.LockNotAvailable:
        raise Unavailable("a table of Dify's database is locked, as during its migration; trying later") from None
    except (errors.UndefinedTable, errors.UndefinedColumn) as error:
        raise SettingsError(f"Dify's database changed while it was read ({_code(error)}); start again") from None
    except psycopg.Error as error:
        raise Unavailable(f"Dify's database did not answer ({_code(error)}); trying later") from None


def _table(error: psycopg.Error) -> str:
    """The table an error is about: its words hold no more than the name, where they begin so."""
    name = (error.diag.message_primary or "").partition("permission denied for table ")[2]
    return name if name in TABLES else error.diag.table_name or "one of the tables"


def _code(error: psycopg.Error) -> str:
    return f"{type(error).__name__}{f' {error.sqlstate}' if error.sqlstate else ''}"


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def settings_of(look: Look, names: Sequence[str]) -> dict[str, str]:
    """What is in force for the look: for `check` and for tests."""
    rows = look.rows("SELECT n, current_setting(n) FROM unnest(%(names)s::text[]) n", {"names": list(names)})
    return dict(rows)
