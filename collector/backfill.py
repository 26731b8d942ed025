"""One back-fill at a time inside a service: begun, looked at while it goes on, stopped.

What comes in is the work to do; what goes out is how far it is. It goes on beside the passes and shares their turns.
Nothing here knows Dify or a store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

import structlog

from collector.errors import DifyMetricError
from collector.records import Pull

log = structlog.get_logger()

Progress: TypeAlias = Callable[[str, int, "int | None"], None]
Work: TypeAlias = Callable[[Progress], Awaitable[Sequence[Pull]]]


class BackFill:
    """The back-fill of a service. `state` is none, running, done, stopped or failed."""

    def __init__(self) -> None:
        self.state = "none"
        self.problem: str | None = None
        self.progress: dict[str, tuple[int, int | None]] = {}
        self.pulls: Sequence[Pull] = ()
        self._task: asyncio.Task[None] | None = None

    def begin(self, work: Work) -> bool:
        """Begin, unless one is going on; whether it was begun."""
        if self.state == "running":
            return False
        self.state, self.problem, self.progress, self.pulls = "running", None, {}, ()
        self._task = asyncio.get_running_loop().create_task(self._do(work))
        return True

    async def stop(self) -> None:
        """Break off what is going on; what is stored stays, and the next one goes on there."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def wait(self) -> None:
        """Until what is going on has ended."""
        if self._task is not None:
            await asyncio.wait({self._task})

    def told(self) -> Mapping[str, object]:
        """How far it is."""
        steps = [{"stream": name, "done": done, "total": total} for name, (done, total) in self.progress.items()]
        return {"state": self.state, "problem": self.problem, "progress": steps}

    async def _do(self, work: Work) -> None:
        try:
            self.pulls = await work(self._tell)
            self.state = "done"
        except asyncio.CancelledError:
            self.state = "stopped"
            raise
        except Exception as error:
            self.state = "failed"
            self.problem = str(error) if isinstance(error, DifyMetricError) else type(error).__name__
            log.exception("back-fill failed", next="begin it again: it goes on from what is stored")

    def _tell(self, stream: str, done: int, total: int | None) -> None:
        self.progress[stream] = (done, total)
