"""How often and how much Dify is asked, and what of it is read."""

from __future__ import annotations

from datetime import timedelta

from collector.settings.group import Group, field
from collector.settings.written import Span


class Pace(Group):
    """How often streams are read, how far back, and how much at a time."""

    pull_interval: Span = field(timedelta(seconds=60), "span", "Time between two pulls of the same stream.")
    history_days: int = field(
        30, "days", "How far back the first pull of an app goes; later pulls go on where the last one ended.", ge=1
    )
    pull_overlap: Span = field(
        timedelta(minutes=10), "span", "How far behind its watermark each pull reads again, for facts that came late."
    )
    pull_concurrency: int = field(
        4, "requests", "Requests to Dify at the same time. One default API container serves ten in all.", ge=1, le=32
    )
    pull_budget_seconds: float = field(
        30, "seconds", "Longest pull of one stream of one app before the others get their turn.", gt=0
    )
    node_budget: int = field(
        500, "runs", "Runs whose node executions one pull of an app reads; the next pull reads on.", ge=1
    )
    reconcile_interval: Span = field(
        timedelta(hours=1),
        "span",
        "Time between two readings of Dify's own statistics, which ours are compared with.",
    )


class Reading(Group):
    """What is read, how long an answer is waited for, and when what never ends counts as ended."""

    pull_debug_runs: bool = field(
        False, "true/false", "Also read runs of the editor's preview. They are marked, and counted apart."
    )
    read_completions: bool = field(
        False,
        "true/false",
        "Read the messages of completion apps for their tokens. Dify then shows these conversations as read.",
    )
    request_timeout_seconds: float = field(30, "seconds", "Longest wait for one answer of Dify.", gt=0)
    retries: int = field(4, "tries", "Further tries of a request that Dify could not answer.", ge=0, le=20)
    open_run_max_age: Span = field(
        timedelta(hours=24), "span", "Age at which a run that Dify never ended is called stale."
    )
    message_open_seconds: float = field(
        600, "seconds", "Age at which a message without an answer is called stale.", gt=0
    )
