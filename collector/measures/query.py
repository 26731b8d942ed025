"""Query -> Answer: run the statements, put their rows together, divide last, fill, sort and cut.

What comes in is a Query and `rows` (SQL and parameters -> tuples; a Store's method); what goes out is an Answer that
says what it covers, up to when it is complete, and what a reader should know about its quality.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache, partial
from typing import TypeAlias, cast

from collector.errors import QueryError
from collector.measures.answer import BOTH, FACTS, ROLLUPS, Answer, Row, key_names, put_in_order
from collector.measures.ask import TIME, Fill, Filter, Moment, Order, Query
from collector.measures.fragments import Facts
from collector.measures.kept import rollup_of
from collector.measures.rolled import compile_rolled
from collector.measures.sources import State
from collector.measures.sql import MOST_GROUPS, Statement
from collector.measures.values import Cells, Key, value_of
from collector.period import FIXED_STEPS, Grain
from collector.records import Conversation, Feedback, Message, ModelCall, NodeExecution, Request, Retrieval, Run

__all__ = ["Answer", "Fill", "Filter", "Moment", "Order", "Query", "Rows", "run", "totals", "watermark"]

Rows: TypeAlias = Callable[[str, Mapping[str, object] | Sequence[object]], list[tuple[object, ...]]]
"""Run SQL with bound parameters: `Store.rows`."""

STREAMS: Mapping[Facts, tuple[str, ...]] = {
    Run: ("runs", "app-logs"),
    NodeExecution: ("runs", "app-logs", "node-executions"),
    ModelCall: ("runs", "app-logs", "node-executions", "conversations", "messages"),
    Message: ("conversations", "messages"),
    Conversation: ("conversations",),
    Feedback: ("feedback",),
    Retrieval: ("retrievals",),
}
"""The streams that must be complete for facts of a kind to be."""

_WATERMARK = """\
SELECT min(complete_until) FROM (
  SELECT max(watermark.complete_until) AS complete_until
  FROM watermark
  LEFT JOIN app ON app.id = watermark.app_id
  WHERE app.deleted_at IS NULL AND {conditions}
  GROUP BY watermark.stream, watermark.app_id, watermark.origin
) AS streams"""


def run(query: Query, rows: Rows, *, now: datetime | None = None, state: State | None = None) -> Answer:
    """Answer a query. Steps after `now` are not filled, and time after it does not thin out a rate.

    `state` says which rollups may be read, `State()` that none may; by default the store is asked.
    Raises QueryError when the answer would have more groups than anyone reads.
    """
    state = state or state_for(query, rows)
    facts, flags = _facts(query, rows, state)
    if query.top is not None:
        facts = _biggest(query, facts, flags, rows, state)
    if query.fill is Fill.ZERO and query.grain is not Grain.NONE:
        _fill(query, facts, now)
    names, local = key_names(query), cache(query.period.local)
    found = []
    for key, cells in facts.items():
        row: Row = dict(zip(names, key, strict=True))
        if query.grain is not Grain.NONE:
            row[TIME] = local(cast(datetime, key[0]))
        for measure in query.measures:
            row[measure.name] = value_of(measure, key, cells, query, now)
        found.append(row)
    found = put_in_order(found, query)
    if query.limit is not None and len(found) > query.limit:
        flags["rows_left_out"] = len(found) - query.limit
        del found[query.limit :]
    return Answer(
        columns=(*names, *(measure.name for measure in query.measures)),
        rows=found,
        period=query.period,
        grain=query.grain,
        watermark=watermark(query, rows),
        flags=flags,
        units={measure.name: measure.unit for measure in query.measures},
        read_from=read_from(query, state),
    )


def totals(query: Query, rows: Rows, state: State | None = None) -> Mapping[Key, Cells]:
    """What the database says of the measures a query is made of, by step and dimensions; nothing divided or sorted."""
    return _facts(query, rows, state)[0]


def watermark(query: Query, rows: Rows) -> datetime | None:
    """Up to when the facts of a query are complete: the least complete of its streams, deleted apps left out."""
    streams = {stream for measure in query.measures for facts in measure.facts for stream in STREAMS.get(facts, ())}
    if not streams:
        return None
    parameters: dict[str, object] = {}
    conditions = [_one_of("watermark.stream", sorted(streams), parameters)]
    conditions += [
        _one_of("watermark.app_id", (*each.values, ""), parameters)
        for each in query.where
        if each.dimension.name == "app_id" and not each.is_negated
    ]
    ((found,),) = rows(_WATERMARK.format(conditions=" AND ".join(conditions)), parameters)
    return found.astimezone(UTC) if isinstance(found, datetime) else None


def earliest(rows: Rows) -> datetime | None:
    """When the oldest stored fact began; None of an empty store."""
    dated = (Run, NodeExecution, ModelCall, Message, Conversation, Feedback, Request)
    oldest = " UNION ALL ".join(f"SELECT min(created_at) AS at_first FROM {facts.table}" for facts in dated)
    ((found,),) = rows(f"SELECT min(at_first) FROM ({oldest}) AS tables", {})
    return found.astimezone(UTC) if isinstance(found, datetime) else None


def _one_of(column: str, values: Sequence[object], parameters: dict[str, object]) -> str:
    names = [f"value_{len(parameters) + place}" for place in range(len(values))]
    parameters.update(zip(names, values, strict=True))
    return f"{column} IN ({', '.join(f'${name}' for name in names)})"


def _facts(query: Query, rows: Rows, state: State | None = None) -> tuple[dict[Key, Cells], dict[str, int]]:
    """What the statements say, by step and dimensions, and how many rows each flag concerns."""
    facts: dict[Key, Cells] = {}
    flags: dict[str, int] = {}
    width, start_of = len(key_names(query)), cache(partial(_step_start, query))
    state = state or state_for(query, rows)
    statements = compile_rolled(query, state)
    for statement in statements:
        fetched = rows(statement.sql, statement.parameters)
        if len(fetched) > MOST_GROUPS:
            raise QueryError(
                f"the answer has more than {MOST_GROUPS:,} rows; take a coarser grain, fewer dimensions or a filter",
                field="by",
            )
        for row in fetched:
            key = row[:width] if query.grain is Grain.NONE else (start_of(row[0]), *row[1:width])
            _take(statement, row[width:], facts.setdefault(key, {}), flags)
    if gone := _gone(statements, state):
        flags["facts_removed"] = gone
    return facts, flags


def state_for(query: Query, rows: Rows) -> State:
    """What the store says about the rollups of what is asked; nothing where there are none to ask for."""
    is_asked = any(rollup_of(facts) for measure in query.measures for facts in measure.facts)
    return State.of(rows) if is_asked else State()


def read_from(query: Query, state: State) -> str:
    """Where the answer comes from: rollups, facts, or both."""
    statements = compile_rolled(query, state)
    if not any(statement.is_rolled for statement in statements):
        return FACTS
    is_mixed = any(spans for statement in statements for spans in statement.reads.values())
    return BOTH if is_mixed or not all(statement.is_rolled for statement in statements) else ROLLUPS


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


def _group(key: Key, query: Query) -> Key:
    return key if query.grain is Grain.NONE else key[1:]


def _biggest(
    query: Query, facts: dict[Key, Cells], flags: dict[str, int], rows: Rows, state: State
) -> dict[Key, Cells]:
    """The facts of the `top` groups by the first measure over the whole period; of money, the top in each currency."""
    first, whole = query.measures[0], replace(query, grain=Grain.NONE, order=(), top=None, measures=query.measures[:1])
    totals = facts if query.grain is Grain.NONE else _facts(whole, rows, state)[0]
    sizes = {group: value_of(first, group, cells, whole, None) for group, cells in totals.items()}
    known = sorted((group for group in sizes if sizes[group] is not None), key=lambda group: sizes[group], reverse=True)  # type: ignore[arg-type, return-value]
    apart = [place for place, dimension in enumerate(query.by) if dimension in first.always_by]
    taken: dict[Key, list[Key]] = {}
    for group in (*known, *(group for group in sizes if sizes[group] is None)):
        taken.setdefault(tuple(group[place] for place in apart), []).append(group)
    kept = {group for groups in taken.values() for group in groups[: query.top]}
    if left_out := {_group(key, query) for key in facts} - kept:
        flags["groups_left_out"] = len(left_out)
    return {key: cells for key, cells in facts.items() if _group(key, query) in kept}


def _fill(query: Query, facts: dict[Key, Cells], now: datetime | None) -> None:
    """Add the steps in which a group has nothing."""
    groups = {_group(key, query): None for key in facts} or ({} if query.by else {(): None})
    length = FIXED_STEPS.get(query.grain)
    if query.period.seconds / (length.total_seconds() if length else 86400) * len(groups) > MOST_GROUPS:
        raise QueryError(
            f"filled, the answer would have more than {MOST_GROUPS:,} rows; take a coarser grain or a shorter period",
            field="fill",
        )
    for step in query.period.steps(query.grain):
        if now is None or step < now:
            for group in groups:
                facts.setdefault((step, *group), {})
