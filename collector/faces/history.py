"""What the counters would have said before counting began, as OpenMetrics for `promtool tsdb create-blocks-from`.

In come facts of the past, out go lines of text: every counter and histogram with a sample every few minutes, counted
from 0 at the start, each fact when it ended. It ends where the live counters begin, so that nothing is counted twice.
Gauges tell of now and have no past.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from fastapi.responses import Response

from collector.access import Scope
from collector.errors import QueryError
from collector.faces.counting import Histogram, Labels, Values, Wanted, counted, numbers_by_step
from collector.faces.families import COST, COST_LABELS, FAMILIES, currency_in_name
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES
from collector.faces.rest_models import ALL
from collector.measures.ask import Moment
from collector.measures.catalogue import CATALOGUE
from collector.measures.measure import Measure
from collector.measures.query import Rows, earliest
from collector.period import Grain, Period, floor, span

STEP = timedelta(minutes=5)
"""Between two samples of a series: Prometheus forgets a series after five minutes."""

CHUNK = timedelta(days=1)
"""So much is read at once; less where that is too much for one answer."""

MINUTE = timedelta(minutes=1)

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_COUNTERS = {
    family: counted(CATALOGUE.measure(family.measure), when_final=family.when_final)
    for family in FAMILIES
    if family.kind == "counter"
}
_HISTOGRAMS = {family: Histogram.of(family) for family in FAMILIES if family.kind == "histogram"}
_COST = counted(CATALOGUE.measure("cost"))
_WANTED: tuple[Wanted, ...] = (
    *((measure, family.labels) for family, measure in _COUNTERS.items()),
    *((each, family.labels) for family, made in _HISTOGRAMS.items() for each in made.measures),
    (_COST, (*COST_LABELS, "currency")),
)

Grown = dict[Labels, dict[int, float]]
"""By labels: how much more there was at which sample."""


def openmetrics(rows: Rows, period: Period, step: timedelta = STEP) -> Iterator[str]:
    """The lines, each with its line end; those of one family and labels stand together, in the order of time."""
    instants = _instants(period, step)
    grown: dict[Measure, Grown] = {measure: {} for measure, _ in _WANTED}
    for chunk in _chunks(period, CHUNK):
        for start, found in _read(rows, chunk):
            place = min(-((start + MINUTE - instants[0]) // -step), len(instants) - 1)
            for measure, values in found.items():
                _grow(grown[measure], values, place)
    for family, measure in _COUNTERS.items():
        yield from _counter(family.name, family.labels, grown[measure], instants)
    for name, of_currency in sorted(_by_currency(grown[_COST]).items()):
        yield from _counter(name, COST_LABELS, of_currency, instants)
    for family, made in _HISTOGRAMS.items():
        yield from _histogram(family.name, family.labels, family.buckets, made, grown, instants)
    yield "# EOF\n"


def until(counting_since: datetime, since: str, rows: Rows, now: datetime, timezone: str = "UTC") -> Period:
    """The time before counting began, from `since` on; all: from the first fact. QueryError where that is nothing."""
    if since == ALL:
        since = (earliest(rows) or now).isoformat()
    start = floor(Period.parse(since=since, tz=timezone, now=now).start, Grain.MINUTE, ZoneInfo("UTC"))
    if start >= counting_since:
        raise QueryError(
            f"counting began at {counting_since:%Y-%m-%dT%H:%M:%SZ}: what came after it, Prometheus has scraped",
            field="since",
            remedy="name an earlier time, such as 30d, or all",
        )
    return Period(start, counting_since, ZoneInfo("UTC"))


def step_of(written: str) -> timedelta:
    """5m -> a step. Raises QueryError for what is no number of whole minutes."""
    try:
        found = span(written)
    except QueryError:
        found = timedelta(0)
    if found < MINUTE or found % MINUTE:
        raise QueryError(f"a step is of whole minutes, got {written[:20]!r}", field="step", remedy="such as 5m or 1h")
    return found


def router(rows: Rows, clock: Callable[[], datetime], counting_since: datetime, *, timezone: str = "UTC") -> APIRouter:
    """The route. `rows` is a Store's."""
    routes = APIRouter(tags=["service"], responses=PROBLEM_RESPONSES)

    @routes.get(
        "/api/v1/export/openmetrics",
        summary="Counters of the time before counting began · 历史指标导出",
        dependencies=[needs(Scope.READ)],
        response_class=Response,
        responses={200: {"content": {"application/openmetrics-text": {"schema": {"type": "string"}}}}},
    )
    def exported(
        since: Annotated[
            str, Query(description="Start: a span back (30d), a month, day, instant, or all · 开始时间")
        ] = "30d",
        step: Annotated[str, Query(description="Between two samples, in whole minutes · 步长")] = "5m",
    ) -> Response:
        """For `promtool tsdb create-blocks-from openmetrics`: what the counters would have said, had there been any."""
        period = until(counting_since, since, rows, clock(), timezone)
        text = "".join(openmetrics(rows, period, step_of(step)))
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    return routes


def _instants(period: Period, step: timedelta) -> list[datetime]:
    """When there is a sample: from the start in steps, and at the end."""
    number = -(-(period.end - period.start) // step)
    return [min(period.start + step * place, period.end) for place in range(number + 1)]


def _read(rows: Rows, period: Period) -> Iterator[tuple[datetime, dict[Measure, Values]]]:
    try:
        yield from list(numbers_by_step(_WANTED, rows, period, Moment.FINISHED, Grain.MINUTE))
    except QueryError:  # more rows than one answer may have
        if period.end - period.start <= MINUTE:
            raise
        for half in _chunks(period, max(MINUTE, _whole_minutes((period.end - period.start) / 2))):
            yield from _read(rows, half)


def _whole_minutes(span: timedelta) -> timedelta:
    """The whole minutes of it."""
    return span // MINUTE * MINUTE


def _chunks(period: Period, long: timedelta) -> Iterator[Period]:
    start = period.start
    while start < period.end:
        end = min(start + long, period.end)
        yield Period(start, end, period.zone)
        start = end


def _grow(grown: Grown, values: Values, place: int) -> None:
    for labels, value in values.items():
        steps = grown.setdefault(labels, {})
        steps[place] = steps.get(place, 0.0) + value


def _by_currency(costs: Grown) -> Mapping[str, Grown]:
    found: dict[str, Grown] = {}
    for (*labels, currency), steps in costs.items():
        found.setdefault(COST.format(currency=currency_in_name(currency)), {})[tuple(labels)] = steps
    return found


def _counter(name: str, names: Labels, grown: Grown, instants: list[datetime]) -> Iterator[str]:
    if grown:
        yield f"# TYPE {name.removesuffix('_total')} counter\n"
    for labels, steps in sorted(grown.items()):
        yield from _samples(f"{name}{_braced(names, labels)}", steps, instants)


def _histogram(
    name: str,
    names: Labels,
    buckets: tuple[float, ...],
    made: Histogram,
    grown: Mapping[Measure, Grown],
    instants: list[datetime],
) -> Iterator[str]:
    if grown[made.number]:
        yield f"# TYPE {name} histogram\n"
    for labels, number in sorted(grown[made.number].items()):
        series: list[Iterator[str]] = []
        up_to: dict[int, float] = {}
        for bound in (f"{bound:g}" for bound in buckets):
            for place, value in grown[made.between].get((*labels, bound), {}).items():
                up_to[place] = up_to.get(place, 0.0) + value
            series.append(_samples(f"{name}_bucket{_braced((*names, 'le'), (*labels, bound))}", dict(up_to), instants))
        series.append(_samples(f"{name}_bucket{_braced((*names, 'le'), (*labels, '+Inf'))}", number, instants))
        series.append(_samples(f"{name}_count{_braced(names, labels)}", number, instants))
        total = grown[made.total].get(labels, {})
        series.append(_samples(f"{name}_sum{_braced(names, labels)}", total, instants))
        yield from (line for at_once in zip(*series, strict=True) for line in at_once)


def _samples(series: str, steps: Mapping[int, float], instants: list[datetime]) -> Iterator[str]:
    counts = accumulate(steps.get(place, 0.0) for place in range(len(instants)))
    for at, count in zip(instants, counts, strict=True):
        yield f"{series} {count!r} {at.timestamp():.3f}\n"


def _braced(names: Iterable[str], values: Iterable[str]) -> str:
    told = (f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{','.join(told)}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
