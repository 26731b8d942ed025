"""Hundreds of streams whose callers leave and whose upstreams break: counts add up and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.records import Message, ModelCall, Request
from collector.tap.caller import Caller
from collector.tap.exchange import Exchange
from collector.tap.limits import Limits
from collector.tap.upstream import Line
from collector.tap.watch import Seen
from tests.tap.streams import llm, message_end, piece, started, usage, wire
from tests.tap.world import OK, Conversation, World, relayed, run, saying, until

STREAMS, TOGETHER = 1500, 150


def an_answer(number: int) -> list[bytes]:
    """The events of one stream, told apart from all others by its number."""
    run_id, message = f"r{number}", f"m{number}"
    pieces = [wire([piece(f"word {turn} ", message=message)]) for turn in range(number % 30)]
    call = llm(f"n{number}", number, 1) | {"workflow_run_id": run_id}
    return [
        wire([started(run=run_id, message=message)]),
        *pieces,
        wire([call]),
        wire([message_end(usage(number, 1), message=message, run=run_id)]),
    ]


class Fates:
    """What is to happen to each stream, and what did."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.completed: set[int] = set()
        self.broken: set[int] = set()

    async def script(self, conversation: Conversation) -> None:
        while (asked := await conversation.request()) is not None:
            number = int(asked.body)
            breaks_at = self.dice.randrange(40) if self.dice.random() < 0.2 else None
            await conversation.say(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            for turn, event in enumerate(an_answer(number)):
                if turn == breaks_at:
                    self.broken.add(number)
                    conversation.reset()
                    return
                await conversation.say(b"%x\r\n%b\r\n" % (len(event), event))
                await asyncio.sleep(0)
            await conversation.say(b"0\r\n\r\n")
            self.completed.add(number)

    async def call(self, world: World, number: int) -> str:
        client = await world.client()
        body = b"%d" % number
        ask = b"POST /v1/chat-messages HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        await client.send(ask)
        if self.dice.random() < 0.2:
            try:
                await client.reader.readexactly(self.dice.randrange(100, 900))
            except (asyncio.IncompleteReadError, ConnectionError):
                await client.close()
                return "broken"
            client.reset()
            return "left"
        answer = await client.answer()
        await client.close()
        world.clients.remove(client)
        if answer.is_whole:
            assert answer.body == b"".join(an_answer(number))
        return "whole" if answer.is_whole else "broken"


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_hundreds_of_streams_leave_their_records_and_nothing_else():
    fates = Fates(7)

    async def story() -> None:
        async with relayed(fates.script, limits=Limits(drain_seconds=30)) as world:
            await world.ask(b"POST /v1/chat-messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n0")
            before = open_files(), len(asyncio.all_tasks())
            ends: Counter[str] = Counter()
            for start in range(1, STREAMS, TOGETHER):
                calls = (fates.call(world, number) for number in range(start, start + TOGETHER))
                ends.update(await asyncio.gather(*calls))
                world.clients.clear()
            await until(lambda: len(world._requests()) == STREAMS + 1)
            world.relay.sweep(world.clock())
            check_counts(world, fates, ends)
            world.relay.directory.upstreams[0].close()
            await until(
                lambda: world.relay.is_idle and open_files() <= before[0] and len(asyncio.all_tasks()) <= before[1]
            )

    run(story())


def check_counts(world: World, fates: Fates, ends: Counter[str]) -> None:
    requests = [record for record in world.records if isinstance(record, Request)]
    who = Counter(request.interrupted_by for request in requests)
    assert ends["whole"] + 1 <= who[None]
    assert who["upstream"] <= len(fates.broken)
    assert ends["broken"] <= who["upstream"] + who["client"]
    calls = [record for record in world.records if isinstance(record, ModelCall)]
    assert len({call.id for call in calls}) == len(calls)
    told = {int(call.id[1:]): call.input_tokens for call in calls}
    assert all(told[number] == number for number in fates.completed)
    ended = {int(m.id[1:]) for m in world.records if isinstance(m, Message) and m.status == "succeeded"}
    assert fates.completed <= ended
    assert ended - fates.completed <= fates.broken


def test_of_streams_that_have_gone_nothing_stays_in_memory():
    fates = Fates(11)

    async def story() -> None:
        async with relayed(fates.script) as world:
            await asyncio.gather(*(fates.call(world, number) for number in range(1, 100)))
            world.clients.clear()
            await until(lambda: len(world._requests()) == 99 and not world.relay.callers)
            world.relay.sweep(world.clock())
            await asyncio.sleep(0)
            gc.collect()
            left = Counter(
                type(one).__name__ for one in gc.get_objects() if type(one) in (Exchange, Caller, Seen, Line)
            )
            assert left == Counter({"Line": world.upstream.idle})

    run(story())


JUNK = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from(
            [
                *(
                    b"GET /v1/info HTTP/1.1\r\n",
                    b"POST /v1/chat-messages HTTP/1.1\r\n",
                    b"Host: x\r\n",
                    b"\r\n",
                    b"\n",
                    b"\r",
                ),
                *(
                    b"Content-Length: 5\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"5\r\nhello\r\n",
                    b"0\r\n\r\n",
                    b"hello",
                ),
                *(
                    b"Expect: 100-continue\r\n",
                    b"Connection: close\r\n",
                    b"Upgrade: x\r\nConnection: Upgrade\r\n",
                    b"\x00",
                ),
            ]
        ),
        max_size=14,
    ).map(b"".join),
)
SAYINGS = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [
                *(
                    b"HTTP/1.1 200 OK\r\n",
                    b"HTTP/1.1 101 Up\r\n",
                    b"HTTP/1.1 100 On\r\n\r\n",
                    b"HTTP/1.0 204 No\r\n",
                    b"\r\n",
                ),
                *(
                    b"Content-Length: 5\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"5\r\nhello\r\n",
                    b"0\r\n\r\n",
                    b"hello",
                ),
                *(
                    b"Content-Type: text/event-stream\r\n",
                    b"Content-Type: application/json\r\n",
                    b'data: {"event": "error"}\n\n',
                ),
            ]
        ),
        max_size=12,
    ).map(b"".join),
)


@settings(max_examples=150)
@given(st.lists(JUNK, min_size=1, max_size=4), SAYINGS, st.booleans())
def test_whatever_both_sides_say_the_relay_stands(asked: list[bytes], said: bytes, is_kept: bool):
    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.say(said)
        if is_kept:
            await conversation.head()

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            for part in asked:
                client.writer.write(part)
                await asyncio.sleep(0)
            for _ in range(5):
                await asyncio.sleep(0)
            client.reset()
            await until(lambda: not world.relay.callers)
            assert not world.relay.watch.counts.failures
            world.upstream.close()
        async with relayed(saying(OK)) as world:
            assert (await world.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).body == b"hello"

    run(story())
