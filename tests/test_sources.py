"""Several Difys in one collector: each is read for itself, told apart, and no other's trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from collector import commands
from collector.app import Service
from collector.demo import Faults, World, make_world, simulated_dify
from collector.errors import SettingsError
from collector.faces.asking import Asker
from collector.faces.rest_models import Asked
from collector.records import Pull
from collector.settings import Settings
from collector.settings.configuration import load_settings
from tests.builders import NOON, a_run, an_app

KEYS = {"main": "main-key-nobody-sees", "lab": "lab-key-nobody-sees"}


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    return {name: make_world(days=1, runs_per_day=20, seed=seed, now=NOON) for seed, name in enumerate(KEYS, 3)}


class Hosts(httpx.AsyncBaseTransport):
    """A simulated Dify at http://<name> for each world; `down` are those that cannot be reached."""

    def __init__(self, worlds: Mapping[str, World]) -> None:
        self.faults = {name: Faults() for name in worlds}
        self.asked: list[str] = []
        self._difys = {
            name: httpx.ASGITransport(
                simulated_dify(world, clock=lambda: NOON, admin_key=KEYS[name], faults=self.faults[name])
            )
            for name, world in worlds.items()
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.host)
        return await self._difys[request.url.host].handle_async_request(request)


def settings_of(folder: Path, worlds: Mapping[str, World], **more: object) -> Settings:
    tables = [
        {"name": name, "url": f"http://{name}", "admin_key": KEYS[name], "workspace_id": world.workspace_id}
        for name, world in worlds.items()
    ]
    told = {"store": str(folder / "t.duckdb"), "history_days": 2, "retries": 0, "dify": tables, **more}
    return load_settings(told, {})


@asynccontextmanager
async def a_service(settings: Settings, hosts: Hosts) -> AsyncIterator[Service]:
    service = Service(settings, clock=lambda: NOON, transport=hosts)
    try:
        yield service
    finally:
        await service.close()


def by_origin(service: Service, sql: str) -> dict[object, object]:
    return dict(service.store.rows(sql))  # type: ignore[arg-type]


async def test_every_dify_is_read_and_told_apart(tmp_path: Path, worlds: dict[str, World]):
    async with a_service(settings_of(tmp_path, worlds), Hosts(worlds)) as service:
        pulls = await service.pull()

        assert {pull.origin for pull in pulls} == {"main", "lab"}
        assert not [pull for pull in pulls if pull.error_class]
        apps = by_origin(service, "SELECT origin, count(*) FROM app GROUP BY origin")
        assert apps == {name: len(world.apps) for name, world in worlds.items()}
        runs = by_origin(service, "SELECT app.origin, count(*) FROM run JOIN app ON app.id = run.app_id GROUP BY 1")
        assert runs == {
            name: sum(run.triggered_from != "debugging" for run in world.runs.values())
            for name, world in worlds.items()
        }
        marks = service.store.rows("SELECT origin FROM watermark WHERE stream = 'retrievals'")
        assert sorted(marks) == [("lab",), ("main",)]
        assert len(pulls) == service.store.rows("SELECT count(*) FROM pull")[0][0]


async def test_a_query_can_be_split_by_dify(tmp_path: Path, worlds: dict[str, World]):
    async with a_service(settings_of(tmp_path, worlds), Hosts(worlds)) as service:
        await service.pull()
        web = httpx.ASGITransport(service.web())
        async with httpx.AsyncClient(transport=web, base_url="http://collector") as client:
            answer = (await client.get("/api/v1/query?measure=runs&by=origin")).json()
            metrics = (await client.get("/metrics")).text

    assert {row["origin"] for row in answer["rows"]} == {"main", "lab"}
    for name in worlds:
        assert f'dify_metric_source_up{{origin="{name}",source="console"}} 1.0' in metrics
        assert f'dify_metric_watermark_timestamp_seconds{{origin="{name}",source="console",stream="runs"}}' in metrics


async def test_one_that_is_down_is_none_of_the_others_business(tmp_path: Path, worlds: dict[str, World]):
    hosts = Hosts(worlds)
    hosts.faults["main"].unreachable(times=10_000)

    async with a_service(settings_of(tmp_path, worlds), hosts) as service:
        pulls = await service.pull()

        assert {pull.origin for pull in pulls if pull.error_class} == {"main"}
        assert [source.is_up for source in service.sources] == [False, True]
        assert by_origin(service, "SELECT origin, count(*) FROM app GROUP BY origin") == {
            "lab": len(worlds["lab"].apps)
        }


async def test_one_that_hangs_delays_no_other(tmp_path: Path, worlds: dict[str, World]):
    hosts = Hosts(worlds)
    hosts.faults["main"].stall("/console/api/apps")

    async with a_service(settings_of(tmp_path, worlds), hosts) as service:
        slow, quick = (asyncio.ensure_future(source.pull()) for source in service.sources)
        pulls = await quick

        assert not slow.done()
        assert pulls
        assert not [pull for pull in pulls if pull.error_class]
        hosts.faults["main"].release()
        await slow


async def test_one_that_refuses_us_is_asked_no_more_and_the_others_are(tmp_path: Path, worlds: dict[str, World]):
    tables = [
        {"name": "main", "url": "http://main", "email": "owner@example.com", "password": "wrong"},
        {"name": "lab", "url": "http://lab", "admin_key": KEYS["lab"], "workspace_id": worlds["lab"].workspace_id},
    ]
    hosts = Hosts(worlds)

    async with a_service(settings_of(tmp_path, {}, dify=tables), hosts) as service:
        first = await service.pull()
        asked = hosts.asked.count("main")
        again = await service.pull()

        assert hosts.asked.count("main") == asked
        for pulls in (first, again):
            assert ("main", "unauthorized") in {(pull.origin, pull.error_class) for pull in pulls}
            assert {pull.origin for pull in pulls if not pull.error_class} >= {"lab"}


async def test_two_workspaces_of_one_dify_that_tell_no_ids_do_not_delete_each_others_apps(
    tmp_path: Path, worlds: dict[str, World]
):
    hosts = Hosts(worlds)
    for faults in hosts.faults.values():
        for path in ("workspaces/current$", "/workspaces$"):
            faults.refuse(path.removesuffix("$"), 404, "not_found", times=10_000)
    tables = [
        {"name": name, "url": f"http://{name}", "email": account.email, "password": account.password}
        for name, world in worlds.items()
        for account in world.accounts[:1]
    ]

    async with a_service(settings_of(tmp_path, {}, dify=tables), hosts) as service:
        for _ in range(2):
            await service.pull()

        assert service.store.rows("SELECT count(*) FROM app WHERE workspace_id IS NOT NULL") == [(0,)]
        assert service.store.rows("SELECT count(*) FROM app WHERE deleted_at IS NOT NULL") == [(0,)]


async def test_check_tells_of_each(tmp_path: Path, worlds: dict[str, World]):
    tables = [{"name": name, "url": "http://127.0.0.1:9", "token": "t"} for name in worlds]
    report = await commands.check(settings_of(tmp_path, {}, dify=tables))

    told = {each["check"]: each["is_well"] for each in report["checks"]}
    assert told == {"store": True, "dify main": False, "dify lab": False}


class TestTables:
    def test_the_plain_settings_are_one_more(self, tmp_path: Path, worlds: dict[str, World]):
        settings = settings_of(tmp_path, worlds, dify_url="http://plain", dify_token="t")

        assert [source.name for source in settings.sources] == ["dify", "main", "lab"]

    def test_secrets_are_masked_and_known_to_the_logs(self, tmp_path: Path, worlds: dict[str, World]):
        settings = settings_of(tmp_path, worlds)

        assert set(KEYS.values()) <= set(settings.secrets)
        assert not [each for each in commands.in_force(settings) if any(key in each.value for key in KEYS.values())]
        assert {each.name: each.value for each in commands.in_force(settings)}["dify"] == "main, lab"

    def test_a_secret_may_stand_in_a_file(self, tmp_path: Path):
        (tmp_path / "token").write_text("from a file\n")
        table = {"name": "lab", "url": "http://lab", "token_file": str(tmp_path / "token")}

        (source,) = load_settings({"dify": [table]}, {}).sources

        assert source.token
        assert source.token.get_secret_value() == "from a file"

    def test_they_come_from_the_file(self, tmp_path: Path):
        file = tmp_path / "d.toml"
        file.write_text('retries = 1\n[[dify]]\nname = "lab"\nurl = "http://lab"\ntoken = "t"\npull_interval = "5m"\n')

        settings = load_settings({}, {}, file)

        assert settings.origin("dify").endswith("d.toml line 2")
        assert settings.sources[0].pull_interval.total_seconds() == 300

    @pytest.mark.parametrize(
        ("table", "said"),
        [
            ({"name": "lab"}, "[[dify]] lab: neither url nor database_url nor broker_url"),
            ({"name": "lab", "url": "http://lab"}, "lab: url but no way to sign in"),
            ({"name": "Lab 1", "url": "http://lab", "token": "t"}, "[[dify]] Lab 1 name: wanted"),
            ({"name": "lab", "url": "lab", "token": "hush"}, "lab url: wanted a URL that starts with http"),
            ({"url": "http://lab", "token": "hush"}, "[[dify]] number 1 name: wanted"),
            ({"name": "lab", "url": "http://lab", "token": "hush", "email": "a@b.c"}, "more than one way"),
            ({"name": "lab", "url": "http://lab", "tokn": "hush"}, "lab tokn: wanted"),
            ({"name": "lab", "url": "http://lab", "token_file": "/no/such"}, "token_file cannot be read"),
            ({"name": "dify", "url": "http://lab", "token": "hush"}, "two Difys called dify"),
        ],
    )
    def test_a_wrong_one_is_named_and_never_quoted(self, table: dict[str, str], said: str):
        plain = {"dify_url": "http://plain", "dify_token": "t"}

        with pytest.raises(SettingsError) as refused:
            load_settings({"dify": [table], **plain}, {})

        assert said in str(refused.value)
        assert "hush" not in str(refused.value)


def test_one_pull_of_two_difys_at_one_instant_is_two_facts(tmp_path: Path, worlds: dict[str, World]):
    async def passes() -> list[Pull]:
        async with a_service(settings_of(tmp_path, worlds), Hosts(worlds)) as service:
            return await service.pull()

    pulls = asyncio.run(passes())
    assert len({pull.id for pull in pulls}) == len(pulls)


# Versions that nobody tells


async def test_a_version_that_is_set_makes_quirks_work_where_no_console_is_read(tmp_path: Path):
    told = {"store": str(tmp_path / "t.duckdb"), "dify_version": "1.9.2"}
    async with a_service(load_settings(told, {}), Hosts({})) as service:
        await service.note_versions()  # nothing is stored yet: nothing to note
        service.put([an_app(workspace_id="w"), a_run(workspace_id="w"), a_run(id="r2", app_id=None)])

        await service.pull()
        await service.note_versions()

        releases = service.store.rows("SELECT workspace_id, version, source FROM dify_release ORDER BY ALL")
        assert releases == [("w", "1.9.2", "file"), (None, "1.9.2", "file")]
        answer = Asker(service.store.rows, NOON + timedelta(hours=1)).answered(Asked(measure=["dify_run_tokens"]))
        assert answer.flags["containers_twice"] == 2


async def test_a_version_that_is_set_is_believed_before_the_header(tmp_path: Path, worlds: dict[str, World]):
    settings = settings_of(tmp_path, worlds)
    lab = settings.dify[1].model_copy(update={"version": "1.9.1"})
    async with a_service(settings.model_copy(update={"dify": (settings.dify[0], lab)}), Hosts(worlds)) as service:
        await service.pull()
        await service.pull()

        releases = service.store.rows("SELECT workspace_id, version FROM dify_release")
        assert dict(releases) == {worlds["main"].workspace_id: "1.11.1", worlds["lab"].workspace_id: "1.9.1"}
        assert len(releases) == 2


@pytest.mark.parametrize("written", ["latest", "1", "1.11.1.2", "2025-01"])
def test_a_version_that_is_none_is_refused(written: str):
    with pytest.raises(SettingsError, match="dify_version"):
        load_settings({"dify_version": written}, {})
