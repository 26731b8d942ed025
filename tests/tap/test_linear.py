"""The work of reading grows with the bytes, not with their square: whatever comes, in however small pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector.tap import answer_heads, framing, sse
from collector.tap import caller as caller_module
from collector.tap.framing import BadFraming
from collector.tap.http_head import BadHead
from collector.tap.limits import Limits
from collector.tap.relay import Relay
from collector.tap.upstream import Directory, Place
from tests.fuzz.properties import Behind, Loop, Wire
from tests.fuzz.seeds import ANSWER, ASK, WORDS
from tests.tap.streams import cut, llm, piece, usage, wire
from tests.tap.touching import Touched, counting
from tests.tap.world import OK

READING, READ = counting(sse)
FRAMING, FRAMED = counting(framing)
HEADS, HEADED = counting(answer_heads)
ASKING, ASKED = counting(caller_module)

EACH_BYTE, EACH_PIECE = 24, 40
"""What a byte and a piece of it may cost at most, in bytes touched. A square would be 30,000 for each byte."""

SIZE = 30_000
SIZES = st.sampled_from([1, 2, 7, 64, 1400, SIZE])
PARTS = st.lists(st.one_of(st.sampled_from([*WORDS, b"\n", b"\r", b"x" * 500]), st.binary(max_size=9)), min_size=1)


def events(chunks: list[bytes]) -> int:
    before, reader = READ.total, READING.Events(20_000)
    for chunk in chunks:
        reader.feed(chunk)
    reader.close()
    return READ.total - before


def chunked(chunks: list[bytes]) -> int:
    before, body = FRAMED.total, FRAMING.Chunked(keeps_trailers=True)
    try:
        for chunk in chunks:
            if not body.is_done:
                body.feed(chunk)
    except (BadFraming, FRAMING.BadFraming):
        pass
    return FRAMED.total - before


def heads(chunks: list[bytes]) -> int:
    before, reader = HEADED.total, HEADS.AnswerHeads(is_to_head=False, max_bytes=64 * 1024)
    try:
        for chunk in chunks:
            if any(head.is_final for head in reader.feed(chunk)):
                break
    except BadHead:
        pass
    return HEADED.total - before


def requests(chunks: list[bytes]) -> int:
    """A caller that sends ahead, and an upstream that answers at once."""
    before, loop, behind = ASKED.total, Loop(), Behind(Limits())
    asyncio._set_running_loop(cast(asyncio.AbstractEventLoop, loop))
    try:
        hub = Relay(Directory([Place(behind)]), lambda _: None, limits=Limits(), clock=lambda: 0.0)
        caller, near = ASKING.Caller(hub), Wire()
        caller.connection_made(near)
        for chunk in chunks:
            if not near.has_ended:
                caller.data_received(chunk)
            while line := next((line for line in behind.lines if line.holder is not None), None):
                if caller._exchange is None or not caller._exchange.has_whole_request:
                    break
                line.data_received(OK)
        caller.connection_lost(None)
        loop.run()
    finally:
        asyncio._set_running_loop(None)
    assert hub.watch.counts.requests
    return ASKED.total - before


def repeated(parts: list[bytes]) -> bytes:
    """Some bytes over and over, as long as it takes."""
    whole = b"".join(parts)
    return (whole * (SIZE // max(1, len(whole)) + 1))[:SIZE]


def is_linear(work: Callable[[list[bytes]], int], whole: bytes, size: int) -> bool:
    chunks = list(cut(whole, size))
    return work(chunks) <= EACH_BYTE * len(whole) + EACH_PIECE * (len(chunks) + 1)


@settings(max_examples=40)
@given(PARTS, SIZES)
@example([b"data: "], 1)
@example([b"x"], 1)
@example([b'data: {"event":"message","answer":"a"}\n\n'], 1)
@example([b'data: {"event":"node_finished"}\n'], 7)
@example([b"data: \n"], SIZE)
def test_reading_events(parts, size):
    assert is_linear(events, repeated(parts), size)


@settings(max_examples=40)
@given(PARTS, SIZES)
@example([b"1\r\nx\r\n"], SIZE)
@example([b"1\r\nx\r\n"], 1)
@example([b"1;" + b"a" * 4000 + b"\r\nx\r\n"], 1)
@example([b"10000\r\n" + b"x" * 0x10000 + b"\r\n"], 1)
def test_reading_chunks(parts, size):
    assert is_linear(chunked, repeated(parts), size)


@pytest.mark.parametrize("size", [1, 7, SIZE])
def test_reading_trailers(size):
    assert is_linear(chunked, b"0\r\n" + b"X: y\r\n" * 1300 + b"\r\n", size)
    assert is_linear(chunked, b"0\r\nX: " + b"y" * 8000 + b"\r\n\r\n", size)


@settings(max_examples=40)
@given(PARTS, SIZES)
@example([b"HTTP/1.1 100 Continue\r\n\r\n"], SIZE)
@example([b"HTTP/1.1 200 OK\r\nA: " + b"x" * 60_000], 1)
def test_reading_heads(parts, size):
    assert is_linear(heads, ANSWER[:-2] + repeated(parts), size)


@pytest.mark.parametrize("size", [1, 100, SIZE])
@pytest.mark.parametrize(
    "ahead", [ASK, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n" + ASK], ids=["post", "get", "gap"]
)
def test_requests_ahead(ahead, size):
    whole = ahead * (SIZE // len(ahead))
    assert is_linear(requests, whole, size)


@pytest.mark.parametrize("size", [1, 1400])
def test_a_big_event(size):
    body = wire([llm("n1", 3, 4, outputs={"text": "word " * 20_000, "usage": usage(3, 4)}), piece("a")])
    assert is_linear(events, body, size)


def test_the_count_sees_a_square():
    held, meter = b"", Touched()
    for chunk in cut(b"x" * 10_000, 1):
        held = meter.add(held, chunk)
    assert meter.total > 10_000 * EACH_BYTE * 10
