"""One pass over Dify's database: read what is new, put it with its watermark, say how it went.

What comes in are an address and narrow callables of the store; what goes out are batches into `put`, and one Pull per
stream. Every pass is one snapshot, so runs, nodes and messages agree. A stream that fails says so in its Pull and the
others go on; a batch that was put is never lost, and putting it again changes nothing. A part of a back-fill is a pass
over its period, which marks how far back its streams reach. Never decides when to run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import TypeAlias, TypeVar

import msgspec
import structlog

from collector.errors import DifyMetricError, Forbidden, SettingsError, StoreError, Unavailable
from collector.pull.database import gone
from collector.pull.database import limits as streams
from collector.pull.database.aside import Aside
from collector.pull.database.connection import look
from collector.pull.database.limits import NEVER, Backlog, Reading, Stop
from collector.pull.database.reader import Batches, Reader
from collector.pull.database.tally import Tally, missed
from collector.records import (
    DATABASE,
    STALE,
    App,
    Dataset,
    Feedback,
    Mark,
    Message,
    Pull,
    Reach,
    Record,
    Run,
    Watermark,
)

log = structlog.get_logger()

Put: TypeAlias = Callable[[list[Record], list[Mark]], object]
Marks: TypeAlias = Callable[[str, str, str, str], datetime | None]
Progress: TypeAlias = Callable[[str, int], None]

SLACK = timedelta(hours=1)
"""A node is dated by another process than its run: how far before its run it may seem to begin."""

_R = TypeVar("_R", bound=Record)
_RUNS_AT_ONCE = 5000


class Pass:
    """The state of one pass; `run` it once."""

    def __init__(
        self,
        put: Put,
        watermark: Marks,
        clock: Callable[[], datetime],
        reading: Reading,
        backlog: Backlog,
        on_progress: Progress | None,
        stop: Stop | None = None,
    ) -> None:
        self._put, self._watermark, self._clock, self._on_progress = put, watermark, clock, on_progress
        self._stop = stop or Stop()
        self._streams = [each for each in streams.STREAMS if reading.streams is None or each in reading.streams]
        self._reading, self._backlog = reading, backlog
        self._started = clock()
        self._runs_since = self._since(streams.NODES, streams.RUNS)  # where either ended: they are read together
        self._nodes_until = reading.until + reading.open_run_max_age
        self._few: list[Run] | None = None  # new runs, when they are few
        self._reopened: list[Run] = []  # runs that were open before this pass's period
        self._again: list[str] = []  # messages that were set aside
        self._are_leaves_known = False  # whether the nodes of all these were put
        self.pulls: list[Pull] = []

    def run(self, dsn: str, sleep: Callable[[float], None]) -> None:
        """Every stream in its turn. A store that refuses, or a server that is gone, ends the pass."""
        try:
            with look(dsn, self._reading.limits, self._clock, sleep, self._stop) as self._view:
                self._read_all()
        except (Unavailable, Forbidden) as error:
            self._give_up(error)

    def _read_all(self) -> None:
        reading = self._reading
        ages = {"open_run_max_age": reading.open_run_max_age, "open_message_max_age": reading.open_message_max_age}
        self._reader = Reader(
            self._view,
            self._started,
            origin=reading.origin,
            workspace_id=reading.workspace_id,
            aside=Aside(reading.origin, self._started, self._backlog.set_aside),
            **ages,
        )
        batches: Mapping[str, Callable[[], Batches]] = {
            streams.APPS: self._apps,
            streams.USERS: lambda: self._new(streams.USERS),
            streams.NODES: self._nodes,
            streams.RUNS: self._runs,
            streams.MESSAGES: self._messages,
            streams.CONVERSATIONS: lambda: self._new(streams.CONVERSATIONS),
            streams.FEEDBACK: self._feedback,
            streams.DATASETS: self._datasets,
            streams.DAYS: lambda: self._new(streams.DAYS),
            streams.RETRIEVALS: lambda: self._new(streams.RETRIEVALS),
        }
        for stream in self._streams:
            error = self._stream(stream, batches[stream])
            if error is not None and (isinstance(error, StoreError) or not self._view.is_open):
                self._give_up(error)
                return

    def _stream(self, stream: str, batches: Callable[[], Batches]) -> DifyMetricError | None:
        """Put one stream; the error that ended it, if one did."""
        self._stop.check()
        tally = Tally(stream, self._clock(), self._reading.origin)
        asked, failed = self._view.requests, self._reader.failures

        def counted() -> Pull:
            tally.requests, tally.parse_failures = self._view.requests - asked, self._reader.failures - failed
            return tally.pull(self._clock())

        try:
            with self._view.guarded():
                self._put_all(tally, batches(), counted)
        except DifyMetricError as raised:
            self._stop.check()  # whoever rang it ended the statement, too
            tally.error = raised
        pull = counted()
        tally.tell(pull)
        self.pulls.append(pull)
        if isinstance(tally.error, SettingsError):
            raise tally.error
        if tally.error is not None and not isinstance(tally.error, StoreError):
            self._put([pull], [])
        return tally.error

    def _put_all(self, tally: Tally, batches: Batches, counted: Callable[[], Pull]) -> None:
        """In large batches; with the last one the watermark and what is to be said of the stream."""
        held: list[Record] = []
        for batch in filter(None, batches):
            if len(held) >= self._reading.put_records:
                self._put(held, [])
                held = []
            held += batch
            tally.pages += 1
            tally.records += len(batch)
            if self._on_progress:
                self._on_progress(tally.stream, tally.records)
        self._reader.aside.over(tally.stream)
        self._put([*held, counted()], [*self._marks(tally.stream), *self._reader.aside.drain()])

    def _apps(self) -> Batches:
        """Every app; those the store knows in these workspaces and Dify no longer has are deleted."""
        missing = dict(self._backlog.apps)
        for batch in self._new(streams.APPS):
            for app in _only(App, batch):
                missing.pop(app.id, None)
            yield batch
        here = self._reader.workspaces() if missing else set()
        yield [gone.deleted_app(app, self._started) for app, workspace in missing.items() if workspace in here]

    def _datasets(self) -> Batches:
        """Every knowledge base; those the store knows in these workspaces and Dify no longer has are deleted."""
        missing = dict(self._backlog.datasets)
        for batch in self._new(streams.DATASETS):
            for dataset in _only(Dataset, batch):
                missing.pop(dataset.id, None)
            yield batch
        here = self._reader.workspaces() if missing else set()
        for dataset_id, workspace in missing.items():
            if workspace in here:
                yield [*gone.deleted_dataset(dataset_id, workspace, self._started)]

    def _nodes(self) -> Batches:
        """The nodes of new and of open runs, and single steps.

        Few new runs have their nodes looked up run by run; of many, the table is read through once.
        """
        since = self._runs_since
        most = self._reading.runs_by_index
        with closing(self._reader.read(streams.RUNS, since, self._reading.until)) as batches:
            first = list(islice((run for batch in batches for run in _only(Run, batch)), most + 1))
        self._reopened = self._reread_runs(since)
        if len(first) <= most:
            self._few = first
            yield from self._reader.nodes_of(chain(first, self._reopened))
            yield from self._reader.single_steps(since - SLACK, self._reading.until)
        else:
            yield from self._reader.nodes_of(self._reopened)
            yield from self._reader.read(streams.NODES, since - SLACK, self._nodes_until)
        self._are_leaves_known = True

    def _runs(self) -> Batches:
        """New and reopened runs. Without their nodes, reopened ones are left open: the next pass finds them again."""
        if self._are_leaves_known:
            yield from _chunks([self._with_leaves(run) for run in self._reopened])
        if self._few is not None:
            yield from _chunks([self._with_leaves(run) for run in self._few])
        else:
            for batch in self._reader.read(streams.RUNS, self._runs_since, self._reading.until):
                yield [self._with_leaves(run) for run in _only(Run, batch)]

    def _messages(self) -> Batches:
        """New and open messages; open ones that are gone are stale once they are old enough."""
        yield from self._new(streams.MESSAGES)
        missing = dict(self._backlog.open_messages)
        for batch in self._reader.reread_messages({**missing, **dict.fromkeys(self._again)}):
            for message in _only(Message, batch):
                missing.pop(message.id, None)
            yield batch
        yield [*gone.stale_messages(missing, self._started - self._reading.open_message_max_age, self._started)]

    def _feedback(self) -> Batches:
        """Ratings that changed; those the store knows and Dify no longer has are withdrawn, if their message stands."""
        since, missing = self._since(streams.FEEDBACK), set(self._backlog.ratings)
        for batch in self._reader.read(streams.FEEDBACK, since, self._reading.until):
            ratings = list(_only(Feedback, batch))
            missing.difference_update(rating.id for rating in ratings)
            yield [rating for rating in ratings if rating.updated_at is None or rating.updated_at >= since]
        standing = self._reader.existing({gone.message_of(rating) for rating in missing})
        yield [
            gone.withdrawn(rating, self._started) for rating in sorted(missing) if gone.message_of(rating) in standing
        ]

    def _new(self, stream: str) -> Batches:
        return self._reader.read(stream, self._since(stream), self._reading.until)

    def _reread_runs(self, since: datetime) -> list[Run]:
        """The runs that were open, unread or set aside, and begin before this pass's period; open ones that are gone
        are stale in time."""
        again: dict[str, datetime] = {}
        if self._backlog.tries_again:
            again, self._again = self._reader.tried_again()
        waiting = {**self._backlog.open_runs, **self._backlog.ended_runs, **again}
        missing = {run: at for run, at in waiting.items() if at < since}
        if not missing:
            return []
        batches = self._reader.reread_runs(list(missing), min(missing.values()))
        found = [run for batch in batches for run in _only(Run, batch)]
        for run in found:
            missing.pop(run.id, None)
        missing = {run: at for run, at in missing.items() if run in self._backlog.open_runs}
        stale = gone.stale_runs(missing, self._started - self._reading.open_run_max_age, self._started)
        self._reader.unread.update(run.id for run in stale)
        return found + stale

    def _with_leaves(self, run: Run) -> Run:
        """All nodes of a run are known when they were read, and it ended within the period they were read of.

        A run that somebody stopped never ends in Dify's table: that it has, is known from who heard it.
        """
        is_over = run.status == STALE or (run.is_final and (run.finished_at or NEVER) < self._nodes_until)
        is_over = is_over or run.id in self._backlog.ended_runs
        if not (self._are_leaves_known and is_over) or run.id in self._reader.unread:
            return run
        return msgspec.structs.replace(run, leaves_known=True)

    def _since(self, *names: str) -> datetime:
        if self._reading.is_history:
            return self._reading.since
        marks = [self._watermark(DATABASE, name, "", self._reading.origin) for name in names]
        return min(mark - self._reading.overlap if mark else self._reading.since for mark in marks)

    def _marks(self, stream: str) -> list[Mark]:
        until = min(self._started, self._reading.until)
        place = {"source": DATABASE, "stream": stream, "app_id": "", "origin": self._reading.origin}
        if self._reading.is_history:
            reach = Reach(complete_from=self._reading.since, complete_until=until, **place)
            return [reach] if stream in streams.DATED else []
        return [Watermark(complete_until=until, **place)]

    def _give_up(self, error: DifyMetricError) -> None:
        """Note the streams that were not come to as failed by the same error."""
        done = {pull.stream for pull in self.pulls}
        not_read = [stream for stream in self._streams if stream not in done]
        found = missed(not_read, error, self._clock(), self._reading.origin)
        log.warning("pass given up", source=DATABASE, origin=self._reading.origin, streams=not_read, problem=str(error))
        self.pulls += found
        if not isinstance(error, StoreError):
            self._put([*found], [])


def _only(kind: type[_R], batch: list[Record]) -> Iterator[_R]:
    return (record for record in batch if isinstance(record, kind))


def _chunks(some: list[Run]) -> Batches:
    for start in range(0, len(some), _RUNS_AT_ONCE):
        yield [*some[start : start + _RUNS_AT_ONCE]]
