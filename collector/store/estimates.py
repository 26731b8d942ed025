"""When an estimated model call goes: a run's real calls, or the knowledge that it made none, take its place.

What comes in are the calls and runs a batch told, already stored, in the open transaction; what goes out are the keys
of the estimates that went. Whichever of estimate, calls and run arrives last, the end is the same. Only runs of the
batch are looked at.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from collector.store.session import Session

_EVER, _NEVER = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)

_NAMED = """
SELECT rowid AS place, id, run_id, created_at, finished_at FROM model_call
WHERE is_estimate AND run_id IN (SELECT run_id FROM named)
"""

_OUTLIVED = """
SELECT place, id FROM named_estimates
WHERE run_id IN (
    SELECT c.run_id FROM model_call c
    WHERE NOT c.is_estimate AND c.tokens IS NOT NULL AND c.run_id IN (SELECT run_id FROM named_estimates)
      AND (c.created_at BETWEEN $low AND $high OR c.created_at IS NULL)
  ) OR run_id IN (
    SELECT r.id FROM run r
    WHERE r.leaves_known AND r.id IN (SELECT run_id FROM named_estimates)
      AND (r.created_at BETWEEN $low AND $high OR r.created_at IS NULL)
  )
"""


def settle(session: Session, calls: pa.Table | None, runs: pa.Table | None, slack: timedelta) -> pa.Array:
    """Remove the estimates that were outlived; their ids."""
    named = _runs_named(calls, runs)
    if not len(named) or not session.run("SELECT 1 FROM model_call WHERE is_estimate LIMIT 1"):
        return pa.array([], pa.string())
    with session.showing(named=named):
        estimates = session.arrow(_NAMED)
    if not len(estimates):
        return pa.array([], pa.string())
    low, high = _bounds(estimates, slack)
    with session.showing(named_estimates=estimates):
        outlived = session.arrow(_OUTLIVED, {"low": low, "high": high})
    with session.showing(outlived=outlived):
        session.run("DELETE FROM model_call WHERE rowid IN (SELECT place FROM outlived)")
    return outlived["id"].combine_chunks()


def _runs_named(calls: pa.Table | None, runs: pa.Table | None) -> pa.Table:
    """The runs a batch told something of that could end an estimate."""
    found = []
    if calls is not None:
        found.append(calls["run_id"].drop_null().combine_chunks())
    if runs is not None:
        found.append(runs["id"].filter(pc.fill_null(runs["leaves_known"], False)).combine_chunks())
    return pa.table({"run_id": pc.unique(pa.chunked_array(found, pa.string()))})


def _bounds(estimates: pa.Table, slack: timedelta) -> tuple[datetime, datetime]:
    """Between which instants the calls of these runs began; open where an estimate does not know."""
    begun, ended = estimates["created_at"], estimates["finished_at"]
    low = _EVER if begun.null_count else pc.min(begun).as_py() - slack
    high = _NEVER if ended.null_count else pc.max(ended).as_py() + slack
    return low, high
