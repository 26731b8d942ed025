"""Numbers counted over all time without reading all of it each time: what facts of long ago add up to is remembered.

What comes in are measures with the labels each is wanted by; what goes out are floats, the same as `counting.numbers`
gives. Facts are taken in three parts, by when they began: those of earlier days, those of today, and those of the last
hour or two, which are the only ones that are read again when facts come in as they happen. Whatever is told of an
earlier part has that one counted anew. Where rows remember nothing, everything is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from collector.faces.counting import JOINED, Exact, Values, Wanted, added, number, query_of, tables, told
from collector.measures.ask import Moment
from collector.measures.measure import Measure
from collector.measures.reading import Asking
from collector.measures.sources import State
from collector.measures.still import Extent, Rows, remembered, whole
from collector.period import Period
from collector.rollups import ROLLUPS, Level

EARLIER, TODAY = timedelta(hours=6), timedelta(hours=1)
"""How long ago facts began at least that are taken for settled: so late they are seldom told."""

NEAR = timedelta(minutes=30)
"""What belongs together (a message and its rating) does not begin further apart than in this order."""

_DATED = {rollup.facts for rollup in ROLLUPS}
_ALL = State(versions=frozenset())
"""Reads facts, and no rollups."""


def numbers_so_far(
    wanted: Iterable[Wanted], rows: Rows, period: Period, moment: Moment, state: State, now: datetime
) -> dict[Measure, Values]:
    """Each measure by its labels. `period` should be the same at every call, or most of it is counted again."""
    earlier, today = Level.DAY.start(now - EARLIER), Level.HOUR.start(now - TODAY)
    found: dict[Measure, Values] = {}
    for each in tables(wanted, at_once=True):
        asked = _Asked(tuple(each), period, moment)
        first = each[0][0]
        if first.at is None or first.kind not in JOINED:  # it is of now and has no age, or does not add up
            found |= told(asked.answered(rows, state)[0])
            continue
        settled = _Settled.of(asked, rows, state, earlier, today)
        for some in tables(each):
            latest = replace(asked, wanted=tuple(some), began_from=today)
            found |= settled.beside(latest.answered(rows, _ALL)[0])
    return found


@dataclass(frozen=True)
class _Asked:
    """Measures of one table, over its facts that began in a span of time."""

    wanted: tuple[Wanted, ...]
    period: Period
    moment: Moment
    began_from: datetime | None = None
    began_before: datetime | None = None

    def answered(self, rows: Rows, state: State) -> tuple[dict[Measure, Exact], Extent]:
        """Each by its labels, and the facts of which it was counted; counted when nobody has since they changed."""
        key = _Asked, self.wanted, self.began_from is None, self.began_before is None

        def work(rows: Rows) -> tuple[tuple[dict[Measure, Exact], Extent], Extent]:
            found, extent = self._counted(rows, state)
            return (found, extent), extent

        return remembered(rows, key, work, asked=self)

    def _counted(self, rows: Rows, state: State) -> tuple[dict[Measure, Exact], Extent]:
        asking = Asking(rows, state)
        query = replace(
            query_of(self.wanted, self.period, self.moment), began_from=self.began_from, began_before=self.began_before
        )
        found = dict(added(self.wanted, query, asking.facts(query)[0].items()))
        if self.began_before is None:
            return found, whole(*asking.tables)
        near = dict.fromkeys(asking.tables & _DATED, self.began_before + NEAR)
        own = {facts.table: self.began_before for measure, _ in self.wanted for facts in measure.facts}
        return found, {**whole(*asking.tables), **near, **own}


@dataclass(frozen=True)
class _Settled:
    """What facts add up to that are not of just now: as the database said it, and as floats."""

    exact: dict[Measure, Exact]
    told: dict[Measure, Values]

    @classmethod
    def of(cls, asked: _Asked, rows: Rows, state: State, earlier: datetime, today: datetime) -> _Settled:
        """Of all that began before `today`, in two parts."""

        def work(rows: Rows) -> tuple[_Settled, Extent]:
            found: dict[Measure, Exact] = {}
            extent: dict[str, datetime] = {}
            for each in tables(asked.wanted):
                parts = [
                    replace(asked, wanted=tuple(each), began_before=earlier),
                    replace(asked, wanted=tuple(each), began_from=earlier, began_before=today),
                ]
                answers = [part.answered(rows, state) for part in parts]
                found |= _joined([answer for answer, _ in answers])
                for _, of in answers:
                    extent |= {table: max(until, extent.get(table, until)) for table, until in of.items()}
            return cls(found, told(found)), extent

        return remembered(rows, (_Settled, asked.wanted), work, asked=(asked, earlier, today))

    def beside(self, latest: dict[Measure, Exact]) -> dict[Measure, Values]:
        """Together with what is new."""
        found: dict[Measure, Values] = {}
        for measure, exact in latest.items():
            values, before, join = dict(self.told[measure]), self.exact[measure], JOINED[measure.kind]
            for labels, value in exact.items():
                values[labels] = number(join(before[labels], value) if labels in before else value)
            found[measure] = values
        return found


def _joined(parts: Sequence[dict[Measure, Exact]]) -> dict[Measure, Exact]:
    first, *others = parts
    found = {measure: dict(exact) for measure, exact in first.items()}
    for other in others:
        for measure, exact in other.items():
            values, join = found[measure], JOINED[measure.kind]
            for labels, value in exact.items():
                values[labels] = join(values[labels], value) if labels in values else value
    return found
