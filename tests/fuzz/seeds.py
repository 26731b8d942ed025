"""Where a search begins: recorded answers and heads as they really are, and the words of both formats."""

from __future__ import annotations

import gzip

from tests.tap.streams import RECORDED, RECORDED_STREAMS, finished, llm, message_end, piece, started, usage, wire

SHORT = wire([started(), piece("a"), llm("n1", 3, 4), message_end(usage(3, 4)), finished(7)])
ASK = b"POST /v1/chat-messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer app-1\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED_ASK = b"POST /v1/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nX: y\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

WORDS = [
    *(b"data: ", b"data:", b'{"event": "', b'{"event":"', b"event: ping", b"\n\n", b"\r\n\r\n", b'"answer":"', b": "),
    *(b"message", b"text_chunk", b"message_end", b"workflow_finished", b"node_finished", b'"data":{', b'"usage":{'),
    *(b"GET ", b"POST ", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: x\r\n", b"Content-Length: ", b"Connection: close"),
    *(b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Upgrade: x\r\n", b"Connection: Upgrade\r\n"),
    *(
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 101 Up\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
    ),
    *(b"text/event-stream", b"application/json", b"Trailer: X\r\n", b"TE: trailers\r\n", b"X-Forwarded-For: "),
]


def said(who: int, words: bytes) -> bytes:
    """A turn of the relay's script: bytes of the caller (0) or of the upstream (0x80)."""
    return b"".join(
        bytes([who | 0x40 | len(part) - 1]) + part
        for part in (words[place : place + 64] for place in range(0, len(words), 64))
    )


def seeds(name: str) -> list[bytes]:
    """Beginnings for one property."""
    streams = [path.read_bytes()[:3000] for path in RECORDED_STREAMS] + [SHORT, SHORT.replace(b"\n", b"\r\n")]
    if name == "events":
        return [bytes([place]) + stream for place, stream in enumerate(streams)]
    if name == "answer":
        bodies = [path.read_bytes() for path in (RECORDED / "sse").glob("*_blocking.json")]
        packed = [b"\x03\x05" + gzip.compress(SHORT)]
        return [b"\x01\x20" + s for s in streams] + [b"\x00\x20" + body for body in bodies] + packed
    if name == "decoding":
        return [event[6:] for stream in streams for event in stream.split(b"\n\n")[:3]]
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SHORT), SHORT)
    if name == "chunked":
        return [b"\x05" + framed, b"\x01" + CHUNKED_ASK.partition(b"\r\n\r\n")[2]]
    if name == "relay":
        return [
            said(0, ASK) + said(0x80, ANSWER + framed) + said(0, ASK),
            said(0, CHUNKED_ASK) + said(0x80, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") + said(0, ASK),
            said(0, UPGRADE) + said(0x80, SWITCHED) + said(0, b"abc") + said(0x80, b"def"),
            said(0, ASK * 3) + said(0x80, b"HTTP/1.1 204 No\r\n\r\n"),
        ]
    return [ASK[:-6], CHUNKED_ASK[:100], UPGRADE, b"\x03" + ANSWER, ANSWER, b"\x09" + SWITCHED, SWITCHED]
