"""A relay between a raw caller and an upstream that says what a test tells it to: sockets of loopback, no waiting."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvloop

from collector.records import Record, Request
from collector.tap.limits import Limits
from collector.tap.relay import Relay
from collector.tap.upstream import Directory, Place, Upstream

PATIENCE = 30.0
BEGIN = 1000.0
T = TypeVar("T")


def run(story: Coroutine[Any, Any, T]) -> T:
    """Run a story on the loop the relay runs on."""
    return uvloop.run(asyncio.wait_for(story, 90))


@dataclass
class Asked:
    """A request as it reached the upstream."""

    head: bytes
    body: bytes = b""

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    def fields(self, name: bytes) -> list[bytes]:
        lines = [line.partition(b":") for line in self.head.split(b"\r\n")[1:]]
        return [value.strip() for key, _, value in lines if key.lower() == name.lower()]


class Conversation:
    """One connection as the upstream has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def request(self) -> Asked | None:
        """The next request with its body; None when the caller hung up."""
        head = await self.head()
        if head is None:
            return None
        asked = Asked(head)
        if asked.fields(b"transfer-encoding"):
            asked.body = await read_chunked(self.reader)
        elif length := asked.fields(b"content-length"):
            asked.body = await self.reader.readexactly(int(length[0]))
        return asked

    async def head(self) -> bytes | None:
        try:
            return (await self.reader.readuntil(b"\r\n\r\n"))[:-4]
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def say(self, answer: bytes) -> None:
        self.writer.write(answer)
        await self.writer.drain()

    def reset(self) -> None:
        """Break the connection, so that the other side sees it broken."""
        connected = self.writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


async def read_chunked(reader: asyncio.StreamReader) -> bytes:
    """The content of a chunked body, its trailers left out."""
    found = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        found.append(await reader.readexactly(size))
        assert await reader.readexactly(2) == b"\r\n"
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return b"".join(found)


Script = Callable[[Conversation], Awaitable[None]]


def saying(*answers: bytes, asked: list[Asked] | None = None) -> Script:
    """An upstream that gives each request the next answer, and the last one again and again."""

    async def script(conversation: Conversation) -> None:
        turn = 0
        while (request := await conversation.request()) is not None:
            if asked is not None:
                asked.append(request)
            await conversation.say(answers[min(turn, len(answers) - 1)])
            turn += 1

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


@dataclass
class Answer:
    """An answer as a caller got it."""

    status: int
    head: bytes
    body: bytes
    is_whole: bool = True

    def fields(self, name: bytes) -> list[bytes]:
        return Asked(self.head).fields(name)


class Client:
    """A raw caller."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def answer(self, *, has_body: bool = True, patience: float = PATIENCE) -> Answer:
        """The next answer with its body, as far as it came."""
        async with asyncio.timeout(patience):
            head = (await self.reader.readuntil(b"\r\n\r\n"))[:-4]
            answer = Answer(int(head[9:12]) if head.startswith(b"HTTP/1.1 ") else 0, head, b"")
            if not has_body or answer.status < 200 or answer.status in (204, 304):
                return answer
            try:
                if answer.fields(b"transfer-encoding"):
                    answer.body = await read_chunked(self.reader)
                elif length := answer.fields(b"content-length"):
                    answer.body = await self.reader.readexactly(int(length[0]))
                else:
                    answer.body = await self.reader.read()
            except asyncio.IncompleteReadError as error:
                answer.body, answer.is_whole = error.partial, False
            except ConnectionError:
                answer.is_whole = False
            return answer

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def rest_of_stream(self) -> bytes:
        """Everything up to the end of a chunked body."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n0\r\n\r\n")

    async def is_closed(self) -> bool:
        """Whether the other side ends the connection without another byte."""
        try:
            return await self.rest() == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        connected = self.writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


class Clock:
    """Seconds that pass when a test says so, and at no other time: a busy machine ages nobody."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return BEGIN + self.ahead


@dataclass
class World:
    """A running relay and what came of it."""

    port: int
    relay: Relay
    upstream: Upstream
    clock: Clock
    records: list[Record] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    clients: list[Client] = field(default_factory=list)

    async def client(self, **options: Any) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls, **options))
        self.clients.append(client)
        return client

    async def ask(self, *pieces: bytes) -> Answer:
        client = await self.client()
        await client.send(*pieces)
        answer = await client.answer()
        await client.close()
        return answer

    def pass_time(self, seconds: float) -> None:
        """Let time go on, and have the relay look."""
        self.relay.sweep(self.clock())
        self.clock.ahead += seconds
        self.relay.sweep(self.clock())

    async def requests(self, count: int = 1) -> list[Request]:
        """The requests recorded, once there are as many."""
        await until(lambda: len(self._requests()) >= count)
        return self._requests()

    def _requests(self) -> list[Request]:
        return [record for record in self.records if isinstance(record, Request)]


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not is_so():  # noqa: ASYNC110 - the loop has to turn, whatever it is about
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(script: Script, *, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """An upstream that follows a script on every connection. Gives its port."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        running.add(task)
        try:
            await script(Conversation(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls, limit=2**20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def relayed(
    script: Script,
    *,
    limits: Limits | None = None,
    path: str = "",
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
    **options: Any,
) -> AsyncIterator[World]:
    """A relay before an upstream that follows a script. `tls`: contexts of a server and of its callers."""
    limits = limits or Limits()
    clock, records = Clock(), list[Record]()
    server, caller = tls or (None, None)
    async with serving(script, tls=server) as behind:
        scheme, name = ("https", "localhost") if tls else ("http", "127.0.0.1")
        upstream = Upstream(f"{scheme}://{name}:{behind}{path}", limits=limits, clock=clock, tls=caller, **options)
        relay = Relay(Directory([Place(upstream)]), records.extend, limits=limits, clock=clock)
        bound = socket.create_server(("127.0.0.1", 0), backlog=512)
        await relay.listen([bound], server)
        world = World(bound.getsockname()[1], relay, upstream, clock, records, caller)
        try:
            yield world
        finally:
            for client in world.clients:
                await client.close()
            await relay.close()
