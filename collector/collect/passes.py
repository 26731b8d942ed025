"""The mechanics of one pass: follow a stream's steps, put what they bring, note how it went, know when time is up.

What comes in are steps (or questions that give one each) and the store's callables; what goes out are records put
with their watermark, and a Pull per stream and app. A failing stream is noted and costs no other stream. Nothing here
decides what to read.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias, TypeVar

from collector.collect.tally import Tally
from collector.errors import DifyMetricError, Forbidden, StoreError, Unauthorized, Unavailable
from collector.pull.step import Step
from collector.pull.together import together
from collector.records import CONSOLE, App, Mark, Pull, Record, Stored, Watermark

Clock: TypeAlias = Callable[[], datetime]
Put: TypeAlias = Callable[[Iterable[Record], Iterable[Mark]], Stored]
ReadWatermark: TypeAlias = Callable[..., "datetime | None"]
Progress: TypeAlias = Callable[[str, int, "int | None"], None]
"""Called with a stream, how much of it is done, and how much there is (None: not known)."""

Question: TypeAlias = tuple[str, str, Callable[[], Awaitable[Step]]]
"""The id of the app it is about, the id of what is asked about, and the asking."""

Known = TypeVar("Known")

MOST_OUTAGES = 6
"""Streams in a row that Dify could not answer, after which a pass asks no more."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How far and how much a pass reads."""

    origin: str = "dify"  # our name for the Dify that is asked
    back_to: datetime | None = None  # a back-fill: history is read back to here, watermark or not; None: none
    only: frozenset[str] | None = None  # streams that are read; None: all
    since: datetime | None = None  # nothing created before is asked for; None: all there is
    overlap: timedelta = timedelta(minutes=10)  # read again behind the watermark: what Dify wrote late
    margin: timedelta = timedelta(minutes=1)  # by how much Dify's clock may be behind ours
    budget: timedelta = timedelta(minutes=5)  # of a pass, for what has no other bound
    node_budget: int | None = 2000  # runs whose nodes are read in one pass; None: all
    feedback_every: timedelta = timedelta(minutes=15)  # it comes whole or not at all
    statistics_every: timedelta = timedelta(hours=1)  # Dify's own, to compare ours with
    open_run_max_age: timedelta = timedelta(hours=24)
    message_open_for: timedelta = timedelta(minutes=10)
    debug_runs: bool = False  # read console test runs too
    batch: int = 2000  # records put at once
    read_completions: bool = False  # read messages of completion apps: Dify marks them as read by that


class Pass:
    """One pass. What lasts over passes: `failures` counts how often asking about something failed, and `failing` has
    the error class with which a stream of an app ended last."""

    def __init__(
        self,
        put: Put,
        options: Options,
        clock: Clock,
        width: int,
        failures: Counter[str],
        failing: dict[tuple[str, str | None], str | None],
        on_progress: Progress | None = None,
    ) -> None:
        self.options = options
        self.width = width
        self.began = clock()
        self.pulls: list[Pull] = []
        self.complete: set[tuple[str, str]] = set()  # (stream, app id) that reached their end
        self.failures = failures
        self.progress: Progress = on_progress or (lambda stream, done, total: None)
        self.done: Counter[str] = Counter()  # questions answered, by stream
        self.totals: dict[str, int] = {}  # questions there are, by stream
        self._failing = failing
        self._put = put
        self._clock = clock
        self._outages = 0
        self._records: list[Record] = []  # held, with what follows
        self._marks: list[Mark] = []
        self._storing: asyncio.Task[None] | None = None  # the newest batch, which waits for those before it
        self._refused: StoreError | None = None
        self._listed: dict[str, dict[str, tuple[int, int | None]]] = {}  # by stream and app: how much, of how much

    def in_time(self, share: float) -> bool:
        """Whether that share of the pass's time is not used up."""
        return self._clock() - self.began < self.options.budget * share

    def listed(self, tally: Tally, done: int, total: int | None) -> None:
        """Tell how far one app's listing is, as a part of the stream's."""
        apps = self._listed.setdefault(tally.stream, {})
        apps[tally.app.id if tally.app else ""] = (done, total)
        totals = [one for _, one in apps.values() if one is not None]
        is_known = len(totals) == len(apps)
        self.progress(tally.stream, sum(one for one, _ in apps.values()), sum(totals) if is_known else None)

    def tally(self, stream: str, app: App | None, *, marks: bool = False) -> Tally:
        """A count for one stream, beginning now; `marks`: its end sets the stream's watermark."""
        return Tally(stream, app, self._clock(), self.options.origin, marks)

    def watermark(self, stream: str, app: App | None) -> Watermark:
        """What may be said of a stream (of the workspace: app None) read to its end in this pass."""
        until = self.began - self.options.margin
        app_id, origin = (app.id, "") if app else ("", self.options.origin)
        return Watermark(source=CONSOLE, stream=stream, app_id=app_id, complete_until=until, origin=origin)

    async def stored(self, ask: Callable[[], Known]) -> Known:
        """Ask the store without holding up the event loop."""
        return await asyncio.to_thread(ask)

    def wants(self, stream: str) -> bool:
        """Whether a stream is read in this pass."""
        return self.options.only is None or stream in self.options.only

    async def put(self, records: Iterable[Record], watermarks: Iterable[Mark] = ()) -> None:
        """Hold records and watermarks until there is a batch of them, or `flush`; it is stored while more is read.

        Batches go in order, so a watermark is stored with its records or after them, never before. No more than one is
        waited behind. Raises StoreError when an earlier batch was refused.
        """
        self._records += records
        self._marks += watermarks
        if len(self._records) >= self.options.batch:
            before = self._storing
            self._store()
            await _end_of(before)

    async def flush(self) -> None:
        """Store what is held, and wait for it. Raises StoreError, and then once more for every batch after it."""
        self._store()
        await _end_of(self._storing)

    async def settled(self) -> None:
        """Wait for what is being stored, however it ends: a thread cannot be called back, nothing may overtake it."""
        if self._storing is not None:
            (ended,), _ = await asyncio.wait({self._storing})
            ended.exception()  # whoever stored it was told

    def _store(self) -> None:
        records, marks, self._records, self._marks = self._records, self._marks, [], []
        if records or marks:
            self._storing = asyncio.ensure_future(self._stored_behind(self._storing, records, marks))

    async def _stored_behind(self, before: asyncio.Task[None] | None, records: list[Record], marks: list[Mark]) -> None:
        if before is not None:
            await asyncio.wait({before})
        if self._refused:
            raise self._refused
        try:
            await asyncio.to_thread(self._put, records, marks)
        except StoreError as error:
            self._refused = error
            raise

    async def follow(self, tally: Tally, steps: AsyncIterator[Step]) -> None:
        """Put what the steps bring; the watermark behind the last of it, if they reached their end.

        Raises Unauthorized and StoreError; every other error stays in the tally.
        """
        try:
            self._check_outage()
            async for step in steps:
                tally.add(step)
                await self.put(step.records, step.marks)
        except StoreError:
            raise
        except DifyMetricError as error:
            tally.fail(error)
        self._count_outage(tally.error)
        await self._end(tally)
        if isinstance(tally.error, Unauthorized):
            raise tally.error

    async def ask(
        self, stream: str, apps: Mapping[str, App], batches: AsyncIterator[Sequence[Question]], share: float
    ) -> None:
        """Ask about many things at once; each answer is stored whole, each batch before the next is drawn.

        An app that may not be asked is asked no more; any other failure is one question's own. One Pull per app.
        Raises as `follow` does.
        """
        tallies: dict[str, Tally] = {}
        try:
            async for batch in batches:
                await self._ask_batch(stream, apps, batch, share, tallies)
        finally:
            for tally in tallies.values():
                await self._end(tally)

    async def _ask_batch(
        self,
        stream: str,
        apps: Mapping[str, App],
        batch: Sequence[Question],
        share: float,
        tallies: dict[str, Tally],
    ) -> None:
        due = (
            partial(self._answered, question)
            for question in batch
            if self.in_time(share) and not _is_closed(tallies.get(question[0]))
        )
        # Twice as many as go out at once: the next is ready when one comes back.
        async with aclosing(together(due, 2 * self.width)) as answers:
            async for app_id, answer in answers:
                tally = tallies.setdefault(app_id, self.tally(stream, apps[app_id]))
                self.done[stream] += 1
                self.progress(stream, self.done[stream], self.totals.get(stream))
                if isinstance(answer, DifyMetricError):
                    tally.fail(answer)
                    if isinstance(answer, Unauthorized):
                        raise answer
                    continue
                tally.add(answer)
                await self.put(answer.records, answer.marks)
        await self.flush()

    async def _answered(self, question: Question) -> tuple[str, Step | DifyMetricError]:
        app_id, key, ask = question
        try:
            answer = await ask()
        except StoreError:
            raise
        except DifyMetricError as error:
            self.failures[key] += 1
            return app_id, error
        self.failures.pop(key, None)
        return app_id, answer

    async def _end(self, tally: Tally) -> None:
        pull = tally.pull(self._clock())
        marks = [self.watermark(tally.stream, tally.app)] if tally.marks and tally.is_complete else []
        await self.put([pull], marks)
        self.complete.update((mark.stream, mark.app_id) for mark in marks)
        self.pulls.append(pull)
        place = (tally.stream, pull.app_id)
        tally.tell(pull, again=self._failing.get(place) == pull.error_class)
        self._failing[place] = pull.error_class

    def _check_outage(self) -> None:
        if self._outages >= MOST_OUTAGES:
            raise Unavailable(f"not asked: {self._outages} streams in a row had no answer")

    def _count_outage(self, error: DifyMetricError | None) -> None:
        self._outages = self._outages + 1 if isinstance(error, Unavailable) else 0


async def _end_of(storing: asyncio.Task[None] | None) -> None:
    if storing is not None:
        await asyncio.shield(storing)


def _is_closed(tally: Tally | None) -> bool:
    return tally is not None and isinstance(tally.error, Forbidden)
