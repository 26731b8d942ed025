"""The content of one answer, piece by piece -> the records it tells: a stream of events, or one JSON body.

Both are unpacked where they came compressed, within the same bounds. A body is kept only up to its limit and let go
when it has been read. No I/O, no clock.
"""

from __future__ import annotations

import zlib
from collections import Counter
from typing import Protocol

from collector.errors import ShapeError
from collector.fields import decode
from collector.ledger import Telling
from collector.records import Record
from collector.tap.limits import Limits
from collector.tap.usage import Stream, answer_error, blocking, is_error

_WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


class Hearing(Protocol):
    """Listens to one answer. `task_id` and the rest are known when it has been read."""

    @property
    def task_id(self) -> str | None: ...
    @property
    def failures(self) -> Counter[str]: ...
    @property
    def error_class(self) -> str | None: ...
    @property
    def first_piece_seconds(self) -> float | None: ...
    @property
    def is_too_long(self) -> bool: ...
    @property
    def events(self) -> int: ...

    def passes(self, chunk: bytes) -> bool:
        """Whether this is one more of what is only counted: then it is, and need not be fed."""

    def feed(self, chunk: bytes, at: float | None = None) -> None: ...
    def close(self, *, is_stopped: bool = False) -> list[Record]: ...


def hearing_of(
    telling: Telling, *, mode: str | None, invoke_from: str | None, is_stream: bool, coding: bytes, limits: Limits
) -> Hearing | None:
    """Who can read an answer of this kind; None: nobody, its coding is unknown."""
    hearing: Hearing
    if is_stream:
        hearing = EventHearing(telling, mode=mode, invoke_from=invoke_from, max_event_bytes=limits.event_bytes)
    else:
        hearing = BodyHearing(telling, mode, invoke_from, limits.answer_bytes)
    if coding in (b"", b"identity"):
        return hearing
    return Unpacked(hearing, _WINDOWS[coding], limits.event_bytes) if coding in _WINDOWS else None


class EventHearing(Stream):
    """A stream of events."""

    __slots__ = ()

    is_too_long = False  # of a stream, only events can be


class BodyHearing:
    """A JSON body, kept up to `max_bytes`."""

    first_piece_seconds: float | None = None
    task_id: str | None = None
    events = 0

    def __init__(self, telling: Telling, mode: str | None, invoke_from: str | None, max_bytes: int) -> None:
        self.failures: Counter[str] = Counter()
        self.error_class: str | None = None
        self.is_too_long = False
        self._telling, self._mode, self._invoke_from = telling, mode, invoke_from
        self._left = max_bytes
        self._parts: list[bytes] = []

    def passes(self, chunk: bytes) -> bool:
        return False

    def feed(self, chunk: bytes, at: float | None = None) -> None:
        self._left -= len(chunk)
        self.is_too_long = self._left < 0
        if self.is_too_long:
            self._parts.clear()
        else:
            self._parts.append(chunk)

    def close(self, *, is_stopped: bool = False) -> list[Record]:
        """What the body told; nothing of one that is no answer of an app."""
        written, self._parts = b"".join(self._parts), []
        if not written:
            return []
        try:
            body = decode(written)
            if not isinstance(body, dict):
                raise ShapeError("body", "an object", body)
            if is_error(body):
                self.error_class = answer_error(body)
            return blocking(body, self._telling, mode=self._mode, invoke_from=self._invoke_from)
        except ShapeError as error:
            self.failures[f"answer.{error.field}"] += 1
            return []


class Unpacked:
    """A compressed answer: unpacked and handed on, as far as `max_bytes` at a time."""

    def __init__(self, inner: Hearing, window: int, max_bytes: int) -> None:
        self._inner = inner
        self._unpacking = zlib.decompressobj(window)
        self._max_bytes = max_bytes
        self.is_too_long = False

    @property
    def task_id(self) -> str | None:
        return self._inner.task_id

    @property
    def events(self) -> int:
        return self._inner.events

    @property
    def failures(self) -> Counter[str]:
        return self._inner.failures

    @property
    def error_class(self) -> str | None:
        return self._inner.error_class

    @property
    def first_piece_seconds(self) -> float | None:
        return self._inner.first_piece_seconds

    def passes(self, chunk: bytes) -> bool:
        return False

    def feed(self, chunk: bytes, at: float | None = None) -> None:
        if self.is_too_long:
            return
        if unpacked := self._unpacking.decompress(chunk, self._max_bytes):
            self._inner.feed(unpacked, at)
        self.is_too_long = bool(self._unpacking.unconsumed_tail)

    def close(self, *, is_stopped: bool = False) -> list[Record]:
        return [] if self.is_too_long else self._inner.close(is_stopped=is_stopped)
