"""Lines as questions find them: the writer's side of table `rated_line`.

What comes in are the lines of one period and the state they were rated in; what goes out is the table with these in
place of those before. Nothing here rates.
"""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from collector.store.session import Session


def keep(session: Session, period: str, state: str, lines: pa.Table, rated_at: datetime) -> None:
    """Keep the lines of a period, in the open transaction."""
    session.run("DELETE FROM rated_line WHERE period = ?", [period])
    with session.showing(told=lines):
        session.run("INSERT INTO rated_line BY NAME SELECT * FROM told")
    session.run("INSERT OR REPLACE INTO rated_period VALUES (?, ?, ?)", [period, state, rated_at])
