"""The queues of the simulated Dify, looked at as those of a real one are: they fill, empty, and make people wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from collector.demo.broker import BURSTS, SimulatedBroker
from collector.pull.broker import Broker
from collector.records import QueueSample
from tests.demo.conftest import Clock

MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)


async def looks(clock: Clock, seconds: int) -> list[dict[str, QueueSample]]:
    """Every queue, second by second."""
    broker, found = Broker(SimulatedBroker(clock)), []
    for _ in range(seconds):
        look = await broker.sample(clock())
        assert look.troubles == ()
        found.append({sample.queue: sample for sample in look.samples})
        clock.forward(seconds=1)
    return found


async def test_a_burst_waits_and_is_worked_off():
    found = await looks(Clock(MIDNIGHT), 20)

    runs = [each["workflow_based_app_execution"] for each in found]
    assert [sample.ready for sample in runs] == [5] * 3 + [4] * 3 + [3] * 3 + [2] * 3 + [1] * 3 + [0] * 5
    assert [sample.unacked for sample in runs] == [1] * 18 + [0] * 2
    assert runs[5].oldest_taken_at == MIDNIGHT + timedelta(seconds=3)


async def test_a_task_that_stays_first_in_line_grows_old():
    found = await looks(Clock(MIDNIGHT), 6)

    assert [each["dataset"].oldest_seen_at for each in found] == [MIDNIGHT] * 6


async def test_every_queue_with_bursts_is_one_that_dify_has():
    (found,) = await looks(Clock(MIDNIGHT), 1)

    assert {burst.queue for burst in BURSTS} <= {name for name, sample in found.items() if sample.kind != "other"}
