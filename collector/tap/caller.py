"""A caller's connection: heads in, one exchange at a time, in the order they were asked for.

What a caller sends ahead waits, at most a buffer of it; then it is not read from. A head that is wrong, too long or
too slow is answered here and nothing of it goes on. What an exchange does with its bytes is not known here.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from collector.tap.exchange import Exchange
from collector.tap.http_head import BadHead, RequestHead, forwarded_fields, parse_request, refusal
from collector.tap.side import Side

if TYPE_CHECKING:
    from collector.tap.relay import Relay

_SETTLE_SECONDS = 0.2
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")


class Caller(Side):
    """One connection to the relay."""

    __slots__ = (
        "_exchange",
        "_held",
        "_is_closing",
        "_peer",
        "_relay",
        "_scheme",
        "_searched",
        "_since",
        "_unsettled",
        "has_ended",
    )

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay.limits.buffer_bytes)
        self._relay = relay
        self._exchange: Exchange | None = None
        self._held = bytearray()  # heads, and what was sent ahead
        self._searched = 0  # bytes of it that hold no end of a head
        self._since = relay.clock()
        self._is_closing = False  # nothing more is taken from this caller
        self.has_ended = False
        self._unsettled: list[Callable[[bool], None]] = []

    # --- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._relay.callers.add(self)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]).encode() if isinstance(peer, tuple) else b"unknown"
        self._scheme = b"http" if transport.get_extra_info("sslcontext") is None else b"https"

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._relay.callers.discard(self)
        self._tell_unsettled(True)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.caller_lost()

    def eof_received(self) -> bool:
        """It sends no more. Until its answer has been sent it may still listen."""
        exchange = self._exchange
        self.has_ended = (
            exchange is not None and exchange.has_whole_request and not exchange.is_tunnel and self._fd >= 0
        )
        return self.has_ended

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if self._is_closing:
            return
        if exchange is None:
            if not self._held:
                end = data.find(b"\r\n\r\n")
                if 0 < end <= self._relay.limits.head_bytes:
                    self._take(data[: end + 4], data[end + 4 :])
                    return
                self._since = self._relay.clock()
            self._held += data
            self._next()
        else:
            exchange.request_came(data)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._exchange is not None:
            self._exchange.caller_ready()

    # --- heads

    def _next(self) -> None:
        """Begin the next request, if its head is complete."""
        held = self._held
        while held.startswith(b"\r\n"):  # some send an empty line behind a body
            del held[:2]
            self._searched = 0
        end = held.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0:
            self._look_at_incomplete()
            return
        if end > self._relay.limits.head_bytes:
            self.refuse(431)
            return
        head = bytes(held[: end + 4])
        del held[: end + 4]
        self._searched = 0
        self._take(head, b"")

    def _take(self, head: bytes, rest: bytes) -> None:
        """A whole head, and what came behind it, where that is not held."""
        if head.startswith(b"\r\n"):  # some send an empty line behind a body
            head = head.lstrip(b"\r\n")
        try:
            self._begin(parse_request(head), rest)
        except BadHead as error:
            self.refuse(error.status)

    def _look_at_incomplete(self) -> None:
        held = self._held
        if held and (not held[:1].isalpha() or _BARE_LINE_FEED.search(held, max(0, self._searched - 1))):
            if held != b"\r":
                self.refuse(400)
        elif len(held) > self._relay.limits.head_bytes:
            self.refuse(431 if b"\r\n" in held else 414)
        self._searched = len(held)

    def _begin(self, head: RequestHead, rest: bytes) -> None:
        found = self._relay.directory.find(head.host, head.target)
        if found is None:
            raise BadHead(404, "a host or path that is nobody's")
        upstream, target = found
        limits, watch = self._relay.limits, self._relay.watch
        seen = watch.begin(head.method, target.partition(b"?")[0], head.fields.authorization)
        if self._relay.is_stopping:
            head.keeps_open = False
        forwarded = forwarded_fields(head, self._peer, self._scheme)
        if self._held or len(rest) > head.length >= 0:
            self._held += rest
            rest = self._due(head)
        exchange = self._exchange = Exchange(self, head, seen, watch, upstream, target, forwarded)
        if limits.body_bytes is not None and head.length > limits.body_bytes:
            exchange.fail(413, "invalid_request")
        else:
            exchange.start(rest)
            if self._held and self._exchange is exchange:
                self.pause()

    def _due(self, head: RequestHead) -> bytes:
        """What is held of a request's own bytes; the requests behind it stay, and are not copied for each."""
        held = self._held
        is_plain = head.length >= 0 and head.fields.upgrade is None
        due = bytes(held[: head.length] if is_plain else held)
        del held[: len(due)]
        return due

    # --- ends

    def done(self, exchange: Exchange, *, keeps_open: bool) -> None:
        """The answer is whole."""
        self._exchange = None
        self._held += exchange.request_rest
        self._since = self._relay.clock()
        keeps_open = keeps_open and not self._relay.is_stopping
        if keeps_open and (self._held or not self.has_ended):
            self.resume()
            if self._held:
                self._next()
        elif self.has_ended:
            self._is_closing = True
            self.end_writing()
            asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self._settle)
        elif exchange.has_whole_request and not self._held:
            self._is_closing = True
            self.close()
        else:
            self._linger()

    def leave(self, exchange: Exchange) -> None:
        """The exchange goes on without this caller."""
        self._relay.draining.add(exchange)

    def ask_later(self, tell: Callable[[bool], None]) -> None:
        """Have the network say, behind the last answer, whether nobody took what was sent."""
        self._unsettled.append(tell)

    def _settle(self) -> None:
        """Whoever has gone, not only ended, has refused by now what was sent."""
        if self.is_lost:
            return
        connected = self.transport.get_extra_info("socket")
        is_gone = self.is_deaf or bool(connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        self._tell_unsettled(is_gone)
        self.close()

    def _tell_unsettled(self, is_gone: bool) -> None:
        while self._unsettled:
            self._unsettled.pop(0)(is_gone)

    def refuse(self, status: int) -> None:
        """Say no, and close."""
        self._exchange = None
        if not self._is_closing:
            self._relay.watch.counts.refused += 1
            self.send(refusal(status))
            self._linger()

    def break_off(self, *, by_reset: bool) -> None:
        """Close in the middle of an answer; by a reset where a mere end could be taken for the answer's."""
        self._exchange = None
        self._is_closing = True
        if by_reset:
            self.reset()
        else:
            self.close()

    def cut_off(self) -> None:
        """The relay ends, whatever is on its way."""
        if self._exchange is not None:
            self._exchange.upstream_failed()
        self.abort()

    def _linger(self) -> None:
        """Close so that what was said arrives, though the caller may still be sending: read that away for a while."""
        self._is_closing = True
        self._held.clear()
        self._since = self._relay.clock()
        if self.end_writing():
            self.resume()
        else:
            self.close()

    def sweep(self, now: float) -> None:
        """Look for what has taken too long."""
        limits = self._relay.limits
        waited = now - self._since
        if self._is_closing:
            if waited > limits.linger_seconds:
                self.abort()
        elif self._exchange is not None:
            self._exchange.sweep(now)
        elif self._held:
            if waited > limits.head_seconds:
                self.refuse(408)
        elif waited > limits.keep_seconds or self._relay.is_stopping:
            self.close()
