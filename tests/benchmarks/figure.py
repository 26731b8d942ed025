"""One measured number and the line it is printed as; what a benchmark prints is all that is known of it.

    figure sse.events_ratio 8.4 x beside httpx-sse + json

The unit is `x` for a ratio, the peer a dash where there is none. Nothing here measures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

_LINE = re.compile(r"figure (?P<name>\S+) (?P<value>-?\d+(?:\.\d+)?(?:e[+-]?\d+)?) (?P<unit>\S+) beside (?P<peer>\S.*)")


@dataclass(frozen=True)
class Figure:
    """A number with its unit, and what it was measured beside."""

    name: str  # room.what, as in sse.events_ratio
    value: float
    unit: str = "x"
    peer: str = "–"

    def __str__(self) -> str:
        return f"figure {self.name} {self.value:.4g} {self.unit} beside {self.peer}"


def parse(line: str) -> Figure | None:
    """The figure a line holds; None for any other line."""
    found = _LINE.fullmatch(line.strip())
    return Figure(found["name"], float(found["value"]), found["unit"], found["peer"]) if found else None


def interleaved(sides: Sequence[Callable[[], float]], rounds: int = 5) -> list[float]:
    """The median of each side over rounds in which all take turns, so that a noisy minute hits them alike."""
    measured = [[side() for side in sides] for _ in range(rounds)]
    return [median(values) for values in zip(*measured, strict=True)]
