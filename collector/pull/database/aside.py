"""Rows of Dify's database that could not be read: which they are, until they were read or are gone.

What comes in are rows with what was wrong in them, and those that were read; what goes out are marks to be stored with
the batch they came in. Keeps ids, tables and fields, no content. Nothing here asks the database.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

import collector
from collector.errors import ShapeError
from collector.pull.database.connection import Row
from collector.pull.database.limits import (
    APPS,
    CONVERSATIONS,
    DATASETS,
    DATED,
    DAYS,
    FEEDBACK,
    MESSAGES,
    NODES,
    RETRIEVALS,
    RUNS,
    USERS,
)
from collector.records import DATABASE, SetAside

TABLES = {
    APPS: "apps",
    USERS: "end_users",
    NODES: "workflow_node_executions",
    RUNS: "workflow_runs",
    MESSAGES: "messages",
    CONVERSATIONS: "conversations",
    FEEDBACK: "message_feedbacks",
    DATASETS: "datasets",
    DAYS: "documents",
    RETRIEVALS: "dataset_queries",
}
"""Where the rows of a stream stand."""

MOST_NAMED = 100
"""Rows of one stream that are named; more are counted only."""

_APP_AT = {NODES: 2, RUNS: 2, MESSAGES: 2, CONVERSATIONS: 2}
_AGAIN = "mend the row in Dify or update dify-metric; it is tried again "
_WHEN = ("in every pass", "at the next start")


class Aside:
    """What was set aside of one database."""

    def __init__(self, origin: str, now: datetime, known: Iterable[SetAside] = ()) -> None:
        self._origin, self._now = origin, now
        self._known = {(each.stream, each.key): each for each in known}
        self._failed: set[tuple[str, str]] = set()  # in this pass
        self._marks: list[SetAside] = []

    def keys(self, stream: str) -> list[str]:
        """The rows of a stream that are set aside now."""
        return [key for each, key in self._known if each == stream and key]

    def lay(self, stream: str, row: Row, error: ShapeError) -> None:
        """One could not be read."""
        place = (stream, _key(stream, row))
        self._failed.add(place)
        app = _APP_AT.get(stream)
        mark = SetAside(
            source=DATABASE,
            origin=self._origin,
            stream=stream,
            app_id=str(row[app] or "") if app is not None else "",
            key=place[1],
            problem=f"{TABLES[stream]}.{error.field}: wanted {error.wanted}; {_AGAIN}{_WHEN[stream in DATED]}",
            tried_by=f"{collector.__version__} ?",
            seen_at=self._now,
        )
        known = self._known.get(place)
        if known is None and sum(each == stream for each, _ in self._known) >= MOST_NAMED:
            return
        if known is None or (known.problem, known.tried_by) != (mark.problem, mark.tried_by):
            self._known[place] = mark
            self._marks.append(mark)

    def read(self, stream: str, rows: Iterable[Row]) -> None:
        """These were read."""
        if self._known:
            self.take_up(stream, (_key(stream, row) for row in rows))

    def take_up(self, stream: str, keys: Iterable[str]) -> None:
        """These were read, or are gone."""
        for key in keys:
            if known := self._known.pop((stream, key), None):
                self._marks.append(replace(known, problem=None))

    def over(self, stream: str) -> None:
        """A stream was read to its end: of one that is read whole, what did not fail now is well, or gone."""
        if stream not in DATED:
            self.take_up(
                stream, [key for each, key in self._known if each == stream and (each, key) not in self._failed]
            )

    def drain(self) -> list[SetAside]:
        """What is to be stored since the last call."""
        found, self._marks = self._marks, []
        return found


def _key(stream: str, row: Row) -> str:
    """Dify's id of a row; of a rating its message's, and who gave it."""
    return f"{row[0]}/{row[1]}" if stream == FEEDBACK else str(row[0] or "")
