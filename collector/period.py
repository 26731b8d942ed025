"""Periods of time: half-open [start, end), their grains and time zones. The only place that knows a time zone.

What comes in is what people write ("7d", "2025-06", "2025-06-03T10:00", "now"); what goes out are UTC instants.
The clock is an argument everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
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


class Compare(StrEnum):
    """An earlier period to hold one against."""

    PREVIOUS = "previous"  # of the same length, right before
    LAST_WEEK = "last_week"  # the same days, a week earlier
    LAST_MONTH = "last_month"
    LAST_YEAR = "last_year"

    @classmethod
    def named(cls, name: str) -> Compare:
        """The comparison of that name. Raises QueryError listing the names there are."""
        try:
            return cls(name)
        except ValueError:
            there = ", ".join(cls)
            raise QueryError(f"no compare {name!r}; there are {there}", field="compare", choices=cls) from None


FIXED_STEPS = {
    Grain.MINUTE: timedelta(minutes=1),
    Grain.QUARTER_HOUR: timedelta(minutes=15),
    Grain.HOUR: timedelta(hours=1),
}

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Periods lie between these: far enough from the ends of the calendar that every step has a next one."""

_SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"(\d{1,8})([smhdw])", re.ASCII)
_YEAR, _MONTH, _WEEK = (re.compile(form, re.ASCII) for form in (r"\d{4}", r"\d{4}-\d{2}", r"\d{4}-?W\d{2}"))


def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name, or of utc, as Grafana writes it. Raises QueryError for any other name."""
    try:
        return ZoneInfo("UTC" if name == "utc" else name)
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
    return timedelta(**{_SPANS[found[2]]: int(found[1])})


@dataclass(frozen=True)
class Period:
    """[start, end) in UTC, looked at in a time zone."""

    start: datetime
    end: datetime
    zone: ZoneInfo

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise QueryError("a period needs instants with a time zone", field="since")
        if self.start < EARLIEST or self.end > LATEST:
            raise QueryError(f"a period lies between {EARLIEST:%Y-%m-%d} and {LATEST:%Y-%m-%d}", field="since")
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
        return _utc(datetime(day.year, day.month, day.day), self.zone)

    def local(self, at: datetime) -> datetime:
        """An instant as the zone's clocks show it, at a fixed distance from UTC.

        Fixed, since Python compares two times of one zone by their clock faces: of an hour that happens twice it would
        say that both are the same.
        """
        shown = at.astimezone(self.zone)
        return shown.astimezone(timezone(shown.utcoffset() or timedelta()))

    def previous(self) -> Period:
        """The period of the same length right before. Whole local months and days give as many whole ones."""
        months = self._whole_months()
        if months:
            return Period(_utc(_shift_months(self._local(self.start), -months), self.zone), self.start, self.zone)
        if self._is_whole(Grain.DAY):
            first, end = self._local(self.start), self._local(self.end)
            return Period(_utc(first - (end - first), self.zone), self.start, self.zone)
        return Period(self.start - (self.end - self.start), self.start, self.zone)

    def earlier(self, compare: Compare, now: datetime | None = None) -> Period:
        """The earlier period to compare with. Of a period that is not over at `now`, as much as has passed of it.

        On the calendar of the zone: a week before a local midnight is a local midnight. A day that the earlier month
        does not have is its last one.
        """
        if compare is Compare.PREVIOUS:
            whole = self.previous()
        else:
            whole = Period(self._back(self.start, compare), self._back(self.end, compare), self.zone)
        if now is None or now >= self.end:
            return whole
        passed = _shown(max(now, self.start), self.zone)
        distance = _shown(self.start, self.zone) - _shown(whole.start, self.zone)
        return Period(whole.start, min(max(_utc(passed - distance, self.zone), whole.start), whole.end), self.zone)

    def _back(self, at: datetime, compare: Compare) -> datetime:
        shown = _shown(at, self.zone)
        if compare is Compare.LAST_WEEK:
            return _utc(shown - timedelta(days=7), self.zone)
        months = 1 if compare is Compare.LAST_MONTH else 12
        first = _shift_months(shown.replace(day=1), -months)
        following = _shift_months(first, 1)
        return _utc(first + timedelta(days=min(shown.day, (following - first).days) - 1), self.zone)

    def steps(self, grain: Grain) -> list[datetime]:
        """The UTC start of every step of the grain that the period touches, oldest first; [] for Grain.NONE."""
        if grain is Grain.NONE:
            return []
        found, at = [], floor(self.start, grain, self.zone)
        while at < self.end:
            found.append(at)
            at = after(at, grain, self.zone)
        return found

    def _is_whole(self, grain: Grain) -> bool:
        return self.start < self.end and all(floor(at, grain, self.zone) == at for at in (self.start, self.end))

    def _whole_months(self) -> int:
        if not self._is_whole(Grain.MONTH):
            return 0
        first, end = self._local(self.start), self._local(self.end)
        return (end.year - first.year) * 12 + end.month - first.month

    def _local(self, at: datetime) -> datetime:
        """The midnight on the calendar of a day's start, also where a clock change skipped that midnight."""
        return at.astimezone(self.zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)

    @classmethod
    def parse(
        cls, *, since: str | None = None, until: str | None = None, tz: str = "UTC", now: datetime, default: str = "7d"
    ) -> Period:
        """What people write -> Period.

        `since`: a span back from `until` ("12h"; "7d" and "2w" are days on the calendar), a year, month, week, day or
        instant ("2025", "2025-06", "2025-W23", "2025-06-03", "2025-06-03T10:00+08:00").
        `until`: the same without spans (a year, month, week or day is meant whole), or "now". Without it a `since`
        that names a year, month, week or day means that whole one, anything else lasts until now.
        Raises QueryError naming the field.
        """
        place = zone(tz)
        since = (since or default).strip()
        last, last_end = _bounds(until or "now", place, now, "until")
        end = last_end or last
        if _SPAN.fullmatch(since):
            return cls(_back(end, since, place), end, place)
        start, whole_end = _bounds(since, place, now, "since")
        if not until:
            return cls(start, whole_end or max(now, start), place)
        # "2025-07" until "2025-06" would be empty, as both are meant whole; whoever writes it has mixed them up.
        return cls(start, end if last >= start else last, place)


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
    start = _utc(local, place)
    # St John's set its clocks back at 00:01: the day before came again for an hour, after the next one had begun.
    following = after(start, grain, place)
    return following if following <= at else start


def after(at: datetime, grain: Grain, place: tzinfo) -> datetime:
    """The UTC start of the step after the one that starts at `at`."""
    if grain in FIXED_STEPS:
        return at + FIXED_STEPS[grain]
    local = at.astimezone(place).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    if grain is Grain.DAY:
        local += timedelta(days=1)
    elif grain is Grain.WEEK:
        local += timedelta(days=7)
    else:
        local = _shift_months(local, 1 if grain is Grain.MONTH else 12)
    return _utc(local, place)


def _shown(at: datetime, place: tzinfo) -> datetime:
    """What the clocks of a place show, without saying where they hang."""
    return at.astimezone(place).replace(tzinfo=None, fold=0)


def _utc(local: datetime, place: tzinfo) -> datetime:
    """A local time -> UTC; where the clock was put forward over it, the instant of that change."""
    return local.replace(tzinfo=place).astimezone(UTC)


def _back(end: datetime, written: str, place: ZoneInfo) -> datetime:
    """A span before `end`: days and weeks by the calendar, so that seven days before a midnight is a midnight."""
    length = span(written)
    try:
        if written.endswith(("d", "w")):
            return _utc(end.astimezone(place).replace(tzinfo=None) - length, place)
        return end - length
    except OverflowError:
        raise QueryError(f"a span of {written!r} is too long", field="since") from None


def _bounds(written: str, place: ZoneInfo, now: datetime, field: str) -> tuple[datetime, datetime | None]:
    """The start and end a written time means; an instant has no end."""
    written = written.strip()
    if written == "now":
        return now, None
    try:
        if day := _whole_days(written):
            first, following = day
            return _utc(first, place), _utc(following, place)
        at = datetime.fromisoformat(written)
        return (at.astimezone(UTC) if at.tzinfo else _utc(at, place)), None
    except (ValueError, OverflowError):
        span_too = "a span (7d), " if field == "since" else ""
        raise QueryError(
            f"{field}: no time {written!r}; wanted {span_too}a year, month (2025-06), week (2025-W23), day or instant",
            field=field,
        ) from None


def _whole_days(written: str) -> tuple[datetime, datetime] | None:
    """The local midnights around a written year, month, week or day; None for an instant. Raises ValueError."""
    if _YEAR.fullmatch(written):
        first = datetime(int(written), 1, 1)
        return first, _shift_months(first, 12)
    if _MONTH.fullmatch(written):
        first = datetime.fromisoformat(f"{written}-01")
        return first, _shift_months(first, 1)
    if "T" in written or " " in written:
        return None
    first = datetime.combine(date.fromisoformat(written), time())
    return first, first + timedelta(days=7 if _WEEK.fullmatch(written) else 1)


def _shift_months(at: datetime, months: int) -> datetime:
    count = at.year * 12 + at.month - 1 + months
    return at.replace(year=count // 12, month=count % 12 + 1)
