"""The store's numbers as Prometheus families: queries of the catalogue in, an exposition out.

Counters and histograms are counted from the facts themselves at every scrape, so a restart, a kill or a repeated pull
cannot change them; they count facts that became final at or after `counting_since`, so a back-fill is no burst. A
counter never steps back, even where Dify corrects a fact (`collector.faces.readings`). Nothing here reads a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
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
from collector.faces.exemplars import Exemplars, finders, placed
from collector.faces.exposition import Renderer, Shown
from collector.faces.families import (
    ACTIVE_USERS,
    COST,
    COST_LABELS,
    FAMILIES,
    INFO,
    INFO_LABELS,
    RATED_COSTS,
    UNRATED,
    WINDOWS,
    Family,
    currency_in_name,
)
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES
from collector.faces.readings import Readings
from collector.faces.shape import ALL_COSTS, Shape
from collector.faces.so_far import numbers_so_far
from collector.faces.tops import TOPS, Top
from collector.measures.ask import Moment
from collector.measures.catalogue import CATALOGUE
from collector.measures.measure import Measure
from collector.measures.query import Rows
from collector.measures.sources import State
from collector.measures.windows import values_in_windows
from collector.period import Period
from collector.rollups import Level

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SLACK = timedelta(days=1)
"""Dify's clock may be ahead of ours; what it dates into the near future has happened."""

_COST = counted(CATALOGUE.measure("cost"))
_RATED = CATALOGUE.measure("rated_cost")
_RATED_COSTS = {
    name: replace(_RATED, name=f"rated_cost_{place}", where=lines)
    for place, (name, (_, lines)) in enumerate(RATED_COSTS.items())
}
_UNRATED = CATALOGUE.measure(UNRATED.measure)
_APPS = CATALOGUE.measure("apps")
_USERS = CATALOGUE.measure("active_users")


def _measure(family: Family) -> Measure:
    measure = CATALOGUE.measure(family.measure)
    return measure if family.kind == "gauge" else counted(measure, when_final=family.when_final)


_HISTOGRAMS = {family: Histogram.of(family) for family in FAMILIES if family.kind == "histogram"}
_NEWEST = finders(FAMILIES)
_SINGLE = {family: _measure(family) for family in FAMILIES if family.kind != "histogram"}
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


_OF_BILLS: tuple[Wanted, ...] = (
    *((measure, (*RATED_COSTS[name][0], "currency")) for name, measure in _RATED_COSTS.items()),
    (_UNRATED, UNRATED.labels),
)


def counted_by(shape: Shape) -> tuple[Wanted, ...]:
    """Everything that is counted, by the labels it has at this site."""
    counters = {family: (measure,) for family, measure in _SINGLE.items() if family.kind == "counter"}
    histograms = {family: made.measures for family, made in _HISTOGRAMS.items()}
    return (
        *(
            (each, shape.labels(family.name, family.labels))
            for family, measures in (counters | histograms).items()
            for each in measures
        ),
        (_COST, (*shape.labels(ALL_COSTS, COST_LABELS), "currency")),
    )


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
        shape: Shape | None = None,
        top_users: int = 0,
        snapshot: Callable[[], AbstractContextManager[Rows]] | None = None,
    ) -> None:
        """`snapshot` is a Store's: `rows` of one moment, where facts come in while they are counted.

        `others` gives families that another process of ours counts, in the text format; None: it cannot now.

        `shape` is which labels and how many series families have, `top_users` how many users and keys are in TOPS.
        """
        self._snapshot = snapshot or (lambda: nullcontext(rows))
        self._clock = clock
        self._counting_since = counting_since
        self._readings = readings or Readings()
        self._tallies = tuple(tallies)
        self._others = others
        self._shape, self._top_users = shape or Shape(), top_users
        self.counted = counted_by(self._shape)
        self._caps = Caps(self._shape.limit)
        self._lock = Lock()
        self._renderer = Renderer()

    def text(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type, text or OpenMetrics as the Accept header asks."""
        _, content_type = choose_encoder(accept)
        others = self._others() or ""
        with self._lock:
            is_open = content_type.startswith("application/openmetrics-text")
            with self._snapshot() as rows:
                families = [*self._families(rows, self._clock(), has_exemplars=is_open)]
            self._readings.save()
            return self._renderer.text(families, openmetrics=is_open, others=others), content_type

    def _families(self, rows: Rows, now: datetime, *, has_exemplars: bool) -> Iterator[Shown]:
        state = State.of(rows).with_undated(rows)
        # The end of a day: nothing has to be looked for behind the last whole one.
        end = Level.DAY.start(max(now, self._counting_since) + SLACK) + Level.DAY.length
        since = Period(self._counting_since, end, ZoneInfo("UTC"))
        found = numbers_so_far(self.counted, rows, since, Moment.FINISHED, state, now)
        ever = Period(EPOCH, end, ZoneInfo("UTC"))
        found |= numbers_so_far(GAUGED, rows, ever, Moment.CREATED, state, now)
        for age, wanted in _RECENT.items():
            recent = Period(now - timedelta(seconds=age), end, ZoneInfo("UTC"))
            found |= numbers(wanted, rows, recent, Moment.CREATED, state)
        # Lines of bills stand at the start of their day: that on which counting began is counted whole.
        days = Period(self._counting_since - Level.DAY.length, end, ZoneInfo("UTC"))
        found |= numbers(_OF_BILLS, rows, days, Moment.CREATED, state)
        for family in FAMILIES:
            if family.kind == "histogram":
                labels = self._shape.labels(family.name, family.labels)
                finder = _NEWEST.get(family) if has_exemplars else None
                yield self._histogram(family, found, finder.found(labels, rows, now, end, state) if finder else {})
            else:
                zeros = {} if self._shape.more.get(family.name) else _zeros(family, found[_APPS])
                yield self._family(family, zeros | found[_SINGLE[family]])
        yield from self._costs(COST, COST_LABELS, said_of(_COST), found[_COST])
        for name, measure in _RATED_COSTS.items():
            yield from self._costs(name, RATED_COSTS[name][0], _said_of_bills(_RATED), found[measure])
        unrated = self._readings.raised(UNRATED.name, found[_UNRATED])
        yield Shown(UNRATED.name, "counter", _said_of_bills(_UNRATED), UNRATED.labels, unrated)
        yield from _active_users(rows, now, end, state)
        if self._top_users:
            yield from (self._top(top, rows, now, end, state) for top in TOPS)
        said = "An app that exists, with the name it has now; always 1."
        yield Shown(INFO, "gauge", said, INFO_LABELS, dict.fromkeys(found[_APPS], 1.0))
        yield from (_tallied(tally) for tally in self._tallies)
        yield _tallied(Tally(DROPPED, DROPPED_HELP, ("family",), self._caps.dropped))

    def _family(self, family: Family, values: Values) -> Shown:
        measure = CATALOGUE.measure(family.measure)
        name, labels = family.name, self._shape.labels(family.name, family.labels)
        values = _bounded(values, family)
        values = moved(values, self._places(name, labels, values), JOINED.get(measure.kind, add))
        if family.kind == "gauge":
            return Shown(name, "gauge", measure.help, labels, values)
        return Shown(name, "counter", said_of(measure), labels, self._raised(name, values))

    def _raised(self, family: str, values: Values, part: str = "") -> Values:
        return self._readings.raised(f"{self._shape.key(family)}{part}", values)

    def _places(self, family: str, labels: Labels, values: Values, part: str = "") -> Places:
        said = self._readings.said(f"{self._shape.key(family)}{part}")
        narrowed = self._shape.narrowed(family, labels, values, said)
        places = self._caps.places(family, labels, set(narrowed.values()), said)
        return {series: places[kept] for series, kept in narrowed.items()}

    def _histogram(self, family: Family, found: Mapping[Measure, Values], exemplars: Exemplars) -> Shown:
        made, name, labels_there = _HISTOGRAMS[family], family.name, self._shape.labels(family.name, family.labels)
        places = self._places(name, labels_there, found[made.number], "_count")
        between, number, total = (moved(found[each], places, add) for each in (made.between, made.number, made.total))
        bounds = [f"{bound:g}" for bound in family.buckets]
        up_to: Values = {}
        for labels in number:
            counts = accumulate(between.get((*labels, bound), 0.0) for bound in bounds)
            up_to |= {(*labels, bound): count for bound, count in zip(bounds, counts, strict=True)}
        there = len(number)
        number = self._raised(name, number, "_count")
        up_to = self._raised(name, up_to, "_bucket")
        if len(number) > there or self._readings.has_moved(f"{self._shape.key(name)}_count"):
            up_to = _whole(up_to, number, bounds)
        said = said_of(CATALOGUE.measures([family.measure])[0])
        sums = self._raised(name, total, "_sum")
        shown = Shown(name, "histogram", said, labels_there, number, bounds=bounds, up_to=up_to, sums=sums)
        return replace(shown, exemplars=placed(exemplars, places)) if exemplars else shown

    def _costs(self, family: str, names: tuple[str, ...], said: str, costs: Values) -> Iterator[Shown]:
        """One family for each currency, which is the last label."""
        by_currency: dict[str, Values] = {}
        for (*labels, currency), cost in costs.items():
            values = by_currency.setdefault(family.format(currency=currency_in_name(currency)), {})
            values[tuple(labels)] = values.get(tuple(labels), 0.0) + cost
        for name, values in sorted(by_currency.items()):
            labels_there = self._shape.labels(name, names)
            values = moved(values, self._places(name, labels_there, values), add)
            yield Shown(name, "counter", said, labels_there, self._raised(name, values))

    def _top(self, top: Top, rows: Rows, now: datetime, end: datetime, state: State) -> Shown:
        measure, period = CATALOGUE.measure(top.measure), Period(now - top.window, end, ZoneInfo("UTC"))
        values = numbers([(measure, top.labels)], rows, period, Moment.CREATED, state)[measure]
        biggest = sorted(values, key=lambda labels: (-values[labels], labels))[: self._top_users]
        places = {labels: labels if labels in set(biggest) else top.together(labels) for labels in values}
        return Shown(top.name, "gauge", top.help, top.labels, moved(values, places, add))


def router(exposition: Exposition) -> APIRouter:
    """GET /metrics; rendered in the thread pool, so that a scrape holds up nobody."""
    routes = APIRouter(responses=PROBLEM_RESPONSES, dependencies=[needs(Scope.METRICS)])

    @routes.get("/metrics", summary="Prometheus · 监控指标", tags=["health"], response_class=PlainTextResponse)
    def metrics(request: Request) -> Response:
        """Every family, as text or OpenMetrics by the Accept header."""
        text, content_type = exposition.text(request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": content_type})

    return routes


def _said_of_bills(measure: Measure) -> str:
    return f"{measure.help} Counted by day, from the day on which counting began; it waits where a bill becomes less."


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


def _whole(up_to: Values, number: Values, bounds: Sequence[str]) -> Values:
    """Buckets of all series, none with more than the next one has: moves are told by each bucket alone."""
    found: Values = {}
    for labels, most in number.items():
        for bound in reversed(bounds):
            most = found[*labels, bound] = min(up_to.get((*labels, bound), 0.0), most)
    return found


def _tallied(tally: Tally) -> Shown:
    return Shown(tally.name, "counter" if tally.is_counter else "gauge", tally.help, tally.labels, dict(tally.values()))
