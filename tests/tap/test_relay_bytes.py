"""What the caller gets is what the upstream sent: every recording in any pieces, and no piece waits for another."""

from __future__ import annotations

import asyncio
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.records import ModelCall, Run
from collector.tap.limits import Limits
from tests.tap.streams import RECORDED_STREAMS, llm, message_end, piece, started, usage, wire
from tests.tap.world import Conversation, relayed, run, saying

ASK = b"POST /v1/chat-messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
CHUNKS = STREAM + b"Transfer-Encoding: chunked\r\n\r\n"


def framed(content: bytes, sizes: list[int]) -> bytes:
    """A chunked body whose chunks have these sizes, over and over."""
    out, place, turn = [], 0, 0
    while place < len(content):
        part = content[place : place + sizes[turn % len(sizes)]]
        out.append(b"%x\r\n%b\r\n" % (len(part), part))
        place, turn = place + len(part), turn + 1
    return b"".join(out) + b"0\r\n\r\n"


def sliced(whole: bytes, sizes: list[int]) -> list[bytes]:
    """As the network may cut it: sizes over and over."""
    out, place, turn = [], 0, 0
    while place < len(whole):
        out.append(whole[place : place + sizes[turn % len(sizes)]])
        place, turn = place + len(out[-1]), turn + 1
    return out


@pytest.mark.parametrize("recorded", RECORDED_STREAMS, ids=lambda path: path.stem)
@settings(max_examples=6)
@given(
    st.lists(st.one_of(st.integers(150, 900), st.integers(20_000, 90_000)), min_size=1, max_size=6),
    st.lists(st.one_of(st.integers(97, 900), st.integers(20_000, 90_000)), min_size=1, max_size=6),
    st.sampled_from(["chunked", "sized", "until close"]),
)
def test_every_byte_arrives_in_order(recorded, chunk_sizes, cut_sizes, framing):
    content = recorded.read_bytes()
    chunk_sizes = [max(size, len(content) // 300) for size in chunk_sizes]
    cut_sizes = [max(size, len(content) // 300) for size in cut_sizes]
    wires = {
        "chunked": CHUNKS + framed(content, chunk_sizes),
        "sized": STREAM + b"Content-Length: %d\r\n\r\n%b" % (len(content), content),
        "until close": STREAM + b"\r\n" + content,
    }

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        for part in sliced(wires[framing], cut_sizes):
            conversation.writer.write(part)
            await asyncio.sleep(0)
        await conversation.writer.drain()

    async def story() -> None:
        async with relayed(script) as world:
            answer = await world.ask(ASK)
            assert answer.is_whole
            assert answer.body == content
            (request,) = await world.requests()
            assert request.response_bytes == len(content)
            assert request.interrupted_by is None

    run(story())


@settings(max_examples=10)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_single_bytes_go_through_too(sizes):
    content = wire([started(), llm("n1", 3, 4), message_end(usage(3, 4))])

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        for part in sliced(CHUNKS + framed(content, [50]), sizes):
            await conversation.say(part)
            await asyncio.sleep(0)

    async def story() -> None:
        async with relayed(script) as world:
            assert (await world.ask(ASK)).body == content
            await world.requests()
            assert [call.tokens for call in world.records if isinstance(call, ModelCall)] == [7]

    run(story())


def test_no_delta_waits_for_a_later_one():
    heard = asyncio.Semaphore(0)

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(CHUNKS)
        for turn in range(20):
            event = wire([piece(f"word {turn} ")])
            half = len(event) // 2
            await conversation.say(b"%x\r\n%b" % (len(event), event[:half]))
            await heard.acquire()  # the first half of a chunk is already at the caller
            await conversation.say(event[half:] + b"\r\n")
            await heard.acquire()
        await conversation.say(b"0\r\n\r\n")

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            await client.send(ASK)
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert b"chunked" in head
            for turn in range(20):
                event = wire([piece(f"word {turn} ")])
                half = len(event) // 2
                assert await client.reader.readexactly(half + 4) == b"%x\r\n%b" % (len(event), event[:half])
                heard.release()
                assert await client.reader.readexactly(len(event) - half + 2) == event[half:] + b"\r\n"
                heard.release()
            assert await client.reader.readexactly(5) == b"0\r\n\r\n"
            await client.close()

    run(story())


def test_bytes_go_out_though_nobody_can_read_them():
    content = b"data: {not json}\n\n" * 10 + b"data: " + b"x" * 300_000 + b"\n\n" + wire([started()])

    async def story() -> None:
        async with relayed(saying(CHUNKS + framed(content, [5000])), limits=Limits(event_bytes=100_000)) as world:
            assert (await world.ask(ASK)).body == content
            await world.requests()
            assert world.relay.watch.counts.failures["event.size"] == 1
            assert [record.status for record in world.records if isinstance(record, Run)] == ["running"]

    run(story())


def test_what_cannot_wait_to_be_read_goes_by_unread():
    content = wire([started(), llm("n1", 3, 4)]) * 50

    async def story() -> None:
        async with relayed(saying(CHUNKS + framed(content, [5000])), limits=Limits(unread_bytes=1000)) as world:
            assert (await world.ask(ASK)).body == content
            (request,) = await world.requests()
            assert world.relay.watch.counts.unread == 1
            assert world.records == [request]

    run(story())


@pytest.mark.parametrize(("coding", "window"), [("gzip", 31), ("deflate", 15)])
def test_a_compressed_answer_is_read_and_passed_on_as_it_is(coding: str, window: int):
    content = wire([started(), llm("n1", 3, 4), message_end(usage(3, 4))])
    packing = zlib.compressobj(wbits=window)
    packed = packing.compress(content) + packing.flush()
    head = STREAM + b"Content-Encoding: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % coding.encode()

    async def story() -> None:
        async with relayed(saying(head + framed(packed, [37]))) as world:
            assert (await world.ask(ASK)).body == packed
            await world.requests()
            assert [call.tokens for call in world.records if isinstance(call, ModelCall)] == [7]

    run(story())


def test_a_coding_nobody_knows_goes_by_unread():
    async def story() -> None:
        head = STREAM + b"Content-Encoding: br\r\nTransfer-Encoding: chunked\r\n\r\n"
        async with relayed(saying(head + framed(b"?" * 99, [37]))) as world:
            assert (await world.ask(ASK)).body == b"?" * 99
            await world.requests()
            assert world.relay.watch.counts.unread == 1

    run(story())


def test_a_caller_that_takes_nothing_stops_the_upstream_and_nothing_piles_up():
    limits = Limits(buffer_bytes=20_000)
    sent = 0
    block = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    async def script(conversation: Conversation) -> None:
        nonlocal sent
        await conversation.request()
        await conversation.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(800):  # 52 MB: more than all kernels' buffers between
            await conversation.say(block)
            sent += 1
        await conversation.say(b"0\r\n\r\n")

    async def story() -> None:
        async with relayed(script, limits=limits) as world:
            client = await world.client(limit=2**16)
            await client.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            before = -1
            while before != sent:  # until it no longer moves
                before = sent
                for _ in range(200):
                    await asyncio.sleep(0)
                await asyncio.sleep(0.02)
            assert sent < 800
            (caller,) = world.relay.callers
            assert caller.is_full
            assert caller.transport.get_write_buffer_size() < 1_000_000
            answer = await client.answer()
            assert len(answer.body) == 800 * 0x10000
            await client.close()

    run(story())


def test_a_large_upload_streams_through_and_waits_for_a_slow_upstream():
    size = 30_000_000
    open_gate = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await open_gate.wait()
        left = size
        while left:
            left -= len(await conversation.reader.read(2**20))
        await conversation.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def story() -> None:
        async with relayed(script, limits=Limits(buffer_bytes=20_000)) as world:
            client = await world.client()
            client.writer.write(b"POST /v1/files/upload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
            sending = asyncio.create_task(client.send(*[b"x" * 1_000_000] * 30))
            for _ in range(300):
                await asyncio.sleep(0)
            await asyncio.sleep(0.05)
            assert not sending.done()
            open_gate.set()
            await sending
            assert (await client.answer()).body == b"ok"
            (request,) = await world.requests()
            assert request.request_bytes == size
            await client.close()

    run(story())
