"""What a pass over Dify's database has to look at again, worked out from what is stored.

What comes in is `rows` (SQL -> tuples); what goes out is the Backlog that `pull_database` asks for. Nothing here
writes, or asks Dify.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast

from collector.collect.backlog import Rows
from collector.pull.database import Backlog
from collector.records import STALE

_OPEN = f"NOT is_final AND status <> '{STALE}' AND created_at IS NOT NULL"


def database_backlog(rows: Rows) -> Backlog:
    """Open runs and messages, and the apps and ratings that stand, whoever told of them."""
    return Backlog(
        open_runs=_instants(rows, f"SELECT id, created_at FROM run WHERE {_OPEN}"),
        open_messages=_instants(rows, f"SELECT id, created_at FROM message WHERE {_OPEN}"),
        apps={
            str(app): cast("str | None", workspace)
            for app, workspace in rows("SELECT id, workspace_id FROM app WHERE deleted_at IS NULL", ())
        },
        ratings=frozenset(str(key) for (key,) in rows("SELECT id FROM feedback WHERE rating <> 'withdrawn'", ())),
    )


def _instants(rows: Rows, sql: str) -> dict[str, datetime]:
    return {str(key): cast("datetime", at) for key, at in rows(sql, ())}
