"""A question: measures, period, grain, dimensions, filters. What comes in is what people write; what goes out is a
Query in which every name has been looked up, or a QueryError that names the field at fault.

Nothing here knows SQL or runs anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any, Self

from collector.errors import QueryError
from collector.measures.catalogue import CATALOGUE, Catalogue
from collector.measures.dimension import Dimension
from collector.measures.filters import Filter, filters
from collector.measures.measure import INSTANT, Measure
from collector.period import Compare, Grain, Period

TIME = "time"
"""The column of an answer that says where its step starts."""

LONGEST = timedelta(days=36525)
"""The longest period: finding the clock changes in it takes time."""

MOST_MEASURES, MOST_DIMENSIONS = 200, 10
"""More in one question are refused: nobody reads so wide a table."""

BEFORE, CHANGE = "_before", "_change"
"""What is put behind a measure's name: its value in the period compared with, and how much it grew since (0.5: by
half)."""

BARE: dict[str, Any] = {"order": (), "top": None, "other": False, "totals": False, "after": None, "limit": None}
"""The parts of a query that shape its answer, all left away."""


class Fill(StrEnum):
    """What stands where nothing happened."""

    NONE = "none"  # no row
    ZERO = "zero"  # a row: 0 in what adds up, null in what does not
    NULL = "null"  # a row without numbers


class Moment(StrEnum):
    """Which instant of a fact puts it into the period."""

    CREATED = "created"  # when it began: the default
    FINISHED = "finished"  # when it became final


@dataclass(frozen=True)
class Order:
    """Sort an answer by one of its columns."""

    by: str
    is_descending: bool = False


@dataclass(frozen=True)
class After:
    """Go on behind a row: the values it had in the columns that rows are sorted by (`sorting`)."""

    row: tuple[object, ...]
    question: str  # of which it is the answer's: Query.fingerprint
    seen: int = 0  # rows on this page and those before


@dataclass(frozen=True, kw_only=True)
class Query:
    """One question to the catalogue. Raises QueryError when its parts do not fit each other.

    `by` gets the dimensions a measure must be split by (money: the currency) by itself. `top` keeps the groups that
    are biggest in the first measure over the whole period, `other` sums up the rest of them; `limit` keeps the first
    rows after sorting, those after the row of `after`. `compare` sets an earlier period beside; `totals` wants the
    answer for the whole period, without `by` and `grain`, as well. Of what is in the period, `began_from` leaves out
    facts that began earlier, and `began_before` those that did not: it keeps those that began nobody knows when.
    """

    measures: tuple[Measure, ...]
    period: Period
    by: tuple[Dimension, ...] = ()
    grain: Grain = Grain.NONE
    where: tuple[Filter, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int | None = None
    top: int | None = None
    after: After | None = None
    other: bool = False
    totals: bool = False
    compare: Compare | None = None
    fill: Fill = Fill.NONE
    moment: Moment = Moment.CREATED
    include_debug: bool = False
    began_from: datetime | None = None
    began_before: datetime | None = None

    def __post_init__(self) -> None:
        if not self.measures:
            raise QueryError("a query needs a measure", field="measure")
        forced = (dimension for measure in self.measures for dimension in _forced(measure))
        object.__setattr__(self, "by", tuple(dict.fromkeys((*self.by, *forced))))
        self._check_fit()
        self._check_order()
        self._check_size()
        if self.other and self.top is None:
            raise QueryError("other is what top leaves out: it needs top", field="other", remedy="add top=10")
        if self.after is not None and self.after.question != self.fingerprint:
            raise QueryError(
                "the cursor belongs to another question",
                field="cursor",
                remedy="ask the question of before unchanged, but for cursor and limit; or begin again without cursor",
            )

    @classmethod
    def of(
        cls,
        measures: str | Iterable[str],
        *,
        period: Period,
        by: str | Iterable[str] = (),
        grain: str = Grain.NONE,
        where: Mapping[str, object] | Iterable[str] = (),
        order: str | Iterable[str] = (),
        limit: int | None = None,
        top: int | None = None,
        after: After | None = None,
        other: bool = False,
        totals: bool = False,
        compare: str | None = None,
        fill: str = Fill.NONE,
        moment: str = Moment.CREATED,
        include_debug: bool = False,
        catalogue: Catalogue = CATALOGUE,
    ) -> Self:
        """What people write -> Query. Names may be a list or one text with commas between them.

        `where` is `{"app_id": ["a", "b"], "!status": "failed"}` or texts like `app:a`, `!status:failed`, `model^gpt-`
        and `status_code>=500`: see `collector.measures.filters`. `order` is names, `-` before one that goes down.
        """
        return cls(
            measures=catalogue.measures(names_in(measures)),
            period=period,
            by=tuple(dict.fromkeys(catalogue.dimension(name) for name in names_in(by))),
            grain=Grain.named(grain),
            where=filters(where, catalogue),
            order=tuple(_order(name, catalogue) for name in names_in(order)),
            limit=limit,
            top=top,
            after=after,
            other=other,
            totals=totals,
            compare=Compare.named(compare) if compare else None,
            fill=_fill(fill),
            moment=Moment(moment),
            include_debug=include_debug,
        )

    @property
    def wants_debug(self) -> bool:
        """Whether console test runs belong into the answer: when asked for, or when the query speaks of them."""
        return self.include_debug or any(
            dimension.name == "is_debug" for dimension in (*self.by, *(each.dimension for each in self.where))
        )

    @property
    def as_a_whole(self) -> Query:
        """The same question about the whole period, split by nothing that may be summed over."""
        return replace(self, by=(), grain=Grain.NONE, fill=Fill.NONE, include_debug=self.wants_debug, **BARE)

    @property
    def sorting(self) -> tuple[Order, ...]:
        """By what rows are sorted: as asked, else the biggest first of a `top`; then by time and dimensions."""
        orders = self.order
        if not orders and self.top is not None and self.grain is Grain.NONE:
            orders = (Order(self.measures[0].name, is_descending=True),)
        return (*orders, *(Order(name) for name in self.keys))

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that tell rows apart."""
        return (*((TIME,) if self.grain is not Grain.NONE else ()), *(dimension.name for dimension in self.by))

    @property
    def apart(self) -> tuple[int, ...]:
        """The places in `by` of the dimensions that are never summed over: the currency of money."""
        forced = {dimension for measure in self.measures for dimension in _forced(measure)}
        return tuple(place for place, dimension in enumerate(self.by) if dimension in forced)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns after those: each measure, beside it what it was before and how it changed."""
        if self.compare is None:
            return tuple(measure.name for measure in self.measures)
        return tuple(name for measure in self.measures for name in compared(measure))

    @property
    def fingerprint(self) -> str:
        """The same for the same question, whatever part of the answer is wanted."""
        told = [
            [[each.name for each in self.measures], [each.name for each in self.by]],
            [[each.dimension.name, each.match, each.is_negated, *each.values] for each in self.where],
            [[each.by, each.is_descending] for each in self.order],
            [self.period.start, self.period.end, self.period.zone.key, self.grain, self.compare, self.moment],
            [self.top, self.other, self.fill, self.include_debug, self.began_from, self.began_before],
        ]
        return sha256(repr(told).encode()).hexdigest()[:16]

    def _check_size(self) -> None:
        if self.period.end - self.period.start > LONGEST:
            raise QueryError("a period longer than a hundred years has no answer", field="since")
        for name in ("limit", "top"):
            if (bound := getattr(self, name)) is not None and bound < 1:
                raise QueryError(f"{name} wants a number, 1 or more, got {bound}", field=name)
        for field, asked, most in (("measure", self.measures, MOST_MEASURES), ("by", self.by, MOST_DIMENSIONS)):
            if len(asked) > most:
                raise QueryError(f"{len(asked)} are more than an answer has: at most {most}", field=field)

    def _check_fit(self) -> None:
        asked = [("by", dimension) for dimension in self.by]
        asked += [("where", each.dimension) for each in self.where]
        for measure in self.measures:
            for field, dimension in asked:
                if dimension not in measure.by:
                    raise self._misfit(measure, dimension, field)
            if measure.at is None and self.grain is not Grain.NONE:
                raise QueryError(f"{measure.name} is of now and has no steps; ask it without a grain", field="grain")

    def _check_order(self) -> None:
        columns = (*self.keys, *self.numbers)
        for order in self.order:
            if order.by not in columns:
                raise QueryError(
                    f"no column {order.by!r} to sort by; there are {', '.join(columns)}", field="order", choices=columns
                )

    def _misfit(self, measure: Measure, dimension: Dimension, field: str) -> QueryError:
        needing = next((each.name for each in self.measures if dimension in _forced(each)), None)
        if needing:
            return QueryError(
                f"{measure.name} cannot be split by {dimension.name}, which {needing} needs; ask for them apart",
                field="measure",
            )
        there = [each.name for each in measure.by]
        wanted = f"{measure.name} cannot be split by {dimension.name}; it can by {', '.join(there)}"
        return QueryError(wanted, field=field, choices=there)


def _forced(measure: Measure) -> tuple[Dimension, ...]:
    return (*measure.always_by, *(dimension for part in measure.parts for dimension in _forced(part)))


def compared(measure: Measure) -> tuple[str, ...]:
    """The columns of a measure that is compared; instants do not grow."""
    names = (measure.name, measure.name + BEFORE)
    return names if measure.unit == INSTANT else (*names, measure.name + CHANGE)


def names_in(written: str | Iterable[str]) -> list[str]:
    """Names that may stand with commas between them."""
    parts = [written] if isinstance(written, str) else list(written)
    return [name for part in parts for name in (piece.strip() for piece in part.split(",")) if name]


def _order(written: str, catalogue: Catalogue) -> Order:
    name = written.removeprefix("-")
    with suppress(QueryError):  # a measure or the time: checked against the columns of the answer
        name = catalogue.dimension(name, field="order").name
    return Order(name, written.startswith("-"))


def _fill(written: str) -> Fill:
    try:
        return Fill(written)
    except ValueError:
        raise QueryError(f"no fill {written!r}; there are {', '.join(Fill)}", field="fill", choices=Fill) from None
