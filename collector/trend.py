"""A row of numbers as a line of eight blocks, for a terminal. Plain values in, text out; nothing here prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

BLOCKS = "▁▂▃▄▅▆▇█"
GAP = " "
WIDEST = 60
"""Columns a line may take: more numbers than this are put together, neighbour with neighbour."""


@dataclass(frozen=True)
class Trend:
    """How one measure of one group went."""

    name: str  # the measure, and the group where there are several
    line: str
    lowest: float
    highest: float
    last: float


def trends(rows: Sequence[Mapping[str, object]], measures: Sequence[str], keys: Sequence[str]) -> list[Trend]:
    """One for each measure of each group that is told at two instants or more; `keys` are the group's columns.

    `rows` have `time`; what is told as text (money, instants) must be a number to be drawn.
    """
    times = list(dict.fromkeys(str(row["time"]) for row in sorted(rows, key=lambda row: str(row["time"]))))
    groups: dict[tuple[object, ...], dict[str, Mapping[str, object]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), {})[str(row["time"])] = row
    found = []
    for group, at in groups.items():
        name = " ".join("–" if each is None else str(each) for each in group)
        for measure in measures:
            values = [_number(at[time][measure]) if time in at else None for time in times]
            known = [value for value in values if value is not None]
            if len(known) > 1:
                told = f"{measure} {name}".rstrip()
                found.append(Trend(told, spark(values), min(known), max(known), known[-1]))
    return found


def spark(values: Sequence[float | None]) -> str:
    """From zero (or the lowest, where that is below) to the highest; a gap where nothing is known."""
    shown = _squeezed(values)
    known = [value for value in shown if value is not None]
    low = min(0.0, *known) if known else 0.0
    span = max(known, default=0.0) - low
    return "".join(GAP if value is None else _block(value - low, span) for value in shown)


def _block(height: float, span: float) -> str:
    return BLOCKS[min(int(height / span * len(BLOCKS)), len(BLOCKS) - 1)] if span else BLOCKS[0]


def _squeezed(values: Sequence[float | None]) -> list[float | None]:
    """At most WIDEST values, each the mean of its neighbourhood."""
    if len(values) <= WIDEST:
        return list(values)
    edges = [place * len(values) // WIDEST for place in range(WIDEST + 1)]
    return [_mean(values[start:end]) for start, end in pairwise(edges)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _number(value: object) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(str(value))
    except ValueError:
        return None
