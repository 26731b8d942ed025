"""Questions put to a store: statements run, their rows put together by step and dimensions, nothing divided or sorted.

What comes in are queries and `rows` (SQL and parameters -> tuples; a Store's method); what goes out is what the
database said of each key, how many facts each flag concerns, and where all of it was read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from functools import cache, partial
from itertools import count
from operator import eq
from typing import cast

from collector.errors import QueryError
from collector.measures.answer import BOTH, FACTS
from collector.measures.ask import Query
from collector.measures.groups import Said
from collector.measures.rolled import compile_rolled
from collector.measures.sources import State
from collector.measures.sql import MOST_GROUPS, Statement, tables_read
from collector.measures.still import Rows as Rows
from collector.measures.values import UNSAID, Cells, Columns, Key
from collector.period import FIXED_STEPS, Grain

FACTS_REMOVED = "facts_removed"
"""The flag of answers that would have needed facts which are kept no longer."""


class Asking:
    """The questions behind one answer, all by one State. `tables` are those that were read, rollups as their facts."""

    def __init__(self, rows: Rows, state: State | None = None) -> None:
        self._rows = rows
        self._state = State.of(rows) if state is None else state
        self._places: set[str] = set()
        self.tables: set[str] = set()
        self._last: tuple[Query, list[Statement]] | None = None

    def facts(self, query: Query) -> tuple[Said, dict[str, int]]:
        """What is said, by step and dimensions, and how many rows each flag concerns. Raises QueryError."""
        said: Said = {}
        flags: dict[str, int] = {}
        width, start_of = len(query.keys), cache(partial(_step_start, query))
        for statement, fetched in self._told(query, flags):
            numbers = width + len(statement.measures)
            keys = [row[:width] for row in fetched]
            if query.grain is not Grain.NONE:
                keys = [(start_of(step), *others) for step, *others in keys]
            if statement.is_plain:
                measures = [measure for (measure,) in statement.measures]
                for key, row in zip(keys, fetched, strict=True):
                    cells = dict(zip(measures, row[width:numbers], strict=True))
                    if key in said:
                        said[key] |= cells
                    else:
                        said[key] = cells
            else:
                for key, row in zip(keys, fetched, strict=True):
                    _take(statement, row[width:numbers], said.setdefault(key, {}))
        return said, flags

    def columns(self, query: Query) -> tuple[list[Key], Columns, dict[str, int]] | None:
        """The same as columns: what each measure is for each key, UNSAID where nothing is said of it. None where a
        number stands for several measures.
        """
        if not all(each.is_plain for each in self._compiled(query)):
            return None
        width, places = len(query.keys), dict[Key, int]()
        columns: Columns = {}
        flags: dict[str, int] = {}
        for statement, fetched in self._told(query, flags):
            at = [places.setdefault(row[:width], len(places)) for row in fetched]
            for number, (measure,) in enumerate(statement.measures, width):
                columns[measure] = _placed(at, [row[number] for row in fetched])
        for column in columns.values():
            column += [UNSAID] * (len(places) - len(column))
        if query.grain is Grain.NONE:
            return [*places], columns, flags
        start_of = cache(partial(_step_start, query))
        return [(start_of(key[0]), *key[1:]) for key in places], columns, flags

    @property
    def read_from(self) -> str:
        """Where all of it was read: rollups, facts, or both."""
        return BOTH if len(self._places) > 1 else next(iter(self._places), FACTS)

    def _told(self, query: Query, flags: dict[str, int]) -> Iterator[tuple[Statement, list[tuple[object, ...]]]]:
        """Every statement that measures something, with its rows; into `flags` goes how many facts each concerns."""
        statements = self._compiled(query)
        for statement in statements:
            fetched = self._fetched(statement)
            _count_flags(statement, fetched, flags)
            if statement.measures:
                yield statement, fetched
        if gone := _gone(statements, self._state):
            flags[FACTS_REMOVED] = gone

    def _compiled(self, query: Query) -> list[Statement]:
        if self._last is None or self._last[0] is not query:
            self._last = query, compile_rolled(query, self._state)
        return self._last[1]

    def _fetched(self, statement: Statement) -> list[tuple[object, ...]]:
        self._places |= statement.places
        self.tables |= tables_read(statement.sql)
        fetched = self._rows(statement.sql, statement.parameters)
        if len(fetched) > MOST_GROUPS:
            raise QueryError(
                f"the answer has more than {MOST_GROUPS:,} rows; take a coarser grain, fewer dimensions or a filter",
                field="by",
                remedy="take a coarser grain, fewer dimensions, a shorter period, or a filter (where)",
            )
        return fetched


def _placed(at: Sequence[int], values: list[object]) -> list[object]:
    """Values at their places, UNSAID between them."""
    if all(map(eq, at, count())):
        return values
    found = [UNSAID] * (max(at, default=-1) + 1)
    for place, value in zip(at, values, strict=True):
        found[place] = value
    return found


def _count_flags(statement: Statement, fetched: Sequence[tuple[object, ...]], flags: dict[str, int]) -> None:
    """Add how many rows each flag of a statement concerns; they are its last columns."""
    for at, flag in enumerate(statement.flags, -len(statement.flags)):
        if how_many := sum(cast(int, row[at]) for row in fetched if row[at]):
            flags[flag.name] = flags.get(flag.name, 0) + how_many


def _gone(statements: Sequence[Statement], state: State) -> int:
    """How many facts were removed that the statements would have read."""
    found: dict[str, int] = {}
    for statement in statements:
        for facts, spans in statement.reads.items():
            found[facts] = max(found.get(facts, 0), state.gone(facts, spans))
    return sum(found.values())


def _take(statement: Statement, row: tuple[object, ...], cells: Cells) -> None:
    """Put numbers where they belong that stand for several measures, or counts by bounds of several statements."""
    for shared, cell in zip(statement.measures, row, strict=False):
        if len(shared) == 1 and isinstance(cell, dict):
            before = cast("dict[float, int]", cells.get(shared[0]) or {})
            cells[shared[0]] = {bound: cell.get(bound, 0) + before.get(bound, 0) for bound in {**before, **cell}}
        elif len(shared) == 1:
            cells.setdefault(shared[0], cell)
        else:
            cells.update(zip(shared, cell if isinstance(cell, list) else [None] * len(shared), strict=True))


def _step_start(query: Query, step: object) -> datetime:
    if isinstance(step, date):
        return query.period.day_start(step)
    return datetime(1970, 1, 1, tzinfo=UTC) + FIXED_STEPS[query.grain] * cast(int, step)
