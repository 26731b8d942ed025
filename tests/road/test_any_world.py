"""Any world, pulled through any trouble: its leaves are the truth, and Dify's statistics are answered digit for digit.

Worlds lie around the clock changes of two continents and are asked about in four time zones, two of which have none.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from collector.demo import Faults, Habits, World, make_world, truth
from tests.conftest import examples
from tests.measures.test_dify import MEASURES, Days, of_world
from tests.road.way import Road

ZONES = ("Asia/Shanghai", "America/New_York", "Europe/Berlin", "Asia/Kathmandu")
CLOCK_CHANGES = (
    datetime(2026, 3, 8, 7, tzinfo=UTC),  # New York goes forward
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Berlin goes forward
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # Berlin goes back
    datetime(2026, 11, 1, 6, tzinfo=UTC),  # New York goes back
)

habits = st.builds(
    Habits,
    failures=st.sampled_from([0.0, 0.08]),
    stops=st.sampled_from([0.0, 0.1]),
    disconnects=st.sampled_from([0.0, 0.1]),
    feedback=st.just(0.3),
)
places = st.sampled_from(
    ["", "workflow-runs", "node-executions", "app-logs", "chat-messages", "conversations", "feedbacks", "statistics"]
)
troubles = st.lists(st.tuples(st.sampled_from(["503", "html", "cut", "gone"]), places, st.integers(0, 40)), max_size=4)


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with structlog.testing.capture_logs():
        yield


@examples(0.03)
@given(
    seed=st.integers(0, 10_000),
    habits=habits,
    change=st.sampled_from(CLOCK_CHANGES),
    hours=st.integers(1, 30),
    troubles=troubles,
)
async def test_leaves_are_the_truth_and_statistics_are_dify_s(
    seed: int, habits: Habits, change: datetime, hours: int, troubles: list[tuple[str, str, int]]
):
    now = change + timedelta(hours=hours)
    world = make_world(days=2, runs_per_day=40, seed=seed, now=now, habits=habits)

    road = await pulled(world, now, troubles)

    for zone in ZONES:
        assert leaves(road, zone) == spent(world, zone)
        theirs = {key: value for key, value in of_world(world, zone).items() if is_told(world, key)}
        assert statistics(road, zone) == theirs


async def pulled(world: World, now: datetime, troubles: list[tuple[str, str, int]]) -> Road:
    """Passes through the trouble, and when it is over; what was open has become stale at the end."""
    road = Road(world, now=now, since=now - timedelta(days=20), node_budget=None)
    for kind, where, after in troubles:
        happen(road.faults, kind, where, after)
    await road.pull()
    road.faults.clear()
    for hours in (1, 25):
        road.clock.forward(hours=hours)
        await road.pull()
    return road


def happen(faults: Faults, kind: str, where: str, after: int) -> None:
    match kind:
        case "503":
            faults.refuse(where, 503, "unavailable", times=9, after=after)
        case "html":
            faults.html_error(where, 502, times=5, after=after)
        case "cut":
            faults.truncate(where, times=7, after=after)
        case _:
            faults.unreachable(where, times=6, after=after)


def leaves(road: Road, zone: str) -> dict[tuple[str, ...], int]:
    """App, model and day -> tokens of the model calls, as we answer."""
    asked = road.ask("tokens", by=["app_id", "model_name"], grain="day", tz=zone)
    return {(r["app_id"], r["model_name"], r["time"][:10]): r["tokens"] for r in asked if r["tokens"]}


def spent(world: World, zone: str) -> dict[tuple[str, ...], int]:
    """The same, of what happened. Of a chat that a model failed, nobody says by how much it had cost."""
    return {key: tokens for key, tokens in truth.tokens(world, "app", "model", "day", timezone=zone).items() if tokens}


def statistics(road: Road, zone: str) -> Days:
    """App, measure and day -> what our Dify-compatible measures say."""
    found: Days = {}
    for measure in MEASURES:
        for row in road.ask(measure, by=["app_id"], grain="day", tz=zone):
            key = str(row["app_id"]), measure, row["time"][:10]
            if row[measure] is not None and is_told(road.world, key):
                found[key] = Decimal(row[measure]) if measure == "dify_cost" else row[measure]
    return found


def is_told(world: World, key: tuple[str, str, str]) -> bool:
    """The console tells the price of a chatflow's messages only."""
    app_id, measure, _ = key
    return measure != "dify_cost" or world.apps[app_id].mode == "advanced-chat"
