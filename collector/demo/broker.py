"""The queues of the simulated Dify: a Redis as Celery keeps it, answered from the time of day.

What comes in are the commands that a look at a broker asks; what goes out are the answers a Redis would give. Tasks
come in bursts and workers take them one by one, so queues fill and empty. No socket, nothing kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Burst:
    """Every so many seconds so many tasks come into a queue; a worker takes so many seconds for each."""

    queue: str
    every_seconds: int
    tasks: int
    takes_seconds: int

    def started(self, seconds: int) -> int:
        """How many tasks of the newest burst a worker has taken, that many seconds after 1970."""
        return min(seconds % self.every_seconds // self.takes_seconds + 1, self.tasks)

    def is_busy(self, seconds: int) -> bool:
        """Whether a worker has one of them in hand."""
        return seconds % self.every_seconds < self.tasks * self.takes_seconds

    def task(self, seconds: int, place: int) -> bytes:
        """What tells a task of the newest burst from others."""
        return f"{self.queue}/{seconds // self.every_seconds}/{place}".encode()


BURSTS = (
    Burst("workflow_based_app_execution", every_seconds=20, tasks=6, takes_seconds=3),
    Burst("dataset", every_seconds=90, tasks=12, takes_seconds=6),
    Burst("mail", every_seconds=60, tasks=2, takes_seconds=2),
)


class SimulatedBroker:
    """A way to ask that Redis, as `collector.pull.broker` asks one."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.round_trips = 0

    async def ask(self, commands: Sequence[tuple[str | int, ...]]) -> list[Any]:
        """Answers in order, all of one instant."""
        self.round_trips += 1
        seconds = int(self._clock().timestamp())
        return [_answer(command, seconds) for command in commands]

    async def aclose(self) -> None:
        """There is nothing to let go of."""


def _answer(command: tuple[str | int, ...], seconds: int) -> Any:
    name, *rest = command
    busy = [burst for burst in BURSTS if burst.is_busy(seconds)]
    match name:
        case "SCAN":
            return [0, []]
        case "HLEN":
            return len(busy)
        case "ZRANGE":
            taken = [(burst.task(seconds, burst.started(seconds)), _since(burst, seconds)) for burst in busy]
            return [each for tag, since in sorted(taken, key=lambda one: one[1]) for each in (tag, str(since).encode())]
        case "HMGET":
            queues = {burst.task(seconds, burst.started(seconds)).decode(): burst.queue for burst in busy}
            return [json.dumps([{}, "", queues[str(tag)]]).encode() if tag in queues else None for tag in rest[1:]]
        case "LLEN" | "LINDEX":
            return _list(str(name), str(rest[0]), seconds)
        case _:
            return []


def _since(burst: Burst, seconds: int) -> int:
    """When the task in hand was taken, in seconds after 1970."""
    return seconds - seconds % burst.every_seconds % burst.takes_seconds


def _list(command: str, key: str, seconds: int) -> int | bytes | None:
    burst = next((each for each in BURSTS if each.queue == key), None)
    waiting = burst.tasks - burst.started(seconds) if burst else 0
    if command == "LLEN":
        return waiting
    return burst.task(seconds, burst.started(seconds) + 1) if burst and waiting else None
