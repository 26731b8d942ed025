"""An answer beside an earlier one: the same question about an earlier period, step by step.

What comes in is a query that compares; what goes out are the earlier facts by the keys of the present ones. The first
step lies beside the first, the second beside the second; days of the week and clock changes move none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

from collector.measures.answer import Compared
from collector.measures.ask import BARE, BEFORE, CHANGE, Fill, Query
from collector.measures.groups import Said, check_steps
from collector.measures.measure import INSTANT, Measure
from collector.measures.sql import leaves
from collector.measures.values import Cells, Key, columns_of, values_of
from collector.period import FIXED_STEPS, Compare, Grain, floor


@dataclass(frozen=True)
class Earlier:
    """What was said of the earlier period, by keys of the present; `back` gives a key of the present its earlier one,
    None where the earlier period has no such step."""

    query: Query
    said: Said
    flags: dict[str, int]
    back: Callable[[Key], Key | None]

    @property
    def told(self) -> Compared:
        """What an answer says of it."""
        return Compared(compare=cast(Compare, self.query.compare), period=self.query.period, flags=self.flags)

    def beside(
        self, measure: Measure, keys: Sequence[Key], values: Sequence[object], cells: Sequence[Cells]
    ) -> dict[str, Sequence[object]]:
        """The columns of a measure in the rows of `keys`: its values, what they were before, and how much they grew."""
        were = [self.back(key) if measure.at is not None else None for key in keys]  # what is of now was not looked at
        known = [(key, each) for key, each in zip(were, cells, strict=True) if key is not None]
        columns = columns_of(leaves([measure]), [each for _, each in known])
        found = iter(values_of(measure, [key for key, _ in known], columns, self.query, None))
        before = [None if key is None else next(found) for key in were]
        beside = {measure.name: values, measure.name + BEFORE: before}
        if measure.unit == INSTANT:
            return beside
        return {**beside, measure.name + CHANGE: [*map(change, values, before)]}


def change(value: object, before: object) -> float | None:
    """How much it grew: 0.5 is by half; None where nothing was, or something is not known."""
    if value is None or not before:
        return None
    return float((value - before) / before)  # type: ignore[operator]


def earlier(query: Query, ask: Callable[[Query], tuple[Said, dict[str, int]]], now: datetime | None) -> Earlier | None:
    """The earlier side of a query; None of one that does not compare. Raises QueryError."""
    if query.compare is None:
        return None
    check_steps(query, "compare")
    period = query.period.earlier(query.compare, now)
    then = replace(query, period=period, fill=Fill.NONE, **BARE)
    there, back = _beside(query, then)
    found, flags = ask(then)
    said = {key: cells for before, cells in found.items() if (key := there(before)) is not None}
    if left_out := len({before[0] for before in found if there(before) is None}):
        flags["steps_left_out"] = left_out
    return Earlier(then, said, flags, back)


def _beside(query: Query, then: Query) -> tuple[Callable[[Key], Key | None], Callable[[Key], Key | None]]:
    """Keys of the earlier period -> keys of this one, and back."""
    if query.grain is Grain.NONE:
        return (lambda key: key), (lambda key: key)
    if query.grain in FIXED_STEPS:
        starts = [floor(each.period.start, query.grain, each.period.zone) for each in (query, then)]
        distance = starts[0] - starts[1]
        return _moved(distance, query.period.end), _moved(-distance, then.period.end)
    pairs = list(zip(query.period.steps(query.grain), then.period.steps(query.grain), strict=False))
    return _found({before: step for step, before in pairs}), _found(dict(pairs))


def _moved(distance: timedelta, end: datetime) -> Callable[[Key], Key | None]:
    def move(key: Key) -> Key | None:
        step = cast(datetime, key[0]) + distance
        return (step, *key[1:]) if step < end else None

    return move


def _found(steps: dict[datetime, datetime]) -> Callable[[Key], Key | None]:
    def find(key: Key) -> Key | None:
        step = steps.get(cast(datetime, key[0]))
        return None if step is None else (step, *key[1:])

    return find
