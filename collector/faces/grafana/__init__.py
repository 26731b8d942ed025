"""Grafana dashboards: what goes out is JSON for `dashboards/en` and `dashboards/zh`; nothing here reads a store.

A dashboard is a table of panels. Each panel names families or asks REST, and takes its description from the
catalogue's help of the measure behind it: so a dashboard never says something else than REST or the reference page.
"""

from __future__ import annotations

import json
from typing import TypeAlias

from collector.faces.grafana.apps import APP
from collector.faces.grafana.drawing import drawn
from collector.faces.grafana.itself import ITSELF
from collector.faces.grafana.knowledge import KNOWLEDGE
from collector.faces.grafana.models import MODELS
from collector.faces.grafana.overview import OVERVIEW
from collector.faces.grafana.panel import Language
from collector.faces.grafana.users import USERS
from collector.faces.grafana.work import WORK

Model: TypeAlias = dict[str, object]

BOARDS = (OVERVIEW, APP, MODELS, USERS, KNOWLEDGE, WORK, ITSELF)


def dashboards() -> dict[str, Model]:
    """Every dashboard by the path of its file."""
    return {f"{language.tag}/{board.name}.json": drawn(board, language) for language in Language for board in BOARDS}


def written(model: Model) -> str:
    """A dashboard as the text of its file."""
    return json.dumps(model, ensure_ascii=False, indent=2) + "\n"
