"""No byte of a stream waits for a later one: what has come of it is at the caller before the upstream says more."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tap.streams import RECORDED_STREAMS
from tests.tap.test_relay_bytes import ASK, STREAM, sliced
from tests.tap.world import Conversation, relayed, run

STEPS = 60
"""Turns of a stream at most: each waits for the one before."""

SIZES = st.lists(st.one_of(st.integers(1, 40), st.integers(100, 3000)), min_size=1, max_size=8)


def in_chunks(content: bytes, sizes: list[int]) -> tuple[bytes, list[int]]:
    """A chunked body, and for each number of its bytes how many of the content are among them."""
    wire, counts, place, turn = b"", [0], 0, 0
    while place < len(content):
        part = content[place : place + sizes[turn % len(sizes)]]
        size = b"%x\r\n" % len(part)
        wire += size + part + b"\r\n"
        counts += [place] * len(size) + list(range(place + 1, place + len(part) + 1))
        place, turn = place + len(part), turn + 1
        counts += [place] * 2
    wire += b"0\r\n\r\n"
    return wire, counts + [place] * (len(wire) + 1 - len(counts))


def plain(content: bytes, _sizes: list[int]) -> tuple[bytes, list[int]]:
    """A body without frames."""
    return content, list(range(len(content) + 1))


FRAMINGS = {
    "chunked": (b"Transfer-Encoding: chunked\r\n\r\n", in_chunks),
    "sized": (b"Content-Length: %d\r\n\r\n", plain),
    "until close": (b"\r\n", plain),
}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("recorded", RECORDED_STREAMS, ids=lambda path: path.stem)
@settings(max_examples=3)
@given(chunk_sizes=SIZES, cut_sizes=SIZES)
def test_what_has_come_is_there_before_more_is_said(recorded, framing, chunk_sizes, cut_sizes):
    content = recorded.read_bytes()
    fields, frame = FRAMINGS[framing]
    body, counts = frame(content, [max(size, len(content) // 300) for size in chunk_sizes])
    fields = fields.replace(b"%d", b"%d" % len(content))
    least = len(body) // STEPS + 1
    pieces = sliced(body, [max(size, least) if turn % 4 else size for turn, size in enumerate(cut_sizes * 4)])
    heard = asyncio.Semaphore(0)

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(STREAM + fields)
        for piece in pieces:
            await heard.acquire()
            await conversation.say(piece)
        await heard.acquire()

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            await client.send(ASK)
            await client.reader.readuntil(b"\r\n\r\n")
            sent, got = 0, b""
            for piece in pieces:
                sent += len(piece)
                heard.release()
                async with asyncio.timeout(30):
                    while counts[len(got)] < counts[sent]:
                        got += await client.reader.read(2**16)
                assert body.startswith(got)
                assert len(got) <= sent
            heard.release()
            assert counts[len(got)] == len(content)

    run(story())
