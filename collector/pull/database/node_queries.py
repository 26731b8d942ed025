"""The statements that read node executions: which rows, and how much of their JSON.

What a node spent stands in its process_data and outputs, behind prompts and answers that are none of our business and
most of the bytes. So texts of nodes that call no model stay where they are, long ones come as their two ends, and the
outputs, which repeat the usage, stay where they seem to add nothing. Whoever reads the rows finds out where that was
too little, and asks for the whole. A quote inside JSON text is escaped: a key with its quotes is found nowhere else.
All this in bytes: cutting and searching text counts its characters each time.
"""

from __future__ import annotations

from collector.ledger import CALLING_NODES, CONTAINER_NODES, PERHAPS_CALLING_NODES, TOOL
from collector.pull.database.runs import DEBUG_TRIGGERS
from collector.pull.database.values import CUT_SQL, cut_sql, in_workspace
from collector.records import FINAL_NODE_STATUSES

WHOLE_BYTES, HEAD_BYTES, TAIL_BYTES = 4096, 64, 2048
"""JSON longer than WHOLE_BYTES comes as its two ends: usage stands behind the prompts."""

USAGE_BYTES = 1024
"""At most so far from its end stands the usage of a call, in texts as Dify writes them."""

_IN_PERIOD = f"n.created_at >= %(since)s AND n.created_at < %(until)s AND {in_workspace('n.tenant_id')}"


def _listed(*words: str) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))


def _holds(text: str, words: str) -> str:
    return f"position('{words}'::bytea in {text}) > 0"


def _bytes(column: str) -> str:
    return f"convert_to({column}, 'UTF8')"


def _end(column: str, length: int) -> str:
    return f"substring({_bytes(column)} from greatest(octet_length({column}) - {length - 1}, 1))"


def _cut(column: str) -> str:
    image = _holds(_bytes(column), '"image"')
    head = f"CASE WHEN {image} THEN 'image'::bytea ELSE substring({_bytes(column)} from 1 for {HEAD_BYTES}) END"
    return cut_sql(column, whole=WHOLE_BYTES, head=head, tail=_end(column, TAIL_BYTES))


_MAY_CALL = f"""n.status IN ({_listed(*FINAL_NODE_STATUSES)})
      AND (n.node_type IN ({_listed(*CALLING_NODES, *PERHAPS_CALLING_NODES)})
        OR n.node_type NOT IN ({_listed(TOOL, *CONTAINER_NODES)}) AND strpos(n.process_data, '"model_name"') > 0)"""

_PROCESS, _OUTPUTS = "n.process_data", "n.outputs"

_SEEMS_COMPLETE = f"""{_holds(_end(_PROCESS, USAGE_BYTES), '"time_to_first_token": ')}
        AND NOT {_holds(_end(_PROCESS, USAGE_BYTES), '"time_to_first_token": null')}
        AND NOT {_holds(_end(_OUTPUTS, USAGE_BYTES), 'cached_tokens"')}
        AND NOT {_holds(_end(_OUTPUTS, USAGE_BYTES), 'reasoning_tokens"')}"""
"""That the outputs know none of the fields that process_data sometimes leaves blank."""

_TELL_TOKENS = _holds(_bytes(_OUTPUTS), '_tokens"')

_IS_DEBUG = f"""CASE WHEN n.workflow_run_id IS NULL THEN nullif(n.triggered_from = 'single-step', FALSE)
      ELSE r.triggered_from IN ({_listed(*DEBUG_TRIGGERS)}) END"""
"""A single step is a test; a node of a run is what its run is; of a run that is gone nothing is known."""

_COLUMNS = f"""
    SELECT n.id::text, n.tenant_id::text, n.app_id::text, n.workflow_run_id::text, m.id::text, m.conversation_id::text,
      {_IS_DEBUG}, n.node_id, n.node_type, n.title, n.status, left(n.error, 4000), n.elapsed_time,
      n.execution_metadata, n.created_at AT TIME ZONE 'UTC', n.finished_at AT TIME ZONE 'UTC',
      CASE WHEN {_MAY_CALL} THEN {_cut(_PROCESS)} END,
      CASE WHEN {_MAY_CALL}
        THEN CASE WHEN {_SEEMS_COMPLETE} THEN {CUT_SQL} WHEN {_TELL_TOKENS} THEN {_cut(_OUTPUTS)} END END
"""
"""The outputs come where they may tell tokens; only CUT, for "ask again", where they seem to add nothing."""

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

WHOLE = f"""
    SELECT n.id::text, {_bytes(_PROCESS)}, {_bytes(_OUTPUTS)}
    FROM workflow_node_executions n WHERE n.id = ANY(%(ids)s::uuid[])
"""
"""What was cut or left out, of some nodes."""
