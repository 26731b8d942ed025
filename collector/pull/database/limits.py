"""What a pass over Dify's database may read and cost, what it has to look at again, and how it is broken off.

Plain values and one bell; no I/O.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from collector.records import SetAside

APPS, USERS, NODES, RUNS = "apps", "users", "node-executions", "runs"
MESSAGES, CONVERSATIONS, FEEDBACK = "messages", "conversations", "feedback"
DATASETS, DAYS, RETRIEVALS = "datasets", "documents", "retrievals"

STREAMS = (APPS, USERS, NODES, RUNS, MESSAGES, CONVERSATIONS, FEEDBACK, DATASETS, DAYS, RETRIEVALS)
"""In the order of a pass: the calls of a run before the run that says they are known."""

DATED = (USERS, NODES, RUNS, MESSAGES, CONVERSATIONS, RETRIEVALS)
"""Those that a period has a part of; the others are read whole."""

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
"""Before everything."""

NEVER = datetime(9000, 1, 1, tzinfo=UTC)
"""After everything."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a look may cost Dify.

    `statement_seconds` bounds each fetch, not the whole look. `idle_seconds` bounds how long the transaction may wait
    for us between two fetches, while batches are stored: past it PostgreSQL ends it, so that a collector that hangs
    does not keep Dify's tables from being vacuumed.
    """

    fetch_rows: int = 5000
    rows_per_second: float | None = None  # None: as fast as it goes
    statement_seconds: float = 120.0
    lock_seconds: float = 2.0
    idle_seconds: float = 600.0


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass reads.

    `overlap` is how far behind the watermark it reads again: Dify's rows may be written minutes after the instant they
    carry, and its clock may differ from ours. `until` ends a pass early, so that a long history can be read in parts,
    each from the watermark the one before has left. A part of a back-fill (`is_history`) is just [since, until),
    whatever the watermarks say; what it read to its end extends the reach of its streams. Up to `runs_by_index` runs,
    their nodes are looked up one run at a time; more, and the table of nodes is read through.
    """

    origin: str = "dify"  # our name for the Dify that is read
    workspace_id: str | None = None  # only this workspace of it; None: all
    streams: frozenset[str] | None = None  # only these; None: all
    since: datetime = ALWAYS  # where a stream without a watermark begins
    until: datetime = NEVER
    is_history: bool = False
    overlap: timedelta = timedelta(minutes=10)
    open_run_max_age: timedelta = timedelta(days=1)
    open_message_max_age: timedelta = timedelta(minutes=10)
    runs_by_index: int = 20_000
    put_records: int = 20_000  # stored at once, at least: the store takes large batches more quickly
    limits: Limits = Limits()


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What the store holds that a pass has to look at again. Asked for before the pass looks, so that what is stored
    meanwhile is not taken for gone."""

    open_runs: Mapping[str, datetime] = {}  # id -> created_at, of runs neither final nor stale
    ended_runs: Mapping[str, datetime] = {}  # the same of runs that somebody else said have ended, their nodes unread
    open_messages: Mapping[str, datetime] = {}  # the same of messages
    apps: Mapping[str, str | None] = {}  # id -> workspace, of apps not deleted
    datasets: Mapping[str, str | None] = {}  # the same of knowledge bases
    ratings: frozenset[str] = frozenset()  # ids of feedback not withdrawn
    set_aside: tuple[SetAside, ...] = ()  # rows that could not be read
    tries_again: bool = False  # whether these are read again, wherever the watermarks are


class Found(NamedTuple):
    """What a database answered. `missing` are statements that would grant what the role lacks; `more` are words about
    what it may do beyond reading what is needed."""

    server: str  # PostgreSQL 15.4
    user: str
    apps: int | None  # None: it may not read them
    missing: tuple[str, ...]
    more: tuple[str, ...]


class Stopped(Exception):
    """Somebody broke the look off. No failure: nothing is noted, and what was put stays."""


class Stop:
    """Rung by one thread to end the look of another: between two batches, or in the middle of a statement."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self._cancel: Callable[[], object] | None = None

    def ring(self) -> None:
        """End the look, now."""
        self._rung.set()
        if self._cancel is not None:
            self._cancel()

    def reaches(self, cancel: Callable[[], object] | None) -> None:
        """What ends the statement under way; None where there is none any more."""
        self._cancel = cancel

    def check(self) -> None:
        """Raise Stopped if it was rung."""
        if self._rung.is_set():
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """As `time.sleep`, and over at once when it is rung."""
        self._rung.wait(seconds)
