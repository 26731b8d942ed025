"""One request and its answer: bytes from a caller to an upstream and back, each sent on before it is looked at.

In come a caller's request and the pieces of both bodies; out go the same bytes, framed as each side needs them, and
word to the watch. The caller's going is survived for a while, so that what was spent is still read; the upstream's
going is passed on as the caller would have seen it. Nothing is kept beyond unfinished heads.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from collector.tap.answer_heads import AnswerHeads
from collector.tap.framing import NOTHING, BadFraming, Body, UntilClose, body_of
from collector.tap.http_head import (
    CHUNKED,
    UNTIL_CLOSE,
    AnswerHead,
    BadHead,
    RequestHead,
    answer_bytes,
    request_bytes,
)
from collector.tap.upstream import Line, Upstream
from collector.tap.watch import CLIENT, UPSTREAM, Seen, Watch

if TYPE_CHECKING:
    from collector.tap.caller import Caller

_REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class Exchange:
    """One request, its answer, and what is between. `caller` is None when it has gone."""

    __slots__ = (
        *("_answer", "_connecting", "_drain_bytes", "_forwarded", "_head", "_heads", "_keeps_line", "_keeps_open"),
        *("_limits", "_line", "_opening", "_progress", "_request", "_seen", "_since", "_target", "_unpacks"),
        *("_upstream", "_waiting", "_watch", "caller", "is_over", "is_tunnel", "request_rest"),
    )

    def __init__(
        self,
        caller: Caller,
        head: RequestHead,
        seen: Seen,
        watch: Watch,
        upstream: Upstream,
        target: bytes,
        forwarded: bytes,
    ) -> None:
        self.caller: Caller | None = caller
        self.is_over = False
        self.request_rest = b""  # what came behind the request: the next one, or what a tunnel carries
        self.is_tunnel = False  # both sides speak another protocol now
        self._head = head
        self._seen = seen
        self._watch = watch
        self._upstream = upstream
        self._target = target
        self._limits = upstream.limits
        self._request: Body = body_of(head.length, keeps_trailers=False)
        self._forwarded = forwarded
        self._drain_bytes = upstream.limits.drain_bytes
        self._waiting: list[bytes] = []  # of the request, until there is a line
        self._line: Line | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._answer: Body | None = None  # None: its head has not come
        self._heads: AnswerHeads | None = None  # while they come
        self._opening = b""  # the answer's head, when it goes out with the beginning of the body
        self._unpacks = False  # the caller knows no chunks
        self._keeps_open = False
        self._keeps_line = False
        self._progress = 0
        self._since = 0.0

    @property
    def has_whole_request(self) -> bool:
        """Whether nothing more of the request is to come."""
        return self._request.is_done

    def start(self, first: bytes) -> None:
        """Send the head on, with what came behind it."""
        wire = self._introduction()
        if self._request.is_done:
            self.request_rest = first
            if first:
                self._caller_waits()
        elif len(first) == self._head.length:  # a whole body of known length, as nearly always
            wire += first
            self._seen.request_bytes = len(first)
            self._request = NOTHING
        elif first:
            wire += self._framed(first)
            if self.is_over:
                return
        line = self._upstream.lend()
        if line is not None:
            self._hold(line)
            line.send(wire)
        else:
            self._connect(wire)

    def _introduction(self) -> bytes:
        host = self._head.host if self._upstream.keeps_host and self._head.host else self._upstream.host
        return request_bytes(self._head, self._upstream.prefix + self._target, host, self._forwarded)

    def _connect(self, wire: bytes) -> None:
        if not self._request.is_done:
            self._caller_waits()
        self._waiting.append(wire)
        self._connecting = asyncio.get_running_loop().create_task(self._connected())

    async def _connected(self) -> None:
        try:
            line = await self._upstream.connect()
        except OSError as error:
            self._connecting = None
            self.fail(*((504, "timeout") if isinstance(error, TimeoutError) else (502, "connection")))
            return
        self._connecting = None
        if self.is_over:
            line.abort()
            return
        self._hold(line)
        line.send(b"".join(self._waiting))
        self._waiting = []
        if not line.is_full:
            self.line_ready()

    def _hold(self, line: Line) -> None:
        self._line = line
        line.holder = self

    def request_came(self, piece: bytes) -> None:
        """A piece of the request's body, of what a tunnel carries, or of what is sent ahead."""
        if self.is_tunnel:
            self._seen.request_bytes += len(piece)
            self._to_line(piece)
        elif self._request.is_done:
            self.request_rest += piece
            self._caller_waits()
        elif wire := self._framed(piece):
            self._to_line(wire)

    def _caller_waits(self) -> None:
        if self.caller is not None:
            self.caller.pause()

    def _framed(self, piece: bytes) -> bytes:
        """What is sent on of a piece of the request's body."""
        try:
            wire, content = self._request.feed(piece)
        except BadFraming:
            self.fail(400, "invalid_request")
            return b""
        self._seen.request_bytes += len(content)
        most = self._limits.body_bytes
        if most is not None and self._seen.request_bytes > most:
            self.fail(413, "invalid_request")
            return b""
        if self._request.is_done and self._request.excess:
            self.request_rest = self._request.excess
            self._caller_waits()
        return wire

    def _to_line(self, wire: bytes) -> None:
        line = self._line
        if line is None:
            self._waiting.append(wire)
            return
        line.send(wire)
        if line.is_full:
            self._caller_waits()

    def caller_ready(self) -> None:
        """The caller takes bytes again."""
        if self._line is not None:
            self._line.resume()

    def caller_lost(self) -> None:
        """The caller has gone. An answer worth reading is read on, within limits."""
        if self.is_over or self.caller is None:
            return
        caller, self.caller = self.caller, None
        self._watch.left(self._seen, CLIENT)
        is_worth = self._seen.is_answer and not self.is_tunnel and self._request.is_done
        if is_worth and self._line is not None:
            self._line.resume()
            self._since = self._watch.clock()
            caller.leave(self)
        else:
            self.end()

    def line_ready(self) -> None:
        if self.caller is not None and (self.is_tunnel or not self._request.is_done):
            self.caller.resume()

    def answer_came(self, piece: bytes) -> None:
        """Bytes from the upstream."""
        body = self._answer
        if body is None:
            self._head_came(piece)
            return
        try:
            wire, content = body.feed(piece)
        except BadFraming:
            self._send(self._opening)
            self.upstream_failed()
            return
        caller, seen = self.caller, self._seen
        if caller is not None:
            if self._unpacks:
                wire = content
            if self._opening:
                wire, self._opening = self._opening + wire, b""
            if wire:
                self._send(wire)
            seen.answer_bytes += len(content)
        else:
            self._drain_bytes -= len(piece)
        if seen.hearing is not None and content:
            self._watch.came(seen, content)
        if body.is_done:
            self._finish()
        elif self._drain_bytes < 0:
            self.end()

    def _send(self, wire: bytes) -> None:
        caller = self.caller
        if caller is not None:
            caller.send(wire)
            if caller.is_full and self._line is not None:
                self._line.pause()

    def _head_came(self, piece: bytes) -> None:
        """A piece of the answer's head, or of those before it."""
        heads = self._heads
        if heads is None:
            is_to_head = self._head.method == b"HEAD"
            heads = self._heads = AnswerHeads(is_to_head=is_to_head, max_bytes=self._limits.head_bytes)
        try:
            found = heads.feed(piece)
        except BadHead:
            self.upstream_failed()
            return
        for head in found:
            if head.is_final:
                self._heads = None
                self._begin_answer(head, heads.rest)
            elif self.caller is not None and not self._head.is_http_1_0:
                self.caller.send(answer_bytes(head, self._head, is_chunked=False, keeps_open=True))

    def _begin_answer(self, head: AnswerHead, rest: bytes) -> None:
        if head.status == 101:
            self._begin_tunnel(head, rest)
            return
        self._unpacks = head.length == CHUNKED and self._head.is_http_1_0
        is_endless = self._unpacks or head.length == UNTIL_CLOSE
        self._keeps_open = self._head.keeps_open and not is_endless and self._request.is_done
        self._keeps_line = head.keeps_open
        self._answer = body = body_of(head.length, keeps_trailers=True)
        is_chunked = head.length == CHUNKED and not self._unpacks
        opening = answer_bytes(head, self._head, is_chunked=is_chunked, keeps_open=self._keeps_open)
        self._watch.answered(self._seen, head.status, head.content_type, head.content_encoding)
        if rest and not body.is_done:
            self._opening = opening  # both in one piece
            self.answer_came(rest)
            return
        self._send(opening)
        if body.is_done:
            self._keeps_line = head.keeps_open and not rest
            self._finish()

    def _begin_tunnel(self, head: AnswerHead, rest: bytes) -> None:
        if self._head.fields.upgrade is None or self.caller is None:
            self.upstream_failed()
            return
        self.is_tunnel = True
        self._answer = body_of(UNTIL_CLOSE, keeps_trailers=False)
        self._watch.answered(self._seen, head.status, head.content_type, head.content_encoding)
        self.caller.send(answer_bytes(head, self._head, is_chunked=False, keeps_open=True) + rest)
        self._seen.answer_bytes += len(rest)
        if self.request_rest:
            early, self.request_rest = self.request_rest, b""
            self.request_came(early)
        self.caller.resume()

    def line_lost(self, *, is_clean: bool) -> None:
        """The upstream's connection is gone."""
        line, self._line = self._line, None
        if self.is_over:
            return
        body = self._answer
        if body is None:
            if self._can_repeat(line):
                self._connect(self._introduction())
            else:
                self.upstream_failed()
        elif is_clean and isinstance(body, UntilClose):
            self._finish()
        else:
            self.upstream_failed()

    def _can_repeat(self, line: Line | None) -> bool:
        """Whether a kept connection was closed before it heard us, and asking twice does no harm."""
        has_begun = self._heads is not None and self._heads.has_begun
        is_stale = line is not None and line.is_reused and not has_begun
        return is_stale and self._head.length == 0 and self._head.method in _REPEATABLE and self.caller is not None

    def _finish(self) -> None:
        """The answer is whole."""
        line, body = self._line, self._answer
        self.is_over = True
        self._line = None
        if line is not None:
            line.holder = None
            if self._keeps_line and not (body and body.excess) and self._request.is_done and not line.is_deaf:
                self._upstream.take_back(line)
            else:
                line.close()
        caller, self.caller = self.caller, None
        if caller is None:
            self._watch.ended(self._seen)
            return
        if caller.has_ended:
            self._watch.done(self._seen)
            caller.ask_later(self._settle)
        else:
            self._watch.ended(self._seen)
        caller.done(self, keeps_open=self._keeps_open)

    def _settle(self, is_gone: bool) -> None:
        """The network had time to say whether a caller that had ended still listened."""
        if is_gone:
            self._seen.interrupted_by = CLIENT
        self._watch.ended(self._seen)

    def fail(self, status: int, error_class: str) -> None:
        """The relay itself says no, before any answer has begun."""
        self._seen.error_class = error_class
        if status < 500:
            self._seen.status = status
        caller = self.caller
        if caller is not None:
            if self._answer is None:
                caller.refuse(status)
            else:
                caller.break_off(by_reset=True)
        self.end()

    def upstream_failed(self) -> None:
        """The upstream broke off, or said what nobody can be sure of."""
        self._watch.left(self._seen, UPSTREAM)
        if self._answer is None:
            self.fail(502, "connection")
            return
        if self.caller is not None:
            ends_with_connection = self._unpacks or isinstance(self._answer, UntilClose)
            self.caller.break_off(by_reset=ends_with_connection and not self.is_tunnel)
        self.end()

    def end(self) -> None:
        """Let go of everything."""
        if self.is_over:
            return
        self.is_over = True
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        line, self._line = self._line, None
        if line is not None:
            line.holder = None
            (line.close if self.is_tunnel else line.abort)()
        self._waiting = []
        self.caller = None
        self._watch.ended(self._seen)

    def sweep(self, now: float) -> None:
        """Look for a side that has been silent for too long."""
        progress = self._seen.request_bytes + self._seen.answer_bytes
        if self.caller is not None and (progress != self._progress or not self._since):
            self._progress, self._since = progress, now
            return
        silence = now - self._since
        if self.caller is None:
            if silence > self._limits.drain_seconds:
                self.end()
        elif self.caller.is_full:
            if silence > self._limits.write_seconds:
                self.caller.break_off(by_reset=True)
                self.caller_lost()
        elif not self._request.is_done and self._answer is None and not (self._line and self._line.is_full):
            if self._line is not None and silence > self._limits.body_seconds:
                self.fail(408, "timeout")
        elif silence > self._limits.answer_seconds:
            if self._answer is None:
                self.fail(504, "timeout")
            else:
                self.upstream_failed()
