"""How far streams have come: watermarks move forward, reaches grow, and what could not be read is set aside.

What comes in are marks; they are written into the open transaction. Nothing here knows where they come from.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from collector.records import MOST_SET_ASIDE, Mark, Reach, SetAside
from collector.store.session import Session

_REACHED = """
INSERT INTO reach VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
SET complete_from = least(complete_from, excluded.complete_from),
  complete_until = greatest(complete_until, excluded.complete_until)
"""
_ADVANCED = """
INSERT INTO watermark VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
SET complete_until = greatest(complete_until, excluded.complete_until)
"""
_FORGOTTEN = """
DELETE FROM set_aside WHERE rowid IN (SELECT rowid FROM set_aside ORDER BY seen_at DESC, rowid DESC OFFSET ?)
"""


def advance(session: Session, told: Iterable[Mark]) -> set[str]:
    """The tables that were written."""
    written = set()
    for mark in told:
        if isinstance(mark, Reach):
            session.run(_REACHED, [*msgspec.structs.astuple(mark)])
            written.add("reach")
        elif isinstance(mark, SetAside):
            _set_aside(session, mark)
            written.add("set_aside")
        else:
            session.run(_ADVANCED, [mark.source, mark.stream, mark.app_id, mark.complete_until, mark.origin])
            written.add("watermark")
    return written


def _set_aside(session: Session, mark: SetAside) -> None:
    key = [mark.source, mark.origin, mark.stream, mark.app_id, mark.key]
    sql = "DELETE FROM set_aside WHERE source = ? AND origin = ? AND stream = ? AND app_id = ? AND key = ?"
    session.run(sql, key)
    if mark.problem is not None:
        told = [*key, mark.problem, mark.tried_by, mark.seen_at]
        session.run("INSERT INTO set_aside VALUES (?, ?, ?, ?, ?, ?, ?, ?)", told)
        session.run(_FORGOTTEN, [MOST_SET_ASIDE])
