"""Dify's own database, read only: for sites too busy for the API, and for what the API does not tell.

What comes in are the address of Dify's PostgreSQL (`postgresql://…`, a role that may SELECT) and narrow callables of
the store; what goes out are the records every other source makes, with the same keys, plus what only the database
knows: prices and models of messages, runs of every trigger, test runs and single steps, which are marked. Never
writes, never takes a lock beyond that of reading, never fetches a prompt or an answer it does not need to look at,
never keeps one. Needs psycopg: `pip install 'dify-metric[database]'`.

The smallest rights: a role that may SELECT the columns of `schema.NEEDED` and `schema.OPTIONAL`, and nothing else;
`rights.role_sql()` is the SQL that makes it.

What a pass costs Dify. It is one read-only snapshot; while it is open, PostgreSQL cannot vacuum away what dies
meanwhile, as during a backup, so long histories are better read in parts (`Reading.until`).

* messages, and conversations through them: an index on `created_at`, so only what is new is touched.
* runs: Dify makes an index on `created_at` from 1.12 on. Before, every pass reads the heap of `workflow_runs` once;
  tenant, app and trigger, which are indexed, do not help: every run has them. (200 000 runs: a quarter of a second.)
* node executions: the runs found are looked up in the index that begins with tenant, app and workflow, five or so rows
  each, whatever the table's size. Only a first pass, or one after a long absence, reads the table through.
* end users, questions put to knowledge bases: no index on the time, the table is read through. Apps, accounts,
  ratings, knowledge bases: small, read whole. What knowledge bases hold takes one reading of `documents` and of
  `document_segments`, so it is not asked in every pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from collector.errors import SettingsError
from collector.pull.database.limits import ALWAYS, NEVER, Backlog, Found, Limits, Reading, Stop, Stopped
from collector.records import Pull

if TYPE_CHECKING:
    from collector.pull.database.history import Reached
    from collector.pull.database.passes import Marks, Progress, Put

__all__ = [
    "ALWAYS",
    "NEVER",
    "Backlog",
    "Found",
    "Limits",
    "Reading",
    "Stop",
    "Stopped",
    "back_fill_database",
    "check_address",
    "examine_database",
    "pull_database",
]

_NO_DRIVER = "reading Dify's database needs the driver psycopg: pip install 'dify-metric[database]'"


def pull_database(
    dsn: str,
    put: Put,
    watermark: Marks,
    clock: Callable[[], datetime],
    reading: Reading | None = None,
    *,
    backlog: Callable[[], Backlog] = Backlog,
    sleep: Callable[[float], None] = time.sleep,
    on_progress: Progress | None = None,
    stop: Stop | None = None,
) -> list[Pull]:
    """One pass over all streams; blocks, so run it in a thread beside an event loop.

    `put(records, watermarks)` and `watermark(source, stream, app_id, origin)` are the store's; `on_progress(stream,
    records)` is called after each batch; `stop` may be rung by another thread. Puts and returns one Pull per stream,
    which tells its failure. Raises SettingsError (no psycopg, a wrong address, a database that is not Dify's),
    Unauthorized, StoreError, and Stopped.
    """
    try:
        from collector.pull.database.passes import Pass
    except ImportError:
        raise SettingsError(_NO_DRIVER) from None
    one = Pass(put, watermark, clock, reading or Reading(), backlog(), on_progress, stop)
    one.run(dsn, sleep)
    return one.pulls


def back_fill_database(
    dsn: str,
    put: Put,
    watermark: Marks,
    reached: Reached,
    clock: Callable[[], datetime],
    reading: Reading,
    *,
    sleep: Callable[[float], None] = time.sleep,
    on_progress: Callable[[str, int, int | None], None] | None = None,
    stop: Stop | None = None,
) -> list[Pull]:
    """Read history back to `reading.since`, part by part, on from where `reached` (by stream) says the last one came.

    Blocks; puts and returns one Pull per stream and part, and ends with the first that failed. `on_progress(stream,
    done, total)` is called as facts are stored. Raises as `pull_database` does.
    """
    try:
        from collector.pull.database.history import History
    except ImportError:
        raise SettingsError(_NO_DRIVER) from None
    history = History(put, watermark, reached, clock, reading, on_progress, stop)
    history.run(dsn, sleep)
    return history.pulls


def examine_database(dsn: str, workspace_id: str | None, clock: Callable[[], datetime]) -> Found:
    """Connect and look at what is there and what the role may do; blocks. Raises SettingsError, Unauthorized,
    Unavailable."""
    try:
        from collector.pull.database.rights import examine
    except ImportError:
        raise SettingsError(_NO_DRIVER) from None
    return examine(dsn, workspace_id, clock)


def check_address(dsn: str) -> None:
    """Whether a database with that address could be read here. Raises SettingsError."""
    try:
        from collector.pull.database.connection import address
    except ImportError:
        raise SettingsError(_NO_DRIVER) from None
    address(dsn)
