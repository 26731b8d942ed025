"""Questions put to a store: statements run, their rows put together by step and dimensions, nothing divided or sorted.

What comes in are queries and `rows` (SQL and parameters -> tuples; a Store's method); what goes out is what the
database said of each key, how many facts each flag concerns, and where all of it was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cache, partial
from typing import TypeAlias, cast

from collector.errors import QueryError
from collector.measures.answer import BOTH, FACTS
from collector.measures.ask import Query
from collector.measures.groups import Said
from collector.measures.rolled import compile_rolled
from collector.measures.sources import State
from collector.measures.sql import MOST_GROUPS, Statement
from collector.measures.values import Cells
from collector.period import FIXED_STEPS, Grain

Rows: TypeAlias = Callable[[str, Mapping[str, object] | Sequence[object]], list[tuple[object, ...]]]
"""Run SQL with bound parameters: `Store.rows`."""

FACTS_REMOVED = "facts_removed"
"""The flag of answers that would have needed facts which are kept no longer."""


class Asking:
    """The questions behind one answer, all by one State."""

    def __init__(self, rows: Rows, state: State | None = None) -> None:
        self._rows = rows
        self._state = State.of(rows) if state is None else state
        self._places: set[str] = set()

    def facts(self, query: Query) -> tuple[Said, dict[str, int]]:
        """What is said, by step and dimensions, and how many rows each flag concerns. Raises QueryError."""
        said: Said = {}
        flags: dict[str, int] = {}
        width, start_of = len(query.keys), cache(partial(_step_start, query))
        statements = compile_rolled(query, self._state)
        for statement in statements:
            self._places |= statement.places
            for row in self._fetched(statement):
                key = row[:width] if query.grain is Grain.NONE else (start_of(row[0]), *row[1:width])
                _take(statement, row[width:], said.setdefault(key, {}), flags)
        if gone := _gone(statements, self._state):
            flags[FACTS_REMOVED] = gone
        return said, flags

    @property
    def read_from(self) -> str:
        """Where all of it was read: rollups, facts, or both."""
        return BOTH if len(self._places) > 1 else next(iter(self._places), FACTS)

    def _fetched(self, statement: Statement) -> list[tuple[object, ...]]:
        fetched = self._rows(statement.sql, statement.parameters)
        if len(fetched) > MOST_GROUPS:
            raise QueryError(
                f"the answer has more than {MOST_GROUPS:,} rows; take a coarser grain, fewer dimensions or a filter",
                field="by",
                remedy="take a coarser grain, fewer dimensions, a shorter period, or a filter (where)",
            )
        return fetched


def _gone(statements: Sequence[Statement], state: State) -> int:
    """How many facts were removed that the statements would have read."""
    found: dict[str, int] = {}
    for statement in statements:
        for facts, spans in statement.reads.items():
            found[facts] = max(found.get(facts, 0), state.gone(facts, spans))
    return sum(found.values())


def _take(statement: Statement, row: tuple[object, ...], cells: Cells, flags: dict[str, int]) -> None:
    """Put what a statement's row says, after its key, where it belongs."""
    for shared, cell in zip(statement.measures, row, strict=False):
        if len(shared) == 1 and isinstance(cell, dict):
            before = cast("dict[float, int]", cells.get(shared[0]) or {})
            cells[shared[0]] = {bound: cell.get(bound, 0) + before.get(bound, 0) for bound in {**before, **cell}}
        elif len(shared) == 1:
            cells.setdefault(shared[0], cell)
        else:
            cells.update(zip(shared, cell if isinstance(cell, list) else [None] * len(shared), strict=True))
    for flag, how_many in zip(statement.flags, row[len(statement.measures) :], strict=True):
        if how_many:
            flags[flag.name] = flags.get(flag.name, 0) + cast(int, how_many)


def _step_start(query: Query, step: object) -> datetime:
    if isinstance(step, date):
        return query.period.day_start(step)
    return datetime(1970, 1, 1, tzinfo=UTC) + FIXED_STEPS[query.grain] * cast(int, step)
