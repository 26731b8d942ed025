"""What stands on the Grafana dashboards: rows of panels, each with its PromQL and the measure that explains it.

A table and the few phrases its expressions are made of; `collector.faces.grafana` turns it into JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from collector.faces.families import COST

OF_APP = 'workspace_id=~"$workspace",app_id=~"$app"'
NAMED = "* on (workspace_id, app_id) group_left (app_name) max by (workspace_id, app_id, app_name) (dify_app_info)"
"""Puts the app's name beside its id."""


@dataclass(frozen=True)
class Panel:
    """One panel: its expressions as (legend, PromQL) and how wide and tall it is."""

    title: str
    unit: str  # as Grafana calls it
    targets: tuple[tuple[str, str], ...]
    measure: str  # of the catalogue: the description
    kind: Literal["stat", "timeseries", "bargauge", "table"] = "timeseries"
    width: int = 8
    height: int = 8
    is_stacked: bool = False
    thresholds: tuple[tuple[str, float], ...] = ()
    note: str = ""


def _grown(family: str, by: str = "", where: str = OF_APP) -> str:
    return f"sum{f' by ({by})' if by else ''} (increase({family}{{{where}}}[$__range]))"


def _rate(family: str, by: str = "", where: str = OF_APP) -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({family}{{{where}}}[$__rate_interval]))"


def _quantile(q: float, family: str, where: str = OF_APP, by: str = "") -> str:
    buckets = _rate(f"{family}_bucket", f"le, {by}" if by else "le", where)
    return f"histogram_quantile({q}, {buckets})"


def _share(part: str, whole: str) -> str:
    return f"{part} / ({whole} > 0)"


_RED = (("green", 0.0), ("orange", 0.02), ("red", 0.1))
_PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
_FAILED = 'workspace_id=~"$workspace",app_id=~"$app",status="failed"'
_TOKENS = f"{_grown('dify_llm_input_tokens_total')} + {_grown('dify_llm_output_tokens_total')}"

Rows: TypeAlias = tuple[tuple[str, tuple[Panel, ...]], ...]
"""Titles of rows, and the panels under each."""

OVERVIEW: Rows = (
    (
        "In the time shown",
        (
            Panel("Model calls", "short", (("", _grown("dify_llm_calls_total")),), "model_calls", "stat", 4, 4),
            Panel("Tokens", "short", (("", _TOKENS),), "tokens", "stat", 4, 4),
            Panel(
                "Cost",
                "none",
                (("USD", _grown(COST.format(currency="usd"))), ("CNY", _grown(COST.format(currency="cny")))),
                "cost",
                "stat",
                4,
                4,
            ),
            Panel("Runs", "short", (("", _grown("dify_run_finished_total")),), "finished_runs", "stat", 4, 4),
            Panel(
                "Failed runs",
                "percentunit",
                (("", _share(_grown("dify_run_finished_total", where=_FAILED), _grown("dify_run_finished_total"))),),
                "run_failure_ratio",
                "stat",
                4,
                4,
                thresholds=_RED,
            ),
            Panel(
                "Active users, 24 h",
                "short",
                (("", 'sum(dify_workspace_active_users{workspace_id=~"$workspace",window="1d"})'),),
                "active_users",
                "stat",
                4,
                4,
            ),
        ),
    ),
    (
        "Use",
        (
            Panel(
                "Tokens per second",
                "short",
                (("input", _rate("dify_llm_input_tokens_total")), ("output", _rate("dify_llm_output_tokens_total"))),
                "tokens",
                is_stacked=True,
            ),
            Panel(
                "Tokens by model",
                "short",
                (
                    (
                        "{{model_name}}",
                        f"{_rate('dify_llm_input_tokens_total', 'model_name')} + "
                        f"{_rate('dify_llm_output_tokens_total', 'model_name')}",
                    ),
                ),
                "tokens",
                is_stacked=True,
            ),
            Panel(
                "Runs and messages per second",
                "reqps",
                (
                    ("runs", _rate("dify_run_finished_total")),
                    ("messages", _rate("dify_chat_messages_total")),
                ),
                "runs",
            ),
            Panel(
                "Calls by app",
                "short",
                (("{{app_name}}", f"{_rate('dify_llm_calls_total', 'workspace_id, app_id')} {NAMED}"),),
                "model_calls",
                is_stacked=True,
            ),
            Panel(
                "Active users by app, 24 h",
                "short",
                (("{{app_name}}", f'dify_app_active_users{{{OF_APP},window="1d"}} {NAMED}'),),
                "active_users",
                "bargauge",
            ),
            Panel(
                "Ratings",
                "short",
                (("{{rating}}", _grown("dify_chat_feedback_total", "rating")),),
                "ratings",
                "bargauge",
            ),
        ),
    ),
    (
        "Speed and failures",
        (
            Panel(
                "Response time of messages",
                "s",
                tuple((name, _quantile(q, "dify_chat_response_duration_seconds")) for name, q in _PERCENTILES),
                "response_time_p95",
            ),
            Panel(
                "Time of runs",
                "s",
                tuple((name, _quantile(q, "dify_run_duration_seconds")) for name, q in _PERCENTILES),
                "run_elapsed_p95",
            ),
            Panel(
                "Time of model calls, p95",
                "s",
                (("{{model_name}}", _quantile(0.95, "dify_llm_call_duration_seconds", "", "model_name")),),
                "model_call_latency_p95",
            ),
            Panel(
                "Time per output token, p50",
                "s",
                (("{{model_name}}", _quantile(0.5, "dify_llm_time_per_output_token_seconds", "", "model_name")),),
                "token_time_p50",
            ),
            Panel(
                "Runs by status",
                "short",
                (("{{status}}", _rate("dify_run_finished_total", "status")),),
                "finished_runs",
                is_stacked=True,
            ),
            Panel(
                "Failed model calls",
                "short",
                (("{{error_class}}", _rate("dify_llm_call_failures_total", "error_class")),),
                "failed_model_calls",
                is_stacked=True,
            ),
        ),
    ),
    (
        "The collector",
        (
            Panel(
                "Source up",
                "bool_on_off",
                (("{{source}}", "dify_metric_source_up"),),
                "last_complete_pull",
                "stat",
                6,
                6,
                thresholds=(("red", 0.0), ("green", 1.0)),
                note="Whether the last pass over the source's apps succeeded.",
            ),
            Panel(
                "Behind Dify",
                "s",
                (("{{stream}}", "time() - max by (stream) (dify_metric_watermark_timestamp_seconds)"),),
                "complete_until",
                width=6,
                height=6,
            ),
            Panel(
                "Pull time, p95",
                "s",
                (("{{stream}}", _quantile(0.95, "dify_metric_collect_duration_seconds", "", "stream")),),
                "pull_duration_p95",
                width=6,
                height=6,
            ),
            Panel(
                "Failed pulls and records set aside",
                "short",
                (
                    (
                        "{{stream}} {{error_class}}",
                        _rate("dify_metric_collect_errors_total", "stream, error_class", ""),
                    ),
                    ("{{stream}} set aside", _rate("dify_metric_parse_failures_total", "stream", "")),
                ),
                "pull_failures",
                width=6,
                height=6,
            ),
        ),
    ),
)
