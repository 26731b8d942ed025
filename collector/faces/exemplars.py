"""Exemplars: behind each bucket of a histogram the newest run or message that fell into it, for OpenMetrics.

In come histograms and a period, out goes at most one fact per bucket: which run (a message where there is none), of
which app, how long it took and when it ended. The id is no label of a series. Nothing here reads a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias, cast
from zoneinfo import ZoneInfo

from collector.faces.counting import Histogram, Labels, label_of
from collector.faces.exposition import ABOVE, Exemplar
from collector.faces.families import APP, Family
from collector.measures.ask import Moment, Query
from collector.measures.catalogue import CATALOGUE
from collector.measures.dimension import Dimension
from collector.measures.fragments import Facts
from collector.measures.measure import Kind, Measure
from collector.measures.query import Rows, totals
from collector.measures.sources import State
from collector.period import Period
from collector.records import Message, ModelCall, NodeExecution, Run

RECENT = timedelta(minutes=15)
"""How old an exemplar may be: Prometheus takes each once, and few facts come later than that."""

MOST_LETTERS = 128
"""Of the names and values of one exemplar's labels, as OpenMetrics 1.0 has it."""

_IDS: Mapping[Facts, tuple[str, str]] = {
    Run: ("id", "NULL"),
    NodeExecution: ("run_id", "NULL"),
    ModelCall: ("run_id", "coalesce(message_id, id)"),
    Message: ("run_id", "id"),
}
"""Where the ids of the run and of the message stand."""


Exemplars: TypeAlias = Mapping[Labels, Exemplar]
"""By labels of the series, with the bucket's bound at the end."""


@dataclass(frozen=True, eq=False)
class Newest:
    """What finds the exemplars of one histogram."""

    family: Family
    measure: Measure
    bucket: Dimension

    @classmethod
    def of(cls, family: Family) -> Newest | None:
        """None for a histogram of what is neither of a run nor of a message."""
        number = Histogram.of(family).number
        (facts,) = number.facts
        if facts not in _IDS:
            return None
        run, message = _IDS[facts]
        column = number.column
        cases = " ".join(f"WHEN ({column}) <= {bound:g} THEN '{bound:g}'" for bound in family.buckets)
        said = "The bucket it falls into."
        bucket = Dimension(
            name="bucket",
            title="Bucket",
            title_zh="区间",
            help=said,
            columns={facts: f"CASE {cases} ELSE '{ABOVE}' END"},
        )
        newest = replace(
            number,
            name=f"{number.name}_newest",
            kind=Kind.LATEST,
            column=f"row(coalesce(finished_at, created_at), {run}, {message}, app_id, {column})",
            by=(*number.by, bucket),
        )
        return cls(family, newest, bucket)

    def found(self, names: Labels, rows: Rows, now: datetime, end: datetime, state: State) -> Exemplars:
        """The newest of each bucket among what ended lately, by labels of these names."""
        labels = tuple(CATALOGUE.dimension(name) for name in names)
        query = Query(
            measures=(self.measure,),
            by=(*labels, self.bucket),
            period=Period(now - RECENT, end, ZoneInfo("UTC")),
            moment=Moment.FINISHED,
        )
        exemplars: dict[Labels, Exemplar] = {}
        for (*key, bound), cells in totals(query, rows, state).items():
            if (newest := cells.get(self.measure)) and (made := self._made(cast("tuple[object, ...]", newest))):
                series = (label_of(each.name, value) for each, value in zip(labels, key, strict=True))
                exemplars[*series, str(bound)] = made
        return exemplars

    def _made(self, newest: tuple[object, ...]) -> Exemplar | None:
        at, run, message, app, value = newest
        named = ("run_id", run) if run else ("message_id", message)
        labels = [named, *([] if APP in self.family.labels or not app else [(APP, app)])]
        written = tuple((name, str(told)) for name, told in labels)
        if not named[1] or sum(len(name) + len(told) for name, told in written) > MOST_LETTERS:
            return None
        return Exemplar(written, float(cast(float, value)), cast(datetime, at).timestamp())


def placed(exemplars: Exemplars, places: Mapping[Labels, Labels]) -> Exemplars:
    """The exemplars where their series are counted, the newest where several are counted together."""
    found: dict[Labels, Exemplar] = {}
    for (*series, bound), exemplar in exemplars.items():
        if (place := places.get(tuple(series))) is None:
            continue
        key = (*place, bound)
        if key not in found or found[key].at < exemplar.at:
            found[key] = exemplar
    return found


def finders(families: Iterable[Family]) -> dict[Family, Newest]:
    """What finds them, for every histogram that has any."""
    found = {family: Newest.of(family) for family in families if family.kind == "histogram"}
    return {family: newest for family, newest in found.items() if newest}
