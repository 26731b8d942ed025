"""Callers: who asks what depends on the seed, and all of it lands in the world."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest

from collector.demo import Faults, World, make_living_world, targets, traffic, truth
from tests.demo.conftest import CALM, NOW, Clock, a_client, a_server, at_once, quiet_world, sign_in


async def callers(world: World, clock: Clock, seed: int, faults: Faults | None = None) -> Counter[str]:
    async with a_client(world, clock, faults=faults) as client:
        return await traffic(client, targets(world), seed=seed, requests=60, sleep=at_once)


def asked(world: World) -> Counter[tuple[str, str]]:
    rows = [*world.messages.values(), *(run for run in world.runs.values() if not run.message_id)]
    return Counter((row.app_id, str(row.inputs)) for row in rows)


async def test_the_same_seed_asks_the_same(clock: Clock) -> None:
    one, same, other = quiet_world(), quiet_world(), quiet_world()

    tallies = [await callers(one, clock, 1), await callers(same, clock, 1), await callers(other, clock, 2)]

    assert asked(one) == asked(same) != asked(other)
    assert tallies[0] == tallies[1]
    assert sum(tallies[0].values()) == 60


async def test_requests_land_in_the_world_with_their_tokens(world: World, clock: Clock) -> None:
    tally = await callers(world, clock, 3)

    assert {key.split()[1] for key in tally} == {"200"}
    assert sum(truth.tokens(world).values()) > 0
    assert any(world.feedback_of.values())


async def test_a_caller_who_fails_stops_no_other(world: World, clock: Clock) -> None:
    faults = Faults()
    faults.unreachable("/v1", times=5)

    tally = await callers(world, clock, 3, faults)

    assert sum(count for key, count in tally.items() if "ConnectError" in key) == 5
    assert sum(tally.values()) == 60


async def test_some_stop_and_some_leave_over_a_real_socket(world: World, clock: Clock) -> None:
    async with a_server(world, clock) as client:
        tally = await traffic(client, targets(world), seed=3, requests=60, sleep=at_once)

    assert {key.split()[0] for key in tally} == {"stream", "block", "stop", "leave"}


async def test_the_rate_is_kept(world: World, clock: Clock) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=""))
    async with httpx.AsyncClient(transport=transport, base_url="http://dify") as client:
        await traffic(client, targets(world), requests=400, per_second=5.0, sleep=sleep)

    assert sum(waits) == pytest.approx(400 / 5.0, rel=0.2)


async def test_a_living_world_goes_on_between_two_looks(clock: Clock) -> None:
    world, life = make_living_world(days=0, runs_per_day=5000, seed=1, now=NOW, habits=CALM)
    async with a_client(world, clock, life=life) as client:
        await sign_in(client)
        before = len(world.runs) + len(world.messages)
        clock.forward(minutes=10)
        await client.get("/console/api/apps")

    assert before == 0
    assert len(world.runs) + len(world.messages) > 10
