"""The store's numbers as Prometheus families: queries of the catalogue in, an exposition out.

Counters and histograms are counted from the facts themselves at every scrape, so a restart, a kill or a repeated pull
cannot change them; they count facts that became final at or after `counting_since`, so a back-fill is no burst. A
counter never steps back, even where Dify corrects a fact (`collector.faces.readings`). Nothing here reads a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, product
from operator import add
from threading import Lock
from typing import TypeAlias
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client.exposition import choose_encoder

from collector.access import Scope
from collector.faces.caps import DROPPED, DROPPED_HELP, OTHER, Caps, moved
from collector.faces.counting import JOINED, Histogram, Labels, Values, Wanted, counted, label_of, numbers, said_of
from collector.faces.exposition import Renderer, Shown
from collector.faces.families import (
    ACTIVE_USERS,
    COST,
    COST_LABELS,
    FAMILIES,
    INFO,
    INFO_LABELS,
    WINDOWS,
    Family,
    currency_in_name,
)
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES
from collector.faces.readings import Readings
from collector.faces.so_far import numbers_so_far
from collector.measures.ask import Moment
from collector.measures.catalogue import CATALOGUE
from collector.measures.measure import Measure
from collector.measures.query import Rows
from collector.measures.sources import State
from collector.measures.windows import values_in_windows
from collector.period import Period
from collector.rollups import Level

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_SERIES = 10_000
"""Of one family, where nothing else is set."""

SLACK = timedelta(days=1)
"""Dify's clock may be ahead of ours; what it dates into the near future has happened."""

_COST = counted(CATALOGUE.measure("cost"))
_APPS = CATALOGUE.measure("apps")
_USERS = CATALOGUE.measure("active_users")


def _measure(family: Family) -> Measure:
    measure = CATALOGUE.measure(family.measure)
    return measure if family.kind == "gauge" else counted(measure, when_final=family.when_final)


_HISTOGRAMS = {family: Histogram.of(family) for family in FAMILIES if family.kind == "histogram"}
_SINGLE = {family: _measure(family) for family in FAMILIES if family.kind != "histogram"}
COUNTED: tuple[Wanted, ...] = (
    *((measure, family.labels) for family, measure in _SINGLE.items() if family.kind == "counter"),
    *(
        (each, family.labels)
        for family, made in _HISTOGRAMS.items()
        for each in (made.between, made.number, made.total)
    ),
    (_COST, (*COST_LABELS, "currency")),
)
_GAUGES = {family: measure for family, measure in _SINGLE.items() if family.kind == "gauge"}
GAUGED = (
    *((measure, family.labels) for family, measure in _GAUGES.items() if family.within_seconds is None),
    (_APPS, INFO_LABELS),
)
"""What is told of now, from the facts of all times."""

_AGES = sorted({family.within_seconds for family in _GAUGES if family.within_seconds is not None})
_RECENT: Mapping[int, tuple[Wanted, ...]] = {
    age: tuple((measure, family.labels) for family, measure in _GAUGES.items() if family.within_seconds == age)
    for age in _AGES
}
"""The other gauges, by how many seconds old their facts may be."""


Places: TypeAlias = Mapping[Labels, Labels]
"""Where the values of labels are counted."""


@dataclass(frozen=True)
class Tally:
    """A number this process keeps itself: name, help, label names, and their values now."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Callable[[], Mapping[Labels, float]]
    is_counter: bool = True


class Exposition:
    """All families of one store. Thread-safe; `text` may be called from any thread."""

    def __init__(
        self,
        rows: Rows,
        *,
        clock: Callable[[], datetime],
        counting_since: datetime,
        readings: Readings | None = None,
        tallies: Iterable[Tally] = (),
        others: Callable[[], str | None] = lambda: None,
        most_series: int = MOST_SERIES,
        snapshot: Callable[[], AbstractContextManager[Rows]] | None = None,
    ) -> None:
        """`snapshot` is a Store's: `rows` of one moment, where facts come in while they are counted.

        `others` gives families that another process of ours counts, in the text format; None: it cannot now.

        `most_series` is how many series a family may have.
        """
        self._snapshot = snapshot or (lambda: nullcontext(rows))
        self._clock = clock
        self._counting_since = counting_since
        self._readings = readings or Readings()
        self._tallies = tuple(tallies)
        self._others = others
        self._caps = Caps(most_series)
        self._lock = Lock()
        self._renderer = Renderer()

    def text(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type, text or OpenMetrics as the Accept header asks."""
        _, content_type = choose_encoder(accept)
        others = self._others() or ""
        with self._lock:
            with self._snapshot() as rows:
                families = [*self._families(rows, self._clock())]
            self._readings.save()
            is_open = content_type.startswith("application/openmetrics-text")
            return self._renderer.text(families, openmetrics=is_open, others=others), content_type

    def _families(self, rows: Rows, now: datetime) -> Iterator[Shown]:
        state = State.of(rows).with_undated(rows)
        # The end of a day: nothing has to be looked for behind the last whole one.
        end = Level.DAY.start(max(now, self._counting_since) + SLACK) + Level.DAY.length
        since = Period(self._counting_since, end, ZoneInfo("UTC"))
        found = numbers_so_far(COUNTED, rows, since, Moment.FINISHED, state, now)
        ever = Period(EPOCH, end, ZoneInfo("UTC"))
        found |= numbers_so_far(GAUGED, rows, ever, Moment.CREATED, state, now)
        for age, wanted in _RECENT.items():
            recent = Period(now - timedelta(seconds=age), end, ZoneInfo("UTC"))
            found |= numbers(wanted, rows, recent, Moment.CREATED, state)
        for family in FAMILIES:
            if family.kind == "histogram":
                yield self._histogram(family, found)
            else:
                yield self._family(family, _zeros(family, found[_APPS]) | found[_SINGLE[family]])
        yield from self._costs(found[_COST])
        yield from _active_users(rows, now, end, state)
        said = "An app that exists, with the name it has now; always 1."
        yield Shown(INFO, "gauge", said, INFO_LABELS, dict.fromkeys(found[_APPS], 1.0))
        yield from (_tallied(tally) for tally in self._tallies)
        yield _tallied(Tally(DROPPED, DROPPED_HELP, ("family",), self._caps.dropped))

    def _family(self, family: Family, values: Values) -> Shown:
        measure = CATALOGUE.measure(family.measure)
        values = _bounded(values, family)
        values = moved(values, self._places(family.name, family.labels, values), JOINED.get(measure.kind, add))
        if family.kind == "gauge":
            return Shown(family.name, "gauge", measure.help, family.labels, values)
        raised = self._readings.raised(family.name, values)
        return Shown(family.name, "counter", said_of(measure), family.labels, raised)

    def _places(self, name: str, labels: tuple[str, ...], values: Iterable[Labels], said: str = "") -> Places:
        return self._caps.places(name, labels, values, self._readings.said(said or name))

    def _histogram(self, family: Family, found: Mapping[Measure, Values]) -> Shown:
        made = _HISTOGRAMS[family]
        places = self._places(family.name, family.labels, found[made.number], f"{family.name}_count")
        between, number, total = (moved(found[each], places, add) for each in (made.between, made.number, made.total))
        bounds = [f"{bound:g}" for bound in family.buckets]
        up_to: Values = {}
        for labels in number:
            counts = accumulate(between.get((*labels, bound), 0.0) for bound in bounds)
            up_to |= {(*labels, bound): count for bound, count in zip(bounds, counts, strict=True)}
        said = said_of(CATALOGUE.measures([family.measure])[0])
        return Shown(
            family.name,
            "histogram",
            said,
            family.labels,
            self._readings.raised(f"{family.name}_count", number),
            bounds=bounds,
            up_to=self._readings.raised(f"{family.name}_bucket", up_to),
            sums=self._readings.raised(f"{family.name}_sum", total),
        )

    def _costs(self, costs: Values) -> Iterator[Shown]:
        by_currency: dict[str, Values] = {}
        for (*labels, currency), cost in costs.items():
            values = by_currency.setdefault(COST.format(currency=currency_in_name(currency)), {})
            values[tuple(labels)] = values.get(tuple(labels), 0.0) + cost
        for name, values in sorted(by_currency.items()):
            values = moved(values, self._places(name, COST_LABELS, values), add)
            yield Shown(name, "counter", said_of(_COST), COST_LABELS, self._readings.raised(name, values))


def router(exposition: Exposition) -> APIRouter:
    """GET /metrics; rendered in the thread pool, so that a scrape holds up nobody."""
    routes = APIRouter(responses=PROBLEM_RESPONSES, dependencies=[needs(Scope.METRICS)])

    @routes.get("/metrics", summary="Prometheus · 监控指标", tags=["health"], response_class=PlainTextResponse)
    def metrics(request: Request) -> Response:
        """Every family, as text or OpenMetrics by the Accept header."""
        text, content_type = exposition.text(request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": content_type})

    return routes


def _active_users(rows: Rows, now: datetime, end: datetime, state: State) -> Iterator[Shown]:
    windows = sorted(WINDOWS, key=lambda window: -WINDOWS[window])
    starts = [now - timedelta(seconds=WINDOWS[window]) for window in windows]
    splits = {name: tuple(map(CATALOGUE.dimension, labels)) for name, labels in ACTIVE_USERS.items()}
    period = Period(starts[0], end, ZoneInfo("UTC"))
    found = values_in_windows(_USERS, [*splits.values()], starts, period, rows, state)
    for name, labels in ACTIVE_USERS.items():
        shown: Values = {}
        for window, counts in zip(windows, found[splits[name]], strict=True):
            shown |= {(*map(label_of, labels, key), window): float(how_many) for key, how_many in counts.items()}
        yield Shown(name, "gauge", _USERS.help, (*labels, "window"), shown)


def _zeros(family: Family, apps: Iterable[Labels]) -> Values:
    """The series of a family that are there before anything happened."""
    if family.known is None:
        return {}
    found: Values = {}
    for app in apps:
        of_app = {name: (value,) for name, value in zip(INFO_LABELS, app, strict=True)}
        (mode,) = of_app["app_mode"]
        if mode in family.known.modes:
            choices = [of_app.get(label) or family.known.values[label] for label in family.labels]
            found |= dict.fromkeys(product(*choices), 0.0)
    return found


def _bounded(values: Values, family: Family) -> Values:
    """The values with no more of the last label than the family may have; the rest together."""
    if family.most is None or len(kept := sorted({labels[-1] for labels in values})) <= family.most:
        return values
    own, found = set(kept[: family.most]), dict[Labels, float]()
    for labels, value in values.items():
        place = labels if labels[-1] in own else (*labels[:-1], OTHER)
        found[place] = found.get(place, 0.0) + value
    return found


def _tallied(tally: Tally) -> Shown:
    return Shown(tally.name, "counter" if tally.is_counter else "gauge", tally.help, tally.labels, dict(tally.values()))
