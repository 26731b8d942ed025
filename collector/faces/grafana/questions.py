"""What a panel asks, as Grafana writes it: a PromQL target, or one of the Infinity data source for REST.

Columns of REST's answers take titles, units and kinds from the catalogue. Nothing is asked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from collector.faces.grafana.panel import Asked, Column, Language, Live
from collector.faces.statistics.table import STATISTICS
from collector.measures.catalogue import CATALOGUE
from collector.measures.measure import CURRENCY_UNIT, Measure

Model: TypeAlias = dict[str, object]

PROMETHEUS: Model = {"type": "prometheus", "uid": "${datasource}"}
REST: Model = {"type": "yesoreyeram-infinity-datasource", "uid": "${rest}"}

UNITS = {
    "ratio": "percentunit",
    "seconds": "s",
    "milliseconds": "ms",
    "tokens/second": "suffix: tok/s",
    "requests/second": "reqps",
    CURRENCY_UNIT: "short",
}
"""Units of measures as Grafana calls them; the others are plain numbers."""

_STATISTICS = {statistic.path: statistic for statistic in STATISTICS}
_TIME = Column(name="time", title=("Time", "时间"), kind="timestamp", unit="time: YYYY-MM-DD HH:mm")


def source_of(target: Live | Asked) -> Model:
    """The data source that is asked."""
    return PROMETHEUS if isinstance(target, Live) else REST


def target_of(target: Live | Asked, kind: str, place: int, language: Language) -> Model:
    """One target of a panel of that kind; the first is A."""
    named: Model = {"refId": chr(ord("A") + place), "datasource": source_of(target)}
    if isinstance(target, Live):
        legend = target.legend if isinstance(target.legend, str) else target.legend[language]
        is_over_time = kind == "timeseries"
        return (
            named
            | {
                "expr": target.expression,
                "legendFormat": legend or "__auto",
                "range": is_over_time,
                "instant": not is_over_time,
            }
            | ({"exemplar": True} if target.has_exemplars and is_over_time else {})
        )
    return named | {
        "type": "json",
        "source": "url",
        "parser": "backend",
        "format": "timeseries" if kind == "timeseries" else "table",
        "url": f"/api/v1/{target.path}",
        "url_options": {"method": "GET", "params": [{"key": key, "value": value} for key, value in parameters(target)]},
        "root_selector": target.root,
        "columns": [
            {"selector": column.name, "text": column.name, "type": column.kind} for column in columns_of(target)
        ],
        "filters": [],
    }


def parameters(asked: Asked) -> Iterator[tuple[str, str]]:
    """The parameters of a question, with Grafana's variables in them."""
    if asked.measures:
        yield "measure", ",".join(asked.measures)
    if asked.by:
        yield "by", ",".join(asked.by)
    if asked.grain:
        yield "grain", asked.grain
    for dimension, variable in asked.of:
        yield "where", f"{dimension}=~${{{variable}:regex}}"
    if asked.has_period:
        yield "since", "${__from:date:iso}"
        yield "until", "${__to:date:iso}"
        yield "tz", "${__timezone}"
    yield from asked.more


def columns_of(asked: Asked) -> tuple[Column, ...]:
    """The columns of an answer, in the order they are shown."""
    if asked.columns:
        return asked.columns
    statistic = _STATISTICS.get(asked.path.replace("${one_app}", "{id}"))
    by = dict.fromkeys((*(statistic.by if statistic else ()), *asked.by))
    measures = asked.shown or asked.measures or (statistic.measures if statistic else ())
    has_steps = (asked.grain or (statistic.grain if statistic else "none")) != "none"
    return (
        *([_TIME] if has_steps else []),
        *(_of_dimension(name) for name in by),
        *(_of_measure(each) for each in CATALOGUE.measures(measures)),
    )


def _of_dimension(name: str) -> Column:
    dimension = CATALOGUE.dimension(name)
    return Column(name=dimension.name, title=(dimension.title, dimension.title_zh))


def _of_measure(measure: Measure) -> Column:
    title = (measure.title, measure.title_zh)
    if measure.unit == "instant":
        return Column(name=measure.name, title=title, kind="timestamp", unit="dateTimeFromNow")
    return Column(name=measure.name, title=title, kind="number", unit=UNITS.get(measure.unit, "short"))
