"""The rows of a real Dify in a PostgreSQL, pulled and asked for as somebody does it: what that Dify itself answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from collector.app import Service
from collector.faces.asking import Asker
from collector.faces.rest_models import Asked
from collector.records import DATABASE
from collector.settings.configuration import load_settings
from tests.measures.test_dify import MEASURES, MESSAGE_FIELDS, RUN_FIELDS, Days, told
from tests.pull.database.world import AFTERWARDS
from tests.servers.postgres import RECORDED, Postgres, dify_template, postgres_server, sample_template
from tests.typing_it import typed

__all__ = ["dify_template", "postgres_server", "sample_template"]

REAL = json.loads((RECORDED / "sample" / "statistics.json").read_text("utf-8"))
EVER = "20000"
"""Days of history: the rows are as old as they are."""


@pytest.fixture
async def service(tmp_path: Path, postgres_server: Postgres, sample_template: str) -> AsyncIterator[Service]:
    told = {"store": str(tmp_path / "t.duckdb"), "database_url": postgres_server.dsn(sample_template)}
    service = Service(load_settings(told, {}), clock=lambda: AFTERWARDS)
    yield service
    await service.close()


def theirs() -> Days:
    """What Dify answered, by app, measure and day."""
    found: Days = {}
    for key, app in REAL["apps"].items():
        found |= told(key, {f"statistics/{name}": fields for name, fields in MESSAGE_FIELDS.items()}, app)
        found |= told(key, {f"workflow/statistics/{name}": fields for name, fields in RUN_FIELDS.items()}, app)
    return found


def ours(service: Service) -> Days:
    """What we answer to the question as anybody asks it."""
    found: Days = {}
    for measure in MEASURES:
        question = Asked(measure=[measure], by=["app_id"], grain="day", tz=REAL["timezone"], since="2026", until="2026")
        answer = Asker(service.store.rows, AFTERWARDS).answered(question).plain()
        for row in answer["rows"]:
            if (value := row[measure]) is not None:
                found[row["app_id"], measure, row["time"][:10]] = Decimal(value) if measure == "dify_cost" else value
    return found


@pytest.mark.parametrize("how", ["a pull", "a back-fill", "a pull and a back-fill"])
async def test_what_a_real_dify_answered_of_its_rows_is_what_we_answer(service: Service, how: str):
    pulls = await service.pull() if "pull" in how else []
    if "back-fill" in how:
        pulls += await service.back_fill(AFTERWARDS - timedelta(days=300), None, lambda *_: None, DATABASE)

    assert {(pull.source, pull.origin, pull.error_class) for pull in pulls} == {("database", "dify", None)}
    assert len(theirs()) > 40
    assert ours(service) == theirs()


def test_typed_too(tmp_path: Path, postgres_server: Postgres, sample_template: str):
    env = {"DIFY_METRIC_DATABASE_URL": postgres_server.dsn(sample_template), "DIFY_METRIC_HISTORY_DAYS": EVER}

    pulled = typed("pull", "--source", "database", at=tmp_path, **env)
    asked = typed("query", "dify_tokens", "--by", "app_id", "--until", "2027", "--json", at=tmp_path, **env)

    assert pulled.code == 0, pulled.err
    rows = {row["app_id"]: row["dify_tokens"] for row in json.loads(asked.out)["rows"] if row["dify_tokens"]}
    wanted: dict[str, int] = {}
    for (app, measure, _), number in theirs().items():
        if measure == "dify_tokens" and isinstance(number, int) and number:
            wanted[app] = wanted.get(app, 0) + number
    assert rows == wanted
