"""Rows of node executions -> nodes and the model calls they made.

What a row says is the ledger's to decide. Most rows have one of two shapes, a node that calls no model and a call as
Dify has written it since 1.0: those are read here directly, many times as fast, and every other row goes to the ledger
whole. A test holds the two readings against each other. Nothing here asks the database but through `whole`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

from collector.errors import ShapeError
from collector.fields import Json
from collector.ledger import CALLING_NODES, CONTAINER_NODES, PERHAPS_CALLING_NODES, Telling, error_class, node_facts
from collector.pull.database.connection import Row
from collector.pull.database.node_shapes import Told, read_call, read_metadata
from collector.pull.database.values import is_cut, loose_json
from collector.records import FINAL_NODE_STATUSES, ModelCall, NodeExecution

Leaf: TypeAlias = NodeExecution | ModelCall
Whole: TypeAlias = Callable[[list[str]], dict[str, tuple[bytes | None, bytes | None]]]
"""Ids of nodes -> their process_data and outputs, uncut."""


ODD_NODES = CONTAINER_NODES | PERHAPS_CALLING_NODES


class Leaves(NamedTuple):
    """What some rows said, and those that could not be read, with why."""

    records: list[Leaf]
    unread: list[tuple[Row, ShapeError]]


def read_nodes(rows: Sequence[Row], source: str, seen_at: datetime, whole: Whole) -> Leaves:
    """Rows of one of the statements of node_queries -> nodes and calls."""
    records: list[Leaf] = []
    odd = [row for row in rows if not _plain(row, source, seen_at, records)]
    texts = whole([row[0] for row in odd if is_cut(row[-1]) or is_cut(row[-2])]) if odd else {}
    unread: list[tuple[Row, ShapeError]] = []
    for row in odd:
        try:
            records.extend(_by_ledger(row, source, seen_at, *texts.get(row[0], row[-2:])))
        except ShapeError as error:
            unread.append((row, error))
    return Leaves(records, unread)


def _plain(row: Row, source: str, seen_at: datetime, records: list[Leaf]) -> bool:
    """Append what a row of a common shape says; False, and nothing is appended, for every other row."""
    (key, workspace, app, run, message, conversation, is_debug, node_id, node_type, title, status, error, elapsed,
     written, created_at, finished_at, process, outputs) = row  # fmt: skip
    is_final = status in FINAL_NODE_STATUSES
    metadata = read_metadata(written)
    if metadata is None or node_type in ODD_NODES or not status or elapsed is None or not 0 <= elapsed <= 1e9:
        return False
    told = None
    if is_final and node_type in CALLING_NODES:
        told = read_call(process, outputs, metadata)
        if told is None:
            return False
    elif process is not None:  # a kind of node to come, that names its model
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


def _call(node: NodeExecution, message: str | None, conversation: str | None, told: Told) -> ModelCall:
    usage, cost = told.usage, told.cost
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
        model_provider=told.model_provider,
        model_name=told.model_name,
        status="failed" if node.status in ("failed", "exception") else node.status,
        is_final=True,
        is_debug=node.is_debug,
        is_vision=told.is_vision,
        created_at=node.created_at,
        finished_at=node.finished_at,
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        tokens=usage.prompt_tokens + usage.completion_tokens,
        cached_input_tokens=told.cached_input_tokens,
        reasoning_output_tokens=told.reasoning_output_tokens,
        cost=cost,
        currency=(usage.currency or None) if cost is not None else None,
        latency_seconds=usage.latency,
        time_to_first_token_seconds=usage.time_to_first_token,
        error_class=node.error_class,
    )


def _by_ledger(
    row: Row, source: str, seen_at: datetime, process: bytes | None, outputs: bytes | None
) -> tuple[Leaf, ...]:
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
    return (node,) if call is None else (node, call)
