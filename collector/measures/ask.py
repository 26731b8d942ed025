"""A question: measures, period, grain, dimensions, filters. What comes in is what people write; what goes out is a
Query in which every name has been looked up, or a QueryError that names the field at fault.

Nothing here knows SQL or runs anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Self

from collector.errors import QueryError
from collector.measures.catalogue import CATALOGUE, Catalogue
from collector.measures.dimensions import Dimension
from collector.measures.measure import Measure
from collector.period import Grain, Period

TIME = "time"
"""The column of an answer that says where its step starts."""

LONGEST = timedelta(days=36525)
"""The longest period: finding the clock changes in it takes time."""

_BOOLEANS = {"true": True, "false": False}


class Fill(StrEnum):
    """What stands where nothing happened."""

    NONE = "none"  # no row
    ZERO = "zero"  # a row: 0 in what adds up, null in what does not


class Moment(StrEnum):
    """Which instant of a fact puts it into the period."""

    CREATED = "created"  # when it began: the default
    FINISHED = "finished"  # when it became final


@dataclass(frozen=True)
class Filter:
    """Keep the facts whose dimension has (or, negated, has not) one of the values; None is "not known"."""

    dimension: Dimension
    values: tuple[object, ...]
    is_negated: bool = False


@dataclass(frozen=True)
class Order:
    """Sort an answer by a measure, a dimension or TIME."""

    by: str
    is_descending: bool = False


@dataclass(frozen=True, kw_only=True)
class Query:
    """One question to the catalogue. Raises QueryError when its parts do not fit each other.

    `by` gets the dimensions a measure must be split by (money: the currency) by itself. `top` keeps the groups that
    are biggest in the first measure over the whole period; `limit` the first rows after sorting.
    """

    measures: tuple[Measure, ...]
    period: Period
    by: tuple[Dimension, ...] = ()
    grain: Grain = Grain.NONE
    where: tuple[Filter, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int | None = None
    top: int | None = None
    fill: Fill = Fill.NONE
    moment: Moment = Moment.CREATED
    include_debug: bool = False

    def __post_init__(self) -> None:
        if not self.measures:
            raise QueryError("a query needs a measure", field="measure")
        forced = (dimension for measure in self.measures for dimension in _forced(measure))
        object.__setattr__(self, "by", tuple(dict.fromkeys((*self.by, *forced))))
        self._check_fit()
        self._check_order()
        if self.period.end - self.period.start > LONGEST:
            raise QueryError("a period longer than a hundred years has no answer", field="since")
        for name in ("limit", "top"):
            if (bound := getattr(self, name)) is not None and bound < 1:
                raise QueryError(f"{name} wants a number, 1 or more, got {bound}", field=name)

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
        fill: str = Fill.NONE,
        moment: str = Moment.CREATED,
        include_debug: bool = False,
        catalogue: Catalogue = CATALOGUE,
    ) -> Self:
        """What people write -> Query. Names may be a list or one text with commas between them.

        `where` is `{"app_id": ["a", "b"], "!status": "failed"}` or texts like `app:a` and `!status:failed`; the same
        dimension twice means either value, nothing after the colon means "not known". `order` is names, `-` before
        one that goes down.
        """
        return cls(
            measures=catalogue.measures(_names(measures)),
            period=period,
            by=tuple(dict.fromkeys(catalogue.dimension(name) for name in _names(by))),
            grain=Grain.named(grain),
            where=_filters(where, catalogue),
            order=tuple(_order(name, catalogue) for name in _names(order)),
            limit=limit,
            top=top,
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
        columns = [*((TIME,) if self.grain is not Grain.NONE else ()), *(each.name for each in self.by)]
        columns += [measure.name for measure in self.measures]
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


def _names(written: str | Iterable[str]) -> list[str]:
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


def _filters(written: Mapping[str, object] | Iterable[str], catalogue: Catalogue) -> tuple[Filter, ...]:
    pairs = _spread(written) if isinstance(written, Mapping) else [_pair(each) for each in written if each]
    found: dict[tuple[Dimension, bool], list[object]] = {}
    for name, value in pairs:
        dimension = catalogue.dimension(name.removeprefix("!"), field="where")
        found.setdefault((dimension, name.startswith("!")), []).append(_value(value, dimension))
    return tuple(Filter(dimension, tuple(values), negated) for (dimension, negated), values in found.items())


def _spread(written: Mapping[str, object]) -> list[tuple[str, object]]:
    return [
        (name, value)
        for name, values in written.items()
        for value in (values if isinstance(values, list | tuple | set | frozenset) else [values])
    ]


def _pair(written: str) -> tuple[str, str]:
    name, colon, value = written.partition(":")
    if not colon:
        raise QueryError(f"where wants dimension:value, such as app:shop, got {written[:80]!r}", field="where")
    return name.strip(), value.strip()


def _value(value: object, dimension: Dimension) -> object:
    if value is None or value == "":
        return None
    if dimension.kind is bool:
        found = _BOOLEANS.get(str(value).lower())
        if found is None:
            raise QueryError(f"{dimension.name} is true or false, got {str(value)[:80]!r}", field="where")
        return found
    if dimension.kind is int:
        try:
            return int(str(value))
        except ValueError:
            raise QueryError(f"{dimension.name} is a whole number, got {str(value)[:80]!r}", field="where") from None
    return str(value)
