"""What several measures of one table all ask of its rows: said once for all, a statement is half as long to plan.

What comes in are measures; what goes out are the conditions, and the measures without them. Nothing here runs a query.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from collector.measures.fragments import MOST_KNOWN, conjuncts
from collector.measures.measure import Measure


@lru_cache(MOST_KNOWN)
def in_common(measures: tuple[Measure, ...]) -> tuple[tuple[str, ...], tuple[Measure, ...]]:
    """Conditions that all of them have, in order, and the measures with the others only; none where nothing else sets
    the measures apart."""
    shared = frozenset.intersection(*(conjuncts(measure.where) for measure in measures))
    if not shared or len({measure.where for measure in measures}) == 1:
        return (), measures
    return tuple(sorted(shared)), tuple(_without(measure, shared) for measure in measures)


def _without(measure: Measure, shared: frozenset[str]) -> Measure:
    own = sorted(conjuncts(measure.where) - shared)
    return replace(measure, where=" AND ".join(f"({each})" for each in own) or "TRUE")
