"""When an estimated model call goes: the real calls it stands for, or the knowledge that there were none, replace it.

What comes in are the calls, runs and messages a batch told, already stored, in the open transaction; what goes out are
which went and which changed. An estimate that knows only its message is given the run of that message as soon
as anybody names both. Whichever of them all arrives last, the end is the same. Only what the batch names is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from collector.store.columns import EVER, NEVER, around
from collector.store.session import Session


@dataclass(frozen=True)
class Gone:
    """Estimates that went, and when those began that went or were given their run."""

    ids: pa.ChunkedArray
    touched: tuple[pa.ChunkedArray, ...]


_NONE = Gone(pa.chunked_array([], pa.string()), ())

_NAMED = """
SELECT rowid AS place, id, run_id, message_id, created_at, finished_at FROM model_call
WHERE is_estimate AND (run_id IN (SELECT id FROM named_runs) OR message_id IN (SELECT id FROM named_messages))
"""

_NEAR = "(created_at BETWEEN $low AND $high OR created_at IS NULL)"

_LINKED = f"""
WITH homeless AS (SELECT place, message_id FROM named_estimates WHERE run_id IS NULL),
known AS (
    SELECT message_id, id AS run_id FROM run WHERE message_id IN (SELECT message_id FROM homeless) AND {_NEAR}
    UNION SELECT id, run_id FROM message WHERE id IN (SELECT message_id FROM homeless) AND {_NEAR}
    UNION SELECT message_id, run_id FROM model_call WHERE message_id IN (SELECT message_id FROM homeless) AND {_NEAR}
)
SELECT place, min(known.run_id) AS run_id FROM homeless JOIN known USING (message_id)
WHERE known.run_id IS NOT NULL GROUP BY place
"""

_OUTLIVED = f"""
WITH estimate AS (SELECT place, id, run_id, message_id, created_at FROM named_estimates),
told AS (
    SELECT id, run_id, message_id, is_estimate FROM model_call
    WHERE tokens IS NOT NULL AND {_NEAR}
      AND (run_id IN (SELECT run_id FROM estimate) OR message_id IN (SELECT message_id FROM estimate))
)
SELECT place, id, created_at FROM estimate
WHERE run_id IN (SELECT run_id FROM told WHERE NOT is_estimate)
   OR message_id IN (SELECT message_id FROM told WHERE NOT is_estimate)
   OR run_id IN (SELECT r.id FROM run r WHERE r.leaves_known AND r.id IN (SELECT run_id FROM estimate) AND {_NEAR})
   -- of two estimates for one run, the one under the run's own key stays
   OR (id <> run_id AND run_id IN (SELECT id FROM told))
"""


def settle(
    session: Session, calls: pa.Table | None, runs: pa.Table | None, messages: pa.Table | None, slack: timedelta
) -> Gone:
    """Remove the estimates that were outlived."""
    if not session.run("SELECT 1 FROM model_call WHERE is_estimate LIMIT 1"):
        return _NONE
    named = {
        "named_runs": _ids((calls, "run_id"), (runs, "id"), (messages, "run_id")),
        "named_messages": _ids((calls, "message_id"), (runs, "message_id"), (messages, "id")),
    }
    with session.showing(**named):
        estimates = session.arrow(_NAMED)
    linked: tuple[pa.ChunkedArray, ...] = ()
    if estimates["run_id"].null_count:
        linked = (_link(session, estimates, slack),)
        with session.showing(**named):
            estimates = session.arrow(_NAMED)
    if not len(estimates):
        return Gone(_NONE.ids, linked)
    with session.showing(named_estimates=estimates):
        outlived = session.arrow(_OUTLIVED, _bounds(estimates, slack))
    with session.showing(outlived=outlived):
        session.run("DELETE FROM model_call WHERE rowid IN (SELECT place FROM outlived)")
    return Gone(outlived["id"], (*linked, outlived["created_at"]))


def _link(session: Session, estimates: pa.Table, slack: timedelta) -> pa.ChunkedArray:
    """Write the run into estimates that knew only their message, where it is known by now: when those began."""
    with session.showing(named_estimates=estimates):
        linked = session.arrow(_LINKED, _bounds(estimates, slack))
    if len(linked):
        with session.showing(linked=linked):
            session.run(
                "UPDATE model_call SET run_id = linked.run_id FROM linked WHERE model_call.rowid = linked.place"
            )
    return estimates.filter(pc.is_in(estimates["place"], value_set=linked["place"].combine_chunks()))["created_at"]


def _ids(*places: tuple[pa.Table | None, str]) -> pa.Table:
    """The ids a batch tells something of."""

    def columns() -> Iterator[pa.Array]:
        for facts, column in places:
            if facts is not None:
                yield facts[column].drop_null().combine_chunks()

    return pa.table({"id": pc.unique(pa.chunked_array(list(columns()), pa.string()))})


def _bounds(estimates: pa.Table, slack: timedelta) -> dict[str, datetime]:
    """Between which instants the runs of these estimates, and their calls, began; open where one does not know."""
    begun, ended = estimates["created_at"], estimates["finished_at"]
    low = EVER if begun.null_count else pc.min(begun).as_py()
    high = NEVER if ended.null_count else pc.max(ended).as_py()
    return around(low, high, slack)
