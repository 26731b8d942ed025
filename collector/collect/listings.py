"""The listings of an app, read down to their watermark; the first time over all its past, pass after pass.

What comes in are an app and one of its endpoints; what goes out are Steps. Keeps the first walks whose time ran out,
so that the next pass goes on where they stopped. Nothing here stores or knows a path.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from collector.collect.backlog import Backlog
from collector.collect.completeness import Completeness
from collector.collect.passes import Pass, ReadWatermark
from collector.collect.tally import Tally
from collector.errors import DifyMetricError
from collector.pull.endpoints import RUNS, Endpoint, Paging
from collector.pull.reader import Reader
from collector.pull.step import Step
from collector.records import CONSOLE, App, Conversation, Reach, Run

FIRST_WALKS = 0.5
"""The share of a pass's time after which first walks pause, so that they do not starve what comes after."""


@dataclass
class _FirstWalk:
    steps: AsyncGenerator[Step, None]
    newest: datetime  # what is younger was read by the passes since
    listed: int = 0
    total: int | None = None
    cursor: str | None = None


class Listings:
    """Reads listings; before that of an app's runs, `completeness` is told to count them."""

    def __init__(self, reader: Reader, backlog: Backlog, watermark: ReadWatermark, completeness: Completeness) -> None:
        self._reader = reader
        self._backlog = backlog
        self._watermark = watermark
        self._completeness = completeness
        self._paused: dict[tuple[str, str], _FirstWalk] = {}

    async def aclose(self) -> None:
        """Let go of walks that were to go on; a later start begins them anew."""
        for walk in self._paused.values():
            await walk.steps.aclose()
        self._paused.clear()

    async def read(self, one_pass: Pass, app: App, endpoint: Endpoint) -> None:
        """One listing of one app. Raises Unauthorized and StoreError."""
        tally = one_pass.tally(endpoint.stream, app, marks=True)
        await one_pass.follow(tally, self._steps(one_pass, app, endpoint, tally))
        if tally.ties_lost:
            self._completeness.doubt(app, tally)

    async def _steps(self, one_pass: Pass, app: App, endpoint: Endpoint, tally: Tally) -> AsyncIterator[Step]:
        options = one_pass.options
        counted = await self._completeness.count(one_pass, app) if endpoint.stream == RUNS.stream else None
        mark = await one_pass.stored(partial(self._watermark, CONSOLE, endpoint.stream, app.id))
        walk = self._paused.get((endpoint.stream, app.id))
        reach = None
        if options.back_to is not None:
            reach = await one_pass.stored(partial(self._backlog.reach, endpoint.stream, app.id))
        known_to = mark or (walk.newest if walk else None) or (reach.complete_until if reach else None)
        if known_to is not None:
            async for step in self._reader.listing(endpoint, app, known_to - options.overlap):
                yield step
        if options.back_to is not None:
            # A first pull goes back further than a short back-fill: its watermark would hide what lies between.
            tally.marks = mark is not None or (options.since is not None and options.back_to <= options.since)
            async for step in self._backwards(one_pass, app, endpoint, tally, reach, counted):
                yield step
            return
        if mark is not None:
            return
        if walk is None:
            walk = _FirstWalk(self._reader.listing(endpoint, app, options.since), one_pass.began)
            walk.total = counted
        walk.newest = one_pass.began
        async for step in self._first_steps(one_pass, app, endpoint, walk, tally):
            yield step

    async def _backwards(
        self,
        one_pass: Pass,
        app: App,
        endpoint: Endpoint,
        tally: Tally,
        reach: Reach | None,
        counted: int | None,
    ) -> AsyncIterator[Step]:
        """From where the last back-fill stopped, back to where this one goes; each page says how far that is."""
        back_to = one_pass.options.back_to or one_pass.began
        low = reach.complete_from if reach else None
        if low is not None and low <= back_to:
            return
        triggered_from = endpoint.params.get("triggered_from", "")
        start, done, total = None, 0, counted
        if endpoint.paging is Paging.CURSOR and low is not None:
            start = await one_pass.stored(partial(self._backlog.run_from, app.id, low, triggered_from))
            done = await one_pass.stored(partial(self._backlog.run_count, app.id, low, triggered_from))
        async for step in self._reader.listing(endpoint, app, back_to, start, low):
            done += sum(isinstance(record, Run | Conversation) for record in step.records) + step.parse_failures
            total = total if total is not None else step.total
            one_pass.listed(tally, done, max(done, total) if total is not None else None)
            if (at := _oldest(step)) and endpoint.sorted_by == "created_at" and not step.parse_failures:
                # Of the last second on the page, the next page may hold more.
                low = at + timedelta(seconds=1) if low is None else min(low, at + timedelta(seconds=1))
                step.marks.append(_reach(one_pass, app, endpoint, max(low, back_to)))
            yield step
        yield Step(requests=0, marks=[_reach(one_pass, app, endpoint, back_to)])

    async def _first_steps(
        self, one_pass: Pass, app: App, endpoint: Endpoint, walk: _FirstWalk, tally: Tally
    ) -> AsyncIterator[Step]:
        key = (endpoint.stream, app.id)
        self._paused.pop(key, None)
        try:
            async for step in walk.steps:
                walk.listed += (
                    sum(isinstance(record, Run | Conversation) for record in step.records) + step.parse_failures
                )
                walk.cursor = step.cursor
                one_pass.listed(tally, walk.listed, step.total or walk.total)
                yield step
                if not one_pass.in_time(FIRST_WALKS):
                    self._paused[key] = walk
                    tally.is_interrupted = True
                    return
        except DifyMetricError:
            if walk.cursor:  # a numbered walk begins anew
                walk.steps = self._reader.listing(endpoint, app, one_pass.options.since, walk.cursor)
                self._paused[key] = walk
            raise


def _oldest(step: Step) -> datetime | None:
    return min((r.created_at for r in step.records if isinstance(r, Run | Conversation) and r.created_at), default=None)


def _reach(one_pass: Pass, app: App, endpoint: Endpoint, low: datetime) -> Reach:
    high = one_pass.began - one_pass.options.margin
    return Reach(source=CONSOLE, stream=endpoint.stream, app_id=app.id, complete_from=low, complete_until=high)
