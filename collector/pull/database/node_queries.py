"""The statements that read node executions: which rows, and how much of their JSON.

What a node spent stands in its process_data and outputs, behind prompts and answers that are none of our business and
most of the bytes. So the server is asked, with the cheapest questions that prove it, what can tell anything: texts
that cannot stay there, long ones come as their two ends. A quote inside JSON text is escaped: a key with its quotes
is found nowhere else.
"""

from __future__ import annotations

from collector.ledger import CALLING_NODES, CONTAINER_NODES, PERHAPS_CALLING_NODES, TOOL
from collector.pull.database.runs import DEBUG_TRIGGERS
from collector.pull.database.values import cut_sql
from collector.records import FINAL_NODE_STATUSES

WHOLE_BYTES, TAIL, HEAD = 4096, 2048, 64
"""JSON longer than WHOLE_BYTES comes as its first HEAD and last TAIL characters: usage stands behind the prompts."""

_IN_PERIOD = "n.created_at >= %(since)s AND n.created_at < %(until)s"


def _listed(*words: str) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))


def _holds(column: str, words: str) -> str:
    return f"strpos({column}, '{words}') > 0"


def _cut(column: str) -> str:
    image = _holds(column, '"image"')
    head = f"CASE WHEN {image} THEN 'image' ELSE left({column}, {HEAD}) END"
    return cut_sql(column, whole=WHOLE_BYTES, head=head, tail=TAIL)


_NAMES_MODEL = _holds("n.process_data", '"model_name"')
_TELLS_TOKENS = _holds("n.outputs", '_tokens"')
_MAY_CALL = f"""n.status IN ({_listed(*FINAL_NODE_STATUSES)})
      AND (n.node_type IN ({_listed(*CALLING_NODES, *PERHAPS_CALLING_NODES)})
        OR n.node_type NOT IN ({_listed(TOOL, *CONTAINER_NODES)}) AND {_NAMES_MODEL})"""

_IS_COMPLETE = f"""{_holds("n.process_data", '"time_to_first_token": ')}
      AND NOT {_holds("n.process_data", '"time_to_first_token": null')}
      AND NOT {_holds("n.outputs", 'cached_tokens"')} AND NOT {_holds("n.outputs", 'reasoning_tokens"')}"""
"""That the outputs, which repeat the usage, know none of the fields that process_data often leaves blank."""

_IS_DEBUG = f"""CASE WHEN n.workflow_run_id IS NULL THEN nullif(n.triggered_from = 'single-step', FALSE)
      ELSE r.triggered_from IN ({_listed(*DEBUG_TRIGGERS)}) END"""
"""A single step is a test; a node of a run is what its run is; of a run that is gone nothing is known."""

_COLUMNS = f"""
    SELECT n.id::text, n.tenant_id::text, n.app_id::text, n.workflow_run_id::text, m.id::text, m.conversation_id::text,
      {_IS_DEBUG}, n.node_id, n.node_type, n.title, n.status, left(n.error, 4000), n.elapsed_time,
      n.execution_metadata, n.created_at AT TIME ZONE 'UTC', n.finished_at AT TIME ZONE 'UTC',
      CASE WHEN {_MAY_CALL} THEN {_cut("n.process_data")} END,
      CASE WHEN {_MAY_CALL} AND {_TELLS_TOKENS}
        THEN CASE WHEN {_IS_COMPLETE} THEN chr(1) ELSE {_cut("n.outputs")} END END
"""
"""The outputs come where they may tell tokens; only CUT, for "ask again", where process_data seems to tell as much."""

NODES = f"""{_COLUMNS}
    FROM workflow_node_executions n
    LEFT JOIN workflow_runs r ON r.id = n.workflow_run_id
    LEFT JOIN messages m ON m.workflow_run_id = n.workflow_run_id AND m.created_at >= %(near)s
      AND m.created_at < %(far)s
    WHERE {_IN_PERIOD}
"""
"""All node executions of a period, in one reading of the table: no index of Dify's begins with the time."""

NODES_OF_RUNS = f"""{_COLUMNS}
    FROM unnest(%(ids)s::uuid[], %(messages)s::uuid[], %(conversations)s::uuid[]) AS m(run_id, id, conversation_id)
    JOIN workflow_runs r ON r.id = m.run_id
    JOIN workflow_node_executions n ON n.tenant_id = r.tenant_id AND n.app_id = r.app_id
      AND n.workflow_id = r.workflow_id AND n.triggered_from IN ('workflow-run', 'rag-pipeline-run')
      AND n.workflow_run_id = r.id
"""
"""The node executions of some runs, one index look-up for each run."""

SINGLE_STEPS = f"""{_COLUMNS}
    FROM workflows w
    JOIN workflow_node_executions n ON n.tenant_id = w.tenant_id AND n.app_id = w.app_id AND n.workflow_id = w.id
      AND n.triggered_from = 'single-step'
    LEFT JOIN workflow_runs r ON r.id = n.workflow_run_id
    LEFT JOIN messages m ON FALSE
    WHERE {_IN_PERIOD}
"""
"""Nodes tried out alone in the editor, which belong to no run: one index look-up for each workflow."""

WHOLE = "SELECT n.id::text, n.process_data, n.outputs FROM workflow_node_executions n WHERE n.id = ANY(%(ids)s::uuid[])"
"""What was cut or left out, of some nodes."""
