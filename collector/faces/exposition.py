"""Families as the text that Prometheus reads, in its own format or as OpenMetrics.

In come families with their values, out go bytes. What a line says before its value is made once and kept, because the
same series are told at every scrape. Nothing here knows what the families are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal, TypeAlias

import msgspec

Labels: TypeAlias = tuple[str, ...]
Values: TypeAlias = Mapping[Labels, float]

_LABEL = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})
_ODD = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}
ABOVE = "+Inf"
"""The bound of the last bucket."""

_encoded = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Exemplar:
    """One fact behind a bucket: its labels, its value, when it was, in seconds since 1970."""

    labels: tuple[tuple[str, str], ...]
    value: float
    at: float


@dataclass(frozen=True)
class Shown:
    """A family with its values by labels. Of a histogram `values` are the counts of its facts, `sums` their sums and
    `up_to` how many are no longer than a bound, by labels and bound; `bounds` are those bounds in order, as they are
    written. `exemplars` stand behind buckets, by labels and bound (or `+Inf`); only OpenMetrics can tell them.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    values: Values
    bounds: Sequence[str] = ()
    up_to: Values = field(default_factory=dict)
    sums: Values = field(default_factory=dict)
    exemplars: Mapping[Labels, Exemplar] = field(default_factory=dict)


class _Lines:
    """The lines of one family: what stands before each number, for the series of the scrape before."""

    def __init__(self) -> None:
        self.series: list[Labels] = []
        self.buckets: list[Labels] = []  # labels and bound, in the order of the lines
        self._known: dict[Labels, list[bytes]] = {}
        self._pieces: list[bytes] = []  # a beginning and room for its number, in turn

    def of(self, family: Shown) -> None:
        """Be the lines of a family that has these series now, in whatever order."""
        series = [*family.values]
        if len(series) == len(self.series) and (
            series == self.series or all(map(family.values.__contains__, self.series))
        ):
            return
        lines: list[bytes] = []
        for labels in series:
            if (begun := self._known.get(labels)) is None:
                begun = self._known[labels] = [line.encode() for line in _beginnings(family, labels)]
            lines += begun
        self.series, self.buckets = series, [(*labels, bound) for labels in series for bound in family.bounds]
        self._pieces = [b""] * (2 * len(lines))
        self._pieces[::2] = lines

    def written(self, numbers: Sequence[bytes]) -> bytes:
        """All of them with their numbers."""
        pieces = self._pieces
        pieces[1::2] = numbers
        return b"".join(pieces)


class Renderer:
    """Writes families. It remembers the beginnings of lines; not thread-safe."""

    def __init__(self) -> None:
        self._lines: dict[str, _Lines] = {}

    def text(self, families: Iterable[Shown], *, openmetrics: bool = False, others: str = "") -> bytes:
        """All families, and those of `others`, which are text in Prometheus' own format already."""
        parts: list[bytes] = []  # every line begins with the end of the one before
        for family in families:
            lines = self._lines.setdefault(family.name, _Lines())
            lines.of(family)
            if family.kind == "histogram":
                numbers = _of_histogram(family, lines, openmetrics)
            else:
                numbers = _written(_in_order(family.values, lines.series))
            parts += (_head(family, openmetrics).encode(), lines.written(numbers))
        if parts:
            parts[0] = parts[0][1:]
            parts.append(b"\n")
        parts += [*(line.encode() for line in _renamed(others)), b"# EOF\n"] if openmetrics else [others.encode()]
        return b"".join(parts)


def _of_histogram(family: Shown, lines: _Lines, openmetrics: bool) -> list[bytes]:
    """The numbers of its lines: of every series the buckets, the last of them, the count and the sum."""
    width, series, sums = len(family.bounds) + 3, lines.series, family.sums
    counts = _written(_in_order(family.values, series))
    buckets = _written(_in_order(family.up_to, lines.buckets))
    numbers = [b""] * (width * len(series))
    for place in range(width - 3):
        numbers[place::width] = buckets[place :: width - 3]
    numbers[width - 3 :: width] = numbers[width - 2 :: width] = counts
    numbers[width - 1 :: width] = _written([sums.get(labels, 0.0) for labels in series])
    if openmetrics and family.exemplars:
        bounds = (*family.bounds, ABOVE)
        for at, labels in enumerate(series):
            for place, bound in enumerate(bounds):
                if exemplar := family.exemplars.get((*labels, bound)):
                    numbers[at * width + place] += _told(exemplar)
    return numbers


def _in_order(values: Values, series: list[Labels]) -> list[float]:
    """The values of the series, which most often stand in that order already."""
    return [*values.values()] if [*values] == series else [*map(values.__getitem__, series)]


def _told(exemplar: Exemplar) -> bytes:
    names, values = zip(*exemplar.labels, strict=True)
    return f" # {_braced(names, values)} {exemplar.value!r} {exemplar.at:.3f}".encode()


def _beginnings(family: Shown, labels: Labels) -> Iterator[str]:
    """What the lines of one series begin with, in their order."""
    braced = _braced(family.labels, labels)
    if family.kind != "histogram":
        yield f"\n{family.name}{braced} "
        return
    for bound in (*family.bounds, ABOVE):
        yield f"\n{family.name}_bucket{_braced((*family.labels, 'le'), (*labels, bound))} "
    yield f"\n{family.name}_count{braced} "
    yield f"\n{family.name}_sum{braced} "


def _written(values: list[float]) -> list[bytes]:
    """Numbers as both formats write them."""
    if not values:
        return []
    if isfinite(sum(values)):
        return _encoded(values)[1:-1].split(b",")
    return [_number(value).encode() for value in values]


def _head(family: Shown, openmetrics: bool) -> str:
    name, said = family.name, family.help.translate(_HELP)
    if openmetrics:
        said = family.help.translate(_LABEL)
        name = name.removesuffix("_total") if family.kind == "counter" else name
    return f"\n# HELP {name} {said}\n# TYPE {name} {family.kind}"


def _renamed(text: str) -> Iterator[str]:
    """Text in Prometheus' format as OpenMetrics: there a counter's name has no `_total` where it is introduced."""
    counters = {
        line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE") and line.endswith(" counter")
    }
    for line in text.splitlines(keepends=True):
        if line.startswith("# ") and (name := line.split(" ", 3)[2]) in counters:
            yield line.replace(name, name.removesuffix("_total"), 1)
        else:
            yield line


def _braced(names: Sequence[str], values: Sequence[str]) -> str:
    """Labels in the order of their names; none where there are none."""
    told = (f'{name}="{value.translate(_LABEL)}"' for name, value in sorted(zip(names, values, strict=True)))
    return f"{{{','.join(told)}}}" if names else ""


def _number(value: float) -> str:
    written = repr(value)
    return _ODD.get(written, written)
