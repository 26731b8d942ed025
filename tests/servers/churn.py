"""Streams that come and go at both ends of a relay: callers that leave, an upstream that breaks off, all at random.

`Churn.run` keeps so many streams open for so long; afterwards `sent` says what the upstream told to the end, and
`ends` how it went for the callers. Both live in one loop, so that what was sent and what was heard can be compared.
"""

from __future__ import annotations

import asyncio
import random
import re
import resource
import socket
from collections import Counter
from contextlib import suppress

from tests.tap.streams import llm, message_end, piece, started, usage, wire

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ASK = b"POST /v1/chat-messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer app-1\r\nContent-Length: %d\r\n\r\n%b"
_ASKED = re.compile(rb"\r\n\r\n(\d+)$")
_END = b"0\r\n\r\n"
LEAVING, BREAKING = 0.15, 0.1
"""How many of the callers leave, how many of the streams break off."""


def tokens(number: int) -> tuple[int, int]:
    """What the model call of a stream spends: input and output."""
    return number % 5000 + 1, number % 37 + 1


def chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


def reset(transport: asyncio.BaseTransport) -> None:
    """Break a connection, so that the other end sees it broken."""
    connected = transport.get_extra_info("socket")
    with suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    transport.abort()  # type: ignore[attr-defined]


class Churn:
    """Everything that is on its way, and what became of what was."""

    def __init__(self, *, seed: int, events: int = 40, pause_seconds: float = 0.1) -> None:
        self.dice = random.Random(seed)
        self.events = events  # at most, of one stream
        self.pause_seconds = pause_seconds
        self.asked: set[int] = set()  # streams by number that reached the upstream
        self.sent: set[int] = set()  # those it told to the end
        self.ends: Counter[str] = Counter()  # whole, left, broken
        self.garbled: list[int] = []  # whole, and not what was sent
        self.open = 0
        self.telling: set[Telling] = set()  # streams that the upstream has not told to their end
        self._number = 0
        self._until = 0.0
        self._all_ended = asyncio.Event()

    async def listen(self) -> int:
        """Be the upstream. Gives its port."""
        server = await asyncio.get_running_loop().create_server(lambda: Telling(self), "127.0.0.1", 0, backlog=4096)
        self.server = server
        return int(server.sockets[0].getsockname()[1])

    async def run(self, port: int, streams: int, seconds: float) -> None:
        """Keep so many streams open through `port`, for so long, and let the last ones end."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self._until = asyncio.get_running_loop().time() + seconds
        self._all_ended.clear()
        for start in range(0, streams, 50):
            await asyncio.gather(*(self._begin(port) for _ in range(min(50, streams - start))))
        await self._all_ended.wait()

    async def _begin(self, port: int) -> None:
        self._number += 1
        self.open += 1
        number = self._number
        await asyncio.get_running_loop().create_connection(lambda: Hearing(self, number, port), "127.0.0.1", port)

    def ended(self, port: int, end: str) -> None:
        """A caller is through; another takes its place."""
        self.ends[end] += 1
        self.open -= 1
        if asyncio.get_running_loop().time() < self._until:
            self._beginning = asyncio.ensure_future(self._begin(port))
        elif not self.open:
            self._all_ended.set()

    @property
    def begun(self) -> int:
        """Requests sent so far."""
        return self._number

    def answer(self, number: int) -> list[bytes]:
        """The events of a stream: always the same for a number."""
        run, message, node = f"r{number}", f"m{number}", f"n{number}"
        spent = usage(*tokens(number))
        pieces = [wire([piece(f"word {turn} ", message=message)]) for turn in range(number * 7 % self.events)]
        call = llm(node, *tokens(number)) | {"workflow_run_id": run}
        start, end = started(run=run, message=message), message_end(spent, message=message, run=run)
        return [wire([start]), *pieces, wire([call]), wire([end])]


class Telling(asyncio.Protocol):
    """The upstream's end of one connection."""

    def __init__(self, churn: Churn) -> None:
        self.churn = churn
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport) -> None:
        self.transport = transport

    def connection_lost(self, exc) -> None:
        self.churn.telling.discard(self)
        if self.timer:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        asked = _ASKED.search(data)  # the relay sends head and body in one piece
        assert asked, data
        churn = self.churn
        self.number = int(asked[1])
        churn.asked.add(self.number)
        churn.telling.add(self)
        self.left = churn.answer(self.number)[::-1]
        self.breaks_at = churn.dice.randrange(len(self.left)) if churn.dice.random() < BREAKING else -1
        self.transport.write(HEAD)
        self.tell()

    def tell(self) -> None:
        if len(self.left) - 1 == self.breaks_at:
            reset(self.transport)
            return
        self.transport.write(chunk(self.left.pop()))
        if self.left:
            pause = self.churn.pause_seconds * self.churn.dice.uniform(0.1, 2)
            self.timer = asyncio.get_running_loop().call_later(pause, self.tell)
        else:
            self.transport.write(_END)
            self.churn.telling.discard(self)
            self.churn.sent.add(self.number)


class Hearing(asyncio.Protocol):
    """A caller."""

    def __init__(self, churn: Churn, number: int, port: int) -> None:
        self.churn, self.number, self.port = churn, number, port
        self.heard: list[bytes] = []
        self.end = "broken"
        self.leaves_after = churn.dice.randrange(1, 40) if churn.dice.random() < LEAVING else 0

    def connection_made(self, transport) -> None:
        self.transport = transport
        body = b"%d" % self.number
        transport.write(ASK % (len(body), body))

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)
        self.leaves_after -= 1
        if data.endswith(_END):
            self.end = "whole"
            told = b"".join(map(chunk, self.churn.answer(self.number))) + _END
            if b"".join(self.heard).partition(b"\r\n\r\n")[2] != told:
                self.churn.garbled.append(self.number)
            self.transport.close()
        elif self.leaves_after == 0:
            self.end = "left"
            if self.churn.dice.random() < 0.5:
                reset(self.transport)
            else:
                self.transport.close()

    def connection_lost(self, exc) -> None:
        self.churn.ended(self.port, self.end)
