"""What is measured of the requests that go by: heads, pieces and ends in, records out to a sink.

Bytes are only put on a list while they travel; they are read in a turn of their own after the relay has written all
there was to write, and never for long at a stretch. What cannot be read in time or in memory goes by unread, and is
counted. A key is kept as its fingerprint; paths lose their ids and queries; no prompt and no answer leaves this file.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeAlias

import structlog

from collector.failures import error_class
from collector.ledger import Telling
from collector.records import TAP, Message, Record, Request, Run
from collector.tap.hearing import Hearing, hearing_of
from collector.tap.limits import Limits
from collector.tap.routes import Matched, Route, match

Sink: TypeAlias = Callable[[list[Record]], None]
"""Takes records and returns at once."""

Wake: TypeAlias = Callable[[float, Callable[[], None]], object]
"""Has what waits read, so many seconds later."""

CLIENT, UPSTREAM = "client", "upstream"

_BEARER = b"bearer "
_STOPS = 10_000
_READ_SECONDS = 0.01
"""Pieces are read some at a time: each was stamped when it came, and a turn of the loop for each would cost its own."""
_REST_SECONDS = 0.001
"""Between two stretches of reading: where many streams end at once, the bytes of the others are served meanwhile."""
_MOST_WAITING = 2_000
"""More pieces than this are read without a rest: what comes on and on has to be read some time."""
_RECORDS_A_BATCH = 1_000

log = structlog.get_logger()


def utc_now() -> datetime:
    """The instant."""
    return datetime.now(UTC)


def by_loop(seconds: float, read: Callable[[], None]) -> None:
    """In a turn of the running loop."""
    asyncio.get_running_loop().call_later(seconds, read)


@dataclass(slots=True)
class Counts:
    """What went by since the start of this worker."""

    requests: int = 0
    streams: int = 0  # answers that came as events
    open_streams: int = 0  # of those, now on their way
    events: int = 0  # of streams read to their end: those that told something
    records: int = 0
    refused: int = 0  # requests the relay itself said no to
    unread: int = 0  # answers that went by unread: too long, too many at once, in an unknown coding
    sink_failures: int = 0
    request_bytes: int = 0
    answer_bytes: int = 0
    failures: Counter[str] = field(default_factory=Counter)  # what could not be read, by event and field


class Seen:
    """One request as it goes by. Times are seconds since its head was complete."""

    __slots__ = (
        *("answer_bytes", "began", "created_at", "duration", "error_class", "fingerprint", "first_byte", "hearing"),
        *("interrupted_by", "is_answer", "is_open_stream", "is_stream", "matched", "method", "request_bytes", "status"),
        "unread",
    )

    def __init__(
        self, method: str, matched: Matched, fingerprint: str | None, created_at: datetime, began: float
    ) -> None:
        self.method = method
        self.matched = matched
        self.fingerprint = fingerprint
        self.created_at = created_at
        self.began = began
        self.is_answer = matched.route.kind == "answer" and (
            method == "POST" or matched.route.template.endswith("/events")
        )
        self.is_stream: bool | None = None
        self.is_open_stream = False
        self.status: int | None = None
        self.first_byte: float | None = None
        self.duration: float | None = None
        self.request_bytes = 0
        self.answer_bytes = 0
        self.interrupted_by: str | None = None
        self.error_class: str | None = None
        self.hearing: Hearing | None = None
        self.unread = 0  # pieces that wait to be read


class Watch:
    """All requests of one worker.

    `clock` counts seconds, `now` tells the instant. `tell_stop` is called with the task id of each stop request, so
    that other workers can be told. `wake` has pieces read that have been waiting; who gives one that does nothing calls
    `flush` in its place.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        limits: Limits,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        tell_stop: Callable[[str], None] | None = None,
        wake: Wake = by_loop,
    ) -> None:
        self.counts = Counts()
        self._sink = sink
        self._limits = limits
        self.clock = clock
        self._now = now
        self._tell_stop = tell_stop
        self._wake = wake
        self._unread: deque[tuple[Seen, bytes | None, float]] = deque()
        self._unread_bytes = 0
        self._is_due = False
        self._own_id, _, counted = str(uuid.uuid4()).rpartition("-")
        self._count = int(counted, 16)
        self._stopped: OrderedDict[str, None] = OrderedDict()

    def begin(self, method: bytes, path: bytes, authorization: bytes | None) -> Seen:
        """A request's head is complete. `path` is as Dify has it, without its query."""
        matched = match(path)
        fingerprint = _fingerprint(authorization, matched.route)
        seen = Seen(method.decode("latin-1"), matched, fingerprint, self._now(), self.clock())
        if matched.route.kind == "stop" and matched.task_id:
            self.stop(matched.task_id)
            if self._tell_stop:
                self._tell_stop(matched.task_id)
        return seen

    def stop(self, task_id: str) -> None:
        """A stop request for a task was seen, here or by another worker."""
        self._stopped[task_id] = None
        if len(self._stopped) > _STOPS:
            self._stopped.popitem(last=False)

    def answered(self, seen: Seen, status: int, content_type: bytes, coding: bytes) -> None:
        """The head of the answer has come; its fields in small letters."""
        seen.status = status
        seen.first_byte = self.clock() - seen.began
        if status >= 400 and seen.matched.route.kind == "stop" and seen.matched.task_id:
            self._stopped.pop(seen.matched.task_id, None)
        is_stream = content_type.startswith(b"text/event-stream")
        if is_stream and not seen.is_open_stream:
            seen.is_open_stream = True
            self.counts.streams += 1
            self.counts.open_streams += 1
        if seen.is_answer:
            seen.is_stream = is_stream
        if not (is_stream if seen.is_answer and status < 400 else False) and not (
            content_type.startswith(b"application/json") and (seen.is_answer or status >= 400)
        ):
            return
        route = seen.matched.route
        telling = Telling(source=TAP, seen_at=seen.created_at, app_id=seen.matched.app_id, is_debug=route.is_debug)
        seen.hearing = hearing_of(
            telling,
            mode=route.mode,
            invoke_from=route.invoke_from,
            is_stream=is_stream,
            coding=coding,
            limits=self._limits,
        )
        self.counts.unread += seen.hearing is None

    def came(self, seen: Seen, piece: bytes) -> None:
        """A piece of an answer went by; called after it was sent on, for answers with a hearing."""
        hearing = seen.hearing
        if hearing is None or (not seen.unread and hearing.passes(piece)):
            return
        self._unread_bytes += len(piece)
        if self._unread_bytes > self._limits.unread_bytes:
            self._unread_bytes -= len(piece)
            self.lose(seen)
            return
        seen.unread += 1
        self._unread.append((seen, piece, self.clock() - seen.began))
        if not self._is_due:
            self._is_due = True
            self._wake(_READ_SECONDS, self._read)

    def lose(self, seen: Seen) -> None:
        """Read no more of this answer."""
        seen.hearing = None
        self.counts.unread += 1

    def left(self, seen: Seen, who: str) -> None:
        """One side went away before the end; the first to go is the one that interrupted."""
        if seen.duration is None:
            seen.interrupted_by = who
            seen.duration = self.clock() - seen.began

    def done(self, seen: Seen) -> None:
        """The last byte went by."""
        if seen.duration is None:
            seen.duration = self.clock() - seen.began

    def ended(self, seen: Seen) -> None:
        """The exchange is over. Its records follow when all that came of it has been read."""
        self.done(seen)
        self.counts.requests += 1
        self.counts.open_streams -= seen.is_open_stream
        self.counts.request_bytes += seen.request_bytes
        self.counts.answer_bytes += seen.answer_bytes
        self._unread.append((seen, None, 0.0))
        if not self._is_due:
            self._is_due = True
            self._wake(_READ_SECONDS, self._read)

    def flush(self) -> None:
        """Read everything that waits: before the end."""
        while self._unread:
            self._read()

    def _read(self) -> None:
        until = self.clock() + self._limits.reading_seconds
        batch: list[Record] = []
        now = self._now()
        while self._unread:
            seen, piece, at = self._unread.popleft()
            if piece is None:
                batch += self._records(seen, now)
            else:
                self._unread_bytes -= len(piece)
                seen.unread -= 1
                if seen.hearing is not None:
                    try:
                        seen.hearing.feed(piece, at)
                    except Exception as error:  # whatever an answer holds, it costs its own copy only
                        self._note_failure(error)
                        self.lose(seen)
            if len(batch) >= _RECORDS_A_BATCH or self.clock() > until:
                break
        self._hand_over(batch)
        self._is_due = bool(self._unread)
        if self._is_due:
            self._wake(_REST_SECONDS if len(self._unread) < _MOST_WAITING else 0.0, self._read)

    def _records(self, seen: Seen, now: datetime) -> list[Record]:
        told: list[Record] = []
        hearing, seen.hearing = seen.hearing, None
        if hearing is not None:
            try:
                is_stopped = hearing.task_id is not None and hearing.task_id in self._stopped
                told = hearing.close(is_stopped=is_stopped)
                self.counts.failures.update(hearing.failures)
                self.counts.events += hearing.events
                self.counts.unread += hearing.is_too_long
            except Exception as error:
                self._note_failure(error)
        return [*told, self._request(seen, hearing, told, now)]

    def _note_failure(self, error: Exception) -> None:
        self.counts.failures[type(error).__name__] += 1
        log.warning("answer not read, its bytes went on", error=type(error).__name__)

    def _request(self, seen: Seen, hearing: Hearing | None, told: list[Record], now: datetime) -> Request:
        run = message = app_id = None
        for one in told:
            run = one if isinstance(one, Run) else run
            message = one if isinstance(one, Message) else message
            app_id = app_id or getattr(one, "app_id", None)
        failed = seen.status is not None and seen.status >= 400
        return Request(
            source=TAP,
            seen_at=now,
            id=self._new_id(),
            app_id=seen.matched.app_id or app_id,
            key_fingerprint=seen.fingerprint,
            method=seen.method,
            route=seen.matched.route.template,
            status_code=seen.status,
            is_stream=seen.is_stream,
            created_at=seen.created_at,
            duration_seconds=seen.duration,
            time_to_first_byte_seconds=seen.first_byte,
            time_to_first_token_seconds=hearing.first_piece_seconds if hearing else None,
            request_bytes=seen.request_bytes,
            response_bytes=seen.answer_bytes,
            interrupted_by=seen.interrupted_by,
            error_class=seen.error_class
            or (hearing.error_class if hearing else None)
            or (run.error_class if run else None)
            or (error_class(str(seen.status)) if failed else None),
            run_id=run.id if run else message.run_id if message else None,
            message_id=message.id if message else None,
        )

    def _new_id(self) -> str:
        """Drawn once and counted on: no other worker draws the same."""
        self._count = (self._count + 1) % 2**48
        return f"{self._own_id}-{self._count:012x}"

    def _hand_over(self, batch: list[Record]) -> None:
        if not batch:
            return
        try:
            self._sink(batch)
            self.counts.records += len(batch)
        except Exception as error:
            self.counts.sink_failures += 1
            log.error("records lost: the sink refused them", records=len(batch), error=type(error).__name__)


def _fingerprint(shown: bytes | None, route: Route) -> str | None:
    """The app key's: of the service API alone, other doors show tokens that change."""
    return _digest(shown) if shown is not None and route.template.startswith("/v1/") else None


@lru_cache(maxsize=1024)
def _digest(shown: bytes) -> str | None:
    key = shown[len(_BEARER) :].strip()
    return hashlib.sha256(key).hexdigest()[:16] if key and shown.lower().startswith(_BEARER) else None
