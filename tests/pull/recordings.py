"""Recorded answers of a real Dify 1.11.1, by name or by the console path they answer."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from collector.ledger import Telling
from collector.records import CONSOLE

RECORDED = Path(__file__).parent.parent / "recorded"
SEEN = datetime(2026, 11, 21, tzinfo=UTC)


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())


def names(path: str) -> list[str]:
    """The good answers to a console path; `*` stands for one part of it."""
    pattern = re.compile("/console/api" + re.escape(path).replace(r"\*", "[^/?]+"))
    return [
        entry["name"]
        for entry in recorded("index")
        if entry["status"] == 200 and entry["method"] == "GET" and pattern.fullmatch(entry["path"].partition("?")[0])
    ]


def told(**fields: Any) -> Telling:
    return Telling(**({"source": CONSOLE, "seen_at": SEEN, "workspace_id": "w1", "app_id": "shop"} | fields))
