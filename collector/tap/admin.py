"""The tap's own door, apart from the one for callers: GET /metrics and GET /health, and nothing else.

Answers are short and the connection ends with each. /health is 200 while new callers are taken, and 503 from the
moment the tap is told to stop, so that whoever sends callers here sends them elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

_MOST_BYTES = 8 * 1024
_PATIENCE_SECONDS = 10.0
_PAGE = (
    "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n"
    "Cache-Control: no-store\r\n\r\n"
)
_TEXT = "text/plain; charset=utf-8"
METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Admin(asyncio.Protocol):
    """One connection. `metrics` gives the text, `is_well` whether callers are taken."""

    def __init__(self, metrics: Callable[[], str], is_well: Callable[[], bool]) -> None:
        self._metrics, self._is_well = metrics, is_well
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ending = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ending.cancel()

    def data_received(self, data: bytes) -> None:
        self._held += data
        if b"\r\n\r\n" in self._held:
            self._answer(self._held.split(b"\r\n", 1)[0].split(b" "))
        elif len(self._held) > _MOST_BYTES:
            self._say("431 Request Header Fields Too Large", "too long\n")

    def _answer(self, line: list[bytes]) -> None:
        if len(line) != 3 or not line[2].startswith(b"HTTP/1."):
            self._say("400 Bad Request", "no request\n")
            return
        method, path = line[0], line[1].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            self._say("405 Method Not Allowed", "GET only\n")
        elif path == b"/metrics":
            self._say("200 OK", self._metrics(), METRICS, has_body=method == b"GET")
        elif path == b"/health":
            status, word = ("200 OK", "ok\n") if self._is_well() else ("503 Service Unavailable", "stopping\n")
            self._say(status, word, has_body=method == b"GET")
        else:
            self._say("404 Not Found", "there are /metrics and /health\n")

    def _say(self, status: str, text: str, kind: str = _TEXT, *, has_body: bool = True) -> None:
        body = text.encode()
        head = _PAGE.format(status=status, kind=kind, length=len(body)).encode()
        self._transport.write(head + body if has_body else head)
        self._transport.close()
