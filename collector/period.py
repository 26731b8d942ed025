"""Periods of time: half-open [start, end), their grains and time zones. The only place that knows a time zone.

What comes in is what people write ("7d", "2025-06", "2025-06-03T10:00", "now"); what goes out are UTC instants.
The clock is an argument everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from collector.errors import QueryError


class Grain(StrEnum):
    """The step of a period. Below a day steps are cut in UTC, from a day on in the time zone asked for."""

    NONE = "none"
    MINUTE = "minute"
    QUARTER_HOUR = "15m"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"  # Monday to Monday
    MONTH = "month"
    YEAR = "year"

    @property
    def is_calendar(self) -> bool:
        """Whether its steps follow a local calendar (and so the time zone matters)."""
        return self in (Grain.DAY, Grain.WEEK, Grain.MONTH, Grain.YEAR)

    @classmethod
    def named(cls, name: str) -> Grain:
        """The grain of that name. Raises QueryError listing the names there are."""
        try:
            return cls(name)
        except ValueError:
            raise QueryError(f"no grain {name!r}; there are {', '.join(cls)}", field="grain", choices=cls) from None


FIXED_STEPS = {
    Grain.MINUTE: timedelta(minutes=1),
    Grain.QUARTER_HOUR: timedelta(minutes=15),
    Grain.HOUR: timedelta(hours=1),
}

_SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_YEAR, _MONTH = re.compile(r"\d{4}"), re.compile(r"\d{4}-\d{2}")


def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises QueryError for any other name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise QueryError(
            f"no time zone {name!r}; IANA names such as Asia/Shanghai or UTC are known", field="tz"
        ) from None


@lru_cache(maxsize=256)
def _offsets(start: datetime, end: datetime, place: ZoneInfo) -> tuple[tuple[datetime, timedelta], ...]:
    found, at = [(start, _distance(start, place))], start
    while at < end:
        later = min(at + timedelta(days=1), end)
        if _distance(later, place) != found[-1][1]:
            found.append((_change(at, later, place), _distance(later, place)))
        at = later
    return tuple(found)


def _change(before: datetime, later: datetime, place: ZoneInfo) -> datetime:
    """The first whole second after `before` at which the distance from UTC is that of `later`."""
    low, high = int(before.timestamp()), int(later.timestamp()) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if _distance(datetime.fromtimestamp(middle, UTC), place) == _distance(later, place):
            high = middle
        else:
            low = middle
    return datetime.fromtimestamp(high, UTC)


def _distance(at: datetime, place: ZoneInfo) -> timedelta:
    return at.astimezone(place).utcoffset() or timedelta()


def span(written: str) -> timedelta:
    """ "30s", "15m", "4h", "7d", "2w" -> timedelta. Raises QueryError."""
    found = _SPAN.fullmatch(written.strip())
    if not found or int(found[1]) == 0:
        raise QueryError(f"no span {written!r}; a number and one of s, m, h, d, w is wanted, such as 7d", field="since")
    try:
        return timedelta(**{_SPANS[found[2]]: int(found[1])})
    except OverflowError:
        raise QueryError(f"a span of {written!r} is too long", field="since") from None


@dataclass(frozen=True)
class Period:
    """[start, end) in UTC, looked at in a time zone."""

    start: datetime
    end: datetime
    zone: ZoneInfo

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise QueryError("a period needs instants with a time zone", field="since")
        if self.start > self.end:
            raise QueryError(
                f"the period starts at {self.start.isoformat()}, after its end {self.end.isoformat()}", field="since"
            )
        object.__setattr__(self, "start", self.start.astimezone(UTC))
        object.__setattr__(self, "end", self.end.astimezone(UTC))

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.start).total_seconds()

    def __contains__(self, at: datetime) -> bool:
        return self.start <= at < self.end

    def offsets(self) -> tuple[tuple[datetime, timedelta], ...]:
        """The zone's distances from UTC inside the period: (from when on, distance), oldest first, never empty.

        With these a day is arithmetic: no database needs to know a time zone, or agree with ours about one.
        """
        return _offsets(self.start, self.end, self.zone)

    def day_start(self, day: date) -> datetime:
        """The UTC instant at which a local calendar day begins."""
        return datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)

    def local(self, at: datetime) -> datetime:
        """An instant as the zone's clocks show it, at a fixed distance from UTC.

        Fixed, since Python compares two times of one zone by their clock faces: of an hour that happens twice it would
        say that both are the same.
        """
        shown = at.astimezone(self.zone)
        return shown.astimezone(timezone(shown.utcoffset() or timedelta()))

    def previous(self) -> Period:
        """The period of the same length right before. Whole local months, weeks and days give their forerunners."""
        local_start, local_end = self.start.astimezone(self.zone), self.end.astimezone(self.zone)
        months = _whole_months(local_start, local_end)
        if months:
            return Period(_shift_months(local_start, -months), local_start, self.zone)
        naive = local_end.replace(tzinfo=None) - local_start.replace(tzinfo=None)
        if _is_midnight(local_start) and _is_midnight(local_end):
            return Period((local_start.replace(tzinfo=None) - naive).replace(tzinfo=self.zone), local_start, self.zone)
        return Period(self.start - (self.end - self.start), self.start, self.zone)

    def steps(self, grain: Grain) -> list[datetime]:
        """The UTC start of every step of the grain that the period touches, oldest first; [] for Grain.NONE."""
        if grain is Grain.NONE:
            return []
        found, at = [], floor(self.start, grain, self.zone)
        while at < self.end:
            found.append(at)
            at = after(at, grain, self.zone)
        return found

    @classmethod
    def parse(
        cls, *, since: str | None = None, until: str | None = None, tz: str = "UTC", now: datetime, default: str = "7d"
    ) -> Period:
        """What people write -> Period.

        `since`: a span back from `until` ("7d"), a year, month, day or instant ("2025-06", "2025-06-03T10:00+08:00").
        `until`: a year, month, day or instant (a year, month or day is meant whole), or "now" (the default; a `since`
        that names a year, month or day without `until` is that whole year, month or day).
        Raises QueryError naming the field.
        """
        place = zone(tz)
        since = since or default
        if _SPAN.fullmatch(since.strip()):
            end = _bounds(until, place, now, "until")[1] if until else now
            return cls(end - span(since), end, place)
        start, whole_end = _bounds(since, place, now, "since")
        end = _bounds(until, place, now, "until")[1] if until else (whole_end if whole_end > start else now)
        return cls(start, max(end, start) if not until else end, place)


def floor(at: datetime, grain: Grain, place: tzinfo) -> datetime:
    """The UTC start of the step that holds `at`."""
    if grain in FIXED_STEPS:
        step = FIXED_STEPS[grain]
        return at - (at - datetime(1970, 1, 1, tzinfo=UTC)) % step
    local = at.astimezone(place).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    if grain is Grain.WEEK:
        local -= timedelta(days=local.weekday())
    elif grain is Grain.MONTH:
        local = local.replace(day=1)
    elif grain is Grain.YEAR:
        local = local.replace(month=1, day=1)
    return local.replace(tzinfo=place).astimezone(UTC)


def after(at: datetime, grain: Grain, place: tzinfo) -> datetime:
    """The UTC start of the step after the one that starts at `at`."""
    if grain in FIXED_STEPS:
        return at + FIXED_STEPS[grain]
    local = at.astimezone(place).replace(tzinfo=None)
    if local.hour >= 12:  # a midnight that a clock change skipped or moved
        local += timedelta(hours=24 - local.hour)
    if grain is Grain.DAY:
        local += timedelta(days=1)
    elif grain is Grain.WEEK:
        local += timedelta(days=7)
    else:
        local = _shift_months(local, 1 if grain is Grain.MONTH else 12)
    return local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=place).astimezone(UTC)


def _bounds(written: str, place: ZoneInfo, now: datetime, field: str) -> tuple[datetime, datetime]:
    """The [start, end) a written time means; an instant has no length."""
    written = written.strip()
    if written == "now":
        return now, now
    try:
        if _YEAR.fullmatch(written):
            start = datetime(int(written), 1, 1)
            return start.replace(tzinfo=place), _shift_months(start, 12).replace(tzinfo=place)
        if _MONTH.fullmatch(written):
            start = datetime.fromisoformat(f"{written}-01")
            return start.replace(tzinfo=place), _shift_months(start, 1).replace(tzinfo=place)
        at = datetime.fromisoformat(written)
        if len(written) == 10 and at.tzinfo is None:
            return at.replace(tzinfo=place), (at + timedelta(days=1)).replace(tzinfo=place)
        at = at if at.tzinfo else at.replace(tzinfo=place)
        return at, at
    except (ValueError, OverflowError):
        raise QueryError(
            f"{field}: no time {written!r}; wanted a span (7d), a year, month (2025-06), day or instant",
            field=field,
        ) from None


def _shift_months(at: datetime, months: int) -> datetime:
    count = at.year * 12 + at.month - 1 + months
    return at.replace(year=count // 12, month=count % 12 + 1)


def _is_midnight(at: datetime) -> bool:
    return (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0)


def _whole_months(start: datetime, end: datetime) -> int:
    if start.day != 1 or end.day != 1 or not _is_midnight(start) or not _is_midnight(end):
        return 0
    return (end.year - start.year) * 12 + end.month - start.month
