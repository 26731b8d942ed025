"""Worlds: the same for the same seed, with everything in them that Dify has, and going on as the clock does."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.demo import Habits, World, make_living_world, make_world, truth
from collector.demo.plan import CONTAINERS
from tests.demo.conftest import CALM, NOW, a_request, fill_world, quiet_world


def everything(world: World) -> bytes:
    """All rows of a world, as text."""
    tables = world.runs, world.nodes, world.messages, world.conversations, world.calls, world.logs_of
    feedback = {app_id: list(rows.values()) for app_id, rows in world.feedback_of.items()}
    return msgspec.json.encode([*tables, feedback, world.apps, world.datasets])


@pytest.fixture(scope="module")
def full() -> World:
    return make_world(days=20, runs_per_day=200, seed=5, now=NOW)


def test_the_same_seed_makes_the_same_world() -> None:
    assert everything(fill_world(seed=4)) == everything(fill_world(seed=4))
    assert everything(fill_world(seed=4)) != everything(fill_world(seed=5))


def test_a_world_has_every_mode_and_every_end(full: World) -> None:
    assert {app.mode for app in full.apps.values()} == {
        "workflow",
        "advanced-chat",
        "chat",
        "completion",
        "agent-chat",
    }
    assert {run.triggered_from for run in full.runs.values()} == {"app-run", "debugging", "webhook", "schedule"}
    assert {run.status for run in full.runs.values()} == {"succeeded", "failed", "partial-succeeded", "running"}
    nodes = [node for rows in full.nodes.values() for node in rows]
    assert {node.stage.type for node in nodes} >= {
        *CONTAINERS,
        "llm",
        "question-classifier",
        "parameter-extractor",
        "agent",
        "knowledge-retrieval",
        "tool",
    }
    assert any(node.retries for node in nodes)
    assert {call.usage.currency for call in full.calls} == {"USD", "CNY"}
    assert {False, True} == {call.is_told for call in full.calls}


def test_batches_share_an_instant(full: World) -> None:
    instants = Counter((run.app_id, run.created_at) for run in full.runs.values())

    assert max(instants.values()) >= 3


def test_days_have_a_rhythm(full: World) -> None:
    hours = Counter((run.created_at + timedelta(hours=8)).hour for run in full.runs.values())

    assert sum(hours[hour] for hour in (9, 10, 11)) > 5 * sum(hours[hour] for hour in (1, 2, 3))


def test_chat_apps_are_debugged_only_on_request() -> None:
    def debugged(world: World) -> set[str]:
        rows = world.messages.values()
        return {world.apps[row.app_id].mode for row in rows if row.invoke_from == "debugger"}

    assert debugged(make_world(days=10, now=NOW)) == {"advanced-chat"}
    assert debugged(make_world(days=10, now=NOW, with_debugger=True)) > {"chat", "agent-chat"}


def test_every_call_stands_in_the_truth_once(full: World) -> None:
    leaves = [node for rows in full.nodes.values() for node in rows if node.is_leaf]
    chats = [m for m in full.messages.values() if m.workflow_run_id is None and m.message_tokens]

    told = list(truth.told_calls(full, with_debug=True))

    assert len(told) == len(leaves) + len(chats)
    assert sum(call.usage.total_tokens for call in told) == sum(
        node.usage.total_tokens for node in leaves if node.usage
    ) + sum(message.message_tokens + message.answer_tokens for message in chats)


def test_truth_adds_up_by_any_key_and_never_adds_currencies(full: World) -> None:
    (total,) = truth.tokens(full).values()

    for by in (("app",), ("model",), ("day",), ("app", "day", "model")):
        assert sum(truth.tokens(full, *by).values()) == total
    assert {key[-1] for key in truth.costs(full, "app")} == {"USD", "CNY"}
    assert sum(truth.calls(full, "provider").values()) == truth.calls(full)[()]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), steps=st.lists(st.integers(1, 400), min_size=1, max_size=8))
def test_life_is_the_same_in_any_steps(seed: int, steps: list[int]) -> None:
    often, life = make_living_world(days=1, runs_per_day=60, seed=seed, now=NOW)
    once, whole = make_living_world(days=1, runs_per_day=60, seed=seed, now=NOW)
    for minutes in range(len(steps)):
        life.advance(NOW + timedelta(minutes=sum(steps[: minutes + 1])))
    whole.advance(NOW + timedelta(minutes=sum(steps)))

    assert everything(often) == everything(once)


def test_what_is_under_way_is_open_and_ends_in_its_time() -> None:
    world, life = make_living_world(days=0, runs_per_day=20_000, seed=2, now=NOW, habits=CALM)
    life.advance(NOW + timedelta(minutes=2))
    open_runs = [run for run in world.runs.values() if run.status == "running"]
    nodes = [node for run in open_runs for node in world.nodes[run.id]]

    assert open_runs
    assert all(run.finished_at is None and run.total_tokens == 0 for run in open_runs)
    assert any(node.status == "running" and node.elapsed is None for node in nodes)
    life.advance(NOW + timedelta(minutes=10))
    assert all(run.status != "running" for run in open_runs)


def test_what_is_stopped_runs_for_ever_and_keeps_what_its_nodes_spent() -> None:
    habits = Habits(failures=0.0, stops=1.0, disconnects=0.0)
    past = make_world(days=1, runs_per_day=300, seed=2, now=NOW, habits=habits)
    world, life = make_living_world(days=0, runs_per_day=5_000, seed=2, now=NOW, habits=habits)
    life.advance(NOW + timedelta(hours=1))

    for one in (past, world):
        stopped = [run for run in one.runs.values() if run.status == "running"]
        assert stopped
        assert {run.total_tokens for run in stopped} == {0}
        assert all([node.status for node in one.nodes[run.id]].count("running") <= 2 for run in stopped)
        spent = {call.run_id for call in one.calls}
        assert any(run.id in spent for run in stopped)


def test_a_living_world_begins_with_requests_under_way() -> None:
    world, life = make_living_world(days=0.03, runs_per_day=50_000, seed=2, now=NOW, habits=CALM)
    under_way = [run for run in world.runs.values() if run.status == "running"]

    assert under_way
    assert max(run.finished_at for run in world.runs.values() if run.finished_at) <= NOW
    life.advance(NOW + timedelta(minutes=2))
    assert all(run.status == "succeeded" for run in under_way)


def test_nothing_of_a_world_lies_in_its_future(full: World) -> None:
    assert max(run.created_at for run in full.runs.values()) <= NOW
    assert max(row.updated_at for rows in full.feedback_of.values() for row in rows.values()) <= NOW


def test_a_deleted_app_takes_everything_of_it_and_the_truth_stays() -> None:
    world = fill_world()
    app, before = world.app_named("客服助手"), truth.tokens(world)

    world.delete_app(app.id)

    rows = [*world.runs.values(), *world.messages.values(), *world.conversations.values()]
    assert app.id not in {row.app_id for row in rows}
    assert truth.tokens(world) == before
    assert set(world.nodes) == set(world.runs)


def test_what_was_under_way_in_a_deleted_app_ends_nowhere() -> None:
    world, life = make_living_world(days=0.03, runs_per_day=50_000, seed=2, now=NOW, habits=CALM)
    for app_id in list(world.apps):
        world.delete_app(app_id)

    life.advance(NOW + timedelta(minutes=2))

    assert not world.runs
    assert not world.messages


def test_retention_takes_what_is_old() -> None:
    world, before = fill_world(), NOW - timedelta(days=2)

    world.clean_up(before)

    assert min(run.created_at for run in world.runs.values()) >= before
    assert min(message.created_at for message in world.messages.values()) >= before
    assert all(log.created_at >= before for logs in world.logs_of.values() for log in logs)
    assert {row.message_id for rows in world.feedback_of.values() for row in rows.values()} <= world.messages.keys()
    assert all(world.messages_in[conversation_id] for conversation_id in world.conversations)
    assert set(world.nodes) == set(world.runs)


def test_lists_are_kept_in_order(full: World) -> None:
    for rows in (*full.runs_of.values(), *full.messages_of.values(), *full.logs_of.values()):
        assert [row.created_at for row in rows] == sorted(row.created_at for row in rows)
    for touched in full.touched_of.values():
        assert [row.updated_at for row in touched.values()] == sorted(row.updated_at for row in touched.values())


def test_prices_are_those_of_the_recorded_calls() -> None:
    world = quiet_world()
    plan = a_request(world, "Translate")
    usage = plan.usage

    assert usage is not None
    assert usage.prompt_price == (usage.prompt_tokens * usage.model.input_price * usage.model.price_unit).quantize(
        usage.prompt_price
    )
    assert str(usage.total_price.as_tuple().exponent) == "-7"


def test_habits_make_failures() -> None:
    doomed = make_world(days=1, runs_per_day=50, now=datetime(2026, 5, 1, tzinfo=UTC), habits=Habits(failures=1.0))

    assert not [call for call in doomed.calls if call.usage.total_tokens]
    assert {message.status for message in doomed.messages.values() if message.is_filled} == {"error"}
