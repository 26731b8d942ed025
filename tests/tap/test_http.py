"""HTTP as it really is: raw bytes to the relay, and the same to a real nginx. Where they differ, a row says why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.servers.nginx import nginx
from tests.servers.process import free_port
from tests.tap.world import OK, PATIENCE, Asked, Client, relayed, run, saying, serving

HOST = b"Host: x\r\n"
GET = b"GET /a HTTP/1.1\r\n" + HOST
POST = b"POST /a HTTP/1.1\r\n" + HOST


@dataclass(frozen=True)
class Outcome:
    """What a caller saw of its connection: the statuses, how many requests went on, whether it may ask again."""

    statuses: tuple[int, ...]
    reached: int
    keeps: bool


def answered(*statuses: int, reached: int | None = None, keeps: bool = True) -> Outcome:
    return Outcome(statuses or (200,), len(statuses or (200,)) if reached is None else reached, keeps)


def refused(status: int = 400) -> Outcome:
    return Outcome((status,), 0, keeps=False)


@dataclass(frozen=True)
class Case:
    """`send` to a proxy before an upstream that says `says`. `nginx` is None where it does the same."""

    name: str
    send: bytes
    wanted: Outcome
    says: bytes = OK
    nginx: Outcome | None = None
    why: str = ""
    has_body: bool = True
    then_closes: bool = False  # the upstream closes behind its answer
    hangs: bool = False  # nginx leaves its caller waiting
    bodies: tuple[bytes, ...] = field(default=())  # as they reached the upstream


SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
BAD_ANSWER = Outcome((502,), 1, keeps=False)
STRICT = "what a server behind may read differently is not sent on"

CASES = [
    Case("a plain request", GET + b"\r\n", answered()),
    Case("one after another", GET + b"\r\n" + GET + b"\r\n", answered(200, 200)),
    Case("many ahead", (GET + b"\r\n") * 20, answered(*[200] * 20)),
    Case("bodies ahead", (POST + b"Content-Length: 2\r\n\r\nhi") * 3, answered(200, 200, 200), bodies=(b"hi",) * 3),
    Case("an empty line before", b"\r\n" + GET + b"\r\n", answered()),
    Case("close asked for", GET + b"Connection: close\r\n\r\n", answered(keeps=False)),
    Case("close among others", GET + b"Connection: x, Close\r\n\r\n", answered(keeps=False)),
    Case("a request of 1.0", b"GET /a HTTP/1.0\r\n\r\n", answered(keeps=False)),
    Case("1.0 that stays", b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", answered()),
    Case("1.0 without Host", b"GET /a HTTP/1.0\r\nA: b\r\n\r\n", answered(keeps=False)),
    Case("1.0 and chunks from behind", b"GET /a HTTP/1.0\r\n\r\n", answered(keeps=False), CHUNKED),
    Case("HEAD", b"HEAD /a HTTP/1.1\r\n" + HOST + b"\r\n", answered(), OK[:-5], has_body=False),
    Case("204", GET + b"\r\n", answered(204), b"HTTP/1.1 204 No Content\r\n\r\n"),
    Case("304 with a length", GET + b"\r\n", answered(304), b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    Case("an absolute target", b"GET http://x/a HTTP/1.1\r\n" + HOST + b"\r\n", answered()),
    Case(
        "OPTIONS *",
        b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
        answered(),
        nginx=refused(),
        why="RFC 9112 3.2.4 has it, and the server behind can answer it",
    ),
    Case(
        "a body in chunks",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\n ho\r\n0\r\n\r\n",
        answered(),
        bodies=(b"hi ho",),
    ),
    Case(
        "chunk extensions",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\n\r\n",
        answered(),
        bodies=(b"hi",),
    ),
    Case(
        "trailers",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n",
        answered(),
        bodies=(b"hi",),
    ),
    Case("chunked in capitals", POST + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", answered(), bodies=(b"",)),
    Case("an own method", b"QUERY /a HTTP/1.1\r\n" + HOST + b"\r\n", answered()),
    Case("UTF-8 in the path", "GET /应用 HTTP/1.1\r\n".encode() + HOST + b"\r\n", answered()),
    # what nobody should act on
    Case("length and chunks", POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", refused()),
    Case("chunks and length", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", refused()),
    Case("two lengths", POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", refused()),
    Case("the same length twice", POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", refused()),
    Case("a list of lengths", POST + b"Content-Length: 2, 2\r\n\r\nhi", refused()),
    Case("a signed length", POST + b"Content-Length: +2\r\n\r\nhi", refused()),
    Case("a negative length", POST + b"Content-Length: -2\r\n\r\nhi", refused()),
    Case("a length in hex", POST + b"Content-Length: 0x2\r\n\r\nhi", refused()),
    Case("a length beyond counting", POST + b"Content-Length: 99999999999999999999\r\n\r\nhi", refused()),
    Case("an empty length", POST + b"Content-Length: \r\n\r\nhi", refused()),
    Case(
        "chunks twice", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", refused()
    ),
    Case(
        "chunks not last",
        POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        refused(),
        nginx=refused(501),
        why="RFC 9112 6.3 wants 400 where chunked is not the last coding",
    ),
    Case("another coding", POST + b"Transfer-Encoding: gzip\r\n\r\n", refused(501)),
    Case("a coding beside chunks", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", refused(501)),
    Case("almost chunked", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", refused(501)),
    Case(
        "chunked behind a control",
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        refused(),
        nginx=refused(501),
        why="RFC 9110 5.5: a control character is malformed, no coding",
    ),
    Case("chunks of 1.0", b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", refused()),
    Case("a blank before the colon", GET + b"A : b\r\n\r\n", refused()),
    Case("a folded line", GET + b"A: b\r\n c\r\n\r\n", refused()),
    Case("a folded length", POST + b"Content-Length:\r\n 2\r\n\r\nhi", refused()),
    Case("a blank at the first line", b"GET /a HTTP/1.1\r\n Host: x\r\n\r\n", refused()),
    Case("a bare line feed", GET + b"A: b\n\r\n", refused(), nginx=answered(), why=STRICT),
    Case("bare line feeds all over", b"GET /a HTTP/1.1\nHost: x\n\n", refused(), nginx=answered(), why=STRICT),
    Case("a bare carriage return", GET + b"A: b\rc: d\r\n\r\n", refused()),
    Case("a zero byte", GET + b"A: b\x00c\r\n\r\n", refused()),
    Case("a control character", GET + b"A: b\x01c\r\n\r\n", refused(), nginx=answered(), why=STRICT),
    Case("a nameless field", GET + b": b\r\n\r\n", refused()),
    Case("a line without colon", GET + b"A\r\n\r\n", refused(), nginx=answered(), why=STRICT),
    Case(
        "a field name with brackets",
        GET + b"A(b: c\r\n\r\n",
        refused(),
        nginx=answered(),
        why="RFC 9110 5.1: a name is a token; nginx drops the field without a word",
    ),
    Case("no Host", b"GET /a HTTP/1.1\r\n\r\n", refused()),
    Case("two Hosts", GET + b"Host: y\r\n\r\n", refused()),
    Case("a Host of several", b"GET /a HTTP/1.1\r\nHost: x, y\r\n\r\n", refused()),
    Case("a Host with a path", b"GET /a HTTP/1.1\r\nHost: x/y\r\n\r\n", refused()),
    Case("two blanks", b"GET  /a HTTP/1.1\r\n" + HOST + b"\r\n", refused(), nginx=answered(), why=STRICT),
    Case("a blank in the target", b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", refused()),
    Case("a control in the target", b"GET /a\x01 HTTP/1.1\r\n" + HOST + b"\r\n", refused()),
    Case(
        "no version",
        b"GET /a\r\n\r\n",
        refused(),
        nginx=Outcome((), 1, keeps=False),
        why="HTTP/0.9 has no way to say how an answer ended",
    ),
    Case(
        "an unknown version",
        b"GET /a HTTP/1.2\r\n" + HOST + b"\r\n",
        refused(505),
        nginx=answered(),
        why="only 1.0 and 1.1 are what is sent on",
    ),
    Case("the next version", b"GET /a HTTP/2.0\r\n" + HOST + b"\r\n", refused(505)),
    Case(
        "the preface of HTTP/2",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        refused(505),
        nginx=refused(),
        why="RFC 9110 15.6.6: 505 says what is wrong",
    ),
    Case("a small method", b"get /a HTTP/1.1\r\n" + HOST + b"\r\n", refused()),
    Case(
        "CONNECT",
        b"CONNECT x:1 HTTP/1.1\r\n" + HOST + b"\r\n",
        refused(405),
        nginx=refused(),
        why="RFC 9110 15.5.6: the method is known, and not for this server",
    ),
    Case("a target without slash", b"GET a HTTP/1.1\r\n" + HOST + b"\r\n", refused()),
    Case("TLS to a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", refused()),
    Case(
        "a head too long",
        GET + b"A: " + b"b" * 70_000 + b"\r\n\r\n",
        refused(431),
        nginx=refused(),
        why="431 says what is wrong",
    ),
    Case("a target too long", b"GET /" + b"b" * 70_000, refused(414)),
    # bodies that turn out wrong: their beginning has gone on, their end cannot be known
    Case("a chunk size that is none", POST + b"Transfer-Encoding: chunked\r\n\r\nxy\r\nhi\r\n0\r\n\r\n", refused()),
    Case("a signed chunk size", POST + b"Transfer-Encoding: chunked\r\n\r\n+2\r\nhi\r\n0\r\n\r\n", refused()),
    Case("a chunk size in 0x", POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n", refused()),
    Case("a chunk size beyond counting", POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", refused()),
    Case("a chunk too short", POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nhi\r\n0\r\n\r\n", refused()),
    Case("a blank before a chunk size", POST + b"Transfer-Encoding: chunked\r\n\r\n 2\r\nhi\r\n0\r\n\r\n", refused()),
    Case(
        "a bare line feed behind a size",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n",
        refused(),
        nginx=answered(),
        why=STRICT,
    ),
    # answers that nobody should act on
    Case(
        "an answer of two lengths",
        GET + b"\r\n",
        BAD_ANSWER,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        nginx=Outcome((), 1, keeps=False),
        why="nginx believes the last one and leaves its caller waiting for bytes that never come",
        hangs=True,
    ),
    Case(
        "an answer of length and chunks",
        GET + b"\r\n",
        BAD_ANSWER,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        nginx=answered(),
        why="RFC 9112 6.3: it may be an attempt at response splitting; newer nginx refuses it too",
    ),
    Case(
        "an answer with a folded line",
        GET + b"\r\n",
        BAD_ANSWER,
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 5\r\n\r\nhello",
    ),
    Case(
        "an answer that is none",
        GET + b"\r\n",
        BAD_ANSWER,
        b"220 mail.example ESMTP\r\n\r\n",
        nginx=Outcome((0,), 1, keeps=False),
        why="nginx takes it for HTTP/0.9 and hands it to the caller as it is",
        hangs=True,
    ),
    Case(
        "an answer with a bare line feed",
        GET + b"\r\n",
        BAD_ANSWER,
        b"HTTP/1.1 200 OK\r\nA: b\nSet-Cookie: c\r\nContent-Length: 5\r\n\r\nhello",
        nginx=answered(),
        why=STRICT,
    ),
    Case(
        "an early hint",
        GET + b"\r\n",
        answered(103, 200, reached=1),
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
        nginx=Outcome((103, 200), 1, keeps=False),
        why="nginx takes 103 for the end of the answer, and the answer for its body",
        hangs=True,
    ),
    Case("more than the answer", GET + b"\r\n", answered(), OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
    Case("an answer cut short", GET + b"\r\n", answered(keeps=False), SHORT, then_closes=True),
    Case(
        "an answer to the end of the connection",
        GET + b"\r\n",
        answered(keeps=False),
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        then_closes=True,
        nginx=answered(),
        why="a caller that sees chunks could not tell a reset from an end: the relay passes both on as they are",
    ),
    Case("nothing", GET + b"\r\n", BAD_ANSWER, b"", then_closes=True),
]


_BROKEN = (asyncio.IncompleteReadError, ConnectionError, TimeoutError)


async def outcome_of(case: Case, port: int, asked: list[Asked], patience: float = PATIENCE) -> Outcome:
    """Send a case to a proxy and see what becomes of the connection."""
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    await client.send(case.send)
    statuses = []
    is_open = True
    async with asyncio.timeout(30):
        wanted = case.wanted.statuses
        while is_open and len(statuses) < max(len(wanted), len(case.nginx.statuses) if case.nginx else 0):
            try:
                answer = await client.answer(has_body=case.has_body, patience=patience)
            except _BROKEN:
                is_open = False
                break
            statuses.append(answer.status)
            is_open = answer.is_whole
        reached = len(asked)
        if is_open:
            try:
                await client.send(GET + b"\r\n")
                is_open = (await client.answer(has_body=case.has_body, patience=patience)).status in (
                    200,
                    204,
                    304,
                    103,
                )
            except _BROKEN:
                is_open = False
    await client.close()
    return Outcome(tuple(statuses), reached, is_open)


def script_of(case: Case, asked: list[Asked]):
    if not case.then_closes:
        return saying(case.says, asked=asked)

    async def script(conversation) -> None:
        request = await conversation.request()
        if request:
            asked.append(request)
            await conversation.say(case.says)

    return script


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_relay(case: Case):
    asked: list[Asked] = []

    async def story() -> Outcome:
        async with relayed(script_of(case, asked)) as world:
            return await outcome_of(case, world.port, asked)

    assert run(story()) == case.wanted
    assert not case.bodies or tuple(request.body for request in asked)[: len(case.bodies)] == case.bodies


@pytest.fixture(scope="module")
def behind(server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """A real nginx: its port, and the port it sends on to."""
    upstream, folder = free_port(), tmp_path_factory.mktemp("nginx")
    with nginx(server("nginx"), Path(folder), upstream) as (port, _):
        yield port, upstream


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nginx(case: Case, behind: tuple[int, int]):
    asked: list[Asked] = []

    async def story() -> Outcome:
        async with serving(script_of(case, asked), port=behind[1]):
            return await outcome_of(case, behind[0], asked, patience=1.0 if case.hangs else PATIENCE)

    assert run(story()) == (case.nginx or case.wanted)


@pytest.mark.parametrize("case", [case for case in CASES if case.nginx], ids=lambda case: case.name)
def test_where_nginx_differs_a_sentence_says_why_the_relay_is_right(case: Case):
    assert case.nginx != case.wanted
    assert len(case.why) > 20
