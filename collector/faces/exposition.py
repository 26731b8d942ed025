"""Families as the text that Prometheus reads, in its own format or as OpenMetrics.

In come families with their values, out go bytes. What a line says before its value is made once and kept, because the
same series are told at every scrape. Nothing here knows what the families are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
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
    """The lines of one family: what stands before each number, and what they said at the scrape before."""

    def __init__(self) -> None:
        self._series: list[Labels] = []
        self._buckets: list[Labels] = []  # labels and bound, in the order of the lines
        self._begun: dict[Labels, list[bytes]] = {}
        self._pieces: list[bytes] = []  # a beginning and its number, in turn
        self._said: list[list[float]] = []
        self._whole: bytes | None = None  # the pieces as one, where they said the same twice

    def written(self, family: Shown, *, has_exemplars: bool) -> list[bytes]:
        """All of them with their numbers, as pieces to be joined."""
        if family.kind == "histogram":
            counts = self._in_order(family)
            buckets = _values_of(family.up_to, self._buckets)
            said = [counts, buckets, [family.sums.get(labels, 0.0) for labels in self._series]]
        else:
            said = [self._in_order(family)]
        if family.exemplars and has_exemplars:
            self._said, self._whole = [], None
            self._pieces[1::2] = self._with_exemplars(family, _of_histogram(family, *said))
        elif said != self._said:
            self._said, self._whole = said, None
            numbers = _of_histogram(family, *said) if family.kind == "histogram" else _written(said[0])
            self._pieces[1::2] = numbers
        else:
            self._whole = self._whole or b"".join(self._pieces)
            return [self._whole]
        return self._pieces

    def _in_order(self, family: Shown) -> list[float]:
        """The values of a family in the order of the lines, which are made where it has other series than before."""
        values = family.values
        if [*values] == self._series:  # as a rule
            return [*values.values()]
        if len(values) == len(self._series) and all(map(values.__contains__, self._series)):
            return [*map(values.__getitem__, self._series)]
        lines: list[bytes] = []
        for labels in values:
            if (begun := self._begun.get(labels)) is None:
                begun = self._begun[labels] = [line.encode() for line in _beginnings(family, labels)]
            lines += begun
        self._series = [*values]
        self._buckets = [(*labels, bound) for labels in values for bound in family.bounds]
        self._pieces = [b""] * (2 * len(lines))
        self._pieces[::2] = lines
        self._said = []
        return [*values.values()]

    def _with_exemplars(self, family: Shown, numbers: list[bytes]) -> list[bytes]:
        width = len(family.bounds) + 3
        for at, labels in enumerate(self._series):
            for place, bound in enumerate((*family.bounds, ABOVE)):
                if exemplar := family.exemplars.get((*labels, bound)):
                    numbers[at * width + place] += _told(exemplar)
        return numbers


class Renderer:
    """Writes families. It remembers the beginnings of lines; not thread-safe."""

    def __init__(self) -> None:
        self._lines: dict[str, _Lines] = {}

    def text(self, families: Iterable[Shown], *, openmetrics: bool = False, others: str = "") -> bytes:
        """All families, and those of `others`, which are text in Prometheus' own format already."""
        written = BytesIO()  # joining so many pieces at once takes much longer: bytes.join notes where each is
        for place, family in enumerate(families):
            lines = self._lines.setdefault(family.name, _Lines())
            head = _head(family, openmetrics).encode()
            written.write(head if place else head[1:])  # every line begins with the end of the one before
            written.writelines(lines.written(family, has_exemplars=openmetrics))
        if written.tell():
            written.write(b"\n")
        written.write(b"".join(line.encode() for line in _renamed(others)) if openmetrics else others.encode())
        written.write(b"# EOF\n" if openmetrics else b"")
        return written.getvalue()


def _of_histogram(family: Shown, counts: list[float], buckets: list[float], sums: list[float]) -> list[bytes]:
    """The numbers of its lines: of every series the buckets, the last of them, the count and the sum."""
    width = len(family.bounds) + 3
    numbers, in_buckets = [b""] * (width * len(counts)), _written(buckets)
    for place in range(width - 3):
        numbers[place::width] = in_buckets[place :: width - 3]
    numbers[width - 3 :: width] = numbers[width - 2 :: width] = _written(counts)
    numbers[width - 1 :: width] = _written(sums)
    return numbers


def _values_of(values: Values, series: list[Labels]) -> list[float]:
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
