"""How far something long has come: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from collector.terminal.words import say

LINE_EVERY_SECONDS = 30.0


class Lines:
    """Progress in words, for logs and pipes: a line for each stream now and then, none for what is quick."""

    def __init__(self, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        self._clock, self._say = clock, say
        self._began: dict[str, tuple[float, int]] = {}  # by stream: when, and with how much done
        self._said: dict[str, float] = {}

    def tell(self, stream: str, done: int, total: int | None) -> None:
        """So much is done."""
        now = self._clock()
        began, at_first = self._began.setdefault(stream, (now, done))
        if now - self._said.setdefault(stream, now) < LINE_EVERY_SECONDS:
            return
        self._said[stream] = now
        rate = (done - at_first) / (now - began)
        words = f"{stream}: {done:,}" + (f" of {total:,}" if total else "") + f", {rate:,.1f}/s"
        if total and rate > 0:
            words += f", {_lasting(max(total - done, 0) / rate)} left"
        self._say(words)


def _lasting(seconds: float) -> str:
    minutes = round(seconds / 60)
    return (
        f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min" if minutes else "1 min or less"
    )


@contextmanager
def progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """A callable (stream, done, total or None): bars while the context lasts, or, where stderr is no terminal, a line
    now and then."""
    if not sys.stderr.isatty():
        yield Lines(monotonic, say).tell
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def tell(stream: str, done: int, total: int | None) -> None:
            if stream not in tasks:
                tasks[stream] = bars.add_task(stream, total=total)
            bars.update(tasks[stream], completed=done, total=total)

        yield tell
