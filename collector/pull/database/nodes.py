"""Node executions: SQL for the rows of workflow_node_executions, and row -> the node and the model call it made.

What comes in are rows whose JSON was cut down by the server to what can tell usage; what goes out are records. What a
row says is the ledger's to decide. Most rows have one of two shapes, a node that calls no model and a call as Dify has
written it since 1.0, and those are read here directly, some twenty times as fast; every other row goes to the ledger
whole. A test holds the two readings against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, TypeAlias

import msgspec

from collector.errors import ShapeError
from collector.fields import MONEY_STEP, Json
from collector.ledger import (
    CALLING_NODES,
    CONTAINER_NODES,
    PERHAPS_CALLING_NODES,
    Telling,
    error_class,
    node_facts,
    provider_name,
)
from collector.pull.database.connection import Row
from collector.pull.database.runs import DEBUG_TRIGGERS
from collector.pull.database.values import CUT, cut_sql, last_members, loose_json, strict_json
from collector.records import FINAL_NODE_STATUSES, ModelCall, NodeExecution

IN_PERIOD = "n.created_at >= %(since)s AND n.created_at < %(until)s"
WHOLE_BYTES, TAIL, HEAD = 4096, 2048, 64
"""JSON longer than WHOLE_BYTES comes as its first HEAD and last TAIL characters: usage stands behind the prompts."""

Whole: TypeAlias = Callable[[list[str]], dict[str, tuple[str | None, str | None]]]
"""Ids of nodes -> their process_data and outputs, uncut."""


def _listed(words: frozenset[str]) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))


_TELLS = f"""n.node_type IN ({_listed(CALLING_NODES | PERHAPS_CALLING_NODES)})
      AND n.status IN ({_listed(FINAL_NODE_STATUSES)})"""
_PROCESS_TELLS = """strpos(coalesce(n.process_data, ''), '_tokens"') > 0"""
_OUTPUTS_TELL = """strpos(coalesce(n.outputs, ''), '_tokens"') > 0"""


def _cut(column: str) -> str:
    head = f"""CASE WHEN strpos({column}, '"image"') > 0 THEN 'image' ELSE left({column}, {HEAD}) END"""
    return cut_sql(column, whole=WHOLE_BYTES, head=head, tail=TAIL)


_IS_DEBUG = f"""CASE WHEN n.workflow_run_id IS NULL THEN nullif(n.triggered_from = 'single-step', FALSE)
      ELSE r.triggered_from IN ({_listed(DEBUG_TRIGGERS)}) END"""
"""A single step is a test; a node of a run is what its run is; of a run that is gone nothing is known."""

_COLUMNS = f"""
    SELECT n.id::text, n.tenant_id::text, n.app_id::text, n.workflow_run_id::text, m.id::text, m.conversation_id::text,
      {_IS_DEBUG}, n.node_id, n.node_type, n.title, n.status, n.error, n.elapsed_time, n.execution_metadata,
      n.created_at AT TIME ZONE 'UTC', n.finished_at AT TIME ZONE 'UTC',
      CASE WHEN {_TELLS} THEN {_cut("n.process_data")} END,
      CASE WHEN {_TELLS} AND {_OUTPUTS_TELL}
        THEN CASE WHEN {_PROCESS_TELLS} THEN chr(1) ELSE {_cut("n.outputs")} END END
"""
"""The outputs come where usage may stand there and not in process_data; where it may in both, CUT says so."""

NODES_SQL = f"""{_COLUMNS}
    FROM workflow_node_executions n
    LEFT JOIN workflow_runs r ON r.id = n.workflow_run_id
    LEFT JOIN messages m ON m.workflow_run_id = n.workflow_run_id AND m.created_at >= %(near)s
      AND m.created_at < %(far)s
    WHERE {IN_PERIOD}
"""
"""All node executions of a period, in one reading of the table: no index of Dify's begins with the time."""

NODES_OF_RUNS_SQL = f"""{_COLUMNS}
    FROM unnest(%(ids)s::uuid[], %(messages)s::uuid[], %(conversations)s::uuid[]) AS m(run_id, id, conversation_id)
    JOIN workflow_runs r ON r.id = m.run_id
    JOIN workflow_node_executions n ON n.tenant_id = r.tenant_id AND n.app_id = r.app_id
      AND n.workflow_id = r.workflow_id AND n.triggered_from IN ('workflow-run', 'rag-pipeline-run')
      AND n.workflow_run_id = r.id
"""
"""The node executions of some runs, one index look-up for each run."""

SINGLE_STEPS_SQL = f"""{_COLUMNS}
    FROM workflows w
    JOIN workflow_node_executions n ON n.tenant_id = w.tenant_id AND n.app_id = w.app_id AND n.workflow_id = w.id
      AND n.triggered_from = 'single-step'
    LEFT JOIN workflow_runs r ON r.id = n.workflow_run_id
    LEFT JOIN messages m ON FALSE
    WHERE {IN_PERIOD}
"""
"""Nodes tried out alone in the editor, which belong to no run: one index look-up for each workflow."""

WHOLE_SQL = (
    "SELECT n.id::text, n.process_data, n.outputs FROM workflow_node_executions n WHERE n.id = ANY(%(ids)s::uuid[])"
)

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class _Metadata(msgspec.Struct):
    total_tokens: _Count | None = None
    iteration_id: str | None = None
    loop_id: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: _Count | None = None
    reasoning_tokens: _Count | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: _Count
    completion_tokens: _Count
    total_tokens: _Count | None = None
    total_price: str | None = None
    currency: str | None = None
    latency: _Seconds | None = None
    time_to_first_token: _Seconds | None = None
    cached_tokens: _Count | None = None
    reasoning_tokens: _Count | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _File(msgspec.Struct):
    type: str | None = None


class _Prompt(msgspec.Struct):
    files: list[_File] | None = None


class _Process(msgspec.Struct):
    usage: _Usage
    model_provider: str | None = None
    model_name: str | None = None
    prompts: list[_Prompt] | None = None


_metadata = msgspec.json.Decoder(_Metadata)
_process = msgspec.json.Decoder(_Process)
_NO_METADATA = _Metadata()
_PROMPTS_FIRST = re.compile(r'\{("model_mode": ?"[^"\\]*", ?)?"prompts": ?\[\{')


def node_records(
    rows: Sequence[Row], source: str, seen_at: datetime, whole: Whole
) -> tuple[list[NodeExecution | ModelCall], int]:
    """Rows of one of the statements above -> nodes and calls, and how many rows were set aside."""
    records: list[NodeExecution | ModelCall] = []
    odd = [row for row in rows if not _plain(row, source, seen_at, records)]
    if not odd:
        return records, 0
    texts = whole([row[0] for row in odd if _is_cut(row[-1]) or _is_cut(row[-2])])
    failures = 0
    for row in odd:
        try:
            records.extend(_by_ledger(row, source, seen_at, *texts.get(row[0], row[-2:])))
        except ShapeError:
            failures += 1
    return records, failures


def _plain(row: Row, source: str, seen_at: datetime, records: list[NodeExecution | ModelCall]) -> bool:
    """Append what a row of a common shape says; False, and nothing is appended, for every other row."""
    (key, workspace, app, run, message, conversation, is_debug, node_id, node_type, title, status, error, elapsed,
     written, created_at, finished_at, process, _) = row  # fmt: skip
    is_final = status in FINAL_NODE_STATUSES
    is_calling = is_final and node_type in CALLING_NODES
    if node_type in CONTAINER_NODES or not status or elapsed is None or not 0 <= elapsed <= 1e9:
        return False
    if is_final and node_type in PERHAPS_CALLING_NODES:
        return False
    metadata = _NO_METADATA if not written or written == "{}" else strict_json(_metadata, written)
    if metadata is None:
        return False
    told = None
    if is_calling:
        told = _read(process)
        if told is None:
            return False
    if not is_final:
        finished_at = elapsed = None
    node = NodeExecution(
        source=source,
        seen_at=seen_at,
        id=key,
        run_id=run,
        app_id=app,
        workspace_id=workspace,
        node_id=node_id or None,
        node_type=node_type or None,
        title=title or None,
        container_id=metadata.iteration_id or metadata.loop_id or None,
        status=status,
        is_final=is_final,
        is_debug=is_debug,
        created_at=created_at,
        finished_at=finished_at,
        elapsed_seconds=elapsed,
        reported_tokens=metadata.total_tokens if is_final else None,
        error_class=error_class(error) if error and is_final and status != "succeeded" else None,
    )
    records.append(node)
    if told is not None:
        records.append(_call(node, message, conversation, told))
    return True


_Told: TypeAlias = tuple[str | None, str | None, bool | None, _Usage, Decimal | None]


def _call(node: NodeExecution, message: str | None, conversation: str | None, told: _Told) -> ModelCall:
    provider, name, is_vision, usage, cost = told
    return ModelCall(
        source=node.source,
        seen_at=node.seen_at,
        id=node.id,
        run_id=node.run_id,
        message_id=message,
        conversation_id=conversation,
        app_id=node.app_id,
        workspace_id=node.workspace_id,
        node_id=node.node_id,
        node_type=node.node_type,
        model_provider=provider,
        model_name=name,
        status="failed" if node.status in ("failed", "exception") else node.status,
        is_final=True,
        is_debug=node.is_debug,
        is_vision=is_vision,
        created_at=node.created_at,
        finished_at=node.finished_at,
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        tokens=usage.prompt_tokens + usage.completion_tokens,
        cached_input_tokens=_either(usage.cached_tokens, usage.prompt_tokens_details, "cached_tokens"),
        reasoning_output_tokens=_either(usage.reasoning_tokens, usage.completion_tokens_details, "reasoning_tokens"),
        cost=cost,
        currency=(usage.currency or None) if cost is not None else None,
        latency_seconds=usage.latency,
        time_to_first_token_seconds=usage.time_to_first_token,
        error_class=node.error_class,
    )


def _read(written: str | None) -> _Told | None:
    """process_data whose usage splits input and output: provider, model, image, usage, cost. None: another shape."""
    if not written:
        return None
    if written[0] == CUT:
        process, is_vision = _read_ends(written)
    else:
        process = strict_json(_process, written)
        is_vision = _has_image(process.prompts) if process is not None else None
    if process is None:
        return None
    usage = process.usage
    if not (usage.prompt_tokens or usage.completion_tokens):
        return None
    cost = None
    if usage.total_price:
        try:
            cost = Decimal(usage.total_price).quantize(MONEY_STEP)
        except InvalidOperation:
            return None
        if not cost.is_finite():
            return None
    return provider_name(process.model_provider or None), process.model_name or None, is_vision, usage, cost


def _read_ends(written: str) -> tuple[_Process | None, bool | None]:
    """The two ends of a long process_data -> what stands in them, if that is all there is to know."""
    _, head, tail = written.split(CUT, 2)
    if not _PROMPTS_FIRST.match(head):  # there is an image, or something else to look at
        return None, None
    process: _Process | None = last_members(tail, "usage", _process)
    if process is None or not (process.model_provider and process.model_name):
        return None, None
    return process, False


def _by_ledger(
    row: Row, source: str, seen_at: datetime, process: str | None, outputs: str | None
) -> list[NodeExecution | ModelCall]:
    (key, workspace, app, run, message, conversation, is_debug, node_id, node_type, title, status, error, elapsed,
     metadata, created_at, finished_at, *_) = row  # fmt: skip
    raw: Json = {
        "id": key,
        "node_id": node_id,
        "node_type": node_type,
        "title": title,
        "status": status,
        "error": error,
        "elapsed_time": elapsed,
        "execution_metadata": loose_json(metadata),
        "process_data": loose_json(process),
        "outputs": loose_json(outputs),
        "created_at": created_at.isoformat(),
        "finished_at": finished_at.isoformat() if finished_at is not None else None,
    }
    telling = Telling(
        source=source,
        seen_at=seen_at,
        workspace_id=workspace,
        app_id=app,
        run_id=run,
        message_id=message,
        conversation_id=conversation,
        is_debug=is_debug,
    )
    node, call = node_facts(raw, telling)
    return [node] if call is None else [node, call]


def _has_image(prompts: list[_Prompt] | None) -> bool | None:
    if not prompts:
        return None
    return any(file.type == "image" for prompt in prompts for file in prompt.files or ())


def _either(told: int | None, details: _Details | None, field: str) -> int | None:
    if told is not None or details is None:
        return told
    found: int | None = getattr(details, field)
    return found


def _is_cut(written: str | None) -> bool:
    return bool(written) and str(written)[0] == CUT
