"""What a reader of a dashboard may choose. Only what a dashboard uses stands on it.

The choices come from Prometheus, by regular expression; REST takes the same expressions, so one choice serves both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TypeAlias

from collector.faces.grafana.panel import Language, Said
from collector.faces.grafana.questions import PROMETHEUS, REST

Model: TypeAlias = dict[str, object]

_NAMED = '/app_id="(?<value>[^"]+)".*app_name="(?<text>(?:[^"\\\\]|\\\\.)*)"/'
"""Apps are shown by name and chosen by id: names repeat and change."""

DIFY_URL = "https://dify.example.com"


def variables(panels: object, language: Language) -> list[Model]:
    """The variables that these panels use, and those that the variables use, in a fixed order."""
    made = {name: make(language) for name, make in _ALL.items()}
    wanted, told = set[str](), json.dumps(panels)
    while found := _used(told, made) - wanted:
        wanted |= found
        told = json.dumps([made[name] for name in wanted])
    return [model for name, model in made.items() if name in wanted]


def _used(told: str, made: dict[str, Model]) -> set[str]:
    names = {found for found in re.findall(r"\$\{?([a-z_]+)", told) if not found.startswith("__")}
    names |= set(re.findall(r'"repeat": "(\w+)"', told))
    if unknown := names - set(made):
        raise ValueError(f"no variable {sorted(unknown)[0]!r}; there are {', '.join(made)}")
    return names


def _source(name: str, kind: str, label: Said) -> Callable[[Language], Model]:
    return lambda language: {
        "name": name,
        "label": label[language],
        "type": "datasource",
        "query": kind,
        "regex": "",
        "refresh": 1,
        "hide": 0,
        "multi": False,
        "includeAll": False,
        "options": [],
    }


def _choice(
    name: str, label: Said, query: str, regex: str = "", *, is_one: bool = False, all_value: str | None = ".*"
) -> Callable[[Language], Model]:
    def made(language: Language) -> Model:
        model: Model = {
            "name": name,
            "label": label[language],
            "type": "query",
            "datasource": PROMETHEUS,
            "query": {"query": query, "refId": f"{name}-values"},
            "regex": regex,
            "refresh": 2,
            "sort": 5,
            "hide": 0,
            "multi": not is_one,
            "includeAll": not is_one,
            "options": [],
        }
        if is_one:
            return model
        return (
            model | {"current": {"text": ["All"], "value": ["$__all"]}} | ({"allValue": all_value} if all_value else {})
        )

    return made


def _text(name: str, label: Said, value: str) -> Callable[[Language], Model]:
    return lambda language: {
        "name": name,
        "label": label[language],
        "type": "textbox",
        "query": value,
        "hide": 0,
        "current": {"text": value, "value": value},
        "options": [{"selected": True, "text": value, "value": value}],
    }


_APPS = 'query_result(dify_app_info{workspace_id=~"$workspace"})'

_ALL: dict[str, Callable[[Language], Model]] = {
    "datasource": _source("datasource", "prometheus", ("Prometheus", "Prometheus")),
    "rest": _source("rest", str(REST["type"]), ("REST (Infinity)", "REST（Infinity）")),
    "workspace": _choice("workspace", ("Workspace", "工作区"), "label_values(dify_app_info, workspace_id)"),
    "app": _choice("app", ("App", "应用"), _APPS, _NAMED),
    "one_app": _choice("one_app", ("App", "应用"), _APPS, _NAMED, is_one=True),
    "model": _choice(
        "model",
        ("Model", "模型"),
        'label_values(dify_llm_calls_total{workspace_id=~"$workspace",app_id=~"$app"}, model_name)',
    ),
    "dataset": _choice(
        "dataset",
        ("Knowledge base", "知识库"),
        'label_values(dify_knowledge_documents{workspace_id=~"$workspace"}, dataset_id)',
    ),
    "currency": _choice(  # a panel repeats for each value there is
        "currency",
        ("Currency", "币种"),
        "metrics(dify_llm_cost_.+_total)",
        "/dify_llm_cost_(.+)_total/",
        all_value=None,
    ),
    "dify": _text("dify", ("Address of Dify", "Dify 地址"), DIFY_URL),
}
