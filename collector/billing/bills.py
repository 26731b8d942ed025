"""Billing periods: what is in them, closing them, and what changed since.

A period is a month in the price book's time zone. It is open while it lasts, settling when it is over (late facts still
arrive), and closed when somebody closed it: then its lines are kept and do not change. What a closed period would be
rated at today, less what was billed for it so far, is billed as corrections in the first period that is not closed;
once facts of its days are gone because of their age, nothing of it is corrected any more.

What comes in are `rows` and `arrow` of a store, `keep` (which stores a closed period with its lines, or nothing) and
the price book; what goes out are lines, statements and differences. Periods are closed in their order, each once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from collector.access import EVERYTHING, Sight
from collector.bill_lines import LINES, ClosedPeriod
from collector.billing import holes, rating, statement
from collector.billing.book import Book
from collector.billing.budgets import BudgetState, states
from collector.billing.conversion import Converted, convert
from collector.billing.rating import Arrow
from collector.billing.remembered import Remembered
from collector.billing.statement import BY, Statement, Total
from collector.billing.visible import visible
from collector.errors import QueryError
from collector.measures.query import Rows
from collector.period import Grain, Period, after, floor, zone

OPEN, SETTLING, CLOSED = "open", "settling", "closed"

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])", re.ASCII)
_CLOSED = """
SELECT period, starts_at, ends_at, timezone, book, lines, digest, seal, closed_at, closed_by
FROM bill_period ORDER BY starts_at
"""
_KEPT = f"SELECT {', '.join(LINES.names)} FROM bill_line WHERE period = $period ORDER BY corrects NULLS FIRST, id"
RATED = ("model_call", "node_execution", "run", "message", "request")
"""Tables of what is rated, or says who pays."""


class Keep(Protocol):
    """A store's `close_period`."""

    def __call__(self, closed: ClosedPeriod, lines: pa.Table) -> None: ...


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One period in a list."""

    period: str
    state: str  # open, settling, closed
    starts_at: datetime
    ends_at: datetime
    closed_at: datetime | None = None
    closed_by: str | None = None
    lines: int | None = None
    digest: str | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What a period was billed at, beside what it is rated at now or by another book."""

    period: str
    state: str
    is_intact: bool | None  # whether digest and seal are those of the kept lines; None: not closed
    before: list[Total]
    after: list[Total]
    days_gone: int  # that have lost their facts to age: then a closed period cannot be rated anew, and stays as it is
    lines: pa.Table  # what came (or, below zero, went), by key; empty: nothing changed


@dataclass(frozen=True)
class _Month:
    name: str
    period: Period
    closed: ClosedPeriod | None

    def state(self, now: datetime) -> str:
        if self.closed is not None:
            return CLOSED
        return SETTLING if now >= self.period.end else OPEN


class Bills:
    """The bills of one store. Safe to use from several threads."""

    def __init__(
        self, rows: Rows, arrow: Arrow, keep: Keep, book: Callable[[], Book], clock: Callable[[], datetime]
    ) -> None:
        """`book` is asked each time, and raises SettingsError where there is none or it is wrong."""
        self._rows, self._arrow, self._keep, self._book, self._clock = rows, arrow, keep, book, clock
        self._closing, self._remembered = Lock(), Remembered(rows)

    def periods(self, sight: Sight = EVERYTHING) -> list[Listed]:
        """Every period from the first facts, or the first closed one, until now; oldest first.

        Who does not see everything is not told how many lines there are.
        """
        book, closed, now = self._book(), self._closed(), self._clock()
        first = holes.beginning(self._rows, book)
        starts = [each.starts_at for each in closed] + ([first] if first else [])
        place = zone(book.timezone)
        at = floor(min(starts, default=now), Grain.MONTH, place)
        by_name = {each.period: each for each in closed}
        found = []
        while at <= now:
            name = f"{at.astimezone(place):%Y-%m}"
            month = self._month(name, book, by_name)
            found.append(_listed(month, now, sight))
            at = after(at, Grain.MONTH, place)
        return found

    def states(self) -> dict[str, str]:
        """Every period by name, with a text that is another one whenever its lines may be others."""
        book, closed = self._book(), {each.period: each for each in self._closed()}
        around = (book.digest, *self._remembered.around())
        months = [self._month(each.period, book, closed) for each in self.periods()]
        facts = {month.name: self._remembered.facts(month.name, month.period) for month in months}
        billed = [
            (name, facts[name], holes.days_gone(self._rows, month.period)) for name, month in _closed_among(months)
        ]
        last = max((each.ends_at for each in closed.values()), default=None)
        found = {}
        for month in months:
            if month.closed is not None:
                found[month.name] = f"{month.closed.seal} {facts[month.name][-1]}"
                continue
            is_heir = last == month.period.start
            state = (*around, *facts[month.name], *(billed if is_heir else ()))
            found[month.name] = hashlib.sha256(repr(state).encode()).hexdigest()
        return found

    def lines(self, name: str, sight: Sight = EVERYTHING) -> pa.Table:
        """The lines of a period that are seen: as kept where it is closed, else as they would be kept now."""
        closed, book = {each.period: each for each in self._closed()}, self._book()
        return visible(self._lines(self._month(name, book, closed), book, closed), sight, self._rows)

    def bounds(self, name: str) -> tuple[Period, bool]:
        """From when until when a period lasts, and whether it is closed."""
        month = self._month(name, self._book(), {each.period: each for each in self._closed()})
        return month.period, month.closed is not None

    def closed_until(self) -> datetime | None:
        """The end of the last closed period; None: none is."""
        return max((each.ends_at for each in self._closed()), default=None)

    def statement(self, name: str, by: Sequence[str] = BY, sight: Sight = EVERYTHING) -> Statement:
        """One period's bill, added up by these columns, as far as it is seen."""
        book = self._book()
        closed = {each.period: each for each in self._closed()}
        month = self._month(name, book, closed)
        lines = visible(self._lines(month, book, closed), sight, self._rows)
        told = statement.by_model(visible(rating.reported(self._arrow, book, month.period), sight, self._rows))
        listed = _listed(month, self._clock(), sight)
        doubts = holes.doubts(self._rows, book, month.period, is_closed=month.closed is not None)
        return Statement(
            period=name,
            state=listed.state,
            starts_at=listed.starts_at,
            ends_at=listed.ends_at,
            timezone=month.period.zone.key,
            closed_at=listed.closed_at,
            closed_by=listed.closed_by,
            digest=listed.digest,
            is_part=not sight.is_whole,
            lines=len(lines),
            totals=statement.totals(lines),
            groups=statement.groups(lines, by),
            unpriced=statement.unpriced(lines),
            reported=statement.reported(told),
            charged_as_reported=statement.charged_as_reported(lines),
            calls=sum(row["calls"] for row in told),
            unmeasured=sum(row["unmeasured"] for row in told),
            warnings=[*doubts, *statement.price_doubts(lines, told)],
        )

    def converted(self, name: str, currency: str, sight: Sight = EVERYTHING) -> Converted:
        """A period's totals in one currency, by the rates of its last day, or of today while it lasts."""
        book = self._book()
        closed = {each.period: each for each in self._closed()}
        month = self._month(name, book, closed)
        last = min(self._clock(), month.period.end - timedelta(microseconds=1))
        day = month.period.local(last).date()
        lines = visible(self._lines(month, book, closed), sight, self._rows)
        return convert(statement.totals(lines), book.rates, currency, day)

    def close(self, name: str, by: str) -> ClosedPeriod:
        """Keep a period's lines from now on. Closing again changes nothing.

        Raises QueryError where the period is not over, or not the next in order.
        """
        if not by.strip() or not by.isprintable() or len(by) > 100:
            raise QueryError("by: wanted who closes it, in 1 to 100 printable characters", field="by")
        with self._closing:
            book, now, before = self._book(), self._clock(), self._closed()
            closed = {each.period: each for each in before}
            if name in closed:
                return closed[name]
            month = self._month(name, book, closed)
            _check_closing(month, before, now)
            if gone := holes.days_gone(self._rows, month.period):
                raise QueryError(
                    f"{name} cannot be closed: {gone} of its days have lost facts to their age; keep model calls, runs "
                    "and messages (keep_model_calls, …) until their month is closed",
                    field="period",
                )
            lines = self._lines(month, book, closed, is_fresh=True)
            found = ClosedPeriod(
                period=name,
                starts_at=month.period.start,
                ends_at=month.period.end,
                timezone=book.timezone,
                book=book.digest,
                lines=len(lines),
                digest=statement.digest(lines, month.period.start, month.period.end),
                seal="",
                closed_at=now,
                closed_by=by.strip(),
            )
            seal = statement.seal(found, before[-1].seal if before else "")
            found = msgspec.structs.replace(found, seal=seal)
            self._keep(found, lines)
            return found

    def difference(self, name: str, book: Book | None = None) -> Difference:
        """What a period was billed at, beside what it is rated at now, or by another book. Changes nothing.

        Of a closed period its later corrections count as billed; what it corrects itself does not count. Raises
        QueryError for another book where its facts are gone.
        """
        rate_by = book or self._book()
        closed = {each.period: each for each in self._closed()}
        month = self._month(name, rate_by, closed)
        gone = holes.days_gone(self._rows, month.period)
        if month.closed is not None:
            if gone and book is not None:
                raise QueryError(
                    f"{name} cannot be rated anew: {gone} of its days have lost facts to age", field="book"
                )
            before = self._billed_for(name)
            lines = LINES.empty_table() if gone else rating.corrections(self._arrow, rate_by, month.period, name, name)
        else:
            before = rating.rated(self._arrow, self._book(), month.period, name)
            lines = statement.between(before, rating.rated(self._arrow, rate_by, month.period, name))
        return Difference(
            period=name,
            state=month.state(self._clock()),
            is_intact=self.is_intact(name) if month.closed is not None else None,
            before=statement.totals(before),
            after=statement.totals(pa.concat_tables([before, lines])),
            days_gone=gone,
            lines=lines,
        )

    def budgets(self) -> list[BudgetState]:
        """The state of every budget of the book in the month that lasts."""
        book, now = self._book(), self._clock()
        if not book.budgets:
            return []
        name = f"{now.astimezone(zone(book.timezone)):%Y-%m}"
        closed = {each.period: each for each in self._closed()}
        month = self._month(name, book, closed)
        lines = self._lines(month, book, closed, is_split=any(budget.key for budget in book.budgets))
        return states(book.budgets, lines, name, month.period, now)

    def is_intact(self, name: str) -> bool:
        """Whether the kept lines of a closed period, and of all before it, are those it was closed with."""
        before = ""
        for each in self._closed():
            lines = self._kept(each.period)
            told = statement.digest(lines, each.starts_at, each.ends_at)
            if told != each.digest or len(lines) != each.lines or statement.seal(each, before) != each.seal:
                return False
            if each.period == name:
                return True
            before = each.seal
        raise QueryError(f"{name} is not closed", field="period")

    def _lines(
        self,
        month: _Month,
        book: Book,
        closed: Mapping[str, ClosedPeriod],
        *,
        is_fresh: bool = False,
        is_split: bool = False,
    ) -> pa.Table:
        """`is_split`: by key too, where the month is not closed; corrections know none."""
        if month.closed is not None:
            return self._kept(month.name)
        found = [(rating.split if is_split else rating.rated)(self._arrow, book, month.period, month.name)]
        last = max((each.ends_at for each in closed.values()), default=None)
        if last == month.period.start:  # the first period that is not closed bills what changed in those that are
            found += self._corrections(month.name, book, closed, is_fresh=is_fresh)
        return pa.concat_tables(found, promote_options="default")

    def _corrections(
        self, name: str, book: Book, closed: Mapping[str, ClosedPeriod], *, is_fresh: bool
    ) -> Iterator[pa.Table]:
        """What is billed in a period for each closed one; worked out again only where something has changed."""
        common = () if is_fresh else (name, book.digest, *self._remembered.around())
        for each in closed.values():
            period = Period(each.starts_at, each.ends_at, zone(each.timezone))
            if holes.days_gone(self._rows, period):  # facts that are gone are no refund
                continue
            work_out = partial(rating.corrections, self._arrow, book, period, each.period, name)
            yield work_out() if is_fresh else self._remembered.get(each.period, period, common, work_out)

    def _kept(self, name: str) -> pa.Table:
        return self._arrow(_KEPT, {"period": name}).cast(LINES)

    def _billed_for(self, name: str) -> pa.Table:
        sql = f"""SELECT {", ".join(LINES.names)} FROM bill_line
        WHERE (period = $period AND corrects IS NULL) OR corrects = $period ORDER BY period, id"""
        return self._arrow(sql, {"period": name}).cast(LINES)

    def _closed(self) -> list[ClosedPeriod]:
        found = []
        for row in self._rows(_CLOSED, {}):
            told: dict[str, Any] = dict(zip(ClosedPeriod.__struct_fields__, row, strict=True))
            for at in ("starts_at", "ends_at", "closed_at"):
                told[at] = told[at].astimezone(UTC)
            found.append(ClosedPeriod(**told))
        return found

    def _month(self, name: str, book: Book, closed: Mapping[str, ClosedPeriod]) -> _Month:
        if not _MONTH.fullmatch(name):
            raise QueryError(f"period: wanted a month such as 2026-01, got {name[:80]!r}", field="period")
        if (kept := closed.get(name)) is not None:
            return _Month(name, Period(kept.starts_at, kept.ends_at, zone(kept.timezone)), kept)
        return _Month(name, Period.parse(since=name, tz=book.timezone, now=self._clock()), None)


def _closed_among(months: Iterable[_Month]) -> Iterator[tuple[str, _Month]]:
    return ((month.name, month) for month in months if month.closed is not None)


def _check_closing(month: _Month, before: Sequence[ClosedPeriod], now: datetime) -> None:
    name, period = month.name, month.period
    if now < period.end:
        raise QueryError(f"{name} is not over; it can be closed from {period.end.isoformat()} on", field="period")
    if not before or before[-1].ends_at == period.start:
        return
    last = before[-1]
    if last.ends_at > period.start:
        raise QueryError(
            f"{last.period} is closed already, until {last.ends_at.isoformat()} ({last.timezone}); "
            f"{name} starts before that and cannot be closed any more",
            field="period",
        )
    raise QueryError(f"{last.period} was closed last; close the periods between it and {name} first", field="period")


def _listed(month: _Month, now: datetime, sight: Sight = EVERYTHING) -> Listed:
    closed = month.closed
    whole = closed if sight.is_whole else None
    return Listed(
        period=month.name,
        state=month.state(now),
        starts_at=month.period.start,
        ends_at=month.period.end,
        closed_at=closed.closed_at if closed else None,
        closed_by=closed.closed_by if closed else None,
        lines=whole.lines if whole else None,
        digest=whole.digest if whole else None,
    )
