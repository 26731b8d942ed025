"""What a report asks the catalogue, and which tables it makes of the answers: data and nothing else.

A measure stands here by its name; a table names the question whose rows it shows. Costs are put in where they are
known: a column for each currency in which anything was spent, after the columns of a table that `has_money`.
"""

from __future__ import annotations

from dataclasses import dataclass

WHOLE = (
    *("invocations", "messages", "active_users", "active_apps", "conversations", "messages_per_conversation"),
    *("tokens", "input_tokens", "output_tokens", "model_calls", "unpriced_tokens", "runs", "failed_runs"),
    *("invocation_failure_ratio", "failed_invocations", "model_call_failure_ratio", "run_failure_ratio"),
    *("response_time_p50", "response_time_p95", "run_elapsed_p50", "run_elapsed_p95"),
    *("likes", "dislikes", "ratings", "satisfaction", "retrievals"),
)
"""Asked of the whole period, beside the one before."""

STEPS = ("invocations", "messages", "active_users")
"""Asked step by step, beside the period before."""

LATER_STEPS = (
    *("input_tokens", "output_tokens", "invocation_failure_ratio", "response_time_p50", "response_time_p95"),
    *("run_elapsed_p95", "likes", "dislikes"),
)
"""Asked step by step."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Asked of the whole period. `top`: only the groups biggest in the first measure, as many as a table shows."""

    measures: tuple[str, ...]
    by: tuple[str, ...]
    is_compared: bool = False
    has_money: bool = False
    is_cut: bool = False


QUESTIONS = {
    "apps": Question(
        measures=(
            *("invocations", "failed_invocations", "invocation_failure_ratio", "messages", "active_users", "tokens"),
            *("response_time_p50", "response_time_p95", "run_elapsed_p95"),
            *("ratings", "likes", "dislikes", "satisfaction"),
        ),
        by=("app_name", "app_id"),
        is_compared=True,
        has_money=True,
    ),
    "models": Question(
        measures=(
            *("tokens", "input_tokens", "output_tokens", "model_calls", "failed_model_calls"),
            *("model_call_failure_ratio", "model_call_latency_p95", "output_speed", "unpriced_tokens"),
        ),
        by=("model_name", "model_provider"),
        is_compared=True,
        has_money=True,
    ),
    "users": Question(
        measures=("invocations", "messages", "tokens", "active_days", "active_apps"),
        by=("user_name", "user_kind", "user_id"),
        has_money=True,
        is_cut=True,
    ),
    "departments": Question(
        measures=("invocations", "active_users", "tokens"), by=("department",), is_compared=True, has_money=True
    ),
    "errors": Question(measures=("failed_invocations", "failed_model_calls"), by=("error_class",)),
    "knowledge": Question(
        measures=("retrievals", "knowledge_documents", "knowledge_segments", "knowledge_apps"),
        by=("dataset_name", "dataset_id"),
    ),
    "stock": Question(
        measures=("apps", "published_apps", "new_apps", "deleted_apps", "idle_apps", "app_created", "app_updated"),
        by=("app_name", "app_mode", "app_id"),
    ),
    "pulls": Question(
        measures=("pulls", "pull_failures", "pull_records", "parse_failures", "last_complete_pull"),
        by=("origin", "source"),
    ),
    "brought": Question(measures=("requests", "runs", "messages", "model_calls"), by=("source",)),
}
"""What is asked, each once."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A table: rows of a question in which `order` is not zero, the biggest first.

    `growth` gets a column with the growth of `order`; `bar`: `order` is drawn beside its number.
    """

    name: str
    question: str
    measures: tuple[str, ...]
    order: str
    growth: bool = False
    bar: bool = False
    has_money: bool = False
    is_whole: bool = False  # every row, also those without `order`


HEADLINE = (
    *("invocations", "messages", "active_users", "active_apps", "conversations", "tokens", "cost", "runs"),
    *("invocation_failure_ratio", "response_time_p50", "response_time_p95", "satisfaction"),
)
"""The figures at the top; `cost` stands for one of each currency."""

FIGURES = {
    "overview": HEADLINE,
    "satisfaction": ("ratings", "likes", "dislikes", "satisfaction"),
    "errors": ("failed_invocations", "invocation_failure_ratio", "run_failure_ratio", "model_call_failure_ratio"),
    "slow": ("response_time_p50", "response_time_p95", "run_elapsed_p50", "run_elapsed_p95"),
    "knowledge": ("retrievals",),
    "cost": ("cost", "tokens", "model_calls", "unpriced_tokens"),
}
"""Section -> its figures, of the whole period."""

STOCK = ("apps", "published_apps", "new_apps", "deleted_apps", "idle_apps")
"""Figures of what there is and what came and went."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A chart of some of the measures asked step by step; `cost` stands for one chart of each currency."""

    name: str
    measures: tuple[str, ...]
    is_stacked: bool = False


CHARTS = {
    "trends": (
        Drawn(name="invocations", measures=("invocations",)),
        Drawn(name="active_users", measures=("active_users",)),
        Drawn(name="tokens", measures=("input_tokens", "output_tokens"), is_stacked=True),
        Drawn(name="response_time", measures=("response_time_p50", "response_time_p95")),
        Drawn(name="failures", measures=("invocation_failure_ratio",)),
        Drawn(name="run_time", measures=("run_elapsed_p95",)),
    ),
    "satisfaction": (Drawn(name="ratings", measures=("likes", "dislikes"), is_stacked=True),),
    "cost": (Drawn(name="cost", measures=("cost",)),),
}
"""Section -> its charts."""

LISTINGS = {
    "apps": (
        Listing(
            name="top_apps",
            question="apps",
            measures=("messages", "active_users", "tokens", "invocation_failure_ratio"),
            order="invocations",
            growth=True,
            bar=True,
            has_money=True,
        ),
    ),
    "models": (
        Listing(
            name="top_models",
            question="models",
            measures=(
                *("input_tokens", "output_tokens", "model_calls", "model_call_failure_ratio"),
                *("model_call_latency_p95", "output_speed"),
            ),
            order="tokens",
            growth=True,
            bar=True,
            has_money=True,
        ),
    ),
    "users": (
        Listing(
            name="top_users",
            question="users",
            measures=("messages", "tokens", "active_days", "active_apps"),
            order="invocations",
            bar=True,
            has_money=True,
        ),
    ),
    "departments": (
        Listing(
            name="top_departments",
            question="departments",
            measures=("active_users", "tokens"),
            order="invocations",
            growth=True,
            bar=True,
            has_money=True,
        ),
    ),
    "satisfaction": (
        Listing(
            name="rated_apps",
            question="apps",
            measures=("likes", "dislikes", "satisfaction"),
            order="ratings",
            bar=True,
        ),
    ),
    "errors": (
        Listing(
            name="error_classes",
            question="errors",
            measures=("failed_model_calls",),
            order="failed_invocations",
            bar=True,
            is_whole=True,
        ),
        Listing(
            name="failing_apps",
            question="apps",
            measures=("invocations", "invocation_failure_ratio"),
            order="failed_invocations",
            bar=True,
        ),
    ),
    "slow": (
        Listing(
            name="slow_apps",
            question="apps",
            measures=("response_time_p50", "messages"),
            order="response_time_p95",
            bar=True,
        ),
        Listing(
            name="slow_workflows",
            question="apps",
            measures=("invocations",),
            order="run_elapsed_p95",
            bar=True,
        ),
    ),
    "knowledge": (
        Listing(
            name="datasets",
            question="knowledge",
            measures=("knowledge_documents", "knowledge_segments", "knowledge_apps"),
            order="retrievals",
            bar=True,
            is_whole=True,
        ),
    ),
    "lifecycle": (
        Listing(name="new_apps", question="stock", measures=("app_created",), order="new_apps"),
        Listing(name="idle_apps", question="stock", measures=("app_created", "app_updated"), order="idle_apps"),
    ),
    "quality": (
        Listing(
            name="sources",
            question="pulls",
            measures=("pull_failures", "pull_records", "parse_failures", "last_complete_pull"),
            order="pulls",
            is_whole=True,
        ),
        Listing(
            name="brought",
            question="brought",
            measures=("runs", "messages", "model_calls"),
            order="requests",
            is_whole=True,
        ),
    ),
}
"""Section -> its tables. Those of new and idle apps do not show the measure that sorts them: it is 1 in every row."""

UNSHOWN = frozenset({"new_apps", "idle_apps"})

SECTIONS = (
    *("overview", "trends", "apps", "models", "users", "departments", "satisfaction", "errors", "slow"),
    *("knowledge", "cost", "lifecycle", "quality"),
)
"""In this order."""

IDS = frozenset({"app_id", "user_id", "dataset_id"})
"""Columns that stand in files and not on paper."""
