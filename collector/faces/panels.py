"""What stands on the Grafana dashboards: rows of panels, each with its PromQL and the measure that explains it.

A table and nothing else; `collector.faces.grafana` turns it into JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from collector.faces.families import COST
from collector.faces.promql import (
    OF_ALL,
    OF_APP,
    OF_WORKSPACE,
    biggest,
    grown,
    matching,
    named,
    percentiles,
    quantile,
    rate,
    selected,
    share,
    summed,
)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel: its expressions as (legend, PromQL) and how wide and tall it is.

    `repeat` names the variable whose every value gets a panel of its own; such a panel stands alone in its line.
    """

    title: str
    unit: str  # as Grafana calls it
    targets: tuple[tuple[str, str], ...]
    measure: str  # of the catalogue: the description
    kind: Literal["stat", "timeseries", "bargauge"] = "timeseries"
    width: int = 8
    height: int = 8
    is_stacked: bool = False
    thresholds: tuple[tuple[str, float], ...] = ()
    words: tuple[tuple[int, str], ...] = ()  # shown instead of a number
    most: float | None = None  # the scale's end
    repeat: str | None = None
    note: str = ""


Rows: TypeAlias = tuple[tuple[str, tuple[Panel, ...]], ...]
"""Titles of rows, and the panels under each."""

PER_TOKEN, PER_SECOND, PER_HOUR = "suffix: tok/s", "reqps", "suffix: /h"
RED = (("text", 0.0), ("orange", 0.02), ("red", 0.1))
UNWANTED = (("text", 0.0), ("orange", 1.0))
FINAL_ONLY = "Counted when it is known to have ended."
ALL_APPS = "Of all apps: the families behind it do not tell them apart."

_FAILED = matching(OF_APP, 'status="failed"')
_LIKED = matching(OF_APP, 'rating="like"')
_OWN_MESSAGES = matching(OF_APP, 'app_mode!="advanced-chat"')
_IN, _OUT = "dify_llm_input_tokens_total", "dify_llm_output_tokens_total"
_ANY_COST = matching('__name__=~"dify_llm_cost_.+_total"', OF_APP)
_COSTS = f'label_replace({{{_ANY_COST}}}, "currency", "$1", "__name__", "dify_llm_cost_(.+)_total")'
_OLDEST = selected("dify_run_oldest_unfinished_timestamp_seconds")
_COST = COST.format(currency="${currency}")


def _stat(title: str, unit: str, measure: str, *targets: tuple[str, str], **more: Any) -> Panel:
    return Panel(title=title, unit=unit, targets=targets, measure=measure, kind="stat", width=4, height=4, **more)


HEADLINES = (
    _stat(
        "Requests",
        "short",
        "requests",
        ("", f"{grown('dify_run_finished_total')} + {grown('dify_chat_messages_total', where=_OWN_MESSAGES)}"),
        note="Runs, and messages of apps without runs.",
    ),
    _stat(
        "Active users, 24 h",
        "short",
        "active_users",
        ("", summed("dify_workspace_active_users", where=matching(OF_WORKSPACE, 'window="1d"'))),
        note="Of the whole workspace.",
    ),
    _stat("Model calls", "short", "model_calls", ("", grown("dify_llm_calls_total"))),
    _stat("Tokens", "short", "tokens", ("", f"{grown(_IN)} + {grown(_OUT)}")),
    _stat(
        "Cost",
        "short",
        "cost",
        ("{{currency}}", f"sum by (currency) (increase({_COSTS}[$__range:$__interval]))"),
        note="One number for each currency; they are never added.",
    ),
    _stat(
        "Satisfaction",
        "percentunit",
        "satisfaction",
        ("", share(grown("dify_chat_feedback_total", where=_LIKED), grown("dify_chat_feedback_total"))),
        most=1.0,
    ),
    _stat(
        "Failed runs",
        "percentunit",
        "run_failure_ratio",
        ("", share(grown("dify_run_finished_total", where=_FAILED), grown("dify_run_finished_total"))),
        thresholds=RED,
        most=1.0,
    ),
    _stat(
        "Failed model calls",
        "percentunit",
        "model_call_failure_ratio",
        ("", share(grown("dify_llm_call_failures_total"), grown("dify_llm_calls_total"))),
        thresholds=RED,
        most=1.0,
    ),
    _stat("Running now", "short", "running_runs", ("", summed("dify_run_in_progress"))),
    _stat("Stale runs", "short", "stale_runs", ("", summed("dify_run_stale")), thresholds=UNWANTED),
    _stat(
        "Unpriced tokens",
        "short",
        "unpriced_tokens",
        ("", grown("dify_llm_unpriced_tokens_total", where=OF_ALL)),
        thresholds=UNWANTED,
        note=ALL_APPS,
    ),
    _stat(
        "Output speed",
        PER_TOKEN,
        "output_speed",
        ("", share(grown("dify_llm_generated_tokens_total"), grown("dify_llm_generation_seconds_total"))),
    ),
)

USE = (
    Panel(
        title="Requests per second",
        unit=PER_SECOND,
        measure="request_rate",
        targets=(
            ("runs", rate("dify_run_finished_total")),
            ("messages of apps without runs", rate("dify_chat_messages_total", where=_OWN_MESSAGES)),
        ),
        is_stacked=True,
        note=FINAL_ONLY,
    ),
    Panel(
        title="Tokens per second",
        unit=PER_TOKEN,
        measure="tokens",
        targets=(("input", rate(_IN)), ("output", rate(_OUT))),
        is_stacked=True,
    ),
    Panel(
        title="Tokens by model",
        unit=PER_TOKEN,
        measure="tokens",
        targets=(("{{model_name}}", f"{rate(_IN, 'model_name')} + {rate(_OUT, 'model_name')}"),),
        is_stacked=True,
    ),
    Panel(
        title="Model calls by app",
        unit="short",
        measure="model_calls",
        targets=(("{{app_name}}", biggest(10, named(grown("dify_llm_calls_total", "workspace_id, app_id")))),),
        kind="bargauge",
        note="The ten busiest in the time shown.",
    ),
    Panel(
        title="Active users by app, 24 h",
        unit="short",
        measure="active_users",
        targets=(
            (
                "{{app_name}}",
                biggest(
                    10, named(summed("dify_app_active_users", "workspace_id, app_id", matching(OF_APP, 'window="1d"')))
                ),
            ),
        ),
        kind="bargauge",
    ),
    Panel(
        title="Conversations and ratings",
        unit="short",
        measure="conversations_started",
        targets=(
            ("conversations started", grown("dify_chat_conversations_started_total")),
            ("{{rating}}", grown("dify_chat_feedback_total", "rating")),
        ),
        kind="bargauge",
    ),
)

COSTS = (
    Panel(
        title="Cost per hour, ${currency}",
        unit=PER_HOUR,
        measure="cost",
        targets=(("{{model_name}}", f"{rate(_COST, 'model_name')} * 3600"),),
        width=24,
        is_stacked=True,
        repeat="currency",
    ),
    Panel(
        title="Tokens without a price",
        unit=PER_TOKEN,
        measure="unpriced_tokens",
        targets=(("{{model_name}}", rate("dify_llm_unpriced_tokens_total", "model_name", OF_ALL)),),
        width=12,
        is_stacked=True,
        note=ALL_APPS,
    ),
    Panel(
        title="Input read from the provider's cache",
        unit="percentunit",
        measure="cached_input_tokens",
        targets=(
            (
                "{{model_name}}",
                share(rate("dify_llm_cached_input_tokens_total", "model_name"), rate(_IN, "model_name")),
            ),
        ),
        width=12,
        most=1.0,
        note="As a share of input tokens.",
    ),
)

SPEED = (
    Panel(
        title="Response time of messages",
        unit="s",
        measure="response_time_p95",
        targets=(*percentiles("dify_chat_response_duration_seconds"),),
    ),
    Panel(
        title="Time to first token of messages",
        unit="s",
        measure="message_time_to_first_token_p95",
        targets=(*percentiles("dify_chat_time_to_first_token_seconds"),),
    ),
    Panel(
        title="Time of runs", unit="s", measure="run_elapsed_p95", targets=(*percentiles("dify_run_duration_seconds"),)
    ),
    Panel(
        title="Time of model calls, p95",
        unit="s",
        measure="model_call_latency_p95",
        targets=(("{{model_name}}", quantile(0.95, "dify_llm_call_duration_seconds", "model_name", OF_ALL)),),
        note=ALL_APPS,
    ),
    Panel(
        title="Output speed by model",
        unit=PER_TOKEN,
        measure="output_speed",
        targets=(
            (
                "{{model_name}}",
                share(
                    rate("dify_llm_generated_tokens_total", "model_name"),
                    rate("dify_llm_generation_seconds_total", "model_name"),
                ),
            ),
        ),
    ),
    Panel(
        title="Time per output token, p50",
        unit="s",
        measure="token_time_p50",
        targets=(("{{model_name}}", quantile(0.5, "dify_llm_time_per_output_token_seconds", "model_name", OF_ALL)),),
        note=ALL_APPS,
    ),
)

FAILURES = (
    Panel(
        title="Runs by status",
        unit="suffix: /s",
        measure="finished_runs",
        targets=(("{{status}}", rate("dify_run_finished_total", "status")),),
        is_stacked=True,
    ),
    Panel(
        title="Failed model calls by class",
        unit="suffix: /s",
        measure="failed_model_calls",
        targets=(("{{error_class}}", rate("dify_llm_call_failures_total", "error_class")),),
        is_stacked=True,
    ),
    Panel(
        title="Failed nodes by type",
        unit="suffix: /s",
        measure="failed_node_executions",
        targets=(("{{node_type}}", rate("dify_node_execution_failures_total", "node_type", OF_WORKSPACE)),),
        is_stacked=True,
        note="Of all apps of the workspace.",
    ),
    Panel(
        title="Runs not ended",
        unit="short",
        measure="running_runs",
        targets=(("running", summed("dify_run_in_progress")), ("stale", summed("dify_run_stale"))),
        width=12,
    ),
    Panel(
        title="Age of the oldest running run",
        unit="s",
        measure="oldest_running_run",
        targets=(("{{app_name}}", biggest(5, named(f"time() - min by (workspace_id, app_id) ({_OLDEST})"))),),
        width=12,
        note="Grows without end where something is stuck.",
    ),
)

_TAP = "dify_metric_tap_{}"
_WAITING = _TAP.format("spool_oldest_timestamp_seconds")


def _tapped(name: str, by: str = "") -> str:
    return rate(_TAP.format(name), by, OF_ALL)


TAP = (
    Panel(
        title="Requests through the tap",
        unit=PER_SECOND,
        measure="request_rate",
        targets=(
            ("all", _tapped("requests_total")),
            ("streams", _tapped("streams_total")),
            ("refused by the tap", _tapped("refused_requests_total")),
        ),
        width=6,
        note="As the tap counts them; empty where there is none.",
    ),
    Panel(
        title="On their way",
        unit="short",
        measure="requests",
        targets=(
            ("streams", summed(_TAP.format("streams_open"), where=OF_ALL)),
            ("callers", summed(_TAP.format("connections"), where=OF_ALL)),
        ),
        width=6,
        note="Now, at the tap.",
    ),
    Panel(
        title="What the tap adds",
        unit="s",
        measure="request_duration_p95",
        targets=(*percentiles(_TAP.format("overhead_seconds"), OF_ALL),),
        width=6,
        note="How much of it a byte waits for its turn in the tap.",
    ),
    Panel(
        title="Records waiting for the collector",
        unit="short",
        measure="requests",
        targets=(
            ("records", summed(_TAP.format("spool_records"), where=OF_ALL)),
            ("seconds the oldest waits", f"max(time() - ({_WAITING} > 0)) or vector(0)"),
        ),
        width=6,
        note="In the spools of the taps.",
    ),
    Panel(
        title="What the tap could not do",
        unit="suffix: /s",
        measure="failed_requests",
        targets=(
            ("records lost, {{kind}}", f"{_tapped('dropped_records_total', 'kind')} > 0"),
            ("records refused, {{kind}}", f"{_tapped('refused_records_total', 'kind')} > 0"),
            ("batches sent again, {{reason}}", f"{_tapped('delivery_failures_total', 'reason')} > 0"),
            ("answers unread", f"{_tapped('unread_answers_total')} > 0"),
            ("spool failures", f"{_tapped('spool_failures_total')} > 0"),
        ),
        width=24,
        height=6,
        note="Empty is well: these are the tap's own troubles, not those of callers.",
    ),
)

COLLECTOR = (
    Panel(
        title="Source",
        unit="none",
        measure="last_complete_pull",
        targets=(("{{source}}", "dify_metric_source_up"),),
        kind="stat",
        width=6,
        thresholds=(("red", 0.0), ("green", 1.0)),
        words=((0, "down"), (1, "up")),
        note="Whether the last pass over the source's apps succeeded.",
    ),
    Panel(
        title="Behind Dify",
        unit="s",
        measure="complete_until",
        targets=(("{{stream}}", "time() - max by (stream) (dify_metric_watermark_timestamp_seconds)"),),
        width=6,
    ),
    Panel(
        title="Time of pulls, p95",
        unit="s",
        measure="pull_duration_p95",
        targets=(("{{stream}}", quantile(0.95, "dify_metric_collect_duration_seconds", "stream", OF_ALL)),),
        width=6,
    ),
    Panel(
        title="Failed pulls and records set aside",
        unit="suffix: /s",
        measure="pull_failures",
        targets=(
            ("pulls, {{error_class}}", rate("dify_metric_collect_errors_total", "error_class", OF_ALL)),
            ("records of {{stream}}", rate("dify_metric_parse_failures_total", "stream", OF_ALL) + " > 0"),
            ("warnings, {{warning}}", rate("dify_metric_warnings_total", "warning", OF_ALL) + " > 0"),
            ("passes {{outcome}}", rate("dify_metric_passes_total", "outcome", 'outcome!="finished"') + " > 0"),
        ),
        width=6,
    ),
)

OVERVIEW: Rows = (
    ("In the time shown", HEADLINES),
    ("Use", USE),
    ("Cost", COSTS),
    ("Speed", SPEED),
    ("Failures and open work", FAILURES),
    ("The tap", TAP),
    ("The collector", COLLECTOR),
)
