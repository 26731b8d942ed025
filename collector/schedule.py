"""When passes happen: one at once, then one every interval, never two at a time.

What comes in is the pass to make; what goes out is nothing but its being called. A pass that fails is logged and
counted, and the next one comes all the same; a source that is stopped for good is asked no more. Nothing here knows
what a pass reads.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

log = structlog.get_logger()

TURN = "next-pass"
"""The id of the scheduler's one job."""

JITTER_SHARE = 0.1
"""How far a pass may move within its interval, so that several collectors do not ask at one instant."""


OUTCOMES = ("finished", "failed", "missed")
"""What is counted of turns: passes that ended well or not, and turns that came due while a pass was at work."""


class Schedule:
    """Makes passes in the running event loop. `counts` has OUTCOMES; `last_ended` tells when."""

    def __init__(
        self,
        make_pass: Callable[[], Awaitable[object]],
        interval: timedelta,
        *,
        stopped: Callable[[], str | None] = lambda: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        counts: Counter[str] | None = None,
    ) -> None:
        """`stopped` says why the source will not be asked any more; None: it will. `counts`: where to count."""
        self.counts: Counter[str] = Counter() if counts is None else counts
        self.last_ended: datetime | None = None
        self._make_pass = make_pass
        self._interval = interval
        self._stopped = stopped
        self._clock = clock
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._at_work = asyncio.Lock()
        self._making: asyncio.Future[object] | None = None
        self._stopping = asyncio.Event()

    @property
    def next_at(self) -> datetime | None:
        """When the next pass is due; None when there will be none."""
        job = self._scheduler.get_job(TURN)
        return job.next_run_time if job else None

    def start(self) -> None:
        """Make the first pass now and the others every interval."""
        jitter = int(self._interval.total_seconds() * JITTER_SHARE) or None
        self._scheduler.add_job(
            self.make_one,
            IntervalTrigger(seconds=self._interval.total_seconds(), timezone=UTC, jitter=jitter),
            id=TURN,
            next_run_time=datetime.now(UTC),
            max_instances=1,
            coalesce=True,  # passes missed while one took long, or while the machine slept, are one pass
            misfire_grace_time=None,
        )
        self._scheduler.start()

    async def stop(self) -> None:
        """Make no more passes; the one at work is broken off, which costs only what it did not store yet."""
        self._stopping.set()
        if self._making:
            self._making.cancel()
        async with self._at_work:
            if self._scheduler.running:
                self._scheduler.remove_all_jobs()
                self._scheduler.shutdown(wait=False)
        await asyncio.sleep(0)  # the scheduler leaves the loop one turn later

    async def make_one(self) -> None:
        """One pass, now. Never raises: what fails is logged and counted."""
        async with self._at_work:
            if self._stopping.is_set():
                return
            self._pause()  # a pass longer than the interval is no news worth a warning per interval
            began = self._clock()
            try:
                self._making = asyncio.ensure_future(self._make_pass())
                await self._making
                self.counts["finished"] += 1
            except asyncio.CancelledError:
                if not self._stopping.is_set():
                    raise
                log.info("pass broken off", next="the next start goes on from what is stored")
            except Exception:
                self.counts["failed"] += 1
                log.exception("pass failed", next=f"it is tried again every {self._interval}")
            self.last_ended = self._clock()
            self.counts["missed"] += max((self.last_ended - began) // self._interval, 0)
            self._go_on()

    def _pause(self) -> None:
        if job := self._scheduler.get_job(TURN):
            job.pause()

    def _go_on(self) -> None:
        if why := self._stopped():
            log.error("passes ended", problem=why)
            self._scheduler.remove_all_jobs()
        if job := self._scheduler.get_job(TURN):
            job.resume()
