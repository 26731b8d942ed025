"""What we answer per app and day is what Dify's own statistics say; where it differs, it differs as documented."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from collector.demo import Habits, World
from collector.demo.rows import App, Run
from collector.records import Message, ModelCall
from tests.road.way import Road, a_past

AFTER_THE_CLOCK_CHANGE = datetime(2026, 11, 2, 18, tzinfo=UTC)
"""New York left daylight saving on the day before, at 06:00 UTC: that day had 25 hours."""

CALM = Habits(failures=0.0, stops=0.0, disconnects=0.0, feedback=0.2)
TALKING = ("advanced-chat", "chat", "agent-chat", "completion")
FLOWS = ("workflow", "advanced-chat")

Days = dict[str, Any]


@pytest.fixture(scope="module")
def calm() -> Road:
    """Days without a failure, all pulled. Only to be looked at."""
    return _pulled(CALM, 9)


@pytest.fixture(scope="module")
def eventful() -> Road:
    return _pulled(Habits(failures=0.08, stops=0.1, disconnects=0.1, feedback=0.2), 9)


@pytest.fixture(params=["Asia/Shanghai", "America/New_York"])
def zone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_messages_and_conversations_a_day(calm: Road, zone: str):
    for measure, name, field in (
        ("messages", "daily-messages", "message_count"),
        ("conversations", "daily-conversations", "conversation_count"),
    ):
        ours = _ours(calm, measure, zone)
        for app in _apps(calm.world, *TALKING):
            assert ours.get(app.id, {}) == await _theirs(calm, app, f"statistics/{name}", field, zone), app.name


async def test_end_users_a_day(calm: Road, zone: str):
    ours = _ours(calm, "active_users", zone, where=["user_kind:end_user"])

    for app in _apps(calm.world, *TALKING):
        assert ours.get(app.id, {}) == await _theirs(calm, app, "statistics/daily-end-users", "terminal_count", zone)


async def test_tokens_of_messages_a_day(calm: Road, zone: str):
    ours = _ours(calm, "tokens", zone)

    for app in _apps(calm.world, *TALKING):
        assert ours.get(app.id, {}) == await _theirs(calm, app, "statistics/token-costs", "token_count", zone), app.name


async def test_runs_a_day(calm: Road, zone: str):
    ours = _ours(calm, "runs", zone, where=["triggered_from:app-run"])

    for app in _apps(calm.world, *FLOWS):
        assert ours.get(app.id, {}) == await _theirs(calm, app, "workflow/statistics/daily-conversations", "runs", zone)


async def test_tokens_of_runs_a_day(calm: Road, zone: str):
    ours = _ours(calm, "tokens", zone, where=["triggered_from:app-run"])

    for app in _apps(calm.world, *FLOWS):
        theirs = await _theirs(calm, app, "workflow/statistics/token-costs", "token_count", zone)
        # Dify adds the tokens of a workflow used as a tool to the run that calls it too
        again = _told_twice(calm.world, app, zone)
        assert {day: tokens for day, tokens in theirs.items() if tokens} == _plus(ours.get(app.id, {}), again), app.name
    assert any(_told_twice(calm.world, app, zone) for app in calm.world.apps.values())


async def test_people_who_ran_it_a_day(calm: Road, zone: str):
    ours = _ours(calm, "active_users", zone)

    for app in _apps(calm.world, *FLOWS):
        theirs = await _theirs(calm, app, "workflow/statistics/daily-terminals", "terminal_count", zone)
        # Dify does not count whom a webhook or schedule stands for
        triggered = {_day(run, zone) for run in _runs(calm.world, app) if run.triggered_from != "app-run"}
        assert ours.get(app.id, {}) == _plus(theirs, dict.fromkeys(triggered, 1)), app.name
    assert any(run.triggered_from != "app-run" for app in _apps(calm.world, *FLOWS) for run in _runs(calm.world, app))


async def test_the_day_of_the_clock_change_has_its_25_hours(calm: Road):
    day = datetime(2026, 11, 1, 4, tzinfo=UTC), datetime(2026, 11, 2, 5, tzinfo=UTC)
    ours = _ours(calm, "runs", "America/New_York")

    counted = sum(days.get("2026-11-01", 0) for days in ours.values())

    runs = [run for run in calm.world.runs.values() if run.triggered_from != "debugging"]
    assert counted == sum(day[0] <= run.created_at < day[1] for run in runs) > 0


# -- when things go wrong


async def test_counts_are_dify_s_whatever_goes_wrong(eventful: Road, zone: str):
    messages, users = _ours(eventful, "messages", zone), _ours(eventful, "active_users", zone)
    runs = _ours(eventful, "runs", zone, where=["triggered_from:app-run"])

    for app in _apps(eventful.world, *TALKING):
        assert messages.get(app.id, {}) == await _theirs(
            eventful, app, "statistics/daily-messages", "message_count", zone
        )
        if app.mode != "advanced-chat":
            assert users.get(app.id, {}) == await _theirs(
                eventful, app, "statistics/daily-end-users", "terminal_count", zone
            )
    for app in _apps(eventful.world, *FLOWS):
        assert runs.get(app.id, {}) == await _theirs(
            eventful, app, "workflow/statistics/daily-conversations", "runs", zone
        )


async def test_a_chatflow_tells_more_by_its_nodes_than_by_its_messages(eventful: Road, zone: str):
    """A caller who goes away leaves the message empty; one that failed or was stopped spent tokens all the same."""
    ours = _ours(eventful, "tokens", zone)
    seen = set()
    for app in _apps(eventful.world, "advanced-chat"):
        theirs = await _theirs(eventful, app, "statistics/token-costs", "token_count", zone)
        missing: Days = {}
        for call in eventful.world.calls:
            message = eventful.world.messages.get(call.message_id or "")
            if call.app_id == app.id and message and not call.is_debug and not message.message_tokens:
                run = eventful.world.runs[call.run_id or ""]
                seen.add("empty" if not message.answer and message.status == "normal" else run.status)
                missing = _plus(missing, {_day(run, zone): call.usage.total_tokens})
        assert ours.get(app.id, {}) == _plus({day: n for day, n in theirs.items() if n}, missing), app.name
    assert seen >= {"empty"}


async def test_a_run_that_was_stopped_has_tokens_here_and_none_in_dify(eventful: Road, zone: str):
    """Dify never ends such a run, so its total stays 0; its finished nodes tell what they spent."""
    ours = _ours(eventful, "tokens", zone, where=["triggered_from:app-run"])
    lost = 0
    for app in _apps(eventful.world, *FLOWS):
        theirs = await _theirs(eventful, app, "workflow/statistics/token-costs", "token_count", zone)
        unended = {run.id: run for run in _runs(eventful.world, app) if run.status == "running"}
        missing: Days = {}
        for call in eventful.world.calls:
            if run := unended.get(call.run_id or ""):
                missing = _plus(missing, {_day(run, zone): call.usage.total_tokens})
        lost += sum(missing.values())
        wanted = _plus(ours.get(app.id, {}), _told_twice(eventful.world, app, zone))
        assert wanted == _plus({day: n for day, n in theirs.items() if n}, missing), app.name
    assert lost


async def test_a_chat_nobody_waited_for_has_no_tokens_anywhere(eventful: Road):
    lost = [call for call in eventful.world.calls if not call.is_told]
    calls, messages = eventful.store.of(ModelCall), eventful.store.of(Message)

    assert lost
    assert not {call.message_id for call in lost} & set(calls)
    assert {messages[call.message_id or ""].status for call in lost} == {"stale"}


def _pulled(habits: Habits, seed: int) -> Road:
    world = a_past(days=2.5, runs_per_day=100, seed=seed, now=AFTER_THE_CLOCK_CHANGE, habits=habits)
    road = Road(world, now=AFTER_THE_CLOCK_CHANGE)

    async def pull() -> None:
        await road.pull()
        road.clock.forward(hours=25)  # what nobody ended is given up: its nodes are read
        await road.pull()

    asyncio.run(pull())
    return road


def _apps(world: World, *modes: str) -> list[App]:
    return [app for app in world.apps.values() if app.mode in modes]


def _runs(world: World, app: App) -> list[Run]:
    """The runs of an app but its tests."""
    return [run for run in world.runs.values() if run.app_id == app.id and run.triggered_from != "debugging"]


def _ours(road: Road, measure: str, zone: str, **asked: Any) -> dict[str, Days]:
    """App -> day -> what we answer; days without anything are left out."""
    found: dict[str, Days] = {}
    for row in road.ask(measure, by=["app_id"], grain="day", tz=zone, **asked):
        if row[measure]:
            found.setdefault(row["app_id"], {})[row["time"][:10]] = row[measure]
    return found


async def _theirs(road: Road, app: App, name: str, field: str, zone: str) -> Days:
    """Day -> what Dify answers an owner who lives in that zone."""
    for account in road.world.accounts:
        account.timezone = zone
    async with road.client() as client:
        response = await client.get(f"/console/api/apps/{app.id}/{name}")
    rows = response.raise_for_status().json()["data"]
    return {row["date"]: int(row[field]) for row in rows if int(row[field])}


def _told_twice(world: World, app: App, zone: str) -> Days:
    """Day -> tokens of workflows that runs of this app called as tools."""
    found: Days = {}
    for run in _runs(world, app):
        for node in world.nodes[run.id]:
            if node.child_run_id and node.usage and run.triggered_from == "app-run":
                found = _plus(found, {_day(run, zone): node.usage.total_tokens})
    return found


def _plus(one: Mapping[str, int], other: Mapping[str, int]) -> Days:
    return {day: one.get(day, 0) + other.get(day, 0) for day in {*one, *other}}


def _day(run: Run, zone: str) -> str:
    return run.created_at.astimezone(ZoneInfo(zone)).date().isoformat()
