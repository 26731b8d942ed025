"""Runs: SQL for the rows of workflow_runs, and row -> Run.

What comes in are rows joined with the end user who asked and, in chatflows, the message that asked; what goes out are
runs. Never reads a run's inputs and outputs.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from collector.ledger import Telling, run_fact
from collector.pull.database.connection import Row
from collector.pull.database.schema import Schema
from collector.pull.database.values import in_workspace
from collector.records import FINAL_RUN_STATUSES, STALE, Run

DEBUG_TRIGGERS = frozenset({"debugging", "rag-pipeline-debugging"})
"""`triggered_from` of test runs in the console."""

IN_PERIOD = "r.created_at >= %(since)s AND r.created_at < %(until)s"
BY_ID = "r.id = ANY(%(ids)s::uuid[])"


_HAS_NODES = """r.total_tokens = 0 OR EXISTS (SELECT FROM workflow_node_executions n WHERE n.tenant_id = r.tenant_id
        AND n.app_id = r.app_id AND n.workflow_id = r.workflow_id
        AND n.triggered_from IN ('workflow-run', 'rag-pipeline-run') AND n.workflow_run_id = r.id)"""
"""A run that spent tokens had nodes: where there are none, they were cleaned away or are not written yet."""


def runs_sql(schema: Schema, where: str) -> str:
    """Runs with the message that asked, looked for among messages of %(near)s to %(far)s: that has an index."""
    exceptions = schema.optional("workflow_runs", "r", "exceptions_count")
    return f"""
    SELECT r.id::text, r.tenant_id::text, r.app_id::text, r.workflow_id::text, r.version, r.triggered_from, r.status,
      r.error, r.elapsed_time, r.total_tokens, r.total_steps, {exceptions},
      r.created_by_role, r.created_by::text, u.session_id, m.id::text, m.conversation_id::text,
      r.created_at AT TIME ZONE 'UTC', r.finished_at AT TIME ZONE 'UTC',
      {_HAS_NODES}
    FROM workflow_runs r
    LEFT JOIN end_users u ON r.created_by_role = 'end_user' AND u.id = r.created_by
    LEFT JOIN messages m ON m.workflow_run_id = r.id AND m.created_at >= %(near)s AND m.created_at < %(far)s
    WHERE {where} AND {in_workspace("r.tenant_id")}
    """


def run(row: Row, telling: Telling, stale_before: datetime) -> Run:
    """A row of `runs_sql` -> Run; one open since before `stale_before` is stale."""
    (key, workspace, app, workflow, version, trigger, status, error, elapsed, tokens, steps, exceptions, role, by,
     session, message, conversation, created_at, finished_at, _) = row  # fmt: skip
    is_final = status in FINAL_RUN_STATUSES
    raw = {
        "id": key,
        "workflow_id": workflow,
        "version": version,
        "triggered_from": trigger,
        "status": status,
        "error": error,
        "elapsed_time": elapsed,
        "total_tokens": tokens,
        "total_steps": steps,
        "exceptions_count": exceptions,
        "message_id": message,
        "conversation_id": conversation,
    }
    return run_fact(
        raw,
        telling,
        app_id=app,
        workspace_id=workspace,
        is_debug=trigger in DEBUG_TRIGGERS,
        status=STALE if not is_final and created_at < stale_before else status,
        user_id=by,
        user_kind=role,
        session_id=session,
        created_at=created_at,
        finished_at=finished_at if is_final else None,
    )


def has_nodes(row: Row) -> bool:
    """Whether the nodes of a row of `runs_sql` are there to be read."""
    return bool(row[-1])


def around(since: datetime, until: datetime) -> dict[str, datetime]:
    """The period in which the messages of that period's runs lie: a message is made seconds before its run."""
    slack = timedelta(hours=1)
    return {"near": since - slack, "far": until + slack}
