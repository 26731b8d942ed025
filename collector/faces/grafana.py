"""Grafana dashboards from the families: what goes out is JSON for `dashboards/`; nothing here reads a store.

A dashboard is a table of panels. Each panel names families, and takes its description from the catalogue's help of the
measure behind them, so that a dashboard never says something else than REST or the reference page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TypeAlias

from collector.faces.families import FAMILIES
from collector.faces.panels import OVERVIEW, Panel, Rows
from collector.measures.catalogue import CATALOGUE

Model: TypeAlias = dict[str, object]

COLUMNS = 24
"""A Grafana row is 24 units wide."""

SOURCE: Model = {"type": "prometheus", "uid": "${datasource}"}


def dashboards() -> dict[str, Model]:
    """Every dashboard by the name of its file."""
    return {"overview.json": dashboard("dify-metric-overview", "Dify overview", OVERVIEW)}


def written(model: Model) -> str:
    """A dashboard as it stands in its file."""
    return json.dumps(model, indent=2, ensure_ascii=False) + "\n"


def dashboard(uid: str, title: str, rows: Rows) -> Model:
    """Rows of panels -> the JSON that Grafana imports."""
    return {
        "uid": uid,
        "title": title,
        "description": "Written by `dify-metric generate` from its catalogue of measures; change it there.",
        "tags": ["dify", "dify-metric"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": _variables()},
        "panels": list(_placed(rows)),
    }


def _variables() -> list[Model]:
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0},
        _choice("workspace", "Workspace", "label_values(dify_app_info, workspace_id)"),
        _choice("app", "App", 'label_values(dify_app_info{workspace_id=~"$workspace"}, app_id)'),
    ]


def _choice(name: str, label: str, query: str) -> Model:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": f"{name}-values"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _placed(rows: Rows) -> Iterator[Model]:
    number, top = 0, 0
    for title, panels in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        }
        top, left, tallest = top + 1, 0, 0
        for panel in panels:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            number += 1
            yield _panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": panel.height})
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel, number: int, place: Model) -> Model:
    custom: Model = {"fillOpacity": 20, "lineWidth": 1, "showPoints": "never", "spanNulls": False}
    if panel.is_stacked:
        custom["stacking"] = {"mode": "normal", "group": "A"}
    defaults: Model = {"unit": panel.unit, "custom": custom if panel.kind == "timeseries" else {}}
    steps = panel.thresholds or (("green", 0.0),)
    defaults["thresholds"] = {
        "mode": "absolute",
        "steps": [{"color": color, "value": value or None} for color, value in steps],
    }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": f"{CATALOGUE.measure(panel.measure).help} {panel.note}".strip(),
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
        "targets": [
            _target(panel, place, legend, expression) for place, (legend, expression) in enumerate(panel.targets)
        ],
    }


def _options(panel: Panel) -> Model:
    if panel.kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "orientation": "auto"}


def _target(panel: Panel, place: int, legend: str, expression: str) -> Model:
    return {
        "refId": chr(ord("A") + place),
        "datasource": SOURCE,
        "expr": expression,
        "legendFormat": legend or "__auto",
        "range": panel.kind == "timeseries",
        "instant": panel.kind != "timeseries",
    }


def families_used(model: Model) -> set[str]:
    """The families a dashboard's expressions name."""
    told = json.dumps(model["panels"])
    return {family.name for family in FAMILIES if family.name in told}
