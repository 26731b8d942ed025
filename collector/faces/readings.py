"""What counters said: none says less than before, in this process or in the one before it.

A fact may change after it was counted (a rating, a model whose name is told later), and sums of floats come out
differently in their last digit. Prometheus takes any step back for a restart and counts everything again, so a counter
waits until the facts have caught up. Readings go out only after they were kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

import structlog

from collector.errors import StoreError
from collector.faces.counting import Labels, Values

log = structlog.get_logger()

Kept: TypeAlias = Mapping[tuple[str, str], float]
"""Readings by family and labels as JSON, as a store keeps them."""


class Readings:
    """The highest value of every series. `recall` brings what was kept, `keep` takes what is new. Not thread-safe."""

    def __init__(self, recall: Callable[[], Kept] = dict, keep: Callable[[Kept], None] = lambda readings: None) -> None:
        self._keep = keep
        self._said: dict[str, Values] = {}
        self._new: dict[tuple[str, Labels], float] = {}
        self._texts: dict[Labels, str] = {}
        for (family, labels), reading in recall().items():
            self._said.setdefault(family, {})[tuple(json.loads(labels))] = reading

    def _written(self, labels: Labels) -> str:
        if labels not in self._texts:
            self._texts[labels] = json.dumps(labels, ensure_ascii=False)
        return self._texts[labels]

    def said(self, family: str) -> Collection[Labels]:
        """The series of a family that were ever told."""
        return self._said.get(family, {}).keys()

    def raised(self, family: str, values: Values) -> Values:
        """The values, none below what its series said before. Series without a value now stay away."""
        said, found = self._said.setdefault(family, {}), dict[Labels, float]()
        for labels, value in values.items():
            before = said.get(labels)
            found[labels] = value if before is None else max(value, before)
            if before is None or value > before:
                said[labels] = self._new[family, labels] = value
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
