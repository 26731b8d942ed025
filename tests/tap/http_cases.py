"""Requests as they really are: what a caller sends, what becomes of it, and why nginx does otherwise where it does."""

from __future__ import annotations

from dataclasses import dataclass

from tests.tap.world import OK

HOST = b"Host: x\r\n"
GET = b"GET /a HTTP/1.1\r\n" + HOST
POST = b"POST /a HTTP/1.1\r\n" + HOST


@dataclass(frozen=True)
class Outcome:
    """What a caller saw of its connection: the statuses, how many requests went on, whether it may ask again."""

    statuses: tuple[int, ...]
    reached: int
    keeps: bool


Fields = tuple[tuple[bytes, tuple[bytes, ...]], ...]
"""Names and the values that reached the upstream; none: the field did not."""


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
    then_resets: bool = False  # the upstream breaks off behind it
    bodies: tuple[bytes, ...] = ()  # as they reached the upstream
    fields: Fields = ()  # of the first request, as they reached it
    nginx_fields: Fields | None = None  # None: the same


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
STRICT = "what a server behind may read differently is not sent on"

REQUESTS = [
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
    # fields of one connection, and of all
    Case(
        "fields of this connection only",
        GET + b"Connection: keep-alive, X-Own\r\nKeep-Alive: timeout=5\r\nX-Own: 1\r\nX-Other: 2\r\n\r\n",
        answered(),
        fields=((b"keep-alive", ()), (b"x-own", ()), (b"x-other", (b"2",))),
        nginx_fields=((b"keep-alive", ()), (b"x-own", (b"1",)), (b"x-other", (b"2",))),
        why="RFC 9110 7.6.1: what Connection names is not sent on",
    ),
    Case(
        "a length that Connection names",
        POST + b"Content-Length: 2\r\nConnection: Content-Length, Host, X-Forwarded-For\r\n\r\nhi",
        answered(),
        bodies=(b"hi",),
        fields=((b"content-length", (b"2",)), (b"host", (b"x",)), (b"x-forwarded-for", (b"127.0.0.1",))),
    ),
    Case(
        "trailers asked for",
        GET + b"TE: trailers, deflate\r\nConnection: TE\r\n\r\n",
        answered(),
        fields=((b"te", (b"trailers",)),),
        nginx_fields=((b"te", ()),),
        why="RFC 9110 6.5.1: trailers are sent on here, so they may be asked for; nginx drops them",
    ),
    Case(
        "an outer proxy",
        GET + b"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\n\r\n",
        answered(),
        fields=((b"x-forwarded-for", (b"1.1.1.1, 2.2.2.2, 127.0.0.1",)), (b"x-forwarded-proto", (b"https",))),
        nginx_fields=((b"x-forwarded-for", (b"1.1.1.1, 2.2.2.2, 127.0.0.1",)), (b"x-forwarded-proto", (b"http",))),
        why="nginx is told to write its own scheme; behind another proxy that of the caller is the true one",
    ),
    Case(
        "a field written with underscores",
        GET + b"X_Forwarded_For: 1.1.1.1\r\nContent_Length: 9\r\nTransfer_Encoding: chunked\r\n\r\n",
        answered(),
        fields=((b"x_forwarded_for", ()), (b"content_length", ()), (b"transfer_encoding", ())),
    ),
    Case(
        "a field of the application's own",
        GET + b"app_id: 7\r\nX-Trace: a\r\nX-Trace: b\r\nCookie: a=b\r\nAuthorization: Bearer k\r\n\r\n",
        answered(),
        fields=(
            *((b"app_id", (b"7",)), (b"x-trace", (b"a", b"b")), (b"cookie", (b"a=b",))),
            (b"authorization", (b"Bearer k",)),
        ),
        nginx_fields=(
            *((b"app_id", ()), (b"x-trace", (b"a", b"b")), (b"cookie", (b"a=b",))),
            (b"authorization", (b"Bearer k",)),
        ),
        why="only names that stand for a field of the connection are dangerous with underscores; others have their use",
    ),
    Case(
        "a value in bytes",
        GET + b"X-Name: \xc3\xa9\xff\r\n\r\n",
        answered(),
        fields=((b"x-name", (b"\xc3\xa9\xff",)),),
    ),
    Case("blanks around a value", GET + b"X-A: \t b \t\r\n\r\n", answered(), fields=((b"x-a", (b"b",)),)),
    Case("an empty value", GET + b"X-A:\r\n\r\n", answered(), fields=((b"x-a", (b"",)),)),
    Case(
        "a Host with a port", b"GET /a HTTP/1.1\r\nHost: x:8080\r\n\r\n", answered(), fields=((b"host", (b"x:8080",)),)
    ),
    Case("a Host in numbers", b"GET /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", answered()),
    Case("an empty Host", b"GET /a HTTP/1.1\r\nHost:\r\n\r\n", refused()),
    Case(
        "a target with another host",
        b"GET http://y:80/a HTTP/1.1\r\nHost: x\r\n\r\n",
        answered(),
        fields=((b"host", (b"y:80",)),),
        nginx_fields=((b"host", (b"x",)),),
        why="RFC 9112 3.2.2: the target counts, and Host is written anew; nginx was told to send on the field",
    ),
    Case(
        "100-continue",
        POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        answered(),
        nginx=Outcome((100, 200), 1, keeps=True),
        bodies=(b"hi",),
        why="whether it wants the body is for the server behind to say, which may refuse it before a large upload",
    ),
    Case(
        "100-continue said by the server behind",
        POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        answered(100, 200, reached=1),
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        nginx=Outcome((100, 100), 1, keeps=True),
        why="nginx says it itself, and takes that of the server behind for the answer",
        hangs=True,
    ),
    Case("an expectation nobody knows", POST + b"Expect: tea\r\nContent-Length: 2\r\n\r\nhi", answered()),
    Case(
        "100-continue of 1.0",
        b"POST /a HTTP/1.0\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        answered(keeps=False),
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        nginx=Outcome((100,), 1, keeps=True),
        why="RFC 9110 15.2: a caller of 1.0 is told nothing before its answer",
        hangs=True,
    ),
    Case(
        "a websocket",
        GET + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\n\r\n",
        answered(101),
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        fields=((b"upgrade", (b"websocket",)), (b"sec-websocket-key", (b"eA==",))),
    ),
    Case(
        "an upgrade that nobody agrees to",
        GET + b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n\r\n",
        answered(),
    ),
    Case(
        "an upgrade of 1.0",
        b"GET /a HTTP/1.0\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        answered(keeps=False),
        fields=((b"upgrade", ()),),
        nginx_fields=((b"upgrade", (b"websocket",)),),
        why="RFC 9110 7.8: an upgrade in a request of 1.0 is to be ignored",
    ),
    Case("a GET with a body", GET + b"Content-Length: 2\r\n\r\nhi", answered(), bodies=(b"hi",)),
    Case("a DELETE with a body", b"DELETE /a HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nhi", answered()),
    Case("a body behind its end", POST + b"Content-Length: 2\r\n\r\nhi\r\n" + GET + b"\r\n", answered(200, 200)),
]
