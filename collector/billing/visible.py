"""The lines that somebody sees who is bound to apps, workspaces or Difys: those of theirs, whole, and no others.

What comes in are lines and a Sight; what goes out are fewer lines. A line is of one app or one knowledge base, so a
bill can be divided by them; what tier a line is in was decided by all who pay together, and stays. Nothing here rates.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from collector.access import Sight
from collector.measures.query import Rows


def visible(lines: pa.Table, sight: Sight, rows: Rows) -> pa.Table:
    """Those of `lines` (which have `app_id`, `workspace_id` and `dataset_id`) that a Sight shows."""
    if sight.is_whole:
        return lines
    found = lines
    if sight.apps:
        found = found.filter(_is_in(found, "app_id", sight.apps))
    if sight.workspaces:
        apps = _ids(rows, "SELECT id FROM app WHERE list_contains($of::VARCHAR[], workspace_id)", sight.workspaces)
        by_app = pc.and_(pc.is_null(found["workspace_id"]), _is_in(found, "app_id", apps))
        found = found.filter(pc.or_(_is_in(found, "workspace_id", sight.workspaces), by_app))
    if sight.origins:
        apps = _ids(rows, "SELECT id FROM app WHERE list_contains($of::VARCHAR[], origin)", sight.origins)
        bases = _ids(rows, "SELECT id FROM dataset WHERE list_contains($of::VARCHAR[], origin)", sight.origins)
        found = found.filter(pc.or_(_is_in(found, "app_id", apps), _is_in(found, "dataset_id", bases)))
    return found


def _ids(rows: Rows, sql: str, of: Iterable[str]) -> list[str]:
    return [cast(str, id) for (id,) in rows(sql, {"of": list(of)})]


def _is_in(lines: pa.Table, name: str, values: Iterable[str]) -> pa.ChunkedArray:
    return pc.is_in(lines[name], value_set=pa.array(values, pa.string()))
