"""All measures and dimensions by name: what people write -> entries. Checked when it is made, so at import.

What comes in are the entries of the subjects; what goes out are the entries asked for, or a QueryError that says
what was probably meant. Nothing here runs a query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import TypeVar

from collector.errors import QueryError
from collector.measures import (
    apps,
    calls,
    dify,
    events,
    invocations,
    knowledge,
    messages,
    pulls,
    queues,
    rated,
    requests,
    runs,
    users,
)
from collector.measures.dimension import Dimension
from collector.measures.dimensions import ALIASES, DIMENSIONS
from collector.measures.measure import Measure, amount

_Entry = TypeVar("_Entry", Measure, Dimension)

WHERE_LISTED = "GET /api/v1/measures"


class Catalogue:
    """Measures and dimensions by name. Refuses a name that two entries claim (ValueError)."""

    def __init__(self, measures: Iterable[Measure], dimensions: Iterable[Dimension]) -> None:
        self._measures = _by_name(measures)
        self._dimensions = _by_name(dimensions)
        self._amounts: dict[str, Measure] = {}
        self._families: dict[str, tuple[Measure, ...]] = {}
        for measure in self:
            if measure.family:
                self._families[measure.family] = (*self._families.get(measure.family, ()), measure)
        names = [*self._measures, *self._families, *self._dimensions, *ALIASES, "time"]
        doubled = {name for name in names if names.count(name) > 1}
        if doubled:
            raise ValueError(f"the catalogue has {sorted(doubled)} twice")

    def __iter__(self) -> Iterator[Measure]:
        return iter(self._measures.values())

    def __len__(self) -> int:
        return len(self._measures)

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Every dimension."""
        return tuple(self._dimensions.values())

    def measure(self, name: str) -> Measure:
        """The measure of that name. Raises QueryError."""
        found = self._measures.get(name) or self._in_one_currency(name)
        if found is None:
            raise _unknown("measure", name, [*self._measures, *self._families], len(self), field="measure")
        return found

    def _in_one_currency(self, name: str) -> Measure | None:
        """`cost_usd`: money in one currency, which splits by whatever else does. The same entry each time."""
        of, _, currency = name.rpartition("_")
        money = self._measures.get(of)
        if money is None or not money.is_money or not re.fullmatch("[a-z]{3}", currency):
            return None
        return self._amounts.setdefault(name, amount(money, currency.upper()))

    def measures(self, names: Iterable[str]) -> tuple[Measure, ...]:
        """The measures of those names, each once; a family's name (`response_time`) means all its members."""
        found = [each for name in names for each in self._families.get(name) or (self.measure(name),)]
        return tuple(dict.fromkeys(found))

    def dimension(self, name: str, field: str = "by") -> Dimension:
        """The dimension of that name or alias. Raises QueryError naming the query's field."""
        found = self._dimensions.get(ALIASES.get(name, name))
        if found is None:
            raise _unknown("dimension", name, [*self._dimensions, *ALIASES], len(self._dimensions), field=field)
        return found


def _by_name(entries: Iterable[_Entry]) -> dict[str, _Entry]:
    found: dict[str, _Entry] = {}
    for entry in entries:
        if entry.name in found:
            raise ValueError(f"the catalogue has {entry.name!r} twice")
        found[entry.name] = entry
    return found


def _unknown(what: str, name: str, names: list[str], how_many: int, *, field: str) -> QueryError:
    near = get_close_matches(name[:80], names, n=5, cutoff=0.6)
    meant = (
        f"did you mean {near[0]!r}?  ({WHERE_LISTED} lists all {how_many})"
        if near
        else (f"{WHERE_LISTED} lists all {how_many}")
    )
    return QueryError(f"no {what} {name[:80]!r}; {meant}", field=field, choices=near)


CATALOGUE = Catalogue(
    (
        *apps.MEASURES,
        *invocations.MEASURES,
        *users.MEASURES,
        *runs.MEASURES,
        *calls.MEASURES,
        *rated.MEASURES,
        *messages.MEASURES,
        *requests.MEASURES,
        *pulls.MEASURES,
        *dify.MEASURES,
        *knowledge.MEASURES,
        *queues.MEASURES,
        *events.MEASURES,
    ),
    DIMENSIONS,
)
"""Everything dify-metric can count."""
