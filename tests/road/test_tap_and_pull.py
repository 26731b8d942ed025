"""The tap and the pull tell one fact once, whichever speaks first, and together they know more than either."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from collector.demo import World, truth
from collector.fields import decode
from collector.ledger import Telling
from collector.records import TAP, Message, ModelCall, NodeExecution, Record, Run
from collector.tap.usage import Stream, blocking
from tests.collect.shelf import Shelf
from tests.demo.conftest import Clock, a_client, a_server, at_once, quiet_world
from tests.demo.test_streams import body_of, key_of, path_of
from tests.road.way import Road, lasting

ASKED = (
    ("合同审查", "FINE", "streaming"),
    ("合同审查", "FINE", "blocking"),
    ("合同审查", "FAIL_RATE", "streaming"),
    ("合同审查", "FAIL_RATE", "blocking"),
    ("合同审查", "FINE stop", "streaming"),
    ("Weekly report writer", "FINE", "streaming"),
    ("Weekly report writer", "FAIL_CLAUDE", "streaming"),
    ("Weekly report writer", "FAIL_CLAUDE", "blocking"),
    ("Lead scoring", "FINE", "streaming"),
    ("翻译流水线", "FINE", "streaming"),
    ("翻译流水线", "FINE", "blocking"),
    ("Release notes", "FINE", "streaming"),
    ("Release notes", "FINE", "blocking"),
    ("客服助手", "FINE", "streaming"),
    ("客服助手", "FINE", "blocking"),
    ("客服助手", "FAIL_AUTH", "streaming"),
    ("客服助手", "FINE stop", "streaming"),
    ("Research assistant", "FINE", "streaming"),
    ("Research assistant", "FINE", "blocking"),
    ("HR helpdesk", "FINE", "streaming"),
    ("HR helpdesk", "FINE", "blocking"),
    ("HR helpdesk", "FAIL_RATE", "streaming"),
    ("HR helpdesk", "FINE stop", "streaming"),
    ("Translate", "FINE", "streaming"),
    ("Translate", "FINE", "blocking"),
    ("Travel planner", "FINE", "streaming"),
)
"""App, what steers it, and how it is asked: all modes, in every way they end."""

STOPPED_AFTER = {"合同审查": 3, "客服助手": 4, "HR helpdesk": 1}
"""How many waits of its stream pass before somebody stops it: the first model call of a flow has ended by then."""


@dataclass
class Heard:
    """A Dify, and what a tap before it heard of each request."""

    world: World
    records: list[list[Record]]

    def road(self) -> Road:
        road = Road(self.world)
        road.clock.forward(minutes=20)
        return road


@pytest.fixture(scope="module")
def heard() -> Heard:
    """Every kind of request, once."""
    world, clock = quiet_world(), Clock()

    async def ask() -> list[list[Record]]:
        found = []
        for place, (app, query, mode) in enumerate(ASKED):
            clock.forward(seconds=7)
            found.append(await _heard(world, clock, app, query, mode, seed=place))
        return found

    return Heard(world, asyncio.run(ask()))


async def test_a_tap_alone_counts_every_token(heard: Heard):
    store = Shelf()
    for records in heard.records:
        store.put(records)

    calls = store.of(ModelCall).values()
    # a workflow used as a tool is a run of its own, and no stream tells its calls
    unheard = {node.child_run_id for nodes in heard.world.nodes.values() for node in nodes if node.child_run_id}
    blocked = {call.run_id for call in calls if call.is_estimate}
    unheard -= {node.child_run_id for run_id in blocked for node in heard.world.nodes.get(run_id or "", ())}
    told = [call for call in truth.told_calls(heard.world) if call.run_id not in unheard]
    assert unheard
    assert sum(call.tokens or 0 for call in calls) == sum(call.usage.total_tokens for call in told)
    estimates = {call.id: call for call in calls if call.is_estimate}
    assert {(key == call.message_id, call.run_id is None) for key, call in estimates.items()} == {
        (True, True),  # a chatflow's answer names its message
        (False, False),  # a workflow's answer its run
    }


@pytest.mark.parametrize("order", sorted(set(permutations(("tap", "pull", "pull")))), ids=" ".join)
async def test_together_they_make_one_row_of_each_fact(heard: Heard, order: tuple[str, ...]):
    road = heard.road()
    for who in order:
        await _speak(road, heard, who)

    world, calls = heard.world, road.store.of(ModelCall)
    leaves = {node.id for nodes in world.nodes.values() for node in nodes if node.stage.model and node.elapsed}
    answers = {key for key, message in world.messages.items() if message.workflow_run_id is None}
    assert set(road.store.of(Run)) == set(world.runs)
    assert set(road.store.of(Message)) == set(world.messages)
    assert set(calls) == leaves | answers
    assert not any(call.is_estimate for call in calls.values())
    assert sum(call.tokens or 0 for call in calls.values()) == sum(truth.tokens(world).values())


async def test_any_order_ends_the_same(heard: Heard):
    ends = []
    for order in (("tap", "pull"), ("pull", "tap", "pull"), ("pull", "pull", "tap", "pull")):
        road = heard.road()
        for who in order:
            await _speak(road, heard, who)
        ends.append(lasting(road.store))

    assert ends[0] == ends[1] == ends[2]


async def test_request_by_request_in_any_order_ends_the_same(heard: Heard):
    whole = heard.road()
    await whole.pull()
    pulled = [fact for kind in (Run, NodeExecution, ModelCall, Message) for fact in whole.store.of(kind).values()]
    after = Shelf()
    for records in heard.records:
        after.put(records)
    after.put(pulled)

    before = Shelf()
    for fact in reversed(pulled):
        before.put([fact])
    for records in reversed(heard.records):
        before.put(records)

    assert before.told() == after.told()


async def test_each_knows_what_the_other_does_not(heard: Heard):
    road, alone = heard.road(), heard.road()
    await alone.pull()
    await _speak(road, heard, "tap")
    await _speak(road, heard, "pull")

    calls, runs = road.store.of(ModelCall), road.store.of(Run)
    # prices of chat messages, time to first token, where it came from: only the stream has them
    priced = [call for call in calls.values() if call.node_type == "message" and call.tokens]
    assert priced
    assert all(call.cost is not None and call.model_name for call in priced)
    assert all(alone.store.of(ModelCall)[call.id].cost is None for call in priced)
    assert {message.invoke_from for message in road.store.of(Message).values()} == {"service-api"}
    # a run that somebody stopped stays running in Dify for ever
    stopped = {key for key, run in runs.items() if run.status == "stopped"}
    assert stopped
    assert stopped == {key for key, run in heard.world.runs.items() if run.status == "running"}
    assert {alone.store.of(Run)[key].status for key in stopped} == {"running"}


async def _speak(road: Road, heard: Heard, who: str) -> None:
    if who == "pull":
        await road.pull()
        road.clock.forward(minutes=20)
        return
    for records in heard.records:
        road.store.put(records)


async def _heard(world: World, clock: Clock, name: str, query: str, mode: str, seed: int) -> list[Record]:
    """Ask, and read what passes by as a tap does."""
    app = world.app_named(name)
    telling = Telling(
        source=TAP,
        seen_at=clock() + timedelta(seconds=5),
        workspace_id=world.workspace_id,
        app_id=app.id,
        is_debug=False,
    )
    path, headers = path_of(world, name), key_of(world, name)
    if mode == "blocking":
        async with a_client(world, clock, seed=seed) as client:
            answer = await client.post(path, json=body_of(query, mode), headers=headers)
        body: Any = decode(answer.content)
        return blocking(body, telling, mode=app.mode, invoke_from="service-api")
    stream = Stream(telling, mode=app.mode, invoke_from="service-api")
    async for chunk in _streamed(world, clock, path, headers, (name, query), seed):
        stream.feed(chunk)
    found = stream.close(is_stopped="stop" in query)
    assert not stream.failures
    return found


async def _streamed(
    world: World, clock: Clock, path: str, headers: dict[str, str], asked: tuple[str, str], seed: int
) -> AsyncIterator[bytes]:
    """The stream of an answer, stopped in the middle where the query says so."""
    app, query = asked
    is_waiting, has_stopped = asyncio.Event(), asyncio.Event()
    waits = iter(range(STOPPED_AFTER[app] if "stop" in query else 1000))

    async def pace(seconds: float) -> None:
        await at_once(seconds)
        if next(waits, None) is None:
            is_waiting.set()
            await has_stopped.wait()

    async with (
        a_server(world, clock, pace=pace, seed=seed) as client,
        client.stream("POST", path, json=body_of(query), headers=headers) as response,
    ):
        async for chunk in response.aiter_raw():
            yield chunk
            if "stop" in query and not has_stopped.is_set():
                await is_waiting.wait()
                task_id = json.loads(chunk.partition(b"data: ")[2].partition(b"\n")[0])["task_id"]
                stop = path.replace("/run", "/tasks") + f"/{task_id}/stop"
                await client.post(stop, json={"user": "u-1"}, headers=headers)
                has_stopped.set()
