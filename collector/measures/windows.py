"""How many different values there were since each of several instants: one statement, for all of them and every split.

What comes in is a measure that tells values apart, and the starts of windows that end together; what goes out are
counts. A value is in a window when it was last seen in it, so it is enough to know between which two starts that was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import TypeAlias, cast

from collector.errors import QueryError
from collector.measures.ask import Query
from collector.measures.dimension import Dimension
from collector.measures.kept import rollup_of, told_of
from collector.measures.measure import Kind, Measure
from collector.measures.rolled import Pieces
from collector.measures.sources import Source, State, sources
from collector.measures.spans import Spans, together
from collector.measures.still import Rows
from collector.measures.values import Key
from collector.period import Period
from collector.rollups import Level

Split: TypeAlias = tuple[Dimension, ...]


def values_in_windows(
    measure: Measure, splits: Sequence[Split], starts: Sequence[datetime], period: Period, rows: Rows, state: State
) -> Mapping[Split, list[dict[Key, int]]]:
    """For each split and each start, oldest first, how many values there were from then to the end of the period.

    The period begins with the first start. Raises QueryError for a measure that does not tell values apart.
    """
    if measure.kind is not Kind.DISTINCT or any(rollup_of(facts) is None for facts in measure.facts):
        raise QueryError(f"{measure.name} has no windows: it does not tell values apart", field="measure")
    by = tuple(dict.fromkeys(dimension for split in splits for dimension in split))
    query = Query(measures=(measure,), by=by, period=period)
    parameters: dict[str, object] = {f"start_{n}": at for n, at in enumerate(starts) if n}
    selects: list[str] = []
    bound = 0
    for part in measure.parts or (measure,):
        found = _selects(part, query, starts, parameters, bound, state)
        selects, bound = [*selects, *found[0]], found[1]
    answered = rows(_counted(by, splits, selects), parameters)
    return {split: _windows(split, place, by, answered, len(starts)) for place, split in enumerate(splits)}


def _selects(
    part: Measure, query: Query, starts: Sequence[datetime], parameters: dict[str, object], bound: int, state: State
) -> tuple[list[str], int]:
    """The values in one table, each with the window it was seen in; and how many parameters are bound by now."""
    (facts,) = part.facts
    rollup = rollup_of(facts)
    assert rollup is not None  # noqa: S101
    told = told_of(rollup, part)
    pieces = Pieces(rollup, query, told, parameters, bound=bound)
    is_kept = told is not None and pieces.serves(part.joins)
    spans: dict[Level | None, Spans] = {}
    for start, end in pairwise([*starts, query.period.end]):
        window = replace(query, period=Period(start, end, query.period.zone))
        for source in sources(window, rollup, tuple(Level) if is_kept else (), state):
            spans[source.level] = together((*spans.get(source.level, ()), *source.pieces[0][0]))
    cases = [f"WHEN {pieces.at} >= $start_{n} THEN {n}" for n in reversed(range(1, len(starts)))]
    place = f"CASE {' '.join(cases)} ELSE 0 END" if cases else "0"
    where = [f"{part.column} IS NOT NULL", *([part.where] if part.where != "TRUE" else [])]
    columns = [f"{part.column} AS value", f"{place} AS place"]
    found = [
        pieces.select(Source(level, ((each, None),)), part.joins, where, lambda _: columns)
        for level, each in spans.items()
    ]
    return found, pieces.bound


def _counted(by: Split, splits: Sequence[Split], selects: Sequence[str]) -> str:
    names = [dimension.name for dimension in by]
    sets = ", ".join(f"({', '.join([*(each.name for each in split), 'value'])})" for split in splits)
    which = " ".join(f"WHEN {_is_of(split, by)} THEN {place}" for place, split in enumerate(splits))
    inner = "\nUNION ALL\n".join(selects)
    seen = (
        f"SELECT {', '.join([*names, 'value'])}, max(place) AS place, CASE {which} END AS split\n"
        f"FROM (\n{inner}\n) AS facts\nGROUP BY GROUPING SETS ({sets})"
    )
    keys = ", ".join([*names, "split", "place"])
    return f"SELECT {keys}, count(*)\nFROM (\n{seen}\n) AS seen\nGROUP BY {keys}"


def _is_of(split: Split, by: Split) -> str:
    """Whether a row is of this grouping set."""
    return " AND ".join(f"grouping({each.name}) = {int(each not in split)}" for each in by) or "TRUE"


def _windows(
    split: Split, which: int, by: Split, answered: Sequence[tuple[object, ...]], number: int
) -> list[dict[Key, int]]:
    """Who was seen last in a later window was in the longer ones too."""
    found: list[dict[Key, int]] = [{} for _ in range(number)]
    at = [by.index(dimension) for dimension in split]
    for *key, of_split, place, how_many in answered:
        if of_split != which:
            continue
        own = tuple(key[each] for each in at)
        for window in found[: cast(int, place) + 1]:
            window[own] = window.get(own, 0) + cast(int, how_many)
    return found
