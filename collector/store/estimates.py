"""When an estimated model call goes: its run's real calls, or the knowledge that it made none, take its place.

What comes in are the facts a batch told, already stored, in the open transaction; what goes out are the keys of the
estimates that went. Whichever of estimate, calls, run and message arrives last, the end is the same. Only estimates
that the batch can say something about are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from collector.records import Message, ModelCall, Record, Run
from collector.store.session import Session

_EVER, _NEVER = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
_NONE = pa.array([], pa.string())

_TOUCHED = """
SELECT rowid AS place, id, run_id, message_id, created_at, finished_at FROM model_call
WHERE is_estimate AND (
  run_id IN (SELECT run_id FROM told_runs)
  OR run_id IS NULL AND (created_at BETWEEN $low AND $high OR created_at IS NULL)
)
"""
"""A blocking chatflow tells its message and no run: those near the batch in time are looked at too."""

_OUTLIVED = """
WITH
  runs AS (
    FROM run SELECT id, message_id, leaves_known WHERE created_at BETWEEN $low AND $high OR created_at IS NULL
  ),
  stands_for AS (
    FROM touched SELECT place, run_id
    UNION ALL FROM touched JOIN runs USING (message_id) SELECT place, runs.id
    UNION ALL FROM touched JOIN message AS m ON m.id = touched.message_id SELECT place, m.run_id
    WHERE m.created_at BETWEEN $low AND $high OR m.created_at IS NULL
  ),
  real_calls AS (
    FROM model_call SELECT run_id, message_id
    WHERE NOT is_estimate AND tokens IS NOT NULL AND (created_at BETWEEN $low AND $high OR created_at IS NULL)
  )
FROM touched SELECT place, id
WHERE message_id IN (SELECT message_id FROM real_calls)
  OR place IN (FROM stands_for SEMI JOIN real_calls USING (run_id) SELECT place)
  OR place IN (FROM stands_for JOIN runs ON runs.id = stands_for.run_id SELECT place WHERE leaves_known)
"""


def settle(session: Session, told: Mapping[type[Record], pa.Table], slack: timedelta) -> pa.Array:
    """Remove the estimates that were outlived; their ids."""
    facts = [told[kind] for kind in (ModelCall, Run, Message) if kind in told]
    if not facts or not session.run("SELECT 1 FROM model_call WHERE is_estimate LIMIT 1"):
        return _NONE
    low = min(_least(rows, "created_at", slack) for rows in facts)
    high = max(_most(rows, "created_at", slack) for rows in facts)
    with session.showing(told_runs=_runs(told)):
        touched = session.arrow(_TOUCHED, {"low": low, "high": high})
    if not len(touched):
        return _NONE
    span = {"low": _least(touched, "created_at", slack), "high": _most(touched, "finished_at", slack)}
    with session.showing(touched=touched):
        outlived = session.arrow(_OUTLIVED, span)
    with session.showing(outlived=outlived):
        session.run("DELETE FROM model_call WHERE rowid IN (SELECT place FROM outlived)")
    return outlived["id"].combine_chunks()


def _runs(told: Mapping[type[Record], pa.Table]) -> pa.Table:
    """The runs of which calls were told, or that all calls are known."""
    found = []
    if ModelCall in told:
        found += told[ModelCall]["run_id"].drop_null().chunks
    if Run in told:
        found += told[Run]["id"].filter(pc.fill_null(told[Run]["leaves_known"], False)).chunks
    return pa.table({"run_id": pc.unique(pa.chunked_array(found, pa.string()))})


def _least(rows: pa.Table, column: str, slack: timedelta) -> datetime:
    """The earliest instant with slack; for ever back where a row does not know."""
    at = rows[column]
    return _EVER if at.null_count else pc.min(at).as_py() - slack


def _most(rows: pa.Table, column: str, slack: timedelta) -> datetime:
    at = rows[column]
    return _NEVER if at.null_count else pc.max(at).as_py() + slack
