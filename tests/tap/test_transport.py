"""The tap in a client: the program gets what it would get without it, and its failures are its own."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from collector.records import Message, ModelCall, Record, Request, Run
from collector.tap.limits import Limits
from collector.tap.transport import AsyncTapTransport, TapTransport
from tests.tap.streams import llm, message_end, piece, started, usage, wire
from tests.tap.test_relay_bytes import CHUNKS, framed, sliced
from tests.tap.world import Clock, Conversation, run, serving

PATH = "/v1/chat-messages"
KEY = {"Authorization": "Bearer app-secret"}
ANSWER = wire([started(message="m1"), piece("Hel"), piece("lo"), llm("n1", 3, 4), message_end(usage(3, 4), run="r1")])


@asynccontextmanager
async def tapping(
    base: str, sink: Callable[[list[Record]], None], *, is_async: bool, **options: Any
) -> AsyncIterator[Ask]:
    """A program that asks through the tap, from a loop or from a thread."""
    if is_async:
        async with httpx.AsyncClient(base_url=base, transport=AsyncTapTransport(sink, **options)) as client:
            yield lambda *asked, **more: client.request(*asked, **more)
    else:
        with httpx.Client(base_url=base, transport=TapTransport(sink, **options)) as caller:
            yield lambda *asked, **more: asyncio.to_thread(caller.request, *asked, **more)


Ask = Callable[..., Any]
both = pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])


def one(records: list[Record], kind: type[Record] = Request) -> Any:
    (found,) = [record for record in records if type(record) is kind]
    return found


@both
def test_pieces_come_one_by_one_and_are_read_behind_the_program(is_async):
    records: list[Record] = []
    goes_on = threading.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(CHUNKS)
        for event in (started(message="m1"), piece("a"), piece("b"), message_end(usage(1, 2))):
            part = wire([event])
            await conversation.say(b"%x\r\n%b\r\n" % (len(part), part))
            await asyncio.to_thread(goes_on.wait, 30)  # nothing more before the program has this
            goes_on.clear()
        await conversation.say(b"0\r\n\r\n")

    def read(base: str) -> list[bytes]:
        got = []
        with (
            httpx.Client(base_url=base, transport=TapTransport(records.extend)) as client,
            client.stream("POST", PATH) as answer,
        ):
            for part in answer.iter_raw():
                got.append(part)
                assert not records
                goes_on.set()
        return got

    async def read_async(base: str) -> list[bytes]:
        got = []
        async with (
            httpx.AsyncClient(base_url=base, transport=AsyncTapTransport(records.extend)) as client,
            client.stream("POST", PATH) as answer,
        ):
            async for part in answer.aiter_raw():
                got.append(part)
                assert not records
                goes_on.set()
        return got

    async def story() -> list[bytes]:
        async with serving(script) as port:
            base = f"http://127.0.0.1:{port}"
            return await (read_async(base) if is_async else asyncio.to_thread(read, base))

    assert len(run(story())) == 4
    assert (one(records).interrupted_by, one(records, Message).status) == (None, "succeeded")


def test_time_to_first_token_is_that_of_the_first_piece():
    records: list[Record] = []
    clock = Clock()

    class Body(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield wire([started(message="m1")])
            clock.ahead = 5
            yield wire([piece("a")])
            clock.ahead = 50

    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())
    with httpx.Client(transport=TapTransport(records.extend, Giving(answer), clock=clock)) as client:
        for _ in client.post(f"http://dify{PATH}").iter_bytes():
            clock.ahead += 7  # the program takes its time: that is not Dify's

    request = one(records)
    assert request.time_to_first_byte_seconds < 5 <= request.time_to_first_token_seconds < 6
    assert request.duration_seconds >= 50


class Giving(httpx.BaseTransport):
    """A transport that gives one answer, or fails."""

    def __init__(self, answer: httpx.Response | Exception) -> None:
        self.answer = answer
        self.is_closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        self.is_closed = True


@both
def test_a_program_that_goes_away_is_the_one_that_interrupted(is_async):
    records: list[Record] = []
    part = wire([started(message="m1"), piece("a"), llm("n1", 3, 4)])

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(CHUNKS + b"%x\r\n%b\r\n" % (len(part), part))
        await conversation.head()

    def leave(base: str) -> None:
        with (
            httpx.Client(base_url=base, transport=TapTransport(records.extend)) as client,
            client.stream("POST", PATH) as answer,
        ):
            next(answer.iter_lines())

    async def leave_async(base: str) -> None:
        async with (
            httpx.AsyncClient(base_url=base, transport=AsyncTapTransport(records.extend)) as client,
            client.stream("POST", PATH) as answer,
        ):
            await anext(answer.aiter_lines())

    async def story() -> None:
        async with serving(script) as port:
            base = f"http://127.0.0.1:{port}"
            await (leave_async(base) if is_async else asyncio.to_thread(leave, base))

    run(story())
    assert one(records).interrupted_by == "client"
    assert one(records, ModelCall).tokens == 7
    assert one(records, Message).status == "open"


def test_a_cancelled_program_is_one_that_goes_away():
    records: list[Record] = []

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(CHUNKS + framed(ANSWER, [90])[:-5])
        await conversation.head()

    async def story() -> None:
        async with serving(script) as port, httpx.AsyncClient(transport=AsyncTapTransport(records.extend)) as client:
            asking = asyncio.create_task(client.post(f"http://127.0.0.1:{port}{PATH}"))
            while not records:
                await asyncio.sleep(0.01)
                if client._transport.counts.streams:  # type: ignore[attr-defined]
                    asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

    run(story())
    assert one(records).interrupted_by == "client"


@both
@pytest.mark.parametrize("begins", [False, True])
def test_an_upstream_that_breaks_off_breaks_off_for_the_program(begins, is_async):
    records: list[Record] = []

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        if begins:
            await conversation.say(CHUNKS + framed(ANSWER, [90])[:-5])
            await asyncio.sleep(0.01)
        conversation.reset()

    async def story() -> None:
        async with (
            serving(script) as port,
            tapping(f"http://127.0.0.1:{port}", records.extend, is_async=is_async) as ask,
        ):
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                await ask("POST", PATH)

    run(story())
    request = one(records)
    assert request.interrupted_by == "upstream"
    assert (request.status_code, request.error_class) == ((200, None) if begins else (None, "connection"))


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (httpx.ConnectError("refused"), (None, "connection")),
        (httpx.ConnectTimeout("late"), (None, "timeout")),
        (httpx.ReadTimeout("late"), ("client", None)),
        (httpx.WriteError("broken"), ("upstream", "connection")),
        (RuntimeError("a transport's own"), ("client", None)),
        (httpx.PoolTimeout("never sent"), None),
        (httpx.UnsupportedProtocol("never sent"), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_pass_through_and_say_who_broke_off(error, seen):
    records: list[Record] = []
    with (
        httpx.Client(transport=TapTransport(records.extend, Giving(error))) as client,
        pytest.raises(type(error)) as raised,
    ):
        client.post(f"http://dify{PATH}")
    assert raised.value is error
    assert [(r.interrupted_by, r.error_class) for r in records if isinstance(r, Request)] == ([seen] if seen else [])


def test_our_failures_are_ours():
    def refusing(_records: list[Record]) -> None:
        raise RuntimeError("no")

    transport = TapTransport(refusing, httpx.MockTransport(lambda _: httpx.Response(200, content=b"hi")))
    with httpx.Client(transport=transport) as client:
        assert client.post(f"http://dify{PATH}").content == b"hi"
    assert transport.counts.sink_failures == 1

    def broken(*_: object) -> None:
        raise RuntimeError("no")

    transport = TapTransport(broken, httpx.MockTransport(lambda _: httpx.Response(200, content=b"hi")), now=broken)
    with httpx.Client(transport=transport) as client:
        assert client.post(f"http://dify{PATH}").content == b"hi"
    assert transport.counts.failures["RuntimeError"] == 1


def test_a_stream_that_cannot_be_read_reaches_the_program_whole():
    records: list[Record] = []
    content = b"data: {not json}\n\n" + b"data: " + b"x" * 9000 + b"\n\n" + ANSWER
    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=iter([content]))
    transport = TapTransport(records.extend, Giving(answer), limits=Limits(event_bytes=5000))
    with httpx.Client(transport=transport) as client:
        assert client.post(f"http://dify{PATH}").content == content
    assert transport.counts.failures == {"event.body": 1, "event.size": 1}
    assert one(records, ModelCall).tokens == 7


def test_a_body_of_unknown_length_is_counted_on_its_way():
    records: list[Record] = []
    with httpx.Client(transport=TapTransport(records.extend, Giving(httpx.Response(200, content=b"")))) as client:
        client.post("http://dify/v1/files/upload", content=iter([b"abc", b"de"]))
    assert one(records).request_bytes == 5


def test_the_same_asynchronously():
    records: list[Record] = []
    got: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        for part in (b"abc", b"de"):
            yield part

    async def answer(request: httpx.Request) -> httpx.Response:
        got.append(await request.aread())
        return httpx.Response(200)

    async def story() -> None:
        async with httpx.AsyncClient(
            transport=AsyncTapTransport(records.extend, httpx.MockTransport(answer))
        ) as client:
            await client.post("http://dify/v1/files/upload", content=body())

    run(story())
    assert got == [b"abcde"]
    assert one(records).request_bytes == 5


@pytest.mark.parametrize(
    ("url", "route"),
    [
        ("http://dify/ai-portal/proxy/v1/info?a=b", "/v1/info"),
        ("http://dify/ai-portal/proxy", "/…"),
        ("http://dify/ai-portal/proxyfold/v1/info", None),
        ("http://dify/v1/info", None),
    ],
)
def test_only_what_is_below_the_prefix_is_tapped(url, route):
    records: list[Record] = []
    inner = Giving(httpx.Response(200, content=b"hi"))
    with httpx.Client(transport=TapTransport(records.extend, inner, prefix="/ai-portal/proxy/")) as client:
        assert client.get(url).text == "hi"
    assert [record.route for record in records if isinstance(record, Request)] == ([route] if route else [])
    assert inner.is_closed


def test_a_head_and_an_unread_answer_are_whole():
    records: list[Record] = []

    class Nothing(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return iter(())

    for method in ("HEAD", "GET"):
        length = {"content-length": "5" if method == "HEAD" else "0"}
        inner = Giving(httpx.Response(200, headers=length, stream=Nothing()))
        with (
            httpx.Client(transport=TapTransport(records.extend, inner)) as client,
            client.stream(method, "http://dify/v1/info"),
        ):
            pass
    assert [record.interrupted_by for record in records if isinstance(record, Request)] == [None, None]


def test_an_end_that_comes_too_early_is_the_other_sides():
    records: list[Record] = []
    inner = Giving(httpx.Response(200, headers={"content-length": "9"}, content=iter([b"hello"])))
    with httpx.Client(transport=TapTransport(records.extend, inner)) as client:
        assert client.get("http://dify/v1/info").text == "hello"
    assert one(records).interrupted_by == "upstream"


def test_a_program_that_forgets_to_close_is_told_too():
    records: list[Record] = []
    inner = Giving(httpx.Response(200, content=iter([b"hello", b"you"])))
    with httpx.Client(transport=TapTransport(records.extend, inner)) as client:
        answer = client.send(client.build_request("GET", "http://dify/v1/info"), stream=True)
        next(answer.iter_raw())
        del answer
        gc.collect()
        assert one(records).interrupted_by == "client"


def test_many_threads_share_one_transport():
    records: list[Record] = []

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=iter(sliced(ANSWER, [50])))

    transport = TapTransport(records.extend, httpx.MockTransport(answer))

    def work() -> None:
        for _ in range(25):
            assert client.post(f"http://dify{PATH}").content == ANSWER

    with httpx.Client(transport=transport) as client:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert transport.counts.requests == 200 == len([r for r in records if isinstance(r, Request)])
    assert len([record for record in records if isinstance(record, Run)]) == 200
    assert not transport.counts.failures


def test_no_secret_is_told():
    records: list[Record] = []
    inner = Giving(httpx.Response(200, headers={"content-type": "text/event-stream"}, content=iter([ANSWER])))
    with httpx.Client(transport=TapTransport(records.extend, inner)) as client:
        client.post(f"http://dify{PATH}?token=hidden-1", json={"query": "hidden-2"}, headers=KEY)
    told = repr(records)
    assert "hidden" not in told
    assert "app-secret" not in told
    assert "Hel" not in told
