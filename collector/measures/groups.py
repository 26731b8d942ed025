"""The groups of an answer: which are the biggest, what the others sum up to, and the steps in which nothing happened.

What comes in is what the database said, by step and dimensions; what goes out is the same, cut or filled. Nothing
here runs a query.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

from collector.errors import QueryError
from collector.measures.ask import BARE, Fill, Query
from collector.measures.measure import INSTANT, Kind, Measure
from collector.measures.sql import MOST_GROUPS, leaves
from collector.measures.values import Cells, Key, columns_of, values_of
from collector.period import FIXED_STEPS, Grain

Said: TypeAlias = dict[Key, Cells]
"""What the database said, by step (where there is a grain) and dimensions."""


def group_of(key: Key, query: Query) -> Key:
    """The dimensions of a key, without its step."""
    return key if query.grain is Grain.NONE else key[1:]


def biggest(query: Query, said: Said, ask: Callable[[Query], Said]) -> set[Key]:
    """The `top` groups by the first measure over the whole period; of money, those of each currency.

    Of equal groups the first by name: an answer must not depend on how the database happened to read.
    """
    first, whole = query.measures[0], replace(query, grain=Grain.NONE, measures=query.measures[:1], **BARE)
    totals = said if query.grain is Grain.NONE else ask(whole)
    by_name = sorted(totals, key=lambda group: [(value is None, str(value)) for value in group])
    columns = columns_of(leaves([first]), [totals[group] for group in by_name])
    values = values_of(first, by_name, columns, whole, None)
    sizes: dict[Key, Any] = dict(zip(by_name, values, strict=True))
    known = sorted((group for group in sizes if sizes[group] is not None), key=lambda group: sizes[group], reverse=True)
    apart = [place for place, dimension in enumerate(query.by) if dimension in first.always_by]
    taken: dict[Key, list[Key]] = {}
    for group in (*known, *(group for group in sizes if sizes[group] is None)):
        taken.setdefault(tuple(group[place] for place in apart), []).append(group)
    return {group for groups in taken.values() for group in groups[: query.top]}


def only(groups: Container[Key], query: Query, said: Said) -> Said:
    """What was said of these groups."""
    return {key: cells for key, cells in said.items() if group_of(key, query) in groups}


def rest(groups: Container[Key], query: Query, said: Said) -> Said:
    """What was said of all but these groups, added: None where it does not add up. Currencies stay apart."""
    together: dict[Key, list[Cells]] = {}
    for key, cells in said.items():
        group = group_of(key, query)
        if group not in groups:
            kept = (value if place in query.apart else None for place, value in enumerate(group))
            together.setdefault((*key[: len(key) - len(group)], *kept), []).append(cells)
    measures = leaves(query.measures)
    is_split = any(dimension.members for dimension in query.by)  # one fact in several groups: no sum is right
    return {
        key: {
            measure: None if is_split else _sum(measure, [found[measure] for found in all_cells if measure in found])
            for measure in measures
            if any(measure in found for found in all_cells)
        }
        for key, all_cells in together.items()
    }


def _sum(measure: Measure, values: Sequence[Any]) -> object:
    known = [value for value in values if value is not None]
    if measure.unit == INSTANT:
        return (max if measure.kind is Kind.LATEST else min)(known, default=None)
    if measure.kind not in (Kind.COUNT, Kind.TOTAL, Kind.SNAPSHOT) or not known:
        return None
    return sum(known[1:], start=known[0])


def fill(query: Query, said: Said, now: datetime | None) -> None:
    """Add the steps in which a group has nothing, up to `now`. Raises QueryError where they are too many."""
    groups = {group_of(key, query): None for key in said} or ({} if query.by else {(): None})
    check_steps(query, "fill", max(len(groups), 1))
    nothing: Mapping[Measure, object] = {}
    if query.fill is Fill.NULL:
        nothing = dict.fromkeys(leaves(query.measures))
    for step in query.period.steps(query.grain):
        if now is None or step < now:
            for group in groups:
                said.setdefault((step, *group), dict(nothing))


def check_steps(query: Query, field: str, groups: int = 1) -> None:
    """Raises QueryError where the steps of so many groups are more than anybody reads."""
    length = FIXED_STEPS.get(query.grain)
    if query.period.seconds / (length.total_seconds() if length else 86400) * groups > MOST_GROUPS:
        raise QueryError(
            f"{query.grain} by {query.grain}, the answer would have more than {MOST_GROUPS:,} rows",
            field=field,
            remedy="take a coarser grain or a shorter period",
        )
