"""Measures of calls of apps: a run, or a message of an app that has no runs. A chatflow's message is its run's.

What a caller asked for once counts once, whichever kind of app answered.
"""

from __future__ import annotations

from collector.measures.joins import MESSAGE_APP
from collector.measures.measure import Measure, count, ratio, union
from collector.records import Message, Run

WITHOUT_RUN = "run_id IS NULL AND app.mode IS DISTINCT FROM 'advanced-chat'"
"""Messages that no run stands for."""


def _called(name: str, ended: str, title: str, title_zh: str, help: str, *, runs: str | None = None) -> Measure:
    of_runs = count(
        f"{name}_by_run",
        Run,
        where=runs or ended,
        unit="calls",
        title=f"{title}, of runs",
        title_zh=f"{title_zh}（运行）",
        help="Those that were runs.",
    )
    of_messages = count(
        f"{name}_by_message",
        Message,
        where=WITHOUT_RUN if ended == "TRUE" else f"{WITHOUT_RUN} AND {ended}",
        joins=(MESSAGE_APP,),
        unit="calls",
        title=f"{title}, of messages",
        title_zh=f"{title_zh}（消息）",
        help="Those that were messages of apps without runs.",
    )
    return union(name, of_runs, of_messages, title=title, title_zh=title_zh, help=help)


INVOCATIONS = _called(
    "invocations", "TRUE", "Calls of apps", "应用调用次数", "Runs, and messages of apps without runs; all that began."
)
SUCCEEDED_INVOCATIONS = _called(
    "succeeded_invocations",
    "status = 'succeeded'",
    "Calls that succeeded",
    "成功调用次数",
    "Calls of apps that were answered; runs that succeeded in part are among them.",
    runs="is_final AND status IN ('succeeded', 'partial-succeeded')",
)
FAILED_INVOCATIONS = _called(
    "failed_invocations",
    "is_final AND status = 'failed'",
    "Calls that failed",
    "失败调用次数",
    "Calls that ended in an error.",
)
STOPPED_INVOCATIONS = _called(
    "stopped_invocations",
    "is_final AND status = 'stopped'",
    "Calls that were stopped",
    "中止调用次数",
    "Calls that somebody stopped.",
)
OPEN_INVOCATIONS = _called(
    "open_invocations",
    "status NOT IN ('succeeded', 'failed', 'stopped')",
    "Calls without an end",
    "未结束调用次数",
    "Calls that have not ended yet, or whose end nobody will tell.",
    runs="NOT is_final",
)
INVOCATION_FAILURE_RATIO = ratio(
    "invocation_failure_ratio",
    FAILED_INVOCATIONS,
    INVOCATIONS,
    title="Failed calls per call of an app",
    title_zh="应用调用失败率",
    help="Failed calls of apps ÷ calls of apps, 0 to 1.",
)

MEASURES = (
    INVOCATIONS,
    SUCCEEDED_INVOCATIONS,
    FAILED_INVOCATIONS,
    STOPPED_INVOCATIONS,
    OPEN_INVOCATIONS,
    INVOCATION_FAILURE_RATIO,
)
