"""A Chart as SVG that stands in a page: bars or lines over the steps, with the period before behind them.

What comes in are numbers and how they are written; what goes out is one `<svg>`. Colours and sizes are attributes of
its shapes, so that it looks the same on a screen, on paper and in whatever cuts it out. Nothing here scripts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, TypeAlias

from collector.period import Grain
from collector.reports.report import Chart, Line
from collector.reports.spelling import RATIO, SECONDS, Spelling, is_money

Point: TypeAlias = tuple[float, float]

WIDTH, HEIGHT = 460, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 10, 40
COLOURS = ("#2563eb", "#f59e0b", "#059669")
BEFORE_COLOUR, GRID, INK = "#94a3b8", "#e2e8f0", "#64748b"
FONT = "'Segoe UI', 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', 'WenQuanYi Zen Hei', sans-serif"
MOST_LABELS = 7


def svg(chart: Chart, grain: Grain, spelling: Spelling, title: str) -> str:
    """The picture; `title` is what it shows, for who cannot see it."""
    drawing = _Drawing(chart, grain, spelling)
    body = "".join(drawing.parts())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(title)}" font-family="{escape(FONT)}" font-size="10">{body}</svg>'
    )


def top_of(highest: float) -> tuple[float, int]:
    """The end of an axis that holds the highest value, and its number of steps, each 1, 2, 2.5 or 5 of its size."""
    if highest <= 0 or not math.isfinite(highest):
        return 1.0, 2
    size = 10.0 ** math.floor(math.log10(highest / 3))
    for step in (1, 2, 2.5, 5, 10):
        steps = math.ceil(highest / (step * size) - 1e-9)
        if steps <= 4:
            return step * size * steps, steps
    return 10 * size, 4


@dataclass
class _Drawing:
    chart: Chart
    grain: Grain
    spelling: Spelling

    def __post_init__(self) -> None:
        self.unit = self.chart.lines[0].unit
        self.is_lines = self.unit in (RATIO, SECONDS)
        columns = list(zip(*(line.values for line in self.chart.lines), strict=True))
        sums = [sum(_plain(value) for value in column) for column in columns] if self.chart.is_stacked else []
        every = [_plain(value) for line in self.chart.lines for value in (*line.values, *line.before)]
        highest = max([*every, *sums], default=0.0)
        size = _size(highest) if self.unit == SECONDS else 1
        self.end, self.ticks = top_of(highest / size)
        self.end *= size
        if self.unit not in (RATIO, SECONDS) and not is_money(self.unit) and self.end < self.ticks:
            self.end, self.ticks = 1.0, 1  # nothing counted has a half
        self.width = (WIDTH - _LEFT - _RIGHT) / max(len(self.chart.times), 1)

    def parts(self) -> Iterator[str]:
        yield from self._axis()
        yield from self._days()
        for number, line in enumerate(self.chart.lines):
            if line.before:
                yield from self._path(line.before, BEFORE_COLOUR, dashed=True)
            if self.is_lines:
                yield from self._path(line.values, COLOURS[number])
        if not self.is_lines:
            yield from self._bars()
            for line in self.chart.lines:
                if line.before:
                    yield from self._path(line.before, BEFORE_COLOUR, dashed=True)
        yield from self._legend()

    def _y(self, value: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - value / self.end)

    def _x(self, place: float) -> float:
        return _LEFT + self.width * (place + 0.5)

    def _axis(self) -> Iterator[str]:
        for tick in range(self.ticks + 1):
            value = self.end * tick / self.ticks
            y = self._y(value)
            yield f'<path d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}" stroke="{GRID}"/>'
            yield _text(_LEFT - 6, y + 3.5, self._tick(value), "end")

    def _tick(self, value: float) -> str:
        if self.unit == RATIO:
            return f"{value * 100:.3g}%"
        if self.unit == SECONDS:
            return self.spelling.seconds(value) if value else "0"
        return self.spelling.short(int(value) if float(value).is_integer() else value)

    def _days(self) -> Iterator[str]:
        times = self.chart.times
        every = math.ceil(len(times) / MOST_LABELS)
        for place, at in enumerate(times):
            if place % every == 0:
                yield _text(self._x(place), HEIGHT - _BOTTOM + 14, self.spelling.step(at, self.grain), "middle")

    def _bars(self) -> Iterator[str]:
        wide = min(self.width * 0.7, 34)
        lines = self.chart.lines if self.chart.is_stacked else self.chart.lines[:1]
        for place in range(len(self.chart.times)):
            base = 0.0
            for number, line in enumerate(lines):
                if value := _plain(line.values[place]):
                    y, bottom = self._y(base + value), self._y(base)
                    base += value
                    yield (
                        f'<rect x="{self._x(place) - wide / 2:.1f}" y="{y:.1f}" width="{wide:.1f}" '
                        f'height="{max(bottom - y, 0.5):.1f}" fill="{COLOURS[number]}"/>'
                    )

    def _path(self, values: Sequence[Any], colour: str, *, dashed: bool = False) -> Iterator[str]:
        """Lines through what is known; what is not known is a gap, and what stands alone a dot."""
        for piece in _pieces(values, lambda place, value: (self._x(place), self._y(value))):
            if len(piece) == 1:
                ((x, y),) = piece
                yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>'
                continue
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
            dashes = ' stroke-dasharray="4 3"' if dashed else ""
            thick = 1.4 if dashed else 2
            yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{thick}"{dashes}/>'

    def _legend(self) -> Iterator[str]:
        told = [(self._called(line), COLOURS[number]) for number, line in enumerate(self.chart.lines)]
        if any(line.before for line in self.chart.lines):
            told.append((self.spelling.word("before"), BEFORE_COLOUR))
        if len(told) < 2:
            return
        x = float(_LEFT)
        for name, colour in told:
            yield f'<rect x="{x:.0f}" y="{HEIGHT - 13}" width="9" height="9" rx="2" fill="{colour}"/>'
            yield _text(x + 13, HEIGHT - 5, name, "start")
            x += 30 + sum(10 if ord(each) > 0x2E7F else 5.4 for each in name)

    def _called(self, line: Line) -> str:
        return self.spelling.name(line.name)


def _size(seconds: float) -> int:
    """In what an axis of so much time is divided: hours, minutes, seconds."""
    return 3600 if seconds >= 7200 else 60 if seconds >= 120 else 1


def _plain(value: Any) -> float:
    return 0.0 if value is None else float(value)


def _pieces(values: Sequence[Any], place_of: Callable[[int, float], Point]) -> Iterator[list[Point]]:
    piece: list[Point] = []
    for place, value in enumerate(values):
        if value is not None:
            piece.append(place_of(place, float(value)))
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


def _text(x: float, y: float, said: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" text-anchor="{anchor}">{escape(said)}</text>'
