"""`dify-metric check --rollups`: a table for people, JSON for machines, an exit code for scripts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from collector.app import Service
from collector.cli import cli
from collector.settings.configuration import load_settings
from collector.store import open_store
from tests.builders import NOON, a_call, a_run


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    store = open_store(tmp_path / "facts.duckdb")
    store.put([a_run(), a_call()])
    store.settle_rollups(everything=True)
    store.close()
    return str(tmp_path / "facts.duckdb")


@pytest.fixture
def wrong(path: str) -> str:
    store = open_store(path)
    store.rows("UPDATE run_by_hour SET facts = 3")
    store.close()
    return path


def check(path: str, *options: str) -> tuple[int, str]:
    told = CliRunner().invoke(cli, ["check", "--store", path, *options])
    return told.exit_code, told.output


def test_rollups_that_are_right_are_no_failure(path: str) -> None:
    assert check(path, "--rollups") == (0, "every rollup says what the facts say\n")


def test_what_differs_is_shown_and_fails(wrong: str) -> None:
    code, text = check(wrong, "--rollups")

    assert code == 1
    assert all(word in text for word in ("run_by_hour", "2026-11-20 12:00", "1 step differs", "--repair"))
    assert check(wrong, "--rollups")[0] == 1


def test_what_differs_is_repaired(wrong: str) -> None:
    code, text = check(wrong, "--rollups", "--repair", "--json")

    assert code == 0
    found = json.loads(text)
    assert found["is_repaired"]
    assert found["differences"] == [
        {"facts": "run", "level": "hour", "table": "run_by_hour", "at": NOON.isoformat(), "rows": 1}
        | {"kept": 3, "there": 1}
    ]
    assert check(wrong, "--rollups")[0] == 0


def test_repair_alone_is_misuse(path: str) -> None:
    assert CliRunner().invoke(cli, ["check", "--store", path, "--repair"]).exit_code != 0


@pytest.fixture
async def service(wrong: str) -> AsyncIterator[httpx.AsyncClient]:
    service = Service(load_settings({"store": wrong}, {}, None))
    transport = httpx.ASGITransport(service.web())
    async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
        yield client
    await service.close()


async def test_a_service_proves_and_repairs_too(service: httpx.AsyncClient) -> None:
    found = (await service.get("/api/v1/rollups")).json()
    assert [each["table"] for each in found["differences"]] == ["run_by_hour"]

    assert (await service.post("/api/v1/rollups/repair")).json() == found | {"is_repaired": True}

    assert (await service.get("/api/v1/rollups")).json() == {"differences": [], "is_repaired": False}
