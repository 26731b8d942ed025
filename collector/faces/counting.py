"""Measures of the catalogue as numbers by labels: what comes in are measures with the labels each is wanted by; what
goes out are floats.

Measures of one table are one statement, split by the labels of them all and added up to the labels of each, so a
scrape reads every table once; only what is counted by bounds is asked for by its own labels, which are few. Nothing
here remembers anything or knows a Prometheus format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from operator import add
from typing import Any, Self, TypeAlias, cast

from collector.faces.families import Family
from collector.failures import ERROR_CLASSES
from collector.measures.ask import Moment, Query
from collector.measures.by_call import IS_DEBUG
from collector.measures.catalogue import CATALOGUE
from collector.measures.fragments import has_column
from collector.measures.measure import Kind, Measure
from collector.measures.query import Rows, totals
from collector.measures.sources import State
from collector.measures.values import Cells, Key
from collector.period import Grain, Period

Labels: TypeAlias = tuple[str, ...]
Values: TypeAlias = dict[Labels, float]
Exact: TypeAlias = dict[Labels, Any]
"""The same as the database said it: money to its last digit."""

Wanted: TypeAlias = tuple[Measure, Labels]
"""A measure and the names of the labels it is wanted by."""

JOINED: Mapping[Kind, Callable[[Any, Any], Any]] = {
    Kind.COUNT: add,
    Kind.TOTAL: add,
    Kind.BUCKETS: add,
    Kind.EARLIEST: min,
    Kind.LATEST: max,
}
"""How the values of finer labels become one; other kinds are asked by their own labels only."""


def numbers(
    wanted: Iterable[Wanted], rows: Rows, period: Period, moment: Moment, state: State | None = None
) -> dict[Measure, Values]:
    """Each measure by its labels, buckets by their bound too. A label that is not known is empty; a value that is not
    known is left out. `state` says which rollups may be read; without it the store is asked.
    """
    found: dict[Measure, Values] = {}
    for each in tables(wanted):
        query = query_of(each, period, moment)
        found |= told(dict(added(each, query, totals(query, rows, state).items())))
    return found


def numbers_by_step(
    wanted: Iterable[Wanted], rows: Rows, period: Period, moment: Moment, grain: Grain
) -> Iterator[tuple[datetime, dict[Measure, Values]]]:
    """The same for every step in which something happened, under its start; tables one after the other."""
    for each in tables(wanted):
        query = query_of(each, period, moment, grain)
        steps: dict[datetime, list[tuple[Key, Cells]]] = {}
        for (start, *key), cells in totals(query, rows).items():
            steps.setdefault(cast(datetime, start), []).append((tuple(key), cells))
        for start, found in steps.items():
            yield start, told(dict(added(each, query, found)))


def counted(measure: Measure, *, when_final: bool = False) -> Measure:
    """The measure over facts that a counter may count: final, and no estimate that real calls may replace."""
    conditions = [measure.where]
    if when_final:
        conditions.append("is_final")
    if measure.record and has_column(measure.record, "is_estimate"):
        conditions.append("NOT is_estimate")
    where = " AND ".join(f"({each})" for each in conditions if each != "TRUE")
    return replace(measure, where=where or "TRUE", flags=())


@dataclass(frozen=True)
class Histogram:
    """What makes a histogram: how many lie between two bounds (the upper one is `le`), how many in all, their sum."""

    between: Measure
    number: Measure
    total: Measure

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All of them."""
        return self.between, self.number, self.total

    @classmethod
    def of(cls, family: Family) -> Self:
        """What fills a family, from the spread it names."""
        spread = CATALOGUE.measures([family.measure])[0]
        base = replace(counted(spread), family=None, quantile=None)
        known = (
            f"({base.column}) IS NOT NULL" if base.where == "TRUE" else f"{base.where} AND ({base.column}) IS NOT NULL"
        )
        name, bounds = spread.family, family.buckets
        return cls(
            replace(base, name=f"{name}_between", kind=Kind.BUCKETS, where=known, bounds=bounds),
            replace(base, name=f"{name}_count", kind=Kind.COUNT, where=known),
            replace(base, name=f"{name}_sum", kind=Kind.TOTAL, where=known),
        )


def said_of(measure: Measure) -> str:
    """What a counter's HELP says: the measure's own help, and which facts are counted when."""
    (facts,) = measure.facts
    when = "Counted when final" if has_column(facts, "is_final") else "Counted"
    left_out = ["console test runs"] if facts in IS_DEBUG.columns else []
    left_out += ["estimates"] if has_column(facts, "is_estimate") else []
    without = f"; {' and '.join(left_out)} left out" if left_out else ""
    return f"{measure.help} {when}, since counting began{without}."


def tables(wanted: Iterable[Wanted], *, at_once: bool = False) -> Iterable[list[Wanted]]:
    """What one statement can answer together; `at_once`: all that stands in one table."""
    found: dict[object, list[Wanted]] = {}
    for measure, labels in wanted:
        # Buckets are read from facts: beside them nothing would be read from rollups.
        is_shared = measure.kind in JOINED and (at_once or measure.kind is not Kind.BUCKETS)
        of_look = (measure.facts, measure.key, labels) if measure.kind is Kind.SNAPSHOT else measure
        shared = (measure.facts, measure.at) if is_shared else of_look
        found.setdefault(shared, []).append((measure, labels))
    return found.values()


def query_of(wanted: Sequence[Wanted], period: Period, moment: Moment, grain: Grain = Grain.NONE) -> Query:
    """The question that all of them need, split by the labels of them all."""
    by = tuple(dict.fromkeys(CATALOGUE.dimension(each) for _, labels in wanted for each in labels))
    measures = tuple(measure for measure, _ in wanted)
    return Query(measures=measures, by=by, period=period, moment=moment, grain=grain)


def added(
    wanted: Sequence[Wanted], query: Query, answered: Iterable[tuple[Key, Cells]]
) -> Iterator[tuple[Measure, Exact]]:
    """What was answered by all labels, added up to the labels of each measure."""
    names = [dimension.name for dimension in query.by]
    found = [*answered]
    keys = [tuple(map(label_of, names, key)) for key, _ in found]
    series_by: dict[Labels, list[Labels]] = {}
    for measure, labels in wanted:
        if labels not in series_by:
            at = [names.index(each) for each in labels]
            series_by[labels] = [tuple([key[place] for place in at]) for key in keys]
        values = Exact()
        for series, (_, cells) in zip(series_by[labels], found, strict=True):
            value = cells.get(measure)
            if isinstance(value, dict):
                for bound, how_many in value.items():
                    _join(values, (*series, f"{bound:g}"), how_many, measure.kind)
            elif value is not None:
                _join(values, series, value, measure.kind)
        yield measure, values


def told(found: Mapping[Measure, Exact]) -> dict[Measure, Values]:
    """As floats."""
    return {measure: {labels: number(value) for labels, value in exact.items()} for measure, exact in found.items()}


def _join(values: Exact, labels: Labels, value: Any, kind: Kind) -> None:
    values[labels] = JOINED[kind](values[labels], value) if labels in values else value


def label_of(name: str, value: object) -> str:
    """The value of a label; empty where it is not known."""
    if value is None:
        return ERROR_CLASSES[-1] if name == "error_class" else ""
    return str(value)


def number(value: object) -> float:
    """What a measure answered, as a float; an instant as seconds since 1970."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, int | float | Decimal):
        return float(value)
    raise TypeError(f"a measure answered {type(value).__name__}")
