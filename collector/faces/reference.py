"""The reference page: catalogue, families and settings as Markdown. Generated, so that it cannot be out of date."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TypeAlias

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
)
from collector.faces.statistics.table import STATISTICS
from collector.measures.catalogue import CATALOGUE
from collector.measures.chinese import help_zh
from collector.measures.dimension import Dimension
from collector.measures.formula import formula, sources
from collector.measures.measure import Measure
from collector.quirks import QUIRKS, Quirk
from collector.settings import Setting

_HEAD = """\
# Reference

Written by `dify-metric generate`; what stands here is what the program knows: [measures](#measures),
[dimensions](#dimensions), [statistics](#statistics), [Prometheus families](#prometheus) and [settings](#settings).
"""

_MEASURES = """\
## Measures

Ask for one with `dify-metric query NAME --by DIMENSION --grain day --since 7d` or
`GET /api/v1/query?measure=NAME&by=DIMENSION&grain=day&since=7d`. Asking for `response_time` asks for its mean and
percentiles at once. What *adds up* may be summed over days and apps; for the rest, ask for the period you mean.
Console test runs are left out unless you ask for them (`include_debug`). Money is always split by `currency`; to see
it beside what knows no currency, ask for one: `cost_usd`, `cost_cny`. *From* says who can bring the facts: any of them.
"""

_STATISTICS = """\
## Statistics

Each under `/api/v1/`, over the measures above: the last 30 days (tasks: 24 hours) by the step named, unless a request
says otherwise. All take the parameters of `/api/v1/query` but `measure`: `since`, `until`, `tz`, `grain`, `by`,
`where`, `compare`, `fill`, `top`, `other`, `totals`, `order`, `limit`, `cursor`, `moment`, `format`; lists take
`search` as well and come in pages of 50. Cost is a column for each currency: `cost_usd`, `cost_cny`.
"""

_PROMETHEUS = """\
## Prometheus

Counters and histograms count facts that became final since counting began, when the store was first opened: a
back-fill is no burst, and a fact that arrives late shows when it arrives. What happened when is REST's to say.
Console test runs and estimates are left out. A counter never steps back, over restarts too; where Dify takes something
back, it waits. A label that is not known is empty, and what becomes known later changes nothing: a fact is counted
once, under the labels it had then. A series that is new says 0 for a minute first, so that `increase()` has all of it.

Some series are there, as 0, before anything happens: runs by status, messages by where they came from, conversations
and ratings of each app that can have them, and failures of what was called (`error_class="_OTHER"`). Names of apps
change: they stand in `dify_app_info` alone, to be joined on `workspace_id, app_id`.

No family has more than `most_series` series, or its own of `series_limits`. Who has one keeps it; what comes later is
counted under `_OTHER`, so that sums stay right, and in `dify_metric_series_dropped_total`. `label_values` lists what a
label may say, `more_labels` asks for users or keys as labels, so many as `most_label_values`. `top_users` has gauges of
those who used most in 24 hours. `GET /api/v1/cardinality?family=NAME&add=LABEL&top=N` says what labels would cost.

In OpenMetrics each bucket of runs, nodes, calls and messages shows the newest of the last 15 minutes that fell into it,
as an exemplar with its `run_id` or `message_id`; no series has these for a label.
"""

_TAP = """\
A tap answers these at `tap_admin`; one that `serve --tap` started shows them among the collector's, beside
`dify_metric_tap_up`. They are the sum over its workers, since it was started.
"""

_SUBJECTS = {
    "app": "Apps · 应用",
    "run": "Runs · 运行",
    "node_execution": "Nodes · 节点",
    "model_call": "Model calls · 模型调用",
    "rated_line": "Bills · 计费",
    "message": "Messages, conversations and users · 消息、会话与用户",
    "conversation": "Messages, conversations and users · 消息、会话与用户",
    "feedback": "Ratings · 评价",
    "request": "Requests · 请求",
    "dataset": "Knowledge · 知识库",
    "dataset_day": "Knowledge · 知识库",
    "retrieval": "Knowledge · 知识库",
    "queue_sample": "Queues · 队列",
    "portal_event": "Portal events · 门户事件",
    "portal_value": "Portal events · 门户事件",
    "model": "Models and keys · 模型与密钥",
    "api_key": "Models and keys · 模型与密钥",
    "pull": "Our own pulls · 采集",
    "watermark": "Our own pulls · 采集",
}
"""Table of a measure's facts -> the heading it stands under."""
_AS_DIFY = "As Dify's own statistics count · Dify 统计口径"


Told: TypeAlias = tuple[str, str, str, str]
"""A family that another part of the program counts: name, type, label and help."""


def reference(settings: Iterable[Setting], told: Iterable[Told] = ()) -> str:
    """The whole page. `told` are the tap's own families."""
    families = [*_families(), *_told(told)]
    return "\n".join([_HEAD, *_measures(), *_dimensions(), *_statistics(), *families, *_quirks(), *_settings(settings)])


def _measures() -> list[str]:
    lines, subjects = [_MEASURES], dict[str, list[Measure]]()
    for measure in CATALOGUE:
        subjects.setdefault(_subject(measure), []).append(measure)
    for subject, found in subjects.items():
        lines += [f"### {subject}", "", *_of_subject(found), ""]
    return lines


def _of_subject(measures: Sequence[Measure]) -> list[str]:
    """What can be said of all measures is said once: by what they split."""
    shared = [each for each in measures[0].by if all(each in measure.by for measure in measures)]
    rows = []
    for _, found in groupby(measures, key=lambda measure: measure.family or measure.name):
        rows.append(_measure(list(found), shared))
    return [
        f"By {_names(shared)}.",
        "",
        *_table("measure", "title", "标题", "unit", "adds up", "what it is", "定义", "formula", "from", "also by"),
        *rows,
    ]


def _measure(measures: Sequence[Measure], shared: Sequence[Dimension]) -> str:
    """One measure, or a mean with its percentiles."""
    first = measures[0]
    title, title_zh = first.title, first.title_zh
    if first.family:
        title, title_zh = title.removesuffix(", mean"), title_zh.removesuffix("（平均）")
    also = [each for each in first.by if each not in shared]
    adds_up = "yes" if first.adds_up else "no"
    names = ", ".join(f"`{measure.name}`" for measure in measures)
    told = formula(first, CATALOGUE)
    if first.family:
        told = told.replace("mean of", f"{', '.join(_shape(measure) for measure in measures)} of", 1)
    origin = ", ".join(sources(first))
    return _row(
        names, title, title_zh, first.unit, adds_up, first.help, help_zh(first) or "", f"`{told}`", origin, _names(also)
    )


def _shape(measure: Measure) -> str:
    return measure.name.removeprefix(f"{measure.family}_")


def _subject(measure: Measure) -> str:
    """The heading: Dify's own statistics have theirs, what is over several tables that of requests."""
    if measure.name.startswith("dify_"):
        return _AS_DIFY
    tables = [facts.table for facts in measure.facts]
    return _SUBJECTS["request" if "request" in tables else tables[-1]]


def _dimensions() -> list[str]:
    rows = (
        _row(f"`{each.name}`", each.title, each.title_zh, each.help, help_zh(each) or "")
        for each in CATALOGUE.dimensions
    )
    return ["## Dimensions", "", *_table("dimension", "title", "标题", "what it is", "定义"), *rows, ""]


def _statistics() -> list[str]:
    rows = (
        _row(
            f"`{each.path}`",
            each.title,
            each.title_zh,
            each.grain,
            ", ".join(f"`{name}`" for name in (*each.measures, *(("cost_…",) if each.has_money else ()))),
            ", ".join(f"`{name}`" for name in each.by),
            f"`?{each.example}`",
        )
        for each in STATISTICS
    )
    return [_STATISTICS, *_table("path", "title", "标题", "step", "measures", "by", "for example"), *rows, ""]


def _families() -> list[str]:
    rows = [_family(family) for family in FAMILIES]
    rows.append(_row(f"`{COST.format(currency='<currency>')}`", "counter", _labels(COST_LABELS), "`cost`"))
    rows += [
        _row(f"`{name.format(currency='<currency>')}`", "counter", _labels(labels), "`rated_cost`")
        for name, (labels, _) in RATED_COSTS.items()
    ]
    rows.append(_family(UNRATED))
    rows += [
        _row(f"`{name}`", "gauge", f"{_labels(labels)}, window ({', '.join(WINDOWS)})", "`active_users`")
        for name, labels in ACTIVE_USERS.items()
    ]
    rows.append(_row(f"`{INFO}`", "gauge, always 1", _labels(INFO_LABELS), "`apps`"))
    return [_PROMETHEUS, *_table("family", "type", "labels", "measure"), *rows, "", *_buckets(), ""]


def _family(family: Family) -> str:
    return _row(f"`{family.name}`", family.kind, _labels(family.labels), f"`{family.measure}`")


def _told(told: Iterable[Told]) -> list[str]:
    rows = [_row(f"`{name}`", kind, label, what) for name, kind, label, what in told]
    return ["### The tap", "", _TAP, *_table("family", "type", "label", "what it is"), *rows, ""] if rows else []


def _buckets() -> list[str]:
    sets = dict.fromkeys(family.buckets for family in FAMILIES if family.buckets)
    lines = ["Bounds of the buckets, in seconds:", ""]
    for bounds in sets:
        names = _labels(f"`{family.name}`" for family in FAMILIES if family.buckets == bounds)
        lines.append(f"* {' '.join(f'{bound:g}' for bound in bounds)}: {names}")
    return lines


def _quirks() -> list[str]:
    head = [
        "## Where Dify's totals are not what they seem",
        "",
        "`dify-metric check --reconcile` and `GET /api/v1/reconciliation` say where it happened, to the token.",
        "",
        "| quirk | versions | totals | why | 原因 | believe | issues |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    return [*head, *(_quirk(quirk) for quirk in QUIRKS), ""]


def _quirk(quirk: Quirk) -> str:
    first, last = (".".join(map(str, found)) if found else "" for found in (quirk.first, quirk.last))
    totals = ", ".join(sorted(quirk.totals))
    issues = ", ".join(f"#{issue}" for issue in quirk.issues)
    span = f"{first.removesuffix('.0')} – {last.removesuffix('.999')}" if last else f"from {first.removesuffix('.0')}"
    return _row(f"`{quirk.name}`", span, totals, quirk.cause, quirk.cause_zh, quirk.believe, issues)


def _settings(settings: Iterable[Setting]) -> list[str]:
    rows = (
        _row(f"`{each.name}`", f"`{each.default}`" if each.default else "", each.unit, f"`{each.variable}`", each.help)
        for each in settings
    )
    return ["## Settings", "", *_table("setting", "default", "unit", "environment", "what it is"), *rows, ""]


def _table(*heads: str) -> list[str]:
    return [_row(*heads), _row(*("---" for _ in heads))]


def _names(dimensions: Iterable[Dimension]) -> str:
    return ", ".join(f"`{each.name}`" for each in dimensions)


def _labels(labels: Iterable[str]) -> str:
    return ", ".join(labels)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
