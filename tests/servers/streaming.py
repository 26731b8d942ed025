"""A light upstream: many streams at an even rate, each event with the instant it was sent; plain JSON beside them.

Run: python -m tests.servers.streaming PORT. It prints `ready`. `POST /v1/chat-messages?events=N&rate=R` streams N
answer pieces, R a second, after workflow_started and before message_end; everything else is answered with a small
JSON body. The instant is that of the machine's monotonic clock, the same in every process.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import uuid
from email.utils import formatdate
from urllib.parse import parse_qs

import uvloop

from tests.tap.streams import message_end, piece, started, usage, wire

TICK_SECONDS = 0.002
HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nContent-Type: text/event-stream; charset=utf-8\r\nX-Version: 1.11.1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
JSON = b'{"result":"success","mode":"chat","name":"' + b"x" * 200 + b'"}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: %b\r\nContent-Type: application/json\r\nContent-Length: "
    + b"%d\r\n\r\n%b" % (len(JSON), JSON)
)
STAMP = b"@@@@@@@@@@@@@@@@@@"  # 18 bytes: nanoseconds, filled in when sent


def chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


class Streaming(asyncio.Protocol):
    """One connection; the streams of all are served by one ticker."""

    def __init__(self, ticker: Ticker) -> None:
        self.ticker = ticker
        self.held = b""
        self.left = 0
        self.due = 0.0
        self.step = 0.1

    def connection_made(self, transport) -> None:
        self.transport = transport

    def connection_lost(self, exc) -> None:
        self.left = 0

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            head = self.held[:end]
            place = head.lower().find(b"content-length:")
            length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(self.held) < end + 4 + length:
                return
            self.held = self.held[end + 4 + length :]
            target = head.split(b" ", 2)[1]
            if target.startswith(b"/v1/chat-messages?"):
                self.begin(parse_qs(target.split(b"?", 1)[1]))
            else:
                self.transport.write(ANSWER % self.ticker.date)

    def begin(self, asked) -> None:
        self.left = int(asked[b"events"][0])
        self.step = 1 / float(asked[b"rate"][0])
        run, message = str(uuid.uuid4()), str(uuid.uuid4())
        # what Dify's chatflow sends around its pieces
        pieces = wire([piece("word " + STAMP.decode(), message=message) | {"from_variable_selector": ["llm", "text"]}])
        self.before, self.after = chunk(pieces).split(STAMP)
        self.last = chunk(wire([message_end(usage(10, self.left), message=message)])) + b"0\r\n\r\n"
        self.transport.write(HEAD + chunk(wire([started(run=run, message=message)])))
        self.ticker.add(self)

    def tick(self) -> None:
        self.left -= 1
        self.transport.write(b"%b%018d%b" % (self.before, time.monotonic_ns(), self.after))
        if not self.left:
            self.transport.write(self.last)


class Ticker:
    """Sends what is due."""

    def __init__(self) -> None:
        self.streams: list[Streaming] = []
        self.date = b""  # as servers tell it, new every second

    def add(self, stream: Streaming) -> None:
        stream.due = time.monotonic() + stream.step * (len(self.streams) % 100) / 100
        self.streams.append(stream)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now, is_over = time.monotonic(), False
            self.date = formatdate(usegmt=True).encode()
            for stream in self.streams:
                if stream.left and stream.due <= now:
                    stream.due += stream.step
                    stream.tick()
                is_over |= not stream.left
            if is_over:
                self.streams = [stream for stream in self.streams if stream.left]


async def main(port: int) -> None:
    gc.disable()  # a pause of the upstream would be taken for one of the way that is being measured
    ticker = Ticker()
    await asyncio.get_running_loop().create_server(lambda: Streaming(ticker), "127.0.0.1", port, backlog=4096)
    print("ready", flush=True)
    await ticker.run()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
