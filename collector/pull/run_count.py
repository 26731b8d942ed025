"""How many runs Dify has: one question, and since when its answer counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from collector.errors import Forbidden, NotFound, Rejected, ShapeError
from collector.fields import integer
from collector.pull import endpoints
from collector.pull.console import Console

SPANS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)), ("s", timedelta(seconds=1)))
"""How Dify writes a time to look back."""


class RunCount(NamedTuple):
    """How many runs there are, of those created at `since` or later (None: of all)."""

    total: int
    since: datetime | None


async def run_count(
    console: Console, clock: Callable[[], datetime], app_id: str, within: timedelta | None = None
) -> RunCount | None:
    """How many app runs Dify has of an app, `within` that time at most; None where it does not say (before 1.10).

    Dify takes whole days, hours, minutes or seconds, so it may be asked about a little less than `within`.
    """
    asked = {"triggered_from": endpoints.APP_RUN}
    if within is not None:
        unit, length = next(((u, each) for u, each in SPANS if within >= each), SPANS[-1])
        number = max(within // length, 1)
        asked["time_range"], within = f"{number}{unit}", number * length
    since = None if within is None else clock() - within
    try:
        total = integer(await console.get(endpoints.RUN_COUNT, asked, app_id=app_id), "total")
    except (NotFound, Rejected, Forbidden, ShapeError):
        return None
    return None if total is None else RunCount(total, since)
