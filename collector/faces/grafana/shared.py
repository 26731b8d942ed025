"""Panels that stand on more than one board, limited to what the board is about.

In come label conditions, out go panels. A table and nothing else.
"""

from __future__ import annotations

from collector.faces.families import COST
from collector.faces.grafana.panel import (
    EACH_MINUTE,
    FINAL_ONLY,
    PER_HOUR,
    PER_SECOND,
    PER_TOKEN,
    RED,
    UNWANTED,
    Live,
    Panel,
    stat,
)
from collector.faces.promql import (
    INPUT,
    OUTPUT,
    costs,
    grown,
    matching,
    per_minute,
    percentiles,
    rate,
    share,
    summed,
    tokens,
)

NO_RUNS = 'app_mode!="advanced-chat"'
"""Messages of apps whose runs are not counted already."""


def requests(where: str) -> Panel:
    runs, messages = grown("dify_run_finished_total", where=where), grown("dify_chat_messages_total", where=_own(where))
    return stat(
        ("Requests", "请求数"),
        "short",
        "requests",
        Live("", f"({runs} or vector(0)) + ({messages} or vector(0))"),
        note=("Runs, and messages of apps without runs.", "包括运行，以及没有运行的应用的消息。"),
    )


def request_rate(where: str, width: int = 8) -> Panel:
    return Panel(
        title=("Requests per second", "每秒请求数"),
        unit=PER_SECOND,
        measure="request_rate",
        targets=(
            Live(("runs", "运行"), rate("dify_run_finished_total", where=where)),
            Live(
                ("messages of apps without runs", "无运行应用的消息"),
                rate("dify_chat_messages_total", where=_own(where)),
            ),
        ),
        is_stacked=True,
        width=width,
        note=FINAL_ONLY,
    )


def model_calls(where: str) -> Panel:
    return stat(
        ("Model calls", "模型调用"), "short", "model_calls", Live("", grown("dify_llm_calls_total", where=where))
    )


def tokens_spent(where: str) -> Panel:
    return stat(("Tokens", "Token 数"), "short", "tokens", Live("", tokens(grown, where=where)))


def money_spent(where: str) -> Panel:
    return stat(
        ("Cost", "费用"),
        "short",
        "cost",
        Live("{{currency}}", f"sum by (currency) (increase({costs(where)}[$__range:$__interval]))"),
        note=("One number for each currency; they are never added.", "每种币种一个数，从不相加。"),
    )


def satisfaction(where: str) -> Panel:
    liked = matching(where, 'rating="like"')
    rated = grown("dify_chat_feedback_total", where=where)
    return stat(
        ("Satisfaction", "满意度"),
        "percentunit",
        "satisfaction",
        Live("", share(grown("dify_chat_feedback_total", where=liked), rated)),
        most=1.0,
    )


def failed_runs(where: str) -> Panel:
    failed = matching(where, 'status="failed"')
    finished = grown("dify_run_finished_total", where=where)
    return stat(
        ("Failed runs", "失败运行占比"),
        "percentunit",
        "run_failure_ratio",
        Live("", share(grown("dify_run_finished_total", where=failed), finished)),
        thresholds=RED,
        most=1.0,
    )


def failed_calls(where: str) -> Panel:
    failed, calls = (grown(name, where=where) for name in ("dify_llm_call_failures_total", "dify_llm_calls_total"))
    return stat(
        ("Failed model calls", "失败模型调用占比"),
        "percentunit",
        "model_call_failure_ratio",
        Live("", share(failed, calls)),
        thresholds=RED,
        most=1.0,
    )


def running(where: str) -> Panel:
    return stat(
        ("Running now", "正在运行"), "short", "running_runs", Live("", summed("dify_run_in_progress", where=where))
    )


def stale(where: str) -> Panel:
    return stat(
        ("Stale runs", "停滞的运行"),
        "short",
        "stale_runs",
        Live("", summed("dify_run_stale", where=where)),
        thresholds=UNWANTED,
    )


def unpriced(where: str, note: tuple[str, str]) -> Panel:
    return stat(
        ("Unpriced tokens", "无价格的 Token"),
        "short",
        "unpriced_tokens",
        Live("", grown("dify_llm_unpriced_tokens_total", where=where)),
        thresholds=UNWANTED,
        note=note,
    )


def output_speed(where: str) -> Panel:
    made, took = (grown(f"dify_llm_{name}_total", where=where) for name in ("generated_tokens", "generation_seconds"))
    return stat(("Output speed", "输出速度"), PER_TOKEN, "output_speed", Live("", share(made, took)))


def response_time(where: str, width: int = 8) -> Panel:
    return Panel(
        title=("Response time of messages", "消息响应时间"),
        unit="s",
        measure="response_time_p95",
        targets=_percentiles("dify_chat_response_duration_seconds", where),
        width=width,
    )


def first_token(where: str, width: int = 8) -> Panel:
    return Panel(
        title=("Time to first token of messages", "消息首 Token 时间"),
        unit="s",
        measure="message_time_to_first_token_p95",
        targets=_percentiles("dify_chat_time_to_first_token_seconds", where),
        width=width,
    )


def run_time(where: str, width: int = 8) -> Panel:
    return Panel(
        title=("Time of runs", "运行时长"),
        unit="s",
        measure="run_elapsed_p95",
        targets=_percentiles("dify_run_duration_seconds", where),
        width=width,
    )


def token_rate(where: str, width: int = 8) -> Panel:
    return Panel(
        title=("Tokens per second", "每秒 Token 数"),
        unit=PER_TOKEN,
        measure="tokens",
        targets=(
            Live(("input", "输入"), rate(INPUT, where=where)),
            Live(("output", "输出"), rate(OUTPUT, where=where)),
        ),
        is_stacked=True,
        width=width,
    )


def tokens_by_model(where: str, width: int = 8) -> Panel:
    return Panel(
        title=("Tokens by model", "各模型 Token 数"),
        unit=PER_TOKEN,
        measure="tokens",
        targets=(Live("{{model_name}}", tokens(rate, "model_name", where)),),
        is_stacked=True,
        width=width,
    )


def cost_per_hour(where: str) -> Panel:
    family = COST.format(currency="${currency}")
    return Panel(
        title=("Cost per hour, ${currency}", "每小时费用（${currency}）"),
        unit=PER_HOUR,
        measure="cost",
        targets=(Live("{{model_name}}", f"{rate(family, 'model_name', where)} * 3600"),),
        width=24,
        is_stacked=True,
        repeat="currency",
    )


def runs_by_status(where: str, width: int = 8) -> Panel:
    return Panel(
        title=("Runs by status", "各状态的运行"),
        unit=EACH_MINUTE,
        measure="finished_runs",
        targets=(Live("{{status}}", per_minute("dify_run_finished_total", "status", where)),),
        is_stacked=True,
        width=width,
    )


def failures_by_class(where: str, width: int = 8) -> Panel:
    return Panel(
        title=("Failed model calls by class", "各类失败的模型调用"),
        unit=EACH_MINUTE,
        measure="failed_model_calls",
        targets=(Live("{{error_class}}", per_minute("dify_llm_call_failures_total", "error_class", where)),),
        is_stacked=True,
        width=width,
    )


def _own(where: str) -> str:
    return matching(where, NO_RUNS)


def _percentiles(family: str, where: str) -> tuple[Live, ...]:
    """Dots are asked for once: they are of the buckets, which all percentiles have in common."""
    found = enumerate(percentiles(family, where))
    return tuple(Live(name, expression, has_exemplars=not place) for place, (name, expression) in found)
