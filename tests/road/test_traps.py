"""The thirteen traps of Dify's API, in order of damage: each is set here, and the collector walks past it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from collector.app import Service
from collector.demo import EVER, World, truth
from collector.records import App, Dataset, Message, ModelCall, NodeExecution, Pull, Run, Statistic
from collector.settings import Settings
from tests.demo.conftest import ADMIN_KEY, NOW, a_request, quiet_world
from tests.road.test_faults import a_site
from tests.road.way import URL, Road, a_past, expected_runs

FLOW, CHATFLOW, CHAT, COMPLETION = "合同审查", "客服助手", "HR helpdesk", "Translate"
LATER = {"hours": 25}


@pytest.fixture
def world() -> World:
    """Nothing has happened in it, for a while."""
    found = quiet_world()
    for app in found.apps.values():
        app.created_at = NOW - timedelta(days=60)
    return found


@dataclass
class Between:
    """Between us and a Dify: makes pages small, and counts how many requests it answers at once."""

    app: ASGIApp
    limit: int | None = None
    at_once: int = 0
    most: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.limit:
            scope["query_string"] = re.sub(rb"\blimit=\d+", b"limit=%d" % self.limit, scope["query_string"])
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
            await self.app(scope, receive, send)
        finally:
            self.at_once -= 1


def asked(road: Road, pattern: str) -> list[str]:
    return [request for request in road.faults.requests if re.search(pattern, request)]


def incomplete(pulls: Iterable[Pull]) -> set[tuple[str, str | None]]:
    return {(pull.stream, pull.app_id) for pull in pulls if not pull.is_complete}


# -- 1


async def test_runs_are_listed_with_triggered_from_app_run(world: World):
    """Dify lists test runs only unless it is asked for app runs."""
    real = a_request(world, FLOW).run
    test = a_request(world, FLOW, invoke_from="debugger", triggered_from="debugging").run
    road = Road(world)

    await road.pull()

    assert set(road.store.of(Run)) == {real.id}
    assert all("triggered_from=app-run" in request for request in asked(road, r"/workflow-runs\?"))
    with_tests = Road(world, debug_runs=True)
    await with_tests.pull()
    assert {key: run.is_debug for key, run in with_tests.store.of(Run).items()} == {real.id: False, test.id: True}


# -- 2


@pytest.mark.parametrize("trigger", ["webhook", "schedule", "plugin"])
async def test_runs_of_triggers_are_in_no_run_list_and_no_count_and_come_from_the_app_log(world: World, trigger: str):
    run = a_request(world, FLOW, invoke_from="trigger", triggered_from=trigger).run
    road = Road(world)

    pulls = await road.pull()

    (found,) = road.store.of(Run).values()
    assert (found.id, found.triggered_from, found.user_kind, found.leaves_known) == (run.id, trigger, "end_user", True)
    assert sum(call.tokens or 0 for call in road.store.of(ModelCall).values()) == sum(truth.tokens(world).values())
    assert not incomplete(pulls)  # the count, which leaves it out too, is not taken for a loss
    assert road.ask("dify_runs")[0]["dify_runs"] == 0  # as in Dify's own statistics


# -- 3


@pytest.mark.parametrize("app", [FLOW, CHATFLOW])
async def test_a_stopped_run_stays_running_for_ever_and_is_told_apart_as_stale(world: World, app: str):
    plan = a_request(world, app, fate="stopped", settle=False)
    plan.stops_at = plan.nodes[-1].created_at
    world.settle(plan)
    assert plan.run is not None
    road = Road(world)
    await road.pull()
    assert road.store.of(Run)[plan.run.id].status == "running"

    road.clock.forward(**LATER)
    await road.pull()

    run = road.store.of(Run)[plan.run.id]
    assert (run.status, run.is_final, run.leaves_known) == ("stale", False, True)
    (row,) = road.ask("stale_runs", "running_runs", "finished_runs")
    assert (row["stale_runs"], row["running_runs"], row["finished_runs"]) == (1, 0, 0)
    spent = sum(call.tokens or 0 for call in road.store.of(ModelCall).values())
    assert spent == sum(truth.tokens(world).values()) > 0
    assert plan.run.total_tokens == 0  # Dify itself knows nothing of it


async def test_a_run_that_is_stale_is_asked_about_no_more(world: World):
    plan = a_request(world, FLOW, fate="stopped", settle=False)
    plan.stops_at = plan.nodes[-1].created_at
    world.settle(plan)
    road = Road(world)
    for _ in range(3):
        await road.pull()
        road.clock.forward(**LATER)
    before = len(asked(road, f"/workflow-runs/{plan.run.id}"))  # type: ignore[union-attr]

    await road.pull()

    assert len(asked(road, f"/workflow-runs/{plan.run.id}")) == before  # type: ignore[union-attr]


# -- 4


async def test_a_client_that_disconnects_leaves_its_message_empty_and_message_sums_below_run_sums(world: World):
    flow, chat = a_request(world, CHATFLOW, fate="disconnected"), a_request(world, CHAT, fate="disconnected")
    assert flow.run is not None
    assert flow.message is not None
    assert chat.message is not None
    road = Road(world)
    await road.pull()
    road.clock.forward(minutes=20)
    await road.pull()

    messages, runs, calls = (road.store.of(kind) for kind in (Message, Run, ModelCall))
    assert {messages[key].status for key in (flow.message.id, chat.message.id)} == {"stale"}
    assert messages[flow.message.id].reported_input_tokens is None
    assert runs[flow.run.id].reported_tokens == flow.run.total_tokens > 0
    assert sum(call.tokens or 0 for call in calls.values()) == flow.run.total_tokens
    assert chat.message.id not in calls  # nobody knows what that one spent: not zero, nothing


# -- 5


async def test_cursor_pages_lose_ties_and_the_app_log_has_them(world: World):
    """Ten runs, seven of them at one instant, in pages of three."""
    at = NOW - timedelta(hours=1)
    times = [at] * 7 + [at - timedelta(minutes=n) for n in (1, 2, 3)]
    runs = {a_request(world, FLOW, at=time).run.id for time in times}  # type: ignore[union-attr]
    road = Road(world)
    road.dify = Between(road.dify, limit=3)

    await road.pull()

    assert set(road.store.of(Run)) == runs
    assert road.store.of(App)[world.app_named(FLOW).id].missing_runs == 0


async def test_lost_ties_show_when_compared_with_count_as_a_service_does_it(world: World):
    """A chatflow whose messages are closed to us: nothing else names its runs."""
    app, at = world.app_named(CHATFLOW), NOW - timedelta(hours=1)
    for _ in range(130):
        a_request(world, app, at=at)
    async with a_site(world, history_days=30) as site:
        site.dify.refuse("chat-conversations", 403, "forbidden", times=EVER)
        with_logs = await site.service.pull()

        listed = len(site.store.of(Run))
        assert 0 < listed < 130
        assert ("run-count", app.id) in incomplete(with_logs)
        metric = await site.metrics()
        assert metric("dify_metric_missing_runs", app_id=app.id) == 130 - listed
        assert any("time_range=30d" in request for request in site.dify.requests)

        site.dify.clear()
        site.clock.forward(hours=2)
        await site.pull()
        site.clock.forward(hours=2)
        await site.pull()
        assert len(site.store.of(Run)) == 130  # by their messages
        metric = await site.metrics()
        assert metric("dify_metric_missing_runs", app_id=app.id) == 0


async def test_messages_of_one_second_are_all_read_or_said_to_be_missing(world: World):
    first = a_request(world, CHAT)
    for _ in range(6):
        a_request(world, CHAT, after=first)
    enough, small = Road(world), Road(world)
    small.dify = Between(small.dify, limit=3)

    assert not incomplete(await enough.pull())
    pulls = await small.pull()

    assert len(enough.store.of(Message)) == 7
    assert len(small.store.of(Message)) < 7
    assert incomplete(pulls) == {("messages", world.app_named(CHAT).id)}


# -- 6


async def test_the_cursor_run_must_still_match_the_filters_so_none_is_used_and_a_deleted_one_is_left(world: World):
    times = [NOW - timedelta(minutes=10 * n) for n in range(1, 13)]
    runs = [a_request(world, CHATFLOW, at=time).run.id for time in times]  # type: ignore[union-attr]
    road = Road(world)
    road.dify = Between(road.dify, limit=4)

    def lose_the_cursor() -> None:
        last = re.search(r"last_id=([0-9a-f-]+)", road.faults.requests[-1])
        assert last is not None
        world.delete_run(last[1])
        gone.append(last[1])

    gone: list[str] = []
    road.faults.before("last_id=", lose_the_cursor, times=2, after=1)

    pulls = await road.pull()

    assert len(gone) == 2
    assert set(runs) <= set(road.store.of(Run)) | set(gone)
    assert not {pull.error_class for pull in pulls} - {None}
    assert not asked(road, r"workflow-runs\?.*status=")


# -- 7


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu"])
async def test_statistics_are_in_the_calling_account_s_time_zone(world: World, zone: str):
    for account in world.accounts:
        account.timezone = zone
    midnight = NOW.replace(hour=0)
    for hours in (1, 3, 5, 7, 17, 19, 21, 23):
        a_request(world, FLOW, at=midnight - timedelta(days=1) + timedelta(hours=hours))
    road = Road(world)

    await road.pull()

    told = {(s.day, s.number) for s in road.store.of(Statistic).values() if s.name == "runs" and s.number}
    ours = {(row["time"][:10], row["dify_runs"]) for row in road.ask("dify_runs", grain="day", tz=zone)}
    assert told == {(day, number) for day, number in ours if number}
    assert len(told) == 2  # of one day in UTC
    assert {s.timezone for s in road.store.of(Statistic).values()} == {zone}
    first = [next(i for i, r in enumerate(road.faults.requests) if part in r) for part in ("/profile", "/statistics/")]
    assert first == sorted(first)
    assert not asked(road, r"/statistics/.*end=[^&]*23%3A59")  # the last minute would be lost


# -- 8


async def test_containers_carry_the_sum_of_their_inner_nodes_and_are_no_calls(world: World):
    for name in ("Weekly report writer", "翻译流水线", FLOW):
        a_request(world, name)
    road = Road(world)

    await road.pull()

    nodes, spent = road.store.of(NodeExecution).values(), sum(truth.tokens(world).values())
    assert {"iteration", "tool"} <= {node.node_type for node in nodes if node.reported_tokens}
    assert sum(node.reported_tokens or 0 for node in nodes) > spent
    assert sum(call.tokens or 0 for call in road.store.of(ModelCall).values()) == spent
    assert sum(run.reported_tokens or 0 for run in road.store.of(Run).values()) > spent  # the tool's run, twice


# -- 9


async def test_messages_carry_no_price_and_no_model_so_none_is_made_up(world: World):
    chat, flow = a_request(world, CHAT).message, a_request(world, CHATFLOW).message
    assert chat is not None
    assert flow is not None
    road = Road(world)

    await road.pull()

    call = road.store.of(ModelCall)[chat.id]
    assert (call.tokens, call.cost, call.currency) == (chat.message_tokens + chat.answer_tokens, None, None)
    assert road.store.of(Message)[chat.id].reported_cost is None
    priced = road.store.of(Message)[flow.id]
    assert priced.reported_cost  # a chatflow's usage has one, of all its currencies
    answer = road.answer("cost", by=["app_id", "currency"], where=[f"app_id:{chat.app_id}"])
    assert [row["cost"] for row in answer["rows"]] == [None]
    assert answer["flags"]["unpriced"] == 1


# -- 10


async def test_reading_has_side_effects_so_conversations_are_never_opened(world: World):
    talks = [a_request(world, name).conversation for name in (CHAT, CHATFLOW, COMPLETION, "Travel planner")]
    before = [(talk.read_at, talk.updated_at) for talk in talks if talk]
    road = Road(world, read_completions=False)

    for _ in range(3):
        await road.pull()
        road.clock.forward(hours=1)

    assert [(talk.read_at, talk.updated_at) for talk in talks if talk] == before
    assert not asked(road, r"-conversations/")
    assert {request.partition(" ")[0] for request in road.faults.requests} == {"GET"}


async def test_completions_are_opened_on_request_only(world: World):
    talk = a_request(world, COMPLETION).conversation
    assert talk is not None

    await Road(world, read_completions=True).pull()

    assert talk.read_at is not None


# -- 11


async def test_dataset_lists_cap_limit_at_100_in_silence_so_100_are_asked_for(world: World):
    (one, *_) = world.datasets.values()
    for number in range(230):
        copy: Any = type(one)(**{field: getattr(one, field) for field in one.__struct_fields__})
        copy.id = f"{number:08x}{one.id[8:]}"
        world.datasets[copy.id] = copy
    road = Road(world)

    pulls = await road.pull()

    assert set(road.store.of(Dataset)) == set(world.datasets)
    assert not {stream for stream, _ in incomplete(pulls)} & {"datasets", "documents"}
    limits = Counter(re.findall(r"[?&]limit=(\d+)", " ".join(asked(road, "/datasets"))))
    assert max(map(int, limits)) == 100


# -- 12


async def test_one_dify_serves_ten_connections_so_four_are_used():
    """A back-fill beside the passes takes none of its own."""
    world = a_past(days=1, runs_per_day=60)
    between = Between(Road(world).dify)
    given = {"dify_url": URL, "dify_admin_key": ADMIN_KEY, "dify_workspace_id": world.workspace_id}
    service = Service(Settings(**given, store=":memory:"), clock=lambda: NOW, transport=httpx.ASGITransport(between))

    await asyncio.gather(service.pull(), service.back_fill(NOW - timedelta(days=9), None, lambda *_: None))

    await service.close()
    assert between.most == service.settings.pull_concurrency == 4


# -- 13


async def test_an_unknown_run_id_is_200_with_nulls_and_no_run_without_tokens(world: World):
    kept, gone = (a_request(world, FLOW, at=NOW - timedelta(minutes=m)).run for m in (5, 9))
    assert kept is not None
    assert gone is not None
    wanted = expected_runs(world, NOW)[gone.id]
    road = Road(world)
    road.faults.before("node-executions", lambda: world.delete_run(gone.id), times=1)

    for _ in range(3):
        await road.pull()
        road.clock.forward(hours=1)

    run = road.store.of(Run)[gone.id]
    assert (run.status, run.reported_tokens, run.created_at) == (wanted[1], wanted[8], wanted[6])
    assert {call.run_id for call in road.store.of(ModelCall).values()} == {kept.id}
    assert len(asked(road, f"{gone.id}/node-executions")) == 1  # and never again


async def test_an_open_run_that_dify_no_longer_knows_is_stale(world: World):
    plan = a_request(world, FLOW, at=NOW - timedelta(minutes=1), settle=False)
    world.begin(plan)
    assert plan.run is not None
    road = Road(world)
    await road.pull()
    world.delete_run(plan.run.id)

    road.clock.forward(minutes=5)
    await road.pull()

    assert road.store.of(Run)[plan.run.id].status == "stale"
