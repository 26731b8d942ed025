"""Query -> Answer: run the statements, put their rows together, divide last, fill, sort and cut.

What comes in is a Query and `rows` (SQL and parameters -> tuples; a Store's method); what goes out is an Answer that
says what it covers, up to when it is complete, and what a reader should know about its quality.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import cast

from collector.bill_lines import RatedLine
from collector.measures.answer import Answer, Row, put_in_order
from collector.measures.ask import BEFORE, CHANGE, Fill, Moment, Order, Query
from collector.measures.comparing import Earlier, earlier
from collector.measures.filters import Filter, Match
from collector.measures.fragments import Facts, qualify
from collector.measures.groups import Said, biggest, fill, group_of, only, rest
from collector.measures.joins import REACHED_UNTIL, WATERMARK_APP, WATERMARK_BETTER
from collector.measures.paging import following, write_cursor
from collector.measures.reading import Asking, Rows
from collector.measures.sources import State
from collector.measures.sql import leaves
from collector.measures.still import Extent, remembered, still, whole
from collector.measures.values import Cells, Key, columns_of, values_of
from collector.period import Grain
from collector.records import (
    Conversation,
    Feedback,
    Message,
    ModelCall,
    NodeExecution,
    PortalEvent,
    Request,
    Retrieval,
    Run,
    Watermark,
)

__all__ = ["Answer", "Fill", "Filter", "Moment", "Order", "Query", "Rows", "run", "totals", "watermark"]

STREAMS: Mapping[Facts, tuple[str, ...]] = {
    Run: ("runs", "app-logs"),
    NodeExecution: ("runs", "app-logs", "node-executions"),
    **dict.fromkeys((ModelCall, RatedLine), ("runs", "app-logs", "node-executions", "conversations", "messages")),
    Message: ("conversations", "messages"),
    Conversation: ("conversations",),
    Feedback: ("feedback",),
    Retrieval: ("retrievals",),
}
"""The streams that must be complete for facts of a kind to be."""

_WATERMARK = f"""\
SELECT min(complete_until) FROM (
  SELECT max({qualify(REACHED_UNTIL, Watermark)}) AS complete_until
  FROM watermark
  {WATERMARK_APP}
  {WATERMARK_BETTER}
  WHERE app.deleted_at IS NULL AND {{conditions}}
  GROUP BY watermark.stream, watermark.app_id, watermark.origin
) AS streams"""


def run(query: Query, rows: Rows, *, now: datetime | None = None, state: State | None = None) -> Answer:
    """Answer a query. Steps after `now` are not filled, and time after it does not thin out a rate.

    `state` says which rollups may be read, `State()` that none may; by default the store is asked.
    Everything in an answer is of one moment, where `rows` can be held still.
    Raises QueryError when the answer would have more groups than anyone reads.
    """
    with still(rows) as held:
        return _run(query, held, now, state)


def _run(query: Query, rows: Rows, now: datetime | None, state: State | None) -> Answer:
    asking = Asking(rows, state)
    found = _straight(query, asking, now) or _found(query, asking, now)
    whole = query.as_a_whole if query.totals else None
    totals = put_in_order(_found(whole, asking, now).rows, whole) if whole else None
    in_order, flags, cursor = following(found.rows, query), found.flags, None
    if query.limit is not None and len(in_order) > query.limit:
        flags["rows_left_out"] = len(in_order) - query.limit
        del in_order[query.limit :]
        cursor = write_cursor(query, in_order, now)
    return Answer(
        columns=(*query.keys, *query.numbers),
        rows=in_order,
        period=query.period,
        grain=query.grain,
        watermark=watermark(query, rows),
        flags=flags,
        units=_units(query),
        measures=query.measures,
        by=query.by,
        other=put_in_order(found.other, query) if query.other else None,
        totals=None if totals is None else [dict.fromkeys(query.keys) | row for row in totals],
        compared=found.earlier.told if found.earlier else None,
        read_from=asking.read_from,
        next_cursor=cursor,
    )


@dataclass
class _Found:
    """Rows in no order yet."""

    rows: list[Row]
    other: list[Row]
    flags: dict[str, int]
    earlier: Earlier | None


def _straight(query: Query, asking: Asking, now: datetime | None) -> _Found | None:
    """What the database says, with nothing to set beside, to fill or to cut; None where there is any of it."""
    if query.compare is not None or query.top is not None or query.fill is not Fill.NONE:
        return None
    if (told := asking.columns(query)) is None:
        return None
    keys, columns, flags = told
    values = {measure.name: values_of(measure, keys, columns, query, now) for measure in query.measures}
    return _Found(_rows(query, keys, values), [], flags, None)


def _found(query: Query, asking: Asking, now: datetime | None) -> _Found:
    said, flags = asking.facts(query)
    before = earlier(query, asking.facts, now)
    then = before.said if before else {}
    others: Said = {}
    others_then: Said = {}
    if query.top is not None:
        kept = biggest(query, said, lambda asked: asking.facts(asked)[0])
        if left_out := {group_of(key, query) for key in (*said, *then)} - kept:
            flags["groups_left_out"] = len(left_out)
        others, others_then = rest(kept, query, said), rest(kept, query, then)
        said, then = only(kept, query, said), only(kept, query, then)
    written = _writer(query, before, now)
    return _Found(written(said, then), written(others, others_then) if query.other else [], flags, before)


def _writer(query: Query, before: Earlier | None, now: datetime | None) -> Callable[[Said, Said], list[Row]]:
    measures = leaves(query.measures)

    def written(said: Said, then: Said) -> list[Row]:
        for key in then:
            said.setdefault(key, {})
        if query.fill is not Fill.NONE and query.grain is not Grain.NONE:
            fill(query, said, now)
        keys, columns = [*said], columns_of(measures, said.values())
        earlier_cells = [then.get(key, {}) for key in said]
        values: dict[str, Sequence[object]] = {}
        for measure in query.measures:
            found = values_of(measure, keys, columns, query, now)
            values |= before.beside(measure, keys, found, earlier_cells) if before else {measure.name: found}
        return _rows(query, keys, values)

    return written


def _rows(query: Query, keys: Sequence[Key], values: Mapping[str, Sequence[object]]) -> list[Row]:
    """Rows as answers show them: steps in local time, then dimensions and values."""
    names = (*query.keys, *values)
    if query.grain is not Grain.NONE:
        local = cache(query.period.local)
        keys = [(local(cast(datetime, key[0])), *key[1:]) for key in keys]
    lines = zip(keys, zip(*values.values(), strict=True), strict=True)
    return [dict(zip(names, (*key, *numbers), strict=True)) for key, numbers in lines]


def _units(query: Query) -> dict[str, str]:
    units = {measure.name: measure.unit for measure in query.measures}
    if query.compare is not None:
        units |= {measure.name + BEFORE: measure.unit for measure in query.measures}
        units |= {measure.name + CHANGE: "ratio" for measure in query.measures}
    return {name: units[name] for name in query.numbers}


def totals(query: Query, rows: Rows, state: State | None = None) -> Mapping[Key, Cells]:
    """What the database says of the measures a query is made of, by step and dimensions; nothing divided or sorted."""
    return Asking(rows, state).facts(query)[0]


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
        if each.dimension.name == "app_id" and each.match is Match.IN and not each.is_negated
    ]
    sql = _WATERMARK.format(conditions=" AND ".join(conditions))

    def told(rows: Rows) -> tuple[datetime | None, Extent]:
        ((found,),) = rows(sql, parameters)
        return found.astimezone(UTC) if isinstance(found, datetime) else None, whole("watermark", "app")

    return remembered(rows, (sql, *parameters.values()), told)


def earliest(rows: Rows) -> datetime | None:
    """When the oldest stored fact began, or the oldest day of which facts have gone; None of an empty store."""
    ((day,),) = rows(f"SELECT min(created_at) FROM {RatedLine.table}", {})  # lines change beside batches
    days = [day.astimezone(UTC)] if isinstance(day, datetime) else []
    found = remembered(rows, earliest, _earliest)
    return min([*days, *([found] if found else [])], default=None)


def _earliest(rows: Rows) -> tuple[datetime | None, Extent]:
    dated = (Run, NodeExecution, ModelCall, Message, Conversation, Feedback, Request, PortalEvent)
    tables = [facts.table for facts in dated]
    oldest = " UNION ALL ".join(f"SELECT min(created_at) AS at_first FROM {table}" for table in tables)
    oldest += " UNION ALL SELECT min(starts_at) FROM retired_day"
    ((found,),) = rows(f"SELECT min(at_first) FROM ({oldest}) AS tables", {})
    if not isinstance(found, datetime):
        return None, whole(*tables, "retired_day")
    until = found.astimezone(UTC) + timedelta(microseconds=1)
    return until - timedelta(microseconds=1), {**dict.fromkeys(tables, until), **whole("retired_day")}


def _one_of(column: str, values: Sequence[object], parameters: dict[str, object]) -> str:
    names = [f"value_{len(parameters) + place}" for place in range(len(values))]
    parameters.update(zip(names, values, strict=True))
    return f"{column} IN ({', '.join(f'${name}' for name in names)})"
