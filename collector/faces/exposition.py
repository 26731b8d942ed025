"""Families as the text that Prometheus reads, in its own format or as OpenMetrics.

In come families with their values, out go bytes. What a line says before its value is made once and kept, because the
same series are told at every scrape. Nothing here knows what the families are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from operator import add
from typing import Literal, TypeAlias

Labels: TypeAlias = tuple[str, ...]
Values: TypeAlias = Mapping[Labels, float]

_LABEL = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})
_ODD = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}


@dataclass(frozen=True)
class Shown:
    """A family with its values by labels. Of a histogram `values` are the counts of its facts, `sums` their sums and
    `up_to` how many are no longer than a bound, by labels and bound; `bounds` are those bounds in order, as they are
    written.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    values: Values
    bounds: Sequence[str] = ()
    up_to: Values = field(default_factory=dict)
    sums: Values = field(default_factory=dict)


@dataclass(frozen=True)
class _Begun:
    """The lines of a histogram's series: where each bucket's number stands, and what every line begins with."""

    places: tuple[Labels, ...]
    buckets: tuple[str, ...]
    rest: tuple[str, str, str]  # the last bucket, the count, the sum


class Renderer:
    """Writes families. It remembers the beginnings of lines; not thread-safe."""

    def __init__(self) -> None:
        self._begun: dict[str, dict[Labels, str]] = {}
        self._histograms: dict[str, dict[Labels, _Begun]] = {}

    def text(self, families: Iterable[Shown], *, openmetrics: bool = False, others: str = "") -> bytes:
        """All families, and those of `others`, which are text in Prometheus' own format already."""
        parts: list[str] = []  # every line begins with the end of the one before
        for family in families:
            parts += _head(family, openmetrics)
            parts += self._histogram(family) if family.kind == "histogram" else self._lines(family)
        if parts:
            parts[0] = parts[0][1:]
            parts.append("\n")
        parts += [*_renamed(others), "# EOF\n"] if openmetrics else [others]
        return "".join(parts).encode()

    def _lines(self, family: Shown) -> Iterable[str]:
        begun = self._begun.setdefault(family.name, {})
        try:
            beginnings = list(map(begun.__getitem__, family.values))
        except KeyError:
            for labels in family.values.keys() - begun.keys():
                begun[labels] = f"\n{family.name}{_braced(family.labels, labels)} "
            beginnings = list(map(begun.__getitem__, family.values))
        return map(add, beginnings, _written(family.values.values()))

    def _histogram(self, family: Shown) -> Iterable[str]:
        begun = self._histograms.setdefault(family.name, {})
        up_to, sums, lines = family.up_to, family.sums, list[str]()
        for labels, count in family.values.items():
            if (known := begun.get(labels)) is None:
                known = begun[labels] = _begin(family, labels)
            lines += map(add, known.buckets, _written([up_to[place] for place in known.places]))
            lines += map(add, known.rest, _written((count, count, sums.get(labels, 0.0))))
        return lines


def _begin(family: Shown, labels: Labels) -> _Begun:
    places = tuple((*labels, bound) for bound in (*family.bounds, "+Inf"))
    *buckets, last = (f"\n{family.name}_bucket{_braced((*family.labels, 'le'), place)} " for place in places)
    braced = _braced(family.labels, labels)
    rest = (last, f"\n{family.name}_count{braced} ", f"\n{family.name}_sum{braced} ")
    return _Begun(places[:-1], tuple(buckets), rest)


def _written(values: Iterable[float]) -> Iterable[str]:
    """Numbers as both formats write them."""
    values = list(values)
    return map(repr, values) if isfinite(sum(values)) else map(_number, values)


def _head(family: Shown, openmetrics: bool) -> tuple[str, str]:
    name, said = family.name, family.help.translate(_HELP)
    if openmetrics:
        said = family.help.translate(_LABEL)
        name = name.removesuffix("_total") if family.kind == "counter" else name
    return f"\n# HELP {name} {said}", f"\n# TYPE {name} {family.kind}"


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
