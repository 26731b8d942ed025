"""Which days a report is about, and what such a report is called: "week" -> the last whole one, week 2026-W47.

What comes in is what people write and the clock; what goes out is a Span. Knows no zone but through Period.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from collector.errors import QueryError
from collector.period import Grain, Period, floor, zone

DAY, WEEK, MONTH, SPAN = "day", "week", "month", "span"
"""Kinds of report; a span is from one instant to another."""

WHOLE: Mapping[str, Grain] = {DAY: Grain.DAY, WEEK: Grain.WEEK, MONTH: Grain.MONTH}
"""Kinds that come round, and the step they are."""

_NAMED = {
    r"\d{4}-\d{2}-\d{2}": DAY,
    r"\d{4}-?W\d{2}": WEEK,
    r"\d{4}-\d{2}": MONTH,
}


@dataclass(frozen=True)
class Span:
    """A period and what a report about it is called: `week`, `2026-W47`."""

    kind: str  # DAY, WEEK, MONTH, SPAN
    period: Period

    @property
    def label(self) -> str:
        """In a file's name: 2026-11-20, 2026-W47, 2026-11, 2026-11-01--2026-11-15 (the last day is in it)."""
        start = self.period.local(self.period.start)
        if self.kind == DAY:
            return f"{start:%Y-%m-%d}"
        if self.kind == WEEK:
            year, week, _ = start.isocalendar()
            return f"{year}-W{week:02}"
        if self.kind == MONTH:
            return f"{start:%Y-%m}"
        end = self.period.local(max(self.period.start, self.period.end - timedelta(microseconds=1)))
        return f"{start:%Y-%m-%d}--{end:%Y-%m-%d}"

    @property
    def name(self) -> str:
        """week 2026-W47: the same for the same report."""
        return f"{self.kind} {self.label}"

    @property
    def grain(self) -> Grain:
        """The step of its charts: no more than a hundred of them, whole ones."""
        days = self.period.seconds / 86400
        if days <= 2:
            return Grain.HOUR
        if days <= 93:
            return Grain.DAY
        return Grain.WEEK if days <= 700 else Grain.MONTH


def due_at(span: Span, time_of_day: str) -> datetime:
    """When a report is due: at that time (08:00) of the day on which its period has ended."""
    hours, minutes = map(int, time_of_day.split(":"))
    day = span.period.local(span.period.end).date()
    wanted = datetime.combine(day, time(hours, minutes))
    at = span.period.day_start(day) + timedelta(hours=hours, minutes=minutes)
    return at - (span.period.local(at).replace(tzinfo=None) - wanted)  # a clock change since midnight


def last_whole(kind: str, tz: str, now: datetime) -> Span:
    """The last day, week or month that is over."""
    place, grain = zone(tz), WHOLE[kind]
    end = floor(now, grain, place)
    return Span(kind, Period(floor(end - timedelta(microseconds=1), grain, place), end, place))


def span_of(name: str, *, since: str = "", until: str = "", tz: str, now: datetime) -> Span:
    """What people write -> Span. `name`: day, week, month (the last whole one), 2026-11-20, 2026-W47, 2026-11, or span
    with `since` and perhaps `until`, as questions take them. Raises QueryError naming the field."""
    name = name.strip()
    if since or until:
        if name not in ("", SPAN):
            raise QueryError(
                f"period: {name[:40]!r} says which days already; leave since and until away, or ask for span",
                field="period",
                choices=(SPAN,),
            )
        if not since:
            raise QueryError("since: wanted beside until, such as 2026-11-01", field="since")
        return Span(SPAN, Period.parse(since=since, until=until or None, tz=tz, now=now))
    if name in WHOLE:
        return last_whole(name, tz, now)
    for form, kind in _NAMED.items():
        if re.fullmatch(form, name, re.ASCII):
            return Span(kind, _named(name, tz, now))
    raise QueryError(
        f"period: no {name[:40]!r}; wanted day, week, month, a day (2026-11-20), week (2026-W47) or month (2026-11), "
        "or span with since",
        field="period",
        choices=(*WHOLE, SPAN),
    )


def _named(name: str, tz: str, now: datetime) -> Period:
    try:
        return Period.parse(since=name, tz=tz, now=now)
    except QueryError as error:
        raise QueryError(f"period: {error}", field="period") from None
