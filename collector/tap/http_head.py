"""Heads of HTTP/1 messages: bytes -> RequestHead or AnswerHead, and what is sent on in their place.

httptools parses strictly (no obs-fold, no bare LF, no blank before a colon, no doubled or signed length, no length
beside chunks); here stand the rules it leaves open: Host, targets, hop-by-hop fields, how long the body is. What is
sent on is written anew from what was understood, so both sides read the same. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import httptools

Fields: TypeAlias = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
"""Fields of one connection only. `te` and `trailer` come back where trailers are sent on."""

NEVER_BY_CONNECTION = frozenset({b"host", b"content-length", b"authorization", b"content-type", b"x-forwarded-for"})
"""Fields that a caller cannot have taken out by naming them in `Connection`."""

NOT_IN_TRAILERS = HOP_BY_HOP | {b"content-length", b"host", b"content-encoding", b"content-type", b"set-cookie"}

CHUNKED, UNTIL_CLOSE = -1, -2
"""Body lengths that are no number."""

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=-]*)(?::\d{0,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_HIGH = re.compile(rb"[\x80-\xff]")
_REASONS = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}


class BadHead(Exception):
    """A head nobody should act on. `status` is what a caller is told."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(slots=True)
class RequestHead:
    """What a caller asks for."""

    method: bytes
    target: bytes  # origin-form, or * of OPTIONS
    is_http_1_0: bool
    fields: Fields  # as they came, without hop-by-hop ones, Host and X-Forwarded-*
    host: bytes
    forwarded: Fields  # the X-Forwarded-* fields that came
    length: int  # of the body, or CHUNKED
    keeps_open: bool
    upgrade: bytes | None
    takes_trailers: bool
    authorization: bytes | None

    @property
    def path(self) -> str:
        """The target without its query, for telling routes apart."""
        return self.target.split(b"?", 1)[0].decode("latin-1")


@dataclass(slots=True)
class AnswerHead:
    """What an upstream answers."""

    status: int
    reason: bytes
    fields: Fields  # without hop-by-hop ones
    length: int  # of the body, or CHUNKED, or UNTIL_CLOSE
    keeps_open: bool
    upgrade: bytes | None
    trailer: bytes | None
    content_type: bytes
    content_encoding: bytes

    @property
    def is_final(self) -> bool:
        """Whether no other head follows for the same request."""
        return self.status >= 200 or self.status == 101


class _Parts:
    """Collects what the parser finds."""

    __slots__ = ("fields", "is_complete", "reason", "url")

    def __init__(self) -> None:
        self.url = b""
        self.reason = b""
        self.fields: Fields = []
        self.is_complete = False

    def on_url(self, part: bytes) -> None:
        self.url += part

    def on_status(self, part: bytes) -> None:
        self.reason += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.is_complete = True


def parse_request(head: bytes) -> RequestHead:
    """A whole head, its empty line included. Raises BadHead."""
    parts = _Parts()
    parser = httptools.HttpRequestParser(parts)
    line_end = head.find(b"\r\n")
    if not head[:line_end].isascii():  # sloppy callers leave UTF-8 unquoted in paths
        head = _HIGH.sub(lambda byte: b"%%%02X" % ord(byte[0]), head[:line_end]) + head[line_end:]
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserInvalidMethodError:
        raise BadHead(501 if head[:1].isupper() else 400, "a method nobody knows") from None
    except httptools.HttpParserError as error:
        raise BadHead(_status_of(head, parts), str(error)) from None
    version = parser.get_http_version()
    if version not in ("1.0", "1.1"):
        raise BadHead(505, "a version other than HTTP/1.0 and HTTP/1.1")
    if not parts.is_complete or head.count(b" ", 0, head.find(b"\r\n")) != 2:
        raise BadHead(400, "an incomplete head")
    return _request(parser.get_method(), parts, version == "1.0")


def _status_of(head: bytes, parts: _Parts) -> int:
    """501 for a coding nobody knows, 505 for HTTP/2's preface, 400 for the rest."""
    if head.startswith(b"PRI * HTTP/2.0"):
        return 505
    coding = [value.lower() for name, value in parts.fields if name.lower() == b"transfer-encoding"]
    return 501 if parts.is_complete and coding and b"chunked" not in coding[-1] else 400


def _request(method: bytes, parts: _Parts, is_http_1_0: bool) -> RequestHead:
    found: dict[bytes, list[bytes]] = {}
    kept: Fields = []
    forwarded: Fields = []
    for field in parts.fields:
        name = field[0].lower()
        if name in _READ_OF_REQUESTS:
            found.setdefault(name, []).append(field[1])
        if name.startswith(b"x-forwarded-") and name in _FORWARDED:
            forwarded.append((name, field[1]))
        elif name not in _WRITTEN_ANEW:
            kept.append(field)
    tokens = _tokens(found.get(b"connection", ()))
    if tokens - _USUAL_TOKENS:
        named = tokens - NEVER_BY_CONNECTION
        kept = [field for field in kept if field[0].lower() not in named]
    target, host = _target(method, parts.url, found.get(b"host", []), is_http_1_0)
    upgrade = found.get(b"upgrade")
    keeps_open = b"keep-alive" in tokens if is_http_1_0 else b"close" not in tokens
    return RequestHead(
        method=method,
        target=target,
        is_http_1_0=is_http_1_0,
        fields=kept,
        host=host,
        forwarded=forwarded,
        length=_request_length(found, is_http_1_0),
        keeps_open=keeps_open and b"close" not in tokens,
        upgrade=b", ".join(upgrade) if upgrade and b"upgrade" in tokens and not is_http_1_0 else None,
        takes_trailers=b"te" in found and b"trailers" in _tokens(found[b"te"]),
        authorization=found.get(b"authorization", [None])[0],
    )


_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
_USUAL_TOKENS = frozenset({b"keep-alive", b"close", b"upgrade", b"te"})
_READ_OF_REQUESTS = frozenset(
    {b"host", b"connection", b"content-length", b"transfer-encoding", b"upgrade", b"te", b"authorization"}
)
_WRITTEN_ANEW = HOP_BY_HOP | _FORWARDED | {b"host", b"content-length"}


def _target(method: bytes, url: bytes, hosts: list[bytes], is_http_1_0: bool) -> tuple[bytes, bytes]:
    """The origin-form of a target, and whose it is."""
    if method == b"CONNECT":
        raise BadHead(405, "CONNECT to a server that is no forward proxy")
    if len(hosts) > 1:
        raise BadHead(400, "more than one Host")
    if not hosts and not is_http_1_0:
        raise BadHead(400, "no Host")
    host = hosts[0] if hosts else b""
    if not _HOST.fullmatch(host):
        raise BadHead(400, "a Host that is none")
    if url.startswith(b"/"):
        return url, host
    if url == b"*" and method == b"OPTIONS":
        return url, host
    if (absolute := _ABSOLUTE.fullmatch(url)) and absolute[1] and _HOST.fullmatch(absolute[1]):
        rest = absolute[2]
        return rest if rest.startswith(b"/") else b"/" + rest, absolute[1]
    raise BadHead(400, "a target that is no path")


def _request_length(found: dict[bytes, list[bytes]], is_http_1_0: bool) -> int:
    if coding := found.get(b"transfer-encoding"):
        if is_http_1_0 or b"content-length" in found:
            raise BadHead(400, "a body of two lengths")
        if [one.lower() for one in coding] != [b"chunked"]:
            raise BadHead(501, "a transfer coding other than chunked")
        return CHUNKED
    lengths = found.get(b"content-length")
    return _number(lengths, 400) if lengths else 0


def _number(lengths: list[bytes], status: int) -> int:
    if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
        raise BadHead(status, "a length that is no number")
    return int(lengths[0])


def _tokens(values: Iterable[bytes]) -> set[bytes]:
    return {token.strip(b" \t").lower() for value in values for token in value.split(b",")}


def parse_answer(head: bytes, method: bytes) -> AnswerHead:
    """A whole head of an answer to `method`, its empty line included. Raises BadHead (502)."""
    parts = _Parts()
    parser = httptools.HttpResponseParser(parts)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise BadHead(502, str(error)) from None
    if not parts.is_complete or parser.get_http_version() not in ("1.0", "1.1"):
        raise BadHead(502, "an incomplete head")
    return _answer(parser.get_status_code(), parts, method, parser.get_http_version() == "1.0")


_READ_OF_ANSWERS = frozenset(
    {
        *(b"connection", b"content-length", b"transfer-encoding", b"upgrade", b"trailer"),
        *(b"content-type", b"content-encoding"),
    }
)


def _answer(status: int, parts: _Parts, method: bytes, is_http_1_0: bool) -> AnswerHead:
    found: dict[bytes, list[bytes]] = {}
    kept: Fields = []
    for field in parts.fields:
        name = field[0].lower()
        if name in _READ_OF_ANSWERS:
            found.setdefault(name, []).append(field[1])
        if name not in HOP_BY_HOP:
            kept.append(field)
    tokens = _tokens(found.get(b"connection", ()))
    if tokens - _USUAL_TOKENS:
        named = tokens - NEVER_BY_CONNECTION
        kept = [field for field in kept if field[0].lower() not in named]
    if status < 200 or status == 204:  # they have no body, whatever they say
        kept = [field for field in kept if field[0].lower() != b"content-length"]
    length = _answer_length(found, status, method)
    keeps_open = (b"keep-alive" in tokens if is_http_1_0 else True) and b"close" not in tokens
    trailer, upgrade = found.get(b"trailer"), found.get(b"upgrade")
    return AnswerHead(
        status=status,
        reason=parts.reason,
        fields=kept,
        length=length,
        keeps_open=keeps_open and length != UNTIL_CLOSE,
        upgrade=b", ".join(upgrade) if upgrade else None,
        trailer=b", ".join(trailer) if trailer else None,
        content_type=found.get(b"content-type", [b""])[0].lower(),
        content_encoding=found.get(b"content-encoding", [b""])[0].lower(),
    )


def _answer_length(found: dict[bytes, list[bytes]], status: int, method: bytes) -> int:
    coding, lengths = found.get(b"transfer-encoding"), found.get(b"content-length")
    if coding and (lengths or [one.lower() for one in coding] != [b"chunked"]):
        raise BadHead(502, "a body of two lengths or of an unknown coding")
    told = _number(lengths, 502) if lengths else UNTIL_CLOSE
    if method == b"HEAD" or status < 200 or status in (204, 304):
        return 0
    return CHUNKED if coding else told


def forwarded_fields(head: RequestHead, peer: bytes, scheme: bytes) -> Fields:
    """X-Forwarded-*: the caller's address behind those that came; what an outer proxy said of the rest stands."""
    chain = [value for name, value in head.forwarded if name == b"x-forwarded-for"]
    told = dict(head.forwarded)
    fields = [
        (b"X-Forwarded-For", b", ".join([*chain, peer])),
        (b"X-Forwarded-Proto", told.get(b"x-forwarded-proto", scheme)),
    ]
    host = told.get(b"x-forwarded-host", head.host)
    return [*fields, (b"X-Forwarded-Host", host)] if host else fields


def request_bytes(head: RequestHead, target: bytes, host: bytes, forwarded: Fields) -> bytes:
    """The head that is sent upstream."""
    lines = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (head.method, target, host)]
    lines += [b"%b: %b\r\n" % field for field in head.fields]
    lines += [b"%b: %b\r\n" % field for field in forwarded]
    if head.length == CHUNKED:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    elif head.length or head.method in (b"POST", b"PUT", b"PATCH"):
        lines.append(b"Content-Length: %d\r\n" % head.length)
    connection = []
    if head.upgrade is not None:
        lines.append(b"Upgrade: %b\r\n" % head.upgrade)
        connection.append(b"Upgrade")
    if head.takes_trailers:
        lines.append(b"TE: trailers\r\n")
        connection.append(b"TE")
    if connection:
        lines.append(b"Connection: %b\r\n" % b", ".join(connection))
    lines.append(b"\r\n")
    return b"".join(lines)


def answer_bytes(head: AnswerHead, request: RequestHead, *, is_chunked: bool, keeps_open: bool) -> bytes:
    """The head that is sent to the caller."""
    lines = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)]
    lines += [b"%b: %b\r\n" % field for field in head.fields]
    if is_chunked:
        lines.append(b"Transfer-Encoding: chunked\r\n")
        if head.trailer is not None:
            lines.append(b"Trailer: %b\r\n" % head.trailer)
    if head.status == 101:
        lines.append(b"Upgrade: %b\r\nConnection: Upgrade\r\n" % (head.upgrade or b""))
    elif head.status >= 200:
        if not keeps_open:
            lines.append(b"Connection: close\r\n")
        elif request.is_http_1_0:
            lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def refusal(status: int, *, is_head: bool = False) -> bytes:
    """Our own answer, in the shape of Dify's errors; the connection ends with it."""
    reason = _REASONS[status]
    code = reason.lower().replace(" ", "_")
    body = b'{"code":"%b","message":"%b","status":%d}\n' % (code.encode(), reason.encode(), status)
    return b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
        status,
        reason.encode(),
        len(body),
        b"" if is_head else body,
    )
