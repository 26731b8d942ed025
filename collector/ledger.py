"""The leaf rule: Dify's JSON of nodes, runs and usage -> facts in which every model call stands exactly once.

Pull, tap, database and files meet the same shapes and use this one reading of them. What comes in is decoded JSON
and a Telling (who says so, about which app); what goes out is records. Nothing here reads, writes or remembers.

Dify repeats one call's tokens in the node's process_data, outputs and metadata, in the container around it, in the
tool node of a calling workflow, in the run, the message and the daily statistics. Only the node (or the message, in
apps without nodes) becomes a ModelCall.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

import msgspec
from msgspec.structs import asdict, replace

from collector.errors import ShapeError
from collector.failures import ERROR_CLASSES as ERROR_CLASSES
from collector.failures import error_class as error_class
from collector.fields import (
    Json,
    instant,
    integer,
    items,
    mapping,
    maybe_mapping,
    money,
    required_text,
    seconds,
    text,
)
from collector.records import FINAL_NODE_STATUSES, FINAL_RUN_STATUSES, ModelCall, NodeExecution, Run

CALLING_NODES = frozenset({"llm", "question-classifier", "parameter-extractor", "agent"})
"""Node types that call a model whenever they run."""

PERHAPS_CALLING_NODES = frozenset({"knowledge-retrieval"})
"""Node types that call a model only when set up to (reranking): a call when they tell tokens."""

CONTAINER_NODES = frozenset({"iteration", "loop"})
"""Node types that repeat the sum of what runs inside them."""

TOOL = "tool"
"""Node type whose tokens, if it tells any, are those of the run it called, or of a remote server."""

CHAT_MODES = frozenset({"chat", "completion", "agent-chat", "agent"})
"""App modes without nodes: the message is the call."""

FLOW_MODES = frozenset({"workflow", "advanced-chat"})
"""App modes made of nodes: the nodes are the calls."""

MESSAGE = "message"
"""`node_type` of a call that is a message."""

_CONTAINER_SPACE = uuid.UUID("6f5b7a1e-93f7-4b53-9d43-6c2f5b1f3f0a")


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """Who tells something, when, and what it belongs to: the part of every fact that its JSON does not repeat."""

    source: str
    seen_at: datetime
    workspace_id: str | None = None
    app_id: str | None = None
    run_id: str | None = None
    message_id: str | None = None
    conversation_id: str | None = None
    is_debug: bool | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What one call spent, as far as told. All None: nothing was told."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_output_tokens: int | None = None
    cost: Decimal | None = None
    currency: str | None = None
    latency_seconds: float | None = None
    time_to_first_token_seconds: float | None = None

    @property
    def is_told(self) -> bool:
        """Whether any token count is known."""
        return self.tokens is not None


Models: TypeAlias = Mapping[str, tuple[str | None, str | None]]
"""Node id of the graph -> (provider, name) of the model it is set up with."""


def read_usage(raw: Json) -> Usage:
    """Dify's usage object, or the three totals of `execution_metadata` -> Usage.

    Some versions give a total beside 0 prompt and 0 completion tokens: then the split is not known.
    """
    given_in, given_out, total = (integer(raw, f) for f in ("prompt_tokens", "completion_tokens", "total_tokens"))
    parts = (given_in or 0) + (given_out or 0)
    if total and not parts:
        given_in = given_out = None
    known = parts if given_in is not None and given_out is not None else total
    cost = money(raw, "total_price")
    return Usage(
        input_tokens=given_in,
        output_tokens=given_out,
        tokens=known,
        cached_input_tokens=_first_integer(
            (raw, "cached_tokens"), (maybe_mapping(raw, "prompt_tokens_details"), "cached_tokens")
        ),
        reasoning_output_tokens=_first_integer(
            (raw, "reasoning_tokens"), (maybe_mapping(raw, "completion_tokens_details"), "reasoning_tokens")
        ),
        cost=cost,
        currency=text(raw, "currency") if cost is not None else None,
        latency_seconds=seconds(raw, "latency"),
        time_to_first_token_seconds=seconds(raw, "time_to_first_token"),
    )


def node_usage(raw: Json) -> Usage:
    """The usage of a calling node, from the first of its places that tells tokens.

    A place that splits tokens into input and output is better than one with a total only, and one with a total
    better than one that says zero: old versions fill some places with zeros. What the best place leaves out is
    taken from another with the same total.
    """
    outputs, metadata = maybe_mapping(raw, "outputs"), maybe_mapping(raw, "execution_metadata")
    backend = maybe_mapping(maybe_mapping(metadata, "agent_log"), "agent_backend")
    places = (
        maybe_mapping(maybe_mapping(raw, "process_data"), "usage"),
        maybe_mapping(outputs, "usage"),
        maybe_mapping(outputs, "__usage"),
        metadata,
        maybe_mapping(backend, "usage"),
    )
    told = [usage for place in places if place and (usage := read_usage(place)).is_told]
    split = [usage for usage in told if usage.input_tokens or usage.output_tokens]
    some = [usage for usage in told if usage.tokens]
    best = next(iter(split or some or told), Usage())
    for other in told:
        if other.tokens == best.tokens:
            best = _filled(best, other)
    return best


def node_facts(raw: Json, telling: Telling, models: Models | None = None) -> tuple[NodeExecution, ModelCall | None]:
    """One node execution (console list item, or `data` of an SSE node event) -> the node and the call it made.

    `models` names what each node of the graph is set up with: for failed nodes, which tell no model themselves.
    Raises ShapeError naming the field.
    """
    node = _node(raw, telling)
    return node, _call(raw, node, telling, models or {})


def container_key(run_id: str | None, node_id: str) -> str:
    """The key of an iteration or loop node: SSE tells only its node id, so the key is made of run and node."""
    return str(uuid.uuid5(_CONTAINER_SPACE, f"{run_id}/{node_id}"))


def run_fact(raw: Json, telling: Telling, **known: object) -> Run:
    """One run (console list item, run detail, `data` of workflow_started or workflow_finished) -> Run.

    `known` gives fields of Run that stand elsewhere in the telling. Raises ShapeError naming the field.
    """
    status, triggered_from = text(raw, "status") or "running", text(raw, "triggered_from")
    is_final = status in FINAL_RUN_STATUSES
    is_debug = telling.is_debug
    if is_debug is None and triggered_from:
        is_debug = "debugging" in triggered_from
    run = Run(
        source=telling.source,
        seen_at=telling.seen_at,
        id=required_text(raw, "id"),
        app_id=telling.app_id,
        workspace_id=telling.workspace_id,
        workflow_id=text(raw, "workflow_id"),
        version=text(raw, "version"),
        status=status,
        is_final=is_final,
        triggered_from=triggered_from,
        is_debug=is_debug,
        conversation_id=text(raw, "conversation_id") or telling.conversation_id,
        message_id=text(raw, "message_id") or telling.message_id,
        created_at=instant(raw, "created_at"),
        finished_at=instant(raw, "finished_at") if is_final else None,
        elapsed_seconds=seconds(raw, "elapsed_time") if is_final else None,
        reported_tokens=integer(raw, "total_tokens") if is_final else None,
        steps=integer(raw, "total_steps") if is_final else None,
        exceptions=integer(raw, "exceptions_count") if is_final else None,
        error_class=error_class(text(raw, "error")) if status == "failed" else None,
    )
    return replace(run, **known) if known else run


def provider_name(provider: str | None) -> str | None:
    """A provider under one name in all versions: the bare `openai` of before 1.0 is `langgenius/openai/openai`."""
    if not provider or "/" in provider:
        return provider
    return f"langgenius/{provider}/{provider}"


def has_image(prompts: object) -> bool | None:
    """Whether a prompt list holds an image; None when there is no prompt list to look at."""
    if not isinstance(prompts, list) or not prompts:
        return None
    for prompt in prompts:
        files = prompt.get("files") if isinstance(prompt, Mapping) else None
        if isinstance(files, list) and any(isinstance(f, Mapping) and f.get("type") == "image" for f in files):
            return True
    return False


def _node(raw: Json, telling: Telling) -> NodeExecution:
    status = text(raw, "status") or "running"
    is_final = status in FINAL_NODE_STATUSES
    metadata, node_type = maybe_mapping(raw, "execution_metadata"), text(raw, "node_type")
    node_id, key = text(raw, "node_id"), required_text(raw, "id")
    if node_type in CONTAINER_NODES:
        key = container_key(telling.run_id, node_id or key)
    return NodeExecution(
        source=telling.source,
        seen_at=telling.seen_at,
        id=key,
        run_id=telling.run_id,
        app_id=telling.app_id,
        workspace_id=telling.workspace_id,
        node_id=node_id,
        node_type=node_type,
        title=text(raw, "title"),
        container_id=next(
            (found for place in (raw, metadata) for f in ("iteration_id", "loop_id") if (found := text(place, f))), None
        ),
        status=status,
        is_final=is_final,
        is_debug=telling.is_debug,
        created_at=instant(raw, "created_at"),
        finished_at=instant(raw, "finished_at") if is_final else None,
        elapsed_seconds=seconds(raw, "elapsed_time") if is_final else None,
        reported_tokens=_first_integer((metadata, "total_tokens"), (raw, "total_tokens")) if is_final else None,
        error_class=error_class(text(raw, "error")) if is_final and status != "succeeded" else None,
    )


def _call(raw: Json, node: NodeExecution, telling: Telling, models: Models) -> ModelCall | None:
    if not node.is_final:
        return None
    process = maybe_mapping(raw, "process_data")
    must_call = node.node_type in CALLING_NODES
    usage = node_usage(raw) if must_call or _may_call(node.node_type, process) else Usage()
    if not must_call and not usage.tokens:
        return None
    provider, name = models.get(node.node_id or "", (None, None))
    return ModelCall(
        source=telling.source,
        seen_at=telling.seen_at,
        id=node.id,
        run_id=telling.run_id,
        message_id=telling.message_id,
        conversation_id=telling.conversation_id,
        app_id=telling.app_id,
        workspace_id=telling.workspace_id,
        node_id=node.node_id,
        node_type=node.node_type,
        model_provider=provider_name(text(process, "model_provider") or provider),
        model_name=text(process, "model_name") or name,
        status="failed" if node.status in ("failed", "exception") else node.status,
        is_final=True,
        is_debug=telling.is_debug,
        is_vision=has_image(process.get("prompts")),
        created_at=node.created_at,
        finished_at=node.finished_at,
        error_class=node.error_class,
        **asdict(usage),
    )


def _may_call(node_type: str | None, process: Json) -> bool:
    """Whether tokens told by a node are its own. Node types to come are known by naming their model themselves."""
    if node_type in PERHAPS_CALLING_NODES:
        return True
    return node_type not in CONTAINER_NODES and node_type != TOOL and text(process, "model_name") is not None


def graph_models(graph: Json) -> Models:
    """The graph of a run's detail -> the model each node is set up with."""
    found: dict[str, tuple[str | None, str | None]] = {}
    for node in items(graph, "nodes"):
        model = maybe_mapping(mapping(node, "data"), "model")
        if model:
            found[required_text(node, "id")] = (text(model, "provider"), text(model, "name"))
    return found


def message_call(
    usage: Usage,
    telling: Telling,
    *,
    message_id: str,
    status: str,
    created_at: datetime | None,
    error: str | None = None,
) -> ModelCall:
    """The call a chat, completion or agent message is. `latency_seconds` is that of the whole answer.

    A stopped answer is reported with zero tokens though the model was asked: zero means that nobody counted.
    """
    if not usage.tokens:
        usage = Usage(
            latency_seconds=usage.latency_seconds, time_to_first_token_seconds=usage.time_to_first_token_seconds
        )
    took = usage.latency_seconds
    return ModelCall(
        source=telling.source,
        seen_at=telling.seen_at,
        id=message_id,
        message_id=message_id,
        conversation_id=telling.conversation_id,
        app_id=telling.app_id,
        workspace_id=telling.workspace_id,
        node_type=MESSAGE,
        status=status,
        is_final=True,
        is_debug=telling.is_debug,
        created_at=created_at,
        finished_at=created_at + timedelta(seconds=took) if created_at and took is not None else None,
        error_class=error_class(error),
        **asdict(usage),
    )


def estimated_usage(reported_tokens: int | None, message: Usage, elsewhere: int = 0) -> Usage | None:
    """What the calls of a run spent whose nodes told no usage; None when nothing is known to be spent.

    `message` is the usage of its message_end: the better word, unless it holds less than the run's total (up to 0.7
    it was that of the last call only). `elsewhere` are the tokens that tool nodes told: they are calls of other runs.
    """
    if message.tokens and message.tokens >= (reported_tokens or 0):
        best = replace(message, latency_seconds=None, time_to_first_token_seconds=None)
    else:
        best = Usage(tokens=reported_tokens)
    if elsewhere:
        best = Usage(tokens=(best.tokens or 0) - elsewhere)
    return best if best.tokens and best.tokens > 0 else None


def estimated_call(run: Run, telling: Telling, usage: Usage) -> ModelCall:
    """The stand-in for a run whose nodes told no usage: due only then, keyed by the run.

    It stands for the calls that spent tokens, so it did not fail even where the run did.
    """
    if not usage.is_told:
        raise ShapeError("usage", "a token count", "nothing")
    return ModelCall(
        source=telling.source,
        seen_at=telling.seen_at,
        id=run.id,
        run_id=run.id,
        message_id=telling.message_id,
        conversation_id=telling.conversation_id,
        app_id=run.app_id,
        workspace_id=run.workspace_id,
        status="stopped" if run.status == "stopped" else "succeeded",
        is_final=True,
        is_estimate=True,
        is_debug=run.is_debug,
        created_at=run.created_at,
        finished_at=run.finished_at,
        **asdict(usage),
    )


def _filled(known: Usage, other: Usage) -> Usage:
    """`known` with its blanks from `other`; an amount and its currency come from one place."""
    blanks = {
        name: value
        for name, value in asdict(other).items()
        if value is not None and getattr(known, name) is None and (name != "currency" or known.cost is None)
    }
    return replace(known, **blanks) if blanks else known


def _first_integer(*places: tuple[Json, str]) -> int | None:
    return next((found for raw, field in places if (found := integer(raw, field)) is not None), None)
