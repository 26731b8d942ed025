"""Heads: what is sent on is what was understood, and nothing that was not understood is sent on."""

from __future__ import annotations

import re
from contextlib import suppress

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.tap.http_head import (
    CHUNKED,
    UNTIL_CLOSE,
    BadHead,
    answer_bytes,
    forwarded_fields,
    parse_answer,
    parse_request,
    request_bytes,
)

TOKEN = st.from_regex(rb"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True)
VALUE = st.from_regex(rb"([!-~]([ -~]{0,30}[!-~])?)?", fullmatch=True)
OURS = {
    *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    *(b"host", b"content-length", b"authorization", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"),
}


def sent_on(head: bytes, peer: bytes = b"10.0.0.9") -> bytes:
    request = parse_request(head)
    return request_bytes(request, request.target, request.host, forwarded_fields(request, peer, b"http"))


def sent_on_or_refused(head: bytes) -> bytes | BadHead:
    try:
        return sent_on(head)
    except BadHead as refused:
        return refused


def fields(head: bytes, name: bytes) -> list[bytes]:
    return [
        value.strip()
        for key, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
        if key.lower() == name
    ]


@given(st.lists(st.tuples(TOKEN, VALUE).filter(lambda field: field[0].lower() not in OURS), max_size=8))
def test_other_fields_go_on_as_they_came(given_fields):
    lines = b"".join(b"%b: %b\r\n" % field for field in given_fields)
    wire = sent_on(b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")
    assert b"".join(b"\r\n%b: %b" % field for field in given_fields) in wire
    assert wire.startswith(b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n")


@given(st.binary(max_size=120), st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n"]))
@example(b"A: b\r\nContent-Length: 1", b"GET / HTTP/1.1\r\nHost: x\r\n")
def test_whatever_goes_on_a_strict_parser_takes(junk, start):
    head = start + junk.replace(b"\r\n\r\n", b"") + b"\r\n\r\n"
    if head.find(b"\r\n\r\n") != len(head) - 4:
        return
    wire = sent_on_or_refused(head)
    if isinstance(wire, BadHead):
        assert wire.status in (400, 405, 501, 505)
        return
    found: list[bytes] = []

    class Names:
        def on_header(self, name: bytes, value: bytes) -> None:
            found.append(name.lower())

    try:
        httptools.HttpRequestParser(Names()).feed_data(wire)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserInvalidMethodError:
        return  # methods it has never heard of go on too
    assert found.count(b"host") == 1
    assert len([name for name in found if name in (b"content-length", b"transfer-encoding")]) <= 1
    assert wire.count(b"\r\n\r\n") == 1
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", wire)


def test_fields_of_one_connection_stay_there():
    wire = sent_on(
        b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X-Own\r\nKeep-Alive: timeout=5\r\nX-Own: 1\r\n"
        b"X-Other: 2\r\nProxy-Connection: close\r\nTE: gzip\r\n\r\n"
    )
    for name in (b"connection", b"keep-alive", b"x-own", b"proxy-connection", b"te"):
        assert not fields(wire, name)
    assert fields(wire, b"x-other") == [b"2"]


@pytest.mark.parametrize("name", [b"Host", b"Content-Length", b"Authorization", b"X-Forwarded-For"])
def test_connection_cannot_take_out_what_matters(name):
    wire = sent_on(
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nAuthorization: Bearer k\r\nConnection: %b\r\n\r\n" % name
    )
    assert fields(wire, name.lower())


def test_trailers_and_upgrades_are_asked_for_anew():
    wire = sent_on(
        b"GET /a HTTP/1.1\r\nHost: x\r\nTE: trailers, gzip\r\nUpgrade: websocket\r\nConnection: Upgrade, TE\r\n\r\n"
    )
    assert fields(wire, b"te") == [b"trailers"]
    assert fields(wire, b"upgrade") == [b"websocket"]
    assert fields(wire, b"connection") == [b"Upgrade, TE"]


def test_an_upgrade_that_connection_does_not_name_is_none():
    assert not fields(sent_on(b"GET /a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"), b"upgrade")


def test_the_caller_is_told_behind_those_that_came():
    wire = sent_on(
        b"GET /a HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n"
        b"X-Forwarded-Proto: https\r\n\r\n"
    )
    assert fields(wire, b"x-forwarded-for") == [b"1.1.1.1, 2.2.2.2, 10.0.0.9"]
    assert fields(wire, b"x-forwarded-proto") == [b"https"]
    assert fields(wire, b"x-forwarded-host") == [b"x"]


def test_a_target_with_a_host_counts_before_the_field():
    request = parse_request(b"GET http://y:80/a?b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (request.target, request.host) == (b"/a?b", b"y:80")
    assert parse_request(b"GET http://y HTTP/1.1\r\nHost: x\r\n\r\n").target == b"/"


def test_a_post_without_a_body_says_so():
    assert fields(sent_on(b"POST /a HTTP/1.1\r\nHost: x\r\n\r\n"), b"content-length") == [b"0"]
    assert not fields(sent_on(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"), b"content-length")


@pytest.mark.parametrize(
    ("head", "is_to_head", "length"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", False, 5),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", True, 0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", False, CHUNKED),
        (b"HTTP/1.1 200 OK\r\n\r\n", False, UNTIL_CLOSE),
        (b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", False, 0),
        (b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", False, 0),
        (b"HTTP/1.0 200\r\n\r\n", False, UNTIL_CLOSE),
    ],
)
def test_how_long_an_answer_is(head, is_to_head, length):
    assert parse_answer(head, is_to_head=is_to_head).length == length


def test_an_answer_goes_on_as_it_came():
    request = parse_request(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
    head = (
        b"HTTP/1.1 299 So So\r\nServer: gunicorn\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\nConnection: x-own\r\n"
        b"X-Own: 1\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nContent-Type: text/plain\r\n\r\n"
    )
    wire = answer_bytes(parse_answer(head, is_to_head=False), request, is_chunked=True, keeps_open=True)
    assert wire == (
        b"HTTP/1.1 299 So So\r\nServer: gunicorn\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\nContent-Type: text/plain\r\n"
        b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    )


@given(st.binary(max_size=200))
def test_an_answer_is_understood_or_refused(junk):
    for start in (b"", b"HTTP/1.1 200 OK\r\n"):
        with suppress(BadHead):
            assert 100 <= parse_answer(start + junk + b"\r\n\r\n", is_to_head=False).status <= 599
