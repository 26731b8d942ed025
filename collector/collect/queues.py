"""Samples of Dify's queues: one look at a broker, stored, and noted as a Pull.

What comes in are a Broker and `put`; what goes out is a Pull. What could not be told is warned of once, and again when
something else cannot. Nothing here decides when to look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from collector.collect.passes import Put
from collector.collect.tally import error_name
from collector.errors import DifyMetricError, StoreError
from collector.pull.broker import Broker
from collector.records import BROKER, Pull, QueueSample

log = structlog.get_logger()

STREAM = "queues"


class Queues:
    """Looks at the queues of one Dify. `is_up` tells whether the last look succeeded."""

    def __init__(self, broker: Broker, put: Put, *, origin: str, clock: Callable[[], datetime]) -> None:
        self.broker = broker
        self.is_up = False
        self._put = put
        self._origin = origin
        self._clock = clock
        self._told: tuple[str, ...] = ()

    async def sample(self) -> Pull:
        """One look. Raises StoreError; what the broker does is in the Pull."""
        began, problem = self._clock(), None
        samples: tuple[QueueSample, ...] = ()
        troubles: tuple[str, ...] = ()
        round_trips = 0
        try:
            look = await self.broker.sample(began)
            samples, troubles, round_trips = look.samples, look.troubles, look.round_trips
        except StoreError:
            raise
        except DifyMetricError as error:
            problem, troubles = error_name(error), (str(error),)
        self.is_up = problem is None
        self._warn(troubles)
        ended = self._clock()
        pull = Pull(
            source=BROKER,
            seen_at=ended,
            id=f"{BROKER}/{self._origin}/{began.isoformat()}",
            stream=STREAM,
            created_at=began,
            seconds=(ended - began).total_seconds(),
            requests=round_trips,
            pages=int(problem is None),
            records=len(samples),
            parse_failures=0,
            error_class=problem,
            is_complete=problem is None and not troubles,
            origin=self._origin,
        )
        await asyncio.to_thread(self._put, [*samples, pull], ())
        return pull

    async def aclose(self) -> None:
        """Let go of the broker."""
        await self.broker.aclose()

    def _warn(self, troubles: tuple[str, ...]) -> None:
        for trouble in troubles:
            tell = log.debug if trouble in self._told else log.warning
            tell("queues not known", origin=self._origin, problem=trouble)
        self._told = troubles
