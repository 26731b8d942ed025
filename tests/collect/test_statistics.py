"""Dify's own statistics come whole, in the account's days, and history never shrinks because Dify's did."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import structlog

from collector.demo import make_world
from collector.records import Release, Statistic
from tests.collect.shelf import Shelf
from tests.collect.site import NOW, a_site, an_old_world
from tests.demo.conftest import a_request

STATISTICS = "statistics/"

STATISTICS = "statistics/"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


async def test_every_number_comes_in_the_days_of_the_account() -> None:
    world = an_old_world()  # accounts in Asia/Shanghai
    a_request(world, "翻译流水线", at=datetime(2026, 11, 18, 15, 59, tzinfo=UTC))
    a_request(world, "翻译流水线", at=datetime(2026, 11, 18, 16, 0, tzinfo=UTC), user="u-2")
    chat = next(app for app in world.apps.values() if app.mode == "chat")
    plan = a_request(world, chat, at=datetime(2026, 11, 18, 15, 59, 30, tzinfo=UTC))
    assert plan.message is not None

    async with a_site(world) as site:
        (pull,) = [pull for pull in await site.pull() if pull.stream == "statistics" and pull.app_id == chat.id]

    told = site.told()
    assert {
        (name, day): told["翻译流水线", name, day] for app, name, day in told if app == "翻译流水线" and "t" not in name
    } == {
        ("runs", "2026-11-18"): 1,
        ("runs", "2026-11-19"): 1,
        ("run_users", "2026-11-18"): 1,
        ("run_users", "2026-11-19"): 1,
    }
    # the last minute of the day is not lost
    assert {name: value for (app, name, day), value in told.items() if app == chat.name and day == "2026-11-18"} == {
        "messages": 1,
        "conversations": 1,
        "end_users": 1,
        "message_tokens": plan.message.message_tokens + plan.message.answer_tokens,
        "message_cost": plan.message.total_price,
    }
    assert (pull.requests, pull.is_complete) == (4, True)
    one = next(each for each in site.store.of(Statistic).values() if each.app_id == chat.id)
    assert (one.timezone, one.created_at.hour, one.workspace_id) == ("Asia/Shanghai", 16, world.workspace_id)


async def test_days_with_nothing_are_told_as_nothing() -> None:
    async with a_site(an_old_world(), since=NOW - timedelta(days=2)) as site:
        await site.pull()

    days = {(each.day, each.number, each.amount) for each in site.store.of(Statistic).values()}
    assert {day for day, _, _ in days} == {"2026-11-18", "2026-11-19", "2026-11-20"}
    assert {(number, amount) for _, number, amount in days} == {(0, None), (None, Decimal(0))}


async def test_they_are_asked_for_once_an_hour_also_after_a_restart() -> None:
    world, store = an_old_world(), Shelf()
    async with a_site(world, store=store) as site:
        await site.pull()
        asked = site.faults.asked(STATISTICS)
        await site.pull(minutes=59)
        assert site.faults.asked(STATISTICS) == asked
        assert site.faults.asked("account/profile") == 1

        await site.pull(minutes=1)
        assert site.faults.asked(STATISTICS) == 2 * asked

    async with a_site(world, store=store) as again:
        await again.pull(minutes=90)
        assert again.faults.asked(STATISTICS) == 0


async def test_a_day_is_asked_about_until_it_is_three_days_old() -> None:
    async with a_site(an_old_world(), since=NOW - timedelta(days=20)) as site:
        await site.pull()
        site.faults.requests.clear()
        await site.pull(hours=2)

    starts = {request.partition("start=")[2][:10] for request in site.faults.requests if STATISTICS in request}
    assert starts == {"2026-11-17"}


async def test_an_outage_of_days_is_made_up_for() -> None:
    async with a_site(an_old_world()) as site:
        await site.pull()
        site.faults.requests.clear()
        await site.pull(days=6)

    starts = {request.partition("start=")[2][:10] for request in site.faults.requests if STATISTICS in request}
    assert starts == {"2026-11-17"}


async def test_history_does_not_shrink_because_dify_cleaned_up() -> None:
    world = make_world(days=2, runs_per_day=40, now=NOW, seed=5)
    async with a_site(world) as site:
        await site.pull()
        before = site.told()
        world.clean_up(NOW - timedelta(hours=12))
        await site.pull(hours=2)

    assert before
    assert before.items() <= site.told().items()


async def test_a_day_that_grew_is_told_again() -> None:
    world = an_old_world()
    async with a_site(world) as site:
        await site.pull()
        a_request(world, "翻译流水线")
        await site.pull(hours=1)

    assert site.told()["翻译流水线", "runs", "2026-11-20"] == 1


async def test_a_refusal_is_not_called_for_again_at_once_and_costs_no_other_stream() -> None:
    world = an_old_world()
    a_request(world, "翻译流水线")
    async with a_site(world) as site:
        site.faults.refuse("workflow/statistics", 403, "forbidden", times=1000)
        pulls = await site.pull()
        refused = site.faults.asked("workflow/statistics")
        await site.pull(minutes=5)

        assert {pull.stream for pull in pulls if pull.error_class} == {"statistics"}
        assert {pull.error_class for pull in pulls if pull.error_class} == {"forbidden"}
        assert site.faults.asked("workflow/statistics") == refused


async def test_an_outage_is_over_when_it_is_over() -> None:
    async with a_site(an_old_world()) as site:
        site.faults.html_error("account/profile", times=1)
        first = await site.pull()
        second = await site.pull(minutes=5)

    failed = {pull.app_id for pull in first if pull.error_class == "unavailable"}
    assert failed
    assert failed <= {pull.app_id for pull in second if pull.stream == "statistics" and pull.is_complete}


async def test_a_zone_nobody_knows_is_named() -> None:
    async with a_site(an_old_world()) as site:
        site.faults.answer("account/profile", 200, {"timezone": "Mars/Olympus"}, times=100)
        pulls = await site.pull()

    assert {pull.error_class for pull in pulls if pull.stream == "statistics"} == {"_OTHER"}
    assert not site.store.of(Statistic)


async def test_a_statistic_that_a_version_does_not_have_is_left_out() -> None:
    world = an_old_world()
    a_request(world, "翻译流水线")
    async with a_site(world) as site:
        site.faults.refuse("daily-terminals", 404, "not_found", times=100)
        pulls = await site.pull()

    assert not [pull for pull in pulls if pull.error_class]
    names = {each.name for each in site.store.of(Statistic).values()}
    assert "run_users" not in names
    assert {"runs", "run_tokens"} <= names


async def test_the_version_is_noted_once_and_again_when_it_changes() -> None:
    world, store = an_old_world(), Shelf()
    async with a_site(world, store=store, version="1.9.2") as site:
        await site.pull()
        await site.pull(minutes=1)
        site.version = "1.11.1"
        await site.pull(minutes=1)
        await site.pull(minutes=1)
    async with a_site(world, store=store) as again:
        await again.pull(minutes=5)

    found = sorted((each.created_at, each.version, each.number) for each in store.of(Release).values())
    assert found == [(NOW, "1.9.2", 1_009_002), (NOW + timedelta(minutes=2), "1.11.1", 1_011_001)]
    assert {each.workspace_id for each in store.of(Release).values()} == {world.workspace_id}
