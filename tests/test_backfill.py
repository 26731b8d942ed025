"""A back-fill as a person asks for it: here, or by the service that holds the store; stopped, and told of meanwhile."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from collector import commands
from collector.app import Service
from collector.backfill import BackFill
from collector.demo import Faults, World, make_world, simulated_dify
from collector.errors import DifyMetricError, QueryError, StoreError
from collector.running import Running
from collector.settings import Settings
from collector.settings.configuration import load_settings
from collector.terminal import Lines
from tests.builders import NOON
from tests.serving import Dify, a_dify, a_service
from tests.typing_it import typed

KEY = "an-admin-key"
SINCE = (NOON - timedelta(days=30)).isoformat()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(days=3, runs_per_day=20, seed=9, now=NOON)


def settings_of(folder: Path, world: World | None = None) -> Settings:
    told: dict[str, object] = {"store": str(folder / "t.duckdb"), "history_days": 1, "retries": 0}
    if world:
        told |= {"dify_url": "http://dify", "dify_admin_key": KEY, "dify_workspace_id": world.workspace_id}
    return load_settings(told, {})


@asynccontextmanager
async def served(
    folder: Path, world: World | None, faults: Faults | None = None
) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    """A service over a world, and a client of its pages."""
    dify = simulated_dify(world, clock=lambda: NOON, admin_key=KEY, faults=faults or Faults()) if world else None
    transport = httpx.ASGITransport(dify) if dify else None
    service = Service(settings_of(folder, world), clock=lambda: NOON, transport=transport)
    web = httpx.ASGITransport(service.web())
    try:
        async with httpx.AsyncClient(transport=web, base_url="http://collector") as client:
            yield service, client
    finally:
        await service.close()


async def ended(service: Service, client: httpx.AsyncClient) -> Any:
    await service.filling.wait()
    return (await client.get("/api/v1/backfill")).json()


async def test_the_service_reads_history_beside_its_passes(tmp_path: Path, world: World):
    async with served(tmp_path, world) as (service, client):
        await service.pull()
        before = service.store.rows("SELECT min(created_at) FROM run")[0][0]

        begun = await client.post("/api/v1/backfill", json={"since": SINCE})
        again = await client.post("/api/v1/backfill", json={"since": SINCE})
        state = await ended(service, client)

        assert (begun.status_code, again.status_code) == (202, 409)
        assert (begun.json()["state"], state["state"], state["problem"]) == ("running", "done", None)
        assert "runs" in {each["stream"] for each in state["progress"]}
        assert not [pull for pull in state["pulls"] if pull["error_class"]]
        assert service.store.rows("SELECT min(created_at) FROM run")[0][0] < before


async def test_it_can_be_stopped_and_gone_on_with(tmp_path: Path, world: World):
    faults = Faults()
    faults.stall("node-executions")
    async with served(tmp_path, world, faults) as (service, client):
        await client.post("/api/v1/backfill", json={"since": SINCE})
        while not faults.asked("node-executions"):  # noqa: ASYNC110  # a stalled request tells nobody
            await asyncio.sleep(0)
        stopped = (await client.delete("/api/v1/backfill")).json()
        faults.clear()
        faults.release()

        await client.post("/api/v1/backfill", json={"since": SINCE, "only": ["node-executions"]})
        state = await ended(service, client)

        assert (stopped["state"], state["state"]) == ("stopped", "done")
        assert service.store.rows("SELECT count(*) > 0 FROM model_call") == [(True,)]


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"since": SINCE, "only": ["rums"]}, 400),
        ({"since": "2026-01-01T00:00:00"}, 400),
        ({"since": "soon"}, 422),
        ({}, 422),
    ],
)
async def test_a_wish_that_cannot_be_is_refused(tmp_path: Path, world: World, wish: dict[str, Any], status: int):
    async with served(tmp_path, world) as (_, client):
        answer = await client.post("/api/v1/backfill", json=wish)

    assert answer.status_code in (status, 400)


async def test_without_a_dify_there_is_nothing_to_read(tmp_path: Path):
    async with served(tmp_path, None) as (_, client):
        assert (await client.post("/api/v1/backfill", json={"since": SINCE})).status_code == 409
        assert (await client.get("/api/v1/backfill")).json()["state"] == "none"


async def test_what_fails_is_told_and_no_secret_with_it():
    filling = BackFill()

    async def fail(_: object) -> Any:
        raise StoreError("the disk is full")

    async def crash(_: object) -> Any:
        raise ValueError("app-secret")

    told = []
    for work in (fail, crash):
        assert filling.begin(work)
        await filling.wait()
        told.append((filling.state, filling.problem))

    assert told == [("failed", "the disk is full"), ("failed", "ValueError")]


class Collector:
    """A service that is asked about a back-fill; what it says each time."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self.states, self.asked = list(states), list[str]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.method)
        return httpx.Response(200, json=self.states.pop(0))


def state(name: str, done: int = 0, **more: Any) -> dict[str, Any]:
    progress = [{"stream": "runs", "done": done, "total": 9}]
    return {"state": name, "problem": None, "progress": progress, "pulls": [{"stream": "runs"}], **more}


class TestAskingAService:
    def test_tells_how_far_it_is_until_it_is_done(self):
        service, told = Collector(state("running", 1), state("running", 5), state("done", 9)), list[Any]()

        with Running("http://c", transport=httpx.MockTransport(service)) as running:
            pulls = running.back_fill(NOON, ["runs"], None, lambda *step: told.append(step), lambda _: None)

        assert told == [("runs", 1, 9), ("runs", 5, 9)]
        assert pulls == [{"stream": "runs"}]

    def test_who_interrupts_it_stops_it(self):
        service = Collector(state("running"), state("stopped"))

        def interrupted(_: float) -> None:
            raise KeyboardInterrupt

        with (
            Running("http://c", transport=httpx.MockTransport(service)) as running,
            pytest.raises(KeyboardInterrupt),
        ):
            running.back_fill(NOON, [], None, lambda *_: None, interrupted)

        assert service.asked == ["POST", "DELETE"]

    def test_one_that_failed_is_an_error(self):
        service = Collector(state("running"), state("failed", problem="the disk is full"))

        with (
            Running("http://c", transport=httpx.MockTransport(service)) as running,
            pytest.raises(DifyMetricError, match="failed: the disk is full"),
        ):
            running.back_fill(NOON, [], None, lambda *_: None, lambda _: None)


@pytest.mark.parametrize(("since", "only"), [("soon", []), ("2026-01", ["rums"])])
async def test_a_misspelt_wish_stops_the_command(tmp_path: Path, world: World, since: str, only: list[str]):
    with pytest.raises(QueryError):
        await commands.back_fill(settings_of(tmp_path, world), since, only, lambda *_: None)


@pytest.fixture(scope="module")
def dify() -> Iterator[Dify]:
    with a_dify() as dify:
        yield dify


class TestTyped:
    def test_here_and_beside_a_service_it_reads_the_same(self, tmp_path: Path, free_port: int, dify: Dify):
        with a_service(tmp_path, free_port, **dify.settings) as serving:
            there = serving.typed("pull", "--since", "90d", "--only", "runs,messages", "--json")
            assert serving.end(signal.SIGTERM) == 0
        here = serving.typed("pull", "--since", "90d", "--json", **dify.settings)

        assert (there.code, here.code) == (0, 0), there.err + here.err
        assert {"runs", "apps"} <= {pull["stream"] for pull in json.loads(there.out)["pulls"]}
        assert {"runs", "app-logs"} <= {pull["stream"] for pull in json.loads(here.out)["pulls"]}

    def test_only_is_for_history(self, tmp_path: Path, dify: Dify):
        said = typed("pull", "--only", "runs", at=tmp_path, **dify.settings)

        assert said.code == 2
        assert "--only: wanted beside --since" in said.err


class TestLines:
    def test_a_line_now_and_then_with_rate_and_time_left(self):
        now, said = 0.0, list[str]()
        lines = Lines(lambda: now, said.append)

        for now in (0.0, 10.0, 29.0, 31.0, 45.0, 62.0):
            lines.tell("runs", int(now * 10), 20_000)

        assert said == [
            "runs: 310 of 20,000, 10.0/s, 33 min left",
            "runs: 620 of 20,000, 10.0/s, 32 min left",
        ]

    def test_what_was_done_before_is_no_speed(self):
        now, said = 0.0, list[str]()
        lines = Lines(lambda: now, said.append)

        lines.tell("runs", 5000, None)
        now = 40.0
        lines.tell("runs", 5040, None)

        assert said == ["runs: 5,040, 1.0/s"]
