"""Whether every run that Dify counts is stored: listings lose some, and only counting shows it.

Runs created at one instant cannot all be listed (a page's cursor means "created strictly before that run"), and
`has_more=false` says nothing of them. So Dify is asked for its count before an app's runs are listed, and what is
stored is counted when everything that may bring a run has been read: listing, app log, messages.

What comes in are a pass and its apps; what goes out is one Pull per comparison and its app, which says
how many are missing. Nothing here reads a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from msgspec.structs import replace

from collector.collect.backlog import Backlog
from collector.collect.passes import Pass
from collector.collect.tally import Tally
from collector.errors import DifyMetricError
from collector.pull.endpoints import APP_RUN, RUNS
from collector.pull.reader import Reader
from collector.pull.step import Step
from collector.records import App

log = structlog.get_logger()

STREAM = "run-count"

SEEN_AGAIN = timedelta(days=1)
"""How far before the last comparison that found nothing missing the next one begins."""


@dataclass(frozen=True)
class _Count:
    """How many runs Dify had when a pass began, of those created at `since` or later (None: of all)."""

    total: int
    since: datetime | None


class Completeness:
    """Compares, for each app, as often as statistics are read. `warnings` counts what the log warned of."""

    def __init__(self, reader: Reader, backlog: Backlog, warnings: Counter[str]) -> None:
        self._reader, self._backlog, self._warnings = reader, backlog, warnings
        self._counts: dict[str, _Count] = {}  # by app, of this pass
        self._compared: dict[str, datetime] = {}  # by app
        self._whole: dict[str, datetime] = {}  # by app, when nothing was missing last
        self._missing: Counter[str] = Counter()  # by app, when it was last compared

    async def count(self, one_pass: Pass, app: App) -> int | None:
        """Ask Dify for its count of an app, before its runs are listed; None where that is not due or not told."""
        self._counts.pop(app.id, None)
        last = self._compared.get(app.id)
        if last is not None and one_pass.began - last < one_pass.options.statistics_every:
            return None
        since = self._since(one_pass, app)
        within = None if since is None else one_pass.began - since
        with suppress(DifyMetricError):  # only a comparison: the listing itself will say what is wrong
            told = await self._reader.run_count(app, within)
            if told is not None:
                # Of the first second and of clocks that differ, we count more rather than less.
                low = None if told.since is None else told.since - one_pass.options.margin
                self._counts[app.id] = _Count(told.total, low)
                return told.total
        return None

    async def compare(self, one_pass: Pass, apps: Mapping[str, App]) -> None:
        """Compare the apps whose runs were counted and listed to their end in this pass. Raises StoreError."""
        counts, self._counts = self._counts, {}
        for app_id, counted in counts.items():
            if app_id in apps and (RUNS.stream, app_id) in one_pass.complete:
                tally = one_pass.tally(STREAM, apps[app_id])
                await one_pass.follow(tally, self._compare(one_pass, apps[app_id], counted, tally))

    def doubt(self, app: App, tally: Tally) -> None:
        """A listing said that it lost some: say so, and compare in the next pass."""
        self._compared.pop(app.id, None)
        self._warnings["ties_lost"] += 1
        log.warning(
            "ties lost",
            stream=tally.stream,
            app=tally.name,
            next="of records created at one instant some were not listed; app logs and messages bring runs they name",
        )

    def _since(self, one_pass: Pass, app: App) -> datetime | None:
        """From when on we have everything, if nothing was lost; None: from the app's beginning."""
        whole = self._whole.get(app.id)
        options = one_pass.options
        since = whole - SEEN_AGAIN if whole else options.back_to or options.since
        return since if since and (app.created_at is None or app.created_at < since) else None

    async def _compare(self, one_pass: Pass, app: App, counted: _Count, tally: Tally) -> AsyncIterator[Step]:
        await one_pass.flush()
        stored = await one_pass.stored(partial(self._backlog.run_count, app.id, counted.since, APP_RUN))
        tally.missing = max(counted.total - stored, 0)
        self._compared[app.id] = one_pass.began
        if not tally.missing:
            self._whole[app.id] = one_pass.began
        elif self._missing[app.id] != tally.missing:
            self._warnings["listing_incomplete"] += 1
            log.warning(
                "listing incomplete",
                stream=RUNS.stream,
                app=tally.name,
                missing=tally.missing,
                counted=counted.total,
                next="runs created at one instant cannot all be listed; Dify's database has them",
            )
        self._missing[app.id] = tally.missing
        yield Step([replace(app, missing_runs=tally.missing)])
