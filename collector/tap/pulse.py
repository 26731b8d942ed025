"""How long bytes wait for their turn in an event loop: a probe that takes the way every byte takes.

Ten times a second a byte is sent to ourselves; the time until the loop hands it over is what any byte would have
waited that arrived then. Goes out: counts by bucket, and their sum. No byte of anybody else is touched.
"""

from __future__ import annotations

import asyncio
import socket
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import suppress

PROBE_SECONDS = 0.1


class Pulse:
    """Probes the running loop from `start` to `stop`."""

    def __init__(self, buckets: Sequence[float], clock: Callable[[], float] = time.perf_counter) -> None:
        self.counts = [0] * (len(buckets) + 1)
        self.sum_seconds = 0.0
        self._buckets = buckets
        self._clock = clock
        self._sent_at: float | None = None
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._mouth, self._ear = socket.socketpair()
        for end in (self._mouth, self._ear):
            end.setblocking(False)
        asyncio.get_running_loop().add_reader(self._ear, self._heard)
        self._probe()

    def stop(self) -> None:
        if self._next is not None:
            self._next.cancel()
        asyncio.get_running_loop().remove_reader(self._ear)
        self._mouth.close()
        self._ear.close()

    def _probe(self) -> None:
        self._next = asyncio.get_running_loop().call_later(PROBE_SECONDS, self._probe)
        if self._sent_at is None:
            self._sent_at = self._clock()
            with suppress(OSError):
                self._mouth.send(b".")

    def _heard(self) -> None:
        now = self._clock()
        with suppress(OSError):
            self._ear.recv(16)
        if self._sent_at is not None:
            self.note(now - self._sent_at)
            self._sent_at = None

    def note(self, seconds: float) -> None:
        """Count one waiting time."""
        self.counts[bisect_left(self._buckets, seconds)] += 1
        self.sum_seconds += seconds
