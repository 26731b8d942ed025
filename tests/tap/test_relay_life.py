"""Connections over their life: kept, upgraded, timed out, limited, drained, encrypted."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.errors import SettingsError
from collector.tap.limits import Limits
from collector.tap.tls import client_context, server_context
from collector.tap.upstream import Directory, Place, Upstream
from tests.tap.test_relay_bytes import ASK, CHUNKS
from tests.tap.world import OK, Asked, Conversation, relayed, run, saying, until

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_kept_connection_serves_request_after_request():
    connections = 0

    async def script(conversation: Conversation) -> None:
        nonlocal connections
        connections += 1
        await saying(OK)(conversation)

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            for _ in range(5):
                await client.send(GET)
                assert (await client.answer()).body == b"hello"
            assert (connections, world.upstream.idle) == (1, 1)
            world.pass_time(2)
            assert world.upstream.idle == 0  # gunicorn would have hung up by now
            await client.send(GET)
            assert (await client.answer()).status == 200
            assert connections == 2
            await client.close()

    run(story())


@pytest.mark.parametrize(("method", "status"), [(b"GET", 200), (b"POST", 502)])
def test_a_kept_connection_that_was_just_closed_is_no_fault_of_a_request_that_may_be_repeated(
    method: bytes, status: int
):
    turns = 0

    async def script(conversation: Conversation) -> None:
        nonlocal turns
        turns += 1
        await conversation.request()
        await conversation.say(OK)
        if turns == 1:
            await conversation.head()  # takes the next request, and hangs up

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            await client.send(GET)
            assert (await client.answer()).status == 200
            await client.send(GET.replace(b"GET", method))
            assert (await client.answer()).status == status
            await client.close()

    run(story())


@pytest.mark.parametrize("says", [b"Connection: close\r\n", b""], ids=["close", "more than the answer"])
def test_a_line_that_is_not_to_be_trusted_is_not_kept(says: bytes):
    async def story() -> None:
        answer = OK.replace(b"\r\n\r\n", b"\r\n" + says + b"\r\n", 1) + (b"" if says else b"HTTP/1.1 200 OK\r\n")
        async with relayed(saying(answer)) as world:
            assert (await world.ask(GET)).body == b"hello"
            assert world.upstream.idle == 0

    run(story())


def test_a_body_waits_for_100_continue_of_the_upstream():
    async def script(conversation: Conversation) -> None:
        head = await conversation.head()
        assert head is not None
        assert b"Expect: 100-continue" in head
        await conversation.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await conversation.reader.readexactly(4) == b"body"
        await conversation.say(OK)

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            await client.send(b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            assert (await client.answer()).status == 100
            await client.send(b"body")
            assert (await client.answer()).body == b"hello"
            await client.close()

    run(story())


def test_an_answer_before_the_body_ends_the_upload():
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.say(refusal)

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            await client.send(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n", b"x" * 10_000)
            answer = await client.answer()
            assert (answer.status, answer.body) == (413, b"no")
            assert answer.fields(b"connection") == [b"close"]
            assert await client.is_closed()
            (request,) = await world.requests()
            assert request.status_code == 413

    run(story())


def test_trailers_of_an_answer_go_on():
    async def story() -> None:
        body = CHUNKS.replace(b"\r\n\r\n", b"\r\nTrailer: X-Sum\r\n\r\n") + b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"
        async with relayed(saying(body)) as world:
            client = await world.client()
            await client.send(ASK)
            whole = await client.reader.readuntil(b"X-Sum: 1\r\n\r\n")
            assert whole.endswith(b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n")
            await client.close()

    run(story())


def test_chunks_that_break_off_do_not_end_well_for_a_caller_of_1_0():
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(CHUNKS + b"5\r\nhello\r\n")

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            await client.send(b"GET /a HTTP/1.0\r\n\r\n")
            with pytest.raises(ConnectionError):
                await client.rest()

    run(story())


def test_after_101_both_sides_say_what_they_like():
    async def script(conversation: Conversation) -> None:
        asked = await conversation.request()
        assert asked is not None
        assert asked.fields(b"upgrade") == [b"websocket"]
        await conversation.say(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst")
        assert await conversation.reader.readexactly(5) == b"early"
        while received := await conversation.reader.read(100):
            await conversation.say(received.upper())

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            ask = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\nearly"
            await client.send(ask)
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert b"Upgrade: websocket\r\nConnection: Upgrade" in head
            assert await client.reader.readexactly(5) == b"first"
            for word in (b"\x00\xff", b"GET / HTTP/1.1\r\n\r\n", b"x" * 100_000):
                client.writer.write(word)
                assert await client.reader.readexactly(len(word)) == word.upper()
            await client.close()
            (request,) = await world.requests()
            assert (request.status_code, request.route) == (101, "/…")

    run(story())


def test_an_upgrade_that_is_refused_is_an_answer_like_others():
    async def story() -> None:
        async with relayed(saying(OK)) as world:
            client = await world.client()
            await client.send(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + GET)
            assert (await client.answer()).body == b"hello"
            assert (await client.answer()).body == b"hello"
            await client.close()

    run(story())


def test_heads_without_end_before_an_answer_are_an_upstream_gone_wrong():
    async def story() -> None:
        async with relayed(saying(b"HTTP/1.1 100 Go On\r\n\r\n" * 5000 + OK)) as world:
            assert (await world.ask(GET)).status == 502

    run(story())


def test_101_that_nobody_asked_for_is_an_upstream_gone_wrong():
    async def story() -> None:
        async with relayed(saying(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")) as world:
            assert (await world.ask(GET)).status == 502

    run(story())


async def _silent(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.head()


async def _silent_midway(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.say(CHUNKS + b"5\r\nhello\r\n")
    await conversation.head()


@pytest.mark.parametrize(
    ("sent", "script", "seconds", "status", "reached"),
    [
        (b"GET /a HTTP/1.1\r\nHo", _silent, 31, 408, False),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhal", _silent, 61, 408, True),
        (GET, _silent, 3601, 504, True),
    ],
    ids=["head", "body", "answer"],
)
def test_what_takes_too_long_is_ended(sent, script, seconds, status, reached):
    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            await client.send(sent)
            await until(lambda: bool(world.relay.callers and next(iter(world.relay.callers))._held) != reached)
            await asyncio.sleep(0.01)
            world.pass_time(seconds - 2)
            assert len(world.relay.callers) == 1
            world.clock.ahead += 3
            world.relay.sweep(world.clock())
            assert (await client.answer()).status == status
            assert await client.is_closed()

    run(story())


def test_an_answer_that_falls_silent_is_broken_off():
    async def story() -> None:
        async with relayed(_silent_midway) as world:
            client = await world.client()
            await client.send(ASK)
            await client.reader.readuntil(b"hello")
            world.pass_time(3601)
            assert not (await client.rest()).endswith(b"0\r\n\r\n")
            (request,) = await world.requests()
            assert request.interrupted_by == "upstream"

    run(story())


def test_a_kept_connection_is_not_kept_for_ever():
    async def story() -> None:
        async with relayed(saying(OK)) as world:
            client = await world.client()
            await client.send(GET)
            await client.answer()
            world.pass_time(76)
            assert await client.is_closed()

    run(story())


def test_a_caller_that_takes_nothing_for_long_is_let_go():
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n")
        while True:
            await conversation.say(b"x" * 1_000_000)

    async def story() -> None:
        async with relayed(script, limits=Limits(buffer_bytes=10_000)) as world:
            client = await world.client(limit=1000)
            await client.send(GET)
            await until(lambda: bool(world.relay.callers) and next(iter(world.relay.callers)).is_full)
            for _ in range(50):
                await asyncio.sleep(0.001)
            world.pass_time(1)
            world.pass_time(121)
            (request,) = await world.requests()
            assert request.interrupted_by == "client"
            await client.close()

    run(story())


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsix...\r\n5\r\nfive!\r\n",
    ],
    ids=["told", "found out"],
)
def test_a_body_beyond_the_limit_is_refused(sent: bytes):
    async def story() -> None:
        async with relayed(_silent, limits=Limits(body_bytes=10)) as world:
            client = await world.client()
            await client.send(sent)
            assert (await client.answer()).status == 413
            (request,) = await world.requests()
            assert request.status_code == 413
            await client.close()

    run(story())


def test_a_refused_caller_that_goes_on_sending_can_read_why():
    async def story() -> None:
        async with relayed(_silent, limits=Limits(body_bytes=10)) as world:
            client = await world.client()
            await client.send(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n", b"x" * 3_000_000)
            assert (await client.answer()).status == 413
            world.pass_time(3)
            await client.close()

    run(story())


def test_told_to_stop_it_lets_answers_arrive_and_takes_no_one_new():
    may_end = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(CHUNKS + b"5\r\nhello\r\n")
        await may_end.wait()
        await conversation.say(b"0\r\n\r\n")

    async def story() -> None:
        async with relayed(script) as world:
            client, idle = await world.client(), await world.client()
            await client.send(ASK)
            await client.reader.readuntil(b"hello\r\n")
            stopping = asyncio.create_task(world.relay.stop())
            assert await idle.is_closed()
            with pytest.raises(OSError):
                await world.client()
            assert not stopping.done()
            may_end.set()
            assert await client.rest() == b"0\r\n\r\n"
            await stopping
            assert len(await world.requests()) == 1

    run(story())


def test_stopping_has_an_end():
    async def story() -> None:
        async with relayed(_silent_midway, limits=Limits(stop_seconds=0)) as world:
            client = await world.client()
            await client.send(ASK)
            await client.reader.readuntil(b"hello")
            await world.relay.stop()
            (request,) = await world.requests()
            assert request.interrupted_by == "upstream"
            assert not (await client.rest()).endswith(b"0\r\n\r\n")

    run(story())


def _upstream(url: str) -> Upstream:
    return Upstream(url, limits=Limits(), clock=time.monotonic)


@pytest.mark.parametrize(
    ("host", "target", "name", "rest"),
    [
        (b"a.example", b"/v1/info", "any", b"/v1/info"),
        (b"A.Example:80", b"/two/v1?x", "two", b"/v1?x"),
        (b"a.example", b"/two", "two", b"/"),
        (b"a.example", b"/two?x", "two", b"/?x"),
        (b"a.example", b"/twofold", "any", b"/twofold"),
        (b"a.example", b"/two/three/v1", "three", b"/v1"),
        (b"own.example", b"/two/v1", "own", b"/two/v1"),
        (b"OWN.example:8443", b"/", "own", b"/"),
    ],
)
def test_whose_a_request_is(host: bytes, target: bytes, name: str, rest: bytes):
    ups = {word: _upstream(f"http://{word}.example") for word in ("any", "two", "three", "own")}
    directory = Directory(
        [
            Place(ups["any"]),
            Place(ups["two"], prefix=b"/two"),
            Place(ups["three"], prefix=b"/two/three"),
            Place(ups["own"], host=b"own.example"),
        ]
    )
    assert directory.find(host, target) == (ups[name], rest)


def test_a_request_that_is_nobodys():
    assert Directory([Place(_upstream("http://x"), prefix=b"/two")]).find(b"x", b"/one") is None


@pytest.mark.parametrize("keeps_host", [True, False])
def test_the_path_of_an_upstream_stands_before_every_target(keeps_host: bool):
    asked: list[Asked] = []

    async def story() -> None:
        async with relayed(saying(OK, asked=asked), path="/ai-portal/proxy/", keeps_host=keeps_host) as world:
            await world.ask(b"GET /v1/info?a=b HTTP/1.1\r\nHost: dify.example\r\n\r\n")
            (request,) = await world.requests()
            assert request.route == "/v1/info"
            assert asked[0].line == b"GET /ai-portal/proxy/v1/info?a=b HTTP/1.1"
            assert asked[0].fields(b"host") == [b"dify.example" if keeps_host else world.upstream.host]
            assert asked[0].fields(b"x-forwarded-host") == [b"dify.example"]
            assert asked[0].fields(b"x-forwarded-for") == [b"127.0.0.1"]

    run(story())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory, server: Callable[[str], str]) -> tuple[Path, Path]:
    """A certificate of our own for localhost, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made = [server("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(made, check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


def test_tls_on_both_sides(certificate: tuple[Path, Path]):
    server_side, caller_side = server_context(*certificate), client_context(certificate[0])

    async def story() -> None:
        async with relayed(saying(CHUNKS + b"5\r\nhello\r\n0\r\n\r\n"), tls=(server_side, caller_side)) as world:
            client = await world.client()
            for _ in range(3):
                await client.send(ASK)
                assert (await client.answer()).body == b"hello"
            assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            assert world.upstream.idle == 1
            await client.close()

    run(story())


def test_a_large_answer_by_tls_comes_whole(certificate: tuple[Path, Path]):
    server_side, caller_side = server_context(*certificate), client_context(certificate[0])

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000)

    async def story() -> None:
        async with relayed(script, tls=(server_side, caller_side), limits=Limits(buffer_bytes=20_000)) as world:
            assert len((await world.ask(GET)).body) == 5_000_000

    run(story())


def test_an_upstream_whose_certificate_is_not_ours_gets_nothing(certificate: tuple[Path, Path]):
    server_side, caller_side = server_context(*certificate), client_context(certificate[0])
    asked: list[Asked] = []

    async def story() -> None:
        async with relayed(saying(OK, asked=asked), tls=(server_side, caller_side)) as world:
            world.upstream._tls = ssl.create_default_context()
            assert (await world.ask(GET)).status == 502
            assert not asked

    run(story())


def test_files_that_are_no_certificates_are_said_so(tmp_path: Path):
    (tmp_path / "bad.pem").write_text("no certificate")
    for read in (lambda: server_context(tmp_path / "bad.pem", None), lambda: client_context(tmp_path / "bad.pem")):
        with pytest.raises(SettingsError, match=r"bad\.pem"):
            read()
