"""The Prometheus families: which measure of the catalogue stands under which name, with which labels and buckets.

A table and nothing else. `collector.faces.prometheus` fills it from the store; dashboards take their names from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from collector.records import FINAL_RUN_STATUSES
from collector.rollups import CALL_BOUNDS, RUN_BOUNDS, TOKEN_BOUNDS

WORKSPACE, APP, MODE = "workspace_id", "app_id", "app_mode"
DATASET = "dataset_id"
PROVIDER, MODEL, NODE = "model_provider", "model_name", "node_type"

CALL_BUCKETS, RUN_BUCKETS, TOKEN_BUCKETS = CALL_BOUNDS, RUN_BOUNDS, TOKEN_BOUNDS

MOST_DATASETS = 200
"""Knowledge bases that have a series of their own; the others are counted together."""

MOST_EVENT_TYPES = 100
"""Types of portal events that have series of their own."""

TWO_DAYS = 2 * 86_400

WINDOWS = {"5m": 300, "1d": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
"""The windows of the active users, in seconds."""


@dataclass(frozen=True)
class Known:
    """Series that are 0 before anything happened, so that the first event shows in `increase()`: one for each existing
    app of these modes and for each of the values of the labels that are not the app's.
    """

    modes: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Family:
    """One Prometheus family. `measure` is a name of the catalogue; labels are its dimensions, by the same names.

    Counters and histograms count facts that became final since counting began; gauges tell of now. `when_final` adds
    the condition that a fact is final to measures that count open ones too. Estimates are left out, because the real
    calls replace them and a counter must not step back. Failures that did not happen are 0 under `_OTHER`.
    `within_seconds` is how old a gauge's facts may be (None: of all times), `most` how many values its last label may
    have: the others are put together as `_OTHER`.
    """

    name: str
    measure: str
    labels: tuple[str, ...]
    kind: Literal["counter", "gauge", "histogram"] = "counter"
    buckets: tuple[float, ...] = ()
    when_final: bool = False
    known: Known | None = None
    within_seconds: int | None = None
    most: int | None = None


_WORKFLOWS, _CHATS = ("workflow", "advanced-chat"), ("advanced-chat", "chat", "agent-chat")
_ANSWERING = (*_CHATS, "completion")
_CALL = (WORKSPACE, APP, PROVIDER, MODEL)

_HELD: tuple[tuple[str, ...], Literal["gauge"]] = ((WORKSPACE, DATASET), "gauge")

FAMILIES: tuple[Family, ...] = (
    Family("dify_llm_input_tokens_total", "input_tokens", (*_CALL, NODE)),
    Family("dify_llm_output_tokens_total", "output_tokens", (*_CALL, NODE)),
    Family("dify_llm_cached_input_tokens_total", "cached_input_tokens", _CALL),
    Family("dify_llm_reasoning_output_tokens_total", "reasoning_output_tokens", _CALL),
    Family("dify_llm_calls_total", "model_calls", (*_CALL, NODE, "modality")),
    Family("dify_llm_call_failures_total", "failed_model_calls", (*_CALL, NODE, "modality", "error_class")),
    Family("dify_llm_unpriced_tokens_total", "unpriced_tokens", (PROVIDER, MODEL)),
    Family("dify_llm_generation_seconds_total", "generation_seconds", _CALL),
    Family("dify_llm_generated_tokens_total", "generated_tokens", _CALL),
    Family("dify_llm_call_duration_seconds", "model_call_latency", (PROVIDER, MODEL), "histogram", CALL_BUCKETS),
    Family("dify_llm_time_per_output_token_seconds", "token_time", (PROVIDER, MODEL), "histogram", TOKEN_BUCKETS),
    Family(
        "dify_run_finished_total",
        "finished_runs",
        (WORKSPACE, APP, MODE, "triggered_from", "status"),
        known=Known(_WORKFLOWS, {"triggered_from": ("app-run",), "status": tuple(sorted(FINAL_RUN_STATUSES))}),
    ),
    Family("dify_run_duration_seconds", "run_elapsed", (WORKSPACE, APP, MODE), "histogram", RUN_BUCKETS),
    Family("dify_run_in_progress", "running_runs", (WORKSPACE, APP), "gauge", known=Known(_WORKFLOWS)),
    Family("dify_run_stale", "stale_runs", (WORKSPACE, APP), "gauge", known=Known(_WORKFLOWS)),
    Family("dify_run_oldest_unfinished_timestamp_seconds", "oldest_running_run", (WORKSPACE, APP), "gauge"),
    Family("dify_node_executions_total", "node_executions", (WORKSPACE, NODE), when_final=True),
    Family("dify_node_execution_failures_total", "failed_node_executions", (WORKSPACE, NODE)),
    Family("dify_node_execution_duration_seconds", "node_elapsed", (WORKSPACE, NODE), "histogram", RUN_BUCKETS),
    Family(
        "dify_chat_messages_total",
        "messages",
        (WORKSPACE, APP, MODE, "invoke_from"),
        when_final=True,
        known=Known(_ANSWERING, {"invoke_from": ("service-api", "web-app")}),
    ),
    Family(
        "dify_chat_conversations_started_total",
        "conversations_started",
        (WORKSPACE, APP, MODE),
        known=Known(_CHATS),
    ),
    Family("dify_chat_response_duration_seconds", "response_time", (WORKSPACE, APP), "histogram", CALL_BUCKETS),
    Family(
        "dify_chat_time_to_first_token_seconds",
        "message_time_to_first_token",
        (WORKSPACE, APP),
        "histogram",
        CALL_BUCKETS,
    ),
    Family(
        "dify_chat_feedback_total",
        "ratings",
        (WORKSPACE, APP, "rating"),
        known=Known(_ANSWERING, {"rating": ("like", "dislike")}),
    ),
    Family("dify_knowledge_documents", "knowledge_documents", *_HELD, within_seconds=TWO_DAYS, most=MOST_DATASETS),
    Family("dify_knowledge_segments", "knowledge_segments", *_HELD, within_seconds=TWO_DAYS, most=MOST_DATASETS),
    Family("dify_knowledge_retrievals_total", "retrievals", (WORKSPACE, DATASET), most=MOST_DATASETS),
    Family("dify_portal_events_total", "portal_events", (WORKSPACE, APP, "event_type"), most=MOST_EVENT_TYPES),
    Family("dify_queue_messages", "queue_messages", ("broker", "queue"), "gauge", within_seconds=900),
    Family(
        "dify_queue_oldest_message_timestamp_seconds",
        "queue_oldest_message",
        ("broker", "queue"),
        "gauge",
        within_seconds=900,
    ),
    Family(
        "dify_metric_collect_duration_seconds",
        "pull_duration",
        (
            "origin",
            "source",
            "stream",
        ),
        "histogram",
        RUN_BUCKETS,
    ),
    Family("dify_metric_collect_errors_total", "pull_failures", ("origin", "source", "stream", "error_class")),
    Family(
        "dify_metric_parse_failures_total",
        "parse_failures",
        (
            "origin",
            "source",
            "stream",
        ),
    ),
    Family("dify_metric_missing_runs", "missing_runs", (WORKSPACE, APP), "gauge"),
    Family(
        "dify_metric_last_success_timestamp_seconds",
        "last_complete_pull",
        (
            "origin",
            "source",
            "stream",
        ),
        "gauge",
    ),
    Family(
        "dify_metric_watermark_timestamp_seconds",
        "complete_until",
        (
            "origin",
            "source",
            "stream",
        ),
        "gauge",
    ),
)

COST = "dify_llm_cost_{currency}_total"
"""One family per currency: a label would make `sum()` add different currencies."""

COST_LABELS = (*_CALL, NODE)

RATED_COSTS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "dify_llm_rated_cost_{currency}_total": (_CALL, "dataset_id IS NULL AND currency IS NOT NULL"),
    "dify_knowledge_rated_cost_{currency}_total": ((WORKSPACE, DATASET), "dataset_id IS NOT NULL"),
}
"""What usage costs by the price book: labels, and which lines of bills are counted. One family per currency."""

UNRATED = Family("dify_llm_unrated_tokens_total", "unrated_tokens", (PROVIDER, MODEL))
"""Tokens that the price book has no price for."""

INFO = "dify_app_info"
"""Always 1: the only place of an app's name, to be joined on app_id."""

INFO_LABELS = (WORKSPACE, APP, "app_name", MODE)

ACTIVE_USERS = {"dify_app_active_users": (WORKSPACE, APP), "dify_workspace_active_users": (WORKSPACE,)}
"""Distinct users in each of WINDOWS, which is the label `window`; they do not add up."""


def currency_in_name(currency: str) -> str:
    """A currency as part of a name: usd; whatever else Dify may say is spelled so that no two are one."""
    spelled = (each if each.isascii() and each.isalnum() else f"u{ord(each):x}" for each in currency.lower())
    return "".join(spelled) or "unknown"
