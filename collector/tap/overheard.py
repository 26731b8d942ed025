"""One exchange as a Python program has it: httpx requests, answers and errors in, word to the watch out.

Pieces are stamped before the program has them and read after. Nothing that fails in here reaches the program: it is
counted and logged. Whose bytes travel how is not known here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import httpx
import structlog

from collector.tap.limits import Limits
from collector.tap.watch import CLIENT, UPSTREAM, Seen, Sink, Watch, utc_now

_NEVER_SENT = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.PoolTimeout)
_NEVER_REACHED = (httpx.ConnectError, httpx.ProxyError)
_WITHOUT_BODY = frozenset({204, 304})

log = structlog.get_logger()


class Overhearing:
    """All exchanges of one transport, in whatever threads and loops they are. `prefix` stands before Dify's paths."""

    def __init__(
        self,
        sink: Sink,
        *,
        prefix: str = "",
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.watch = Watch(sink, limits=limits or Limits(), clock=clock, now=now, wake=lambda _seconds, _read: None)
        self._turn = threading.RLock()
        self._prefix = prefix.rstrip("/").encode()

    def begin(self, request: httpx.Request) -> Overheard | None:
        """A request is about to be sent; None: it is none of ours."""
        path = request.url.raw_path.partition(b"?")[0]
        rest = path.removeprefix(self._prefix)
        if not path.startswith(self._prefix) or (rest and not rest.startswith(b"/")):
            return None
        seen: Seen | None = None
        with self.quietly():
            shown = request.headers.get("authorization")
            seen = self.watch.begin(request.method.encode(), rest or b"/", shown.encode() if shown else None)
        return Overheard(self, request, seen) if seen else None

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """One at a time; whatever fails in here, the program does not hear of it."""
        try:
            with self._turn:
                yield
        except Exception as error:
            self.watch.counts.failures[type(error).__name__] += 1
            log.warning("exchange not read, it went on", error=type(error).__name__)


class Overheard:
    """One request and its answer as they go by."""

    def __init__(self, tap: Overhearing, request: httpx.Request, seen: Seen) -> None:
        self._tap = tap
        self.seen = seen
        self._is_head = request.method == "HEAD"
        self._is_over = False
        self._left: int | None = None  # bytes of the answer to come, where that is known
        length = request.headers.get("content-length", "")
        self.seen.request_bytes = int(length) if length.isdigit() else 0

    def answered(self, response: httpx.Response) -> None:
        """The head of the answer is here."""
        with self._tap.quietly():
            head = response.headers
            if self._is_head or response.status_code in _WITHOUT_BODY:
                self._left = 0
            elif "transfer-encoding" not in head and (length := head.get("content-length", "")).isdigit():
                self._left = int(length)
            self._tap.watch.answered(
                self.seen,
                response.status_code,
                head.get("content-type", "").lower().encode(),
                head.get("content-encoding", "").lower().encode(),
            )

    def came(self, piece: bytes) -> None:
        """A piece is about to be handed over: it is stamped, and waits."""
        with self._tap.quietly():
            seen = self.seen
            seen.answer_bytes += len(piece)
            if self._left is not None:
                self._left -= len(piece)
            if seen.hearing is not None:
                self._tap.watch.came(seen, piece)
            if self._left == 0:
                self._tap.watch.done(seen)

    def handed_over(self) -> None:
        """The program has it: now it can be read."""
        with self._tap.quietly():
            self._tap.watch.flush()

    def broke(self, error: BaseException) -> None:
        """The transport gave up: the other side went away, or the program's patience did."""
        with self._tap.quietly():
            seen = self.seen
            if isinstance(error, _NEVER_SENT) and seen.status is None:
                self._is_over = True
            elif isinstance(error, httpx.ConnectTimeout):
                seen.error_class = "timeout"
            elif isinstance(error, httpx.TransportError) and not isinstance(error, httpx.TimeoutException):
                if seen.status is None:
                    seen.error_class = "connection"
                if not isinstance(error, _NEVER_REACHED):
                    self._tap.watch.left(seen, UPSTREAM)
            else:
                self._tap.watch.left(seen, CLIENT)

    def whole(self) -> None:
        """The answer's end came, or an end that came too early."""
        with self._tap.quietly():
            if self._left:
                self._tap.watch.left(self.seen, UPSTREAM)
            else:
                self._tap.watch.done(self.seen)

    def ended(self) -> None:
        """Nothing more is asked for. What had not all come by now was left."""
        with self._tap.quietly():
            if self._is_over:
                return
            self._is_over = True
            if self._left != 0 and not self.seen.error_class:
                self._tap.watch.left(self.seen, CLIENT)
            self._tap.watch.ended(self.seen)
            self._tap.watch.flush()
