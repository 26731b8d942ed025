"""The store's numbers as Prometheus families: queries of the catalogue in, an exposition out.

Counters and histograms are counted from the facts themselves at every scrape, so a restart, a kill or a repeated pull
cannot change them; they count facts that became final at or after `counting_since`, so a back-fill is no burst. Inside
one process a counter never steps back, even where Dify corrects a fact. Nothing here reads a table itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Lock
from typing import TypeAlias
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from collector.faces.families import ACTIVE_USERS, COST, COST_LABELS, FAMILIES, INFO, INFO_LABELS, WINDOWS, Family
from collector.measures.ask import Moment, Query
from collector.measures.catalogue import CATALOGUE
from collector.measures.fragments import has_column
from collector.measures.measure import Kind, Measure
from collector.measures.query import Rows, run
from collector.period import Period

Labels: TypeAlias = tuple[str, ...]
Values: TypeAlias = dict[Labels, float]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SLACK = timedelta(days=1)
"""Dify's clock may be ahead of ours; what it dates into the near future has happened."""


@dataclass(frozen=True)
class Tally:
    """A number this process keeps itself: name, help, label names, and their values now."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Callable[[], Mapping[Labels, float]]
    is_counter: bool = True


class Exposition(Collector):
    """All families of one store. Thread-safe; `text` may be called from any thread."""

    def __init__(
        self, rows: Rows, *, clock: Callable[[], datetime], counting_since: datetime, tallies: Iterable[Tally] = ()
    ) -> None:
        self._rows = rows
        self._clock = clock
        self._counting_since = counting_since
        self._tallies = tuple(tallies)
        self._highest: dict[str, Values] = {}
        self._lock = Lock()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type, text or OpenMetrics as the Accept header asks."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """Every family, afresh."""
        with self._lock:
            now = self._clock()
            yield from (self._family(family, now) for family in FAMILIES)
            yield from self._costs(now)
            yield from (self._active_users(name, labels, now) for name, labels in ACTIVE_USERS.items())
            yield self._info(now)
            yield from (_tallied(tally) for tally in self._tallies)

    def describe(self) -> Iterator[Metric]:
        """Nothing: describing would run every query once more at start."""
        return iter(())

    def _family(self, family: Family, now: datetime) -> Metric:
        if family.kind == "histogram":
            return self._histogram(family, now)
        measure = CATALOGUE.measure(family.measure)
        if family.kind == "gauge":
            values = self._values(measure, family.labels, Period(EPOCH, now + SLACK, ZoneInfo("UTC")))
            return _filled(GaugeMetricFamily(family.name, measure.help, labels=family.labels), values)
        values = self._raised(family.name, self._counted(_final(measure, family), family.labels, now))
        return _filled(CounterMetricFamily(family.name, _counter_help(measure), labels=family.labels), values)

    def _histogram(self, family: Family, now: datetime) -> Metric:
        spread = CATALOGUE.measures([family.measure])[0]
        metric = HistogramMetricFamily(family.name, _counter_help(spread), labels=family.labels)
        measures = _buckets(spread, family.buckets)
        counted = [self._raised(m.name, v) for m, v in self._counted_together(measures, family.labels, now).items()]
        *below, known, sums = counted
        bounds = [*(f"{bound:g}" for bound in family.buckets), "+Inf"]
        for labels, number in known.items():
            counts = [values.get(labels, 0.0) for values in below]
            metric.add_metric(labels, list(zip(bounds, [*counts, number], strict=True)), sums.get(labels, 0.0))
        return metric

    def _costs(self, now: datetime) -> Iterator[Metric]:
        measure = CATALOGUE.measure("cost")
        by_currency: dict[str, Values] = {}
        for labels, value in self._counted(_final(measure), (*COST_LABELS, "currency"), now).items():
            by_currency.setdefault(labels[-1].lower() or "unknown", {})[labels[:-1]] = value
        for currency, values in sorted(by_currency.items()):
            name = COST.format(currency=currency)
            family = CounterMetricFamily(name, _counter_help(measure), labels=COST_LABELS)
            yield _filled(family, self._raised(name, values))

    def _active_users(self, name: str, labels: tuple[str, ...], now: datetime) -> Metric:
        measure = CATALOGUE.measure("active_users")
        metric = GaugeMetricFamily(name, measure.help, labels=(*labels, "window"))
        for window, seconds in WINDOWS.items():
            period = Period(now - timedelta(seconds=seconds), now + SLACK, ZoneInfo("UTC"))
            for values, number in self._values(measure, labels, period).items():
                metric.add_metric((*values, window), number)
        return metric

    def _info(self, now: datetime) -> Metric:
        apps = self._values(CATALOGUE.measure("apps"), INFO_LABELS, Period(EPOCH, now + SLACK, ZoneInfo("UTC")))
        metric = GaugeMetricFamily(INFO, "An app that exists, with the name it has now; always 1.", labels=INFO_LABELS)
        return _filled(metric, dict.fromkeys(apps, 1.0))

    def _counted(self, measure: Measure, labels: tuple[str, ...], now: datetime) -> Values:
        return self._counted_together((measure,), labels, now)[measure]

    def _counted_together(
        self, measures: tuple[Measure, ...], labels: tuple[str, ...], now: datetime
    ) -> dict[Measure, Values]:
        period = Period(self._counting_since, max(now, self._counting_since) + SLACK, ZoneInfo("UTC"))
        return self._answered(measures, labels, period, Moment.FINISHED)

    def _values(self, measure: Measure, labels: tuple[str, ...], period: Period) -> Values:
        return self._answered((measure,), labels, period, Moment.CREATED)[measure]

    def _answered(
        self, measures: tuple[Measure, ...], labels: tuple[str, ...], period: Period, moment: Moment
    ) -> dict[Measure, Values]:
        by = tuple(CATALOGUE.dimension(label) for label in labels)
        answer = run(Query(measures=measures, by=by, period=period, moment=moment), self._rows)
        found: dict[Measure, Values] = {measure: {} for measure in measures}
        for row in answer.rows:
            key = tuple(_label(row[label]) for label in labels)
            for measure in measures:
                if (value := row[measure.name]) is not None:
                    found[measure][key] = _number(value)
        return found

    def _raised(self, name: str, values: Values) -> Values:
        """The values, none below what the scrape before said. Series that are gone (an app's mode became known) go."""
        before = self._highest.get(name, {})
        self._highest[name] = {labels: max(value, before.get(labels, 0.0)) for labels, value in values.items()}
        return self._highest[name]


def router(exposition: Exposition) -> APIRouter:
    """GET /metrics; rendered in the thread pool, so that a scrape holds up nobody."""
    routes = APIRouter()

    @routes.get("/metrics", summary="Prometheus · 监控指标", tags=["health"], response_class=PlainTextResponse)
    def metrics(request: Request) -> Response:
        """Every family, as text or OpenMetrics by the Accept header."""
        text, content_type = exposition.text(request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": content_type})

    return routes


def _final(measure: Measure, family: Family | None = None) -> Measure:
    """The measure over facts that a counter may count: final, and no estimate that real calls may replace."""
    conditions = [measure.where]
    if family and family.when_final:
        conditions.append("is_final")
    if measure.record and has_column(measure.record, "is_estimate"):
        conditions.append("NOT is_estimate")
    return replace(measure, where=" AND ".join(f"({each})" for each in conditions))


def _buckets(spread: Measure, bounds: tuple[float, ...]) -> tuple[Measure, ...]:
    """A spread's column as the counts at or below each bound, the count of all, and the sum."""
    base = replace(_final(spread), family=None, quantile=None, kind=Kind.COUNT)
    known = f"({base.where}) AND ({base.column}) IS NOT NULL"
    below = (
        replace(base, name=f"{spread.family}_{place}", where=f"({base.where}) AND ({base.column}) <= {bound!r}")
        for place, bound in enumerate(bounds)
    )
    count = replace(base, name=f"{spread.family}_count", where=known)
    return (*below, count, replace(base, name=f"{spread.family}_sum", kind=Kind.TOTAL))


def _counter_help(measure: Measure) -> str:
    return f"{measure.help} Counted when final, since counting began; console test runs and estimates left out."


def _tallied(tally: Tally) -> Metric:
    kind = CounterMetricFamily if tally.is_counter else GaugeMetricFamily
    return _filled(kind(tally.name, tally.help, labels=tally.labels), dict(tally.values()))


def _filled(metric: CounterMetricFamily | GaugeMetricFamily, values: Values) -> Metric:
    for labels, value in values.items():
        metric.add_metric(labels, value)
    return metric


def _label(value: object) -> str:
    return "" if value is None else str(value)


def _number(value: object) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, int | float | Decimal):
        return float(value)
    raise TypeError(f"a measure answered {type(value).__name__}")
