"""Callers by the hundred: open streams or ask for JSON, and say how long things took.

Run: python -m tests.servers.load. It prints `ready`, then answers each line of its input with a line of JSON:

    streams PORT COUNT EVENTS RATE    -> {"streams", "events", "p50", "p99"}: seconds from sent to received
    open PORT COUNT                   -> {"streams"}: streams that stay open until `shut`
    shut                              -> {}
    json PORT CONNECTIONS SECONDS     -> {"requests", "seconds", "p50", "p99"}
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import sys
import time

import uvloop

from tests.servers.streaming import STAMP

BODY = b'{"inputs":{},"query":"%b","response_mode":"streaming","user":"anna"}' % (b"x" * 100)
FIELDS = (
    b"Host: dify.example\r\nUser-Agent: load\r\nAccept: */*\r\nAuthorization: Bearer app-0123456789abcdef\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
_STAMPED = re.compile(rb"word (\d{%d})" % len(STAMP))


class Listener(asyncio.Protocol):
    """One stream's caller."""

    def __init__(self, request: bytes, seconds: list[float], done: asyncio.Future[None] | None) -> None:
        self.request, self.seconds, self.done = request, seconds, done
        self.heard = asyncio.get_running_loop().create_future()

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self.seconds += [(now - int(stamp)) / 1e9 for stamp in _STAMPED.findall(data)]
        if not self.heard.done():
            self.heard.set_result(None)
        if data.endswith(b"0\r\n\r\n") and self.done and not self.done.done():
            self.done.set_result(None)
            self.transport.close()

    def connection_lost(self, exc) -> None:
        for waiting in (self.heard, self.done):
            if waiting and not waiting.done():
                waiting.set_exception(ConnectionError("the stream broke"))


class Asker(asyncio.Protocol):
    """A caller that asks again as soon as it has its answer."""

    REQUEST = b"POST /v1/parameters HTTP/1.1\r\n" + FIELDS

    def __init__(self, seconds: list[float], until: float) -> None:
        self.seconds, self.until = seconds, until
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.began = time.monotonic()
        self.transport.write(self.REQUEST)

    def data_received(self, data: bytes) -> None:
        if not data.endswith(b'"}'):
            return
        now = time.monotonic()
        self.seconds.append(now - self.began)
        if now < self.until:
            self.ask()
        else:
            self.done.set_result(None)
            self.transport.close()


def spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[int(len(ordered) * 0.99)]} if ordered else {}


class Load:
    def __init__(self) -> None:
        self.open: list[Listener] = []

    async def _listeners(self, port: str, count: int, events: int, rate: float, *, ends: bool) -> list[Listener]:
        loop = asyncio.get_running_loop()
        request = b"POST /v1/chat-messages?events=%d&rate=%g HTTP/1.1\r\n%b" % (events, rate, FIELDS)
        self.seconds: list[float] = []
        found = []
        for start in range(0, count, 50):
            some = range(min(50, count - start))
            made = await asyncio.gather(
                *(
                    loop.create_connection(
                        lambda: Listener(request, self.seconds, loop.create_future() if ends else None),
                        "127.0.0.1",
                        int(port),
                    )
                    for _ in some
                )
            )
            found += [listener for _, listener in made]
        await asyncio.gather(*(listener.heard for listener in found))
        return found

    async def streams(self, port: str, count: str, events: str, rate: str) -> dict[str, object]:
        listeners = await self._listeners(port, int(count), int(events), float(rate), ends=True)
        await asyncio.gather(*(listener.done for listener in listeners if listener.done))
        return {"streams": len(listeners), "events": len(self.seconds), **spread(self.seconds)}

    async def hold(self, port: str, count: str) -> dict[str, object]:
        self.open = await self._listeners(port, int(count), 10_000, 0.2, ends=False)
        return {"streams": len(self.open)}

    async def shut(self) -> dict[str, object]:
        for listener in self.open:
            listener.transport.abort()
        await asyncio.sleep(0.1)
        return {}

    async def json(self, port: str, connections: str, length: str) -> dict[str, object]:
        loop = asyncio.get_running_loop()
        seconds: list[float] = []
        began = time.monotonic()
        made = await asyncio.gather(
            *(
                loop.create_connection(lambda: Asker(seconds, began + float(length)), "127.0.0.1", int(port))
                for _ in range(int(connections))
            )
        )
        await asyncio.gather(*(asker.done for _, asker in made))
        return {"requests": len(seconds), "seconds": time.monotonic() - began, **spread(seconds)}


async def main() -> None:
    gc.disable()  # a pause of the instrument would be taken for one of the way that is being measured
    load = Load()
    print("ready", flush=True)
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        word, *arguments = line.split()
        print(json.dumps(await getattr(load, word)(*arguments)), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
