"""Sets of time: sorted, disjoint, half-open spans, and what is in one and not in the other.

What comes in are spans; what goes out are spans. Nothing here knows a table.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise
from typing import TypeAlias

from collector.rollups import BEGINNING, Level

Span: TypeAlias = tuple[datetime, datetime]
Spans: TypeAlias = tuple[Span, ...]

EVER: Spans = ((datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)),)
"""All instants a store can hold."""

ROLLED: Spans = ((BEGINNING, EVER[0][1]),)
"""The instants that rollups may hold."""


def together(spans: Iterable[Span]) -> Spans:
    """Any spans -> their set; those that touch or overlap become one, empty ones go."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return tuple(found)


def both(one: Spans, other: Spans) -> Spans:
    """What is in both."""
    return together((max(a, c), min(b, d)) for a, b in one for c, d in other)


def without(one: Spans, other: Spans) -> Spans:
    """What is in the one and not in the other."""
    for start, end in other:
        one = tuple(part for a, b in one for part in ((a, min(b, start)), (max(a, end), b)) if part[0] < part[1])
    return one


def whole_steps(spans: Spans, level: Level) -> Spans:
    """The steps that lie wholly inside."""
    return together((_up(start, level), level.start(end)) for start, end in spans)


def steps(starts: Iterable[datetime], level: Level) -> Spans:
    """The steps that begin at these instants."""
    return together((start, start + level.length) for start in starts)


def fewer(spans: Spans, most: int, never: Spans) -> Spans:
    """The same and more: the smallest gaps are filled until there are no more than `most`, but none that meets `never`.

    SQL over many spans takes longer than reading a little more.
    """
    gaps = sorted((later[0] - earlier[1], earlier[1], later[0]) for earlier, later in pairwise(spans))
    spare = len(spans) - most
    filled: list[Span] = []
    for _, start, end in gaps:
        if len(filled) >= spare:
            break
        if not both(((start, end),), never):
            filled.append((start, end))
    return together((*spans, *filled)) if filled else spans


def _up(at: datetime, level: Level) -> datetime:
    start = level.start(at)
    return start if start == at else start + level.length
