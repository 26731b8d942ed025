"""How a store's file came to look as it does: numbered steps, in order, each of them once.

What comes in is a way to run SQL on a file of any age; what goes out is a file of today's schema. A step that was
released is history: it is never edited, a change is a new step at the end. That is why the SQL stands here in full
and is not made from the records.
"""

from __future__ import annotations

from datetime import datetime

from collector.errors import StoreError
from collector.store.migrations import steps_01, steps_02, steps_06, steps_13
from collector.store.migrations.step import Migration
from collector.store.session import Session

__all__ = ["COUNTING_SINCE", "LATEST", "MIGRATIONS", "Migration", "migrate", "require_latest", "version"]

COUNTING_SINCE = "counting_since"
"""The milestone of the first opening: facts that finished before it are history, not news."""

_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
  version INTEGER PRIMARY KEY,
  name VARCHAR NOT NULL,
  applied_at TIMESTAMPTZ NOT NULL
)
"""

MIGRATIONS = (*steps_01.STEPS, *steps_02.STEPS, *steps_06.STEPS, *steps_13.STEPS)
"""Every step, in order. A module is called by its first one; a new step goes to the end of the last."""

LATEST = MIGRATIONS[-1].number


def migrate(session: Session, now: datetime) -> None:
    """Bring a file to today's schema, each step with its number in one transaction. Raises StoreError."""
    found = version(session)
    session.run(_VERSIONS)
    for step in MIGRATIONS[found:]:
        with session.transaction():
            for statement in step.statements:
                session.run(statement)
            session.run("INSERT INTO schema_version VALUES (?, ?, ?)", [step.number, step.name, now])
    session.run("INSERT OR IGNORE INTO milestone VALUES (?, ?)", [COUNTING_SINCE, now])


def require_latest(session: Session) -> None:
    """For a file opened read-only: it must have today's schema already. Raises StoreError."""
    found = version(session)
    if found < LATEST:
        raise StoreError(
            f"store {session.path}: its schema is {found}, of an older dify-metric (now {LATEST}); "
            "open it once for writing"
        )


def version(session: Session) -> int:
    """The number of the last step a file has seen; 0 for an empty one. Raises StoreError when it is not ours to use."""
    tables = {name for (name,) in session.run("SELECT table_name FROM duckdb_tables() WHERE NOT internal")}
    if not tables:
        return 0
    if "schema_version" not in tables:
        raise StoreError(f"store {session.path}: it is a DuckDB file of something else; name another path")
    ((found,),) = session.run("SELECT coalesce(max(version), 0) FROM schema_version")
    if found > LATEST:
        raise StoreError(
            f"its schema is {found}, of a newer dify-metric (this one knows {LATEST}); upgrade dify-metric"
        )
    return int(found)
