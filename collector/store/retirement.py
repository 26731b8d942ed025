"""Facts that are old enough to go, a day at a time; their rollups stay.

What comes in are ages by table; what goes out is how many facts went. A day goes when it is older than its age, its
rollups say what its facts say, and nothing was told of it for a week: a back-fill that is still reading it comes first.
The day in which counting began stays: counters begin inside of it, and never fall. Nothing here knows a rollup's
columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from collector.errors import StoreError
from collector.rollups import BEGINNING, ROLLUPS, Level, Rollup
from collector.store.rollup import step_of
from collector.store.session import Session

GRACE = timedelta(days=7)
"""How long nothing must have been told of a day before it may go."""

_BY_FACTS = {rollup.facts: rollup for rollup in ROLLUPS}

_DAY = step_of("created_at", Level.DAY)


def due(
    session: Session, ages: Mapping[str, timedelta], now: datetime, counting: datetime
) -> list[tuple[str, datetime]]:
    """Tables and days whose facts may go, oldest first. Raises StoreError for a table that keeps no rollup."""
    found = []
    for facts, age in ages.items():
        sql = f"""
            SELECT {_DAY} AS day FROM {facts}
            WHERE created_at >= $beginning AND created_at < $until AND {_going(_rollup(facts))}
              AND {_DAY} NOT IN
                (SELECT {step_of("starts_at", Level.DAY)} FROM rollup_mark WHERE facts = $facts)
            GROUP BY day HAVING max(seen_at) < $quiet ORDER BY day
        """
        bounds = {"beginning": BEGINNING, "until": Level.DAY.start(now - age), "quiet": now - GRACE, "facts": facts}
        found += [(facts, day) for (day,) in session.run(sql, {**bounds, **_kept(counting)})]
    return sorted(found, key=lambda place: place[1])


def retire(session: Session, facts: str, day: datetime, counting: datetime) -> int:
    """Remove the facts of one day, in the open transaction; how many."""
    within = f"created_at >= $low AND created_at < $high AND {_going(_rollup(facts))}"
    bounds = {"low": day, "high": day + Level.DAY.length, **_kept(counting)}
    whose = [name if name in _columns(facts) else "NULL" for name in ("app_id", "workspace_id", "origin")]
    session.run(
        f"INSERT INTO retired_day SELECT $facts, $low, {', '.join(whose)}, count(*) FROM {facts} WHERE {within} "
        "GROUP BY ALL",
        {"facts": facts, **bounds},
    )
    ((number,),) = session.run(f"DELETE FROM {facts} WHERE {within}", bounds)
    return int(number)


def _rollup(facts: str) -> Rollup:
    try:
        return _BY_FACTS[facts]
    except KeyError:
        raise StoreError(f"{facts} cannot be kept by age; there are {', '.join(_BY_FACTS)}") from None


def _columns(facts: str) -> set[str]:
    return {field.name for field in msgspec.structs.fields(_BY_FACTS[facts].record)}


def _going(rollup: Rollup) -> str:
    """All facts but those that counters read themselves: of the day in which counting began."""
    at = ["created_at", *(["coalesce(finished_at, created_at)"] if rollup.has_end else [])]
    return " AND ".join(f"NOT ({each} >= $counting AND {each} < $counted)" for each in at)


def _kept(counting: datetime) -> dict[str, datetime]:
    start = Level.DAY.start(counting)
    return {"counting": start, "counted": start + Level.DAY.length}
