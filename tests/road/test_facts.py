"""A pull brings every fact of a Dify once, as the rows of that Dify have it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC
from decimal import Decimal
from typing import Any

import pytest

from collector.demo import Habits, World, make_living_world, truth
from collector.demo.rows import Call
from collector.records import App, Conversation, Feedback, Message, ModelCall, NodeExecution, Pull, Run, User
from tests.demo.conftest import NOW
from tests.road.way import Road, a_past, expected_messages, expected_nodes, expected_runs, lasting, open_before

NODES, MESSAGE = "nodes", "message"


@pytest.fixture(scope="module")
def world() -> World:
    return a_past(with_debugger=True)


@pytest.fixture(scope="module")
def road(world: World) -> Road:
    """One pull of it, with all that can be asked for. Only to be looked at."""
    return asyncio.run(pulled(world, debug_runs=True))


async def pulled(world: World, **how: Any) -> Road:
    road = Road(world, **how)
    pulls = await road.pull()
    assert [(pull.stream, pull.error_class) for pull in pulls if not pull.is_complete] == []
    assert sum(pull.parse_failures for pull in pulls) == 0
    return road


def test_every_run_comes_once_with_trigger_runs_and_test_runs(world: World, road: Road):
    asked = road.ask("runs", by=["run_id", "user_id", "user_kind"], include_debug=True)
    users = {row["run_id"]: (row["user_id"], row["user_kind"]) for row in asked}

    stored = {
        run.id: (
            run.app_id,
            run.status,
            *users[run.id],
            run.triggered_from,
            run.is_debug,
            run.created_at,
            run.elapsed_seconds,
            run.reported_tokens,
            run.steps,
        )
        for run in road.store.of(Run).values()
    }
    assert stored == expected_runs(world, NOW)
    assert {run.triggered_from for run in road.store.of(Run).values()} >= {
        "app-run",
        "schedule",
        "webhook",
        "debugging",
    }


async def test_test_runs_stay_away_unless_they_are_wanted(world: World):
    road = await pulled(world)

    wanted = {key for key, run in world.runs.items() if run.triggered_from != "debugging"}
    mentioned = {m.workflow_run_id for m in world.messages.values()}
    assert set(road.store.of(Run)) - mentioned == wanted - mentioned
    assert wanted <= set(road.store.of(Run))


def test_nothing_is_asked_that_changes_anything_in_dify(road: Road):
    asked = {line.partition("?")[0] for line in road.faults.requests}

    assert {line for line in asked if not line.startswith("GET ")} <= {"POST /console/api/workspaces/current"}
    assert not [line for line in asked if re.search(r"/chat-conversations/.", line)]


async def test_the_app_log_is_asked_for_news_only(world: World):
    road = await pulled(world)
    before = len(road.faults.requests)
    await road.pull()

    logs = [line for line in road.faults.requests[before:] if "workflow-app-logs" in line]
    assert logs
    assert all("created_at__after=" in line for line in logs)


def test_every_message_conversation_user_and_rating_comes_once(world: World, road: Road):
    listed = {key for key, talk in world.conversations.items() if not _is_hidden(world, talk)}

    stored = {
        message.id: (
            message.app_id,
            message.conversation_id,
            message.run_id,
            message.status,
            message.user_id,
            message.created_at,
            message.latency_seconds,
            message.reported_input_tokens,
            message.reported_output_tokens,
        )
        for message in road.store.of(Message).values()
    }
    wanted = expected_messages(world, NOW)
    assert stored == {key: row for key, row in wanted.items() if row[1] in listed}
    assert set(road.store.of(Conversation)) == listed
    assert {(f.message_id, f.from_source, f.rating) for f in road.store.of(Feedback).values()} == {
        (row.message_id, row.from_source, row.rating) for rows in world.feedback_of.values() for row in rows.values()
    }
    people = {account.id for account in world.accounts}
    people |= {run.created_by.id for run in world.runs.values()} | {row[4] for row in wanted.values()}
    assert set(road.store.of(User)) == people
    assert set(road.store.of(App)) == set(world.apps)


def test_every_node_comes_once(world: World, road: Road):
    ended = {key for key, run in road.store.of(Run).items() if run.is_final or run.status == "stale"}

    stored: dict[Any, list[Any]] = {}
    for node in road.store.of(NodeExecution).values():
        told = node.status, node.created_at, node.elapsed_seconds, node.reported_tokens or 0
        stored.setdefault((node.run_id, node.node_id, node.node_type), []).append(told)

    wanted = {place: rows for place, rows in expected_nodes(world).items() if place[0] in ended}
    assert {place: sorted(rows, key=repr) for place, rows in stored.items()} == wanted


def test_calls_tokens_and_cost_are_those_that_happened(world: World, road: Road):
    is_ended = {key: run.is_final or run.status == "stale" for key, run in road.store.of(Run).items()}
    calls = [call for call in road.store.of(ModelCall).values() if call.tokens is not None]
    happened = [call for call in truth.told_calls(world, with_debug=True) if is_ended.get(call.run_id or "", True)]

    assert not any(call.is_estimate for call in calls)
    assert _sums((c.app_id, _day(c), c.model_provider, c.model_name, c.tokens) for c in calls) == _sums(
        (c.app_id, _day(c), *_model(c), c.usage.total_tokens) for c in happened
    )
    # Dify's console tells no price of messages of apps without nodes
    assert {call.node_type for call in calls if call.cost is None} == {MESSAGE}
    assert _sums((c.app_id, _day(c), c.currency, c.cost) for c in calls if c.node_type != MESSAGE) == _sums(
        (c.app_id, _day(c), c.usage.currency, c.usage.total_price) for c in happened if c.run_id
    )


async def test_tokens_by_app_day_and_model_are_the_truth_when_all_has_ended():
    road = await pulled(a_past(seed=8, habits=Habits(stops=0.0)))

    rows = road.ask("tokens", by=["app_id", "model_name"], grain="day", tz="Asia/Shanghai")

    found = {(row["app_id"], row["time"][:10], row["model_name"]): row["tokens"] for row in rows if row["tokens"]}
    assert found == truth.tokens(road.world, "app", "day", "model", timezone="Asia/Shanghai")


def test_what_the_console_does_not_tell_stays_unknown(world: World, road: Road):
    calls, messages = road.store.of(ModelCall), road.store.of(Message)

    # no price, currency or time to first token of chat, completion and agent messages
    of_messages = [call for call in calls.values() if call.node_type == MESSAGE]
    assert of_messages
    assert {(c.cost, c.currency, c.time_to_first_token_seconds) for c in of_messages} == {(None, None, None)}
    # not where a message came from, nor whether a chat of the console was a test
    assert {message.invoke_from for message in messages.values()} == {None}
    is_test = {world.messages[key].invoke_from == "debugger": fact.is_debug for key, fact in messages.items()}
    assert is_test == {False: False, True: None}
    # what a failed or stopped answer spent, and anything of an answer nobody waited for
    unknown = {key: call for key, call in calls.items() if call.tokens is None}
    assert {call.status for call in unknown.values()} == {"failed"}
    lost = [call for call in world.calls if not call.is_told]
    assert not {call.message_id for call in lost} & {c.message_id for c in calls.values() if c.tokens}


def test_calls_of_a_chatflow_name_their_message_and_conversation(world: World, road: Road):
    for call in road.store.of(ModelCall).values():
        run = world.runs.get(call.run_id or "")
        if run and run.triggered_from != "debugging":
            assert (call.message_id, call.conversation_id) == (run.message_id, run.conversation_id)


def test_every_call_has_its_model_failed_ones_and_agents_too(world: World, road: Road):
    models = {
        node.id: node.stage.model for nodes in world.nodes.values() for node in nodes if node.stage.model is not None
    }
    calls = [call for call in road.store.of(ModelCall).values() if call.node_type != MESSAGE]
    assert {"agent", "llm"} <= {call.node_type for call in calls}
    assert "failed" in {call.status for call in calls}
    for call in calls:
        assert (call.model_provider, call.model_name) == (models[call.id].provider, models[call.id].name)


async def test_a_second_pull_knows_everything_already(world: World):
    road = Road(world, debug_runs=True)
    await road.pull()
    before = road.store.told()
    counted = Counter[str]()
    put = road.store.put

    def counting(records: Any, watermarks: Any = ()) -> Any:
        facts = [record for record in records if not isinstance(record, Pull)]
        stored = put(facts, watermarks)
        counted.update(new=stored.new, changed=stored.changed, known=stored.known)
        put([record for record in records if isinstance(record, Pull)])
        return stored

    again = Road(world, debug_runs=True, store=road.store)  # another process: it remembers nothing
    road.store.put = counting  # type: ignore[method-assign]
    again.clock.forward(seconds=30)
    await again.pull()

    assert (counted["new"], counted["changed"]) == (0, 0)
    assert counted["known"] > 15
    assert road.store.told() == before


async def test_many_pulls_of_a_living_dify_end_where_one_pull_at_the_end_does():
    world, life = make_living_world(days=0.5, runs_per_day=120, seed=3, now=NOW)
    road = Road(world, life=life, debug_runs=True)
    for minutes in (0, 1, 2, 20, 45, 3):
        road.clock.forward(minutes=minutes)
        await road.pull()
    road.clock.forward(hours=25)  # what was left open is stale by now
    await road.pull()

    once = Road(world, debug_runs=True)
    once.clock.now = road.clock.now
    await once.pull()

    assert lasting(road.store) == lasting(once.store)
    assert not open_before(world, NOW) - set(road.store.of(Run))


async def test_after_every_pull_the_watermark_is_behind_the_facts():
    world, life = make_living_world(days=1, runs_per_day=400, seed=6, now=NOW)
    road = Road(world, life=life)
    for minutes in (0, 1, 1, 5, 1):
        road.clock.forward(minutes=minutes)
        await road.pull()
        stored = road.store.of(Run)
        for (_, stream, app_id), until in road.store.marks.items():
            if stream in ("runs", "app-logs"):
                due = {r.id for r in world.runs.values() if r.app_id == app_id and r.created_at < until}
                due = {key for key in due if world.runs[key].triggered_from == "app-run" or stream == "app-logs"}
                due -= {key for key in due if world.runs[key].triggered_from == "debugging"}
                assert due <= set(stored)
                assert not any(stored[key].is_final for key in due & open_before(world, until))


def _sums(rows: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, ...], Any]:
    found: dict[tuple[Any, ...], Any] = {}
    for *place, amount in rows:
        key = tuple(place)
        found[key] = found.get(key, Decimal(0) if isinstance(amount, Decimal) else 0) + amount
    return found


def _day(call: Any) -> str:
    return str(call.created_at.astimezone(UTC).date())


def _model(call: Call) -> tuple[str | None, str | None]:
    """A test chat of an app without nodes may have a model of its own, which Dify does not tell."""
    if call.is_debug and call.run_id is None:
        return None, None
    return call.usage.model.provider, call.usage.model.name


def _is_hidden(world: World, talk: Any) -> bool:
    """The list of a chatflow's conversations leaves out test chats."""
    return world.apps[talk.app_id].mode == "advanced-chat" and talk.invoke_from == "debugger"
