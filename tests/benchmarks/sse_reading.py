"""How fast streams are read, beside what programs read them with. Run: python -m tests.benchmarks.sse_reading

All sides read the same chunks in one process, by turns, and must find the same events: httpx-sse, sseclient-py, and a
decoder in the way of openai's client, each with json behind it. Processor time counts; medians are printed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial

import httpx
import httpx_sse
import sseclient

from collector.fields import decode
from collector.tap.sse import Events
from tests.benchmarks.figure import Figure, interleaved
from tests.tap.streams import Event, cut, finished, llm, message_end, node_started, piece, started, usage, wire

ROUNDS = 9
PIECES = 20_000
BIG_EVENT_BYTES = 2_000_000
CHUNK_BYTES = 1_400


class Chunks(httpx.SyncByteStream):
    """A response body that has been received."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)


def read_with_httpx_sse(chunks: list[bytes]) -> int:
    """Every event decoded."""
    response = httpx.Response(200, headers={"content-type": "text/event-stream; charset=utf-8"}, stream=Chunks(chunks))
    return _decoded(event.data for event in httpx_sse.EventSource(response).iter_sse())


def read_with_sseclient(chunks: list[bytes]) -> int:
    """The same."""
    return _decoded(event.data for event in sseclient.SSEClient(iter(chunks)).events())


def read_like_openai(chunks: list[bytes]) -> int:
    """Lines of bytes, decoded one by one, fields by name, data joined: the way of openai's client."""
    return _decoded(_openai_events(chunks))


def _openai_events(chunks: list[bytes]) -> Iterator[str]:
    data: list[str] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield "\n".join(data)
                data = []
            continue
        if line.startswith(":"):
            continue
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))


def _lines(chunks: list[bytes]) -> Iterator[str]:
    held: list[bytes] = []
    for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            held.append(line)
            yield b"".join(held).removesuffix(b"\r").decode()
            held = []
        if rest:
            held.append(rest)


def _decoded(found: Iterator[str]) -> int:
    count = 0
    for text in found:
        if text:
            json.loads(text)
            count += 1
    return count


def read_with_us(chunks: list[bytes]) -> int:
    """Answer pieces counted, everything else decoded."""
    events, found = Events(), 0
    for chunk in chunks:
        for body in events.feed(chunk):
            decode(body)
            found += 1
    return found + events.pieces


def an_answer() -> list[bytes]:
    """A chatflow that answers at length, one event a chunk, as Dify sends it."""
    message, selector = "6bb51cf1-4a55-444a-a2d3-291680932236", {"from_variable_selector": ["llm", "text"]}
    pieces: list[Event] = [piece(f"word{place} ", message=message) | selector for place in range(PIECES)]
    before = [started(message=message), node_started("n1")]
    after = [llm("n1", 100, PIECES), message_end(usage(100, PIECES), message=message), finished(100 + PIECES)]
    return [wire([event]) for event in (*before, *pieces, *after)]


def a_big_event() -> list[bytes]:
    """A node with a long output, in chunks of the size of a network packet."""
    text = "The quick brown fox jumps over the lazy dog. " * (BIG_EVENT_BYTES // 45)
    return list(cut(wire([llm("n1", 3, 4, outputs={"text": text, "usage": usage(3, 4)})]), CHUNK_BYTES))


PEERS: dict[str, Callable[[list[bytes]], int]] = {
    "httpx-sse + json": read_with_httpx_sse,
    "sseclient-py + json": read_with_sseclient,
    "an openai-style decoder + json": read_like_openai,
}


def seconds(read: Callable[[list[bytes]], int], chunks: list[bytes]) -> float:
    start = time.process_time()
    read(chunks)
    return time.process_time() - start


def compare(name: str, chunks: list[bytes]) -> Iterator[Figure]:
    """One figure beside each peer."""
    readers = [read_with_us, *PEERS.values()]
    found = {read(chunks) for read in readers}  # and all are warm
    assert len(found) == 1, found
    ours, *theirs = interleaved([partial(seconds, read, chunks) for read in readers], ROUNDS)
    for peer, other in zip(PEERS, theirs, strict=True):
        ending = "" if peer.startswith("httpx-sse") else "_" + peer.split(" +")[0].removeprefix("an ").split("-")[0]
        yield Figure(f"sse.{name}_ratio{ending}", other / ours, "x", peer)


def main() -> None:
    """Print the figures."""
    for name, chunks in (("events", an_answer()), ("big_event", a_big_event())):
        for figure in compare(name, chunks):
            print(figure)


if __name__ == "__main__":
    main()
