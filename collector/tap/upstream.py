"""The servers behind the relay: which one a request is for, and the connections to them, kept open between requests.

In comes a request's host and path, out goes an Upstream and the target to ask it for; an Upstream lends Lines, each
for one exchange at a time. Which bytes travel is not known here.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from collector.errors import SettingsError
from collector.tap.limits import Limits
from collector.tap.side import Side

ADDRESSES_SECONDS = 5.0
"""How long a name's addresses are taken as known."""


class Answers(Protocol):
    """Who uses a line."""

    def answer_came(self, piece: bytes) -> None: ...
    def line_lost(self, *, is_clean: bool) -> None: ...
    def line_ready(self) -> None: ...


class Line(Side):
    """A connection to an upstream. Whoever holds it is told of everything; an idle one that speaks is dropped."""

    __slots__ = ("_has_ended", "_upstream", "holder", "idle_since", "is_reused")

    def __init__(self, upstream: Upstream) -> None:
        super().__init__(upstream.limits.buffer_bytes)
        self._upstream = upstream
        self._has_ended = False
        self.holder: Answers | None = None
        self.idle_since = 0.0
        self.is_reused = False

    def data_received(self, data: bytes) -> None:
        if self.holder is None:
            self.abort()  # an answer that nobody asked for
        else:
            self.holder.answer_came(data)

    def eof_received(self) -> None:
        self._has_ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._upstream.forget(self)
        if self.holder is not None:
            self.holder.line_lost(is_clean=self._has_ended and exc is None)

    def refused(self) -> None:
        """It reads no more; it may have answered before, and that can still be read."""

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.holder is not None:
            self.holder.line_ready()


class Upstream:
    """One server. `prefix` is what its URL's path puts before every target."""

    def __init__(
        self,
        url: str,
        *,
        limits: Limits,
        clock: Callable[[], float],
        tls: ssl.SSLContext | None = None,
        keeps_host: bool = True,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"upstream: wanted a URL that starts with http:// or https://, got {url!r}")
        self.limits = limits
        self.prefix = parts.path.rstrip("/").encode()
        self.host = parts.netloc.encode()
        self.keeps_host = keeps_host
        self.connects = 0  # connections made since the start
        self.connect_failures = 0  # addresses that did not answer
        self._name = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._clock = clock
        self._idle: list[Line] = []
        self._addresses: list[tuple[str, int]] = []
        self._addresses_until = 0.0
        self._turn = 0

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    def lend(self) -> Line | None:
        """An idle line that is fresh enough; None: connect."""
        oldest = self._clock() - self.limits.pool_seconds
        while self._idle:
            line = self._idle.pop()
            if line.idle_since >= oldest and not line.transport.is_closing():
                line.is_reused = True
                return line
            line.close()
        return None

    def take_back(self, line: Line) -> None:
        """A line whose exchange has ended well."""
        line.holder = None
        if len(self._idle) >= self.limits.pool_connections or line.transport.is_closing():
            line.close()
            return
        line.resume()
        line.idle_since = self._clock()
        self._idle.append(line)

    def forget(self, line: Line) -> None:
        """A line was lost."""
        if line.holder is None and line in self._idle:
            self._idle.remove(line)

    def sweep(self, now: float) -> None:
        """Close the lines that nobody has needed for long."""
        oldest = now - self.limits.pool_seconds
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.pop(0).close()

    def close(self) -> None:
        """Close all idle lines."""
        while self._idle:
            self._idle.pop().close()

    async def connect(self) -> Line:
        """A new line. Raises OSError, which TimeoutError and TLS errors are too."""
        loop = asyncio.get_running_loop()
        addresses = await self._resolved()
        self._turn += 1
        failure: OSError = OSError("no address")
        for place in range(len(addresses)):
            host, port = addresses[(self._turn + place) % len(addresses)]
            try:
                async with asyncio.timeout(self.limits.connect_seconds / len(addresses)):
                    _, line = await loop.create_connection(
                        lambda: Line(self), host, port, ssl=self._tls, server_hostname=self._name if self._tls else None
                    )
                    self.connects += 1
                    return line
            except OSError as error:
                self.connect_failures += 1
                failure = error
        self._addresses_until = 0.0
        raise failure

    async def _resolved(self) -> Sequence[tuple[str, int]]:
        now = self._clock()
        if now >= self._addresses_until or not self._addresses:
            found = await asyncio.get_running_loop().getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM)
            self._addresses = [(str(each[4][0]), int(each[4][1])) for each in found]
            self._addresses_until = now + ADDRESSES_SECONDS
        return self._addresses


@dataclass(frozen=True)
class Place:
    """Where a request goes by its host (None: any) and the prefix of its path, which is taken off."""

    upstream: Upstream
    host: bytes | None = None
    prefix: bytes = b""


class Directory:
    """Finds a request's upstream: those named by host before others, longer prefixes before shorter ones."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = sorted(places, key=lambda place: (place.host is None, -len(place.prefix)))
        self.upstreams = list({id(place.upstream): place.upstream for place in places}.values())

    def find(self, host: bytes, target: bytes) -> tuple[Upstream, bytes] | None:
        """The upstream and the target without the place's prefix; None when it is nobody's."""
        for place in self._places:
            if place.host is not None and place.host != _name(host):
                continue
            if not place.prefix:
                return place.upstream, target
            if target.startswith(place.prefix):
                rest = target[len(place.prefix) :]
                if not rest or rest[:1] in b"/?":
                    return place.upstream, rest if rest.startswith(b"/") else b"/" + rest
        return None


def _name(host: bytes) -> bytes:
    """A Host without its port, in lower case."""
    name, colon, port = host.lower().rpartition(b":")
    return name if colon and (not port or port.isdigit()) else host.lower()
