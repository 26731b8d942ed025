"""Passes come one after the other and go on whatever one of them does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from collector.errors import StoreError
from collector.schedule import Schedule

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR, BLINK = timedelta(hours=1), timedelta(milliseconds=5)


async def test_the_first_pass_comes_at_once_and_the_next_after_the_interval():
    made = asyncio.Event()

    async def make_pass() -> None:
        made.set()

    schedule = Schedule(make_pass, HOUR)
    schedule.start()
    await made.wait()
    await schedule.make_one()  # behind the first, which is over by then

    left = schedule.next_at - datetime.now(UTC)
    assert timedelta(minutes=50) < left < timedelta(minutes=70)
    await schedule.stop()
    assert schedule.next_at is None


async def test_passes_go_on_and_never_overlap():
    at_work, most, enough = [0], [0], asyncio.Event()
    seen = []

    async def make_pass() -> None:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        await asyncio.sleep(0)
        at_work[0] -= 1
        seen.append(1)
        if len(seen) == 3:
            enough.set()

    schedule = Schedule(make_pass, BLINK)
    schedule.start()
    await asyncio.gather(enough.wait(), schedule.make_one())
    await schedule.stop()

    assert most[0] == 1


async def test_a_pass_longer_than_the_interval_is_followed_by_the_next_one():
    begun, go_on, again = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def make_pass() -> None:
        if begun.is_set():
            again.set()
        begun.set()
        await go_on.wait()

    schedule = Schedule(make_pass, BLINK)
    schedule.start()
    await begun.wait()
    assert schedule.next_at is None  # it waits for the one at work

    go_on.set()
    await again.wait()
    await schedule.stop()


async def test_a_pass_that_fails_is_logged_and_the_next_one_comes():
    enough, times = asyncio.Event(), [0]

    async def make_pass() -> None:
        times[0] += 1
        if times[0] == 1:
            raise StoreError("the disk is full")
        enough.set()

    with structlog.testing.capture_logs() as lines:
        schedule = Schedule(make_pass, BLINK)
        schedule.start()
        await enough.wait()
        await schedule.stop()

    assert schedule.counts["failed"] == 1
    assert [line["event"] for line in lines] == ["pass failed"]


async def test_a_source_stopped_for_good_is_asked_no_more():
    async def make_pass() -> None:
        pass

    with structlog.testing.capture_logs() as lines:
        schedule = Schedule(make_pass, HOUR, stopped=lambda: "the login was refused", clock=lambda: NOON)
        await schedule.make_one()

    assert schedule.next_at is None
    assert schedule.last_ended == NOON
    assert lines[0]["problem"] == "the login was refused"


async def test_stopping_breaks_off_the_pass_at_work_and_waits_for_its_end():
    begun = asyncio.Event()
    ended = []

    async def make_pass() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    with structlog.testing.capture_logs() as lines:
        schedule = Schedule(make_pass, HOUR)
        schedule.start()
        await begun.wait()
        await schedule.stop()
        await schedule.make_one()  # too late

    assert ended == [1]
    assert [line["event"] for line in lines] == ["pass broken off"]
    assert +schedule.counts == {}


async def test_turns_that_came_while_a_pass_was_at_work_are_counted_as_missed():
    now = iter((NOON, NOON + 3.5 * HOUR))

    async def make_pass() -> None:
        pass

    schedule = Schedule(make_pass, HOUR, clock=lambda: next(now))
    await schedule.make_one()

    assert schedule.counts == {"finished": 1, "missed": 3}


async def test_a_schedule_that_never_started_can_be_stopped():
    async def make_pass() -> None:
        raise AssertionError("no pass is due")

    await Schedule(make_pass, HOUR).stop()
