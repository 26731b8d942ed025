"""Dify's own database, read only: for sites too busy for the API, and for what the API does not tell.

What comes in are the address of Dify's PostgreSQL (`postgresql://…`, a role that may SELECT) and narrow callables of
the store; what goes out are the records every other source makes, with the same keys, plus what only the database
knows: prices and models of messages, runs of every trigger, test runs and single steps, which are marked. Never
writes, never takes a lock beyond that of reading, never fetches a prompt or an answer it does not need to look at,
never keeps one. Needs psycopg: `pip install 'dify-metric[database]'`.

The smallest rights: a role that may SELECT from the tables of `schema.NEEDED` and `schema.OPTIONAL`, and nothing else:

    CREATE ROLE dify_metric LOGIN PASSWORD '…';
    GRANT SELECT ON apps, app_model_configs, tenants, workflows, end_users, accounts, workflow_runs,
      workflow_node_executions, messages, conversations, message_feedbacks, tags, tag_bindings TO dify_metric;

What a pass costs Dify. It is one read-only snapshot; while it is open, PostgreSQL cannot vacuum away what dies
meanwhile, as during a backup, so long histories are better read in parts (`Reading.until`).

* messages, and conversations through them: an index on `created_at`, so only what is new is touched.
* runs: Dify makes an index on `created_at` from 1.12 on. Before, every pass reads the heap of `workflow_runs` once;
  tenant, app and trigger, which are indexed, do not help: every run has them. (200 000 runs: a quarter of a second.)
* node executions: the runs found are looked up in the index that begins with tenant, app and workflow, five or so rows
  each, whatever the table's size. Only a first pass, or one after a long absence, reads the table through.
* end users: a narrow table, read through. Apps, accounts, ratings: small, read whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from collector.errors import SettingsError
from collector.pull.database.limits import ALWAYS, NEVER, Backlog, Limits, Reading
from collector.records import Pull

if TYPE_CHECKING:
    from collector.pull.database.passes import Marks, Progress, Put

__all__ = ["ALWAYS", "NEVER", "Backlog", "Limits", "Reading", "pull_database"]


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
) -> list[Pull]:
    """One pass over all streams; blocks, so run it in a thread beside an event loop.

    `put(records, watermarks)` and `watermark(source, stream, app_id)` are the store's; `on_progress(stream, records)`
    is called after each batch. Puts and returns one Pull per stream, which tells its failure. Raises SettingsError (no
    psycopg, a wrong address, a database that is not Dify's), Unauthorized and StoreError.
    """
    try:
        from collector.pull.database.passes import Pass
    except ImportError:
        raise SettingsError(
            "reading Dify's database needs the driver psycopg: pip install 'dify-metric[database]'"
        ) from None
    one = Pass(put, watermark, clock, reading or Reading(), backlog(), on_progress)
    one.run(dsn, sleep)
    return one.pulls
