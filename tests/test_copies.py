"""`dify-metric backup`, `restore` and `export parquet`: copies that are whole, of a store at rest or being served."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import httpx
import pytest
from typer.testing import CliRunner

from collector.app import Service
from collector.cli import cli
from collector.settings.configuration import load_settings
from collector.store import open_store
from collector.store.tables import TABLES
from tests.builders import a_call, a_run


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    store = open_store(tmp_path / "facts.duckdb")
    store.put([a_run(), a_call()])
    store.settle_rollups(everything=True)
    store.close()
    return tmp_path / "facts.duckdb"


def ran(*arguments: object) -> tuple[int, str]:
    told = CliRunner().invoke(cli, [str(each) for each in arguments])
    return told.exit_code, told.output + str(told.exception or "")


def test_what_was_backed_up_is_restored(path: Path):
    code, said = ran("backup", "copy.duckdb", "--store", path, "--json")
    assert (code, json.loads(said)["path"]) == (0, str(path.parent / "copy.duckdb"))

    code, said = ran("restore", "copy.duckdb", "--store", path.parent / "again.duckdb")
    assert (code, "wrote" in said) == (0, True)

    store = open_store(path.parent / "again.duckdb", read_only=True)
    assert store.rows("SELECT (SELECT count(*) FROM run), (SELECT facts FROM run_by_day)") == [(1, 1)]
    assert store.check_rollups() == []
    store.close()


def test_nothing_is_overwritten(path: Path):
    ran("backup", "copy.duckdb", "--store", path)

    assert "wanted the path of a new file" in ran("backup", "copy.duckdb", "--store", path)[1]
    assert "a backup never replaces it" in ran("restore", "copy.duckdb", "--store", path)[1]
    (path.parent / "there").mkdir()
    assert "wanted the path of a new folder" in ran("export", "parquet", "there", "--store", path)[1]


def test_what_is_no_backup_is_refused_and_leaves_nothing(path: Path):
    (path.parent / "text").write_text("this is no database, though it is long enough to look like one")

    code, said = ran("restore", "text", "--store", path.parent / "new.duckdb")

    assert code != 0
    assert "no DuckDB database" in said
    assert sorted(each.name for each in path.parent.iterdir()) == ["facts.duckdb", "text"]


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path):
    for command in (("backup",), ("export", "parquet")):
        assert "nothing to copy" in ran(*command, tmp_path / "x", "--store", tmp_path / "none.duckdb")[1]
    assert list(tmp_path.iterdir()) == []


def test_every_table_is_exported(path: Path):
    code, said = ran("export", "parquet", "all", "--store", path, "--json")

    assert code == 0
    rows = json.loads(said)["rows"]
    assert {table.name for table in TABLES} <= rows.keys()
    assert rows["run"] == rows["run_by_day"] == 1
    assert {each.stem for each in (path.parent / "all").glob("*.parquet")} == rows.keys()
    assert "access_key" not in rows
    assert duckdb.sql(f"SELECT id FROM '{path.parent}/all/run.parquet'").fetchall() == [("r1",)]


@pytest.fixture
async def service(path: Path) -> AsyncIterator[httpx.AsyncClient]:
    service = Service(load_settings({"store": str(path)}, {}, None))
    transport = httpx.ASGITransport(service.web())
    async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
        yield client
    await service.close()


async def test_a_service_makes_copies_while_it_serves(service: httpx.AsyncClient, path: Path):
    copy, folder = str(path.parent / "copy.duckdb"), str(path.parent / "all")

    response = await service.post("/api/v1/backup", json={"to": copy})
    assert response.json()["path"] == copy
    assert (await service.post("/api/v1/export", json={"to": folder})).json()["rows"]["run"] == 1

    again = await service.post("/api/v1/backup", json={"to": copy})
    assert (again.status_code, again.headers["content-type"]) == (409, "application/problem+json")
    assert (await service.post("/api/v1/backup", json={"to": "copy.duckdb"})).status_code in (400, 422)
