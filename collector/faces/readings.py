"""What counters said: none says less than before, in this process or in the one before it, and nothing is said twice.

A fact may change after it was counted (a rating, a model whose name is told later), and sums of floats come out
differently in their last digit. Prometheus takes any step back for a restart and counts everything again, so a counter
waits until the facts have caught up. What moves from labels that were not known to labels that are stays where it was
counted first (`_Moves`). A series that was not told before says 0 for a while, because what a series says first is no
increase to Prometheus. Readings go out only after they were kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

import structlog

from collector.clock import utc_now
from collector.errors import StoreError
from collector.faces.counting import Labels, Values

log = structlog.get_logger()

Kept: TypeAlias = Mapping[tuple[str, str], float]
"""Readings by family and labels as JSON, as a store keeps them."""

AT_ZERO = timedelta(seconds=60)
"""How long a service lets a new series say 0: whoever scrapes once a minute has seen it then."""

UNKNOWN = frozenset({"", "_OTHER"})
"""Labels of what was not known, or of what is counted together: facts leave them for others, and never the reverse."""

MOVED = " moved"
"""Behind a family's name where it is kept how much was moved."""

_NOISE = 1e-9
"""The share of a sum that floats may differ by."""


@dataclass
class _Moves:
    """What a family's facts have moved between labels: to be added to what they come to under each."""

    vague: set[Labels] = field(default_factory=set)  # series with labels that are not known
    added: Values = field(default_factory=dict)


class Readings:
    """The highest value of every series. `recall` brings what was kept, `keep` takes what is new. Not thread-safe."""

    def __init__(
        self,
        recall: Callable[[], Kept] = dict,
        keep: Callable[[Kept], None] = lambda readings: None,
        *,
        at_zero: timedelta = timedelta(0),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`at_zero` is how long a new series says 0, by the `clock`."""
        self._keep, self._at_zero, self._clock = keep, at_zero, clock
        self._said: dict[str, Values] = {}
        self._new: dict[tuple[str, Labels], float] = {}
        self._texts: dict[Labels, str] = {}
        self._began: dict[tuple[str, Labels], datetime] = {}
        self._moves: dict[str, _Moves] = {}
        for (family, written), reading in recall().items():
            labels = tuple(json.loads(written))
            if family.endswith(MOVED):
                self._moves_of(family.removesuffix(MOVED)).added[labels] = reading
            else:
                self._say(family, labels, reading)

    def _written(self, labels: Labels) -> str:
        if labels not in self._texts:
            self._texts[labels] = json.dumps(labels, ensure_ascii=False)
        return self._texts[labels]

    def said(self, family: str) -> Collection[Labels]:
        """The series of a family that were ever told."""
        return self._said.get(family, {}).keys()

    def has_moved(self, family: str) -> bool:
        """Whether facts of it have moved between labels."""
        return family in self._moves and bool(self._moves[family].added)

    def raised(self, family: str, values: Values) -> Values:
        """The values, none below what its series said before. Series that counted something and whose facts have gone
        elsewhere stay as they were.
        """
        said, found = self._said.setdefault(family, {}), dict[Labels, float]()
        values = self._counted_once(family, said, values)
        for labels, value in values.items():
            before = said.get(labels)
            told = value if before is None else max(value, before)
            if not before and self._at_zero and self._is_new(family, labels):
                told = 0.0
            found[labels] = told
            if before is None or told > before:
                self._say(family, labels, told)
                self._new[family, labels] = told
        if len(said) > len(found):
            width = len(next(iter(values), ()))  # another one: of a time when the family had other labels
            found |= {labels: said[labels] for labels in said.keys() - found if said[labels] and len(labels) == width}
        return found

    def save(self) -> None:
        """Keep what changed. Where the store cannot, the counters go on and it is tried again at the next scrape."""
        kept = {(family, self._written(labels)): value for (family, labels), value in self._new.items()}
        try:
            self._keep(kept)
        except StoreError as error:
            log.warning("counters not kept; a restart now may repeat or lose an increase", problem=str(error))
        else:
            self._new.clear()

    def _say(self, family: str, labels: Labels, reading: float) -> None:
        said = self._said.setdefault(family, {})
        if labels not in said and not UNKNOWN.isdisjoint(labels):
            self._moves_of(family).vague.add(labels)
        said[labels] = reading
        if reading:
            self._began.pop((family, labels), None)

    def _is_new(self, family: str, labels: Labels) -> bool:
        """Whether a series that said nothing yet was first looked at a moment ago."""
        now = self._clock()
        return now < self._began.setdefault((family, labels), now) + self._at_zero

    def _moves_of(self, family: str) -> _Moves:
        return self._moves.setdefault(family, _Moves())

    def _counted_once(self, family: str, said: Values, values: Values) -> Values:
        """The values, where a fact that was counted under labels not known then is still counted under those only."""
        if (moves := self._moves.get(family)) is None:
            return values
        added = moves.added
        if added:
            values = {labels: value + added.get(labels, 0.0) for labels, value in values.items()}
        missing = {old: said[old] - values.get(old, added.get(old, 0.0)) for old in moves.vague}
        for old in sorted(old for old, number in missing.items() if number > _NOISE * said[old]):
            values = self._moved(family, old, missing[old], values)
        return values

    def _moved(self, family: str, old: Labels, missing: float, values: Values) -> Values:
        """`missing` has gone from the series `old`: take it from those that know more and have grown."""
        said, added, found = self._said[family], self._moves_of(family).added, {**values}
        for labels in sorted(found):
            grown = found[labels] - said.get(labels, 0.0)
            if missing > 0 and grown > 0 and _knows_more(labels, old):
                part = min(missing, grown)
                missing -= part
                for place, change in ((labels, -part), (old, part)):
                    added[place] = self._new[family + MOVED, place] = added.get(place, 0.0) + change
                found[labels] -= part
                if old in found:
                    found[old] += part
        return found


def _knows_more(labels: Labels, old: Labels) -> bool:
    """Whether labels are those of `old`, with values where it knew none."""
    return (
        labels != old
        and len(labels) == len(old)
        and all(value == before or before in UNKNOWN for value, before in zip(labels, old, strict=True))
    )
