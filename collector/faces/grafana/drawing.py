"""A board as Grafana's JSON: where each panel stands, how it looks, where its links lead. Nothing is asked here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from collector.faces.grafana.panel import Asked, Board, Column, Language, Panel, Row
from collector.faces.grafana.questions import columns_of, source_of, target_of
from collector.faces.grafana.variables import variables
from collector.measures.catalogue import CATALOGUE
from collector.measures.chinese import help_zh

Model: TypeAlias = dict[str, object]

COLUMNS = 24
"""A Grafana row is 24 units wide."""

SCHEMA = 39
"""Of the dashboard model, as Grafana 10.4 and later read it."""

TAG = "dify-metric"

_DIFY_LINKS = {
    "app_id": ("Logs in Dify", "在 Dify 中查看日志", "${dify}/app/${__data.fields.app_id}/logs"),
    "dataset_id": (
        "Knowledge base in Dify",
        "在 Dify 中查看知识库",
        "${dify}/datasets/${__data.fields.dataset_id}/documents",
    ),
}
"""Column -> where in Dify's console it leads."""


def uid(name: str, language: Language) -> str:
    """The address of a board in Grafana; the English one has no language in it."""
    return f"dify-metric-{name}" + ("" if language is Language.ENGLISH else f"-{language.tag}")


def drawn(board: Board, language: Language) -> Model:
    """The dashboard of a board."""
    panels = list(_placed(board.rows, language))
    other = Language(1 - language)
    mine, both = f"{TAG}-{language.tag}", ("dify", TAG)
    return {
        "uid": uid(board.name, language),
        "title": board.title[language],
        "description": board.about[language],
        "tags": [*both, mine],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": board.refresh,
        "time": {"from": board.since, "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [
            _link(("Dashboards", "其他看板")[language], type="dashboards", tags=[mine], asDropdown=True),
            _link(("中文", "English")[language], type="link", url=f"/d/{uid(board.name, other)}"),
        ],
        "templating": {"list": variables(panels, language)},
        "panels": panels,
    }


def _link(title: str, **more: object) -> Model:
    shape: Model = {"icon": "external link", "tags": [], "url": "", "tooltip": "", "targetBlank": False}
    return shape | {"title": title, "asDropdown": False, "includeVars": True, "keepTime": True} | more


def _placed(rows: tuple[Row, ...], language: Language) -> Iterator[Model]:
    number, top = 0, 0
    for title, panels in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title[language],
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        }
        top, left, tallest = top + 1, 0, 0
        for panel in panels:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            number += 1
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            yield _panel(panel, number, place, language)
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel, number: int, place: dict[str, int], language: Language) -> Model:
    model: Model = {
        "id": number,
        "type": panel.kind,
        "title": panel.title[language],
        "description": _description(panel, language),
        "datasource": source_of(panel.targets[0]),
        "gridPos": place,
        "fieldConfig": {"defaults": _defaults(panel, language), "overrides": list(_overrides(panel, language))},
        "options": _options(panel),
        "targets": [target_of(each, panel.kind, at, language) for at, each in enumerate(panel.targets)],
    }
    if panel.repeat:
        model |= {"repeat": panel.repeat, "repeatDirection": "h", "maxPerRow": 2}
    return model


def _description(panel: Panel, language: Language) -> str:
    told = ""
    if panel.measure:
        measure = CATALOGUE.measure(panel.measure)
        told = measure.help if language is Language.ENGLISH else help_zh(measure) or measure.help
    return f"{told} {panel.note[language]}".strip()


def _defaults(panel: Panel, language: Language) -> Model:
    steps = panel.thresholds or (("text" if panel.kind in ("stat", "table") else "green", 0.0),)
    found: Model = {
        "unit": panel.unit,
        "thresholds": {
            "mode": "absolute",
            "steps": [{"color": color, "value": value if at else None} for at, (color, value) in enumerate(steps)],
        },
    }
    if panel.kind != "table":
        found["min"] = 0
    if panel.most is not None:
        found["max"] = panel.most
    if panel.words:
        words = {str(number): {"text": word[language], "index": number} for number, word in panel.words}
        found["mappings"] = [{"type": "value", "options": words}]
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.is_stacked else "none", "group": "A"}
        fill = 30 if panel.is_stacked else 10
        found["custom"] = {"fillOpacity": fill, "lineWidth": 1, "showPoints": "auto", "stacking": stacking}
        if panel.thresholds:
            found["custom"] |= {"thresholdsStyle": {"mode": "line"}}  # type: ignore[operator]
    return found


def _overrides(panel: Panel, language: Language) -> Iterator[Model]:
    """Names, units and links of the columns of what REST answers."""
    for target in panel.targets:
        if isinstance(target, Asked):
            columns = columns_of(target)
            is_table = panel.kind == "table"
            for column in columns:
                properties = [*_properties(panel, column, columns, language, is_table=is_table)]
                if properties:
                    yield {"matcher": {"id": "byName", "options": column.name}, "properties": properties}


def _properties(
    panel: Panel, column: Column, columns: tuple[Column, ...], language: Language, *, is_table: bool
) -> Iterator[Model]:
    if column.kind == "timestamp" and not is_table:
        return  # the axis
    has_groups = any(each.kind == "string" for each in columns)
    if is_table or not has_groups:  # of many series Grafana makes the names from their labels
        yield {"id": "displayName", "value": column.title[language]}
    if column.unit:
        yield {"id": "unit", "value": column.unit}
    links = []
    if is_table and panel.opens and column.name == "app_name":
        links = [_to_board(panel.opens, language), _to_dify("app_id", language)]
    elif is_table and panel.opens and column.name == "app_id":
        yield {"id": "custom.hidden", "value": True}  # its value is in the links
    elif is_table and column.name in _DIFY_LINKS:
        links = [_to_dify(column.name, language)]
    if links:
        yield {"id": "links", "value": links}


def _to_dify(column: str, language: Language) -> Model:
    *titles, url = _DIFY_LINKS[column]
    return {"title": titles[language], "url": url, "targetBlank": True}


def _to_board(name: str, language: Language) -> Model:
    chosen = "var-one_app=${__data.fields.app_id}&${workspace:queryparam}&${datasource:queryparam}&${rest:queryparam}"
    title = ("Open this app", "打开该应用")[language]
    return {"title": title, "url": f"/d/{uid(name, language)}?{chosen}&${{__url_time_range}}", "targetBlank": False}


def _options(panel: Panel) -> Model:
    if panel.kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if panel.kind == "table":
        return {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"]}}
    shown: Model = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "horizontal" if panel.kind == "bargauge" else "auto",
    }
    if panel.kind == "stat":
        return shown | {"colorMode": "value", "graphMode": "none", "textMode": "auto", "justifyMode": "auto"}
    return shown | {"displayMode": "basic", "showUnfilled": True}
