"""The value of one measure in one row: what the database said, or what follows from it.

What comes in are the cells of a row; what goes out is an int, float, Decimal, instant or None (not known). Ratios and
rates are divided here, after everything has been summed.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TypeAlias, cast

from collector.measures.ask import Query
from collector.measures.measure import INSTANT, Kind, Measure, Rounding
from collector.period import Grain, after

Key: TypeAlias = tuple[object, ...]
"""The step's start, if the query has a grain, and the values of its dimensions."""

Cells: TypeAlias = dict[Measure, object]
"""What the database said about one key."""


def is_as_said(measure: Measure) -> bool:
    """Whether its value is what the database said, nothing more."""
    return measure.kind not in (Kind.RATIO, Kind.MEAN, Kind.RATE) and measure.unit != INSTANT


def value_of(measure: Measure, key: Key, cells: Cells, query: Query, now: datetime | None) -> object:
    """The value of a measure in the row of `key`. `now`: time after it does not thin out a rate."""
    match measure.kind:
        case Kind.RATIO:
            above, below = (value_of(part, key, cells, query, now) for part in measure.parts)
            return _ratio(measure, above, below)
        case Kind.MEAN:
            found = cells.get(measure)
            return None if found is None else _rounded(cast(float, found) * measure.scale, measure.rounding)
        case Kind.RATE:
            return _divided(value_of(measure.parts[0], key, cells, query, now), _seconds(key, query, now))
        case Kind.LATEST | Kind.EARLIEST | Kind.SNAPSHOT if measure.unit == INSTANT:
            at = cells.get(measure)
            return query.period.local(at) if isinstance(at, datetime) else None
        case _:
            return cells[measure] if measure in cells else _of_nothing(measure, key, query)


def _ratio(measure: Measure, above: object, below: object) -> float | None:
    if above is None or below is None:
        return None
    if not below:
        return measure.of_zero
    rounding = measure.rounding
    if rounding and rounding.is_decimal:
        exact = Decimal(cast(int, above)) * measure.scale / Decimal(cast(int, below))
        return float(exact.quantize(Decimal(1).scaleb(-rounding.digits), ROUND_HALF_EVEN))
    # Scaled before it is divided, as Dify does: the other way round the last digit may differ.
    return _rounded(float(cast(float, above)) * measure.scale / float(cast(float, below)), rounding)


def _rounded(value: float, rounding: Rounding | None) -> float:
    return round(value, rounding.digits) if rounding else value


def _divided(above: object, below: object) -> float | None:
    if above is None or not below:
        return None
    return float(cast(float, above)) / float(cast(float, below))


def _of_nothing(measure: Measure, key: Key, query: Query) -> object:
    """What a measure is where there are no facts: zero if it counts or sums, and of money only in a named currency."""
    if measure.kind in (Kind.COUNT, Kind.DISTINCT, Kind.PEAK):
        return 0
    if measure.kind is not Kind.TOTAL:
        return None
    if measure.is_money:
        named = dict(zip(query.by, key[len(key) - len(query.by) :], strict=True))
        return Decimal(0) if all(named[dimension] is not None for dimension in measure.always_by) else None
    if measure.is_decimal:
        return Decimal(0)
    return 0.0 if measure.unit == "seconds" else 0


def _seconds(key: Key, query: Query, now: datetime | None) -> float:
    """How much of the row's step lies inside the period, and has passed; 0 where none has."""
    start, end = query.period.start, query.period.end
    if query.grain is not Grain.NONE:
        step = cast(datetime, key[0])
        start, end = max(start, step), min(end, after(step, query.grain, query.period.zone))
    end = min(end, now) if now else end
    return max((end - start).total_seconds(), 0.0)
