"""What must hold for whatever bytes come over the network. Each property takes any bytes and fails where it does not.

The first byte says how the rest is cut, so that a fuzzer steers that too. Hypothesis tries them in the test suite,
atheris (`make fuzz`) for as long as one likes.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from collector.errors import ShapeError
from collector.fields import decode
from collector.records import Record, Request
from collector.tap.answer_heads import AnswerHeads
from collector.tap.caller import Caller
from collector.tap.framing import BadFraming, Chunked
from collector.tap.hearing import hearing_of
from collector.tap.http_head import (
    BadHead,
    answer_bytes,
    forwarded_fields,
    parse_answer,
    parse_request,
    request_bytes,
)
from collector.tap.limits import Limits
from collector.tap.relay import Relay
from collector.tap.sse import WORTH, Events
from collector.tap.upstream import Directory, Line, Place, Upstream
from tests.tap.streams import HEARD

SMALL = Limits(head_bytes=2000, event_bytes=1000, answer_bytes=1000, buffer_bytes=1000, unread_bytes=10_000)
_LONE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n)")


def cut(given: bytes) -> tuple[bytes, list[bytes]]:
    """Bytes -> what they say, and the same in pieces whose sizes the first byte chose."""
    whole, step = given[1:], (given[0] if given else 0) % 64 + 1
    return whole, [whole[place : place + step] for place in range(0, len(whole), step)]


def events(given: bytes) -> None:
    """Any chunking gives the same events, those a plain reading of the same lines gives; none is held too long."""
    whole, chunks = cut(given)
    at_once, in_chunks = Events(500), Events(500)
    found = at_once.feed(whole) + at_once.close()
    also = []
    for place, chunk in enumerate(chunks):
        if place % 2 or not in_chunks.passes(chunk):
            also += in_chunks.feed(chunk)
        if place % 20 == 0:
            assert sum(map(len, in_chunks._tail)) + sum(map(len, in_chunks._data)) <= 500
    also += in_chunks.close()
    assert also == found
    assert (in_chunks.pieces, in_chunks.oversized) == (at_once.pieces, at_once.oversized)
    unbounded = Events(2**30)
    assert unbounded.feed(whole) + unbounded.close() == plain_events(whole)


def plain_events(whole: bytes) -> list[bytes]:
    """The data of all events but those whose name, written first, is not worth decoding. Slow and obvious."""
    found = []
    for event in _blocks(whole.removeprefix(b"\xef\xbb\xbf")):
        values = [line[5:].removeprefix(b" ").removesuffix(b"\r") for line in event if line.startswith(b"data:")]
        values = values[next((place for place, value in enumerate(values) if value), len(values)) :]
        named = re.match(rb'\{\s*"event": ?"(\w+)"', values[0]) if values else None
        if values and not (named and named[1].decode() not in WORTH):
            found.append(b"\n".join(value for value in values if value))
    return found


def _blocks(whole: bytes) -> list[list[bytes]]:
    blocks: list[list[bytes]] = [[]]
    for line in whole.split(b"\n"):
        if line in (b"", b"\r"):
            blocks.append([])
        else:
            blocks[-1].append(line)
    return blocks


def answer(given: bytes) -> None:
    """A stream or a body of anything, packed or not, is read without a word, and tells the same in any pieces."""
    whole, chunks = cut(given[1:])
    kind = given[0] if given else 0
    told = []
    for pieces in ([whole], chunks):
        hearing = hearing_of(
            HEARD,
            mode=None,
            invoke_from=None,
            is_stream=bool(kind & 1),
            coding=(b"", b"gzip", b"deflate", b"br")[kind >> 1 & 3],
            limits=SMALL,
        )
        if hearing is None:
            return
        try:
            for piece in pieces:
                hearing.feed(piece)
        except zlib.error:
            assert kind & 6  # what is packed badly costs its own copy
            return
        told.append((hearing.close(), hearing.failures, hearing.error_class, hearing.is_too_long))
    assert kind & 6 or told[0] == told[1]


def chunked(given: bytes) -> None:
    """Any pieces of a chunked body end alike; what is sent on holds the same content, and is read the same again."""
    whole, pieces = cut(given)
    at_once, in_pieces = _chunked([whole]), _chunked(pieces)
    assert in_pieces == at_once
    if at_once is not None:
        wire, content, is_done, excess = at_once
        assert len(wire) <= len(whole) + 2
        again = _chunked([wire])
        assert again is not None
        assert again[:3] == (wire, content, is_done)
        assert not is_done or whole.endswith(excess)


def _chunked(pieces: list[bytes]) -> tuple[bytes, bytes, bool, bytes] | None:
    body, wire, content, excess = Chunked(keeps_trailers=True), b"", b"", b""
    try:
        for piece in pieces:
            if body.is_done:
                excess += piece
            else:
                more, inner = body.feed(piece)
                wire, content, excess = wire + more, content + inner, body.excess
    except BadFraming:
        return None
    return wire, content, body.is_done, excess


def _heads(given: bytes, start: bytes) -> list[bytes]:
    """Bytes as a whole head, and as the lines of one; each ends with its only empty line."""
    heads = [begun + given.strip(b"\r\n").partition(b"\r\n\r\n")[0] for begun in (b"", start)]
    return [head.removesuffix(b"\r\n") + b"\r\n\r\n" for head in heads if head]


def request_head(given: bytes) -> None:
    """A head is refused, or what is sent on is a head that says the same and nothing else."""
    for head in _heads(given, b"GET / HTTP/1.1\r\nHost: x\r\n"):
        try:
            asked = parse_request(head)
        except BadHead:
            continue
        wire = request_bytes(asked, asked.target, asked.host or b"x", forwarded_fields(asked, b"10.0.0.9", b"http"))
        again = parse_request(wire)
        assert (again.method, again.target, again.host) == (asked.method, asked.target, asked.host or b"x")
        assert (again.length, again.fields.authorization) == (asked.length, asked.fields.authorization)
        assert again.fields.upgrade == asked.fields.upgrade
        assert wire.find(b"\r\n\r\n") == len(wire) - 4
        assert not _LONE_LINE_END.search(wire)
        assert not re.search(rb"[\x80-\xff\x00-\x20]", wire.split(b" ")[1])


def answer_head(given: bytes) -> None:
    """The same for answers."""
    asked = parse_request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    for head in _heads(given, b"HTTP/1.1 200 OK\r\n"):
        try:
            found = parse_answer(head, is_to_head=False)
        except BadHead:
            continue
        wire = answer_bytes(found, asked, is_chunked=found.length == -1, keeps_open=found.keeps_open)
        again = parse_answer(wire, is_to_head=False)
        assert (again.status, again.line, again.kept) == (found.status, found.line, found.kept)
        assert again.length == found.length
        assert wire.find(b"\r\n\r\n") == len(wire) - 4
        assert not _LONE_LINE_END.search(wire)


def answer_heads(given: bytes) -> None:
    """Heads in any pieces are the same heads, with the same rest behind them."""
    whole, pieces = cut(given)
    outcomes = []
    for some in ([whole], pieces):
        heads, found = AnswerHeads(is_to_head=False, max_bytes=1 << 20), []
        rest = b""
        try:
            for piece in some:
                if found and found[-1].is_final:
                    rest += piece
                else:
                    found += heads.feed(piece)
                    rest = heads.rest
            outcomes.append((found, rest))
        except BadHead:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]


class Loop:
    """A loop in which nothing happens until it is asked to: no sockets, no time."""

    def __init__(self) -> None:
        self.due: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def call_later(self, _seconds: float, call: Callable[..., object], *arguments: object) -> None:
        self.due.append((call, arguments))

    def run(self) -> None:
        while self.due:
            call, arguments = self.due.pop()
            call(*arguments)


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.has_ended = False
        self.protocol: Any = None

    def get_extra_info(self, name: str) -> object:
        return ("10.0.0.9", 1) if name == "peername" else (self if name == "sslcontext" else None)

    def write(self, piece: bytes) -> None:
        assert not self.has_ended
        self.written += piece

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.has_ended = True

    abort = close

    def is_closing(self) -> bool:
        return self.has_ended

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Behind(Upstream):
    """An upstream whose every connection is there at once."""

    def __init__(self, limits: Limits) -> None:
        super().__init__("http://dify", limits=limits, clock=lambda: 0.0)
        self.lines: list[Line] = []

    def lend(self) -> Line:
        line = super().lend()
        if line is None:
            line = Line(self)
            line.connection_made(cast(asyncio.BaseTransport, Wire()))
            self.lines.append(line)
        return line


def relay(given: bytes) -> None:
    """Whatever both sides say in whatever order: nothing is raised, what goes on is understood, and each is told of.

    The bytes are a script: a control byte says who speaks (or hangs up) and how long.
    """
    loop = Loop()
    asyncio._set_running_loop(cast(asyncio.AbstractEventLoop, loop))
    try:
        told, behind = _play(given, loop)
    finally:
        asyncio._set_running_loop(None)
    for line in behind.lines:
        _check_requests(cast(Wire, line.transport).written)
    assert len(told) >= len([line for line in behind.lines if cast(Wire, line.transport).written])


def _play(given: bytes, loop: Loop) -> tuple[list[Request], Behind]:
    records: list[Record] = []
    behind = Behind(SMALL)
    hub = Relay(Directory([Place(behind)]), records.extend, limits=SMALL, clock=lambda: 0.0)
    caller, near = Caller(hub), Wire()
    caller.connection_made(cast(asyncio.BaseTransport, near))
    place = 0
    while place < len(given):
        control = given[place]
        size = (control & 0x3F) + 1 if control & 0x40 else 1000
        said, place = given[place + 1 : place + 1 + size], place + 1 + size
        if control & 0x80:
            _answer_from(behind, said)
        elif not near.has_ended:
            caller.data_received(said)
    near.has_ended = True
    caller.connection_lost(None)
    for line in list(behind.lines):
        if not line.is_lost:
            line.eof_received()
            line.connection_lost(None)
    loop.run()
    assert hub.is_idle or hub.draining
    assert hub.watch.counts.sink_failures == 0
    return [record for record in records if isinstance(record, Request)], behind


def _answer_from(behind: Behind, said: bytes) -> None:
    line = next((line for line in reversed(behind.lines) if line.holder is not None), None)
    if line is None:
        return
    if said:
        line.data_received(said)
    else:
        line.eof_received()
        line.connection_lost(None)


def _check_requests(sent: bytes) -> None:
    """What reached one connection of the upstream is heads of ours with their bodies, one behind the other."""
    while sent:
        end = sent.find(b"\r\n\r\n") + 4
        assert end >= 4
        head = parse_request(sent[:end])
        sent = sent[end:]
        if head.fields.upgrade is not None:
            return  # a tunnel may follow
        if head.length >= 0:
            sent = sent[head.length :]
            continue
        body = Chunked(keeps_trailers=False)
        body.feed(sent)
        sent = body.excess if body.is_done else b""


def decoding(given: bytes) -> None:
    """JSON of any kind is decoded or said to be none."""
    with suppress(ShapeError):
        decode(given)


PROPERTIES: dict[str, Callable[[bytes], None]] = {
    "events": events,
    "answer": answer,
    "chunked": chunked,
    "request_head": request_head,
    "answer_head": answer_head,
    "answer_heads": answer_heads,
    "relay": relay,
    "decoding": decoding,
}
