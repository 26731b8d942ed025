"""From the spool to the collector: batch by batch, as often as it takes, and done only when the collector stored it.

In come batches of a spool, and of spools that dead workers left; out go requests. A batch the collector takes offence
at is halved until the records at fault stand alone: they are set aside, counted by kind, and the rest arrives. Every
other failure is waited out, longer and longer. Sending twice does no harm, so whatever is in doubt is sent again.
"""

from __future__ import annotations

import random
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

from collector import wire
from collector.errors import ShapeError, Unavailable
from collector.tap.post import Answer
from collector.tap.spool import Spool
from collector.tap.spool_file import Batch

MOST_RECORDS, MOST_BYTES = 5_000, 768 * 1024
"""In one request; the bytes are below the 1 MB that proxies take by default."""

LEAST_BYTES = 16 * 1024
"""To which requests may shrink where somebody between us and the collector finds them too large."""

LINGER_SECONDS = 0.5
"""Between two requests while there is little to send: the collector stores few large batches best."""

ADOPT_SECONDS = 10.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 60.0
LONGEST_WISH_SECONDS = 600.0
"""The longest Retry-After that is believed."""

PATIENCE = 5
"""Answers 500 in a row before a batch is searched for a record that causes them."""

_SEARCHED_RECORDS = 64
_UNFIT = frozenset({400, 413, 422})
_REASONS = {401: "unauthorized", 403: "unauthorized", 429: "busy", 500: "fault"}

Send: TypeAlias = Callable[[bytes], Answer]
"""Sends a batch. Raises Unavailable."""

log = structlog.get_logger()


@dataclass
class Counts:
    """What became of what was sent."""

    delivered: int = 0  # records
    requests: int = 0
    failures: Counter[str] = field(default_factory=Counter)  # requests, by reason
    refused: Counter[str] = field(default_factory=Counter)  # records, by kind


class _Later(Exception):
    """Not now."""

    def __init__(self, reason: str, detail: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class _Refused:
    """A record at fault, and why. `is_certain`: the collector said so; else it merely fails with it."""

    part: wire.Part
    reason: str
    is_certain: bool


class Delivery:
    """Takes what one spool holds to the collector. `turn` is one step; `start` takes one after the other in a thread.

    `adopt` finds a spool whose owner died; it is delivered whenever the own one is empty.
    """

    def __init__(
        self,
        spool: Spool,
        send: Send,
        *,
        adopt: Callable[[], Spool | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.counts = Counts()
        self._spool = spool
        self._send = send
        self._adopt = adopt
        self._clock = clock
        self._draw = draw
        self._adopted: Spool | None = None
        self._look_at = clock()
        self._failed_in_row = 0
        self._faults_in_row = 0
        self._taken = 0  # rows stored of those at hand
        self._most_bytes = MOST_BYTES
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Deliver from now on."""
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 0.0) -> bool:
        """Come to an end after the request on its way; whether it ended within so many seconds."""
        self._stopping.set()
        self._look_at = float("inf")
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return False
        if self._adopted is not None:
            self._adopted.close()
            self._adopted = None
        return True

    def finish(self, seconds: float) -> bool:
        """Deliver what is left, while the collector takes it and for so long; whether all has arrived."""
        until = self._clock() + seconds
        while self._clock() < until and self.turn() == 0 and not self._failed_in_row:
            pass
        return not self._spool.take(1, 1)

    def turn(self) -> float:
        """Deliver the oldest batches; how many seconds to wait before the next turn."""
        spool, most = self._spool, _SEARCHED_RECORDS if self._is_searching else MOST_RECORDS
        batches = spool.take(most, self._most_bytes)
        if not batches and (found := self._left_over()):
            spool, batches = found, found.take(most, self._most_bytes)
        if not batches:
            return LINGER_SECONDS
        parts, damaged = _parts(batches)
        self._taken = 0
        try:
            refused = self._settled(parts)
            if refused and not self._taken and not all(each.is_certain for each in refused):
                raise _Later("fault", refused[0].reason)  # it is not the records: it takes none at all
        except _Later as later:
            return self._wait(later)
        self._set_aside(spool, refused, damaged)
        spool.done(batches)
        self.counts.delivered += len(parts) - len(refused)
        self._well()
        return 0.0 if spool.take(1, 1) else LINGER_SECONDS

    @property
    def _is_searching(self) -> bool:
        """Whether the collector fails so often that a record may be the cause."""
        return self._faults_in_row >= PATIENCE

    def _settled(self, parts: Sequence[wire.Part]) -> list[_Refused]:
        """Send rows; those at fault. Raises _Later."""
        if not parts:
            return []
        answer = self._asked(wire.join(parts))
        if answer.is_stored:
            self._taken += len(parts)
            return []
        if answer.status == 413:
            self._most_bytes = max(LEAST_BYTES, self._most_bytes // 2)
        is_unfit = answer.status == 413 or (answer.status in _UNFIT and answer.is_its_own)
        if not is_unfit and not (answer.status == 500 and self._is_searching):
            raise _later(answer)
        if len(parts) == 1:
            return [_Refused(parts[0], answer.detail or f"HTTP {answer.status}", is_unfit)]
        half = len(parts) // 2
        return self._settled(parts[:half]) + self._settled(parts[half:])

    def _asked(self, body: bytes) -> Answer:
        self.counts.requests += 1
        try:
            return self._send(body)
        except Unavailable as error:
            raise _Later("connection", str(error)) from None

    def _set_aside(self, spool: Spool, refused: Sequence[_Refused], damaged: Sequence[Batch]) -> None:
        """Keep what will never arrive where a person finds it."""
        if not refused and not damaged:
            return
        kept = [(each.part[0], each.reason, bytes(each.part[1])) for each in refused]
        kept += [("batch", "damaged on disk", batch.packed) for batch in damaged]
        spool.refuse(kept)
        self.counts.refused.update(each.part[0] for each in refused)
        for batch in damaged:
            self.counts.refused.update(batch.kinds)
        kind, reason, _ = kept[0]
        log.error("records set aside: they will never arrive", number=len(kept), first=kind, reason=reason)

    def _left_over(self) -> Spool | None:
        """A spool of somebody who died, until it is empty."""
        if self._adopted is not None and not self._adopted.take(1, 1):
            self._adopted.close()
            self._adopted = None
        if self._adopted is None and self._clock() >= self._look_at:
            self._adopted = self._adopt()
            if self._adopted is None:
                self._look_at = self._clock() + ADOPT_SECONDS
        return self._adopted

    def _wait(self, later: _Later) -> float:
        self.counts.failures[later.reason] += 1
        self._faults_in_row = self._faults_in_row + 1 if later.reason == "fault" else 0
        self._failed_in_row += 1
        if self._failed_in_row == 1:
            log.warning("collector takes no records, they stay in the spool", reason=later.reason, said=later.detail)
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self._failed_in_row - 1, 10))
        wish = min(later.retry_after_seconds or 0.0, LONGEST_WISH_SECONDS)
        return max(wish, pause * (0.5 + self._draw() / 2))

    def _well(self) -> None:
        if self._failed_in_row:
            log.info("collector takes records again", after=self._failed_in_row)
        self._failed_in_row = self._faults_in_row = 0

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            try:
                pause = self.turn()
            except Exception as error:  # whatever it is, records stay where they are and it is tried again
                self.counts.failures["_OTHER"] += 1
                log.error("delivery failed", error=type(error).__name__)
                pause = LONGEST_PAUSE_SECONDS


def _later(answer: Answer) -> _Later:
    reason = _REASONS.get(answer.status, "unavailable" if answer.status > 500 else "misdirected")
    detail = answer.detail if answer.is_its_own and answer.detail else f"HTTP {answer.status}"
    return _Later(reason, detail, answer.retry_after_seconds)


def _parts(batches: Sequence[Batch]) -> tuple[list[wire.Part], list[Batch]]:
    """The rows of batches, and the batches of which the disk has lost bits."""
    parts: list[wire.Part] = []
    damaged: list[Batch] = []
    for batch in batches:
        try:
            parts += wire.parts(batch.body)
        except (ShapeError, zlib.error):
            damaged.append(batch)
    return parts, damaged
