"""Heads of HTTP/1 messages: bytes -> RequestHead or AnswerHead, and what is sent on in their place.

httptools parses strictly (no obs-fold, no bare LF, no blank before a colon, no doubled or signed length, no length
beside chunks); here stand the rules it leaves open: Host, targets, hop-by-hop fields, how long the body is. What is
sent on is written anew from what was understood, so both sides read the same. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from functools import lru_cache
from typing import TypeAlias

import httptools
import msgspec

Fields: TypeAlias = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
"""Fields of one connection only. `te` and `trailer` come back where trailers are sent on."""

NEVER_BY_CONNECTION = frozenset({b"host", b"content-length", b"authorization", b"content-type", b"x-forwarded-for"})
"""Fields that a caller cannot have taken out by naming them in `Connection`."""

NOT_IN_TRAILERS = HOP_BY_HOP | {b"content-length", b"host", b"content-encoding", b"content-type", b"set-cookie"}

_REMEMBERED, _REMEMBERED_BYTES = 512, 2048

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


class RequestFields(msgspec.Struct, frozen=True, gc=False):
    """What the header lines of a request say. The same for every request of most callers."""

    kept: bytes  # as they came, line by line, without those that are written anew
    host: bytes
    forwarded: Fields  # the X-Forwarded-* fields that came
    length: int  # of the body, or CHUNKED
    keeps_open: bool
    upgrade: bytes | None
    takes_trailers: bool
    authorization: bytes | None


class RequestHead(msgspec.Struct, gc=False):
    """What a caller asks for."""

    method: bytes
    target: bytes  # origin-form, or * of OPTIONS
    host: bytes
    is_http_1_0: bool
    keeps_open: bool
    fields: RequestFields

    @property
    def length(self) -> int:
        """Of the body, or CHUNKED."""
        return self.fields.length


class AnswerHead(msgspec.Struct, frozen=True, gc=False):
    """What an upstream answers."""

    status: int
    line: bytes  # status and reason
    kept: bytes  # as they came, line by line, without those that are written anew
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


def _lines_named(names: Iterable[bytes]) -> re.Pattern[bytes]:
    """Finds header lines, each with the line break before it, in a head that the parser found well-formed."""
    return re.compile(rb"\r\n(" + b"|".join(sorted(names, reverse=True)) + rb"):[ \t]*([^\r]*)", re.IGNORECASE)


_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
_USUAL_TOKENS = frozenset({b"keep-alive", b"close", b"upgrade", b"te"})
_OURS = HOP_BY_HOP | _FORWARDED | {b"host", b"content-length", b"authorization"}
# WSGI servers take X_Forwarded_For for X-Forwarded-For: such fields are found too, and go no further
_REQUEST_LINES = _lines_named(_OURS | {name.replace(b"-", b"_") for name in _OURS})
_ANSWER_LINES = _lines_named(HOP_BY_HOP | {b"content-length", b"content-type", b"content-encoding"})
_LENGTH_LINES = _lines_named({b"content-length"})


def parse_request(head: bytes) -> RequestHead:
    """A whole head, its empty line included. Raises BadHead."""
    line_end = head.find(b"\r\n")
    asked = _REQUEST_LINE.match(head)
    if asked is None or asked.end() != line_end:
        raise _bad_request_line(head[:line_end])
    method, url, is_http_1_0 = asked[1], asked[2], asked[3] == b"0"
    lines = head[line_end:]
    fields = (_request_fields if len(lines) <= _REMEMBERED_BYTES else _request_fields.__wrapped__)(lines, is_http_1_0)
    if not url.isascii():  # sloppy callers leave UTF-8 unquoted in paths
        url = _HIGH.sub(lambda byte: b"%%%02X" % ord(byte[0]), url)
    target, host = (url, fields.host) if url.startswith(b"/") else _target(method, url, fields.host)
    if method == b"CONNECT":
        raise BadHead(405, "CONNECT to a server that is no forward proxy")
    return RequestHead(method, target, host, is_http_1_0, fields.keeps_open, fields)


_REQUEST_LINE = re.compile(rb"([A-Z][A-Z_-]*) ([^\x00-\x20\x7f]+) HTTP/1\.([01])")
_OTHER_VERSION = re.compile(rb"[A-Z]+ [^\x00-\x20\x7f]+ HTTP/\d\.\d")


def _bad_request_line(line: bytes) -> BadHead:
    if _OTHER_VERSION.fullmatch(line):
        return BadHead(505, "a version other than HTTP/1.0 and HTTP/1.1")
    return BadHead(400, "a request line that is none")


@lru_cache(maxsize=_REMEMBERED)
def _request_fields(lines: bytes, is_http_1_0: bool) -> RequestFields:
    """The header lines, with the line break before them and the empty line. Callers repeat theirs."""
    try:
        httptools.HttpRequestParser(_NOBODY).feed_data(b"GET / HTTP/1.1" + lines)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise BadHead(501 if "Request has invalid `Transfer-Enc" in str(error) else 400, str(error)) from None
    parts = _REQUEST_LINES.split(lines[:-4])  # what is kept, then a name and a value, and so on
    found, forwarded = _found(parts), []
    for name in _FORWARDED & found.keys():
        forwarded += [(name, value) for value in found[name]]
    tokens = _tokens(found[b"connection"]) if b"connection" in found else _NONE
    shown, upgrade = found.get(b"authorization", _EMPTY), b", ".join(filter(None, found.get(b"upgrade", _EMPTY)))
    kept = b"".join(parts[::3] + [b"\r\nAuthorization: " + one for one in shown])
    keeps_open = b"keep-alive" in tokens if is_http_1_0 else True
    return RequestFields(
        kept if tokens <= _USUAL_TOKENS else _without(kept, tokens),
        _host(found.get(b"host", _EMPTY), is_http_1_0),
        forwarded,
        _request_length(found, is_http_1_0),
        keeps_open and b"close" not in tokens,
        upgrade if upgrade and b"upgrade" in tokens and not is_http_1_0 else None,
        b"te" in found and b"trailers" in _tokens(found[b"te"]),
        shown[0] if shown else None,
    )


def _found(parts: list[bytes]) -> dict[bytes, list[bytes]]:
    """Field name -> its values, of header lines that were split at the fields looked for."""
    found: dict[bytes, list[bytes]] = {}
    for place in range(1, len(parts), 3):
        found.setdefault(parts[place].lower(), []).append(parts[place + 1].rstrip())
    return found


_NOBODY = object()
_NONE: frozenset[bytes] = frozenset()
_EMPTY: list[bytes] = []


def _without(lines: bytes, tokens: Set[bytes]) -> bytes:
    """Header lines without those that `Connection` named as its own."""
    named = tokens - NEVER_BY_CONNECTION
    return b"".join(b"\r\n" + line for line in lines.split(b"\r\n")[1:] if line.partition(b":")[0].lower() not in named)


def _host(hosts: list[bytes], is_http_1_0: bool) -> bytes:
    if len(hosts) > 1 or (not hosts and not is_http_1_0):
        raise BadHead(400, "no Host, or more than one")
    if hosts and not (_HOST.fullmatch(hosts[0]) and (hosts[0] or is_http_1_0)):
        raise BadHead(400, "a Host that is none")
    return hosts[0] if hosts else b""


def _target(method: bytes, url: bytes, host: bytes) -> tuple[bytes, bytes]:
    """A target that does not begin with its path -> its origin-form, and whose it is."""
    if method == b"CONNECT" or (url == b"*" and method == b"OPTIONS"):
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


def _tokens(values: list[bytes]) -> Set[bytes]:
    if len(values) == 1 and values[0].lower() in _USUAL_TOKENS:
        return {values[0].lower()}
    return {token.strip(b" \t").lower() for value in values for token in value.split(b",")}


def parse_answer(head: bytes, *, is_to_head: bool) -> AnswerHead:
    """A whole head of an answer, to HEAD or another method, its empty line included. Raises BadHead (502)."""
    return (_answer_head if len(head) <= _REMEMBERED_BYTES else _answer_head.__wrapped__)(head, is_to_head)


@lru_cache(maxsize=_REMEMBERED)
def _answer_head(head: bytes, is_to_head: bool) -> AnswerHead:
    """Within a second an upstream repeats its heads."""
    parser = httptools.HttpResponseParser(_NOBODY)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise BadHead(502, str(error)) from None
    line_end = head.find(b"\r\n")
    if not _STATUS_LINE.match(head):
        raise BadHead(502, "a status line that is none")
    is_http_1_0 = head.startswith(b"HTTP/1.0")
    return _answer(parser.get_status_code(), head[9:line_end], head[line_end:-4], is_to_head, is_http_1_0)


_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-5]\d\d[ \r]")


def _answer(status: int, line: bytes, lines: bytes, is_to_head: bool, is_http_1_0: bool) -> AnswerHead:
    parts = _ANSWER_LINES.split(lines)
    found = _found(parts)
    for place in range(1, len(parts), 3):
        if parts[place].lower() not in HOP_BY_HOP:
            parts[place - 1] += b"\r\n%b: %b" % (parts[place], parts[place + 1].rstrip())
    tokens = _tokens(found[b"connection"]) if b"connection" in found else _NONE
    kept = b"".join(parts[::3])
    if not tokens <= _USUAL_TOKENS:
        kept = _without(kept, tokens)
    if status < 200 or status == 204:  # they have no body, whatever they say
        kept = _LENGTH_LINES.sub(b"", kept)
    length = _answer_length(found, status, is_to_head)
    keeps_open = (b"keep-alive" in tokens if is_http_1_0 else True) and b"close" not in tokens
    trailer, upgrade = found.get(b"trailer"), found.get(b"upgrade")
    return AnswerHead(
        status,
        line,
        kept,
        length,
        keeps_open and length != UNTIL_CLOSE,
        b", ".join(upgrade) if upgrade else None,
        b", ".join(trailer) if trailer else None,
        found[b"content-type"][0].lower() if b"content-type" in found else b"",
        found[b"content-encoding"][0].lower() if b"content-encoding" in found else b"",
    )


def _answer_length(found: dict[bytes, list[bytes]], status: int, is_to_head: bool) -> int:
    coding, lengths = found.get(b"transfer-encoding"), found.get(b"content-length")
    if coding and (lengths or [one.lower() for one in coding] != [b"chunked"]):
        raise BadHead(502, "a body of two lengths or of an unknown coding")
    told = _number(lengths, 502) if lengths else UNTIL_CLOSE
    if is_to_head or status < 200 or status in (204, 304):
        return 0
    return CHUNKED if coding else told


def forwarded_fields(head: RequestHead, peer: bytes, scheme: bytes) -> bytes:
    """X-Forwarded-*: the caller's address behind those that came; what an outer proxy said of the rest stands."""
    host = head.host
    if came := head.fields.forwarded:
        told = dict(came)
        peer = b", ".join([*(value for name, value in came if name == b"x-forwarded-for"), peer])
        scheme, host = told.get(b"x-forwarded-proto", scheme), told.get(b"x-forwarded-host", host)
    lines = b"\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b" % (peer, scheme)
    return b"%b\r\nX-Forwarded-Host: %b" % (lines, host) if host else lines


def request_bytes(head: RequestHead, target: bytes, host: bytes, forwarded: bytes) -> bytes:
    """The head that is sent upstream; `forwarded` is lines, each with the line break before it."""
    fields = head.fields
    told = b""
    if fields.length == CHUNKED:
        told = b"\r\nTransfer-Encoding: chunked"
    elif fields.length or head.method in _WITH_BODY:
        told = b"\r\nContent-Length: %d" % fields.length
    if fields.upgrade is not None or fields.takes_trailers:
        told += _asked_of_the_connection(fields)
    written = (head.method, target, host, fields.kept, forwarded, told)
    return b"%b %b HTTP/1.1\r\nHost: %b%b%b%b\r\n\r\n" % written


def _asked_of_the_connection(fields: RequestFields) -> bytes:
    lines, names = b"", []
    if fields.upgrade is not None:
        lines += b"\r\nUpgrade: %b" % fields.upgrade
        names.append(b"Upgrade")
    if fields.takes_trailers:
        lines += b"\r\nTE: trailers"
        names.append(b"TE")
    return lines + b"\r\nConnection: %b" % b", ".join(names)


_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})


def answer_bytes(head: AnswerHead, request: RequestHead, *, is_chunked: bool, keeps_open: bool) -> bytes:
    """The head that is sent to the caller."""
    told = b""
    if is_chunked:
        told = b"\r\nTransfer-Encoding: chunked"
        if head.trailer is not None:
            told += b"\r\nTrailer: %b" % head.trailer
    if head.status == 101:
        told += b"\r\nUpgrade: %b\r\nConnection: Upgrade" % (head.upgrade or b"")
    elif head.status >= 200:
        if not keeps_open:
            told += b"\r\nConnection: close"
        elif request.is_http_1_0:
            told += b"\r\nConnection: keep-alive"
    return b"HTTP/1.1 %b%b%b\r\n\r\n" % (head.line, head.kept, told)


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
