"""Simulated worlds, pulled: every difference of every app and day gets its right cause, and a planted one is found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.demo import World, make_world
from collector.demo.plan import Habits
from collector.period import Period
from collector.reconcile import Difference, Kind, State, reconcile
from collector.reconcile.difference import STATISTICS
from collector.records import Run
from tests.collect.shelf import Shelf
from tests.collect.site import NOW, Site, a_site, an_old_world
from tests.demo.conftest import a_request

LATELY = Period(NOW - timedelta(days=6), NOW + timedelta(days=1), ZoneInfo("Asia/Shanghai"))
WHOLE: dict[str, Any] = {"node_budget": None, "read_completions": True}
FLOWS = {Kind.RUN_TOKENS, Kind.RUN_STATISTIC, Kind.MESSAGE_TOKENS, Kind.MESSAGE_STATISTIC}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


async def settled(site: Site) -> None:
    """Pull, and again when the days are over and what was open has become stale."""
    await site.pull()
    await site.pull(hours=25)
    await site.pull(hours=25)


async def reconciled(world: World, **options: Any) -> list[Difference]:
    async with a_site(world, **{**WHOLE, **options}) as site:
        await settled(site)
        return reconcile(site.store.rows, LATELY)


def causes(differences: list[Difference], world: World, app: str) -> dict[Kind, dict[str, Any]]:
    """What explains the differences of one app, by kind, over all days."""
    found: dict[Kind, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for one in differences:
        if one.app_id == world.app_named(app).id:
            for reason in one.reasons:
                found[one.kind][reason.cause] += reason.amount
    return {kind: dict(each) for kind, each in found.items()}


def spent(world: World, app: str) -> int:
    key = world.app_named(app).id
    return sum(call.usage.total_tokens for call in world.calls if call.app_id == key and call.is_told)


@settings(max_examples=8)
@given(
    seed=st.integers(0, 10_000),
    habits=st.builds(
        Habits,
        failures=st.sampled_from([0.0, 0.05]),
        stops=st.sampled_from([0.0, 0.1]),
        disconnects=st.sampled_from([0.0, 0.1]),
    ),
)
async def test_in_any_world_everything_is_explained_to_the_token(seed: int, habits: Habits) -> None:
    world = make_world(days=2, runs_per_day=40, seed=seed, now=NOW, habits=habits)

    differences = await reconciled(world)

    assert differences
    for one in differences:
        assert one.is_complete
        assert one.state is not State.OPEN, one
        assert one.difference == sum(reason.amount for reason in one.reasons)


def paid(world: World, app: str) -> Decimal:
    key = world.app_named(app).id
    return sum((call.usage.total_price for call in world.calls if call.app_id == key and call.is_told), Decimal(0))


async def test_a_workflow_as_a_tool() -> None:
    world = an_old_world()
    plan = a_request(world, "翻译流水线")
    (child,) = plan.children.values()
    assert child.usage is not None

    differences = await reconciled(world)

    again = {"tool_repeated": child.usage.total_tokens}
    found = causes(differences, world, "翻译流水线")
    assert found == {Kind.NODE_TOKENS: again, Kind.RUN_TOKENS: again, Kind.RUN_STATISTIC: again}
    assert not causes(differences, world, child.app.name)


async def test_an_iteration() -> None:
    world = an_old_world()
    plan = a_request(world, "Weekly report writer")
    inner = sum(node.usage.total_tokens for node in plan.nodes if node.usage and node.stage.type == "iteration")

    assert inner
    found = causes(await reconciled(world), world, "Weekly report writer")
    assert found == {Kind.NODE_TOKENS: {"container_repeated": inner}}


async def test_a_disconnected_message_of_a_chatflow() -> None:
    world = an_old_world()
    a_request(world, "客服助手", fate="disconnected")

    lost = {"empty_message": -spent(world, "客服助手")}
    found = causes(await reconciled(world), world, "客服助手")
    price = {"empty_message": -paid(world, "客服助手")}
    assert found == {Kind.MESSAGE_TOKENS: lost, Kind.MESSAGE_STATISTIC: lost, Kind.MESSAGE_COST: price}


async def test_a_stopped_run_with_its_message() -> None:
    world = an_old_world()
    plan = a_request(world, "客服助手", fate="stopped", settle=False)
    plan.stops_at = plan.nodes[-1].created_at
    world.settle(plan)

    lost = {"stopped_run": -spent(world, "客服助手")}
    assert lost["stopped_run"]
    price = {Kind.MESSAGE_COST: {"stopped_run": -paid(world, "客服助手")}}
    assert causes(await reconciled(world), world, "客服助手") == dict.fromkeys(FLOWS, lost) | price


async def test_runs_of_triggers() -> None:
    world = an_old_world()
    a_request(world, "发票识别", invoke_from="trigger", triggered_from="webhook")

    found = causes(await reconciled(world), world, "发票识别")
    assert found[Kind.RUN_STATISTIC] == {"trigger_left_out": -spent(world, "发票识别")}
    assert found[Kind.RUNS] == {"trigger_left_out": -1}
    assert Kind.RUN_TOKENS not in found


@pytest.mark.parametrize(("debugged", "real", "cause"), [(2, 0, "console_test"), (0, 2, None), (1, 1, "debug_unknown")])
async def test_chats_of_the_console(debugged: int, real: int, cause: str | None) -> None:
    world = an_old_world()
    chat = next(app for app in world.apps.values() if app.mode == "chat")
    a_request(world, chat)
    for invoke_from, times in (("debugger", debugged), ("explore", real)):
        for _ in range(times):
            a_request(world, chat, invoke_from=invoke_from)

    differences = await reconciled(world)

    found = causes(differences, world, chat.name)
    assert set(found.pop(Kind.MESSAGE_COST)) == {"price_untold"}
    kinds = {Kind.MESSAGES, Kind.MESSAGE_STATISTIC, Kind.CONVERSATIONS} if cause else set()
    assert {kind: set(each) for kind, each in found.items()} == {kind: {cause} for kind in kinds}
    assert {one.state for one in differences if one.kind is not Kind.MESSAGE_COST} - {State.EQUAL} == (
        set() if cause is None else {State.OPEN if cause == "debug_unknown" else State.EXPLAINED}
    )


async def test_completions_that_are_not_read() -> None:
    world = an_old_world()
    app = next(app for app in world.apps.values() if app.mode == "completion")
    a_request(world, app)

    found = causes(await reconciled(world, read_completions=False), world, app.name)
    assert found == {
        Kind.MESSAGE_STATISTIC: {"completions_unread": spent(world, app.name)},
        Kind.MESSAGE_COST: {"completions_unread": paid(world, app.name)},
        Kind.MESSAGES: {"completions_unread": 1},
        Kind.CONVERSATIONS: {"completions_unread": 1},
        Kind.END_USERS: {"completions_unread": 1},
    }


async def test_a_day_that_is_not_over_is_never_open() -> None:
    world = make_world(days=1, runs_per_day=80, seed=4, now=NOW)
    async with a_site(world, **{**WHOLE, "node_budget": 5}) as site:
        await site.pull()
        a_request(world, "客服助手")  # after the listings, so to say
        differences = reconcile(site.store.rows, LATELY)

    today = [one for one in differences if one.day == NOW.date()]
    assert today
    assert not [one for one in differences if one.state is State.OPEN]
    assert {"calls_unread"} <= {reason.cause for one in differences for reason in one.reasons}


async def test_history_that_dify_cleaned_away_after_we_read_it_stays_compared() -> None:
    world = make_world(days=3, runs_per_day=40, seed=6, now=NOW)
    async with a_site(world, **WHOLE) as site:
        await settled(site)
        before = reconcile(site.store.rows, LATELY)
        world.clean_up(NOW + timedelta(days=1))
        await site.pull(hours=2)

        assert reconcile(site.store.rows, LATELY) == before


async def test_history_that_dify_cleaned_away_before_we_asked_for_its_statistics_is_known() -> None:
    world = make_world(days=3, runs_per_day=40, seed=6, now=NOW)
    store = Shelf()
    async with a_site(world, store=store, **WHOLE) as site:
        site.faults.refuse("statistics/", 403, "forbidden", times=10_000)
        await settled(site)
    world.clean_up(NOW - timedelta(days=1))
    async with a_site(world, store=store, **WHOLE) as later:
        await later.pull(days=9)

    differences = reconcile(store.rows, LATELY)

    assert not [one for one in differences if one.state is State.OPEN]
    cleaned = [one for one in differences for reason in one.reasons if reason.cause == "cleaned_history"]
    assert {one.kind.statistic for one in cleaned} == set(STATISTICS.values())


async def test_a_planted_difference_is_found() -> None:
    world = make_world(days=2, runs_per_day=40, seed=8, now=NOW)
    async with a_site(world, **WHOLE) as site:
        await settled(site)
        runs = [run for run in site.store.of(Run).values() if run.reported_tokens and run.triggered_from == "app-run"]
        ghost = msgspec.structs.replace(runs[0], id="a-ghost", reported_tokens=1234, message_id=None)
        site.store.put([ghost])

        found = [one for one in reconcile(site.store.rows, LATELY) if one.state is State.OPEN]

    assert {(one.app_id, one.kind, one.unexplained) for one in found} >= {
        (ghost.app_id, Kind.RUN_TOKENS, 1234),
        (ghost.app_id, Kind.RUN_STATISTIC, 0),
        (ghost.app_id, Kind.RUNS, -1),
    }
