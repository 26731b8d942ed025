"""How fast streams are read, beside httpx-sse and json on the same chunks. Run: python -m tests.benchmarks.sse_reading

Both sides read in one process, round about, and must find the same events. Medians are printed, one figure a line.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator

import httpx
import httpx_sse

from collector.fields import decode
from collector.tap.sse import Events
from tests.tap.streams import Event, cut, finished, llm, message_end, node_started, piece, started, usage, wire

ROUNDS = 9
PIECES = 20_000
BIG_EVENT_BYTES = 2_000_000
CHUNK_BYTES = 1_400
PEER = "httpx-sse + json"


class Chunks(httpx.SyncByteStream):
    """A response body that has been received."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)


def read_with_peer(chunks: list[bytes]) -> int:
    """What one would write without us: every event decoded."""
    response = httpx.Response(200, headers={"content-type": "text/event-stream; charset=utf-8"}, stream=Chunks(chunks))
    found = 0
    for event in httpx_sse.EventSource(response).iter_sse():
        if event.data:
            json.loads(event.data)
            found += 1
    return found


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


def seconds(read: Callable[[list[bytes]], int], chunks: list[bytes]) -> float:
    start = time.perf_counter()
    read(chunks)
    return time.perf_counter() - start


def compare(chunks: list[bytes]) -> tuple[float, float]:
    """Median seconds of us and of the peer."""
    assert read_with_us(chunks) == read_with_peer(chunks)  # and both are warm
    rounds = [(seconds(read_with_us, chunks), seconds(read_with_peer, chunks)) for _ in range(ROUNDS)]
    ours, theirs = zip(*rounds, strict=True)
    return statistics.median(ours), statistics.median(theirs)


def main() -> None:
    """Print the figures."""
    for name, chunks in (("sse.events_ratio", an_answer()), ("sse.big_event_ratio", a_big_event())):
        ours, theirs = compare(chunks)
        print(f"figure {name} {theirs / ours:.1f} x beside {PEER}")


if __name__ == "__main__":
    main()
