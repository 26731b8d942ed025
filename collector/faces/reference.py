"""The reference page: catalogue, families and settings as Markdown. Generated, so that it cannot be out of date."""

from __future__ import annotations

from collections.abc import Iterable

from collector.faces.families import ACTIVE_USERS, COST, COST_LABELS, FAMILIES, INFO, INFO_LABELS
from collector.measures.catalogue import CATALOGUE
from collector.measures.measure import Measure
from collector.settings import Setting

_HEAD = """\
# Reference

Written by `dify-metric generate`; what stands here is what the program knows. Every measure can be asked for with
`dify-metric query NAME` or `GET /api/v1/query?measure=NAME`.
"""


def reference(settings: Iterable[Setting]) -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_measures(), *_dimensions(), *_families(), *_settings(settings)])


def _measures() -> list[str]:
    head = [
        "## Measures",
        "",
        "| measure | 中文 | unit | adds up | what it is | by |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    return [*head, *(_measure(measure) for measure in CATALOGUE), ""]


def _measure(measure: Measure) -> str:
    by = ", ".join(dimension.name for dimension in measure.by)
    adds_up = "yes" if measure.adds_up else "no"
    return _row(f"`{measure.name}`", measure.title_zh, measure.unit, adds_up, measure.help, by)


def _dimensions() -> list[str]:
    head = ["## Dimensions", "", "| dimension | 中文 | what it is |", "| --- | --- | --- |"]
    return [*head, *(_row(f"`{each.name}`", each.title_zh, each.help) for each in CATALOGUE.dimensions), ""]


def _families() -> list[str]:
    head = ["## Prometheus", "", "| family | type | labels | measure |", "| --- | --- | --- | --- |"]
    rows = [_row(f"`{f.name}`", f.kind, ", ".join(f.labels), f"`{f.measure}`") for f in FAMILIES]
    rows.append(_row(f"`{COST.format(currency='<currency>')}`", "counter", ", ".join(COST_LABELS), "`cost`"))
    rows += [
        _row(f"`{name}`", "gauge", ", ".join((*labels, "window")), "`active_users`")
        for name, labels in ACTIVE_USERS.items()
    ]
    rows.append(_row(f"`{INFO}`", "gauge, always 1", ", ".join(INFO_LABELS), "`apps`"))
    return [*head, *rows, ""]


def _settings(settings: Iterable[Setting]) -> list[str]:
    head = [
        "## Settings",
        "",
        "| setting | default | unit | environment | what it is |",
        "| --- | --- | --- | --- | --- |",
    ]
    rows = (
        _row(f"`{each.name}`", f"`{each.default}`" if each.default else "", each.unit, f"`{each.variable}`", each.help)
        for each in settings
    )
    return [*head, *rows, ""]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
