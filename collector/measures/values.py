"""The values of one measure in all rows: what the database said, or what follows from it.

What comes in are the cells of the rows; what goes out are ints, floats, Decimals, instants or None (not known). Ratios
and rates are divided here, after everything has been summed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache, partial
from typing import Any, Final, TypeAlias, cast

from collector.measures.ask import Query
from collector.measures.measure import INSTANT, Kind, Measure, Rounding
from collector.period import Grain, after

Key: TypeAlias = tuple[object, ...]
"""The step's start, if the query has a grain, and the values of its dimensions."""

Cells: TypeAlias = dict[Measure, object]
"""What the database said about one key."""


Columns: TypeAlias = dict[Measure, list[object]]
"""What the database said of each measure, in the order of keys; UNSAID where it said nothing."""

UNSAID: Final = object()


def columns_of(measures: Iterable[Measure], cells: Iterable[Cells]) -> Columns:
    """Cells by measure; `measures` are those that the database works out."""
    return {measure: [each.get(measure, UNSAID) for each in cells] for measure in measures}


def values_of(measure: Measure, keys: Sequence[Key], columns: Columns, query: Query, now: datetime | None) -> list[Any]:
    """The values of a measure in the rows of `keys`. `now`: time after it does not thin out a rate."""
    match measure.kind:
        case Kind.RATIO:
            above, below = (values_of(part, keys, columns, query, now) for part in measure.parts)
            return [_ratio(measure, *pair) for pair in zip(above, below, strict=True)]
        case Kind.RATE:
            seconds = cache(partial(_seconds, query, now))
            counted = values_of(measure.parts[0], keys, columns, query, now)
            steps = [key[0] for key in keys] if query.grain is not Grain.NONE else [None] * len(keys)
            return [_divided(above, seconds(step)) for above, step in zip(counted, steps, strict=True)]
    said = columns.get(measure) or [UNSAID] * len(keys)
    match measure.kind:
        case Kind.MEAN:
            known = (None if mean is UNSAID else cast("float | None", mean) for mean in said)
            return [None if mean is None else _rounded(mean * measure.scale, measure.rounding) for mean in known]
        case Kind.LATEST | Kind.EARLIEST | Kind.SNAPSHOT if measure.unit == INSTANT:
            return [query.period.local(at) if isinstance(at, datetime) else None for at in said]
        case _:
            rows = zip(keys, said, strict=True)
            return [_of_nothing(measure, key, query) if value is UNSAID else value for key, value in rows]


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


def _seconds(query: Query, now: datetime | None, step: object) -> float:
    """How much of a step lies inside the period, and has passed; 0 where none has."""
    start, end = query.period.start, query.period.end
    if query.grain is not Grain.NONE:
        began = cast(datetime, step)
        start, end = max(start, began), min(end, after(began, query.grain, query.period.zone))
    end = min(end, now) if now else end
    return max((end - start).total_seconds(), 0.0)
