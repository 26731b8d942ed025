"""Dify's database as a service reads it: pass after pass, each in a thread, and back-fills beside them.

What comes in are an address, the store's callables and what a pass may cost; what goes out are Pulls. What a pass has
to look at again, and how far back-fills came, is worked out from what is stored. Nothing here decides when to read.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

import msgspec
import structlog

from collector.collect.backlog import Rows
from collector.collect.passes import Clock, Progress, Put, ReadWatermark
from collector.errors import DifyMetricError, StoreError, Unauthorized
from collector.pull.database import Backlog, Reading, Stop, back_fill_database, check_address, pull_database
from collector.pull.database.limits import STREAMS
from collector.pull.database.tally import missed
from collector.pull.endpoints import DOCUMENTS
from collector.records import DATABASE, STALE, Pull, Reach, SetAside

__all__ = ["STREAMS", "Database", "database_backlog"]

log = structlog.get_logger()

Work: TypeAlias = Callable[[Stop], list[Pull]]
Known = TypeVar("Known")

ENDED_BEHIND = timedelta(days=2)
"""How far back runs are looked for that a tap heard the end of and whose nodes were not read. Their row may never tell
that they ended, so nothing else would bring them back."""

LOOK_AGAIN_SECONDS = 1.0
"""How often a look that was broken off is told so until it has ended: between two statements nobody listens."""

_OPEN = f"NOT is_final AND status <> '{STALE}' AND created_at IS NOT NULL"
_ENDED = "is_final AND leaves_known IS NOT TRUE AND created_at IS NOT NULL"
_OURS = "(app_id IS NULL OR app_id NOT IN (SELECT id FROM app WHERE origin <> ?))"


class Database:
    """Reads one Dify's database. `is_up` tells whether the last pass could read its apps; `refused` why nothing will be
    asked any more; `requests` counts questions to it, by (stream, what went wrong or "ok")."""

    def __init__(
        self,
        dsn: str,
        put: Put,
        rows: Rows,
        watermark: ReadWatermark,
        *,
        reading: Reading,
        clock: Clock,
        on_progress: Progress | None = None,
    ) -> None:
        """Raises SettingsError where such a database cannot be read here."""
        check_address(dsn)
        self.is_up = False
        self.refused: str | None = None
        self.requests: Counter[tuple[str, str]] = Counter()
        self._dsn, self._put, self._rows, self._watermark = dsn, put, rows, watermark
        self._reading, self._clock, self._on_progress = reading, clock, on_progress
        self._threads = ThreadPoolExecutor(2, "database")  # a pass, and a back-fill beside it
        self._passing = asyncio.Lock()
        self._told: str | None = None
        self._has_tried = False  # again what was set aside

    async def pull(self) -> list[Pull]:
        """One pass; passes take turns. Raises StoreError; whatever the database does is in the Pulls."""
        if self.refused:
            return []
        async with self._passing:
            pulls = await self._in_thread(self._pass)
        self.is_up = any(pull.stream == "apps" and pull.is_complete for pull in pulls)
        self._has_tried = self._has_tried or (self.is_up and all(pull.is_complete for pull in pulls))
        return pulls

    async def back_fill(self, since: datetime, only: frozenset[str] | None, on_progress: Progress) -> list[Pull]:
        """Read history back to `since`, beside the passes. Raises StoreError.

        Broken off anywhere, the next one goes on from what is stored.
        """
        how = msgspec.structs.replace(self._reading, since=since, streams=only)
        return await self._in_thread(partial(self._history, how, on_progress))

    async def aclose(self) -> None:
        """Let go of the threads; whoever waits for one breaks it off first."""
        await asyncio.to_thread(self._threads.shutdown)

    def _pass(self, stop: Stop) -> list[Pull]:
        reading, tell = self._reading, self._on_progress
        if not self._are_days_due():
            reading = msgspec.structs.replace(reading, streams=frozenset(STREAMS) - {DOCUMENTS.stream})
        return self._noted(
            lambda: pull_database(
                self._dsn,
                self._put,
                self._known_until,
                self._clock,
                reading,
                backlog=lambda: self._backlog(reading.origin),
                sleep=stop.sleep,
                on_progress=(lambda stream, records: tell(stream, records, None)) if tell else None,
                stop=stop,
            )
        )

    def _backlog(self, origin: str) -> Backlog:
        """What was set aside is tried again in the first pass that comes to its end."""
        return database_backlog(self._rows, origin, self._clock(), tries_again=not self._has_tried)

    def _history(self, how: Reading, on_progress: Progress, stop: Stop) -> list[Pull]:
        return self._noted(
            lambda: back_fill_database(
                self._dsn,
                self._put,
                self._known_until,
                database_reach(self._rows, how.origin),
                self._clock,
                how,
                sleep=stop.sleep,
                on_progress=on_progress,
                stop=stop,
            )
        )

    def _noted(self, read: Callable[[], list[Pull]]) -> list[Pull]:
        """What was read, and counted; an error that is none of one stream is all streams'."""
        try:
            pulls, self._told = read(), None
        except StoreError:
            raise
        except DifyMetricError as error:
            pulls = missed(STREAMS, error, self._clock(), self._reading.origin)
            self._put(pulls, ())
            if isinstance(error, Unauthorized):
                self.refused = str(error)
            tell = log.debug if self._told == str(error) else log.error
            tell("database not read", origin=self._reading.origin, problem=str(error))
            self._told = str(error)
        for pull in pulls:
            self.requests[pull.stream, pull.error_class or "ok"] += pull.requests
        return pulls

    def _known_until(self, source: str, stream: str, app_id: str, origin: str) -> datetime | None:
        """Up to when a stream is known: by passes, or else by a back-fill that went as far as a first pass would."""
        if mark := self._watermark(source, stream, app_id, origin):
            return mark
        reach = database_reach(self._rows, origin).get(stream)
        return reach.complete_until if reach and reach.complete_from <= self._reading.since else None

    def _are_days_due(self) -> bool:
        """What knowledge bases hold takes a reading of all their segments: not in every pass."""
        sql = "SELECT max(created_at) FROM pull WHERE stream = ? AND origin = ? AND is_complete"
        ((last,),) = self._rows(sql, [DOCUMENTS.stream, self._reading.origin])
        every = DOCUMENTS.every
        return last is None or every is None or self._clock() - cast("datetime", last) >= every

    async def _in_thread(self, work: Work) -> list[Pull]:
        """Do it without holding up the event loop; cancelled, it is broken off, and ended before we go on."""
        stop = Stop()
        doing = asyncio.get_running_loop().run_in_executor(self._threads, work, stop)
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            while not doing.done():
                await asyncio.to_thread(stop.ring)
                await asyncio.wait({doing}, timeout=LOOK_AGAIN_SECONDS)
            doing.exception()  # that it was stopped is no news
            raise


def database_backlog(rows: Rows, origin: str, now: datetime, *, tries_again: bool = False) -> Backlog:
    """Open runs and messages, and the apps, knowledge bases and ratings that stand, whoever told of them.

    Those known to be another Dify's are left out.
    """
    ended = f"SELECT id, created_at FROM run WHERE {_ENDED} AND created_at >= ? AND {_OURS}"
    return Backlog(
        ended_runs={str(key): cast("datetime", at) for key, at in rows(ended, [now - ENDED_BEHIND, origin])},
        open_runs=_instants(rows, f"SELECT id, created_at FROM run WHERE {_OPEN} AND {_OURS}", origin),
        open_messages=_instants(rows, f"SELECT id, created_at FROM message WHERE {_OPEN} AND {_OURS}", origin),
        apps=_workspaces(rows, "app", origin),
        datasets=_workspaces(rows, "dataset", origin),
        ratings=frozenset(
            str(key) for (key,) in rows(f"SELECT id FROM feedback WHERE rating <> 'withdrawn' AND {_OURS}", [origin])
        ),
        set_aside=tuple(_set_aside(rows, origin)),
        tries_again=tries_again,
    )


def database_reach(rows: Rows, origin: str) -> dict[str, Reach]:
    """How far back-fills of this Dify's database came, by stream."""
    sql = "SELECT stream, complete_from, complete_until FROM reach WHERE source = ? AND app_id = '' AND origin = ?"
    found = cast("list[tuple[str, datetime, datetime]]", rows(sql, [DATABASE, origin]))
    place = {"source": DATABASE, "app_id": "", "origin": origin}
    return {
        stream: Reach(stream=stream, complete_from=low, complete_until=high, **place) for stream, low, high in found
    }


def _set_aside(rows: Rows, origin: str) -> Iterator[SetAside]:
    names = SetAside.__struct_fields__
    sql = f"SELECT {', '.join(names)} FROM set_aside WHERE source = ? AND origin = ?"
    for row in rows(sql, [DATABASE, origin]):
        yield SetAside(**cast("dict[str, Any]", dict(zip(names, row, strict=True))))


def _instants(rows: Rows, sql: str, origin: str) -> dict[str, datetime]:
    return {str(key): cast("datetime", at) for key, at in rows(sql, [origin])}


def _workspaces(rows: Rows, table: str, origin: str) -> dict[str, str | None]:
    sql = f"SELECT id, workspace_id FROM {table} WHERE deleted_at IS NULL AND (origin IS NULL OR origin = ?)"
    return {str(key): cast("str | None", workspace) for key, workspace in rows(sql, [origin])}
