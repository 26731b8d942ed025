"""The parts as one service, asked in this process: ready or not, alive, and what a pass leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from collector.app import Service
from collector.demo import World, make_world, simulated_dify
from collector.errors import SettingsError
from collector.records import Pull
from collector.settings import Settings
from collector.settings.configuration import load_settings
from collector.settings.written import Address
from collector.web_server import listening
from tests.builders import NOON, a_call, a_feedback, a_message, a_run

ADMIN_KEY = "an-admin-key"


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(days=1, runs_per_day=20, seed=9, now=NOON)


def settings_of(folder: Path, world: World | None = None, **more: object) -> Settings:
    told: dict[str, object] = {"store": str(folder / "t.duckdb"), "history_days": 2, "retries": 0, **more}
    if world:
        told |= {"dify_url": "http://dify", "dify_admin_key": ADMIN_KEY, "dify_workspace_id": world.workspace_id}
    return load_settings(told, {})


@asynccontextmanager
async def a_service(
    settings: Settings, world: World | None = None, tick: timedelta = timedelta(milliseconds=1)
) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    """A service over a world, and a client of its pages. Its clock moves when looked at; nothing happens by itself."""
    ticks = count()
    dify = httpx.ASGITransport(simulated_dify(world, clock=lambda: NOON, admin_key=ADMIN_KEY)) if world else None
    service = Service(settings, clock=lambda: NOON + tick * next(ticks), transport=dify)
    web = httpx.ASGITransport(service.web())
    try:
        async with httpx.AsyncClient(transport=web, base_url="http://collector") as client:
            yield service, client
    finally:
        await service.close()


async def told(client: httpx.AsyncClient, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_pass_over_dify_shows_on_every_face(tmp_path: Path, world: World):
    async with a_service(settings_of(tmp_path, world), world) as (service, client):
        pulls = await service.pull()
        (counted,) = (await told(client, "/api/v1/query?measure=runs,messages"))["rows"]
        metrics = (await client.get("/metrics")).text
        ready = await told(client, "/readyz")

    assert {pull.error_class for pull in pulls} == {None}
    assert counted["runs"] > 0
    assert counted["messages"] > 0
    assert 'dify_metric_source_up{origin="dify",source="console"} 1.0' in metrics
    assert {pull.stream for pull in pulls} == {line["stream"] for line in ready["pulls"]}


async def test_a_second_pass_brings_nothing_twice(tmp_path: Path, world: World):
    async with a_service(settings_of(tmp_path, world), world) as (service, _):
        sql = "SELECT (SELECT count(*) FROM run), (SELECT count(*) FROM message), (SELECT count(*) FROM model_call)"
        await service.pull()
        once = service.store.rows(sql)
        await service.pull()
        assert service.store.rows(sql) == once


async def test_without_dify_it_serves_what_it_has(tmp_path: Path):
    async with a_service(settings_of(tmp_path)) as (service, client):
        assert await service.pull() == []
        assert (await told(client, "/readyz"))["pulls"] == []
        assert "dify_metric_build_info" in (await client.get("/metrics")).text
        assert "source_up" not in (await client.get("/metrics")).text


async def test_it_is_alive_but_not_ready_while_the_store_does_not_answer(tmp_path: Path):
    async with a_service(settings_of(tmp_path)) as (service, client):
        service.store.close()
        assert (await told(client, "/healthz"))["status"] == "alive"
        not_ready = await client.get("/readyz")

    assert not_ready.status_code == 503
    assert not_ready.json()["title"] == "The store does not answer"


async def test_its_reference_page_asks_nobody_else(tmp_path: Path):
    async with a_service(settings_of(tmp_path)) as (_, client):
        docs = await client.get("/docs")

    assert "default-src 'none'" in docs.headers["content-security-policy"]
    assert "://" not in docs.text.replace("dify-metric://", "")
    assert "<script" not in docs.text


async def test_a_dify_that_refuses_is_told_and_costs_no_page(tmp_path: Path, world: World):
    settings = settings_of(tmp_path, world).model_copy(update={"dify_workspace_id": "another"})
    async with a_service(settings, world) as (service, client):
        pulls: list[Pull] = await service.pull()
        metrics = (await client.get("/metrics")).text

    assert pulls[0].error_class
    assert 'dify_metric_source_up{origin="dify",source="console"} 0.0' in metrics


def test_an_address_that_cannot_be_listened_on_names_its_setting():
    with pytest.raises(SettingsError, match=r"listen: cannot listen on 192\.0\.2\.1:80 \(.*\); name another"):
        listening(Address("192.0.2.1", 80), "listen")


async def test_counters_go_on_where_the_process_before_left_them(tmp_path: Path):
    line = 'dify_chat_feedback_total{app_id="helpdesk",rating="like",workspace_id="w"}'
    likes = [a_feedback(workspace_id="w"), a_feedback(id="m2/user", message_id="m2", workspace_id="w")]
    async with a_service(settings_of(tmp_path), tick=timedelta(minutes=1)) as (service, client):
        service.put(likes)
        assert f"{line} 0.0" in (await client.get("/metrics")).text  # so that it is an increase
        assert f"{line} 2.0" in (await client.get("/metrics")).text

    async with a_service(settings_of(tmp_path)) as (service, client):
        service.put([a_feedback(workspace_id="w", rating="withdrawn", seen_at=NOON + timedelta(hours=1))])
        assert f"{line} 2.0" in (await client.get("/metrics")).text


async def test_facts_go_by_the_age_that_the_settings_say_and_totals_stay(tmp_path: Path):
    later = NOON + timedelta(days=400)
    service = Service(settings_of(tmp_path, keep_runs="90d"), clock=lambda: later)
    try:
        at = NOON + timedelta(days=1)
        service.put([a_run(created_at=at, finished_at=at), a_message(created_at=at, finished_at=at)])
        service.store.settle_rollups(everything=True)
        await service.retire_facts()

        assert service.store.rows("SELECT (SELECT count(*) FROM run), (SELECT count(*) FROM message)") == [(0, 1)]
        assert service.store.rows("SELECT facts FROM run_by_day") == [(1,)]
    finally:
        await service.close()


async def test_what_is_rated_stays_until_its_month_is_closed(tmp_path: Path):
    (tmp_path / "prices.toml").write_text('timezone = "UTC"\n')
    now = [NOON]
    kept = {"keep_model_calls": "30d", "prices": str(tmp_path / "prices.toml")}
    service = Service(settings_of(tmp_path, **kept), clock=lambda: now[0])
    try:
        at = NOON + timedelta(days=1)
        service.put([a_call(created_at=at, finished_at=at)])
        service.store.settle_rollups(everything=True)
        now[0] = NOON + timedelta(days=200)
        await service.retire_facts()
        assert service.store.rows("SELECT count(*) FROM model_call") == [(1,)]

        service.money.bills.close(f"{NOON:%Y-%m}", "finance")
        await service.retire_facts()
        assert service.store.rows("SELECT count(*) FROM model_call") == [(0,)]
    finally:
        await service.close()


async def test_rollups_are_settled_while_the_service_lives(tmp_path: Path):
    service = Service(settings_of(tmp_path), clock=lambda: NOON)
    try:
        service.put([a_run(), a_run(id="r2", created_at=NOON + timedelta(days=1))])
        await service.settle_rollups()
        await service.settle_rollups()

        assert service.store.rows("SELECT count(*) FROM run_by_quarter") == [(2,)]
    finally:
        await service.close()
