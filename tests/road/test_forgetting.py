"""Whatever Dify forgets or refuses, what is stored neither shrinks nor doubles, not even when history is read again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from collector.demo import EVER, truth
from collector.records import App, ModelCall, Run, Statistic
from tests.conftest import examples
from tests.demo.conftest import NOW, a_request
from tests.road.way import Road, a_past, lasting

LONG_AGO = NOW - timedelta(days=60)
Disaster: TypeAlias = Callable[[Road], Awaitable[None]]


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with structlog.testing.capture_logs():
        yield


async def a_settled_road(seed: int, **how: Any) -> Road:
    """Everything of three days was read, what was open has become stale, and the days are over for statistics too."""
    world = a_past(days=3, runs_per_day=6, seed=seed, **how)
    for app_id in set(world.apps) - {app_id for (app_id,) in truth.calls(world, "app")}:
        world.delete_app(app_id)  # of which there is nothing to lose
    road = Road(world, since=LONG_AGO)
    for hours in (0, 25 * 5):
        road.clock.forward(hours=hours)
        await road.pull()
    return road


def facts(road: Road) -> dict[tuple[str, str], Any]:
    """What is known of the past; apps are told apart by what became of them."""
    return {key: fact for key, fact in lasting(road.store).items() if not isinstance(fact, App)}


async def passes(road: Road, number: int = 2, **between: float) -> None:
    for _ in range(number):
        road.clock.forward(**(between or {"minutes": 17}))
        await road.pull()


async def back_fill(road: Road) -> None:
    """History is read again, by a collector that knows nothing but what is stored."""
    again = Road(road.world, store=road.store, since=LONG_AGO, back_to=LONG_AGO, node_budget=None)
    again.clock.now = road.clock.now
    await again.pull()


# -- the disasters


async def cleaned_up(road: Road) -> None:
    """Retention: everything older than two days goes, in the night."""
    road.world.clean_up(NOW - timedelta(days=2))
    await passes(road)


async def cleaned_up_to_the_last_row(road: Road) -> None:
    road.world.clean_up(road.clock() + timedelta(days=1))
    await passes(road)


async def an_app_deleted(road: Road) -> None:
    spent = {app_id for (app_id,) in truth.tokens(road.world, "app")} & set(road.world.apps)
    if spent:
        road.world.delete_app(min(spent))
    await passes(road)


async def out_of_order_for_an_hour(road: Road) -> None:
    """500 on everything, which passes come and go."""
    road.faults.refuse("", 500, "internal_server_error", times=EVER)
    await passes(road, 6, minutes=10)
    road.faults.clear()
    await passes(road, 1)


async def one_endpoint_out_of_order(road: Road) -> None:
    road.faults.refuse("/workflow-runs|/chat-messages|node-executions", 500, "internal_server_error", times=EVER)
    await passes(road, 4, minutes=15)
    road.faults.clear()
    await passes(road, 1)


async def conversations_deleted(road: Road) -> None:
    for talk in list(road.world.conversations.values())[::2]:
        talk.is_deleted = True
    await passes(road)


async def read_again_from_the_beginning(road: Road) -> None:
    await back_fill(road)
    await passes(road, 1)


DISASTERS: tuple[Disaster, ...] = (
    cleaned_up,
    cleaned_up_to_the_last_row,
    an_app_deleted,
    out_of_order_for_an_hour,
    one_endpoint_out_of_order,
    conversations_deleted,
    read_again_from_the_beginning,
)


@pytest.mark.parametrize("disaster", DISASTERS, ids=lambda disaster: disaster.__name__)
async def test_stored_history_neither_shrinks_nor_doubles(disaster: Disaster):
    road = await a_settled_road(5)
    before, spent = facts(road), sum(truth.tokens(road.world).values())
    assert tokens(road) == spent > 0

    await disaster(road)
    await back_fill(road)
    await passes(road, 1)

    assert facts(road) == before
    assert tokens(road) == spent


@examples(0.02)
@given(seed=st.integers(0, 1000), disasters=st.permutations(DISASTERS), number=st.integers(2, 4))
async def test_nor_when_one_follows_the_other(seed: int, disasters: list[Disaster], number: int):
    road = await a_settled_road(seed)
    before = facts(road)

    for disaster in disasters[:number]:
        await disaster(road)
        assert facts(road) == before, disaster.__name__
    await back_fill(road)

    assert facts(road) == before


async def test_news_come_in_all_the_same():
    road = await a_settled_road(6)
    before = facts(road)
    await out_of_order_for_an_hour(road)
    await cleaned_up(road)

    app = next(app for app in road.world.apps.values() if app.mode == "workflow")
    news = a_request(road.world, app, at=road.clock() - timedelta(minutes=1)).run
    await passes(road, 1, minutes=1)

    assert news is not None
    assert set(road.store.of(Run)) == {key for table, key in before if table == "run"} | {news.id}
    assert {key: fact for key, fact in facts(road).items() if key in before} == before


async def test_a_deleted_app_says_when_it_went_and_its_history_stays():
    road = await a_settled_road(7)
    app = next(app for app in road.world.apps.values() if app.mode == "workflow" and road.world.logs_of[app.id])
    runs = {key for key, run in road.store.of(Run).items() if run.app_id == app.id}

    road.world.delete_app(app.id)
    await passes(road)
    await back_fill(road)

    gone = road.store.of(App)[app.id]
    assert gone.deleted_at is not None
    assert {key for key, run in road.store.of(Run).items() if run.app_id == app.id} == runs
    assert all(road.store.of(Run)[key].status != "running" for key in runs)


async def test_days_that_dify_has_cleaned_away_keep_the_statistics_they_had():
    road = await a_settled_road(8)
    told = {(s.id, s.number, s.amount) for s in road.store.of(Statistic).values() if s.number or s.amount}
    assert told

    await cleaned_up_to_the_last_row(road)
    again = Road(road.world, store=road.store, since=LONG_AGO, statistics_every=timedelta(0))
    again.clock.now = road.clock.now
    await again.pull()

    assert told == {(s.id, s.number, s.amount) for s in road.store.of(Statistic).values() if s.number or s.amount}


def tokens(road: Road) -> int:
    return sum(call.tokens or 0 for call in road.store.of(ModelCall).values() if not call.is_debug)
