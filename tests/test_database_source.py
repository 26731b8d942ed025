"""A Dify read through its database: alone, or beside its console, which is then asked only for the rest."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from collector import commands, health
from collector.app import Service
from collector.demo import Faults, World, make_world, simulated_dify
from collector.errors import QueryError, SettingsError
from collector.records import CONSOLE, DATABASE, ModelCall, Run
from collector.settings import DifySource
from collector.settings.configuration import load_settings
from tests.builders import NOON
from tests.collect.shelf import Shelf
from tests.pull.database.world import key
from tests.servers.dify_rows import fill
from tests.servers.postgres import Postgres, dify_template, postgres_server
from tests.typing_it import Command

__all__ = ["dify_template", "postgres_server"]

KEY = "an-admin-key"
SINCE = (NOON - timedelta(days=30)).isoformat()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(days=2, runs_per_day=30, seed=9, now=NOON)


@pytest.fixture(scope="module")
def dsn(world: World, postgres_server: Postgres, dify_template: str) -> str:
    database = postgres_server.database(dify_template)
    fill(postgres_server, database, world)
    return postgres_server.dsn(database)


class Dify(httpx.AsyncBaseTransport):
    """The simulated Dify, and what was asked of it, ids left out."""

    def __init__(self, world: World) -> None:
        self.asked: set[str] = set()
        self.faults = Faults()
        self._dify = httpx.ASGITransport(simulated_dify(world, clock=lambda: NOON, admin_key=KEY, faults=self.faults))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.add(re.sub(r"[0-9a-f-]{36}", "…", request.url.path.removeprefix("/console/api")))
        return await self._dify.handle_async_request(request)


def console(world: World) -> dict[str, object]:
    return {"dify_url": "http://dify", "dify_admin_key": KEY, "dify_workspace_id": world.workspace_id, "retries": 0}


@asynccontextmanager
async def a_service(folder: Path, transport: Dify | None = None, **told: object) -> AsyncIterator[Service]:
    settings = load_settings({"store": str(folder / "t.duckdb"), **told}, {})
    service = Service(settings, clock=lambda: NOON, transport=transport)
    try:
        yield service
    finally:
        await service.close()


class TestAlone:
    async def test_it_brings_the_ledger_and_says_that_it_is_up(self, tmp_path: Path, dsn: str, world: World):
        async with a_service(tmp_path, database_url=dsn) as service:
            pulls = await service.pull()
            metrics = await asked(service, "/metrics")

            assert {(pull.source, pull.origin, pull.error_class) for pull in pulls} == {(DATABASE, "dify", None)}
            assert set(Shelf(service.store).of(Run)) == set(world.runs)
        assert 'dify_metric_source_up{origin="dify",source="database"} 1.0' in metrics
        assert 'dify_metric_last_success_timestamp_seconds{origin="dify",source="database",stream="runs"}' in metrics
        assert 'dify_metric_watermark_timestamp_seconds{origin="dify",source="database",stream="runs"}' in metrics
        assert re.search(
            r'dify_metric_source_requests_total\{code="ok",endpoint="messages",origin="dify",source="database"\} [1-9]',
            metrics,
        )

    async def test_a_service_pulls_and_reads_history_when_it_is_asked_to(self, tmp_path: Path, dsn: str):
        async with a_service(tmp_path, database_url=dsn) as service:
            pulled = await wished(service, "/api/v1/pull?source=database")
            elsewhere = await wished(service, "/api/v1/pull?source=api")
            begun = await wished(service, "/api/v1/backfill", since=SINCE, source="database")
            await service.filling.wait()

            assert (pulled.status_code, begun.status_code) == (200, 202)
            assert (elsewhere.status_code, elsewhere.json()["detail"]) == (
                409,
                "no Dify is read by api here; set dify_url and a way to sign in",
            )
            assert service.filling.state == "done"
            assert service.filling.progress["runs"][0] > 0

    async def test_it_has_a_schedule_of_its_own(self, tmp_path: Path, dsn: str, world: World):
        told = {**console(world), "database_url": dsn, "database_interval": "5m", "pull_interval": "1h"}
        async with a_service(tmp_path, Dify(world), **told) as service:
            (source,) = service.sources

            assert [schedule._interval for schedule in source.schedules()] == [
                timedelta(hours=1),
                timedelta(minutes=5),
            ]


class TestBeside:
    async def test_the_console_is_asked_for_nothing_that_the_database_tells(
        self, tmp_path: Path, dsn: str, world: World
    ):
        dify = Dify(world)
        async with a_service(tmp_path, dify, **console(world), database_url=dsn) as service:
            pulls = [*await service.pull(), *await service.pull()]

            assert not [pull for pull in pulls if pull.error_class]
            assert {pull.source for pull in pulls} == {CONSOLE, DATABASE}
            calls = Shelf(service.store).of(ModelCall)
            told = {table: service.store.rows(f"SELECT count(*) FROM {table}")[0][0] for table in KEPT}
        assert len(calls) > 20
        assert all(told.values()), told
        assert {path for path in dify.asked if "statistics" not in path} <= {
            "/apps",
            "/apps/…/api-keys",
            "/account/profile",
            "/workspaces/current",
            "/workspaces/current/members",
            *(f"/workspaces/current/models/model-types/{kind}" for kind in KINDS),
        }

    async def test_one_that_is_down_is_none_of_the_others_business(self, tmp_path: Path, dsn: str, world: World):
        nowhere = "postgresql://nobody:secret@127.0.0.1:1/dify"
        dify = Dify(world)
        async with a_service(tmp_path, dify, **console(world), database_url=nowhere) as service:
            pulls = await service.pull()
            up = health.up(service.sources)
        assert {pull.error_class for pull in pulls if pull.source == DATABASE} == {"unavailable"}
        assert {pull.error_class for pull in pulls if pull.source == CONSOLE} == {None}
        assert up == {("dify", CONSOLE): 1.0, ("dify", DATABASE): 0.0}

        dify.faults.unreachable(times=10_000)
        async with a_service(tmp_path, dify, **console(world), database_url=dsn) as service:
            pulls = await service.pull()
        assert not [pull for pull in pulls if pull.source == DATABASE and pull.error_class]
        assert [pull for pull in pulls if pull.source == CONSOLE and pull.error_class]

    async def test_either_can_be_asked_alone(self, tmp_path: Path, dsn: str, world: World):
        dify = Dify(world)
        async with a_service(tmp_path, dify, **console(world), database_url=dsn) as service:
            assert {pull.source for pull in await service.pull(DATABASE)} == {DATABASE}
            assert not dify.asked
            assert {pull.source for pull in await service.pull(CONSOLE)} == {CONSOLE}

            history = [NOON - timedelta(days=30), None, lambda *_: None]
            assert {pull.source for pull in await service.back_fill(*history)} == {DATABASE}
            assert {pull.source for pull in await service.back_fill(*history, CONSOLE)} == {CONSOLE}

    async def test_several_of_one_name_each_know_their_own(self, tmp_path: Path, dsn: str, world: World):
        tables = [
            {"name": "ours", "database_url": dsn, "workspace_id": world.workspace_id},
            {"name": "nobodys", "database_url": dsn, "workspace_id": key("nobody")},
        ]
        async with a_service(tmp_path, dify=tables) as service:
            await service.pull()
            pulls = await service.pull()

            assert {pull.origin for pull in pulls} == {"ours", "nobodys"}
            assert service.store.rows("SELECT DISTINCT origin FROM app") == [("ours",)]
            assert service.store.rows("SELECT count(*) FROM app WHERE deleted_at IS NOT NULL") == [(0,)]
            assert {name for (name,) in service.store.rows("SELECT DISTINCT origin FROM watermark")} == {
                "ours",
                "nobodys",
            }


KINDS = ("llm", "text-embedding", "rerank", "speech2text", "tts", "moderation")
KEPT = ("run", "node_execution", "message", "conversation", "feedback", "dataset", "dataset_day", "retrieval")
KEPT += ("model", "api_key", "dify_statistic", "dify_release")


class TestChecked:
    @pytest.fixture
    def told(self, tmp_path: Path) -> dict[str, object]:
        return {"store": str(tmp_path / "t.duckdb")}

    async def checked(self, told: dict[str, object]) -> Any:
        report = await commands.check(load_settings(told, {}))
        (found,) = [each for each in report["checks"] if each["check"].startswith("database")]
        return found

    async def test_it_answers_and_says_what_the_role_may(self, told: dict[str, object], dsn: str, world: World):
        found = await self.checked({**told, "database_url": dsn})

        assert found["is_well"]
        assert re.fullmatch(
            rf"PostgreSQL [\d.]+ as postgres, {len(world.apps)} apps; more rights than needed: it is a superuser",
            found["result"],
        )

    async def test_only_one_workspace(self, told: dict[str, object], dsn: str):
        table = {"name": "lab", "database_url": dsn, "workspace_id": key("nobody")}

        found = await self.checked({**told, "dify": [table]})

        assert found["check"] == "database lab"
        assert f"0 apps of workspace {key('nobody')}" in found["result"]

    async def test_one_that_cannot_be_read_says_why_and_no_password(self, told: dict[str, object]):
        found = await self.checked({**told, "database_url": "postgresql://dify:hunter2@127.0.0.1:1/dify"})

        assert not found["is_well"]
        assert "cannot be reached as dify at 127.0.0.1:1/dify" in found["result"]
        assert "hunter2" not in found["result"]

    async def test_another_schema_is_told_by_table_column_and_remedy(
        self, told: dict[str, object], postgres_server: Postgres
    ):
        found = await self.checked({**told, "database_url": postgres_server.dsn("postgres")})

        assert not found["is_well"]
        assert "no column apps.id" in found["result"]
        assert "leave database_url out" in found["result"]


class TestSettings:
    def test_an_address_that_cannot_be_read_stops_at_start_and_is_not_quoted(self, tmp_path: Path):
        table = {"name": "lab", "database_url": "mysql://dify:hunter2@db/dify"}
        settings = load_settings({"store": str(tmp_path / "t.duckdb"), "dify": [table]}, {})

        with pytest.raises(SettingsError, match=r"database_url of lab: .* only PostgreSQL is, not MySQL") as told:
            Service(settings)

        assert "hunter2" not in str(told.value)

    def test_without_the_driver_it_says_what_to_install(
        self, tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setitem(sys.modules, "psycopg", None)
        monkeypatch.delitem(sys.modules, "collector.pull.database.connection", raising=False)
        settings = load_settings({"store": str(tmp_path / "t.duckdb"), "database_url": dsn}, {})

        with pytest.raises(SettingsError, match=r"database_url of dify: .*pip install 'dify-metric\[database\]'"):
            Service(settings)

    def test_a_workspace_needs_no_key_beside_a_database(self):
        alone = load_settings({"dify_workspace_id": "w", "database_url": "postgresql:///dify"}, {})
        assert [(each.url, each.workspace_id) for each in alone.sources] == [(None, "w")]

        beside = DifySource(
            name="lab",
            url="https://dify.example.com",
            email="a@example.com",
            password="p",  # type: ignore[arg-type]
            workspace_id="w",
            database_url="postgresql:///dify",  # type: ignore[arg-type]
        )
        assert beside.sign_in == "password"

    async def test_secrets_of_a_table_stand_in_files_and_in_no_log(self, tmp_path: Path):
        (tmp_path / "secret").write_text("postgresql://dify:hunter2@db/dify\n")
        settings = load_settings({"dify": [{"name": "lab", "database_url_file": str(tmp_path / "secret")}]}, {})

        assert settings.secrets == ("postgresql://dify:hunter2@db/dify",)


class TestTyped:
    @pytest.mark.parametrize("source", ["api", "database"])
    def test_a_way_in_that_is_not_set_is_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str):
        other = ["--dify-url", "http://dify.example.com"] if source == "database" else []

        said = Command(capsys)("pull", "--source", source, "--store", tmp_path / "t.duckdb", *other)

        assert said.code == 2
        assert f"set {'database_url' if source == 'database' else 'dify_url'}" in said.err

    async def test_one_that_does_not_exist_is_told(self, tmp_path: Path, dsn: str):
        settings = load_settings({"store": str(tmp_path / "t.duckdb"), "database_url": dsn}, {})

        with pytest.raises(QueryError, match="--source: wanted api or database, got 'tap'"):
            await commands.pull(settings, lambda *_: None, "tap")

    async def test_here_it_brings_what_a_service_would(self, tmp_path: Path, dsn: str):
        settings = load_settings({"store": str(tmp_path / "t.duckdb"), "database_url": dsn}, {})
        steps: list[str] = []

        pulls = await commands.back_fill(settings, SINCE, [], lambda *step: steps.append(step[0]), "database")

        assert {(pull["source"], pull["error_class"]) for pull in pulls} == {(DATABASE, None)}
        assert {"runs", "messages", "node-executions"} <= set(steps)


async def asked(service: Service, path: str) -> str:
    async with _client(service) as client:
        return (await client.get(path)).raise_for_status().text


async def wished(service: Service, path: str, **wish: object) -> httpx.Response:
    async with _client(service) as client:
        return await client.post(path, json=wish or None)


def _client(service: Service) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(service.web()), base_url="http://collector")
