"""When Dify's statistics are read, and what of them is believed: recent days again and again, history once.

What comes in is a pass and its apps; what goes out are Steps. A day is asked again until it is three days old. What
was stored is never replaced by less: Dify cleans its history up, ours stays. Nothing here knows a path.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias, cast

from collector.collect.passes import Pass, ReadWatermark
from collector.errors import Unavailable
from collector.ledger import Telling
from collector.period import EARLIEST, Grain, Period, after, floor, zone
from collector.pull.console import Console
from collector.pull.statistics import STATISTICS, account_timezone, statistics
from collector.pull.step import Step
from collector.pull.together import together
from collector.records import CONSOLE, App, Record, Statistic

Rows: TypeAlias = Callable[[str, Sequence[object]], Sequence[tuple[object, ...]]]

STREAM = "statistics"

SETTLED_AFTER = timedelta(days=3)
"""How old a day is when it is not asked about any more: runs that began on it have ended, and clean-ups may begin."""

LONGEST_HISTORY = timedelta(days=400)
"""How far back the first reading goes at most."""

_KNOWN = "SELECT id, number, amount FROM dify_statistic WHERE app_id = ? AND created_at >= ?"


class Statistics:
    """Reads the statistics of apps that are due. Remembers refusals, so that they are not called for at once."""

    def __init__(self, console: Console, rows: Rows, watermark: ReadWatermark) -> None:
        self._console = console
        self._rows = rows
        self._watermark = watermark
        self._tried: dict[str, datetime] = {}  # by app
        self._zone: tuple[datetime, str] | None = None  # of the pass that began then
        self._asking = asyncio.Lock()

    async def read(self, one_pass: Pass, apps: Sequence[App], workspace_id: str | None) -> None:
        """One Pull per app that is due. Raises Unauthorized and StoreError."""
        due = (partial(self._read, one_pass, app, workspace_id) for app in apps if app.mode in STATISTICS)
        async for _ in together(due, one_pass.width):
            pass

    async def _read(self, one_pass: Pass, app: App, workspace_id: str | None) -> None:
        mark = await one_pass.stored(partial(self._watermark, CONSOLE, STREAM, app.id))
        read_at = mark + one_pass.options.margin if mark else None
        last = max((at for at in (read_at, self._tried.get(app.id)) if at), default=None)
        if last is not None and one_pass.began - last < one_pass.options.statistics_every:
            return
        tally = one_pass.tally(STREAM, app, marks=True)
        await one_pass.follow(tally, self._steps(one_pass, app, mark, workspace_id))
        if not isinstance(tally.error, Unavailable):
            self._tried[app.id] = one_pass.began

    async def _steps(
        self, one_pass: Pass, app: App, mark: datetime | None, workspace_id: str | None
    ) -> AsyncIterator[Step]:
        place = await self._timezone(one_pass)
        days = _due(one_pass, app, mark, place)
        telling = Telling(source=CONSOLE, seen_at=one_pass.began, workspace_id=workspace_id, app_id=app.id)
        step = await statistics(self._console, app, days, telling)
        known = await one_pass.stored(partial(self._rows, _KNOWN, [app.id, days.start]))
        step.records = _grown(step.records, known)
        yield step

    async def _timezone(self, one_pass: Pass) -> str:
        async with self._asking:
            if self._zone is None or self._zone[0] != one_pass.began:
                self._zone = one_pass.began, await account_timezone(self._console)
            return self._zone[1]


def _due(one_pass: Pass, app: App, mark: datetime | None, timezone: str) -> Period:
    """The local days to ask about, today the last: those not settled when last read, at first all there are."""
    place = zone(timezone)
    since = mark - SETTLED_AFTER if mark else max(one_pass.options.since or EARLIEST, app.created_at or EARLIEST)
    today = floor(one_pass.began, Grain.DAY, place)
    first = floor(max(since, one_pass.began - LONGEST_HISTORY), Grain.DAY, place)
    return Period(min(first, today), after(today, Grain.DAY, place), place)


def _grown(told: Sequence[Record], known: Sequence[tuple[object, ...]]) -> list[Record]:
    """What was told, without what is less than what we know."""
    before = {cast(str, key): (number, amount) for key, number, amount in known}
    return [record for record in told if not _is_less(record, before)]


def _is_less(record: Record, before: dict[str, tuple[object, object]]) -> bool:
    if not isinstance(record, Statistic):
        return False
    number, amount = before.get(record.id, (None, None))
    told = record.number if number is not None else record.amount
    stored = number if number is not None else amount
    return stored is not None and (told is None or told < stored)  # type: ignore[operator]
