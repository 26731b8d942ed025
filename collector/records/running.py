"""What ran: runs, their nodes, and the model calls whose tokens are added up."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from collector.records.record import Instant, Record

FINAL_RUN_STATUSES = frozenset({"succeeded", "failed", "stopped", "partial-succeeded"})
"""Run statuses after which Dify changes nothing. `paused` and `scheduled` runs go on later."""

FINAL_NODE_STATUSES = frozenset({"succeeded", "failed", "exception", "stopped"})
"""Node statuses after which Dify changes nothing (`retry` is replaced by what the last attempt brings)."""


class Run(Record, frozen=True, kw_only=True):
    """One run of a Dify workflow or chatflow. Final once its status is one of FINAL_RUN_STATUSES.

    `reported_tokens` is Dify's own total: it counts model calls again and is known wrong in some versions, so it is
    compared with the calls and never added to them.

    Source: GET /console/api/apps/{app_id}/workflow-runs, /workflow-app-logs, /workflow-runs/{run_id};
    SSE workflow_started, workflow_finished, workflow_paused
    """

    table: ClassVar[str] = "run"
    id: str  # Dify's uuid; the key
    app_id: str | None = None
    workspace_id: str | None = None
    workflow_id: str | None = None
    version: str | None = None  # of the workflow: its publishing time, or "draft"
    status: str  # running, succeeded, failed, stopped, partial-succeeded, paused, stale
    is_final: bool
    triggered_from: str | None = None  # app-run, debugging, webhook, schedule, plugin
    is_debug: bool | None = None  # a console test run; left out of default answers
    user_id: str | None = None  # end user or account
    user_kind: str | None = None  # end_user, account
    session_id: str | None = None  # what the caller sent as `user`
    conversation_id: str | None = None
    message_id: str | None = None
    created_at: Instant | None = None  # UTC
    finished_at: Instant | None = None  # UTC; None while it runs
    elapsed_seconds: float | None = None  # wall time as Dify reports it; None while it runs
    reported_tokens: int | None = None  # prompt + completion as Dify totals them; None while it runs
    steps: int | None = None  # top-level nodes; None while it runs
    exceptions: int | None = None  # nodes that failed while the run went on
    error_class: str | None = None  # of collector.ledger.ERROR_CLASSES; None when it did not fail
    leaves_known: bool | None = None  # True once every call was read from a telling with usage and model


class NodeExecution(Record, frozen=True, kw_only=True):
    """One node of a run, executed once (a retried node is one execution).

    `reported_tokens` of an iteration, loop or tool node repeats what other facts say: never a sum over nodes.

    Source: GET /console/api/apps/{app_id}/workflow-runs/{run_id}/node-executions; SSE node_started, node_finished,
    iteration_completed, loop_completed
    """

    table: ClassVar[str] = "node_execution"
    id: str  # Dify's uuid; of a container node: see ledger.container_key
    run_id: str | None = None  # None for single-step test runs
    app_id: str | None = None
    workspace_id: str | None = None
    node_id: str | None = None  # of the graph; repeats inside iterations
    node_type: str | None = None  # llm, code, tool, iteration, ...; Dify's own words
    title: str | None = None
    container_id: str | None = None  # node_id of the iteration or loop around it
    status: str  # running, succeeded, failed, exception, stopped, retry, paused
    is_final: bool
    is_debug: bool | None = None
    created_at: Instant | None = None  # UTC, whole seconds
    finished_at: Instant | None = None  # UTC
    elapsed_seconds: float | None = None
    reported_tokens: int | None = None  # execution_metadata.total_tokens
    error_class: str | None = None


class ModelCall(Record, frozen=True, kw_only=True):
    """One leaf call of a model: the only thing whose tokens are added up.

    The key is the node execution's id in workflows and chatflows, the message's id in chat, completion and agent
    apps. An estimate stands for the calls of a run whose nodes told no usage; its key is the run's id (the message's
    where a blocking chatflow names no run), and it goes when calls of that run or message that know their tokens, or
    the knowledge that it made none, arrive.

    Source: node executions (process_data.usage and its copies), message_end, console messages
    """

    table: ClassVar[str] = "model_call"
    id: str
    run_id: str | None = None
    message_id: str | None = None
    conversation_id: str | None = None
    app_id: str | None = None
    workspace_id: str | None = None
    node_id: str | None = None
    node_type: str | None = None  # llm, question-classifier, ...; "message" for apps without nodes
    model_provider: str | None = None  # org/plugin/name (ledger.provider_name); None: not told
    model_name: str | None = None  # None: not told
    status: str  # succeeded, failed, stopped
    is_final: bool
    is_estimate: bool = False
    is_debug: bool | None = None
    is_vision: bool | None = None  # the prompt held an image; None: not told
    created_at: Instant | None = None  # UTC
    finished_at: Instant | None = None  # UTC
    input_tokens: int | None = None  # prompt, cached input as the provider counts it
    output_tokens: int | None = None  # completion, reasoning included
    tokens: int | None = None  # input + output; known alone when only a total was told
    cached_input_tokens: int | None = None
    reasoning_output_tokens: int | None = None
    cost: Decimal | None = None  # as Dify reports it
    currency: str | None = None  # ISO 4217 as Dify says; None only where cost is
    latency_seconds: float | None = None  # of the call as Dify reports it; of a message: the whole answer
    time_to_first_token_seconds: float | None = None  # None when not streamed
    error_class: str | None = None
