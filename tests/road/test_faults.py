"""Whatever one endpoint does, every other fact still comes; what went wrong is said, counted, and made up for."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

import collector
from collector.app import Service
from collector.demo import EVER, Faults, World, simulated_dify
from collector.faces.readings import AT_ZERO
from collector.records import Conversation, Feedback, Message, ModelCall, NodeExecution, Run, User
from collector.settings import Settings
from tests.collect.shelf import Shelf
from tests.demo.conftest import ADMIN_KEY, CALM, Clock, at_once
from tests.road.way import URL, Road, a_past, lasting

LISTING = r"/workflow-runs\?"
LOGS, NODES, TALKS, MESSAGES = "workflow-app-logs", "node-executions", "chat-conversations", "chat-messages"
UNREACHABLE = r"no answer from http://dify \(ConnectError\); is Dify up, and is dify_url right\?"


@dataclass
class Site:
    """A service of ours before one Dify."""

    service: Service
    dify: Faults
    clock: Clock
    store: Shelf
    said: list[Any]

    async def pull(self) -> set[tuple[str, str]]:
        """One pass; the (stream, error class) of what failed."""
        with capture_logs() as said:
            pulls = await self.service.pull()
        self.said += said
        return {(pull.stream, pull.error_class) for pull in pulls if pull.error_class}

    def problems(self, event: str) -> list[str]:
        return [line["problem"] for line in self.said if line["event"] == event]

    async def get(self, path: str) -> Any:
        """What REST answers."""
        transport = httpx.ASGITransport(self.service.web())
        async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
            return (await client.get(path)).raise_for_status().json()

    async def metrics(self) -> Callable[..., float]:
        """What Prometheus reads: (name, labels) -> the sum of the samples with these labels."""
        transport = httpx.ASGITransport(self.service.web())
        async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
            now = self.clock()
            (await client.get("/metrics")).raise_for_status()  # a new series says 0 at first
            self.clock.now += AT_ZERO
            body = (await client.get("/metrics")).raise_for_status().text
            self.clock.now = now
        samples = [sample for family in text_string_to_metric_families(body) for sample in family.samples]

        def metric(name: str, **labels: str) -> float:
            return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

        return metric


@asynccontextmanager
async def a_site(world: World, **settings: Any) -> AsyncIterator[Site]:
    clock, faults = Clock(), Faults()
    dify = simulated_dify(world, clock=clock, admin_key=ADMIN_KEY, faults=faults, pace=at_once, habits=CALM)
    given = {
        "dify_url": URL,
        "dify_admin_key": ADMIN_KEY,
        "dify_workspace_id": world.workspace_id,
        "store": ":memory:",
        "read_completions": True,
        "retries": 0,
        **settings,
    }
    service = Service(Settings(**given), clock=clock, transport=httpx.ASGITransport(dify))
    try:
        yield Site(service, faults, clock, Shelf(service.store), [])
    finally:
        await service.close()


@pytest.fixture(scope="module")
def world() -> World:
    return a_past(days=1, runs_per_day=25, seed=14)


async def whole(world: World, clock: Clock) -> dict[tuple[str, str], Any]:
    """What an undisturbed pull at that time brings."""
    road = Road(world, since=clock() - timedelta(days=30))
    road.clock.now = clock.now
    await road.pull()
    return lasting(road.store)


@dataclass(frozen=True)
class Case:
    """One fault: where, what, which stream it costs, how it is told, and which kinds of fact may be missing."""

    where: str
    happens: Callable[[Faults, str], None]
    stream: str
    error: str
    says: str
    costs: tuple[type, ...]


RUN_FACTS = (Run, NodeExecution, ModelCall, User)
TALK_FACTS = (Conversation, Message, ModelCall, User)

CASES = {
    "403": Case(
        TALKS,
        lambda dify, where: dify.refuse(where, 403, "forbidden", times=EVER),
        "conversations",
        "forbidden",
        r"GET /apps/\S+/chat-conversations: 403: the account's role may not read this",
        (*TALK_FACTS, Run, NodeExecution),
    ),
    "500": Case(
        LOGS,
        lambda dify, where: dify.refuse(where, 500, "internal_server_error", times=EVER),
        "app-logs",
        "unavailable",
        r"GET /apps/\S+/workflow-app-logs: 500 \(internal_server_error",
        RUN_FACTS,
    ),
    "429": Case(
        LOGS,
        lambda dify, where: dify.too_many(where, None, times=EVER),
        "app-logs",
        "unavailable",
        r"GET /apps/\S+/workflow-app-logs: 429 \(too_many_requests",
        RUN_FACTS,
    ),
    "an HTML error page": Case(
        NODES,
        lambda dify, where: dify.html_error(where, 502, times=EVER),
        "node-executions",
        "unavailable",
        r"GET /apps/\S+/node-executions: 502 with a web page",
        (NodeExecution, ModelCall),
    ),
    "an HTML page that says 200": Case(
        NODES,
        lambda dify, where: dify.html_error(where, 200, times=EVER),
        "node-executions",
        "unavailable",
        r"answered 200 with a web page, \d+ bytes; if it stays so, check dify_url and dify_path_prefix",
        (NodeExecution, ModelCall),
    ),
    "truncated JSON": Case(
        LOGS,
        lambda dify, where: dify.truncate(where, times=EVER),
        "app-logs",
        "unavailable",
        r"workflow-app-logs: answered 200 with text that is no JSON \(cut off\?\)",
        RUN_FACTS,
    ),
    "a connection that breaks off": Case(
        TALKS,
        lambda dify, where: dify.disconnect(where, after_bytes=20, times=EVER),
        "conversations",
        "unavailable",
        r"chat-conversations: no answer from http://dify \(RemoteProtocolError\)",
        (*TALK_FACTS, Run, NodeExecution),
    ),
    "nobody answers": Case(
        MESSAGES,
        lambda dify, where: dify.unreachable(where, times=EVER),
        "messages",
        "unavailable",
        rf"GET /apps/\S+/chat-messages: {UNREACHABLE}",
        (Message, ModelCall, User),
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_fault_costs_its_own_stream_and_what_was_missed_comes_later(name: str, world: World):
    case = CASES[name]
    async with a_site(world) as site:
        case.happens(site.dify, case.where)

        failed = await site.pull()

        assert failed == {(case.stream, case.error)}
        assert any(re.search(case.says, problem) for problem in site.problems("pull failed")), site.said
        metric = await site.metrics()
        assert metric("dify_metric_collect_errors_total", stream=case.stream, error_class=case.error) > 0
        assert metric("dify_metric_source_up", source="console") == 1
        missing = await whole(world, site.clock)
        found = lasting(site.store)
        assert {key for key in found if key not in missing} == set()
        tables = {table for table, key in missing if (table, key) not in found}
        assert tables
        assert tables <= {kind.table for kind in case.costs}  # type: ignore[attr-defined]

        site.dify.clear()
        site.clock.forward(minutes=20)
        assert await site.pull() == set()
        assert lasting(site.store) == await whole(world, site.clock)


@pytest.mark.parametrize(
    ("happens", "error", "says"),
    [
        (lambda dify: dify.unreachable(times=EVER), "unavailable", f"GET /apps: {UNREACHABLE}"),
        (
            lambda dify: dify.refuse("", 401, "unauthorized", times=EVER),
            "unauthorized",
            r"GET /apps: 401: the key, token or session is not accepted",
        ),
        (lambda dify: dify.html_error("", 504, times=EVER), "unavailable", "GET /apps: 504 with a web page"),
    ],
    ids=["unreachable", "401", "504"],
)
async def test_a_dify_that_is_down_is_told_and_read_when_it_is_back(
    world: World, happens: Callable[[Faults], None], error: str, says: str
):
    async with a_site(world) as site:
        happens(site.dify)

        assert await site.pull() == {("apps", error)}
        assert any(re.search(says, problem) for problem in site.problems("pull failed")), site.said
        metric = await site.metrics()
        assert metric("dify_metric_source_up", source="console") == 0
        assert metric("dify_metric_collect_errors_total", stream="apps", error_class=error) == 1
        code = {"unavailable": "none", "unauthorized": "401"}[error] if "504" not in says else "504"
        assert metric("dify_metric_source_requests_total", endpoint="/apps", code=code) == 1

        site.dify.clear()
        site.clock.forward(minutes=1)
        assert await site.pull() == set()
        metric = await site.metrics()
        assert metric("dify_metric_source_up", source="console") == 1
        assert lasting(site.store) == await whole(world, site.clock)


async def test_what_dify_answers_is_counted_by_endpoint_and_code(world: World):
    async with a_site(world) as site:
        site.dify.refuse(TALKS, 403, "forbidden", times=EVER)
        await site.pull()

        talking = [app for app in world.apps.values() if app.mode in ("chat", "agent-chat", "advanced-chat")]
        path = "/apps/{app_id}/chat-conversations"
        metric = await site.metrics()
        assert metric("dify_metric_source_requests_total", endpoint=path, code="403") == len(talking)
        everything = metric("dify_metric_source_requests_total", source="console")
        assert everything == len(site.dify.requests)


async def test_retry_after_is_honoured_between_requests_and_between_passes(world: World):
    road = Road(world)
    road.faults.too_many(LOGS, "90", times=EVER)
    with capture_logs() as said:
        await road.pull()
    asked = len(road.faults.requests)
    assert any("asks to be left alone" in line.get("problem", "") for line in said)

    road.clock.forward(seconds=80)
    await road.pull()
    assert len(road.faults.requests) == asked

    road.faults.clear()
    road.clock.forward(seconds=11)
    for _ in range(2):
        road.clock.forward(minutes=20)
        await road.pull()
    assert set(road.store.told()) >= {
        ("run", key) for key, run in world.runs.items() if run.triggered_from == "app-run"
    }


async def test_an_error_for_a_moment_is_only_a_second_try(world: World):
    road = Road(world)
    road.faults.refuse(".", 503, "unavailable", times=2)
    road.faults.html_error(NODES, 502, times=1, after=3)

    pulls = await road.pull()

    assert {pull.error_class for pull in pulls} == {None}
    assert lasting(road.store) == await whole(world, road.clock)


# -- records of another shape


def change(body: bytes, how: Callable[[dict[str, Any]], None], *, place: int = 0) -> bytes:
    """A listing with one of its items changed, where it has so many."""
    told = json.loads(body)
    if len(told.get("data", [])) > place:
        how(told["data"][place])
    return json.dumps(told).encode()


def blank_id(item: dict[str, Any]) -> None:
    item["id"] = None


@pytest.mark.parametrize(
    ("where", "stream"),
    [(LISTING, "runs"), (TALKS, "conversations"), (r"/apps\?", "apps")],
)
async def test_a_record_without_id_is_set_aside_counted_and_read_when_it_has_one(world: World, where: str, stream: str):
    async with a_site(world) as site:
        site.dify.rewrite(where, lambda body: change(body, blank_id), times=EVER)

        assert await site.pull() == set()

        aside = site.problems("record set aside")
        assert aside
        assert all(
            re.search(rf"^{stream} of (app .+|the workspace): id: wanted .+, got None; record set aside", each)
            for each in aside
        )
        metric = await site.metrics()
        assert metric("dify_metric_parse_failures_total", stream=stream) == len(aside)
        wanted = await whole(world, site.clock)
        assert {key for key in lasting(site.store) if key not in wanted} == set()
        assert len(site.store.of(Feedback)) >= len([key for key in wanted if key[0] == "feedback"]) - 5

        if stream == "apps":  # listed whole every time; of the others only the newest are read again
            site.dify.clear()
            await site.pull()
            assert lasting(site.store) == wanted


async def test_a_status_of_a_later_version_is_kept_and_read_again(world: World):
    def hibernate(item: dict[str, Any]) -> None:
        item["status"], item["finished_at"] = "hibernating", None

    async with a_site(world) as site:
        site.dify.rewrite(LISTING, lambda body: change(body, hibernate), times=EVER)
        site.dify.rewrite(LOGS, lambda body: body.replace(b'"succeeded"', b'"hibernating"'), times=EVER)
        site.dify.rewrite(
            r"/workflow-runs/[0-9a-f-]{36}$", lambda body: body.replace(b'"succeeded"', b'"hibernating"'), times=9
        )
        assert await site.pull() == set()
        odd = [run for run in site.store.of(Run).values() if run.status == "hibernating"]
        assert odd
        assert not any(run.is_final or run.reported_tokens for run in odd)

        site.dify.clear()
        site.clock.forward(minutes=20)
        assert await site.pull() == set()
        assert lasting(site.store) == await whole(world, site.clock)


async def test_keys_that_are_missing_stay_unknown(world: World):
    gone = ("elapsed_time", "total_tokens", "total_steps", "exceptions_count", "created_by_account")

    def strip(body: bytes) -> bytes:
        told = json.loads(body)
        for item in told["data"]:
            for key in gone:
                item.pop(key, None)
                (item.get("workflow_run") or {}).pop(key, None)
        return json.dumps(told).encode()

    async with a_site(world) as site:
        site.dify.rewrite(LISTING, strip, times=EVER)
        site.dify.rewrite(LOGS, strip, times=EVER)

        assert await site.pull() == set()

        final = [run for run in site.store.of(Run).values() if run.is_final]
        assert final
        assert {(run.elapsed_seconds, run.reported_tokens, run.steps) for run in final} == {(None, None, None)}
        wanted = await whole(world, site.clock)
        assert set(lasting(site.store)) == set(wanted)
        assert {k: v for k, v in lasting(site.store).items() if k[0] == "model_call"} == {
            k: v for k, v in wanted.items() if k[0] == "model_call"
        }


@pytest.mark.parametrize("where", [LISTING, LOGS])
async def test_a_run_set_aside_is_known_by_its_id_and_read_by_another_version(
    world: World, where: str, monkeypatch: pytest.MonkeyPatch
):
    def misdate(item: dict[str, Any]) -> None:
        item.get("workflow_run", item)["created_at"] = "Thu, 18 Jul, said the secret prompt"

    wanted = await whole(world, Clock())
    async with a_site(world) as site:
        site.dify.rewrite(where, lambda body: change(body, misdate), times=EVER)
        site.dify.rewrite(r"/workflow-runs/[-0-9a-f]+$", lambda body: body[:-1], times=EVER)
        await site.pull()
        site.dify.clear()
        stream = "runs" if where == LISTING else "app-logs"
        listed = (await site.get("/api/v1/set-aside"))["records"]
        aside = {each["key"] for each in listed if each["stream"] == stream}
        assert aside <= set(world.runs)
        assert aside
        assert {each["problem"] for each in listed if each["stream"] == stream} == {
            "created_at: wanted seconds since 1970 or an ISO 8601 time"
        }
        assert "secret" not in str(listed)
        metric = await site.metrics()
        assert metric("dify_metric_records_set_aside", stream=stream) == len(aside)
        assert metric("dify_metric_warnings_total", warning="record_set_aside") >= len(aside)

        site.clock.forward(days=1)  # far behind the overlap
        await site.pull()
        assert {each["key"] for each in (await site.get("/api/v1/set-aside"))["records"]} >= aside

        monkeypatch.setattr(collector, "__version__", "999.0")
        await site.pull()

        assert (await site.get("/api/v1/set-aside"))["records"] == []
        assert aside <= set(site.store.of(Run))
        assert (await site.metrics())("dify_metric_records_set_aside") == 0
        assert {key for key in wanted if key[0] == "run"} <= set(lasting(site.store))
