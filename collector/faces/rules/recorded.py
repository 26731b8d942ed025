"""Series that Prometheus works out by itself: what alerts and big dashboards ask again and again. A table."""

from __future__ import annotations

from collector.faces.families import CALL_BUCKETS
from collector.faces.promql import costs
from collector.faces.rules.rule import Group, Recording

RESPONSE_SECONDS, FIRST_TOKEN_SECONDS = 10.24, 2.56
"""What an answer, and its first token, may take: bounds of the histograms' buckets."""

OBJECTIVE = 0.95
"""So many of them have to be within that, over four weeks."""

assert {RESPONSE_SECONDS, FIRST_TOKEN_SECONDS} <= set(CALL_BUCKETS)  # noqa: S101

WINDOWS = ("5m", "30m", "1h", "6h")
"""Over which the share of slow answers is kept: two for what burns fast, two for what burns slowly."""

SLOW = {
    "response": ("dify_chat_response_duration_seconds", RESPONSE_SECONDS),
    "first_token": ("dify_chat_time_to_first_token_seconds", FIRST_TOKEN_SECONDS),
}
"""Word -> the histogram and how many seconds are too many."""


def slow(word: str, window: str) -> str:
    """The name of the share of slow ones."""
    return f"workspace:dify_chat_slow_{word}:ratio_rate{window}"


def _slow(word: str, window: str) -> Recording:
    family, seconds = SLOW[word]
    within = f'sum by (workspace_id) (rate({family}_bucket{{le="{seconds:g}"}}[{window}]))'
    every = f"sum by (workspace_id) (rate({family}_count[{window}]))"
    return Recording(
        record=slow(word, window),
        expression=f"1 - {within} / ({every} > 0)",
        about=f"Share of answers slower than {seconds:g} s, over {window}.",
    )


def _p95(record: str, family: str, by: str, about: str) -> Recording:
    return Recording(
        record=record,
        expression=f"histogram_quantile(0.95, sum by ({by}, le) (rate({family}_bucket[5m])))",
        about=about,
    )


_APP = "workspace_id, app_id"
_TOKENS = " + ".join(
    f"sum by (workspace_id) (increase(dify_llm_{kind}_tokens_total[1h]))" for kind in ("input", "output")
)
_ENDED, _CALLS = "dify_run_finished_total", "dify_llm_calls_total"

RECORDED = (
    Group(
        "dify-use",
        (
            Recording(
                record="app:dify_run_finished:rate5m",
                expression=f"sum by ({_APP}) (rate({_ENDED}[5m]))",
                about="Runs that end, per second.",
            ),
            Recording(
                record="app:dify_run_failures:ratio_rate30m",
                expression=f'sum by ({_APP}) (rate({_ENDED}{{status="failed"}}[30m]))'
                f" / (sum by ({_APP}) (rate({_ENDED}[30m])) > 0)",
                about="Share of runs that fail.",
            ),
            Recording(
                record="model:dify_llm_calls:rate5m",
                expression=f"sum by (model_provider, model_name) (rate({_CALLS}[5m]))",
                about="Model calls per second.",
            ),
            Recording(
                record="model:dify_llm_call_failures:ratio_rate30m",
                expression="sum by (model_provider, model_name) (rate(dify_llm_call_failures_total[30m]))"
                f" / (sum by (model_provider, model_name) (rate({_CALLS}[30m])) > 0)",
                about="Share of model calls that fail.",
            ),
            Recording(
                record="workspace:dify_llm_tokens:increase1h",
                expression=_TOKENS,
                about="Input and output tokens of the last hour.",
            ),
            Recording(
                record="workspace_currency:dify_llm_cost:increase1h",
                expression=f"sum by (workspace_id, currency) (increase({costs('')}[1h:1m]))",
                about="Cost of the last hour, by currency: these are never added.",
            ),
        ),
    ),
    Group(
        "dify-speed",
        (
            _p95(
                "app:dify_chat_response_duration_seconds:p95_5m",
                "dify_chat_response_duration_seconds",
                _APP,
                "Response time of messages.",
            ),
            _p95(
                "app:dify_chat_time_to_first_token_seconds:p95_5m",
                "dify_chat_time_to_first_token_seconds",
                _APP,
                "Time to the first token of messages.",
            ),
            _p95(
                "model:dify_llm_call_duration_seconds:p95_5m",
                "dify_llm_call_duration_seconds",
                "model_provider, model_name",
                "Time of model calls.",
            ),
            *(_slow(word, window) for word in SLOW for window in WINDOWS),
        ),
    ),
)
